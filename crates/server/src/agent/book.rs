//! The tasks that have not ended, or whose end the engine has not heard of: in memory, and always stored first.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use sortie_link::selection::Requirement;
use sortie_link::task::{Action, Ending, Event, Recovery, Standing, Task, Verdict, apply};
use sortie_link::{CancelReason, Holder, Payload, ServerControl, TaskId, TaskRef};
use sortie_proto::v1;
use sortie_store::{NewTask, Store, TaskChange, TaskRecord};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::wire;
use crate::clock;
use crate::tasks::{Handover, TaskRequest};

/// A task in the book.
#[derive(Debug)]
struct Entry {
    task: Task,
    version: i64,
    payload: Payload,
    requirement: Requirement,
    deadline: jiff::Timestamp,
    queued_at: jiff::Timestamp,
    /// Who refused it lately: not asked again before the time.
    refused: HashMap<Holder, (String, Instant)>,
    /// Why nobody was chosen, at the last try: name and reason for each that was connected.
    reasons: Option<Vec<(String, String)>>,
}

/// What came of an event.
#[derive(Debug)]
pub(super) struct Applied {
    pub verdict: Verdict,
    /// What has to be done, in order.
    pub effects: Vec<Effect>,
    /// What people are told of it, with the epoch it is about.
    pub handover: Option<(u64, Handover)>,
}

/// What has to be done after a change.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Effect {
    /// Say this to the holder.
    Command(Holder, ServerControl),
    /// Find a delegate for what is queued.
    Place,
    /// Tell the engine of the end.
    Tell(TaskId),
}

/// A queued task, as the search for a delegate needs it.
#[derive(Debug, Clone)]
pub(super) struct Queued {
    pub requirement: Requirement,
    pub deadline: jiff::Timestamp,
    /// Who is not to be asked now, and why.
    pub refused: HashMap<Holder, String>,
}

/// The tasks.
pub(super) struct Book {
    store: Arc<dyn Store>,
    entries: Mutex<HashMap<TaskId, Entry>>,
}

impl Book {
    /// Reads what is not over. The second value is what has ended and was not told.
    pub(super) async fn open(
        store: Arc<dyn Store>,
    ) -> Result<(Self, Vec<TaskId>), sortie_store::Error> {
        let mut entries = HashMap::new();
        let mut untold = Vec::new();
        for record in store.untold_tasks().await? {
            if record.ended {
                untold.push(TaskId::from(record.id));
            } else if let Some(entry) = entry(&record) {
                entries.insert(TaskId::from(record.id), entry);
            } else {
                tracing::error!(
                    task = record.id,
                    "a stored task cannot be read; it is left alone"
                );
            }
        }
        let book = Self {
            store,
            entries: Mutex::new(entries),
        };
        Ok((book, untold))
    }

    /// Queues a task; a known id changes nothing.
    pub(super) async fn insert(
        &self,
        request: &TaskRequest,
    ) -> Result<Vec<Effect>, sortie_store::Error> {
        let recovery = if request.resumable {
            Recovery::Resumable
        } else {
            Recovery::Once
        };
        let id = TaskId::from(request.id.as_str());
        let new = NewTask {
            id: request.id.clone(),
            scope: request.scope.clone(),
            selectors: request.selectors.clone(),
            payload: request.task.encode_to_vec(),
            record: record(&Task::new(recovery)),
            deadline: request.deadline,
            created_at: clock::now(),
        };
        let mut entries = self.entries.lock().await;
        if entries.contains_key(&id) {
            return Ok(Vec::new());
        }
        let stored = self.store.insert_task(&new).await?;
        if stored.ended {
            return Ok(vec![Effect::Tell(id)]);
        }
        let Some(entry) = entry(&stored) else {
            return Err(sortie_store::Error::Unreadable {
                what: "task",
                detail: stored.id,
            });
        };
        entries.insert(id, entry);
        Ok(vec![Effect::Place])
    }

