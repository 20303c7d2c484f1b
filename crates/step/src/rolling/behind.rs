//! What a rollback could not bring back, and is still there as the undone release left it.

use sortie_cluster::delete::Doomed;
use sortie_cluster::record::Tracked;
use sortie_cluster::{Cause, Error};
use sortie_manifest::{Object, ObjectId, order};

use crate::adoption::object_of;
use crate::protection::is_storage;
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

    /// Whether an error is about storage that is there and cannot have back what it had: no failure of the rollback.
    pub(super) fn leaves(&self, error: &Error) -> bool {
        let mut names = self.0.iter().map(|object| object.id().to_string());
        is_left(error) && names.any(|name| name == error.target())
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

/// Whether storage (the target is named `Kind/…`) cannot have the content back that it had. Of what was refused for another
/// reason (a right, a quota, a server that is away) the next try may bring it back.
fn is_left(error: &Error) -> bool {
    let cannot = matches!(
        error.cause(),
        Cause::Immutable { .. } | Cause::Invalid { .. } | Cause::Irreplaceable { .. }
    );
    if !cannot {
        return false;
    }
    let kind = error.target().split('/').next().unwrap_or_default();
    let group = if kind == "CustomResourceDefinition" {
        "apiextensions.k8s.io"
    } else {
        ""
    };
    is_storage(&ObjectId {
        group: group.to_owned(),
        kind: kind.to_owned(),
        namespace: None,
        name: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_is_left_only_when_it_cannot_go_back() {
        let message = || "no".to_owned();
        let causes = || {
            let nothing = Vec::new;
            let quota = Cause::Quota { message: message() };
            let refused = Error::new("apply", "a", quota);
            [
                (
                    Cause::Immutable {
                        problems: nothing(),
                        others: nothing(),
                    },
                    true,
                ),
                (
                    Cause::Invalid {
                        problems: nothing(),
                    },
                    true,
                ),
                // Its fields are immutable, and a new object is refused besides.
                (
                    Cause::Irreplaceable {
                        problems: nothing(),
                        source: Box::new(refused),
                    },
                    true,
                ),
                (Cause::Forbidden { message: message() }, false),
                (Cause::Quota { message: message() }, false),
                (Cause::Conflict { message: message() }, false),
            ]
        };
        for (target, storage) in [
            ("PersistentVolumeClaim/data", true),
            ("CustomResourceDefinition/widgets.example.com", true),
            ("ConfigMap/a", false),
        ] {
            for (cause, cannot) in causes() {
                let error = Error::new("apply", target, cause);
                assert_eq!(is_left(&error), storage && cannot, "{error}");
            }
        }
    }
}
