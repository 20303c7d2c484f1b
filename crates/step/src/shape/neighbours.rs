//! Pods that would get the traffic of a colour besides those of its deployment: another version would run behind the same
//! Service.

use serde_json::{Map, Value};
use sortie_cluster::apply::Planned;
use sortie_cluster::record::Tracked;
use sortie_manifest::{ObjectId, selector};

use super::{Pair, SERVICES};
use crate::failure::{Failure, FailureKind};
use crate::run::Run;
use crate::swap::{of_color, pods, workloads};

/// Whether only the deployment's own pods would be found in its colour. What is `doomed` goes before the colour can get the
/// traffic. Nothing is asked where the deployment has no colour.
///
/// # Errors
/// Another workload has such pods, or the cluster cannot be asked.
pub(crate) async fn check(
    run: &Run<'_>,
    (color, noted): (Option<&str>, &Map<String, Value>),
    planned: &[Planned],
    doomed: &[Tracked],
) -> Result<(), Failure> {
    let pairs = noted.get(SERVICES).cloned().unwrap_or_default();
    let (Some(color), Ok(pairs)) = (color, serde_json::from_value::<Vec<Pair>>(pairs)) else {
        return Ok(());
    };
    let own = |id: &ObjectId| {
        planned.iter().any(|of| of.target.id == *id) || doomed.iter().any(|of| of.id == *id)
    };
    for pair in &pairs {
        let service = planned.iter().find(|of| {
            let id = &of.target.id;
            (id.group.as_str(), id.kind.as_str()) == ("", "Service")
                && id.name == pair.primary
                && id.namespace.as_ref() == Some(&pair.namespace)
        });
        let selected = service.and_then(|of| of.target.object.value().get("spec")?.get("selector"));
        let Some(selected) = selected.and_then(Value::as_object) else {
            continue;
        };
        let selected = of_color(selected, &pair.key, color);
        for (group, live) in workloads(run, &pair.namespace).await? {
            let labels = live.pointer("/spec/template/metadata/labels");
            let reached = labels.and_then(Value::as_object);
            let is_reached = reached.is_some_and(|labels| selector::matches_map(&selected, labels));
            let id = id_of(group, &live, &pair.namespace);
            if is_reached && pods(&live) > 0 && !own(&id) {
                return Err(mixed(&id, &pair.primary, color));
            }
        }
    }
    Ok(())
}

fn id_of(group: &str, live: &Value, namespace: &str) -> ObjectId {
    let text = |pointer| crate::protection::text(live, pointer).to_owned();
    ObjectId {
        group: group.to_owned(),
        kind: text("/kind"),
        namespace: Some(namespace.to_owned()),
        name: text("/metadata/name"),
    }
}

fn mixed(id: &ObjectId, service: &str, color: &str) -> Failure {
    Failure::new(
        FailureKind::Configuration,
        "SRT-T071",
        format!(
            "{id} has pods that Service {service} would select in {color} beside those of this deployment"
        ),
        "deploy with pruning, which deletes what the release has left behind; or delete it, or scale it to 0, first",
    )
}
