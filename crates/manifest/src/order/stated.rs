//! What objects say about their order, in our annotations and in those of other tools.

use std::fmt;

use crate::object::Object;

/// Ours, then the one of Argo CD.
const WAVE: [&str; 2] = ["sortie.dev/wave", "argocd.argoproj.io/sync-wave"];
/// Ours, and the one that kpt and the CLI utilities of Kubernetes read. Both count.
const DEPENDS_ON: [&str; 2] = ["sortie.dev/depends-on", "config.kubernetes.io/depends-on"];
/// Annotations of kapp; a dot and any word may follow, to give several.
const CHANGE_GROUP: &str = "kapp.k14s.io/change-group";
const CHANGE_RULE: &str = "kapp.k14s.io/change-rule";

/// What an object names as its dependency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Group; `None` when only the kind is written.
    pub(super) group: Option<String>,
    pub(super) kind: String,
    pub(super) namespace: Space,
    pub(super) name: String,
}

impl fmt::Display for Wanted {
    /// As the annotation says it, without a group: `Deployment/web`, `Deployment/shop/web`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Space::Of(namespace) => write!(f, "{}/{namespace}/{}", self.kind, self.name),
            Space::Same | Space::Cluster => write!(f, "{}/{}", self.kind, self.name),
        }
    }
}

/// Where a dependency is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Space {
    /// Where the object is that names it, or cluster-scoped.
    Same,
    /// In this namespace.
    Of(String),
    /// In none.
    Cluster,
}

/// `upsert after upserting GROUP`, or `before`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) after: bool,
    pub(super) group: String,
}

/// An annotation that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    pub(super) annotation: String,
    pub(super) value: String,
    pub(super) reason: &'static str,
}

/// The wave that the object names.
pub(super) fn wave(object: &Object) -> Result<Option<i32>, Malformed> {
    let Some((key, text)) = WAVE
        .iter()
        .find_map(|key| Some((*key, object.annotation(key)?)))
    else {
        return Ok(None);
    };
    let number = text.trim().parse().map_err(|_| Malformed {
        annotation: key.to_owned(),
        value: text.to_owned(),
        reason: "it must be a whole number, such as \"-1\"",
    })?;
    Ok(Some(number))
}

/// The dependencies that the object names.
pub(super) fn depends_on(object: &Object) -> Result<Vec<Wanted>, Malformed> {
    let mut found = Vec::new();
    for key in DEPENDS_ON {
        let list = object.annotation(key).unwrap_or_default();
        for text in list.split([',', '\n']).map(str::trim) {
            if text.is_empty() {
                continue;
            }
            found.push(wanted(text).ok_or_else(|| Malformed {
                annotation: key.to_owned(),
                value: text.to_owned(),
                reason: "it must look like Deployment/web, Deployment.apps/web, \
                         Deployment.apps/shop/web, apps/namespaces/shop/Deployment/web or \
                         GROUP/KIND/NAME",
            })?);
        }
    }
    Ok(found)
}

/// The change groups that the object belongs to.
pub(super) fn change_groups(object: &Object) -> impl Iterator<Item = &str> {
    each(object, CHANGE_GROUP).map(|(_, group)| group.trim())
}

/// The change rules that say something about applying. Rules about deletion say nothing here: what
/// is deleted is deleted in the reverse order.
pub(super) fn change_rules(object: &Object) -> Result<Vec<Rule>, Malformed> {
    let mut found = Vec::new();
    for (key, text) in each(object, CHANGE_RULE) {
        let words: Vec<&str> = text.split_whitespace().collect();
        let known = match words.as_slice() {
            [verb, side, target, group]
                if ["upsert", "delete"].contains(verb)
                    && ["before", "after"].contains(side)
                    && ["upserting", "deleting"].contains(target) =>
            {
                Some((*verb, *side, *target, *group))
            }
            _ => None,
        };
        match known {
            None => {
                return Err(Malformed {
                    annotation: key.to_owned(),
                    value: text.to_owned(),
                    reason: "it must look like: upsert after upserting GROUP",
                });
            }
            Some(("upsert", side, "upserting", group)) => found.push(Rule {
                after: side == "after",
                group: group.to_owned(),
            }),
            Some(_) => {}
        }
    }
    Ok(found)
}

/// The annotations `key` and `key.anything`, in the order of their keys.
fn each<'a>(object: &'a Object, key: &'static str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let annotations = object
        .value()
        .get("metadata")
        .and_then(|metadata| metadata.get("annotations")?.as_object());
    let mut found: Vec<(&str, &str)> = annotations
        .into_iter()
        .flatten()
        .filter(|(name, _)| {
            name.strip_prefix(key)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
        .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
        .collect();
    found.sort_unstable();
    found.into_iter()
}

/// Kinds start with a capital letter and groups do not, which tells our form from the other.
fn wanted(text: &str) -> Option<Wanted> {
    let parts: Vec<&str> = text.split('/').collect();
    let is_kind = |part: &str| part.starts_with(|c: char| c.is_ascii_uppercase());
    let found = |group: Option<&str>, kind: &str, namespace, name: &str| {
        let good = is_kind(kind) && !name.is_empty() && namespace != Space::Of(String::new());
        good.then(|| Wanted {
            group: group.map(str::to_owned),
            kind: kind.to_owned(),
            namespace,
            name: name.to_owned(),
        })
    };
    let of = |namespace: &str| Space::Of(namespace.to_owned());
    match parts.as_slice() {
        [kind, name] if is_kind(kind) => {
            let (kind, group) = split(kind);
            found(group, kind, Space::Same, name)
        }
        [kind, namespace, name] if is_kind(kind) => {
            let (kind, group) = split(kind);
            found(group, kind, of(namespace), name)
        }
        [group, kind, name] => found(Some(group), kind, Space::Cluster, name),
        [group, "namespaces", namespace, kind, name] => {
            found(Some(group), kind, of(namespace), name)
        }
        _ => None,
    }
}

/// `Deployment.apps` is kind and group.
fn split(kind: &str) -> (&str, Option<&str>) {
    match kind.split_once('.') {
        Some((kind, group)) => (kind, Some(group)),
        None => (kind, None),
    }
}
