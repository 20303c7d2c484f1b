//! Carries an execution on until nothing more can be done without another event.
//!
//! States of a step (see [`crate::Status`]):
//!
//! | State | Entered when | Left by |
//! |---|---|---|
//! | `NotStarted` | the plan begins | its turn: `Queued`, or `Skipped` when a condition does not hold |
//! | `Queued` | `StartStep` is ordered; the timeout begins | `StepStarted`, and all that leaves `Running` |
//! | `Running` | a delegate accepted | `StepFinished`; timeout or abort: `Discontinuing` |
//! | `Discontinuing` | `CancelStep` is ordered; the grace begins | `StepFinished`; end of grace |
//! | final | | never |
//!
//! A stage, group or pipeline is `Running` from its first child's turn until its last child has ended; its
//! final status is that of its children together, or `Aborted` when the execution was aborted meanwhile.

use jiff::Timestamp;

use crate::place::child_path;
use crate::status::aggregate;
use crate::{
    Action, Group, Node, NodePath, NodeState, Plan, Stage, State, Status, Step, TimerId, TimerKind,
    When,
};

pub(crate) struct Machine<'p> {
    pub(crate) plan: &'p Plan,
    pub(crate) state: State,
    pub(crate) actions: Vec<Action>,
    pub(crate) now: Timestamp,
}

/// The list of steps that is being worked on.
#[derive(Clone, Copy)]
struct Section<'s> {
    stage: &'s NodePath,
    rollback: bool,
    parent: &'s NodePath,
    depth: usize,
}

impl<'p> Machine<'p> {
    pub(crate) fn new(plan: &'p Plan, state: State, now: Timestamp) -> Self {
        Self {
            plan,
            state,
            actions: Vec::new(),
            now,
        }
    }

    pub(crate) fn done(self) -> (State, Vec<Action>) {
        (self.state, self.actions)
    }

    pub(crate) fn begin(&mut self) {
        self.enter(&NodePath::pipeline());
        self.advance();
    }

    /// Starts what can start and closes what is complete.
    pub(crate) fn advance(&mut self) {
        let root = NodePath::pipeline();
        if self.state.status().is_final() {
            return;
        }
        for stage in &self.plan.stages {
            if !self.stage(stage) {
                return;
            }
        }
        let stages: Vec<NodePath> = self
            .plan
            .stages
            .iter()
            .map(|stage| NodePath::stage(&stage.info.id))
            .collect();
        self.close(&root, &stages);
        self.actions.push(Action::Finish {
            status: self.state.status(),
        });
    }

    /// Whether the stage has ended.
    fn stage(&mut self, stage: &Stage) -> bool {
        let path = NodePath::stage(&stage.info.id);
        match self.state.node_status(&path) {
            status if status.is_final() => return true,
            Status::NotStarted => {
                let broken = self.plan.stages.iter().any(|stage| {
                    self.state
                        .node_status(&NodePath::stage(&stage.info.id))
                        .is_broken()
                });
                let reason = if self.state.abort.is_some() {
                    Some("the execution was aborted".to_owned())
                } else {
                    unmet(stage.when.unwrap_or(When::Success), broken, "the pipeline")
                };
                if let Some(reason) = reason {
                    self.skip(&path, reason);
                    return true;
                }
                self.enter(&path);
            }
            _ => {}
        }
        let forward = Section {
            stage: &path,
            rollback: false,
            parent: &path,
            depth: 0,
        };
        if !self.sequence(&stage.steps, forward) {
            return false;
        }
        let mut children = paths(&stage.steps, forward);
        if self
            .state
            .nodes
            .get(&path)
            .is_some_and(|node| node.rolling_back)
        {
            let back = Section {
                rollback: true,
                ..forward
            };
            if !self.sequence(&stage.rollback_steps, back) {
                return false;
            }
            children.extend(paths(&stage.rollback_steps, back));
        }
        self.close(&path, &children);
        true
    }

    /// Runs nodes one after the other. Whether all have ended.
    fn sequence(&mut self, nodes: &[Node], section: Section<'_>) -> bool {
        nodes.iter().all(|node| self.node(node, section))
    }

    fn node(&mut self, node: &Node, section: Section<'_>) -> bool {
        match node {
            Node::Step(step) => self.step(step, section),
            Node::Group(group) => self.group(group, section),
            // All members start, whatever the others do.
            Node::Parallel { members } => {
                let ended: Vec<bool> = members
                    .iter()
                    .map(|member| self.node(member, section))
                    .collect();
                ended.into_iter().all(|ended| ended)
            }
        }
    }

    fn group(&mut self, group: &Group, section: Section<'_>) -> bool {
        let path = section.child(&group.info.id);
        match self.state.node_status(&path) {
            status if status.is_final() => return true,
            Status::NotStarted => {
                if let Some(reason) = self.reason_to_skip(group.when, section) {
                    self.skip(&path, reason);
                    return true;
                }
                self.enter(&path);
            }
            _ => {}
        }
        let inner = Section {
            parent: &path,
            depth: section.depth + 1,
            ..section
        };
        if !self.sequence(&group.steps, inner) {
            return false;
        }
        self.close(&path, &paths(&group.steps, inner));
        true
    }

