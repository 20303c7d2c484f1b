//! Which fields of an object can never change.
//!
//! The API server decides; the table only names the fields where it does not: it answers that a
//! StatefulSet may change nothing but a list, and leaves it to the reader to find the difference.

use serde_json::Value;

use super::Target;
use crate::error::{Cause, Error, Problem};

/// What is immutable of a kind.
enum Fixed {
    /// These fields, by their pointers.
    Fields(&'static [&'static str]),
    /// All of `spec` but these.
    SpecBut(&'static [&'static str]),
    /// These, and all data once `immutable` says so.
    DataOnce(&'static [&'static str]),
}

fn fixed(group: &str, kind: &str) -> Option<Fixed> {
    Some(match (group, kind) {
        ("apps", "Deployment" | "DaemonSet" | "ReplicaSet") => Fixed::Fields(&["/spec/selector"]),
        ("apps", "StatefulSet") => Fixed::SpecBut(&[
            "replicas",
            "template",
            "updateStrategy",
            "persistentVolumeClaimRetentionPolicy",
            "minReadySeconds",
            "revisionHistoryLimit",
            "ordinals",
        ]),
        ("batch", "Job") => Fixed::Fields(&[
            "/spec/selector",
            "/spec/template",
            "/spec/completionMode",
            "/spec/completions",
        ]),
        ("", "Service") => Fixed::Fields(&["/spec/clusterIP", "/spec/clusterIPs"]),
        ("", "PersistentVolumeClaim") => {
            Fixed::SpecBut(&["resources", "volumeAttributesClassName"])
        }
        ("", "Secret") => Fixed::DataOnce(&["/type"]),
        ("", "ConfigMap") => Fixed::DataOnce(&[]),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
            Fixed::Fields(&["/roleRef"])
        }
        ("storage.k8s.io", "StorageClass") => Fixed::Fields(&[
            "/parameters",
            "/provisioner",
            "/reclaimPolicy",
            "/volumeBindingMode",
        ]),
        ("scheduling.k8s.io", "PriorityClass") => Fixed::Fields(&["/value", "/preemptionPolicy"]),
        ("networking.k8s.io", "IngressClass") => Fixed::Fields(&["/spec/controller"]),
        _ => return None,
    })
}

/// The same refusal with every field of the table that would change.
pub(super) fn named(error: Error, target: &Target, live: &Value) -> Error {
    let desired = target.object.value();
    let changed = changed(
        &target.id.group,
        &target.id.kind,
        live,
        &Value::Object(desired.clone()),
    );
    error.map_cause(|cause| match cause {
        Cause::Immutable { problems, others } => Cause::Immutable {
            problems: with(problems, changed),
            others,
        },
        // Words for it that we do not know.
        Cause::Invalid { problems }
            if problems.iter().all(|problem| {
                let covers = |field: &String| problem.field.starts_with(field.as_str());
                changed.iter().any(covers)
            }) =>
        {
            Cause::Immutable {
                problems,
                others: Vec::new(),
            }
        }
        other => other,
    })
}

/// The same refusal without the problems that a new object has as well: these are no matter of change. What a new object
/// alone would be refused for is there besides; when that is anything but its fields, it hinders a replacement.
pub(super) fn told_apart(error: Error, refused: Option<Error>) -> Error {
    let Some(refused) = refused else {
        return error;
    };
    let error = error.map_cause(|cause| match (cause, refused.cause()) {
        (Cause::Immutable { problems, others }, Cause::Invalid { problems: invalid }) => {
            let (mut all, problems): (Vec<Problem>, Vec<Problem>) = problems
                .into_iter()
                .partition(|problem| invalid.contains(problem));
            let besides = others.iter().chain(invalid);
            for problem in besides {
                if !all.contains(problem) {
                    all.push(problem.clone());
                }
            }
            Cause::Immutable {
                problems,
                others: all,
            }
        }
        (Cause::Immutable { problems, .. }, _) => Cause::Irreplaceable {
            problems,
            source: Box::new(refused),
        },
        (other, _) => other,
    });
    match error.cause() {
        Cause::Immutable { problems, .. } if problems.is_empty() => self::invalid(error),
        _ => error,
    }
}

/// The refusal of a new object, which nothing can be immutable of.
pub(super) fn invalid(error: Error) -> Error {
    error.map_cause(|cause| match cause {
        Cause::Immutable {
            mut problems,
            others,
        } => {
            problems.extend(others);
            Cause::Invalid { problems }
        }
        other => other,
    })
}

/// Adds what the server does not name, instead of what it says about all of `spec`.
fn with(mut problems: Vec<Problem>, changed: Vec<String>) -> Vec<Problem> {
    for field in changed {
        if !problems.iter().any(|known| known.field.starts_with(&field)) {
            let message = "differs from the live object".to_owned();
            problems.push(Problem { field, message });
        }
    }
    problems
}

