use std::collections::HashSet;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, Sqlite, Transaction};

use super::{SqliteStore, millis, timestamp};
use crate::{
    Change, Entities, EntityKey, EntityVersion, EntityWrite, Error, Result, Scope, Stored,
    StoredOutcome,
};

const STORE: &str = "store entities";

#[async_trait]
impl Entities for SqliteStore {
    async fn put_entities(&self, change: &Change, now: Timestamp) -> Result<Vec<Stored>> {
        let mut transaction = self.write(STORE).await?;
        let mut stored = Vec::with_capacity(change.entities.len());
        let mut seen = HashSet::with_capacity(change.entities.len());
        for entity in &change.entities {
            if !seen.insert(&entity.key) {
                return Err(Error::Conflict {
                    what: format!("{} {}", entity.key.kind, entity.key.identifier),
                });
            }
            stored.push(put_entity(&mut transaction, entity, &change.by, now).await?);
        }
        for secret in &change.secrets {
            super::secrets::put_secret(&mut transaction, secret, now).await?;
        }
        transaction.commit().await.map_err(Error::query(STORE))?;
        Ok(stored)
    }

    async fn entity(&self, key: &EntityKey) -> Result<Option<EntityVersion>> {
        let operation = "read an entity";
        let row = sqlx::query(
            "SELECT v.*, e.name FROM entities e JOIN entity_versions v
               USING (kind, org, project, parent, identifier, version)
             WHERE kind = $1 AND org = $2 AND project = $3 AND parent = $4 AND identifier = $5
               AND NOT deleted",
        )
        .bind(&key.kind)
        .bind(key.scope.org_column())
        .bind(key.scope.project_column())
        .bind(&key.parent)
        .bind(&key.identifier)
        .fetch_optional(&self.reader)
        .await
        .map_err(Error::query(operation))?;
        row.as_ref().map(read_version).transpose()
    }

    async fn entity_version(&self, key: &EntityKey, version: i64) -> Result<Option<EntityVersion>> {
        let row = sqlx::query(VERSION)
            .bind(&key.kind)
            .bind(key.scope.org_column())
            .bind(key.scope.project_column())
            .bind(&key.parent)
            .bind(&key.identifier)
            .bind(version)
            .fetch_optional(&self.reader)
            .await
            .map_err(Error::query("read a version of an entity"))?;
        row.as_ref().map(read_version).transpose()
    }

