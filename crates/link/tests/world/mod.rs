//! The simulated world: two delegates' machines, the server's machines, a store, and wires that misbehave.

mod checks;
mod control_plane;
mod makings;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sortie_link::delegate::{self, Command};
use sortie_link::server;
use sortie_link::task::{Event, Recovery};
use sortie_link::{
    CancelReason, End, FromDelegate, FromServer, Payload, RefusalReason, State, StateKind, TaskRef,
};

use self::control_plane::Server;
use self::makings::{boot, finished, is_open};
use self::store::Store;

const LEASE: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Copy)]
pub(crate) enum Misfortune {
    Enqueue { once: bool },
    Deliver(u16),
    DeliverLate(u16),
    Repeat(u16),
    Lose(u16),
    Cut(u16),
    Connect(u16),
    RestartDelegate(u16),
    RestartServer,
    Wait(u64),
    Finish(u16),
    HandBack(u16),
    Cancel(u16),
    FailNextCommit,
}

struct Delegate {
    instance: String,
    boots: u32,
    session: delegate::Session,
    stream: Option<u64>,
    running: BTreeSet<TaskRef>,
    accepted: BTreeSet<TaskRef>,
    revision: u64,
}

/// Messages under way on one stream.
#[derive(Default)]
struct Wire {
    up: Vec<FromDelegate>,
    down: Vec<FromServer>,
}

pub(crate) struct World {
    now: Duration,
    store: Store,
    server: Server,
    origins: u64,
    delegates: Vec<Delegate>,
    wires: BTreeMap<u64, Wire>,
    streams: u64,
    fails_next_commit: bool,
    starts: Vec<TaskRef>,
    hand_backs: Vec<TaskRef>,
}

impl World {
    pub(crate) fn new(delegates: usize) -> Self {
        let delegates = (0..delegates)
            .map(|n| {
                let instance = format!("i{n}");
                Delegate {
                    session: boot(&instance, 1),
                    instance,
                    boots: 1,
                    stream: None,
                    running: BTreeSet::new(),
                    accepted: BTreeSet::new(),
                    revision: 0,
                }
            })
            .collect();
        Self {
            now: Duration::ZERO,
            store: Store::default(),
            server: Server::default(),
            origins: 0,
            delegates,
            wires: BTreeMap::new(),
            streams: 0,
            fails_next_commit: false,
            starts: Vec::new(),
            hand_backs: Vec::new(),
        }
    }

    pub(crate) fn suffer(&mut self, step: Misfortune) {
        match step {
            Misfortune::Enqueue { once } => {
                self.store.enqueue(if once {
                    Recovery::Once
                } else {
                    Recovery::Resumable
                });
                self.place();
            }
            Misfortune::Deliver(pick) => self.deliver(pick, false),
            Misfortune::DeliverLate(pick) => self.deliver(pick, true),
            Misfortune::Repeat(pick) => self.meddle(pick, true),
            Misfortune::Lose(pick) => self.meddle(pick, false),
            Misfortune::Cut(pick) => {
                let n = usize::from(pick) % self.delegates.len();
                self.cut(n);
            }
            Misfortune::Connect(pick) => {
                let n = usize::from(pick) % self.delegates.len();
                self.connect(n);
            }
            Misfortune::RestartDelegate(pick) => {
                let n = usize::from(pick) % self.delegates.len();
                self.cut(n);
                let delegate = &mut self.delegates[n];
                delegate.boots += 1;
                delegate.session = boot(&delegate.instance, delegate.boots);
                delegate.running.clear();
                delegate.accepted.clear();
            }
            Misfortune::RestartServer => {
                for n in 0..self.delegates.len() {
                    self.cut(n);
                }
                self.server = Server::default();
                self.wires.clear();
                for instance in self.store.instances() {
                    self.server.away.insert(instance, self.now);
                }
                self.fails_next_commit = false;
            }
            Misfortune::Wait(ms) => self.wait(Duration::from_millis(ms)),
            Misfortune::Finish(pick) => self.finish(pick),
            Misfortune::HandBack(pick) => self.hand_back(pick),
            Misfortune::Cancel(pick) => {
                if let Some(id) = self.store.pick(pick) {
                    self.store_event(&id, &Event::Cancel);
                }
            }
            Misfortune::FailNextCommit => self.fails_next_commit = true,
        }
    }

