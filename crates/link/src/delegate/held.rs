//! The tasks a delegate process holds, and those it has seen.

use std::collections::{BTreeMap, VecDeque};

use crate::{TaskId, TaskRef};

/// Epochs remembered of tasks that are no longer held.
const SEEN_LIMIT: usize = 1024;

/// Where a held task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The program decides. Leaves by accept, refuse or cancel.
    Offered,
    /// Accepted; leaves when the server says start, or that another has it.
    Accepted,
    /// Started. Leaves by finish, by being handed back, or by losing the epoch.
    Running,
    /// Its result, or that it was handed back, is in message `seq`; leaves when the server has stored that.
    Ended { seq: u64 },
}

#[derive(Debug, Default)]
pub(super) struct Held {
    tasks: BTreeMap<TaskId, (u64, Stage)>,
    seen: BTreeMap<TaskId, u64>,
    seen_order: VecDeque<TaskId>,
}

impl Held {
    pub(super) fn offer(&mut self, task: &TaskRef) {
        self.saw(task);
        self.tasks
            .insert(task.id.clone(), (task.epoch, Stage::Offered));
    }

    pub(super) fn set(&mut self, task: &TaskRef, stage: Stage) {
        self.tasks.insert(task.id.clone(), (task.epoch, stage));
    }

    pub(super) fn remove(&mut self, task: &TaskRef) {
        if self.stage_of(task).is_some() {
            self.tasks.remove(&task.id);
        }
    }

    pub(super) fn current(&self, id: &TaskId) -> Option<(u64, Stage)> {
        self.tasks.get(id).copied()
    }

    pub(super) fn stage_of(&self, task: &TaskRef) -> Option<Stage> {
        self.current(&task.id)
            .filter(|(epoch, _)| *epoch == task.epoch)
            .map(|(_, stage)| stage)
    }

    pub(super) fn is_running(&self, task: &TaskRef) -> bool {
        self.stage_of(task) == Some(Stage::Running)
    }

    pub(super) fn running(&self) -> usize {
        self.tasks
            .values()
            .filter(|(_, stage)| *stage == Stage::Running)
            .count()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    pub(super) fn refs(&self) -> Vec<TaskRef> {
        self.tasks
            .iter()
            .map(|(id, (epoch, _))| TaskRef {
                id: id.clone(),
                epoch: *epoch,
            })
            .collect()
    }

    /// Whether this epoch, or a later one, was offered before.
    pub(super) fn has_seen(&self, task: &TaskRef) -> bool {
        self.seen
            .get(&task.id)
            .is_some_and(|epoch| *epoch >= task.epoch)
    }

    pub(super) fn saw(&mut self, task: &TaskRef) {
        if self.seen.insert(task.id.clone(), task.epoch).is_none() {
            self.seen_order.push_back(task.id.clone());
        }
        while self.seen_order.len() > SEEN_LIMIT {
            let Some(oldest) = self.seen_order.pop_front() else {
                break;
            };
            if self.tasks.contains_key(&oldest) {
                self.seen_order.push_back(oldest);
                if self.seen_order.len() <= self.tasks.len() {
                    break;
                }
            } else {
                self.seen.remove(&oldest);
            }
        }
    }
}
