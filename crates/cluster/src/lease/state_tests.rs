use super::*;
use proptest::prelude::*;

const TERMS: Terms = Terms::new(Duration::from_secs(15));

fn at(seconds: u64) -> Boottime {
    Boottime::new(Duration::from_secs(1000 + seconds))
}

fn machine() -> Machine {
    Machine::new("me".into(), TERMS, 4)
}

fn seen(holder: Option<&str>, version: &str, transitions: u32) -> Seen {
    Seen {
        version: version.into(),
        holder: holder.map(str::to_owned),
        duration: TERMS.duration(),
        transitions,
    }
}

fn read(holder: Option<&str>, version: &str, transitions: u32) -> Event {
    Event::Read(Some(seen(holder, version, transitions)))
}

fn written(version: &str) -> Event {
    Event::Written {
        version: version.into(),
    }
}

fn update(version: &str, transitions: u32, purpose: Purpose) -> Action {
    Action::Update {
        version: version.into(),
        transitions,
        purpose,
    }
}

fn holding(version: &str, transitions: u32) -> Machine {
    let mut machine = machine();
    machine.state = State::Held {
        renewed: at(0),
        version: version.into(),
        transitions,
        renewing: None,
    };
    machine
}

#[test]
fn a_lease_that_does_not_exist_is_made_above_the_records_fence() {
    let mut machine = machine();
    assert_eq!(machine.start(), Action::Read);
    assert_eq!(
        machine.step(Event::Read(None), at(0)),
        Action::Create { transitions: 5 }
    );
    assert_eq!(
        machine.step(written("1"), at(2)),
        Action::Wait { until: at(3) }
    );
    // It counts from when the write was sent.
    let State::Held {
        renewed,
        transitions,
        ..
    } = machine.state()
    else {
        panic!("not held")
    };
    assert_eq!((*renewed, *transitions), (at(0), 5));
}

#[test]
fn a_lease_that_was_given_back_is_taken_at_once() {
    let mut machine = machine();
    assert_eq!(
        machine.step(read(None, "7", 9), at(0)),
        update("7", 10, Purpose::Take)
    );
    let mut machine = Machine::new("me".into(), TERMS, 20);
    assert_eq!(
        machine.step(read(None, "7", 9), at(0)),
        update("7", 21, Purpose::Take)
    );
}

#[test]
fn a_held_lease_is_taken_only_after_a_whole_duration_without_a_change() {
    let mut machine = machine();
    assert_eq!(
        machine.step(read(Some("a"), "1", 1), at(0)),
        Action::Wait { until: at(15) }
    );
    // A renewal starts the wait anew, also when it is seen late.
    assert_eq!(
        machine.step(read(Some("a"), "2", 1), at(14)),
        Action::Wait { until: at(29) }
    );
    assert_eq!(
        machine.step(read(Some("a"), "2", 1), at(20)),
        Action::Wait { until: at(29) }
    );
    assert_eq!(
        machine.step(Event::Tick, at(28)),
        Action::Wait { until: at(29) }
    );
    assert_eq!(
        machine.step(Event::Tick, at(29)),
        update("2", 5, Purpose::Take)
    );
}

#[test]
fn a_longer_lease_is_waited_for_longer() {
    let mut machine = machine();
    let mut long = seen(Some("a"), "1", 1);
    long.duration = Duration::from_secs(60);
    assert_eq!(
        machine.step(Event::Read(Some(long)), at(0)),
        Action::Wait { until: at(60) }
    );
    let mut machine = super::Machine::new("me".into(), TERMS, 0);
    let mut short = seen(Some("a"), "1", 1);
    short.duration = Duration::ZERO;
    assert_eq!(
        machine.step(Event::Read(Some(short)), at(0)),
        Action::Wait { until: at(15) }
    );
}

#[test]
fn a_lost_race_begins_again() {
    let mut machine = machine();
    machine.step(read(None, "1", 1), at(0));
    assert_eq!(machine.step(Event::Refused, at(1)), Action::Read);
    assert_eq!(
        machine.step(read(Some("b"), "2", 2), at(1)),
        Action::Wait { until: at(16) }
    );
}

