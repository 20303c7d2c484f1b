//! The command units of a running step: which one is on, and how it ended.

use std::sync::{Mutex, PoisonError};

use crate::failure::Failure;
use crate::report::{Level, Sink, Unit, UnitStatus};

/// Why a step ends before it is done.
#[derive(Clone, Debug)]
pub(crate) enum Ended {
    /// It failed.
    Failed(Failure),
    /// It was told to stop.
    Aborted,
    /// It was asked to leave the rest to another holder.
    HandedOver,
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
    current: Mutex<Option<(Unit, UnitStatus)>>,
}

impl<'a> Units<'a> {
    pub(crate) fn new(sink: &'a dyn Sink) -> Self {
        Self {
            sink,
            current: Mutex::new(None),
        }
    }

    /// `unit` begins, and the one before ends.
    pub(crate) fn enter(&self, unit: Unit) {
        let before = self
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .replace((unit, UnitStatus::Succeeded));
        if let Some((before, status)) = before {
            self.sink.unit(before, status);
        }
        self.sink.unit(unit, UnitStatus::Running);
    }

    /// The present unit will end as failed although the step goes on.
    pub(crate) fn mark_failed(&self) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, status)) = current.as_mut() {
            *status = UnitStatus::Failed;
        }
    }

    /// The step is over.
    pub(crate) fn end<T>(&self, result: &Result<T, Ended>) {
        let Some((unit, status)) = self
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        else {
            return;
        };
        match result {
            Ok(_) => self.sink.unit(unit, status),
            Err(Ended::Failed(failure)) => {
                for line in failure.lines() {
                    self.sink.log(unit, Level::Error, &line);
                }
                self.sink.unit(unit, UnitStatus::Failed);
            }
            Err(Ended::Aborted) => {
                self.sink.log(unit, Level::Warning, "stopped on request");
                self.sink.unit(unit, UnitStatus::Aborted);
            }
            // The unit is not over.
            Err(Ended::HandedOver) => {
                let text = "left at a safe place: another holder goes on from here";
                self.sink.log(unit, Level::Warning, text);
            }
        }
    }
}
