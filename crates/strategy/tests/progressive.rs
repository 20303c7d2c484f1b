//! Progressive canaries in the simulated world.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use sortie_strategy::invariant;
use sortie_strategy::progressive::{
    Asked, Observation, Phase, Plan, Route, State, Workload, decide,
};
use sortie_strategy::replicas::{Amount, Pair, Side, Sides, Slack, pair};
use sortie_strategy::simulator::{Luck, World};

const LAG: Duration = Duration::from_secs(8);
const ROUNDS: u32 = 20_000;

fn plan(to: u32) -> Plan {
    Plan {
        to,
        settle: Duration::from_secs(10),
        patience: Duration::from_secs(600),
    }
}

fn workloads() -> impl Strategy<Value = Vec<(u32, Slack)>> {
    let amount = prop_oneof![
        (0_u32..=10).prop_map(Amount::Count),
        (0_u32..=60).prop_map(Amount::Percent)
    ];
    let replicas = prop_oneof![3 => 0_u32..=12, 1 => 13_u32..=200];
    let workload = (replicas, amount.clone(), amount).prop_map(|(replicas, surge, unavailable)| {
        let slack = Slack::of(surge, unavailable, replicas);
        (replicas, slack.beside(replicas))
    });
    prop::collection::vec(workload, 1..=3)
}

fn side() -> impl Strategy<Value = Side> {
    let number = || prop_oneof![0_u32..=5, 0_u32..=220];
    (number(), number(), number(), number()).prop_map(|(wanted, pods, ready, available)| {
        let ready = ready.min(pods);
        Side {
            wanted,
            pods,
            ready,
            available: available.min(ready),
        }
    })
}

/// Whatever may be seen, by whoever's doing.
fn anything() -> impl Strategy<Value = Observation> {
    let sides = prop::collection::vec((side(), side()), 3);
    let route = prop::option::of((0_u32..=100, any::<bool>()));
    (workloads(), sides, route).prop_map(|(workloads, sides, route)| {
        let workload =
            |((replicas, slack), (canary, stable)): ((u32, Slack), (Side, Side))| Workload {
                name: "web".to_owned(),
                replicas,
                slack,
                sides: Sides { canary, stable },
                ready: Pair {
                    canary: canary.available,
                    stable: stable.available,
                },
            };
        Observation {
            workloads: workloads.into_iter().zip(sides).map(workload).collect(),
            route: route.map(|(canary, is_accepted)| Route {
                canary,
                is_accepted,
            }),
        }
    })
}

fn state() -> impl Strategy<Value = State> {
    let time = || (0_i64..1_000).prop_map(|at| Timestamp::from_second(at).unwrap());
    let weights = (0_u32..=100, 0_u32..=100);
    let asked = (weights, time(), prop::option::of(time()));
    prop::option::of(asked).prop_map(|asked| State {
        phase: Phase::Shifting,
        asked: asked.map(|((canary, before), at, accepted)| Asked {
            canary,
            before,
            at,
            accepted,
        }),
    })
}

/// Run to the end, checking at each moment.
fn run(world: &mut World, plan: &Plan, mut check: impl FnMut(&World)) -> Phase {
    let mut state = State::new();
    for _ in 0..ROUNDS {
        let seen = world.seen();
        let decision = decide(plan, state, &seen, world.now);
        state = decision.state;
        for action in &decision.actions {
            invariant::permitted((plan, &state), (&seen, world.now), action).unwrap();
            world.act(action);
        }
        if matches!(state.phase, Phase::Done | Phase::Failed(_)) {
            return state.phase;
        }
        world.tick();
        check(world);
    }
    panic!("no end: {state:?} {:?}", world.seen());
}

fn check_all(world: &World) {
    let seen = world.seen();
    invariant::bounded(&seen).unwrap();
    if let Some(share) = world.serves() {
        invariant::served(&seen, &[share]).unwrap();
        invariant::carried(&seen, &[share]).unwrap();
    }
}

