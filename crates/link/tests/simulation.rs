//! Delegates, a server and its store under loss, repeats, reordering, cuts and restarts of either side.
//!
//! The world runs the real machines of both sides; only the drivers around them are written here. After any script of
//! misfortunes the network heals, and then every task must have ended, its end delivered exactly once, with no task of
//! kind "once" started twice and nothing accepted from a stale epoch.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod world;

use proptest::prelude::*;

use self::world::{Misfortune, World};

fn misfortune() -> impl Strategy<Value = Misfortune> {
    let pick = any::<u16>();
    prop_oneof![
        4 => any::<bool>().prop_map(|once| Misfortune::Enqueue { once }),
        30 => pick.prop_map(Misfortune::Deliver),
        4 => pick.prop_map(Misfortune::DeliverLate),
        3 => pick.prop_map(Misfortune::Repeat),
        3 => pick.prop_map(Misfortune::Lose),
        2 => pick.prop_map(Misfortune::Cut),
        6 => pick.prop_map(Misfortune::Connect),
        1 => pick.prop_map(Misfortune::RestartDelegate),
        1 => Just(Misfortune::RestartServer),
        5 => (1_u64..70_000).prop_map(Misfortune::Wait),
        6 => pick.prop_map(Misfortune::Finish),
        3 => pick.prop_map(Misfortune::HandBack),
        1 => pick.prop_map(Misfortune::Cancel),
        1 => Just(Misfortune::FailNextCommit),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400,
        failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_task_ends_once(script in prop::collection::vec(misfortune(), 1..250)) {
        let mut world = World::new(2);
        for step in script {
            world.suffer(step);
        }
        world.heal();
        world.check();
    }

    /// What is only handed back, never lost: a resumable task comes to its end with nobody waiting for a lease, and is
    /// started again for nothing else; each once-only one ends as lost or done.
    #[test]
    fn what_is_handed_back_goes_on_without_any_lease(
        script in prop::collection::vec(misfortune(), 1..250)
    ) {
        let mut world = World::new(2);
        for step in script {
            match step {
                Misfortune::RestartDelegate(_) | Misfortune::Cancel(_) => {}
                Misfortune::Wait(ms) => world.suffer(Misfortune::Wait(ms % 40)),
                step => world.suffer(step),
            }
        }
        world.heal();
        world.check();
        world.check_starts_follow_hand_backs();
    }

    /// Without restarts of delegates and without long absences nothing may be lost: each task runs exactly once.
    #[test]
    fn cuts_and_server_restarts_lose_nothing(
        script in prop::collection::vec(misfortune(), 1..250)
    ) {
        let mut world = World::new(2);
        for step in script {
            match step {
                Misfortune::RestartDelegate(_)
                | Misfortune::HandBack(_)
                | Misfortune::Cancel(_) => {}
                Misfortune::Wait(ms) => world.suffer(Misfortune::Wait(ms % 40)),
                step => world.suffer(step),
            }
        }
        world.heal();
        world.check();
        world.check_each_ran_exactly_once();
    }
}

/// A hello that was overtaken by a later stream's once made the server believe that the task it did not name was lost.
#[test]
fn an_overtaken_hello_loses_nothing() {
    use Misfortune::{Connect, Deliver, DeliverLate, Enqueue, RestartServer};
    let script = [
        Enqueue { once: false },
        Connect(0),
        Connect(1985),
        Deliver(35557),
        RestartServer,
        Connect(92),
        Connect(36480),
        Deliver(0),
        Deliver(0),
        Deliver(0),
        Deliver(0),
        Connect(15325),
        Connect(8597),
        Deliver(6377),
        Deliver(35119),
        Deliver(19859),
        DeliverLate(7519),
        Deliver(20294),
        Enqueue { once: false },
    ];
    let mut world = World::new(2);
    for step in script {
        world.suffer(step);
    }
    world.heal();
    world.check();
    world.check_each_ran_exactly_once();
}
