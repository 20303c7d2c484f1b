//! A route in a set that is deployed again: the weights and rules that steps have given it stay.

use serde_json::{Value, json};

use super::ROUTES;
use super::existing::{leading, of, without_added};
use super::kind::{self, RouteKind};

/// Annotation on a route object that was applied with other weights than its manifest has, because steps had given them: a
/// JSON list with the manifest's weights of each rule.
pub const WEIGHTS: &str = "sortie.dev/weights";

/// Field manager of what steps write that decide about traffic.
const CONTROL: &str = "sortie-control";

/// Weights of the backends of each rule that no step has added.
type Weights = Vec<Vec<Option<u32>>>;

/// Whether steps decide where a live route leads: it has rules of theirs, or they have written weights that are not those
/// with which it was applied last. `applied` is the object as it was, asked for only where that counts.
pub fn is_steered(live: &Value, applied: Option<&Value>) -> bool {
    if leading(live).is_ok_and(|count| count > 0) {
        return true;
    }
    let said = noted(live).or_else(|| {
        let applied = applied?;
        noted(applied).or_else(|| weights(applied))
    });
    said.is_some_and(|said| Some(said) != weights(live))
}

/// Whether steps have ever written where a live route leads.
pub fn is_written_by_steps(live: &Value) -> bool {
    let Some(kind) = RouteKind::of(live) else {
        return false;
    };
    let annotations = live.pointer("/metadata/annotations");
    let is_noted = |key| annotations.is_some_and(|all| all.get(key).is_some());
    let entries = live.pointer("/metadata/managedFields");
    let mut entries = entries.and_then(Value::as_array).into_iter().flatten();
    let mut fields = kind.fields().iter().map(|field| format!("f:{field}"));
    let writes = |entry: &Value| {
        let spec = entry.pointer("/fieldsV1/f:spec");
        entry.get("manager").and_then(Value::as_str) == Some(CONTROL)
            && spec.is_some_and(|spec| fields.any(|field| spec.get(field).is_some()))
    };
    is_noted(WEIGHTS) || is_noted(ROUTES) || entries.any(writes)
}

/// The object of a manifest with what steps have given the live one: their rules first, and the weights of each rule that
/// has the same backends. `None`: the manifest says the same.
pub fn kept(live: &Value, manifest: &Value) -> Option<Value> {
    let kind = of(manifest).ok()?;
    let theirs = weights(manifest)?;
    let namespace = kind::namespace(live).to_owned();
    let mut before = without_added(live).ok()?;
    let before: Vec<Vec<Value>> = kind
        .rules_mut(&mut before)
        .into_iter()
        .map(|rule| kind.backends_mut(rule).to_vec())
        .collect();
    let mut object = manifest.clone();
    for (at, rule) in kind.rules_mut(&mut object).into_iter().enumerate() {
        let backends = kind.backends_mut(rule);
        let is_same = |rule: &&Vec<Value>| same(kind, rule, backends, &namespace);
        let rule = before.get(at).filter(is_same);
        let Some(rule) = rule.or_else(|| before.iter().find(is_same)) else {
            continue;
        };
        if backends.len() > 1 {
            for backend in backends {
                let own = identity(kind, backend, &namespace);
                let mut rule = rule.iter();
                let live = rule.find(|one| identity(kind, one, &namespace) == own);
                let weight = live.and_then(|live| kind.weight(live));
                if let (Some(weight), Some(backend)) = (weight, backend.as_object_mut()) {
                    backend.insert("weight".to_owned(), weight.into());
                }
            }
        }
    }
    let is_shifted = weights(&object)? != theirs;
    let added = leading(live).ok()?;
    if is_shifted {
        annotate(&mut object, WEIGHTS, json!(theirs).to_string())?;
    }
    if added > 0 {
        lead(kind, &mut object, live, added)?;
    }
    (is_shifted || added > 0).then_some(object)
}

/// Puts the leading rules of the live object, which are so many, first.
fn lead(kind: RouteKind, object: &mut Value, live: &Value, added: usize) -> Option<()> {
    let key = kind.list()?;
    let rules = live.get("spec")?.get(key)?.as_array()?;
    let names = live
        .pointer("/metadata/annotations")?
        .get(ROUTES)?
        .as_str()?;
    let theirs = object.get_mut("spec")?.get_mut(key)?.as_array_mut()?;
    theirs.splice(0..0, rules.iter().take(added).cloned());
    annotate(object, ROUTES, names.to_owned())
}

fn annotate(object: &mut Value, key: &str, text: String) -> Option<()> {
    let metadata = object.get_mut("metadata")?.as_object_mut()?;
    let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
    if annotations.is_null() {
        *annotations = json!({});
    }
    annotations
        .as_object_mut()?
        .insert(key.to_owned(), text.into());
    Some(())
}

/// The manifest's weights, as they were noted.
fn noted(object: &Value) -> Option<Weights> {
    let text = object.pointer("/metadata/annotations")?.get(WEIGHTS)?;
    serde_json::from_str(text.as_str()?).ok()
}

fn weights(object: &Value) -> Option<Weights> {
    let kind = of(object).ok()?;
    let mut object = without_added(object).ok()?;
    let rules = kind.rules_mut(&mut object).into_iter();
    let weights = |rule: &mut Value| {
        let backends = kind.backends_mut(rule);
        // A single one gets everything.
        let backends = if backends.len() > 1 { &*backends } else { &[] };
        backends
            .iter()
            .map(|backend| kind.weight(backend))
            .collect()
    };
    Some(rules.map(weights).collect())
}

