//! What survives a server restart: the tasks, and what was delivered to whoever asked for them.

use std::collections::{BTreeMap, BTreeSet};

use sortie_link::task::{Action, Ending, Event, Recovery, Standing, Task, Verdict, apply};
use sortie_link::{CancelReason, Holder, Payload, ServerControl, TaskId, TaskRef};

use super::is_open;

#[derive(Default)]
pub(super) struct Store {
    tasks: BTreeMap<TaskId, Task>,
    accepted: BTreeSet<TaskRef>,
    delivered: Vec<TaskId>,
}

impl Store {
    pub(super) fn enqueue(&mut self, recovery: Recovery) {
        let id = TaskId::from(format!("t{:03}", self.tasks.len()));
        self.tasks.insert(id, Task::new(recovery));
    }

    /// Applies an event; returns what the holder must hear.
    pub(super) fn apply(&mut self, id: &TaskId, event: &Event) -> Vec<(Holder, ServerControl)> {
        let before = self.tasks.get(id).unwrap();
        let transition = apply(before, event);
        if transition.verdict == Verdict::Applied
            && let Event::Finished { holder, epoch, .. } | Event::Accepted { holder, epoch } = event
        {
            assert_eq!(
                (before.holder(), before.epoch),
                (Some(holder), *epoch),
                "stale: {event:?}"
            );
        }
        let after = transition.task;
        if matches!(event, Event::Accepted { .. }) && transition.verdict == Verdict::Applied {
            self.accepted.insert(TaskRef {
                id: id.clone(),
                epoch: after.epoch,
            });
        }
        let task = TaskRef {
            id: id.clone(),
            epoch: after.epoch,
        };
        let mut commands = Vec::new();
        for action in transition.actions {
            let holder = after.holder().cloned();
            match (action, holder) {
                (Action::Assign, Some(holder)) => {
                    let payload = Payload::from([]);
                    commands.push((
                        holder,
                        ServerControl::Assign {
                            task: task.clone(),
                            payload,
                        },
                    ));
                }
                (Action::Cancel, Some(holder)) => {
                    let reason = CancelReason::Requested;
                    commands.push((
                        holder,
                        ServerControl::Cancel {
                            task: task.clone(),
                            reason,
                        },
                    ));
                }
                (Action::Start, Some(holder)) => {
                    commands.push((holder, ServerControl::Start(task.clone())));
                }
                (Action::Supersede, _) => {
                    if let Event::Accepted { holder, epoch } = event {
                        let task = TaskRef {
                            id: id.clone(),
                            epoch: *epoch,
                        };
                        let reason = CancelReason::Superseded;
                        commands.push((holder.clone(), ServerControl::Cancel { task, reason }));
                    }
                }
                (Action::Deliver, _) => self.delivered.push(id.clone()),
                (Action::Place, _) => {}
                (action, None) => panic!("{action:?} without a holder"),
            }
        }
        self.tasks.insert(id.clone(), after);
        commands
    }

    pub(super) fn queued(&self) -> Option<TaskId> {
        self.tasks
            .iter()
            .find(|(_, task)| task.standing == Standing::Queued)
            .map(|(id, _)| id.clone())
    }

    pub(super) fn held_by(&self, instance: &str) -> Vec<(TaskId, Holder)> {
        self.tasks
            .iter()
            .filter_map(|(id, task)| {
                let holder = task.holder()?;
                (holder.instance.as_str() == instance).then(|| (id.clone(), holder.clone()))
            })
            .collect()
    }

    pub(super) fn instances(&self) -> BTreeSet<String> {
        self.tasks
            .values()
            .filter_map(|t| Some(t.holder()?.instance.to_string()))
            .collect()
    }

    /// Whether this holder's claim no longer counts.
    pub(super) fn is_superseded(&self, claim: &TaskRef, holder: &Holder) -> bool {
        self.tasks
            .get(&claim.id)
            .is_none_or(|task| !task.is_held_by(holder, claim.epoch))
    }

    pub(super) fn pick(&self, pick: u16) -> Option<TaskId> {
        (!self.tasks.is_empty())
            .then(|| {
                self.tasks
                    .keys()
                    .nth(usize::from(pick) % self.tasks.len())
                    .cloned()
            })
            .flatten()
    }

    pub(super) fn was_accepted(&self, task: &TaskRef) -> bool {
        self.accepted.contains(task)
    }

    pub(super) fn is_done(&self) -> bool {
        self.open().is_empty()
    }

    pub(super) fn open(&self) -> Vec<(&TaskId, &Task)> {
        self.tasks
            .iter()
            .filter(|(_, task)| is_open(&task.standing))
            .collect()
    }

    pub(super) fn of(&self, recovery: Recovery) -> Vec<TaskId> {
        self.tasks
            .iter()
            .filter(|(_, task)| task.recovery == recovery)
            .map(|(id, _)| id.clone())
            .collect()
    }

    pub(super) fn endings(&self) -> Vec<(TaskId, Ending)> {
        self.tasks
            .iter()
            .filter_map(|(id, task)| match task.standing {
                Standing::Ended { end } => Some((id.clone(), end)),
                _ => None,
            })
            .collect()
    }

    pub(super) fn check_delivered_once(&self) {
        let mut delivered = self.delivered.clone();
        delivered.sort();
        let all: Vec<_> = self.tasks.keys().cloned().collect();
        assert_eq!(delivered, all, "each task's end is delivered once");
    }
}
