use async_trait::async_trait;

use super::SqliteStore;
use crate::{Error, Result, Settings};

#[async_trait]
impl Settings for SqliteStore {
    async fn setting(&self, name: &str) -> Result<Option<Vec<u8>>> {
        sqlx::query_scalar("SELECT value FROM settings WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.reader)
            .await
            .map_err(Error::query("read a setting"))
    }

    async fn setting_or_insert(&self, name: &str, value: &[u8]) -> Result<Vec<u8>> {
        let operation = "store a setting";
        let mut transaction = self.write(operation).await?;
        sqlx::query("INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(name)
            .bind(value)
            .execute(&mut *transaction)
            .await
            .map_err(Error::query(operation))?;
        let stored = sqlx::query_scalar("SELECT value FROM settings WHERE name = $1")
            .bind(name)
            .fetch_one(&mut *transaction)
            .await
            .map_err(Error::query(operation))?;
        transaction
            .commit()
            .await
            .map_err(Error::query(operation))?;
        Ok(stored)
    }

    async fn check_writable(&self) -> Result<()> {
        let operation = "begin a write";
        let transaction = self.write(operation).await?;
        transaction
            .rollback()
            .await
            .map_err(Error::query(operation))
    }
}