/// Whether two rules have the same backends, in whatever order.
fn same(kind: RouteKind, one: &[Value], other: &[Value], namespace: &str) -> bool {
    let identities = |backends: &[Value]| {
        let mut all: Vec<String> = backends
            .iter()
            .map(|backend| identity(kind, backend, namespace))
            .collect();
        all.sort_unstable();
        all
    };
    identities(one) == identities(other)
}

/// What a backend leads to, with what the API server adds where nothing is said.
fn identity(kind: RouteKind, backend: &Value, namespace: &str) -> String {
    let at = |pointer: &str| backend.pointer(pointer).filter(|value| !value.is_null());
    let parts = match kind {
        RouteKind::HttpRoute | RouteKind::GrpcRoute => {
            let or = |pointer: &str, default: &str| {
                at(pointer).cloned().unwrap_or_else(|| default.into())
            };
            json!([
                or("/group", ""),
                or("/kind", "Service"),
                or("/namespace", namespace),
                at("/name"),
                at("/port")
            ])
        }
        RouteKind::VirtualService => json!([
            at("/destination/host"),
            at("/destination/subset"),
            at("/destination/port/number")
        ]),
        RouteKind::TrafficSplit => json!([at("/service")]),
    };
    parts.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(weights: &[u32], defaults: bool) -> Value {
        let backend = |(name, weight): (&str, &u32)| {
            let mut backend = json!({"name": name, "port": 80, "weight": weight});
            if defaults {
                backend["kind"] = "Service".into();
                backend["group"] = "".into();
            }
            backend
        };
        let backends = ["web", "web-stage"].into_iter().zip(weights).map(backend);
        let backends: Vec<Value> = backends.collect();
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"rules": [
                {"backendRefs": [{"name": "files", "port": 80}]},
                {"backendRefs": backends},
            ]},
        })
    }

    fn of_second(route: &Value) -> Vec<u64> {
        let backends = route.pointer("/spec/rules/1/backendRefs").unwrap();
        let backends = backends.as_array().unwrap().iter();
        backends
            .map(|one| one["weight"].as_u64().unwrap())
            .collect()
    }

    #[test]
    fn weights_that_steps_have_given_stay_until_they_are_the_manifests() {
        let live = route(&[70, 30], true);
        let manifest = route(&[100, 0], false);
        assert!(is_steered(&live, Some(&manifest)));
        let applied = kept(&live, &manifest).unwrap();
        assert_eq!(of_second(&applied), [70, 30]);
        assert_eq!(applied["metadata"]["annotations"][WEIGHTS], "[[],[100,0]]");
        // Applied with them, it goes on, also with another rule before it.
        let mut again = manifest.clone();
        let rules = again["spec"]["rules"].as_array_mut().unwrap();
        rules.insert(0, json!({"backendRefs": [{"name": "api", "port": 80}]}));
        assert!(is_steered(&applied, None));
        let again = kept(&applied, &again).unwrap();
        let shifted = again.pointer("/spec/rules/2/backendRefs/1/weight").unwrap();
        assert_eq!(shifted, 30);
        // Steps have given back what the manifest had: it is the manifest's again.
        let mut back = applied;
        back["spec"] = route(&[100, 0], true)["spec"].clone();
        assert!(!is_steered(&back, None));
        assert!(!is_steered(&route(&[100, 0], true), Some(&manifest)));
        // Never applied by us: nothing says what it was.
        assert!(!is_steered(&live, None));
    }

    #[test]
    fn what_leads_elsewhere_gets_the_manifests_weights() {
        let live = route(&[70, 30], true);
        let mut manifest = route(&[90, 10], false);
        manifest["spec"]["rules"][1]["backendRefs"][1]["name"] = "other".into();
        assert_eq!(kept(&live, &manifest), None);
        assert_eq!(kept(&live, &route(&[70, 30], false)), None);
        assert_eq!(kept(&live, &json!({"kind": "HTTPRoute"})), None);
    }

    #[test]
    fn rules_of_steps_stay_first() {
        let mut live = route(&[100, 0], true);
        let testers = json!({"name": "testers", "backendRefs": [{"name": "web-stage"}]});
        let rules = live["spec"]["rules"].as_array_mut().unwrap();
        rules.insert(0, testers.clone());
        live["metadata"]["annotations"] = json!({ROUTES: "[\"testers\"]"});
        assert!(is_steered(&live, None));
        assert!(is_written_by_steps(&live));
        let kept = kept(&live, &route(&[100, 0], false)).unwrap();
        assert_eq!(kept["spec"]["rules"][0], testers);
        assert_eq!(
            kept["metadata"]["annotations"],
            live["metadata"]["annotations"]
        );
    }

    #[test]
    fn steps_write_under_a_name_of_their_own() {
        let by = |manager: &str, field: &str| {
            let mut live = route(&[1, 1], true);
            let fields = json!({"f:spec": {field: {}}});
            live["metadata"]["managedFields"] = json!([
                {"manager": "sortie", "fieldsV1": {"f:spec": {"f:rules": {}}}},
                {"manager": manager, "fieldsV1": fields},
            ]);
            is_written_by_steps(&live)
        };
        assert!(by(CONTROL, "f:rules"));
        assert!(!by(CONTROL, "f:hostnames"));
        assert!(!by("kubectl-edit", "f:rules"));
    }
}
