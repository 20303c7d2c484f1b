//! Rendering a set without any cluster.

use std::sync::Arc;

use sortie_manifest::{Object, order};

use crate::failure::Failure;
use crate::plan::prepare;
use crate::report::{Masked, Sink};
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
/// A source cannot be fetched, rendered or read.
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
