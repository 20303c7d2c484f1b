use async_trait::async_trait;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::{SqliteStore, millis, timestamp};
use crate::{Error, NewStep, Result, StepRecord, Steps};

#[async_trait]
impl Steps for SqliteStore {
    async fn record_step(&self, step: &NewStep) -> Result<StepRecord> {
        let operation = "store a step";
        let mut transaction = self.write(operation).await?;
        let inserted = sqlx::query(
            "INSERT INTO execution_steps (task, execution, node, attempt, request, created_at)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (execution, node, attempt) DO NOTHING",
        )
        .bind(&step.task)
        .bind(&step.execution)
        .bind(&step.node)
        .bind(step.attempt)
        .bind(&step.request)
        .bind(millis(step.created_at))
        .execute(&mut *transaction)
        .await
        .map_err(Error::query(operation))?;
        let is_new = inserted.rows_affected() > 0;
        for blob in step.blobs.iter().filter(|_| is_new) {
            sqlx::query(
                "INSERT INTO step_blobs (task, hash) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            )
            .bind(&step.task)
            .bind(blob.as_str())
            .execute(&mut *transaction)
            .await
            .map_err(Error::query(operation))?;
        }
        let row = sqlx::query(
            "SELECT * FROM execution_steps WHERE execution = $1 AND node = $2 AND attempt = $3",
        )
        .bind(&step.execution)
        .bind(&step.node)
        .bind(step.attempt)
        .fetch_one(&mut *transaction)
        .await
        .map_err(Error::query(operation))?;
        transaction
            .commit()
            .await
            .map_err(Error::query(operation))?;
        read_step(&row)
    }

    async fn step_of_task(&self, task: &str) -> Result<Option<StepRecord>> {
        let row = sqlx::query("SELECT * FROM execution_steps WHERE task = $1")
            .bind(task)
            .fetch_optional(&self.reader)
            .await
            .map_err(Error::query("read a step"))?;
        row.as_ref().map(read_step).transpose()
    }

    async fn steps_of_execution(&self, execution: &str) -> Result<Vec<StepRecord>> {
        let rows = sqlx::query("SELECT * FROM execution_steps WHERE execution = $1 ORDER BY rowid")
            .bind(execution)
            .fetch_all(&self.reader)
            .await
            .map_err(Error::query("list steps"))?;
        rows.iter().map(read_step).collect()
    }

    async fn put_step_progress(&self, task: &str, progress: &str) -> Result<bool> {
        let updated = sqlx::query("UPDATE execution_steps SET progress = $2 WHERE task = $1")
            .bind(task)
            .bind(progress)
            .execute(&self.writer)
            .await
            .map_err(Error::query("store the progress of a step"))?;
        Ok(updated.rows_affected() > 0)
    }
}

fn read_step(row: &SqliteRow) -> Result<StepRecord> {
    let read = || -> sqlx::Result<(StepRecord, i64)> {
        let step = StepRecord {
            task: row.try_get("task")?,
            execution: row.try_get("execution")?,
            node: row.try_get("node")?,
            attempt: row.try_get("attempt")?,
            request: row.try_get("request")?,
            progress: row.try_get("progress")?,
            created_at: jiff::Timestamp::UNIX_EPOCH,
        };
        Ok((step, row.try_get("created_at")?))
    };
    let (step, created_at) = read().map_err(Error::query("read a step"))?;
    Ok(StepRecord {
        created_at: timestamp("step", created_at)?,
        ..step
    })
}
