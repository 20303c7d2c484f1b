//! How long what is over is kept, and the sweeper that removes what is older.

use std::collections::HashSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use prost::Message as _;
use sortie_proto::v1;
use sortie_store::{BlobHash, EndedExecution, Store};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::problem::chain;

/// Rows that one statement deletes: other writers wait for no more than that.
const PIECE: u32 = 2_000;

/// Executions that are looked at together.
const PAGE: u32 = 200;

/// How long a blob is kept that nothing refers to: much longer than it takes from keeping it to storing what refers to
/// it.
const UNUSED_BLOBS: Duration = Duration::from_secs(24 * 3600);

/// How long revoked delegates are kept for people to see: as long as they could have renewed their certificates.
const REVOKED_DELEGATES: Duration = Duration::from_secs(30 * 24 * 3600);

/// How often to look, at most and at least.
const PERIOD: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

/// How long what is over is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Executions with their logs, after their end. Default 90 days.
    pub executions: Duration,
    /// The last runs of each pipeline, which are kept however old they are. Default 20.
    pub runs: u32,
    /// Tasks, after the engine heard of their end. Default one day.
    pub tasks: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            executions: Duration::from_secs(90 * 24 * 3600),
            runs: 20,
            tasks: Duration::from_secs(24 * 3600),
        }
    }
}

impl Retention {
    /// Whether an execution may go.
    fn is_over(&self, execution: &EndedExecution, now: Timestamp) -> bool {
        execution.ended_at < before(now, self.executions)
            && execution.later_runs >= i64::from(self.runs)
    }

    /// How often to look: often enough that nothing is kept much longer than asked for.
    fn period(&self) -> Duration {
        let shortest = self.executions.min(self.tasks);
        (shortest / 10).clamp(PERIOD.0, PERIOD.1)
    }
}

/// The time that lies so long ago.
fn before(now: Timestamp, age: Duration) -> Timestamp {
    SignedDuration::try_from(age)
        .ok()
        .and_then(|age| now.checked_sub(age).ok())
        .unwrap_or(Timestamp::MIN)
}

/// Removes what is too old, until `stop`.
pub(crate) async fn run(retention: Retention, store: &dyn Store, stop: CancellationToken) {
    let mut look = tokio::time::interval(retention.period());
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = look.tick() => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            swept = sweep(retention, store, clock::now()) => match swept {
                Ok(swept) if swept == Swept::default() => {}
                Ok(Swept { executions, tasks, delegates, blobs }) => {
                    tracing::info!(executions, tasks, delegates, blobs, "removed what is older than it is kept");
                }
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "could not remove what is old; trying again later");
                }
            }
        }
    }
}

/// How much was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Swept {
    executions: u64,
    tasks: u64,
    delegates: u64,
    blobs: u64,
}

/// Removes what is too old once.
async fn sweep(
    retention: Retention,
    store: &dyn Store,
    now: Timestamp,
) -> sortie_store::Result<Swept> {
    let mut swept = Swept::default();
    let mut after = String::new();
    loop {
        let page = store
            .ended_executions(before(now, retention.executions), &after, PAGE)
            .await?;
        let Some(last) = page.last() else { break };
        after.clone_from(&last.id);
        for execution in page.iter().filter(|known| retention.is_over(known, now)) {
            while !store.delete_execution(&execution.id, PIECE).await? {}
            swept.executions += 1;
        }
    }
    loop {
        let deleted = store
            .delete_told_tasks(before(now, retention.tasks), PIECE)
            .await?;
        swept.tasks += deleted;
        if deleted < u64::from(PIECE) {
            break;
        }
    }
    loop {
        let deleted = store
            .delete_revoked_delegates(before(now, REVOKED_DELEGATES), now, PIECE)
            .await?;
        swept.delegates += deleted;
        if deleted < u64::from(PIECE) {
            break;
        }
    }
    let used = blobs_of_tasks(store).await?;
    swept.blobs = store
        .delete_unused_blobs(before(now, UNUSED_BLOBS), &used)
        .await?;
    Ok(swept)
}

