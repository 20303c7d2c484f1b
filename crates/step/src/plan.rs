//! What a set of rendered objects becomes before it is written: versioned, labelled, ordered. Pure.

use sortie_manifest::labels::{self, Marks};
use sortie_manifest::versioning::{self, Scheme, Versioned};
use sortie_manifest::{Object, order};

use crate::task::{Release, Versioning};

/// Objects as they will be written, and what is worth saying about it.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    /// The objects in the order of their application.
    pub(crate) objects: Vec<Object>,
    /// What versioning renamed.
    pub(crate) versioned: Versioned,
}

/// Version and label the objects of release `number`.
pub(crate) fn prepare(
    mut objects: Vec<Object>,
    release: &Release,
    versioning: Versioning,
    number: u64,
) -> Prepared {
    let scheme = match versioning {
        Versioning::ContentHash => Some(Scheme::ContentHash),
        Versioning::ReleaseNumber => Some(Scheme::ReleaseNumber(number)),
        Versioning::Off => None,
    };
    let versioned = scheme
        .map(|scheme| versioning::version(&mut objects, &release.namespace, scheme))
        .unwrap_or_default();
    let marks = Marks {
        namespace: release.namespace.clone(),
        release: release.name.clone(),
        track: None,
        color: None,
    };
    for object in &mut objects {
        labels::stamp(object, &marks);
    }
    order::sort(&mut objects);
    Prepared { objects, versioned }
}
