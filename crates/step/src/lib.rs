//! Carries out one step on one release: fetch, render, try out, record, write, wait, and undo.
//!
//! [`run`] may be killed between any two instructions. Before the first change it writes a release record; whoever runs
//! the same task again, here or elsewhere, goes on from that record and reaches the same end.

mod apply;
mod environment;
mod failure;
mod locked;
mod plan;
pub mod policy;
pub mod report;
mod resolve;
mod rolling;
mod sources;
mod steady;
pub mod task;
mod units;

use std::sync::Arc;

pub use environment::{Environment, Limits};
pub use failure::{Failure, FailureKind, Outcome};
pub use resolve::{Nothing, Resolution, Resolver, Unanswered};
pub use sources::Renderer;

use report::{Masked, Sink};
use task::{Action, Task};
use units::{Bounds, Ended, Units};

/// Carry a step out. Never panics on what comes from outside; what goes wrong is in the outcome.
pub async fn run(task: &Task, env: &Environment) -> Outcome {
    let masked = Arc::new(Masked::new(Arc::clone(&env.sink)));
    let sink: Arc<dyn Sink> = masked.clone();
    let env = Environment {
        sink: Arc::clone(&sink),
        ..env.clone()
    };
    let units = Units::new(sink.as_ref());
    let bounds = Bounds::new(task.timeout);
    let result = match &task.action {
        Action::RollingDeploy(options) => {
            rolling::deploy::run(task, options, &env, &masked, &units, &bounds).await
        }
        Action::RollingRollback(options) => {
            rolling::rollback::run(task, options, &env, &units, &bounds).await
        }
    };
    units.end(&result);
    match result {
        Ok(outputs) => Outcome::Succeeded { outputs },
        Err(Ended::Aborted) => Outcome::Aborted,
        Err(Ended::Failed(mut failure)) => {
            failure.message = masked.mask(&failure.message);
            failure.hint = masked.mask(&failure.hint);
            Outcome::Failed(failure)
        }
    }
}
