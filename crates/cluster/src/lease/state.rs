//! What to do about a Lease, given what is known of it: (state, event, now) → (state, action).
//!
//! Every event brings at most one action. `now` is the boot clock of this machine, read when the
//! event arrived; a write counts from the moment it was sent, which is the earliest that anybody
//! can have seen it.

use std::time::Duration;

use crate::clock::Boottime;

/// How long a Lease lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    duration: Duration,
}

/// A Lease as read from the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// `metadata.resourceVersion`: changes with every write.
    pub version: String,
    /// `spec.holderIdentity`; `None` when given back.
    pub holder: Option<String>,
    /// `spec.leaseDurationSeconds`: how long its holder may go on without renewing.
    pub duration: Duration,
    /// `spec.leaseTransitions`: how often it was taken.
    pub transitions: u32,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The Lease was read (`None`: there is none), or a watch reported it.
    Read(Option<Seen>),
    /// The write that was asked for succeeded and gave the Lease this version.
    Written {
        /// New `metadata.resourceVersion`.
        version: String,
    },
    /// The write was refused, because the Lease had changed or had come into being.
    Refused,
    /// The write or read failed with its outcome unknown.
    Failed,
    /// The time that the state asked for has come, or any other time.
    Tick,
    /// We are done and want to give the Lease back.
    Release,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read the Lease.
    Read,
    /// Make the Lease, with us as its holder.
    Create {
        /// `leaseTransitions` to write: our fence.
        transitions: u32,
    },
    /// Replace the Lease if it still has `version`.
    Update {
        /// `metadata.resourceVersion` to require.
        version: String,
        /// `leaseTransitions` to write.
        transitions: u32,
        /// What the update is for.
        purpose: Purpose,
    },
    /// Wait for a change of the Lease, or until the time is reached.
    Wait {
        /// When to send [`Event::Tick`].
        until: Boottime,
    },
    /// Nothing more to do, ever.
    Stop,
}

/// Why the Lease is updated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To become its holder.
    Take,
    /// To stay its holder.
    Renew,
    /// To name no holder.
    Release,
}

/// Where we stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing is known. Entered at the start and after a lost race; left by a read.
    Unknown,
    /// Somebody else holds it. Left when it is given back or unchanged for its whole duration.
    Waiting {
        /// The Lease as last seen.
        seen: Seen,
        /// When we saw it change last.
        since: Boottime,
    },
    /// A write is under way that would make us its holder.
    Taking {
        /// When it was sent.
        sent: Boottime,
        /// The fence it would give us.
        transitions: u32,
    },
    /// We hold it.
    Held {
        /// When the last successful write was sent.
        renewed: Boottime,
        /// Version of the Lease as we wrote it.
        version: String,
        /// Our fence.
        transitions: u32,
        /// When a renewal was sent whose outcome is not known yet.
        renewing: Option<Boottime>,
    },
    /// We hold it as far as we know and are giving it back. Left when nobody is its holder, or another, or after as long
    /// as it lasts.
    Releasing {
        /// Our fence.
        transitions: u32,
        /// When it runs out by itself, and trying ends.
        until: Boottime,
    },
    /// Somebody else has taken it from us.
    Lost {
        /// Its holder now.
        holder: String,
    },
    /// Given back, or given up.
    Released,
}

/// The decisions of one claimant.
#[derive(Clone, Debug)]
pub struct Machine {
    me: String,
    terms: Terms,
    floor: u32,
    state: State,
}

impl Terms {
    /// Terms of a Lease that lasts `duration` without renewal.
    pub const fn new(duration: Duration) -> Self {
        Self { duration }
    }

    /// How long nobody else takes the Lease after its last change.
    pub const fn duration(self) -> Duration {
        self.duration
    }

    /// How often a holder renews.
    pub fn renewal(self) -> Duration {
        self.duration / 5
    }

    /// For a Lease renewed `age` ago: how long a request sent now may take, or `None` when nothing
    /// may be sent any more.
    pub fn left_to_write(self, age: Duration) -> Option<Duration> {
        (age < self.duration * 2 / 3).then(|| self.duration.saturating_sub(age))
    }
}

impl Default for Terms {
    /// 15 s: a killed holder delays the next by no more, and a holder has 10 s to renew.
    fn default() -> Self {
        Self::new(Duration::from_secs(15))
    }
}

