//! Plans in few words, and a driver that performs actions by remembering them.

#![allow(dead_code, missing_docs, unreachable_pub)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use sortie_workflow::*;

pub const MINUTE: Duration = Duration::from_secs(60);

pub fn info(id: &str) -> NodeInfo {
    NodeInfo {
        id: id.to_owned(),
        name: format!("Name of {id}"),
    }
}

pub fn plan(stages: Vec<Stage>) -> Plan {
    Plan {
        format: FORMAT,
        pipeline: info("p"),
        parameters: Value::Null,
        stages,
    }
}

pub fn stage(id: &str, steps: Vec<Node>, rollback_steps: Vec<Node>) -> Stage {
    Stage {
        info: info(id),
        stage_type: "Deployment".to_owned(),
        parameters: Value::Null,
        steps,
        rollback_steps,
        failure_strategies: vec![on_all(FailureAction::StageRollback)],
        when: None,
    }
}

pub fn on_all(action: FailureAction) -> FailureStrategy {
    FailureStrategy {
        errors: Errors::All,
        action,
    }
}

pub fn on(types: &[FailureType], action: FailureAction) -> FailureStrategy {
    FailureStrategy {
        errors: Errors::Of(types.to_vec()),
        action,
    }
}

pub fn step(id: &str) -> Node {
    Node::Step(Step {
        info: info(id),
        step_type: "K8sRollingDeploy".to_owned(),
        timeout: 10 * MINUTE,
        failure_strategies: Vec::new(),
        when: None,
        only_if_reached: Vec::new(),
        parameters: Value::Null,
    })
}

/// A step after a change.
pub fn step_with(id: &str, change: impl FnOnce(&mut Step)) -> Node {
    let Node::Step(mut step) = step(id) else {
        unreachable!()
    };
    change(&mut step);
    Node::Step(step)
}

pub fn handling(id: &str, strategies: &[FailureStrategy]) -> Node {
    step_with(id, |step| step.failure_strategies = strategies.to_vec())
}

pub fn group(id: &str, steps: Vec<Node>) -> Node {
    Node::Group(Group {
        info: info(id),
        steps,
        failure_strategies: Vec::new(),
        when: None,
    })
}

pub fn parallel(members: Vec<Node>) -> Node {
    Node::Parallel { members }
}

pub fn failed(failure: FailureType) -> Outcome {
    Outcome::Failed(Failure {
        types: vec![failure],
        message: format!("it was {failure:?}"),
        code: Some("SRT-T001".to_owned()),
        outputs: Value::Null,
    })
}

pub fn succeeded() -> Outcome {
    Outcome::Succeeded {
        outputs: Value::Null,
    }
}

/// Runs a plan and checks after every event what must always hold.
pub struct Driver {
    pub plan: Plan,
    pub state: State,
    pub started: Timestamp,
    pub now: Timestamp,
    pub log: Vec<EventRecord>,
    pub actions: Vec<Action>,
    /// Steps that were handed out and have not ended.
    pub running: BTreeSet<(NodePath, u32)>,
    pub cancelled: BTreeSet<(NodePath, u32)>,
    pub timers: BTreeMap<TimerId, Timestamp>,
    handed_out: BTreeSet<(NodePath, u32)>,
    pub finished: Option<Status>,
}

impl Driver {
    pub fn new(plan: Plan) -> Self {
        let now: Timestamp = "2026-08-01T00:00:00Z".parse().unwrap();
        let (state, actions) = start(&plan, now).unwrap();
        let mut driver = Self {
            plan,
            state,
            started: now,
            now,
            log: Vec::new(),
            actions: Vec::new(),
            running: BTreeSet::new(),
            cancelled: BTreeSet::new(),
            timers: BTreeMap::new(),
            handed_out: BTreeSet::new(),
            finished: None,
        };
        driver.perform(&actions);
        driver
    }

    pub fn path(&self, id: &str) -> NodePath {
        let all = tree(&self.plan, &self.state);
        all.into_iter().find(|view| view.id == id).unwrap().path
    }

    pub fn send(&mut self, event: Event) -> Result<(), Rejected> {
        let (state, actions) = apply(&self.plan, &self.state, &event, self.now)?;
        self.check_statuses(&state);
        assert!(
            self.finished.is_none() || actions.is_empty(),
            "actions after the end: {actions:?}"
        );
        assert!(
            self.finished.is_none() || state == self.state,
            "changed after the end"
        );
        self.state = state;
        self.perform(&actions);
        self.log.push(EventRecord {
            format: FORMAT,
            at: self.now,
            event,
        });
        Ok(())
    }

    pub fn begin(&mut self, id: &str) {
        let node = self.path(id);
        self.send(Event::StepStarted {
            node,
            attempt: 1,
            by: Some("d1".to_owned()),
        })
        .unwrap();
    }

    pub fn end(&mut self, id: &str, outcome: Outcome) {
        let node = self.path(id);
        self.send(Event::StepFinished {
            node,
            attempt: 1,
            outcome,
        })
        .unwrap();
    }

