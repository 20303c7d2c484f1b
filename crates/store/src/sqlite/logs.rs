use async_trait::async_trait;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::{SqliteStore, millis, timestamp};
use crate::{Error, LogLine, Logs, NewLogLine, Result};

#[async_trait]
impl Logs for SqliteStore {
    async fn append_log(&self, lines: &[NewLogLine]) -> Result<u64> {
        let operation = "append log lines";
        let mut transaction = self.write(operation).await?;
        let mut new = 0;
        for line in lines {
            let inserted = sqlx::query(
                "INSERT INTO log_lines (execution, node, task, epoch, seq, unit, level, at, text)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
                 ON CONFLICT (task, epoch, seq) DO NOTHING",
            )
            .bind(&line.execution)
            .bind(&line.node)
            .bind(&line.task)
            .bind(line.epoch)
            .bind(line.seq)
            .bind(&line.unit)
            .bind(&line.level)
            .bind(millis(line.at))
            .bind(&line.text)
            .execute(&mut *transaction)
            .await
            .map_err(Error::query(operation))?;
            new += inserted.rows_affected();
        }
        transaction
            .commit()
            .await
            .map_err(Error::query(operation))?;
        Ok(new)
    }

    async fn log_lines(
        &self,
        execution: &str,
        node: Option<&str>,
        after: i64,
        limit: u32,
    ) -> Result<Vec<LogLine>> {
        // `node || '.' < x < node || '/'` are exactly the texts that start with `node.`.
        let rows = sqlx::query(
            "SELECT * FROM log_lines
             WHERE execution = $1 AND position > $2
               AND ($3 IS NULL OR node = $3 OR (node > $3 || '.' AND node < $3 || '/'))
             ORDER BY position LIMIT $4",
        )
        .bind(execution)
        .bind(after)
        .bind(node)
        .bind(limit)
        .fetch_all(&self.reader)
        .await
        .map_err(Error::query("read log lines"))?;
        rows.iter().map(read_line).collect()
    }
}

fn read_line(row: &SqliteRow) -> Result<LogLine> {
    let read = || -> sqlx::Result<(LogLine, i64)> {
        let line = LogLine {
            position: row.try_get("position")?,
            line: NewLogLine {
                execution: row.try_get("execution")?,
                node: row.try_get("node")?,
                task: row.try_get("task")?,
                epoch: row.try_get("epoch")?,
                seq: row.try_get("seq")?,
                unit: row.try_get("unit")?,
                level: row.try_get("level")?,
                at: jiff::Timestamp::UNIX_EPOCH,
                text: row.try_get("text")?,
            },
        };
        Ok((line, row.try_get("at")?))
    };
    let (mut line, at) = read().map_err(Error::query("read log lines"))?;
    line.line.at = timestamp("log line", at)?;
    Ok(line)
}
