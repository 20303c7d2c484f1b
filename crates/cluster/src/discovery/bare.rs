//! Kinds as people name them, without an API version.

use super::Kinds;
use crate::connect::Cluster;
use crate::error::{Cause, Error};
use crate::resource::Resource;

impl Cluster {
    /// The resource that somebody means who says `Deployment`, `deployments` or `Deployment.apps`, in the version that the
    /// server prefers. Of kinds that several groups have, that of Kubernetes itself is meant.
    ///
    /// # Errors
    /// Nobody serves it, or several groups that have nothing to do with Kubernetes do.
    pub async fn resolve_bare(&self, name: &str) -> Result<Resource, Error> {
        let (kind, group) = match name.split_once('.') {
            Some((kind, group)) => (kind, Some(group)),
            None => (name, None),
        };
        let cached = self.cached_kinds();
        if let Some(resource) = cached
            .as_deref()
            .and_then(|kinds| kinds.meant(kind, group).ok())
        {
            return Ok(resource);
        }
        let kinds = self.refresh(cached.map(|kinds| kinds.edition)).await?;
        kinds.meant(kind, group).map_err(|candidates| {
            let cause = if candidates.is_empty() {
                Cause::UnknownKind {
                    api_version: group.unwrap_or("any group").to_owned(),
                    kind: kind.to_owned(),
                    nearest: kinds.nearest(group.unwrap_or_default(), kind),
                }
            } else {
                Cause::AmbiguousKind {
                    kind: kind.to_owned(),
                    candidates,
                }
            };
            Error::new("find the API for", name, cause)
        })
    }
}

impl Kinds {
    /// The one that is meant, or all that may be.
    fn meant(&self, name: &str, group: Option<&str>) -> Result<Resource, Vec<String>> {
        let is_it = |resource: &Resource| {
            let named = resource.kind.eq_ignore_ascii_case(name)
                || resource.plural.eq_ignore_ascii_case(name);
            named && group.is_none_or(|group| resource.group == group)
        };
        let preferred = self
            .by_kind
            .values()
            .filter_map(|versions| versions.first());
        let mut found: Vec<&Resource> = preferred.filter(|resource| is_it(resource)).collect();
        found.sort_by_key(|resource| (rank(&resource.group), resource.group.as_str()));
        match found.as_slice() {
            [] => Err(Vec::new()),
            [one] => Ok((*one).clone()),
            [first, second, ..] if rank(&first.group) < rank(&second.group) => Ok((*first).clone()),
            several => {
                let named = several
                    .iter()
                    .map(|one| format!("{}.{}", one.kind, one.group));
                Err(named.collect())
            }
        }
    }
}

/// How near a group is to Kubernetes itself.
fn rank(group: &str) -> u8 {
    match group {
        "" => 0,
        "apps" | "batch" | "autoscaling" | "policy" => 1,
        group if group.ends_with(".k8s.io") => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kinds() -> Kinds {
        let entry = |resource: &str, kind: &str| {
            json!({"resource": resource, "scope": "Namespaced", "verbs": ["get"],
                   "responseKind": {"group": "", "version": "", "kind": kind}})
        };
        let group = |name: &str, entries: Vec<serde_json::Value>| json!({"metadata": {"name": name}, "versions": [{"version": "v1", "resources": entries}]});
        let core = json!({"items": [{"metadata": {}, "versions": [
            {"version": "v1", "resources": [entry("services", "Service"), entry("events", "Event")]},
        ]}]});
        let groups = json!({"items": [
            group("apps", vec![entry("deployments", "Deployment")]),
            group("events.k8s.io", vec![entry("events", "Event")]),
            group("serving.knative.dev", vec![entry("services", "Service"), entry("routes", "Route")]),
            group("route.openshift.io", vec![entry("routes", "Route")]),
        ]});
        Kinds::read(&[core, groups], 1, crate::clock::boottime())
    }

    #[test]
    fn kinds_are_found_as_people_name_them() {
        let kinds = kinds();
        for (name, group, expected) in [
            ("Deployment", None, Some("apps")),
            ("deployment", None, Some("apps")),
            ("deployments", Some("apps"), Some("apps")),
            ("Deployment", Some("extensions"), None),
            ("Service", None, Some("")),
            (
                "Service",
                Some("serving.knative.dev"),
                Some("serving.knative.dev"),
            ),
            ("Event", None, Some("")),
            ("Nothing", None, None),
        ] {
            let meant = kinds.meant(name, group).ok().map(|found| found.group);
            assert_eq!(meant.as_deref(), expected, "{name} {group:?}");
        }
        let several = kinds.meant("Route", None).unwrap_err();
        assert_eq!(
            several,
            ["Route.route.openshift.io", "Route.serving.knative.dev"]
        );
    }
}
