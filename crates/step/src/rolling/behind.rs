//! What a rollback could not bring back, and is still there as the undone release left it.

use sortie_cluster::Error;
use sortie_cluster::delete::Doomed;
use sortie_cluster::record::Tracked;
use sortie_manifest::{Object, ObjectId, order};

use crate::adoption::object_of;
use crate::run::Run;

/// The live objects of the restored release's that were refused.
pub(super) struct Behind(Vec<Object>);

/// Something that the undone release added and that stays.
pub(super) struct Spared {
    pub(super) doomed: Doomed,
    /// What stands on it.
    pub(super) by: ObjectId,
}

impl Behind {
    /// Read them; `inventory` is the restored release's. One that cannot be read counts as gone.
    pub(super) async fn read(run: &Run<'_>, inventory: &[Tracked], errors: &[Error]) -> Self {
        let refused = |id: &ObjectId| {
            let name = id.to_string();
            errors.iter().any(|error| error.target() == name)
        };
        let ids = inventory.iter().map(|tracked| &tracked.id);
        let ids = ids.filter(|id| refused(id)).cloned().collect();
        let survey = run.env.cluster.survey(ids).await;
        let live = survey
            .into_iter()
            .filter_map(|(_, live)| object_of(live.ok()??));
        Self(live.collect())
    }

    /// Whether what an error is about is there.
    pub(super) fn holds(&self, error: &Error) -> bool {
        let mut names = self.0.iter().map(|object| object.id().to_string());
        names.any(|name| name == error.target())
    }

    /// Parts what is to be deleted from what has to stay, since what stayed behind does not work without it.
    pub(super) fn part(&self, doomed: Vec<Doomed>) -> (Vec<Doomed>, Vec<Spared>) {
        let (mut go, mut stay) = (Vec::new(), Vec::new());
        for doomed in doomed {
            let mut behind = self.0.iter();
            match behind.find(|object| order::stands_on(object, &doomed.id)) {
                Some(object) => stay.push(Spared {
                    doomed,
                    by: object.id(),
                }),
                None => go.push(doomed),
            }
        }
        (go, stay)
    }
}
