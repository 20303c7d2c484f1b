//! Hears from the agent side what becomes of tasks. The only other place of the engine that knows
//! protobuf types.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use sortie_proto::v1;
use sortie_store::{NewLogLine, StepRecord};
use sortie_workflow::{Event, Failure, FailureType, NodePath, Outcome};

use super::Engine;
use super::view::{ResourceView, StepProgress, UnitView};
use crate::clock;
use crate::tasks::{Handover, TaskEventError, TaskEvents, TaskOutcome};

/// Longest line of a log; the delegate cuts, this is for one that does not.
const MAX_LINE: usize = 16 * 1024;

/// Units and resources that are kept of a step.
const MAX_ROWS: usize = 5_000;

#[async_trait]
impl TaskEvents for Engine {
    async fn waiting(&self, task: &str, reason: &str) -> Result<(), TaskEventError> {
        let waiting = one_line(reason);
        let change = move |stored: &mut StepProgress| {
            let other = stored.waiting != waiting;
            stored.waiting = waiting;
            other
        };
        self.change_progress(task, change)
            .await
            .map_err(failed(task))
    }

    async fn accepted(
        &self,
        task: &str,
        delegate: &str,
        waited: Duration,
    ) -> Result<(), TaskEventError> {
        self.0.metrics.task_acceptance.observe(waited.as_secs_f64());
        let heard = async {
            let Some(step) = self.step(task).await? else {
                return Ok(());
            };
            let event = Event::StepStarted {
                node: NodePath::parse(&step.node),
                attempt: attempt(&step),
                by: Some(delegate.to_owned()),
            };
            self.post(&step.execution, event).await
        };
        heard.await.map_err(failed(task))
    }

    async fn changed_hands(
        &self,
        task: &str,
        epoch: u64,
        handover: &Handover,
    ) -> Result<(), TaskEventError> {
        let heard = async {
            let Some(step) = self.step(task).await? else {
                return Ok(());
            };
            let line = handover_line(&step, epoch, handover);
            self.0.store.append_log(&[line]).await?;
            self.0.hub.log_grew(&step.execution);
            Ok(())
        };
        heard.await.map_err(failed(task))
    }

    async fn finished(&self, task: &str, outcome: TaskOutcome) -> Result<(), TaskEventError> {
        let heard = async {
            let Some(step) = self.step(task).await? else {
                return Ok(());
            };
            let event = Event::StepFinished {
                node: NodePath::parse(&step.node),
                attempt: attempt(&step),
                outcome: translate(outcome),
            };
            self.post(&step.execution, event).await?;
            self.0.progress().remove(task);
            Ok(())
        };
        heard.await.map_err(failed(task))
    }

    async fn progress(&self, progress: v1::Progress) -> Result<(), TaskEventError> {
        let Some(task) = progress.task else {
            return Ok(());
        };
        let at = (task.epoch, progress.revision);
        let units: Vec<_> = progress.units.iter().take(MAX_ROWS).map(unit).collect();
        let change = move |stored: &mut StepProgress| {
            let newer = at > stored.units_at;
            if newer {
                stored.units_at = at;
                stored.units = units;
            }
            newer
        };
        self.change_progress(&task.task_id, change)
            .await
            .map_err(failed(&task.task_id))
    }

    async fn resources(&self, resources: v1::ResourceStatuses) -> Result<(), TaskEventError> {
        let Some(task) = resources.task else {
            return Ok(());
        };
        let at = (task.epoch, resources.revision);
        let rows: Vec<_> = resources
            .rows
            .into_iter()
            .take(MAX_ROWS)
            .map(resource)
            .collect();
        let change = move |stored: &mut StepProgress| {
            let newer = at > stored.resources_at;
            if newer {
                stored.resources_at = at;
                stored.resources = rows;
            }
            newer
        };
        self.change_progress(&task.task_id, change)
            .await
            .map_err(failed(&task.task_id))
    }

    async fn log(
        &self,
        task: &str,
        epoch: u64,
        lines: Vec<v1::LogLine>,
    ) -> Result<(), TaskEventError> {
        let heard = async {
            let Some(step) = self.step(task).await? else {
                return Ok(());
            };
            let lines: Vec<_> = lines
                .iter()
                .map(|line| log_line(&step, epoch, line))
                .collect();
            let new = self.0.store.append_log(&lines).await?;
            self.0.metrics.log_lines.inc_by(new);
            self.0.hub.log_grew(&step.execution);
            Ok(())
        };
        heard.await.map_err(failed(task))
    }
}

