//! Kinds as the API server serves them.

use std::sync::Arc;

/// A kind of object with the REST path it lives under.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: String,
    /// Version, such as `v1`.
    pub version: String,
    /// Kind, such as `Deployment`.
    pub kind: String,
    /// Name in paths, such as `deployments`.
    pub plural: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// What the API server can do with it, such as `patch` and `watch`.
    pub verbs: Arc<[String]>,
}

impl Resource {
    /// A resource that every cluster has, with the usual verbs.
    pub(crate) fn built_in(
        group: &str,
        version: &str,
        kind: &str,
        plural: &str,
        namespaced: bool,
    ) -> Self {
        let verbs = [
            "create", "delete", "get", "list", "patch", "update", "watch",
        ];
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            namespaced,
            verbs: verbs.map(str::to_owned).into(),
        }
    }

    /// Pods.
    pub fn pods() -> Self {
        Self::built_in("", "v1", "Pod", "pods", true)
    }

    /// Events, as the core group serves them.
    pub fn events() -> Self {
        Self::built_in("", "v1", "Event", "events", true)
    }

    /// Secrets.
    pub fn secrets() -> Self {
        Self::built_in("", "v1", "Secret", "secrets", true)
    }

    /// ConfigMaps.
    pub fn config_maps() -> Self {
        Self::built_in("", "v1", "ConfigMap", "configmaps", true)
    }

    /// Namespaces.
    pub fn namespaces() -> Self {
        Self::built_in("", "v1", "Namespace", "namespaces", false)
    }

    /// Leases.
    pub fn leases() -> Self {
        Self::built_in("coordination.k8s.io", "v1", "Lease", "leases", true)
    }

    /// The resource that a CustomResourceDefinition will serve for `version` once it is established.
    pub fn of_definition(definition: &serde_json::Value, version: &str) -> Option<Self> {
        let spec = definition.get("spec")?;
        let text = |pointer: &str| spec.pointer(pointer).and_then(|value| value.as_str());
        let serves = spec.get("versions")?.as_array()?.iter().any(|entry| {
            entry.get("name").and_then(|name| name.as_str()) == Some(version)
                && entry.get("served").and_then(serde_json::Value::as_bool) == Some(true)
        });
        if !serves {
            return None;
        }
        Some(Self::built_in(
            text("/group")?,
            version,
            text("/names/kind")?,
            text("/names/plural")?,
            text("/scope")? == "Namespaced",
        ))
    }

    /// `apiVersion` of its objects.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Whether the API server can do `verb` with it.
    pub fn supports(&self, verb: &str) -> bool {
        self.verbs.iter().any(|known| known == verb)
    }

    /// Path of the collection in `namespace` (all of them without one), or of one object in it.
    pub(crate) fn path(&self, namespace: Option<&str>, name: Option<&str>) -> String {
        let mut path = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        if let (true, Some(namespace)) = (self.namespaced, namespace) {
            path.push_str("/namespaces/");
            path.push_str(&escape(namespace));
        }
        path.push('/');
        path.push_str(&self.plural);
        if let Some(name) = name {
            path.push('/');
            path.push_str(&escape(name));
        }
        path
    }

    pub(crate) fn api_resource(&self) -> kube::core::ApiResource {
        kube::core::ApiResource {
            group: self.group.clone(),
            version: self.version.clone(),
            api_version: self.api_version(),
            kind: self.kind.clone(),
            plural: self.plural.clone(),
        }
    }
}

/// Percent-encodes what may not stand in a path segment or a query value. RBAC names may hold
/// colons and more.
pub(crate) fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => drop(write!(escaped, "%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_follow_the_api_conventions() {
        let deployments = Resource::built_in("apps", "v1", "Deployment", "deployments", true);
        assert_eq!(
            deployments.path(Some("shop"), Some("web")),
            "/apis/apps/v1/namespaces/shop/deployments/web"
        );
        assert_eq!(deployments.path(None, None), "/apis/apps/v1/deployments");
        assert_eq!(
            Resource::namespaces().path(Some("x"), Some("shop")),
            "/api/v1/namespaces/shop"
        );
        let roles = Resource::built_in("rbac.authorization.k8s.io", "v1", "Role", "roles", true);
        assert_eq!(
            roles.path(Some("shop"), Some("system:a/../b")),
            "/apis/rbac.authorization.k8s.io/v1/namespaces/shop/roles/system%3Aa%2F..%2Fb"
        );
    }

    #[test]
    fn a_definition_tells_what_it_will_serve() {
        let definition = serde_json::json!({"spec": {
            "group": "example.com", "scope": "Cluster",
            "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [{"name": "v1", "served": true}, {"name": "v1alpha1", "served": false}],
        }});
        let widgets = Resource::of_definition(&definition, "v1").unwrap();
        assert_eq!(
            widgets.path(Some("shop"), Some("w")),
            "/apis/example.com/v1/widgets/w"
        );
        assert_eq!(Resource::of_definition(&definition, "v1alpha1"), None);
        assert_eq!(Resource::of_definition(&definition, "v2"), None);
    }
}
