//! The steps without a strategy: they have no release number, write under the release's Lease, and note what they change
//! so that a rollback of the same execution can [undo](crate::changes) it.

mod alter;
pub(crate) mod apply;
pub(crate) mod delete;
pub(crate) mod dry_run;
mod named;
pub(crate) mod patch;
pub(crate) mod rollout;
pub(crate) mod scale;
mod set;
pub(crate) mod traffic;

use crate::locked::{self, Locked};
use crate::report::Unit;
use crate::run::Run;
use crate::units::Ended;

/// Take the release. Whoever has it gives it back.
async fn take(run: &Run<'_>) -> Result<Locked, Ended> {
    let take = async {
        let look = locked::look(run).await?;
        Ok(Locked::acquire(run, Unit::Initialize, look).await?)
    };
    run.bounds.run(std::future::pending(), Box::pin(take)).await
}