impl Engine {
    /// The step behind a task. A task that this server never handed out is not ours to judge.
    pub(super) async fn step(&self, task: &str) -> sortie_store::Result<Option<StepRecord>> {
        let step = self.0.store.step_of_task(task).await?;
        if step.is_none() {
            tracing::warn!(task, "heard of a task that no execution knows");
        }
        Ok(step)
    }

    async fn change_progress(
        &self,
        task: &str,
        change: impl FnOnce(&mut StepProgress) -> bool,
    ) -> sortie_store::Result<()> {
        let known = self.0.progress().contains_key(task);
        let Some(step) = self.step(task).await? else {
            return Ok(());
        };
        let changed = {
            let mut all = self.0.progress();
            let stored = all.entry(task.to_owned()).or_insert_with(|| {
                let text = step.progress.as_deref().filter(|_| !known);
                text.and_then(|text| serde_json::from_str(text).ok())
                    .unwrap_or_default()
            });
            change(stored).then(|| stored.clone())
        };
        let Some(progress) = changed else {
            return Ok(());
        };
        let text = serde_json::to_string(&progress).unwrap_or_default();
        self.0.store.put_step_progress(task, &text).await?;
        self.0.hub.state_changed(&step.execution);
        Ok(())
    }
}

fn failed(task: &str) -> impl FnOnce(sortie_store::Error) -> TaskEventError {
    let task = task.to_owned();
    move |source| TaskEventError { task, source }
}

fn attempt(step: &StepRecord) -> u32 {
    u32::try_from(step.attempt).unwrap_or(u32::MAX)
}

fn translate(outcome: TaskOutcome) -> Outcome {
    match outcome {
        TaskOutcome::Succeeded(v1::Succeeded { outputs_json }) => Outcome::Succeeded {
            outputs: outputs(&outputs_json),
        },
        TaskOutcome::Aborted(_) => Outcome::Aborted,
        TaskOutcome::Failed(failed) => {
            let failure_type = failure_type(failed.failure_type());
            let mut message = one_line(&failed.message);
            if !failed.hint.is_empty() {
                message = format!("{message}; {}", one_line(&failed.hint));
            }
            Outcome::Failed(Failure {
                types: vec![failure_type],
                message,
                code: Some(failed.code).filter(|code| !code.is_empty()),
                outputs: outputs(&failed.outputs_json),
            })
        }
    }
}

fn failure_type(failure_type: v1::FailureType) -> FailureType {
    match failure_type {
        v1::FailureType::Authentication => FailureType::Authentication,
        v1::FailureType::Authorization => FailureType::Authorization,
        v1::FailureType::Connectivity => FailureType::Connectivity,
        v1::FailureType::DelegateProvisioning => FailureType::DelegateProvisioning,
        v1::FailureType::DelegateRestart => FailureType::DelegateRestart,
        v1::FailureType::Timeout => FailureType::Timeout,
        v1::FailureType::Verification => FailureType::Verification,
        v1::FailureType::PolicyEvaluation => FailureType::PolicyEvaluationFailure,
        v1::FailureType::Unspecified | v1::FailureType::Unknown | v1::FailureType::Application => {
            FailureType::Unknown
        }
    }
}

/// Outputs are an object or nothing.
fn outputs(json: &str) -> Value {
    serde_json::from_str(json)
        .ok()
        .filter(Value::is_object)
        .unwrap_or_default()
}

fn unit(unit: &v1::UnitProgress) -> UnitView {
    let status = match unit.status() {
        v1::UnitStatus::Unspecified | v1::UnitStatus::Queued => "QUEUED",
        v1::UnitStatus::Running => "RUNNING",
        v1::UnitStatus::Succeeded => "SUCCEEDED",
        v1::UnitStatus::Failed => "FAILED",
        v1::UnitStatus::Skipped => "SKIPPED",
    };
    UnitView {
        name: one_line(&unit.name),
        status: status.to_owned(),
        started_at: time(unit.started_ms),
        ended_at: time(unit.ended_ms),
        message: one_line(&unit.message),
    }
}

fn resource(row: v1::ResourceStatus) -> ResourceView {
    let health = match row.health() {
        v1::Health::Healthy => "Healthy",
        v1::Health::Progressing => "Progressing",
        v1::Health::Degraded => "Degraded",
        v1::Health::Suspended => "Suspended",
        v1::Health::Missing => "Missing",
        v1::Health::Unknown | v1::Health::Unspecified => "Unknown",
    };
    let change = match row.change() {
        v1::Change::Created => "created",
        v1::Change::Configured => "configured",
        v1::Change::Unchanged => "unchanged",
        v1::Change::Deleted => "deleted",
        v1::Change::Unspecified => "",
    };
    ResourceView {
        group: row.group,
        kind: row.kind,
        namespace: row.namespace,
        name: row.name,
        health: health.to_owned(),
        message: one_line(&row.message),
        change: change.to_owned(),
    }
}

