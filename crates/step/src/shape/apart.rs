//! A canary that a router sends requests to: its pods are outside of the Service that clients use, and have one of their
//! own, so that its share is what the router gives it and nothing else. Pure, but for [`look`].
//!
//! Stable pods stay as they are: what tells the two apart is one label of the canary's pods.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use sortie_cluster::record::CANARY;
use sortie_manifest::labels::{OLDER_TRACK, TRACK};
use sortie_manifest::{Object, ObjectId, selector, workload};

use super::copies::{Seen, set_in_spec};
use super::services;
use crate::adoption::object_of;
use crate::failure::{Failure, FailureKind};
use crate::run::Run;
use crate::single::traffic;
use crate::steady::facts::carries;

/// Longest value of a label.
const LONGEST: usize = 63;

/// How the pods of a canary are told from those of the release by a Service.
#[derive(Clone, Debug)]
pub(super) struct Apart {
    /// The label in which its pods differ, and its value; `None`: they are outside already.
    label: Option<(String, String)>,
    /// The workloads that the stable Service reaches.
    reached: BTreeSet<ObjectId>,
    /// The canary's Service, where the set has none.
    pub(super) service: Option<Object>,
    /// What is worth a line.
    pub(super) note: String,
}

/// How a canary is told apart, where it has to be: requests are routed to it by this deployment, or since an earlier one.
///
/// # Errors
/// Its pods cannot be told apart, its Service is somebody else's, or the cluster cannot be asked.
pub(super) async fn look(
    run: &Run<'_>,
    objects: &[Object],
    seen: &[Seen],
    is_routed: bool,
) -> Result<Option<Apart>, Failure> {
    let Some(stable) = stable(objects) else {
        return Ok(None);
    };
    let mut id = stable.id().in_namespace(&run.task.release.namespace);
    id.name = canary_name(stable);
    let live = run.env.cluster.find(&id).await;
    let live = live.map_err(|error| Failure::cluster(&error))?;
    let is_ours = live
        .as_ref()
        .map(|(_, live)| carries(live, &run.release_id()));
    let live = live.and_then(|(_, live)| object_of(live));
    let was_made = live.is_some_and(|live| live.label(TRACK) == Some(CANARY));
    let stands = was_made && is_ours == Some(true);
    if !is_routed && !stands {
        return Ok(None);
    }
    let apart = plan(objects, stable, seen)?;
    if apart.service.is_some() && is_ours == Some(false) {
        let text = format!("{id} is there already, and does not belong to the release");
        return Err(unusable(&text));
    }
    Ok(Some(apart))
}

impl Apart {
    /// Take the pods of a copy out of the stable Service.
    pub(super) fn take_out(&self, original: &ObjectId, copy: &mut Object) {
        let Some((key, value)) = &self.label else {
            return;
        };
        if !self.reached.contains(original) {
            return;
        }
        sortie_strategy::copy::label_pods(copy, key, value);
        self.select(copy);
    }

    /// Let the selector of a copy, or of a disruption budget for one, match its pods again.
    pub(super) fn select(&self, copy: &mut Object) {
        let Some((key, value)) = &self.label else {
            return;
        };
        // Neither name nor kind change, so that it stays an object.
        drop(copy.edit(|whole| {
            let Some(selector) = whole.pointer_mut("/spec/selector") else {
                return;
            };
            let labels = match selector.get("matchLabels") {
                Some(_) => selector.get_mut("matchLabels"),
                None => Some(selector),
            };
            let label = labels.and_then(|labels| labels.get_mut(key));
            if let Some(label) = label {
                *label = value.clone().into();
            }
        }));
    }
}

/// The Service of a set that clients use, where it is clear which.
fn stable(objects: &[Object]) -> Option<&Object> {
    let is_service = |object: &&Object| (object.group(), object.kind()) == ("", "Service");
    let services: Vec<Object> = objects.iter().filter(is_service).cloned().collect();
    let name = traffic::services_of_set(&services).stable?;
    let mut services = objects.iter().filter(is_service);
    services.find(|service| service.name() == name)
}

