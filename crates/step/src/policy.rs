//! What the cluster's owner allows, whatever the control plane asks for.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use sortie_manifest::Object;

/// The delegate's policy. Empty lists allow whatever RBAC allows.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Policy {
    /// Namespaces that any project may deploy to; `None`: every namespace.
    pub namespaces: Option<Vec<String>>,
    /// Further limits per project: `organisation/project`, or `*` for every project without an entry of its own.
    pub projects: BTreeMap<String, ProjectPolicy>,
}

/// The limits of one project.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProjectPolicy {
    /// Allowed namespaces; empty: those of the whole policy.
    pub namespaces: Vec<String>,
    /// Allowed kinds; empty: every kind.
    pub kinds: Vec<String>,
    /// Allowed image prefixes, such as `registry.example.com/team`; empty: every registry.
    pub registries: Vec<String>,
}

/// Who a task is for.
#[derive(Clone, Copy, Debug)]
pub struct Project<'a> {
    /// Organisation identifier.
    pub organisation: &'a str,
    /// Project identifier.
    pub project: &'a str,
}

/// One thing the policy forbids, in words for the person who asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is not allowed by the policy of this cluster's owner ({allowed})")]
pub struct Forbidden {
    what: String,
    allowed: String,
}

impl Policy {
    /// Check the namespace of a release before anything is fetched.
    ///
    /// # Errors
    /// The namespace is not on the list that applies to the project.
    pub fn check_namespace(&self, project: Project<'_>, namespace: &str) -> Result<(), Forbidden> {
        let own = self
            .limits(project)
            .map(|limits| limits.namespaces.as_slice())
            .unwrap_or_default();
        let shared = self.namespaces.as_deref();
        let allowed = |list: &[String]| list.iter().any(|name| name == namespace);
        // A project's own list narrows the shared one, it never widens it.
        if shared.is_none_or(allowed) && (own.is_empty() || allowed(own)) {
            return Ok(());
        }
        let list = if own.is_empty() {
            shared.unwrap_or_default()
        } else {
            own
        };
        Err(Forbidden {
            what: format!("namespace {namespace}"),
            allowed: listed("namespaces", list),
        })
    }

    /// Check every object of a release before the first write.
    ///
    /// # Errors
    /// The first object that lies outside the allowed namespaces, kinds or registries.
    pub fn check_objects(
        &self,
        project: Project<'_>,
        release_namespace: &str,
        objects: &[Object],
    ) -> Result<(), Forbidden> {
        let limits = self.limits(project);
        for object in objects {
            self.check_namespace(project, object.namespace().unwrap_or(release_namespace))?;
            if object.group().is_empty() && object.kind() == "Namespace" {
                self.check_namespace(project, object.name())?;
            }
            let Some(limits) = limits else { continue };
            if !limits.kinds.is_empty() && !limits.kinds.iter().any(|kind| kind == object.kind()) {
                return Err(Forbidden {
                    what: format!("kind {} ({})", object.kind(), object.name()),
                    allowed: listed("kinds", &limits.kinds),
                });
            }
            if !limits.registries.is_empty() {
                check_images(object, &limits.registries)?;
            }
        }
        Ok(())
    }

    fn limits(&self, project: Project<'_>) -> Option<&ProjectPolicy> {
        let key = format!("{}/{}", project.organisation, project.project);
        self.projects.get(&key).or_else(|| self.projects.get("*"))
    }
}

fn check_images(object: &Object, registries: &[String]) -> Result<(), Forbidden> {
    let template = sortie_manifest::workload::pod_template(object);
    let Some(spec) = template.and_then(|template| template.get("spec")) else {
        return Ok(());
    };
    let images = |list: &str, pointer: &'static str| {
        let entries = spec.get(list).and_then(Value::as_array);
        let entries = entries.into_iter().flatten();
        entries.filter_map(move |entry| entry.pointer(pointer)?.as_str())
    };
    let images = images("initContainers", "/image")
        .chain(images("containers", "/image"))
        .chain(images("ephemeralContainers", "/image"))
        .chain(images("volumes", "/image/reference"));
    for image in images {
        if !registries.iter().any(|prefix| is_inside(image, prefix)) {
            return Err(Forbidden {
                what: format!("image {image} of {} {}", object.kind(), object.name()),
                allowed: listed("registries", registries),
            });
        }
    }
    Ok(())
}