#[test]
fn a_taking_whose_answer_was_lost_counts_from_its_renewal() {
    let mut machine = machine();
    machine.step(read(None, "1", 4), at(0));
    assert_eq!(machine.step(Event::Failed, at(9)), Action::Read);
    assert_eq!(
        machine.step(read(Some("me"), "2", 5), at(10)),
        update("2", 5, Purpose::Renew)
    );
    machine.step(written("3"), at(11));
    let State::Held { renewed, .. } = machine.state() else {
        panic!("not held")
    };
    assert_eq!(*renewed, at(10));
}

#[test]
fn a_holder_renews_in_time() {
    let mut machine = holding("1", 5);
    assert_eq!(
        machine.step(Event::Tick, at(2)),
        Action::Wait { until: at(3) }
    );
    assert_eq!(
        machine.step(Event::Tick, at(3)),
        update("1", 5, Purpose::Renew)
    );
    assert_eq!(
        machine.step(written("2"), at(4)),
        Action::Wait { until: at(6) }
    );
}

#[test]
fn a_renewal_with_unknown_outcome_is_looked_up_and_repeated() {
    for outcome in [Event::Failed, Event::Refused] {
        let mut machine = holding("1", 5);
        machine.step(Event::Tick, at(3));
        assert_eq!(machine.step(outcome.clone(), at(4)), Action::Read);
        // It had not happened, or it had: either way a new renewal is what counts.
        assert_eq!(
            machine.step(read(Some("me"), "2", 5), at(5)),
            update("2", 5, Purpose::Renew)
        );
        machine.step(written("3"), at(6));
        let State::Held { renewed, .. } = machine.state() else {
            panic!("not held")
        };
        assert_eq!(*renewed, at(5), "{outcome:?}");
    }
}

#[test]
fn a_holder_that_was_replaced_stops() {
    for found in [
        read(Some("b"), "9", 6),
        read(None, "9", 6),
        Event::Read(None),
    ] {
        let mut machine = holding("1", 5);
        assert_eq!(
            machine.step(found.clone(), at(3)),
            Action::Stop,
            "{found:?}"
        );
        assert!(matches!(machine.state(), State::Lost { .. }));
        assert_eq!(machine.step(read(Some("me"), "10", 5), at(4)), Action::Stop);
    }
}

#[test]
fn a_holder_gives_back_once() {
    let mut machine = holding("1", 5);
    assert_eq!(
        machine.step(Event::Release, at(1)),
        update("1", 5, Purpose::Release)
    );
    assert_eq!(machine.step(written("2"), at(2)), Action::Stop);
    assert_eq!(machine.state(), &State::Released);
}

#[test]
fn a_lease_is_given_back_in_the_version_that_a_lost_answer_left() {
    // The renewal was written, and its answer lost.
    let mut machine = holding("1", 5);
    machine.step(Event::Tick, at(3));
    machine.step(Event::Failed, at(8));
    let given_back = machine.step(Event::Release, at(8));
    assert_eq!(given_back, update("1", 5, Purpose::Release));
    assert_eq!(machine.step(Event::Refused, at(9)), Action::Read);
    let again = machine.step(read(Some("me"), "2", 5), at(9));
    assert_eq!(again, update("2", 5, Purpose::Release));
    // So was this one.
    assert_eq!(machine.step(Event::Failed, at(14)), Action::Read);
    assert_eq!(machine.step(read(None, "3", 5), at(14)), Action::Stop);
    assert_eq!(machine.state(), &State::Released);
}

