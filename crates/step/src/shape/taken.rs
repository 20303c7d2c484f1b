//! Names that copies and the stage's Services get: nobody has chosen them, so that what is live under one may be anybody's.

use serde_json::Value;
use sortie_manifest::labels::{OLDER_COLOR, OLDER_TRACK, RELEASE, RELEASE_NAME};
use sortie_manifest::{Object, ObjectId, tracking};

use crate::adoption::object_of;
use crate::failure::{Failure, FailureKind};
use crate::protection::annotation;
use crate::run::Run;

/// Whether what is live under made-up names is the release's own. What belongs to another release is refused later, as
/// everywhere.
///
/// # Errors
/// Something is somebody's, and nobody has asked to take it over; or the cluster cannot be asked.
pub(super) async fn check(run: &Run<'_>, ids: Vec<ObjectId>) -> Result<(), Failure> {
    let release = &run.task.release;
    let name = format!("{}/{}", release.namespace, release.name);
    for (id, live) in run.env.cluster.survey(ids).await {
        let live = live.map_err(|error| Failure::cluster(&error))?;
        if live.is_some_and(|live| is_strange(live, &name)) {
            return Err(taken(&id));
        }
    }
    Ok(())
}

/// Whether a live object carries no release's label, was not of the one with this name, and is not of an older canary or
/// colour, which is taken over as it is.
fn is_strange(live: Value, name: &str) -> bool {
    if annotation(&live, RELEASE_NAME) == Some(name) {
        return false;
    }
    let Some(live) = object_of(live) else {
        return true;
    };
    live.label(RELEASE).is_none() && tracking::harness_release(&live).is_none() && !is_sided(&live)
}

fn is_sided(live: &Object) -> bool {
    let keys = [OLDER_TRACK, OLDER_COLOR];
    let spec = live.value().get("spec");
    let selectors = ["/selector", "/selector/matchLabels"];
    let mut selectors = selectors.iter().filter_map(|path| spec?.pointer(path));
    keys.iter().any(|key| live.label(key).is_some())
        || selectors.any(|selector| keys.iter().any(|key| selector.get(*key).is_some()))
}

fn taken(id: &ObjectId) -> Failure {
    Failure::new(
        FailureKind::Authorization,
        "SRT-T054",
        format!(
            "{id} is live and of no release, and the deployment would write an object of its own under that name"
        ),
        "rename or delete it; or deploy with adopt: true in the step, or --adopt, which takes it over and overwrites it",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_somebodys_is_strange() {
        let live = |metadata: Value, spec: Value| {
            let mut metadata = metadata;
            metadata["name"] = "web-stage".into();
            json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
        };
        for (metadata, spec, expected) in [
            (json!({}), json!({"selector": {"app": "other"}}), true),
            (
                json!({"labels": {"sortie.dev/release": "any"}}),
                json!({}),
                false,
            ),
            (
                json!({"annotations": {"sortie.dev/release-name": "shop/web"}}),
                json!({}),
                false,
            ),
            (
                json!({"annotations": {"sortie.dev/release-name": "shop/api"}}),
                json!({}),
                true,
            ),
            (
                json!({}),
                json!({"selector": {"harness.io/color": "blue"}}),
                false,
            ),
            (
                json!({"labels": {"harness.io/track": "canary"}}),
                json!({}),
                false,
            ),
            (
                json!({}),
                json!({"selector": {"matchLabels": {"harness.io/color": "blue"}}}),
                false,
            ),
        ] {
            let object = live(metadata, spec);
            assert_eq!(is_strange(object.clone(), "shop/web"), expected, "{object}");
        }
    }
}
