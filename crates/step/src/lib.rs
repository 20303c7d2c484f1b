//! Carries out one step on one release: fetch, render, try out, record, write, wait, and undo.
//!
//! [`run`] may be killed between any two instructions. Before the first change it writes a release record; whoever runs
//! the same task again, here or elsewhere, goes on from that record and reaches the same end.

mod adoption;
mod apply;
mod bounds;
mod configuration;
mod diff;
pub mod difference;
mod disguise;
mod environment;
mod external;
mod failure;
pub mod health_rules;
mod hooks;
pub mod inspect;
mod instances;
mod locked;
mod nothing;
mod plan;
pub mod policy;
mod protection;
mod readiness;
mod remove;
mod render;
mod replacement;
pub mod report;
mod resolve;
mod rolling;
mod run;
mod sequence;
mod sources;
mod steady;
pub mod task;
mod try_out;
mod uninstall;
mod units;

use std::sync::Arc;

use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

pub use environment::{Environment, Limits};
pub use failure::{Failure, FailureKind, Outcome};
pub use render::{Form, render};
pub use resolve::{Nothing, Resolution, Resolver, Unanswered};
pub use sources::Renderer;

use bounds::Bounds;
use report::Masked;
use run::Run;
use task::{Action, Task};
use units::{Ended, Units};

/// A step was left at a safe place before its end: its record is open and its release free. Whoever runs the same task
/// goes on from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandedOver;

/// Carry a step out. Never panics on what comes from outside; what goes wrong is in the outcome.
pub async fn run(task: &Task, env: &Environment) -> Outcome {
    match run_until(task, env, &CancellationToken::new()).await {
        Ok(outcome) => outcome,
        // Nobody asks for it here.
        Err(HandedOver) => Outcome::Aborted,
    }
}

/// As [`run`]; asked by `hand_over`, it stops at the next safe place, gives the release back and ends nothing.
///
/// # Errors
/// It was handed over before its end.
pub async fn run_until(
    task: &Task,
    env: &Environment,
    hand_over: &CancellationToken,
) -> Result<Outcome, HandedOver> {
    let masked = Masked::new(Arc::clone(&env.sink));
    let run = Run {
        task,
        env,
        sink: &masked,
        units: Units::new(&masked),
        bounds: Bounds::new(task.timeout, &env.cancel, hand_over),
        rules: OnceCell::new(),
    };
    let result = match &task.action {
        Action::RollingDeploy(options) => Box::pin(rolling::deploy::run(&run, options)).await,
        Action::RollingRollback(options) => Box::pin(rolling::rollback::run(&run, options)).await,
        Action::Uninstall(options) => Box::pin(uninstall::run(&run, *options)).await,
        Action::Diff(options) => Box::pin(diff::run(&run, options)).await,
        Action::DryRun(_)
        | Action::Apply(_)
        | Action::Scale(_)
        | Action::Patch(_)
        | Action::Delete(_)
        | Action::Rollout(_)
        | Action::CanaryDeploy(_)
        | Action::CanaryDelete
        | Action::BlueGreenDeploy(_)
        | Action::SwapServices(_)
        | Action::StageScaleDown
        | Action::StageScaleUp(_) => Err(not_yet().into()),
    };
    run.units.end(&result);
    match result {
        Ok(outputs) => Ok(Outcome::Succeeded { outputs }),
        Err(Ended::Aborted) => Ok(Outcome::Aborted),
        Err(Ended::Failed(failure)) => Ok(Outcome::Failed(failure.masked(&masked))),
        Err(Ended::HandedOver) => Err(HandedOver),
    }
}

/// What this version does not carry out.
fn not_yet() -> Failure {
    let hint = "update the delegate";
    let text = "this delegate does not know the step";
    Failure::new(FailureKind::Configuration, "SRT-T019", text, hint)
}
