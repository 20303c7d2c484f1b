use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, Sqlite, SqliteExecutor, Transaction};

use super::{SqliteStore, millis, optional_timestamp, timestamp};
use crate::{
    Advance, Entities as _, EntityKey, EntityVersion, Error, Execution, ExecutionEvent,
    ExecutionFilter, ExecutionHead, Executions, NewExecution, Result, Scope,
};

const ADVANCE: &str = "advance an execution";

#[async_trait]
impl Executions for SqliteStore {
    async fn create_execution(&self, new: &NewExecution) -> Result<Execution> {
        let operation = "store an execution";
        let mut transaction = self.write(operation).await?;
        let row = sqlx::query(
            "INSERT INTO executions
               (id, org, project, pipeline, pipeline_version, sequence, plan, inputs, state, status,
                version, requested_by, created_at)
             VALUES ($1, $2, $3, $4, $5,
               (SELECT COALESCE(MAX(sequence), 0) + 1 FROM executions
                 WHERE org = $2 AND project = $3 AND pipeline = $4),
               $6, $7, $8, $9, 1, $10, $11)
             RETURNING *",
        )
        .bind(&new.id)
        .bind(new.scope.org_column())
        .bind(new.scope.project_column())
        .bind(&new.pipeline)
        .bind(new.pipeline_version)
        .bind(&new.plan)
        .bind(&new.inputs)
        .bind(&new.state)
        .bind(&new.status)
        .bind(&new.requested_by)
        .bind(millis(new.created_at))
        .fetch_one(&mut *transaction)
        .await
        .map_err(Error::query(operation))?;
        let execution = read_execution(&row)?;
        append_events(&mut transaction, &new.id, &new.events, new.created_at).await?;
        transaction
            .commit()
            .await
            .map_err(Error::query(operation))?;
        Ok(execution)
    }

    async fn execution(&self, id: &str) -> Result<Option<Execution>> {
        let row = sqlx::query("SELECT * FROM executions WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.reader)
            .await
            .map_err(Error::query("read an execution"))?;
        row.as_ref().map(read_execution).transpose()
    }

    async fn list_executions(&self, filter: &ExecutionFilter) -> Result<Vec<ExecutionHead>> {
        let rows = sqlx::query(
            "SELECT id, org, project, pipeline, pipeline_version, sequence, status, message, code,
               version, requested_by, created_at, ended_at
             FROM executions
             WHERE org = $1 AND project = $2 AND ($3 IS NULL OR pipeline = $3)
               AND ($4 IS NULL OR id < $4)
             ORDER BY id DESC LIMIT $5",
        )
        .bind(filter.scope.org_column())
        .bind(filter.scope.project_column())
        .bind(filter.pipeline.as_deref())
        .bind(filter.before.as_deref())
        .bind(filter.limit)
        .fetch_all(&self.reader)
        .await
        .map_err(Error::query("list executions"))?;
        rows.iter().map(read_head).collect()
    }

    async fn unfinished_executions(&self) -> Result<Vec<String>> {
        sqlx::query_scalar("SELECT id FROM executions WHERE ended_at IS NULL ORDER BY id")
            .fetch_all(&self.reader)
            .await
            .map_err(Error::query("list unfinished executions"))
    }

    async fn advance_execution(
        &self,
        id: &str,
        expected_version: i64,
        advance: &Advance,
        now: Timestamp,
    ) -> Result<i64> {
        let mut transaction = self.write(ADVANCE).await?;
        let version: Option<i64> = sqlx::query_scalar(
            "UPDATE executions SET state = $3, status = $4, ended_at = $5, message = $6, code = $7,
               version = version + 1
             WHERE id = $1 AND version = $2 AND ended_at IS NULL RETURNING version",
        )
        .bind(id)
        .bind(expected_version)
        .bind(&advance.state)
        .bind(&advance.status)
        .bind(advance.ended.then(|| millis(now)))
        .bind(&advance.message)
        .bind(&advance.code)
        .fetch_optional(&mut *transaction)
        .await
        .map_err(Error::query(ADVANCE))?;
        let Some(version) = version else {
            return Err(Error::Conflict {
                what: format!("execution {id}"),
            });
        };
        append_events(&mut transaction, id, &advance.events, now).await?;
        transaction.commit().await.map_err(Error::query(ADVANCE))?;
        Ok(version)
    }

    async fn execution_events(
        &self,
        id: &str,
        after: i64,
        limit: u32,
    ) -> Result<Vec<ExecutionEvent>> {
        let rows: Vec<(i64, i64, String)> = sqlx::query_as(
            "SELECT seq, at, event FROM execution_events
             WHERE execution = $1 AND seq > $2 ORDER BY seq LIMIT $3",
        )
        .bind(id)
        .bind(after)
        .bind(limit)
        .fetch_all(&self.reader)
        .await
        .map_err(Error::query("read events of an execution"))?;
        rows.into_iter()
            .map(|(seq, at, event)| {
                let at = timestamp("event", at)?;
                Ok(ExecutionEvent { seq, at, event })
            })
            .collect()
    }

    async fn pin_entity(&self, execution: &str, key: &EntityKey) -> Result<Option<EntityVersion>> {
        let operation = "pin an entity";
        // Most are pinned already: then there is nothing to write.
        if let Some(version) = pinned(&self.reader, execution, key).await? {
            return self.entity_version(key, version).await;
        }
        let mut transaction = self.write(operation).await?;
        let version = match pinned(&mut *transaction, execution, key).await? {
            Some(version) => version,
            None => {
                let Some(current) = super::entities::current_in(&mut transaction, key).await?
                else {
                    return Ok(None);
                };
                insert_pin(&mut transaction, execution, key, current).await?;
                current
            }
        };
        transaction
            .commit()
            .await
            .map_err(Error::query(operation))?;
        self.entity_version(key, version).await
    }
}

async fn pinned<'c>(
    executor: impl SqliteExecutor<'c>,
    execution: &str,
    key: &EntityKey,
) -> Result<Option<i64>> {
    sqlx::query_scalar(
        "SELECT version FROM execution_pins WHERE execution = $1
           AND kind = $2 AND org = $3 AND project = $4 AND parent = $5 AND identifier = $6",
    )
    .bind(execution)
    .bind(&key.kind)
    .bind(key.scope.org_column())
    .bind(key.scope.project_column())
    .bind(&key.parent)
    .bind(&key.identifier)
    .fetch_optional(executor)
    .await
    .map_err(Error::query("pin an entity"))
}

