//! Labels that only tell whose pods are: an object that somebody else has deployed is taken over without a restart of its
//! pods when nothing else in its pod template would change.

use serde_json::{Map, Value};

use crate::labels;
use crate::object::{Object, map_at};
use crate::workload::{self, Workload};

/// Labels with which older deployments mark pods; some of them are in selectors, which never change.
const OLDER: [&str; 3] = [
    "harness.io/release-name",
    "harness.io/track",
    "harness.io/color",
];

/// Label on the pods of a release that Harness deploys: the release's name.
pub const HARNESS_RELEASE: &str = OLDER[0];

/// The object with those labels in its pod template, and in its selector, that the live one has: a release's label only
/// where the live one has it, and the older ones where the manifest does not name them. `None` when it has no pod
/// template of its own or nothing is different.
pub fn as_live(object: &Object, live: &Object) -> Option<Object> {
    let live_labels = template_labels(live)?;
    let mut tracked = object.clone();
    let template = map_at(workload::pod_template_mut(&mut tracked)?, "metadata");
    let labels = map_at(template, "labels");
    match live_labels.get(labels::RELEASE) {
        Some(release) => labels.insert(labels::RELEASE.to_owned(), release.clone()),
        None => labels.shift_remove(labels::RELEASE),
    };
    add_older(labels, live_labels);
    if let Some(live) = selector(live.value())
        && let Some(selector) = selector_mut(tracked.value_mut())
    {
        add_older(selector, live);
    }
    (tracked.value() != object.value()).then_some(tracked)
}

/// Whether the pod templates of two forms of one object, both with all that the API server fills in, are equal but for
/// labels that tell whose pods they are.
pub fn same_pods(live: &Object, other: &Object) -> bool {
    let stripped = |object: &Object| {
        let mut template = template(object)?.clone();
        if let Some(Value::Object(metadata)) = template.get_mut("metadata") {
            metadata.shift_remove("creationTimestamp");
            if let Some(Value::Object(labels)) = metadata.get_mut("labels") {
                labels.shift_remove(labels::RELEASE);
                for older in OLDER {
                    labels.shift_remove(older);
                }
            }
        }
        Some(template)
    };
    stripped(live).is_some_and(|live| Some(live) == stripped(other))
}

/// The name of the Harness release that the object's pods belong to.
pub fn harness_release(live: &Object) -> Option<&str> {
    let labels = template_labels(live).and_then(|labels| labels.get(HARNESS_RELEASE)?.as_str());
    labels.or_else(|| live.label(HARNESS_RELEASE))
}

/// A pod is no template of others: its own labels may change.
fn template(object: &Object) -> Option<&Map<String, Value>> {
    match Workload::of(object.group(), object.kind()) {
        Some(Workload::Pod) => None,
        _ => workload::pod_template(object),
    }
}

fn template_labels(object: &Object) -> Option<&Map<String, Value>> {
    let metadata = template(object)?.get("metadata")?;
    metadata.get("labels")?.as_object()
}

fn add_older(labels: &mut Map<String, Value>, live: &Map<String, Value>) {
    for older in OLDER {
        if let Some(value) = live.get(older) {
            labels
                .entry(older.to_owned())
                .or_insert_with(|| value.clone());
        }
    }
}

/// The labels that a selector asks for.
fn selector(object: &Map<String, Value>) -> Option<&Map<String, Value>> {
    let selector = object.get("spec")?.get("selector")?.as_object()?;
    match selector.get("matchLabels") {
        Some(labels) => labels.as_object(),
        None if selector.contains_key("matchExpressions") => None,
        None => Some(selector),
    }
}

fn selector_mut(object: &mut Map<String, Value>) -> Option<&mut Map<String, Value>> {
    let selector = object.get_mut("spec")?.get_mut("selector")?;
    if selector.get("matchLabels").is_some() {
        return selector.get_mut("matchLabels")?.as_object_mut();
    }
    let selector = selector.as_object_mut()?;
    (!selector.contains_key("matchExpressions")).then_some(selector)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::object::Origin;

    fn object(value: Value) -> Object {
        let origin = Origin::outside("test");
        Object::from_value(value, origin).unwrap()
    }

    fn web(kind: &str, labels: &Value, selector: &Value, image: &str) -> Object {
        object(json!({
            "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "web"},
            "spec": {"selector": {"matchLabels": selector}, "template": {
                "metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": image}]},
            }},
        }))
    }

    #[test]
    fn labels_that_track_are_as_they_are_live_and_all_others_as_the_manifest_says() {
        let app = json!({"app": "web"});
        let ours = json!({"app": "web", "sortie.dev/release": "a"});
        let theirs = json!({"app": "web", "sortie.dev/release": "b"});
        let harness =
            json!({"app": "web", "harness.io/release-name": "shop", "harness.io/track": "stable"});
        let stable = json!({"app": "web", "harness.io/track": "stable"});
        for (live, live_selector, expected, selector) in [
            (&app, &app, &app, &app),
            (&theirs, &app, &theirs, &app),
            (&harness, &app, &harness, &app),
            (&harness, &stable, &harness, &stable),
        ] {
            for kind in ["Deployment", "StatefulSet"] {
                let live = web(kind, live, live_selector, "web:1");
                let tracked = as_live(&web(kind, &ours, &app, "web:1"), &live).unwrap();
                assert_eq!(
                    tracked.value(),
                    web(kind, expected, selector, "web:1").value()
                );
                assert_eq!(as_live(&tracked, &live), None, "once is enough");
            }
        }
        let live = web("Deployment", &ours, &app, "web:1");
        assert_eq!(
            as_live(&web("Deployment", &ours, &app, "web:2"), &live),
            None
        );
        // What the manifest says itself stays.
        let written = web(
            "Deployment",
            &json!({"app": "web", "harness.io/track": "canary"}),
            &app,
            "web:1",
        );
        let live = web("Deployment", &stable, &app, "web:1");
        assert_eq!(as_live(&written, &live), None);
    }

    #[test]
    fn a_pod_is_no_template() {
        let pod = |labels: Value| {
            object(
                json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": labels}, "spec": {}}),
            )
        };
        let (live, ours) = (pod(json!({})), pod(json!({"sortie.dev/release": "a"})));
        assert_eq!(as_live(&ours, &live), None);
        assert!(!same_pods(&live, &ours));
    }

    #[test]
    fn pods_are_the_same_when_nothing_but_tracking_labels_differ() {
        let app = json!({"app": "web"});
        let live = web(
            "Deployment",
            &json!({"app": "web", "harness.io/release-name": "shop"}),
            &app,
            "web:1",
        );
        for (labels, image, same) in [
            (
                json!({"app": "web", "sortie.dev/release": "a"}),
                "web:1",
                true,
            ),
            (
                json!({"app": "web", "sortie.dev/release": "a"}),
                "web:2",
                false,
            ),
            (json!({"app": "web", "team": "shop"}), "web:1", false),
        ] {
            let other = web("Deployment", &labels, &app, image);
            assert_eq!(same_pods(&live, &other), same, "{labels} {image}");
        }
        assert_eq!(harness_release(&live), Some("shop"));
    }
}
