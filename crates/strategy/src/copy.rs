//! A copy of a workload that runs beside its original: the canary, or the other colour.
//!
//! A copy has its own name and one more label, on itself, its pods and in its selector. The original is not touched: no
//! Deployment refuses the copy because of an immutable selector. What a Service selects by the labels of the original, it
//! selects of the copy too.

use serde_json::{Map, Value};
use sortie_manifest::workload::{self, Workload};
use sortie_manifest::{Object, ObjectError, ObjectId, selector};

/// How a copy is told from its original.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// Appended to the name, after a hyphen.
    pub suffix: String,
    /// The label's key.
    pub key: String,
    /// The label's value.
    pub value: String,
}

impl Side {
    /// The copy's name.
    pub fn name(&self, original: &str) -> String {
        format!("{original}-{}", self.suffix)
    }
}

/// The copy of a workload of `apps` or OpenShift.
///
/// # Errors
/// The longer name is no name any more.
pub fn workload(original: &Object, side: &Side) -> Result<Object, ObjectError> {
    let mut copy = original.clone();
    copy.set_name(&side.name(original.name()))?;
    copy.set_label(&side.key, &side.value);
    let plain = matches!(
        Workload::of(original.group(), original.kind()),
        Some(Workload::DeploymentConfig | Workload::ReplicationController)
    );
    copy.edit(|value| {
        let metadata = map_at(map_at(spec_of(value), "template"), "metadata");
        set(map_at(metadata, "labels"), side);
        let selector = map_at(spec_of(value), "selector");
        set(
            if plain {
                selector
            } else {
                map_at(selector, "matchLabels")
            },
            side,
        );
    })?;
    Ok(copy)
}

/// The copy of an autoscaler whose target is copied, or of a disruption budget.
///
/// # Errors
/// The longer name is no name any more.
pub fn companion(original: &Object, side: &Side) -> Result<Object, ObjectError> {
    let mut copy = original.clone();
    copy.set_name(&side.name(original.name()))?;
    copy.set_label(&side.key, &side.value);
    let is_budget = original.kind() == "PodDisruptionBudget";
    copy.edit(|value| {
        if is_budget {
            return select(value, side);
        }
        let spec = spec_of(value);
        if let Some(target) = map_at(spec, "scaleTargetRef")
            && let Some(Value::String(name)) = target.get_mut("name")
        {
            *name = side.name(name);
        }
    })?;
    Ok(copy)
}

/// Lets the selector of a disruption budget, which is this whole object, see the pods of one side alone.
pub fn select(budget: &mut Value, side: &Side) {
    set(
        map_at(map_at(spec_of(budget), "selector"), "matchLabels"),
        side,
    );
}

/// Annotates the pods of a workload; what has no pods is left alone.
pub fn annotate_pods(workload: &mut Object, key: &str, value: &str) {
    mark_pods(workload, "annotations", key, value);
}

/// Labels the pods of a workload; what has no pods is left alone.
pub fn label_pods(workload: &mut Object, key: &str, value: &str) {
    mark_pods(workload, "labels", key, value);
}

fn mark_pods(workload: &mut Object, marks: &str, key: &str, value: &str) {
    if workload::pod_template(workload).is_none() {
        return;
    }
    // Neither name nor kind change, so that it stays an object.
    drop(workload.edit(|whole| {
        let metadata = map_at(map_at(spec_of(whole), "template"), "metadata");
        if let Some(marks) = map_at(metadata, marks) {
            marks.insert(key.to_owned(), Value::String(value.to_owned()));
        }
    }));
}

/// Whether an object scales one of these workloads.
pub fn scales(object: &Object, workloads: &[ObjectId]) -> bool {
    let is_scaler = matches!(
        (object.group(), object.kind()),
        ("autoscaling", "HorizontalPodAutoscaler") | ("keda.sh", "ScaledObject")
    );
    let target = object
        .value()
        .get("spec")
        .and_then(|spec| spec.get("scaleTargetRef"));
    let Some(target) = target.filter(|_| is_scaler) else {
        return false;
    };
    let text = |key: &str| target.get(key).and_then(Value::as_str);
    workloads.iter().any(|id| {
        // KEDA scales a Deployment when nothing is said.
        text("kind").unwrap_or("Deployment") == id.kind && text("name") == Some(&id.name)
    })
}

/// Whether an object is a disruption budget that covers the pods of `workload`.
pub fn covers(object: &Object, workload: &Object) -> bool {
    let is_budget = (object.group(), object.kind()) == ("policy", "PodDisruptionBudget");
    let selector = object
        .value()
        .get("spec")
        .and_then(|spec| spec.get("selector"));
    is_budget && selector::matches(selector, &pod_labels(workload))
}