impl Machine {
    /// A claimant that calls itself `me`, a name nobody else ever uses. Its fence will be above
    /// `floor`, the highest fence in the release's records.
    pub const fn new(me: String, terms: Terms, floor: u32) -> Self {
        Self {
            me,
            terms,
            floor,
            state: State::Unknown,
        }
    }

    /// Where the claimant stands.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The first action.
    pub const fn start(&self) -> Action {
        Action::Read
    }

    /// Takes notice of `event` and says what to do.
    pub fn step(&mut self, event: Event, now: Boottime) -> Action {
        let state = std::mem::replace(&mut self.state, State::Unknown);
        let (state, action) = match state {
            State::Unknown => self.when_unknown(event, now),
            State::Waiting { seen, since } => self.when_waiting(seen, since, event, now),
            State::Taking { sent, transitions } => self.when_taking(sent, transitions, event, now),
            State::Held {
                renewed,
                version,
                transitions,
                renewing,
            } => {
                let held = Holding {
                    renewed,
                    version,
                    transitions,
                    renewing,
                };
                self.when_held(held, event, now)
            }
            State::Releasing { transitions, until } => {
                self.when_releasing(transitions, until, event, now)
            }
            ended @ (State::Lost { .. } | State::Released) => (ended, Action::Stop),
        };
        self.state = state;
        action
    }

    fn when_unknown(&self, event: Event, now: Boottime) -> (State, Action) {
        match event {
            Event::Read(None) => {
                let transitions = self.floor.saturating_add(1);
                (
                    State::Taking {
                        sent: now,
                        transitions,
                    },
                    Action::Create { transitions },
                )
            }
            Event::Read(Some(seen)) => self.look_at(seen, now),
            Event::Release => (State::Released, Action::Stop),
            Event::Failed => (
                State::Unknown,
                Action::Wait {
                    until: now.after(self.terms.renewal()),
                },
            ),
            Event::Written { .. } | Event::Refused | Event::Tick => (State::Unknown, Action::Read),
        }
    }

    /// A Lease seen for the first time in its present version.
    fn look_at(&self, seen: Seen, now: Boottime) -> (State, Action) {
        if seen.holder.is_none() {
            return self.take(&seen, now);
        }
        let until = now.after(self.patience(&seen));
        (State::Waiting { seen, since: now }, Action::Wait { until })
    }

    fn when_waiting(
        &self,
        seen: Seen,
        since: Boottime,
        event: Event,
        now: Boottime,
    ) -> (State, Action) {
        match event {
            Event::Read(None) => self.when_unknown(Event::Read(None), now),
            Event::Read(Some(new)) if new.version != seen.version => self.look_at(new, now),
            Event::Release => (State::Released, Action::Stop),
            _ if now.since(since) >= self.patience(&seen) => self.take(&seen, now),
            _ => {
                let until = since.after(self.patience(&seen));
                (State::Waiting { seen, since }, Action::Wait { until })
            }
        }
    }

    fn when_taking(
        &self,
        sent: Boottime,
        transitions: u32,
        event: Event,
        now: Boottime,
    ) -> (State, Action) {
        match event {
            Event::Written { version } => {
                let until = sent.after(self.terms.renewal());
                let renewing = None;
                let held = State::Held {
                    renewed: sent,
                    version,
                    transitions,
                    renewing,
                };
                (held, Action::Wait { until })
            }
            // Refused by somebody quicker, or perhaps by our own write when its answer was lost.
            Event::Refused | Event::Failed => (State::Taking { sent, transitions }, Action::Read),
            Event::Read(Some(seen)) if self.is_mine(&seen, transitions) => {
                // Our write did happen. It counts from a moment long ago, so write again.
                self.renew(sent, seen.version, transitions, now)
            }
            Event::Read(found) => self.when_unknown(Event::Read(found), now),
            Event::Release => (State::Released, Action::Stop),
            Event::Tick => (State::Taking { sent, transitions }, Action::Read),
        }
    }