/// Whether an image lies under a prefix: a registry, a path in it, or a whole repository.
fn is_inside(image: &str, prefix: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    let Some(rest) = image.strip_prefix(prefix) else {
        return false;
    };
    // After a bare registry a colon begins a port, which makes it another registry.
    rest.starts_with('/') || (prefix.contains('/') && rest.starts_with([':', '@']))
}

fn listed(what: &str, list: &[String]) -> String {
    if list.is_empty() {
        format!("no {what}")
    } else {
        format!("{what}: {}", list.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sortie_manifest::Origin;

    use super::*;

    const SHOP: Project<'_> = Project {
        organisation: "acme",
        project: "shop",
    };

    fn policy(yaml: &Value) -> Policy {
        serde_json::from_value(yaml.clone()).unwrap()
    }

    fn object(value: Value) -> Object {
        let origin = Origin::outside("test");
        Object::from_value(value, origin).unwrap()
    }

    fn pod(spec: &Value) -> Object {
        object(
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": spec}),
        )
    }

    #[test]
    fn without_a_policy_everything_is_left_to_rbac() {
        let role = object(
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "r"}}),
        );
        let policy = Policy::default();
        assert!(policy.check_namespace(SHOP, "any").is_ok());
        assert!(policy.check_objects(SHOP, "any", &[role]).is_ok());
    }

    #[test]
    fn a_project_narrows_the_shared_namespaces_and_never_widens_them() {
        let policy = policy(&json!({
            "namespaces": ["a", "b"],
            "projects": {"acme/shop": {"namespaces": ["b", "c"]}, "*": {"namespaces": ["a"]}},
        }));
        let other = Project {
            organisation: "acme",
            project: "other",
        };
        for (project, namespace, allowed) in [
            (SHOP, "a", false),
            (SHOP, "b", true),
            (SHOP, "c", false),
            (other, "a", true),
            (other, "b", false),
        ] {
            let checked = policy.check_namespace(project, namespace);
            assert_eq!(
                checked.is_ok(),
                allowed,
                "{project:?} {namespace}: {checked:?}"
            );
        }
    }

    #[test]
    fn objects_in_or_of_other_namespaces_are_refused() {
        let policy = policy(&json!({"namespaces": ["a"]}));
        let away = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "b"}});
        let other = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "b"}});
        let own = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}});
        for (value, allowed) in [(away, false), (other, false), (own, true)] {
            let checked = policy.check_objects(SHOP, "a", &[object(value.clone())]);
            assert_eq!(checked.is_ok(), allowed, "{value}");
        }
    }

    #[test]
    fn kinds_outside_the_list_are_refused_by_name() {
        let policy = policy(&json!({"projects": {"*": {"kinds": ["Deployment"]}}}));
        let error = policy.check_objects(SHOP, "a", &[pod(&json!({}))]);
        let text = error.unwrap_err().to_string();
        assert!(
            text.contains("kind Pod (web)") && text.contains("kinds: Deployment"),
            "{text}"
        );
    }

    #[test]
    fn images_come_from_the_listed_registries_only() {
        let policy = policy(
            &json!({"projects": {"*": {"registries": ["reg.example.com", "other.io/team/", "other.io/one/app"]}}}),
        );
        let container = |image: &str| json!({"containers": [{"image": image}]});
        for (spec, allowed) in [
            (container("reg.example.com/any/app:1"), true),
            (container("reg.example.com:5000/any/app:1"), false),
            (container("reg.example.com.evil.io/app"), false),
            (container("other.io/team/app"), true),
            (container("other.io/teamwork/app"), false),
            (container("other.io/one/app:1"), true),
            (container("other.io/one/app@sha256:0"), true),
            (container("other.io/one/application"), false),
            (container("nginx"), false),
            (json!({"initContainers": [{"image": "nginx"}]}), false),
            (json!({"ephemeralContainers": [{"image": "nginx"}]}), false),
            (
                json!({"volumes": [{"name": "v", "image": {"reference": "nginx"}}]}),
                false,
            ),
            (json!({"volumes": [{"name": "v", "emptyDir": {}}]}), true),
        ] {
            let checked = policy.check_objects(SHOP, "a", &[pod(&spec)]);
            assert_eq!(checked.is_ok(), allowed, "{spec}");
        }
    }
}