/// Whether the selector of `original`, as it is live, matches the pods of `copy` too. Then one autoscaler and one budget see
/// the pods of both, and a second of either would stop the first.
pub fn is_overlapping(original: &Object, copy: &Object) -> bool {
    let labels = pod_labels(copy);
    match original
        .value()
        .get("spec")
        .and_then(|spec| spec.get("selector"))
    {
        Some(Value::Object(plain))
            if !plain.contains_key("matchLabels") && !plain.contains_key("matchExpressions") =>
        {
            selector::matches_map(plain, &labels)
        }
        other => selector::matches(other, &labels),
    }
}

fn pod_labels(workload: &Object) -> Map<String, Value> {
    let labels = workload
        .value()
        .get("spec")
        .and_then(|spec| spec.pointer("/template/metadata/labels"));
    labels
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default()
}

fn spec_of(value: &mut Value) -> Option<&mut Map<String, Value>> {
    map_at(value.as_object_mut(), "spec")
}

/// The map at a key; a missing one is made, anything else is left to the API server's judgement.
fn map_at<'a>(
    map: Option<&'a mut Map<String, Value>>,
    key: &str,
) -> Option<&'a mut Map<String, Value>> {
    map?.entry(key)
        .or_insert_with(|| Value::Object(Map::new()))
        .as_object_mut()
}

fn set(map: Option<&mut Map<String, Value>>, side: &Side) {
    if let Some(map) = map {
        map.insert(side.key.clone(), Value::String(side.value.clone()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sortie_manifest::{Limits, parse};

    use super::*;

    fn object(text: &str) -> Object {
        parse("t.yaml", text.as_bytes(), &Limits::default())
            .unwrap()
            .remove(0)
    }

    fn canary() -> Side {
        Side {
            suffix: "canary".to_owned(),
            key: "sortie.dev/track".to_owned(),
            value: "canary".to_owned(),
        }
    }

    const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web, tier: front}}, spec: {containers: [{name: web, image: web}]}}
";

    #[test]
    fn a_copy_has_a_name_and_a_label_of_its_own() {
        let web = object(WEB);
        let copy = workload(&web, &canary()).unwrap();
        let selector = json!({"matchLabels": {"app": "web", "sortie.dev/track": "canary"}});
        assert_eq!(copy.value()["spec"]["selector"], selector);
        assert_eq!(pod_labels(&copy).len(), 3);
        assert_eq!(
            (copy.name(), copy.label("sortie.dev/track")),
            ("web-canary", Some("canary"))
        );
        assert!(is_overlapping(&web, &copy) && !is_overlapping(&copy, &web));
        let long = object(&WEB.replace("name: web,", &format!("name: {},", "w".repeat(250))));
        assert!(workload(&long, &canary()).is_err());
    }

    #[test]
    fn the_selector_of_a_deployment_config_is_a_plain_map() {
        let config = object(
            "{apiVersion: apps.openshift.io/v1, kind: DeploymentConfig, metadata: {name: web}, spec: {selector: {app: web}, template: {metadata: {labels: {app: web}}}}}",
        );
        let copy = workload(&config, &canary()).unwrap();
        assert_eq!(
            copy.value()["spec"]["selector"]["sortie.dev/track"],
            "canary"
        );
        assert!(is_overlapping(&config, &copy));
    }

    #[test]
    fn companions_follow_their_workload() {
        let web = object(WEB);
        let scaler = object(
            "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: web}, spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}}",
        );
        assert!(scales(&scaler, &[web.id()]));
        let copy = companion(&scaler, &canary()).unwrap();
        assert_eq!(
            (copy.name(), &copy.value()["spec"]["scaleTargetRef"]["name"]),
            ("web-canary", &Value::from("web-canary"))
        );
        assert!(!scales(&copy, &[web.id()]));
        let keda = object(
            "{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {name: s}, spec: {scaleTargetRef: {name: web}}}",
        );
        assert!(scales(&keda, &[web.id()]) && !scales(&web, &[web.id()]));

        let budget = object(
            "{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: b}, spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}}",
        );
        let pods = workload(&web, &canary()).unwrap();
        assert!(covers(&budget, &web) && covers(&budget, &pods) && !covers(&scaler, &web));
        let copy = companion(&budget, &canary()).unwrap();
        assert!(!covers(&copy, &web) && covers(&copy, &pods));
    }
}