    /// Applies an event to a task: stored first, then remembered. `result` is kept when the event ends the task.
    /// A task that is not in the book is over or unknown: every event is stale.
    pub(super) async fn apply(
        &self,
        id: &TaskId,
        event: &Event,
        result: Option<Vec<u8>>,
    ) -> Result<Applied, sortie_store::Error> {
        let mut entries = self.entries.lock().await;
        let Some(entry) = entries.get_mut(id) else {
            return Ok(Applied {
                verdict: Verdict::Stale,
                effects: superseded(id, event).into_iter().collect(),
                handover: None,
            });
        };
        // Nobody took it, and its time is over: so it ends, whoever notices first.
        let is_late = *event == Event::Cancel
            && entry.task.standing == Standing::Queued
            && entry.deadline <= clock::now();
        let event = if is_late { &Event::Expired } else { event };
        let transition = apply(&entry.task, event);
        let handover = handover(&entry.task, &transition.task, event);
        let handover = handover.map(|handover| (transition.task.epoch, handover));
        if transition.task != entry.task {
            let ended = transition.task.is_ended();
            let outcome = match transition.task.standing {
                Standing::Ended { end } => Some(match result {
                    Some(result) => result,
                    None => own_result(end, entry),
                }),
                _ => None,
            };
            let change = TaskChange {
                id: id.to_string(),
                version: entry.version,
                record: record(&transition.task),
                ended,
                delegate: transition
                    .task
                    .holder()
                    .map(|holder| holder.delegate.to_string()),
                outcome,
            };
            entry.version = self.store.update_task(&change).await?;
            entry.task = transition.task;
        }
        let effects = effects(id, entry, event, &transition.actions);
        if entry.task.is_ended() {
            entries.remove(id);
        }
        Ok(Applied {
            verdict: transition.verdict,
            effects,
            handover,
        })
    }

    /// How long ago the task was queued; nothing once it is over.
    pub(super) async fn waited(&self, id: &TaskId) -> Duration {
        let entries = self.entries.lock().await;
        let waited = entries
            .get(id)
            .map(|entry| clock::now().duration_since(entry.queued_at));
        // A clock may be set back in between.
        waited
            .and_then(|waited| Duration::try_from(waited).ok())
            .unwrap_or_default()
    }

    /// Whether a claim counts.
    pub(super) async fn is_held_by(&self, task: &TaskRef, holder: &Holder) -> bool {
        let entries = self.entries.lock().await;
        entries
            .get(&task.id)
            .is_some_and(|entry| entry.task.is_held_by(holder, task.epoch))
    }

    /// The task itself, while it is held by this delegate.
    pub(super) async fn held_task(&self, task: &TaskRef, delegate: &str) -> Option<v1::Task> {
        let entries = self.entries.lock().await;
        let entry = entries.get(&task.id)?;
        let is_held = entry.task.epoch == task.epoch
            && entry
                .task
                .holder()
                .is_some_and(|holder| holder.delegate.as_str() == delegate);
        let payload = is_held.then(|| Arc::clone(&entry.payload))?;
        drop(entries);
        v1::Task::decode(&payload[..]).ok()
    }

    /// Tasks held by an instance, whatever its boot.
    pub(super) async fn held_by_instance(&self, holder: &Holder) -> Vec<(TaskId, Holder)> {
        let entries = self.entries.lock().await;
        entries
            .iter()
            .filter_map(|(id, entry)| {
                let by = entry.task.holder()?;
                by.is_same_instance(holder)
                    .then(|| (id.clone(), by.clone()))
            })
            .collect()
    }

    /// How many tasks each holder has.
    pub(super) async fn loads(&self) -> HashMap<Holder, u32> {
        let entries = self.entries.lock().await;
        let mut loads = HashMap::new();
        for holder in entries.values().filter_map(|entry| entry.task.holder()) {
            *loads.entry(holder.clone()).or_default() += 1;
        }
        loads
    }

