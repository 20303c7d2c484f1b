use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;

use super::{SqliteStore, millis, timestamp};
use crate::{Error, NewTask, Result, Scope, TaskChange, TaskRecord, Tasks};

#[async_trait]
impl Tasks for SqliteStore {
    async fn insert_task(&self, task: &NewTask) -> Result<TaskRecord> {
        let operation = "queue a task";
        let mut transaction = self.write(operation).await?;
        sqlx::query(
            "INSERT INTO tasks
             (id, version, org, project, selectors, payload, record, deadline, created_at)
             VALUES ($1, 1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(&task.id)
        .bind(task.scope.org.as_deref().unwrap_or_default())
        .bind(task.scope.project.as_deref().unwrap_or_default())
        .bind(Json(&task.selectors))
        .bind(&task.payload)
        .bind(&task.record)
        .bind(millis(task.deadline))
        .bind(millis(task.created_at))
        .execute(&mut *transaction)
        .await
        .map_err(Error::query(operation))?;
        let row = sqlx::query("SELECT * FROM tasks WHERE id = $1")
            .bind(&task.id)
            .fetch_one(&mut *transaction)
            .await
            .map_err(Error::query(operation))?;
        transaction
            .commit()
            .await
            .map_err(Error::query(operation))?;
        read_task(&row)
    }

    async fn task(&self, id: &str) -> Result<Option<TaskRecord>> {
        let row = sqlx::query("SELECT * FROM tasks WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.reader)
            .await
            .map_err(Error::query("read a task"))?;
        row.as_ref().map(read_task).transpose()
    }

    async fn untold_tasks(&self) -> Result<Vec<TaskRecord>> {
        let rows = sqlx::query("SELECT * FROM tasks WHERE NOT told ORDER BY created_at, id")
            .fetch_all(&self.reader)
            .await
            .map_err(Error::query("list tasks"))?;
        rows.iter().map(read_task).collect()
    }

    async fn update_task(&self, change: &TaskChange) -> Result<i64> {
        let updated = sqlx::query(
            "UPDATE tasks SET version = version + 1, record = $3, ended = $4, outcome = $5,
             delegate = COALESCE($6, delegate)
             WHERE id = $1 AND version = $2",
        )
        .bind(&change.id)
        .bind(change.version)
        .bind(&change.record)
        .bind(change.ended)
        .bind(&change.outcome)
        .bind(&change.delegate)
        .execute(&self.writer)
        .await
        .map_err(Error::query("store a task"))?;
        if updated.rows_affected() == 0 {
            return Err(Error::Conflict {
                what: format!("task {}", change.id),
            });
        }
        Ok(change.version + 1)
    }

    async fn task_told(&self, id: &str, now: Timestamp) -> Result<()> {
        sqlx::query(
            "UPDATE tasks SET told = TRUE, payload = x'', told_at = COALESCE(told_at, $2)
             WHERE id = $1 AND ended",
        )
        .bind(id)
        .bind(millis(now))
        .execute(&self.writer)
        .await
        .map_err(Error::query("close a task"))?;
        Ok(())
    }
}

fn read_task(row: &SqliteRow) -> Result<TaskRecord> {
    let read = || -> sqlx::Result<(TaskRecord, i64, i64)> {
        let part = |column| -> sqlx::Result<Option<String>> {
            let text: String = row.try_get(column)?;
            Ok(Some(text).filter(|text| !text.is_empty()))
        };
        let Json(selectors) = row.try_get("selectors")?;
        let task = TaskRecord {
            id: row.try_get("id")?,
            version: row.try_get("version")?,
            scope: Scope {
                org: part("org")?,
                project: part("project")?,
            },
            selectors,
            payload: row.try_get("payload")?,
            record: row.try_get("record")?,
            delegate: row.try_get("delegate")?,
            outcome: row.try_get("outcome")?,
            ended: row.try_get("ended")?,
            told: row.try_get("told")?,
            deadline: Timestamp::UNIX_EPOCH,
            created_at: Timestamp::UNIX_EPOCH,
        };
        Ok((task, row.try_get("deadline")?, row.try_get("created_at")?))
    };
    let (task, deadline, created) = read().map_err(Error::query("read a task"))?;
    Ok(TaskRecord {
        deadline: timestamp("task", deadline)?,
        created_at: timestamp("task", created)?,
        ..task
    })
}
