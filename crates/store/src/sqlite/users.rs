use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, Sqlite, SqliteExecutor};

use super::{SqliteStore, millis, optional_timestamp, timestamp};
use crate::{ApiToken, Error, Result, User, Users};

#[async_trait]
impl Users for SqliteStore {
    async fn create_first_user(&self, user: &User, token: &ApiToken) -> Result<bool> {
        let operation = "store the first user";
        let mut transaction = self.write(operation).await?;
        let inserted = sqlx::query(
            "INSERT INTO users (id, name, role, created_at)
             SELECT $1, $2, $3, $4 WHERE NOT EXISTS (SELECT 1 FROM users)",
        )
        .bind(&user.id)
        .bind(&user.name)
        .bind(&user.role)
        .bind(millis(user.created_at))
        .execute(&mut *transaction)
        .await
        .map_err(Error::query(operation))?;
        if inserted.rows_affected() == 0 {
            return Ok(false);
        }
        insert_token(&mut *transaction, token).await?;
        transaction
            .commit()
            .await
            .map_err(Error::query(operation))?;
        Ok(true)
    }

    async fn user(&self, name: &str) -> Result<Option<User>> {
        let row: Option<(String, String, i64)> =
            sqlx::query_as("SELECT id, role, created_at FROM users WHERE name = $1")
                .bind(name)
                .fetch_optional(&self.reader)
                .await
                .map_err(Error::query("read a user"))?;
        row.map(|(id, role, created_at)| {
            Ok(User {
                id,
                name: name.to_owned(),
                role,
                created_at: timestamp("user", created_at)?,
            })
        })
        .transpose()
    }

    async fn create_api_token(&self, token: &ApiToken) -> Result<()> {
        insert_token(&self.writer, token).await
    }

    async fn api_token(&self, id: &str) -> Result<Option<(ApiToken, User)>> {
        let row = sqlx::query(
            "SELECT t.*, u.name, u.role, u.created_at AS user_created_at
             FROM api_tokens t JOIN users u ON u.id = t.user_id WHERE t.id = $1",
        )
        .bind(id)
        .fetch_optional(&self.reader)
        .await
        .map_err(Error::query("read an API token"))?;
        row.as_ref().map(read_token).transpose()
    }

    async fn list_api_tokens(&self) -> Result<Vec<(ApiToken, User)>> {
        let rows = sqlx::query(
            "SELECT t.*, u.name, u.role, u.created_at AS user_created_at
             FROM api_tokens t JOIN users u ON u.id = t.user_id ORDER BY t.created_at, t.id",
        )
        .fetch_all(&self.reader)
        .await
        .map_err(Error::query("list API tokens"))?;
        rows.iter().map(read_token).collect()
    }

    async fn revoke_api_token(&self, id: &str, now: Timestamp) -> Result<bool> {
        let revoked = sqlx::query(
            "UPDATE api_tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL",
        )
        .bind(id)
        .bind(millis(now))
        .execute(&self.writer)
        .await
        .map_err(Error::query("revoke an API token"))?;
        Ok(revoked.rows_affected() > 0)
    }
}

async fn insert_token<'c, E>(executor: E, token: &ApiToken) -> Result<()>
where
    E: SqliteExecutor<'c> + sqlx::Executor<'c, Database = Sqlite>,
{
    sqlx::query(
        "INSERT INTO api_tokens (id, user_id, hash, label, created_at, expires_at, revoked_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(&token.id)
    .bind(&token.user_id)
    .bind(&token.hash)
    .bind(&token.label)
    .bind(millis(token.created_at))
    .bind(token.expires_at.map(millis))
    .bind(token.revoked_at.map(millis))
    .execute(executor)
    .await
    .map_err(Error::query("store an API token"))?;
    Ok(())
}

fn read_token(row: &SqliteRow) -> Result<(ApiToken, User)> {
    let what = "API token";
    let text = |column: &str| -> Result<String> {
        row.try_get(column)
            .map_err(Error::query("read an API token"))
    };
    let number = |column: &str| -> Result<i64> {
        row.try_get(column)
            .map_err(Error::query("read an API token"))
    };
    let optional = |column: &str| -> Result<Option<i64>> {
        row.try_get(column)
            .map_err(Error::query("read an API token"))
    };
    let token = ApiToken {
        id: text("id")?,
        user_id: text("user_id")?,
        hash: row
            .try_get("hash")
            .map_err(Error::query("read an API token"))?,
        label: text("label")?,
        created_at: timestamp(what, number("created_at")?)?,
        expires_at: optional_timestamp(what, optional("expires_at")?)?,
        revoked_at: optional_timestamp(what, optional("revoked_at")?)?,
    };
    let user = User {
        id: token.user_id.clone(),
        name: text("name")?,
        role: text("role")?,
        created_at: timestamp("user", number("user_created_at")?)?,
    };
    Ok((token, user))
}
