//! The watches that a wait needs, begun together.

use sortie_cluster::Cause;
use sortie_cluster::watch::{Selection, Watched};

use crate::failure::{Failure, chain};
use crate::report::Unit;
use crate::run::Run;

/// Selections to watch, each once.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// With whether the wait is impossible without it.
    selections: Vec<(Selection, bool)>,
}

impl Wanted {
    /// The index of the watch for `selection`.
    pub(super) fn add(&mut self, selection: Selection, is_needed: bool) -> usize {
        let known = self
            .selections
            .iter()
            .position(|(known, _)| *known == selection);
        let index = known.unwrap_or(self.selections.len());
        match self.selections.get_mut(index) {
            Some((_, needed)) => *needed |= is_needed,
            None => self.selections.push((selection, is_needed)),
        }
        index
    }

    /// Begins them all, in the order of their indices. One that only explains and that the account may not have is absent.
    pub(super) async fn watch(self, run: &Run<'_>) -> Result<Vec<Option<Watched>>, Failure> {
        let cluster = &run.env.cluster;
        let begun = self.selections.iter();
        let begun = begun.map(|(selection, _)| cluster.watch(selection.clone()));
        let begun = futures::future::join_all(begun).await;
        let mut watches = Vec::new();
        for ((_, is_needed), watched) in self.selections.into_iter().zip(begun) {
            watches.push(match watched {
                Ok(watched) => Some(watched),
                Err(error) if !is_needed && matches!(error.cause(), Cause::Forbidden { .. }) => {
                    let text = format!(
                        "failures are explained less well without this right: {}",
                        chain(&error)
                    );
                    run.warn(Unit::WaitForSteadyState, text);
                    None
                }
                Err(error) => return Err(Failure::cluster(&error)),
            });
        }
        Ok(watches)
    }
}
