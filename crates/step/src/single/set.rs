//! The objects of a set, rendered from its sources.

use sortie_manifest::Object;

use crate::report::Unit;
use crate::rolling::render_sources;
use crate::run::Run;
use crate::task::Set;
use crate::units::Ended;

/// Which of a source's files are manifests.
pub(super) use crate::sources::Marked;

/// Fetch and render a set. Secrets in it are known to the masker from then on.
pub(super) async fn render(run: &Run<'_>, set: &Set, marked: Marked) -> Result<Vec<Object>, Ended> {
    run.units.enter(Unit::FetchFiles);
    let sources = (set.manifests.as_slice(), set.values.as_slice());
    let rendered = render_sources(run, sources, &set.context, marked).await?;
    Ok(rendered.objects)
}