/// The blobs that tasks refer to which are not over.
async fn blobs_of_tasks(store: &dyn Store) -> sortie_store::Result<HashSet<BlobHash>> {
    let records = store.untold_tasks().await?;
    let tasks = records
        .iter()
        .filter_map(|record| v1::Task::decode(record.payload.as_slice()).ok());
    let blobs = tasks.flat_map(|task| {
        let named = task
            .blobs()
            .filter_map(|blob| BlobHash::parse(&blob.sha256));
        named.collect::<Vec<_>>()
    });
    Ok(blobs.collect())
}

#[cfg(test)]
mod tests {
    use sortie_store::{
        Advance, Blobs as _, Delegates as _, Enrolment, Executions as _, JoinToken, NewExecution,
        NewTask, Retention as _, Scope, SqliteStore, TaskChange, Tasks as _,
    };

    use super::*;

    async fn ended(store: &SqliteStore, id: String, ended_at: Timestamp) {
        let new = NewExecution {
            id: id.clone(),
            scope: Scope::project("acme", "shop"),
            pipeline: "web".to_owned(),
            pipeline_version: 1,
            plan: "{}".to_owned(),
            inputs: "{}".to_owned(),
            state: "{}".to_owned(),
            status: "RUNNING".to_owned(),
            events: Vec::new(),
            requested_by: "admin".to_owned(),
            created_at: Timestamp::UNIX_EPOCH,
        };
        store.create_execution(&new).await.unwrap();
        let end = Advance {
            events: Vec::new(),
            state: "{}".to_owned(),
            status: "SUCCEEDED".to_owned(),
            message: None,
            code: None,
            ended: true,
        };
        store
            .advance_execution(&id, 1, &end, ended_at)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn the_sweeper_removes_all_pages_of_the_old_and_ends_when_told() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path()).await.unwrap();
        let all = PAGE + 5;
        for number in 0..all {
            ended(&store, format!("e{number:04}"), Timestamp::UNIX_EPOCH).await;
        }
        let retention = Retention {
            executions: Duration::from_secs(60),
            runs: 3,
            tasks: Duration::from_secs(60),
        };
        let stop = CancellationToken::new();
        let swept = async {
            let last_to_go = format!("e{:04}", all - 4);
            while store.execution(&last_to_go).await.unwrap().is_some() {
                tokio::task::yield_now().await;
            }
            stop.cancel();
        };
        let both = async { tokio::join!(run(retention, &store, stop.clone()), swept) };
        let limit = Duration::from_secs(60);
        tokio::time::timeout(limit, both)
            .await
            .expect("it sweeps at once");
        let left = store
            .ended_executions(Timestamp::MAX, "", 10)
            .await
            .unwrap();
        assert_eq!(left.len(), 3, "{left:?}");
    }

    #[tokio::test]
    async fn a_blob_stays_while_a_task_names_it_and_for_a_day() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path()).await.unwrap();
        let context = store.put_blob(b"context").await.unwrap();
        let large = store.put_blob(b"large file").await.unwrap();
        let unused = store.put_blob(b"unused").await.unwrap();
        let blob = |hash: &BlobHash| v1::BlobRef {
            sha256: hash.to_string(),
            size: 1,
        };
        let file = v1::InlineFile {
            path: "large.yaml".to_owned(),
            content: Some(v1::inline_file::Content::Blob(blob(&large))),
        };
        let files = v1::InlineFiles { files: vec![file] };
        let deploy = v1::KubernetesRollingDeploy {
            values: vec![v1::Source {
                id: "values".to_owned(),
                from: Some(v1::source::From::Inline(files)),
            }],
            ..v1::KubernetesRollingDeploy::default()
        };
        let task = v1::Task {
            context: Some(blob(&context)),
            step: Some(v1::task::Step::KubernetesRollingDeploy(deploy)),
            ..v1::Task::default()
        };
        let new = NewTask {
            id: "t1".to_owned(),
            scope: Scope::default(),
            selectors: Vec::new(),
            payload: task.encode_to_vec(),
            record: "queued".to_owned(),
            deadline: Timestamp::UNIX_EPOCH,
            created_at: Timestamp::UNIX_EPOCH,
        };
        store.insert_task(&new).await.unwrap();
        let retention = Retention::default();
        let hours = |hours| clock::now() + SignedDuration::from_hours(hours);
        let there = async || {
            let mut there = Vec::new();
            for hash in [&context, &large, &unused] {
                there.push(store.blob(hash).await.unwrap().is_some());
            }
            there
        };
        let swept = sweep(retention, &store, hours(23)).await.unwrap();
        assert_eq!(swept, Swept::default());
        let swept = sweep(retention, &store, hours(25)).await.unwrap();
        assert_eq!(swept.blobs, 1);
        assert_eq!(there().await, [true, true, false]);
        let over = TaskChange {
            id: "t1".to_owned(),
            version: 1,
            record: "over".to_owned(),
            ended: true,
            delegate: None,
            outcome: None,
        };
        store.update_task(&over).await.unwrap();
        store.task_told("t1", Timestamp::UNIX_EPOCH).await.unwrap();
        let swept = sweep(retention, &store, hours(25)).await.unwrap();
        assert_eq!((swept.tasks, swept.blobs), (1, 2));
        assert_eq!(there().await, [false, false, false]);
    }

    #[tokio::test]
    async fn a_revoked_delegate_goes_after_thirty_days() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path()).await.unwrap();
        let day = |day: i64| Timestamp::from_second(day * 86_400).unwrap();
        let token = JoinToken {
            id: "t".to_owned(),
            hash: vec![7; 32],
            label: String::new(),
            scope: Scope::default(),
            delegate_name: None,
            max_uses: 1,
            uses: 0,
            created_by: "admin".to_owned(),
            created_at: day(0),
            expires_at: day(1),
            revoked_at: None,
        };
        store.create_join_token(&token).await.unwrap();
        let enrolment = Enrolment {
            token: "t".to_owned(),
            public_key: vec![1; 32],
            delegate: "d".to_owned(),
            name: "edge".to_owned(),
            now: day(0),
        };
        store.enrol(&enrolment).await.unwrap();
        let swept = async |now| sweep(Retention::default(), &store, now).await.unwrap();
        assert_eq!(swept(day(900)).await, Swept::default(), "it is not revoked");
        store.revoke_delegate("d", day(10)).await.unwrap();
        assert_eq!(swept(day(40)).await, Swept::default());
        assert_eq!(swept(day(41)).await.delegates, 1);
        assert_eq!(store.delegate("d").await.unwrap(), None);
    }

    #[test]
    fn an_execution_goes_when_it_is_old_and_not_among_the_last() {
        let retention = Retention {
            executions: Duration::from_secs(100),
            runs: 2,
            tasks: Duration::from_secs(10),
        };
        let now = Timestamp::from_second(1_000).unwrap();
        for (ended, later_runs, expected) in [
            (899, 2, true),
            (899, 50, true),
            (900, 2, false),
            (950, 50, false),
            (899, 1, false),
            (0, 0, false),
        ] {
            let execution = EndedExecution {
                id: "e".to_owned(),
                ended_at: Timestamp::from_second(ended).unwrap(),
                later_runs,
            };
            assert_eq!(
                retention.is_over(&execution, now),
                expected,
                "{ended} {later_runs}"
            );
        }
    }

    #[test]
    fn it_looks_often_enough_and_not_too_often() {
        let period = |executions, tasks| {
            let retention = Retention {
                executions: Duration::from_secs(executions),
                runs: 1,
                tasks: Duration::from_secs(tasks),
            };
            retention.period().as_secs()
        };
        assert_eq!(period(90 * 86_400, 86_400), 3600);
        assert_eq!(period(600, 86_400), 60);
        assert_eq!(period(1, 1), 1);
    }
}
