//! How objects differ: what a deployment would change, or what changed between two releases. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sortie_cluster::apply::{self, Change, Outcome, Planned};
use sortie_manifest::annotations::HOOK_NAME;
use sortie_manifest::diff::{Diff, diff};
use sortie_manifest::{ObjectId, versioning};

use crate::hooks;

/// What would happen, or has happened, to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// It was not there before.
    Created,
    /// It is changed.
    Configured,
    /// It is deleted and made again: a field changes that cannot.
    Replaced,
    /// Nothing happens to it.
    Unchanged,
    /// It is deleted.
    Deleted,
    /// It is not in the set any more and stays, because pruning was not asked for.
    Left,
    /// It is a hook: a Job or Pod that runs with each deployment, whatever is there. It is no difference.
    Runs,
}

/// How one object differs. No value of a Secret is in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// The object.
    pub object: ObjectId,
    /// What happens to it.
    pub change: Fate,
    /// File and line of its manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// The object that it takes the place of, where that has another name: versioned configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<ObjectId>,
    /// Unified text of what differs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// Every changed field: a list of `{"path", "before", "after"}`.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub changes: Value,
    /// Fields that are taken from others: path and the manager that owns it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<Taken>,
    /// What else is worth knowing, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A field that is taken from another manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Path of the field, such as `.spec.replicas`.
    pub path: String,
    /// The field manager that has set it.
    pub manager: String,
}

impl Fate {
    /// The word in lists.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Replaced => "replaced",
            Self::Unchanged => "unchanged",
            Self::Deleted => "deleted",
            Self::Left => "left",
            Self::Runs => "runs",
        }
    }

    /// Whether it is something that happens.
    #[must_use]
    pub const fn is_change(self) -> bool {
        !matches!(self, Self::Unchanged | Self::Left | Self::Runs)
    }
}

impl Difference {
    /// Nothing but what happens to the object.
    pub(crate) const fn plain(object: ObjectId, change: Fate) -> Self {
        Self {
            object,
            change,
            origin: None,
            replaces: None,
            text: String::new(),
            changes: Value::Null,
            conflicts: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(crate) fn between(mut self, before: Option<&Value>, after: Option<&Value>) -> Self {
        let Diff { changes, text } = diff(before, after);
        self.text = text;
        self.changes = serde_json::to_value(changes).unwrap_or_default();
        self
    }
}

/// What a plan would do to its object. `previous` finds what versioned configuration takes the place of.
pub(crate) fn planned<'a>(
    planned: &Planned,
    previous: impl FnOnce(&ObjectId, &str) -> Option<&'a (ObjectId, Value)>,
) -> Difference {
    let target = &planned.target;
    if hooks::is_run(&target.object) {
        let mut found = Difference::plain(target.id.clone(), Fate::Runs);
        found.origin = Some(target.object.origin().to_string());
        return found;
    }
    let manifest = Value::Object(target.object.value().clone());
    let mut found = match &planned.outcome {
        Outcome::Accepted {
            change: Change::Created,
            result,
            ..
        } => created(&target.id, &manifest, &result.value(), previous),
        Outcome::Accepted {
            change: Change::Unchanged,
            ..
        } => Difference::plain(target.id.clone(), Fate::Unchanged),
        Outcome::Accepted {
            change: Change::Configured,
            live,
            result,
            conflicts,
            handover,
        } => {
            let live = live.as_ref().map(apply::Document::value);
            let mut found = Difference::plain(target.id.clone(), Fate::Configured)
                .between(live.as_ref(), Some(&result.value()));
            found.conflicts = conflicts
                .iter()
                .map(|conflict| Taken {
                    path: conflict.path.clone(),
                    manager: conflict.manager.clone(),
                })
                .collect();
            if found.text.is_empty() {
                found.notes.push(ownership(*handover).to_owned());
            }
            found
        }
        Outcome::Replacement {
            live,
            problems,
            result,
        } => {
            let result = result.as_ref().map(apply::Document::value);
            let mut found = Difference::plain(target.id.clone(), Fate::Replaced).between(
                Some(&live.value()),
                Some(result.as_ref().unwrap_or(&manifest)),
            );
            let problem = |problem: &sortie_cluster::Problem| {
                format!(
                    "cannot be changed in place: {}: {}",
                    problem.field, problem.message
                )
            };
            found.notes = problems.iter().map(problem).collect();
            if result.is_none() {
                let text = "compared with the manifest: what the API server adds is not known while the old object is there";
                found.notes.push(text.to_owned());
            }
            found
        }
        Outcome::Deferred { until } => {
            let mut found = created(&target.id, &manifest, &manifest, previous);
            found.notes.push(format!("once {until} is there"));
            found
        }
    };
    found.notes.extend(crate::adoption::remaining(planned));
    let origin = target.object.origin();
    found.origin = Some(origin.to_string());
    found
}

/// A new object; where it is a new version of an earlier one, the difference from that.
fn created<'a>(
    id: &ObjectId,
    manifest: &Value,
    result: &Value,
    previous: impl FnOnce(&ObjectId, &str) -> Option<&'a (ObjectId, Value)>,
) -> Difference {
    let plain = Difference::plain(id.clone(), Fate::Created);
    match original_name(manifest).and_then(|original| previous(id, original)) {
        Some((earlier, value)) => {
            // Both as manifests: what the API server adds is in neither.
            let mut found = plain.between(Some(value), Some(manifest));
            found.replaces = Some(earlier.clone());
            found
        }
        None => plain.between(None, Some(result)),
    }
}

const fn ownership(handover: bool) -> &'static str {
    if handover {
        "no value changes; fields that another tool had set become this release's"
    } else {
        "no value changes; the list of fields that this release owns does"
    }
}

