//! What a running task shows: log lines at once, units and objects as their newest state.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use prost::Message as _;
use sortie_link::{Payload, State, StateKind, TaskRef};
use sortie_proto::v1;
use sortie_step::report::{Level, ObjectRow, Sink, Unit, UnitStatus};
use tokio::sync::Notify;

use crate::link::LogBuffer;
use crate::{clock, convert};

/// Most rows that are shown; those that are not healthy first.
const MAX_ROWS: usize = 2_000;

/// Longest message of a row.
const MAX_MESSAGE: usize = 400;

/// The tasks with something new to show.
#[derive(Debug, Default)]
pub(crate) struct Board {
    changed: Mutex<BTreeMap<TaskRef, Arc<TaskSink>>>,
    notify: Notify,
}

impl Board {
    /// Returns when a task has something new to show.
    pub(crate) async fn changed(&self) {
        self.notify.notified().await;
    }

    /// What is new, of all tasks.
    pub(crate) fn take(&self) -> Vec<State> {
        let changed = std::mem::take(&mut *lock(&self.changed));
        changed
            .into_values()
            .flat_map(|sink| sink.states())
            .collect()
    }

    /// What is new of one task.
    pub(crate) fn take_of(&self, task: &TaskRef) -> Vec<State> {
        let sink = lock(&self.changed).remove(task);
        sink.map(|sink| sink.states()).unwrap_or_default()
    }

    fn mark(&self, sink: Arc<TaskSink>) {
        lock(&self.changed).insert(sink.task.clone(), sink);
        self.notify.notify_one();
    }
}

/// Hears one task.
#[derive(Debug)]
pub struct TaskSink {
    task: TaskRef,
    board: Arc<Board>,
    logs: Arc<LogBuffer>,
    shown: Mutex<Shown>,
    /// For the board to hold on to.
    this: std::sync::Weak<Self>,
}

#[derive(Debug, Default)]
struct Shown {
    units: Vec<v1::UnitProgress>,
    rows: BTreeMap<(String, String, String, String), v1::ResourceStatus>,
    progress: Revision,
    resources: Revision,
    lines: u64,
}

/// Counts states; odd ones out are not handed over yet.
#[derive(Clone, Copy, Debug, Default)]
struct Revision {
    number: u64,
    is_new: bool,
}

impl Revision {
    const fn mark(&mut self) {
        self.is_new = true;
    }

    /// The number of the state that is handed over now, if there is a new one.
    fn take(&mut self) -> Option<u64> {
        let is_new = std::mem::take(&mut self.is_new);
        is_new.then(|| {
            self.number += 1;
            self.number
        })
    }
}

impl TaskSink {
    pub(crate) fn new(task: TaskRef, board: Arc<Board>, logs: Arc<LogBuffer>) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            task,
            board,
            logs,
            shown: Mutex::default(),
            this: this.clone(),
        })
    }

    /// A log line that belongs to no unit the step reported yet, or to one by its name.
    pub(crate) fn line(&self, unit: &str, level: v1::LogLevel, text: &str) {
        for text in text.lines() {
            let seq = {
                let mut shown = lock(&self.shown);
                shown.lines += 1;
                shown.lines
            };
            let line = v1::LogLine {
                seq,
                unit: unit.to_owned(),
                time_ms: clock::now().as_millisecond(),
                level: level.into(),
                text: text.to_owned(),
            };
            self.logs.push(&self.task, line);
        }
    }

    fn states(&self) -> Vec<State> {
        let mut shown = lock(&self.shown);
        let mut states = Vec::new();
        let mut add = |kind, revision, payload: Vec<u8>| {
            let (task, payload) = (self.task.clone(), Payload::from(payload));
            states.push(State {
                task,
                kind,
                revision,
                payload,
            });
        };
        if let Some(revision) = shown.progress.take() {
            let units = shown.units.clone();
            let progress = v1::Progress {
                task: None,
                revision,
                units,
            };
            add(StateKind::Progress, revision, progress.encode_to_vec());
        }
        if let Some(revision) = shown.resources.take() {
            let rows = visible(&shown.rows);
            let resources = v1::ResourceStatuses {
                task: None,
                revision,
                rows,
            };
            add(StateKind::Resources, revision, resources.encode_to_vec());
        }
        states
    }

    fn mark(&self) {
        if let Some(this) = self.this.upgrade() {
            self.board.mark(this);
        }
    }
}

impl Sink for TaskSink {
    fn unit(&self, unit: Unit, status: UnitStatus) {
        let (task, epoch, name) = (&self.task.id, self.task.epoch, unit.name());
        match status {
            UnitStatus::Running => tracing::info!(%task, epoch, unit = name, "task runs"),
            UnitStatus::Succeeded => tracing::debug!(%task, epoch, unit = name, "unit succeeded"),
            UnitStatus::Failed | UnitStatus::Aborted => {
                tracing::info!(%task, epoch, unit = name, ?status, "unit ended the task");
            }
        }
        {
            let mut shown = lock(&self.shown);
            report(&mut shown.units, unit.name(), status, clock::now());
            shown.progress.mark();
        }
        self.mark();
    }

