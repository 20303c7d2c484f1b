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

/// Feeds the same scene at each of the `seconds` and returns the last diagnosis.
fn after(scene: &Scene, seconds: &[i64]) -> Diagnosis {
    let mut diagnostician = Diagnostician::new(Budgets::default(), Change::Changed);
    seconds.iter().fold(Diagnosis::Fine, |_, at| {
        diagnostician.observe(&scene.observation(), scene::at(*at))
    })
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