fn canary_name(stable: &Object) -> String {
    format!("{}-{CANARY}", stable.name())
}

fn plan(objects: &[Object], stable: &Object, seen: &[Seen]) -> Result<Apart, Failure> {
    let selected = selector_of(stable);
    let selected = selected.filter(|selected| !selected.is_empty());
    let selected = selected.ok_or_else(|| {
        inseparable(&format!(
            "the Service {} selects no pods by their labels",
            stable.name()
        ))
    })?;
    let reaches = |one: &&Seen| selector::matches_map(selected, &pod_labels(&one.original));
    let reached: Vec<&Seen> = seen.iter().filter(reaches).collect();
    if reached.is_empty() {
        return Err(inseparable(&format!(
            "the Service {} reaches no workload that gets a canary",
            stable.name()
        )));
    }
    let label = label(stable, selected, &reached)?;
    let labels = |one: &Seen| {
        let mut labels = canary_labels(&one.original);
        if let Some((key, value)) = &label {
            labels.insert(key.clone(), value.clone().into());
        }
        labels
    };
    let name = canary_name(stable);
    let own = objects.iter().find(|object| {
        (object.group(), object.kind(), object.name()) == ("", "Service", &name)
            && object.namespace() == stable.namespace()
    });
    let service = match own {
        Some(own) => {
            let wanted = selector_of(own).cloned().unwrap_or_default();
            let fits = !wanted.is_empty()
                && reached.iter().all(|one| {
                    selector::matches_map(&wanted, &labels(one))
                        && !selector::matches_map(&wanted, &pod_labels(&one.original))
                });
            if !fits {
                let text = format!(
                    "{} of the set does not select the canary's pods alone",
                    own.id()
                );
                return Err(unusable(&text));
            }
            None
        }
        None => {
            let mut service = services::twin(stable, &name)?;
            let all: Vec<Map<String, Value>> = reached.iter().map(|one| labels(one)).collect();
            let mut wanted = Map::new();
            for key in selected.keys().map(String::as_str).chain([TRACK]) {
                let value = all.first().and_then(|labels| labels.get(key));
                if let Some(value) =
                    value.filter(|value| all.iter().all(|one| one.get(key) == Some(*value)))
                {
                    wanted.insert(key.to_owned(), value.clone());
                }
            }
            set_in_spec(&mut service, "selector", wanted.into());
            service.set_label(TRACK, CANARY);
            Some(service)
        }
    };
    let note = match &label {
        Some((key, value)) => format!(
            "the canary's pods have {key}: {value}, so that the Service {} does not reach them and {name} does",
            stable.name()
        ),
        None => format!("the canary's pods are reached by the Service {name} alone"),
    };
    let reached = reached.iter().map(|one| one.original.id()).collect();
    Ok(Apart {
        label,
        reached,
        service,
        note,
    })
}

/// The label in which the canary's pods differ from what the stable Service selects. One that tells sides apart comes first,
/// then one by which the workload itself does not select: what else goes by it is least likely to miss the pods.
fn label(
    stable: &Object,
    selected: &Map<String, Value>,
    reached: &[&Seen],
) -> Result<Option<(String, String)>, Failure> {
    let is_outside = |one: &&Seen| !selector::matches_map(selected, &canary_labels(&one.original));
    if reached.iter().all(is_outside) {
        return Ok(None);
    }
    let own = |one: &Seen, key: &str| {
        match_labels(&one.original).is_some_and(|labels| labels.contains_key(key))
    };
    let mut keys: Vec<(u8, &String)> = selected
        .keys()
        .map(|key| match key.as_str() {
            OLDER_TRACK => (0, key),
            _ if !reached.iter().any(|one| own(one, key)) => (1, key),
            _ => (2, key),
        })
        .collect();
    keys.sort();
    let mut is_live = false;
    for (rank, key) in keys {
        let value = match selected[key].as_str() {
            Some(value) if rank > 0 && value.len() + CANARY.len() < LONGEST => {
                format!("{value}-{CANARY}")
            }
            _ => CANARY.to_owned(),
        };
        if reached.iter().any(|one| is_expressed(&one.original, key)) {
            continue;
        }
        // What a copy that is there selects never changes.
        let differs = |one: &&Seen| {
            let live = one.copy.as_ref().and_then(match_labels);
            live.and_then(|live| live.get(key))
                .is_some_and(|live| live.as_str() != Some(&value))
        };
        if reached.iter().any(differs) {
            is_live = true;
            continue;
        }
        return Ok(Some((key.clone(), value)));
    }
    if is_live {
        return Err(Failure::new(
            FailureKind::Configuration,
            "SRT-T090",
            format!(
                "the canary that stands is reached by the Service {}, and what its workloads select cannot change",
                stable.name()
            ),
            "delete the canary first (K8sCanaryDelete, or sortie cancel), then deploy it with its route",
        ));
    }
    Err(inseparable(&format!(
        "every label that the Service {} selects is part of an expression in a workload's selector",
        stable.name()
    )))
}

