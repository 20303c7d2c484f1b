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
        let operation = "make a small write";
        // A full disk lets transactions begin, and refuses what they write.
        sqlx::query(
            "INSERT INTO settings (name, value) VALUES ('write-check', x'00')
             ON CONFLICT (name) DO UPDATE
               SET value = CASE value WHEN x'00' THEN x'01' ELSE x'00' END",
        )
        .execute(&self.writer)
        .await
        .map_err(Error::query(operation))?;
        Ok(())
    }
}