    fn step(&mut self, step: &Step, section: Section<'_>) -> bool {
        let path = section.child(&step.info.id);
        match self.state.node_status(&path) {
            status if status.is_final() => return true,
            Status::NotStarted => {}
            _ => return false,
        }
        let reached = |path| {
            self.state
                .nodes
                .get(path)
                .is_some_and(|node: &NodeState| node.reached)
        };
        let untouched =
            !step.only_if_reached.is_empty() && !step.only_if_reached.iter().any(reached);
        let reason = match self.reason_to_skip(step.when, section) {
            None if untouched => Some("the step that it would undo never began".to_owned()),
            other => other,
        };
        if let Some(reason) = reason {
            self.skip(&path, reason);
            return true;
        }
        let deadline = self.now.checked_add(step.timeout).unwrap_or(Timestamp::MAX);
        let attempt = 1;
        let node = self
            .state
            .nodes
            .entry(path.clone())
            .or_insert_with(|| NodeState::new(self.now));
        node.attempt = attempt;
        node.deadline = Some(deadline);
        self.set_status(&path, Status::Queued);
        let timer = TimerId {
            node: path.clone(),
            attempt,
            kind: TimerKind::Timeout,
        };
        self.actions.push(Action::StartStep {
            node: path,
            attempt,
            deadline,
        });
        self.actions.push(Action::SetTimer {
            timer,
            at: deadline,
        });
        false
    }

    /// Why a node that has not started is not run.
    fn reason_to_skip(&self, when: Option<When>, section: Section<'_>) -> Option<String> {
        let stage = self.state.nodes.get(section.stage);
        if self.state.abort.is_some() {
            return Some("the execution was aborted".to_owned());
        }
        if !section.rollback && stage.is_some_and(|stage| stage.rolling_back) {
            return Some("an earlier step failed and the stage is rolled back".to_owned());
        }
        if section.rollback && stage.is_some_and(|stage| stage.rollback_broken) {
            return Some("an earlier rollback step failed".to_owned());
        }
        let default = if section.rollback {
            When::Failure
        } else {
            When::Success
        };
        unmet(
            when.unwrap_or(default),
            self.is_stage_broken(section.stage),
            "the stage",
        )
    }

    /// Whether a step of the stage has failed so far.
    fn is_stage_broken(&self, stage: &NodePath) -> bool {
        let prefix = format!("{stage}.");
        let inside = |path: &NodePath| path.as_str().starts_with(&prefix);
        self.state
            .nodes
            .iter()
            .any(|(path, node)| inside(path) && node.status.is_broken())
    }

    fn enter(&mut self, path: &NodePath) {
        self.state
            .nodes
            .insert(path.clone(), NodeState::new(self.now));
        self.set_status(path, Status::Running);
    }

    fn skip(&mut self, path: &NodePath, reason: String) {
        let mut node = NodeState::new(self.now);
        node.message = Some(reason);
        self.state.nodes.insert(path.clone(), node);
        self.set_status(path, Status::Skipped);
    }

    /// Ends a node whose children have ended.
    fn close(&mut self, path: &NodePath, children: &[NodePath]) {
        let children: Vec<&NodeState> = children
            .iter()
            .filter_map(|child| self.state.nodes.get(child))
            .collect();
        let status = match &self.state.abort {
            Some(_) => Status::Aborted,
            None => aggregate(
                &children
                    .iter()
                    .map(|child| child.status)
                    .collect::<Vec<_>>(),
            ),
        };
        let broken = || children.iter().filter(|child| child.status.is_broken());
        let mut failures: Vec<_> = broken()
            .flat_map(|child| &child.failures)
            .copied()
            .collect();
        failures.sort_unstable();
        failures.dedup();
        let last = broken().max_by_key(|child| child.ended);
        let mut message = last.and_then(|child| child.message.clone());
        let code = last.and_then(|child| child.code.clone());
        if let Some(abort) = &self.state.abort {
            message = Some(abort.to_string());
        }
        if let Some(node) = self.state.nodes.get_mut(path) {
            node.failures = failures;
            node.message = message;
            node.code = code;
        }
        self.set_status(path, status);
    }

    /// Changes the status of a node that has an entry, and tells.
    pub(crate) fn set_status(&mut self, path: &NodePath, status: Status) {
        if let Some(node) = self.state.nodes.get_mut(path) {
            debug_assert!(!node.status.is_final(), "{path} ended twice");
            node.status = status;
            if status.is_final() {
                node.ended = Some(self.now);
                node.deadline = None;
            }
            self.actions.push(Action::Changed {
                node: path.clone(),
                status,
            });
        }
    }
}

impl Section<'_> {
    fn child(&self, id: &str) -> NodePath {
        child_path(self.parent, id, self.depth, self.rollback)
    }
}

/// The children of a list of nodes, members of parallel blocks included.
fn paths(nodes: &[Node], section: Section<'_>) -> Vec<NodePath> {
    let mut found = Vec::new();
    for node in nodes {
        match node {
            Node::Step(step) => found.push(section.child(&step.info.id)),
            Node::Group(group) => found.push(section.child(&group.info.id)),
            Node::Parallel { members } => found.extend(paths(members, section)),
        }
    }
    found
}

/// Why a condition does not hold.
fn unmet(when: When, broken: bool, what: &str) -> Option<String> {
    match (when, broken) {
        (When::Success, true) => Some(format!("{what} has failed before")),
        (When::Failure, false) => Some(format!("{what} has not failed")),
        _ => None,
    }
}