fn log_line(step: &StepRecord, epoch: u64, line: &v1::LogLine) -> NewLogLine {
    let level = match line.level() {
        v1::LogLevel::Warn => "warn",
        v1::LogLevel::Error => "error",
        v1::LogLevel::Debug => "debug",
        v1::LogLevel::Info | v1::LogLevel::Unspecified => "info",
    };
    NewLogLine {
        execution: step.execution.clone(),
        node: step.node.clone(),
        task: step.task.clone(),
        epoch: i64::try_from(epoch).unwrap_or(i64::MAX),
        seq: i64::try_from(line.seq).unwrap_or(i64::MAX),
        unit: one_line(&line.unit),
        level: level.to_owned(),
        at: time(line.time_ms).unwrap_or(step.created_at),
        text: one_line(&line.text),
    }
}

/// In the log of the step, between what the one delegate wrote (from number 1 on) and what the next one writes.
fn handover_line(step: &StepRecord, epoch: u64, handover: &Handover) -> NewLogLine {
    let (seq, level, text) = match handover {
        Handover::Lost => (
            i64::MAX,
            "warn",
            "the delegate that ran this step was lost: the next one carries the step on".to_owned(),
        ),
        Handover::HandedBack => (
            i64::MAX,
            "warn",
            "the delegate that ran this step shuts down: the next one carries the step on"
                .to_owned(),
        ),
        Handover::Resumed { attempt, delegate } => (
            0,
            "info",
            format!("attempt {attempt}, on {}", one_line(delegate)),
        ),
    };
    let progress: Option<StepProgress> = step
        .progress
        .as_deref()
        .and_then(|text| serde_json::from_str(text).ok());
    let running = progress.and_then(|progress| {
        let mut units = progress.units.into_iter();
        units.find(|unit| unit.status == "RUNNING")
    });
    NewLogLine {
        execution: step.execution.clone(),
        node: step.node.clone(),
        task: step.task.clone(),
        epoch: i64::try_from(epoch).unwrap_or(i64::MAX),
        seq,
        unit: running.map(|unit| unit.name).unwrap_or_default(),
        level: level.to_owned(),
        at: clock::now(),
        text,
    }
}

/// A time of the delegate's clock; 0 and nonsense are none.
fn time(millis: i64) -> Option<Timestamp> {
    (millis > 0)
        .then(|| Timestamp::from_millisecond(millis).ok())
        .flatten()
}

/// Text from outside as one bounded line without control characters, which a terminal would obey.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(MAX_LINE));
    for character in text.chars() {
        if line.len() + character.len_utf8() > MAX_LINE {
            break;
        }
        match character {
            '\t' => line.push('\t'),
            '\n' | '\r' => line.push(' '),
            control if control.is_control() => {}
            other => line.push(other),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_from_outside_become_harmless_lines() {
        assert_eq!(one_line("a\x1b[31mb\r\nc\td\0"), "a[31mb  c\td");
        assert_eq!(one_line(&"ä".repeat(MAX_LINE)).len(), MAX_LINE);
    }

    #[test]
    fn a_failure_keeps_type_code_and_hint() {
        let failed = v1::Failed {
            failure_type: v1::FailureType::Timeout.into(),
            code: "SRT-T010".to_owned(),
            message: "Deployment web did not get ready".to_owned(),
            hint: "look at its pods".to_owned(),
            outputs_json: "{\"releaseNumber\": 3}".to_owned(),
        };
        let Outcome::Failed(failure) = translate(TaskOutcome::Failed(failed)) else {
            panic!("a failure stays one");
        };
        assert_eq!(failure.types, [FailureType::Timeout]);
        assert_eq!(failure.code.as_deref(), Some("SRT-T010"));
        assert!(failure.message.ends_with("; look at its pods"));
        assert_eq!(failure.outputs["releaseNumber"], 3);
    }

    #[test]
    fn outputs_that_are_no_object_are_none() {
        for text in ["", "[1]", "null", "{", "3"] {
            assert_eq!(outputs(text), Value::Null, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_becomes_a_bounded_line(text in "\\PC*[\\x00-\\x1f\\PC]{0,300}") {
            let line = one_line(&text);
            proptest::prop_assert!(line.len() <= MAX_LINE);
            proptest::prop_assert!(line.chars().all(|c| c == '\t' || !c.is_control()));
        }
    }
}
