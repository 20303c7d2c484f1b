use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::{Sqlite, Transaction};

use super::{SqliteStore, millis};
use crate::{Error, Result, Scope, SecretCiphertext, SecretWrite, Secrets};

#[async_trait]
impl Secrets for SqliteStore {
    async fn secret(&self, scope: &Scope, identifier: &str) -> Result<Option<SecretCiphertext>> {
        let row: Option<(String, Vec<u8>)> = sqlx::query_as(
            "SELECT key_id, ciphertext FROM secret_values
             WHERE org = $1 AND project = $2 AND identifier = $3",
        )
        .bind(scope.org_column())
        .bind(scope.project_column())
        .bind(identifier)
        .fetch_optional(&self.reader)
        .await
        .map_err(Error::query("read a secret"))?;
        Ok(row.map(|(key_id, ciphertext)| SecretCiphertext { key_id, ciphertext }))
    }

    async fn secret_key_ids(&self) -> Result<Vec<String>> {
        sqlx::query_scalar("SELECT DISTINCT key_id FROM secret_values ORDER BY key_id")
            .fetch_all(&self.reader)
            .await
            .map_err(Error::query("read the key ids of secrets"))
    }
}

pub(super) async fn put_secret(
    transaction: &mut Transaction<'static, Sqlite>,
    secret: &SecretWrite,
    now: Timestamp,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO secret_values
           (org, project, identifier, version, key_id, ciphertext, updated_at)
         VALUES ($1, $2, $3, 1, $4, $5, $6)
         ON CONFLICT (org, project, identifier) DO UPDATE
           SET version = version + 1, key_id = $4, ciphertext = $5, updated_at = $6",
    )
    .bind(secret.scope.org_column())
    .bind(secret.scope.project_column())
    .bind(&secret.identifier)
    .bind(&secret.value.key_id)
    .bind(&secret.value.ciphertext)
    .bind(millis(now))
    .execute(&mut **transaction)
    .await
    .map_err(Error::query("store a secret"))?;
    Ok(())
}

pub(super) async fn delete_secret(
    transaction: &mut Transaction<'static, Sqlite>,
    scope: &Scope,
    identifier: &str,
) -> Result<()> {
    sqlx::query("DELETE FROM secret_values WHERE org = $1 AND project = $2 AND identifier = $3")
        .bind(scope.org_column())
        .bind(scope.project_column())
        .bind(identifier)
        .execute(&mut **transaction)
        .await
        .map_err(Error::query("delete a secret"))?;
    Ok(())
}