    fn log(&self, unit: Unit, level: Level, text: &str) {
        self.line(unit.name(), convert::log_level(level), text);
    }

    fn object(&self, _: Unit, row: ObjectRow) {
        let mut row = convert::row(row);
        row.message
            .truncate(row.message.floor_char_boundary(MAX_MESSAGE));
        {
            let mut shown = lock(&self.shown);
            let key = (
                row.group.clone(),
                row.kind.clone(),
                row.namespace.clone(),
                row.name.clone(),
            );
            if shown.rows.insert(key, row.clone()).as_ref() == Some(&row) {
                return;
            }
            shown.resources.mark();
        }
        self.mark();
    }
}

fn report(units: &mut Vec<v1::UnitProgress>, name: &str, status: UnitStatus, now: Timestamp) {
    let position = units.iter().position(|unit| unit.name == name);
    let index = position.unwrap_or_else(|| {
        units.push(v1::UnitProgress {
            name: name.to_owned(),
            ..v1::UnitProgress::default()
        });
        units.len() - 1
    });
    let Some(unit) = units.get_mut(index) else {
        return;
    };
    let now = now.as_millisecond();
    unit.status = convert::unit_status(status).into();
    if unit.started_ms == 0 {
        unit.started_ms = now;
    }
    unit.ended_ms = if status == UnitStatus::Running {
        0
    } else {
        now
    };
}

/// All rows, or as many as fit, the interesting ones first.
fn visible(
    rows: &BTreeMap<(String, String, String, String), v1::ResourceStatus>,
) -> Vec<v1::ResourceStatus> {
    if rows.len() <= MAX_ROWS {
        return rows.values().cloned().collect();
    }
    let is_well = |row: &&v1::ResourceStatus| row.health() == v1::Health::Healthy;
    let (well, other): (Vec<_>, Vec<_>) = rows.values().partition(is_well);
    other
        .into_iter()
        .chain(well)
        .take(MAX_ROWS)
        .cloned()
        .collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use sortie_health::Status;
    use sortie_manifest::ObjectId;
    use sortie_step::report::Change;

    use super::*;

    fn sink() -> (Arc<Board>, Arc<TaskSink>) {
        let board = Arc::new(Board::default());
        let logs = Arc::new(LogBuffer::new(Counter::default()));
        (
            Arc::clone(&board),
            TaskSink::new(TaskRef::new("t", 1), board, logs),
        )
    }

    fn row(name: &str, health: Status) -> ObjectRow {
        let id = ObjectId {
            group: String::new(),
            kind: "Pod".into(),
            namespace: None,
            name: name.into(),
        };
        ObjectRow {
            id,
            change: Change::Created,
            health,
            message: String::new(),
        }
    }

    #[test]
    fn only_the_newest_state_is_handed_over_and_only_once() {
        let (board, sink) = sink();
        sink.unit(Unit::Apply, UnitStatus::Running);
        sink.unit(Unit::Apply, UnitStatus::Succeeded);
        sink.unit(Unit::WrapUp, UnitStatus::Running);
        let states = board.take();
        let [state] = states.as_slice() else {
            panic!("{states:?}")
        };
        assert_eq!((state.kind, state.revision), (StateKind::Progress, 1));
        let progress = v1::Progress::decode(&state.payload[..]).unwrap();
        let units: Vec<_> = progress
            .units
            .iter()
            .map(|u| (u.name.as_str(), u.status()))
            .collect();
        let want = [
            ("Apply", v1::UnitStatus::Succeeded),
            ("Wrap Up", v1::UnitStatus::Running),
        ];
        assert_eq!(units, want);
        assert!(progress.units[0].ended_ms >= progress.units[0].started_ms);
        assert_eq!(progress.units[1].ended_ms, 0);
        assert!(board.take().is_empty());
        sink.unit(Unit::WrapUp, UnitStatus::Failed);
        assert_eq!(board.take_of(&TaskRef::new("t", 1))[0].revision, 2);
    }

    #[test]
    fn an_equal_row_shows_nothing_new() {
        let (board, sink) = sink();
        sink.object(Unit::Apply, row("a", Status::Progressing));
        assert_eq!(board.take().len(), 1);
        sink.object(Unit::Apply, row("a", Status::Progressing));
        assert!(board.take().is_empty());
        sink.object(Unit::Apply, row("a", Status::Healthy));
        assert_eq!(board.take()[0].revision, 2);
    }

    #[test]
    fn of_too_many_rows_the_unhealthy_ones_stay() {
        let (board, sink) = sink();
        for number in 0..MAX_ROWS + 5 {
            sink.object(Unit::Apply, row(&format!("a{number:05}"), Status::Healthy));
        }
        sink.object(Unit::Apply, row("z", Status::Degraded));
        let states = board.take();
        let shown = v1::ResourceStatuses::decode(&states[0].payload[..]).unwrap();
        assert_eq!(shown.rows.len(), MAX_ROWS);
        assert_eq!(shown.rows[0].name, "z");
    }
}