async fn insert_pin(
    transaction: &mut Transaction<'static, Sqlite>,
    execution: &str,
    key: &EntityKey,
    version: i64,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO execution_pins
           (execution, kind, org, project, parent, identifier, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(execution)
    .bind(&key.kind)
    .bind(key.scope.org_column())
    .bind(key.scope.project_column())
    .bind(&key.parent)
    .bind(&key.identifier)
    .bind(version)
    .execute(&mut **transaction)
    .await
    .map_err(Error::query("pin an entity"))?;
    Ok(())
}

async fn append_events(
    transaction: &mut Transaction<'static, Sqlite>,
    execution: &str,
    events: &[String],
    now: Timestamp,
) -> Result<()> {
    for event in events {
        sqlx::query(
            "INSERT INTO execution_events (execution, seq, at, event)
             VALUES ($1,
               (SELECT COALESCE(MAX(seq), 0) + 1 FROM execution_events WHERE execution = $1),
               $2, $3)",
        )
        .bind(execution)
        .bind(millis(now))
        .bind(event)
        .execute(&mut **transaction)
        .await
        .map_err(Error::query(ADVANCE))?;
    }
    Ok(())
}

fn read_execution(row: &SqliteRow) -> Result<Execution> {
    let head = read_head(row)?;
    let text = |column: &str| -> Result<String> {
        row.try_get(column)
            .map_err(Error::query("read an execution"))
    };
    Ok(Execution {
        head,
        plan: text("plan")?,
        inputs: text("inputs")?,
        state: text("state")?,
    })
}

fn read_head(row: &SqliteRow) -> Result<ExecutionHead> {
    let read = || -> sqlx::Result<(ExecutionHead, i64, Option<i64>)> {
        let head = ExecutionHead {
            id: row.try_get("id")?,
            scope: Scope::from_columns(row.try_get("org")?, row.try_get("project")?),
            pipeline: row.try_get("pipeline")?,
            pipeline_version: row.try_get("pipeline_version")?,
            sequence: row.try_get("sequence")?,
            status: row.try_get("status")?,
            message: row.try_get("message")?,
            code: row.try_get("code")?,
            version: row.try_get("version")?,
            requested_by: row.try_get("requested_by")?,
            created_at: Timestamp::UNIX_EPOCH,
            ended_at: None,
        };
        Ok((head, row.try_get("created_at")?, row.try_get("ended_at")?))
    };
    let (head, created_at, ended_at) = read().map_err(Error::query("read an execution"))?;
    Ok(ExecutionHead {
        created_at: timestamp("execution", created_at)?,
        ended_at: optional_timestamp("execution", ended_at)?,
        ..head
    })
}
