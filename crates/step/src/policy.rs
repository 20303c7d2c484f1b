//! What the cluster's owner allows, whatever the control plane asks for.

use std::collections::BTreeMap;

use serde::Deserialize;
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
    let images = ["initContainers", "containers", "ephemeralContainers"]
        .iter()
        .filter_map(|list| spec.get(*list)?.as_array())
        .flatten()
        .filter_map(|container| container.get("image")?.as_str());
    for image in images {
        let inside = registries.iter().any(|prefix| {
            image
                .strip_prefix(prefix.trim_end_matches('/'))
                .is_some_and(|rest| rest.starts_with(['/', ':', '@']))
        });
        if !inside {
            return Err(Forbidden {
                what: format!("image {image} of {} {}", object.kind(), object.name()),
                allowed: listed("registries", registries),
            });
        }
    }
    Ok(())
}

fn listed(what: &str, list: &[String]) -> String {
    if list.is_empty() {
        format!("no {what}")
    } else {
        format!("{what}: {}", list.join(", "))
    }
}