    /// What waits for a delegate, oldest first.
    pub(super) async fn queued(&self) -> Vec<Queued> {
        let now = Instant::now();
        let mut entries = self.entries.lock().await;
        let mut queued = Vec::new();
        for entry in entries.values_mut() {
            if entry.task.standing == Standing::Queued {
                entry.refused.retain(|_, (_, until)| *until > now);
                let refused = entry
                    .refused
                    .iter()
                    .map(|(holder, (reason, _))| (holder.clone(), reason.clone()))
                    .collect();
                queued.push((
                    entry.queued_at,
                    Queued {
                        requirement: entry.requirement.clone(),
                        deadline: entry.deadline,
                        refused,
                    },
                ));
            }
        }
        queued.sort_by(|a, b| (a.0, &a.1.requirement.task).cmp(&(b.0, &b.1.requirement.task)));
        queued.into_iter().map(|(_, queued)| queued).collect()
    }

    /// Remembers why nobody was chosen. Returns whether the reasons are others than before.
    pub(super) async fn explain(&self, id: &TaskId, reasons: Vec<(String, String)>) -> bool {
        let mut entries = self.entries.lock().await;
        let Some(entry) = entries.get_mut(id) else {
            return false;
        };
        let reasons = Some(reasons);
        let is_new = entry.reasons != reasons;
        entry.reasons = reasons;
        is_new
    }

    /// Remembers a refusal until `until`.
    pub(super) async fn refused(&self, id: &TaskId, by: Holder, reason: String, until: Instant) {
        if let Some(entry) = self.entries.lock().await.get_mut(id) {
            entry.refused.insert(by, (reason, until));
        }
    }
}

/// Whether a started task has lost its holder, or has found the next.
fn handover(before: &Task, after: &Task, event: &Event) -> Option<Handover> {
    let had_holder = matches!(
        before.standing,
        Standing::Accepted { .. } | Standing::Running { .. }
    );
    match event {
        Event::Accepted { holder, .. } if after.attempts > before.attempts.max(1) => {
            Some(Handover::Resumed {
                attempt: after.attempts,
                delegate: holder.delegate.to_string(),
            })
        }
        _ if !had_holder || after.standing != Standing::Queued => None,
        Event::HandedBack { .. } => Some(Handover::HandedBack),
        _ => Some(Handover::Lost),
    }
}

fn effects(id: &TaskId, entry: &Entry, event: &Event, actions: &[Action]) -> Vec<Effect> {
    let task = TaskRef {
        id: id.clone(),
        epoch: entry.task.epoch,
    };
    let holder = entry.task.holder();
    let command = |body: ServerControl| holder.map(|holder| Effect::Command(holder.clone(), body));
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Assign => {
                let payload = Arc::clone(&entry.payload);
                command(ServerControl::Assign {
                    task: task.clone(),
                    payload,
                })
            }
            Action::Start => command(ServerControl::Start(task.clone())),
            Action::Cancel => {
                let reason = CancelReason::Requested;
                command(ServerControl::Cancel {
                    task: task.clone(),
                    reason,
                })
            }
            Action::Supersede => superseded(id, event),
            Action::Place => Some(Effect::Place),
            Action::Deliver => Some(Effect::Tell(id.clone())),
        })
        .collect()
}

/// The answer to somebody who accepts in vain.
fn superseded(id: &TaskId, event: &Event) -> Option<Effect> {
    let Event::Accepted { holder, epoch } = event else {
        return None;
    };
    let task = TaskRef {
        id: id.clone(),
        epoch: *epoch,
    };
    let reason = CancelReason::Superseded;
    Some(Effect::Command(
        holder.clone(),
        ServerControl::Cancel { task, reason },
    ))
}

/// Why nobody was chosen, for people.
pub(super) fn told(reasons: &[(String, String)]) -> String {
    let reasons: Vec<String> = reasons
        .iter()
        .map(|(name, reason)| format!("{name} {reason}"))
        .collect();
    reasons.join("; ")
}

/// That no delegate took a task, for people.
fn untaken(
    selectors: &[String],
    waited: jiff::SignedDuration,
    reasons: &[(String, String)],
) -> String {
    let tags = match selectors {
        [] => String::new(),
        [tag] => format!(" with the tag {tag}"),
        tags => format!(" with the tags {}", tags.join(", ")),
    };
    let seconds = (waited.as_millis() + 500) / 1000;
    match reasons {
        [] => format!("no delegate{tags} was connected within {seconds} s"),
        reasons => format!(
            "no delegate{tags} took the step within {seconds} s: {}",
            told(reasons)
        ),
    }
}