proptest! {
    #[test]
    fn shares_are_reached_one_after_the_other(
        workloads in workloads(),
        shares in prop::collection::vec(0_u32..=99, 1..4),
        routed in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut world = World::new(&workloads, routed.then_some(LAG), Luck::new(seed));
        for share in shares {
            let end = run(&mut world, &plan(share), check_all);
            prop_assert_eq!(end, Phase::Done);
            for one in world.seen().workloads {
                let goal = pair(one.replicas, share, one.slack);
                prop_assert_eq!(one.sides.wanted(), goal);
                prop_assert_eq!(one.ready, goal);
            }
            prop_assert_eq!(world.serves(), routed.then_some(share));
        }
    }

    #[test]
    fn nothing_is_asked_for_that_would_break_something(
        seen in anything(),
        state in state(),
        to in 0_u32..=100,
        now in 0_i64..1_000,
    ) {
        let now = Timestamp::from_second(now).unwrap();
        let plan = plan(to);
        let decision = decide(&plan, state, &seen, now);
        for action in &decision.actions {
            let permitted = invariant::permitted((&plan, &decision.state), (&seen, now), action);
            prop_assert_eq!(permitted, Ok(()), "{:?}", action);
        }
    }

    /// As a promotion goes: the canary gets all pods, the stable side the new version, and then the pods come back.
    #[test]
    fn all_pods_go_to_the_canary_and_come_back(
        workloads in workloads(),
        first in 0_u32..=99,
        routed in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut world = World::new(&workloads, routed.then_some(LAG), Luck::new(seed));
        run(&mut world, &plan(first), check_all);
        for (share, goal) in [(100, |n| (n, 0)), (0, |n| (0, n))] as [(u32, fn(u32) -> (u32, u32)); 2] {
            prop_assert_eq!(run(&mut world, &plan(share), check_all), Phase::Done);
            for one in world.seen().workloads {
                prop_assert_eq!((one.ready.canary, one.ready.stable), goal(one.replicas));
            }
            prop_assert_eq!(world.serves(), routed.then_some(share));
        }
    }

    /// Whoever carries it out dies before or after any action, pods stop being ready, the clock jumps and others write the
    /// weights. What the planner asks for is right by what it sees, and when the storm is over the end is reached.
    #[test]
    fn crashes_and_misfortunes_only_delay(
        workloads in workloads(),
        to in 0_u32..=100,
        routed in any::<bool>(),
        // How many actions are carried out before whoever does it is killed, and what happens then.
        storm in prop::collection::vec((0_usize..6, 0_u8..6), 1..80),
        seed in any::<u64>(),
    ) {
        let mut world = World::new(&workloads, routed.then_some(LAG), Luck::new(seed));
        let mut luck = Luck::new(!seed);
        let patience = Duration::from_secs(1_000_000);
        let plan = Plan { patience, ..plan(to) };
        let mut state = State::new();
        for (done, misfortune) in storm {
            let seen = world.seen();
            let decision = decide(&plan, state, &seen, world.now);
            for action in decision.actions.iter().take(done) {
                let permitted = invariant::permitted((&plan, &decision.state), (&seen, world.now), action);
                prop_assert_eq!(permitted, Ok(()), "{:?} {:?}", action, &seen);
                world.act(action);
            }
            // The state is stored before anything is done.
            state = decision.state;
            if state.phase == Phase::Done {
                break;
            }
            let victim = usize::try_from(luck.below(3)).unwrap();
            match misfortune {
                0 => world.strike(victim, luck.below(2) == 0),
                1 => world.jump(Duration::from_secs(u64::from(luck.below(300)))),
                2 => world.meddle(luck.below(101)),
                _ => world.tick(),
            }
        }
        let mut rounds = 0;
        while !matches!(state.phase, Phase::Done | Phase::Failed(_)) {
            let decision = decide(&plan, state, &world.seen(), world.now);
            state = decision.state;
            for action in &decision.actions {
                world.act(action);
            }
            world.tick();
            rounds += 1;
            prop_assert!(rounds < ROUNDS, "no end: {state:?} {:?}", world.seen());
        }
        prop_assert_eq!(&state.phase, &Phase::Done);
        prop_assert!(!routed || world.seen().route.unwrap().canary == to);
    }
}