/// Immutable fields whose values would change, as paths such as `spec.selector`.
fn changed(group: &str, kind: &str, live: &Value, desired: &Value) -> Vec<String> {
    let path = |pointer: &str| pointer.trim_start_matches('/').replace('/', ".");
    let differing = |pointers: &[&str]| -> Vec<String> {
        let differs = |pointer: &&&str| match desired.pointer(pointer) {
            Some(wanted) => !live
                .pointer(pointer)
                .is_some_and(|live| holds(live, wanted)),
            None => false,
        };
        pointers.iter().filter(differs).map(|p| path(p)).collect()
    };
    match fixed(group, kind) {
        None => Vec::new(),
        Some(Fixed::Fields(pointers)) => differing(pointers),
        Some(Fixed::DataOnce(pointers)) => {
            let mut all = differing(pointers);
            if live.get("immutable") == Some(&Value::Bool(true)) {
                all.extend(differing(&["/data", "/binaryData", "/immutable"]));
            }
            all
        }
        Some(Fixed::SpecBut(free)) => {
            let spec = desired.get("spec").and_then(Value::as_object);
            let keys = spec.into_iter().flat_map(|spec| spec.keys());
            let pointers: Vec<String> = keys
                .filter(|key| !free.contains(&key.as_str()))
                .map(|key| format!("/spec/{key}"))
                .collect();
            differing(&pointers.iter().map(String::as_str).collect::<Vec<_>>())
        }
    }
}

/// Whether a live value has all that is wanted; the API server fills in more.
fn holds(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, wanted)| live.get(key).is_some_and(|live| holds(live, wanted))),
        (Value::Array(live), Value::Array(wanted)) => {
            let mut pairs = live.iter().zip(wanted);
            live.len() == wanted.len() && pairs.all(|(live, wanted)| holds(live, wanted))
        }
        (live, wanted) => live == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_new_object_is_refused_for_too_is_no_matter_of_change() {
        let problem = |field: &str, message: &str| Problem {
            field: field.to_owned(),
            message: message.to_owned(),
        };
        let image = || problem("spec.image", "must be an immutable reference");
        let selector = || problem("spec.selector", "field is immutable");
        let replicas = || problem("spec.replicas", "must be at least 0");
        for (problems, others, refused, expected) in [
            (
                vec![image()],
                vec![],
                vec![image()],
                (vec![], vec![image()]),
            ),
            (
                vec![image(), selector()],
                vec![replicas()],
                vec![replicas(), image()],
                (vec![selector()], vec![image(), replicas()]),
            ),
            (vec![selector()], vec![], vec![], (vec![selector()], vec![])),
            // The API server looks no further when it refuses a change.
            (
                vec![selector()],
                vec![],
                vec![image()],
                (vec![selector()], vec![image()]),
            ),
        ] {
            let error = Error::new("apply", "a", Cause::Immutable { problems, others });
            let refused = Error::new("apply", "a", Cause::Invalid { problems: refused });
            let told = match told_apart(error, Some(refused)).cause() {
                Cause::Immutable { problems, others } => (problems.clone(), others.clone()),
                Cause::Invalid { problems } => (vec![], problems.clone()),
                other => panic!("{other:?}"),
            };
            assert_eq!(told, expected);
        }
    }

    #[test]
    fn what_hinders_a_new_object_is_told_instead_of_how_to_replace_the_old_one() {
        let immutable = || {
            let field = "spec.selector".to_owned();
            let message = "field is immutable".to_owned();
            let problems = vec![Problem { field, message }];
            let others = Vec::new();
            Error::new("apply", "a", Cause::Immutable { problems, others })
        };
        assert_eq!(told_apart(immutable(), None).code(), "SRT-C006");
        let message = || "no".to_owned();
        for cause in [
            Cause::Forbidden { message: message() },
            Cause::Denied {
                by: "policy small".to_owned(),
                message: message(),
            },
            Cause::Quota { message: message() },
        ] {
            let why = Error::new("apply", "a", cause);
            let (code, words) = (why.code(), why.to_string());
            let told = told_apart(immutable(), Some(why));
            assert_eq!(told.code(), "SRT-C040");
            assert!(!told.advice().contains("--replace"), "{}", told.advice());
            assert!(told.to_string().contains("spec.selector"), "{told}");
            let source = std::error::Error::source(&told).unwrap();
            assert_eq!(source.to_string(), words, "{code}");
        }
    }

    #[test]
    fn what_would_change_is_found_and_nothing_else() {
        let stateful = json!({"spec": {
            "serviceName": "db", "replicas": 1, "podManagementPolicy": "OrderedReady",
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"storageClassName": "fast", "volumeMode": "Filesystem"}}],
        }});
        let secret = json!({"type": "Opaque", "immutable": true, "data": {"a": "eA=="}});
        for (kind, live, desired, expected) in [
            (
                "apps/StatefulSet",
                &stateful,
                json!({"spec": {"serviceName": "db", "replicas": 9}}),
                vec![],
            ),
            (
                "apps/StatefulSet",
                &stateful,
                json!({"spec": {"serviceName": "other"}}),
                vec!["spec.serviceName"],
            ),
            (
                "apps/StatefulSet",
                &stateful,
                json!({"spec": {"volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"storageClassName": "fast"}}]}}),
                vec![],
            ),
            (
                "apps/StatefulSet",
                &stateful,
                json!({"spec": {"volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"storageClassName": "slow"}}]}}),
                vec!["spec.volumeClaimTemplates"],
            ),
            (
                "/Secret",
                &secret,
                json!({"type": "Other", "data": {"a": "eQ=="}}),
                vec!["type", "data"],
            ),
            (
                "/ConfigMap",
                &json!({"data": {"a": "b"}}),
                json!({"data": {"a": "c"}}),
                vec![],
            ),
            (
                "example.com/Widget",
                &json!({"spec": {"a": 1}}),
                json!({"spec": {"a": 2}}),
                vec![],
            ),
        ] {
            let (group, name) = kind.split_once('/').unwrap();
            assert_eq!(
                changed(group, name, live, &desired),
                expected,
                "{kind} {desired}"
            );
        }
    }
}
