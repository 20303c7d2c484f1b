//! Carries out one step on one release: fetch, render, try out, record, write, wait, and undo.
//!
//! [`run`] may be killed between any two instructions. Before the first change it writes a release record; whoever runs
//! the same task again, here or elsewhere, goes on from that record and reaches the same end.

mod adoption;
mod apply;
mod autoscalers;
mod bounds;
mod canary;
mod changes;
mod confidential;
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
mod progressive;
mod protection;
mod readiness;
mod remove;
mod render;
mod replacement;
pub mod report;
mod resolve;
mod rolling;
mod run;
mod scaling;
pub mod scripts;
mod sequence;
mod service_hooks;
mod shape;
mod single;
mod sources;
mod steady;
mod swap;
pub mod task;
mod try_out;
mod uninstall;
mod units;

use std::sync::Arc;

use serde_json::Value;
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
use shape::Shape;
use task::{Action, RollingDeploy, Task};
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
    let result = match Box::pin(changes::undo_first(&run)).await {
        Ok(()) => carry_out(&run).await,
        Err(ended) => Err(ended),
    };
    run.units.end(&result);
    match result {
        Ok(outputs) => Ok(Outcome::Succeeded { outputs }),
        Err(Ended::Aborted) => Ok(Outcome::Aborted),
        Err(Ended::Failed(failure)) => Ok(Outcome::Failed(failure.masked(&masked))),
        Err(Ended::HandedOver) => Err(HandedOver),
    }
}

/// What the step itself is to do.
async fn carry_out(run: &Run<'_>) -> Result<Value, Ended> {
    match &run.task.action {
        Action::RollingDeploy(options) => {
            Box::pin(rolling::deploy::run(run, options, Shape::Whole)).await
        }
        Action::CanaryDeploy(options) => {
            let shape = Shape::Canary(options.instances);
            let deploy = RollingDeploy {
                prune: None,
                ..options.deploy.clone()
            };
            Box::pin(rolling::deploy::run(run, &deploy, shape)).await
        }
        Action::ProgressiveDeploy(options) => Box::pin(progressive::deploy(run, options)).await,
        Action::ProgressiveRollback => Box::pin(progressive::rollback(run)).await,
        Action::BlueGreenDeploy(options) => {
            let skip_unchanged = options.skip_unchanged;
            let shape = Shape::BlueGreen { skip_unchanged };
            Box::pin(rolling::deploy::run(run, &options.deploy, shape)).await
        }
        Action::CanaryDelete => Box::pin(canary::delete(run)).await,
        Action::RollingRollback(options) => Box::pin(rolling::rollback::run(run, options)).await,
        Action::Uninstall(options) => Box::pin(uninstall::run(run, *options)).await,
        Action::Diff(options) => Box::pin(diff::run(run, options)).await,
        Action::DryRun(set) => Box::pin(single::dry_run::run(run, set)).await,
        Action::Apply(options) => Box::pin(single::apply::run(run, options)).await,
        Action::Scale(options) => Box::pin(single::scale::run(run, options)).await,
        Action::Patch(options) => Box::pin(single::patch::run(run, options)).await,
        Action::Delete(options) => Box::pin(single::delete::run(run, options)).await,
        Action::Rollout(options) => Box::pin(single::rollout::run(run, options)).await,
        Action::TrafficRouting(asked) => Box::pin(single::traffic::run(run, asked)).await,
        Action::SwapServices(options) => Box::pin(swap::run(run, *options)).await,
        Action::StageScaleDown(options) => Box::pin(scaling::down(run, *options)).await,
        Action::StageScaleUp(options) => Box::pin(scaling::up(run, *options)).await,
    }
}