    /// Everything works from now on.
    pub(crate) fn heal(&mut self) {
        self.fails_next_commit = false;
        for _ in 0..400 {
            for n in 0..self.delegates.len() {
                if self.delegates[n].stream.is_none() {
                    self.connect(n);
                }
            }
            for _ in 0..10_000 {
                if self
                    .wires
                    .values()
                    .all(|wire| wire.up.is_empty() && wire.down.is_empty())
                {
                    break;
                }
                self.deliver(0, false);
            }
            while self.delegates.iter().any(|d| !d.running.is_empty()) {
                self.finish(0);
            }
            self.place();
            if self.store.is_done() && self.delegates.iter().all(|d| d.session.is_idle()) {
                return;
            }
            self.wait(Duration::from_secs(5));
        }
        panic!("not done after healing: {:?}", self.store.open());
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        for n in 0..self.delegates.len() {
            self.delegate(n, delegate::Input::Tick);
        }
        let instances: Vec<_> = self.server.sessions.keys().cloned().collect();
        for instance in instances {
            self.server_input(&instance, server::Input::Tick);
        }
        let now = self.now;
        let gone: Vec<_> = self
            .server
            .away
            .iter()
            .filter(|(_, since)| now >= **since + LEASE)
            .map(|(instance, _)| instance.clone())
            .collect();
        for instance in gone {
            for (id, holder) in self.store.held_by(&instance) {
                self.store_event(&id, &Event::Away { holder });
            }
        }
        self.place();
    }

    fn connect(&mut self, n: usize) {
        self.cut(n);
        self.streams += 1;
        self.wires.insert(self.streams, Wire::default());
        self.delegates[n].stream = Some(self.streams);
        self.delegate(n, delegate::Input::Opened);
    }

    /// The delegate's end goes first; the server learns of it, and what is under way may still arrive there.
    fn cut(&mut self, n: usize) {
        if let Some(stream) = self.delegates[n].stream.take() {
            self.delegate(n, delegate::Input::Closed);
            if let Some(wire) = self.wires.get_mut(&stream) {
                wire.down.clear();
            }
            if stream.is_multiple_of(2) {
                self.close_at_server(stream);
            }
        }
    }

    fn close_at_server(&mut self, stream: u64) {
        self.wires.remove(&stream);
        if let Some(instance) = self.server.streams.remove(&stream) {
            self.server_input(&instance, server::Input::Closed { stream });
        }
    }

    fn deliver(&mut self, pick: u16, late: bool) {
        let busy: Vec<(u64, bool)> = self
            .wires
            .iter()
            .flat_map(|(stream, wire)| {
                let up = (!wire.up.is_empty()).then_some((*stream, true));
                let down = (!wire.down.is_empty()).then_some((*stream, false));
                up.into_iter().chain(down)
            })
            .collect();
        if busy.is_empty() {
            return;
        }
        let (stream, is_up) = busy[usize::from(pick) % busy.len()];
        let wire = self.wires.get_mut(&stream).unwrap();
        let index = |len: usize| if late { usize::from(pick) % len } else { 0 };
        if is_up {
            let message = wire.up.remove(index(wire.up.len()));
            self.arrive_at_server(stream, message);
        } else {
            let message = wire.down.remove(index(wire.down.len()));
            if let Some(n) = self.delegates.iter().position(|d| d.stream == Some(stream)) {
                self.delegate(n, delegate::Input::Received(message));
            }
        }
    }

