//! Who had an object before it became ours.

use std::fmt;

use serde_json::Value;
use sortie_manifest::{Object, Origin, labels, tracking};

use super::handover::FORMER;
use super::{CONTROL_MANAGER, Change, MANAGER, Outcome, Planned};

/// Who deployed an object that a plan takes over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Former {
    /// Another release of ours: `namespace/name`.
    Release(String),
    /// A helm release: `namespace/name`.
    Helm(String),
    /// A release of Harness, by its name.
    Harness(String),
    /// kubectl.
    Kubectl,
    /// Somebody else, by the name of the field manager; empty when it has none.
    Other(String),
}

impl fmt::Display for Former {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Release(name) => write!(f, "release {name}"),
            Self::Helm(name) => write!(f, "helm release {name}"),
            Self::Harness(name) => write!(f, "Harness release {name}"),
            Self::Kubectl => f.write_str("kubectl"),
            Self::Other(manager) if manager.is_empty() => f.write_str("somebody"),
            Self::Other(manager) => f.write_str(manager),
        }
    }
}

impl Planned {
    /// Whose the object was until now, when it is there and not of this release.
    pub fn former(&self) -> Option<Former> {
        let live = match &self.outcome {
            Outcome::Accepted {
                change: Change::Configured,
                live: Some(live),
                ..
            }
            | Outcome::Replacement { live, .. } => live,
            _ => return None,
        };
        let outline = live.outline().ok()?;
        let release = outline.metadata.labels.get(labels::RELEASE);
        if release.is_some_and(|release| *release == self.scope.release) {
            return None;
        }
        let live = live.whole();
        (!was_of(&live, &self.scope.release)).then(|| former(&live))?
    }
}

/// Whether the object was of this release, though somebody took its label away: the annotation with the name stays.
fn was_of(live: &Value, release: &str) -> bool {
    let labelled = live.pointer("/metadata/labels");
    let labelled = labelled.is_some_and(|all| all.get(labels::RELEASE).is_some());
    let named = live.pointer("/metadata/annotations");
    let named = named.and_then(|all| all.get(labels::RELEASE_NAME)?.as_str()?.split_once('/'));
    !labelled
        && named.is_some_and(|(namespace, name)| labels::release_id(namespace, name) == release)
}

/// Whose an object is, by what it says of itself.
fn former(live: &Value) -> Option<Former> {
    let of = |map: &str, key: &str| {
        let map = live.pointer(&format!("/metadata/{map}"))?;
        map.get(key)?.as_str().map(str::to_owned)
    };
    if let Some(release) = of("labels", labels::RELEASE) {
        let name = of("annotations", labels::RELEASE_NAME);
        return Some(Former::Release(name.unwrap_or(release)));
    }
    if let Some(name) = of("annotations", "meta.helm.sh/release-name") {
        let namespace = of("annotations", "meta.helm.sh/release-namespace");
        let namespace = namespace.unwrap_or_default();
        return Some(Former::Helm(format!("{namespace}/{name}")));
    }
    let origin = Origin::outside("the cluster");
    let object = Object::from_value(live.clone(), origin).ok()?;
    if let Some(release) = tracking::harness_release(&object) {
        return Some(Former::Harness(release.to_owned()));
    }
    let entries = live.pointer("/metadata/managedFields")?.as_array()?;
    let mut managers = entries.iter().filter_map(|entry| {
        let manager = entry.get("manager")?.as_str()?;
        let whole = entry.get("subresource").is_none();
        (whole && manager != MANAGER && manager != CONTROL_MANAGER).then_some(manager)
    });
    let first = managers.next().unwrap_or_default();
    let kubectl = |name: &str| name.starts_with("kubectl") || name == FORMER[4];
    if kubectl(first) || managers.any(kubectl) {
        return Some(Former::Kubectl);
    }
    Some(Former::Other(first.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_of_ours_that_lost_its_label_is_still_ours() {
        let ours = labels::release_id("shop", "web");
        let live = |labels: Value, name: &str| json!({"metadata": {"labels": labels, "annotations": {labels::RELEASE_NAME: name}}});
        assert!(was_of(&live(json!({}), "shop/web"), &ours));
        assert!(!was_of(&live(json!({}), "shop/other"), &ours));
        let theirs = json!({labels::RELEASE: "theirs"});
        assert!(!was_of(&live(theirs, "shop/web"), &ours));
        assert!(!was_of(&json!({}), &ours));
    }

    #[test]
    fn an_object_tells_whose_it_was() {
        let helm =
            json!({"meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": "shop"});
        let pods = json!({"harness.io/release-name": "shop-web"});
        for (metadata, template, expected) in [
            (
                json!({"labels": {"sortie.dev/release": "x"}, "annotations": {"sortie.dev/release-name": "a/b"}}),
                json!({}),
                "release a/b",
            ),
            (
                json!({"annotations": helm}),
                json!({}),
                "helm release shop/web",
            ),
            (json!({}), pods, "Harness release shop-web"),
            (
                json!({"managedFields": [
                    {"manager": "kube-controller-manager", "subresource": "status"},
                    {"manager": "kubectl-client-side-apply"},
                ]}),
                json!({}),
                "kubectl",
            ),
            (
                json!({"managedFields": [{"manager": "sortie"}, {"manager": "terraform"}]}),
                json!({}),
                "terraform",
            ),
            (json!({"managedFields": []}), json!({}), "somebody"),
        ] {
            let mut live = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
                "spec": {"template": {"metadata": {"labels": template}}}});
            live["metadata"]["name"] = "web".into();
            let former = former(&live).map(|former| former.to_string());
            assert_eq!(former.as_deref(), Some(expected));
        }
    }
}
