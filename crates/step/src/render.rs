//! Rendering a set without any cluster.

use std::collections::HashMap;
use std::sync::Arc;

use sortie_cluster::{Cause, Error};
use sortie_manifest::{Object, order};

use crate::failure::{Failure, refused};
use crate::plan::prepare;
use crate::report::{Masked, Sink, Unit};
use crate::resolve::{Nothing, Resolving};
use crate::sources::Renderer;
use crate::task::{Release, RollingDeploy};

/// How a set is rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As its files say it.
    AsWritten,
    /// As a first deployment of the release applies it: with its labels, versioned names and hooks.
    AsApplied,
}

/// The objects of a set, in the order of their kinds. Expressions know what the context of `options` says, and nothing
/// else; templates know the release by its name and namespace.
///
/// # Errors
/// A source cannot be fetched, rendered or read, or the same object is there twice.
pub async fn render(
    options: &RollingDeploy,
    release: &Release,
    form: Form,
    renderer: &Renderer,
    sink: Arc<dyn Sink>,
) -> Result<Vec<Object>, Failure> {
    let masked = Masked::new(sink);
    let mut resolving = Resolving::new(&options.context, &Nothing, &masked);
    let manifests = renderer.fetch(&options.manifests, &mut resolving, &masked);
    let manifests = manifests.await?;
    let values = renderer.fetch(&options.values, &mut resolving, &masked);
    let values = values.await?;
    let objects = renderer.render(manifests, values, release, &mut resolving, &masked);
    let mut objects = objects.await.map_err(|failure| failure.masked(&masked))?;
    let errors = duplicates(&objects, &release.namespace);
    if !errors.is_empty() {
        return Err(refused(&masked, Unit::Initialize, &errors).masked(&masked));
    }
    match form {
        Form::AsWritten => {
            order::sort(&mut objects);
            Ok(objects)
        }
        Form::AsApplied => {
            let prepared = prepare(objects, release, options.versioning, (1, true))?;
            Ok(prepared.objects)
        }
    }
}

/// The objects that are there before, as a cluster would refuse them.
fn duplicates(objects: &[Object], namespace: &str) -> Vec<Error> {
    let mut seen = HashMap::new();
    let mut errors = Vec::new();
    for object in objects {
        let id = object.id().in_namespace(namespace);
        let name = id.to_string();
        if let Some(other) = seen.insert(id, object.origin().clone()) {
            let error = Error::new("render", name, Cause::Duplicate { other });
            errors.push(error.at(Some(object.origin())));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use sortie_manifest::Limits;

    use super::*;

    #[test]
    fn the_same_object_twice_is_told_with_both_places() {
        let set = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: shop}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: other}\n";
        let objects = sortie_manifest::parse("set.yaml", set.as_bytes(), &Limits::default());
        let errors = duplicates(&objects.unwrap(), "shop");
        let told: Vec<String> = errors.iter().map(Error::to_string).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(errors[0].code(), "SRT-C016");
        assert!(
            told[0].contains("set.yaml:5") && told[0].contains("set.yaml:1"),
            "{told:?}"
        );
    }
}
