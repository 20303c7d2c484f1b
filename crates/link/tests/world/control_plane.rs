//! The control plane in the simulated world.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use sortie_link::task::Event;
use sortie_link::{
    CancelReason, DelegateControl, FromDelegate, Hello, Holder, ServerControl, Settings, State,
    TaskId, delegate, server,
};

use super::World;

#[derive(Default)]
pub(super) struct Server {
    pub(super) sessions: BTreeMap<String, server::Session>,
    pub(super) streams: BTreeMap<u64, String>,
    pub(super) away: BTreeMap<String, Duration>,
    /// Commands for sessions: each is read when its session has done what it is at, as from a driver's mailbox.
    mailbox: VecDeque<(String, ServerControl)>,
    acting: bool,
}

impl World {
    pub(super) fn arrive_at_server(&mut self, stream: u64, message: FromDelegate) {
        match message {
            FromDelegate::Hello(hello) if !self.server.streams.contains_key(&stream) => {
                let instance = hello.instance.to_string();
                self.server.streams.insert(stream, instance.clone());
                let is_known = self
                    .server
                    .sessions
                    .get(&instance)
                    .is_some_and(|session| *session.holder() == hello.holder());
                if !is_known {
                    self.origins += 1;
                    let origin = format!("o{}", self.origins);
                    let session = server::Session::new(hello.holder(), origin, Settings::default());
                    let old = self.server.sessions.insert(instance.clone(), session);
                    if let Some(stream) = old.and_then(|old| old.stream()) {
                        self.drop_stream(stream);
                    }
                }
                self.server_input(&instance, server::Input::Hello { stream, hello });
            }
            message => {
                // A driver reads the hello before anything else.
                match self.server.streams.get(&stream).cloned() {
                    Some(instance) => {
                        self.server_input(&instance, server::Input::Received { stream, message });
                    }
                    None => self.drop_stream(stream),
                }
            }
        }
    }

    /// The server ends a stream: the delegate learns of it.
    pub(super) fn drop_stream(&mut self, stream: u64) {
        self.wires.remove(&stream);
        self.server.streams.remove(&stream);
        if let Some(n) = self.delegates.iter().position(|d| d.stream == Some(stream)) {
            self.delegates[n].stream = None;
            self.delegate(n, delegate::Input::Closed);
        }
    }

    pub(super) fn server_input(&mut self, instance: &str, input: server::Input) {
        let outermost = !std::mem::replace(&mut self.server.acting, true);
        self.perform(instance, input);
        if outermost {
            while let Some((instance, command)) = self.server.mailbox.pop_front() {
                self.perform(&instance, server::Input::Command(command));
            }
            self.server.acting = false;
        }
    }

    pub(super) fn perform(&mut self, instance: &str, input: server::Input) {
        let Some(session) = self.server.sessions.get_mut(instance) else {
            return;
        };
        let holder = session.holder().clone();
        for output in session.handle(input, self.now) {
            match output {
                server::Output::Send { stream, message } => {
                    if let Some(wire) = self.wires.get_mut(&stream) {
                        wire.down.push(message);
                    }
                }
                server::Output::Close { stream, .. } => self.drop_stream(stream),
                server::Output::Deliver { seq, body } => {
                    if std::mem::take(&mut self.fails_next_commit) {
                        self.server_input(instance, server::Input::CommitFailed);
                        return;
                    }
                    self.control(&holder, body);
                    self.server_input(instance, server::Input::Committed { seq });
                }
                server::Output::State(State { task, .. }) => {
                    let event = Event::Progressed {
                        holder: holder.clone(),
                        epoch: task.epoch,
                    };
                    self.store_event(&task.id, &event);
                }
                server::Output::Attached { hello } => self.attached(&hello),
                server::Output::Detached => {
                    self.server.away.insert(instance.to_owned(), self.now);
                }
            }
        }
        self.place();
    }

    pub(super) fn control(&mut self, holder: &Holder, body: DelegateControl) {
        let holder = holder.clone();
        match body {
            DelegateControl::Accept(task) => {
                self.store_event(
                    &task.id,
                    &Event::Accepted {
                        holder,
                        epoch: task.epoch,
                    },
                );
            }
            DelegateControl::Refuse { task, reason, .. } => {
                self.store_event(
                    &task.id,
                    &Event::Refused {
                        holder,
                        epoch: task.epoch,
                        reason,
                    },
                );
            }
            DelegateControl::Result { task, outcome } => {
                let event = Event::Finished {
                    holder,
                    epoch: task.epoch,
                    end: outcome.end,
                };
                self.store_event(&task.id, &event);
            }
            DelegateControl::HandBack(task) => {
                let event = Event::HandedBack {
                    holder,
                    epoch: task.epoch,
                };
                self.store_event(&task.id, &event);
            }
            DelegateControl::Resolve { .. } | DelegateControl::Draining => {}
        }
    }

    pub(super) fn attached(&mut self, hello: &Hello) {
        let instance = hello.instance.to_string();
        self.server.away.remove(&instance);
        for (id, _) in self.store.held_by(&instance) {
            let held = hello
                .held
                .iter()
                .find(|task| task.id == id)
                .map(|task| task.epoch);
            self.store_event(
                &id,
                &Event::Greeted {
                    holder: hello.holder(),
                    held,
                },
            );
        }
        for task in &hello.held {
            if self.store.is_superseded(task, &hello.holder()) {
                self.command(
                    &instance,
                    ServerControl::Cancel {
                        task: task.clone(),
                        reason: CancelReason::Superseded,
                    },
                );
            }
        }
    }

    pub(super) fn store_event(&mut self, id: &TaskId, event: &Event) {
        for (holder, command) in self.store.apply(id, event) {
            let instance = holder.instance.to_string();
            let is_known = self
                .server
                .sessions
                .get(&instance)
                .is_some_and(|s| *s.holder() == holder);
            if is_known {
                self.command(&instance, command);
            }
        }
    }

    pub(super) fn command(&mut self, instance: &str, command: ServerControl) {
        if self.server.acting {
            self.server
                .mailbox
                .push_back((instance.to_owned(), command));
        } else {
            self.server_input(instance, server::Input::Command(command));
        }
    }

    /// Offers what is queued to the connected instance that holds least.
    pub(super) fn place(&mut self) {
        while let Some(id) = self.store.queued() {
            let best = self
                .server
                .sessions
                .values()
                .filter(|session| session.stream().is_some())
                .map(|session| session.holder().clone())
                .min_by_key(|holder| self.store.held_by(holder.instance.as_str()).len());
            match best {
                Some(holder) if self.store.held_by(holder.instance.as_str()).len() < 3 => {
                    self.store_event(&id, &Event::Offer { holder });
                }
                _ => return,
            }
        }
    }
}