/// The result of a task that no delegate reports.
fn own_result(end: Ending, entry: &Entry) -> Vec<u8> {
    match end {
        Ending::Lost => wire::failure(
            v1::FailureType::DelegateRestart,
            "SRT-S230",
            "the delegate that ran the step was lost, and the step may run only once".to_owned(),
            "check what the step did, then run it again",
        ),
        Ending::GivenUp => wire::failure(
            v1::FailureType::DelegateRestart,
            "SRT-S233",
            format!(
                "{} delegates were lost while they ran the step",
                entry.task.losses
            ),
            "see why they ended: `kubectl describe pod` names a container that was killed for want of memory (OOMKilled)",
        ),
        Ending::Expired => wire::failure(
            v1::FailureType::DelegateProvisioning,
            "SRT-S231",
            untaken(
                &entry.requirement.selectors,
                entry.deadline.duration_since(entry.queued_at),
                entry.reasons.as_deref().unwrap_or_default(),
            ),
            "see `sortie get delegates`, and connect one with the scope and the tags that the step needs",
        ),
        Ending::Forbidden => {
            let reasons: Vec<&str> = entry
                .refused
                .values()
                .map(|(reason, _)| reason.as_str())
                .collect();
            wire::failure(
                v1::FailureType::PolicyEvaluation,
                "SRT-S232",
                format!(
                    "the delegate's policy forbids the step: {}",
                    reasons.join("; ")
                ),
                "ask the owner of the cluster to allow it in the delegate's policy",
            )
        }
        // A delegate reports these itself; here nobody held the task.
        Ending::Succeeded | Ending::Failed | Ending::Aborted => {
            let outcome = Some(v1::task_result::Outcome::Aborted(v1::Aborted::default()));
            v1::TaskResult {
                task: None,
                outcome,
            }
            .encode_to_vec()
        }
    }
}

fn record(task: &Task) -> String {
    serde_json::to_string(task).unwrap_or_default()
}

fn entry(record: &TaskRecord) -> Option<Entry> {
    let task: Task = serde_json::from_str(&record.record).ok()?;
    let decoded = v1::Task::decode(record.payload.as_slice()).ok()?;
    Some(Entry {
        task,
        version: record.version,
        payload: Payload::from(record.payload.as_slice()),
        requirement: Requirement {
            task: record.id.as_str().into(),
            task_type: wire::task_type(&decoded).to_owned(),
            organisation: record.scope.org.clone().unwrap_or_default(),
            project: record.scope.project.clone().unwrap_or_default(),
            selectors: record.selectors.clone(),
        },
        deadline: record.deadline,
        queued_at: record.created_at,
        refused: HashMap::new(),
        reasons: None,
    })
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::untaken;

    #[test]
    fn a_record_of_an_earlier_version_has_lost_nobody() {
        let text = r#"{"recovery":"resumable","epoch":2,"is_cancelled":false,"standing":{"state":"queued"}}"#;
        let task: super::Task = serde_json::from_str(text).unwrap();
        assert_eq!((task.losses, task.epoch), (0, 2));
    }

    #[test]
    fn a_task_that_nobody_took_says_what_was_missing_and_how_long() {
        let reason = |name: &str, reason: &str| (name.to_owned(), reason.to_owned());
        for (selectors, millis, reasons, expected) in [
            (
                vec![],
                19_980,
                vec![],
                "no delegate was connected within 20 s",
            ),
            (
                vec!["eu".to_owned()],
                600_000,
                vec![],
                "no delegate with the tag eu was connected within 600 s",
            ),
            (
                vec!["eu".to_owned(), "prod".to_owned()],
                5_000,
                vec![
                    reason("edge", "lacks the tags eu"),
                    reason("core", "is shutting down"),
                ],
                "no delegate with the tags eu, prod took the step within 5 s: edge lacks the tags eu; core is shutting down",
            ),
        ] {
            let waited = SignedDuration::from_millis(millis);
            assert_eq!(untaken(&selectors, waited, &reasons), expected);
        }
    }
}