    /// Begins and ends a step.
    pub fn run(&mut self, id: &str, outcome: Outcome) {
        self.begin(id);
        self.end(id, outcome);
    }

    pub fn abort(&mut self) {
        self.send(Event::AbortRequested {
            by: "ann".to_owned(),
            reason: None,
        })
        .unwrap();
    }

    /// Lets time pass up to the next timer and fires it.
    pub fn next_timer(&mut self) {
        let (timer, at) = self.timers.iter().min_by_key(|(_, at)| **at).unwrap();
        let (timer, at) = (timer.clone(), *at);
        self.now = self.now.max(at);
        self.send(Event::TimerFired { timer }).unwrap();
    }

    /// Every node's status in few words: `p=FAILED a=SUCCEEDED`.
    pub fn statuses(&self) -> String {
        let words = tree(&self.plan, &self.state).into_iter().map(|view| {
            let status = serde_json::to_value(view.status).unwrap();
            format!("{}={}", view.id, status.as_str().unwrap())
        });
        words.collect::<Vec<_>>().join(" ")
    }

    fn perform(&mut self, actions: &[Action]) {
        for action in actions {
            match action {
                Action::StartStep {
                    node,
                    attempt,
                    deadline,
                } => {
                    assert!(*deadline > self.now);
                    let key = (node.clone(), *attempt);
                    assert!(
                        self.handed_out.insert(key.clone()),
                        "{node} is handed out twice"
                    );
                    self.running.insert(key);
                }
                Action::CancelStep { node, attempt, .. } => {
                    let key = (node.clone(), *attempt);
                    assert!(
                        self.running.contains(&key),
                        "{node} is cancelled but not running"
                    );
                    assert!(self.cancelled.insert(key), "{node} is cancelled twice");
                }
                Action::SetTimer { timer, at } => {
                    self.timers.insert(timer.clone(), *at);
                }
                Action::ClearTimer { timer } => {
                    self.timers.remove(timer);
                }
                Action::Changed { node, status } => {
                    assert!(status.is_final() || *status != Status::NotStarted);
                    if status.is_final() {
                        self.running.retain(|(running, _)| running != node);
                        self.cancelled.retain(|(running, _)| running != node);
                    }
                }
                Action::Finish { status } => {
                    assert_eq!(self.finished.replace(*status), None, "finished twice");
                    assert_eq!(actions.last(), Some(action));
                    assert!(self.running.is_empty(), "finished while steps run");
                }
                other => panic!("unknown action {other:?}"),
            }
        }
        self.actions = actions.to_vec();
        self.check_outstanding();
        self.check_tree();
    }

    /// Nothing that ended changes again.
    fn check_statuses(&self, after: &State) {
        for view in tree(&self.plan, &self.state) {
            if self.state.node(&view.path).is_some() && view.status.is_final() {
                assert_eq!(
                    after.node(&view.path),
                    self.state.node(&view.path),
                    "{}",
                    view.path
                );
            }
        }
    }

    /// What a restarted driver would perform is what this one has in hand.
    fn check_outstanding(&self) {
        let json = serde_json::to_string(&self.state).unwrap();
        let state: State = serde_json::from_str(&json).unwrap();
        assert_eq!(state, self.state);
        let (mut steps, mut timers) = (BTreeSet::new(), BTreeMap::new());
        for action in outstanding(&self.plan, &state) {
            match action {
                Action::StartStep { node, attempt, .. }
                | Action::CancelStep { node, attempt, .. } => {
                    assert!(steps.insert((node, attempt)));
                }
                Action::SetTimer { timer, at } => {
                    timers.insert(timer, at);
                }
                Action::Finish { status } => assert_eq!(Some(status), self.finished),
                other => panic!("{other:?} is never outstanding"),
            }
        }
        assert_eq!(steps, self.running);
        // A timer that fired early is set again with the same time.
        let live = |timer: &TimerId| !self.state.node_status(&timer.node).is_final();
        let held: BTreeMap<_, _> = self
            .timers
            .clone()
            .into_iter()
            .filter(|(timer, _)| live(timer))
            .collect();
        assert_eq!(timers, held);
        assert_eq!(self.state.status().is_final(), self.finished.is_some());
    }

    /// Parents end after their children and start before them.
    fn check_tree(&self) {
        let views = tree(&self.plan, &self.state);
        let known: BTreeMap<_, _> = views.iter().map(|view| (view.path.clone(), view)).collect();
        for view in &views {
            let Some(parent) = view.parent.as_ref().and_then(|parent| known.get(parent)) else {
                continue;
            };
            if parent.status.is_final() {
                let untouched = view.rollback && view.status == Status::NotStarted;
                assert!(
                    view.status.is_final() || untouched,
                    "{} outlives its parent",
                    view.path
                );
            }
            if self.state.node(&view.path).is_some() {
                assert_ne!(parent.status, Status::NotStarted);
            }
            if view.kind == NodeKind::Step && view.status.is_broken() {
                assert!(view.message.is_some());
            }
        }
    }
}