    fn when_held(&self, held: Holding, event: Event, now: Boottime) -> (State, Action) {
        let due = held.renewed.after(self.terms.renewal());
        match event {
            Event::Written { version } => {
                let renewed = held.renewing.unwrap_or(held.renewed);
                let until = renewed.after(self.terms.renewal());
                let transitions = held.transitions;
                (
                    State::Held {
                        renewed,
                        version,
                        transitions,
                        renewing: None,
                    },
                    Action::Wait { until },
                )
            }
            Event::Refused => (held.into_state(None), Action::Read),
            Event::Failed => {
                // Try again soon; Read first, since the write may have happened.
                (held.into_state(None), Action::Read)
            }
            Event::Read(Some(seen)) if self.is_mine(&seen, held.transitions) => {
                if seen.version == held.version && now < due {
                    (held.into_state(None), Action::Wait { until: due })
                } else {
                    self.renew(held.renewed, seen.version, held.transitions, now)
                }
            }
            Event::Read(Some(seen)) => {
                let holder = seen
                    .holder
                    .unwrap_or_else(|| "somebody who gave it back".to_owned());
                (State::Lost { holder }, Action::Stop)
            }
            // Nobody deletes it but a person; who comes next starts above the records' fence.
            Event::Read(None) => (
                State::Lost {
                    holder: "whoever deleted the lease".to_owned(),
                },
                Action::Stop,
            ),
            Event::Tick if now >= due => {
                self.renew(held.renewed, held.version, held.transitions, now)
            }
            Event::Tick => {
                let renewing = held.renewing;
                (held.into_state(renewing), Action::Wait { until: due })
            }
            Event::Release => {
                let until = now.after(self.terms.duration);
                Self::give_back(held.version, held.transitions, until)
            }
        }
    }

    fn when_releasing(
        &self,
        transitions: u32,
        until: Boottime,
        event: Event,
        now: Boottime,
    ) -> (State, Action) {
        let releasing = State::Releasing { transitions, until };
        match event {
            Event::Written { .. } => (State::Released, Action::Stop),
            Event::Refused | Event::Failed | Event::Tick if now >= until => {
                (State::Released, Action::Stop)
            }
            // A renewal whose answer was lost may have given it another version, and so may this write itself.
            Event::Refused | Event::Failed | Event::Tick => (releasing, Action::Read),
            Event::Read(Some(seen)) if self.is_mine(&seen, transitions) => {
                Self::give_back(seen.version, transitions, until)
            }
            Event::Read(_) => (State::Released, Action::Stop),
            Event::Release => (releasing, Action::Wait { until }),
        }
    }

    fn give_back(version: String, transitions: u32, until: Boottime) -> (State, Action) {
        let purpose = Purpose::Release;
        let action = Action::Update {
            version,
            transitions,
            purpose,
        };
        (State::Releasing { transitions, until }, action)
    }

    fn take(&self, seen: &Seen, now: Boottime) -> (State, Action) {
        let transitions = seen.transitions.max(self.floor).saturating_add(1);
        let version = seen.version.clone();
        let action = Action::Update {
            version,
            transitions,
            purpose: Purpose::Take,
        };
        (
            State::Taking {
                sent: now,
                transitions,
            },
            action,
        )
    }

    fn renew(
        &self,
        renewed: Boottime,
        version: String,
        transitions: u32,
        now: Boottime,
    ) -> (State, Action) {
        let purpose = Purpose::Renew;
        let action = Action::Update {
            version: version.clone(),
            transitions,
            purpose,
        };
        (
            State::Held {
                renewed,
                version,
                transitions,
                renewing: Some(now),
            },
            action,
        )
    }

    fn is_mine(&self, seen: &Seen, transitions: u32) -> bool {
        seen.holder.as_deref() == Some(self.me.as_str()) && seen.transitions == transitions
    }

    /// How long `seen` must stay unchanged before we take it: what its holder counts on, and never
    /// less than our own terms in case the field is absent or was tampered with.
    fn patience(&self, seen: &Seen) -> Duration {
        seen.duration.max(self.terms.duration)
    }
}

/// The fields of [`State::Held`].
struct Holding {
    renewed: Boottime,
    version: String,
    transitions: u32,
    renewing: Option<Boottime>,
}

impl Holding {
    fn into_state(self, renewing: Option<Boottime>) -> State {
        let Self {
            renewed,
            version,
            transitions,
            ..
        } = self;
        State::Held {
            renewed,
            version,
            transitions,
            renewing,
        }
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