    fn meddle(&mut self, pick: u16, repeat: bool) {
        let index = usize::from(pick);
        let Some(wire) = self.wires.values_mut().nth(index % 4) else {
            return;
        };
        if !wire.up.is_empty() {
            let at = index % wire.up.len();
            if repeat {
                wire.up.push(wire.up[at].clone())
            } else {
                drop(wire.up.remove(at))
            }
        }
        if !wire.down.is_empty() {
            let at = index % wire.down.len();
            if repeat {
                wire.down.push(wire.down[at].clone())
            } else {
                drop(wire.down.remove(at))
            }
        }
    }

    fn delegate(&mut self, n: usize, input: delegate::Input) {
        let mut inputs = vec![input];
        while !inputs.is_empty() {
            let outputs = self.delegates[n].session.handle(inputs.remove(0), self.now);
            for output in outputs {
                self.delegate_output(n, output, &mut inputs);
            }
        }
    }

    fn delegate_output(
        &mut self,
        n: usize,
        output: delegate::Output,
        inputs: &mut Vec<delegate::Input>,
    ) {
        let delegate = &mut self.delegates[n];
        match output {
            delegate::Output::Send(message) => {
                let wire = delegate
                    .stream
                    .and_then(|stream| self.wires.get_mut(&stream));
                if let Some(wire) = wire {
                    wire.up.push(message);
                }
            }
            delegate::Output::Close(_) => {
                if let Some(stream) = delegate.stream.take() {
                    self.close_at_server(stream);
                }
            }
            delegate::Output::Offered { task, .. } => {
                let command = if delegate.accepted.len() >= 3 {
                    Command::Refuse {
                        task,
                        reason: RefusalReason::Capacity,
                        message: String::new(),
                    }
                } else {
                    delegate.accepted.insert(task.clone());
                    Command::Accept(task)
                };
                inputs.push(delegate::Input::Command(command));
            }
            delegate::Output::Start(task) => {
                assert!(
                    self.store.was_accepted(&task),
                    "{task} started before it was stored"
                );
                assert!(delegate.accepted.contains(&task));
                delegate.running.insert(task.clone());
                self.starts.push(task.clone());
                delegate.revision += 1;
                inputs.push(delegate::Input::Command(Command::State(State {
                    task,
                    kind: StateKind::Progress,
                    revision: delegate.revision,
                    payload: Payload::from([]),
                })));
            }
            delegate::Output::Cancel { task, reason } => {
                // Repeated when the server restarted in between.
                let is_running = delegate.running.remove(&task);
                delegate.accepted.remove(&task);
                if is_running && reason == CancelReason::Requested {
                    inputs.push(delegate::Input::Command(finished(task, End::Aborted)));
                }
            }
            delegate::Output::Withdrawn(task) => {
                assert!(!delegate.running.contains(&task));
                delegate.accepted.remove(&task);
            }
            delegate::Output::Stored(_)
            | delegate::Output::Established(_)
            | delegate::Output::Resolved { .. }
            | delegate::Output::Drain
            | delegate::Output::GoAway(_) => {}
        }
    }

    fn finish(&mut self, pick: u16) {
        if let Some((n, task)) = self.stop_running(pick) {
            self.delegate(n, delegate::Input::Command(finished(task, End::Succeeded)));
        }
    }

    fn hand_back(&mut self, pick: u16) {
        if let Some((n, task)) = self.stop_running(pick) {
            self.hand_backs.push(task.clone());
            self.delegate(n, delegate::Input::Command(Command::HandBack(task)));
        }
    }

    /// One of the running tasks runs no more.
    fn stop_running(&mut self, pick: u16) -> Option<(usize, TaskRef)> {
        let running: Vec<(usize, TaskRef)> = self
            .delegates
            .iter()
            .enumerate()
            .flat_map(|(n, d)| d.running.iter().map(move |task| (n, task.clone())))
            .collect();
        if running.is_empty() {
            return None;
        }
        let (n, task) = running[usize::from(pick) % running.len()].clone();
        self.delegates[n].running.remove(&task);
        self.delegates[n].accepted.remove(&task);
        Some((n, task))
    }
}
