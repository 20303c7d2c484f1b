//! Which API serves each object of a set.

use std::collections::HashMap;

use serde_json::Value;
use sortie_manifest::{Object, ObjectId, Origin};

use super::{Immutable, Target};
use crate::connect::Cluster;
use crate::error::{Cause, Error};
use crate::resource::Resource;

impl Cluster {
    /// As [`Cluster::locate_each`], where all objects have to be good.
    ///
    /// # Errors
    /// All that is wrong with the objects, or that the cluster cannot be asked.
    pub async fn locate(
        &self,
        objects: Vec<Object>,
        namespace: &str,
    ) -> Result<Vec<Target>, Vec<Error>> {
        match self.locate_each(objects, namespace).await {
            Ok((targets, errors)) if errors.is_empty() => Ok(targets),
            Ok((_, errors)) => Err(errors),
            Err(error) => Err(vec![error]),
        }
    }

    /// Fills in `namespace` where an object names none and its kind is known to have namespaces, so that one object is
    /// called the same everywhere. A kind that nobody knows yet, or whose API cannot be asked for, is left to
    /// [`Cluster::locate`].
    pub async fn place(&self, objects: &mut [Object], namespace: &str) {
        self.learn_kinds().await;
        let defined = definitions(objects);
        let mut known: HashMap<(String, String), bool> = HashMap::new();
        for object in objects.iter_mut().filter(|one| one.namespace().is_none()) {
            let key = (object.group().to_owned(), object.kind().to_owned());
            let namespaced = *known.entry(key).or_insert_with_key(|key| {
                let definition = defined.get(key);
                let defined = definition
                    .and_then(|(_, of)| Resource::of_definition(of, object.version()))
                    .map(|resource| resource.namespaced);
                defined.or_else(|| self.is_namespaced(&key.0, &key.1)) == Some(true)
            });
            if namespaced {
                // One that cannot have it is refused when it is located.
                drop(object.set_namespace(namespace));
            }
        }
    }

    /// Finds the API of every object, fills in `namespace` where a namespaced object names none, and
    /// rejects unknown kinds and objects that are in the set twice: the good ones, and an error for each other.
    ///
    /// The kind of a custom resource may be defined by the set itself.
    ///
    /// # Errors
    /// The cluster cannot be asked for its kinds.
    pub async fn locate_each(
        &self,
        objects: Vec<Object>,
        namespace: &str,
    ) -> Result<(Vec<Target>, Vec<Error>), Error> {
        let definitions = definitions(&objects);
        let mut targets = Vec::with_capacity(objects.len());
        let mut errors = Vec::new();
        let mut seen: HashMap<ObjectId, Origin> = HashMap::new();
        for object in objects {
            let origin = object.origin().clone();
            match self.locate_one(object, namespace, &definitions).await {
                Ok(target) => match seen.insert(target.id.clone(), origin.clone()) {
                    Some(other) => {
                        let cause = Cause::Duplicate { other };
                        let error = Error::new("apply", target.id.to_string(), cause);
                        errors.push(error.at(Some(&origin)));
                    }
                    None => targets.push(target),
                },
                Err(error) => {
                    // Without an answer about kinds at all, one error says it.
                    let of_object = matches!(
                        error.cause(),
                        Cause::UnknownKind { .. } | Cause::Invalid { .. }
                    );
                    if !of_object {
                        return Err(error);
                    }
                    errors.push(error);
                }
            }
        }
        Ok((targets, errors))
    }

    async fn locate_one(
        &self,
        mut object: Object,
        namespace: &str,
        definitions: &HashMap<(String, String), (ObjectId, Value)>,
    ) -> Result<Target, Error> {
        let key = (object.group().to_owned(), object.kind().to_owned());
        let defined = definitions.get(&key);
        let pending = defined.and_then(|(id, definition)| {
            Resource::of_definition(definition, object.version()).map(|resource| (id, resource))
        });
        let resource = match &pending {
            Some((_, resource)) => resource.clone(),
            None => {
                let found = self
                    .resolve(object.group(), object.version(), object.kind())
                    .await;
                found.map_err(|error| {
                    let target = object.id().to_string();
                    let origin = object.origin().clone();
                    Error::new("apply", target, error.into_cause()).at(Some(&origin))
                })?
            }
        };
        let mut id = object.id();
        if resource.namespaced {
            id = id.in_namespace(namespace);
            if object.namespace().is_none() {
                let filled = object.set_namespace(namespace);
                filled.map_err(|error| invalid(&object, error.to_string()))?;
            }
        } else if object.namespace().is_some() {
            let message = format!("{} objects live in no namespace", resource.kind);
            return Err(invalid(&object, message));
        }
        let defined_by = pending.map(|(id, _)| id.clone());
        Ok(Target {
            object,
            id,
            resource,
            immutable: Immutable::default(),
            defined_by,
        })
    }
}

/// The CustomResourceDefinitions of a set, by the group and kind that they define.
fn definitions(objects: &[Object]) -> HashMap<(String, String), (ObjectId, Value)> {
    let is_definition = |object: &&Object| {
        object.group() == "apiextensions.k8s.io" && object.kind() == "CustomResourceDefinition"
    };
    let described = |object: &Object| {
        let spec = object.value().get("spec")?;
        let text = |pointer: &str| {
            spec.pointer(pointer)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let key = (text("/group")?, text("/names/kind")?);
        Some((key, (object.id(), Value::Object(object.value().clone()))))
    };
    objects
        .iter()
        .filter(is_definition)
        .filter_map(described)
        .collect()
}

fn invalid(object: &Object, message: String) -> Error {
    let problems = vec![crate::Problem {
        field: "metadata.namespace".to_owned(),
        message,
    }];
    let error = Error::new(
        "apply",
        object.id().to_string(),
        Cause::Invalid { problems },
    );
    error.at(Some(object.origin()))
}
