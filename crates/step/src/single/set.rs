//! The objects of a set, rendered from its sources.

use sortie_manifest::Object;
use sortie_render::SourceFile;

use crate::report::Unit;
use crate::resolve::Resolving;
use crate::run::Run;
use crate::task::Set;
use crate::units::Ended;

/// Which of a source's files are manifests.
pub(super) use crate::sources::Marked;

/// Fetch and render a set. Secrets in it are known to the masker from then on.
pub(super) async fn render(run: &Run<'_>, set: &Set, marked: Marked) -> Result<Vec<Object>, Ended> {
    let env = run.env;
    run.units.enter(Unit::FetchFiles);
    run.bounds
        .pending()
        .set("the sources were still being fetched");
    let mut resolving = Resolving::new(&set.context, env.resolver.as_ref(), run.sink);
    let fetch = env.renderer.fetch(&set.manifests, &mut resolving, run.sink);
    let manifests: Vec<SourceFile> = fetch.await?;
    let values = env.renderer.fetch(&set.values, &mut resolving, run.sink);
    let values = values.await?;
    run.units.enter(Unit::Initialize);
    run.bounds
        .pending()
        .set("the manifests were still being rendered");
    let release = &run.task.release;
    let files = (manifests, values);
    let objects = env
        .renderer
        .render_marked(files, marked, release, &mut resolving, run.sink);
    Ok(objects.await?)
}