/// The labels of the pods that a copy has before it is told apart.
fn canary_labels(original: &Object) -> Map<String, Value> {
    let mut labels = pod_labels(original);
    labels.insert(TRACK.to_owned(), CANARY.into());
    labels
}

fn pod_labels(object: &Object) -> Map<String, Value> {
    let template = workload::pod_template(object);
    let labels = template.and_then(|template| template.get("metadata")?.get("labels"));
    let labels = labels.and_then(Value::as_object);
    labels.cloned().unwrap_or_default()
}

/// What a Service or a workload selects.
pub(super) fn selector_of(service: &Object) -> Option<&Map<String, Value>> {
    service.value().get("spec")?.get("selector")?.as_object()
}

/// What a workload selects by equal values.
fn match_labels(workload: &Object) -> Option<&Map<String, Value>> {
    let selector = selector_of(workload)?;
    match selector.get("matchLabels") {
        Some(labels) => labels.as_object(),
        None if selector.contains_key("matchExpressions") => None,
        None => Some(selector),
    }
}

fn is_expressed(workload: &Object, key: &str) -> bool {
    let expressions = selector_of(workload).and_then(|selector| selector.get("matchExpressions"));
    let expressions = expressions.and_then(Value::as_array);
    let mut expressions = expressions.into_iter().flatten();
    expressions.any(|one| one.get("key").and_then(Value::as_str) == Some(key))
}

fn inseparable(why: &str) -> Failure {
    Failure::new(
        FailureKind::Configuration,
        "SRT-T090",
        format!("no router can tell the canary from the release: {why}"),
        "let the pods have the label sortie.dev/track: stable and the Service select it; or leave trafficRouting out",
    )
}

