//! Fail-fast rules, played over time: what is seen when, and what is made of it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "tests"
)]

mod containers;
mod rollouts;
#[path = "../scene/mod.rs"]
mod scene;

use scene::Scene;
use sortie_health::diagnosis::{Budgets, Cause, Change, Class, Diagnosis, Diagnostician};

/// Feeds the same scene at each of the `seconds` and returns the last diagnosis. It must not depend on whether our clock
/// agrees with those of the API server and the nodes, whose times are in the objects.
fn after(scene: &Scene, seconds: &[i64]) -> Diagnosis {
    let by_a_clock_that_is_ahead_by = |ahead: i64| {
        let mut diagnostician = Diagnostician::new(Budgets::default(), Change::Changed);
        seconds.iter().fold(Diagnosis::Fine, |_, at| {
            diagnostician.observe(&scene.observation(), scene::at(*at + ahead))
        })
    };
    let told = by_a_clock_that_is_ahead_by(0);
    for ahead in [-86_400, -90, 90, 86_400] {
        let other = by_a_clock_that_is_ahead_by(ahead);
        assert_eq!(timeless(&other), timeless(&told), "{ahead} s ahead");
    }
    told
}

/// A diagnosis with the time that is left instead of points in time.
fn timeless(diagnosis: &Diagnosis) -> String {
    match diagnosis {
        Diagnosis::Pending {
            since,
            deadline,
            cause,
        } => format!("{:?} {cause:?}", deadline.duration_since(*since)),
        other => format!("{other:?}"),
    }
}

#[track_caller]
fn fatal(diagnosis: Diagnosis) -> Cause {
    match diagnosis {
        Diagnosis::Fatal(cause) => cause,
        other => panic!("not fatal: {other:?}"),
    }
}

#[track_caller]
fn deadline_after(diagnosis: Diagnosis, class: Class) -> i64 {
    match diagnosis {
        Diagnosis::Pending {
            since,
            deadline,
            cause,
        } => {
            assert_eq!(cause.class, class, "{cause}");
            deadline.duration_since(since).as_secs()
        }
        other => panic!("not pending: {other:?}"),
    }
}

#[track_caller]
fn warning(diagnosis: Diagnosis) -> Cause {
    match diagnosis {
        Diagnosis::Warning(cause) => cause,
        other => panic!("not a warning: {other:?}"),
    }
}
