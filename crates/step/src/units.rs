//! The command units of a running step: which one is on, and how it ended.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::environment::Environment;
use crate::failure::{Failure, FailureKind};
use crate::report::{Level, Sink, Unit, UnitStatus};

/// Why a step ends before it is done.
#[derive(Clone, Debug)]
pub(crate) enum Ended {
    /// It failed.
    Failed(Failure),
    /// It was told to stop.
    Aborted,
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Tells the sink which unit runs. Entering one ends the one before well.
#[derive(Debug)]
pub(crate) struct Units<'a> {
    sink: &'a dyn Sink,
    current: Mutex<Option<Unit>>,
}

impl<'a> Units<'a> {
    pub(crate) fn new(sink: &'a dyn Sink) -> Self {
        Self {
            sink,
            current: Mutex::new(None),
        }
    }

    /// `unit` begins.
    pub(crate) fn enter(&self, unit: Unit) {
        let before = self
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .replace(unit);
        if let Some(before) = before {
            self.sink.unit(before, UnitStatus::Succeeded);
        }
        self.sink.unit(unit, UnitStatus::Running);
    }

    /// The step is over.
    pub(crate) fn end<T>(&self, result: &Result<T, Ended>) {
        let Some(unit) = self
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        else {
            return;
        };
        match result {
            Ok(_) => self.sink.unit(unit, UnitStatus::Succeeded),
            Err(Ended::Failed(failure)) => {
                let Failure {
                    code,
                    message,
                    hint,
                    ..
                } = failure;
                self.sink
                    .log(unit, Level::Error, &format!("{code}: {message}"));
                self.sink
                    .log(unit, Level::Error, &format!("what to do: {hint}"));
                self.sink.unit(unit, UnitStatus::Failed);
            }
            Err(Ended::Aborted) => {
                self.sink.log(unit, Level::Warning, "stopped on request");
                self.sink.unit(unit, UnitStatus::Aborted);
            }
        }
    }
}

/// The time that a step may take, and the request to stop it.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    deadline: Instant,
    timeout: Duration,
}

impl Bounds {
    /// Bounds of a step that begins now.
    pub(crate) fn new(timeout: Duration) -> Self {
        Self {
            deadline: Instant::now() + timeout,
            timeout,
        }
    }

    /// `work`, ended by the deadline, by a request to stop, or by `lost`. `pending` says what was being waited for.
    pub(crate) async fn run<T>(
        &self,
        env: &Environment,
        lost: impl Future<Output = Failure>,
        pending: impl FnOnce() -> String,
        work: impl Future<Output = Result<T, Ended>>,
    ) -> Result<T, Ended> {
        tokio::select! {
            biased;
            result = work => result,
            () = env.cancel.cancelled() => Err(Ended::Aborted),
            failure = lost => Err(Ended::Failed(failure)),
            () = tokio::time::sleep_until(self.deadline) => {
                let seconds = self.timeout.as_secs();
                let message = format!("not done within {seconds} s: {}", pending());
                Err(Ended::Failed(Failure::new(
                    FailureKind::Timeout,
                    "SRT-T010",
                    message,
                    "look at what was waited for, or raise the step's timeout",
                )))
            }
        }
    }
}
