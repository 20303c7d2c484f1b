//! Pods for a colour that was scaled to nothing and is deployed anew.

use sortie_cluster::apply::Planned;
use sortie_cluster::record::Head;
use sortie_strategy::copy;

use super::memory::Scaling;
use super::{Live, scale};
use crate::adoption::object_of;
use crate::failure::Failure;
use crate::locked::Locked;
use crate::report::Unit;
use crate::run::Run;
use crate::units::Ended;

/// Give workloads of a colour that has been scaled to nothing pods again, before they are deployed anew. A manifest that
/// names no number would leave them without, and so would an autoscaler, which rests while there are none.
pub(crate) async fn wake(
    run: &Run<'_>,
    locked: &Locked,
    head: &Head,
    planned: &[Planned],
) -> Result<(), Ended> {
    let colored = |other: &&Head| other.side.color == head.side.color;
    let mut earlier = locked.history.heads().rev().filter(colored);
    let Some(remembered) = earlier.find_map(Scaling::remembered) else {
        return Ok(());
    };
    let objects = || planned.iter().map(|planned| &planned.target);
    for target in objects() {
        let Some(size) = remembered.size(&target.id) else {
            continue;
        };
        let spec = target.object.value().get("spec");
        let manifest = spec.and_then(|spec| spec.get("replicas")?.as_u64());
        let manifest = manifest.and_then(|replicas| u32::try_from(replicas).ok());
        let ids = [target.id.clone()];
        let is_scaled = objects().any(|other| copy::scales(&other.object, &ids));
        if manifest == Some(0) || (manifest.is_some() && !is_scaled) {
            continue;
        }
        let found = run.env.cluster.find(&target.id).await;
        let Some((resource, live)) = found.map_err(|error| Failure::cluster(&error))? else {
            continue;
        };
        let Some(object) = object_of(live) else {
            continue;
        };
        let live = Live {
            id: target.id.clone(),
            resource,
            object,
        };
        if live.replicas() == 0 {
            let replicas = manifest.unwrap_or(size).max(1);
            scale(run, locked, &[(&live, replicas)], Unit::Apply).await?;
        }
    }
    Ok(())
}