#[test]
fn giving_back_ends_with_another_holder_or_when_the_lease_has_run_out() {
    for found in [
        read(Some("b"), "2", 6),
        read(Some("me"), "2", 6),
        Event::Read(None),
    ] {
        let mut machine = holding("1", 5);
        machine.step(Event::Release, at(1));
        assert_eq!(machine.step(Event::Failed, at(6)), Action::Read);
        assert_eq!(machine.step(found, at(6)), Action::Stop);
        assert_eq!(machine.state(), &State::Released);
    }
    let mut machine = holding("1", 5);
    machine.step(Event::Release, at(1));
    assert_eq!(machine.step(Event::Failed, at(15)), Action::Read);
    assert_eq!(machine.step(Event::Failed, at(16)), Action::Stop);
}

/// Every state meets every event: nothing panics, and only a holder renews or gives back.
#[test]
fn every_event_is_answered_in_every_state() {
    let states = [
        State::Unknown,
        State::Waiting {
            seen: seen(Some("a"), "1", 1),
            since: at(0),
        },
        State::Taking {
            sent: at(0),
            transitions: 5,
        },
        State::Held {
            renewed: at(0),
            version: "1".into(),
            transitions: 5,
            renewing: None,
        },
        State::Held {
            renewed: at(0),
            version: "1".into(),
            transitions: 5,
            renewing: Some(at(1)),
        },
        State::Releasing {
            transitions: 5,
            until: at(20),
        },
        State::Lost { holder: "b".into() },
        State::Released,
    ];
    let events = [
        Event::Read(None),
        read(None, "1", 1),
        read(None, "2", 1),
        read(Some("a"), "1", 1),
        read(Some("me"), "2", 5),
        written("3"),
        Event::Refused,
        Event::Failed,
        Event::Tick,
        Event::Release,
    ];
    for state in &states {
        for event in &events {
            for now in [at(0), at(14), at(15), at(10_000)] {
                let mut machine = machine();
                machine.state = state.clone();
                let action = machine.step(event.clone(), now);
                let context = format!("{state:?} {event:?} -> {action:?}");
                let was_ours = matches!(
                    state,
                    State::Held { .. } | State::Taking { .. } | State::Releasing { .. }
                );
                if let Action::Update {
                    purpose: Purpose::Renew | Purpose::Release,
                    ..
                } = action
                {
                    assert!(was_ours, "{context}");
                }
                if let (State::Waiting { .. }, Action::Update { .. }) = (state, &action) {
                    let given_back =
                        matches!(event, Event::Read(Some(seen)) if seen.holder.is_none());
                    assert!(given_back || now >= at(15), "taken too early: {context}");
                }
                if let (State::Releasing { .. }, Action::Update { purpose, .. }) = (state, &action)
                {
                    assert_eq!(*purpose, Purpose::Release, "{context}");
                }
                if matches!(state, State::Lost { .. } | State::Released) {
                    assert_eq!(action, Action::Stop, "{context}");
                }
            }
        }
    }
}

/// A world of several claimants and one Lease. Requests and answers take any time or are lost; each
/// claimant's clock has its own zero. Time advances in tenths of a second.
struct World {
    now: u64,
    lease: Option<Seen>,
    versions: u32,
    claimants: Vec<Claimant>,
}

struct Claimant {
    machine: Machine,
    clock_zero: u64,
    /// The request that is under way: when it reaches the server, when its answer arrives.
    pending: Option<(Action, u64, u64, Option<Event>)>,
    wait: Option<u64>,
}

impl World {
    fn new(count: u64) -> Self {
        let claimants = (0..count).map(|n| {
            let machine = Machine::new(format!("c{n}"), TERMS, 0);
            let pending = Some((machine.start(), 0, 0, None));
            Claimant {
                machine,
                clock_zero: n * 7919,
                pending,
                wait: None,
            }
        });
        Self {
            now: 1,
            lease: None,
            versions: 0,
            claimants: claimants.collect(),
        }
    }

