//! What a set of rendered objects becomes before it is written: checked, versioned, labelled. Pure.

use std::collections::BTreeMap;

use sortie_manifest::labels::{self, Marks};
use sortie_manifest::versioning::{self, Scheme, Versioned};
use sortie_manifest::{Object, ObjectId, Origin, order};

use crate::task::{Release, Versioning};

/// Objects as they will be written, and what is worth saying about it.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    /// The objects in the order of their application.
    pub(crate) objects: Vec<Object>,
    /// What versioning renamed.
    pub(crate) versioned: Versioned,
}

/// The same object is written twice.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{id} is written twice: {first} and {second}")]
pub(crate) struct Duplicate {
    id: ObjectId,
    first: Origin,
    second: Origin,
}

/// Check, version and label the objects of release `number`.
pub(crate) fn plan(
    mut objects: Vec<Object>,
    release: &Release,
    versioning: Versioning,
    number: u64,
) -> Result<Planned, Duplicate> {
    let mut seen: BTreeMap<ObjectId, Origin> = BTreeMap::new();
    for object in &objects {
        let id = object.id().in_namespace(&release.namespace);
        if let Some(first) = seen.insert(id.clone(), object.origin().clone()) {
            return Err(Duplicate { id, first, second: object.origin().clone() });
        }
    }
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
    Ok(Planned { objects, versioned })
}
