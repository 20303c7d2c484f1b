use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::{SqliteStore, millis, optional_timestamp, timestamp};
use crate::{DelegateRecord, Delegates, Enrolled, Enrolment, Error, JoinToken, Result, Scope};

#[async_trait]
impl Delegates for SqliteStore {
    async fn create_join_token(&self, token: &JoinToken) -> Result<()> {
        sqlx::query(
            "INSERT INTO join_tokens
             (id, hash, org, project, max_uses, uses, created_by, created_at, expires_at, label,
              delegate_name)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(&token.id)
        .bind(&token.hash)
        .bind(part(token.scope.org.as_ref()))
        .bind(part(token.scope.project.as_ref()))
        .bind(token.max_uses)
        .bind(token.uses)
        .bind(&token.created_by)
        .bind(millis(token.created_at))
        .bind(millis(token.expires_at))
        .bind(&token.label)
        .bind(part(token.delegate_name.as_ref()))
        .execute(&self.writer)
        .await
        .map_err(Error::query("store a join token"))?;
        Ok(())
    }

    async fn join_token(&self, id: &str) -> Result<Option<JoinToken>> {
        let row = sqlx::query("SELECT * FROM join_tokens WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.reader)
            .await
            .map_err(Error::query("read a join token"))?;
        row.as_ref().map(read_token).transpose()
    }

    async fn join_tokens(&self) -> Result<Vec<JoinToken>> {
        let rows = sqlx::query("SELECT * FROM join_tokens ORDER BY created_at DESC, id")
            .fetch_all(&self.reader)
            .await
            .map_err(Error::query("list join tokens"))?;
        rows.iter().map(read_token).collect()
    }

    async fn revoke_join_token(&self, id: &str, now: Timestamp) -> Result<bool> {
        let updated = sqlx::query(
            "UPDATE join_tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL",
        )
        .bind(id)
        .bind(millis(now))
        .execute(&self.writer)
        .await
        .map_err(Error::query("revoke a join token"))?;
        Ok(updated.rows_affected() > 0)
    }

    async fn enrol(&self, enrolment: &Enrolment) -> Result<Enrolled> {
        let operation = "enrol a delegate";
        let mut transaction = self.write(operation).await?;
        let row = sqlx::query("SELECT * FROM join_tokens WHERE id = $1")
            .bind(&enrolment.token)
            .fetch_optional(&mut *transaction)
            .await
            .map_err(Error::query(operation))?;
        let Some(row) = row else {
            return Ok(Enrolled::Unknown);
        };
        let token = read_token(&row)?;
        if token.revoked_at.is_some() {
            return Ok(Enrolled::Revoked);
        }
        if token.expires_at <= enrolment.now {
            return Ok(Enrolled::Expired);
        }
        let known = sqlx::query(
            "SELECT delegates.* FROM enrolments JOIN delegates ON delegates.id = delegate
             WHERE token = $1 AND public_key = $2",
        )
        .bind(&enrolment.token)
        .bind(&enrolment.public_key)
        .fetch_optional(&mut *transaction)
        .await
        .map_err(Error::query(operation))?;
        if let Some(row) = known {
            return Ok(Enrolled::Delegate(read_delegate(&row)?));
        }
        let wanted = token.delegate_name.as_ref();
        if wanted.is_some_and(|name| *name != enrolment.name) {
            return Ok(Enrolled::OtherName);
        }
        let same = match holder(&mut transaction, &token.scope, &enrolment.name).await? {
            None => None,
            Some(holder)
                if holder.scope == token.scope
                    && has_key(&mut transaction, &holder.id, &enrolment.public_key).await? =>
            {
                Some(holder)
            }
            Some(_) => return Ok(Enrolled::NameTaken),
        };
        if token.uses >= token.max_uses {
            return Ok(Enrolled::UsedUp);
        }
        sqlx::query("UPDATE join_tokens SET uses = uses + 1 WHERE id = $1")
            .bind(&enrolment.token)
            .execute(&mut *transaction)
            .await
            .map_err(Error::query(operation))?;
        let delegate = match same {
            Some(delegate) => delegate,
            None => insert(&mut transaction, enrolment, token.scope).await?,
        };
        sqlx::query(
            "INSERT INTO enrolments (token, public_key, delegate, created_at)
             VALUES ($1, $2, $3, $4)",
        )
        .bind(&enrolment.token)
        .bind(&enrolment.public_key)
        .bind(&delegate.id)
        .bind(millis(enrolment.now))
        .execute(&mut *transaction)
        .await
        .map_err(Error::query(operation))?;
        transaction
            .commit()
            .await
            .map_err(Error::query(operation))?;
        Ok(Enrolled::Delegate(delegate))
    }

    async fn delegate(&self, id: &str) -> Result<Option<DelegateRecord>> {
        let row = sqlx::query("SELECT * FROM delegates WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.reader)
            .await
            .map_err(Error::query("read a delegate"))?;
        row.as_ref().map(read_delegate).transpose()
    }

    async fn delegates(&self) -> Result<Vec<DelegateRecord>> {
        let rows = sqlx::query("SELECT * FROM delegates ORDER BY name, id")
            .fetch_all(&self.reader)
            .await
            .map_err(Error::query("list delegates"))?;
        rows.iter().map(read_delegate).collect()
    }

    async fn delegate_seen(&self, id: &str, now: Timestamp) -> Result<()> {
        sqlx::query("UPDATE delegates SET seen_at = $2 WHERE id = $1")
            .bind(id)
            .bind(millis(now))
            .execute(&self.writer)
            .await
            .map_err(Error::query("note a delegate"))?;
        Ok(())
    }

    async fn certificate_issued(&self, id: &str, ends_at: Timestamp) -> Result<()> {
        sqlx::query("UPDATE delegates SET certificate_ends_at = $2 WHERE id = $1")
            .bind(id)
            .bind(millis(ends_at))
            .execute(&self.writer)
            .await
            .map_err(Error::query("note a certificate"))?;
        Ok(())
    }

    async fn revoke_delegate(&self, id: &str, now: Timestamp) -> Result<bool> {
        let updated = sqlx::query(
            "UPDATE delegates SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL",
        )
        .bind(id)
        .bind(millis(now))
        .execute(&self.writer)
        .await
        .map_err(Error::query("revoke a delegate"))?;
        Ok(updated.rows_affected() > 0)
    }
}

/// The delegate that has a name in a scope: not revoked, and serving tasks that a delegate of
/// `scope` would serve as well. An empty part of a scope covers everything below it.
async fn holder(
    transaction: &mut SqliteConnection,
    scope: &Scope,
    name: &str,
) -> Result<Option<DelegateRecord>> {
    let row = sqlx::query(
        "SELECT * FROM delegates WHERE name = $1 AND revoked_at IS NULL
           AND (org = '' OR $2 = '' OR (org = $2 AND (project = '' OR $3 = '' OR project = $3)))
         ORDER BY org = $2 AND project = $3 DESC, id LIMIT 1",
    )
    .bind(name)
    .bind(part(scope.org.as_ref()))
    .bind(part(scope.project.as_ref()))
    .fetch_optional(transaction)
    .await
    .map_err(Error::query("look who has the name of a delegate"))?;
    row.as_ref().map(read_delegate).transpose()
}

/// Whether a delegate enrolled with this key.
async fn has_key(
    transaction: &mut SqliteConnection,
    delegate: &str,
    public_key: &[u8],
) -> Result<bool> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM enrolments WHERE delegate = $1 AND public_key = $2)",
    )
    .bind(delegate)
    .bind(public_key)
    .fetch_one(transaction)
    .await
    .map_err(Error::query("look whose key it is"))
}