/// The name in the manifest, of an object that is deployed under a versioned one.
pub(crate) fn original_name(object: &Value) -> Option<&str> {
    annotated(object, versioning::ORIGINAL_NAME)
}

/// The name in the manifest, of a hook that is deployed under one with the number of its release.
fn hook_name(object: &Value) -> Option<&str> {
    annotated(object, HOOK_NAME)
}

fn annotated<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    let annotations = object.pointer("/metadata/annotations")?;
    annotations.get(name)?.as_str()
}

/// What changed from one release to another, by their objects as recorded. Versioned configuration is compared with its
/// earlier version, and a hook with that of the same name in the manifest.
#[must_use]
pub fn between(before: &[(ObjectId, Value)], after: &[(ObjectId, Value)]) -> Vec<Difference> {
    let mut old: BTreeMap<ObjectId, &(ObjectId, Value)> = before
        .iter()
        .map(|entry| (known_as(entry), entry))
        .collect();
    let mut found = Vec::new();
    for entry in after {
        let (id, value) = entry;
        match old.remove(&known_as(entry)) {
            None => {
                let plain = Difference::plain(id.clone(), Fate::Created);
                found.push(plain.between(None, Some(value)));
            }
            Some((earlier, earlier_value)) => {
                let plain = Difference::plain(id.clone(), Fate::Configured);
                let earlier_value = renamed(earlier_value, &id.name);
                let mut changed = plain.between(Some(&earlier_value), Some(value));
                if earlier != id {
                    changed.replaces = Some(earlier.clone());
                }
                if changed.text.is_empty() {
                    changed = Difference::plain(id.clone(), Fate::Unchanged);
                }
                found.push(changed);
            }
        }
    }
    let gone = old
        .into_values()
        .map(|(id, value)| Difference::plain(id.clone(), Fate::Deleted).between(Some(value), None));
    found.extend(gone);
    found
}

/// A hook's number is in its name, and no difference.
fn renamed<'a>(hook: &'a Value, name: &str) -> Cow<'a, Value> {
    let mut hook = Cow::Borrowed(hook);
    if hook_name(&hook).is_some()
        && let Some(stated) = hook.to_mut().pointer_mut("/metadata/name")
    {
        *stated = name.into();
    }
    hook
}

/// What an object is called in its manifest.
fn known_as((id, value): &(ObjectId, Value)) -> ObjectId {
    ObjectId {
        name: original_name(value)
            .or_else(|| hook_name(value))
            .unwrap_or(&id.name)
            .to_owned(),
        ..id.clone()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(kind: &str, name: &str, original: Option<&str>, value: &str) -> (ObjectId, Value) {
        let id = ObjectId {
            group: String::new(),
            kind: kind.to_owned(),
            namespace: Some("shop".to_owned()),
            name: name.to_owned(),
        };
        let mut object = json!({
            "apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "data": {"key": value},
        });
        if let Some(original) = original {
            object["metadata"]["annotations"] = json!({versioning::ORIGINAL_NAME: original});
        }
        (id, object)
    }

    #[test]
    fn releases_are_compared_by_the_names_in_their_manifests() {
        let before = [
            object("ConfigMap", "web-1", Some("web"), "old"),
            object("ConfigMap", "same", None, "x"),
            object("ConfigMap", "gone", None, "x"),
        ];
        let after = [
            object("ConfigMap", "web-2", Some("web"), "new"),
            object("ConfigMap", "same", None, "x"),
            object("ConfigMap", "more", None, "x"),
        ];
        let found = between(&before, &after);
        let told: Vec<_> = found
            .iter()
            .map(|one| (one.object.name.as_str(), one.change))
            .collect();
        assert_eq!(
            told,
            [
                ("web-2", Fate::Configured),
                ("same", Fate::Unchanged),
                ("more", Fate::Created),
                ("gone", Fate::Deleted),
            ]
        );
        assert_eq!(found[0].replaces.as_ref().unwrap().name, "web-1");
        assert!(
            found[0].text.contains("-  key: old\n+  key: new\n"),
            "{}",
            found[0].text
        );
        assert!(found[1].text.is_empty());
    }

    #[test]
    fn a_hook_is_compared_without_the_number_of_its_release() {
        let hook = |number: u64, value: &str| {
            let (id, mut object) = object("Job", &format!("mig-{number}"), None, value);
            object["metadata"]["annotations"] = json!({HOOK_NAME: "mig"});
            [(id, object)]
        };
        let same = between(&hook(1, "x"), &hook(2, "x"));
        assert_eq!((same.len(), same[0].change), (1, Fate::Unchanged));
        let other = between(&hook(1, "x"), &hook(2, "y"));
        assert_eq!((other.len(), other[0].change), (1, Fate::Configured));
        assert!(!other[0].text.contains("mig"), "{}", other[0].text);
    }

    #[test]
    fn a_secret_is_shown_as_changed_and_never_in_clear() {
        let before = [object("Secret", "web-1", Some("web"), "aHVudGVyMg==")];
        let after = [object("Secret", "web-2", Some("web"), "c2VzYW1l")];
        let found = serde_json::to_string(&between(&before, &after)).unwrap();
        assert!(
            found.contains("(before)") && found.contains("(after)"),
            "{found}"
        );
        assert!(
            !found.contains("aHVudGVyMg") && !found.contains("c2VzYW1l"),
            "{found}"
        );
    }

    #[test]
    fn it_is_read_as_it_is_written() {
        let all = between(&[object("ConfigMap", "a", None, "x")], &[]);
        let text = serde_json::to_string(&all).unwrap();
        let read: Vec<Difference> = serde_json::from_str(&text).unwrap();
        assert_eq!(read, all);
    }
}
