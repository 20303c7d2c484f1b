//! What each event does to the steps.

use crate::engine::CANCEL_GRACE;
use crate::machine::Machine;
use crate::place::{Item, Place, places};
use crate::{
    Abort, Action, CancelReason, Errors, Event, Failure, FailureAction, FailureStrategy,
    FailureType, NodePath, NodeState, Outcome, Rejected, Status, TimerId, TimerKind,
};

impl Machine<'_> {
    pub(crate) fn apply(&mut self, event: &Event) -> Result<(), Rejected> {
        match event {
            Event::StepStarted { node, attempt, by } => {
                self.known(node, *attempt)?;
                self.started(node, *attempt, by.as_deref());
            }
            Event::StepFinished {
                node,
                attempt,
                outcome,
            } => {
                self.known(node, *attempt)?;
                if self.current(node, *attempt).is_some() {
                    self.finished(node, outcome.clone());
                }
            }
            Event::TimerFired { timer } => {
                self.known(&timer.node, timer.attempt)?;
                self.timer(timer);
            }
            Event::AbortRequested { by, reason } => self.abort(by.clone(), reason.clone()),
        }
        if !self.actions.is_empty() {
            self.advance();
        }
        Ok(())
    }

    /// Refuses what cannot have happened.
    fn known(&self, node: &NodePath, attempt: u32) -> Result<(), Rejected> {
        if self.plan.step(node).is_none() {
            return Err(Rejected::UnknownStep { node: node.clone() });
        }
        let last = self.state.nodes.get(node).map_or(0, |node| node.attempt);
        if attempt == 0 || attempt > last {
            return Err(Rejected::NeverStarted {
                node: node.clone(),
                attempt,
            });
        }
        Ok(())
    }

    /// The step, if this is its running attempt.
    fn current(&mut self, node: &NodePath, attempt: u32) -> Option<&mut NodeState> {
        let node = self.state.nodes.get_mut(node)?;
        (node.attempt == attempt && !node.status.is_final()).then_some(node)
    }

    fn started(&mut self, path: &NodePath, attempt: u32, by: Option<&str>) {
        let Some(node) = self.current(path, attempt) else {
            return;
        };
        node.reached = true;
        if let Some(by) = by {
            node.by = Some(by.to_owned());
        }
        if node.status == Status::Queued {
            self.set_status(path, Status::Running);
        }
    }

    fn finished(&mut self, path: &NodePath, outcome: Outcome) {
        let Some(node) = self.state.nodes.get_mut(path) else {
            return;
        };
        let cancelled = node.cancelled;
        let timer = TimerId {
            node: path.clone(),
            attempt: node.attempt,
            kind: if cancelled.is_some() {
                TimerKind::Grace
            } else {
                TimerKind::Timeout
            },
        };
        self.actions.push(Action::ClearTimer { timer });
        match (outcome, cancelled) {
            // What was done is done, also when it was told to stop meanwhile.
            (Outcome::Succeeded { outputs }, _) => {
                node.reached = true;
                node.outputs = outputs;
                self.set_status(path, Status::Succeeded);
            }
            (outcome, Some(CancelReason::Abort)) => {
                if let Outcome::Failed(failure) = outcome {
                    node.message = Some(failure.message);
                    node.code = failure.code;
                    node.outputs = failure.outputs;
                }
                self.set_status(path, Status::Aborted);
            }
            // Its time is over, whoever noticed first; that it never began says more than that.
            (Outcome::Failed(mut failure), _)
                if never_began(&failure)
                    && (cancelled.is_some()
                        || node.deadline.is_some_and(|deadline| deadline <= self.now)) =>
            {
                failure.types = vec![FailureType::DelegateProvisioning, FailureType::Timeout];
                self.failed(path, failure);
            }
            (Outcome::Failed(failure), None) => self.failed(path, failure),
            (Outcome::Failed(mut failure), Some(CancelReason::Timeout)) => {
                failure.types = vec![FailureType::Timeout];
                failure.message = format!("{}: {}", self.too_long(path), failure.message);
                self.failed(path, failure);
            }
            (Outcome::Aborted, Some(CancelReason::Timeout)) => {
                let message = self.too_long(path);
                self.failed(path, failure(FailureType::Timeout, message));
            }
            (Outcome::Aborted, None) => {
                let message = "the step was stopped from outside of the pipeline".to_owned();
                self.failed(path, failure(FailureType::Unknown, message));
            }
        }
    }

    fn too_long(&self, path: &NodePath) -> String {
        let timeout = self
            .plan
            .step(path)
            .map_or(0, |step| step.timeout.as_secs());
        format!("the step did not end within its timeout of {timeout} s")
    }

    /// Ends a step that failed as its failure strategies say.
    fn failed(&mut self, path: &NodePath, failure: Failure) {
        let mut types = failure.types;
        if types.is_empty() {
            types.push(FailureType::Unknown);
        }
        let broken = match types.contains(&FailureType::Timeout) {
            true => Status::Expired,
            false => Status::Failed,
        };
        let place = places(self.plan)
            .into_iter()
            .find(|place| place.path == *path);
        let action = place
            .as_ref()
            .and_then(|place| choose(&place.levels, &types));
        if let Some(node) = self.state.nodes.get_mut(path) {
            node.failures = types;
            node.message = Some(failure.message);
            node.code = failure.code;
            node.outputs = failure.outputs;
        }
        match action {
            Some(FailureAction::Ignore) => self.set_status(path, Status::IgnoreFailed),
            Some(FailureAction::MarkAsSuccess) => self.set_status(path, Status::Succeeded),
            _ => self.set_status(path, broken),
        }
        let Some(stage) = stage_of(path) else { return };
        let rollback = place.is_some_and(|place| place.rollback);
        let stage = self.state.nodes.get_mut(&stage);
        match (action, stage) {
            (Some(FailureAction::Abort), _) => {
                self.abort(format!("the failure strategy of {}", path.id()), None);
            }
            (Some(FailureAction::StageRollback), Some(stage)) if !rollback => {
                stage.rolling_back = true;
            }
            (None, Some(stage)) if rollback => {
                stage.rollback_broken = true;
            }
            _ => {}
        }
    }

    fn timer(&mut self, timer: &TimerId) {
        let now = self.now;
        let Some(node) = self.current(&timer.node, timer.attempt) else {
            return;
        };
        let expected = match node.cancelled {
            Some(_) => TimerKind::Grace,
            None => TimerKind::Timeout,
        };
        if timer.kind != expected {
            return;
        }
        if let Some(at) = node.deadline.filter(|deadline| *deadline > now) {
            // Too early, by whoever's clock.
            self.actions.push(Action::SetTimer {
                timer: timer.clone(),
                at,
            });
            return;
        }
        match timer.kind {
            TimerKind::Timeout => self.cancel(&timer.node, CancelReason::Timeout),
            TimerKind::Grace => self.finished(&timer.node, Outcome::Aborted),
        }
    }

    fn abort(&mut self, by: String, reason: Option<String>) {
        if self.state.abort.is_some() || self.state.status().is_final() {
            return;
        }
        self.state.abort = Some(Abort {
            by,
            reason,
            at: self.now,
        });
        for place in places(self.plan) {
            let Place {
                path,
                item: Item::Step(_),
                ..
            } = place
            else {
                continue;
            };
            if self
                .state
                .nodes
                .get(&path)
                .is_some_and(|node| !node.status.is_final())
            {
                self.cancel(&path, CancelReason::Abort);
            }
        }
    }

    /// Tells a step to stop.
    fn cancel(&mut self, path: &NodePath, reason: CancelReason) {
        let until = self
            .now
            .checked_add(CANCEL_GRACE)
            .unwrap_or(jiff::Timestamp::MAX);
        let Some(node) = self.state.nodes.get_mut(path) else {
            return;
        };
        let attempt = node.attempt;
        if node.cancelled.replace(reason).is_some() {
            // It is stopping already; an abort overrules the timeout that made it stop.
            return;
        }
        node.deadline = Some(until);
        self.set_status(path, Status::Discontinuing);
        let timer = |kind| TimerId {
            node: path.clone(),
            attempt,
            kind,
        };
        self.actions.extend([
            Action::ClearTimer {
                timer: timer(TimerKind::Timeout),
            },
            Action::CancelStep {
                node: path.clone(),
                attempt,
                reason,
            },
            Action::SetTimer {
                timer: timer(TimerKind::Grace),
                at: until,
            },
        ]);
    }
}

/// Whether no delegate took the step.
fn never_began(failure: &Failure) -> bool {
    failure.types.contains(&FailureType::DelegateProvisioning)
}

fn failure(failure: FailureType, message: String) -> Failure {
    Failure {
        types: vec![failure],
        message,
        code: None,
        outputs: serde_json::Value::Null,
    }
}

fn stage_of(path: &NodePath) -> Option<NodePath> {
    path.stage_id().map(NodePath::stage)
}

/// The action for a failure: for its first type that some level answers, the innermost level that does.
fn choose(levels: &[&[FailureStrategy]], types: &[FailureType]) -> Option<FailureAction> {
    types
        .iter()
        .find_map(|failure| levels.iter().find_map(|level| answer(level, *failure)))
}

/// What one level says about a failure type; `AllErrors` answers what no other entry names.
fn answer(level: &[FailureStrategy], failure: FailureType) -> Option<FailureAction> {
    let names = |s: &&FailureStrategy| match &s.errors {
        Errors::Of(types) => types.contains(&failure),
        Errors::All => false,
    };
    let all = |s: &&FailureStrategy| s.errors == Errors::All;
    level
        .iter()
        .find(names)
        .or_else(|| level.iter().find(all))
        .map(|strategy| strategy.action)
}