    fn serve(&mut self, action: &Action, me: &str) -> Event {
        let holder = match action {
            Action::Read => return Event::Read(self.lease.clone()),
            Action::Create { .. } if self.lease.is_some() => return Event::Refused,
            Action::Update { version, .. }
                if self
                    .lease
                    .as_ref()
                    .is_none_or(|lease| lease.version != *version) =>
            {
                return Event::Refused;
            }
            Action::Update {
                purpose: Purpose::Release,
                ..
            } => None,
            _ => Some(me.to_owned()),
        };
        let (Action::Create { transitions } | Action::Update { transitions, .. }) = action else {
            return Event::Tick;
        };
        self.versions += 1;
        let version = self.versions.to_string();
        let (duration, transitions) = (TERMS.duration(), *transitions);
        self.lease = Some(Seen {
            version: version.clone(),
            holder,
            duration,
            transitions,
        });
        Event::Written { version }
    }

    /// Lets claimant `index` do what is due; `delay` and `lose` decide over its next request.
    fn advance(&mut self, index: usize, delay: u64, lose: bool) {
        let now = self.now;
        let me = self.claimants[index].machine.me.clone();
        let Some((action, reaches, answers, event)) = self.claimants[index].pending.take() else {
            if self.claimants[index].wait.is_some_and(|until| now >= until) {
                self.claimants[index].wait = None;
                self.tell(index, Event::Tick, delay);
            }
            return;
        };
        let event = if event.is_none() && now >= reaches {
            Some(self.serve(&action, &me))
        } else {
            event
        };
        if now >= answers && event.is_some() {
            let heard = if lose {
                Event::Failed
            } else {
                event.unwrap_or(Event::Failed)
            };
            self.tell(index, heard, delay);
        } else {
            self.claimants[index].pending = Some((action, reaches, answers, event));
        }
    }

    fn tell(&mut self, index: usize, event: Event, delay: u64) {
        let now = self.now;
        let claimant = &mut self.claimants[index];
        let clock =
            |time: u64| Boottime::new(Duration::from_millis((time + claimant.clock_zero) * 100));
        let action = claimant.machine.step(event, clock(now));
        match action {
            Action::Wait { until } => {
                let rest = until.since(clock(now)).as_millis() / 100;
                claimant.wait = Some(now + u64::try_from(rest).unwrap().max(1));
            }
            Action::Stop => {}
            // The request reaches the server after half of the delay.
            action => claimant.pending = Some((action, now + delay / 2, now + delay, None)),
        }
    }

    /// The claimants whose writes may still reach the server, with their fences.
    fn writers(&self) -> Vec<u32> {
        let writes = |claimant: &Claimant| {
            let State::Held {
                renewed,
                transitions,
                ..
            } = claimant.machine.state()
            else {
                return None;
            };
            let now = Boottime::new(Duration::from_millis(
                (self.now + claimant.clock_zero) * 100,
            ));
            // What was sent in the first two thirds has ended at the end of the last.
            (now.since(*renewed) < TERMS.duration()).then_some(*transitions)
        };
        self.claimants.iter().filter_map(writes).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn at_most_one_may_write_and_fences_only_rise(
        steps in proptest::collection::vec((0usize..3, 0u64..60, 0u8..10, 1u64..30), 1..1500),
        release_every in 50usize..400,
    ) {
        let mut world = World::new(3);
        let mut last_fence = 0;
        for (count, (index, delay, luck, tick)) in steps.into_iter().enumerate() {
            if count % release_every == 0 && world.claimants[index].pending.is_none() {
                world.claimants[index].wait = None;
                world.tell(index, Event::Release, delay);
            }
            world.advance(index, delay, luck == 0);
            let writers = world.writers();
            prop_assert!(writers.len() <= 1, "two may write: {writers:?}");
            if let Some(fence) = writers.first() {
                prop_assert!(*fence >= last_fence, "fence fell from {last_fence} to {fence}");
                last_fence = *fence;
            }
            world.now += tick;
        }
    }

    #[test]
    fn somebody_gets_it_when_requests_succeed(order in proptest::collection::vec(0usize..3, 400)) {
        let mut world = World::new(3);
        let mut held = false;
        for index in order {
            world.advance(index, 1, false);
            held |= !world.writers().is_empty();
            world.now += 1;
        }
        prop_assert!(held);
    }
}
