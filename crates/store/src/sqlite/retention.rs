use std::collections::HashSet;

use async_trait::async_trait;
use jiff::Timestamp;

use super::{SqliteStore, millis, timestamp};
use crate::{BlobHash, EndedExecution, Error, Result, Retention};

#[async_trait]
impl Retention for SqliteStore {
    async fn ended_executions(
        &self,
        before: Timestamp,
        after: &str,
        limit: u32,
    ) -> Result<Vec<EndedExecution>> {
        let rows: Vec<(String, i64, i64)> = sqlx::query_as(
            "SELECT id, ended_at,
               (SELECT MAX(sequence) FROM executions AS other
                 WHERE other.org = executions.org AND other.project = executions.project
                   AND other.pipeline = executions.pipeline) - sequence
             FROM executions
             WHERE ended_at IS NOT NULL AND ended_at < $1 AND id > $2 ORDER BY id LIMIT $3",
        )
        .bind(millis(before))
        .bind(after)
        .bind(limit)
        .fetch_all(&self.reader)
        .await
        .map_err(Error::query("list old executions"))?;
        rows.into_iter()
            .map(|(id, ended_at, later_runs)| {
                Ok(EndedExecution {
                    id,
                    ended_at: timestamp("execution", ended_at)?,
                    later_runs,
                })
            })
            .collect()
    }

    async fn delete_execution(&self, id: &str, limit: u32) -> Result<bool> {
        let operation = "delete an old execution";
        let mut transaction = self.write(operation).await?;
        let lines = sqlx::query(
            "DELETE FROM log_lines WHERE position IN (
               SELECT position FROM log_lines WHERE execution = $1
                 AND EXISTS (SELECT 1 FROM executions WHERE id = $1 AND ended_at IS NOT NULL)
               ORDER BY position LIMIT $2)",
        )
        .bind(id)
        .bind(limit)
        .execute(&mut *transaction)
        .await
        .map_err(Error::query(operation))?;
        let is_last = lines.rows_affected() < u64::from(limit);
        if is_last {
            sqlx::query("DELETE FROM executions WHERE id = $1 AND ended_at IS NOT NULL")
                .bind(id)
                .execute(&mut *transaction)
                .await
                .map_err(Error::query(operation))?;
        }
        transaction
            .commit()
            .await
            .map_err(Error::query(operation))?;
        Ok(is_last)
    }

    async fn delete_told_tasks(&self, before: Timestamp, limit: u32) -> Result<u64> {
        let deleted = sqlx::query(
            "DELETE FROM tasks WHERE id IN (
               SELECT id FROM tasks WHERE told AND told_at < $1 ORDER BY told_at LIMIT $2)",
        )
        .bind(millis(before))
        .bind(limit)
        .execute(&self.writer)
        .await
        .map_err(Error::query("delete old tasks"))?;
        Ok(deleted.rows_affected())
    }

    async fn delete_revoked_delegates(
        &self,
        before: Timestamp,
        now: Timestamp,
        limit: u32,
    ) -> Result<u64> {
        let operation = "delete revoked delegates";
        let mut transaction = self.write(operation).await?;
        let gone: Vec<String> = sqlx::query_scalar(
            "SELECT id FROM delegates WHERE revoked_at < $1 AND NOT EXISTS (
               SELECT 1 FROM enrolments JOIN join_tokens ON join_tokens.id = token
                 WHERE delegate = delegates.id AND join_tokens.revoked_at IS NULL AND expires_at > $2)
             ORDER BY revoked_at LIMIT $3",
        )
        .bind(millis(before))
        .bind(millis(now))
        .bind(limit)
        .fetch_all(&mut *transaction)
        .await
        .map_err(Error::query(operation))?;
        for statement in [
            "DELETE FROM enrolments WHERE delegate IN (SELECT value FROM json_each($1))",
            "DELETE FROM delegates WHERE id IN (SELECT value FROM json_each($1))",
        ] {
            sqlx::query(statement)
                .bind(sqlx::types::Json(&gone))
                .execute(&mut *transaction)
                .await
                .map_err(Error::query(operation))?;
        }
        transaction
            .commit()
            .await
            .map_err(Error::query(operation))?;
        Ok(gone.len() as u64)
    }

    async fn delete_unused_blobs(
        &self,
        before: Timestamp,
        used: &HashSet<BlobHash>,
    ) -> Result<u64> {
        let mut deleted = 0;
        for folder in self.blobs.folders().await? {
            let mut old = self.blobs.old(folder, before).await?;
            old.retain(|hash| !used.contains(hash));
            let referred = self.referred(&old).await?;
            old.retain(|hash| !referred.contains(hash.as_str()));
            deleted += self.blobs.delete(old, before).await?;
        }
        Ok(deleted)
    }
}

impl SqliteStore {
    /// Those of `blobs` that a step refers to.
    async fn referred(&self, blobs: &[BlobHash]) -> Result<HashSet<String>> {
        if blobs.is_empty() {
            return Ok(HashSet::new());
        }
        let names: Vec<&str> = blobs.iter().map(BlobHash::as_str).collect();
        let found: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT hash FROM step_blobs WHERE hash IN (SELECT value FROM json_each($1))",
        )
        .bind(sqlx::types::Json(names))
        .fetch_all(&self.reader)
        .await
        .map_err(Error::query("look who uses old blobs"))?;
        Ok(found.into_iter().collect())
    }
}
