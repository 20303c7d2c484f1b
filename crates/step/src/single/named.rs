//! Objects that people name: `[namespace/]Kind/name`.

use serde_json::{Map, Value, json};
use sortie_cluster::{Cause, Error, Resource};
use sortie_manifest::{Object, ObjectId, labels};

use crate::adoption::object_of;
use crate::failure::{Failure, FailureKind};
use crate::protection::annotation;
use crate::run::Run;

/// An object as somebody names it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Name {
    namespace: Option<String>,
    /// Kind, or kind and group: `Deployment.apps`.
    kind: String,
    name: String,
}

/// An object that was named, and is there.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) id: ObjectId,
    pub(super) resource: Resource,
    pub(super) live: Value,
}

impl Name {
    fn parse(text: &str) -> Result<Self, Failure> {
        let text = text.trim();
        let refused = |why: &str| {
            let message = format!("{text:?} names no object: {why}");
            let hint = "write [namespace/]Kind/name, such as Deployment/web or shop/Deployment/web";
            Failure::new(FailureKind::Configuration, "SRT-T040", message, hint)
        };
        if text.contains(['*', '?']) {
            return Err(refused("wildcards are not understood"));
        }
        let words: Vec<&str> = text.split('/').collect();
        if words
            .iter()
            .any(|word| word.is_empty() || word.contains(char::is_whitespace))
        {
            return Err(refused("a part of it is empty or holds a space"));
        }
        match words.as_slice() {
            [kind, name] => Ok(Self {
                namespace: None,
                kind: (*kind).to_owned(),
                name: (*name).to_owned(),
            }),
            [namespace, kind, name] => Ok(Self {
                namespace: Some((*namespace).to_owned()),
                kind: (*kind).to_owned(),
                name: (*name).to_owned(),
            }),
            _ => Err(refused("it has not two or three parts")),
        }
    }
}

/// Which object is named, whether or not it is there. The policy allows it.
pub(super) async fn locate(run: &Run<'_>, text: &str) -> Result<(Resource, ObjectId), Failure> {
    let Name {
        namespace,
        kind,
        name,
    } = Name::parse(text)?;
    let resource = run.env.cluster.resolve_bare(&kind).await;
    let resource = resource.map_err(|error| Failure::cluster(&error))?;
    let namespace = resource
        .namespaced
        .then(|| namespace.unwrap_or_else(|| run.task.release.namespace.clone()));
    let id = ObjectId {
        group: resource.group.clone(),
        kind: resource.kind.clone(),
        namespace,
        name,
    };
    let mut metadata = Map::from_iter([("name".to_owned(), Value::from(id.name.as_str()))]);
    if let Some(namespace) = &id.namespace {
        metadata.insert("namespace".to_owned(), namespace.as_str().into());
    }
    let bare =
        json!({"apiVersion": resource.api_version(), "kind": resource.kind, "metadata": metadata});
    let bare: Vec<Object> = object_of(bare).into_iter().collect();
    run.check_objects(&bare)?;
    Ok((resource, id))
}

/// The object that is named. It belongs to this release or to none.
///
/// # Errors
/// It is not there, or it is not ours to change.
pub(super) async fn find(run: &Run<'_>, text: &str) -> Result<Found, Failure> {
    let (resource, id) = locate(run, text).await?;
    let live = run
        .env
        .cluster
        .get(&resource, id.namespace.as_deref(), &id.name)
        .await
        .map_err(|error| Failure::cluster(&error))?;
    let live = live.ok_or_else(|| missing(&id))?;
    refuse_foreign(run, &id, &live)?;
    Ok(Found { id, resource, live })
}

/// An object that was expected and is not there.
pub(super) fn missing(id: &ObjectId) -> Failure {
    let text = format!("{id} does not exist");
    let hint = "check kind, name and namespace; without a namespace the one of the infrastructure is meant";
    Failure::new(FailureKind::Configuration, "SRT-T041", text, hint)
}

/// An object of another release is changed under that release's Lease or not at all.
pub(super) fn refuse_foreign(run: &Run<'_>, id: &ObjectId, live: &Value) -> Result<(), Failure> {
    let label = live
        .pointer("/metadata/labels")
        .and_then(|all| all.get(labels::RELEASE)?.as_str());
    match label {
        Some(label) if label != run.release_id() => {
            let owner = annotation(live, labels::RELEASE_NAME).unwrap_or(label);
            let cause = Cause::AnotherRelease {
                owner: owner.to_owned(),
            };
            let error = Error::new("change", id.to_string(), cause);
            Err(Failure::cluster(&error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_people_write_them() {
        let name = |namespace: Option<&str>, kind: &str, name: &str| Name {
            namespace: namespace.map(str::to_owned),
            kind: kind.to_owned(),
            name: name.to_owned(),
        };
        for (text, expected) in [
            ("Deployment/web", Some(name(None, "Deployment", "web"))),
            (" Deployment/web\n", Some(name(None, "Deployment", "web"))),
            (
                "shop/Deployment.apps/web",
                Some(name(Some("shop"), "Deployment.apps", "web")),
            ),
            (
                "ClusterRole/system:a",
                Some(name(None, "ClusterRole", "system:a")),
            ),
            ("web", None),
            ("", None),
            ("*", None),
            ("Deployment/*", None),
            ("Deployment/w?b", None),
            ("/Deployment/web", None),
            ("a/b/c/d", None),
            ("Deployment/my web", None),
        ] {
            match (Name::parse(text), expected) {
                (Ok(read), Some(expected)) => assert_eq!(read, expected),
                (Err(failure), None) => assert_eq!(failure.code, "SRT-T040", "{text}"),
                (read, _) => panic!("{text:?}: {read:?}"),
            }
        }
    }
}