async fn insert(
    transaction: &mut SqliteConnection,
    enrolment: &Enrolment,
    scope: Scope,
) -> Result<DelegateRecord> {
    sqlx::query(
        "INSERT INTO delegates (id, name, org, project, created_at) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(&enrolment.delegate)
    .bind(&enrolment.name)
    .bind(part(scope.org.as_ref()))
    .bind(part(scope.project.as_ref()))
    .bind(millis(enrolment.now))
    .execute(transaction)
    .await
    .map_err(Error::query("store a delegate"))?;
    Ok(DelegateRecord {
        id: enrolment.delegate.clone(),
        name: enrolment.name.clone(),
        scope,
        created_at: enrolment.now,
        seen_at: None,
        certificate_ends_at: None,
        revoked_at: None,
    })
}

fn part(text: Option<&String>) -> &str {
    text.map_or("", String::as_str)
}

fn scope(row: &SqliteRow) -> sqlx::Result<Scope> {
    Ok(Scope {
        org: filled(row, "org")?,
        project: filled(row, "project")?,
    })
}

/// A text from a column where empty means "not set".
fn filled(row: &SqliteRow, column: &str) -> sqlx::Result<Option<String>> {
    let text: String = row.try_get(column)?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

fn read_token(row: &SqliteRow) -> Result<JoinToken> {
    let read = || -> sqlx::Result<(JoinToken, i64, i64, Option<i64>)> {
        let token = JoinToken {
            id: row.try_get("id")?,
            hash: row.try_get("hash")?,
            label: row.try_get("label")?,
            scope: scope(row)?,
            delegate_name: filled(row, "delegate_name")?,
            max_uses: row.try_get("max_uses")?,
            uses: row.try_get("uses")?,
            created_by: row.try_get("created_by")?,
            created_at: Timestamp::UNIX_EPOCH,
            expires_at: Timestamp::UNIX_EPOCH,
            revoked_at: None,
        };
        let (created, expires) = (row.try_get("created_at")?, row.try_get("expires_at")?);
        Ok((token, created, expires, row.try_get("revoked_at")?))
    };
    let (token, created, expires, revoked) = read().map_err(Error::query("read a join token"))?;
    Ok(JoinToken {
        created_at: timestamp("join token", created)?,
        expires_at: timestamp("join token", expires)?,
        revoked_at: optional_timestamp("join token", revoked)?,
        ..token
    })
}

fn read_delegate(row: &SqliteRow) -> Result<DelegateRecord> {
    let read = || -> sqlx::Result<(DelegateRecord, i64, [Option<i64>; 3])> {
        let delegate = DelegateRecord {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            scope: scope(row)?,
            created_at: Timestamp::UNIX_EPOCH,
            seen_at: None,
            certificate_ends_at: None,
            revoked_at: None,
        };
        let times = [
            row.try_get("seen_at")?,
            row.try_get("certificate_ends_at")?,
            row.try_get("revoked_at")?,
        ];
        Ok((delegate, row.try_get("created_at")?, times))
    };
    let (delegate, created, [seen, certificate, revoked]) =
        read().map_err(Error::query("read a delegate"))?;
    Ok(DelegateRecord {
        created_at: timestamp("delegate", created)?,
        seen_at: optional_timestamp("delegate", seen)?,
        certificate_ends_at: optional_timestamp("delegate", certificate)?,
        revoked_at: optional_timestamp("delegate", revoked)?,
        ..delegate
    })
}
