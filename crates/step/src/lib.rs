//! Carries out one step on one release: fetch, render, try out, record, write, wait, and undo.
//!
//! [`run`] may be killed between any two instructions. Before the first change it writes a release record; whoever runs
//! the same task again, here or elsewhere, goes on from that record and reaches the same end.

mod apply;
mod bounds;
mod configuration;
mod disguise;
mod environment;
mod external;
mod failure;
mod hooks;
pub mod inspect;
mod locked;
mod nothing;
mod plan;
pub mod policy;
mod remove;
pub mod report;
mod resolve;
mod rolling;
mod run;
mod sequence;
mod sources;
mod steady;
pub mod task;
mod try_out;
mod units;

use std::sync::Arc;

pub use environment::{Environment, Limits};
pub use failure::{Failure, FailureKind, Outcome};
pub use resolve::{Nothing, Resolution, Resolver, Unanswered};
pub use sources::Renderer;

use bounds::Bounds;
use report::Masked;
use run::Run;
use task::{Action, Task};
use units::{Ended, Units};

/// Carry a step out. Never panics on what comes from outside; what goes wrong is in the outcome.
pub async fn run(task: &Task, env: &Environment) -> Outcome {
    let masked = Masked::new(Arc::clone(&env.sink));
    let run = Run {
        task,
        env,
        sink: &masked,
        units: Units::new(&masked),
        bounds: Bounds::new(task.timeout, &env.cancel),
    };
    let result = match &task.action {
        Action::RollingDeploy(options) => Box::pin(rolling::deploy::run(&run, options)).await,
        Action::RollingRollback(options) => Box::pin(rolling::rollback::run(&run, options)).await,
    };
    run.units.end(&result);
    match result {
        Ok(outputs) => Outcome::Succeeded { outputs },
        Err(Ended::Aborted) => Outcome::Aborted,
        Err(Ended::Failed(failure)) => Outcome::Failed(failure.masked(&masked)),
    }
}