    async fn list_entities(
        &self,
        kind: &str,
        scope: &Scope,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<EntityVersion>> {
        let rows = sqlx::query(
            "SELECT v.*, e.name FROM entities e JOIN entity_versions v
               USING (kind, org, project, parent, identifier, version)
             WHERE kind = $1 AND org = $2 AND project = $3 AND identifier > $4 AND NOT deleted
             ORDER BY identifier, parent LIMIT $5",
        )
        .bind(kind)
        .bind(scope.org_column())
        .bind(scope.project_column())
        .bind(after.unwrap_or_default())
        .bind(limit)
        .fetch_all(&self.reader)
        .await
        .map_err(Error::query("list entities"))?;
        rows.iter().map(read_version).collect()
    }

    async fn files_at(&self, scope: &Scope, path: &str) -> Result<Vec<EntityVersion>> {
        let folder = path.trim_end_matches('/');
        // `folder || '/' < x < folder || '0'` are exactly the paths below the folder.
        let rows = sqlx::query(
            "SELECT v.*, e.name FROM entities e JOIN entity_versions v
               USING (kind, org, project, parent, identifier, version)
             WHERE org = $1 AND project = $2 AND path <> '' AND NOT deleted
               AND (path = $3 OR (path > $3 || '/' AND path < $3 || '0'))
             ORDER BY path",
        )
        .bind(scope.org_column())
        .bind(scope.project_column())
        .bind(folder)
        .fetch_all(&self.reader)
        .await
        .map_err(Error::query("read files"))?;
        rows.iter().map(read_version).collect()
    }

    async fn delete_entity(&self, key: &EntityKey, now: Timestamp) -> Result<bool> {
        let operation = "delete an entity";
        let mut transaction = self.write(operation).await?;
        let deleted = sqlx::query(
            "UPDATE entities SET deleted = TRUE, updated_at = $6
             WHERE kind = $1 AND org = $2 AND project = $3 AND parent = $4 AND identifier = $5
               AND NOT deleted",
        )
        .bind(&key.kind)
        .bind(key.scope.org_column())
        .bind(key.scope.project_column())
        .bind(&key.parent)
        .bind(&key.identifier)
        .bind(millis(now))
        .execute(&mut *transaction)
        .await
        .map_err(Error::query(operation))?;
        if key.kind == "secret" {
            super::secrets::delete_secret(&mut transaction, &key.scope, &key.identifier).await?;
        }
        transaction
            .commit()
            .await
            .map_err(Error::query(operation))?;
        Ok(deleted.rows_affected() > 0)
    }
}

const VERSION: &str = "SELECT v.*, e.name FROM entity_versions v JOIN entities e
       USING (kind, org, project, parent, identifier)
     WHERE kind = $1 AND org = $2 AND project = $3 AND parent = $4 AND identifier = $5
       AND v.version = $6";

async fn put_entity(
    transaction: &mut Transaction<'static, Sqlite>,
    entity: &EntityWrite,
    by: &str,
    now: Timestamp,
) -> Result<Stored> {
    let key = &entity.key;
    let current = sqlx::query(
        "SELECT e.version, e.deleted, e.name, v.text FROM entities e JOIN entity_versions v
           USING (kind, org, project, parent, identifier, version)
         WHERE kind = $1 AND org = $2 AND project = $3 AND parent = $4 AND identifier = $5",
    )
    .bind(&key.kind)
    .bind(key.scope.org_column())
    .bind(key.scope.project_column())
    .bind(&key.parent)
    .bind(&key.identifier)
    .fetch_optional(&mut **transaction)
    .await
    .map_err(Error::query(STORE))?;
    let (previous, outcome) = match &current {
        None => (0, StoredOutcome::Created),
        Some(row) => {
            let version: i64 = row.try_get("version").map_err(Error::query(STORE))?;
            let deleted: bool = row.try_get("deleted").map_err(Error::query(STORE))?;
            let text: String = row.try_get("text").map_err(Error::query(STORE))?;
            match (deleted, text == entity.text) {
                (true, _) => (version, StoredOutcome::Created),
                (false, true) => {
                    return Ok(Stored {
                        key: key.clone(),
                        version,
                        outcome: StoredOutcome::Unchanged,
                    });
                }
                (false, false) => (version, StoredOutcome::Updated),
            }
        }
    };
    let version = previous + 1;
    insert_version(transaction, entity, version, by, now).await?;
    Ok(Stored {
        key: key.clone(),
        version,
        outcome,
    })
}

async fn insert_version(
    transaction: &mut Transaction<'static, Sqlite>,
    entity: &EntityWrite,
    version: i64,
    by: &str,
    now: Timestamp,
) -> Result<()> {
    let key = &entity.key;
    sqlx::query(
        "INSERT INTO entities
           (kind, org, project, parent, identifier, name, version, deleted, created_at, updated_at,
            path)
         VALUES ($1, $2, $3, $4, $5, $6, $7, FALSE, $8, $8, $9)
         ON CONFLICT (kind, org, project, parent, identifier) DO UPDATE
           SET name = $6, version = $7, deleted = FALSE, updated_at = $8, path = $9",
    )
    .bind(&key.kind)
    .bind(key.scope.org_column())
    .bind(key.scope.project_column())
    .bind(&key.parent)
    .bind(&key.identifier)
    .bind(&entity.name)
    .bind(version)
    .bind(millis(now))
    .bind(&entity.path)
    .execute(&mut **transaction)
    .await
    .map_err(|error| match &error {
        sqlx::Error::Database(database) if database.is_unique_violation() => Error::Conflict {
            what: format!("the file {}", entity.path),
        },
        _ => Error::query(STORE)(error),
    })?;
    sqlx::query(
        "INSERT INTO entity_versions
           (kind, org, project, parent, identifier, version, text, created_by, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(&key.kind)
    .bind(key.scope.org_column())
    .bind(key.scope.project_column())
    .bind(&key.parent)
    .bind(&key.identifier)
    .bind(version)
    .bind(&entity.text)
    .bind(by)
    .bind(millis(now))
    .execute(&mut **transaction)
    .await
    .map_err(Error::query(STORE))?;
    Ok(())
}

/// The current version within a transaction, and its number; for pins.
pub(super) async fn current_in(
    transaction: &mut Transaction<'static, Sqlite>,
    key: &EntityKey,
) -> Result<Option<i64>> {
    sqlx::query_scalar(
        "SELECT version FROM entities
         WHERE kind = $1 AND org = $2 AND project = $3 AND parent = $4 AND identifier = $5
           AND NOT deleted",
    )
    .bind(&key.kind)
    .bind(key.scope.org_column())
    .bind(key.scope.project_column())
    .bind(&key.parent)
    .bind(&key.identifier)
    .fetch_optional(&mut **transaction)
    .await
    .map_err(Error::query("read an entity"))
}

fn read_version(row: &SqliteRow) -> Result<EntityVersion> {
    let read = || -> sqlx::Result<(EntityVersion, i64)> {
        let version = EntityVersion {
            key: EntityKey {
                kind: row.try_get("kind")?,
                scope: Scope::from_columns(row.try_get("org")?, row.try_get("project")?),
                parent: row.try_get("parent")?,
                identifier: row.try_get("identifier")?,
            },
            name: row.try_get("name")?,
            version: row.try_get("version")?,
            text: row.try_get("text")?,
            created_by: row.try_get("created_by")?,
            created_at: Timestamp::UNIX_EPOCH,
        };
        Ok((version, row.try_get("created_at")?))
    };
    let (version, created_at) = read().map_err(Error::query("read an entity"))?;
    Ok(EntityVersion {
        created_at: timestamp("entity", created_at)?,
        ..version
    })
}