fn unusable(why: &str) -> Failure {
    Failure::new(
        FailureKind::Configuration,
        "SRT-T091",
        format!("the canary has no Service of its own: {why}"),
        "delete or rename that Service, or let it select the canary's pods alone, by the label sortie.dev/track: canary",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sortie_manifest::{Limits, parse};

    use super::*;

    fn set(labels: &str, selected: &str, matched: &str) -> Vec<Object> {
        let text = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{type: LoadBalancer, clusterIP: 10.0.0.1, selector: {selected}, ports: [{{port: 80, nodePort: 30080}}]}}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  selector: {matched}\n  template: {{metadata: {{labels: {labels}}}, spec: {{containers: []}}}}\n"
        );
        parse("t.yaml", text.as_bytes(), &Limits::default()).unwrap()
    }

    fn seen(set: &[Object], copy: Option<Object>) -> Vec<Seen> {
        vec![Seen {
            original: set[1].clone(),
            live: None,
            copy,
        }]
    }

    #[test]
    fn one_label_takes_the_canary_out_of_the_service() {
        let app = "{matchLabels: {app: web}}";
        for (labels, selected, expected) in [
            (
                "{app: web}",
                "{app: web}",
                json!({"app": "web-canary", "sortie.dev/track": "canary"}),
            ),
            // What the workload does not select by goes first.
            (
                "{app: web, tier: front}",
                "{app: web, tier: front}",
                json!({"app": "web", "tier": "front-canary", "sortie.dev/track": "canary"}),
            ),
            // It is outside as it is.
            (
                "{app: web, sortie.dev/track: stable}",
                "{app: web, sortie.dev/track: stable}",
                json!({"app": "web", "sortie.dev/track": "canary"}),
            ),
            (
                "{app: web, tier: front, harness.io/track: stable}",
                "{tier: front, harness.io/track: stable}",
                json!({"tier": "front", "harness.io/track": "canary", "sortie.dev/track": "canary"}),
            ),
        ] {
            let set = set(labels, selected, app);
            let apart = plan(&set, &set[0], &seen(&set, None)).unwrap();
            let service = apart.service.clone().unwrap();
            assert_eq!(service.name(), "web-canary");
            let spec = &service.value()["spec"];
            assert_eq!(spec["selector"], expected, "{labels}");
            assert_eq!(spec["type"], "ClusterIP");
            assert_eq!(spec["ports"], json!([{"port": 80}]));

            let side = sortie_strategy::copy::Side {
                suffix: CANARY.to_owned(),
                key: TRACK.to_owned(),
                value: CANARY.to_owned(),
            };
            let mut copy = sortie_strategy::copy::workload(&set[1], &side).unwrap();
            apart.take_out(&set[1].id(), &mut copy);
            let pods = pod_labels(&copy);
            assert!(!selector::matches_map(selector_of(&set[0]).unwrap(), &pods));
            assert!(selector::matches_map(
                spec["selector"].as_object().unwrap(),
                &pods
            ));
            let own = copy.value()["spec"].get("selector");
            assert!(selector::matches(own, &pods), "{own:?}");
        }
    }

    #[test]
    fn what_cannot_be_told_apart_is_refused() {
        let app = "{matchLabels: {app: web}}";
        for (selected, matched, text) in [
            ("{app: other}", app, "reaches no workload"),
            ("{}", app, "selects no pods"),
            (
                "{app: web}",
                "{matchExpressions: [{key: app, operator: In, values: [web]}]}",
                "expression",
            ),
        ] {
            let set = set("{app: web}", selected, matched);
            let failure = plan(&set, &set[0], &seen(&set, None)).unwrap_err();
            assert_eq!(failure.code, "SRT-T090");
            assert!(failure.message.contains(text), "{failure:?}");
        }
        // A canary that stands among the pods of the release.
        let set = set("{app: web}", "{app: web}", app);
        let copy = |app: &str| {
            object_of(json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web-canary"},
                "spec": {"selector": {"matchLabels": {"app": app, "sortie.dev/track": "canary"}}},
            }))
        };
        let failure = plan(&set, &set[0], &seen(&set, copy("web"))).unwrap_err();
        assert!(failure.hint.contains("K8sCanaryDelete"), "{failure:?}");
        assert!(plan(&set, &set[0], &seen(&set, copy("web-canary"))).is_ok());
    }

    #[test]
    fn a_service_of_the_set_must_reach_the_canary_alone() {
        let own = |selected: &str| {
            let text = format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{name: web-canary}}\nspec: {{selector: {selected}}}\n"
            );
            parse("t.yaml", text.as_bytes(), &Limits::default())
                .unwrap()
                .remove(0)
        };
        let of = |selected: &str| {
            let mut set = set("{app: web}", "{app: web}", "{matchLabels: {app: web}}");
            let seen = seen(&set, None);
            set.push(own(selected));
            plan(&set, &set[0], &seen)
        };
        let made = of("{sortie.dev/track: canary}").unwrap();
        assert!(made.service.is_none());
        for wrong in ["{app: web}", "{app: other}", "{}"] {
            assert_eq!(of(wrong).unwrap_err().code, "SRT-T091", "{wrong}");
        }
    }
}
