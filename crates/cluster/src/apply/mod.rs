//! Server-side apply, validated as a whole before the first write.
//!
//! [`Cluster::locate`] finds the API of every object and rejects duplicates. [`Cluster::plan`] lets
//! the API server dry-run all of them and compares the results with what is live.
//! [`Cluster::apply`] writes what differs, and only that, if it still is as it was planned on.
//!
//! Objects are applied whole, under the one field manager [`MANAGER`] and with force; whose fields
//! that takes is reported. What [`CONTROL_MANAGER`] has patched is ours and no conflict. What tells
//! by its [`MARK`] that it is as it should be costs no request of its own.

mod autoscale;
mod compare;
mod desired;
mod document;
mod former;
mod handover;
mod immutable;
mod live;
mod locate;
mod mark;
mod occupied;
mod plan;
mod remaining;
mod replace;
pub(crate) mod scrub;
mod write;

use std::sync::Arc;

use serde_json::Value;
use sortie_manifest::{Object, ObjectId};

use crate::error::Error;
use crate::resource::Resource;

pub use compare::managed_fields_of;
pub use document::Document;
pub use former::Former;
pub use mark::MARK;
pub use remaining::Remaining;

use desired::Desired;

/// Field manager of whole objects.
pub const MANAGER: &str = "sortie";
/// Field manager of single fields that a strategy sets at run time.
pub const CONTROL_MANAGER: &str = "sortie-control";

/// An object with the API that serves it.
#[derive(Clone, Debug)]
pub struct Target {
    /// The object, its namespace filled in.
    pub object: Object,
    /// Its identity, as it is tracked.
    pub id: ObjectId,
    /// Its API.
    pub resource: Resource,
    /// What to do about a change that the API server never allows.
    pub immutable: Immutable,
    /// The CustomResourceDefinition of the same set that defines its kind.
    pub(crate) defined_by: Option<ObjectId>,
}

/// Whose objects a plan may touch.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Value of the release label that our objects carry; empty to compare with nobody's.
    pub release: String,
    /// Whether objects that carry another release's label are taken over.
    pub adopt: bool,
    /// What was just deleted: an autoscaler among it, or one that ends with it, decides about nothing.
    pub gone: Arc<[ObjectId]>,
    /// Workloads whose replicas a planner decides about, as an autoscaler would: they begin with the manifest's number.
    pub steered: Arc<[ObjectId]>,
    /// Whether probably nothing of the release is there: then one list may tell instead of one for each kind.
    pub first: bool,
}

/// What to do about an object with a change that the API server never allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Immutable {
    /// It is an error that names the fields.
    #[default]
    Refuse,
    /// It is planned as a replacement. CustomResourceDefinitions and Namespaces, whose deletion
    /// takes other objects along, are refused all the same.
    Replace,
}

/// What applying an object would do.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The object.
    pub target: Target,
    /// The outcome of its dry run.
    pub outcome: Outcome,
    scope: Scope,
    /// Whether an autoscaler decides about its replicas.
    autoscaled: bool,
    /// Why that is not known for sure.
    unseen: Option<Arc<Error>>,
}

/// The outcome of a dry run.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The API server would accept it.
    Accepted {
        /// What it would do.
        change: Change,
        /// The object as it is; absent when it would be created.
        live: Option<Document>,
        /// The object as it would be.
        result: Document,
        /// Fields that would be taken from other managers.
        conflicts: Vec<Conflict>,
        /// Whether fields change hands before it is applied: those of kubectl or helm become ours, or
        /// an autoscaler gets `spec.replicas`.
        handover: bool,
    },
    /// The API server refuses the change of a field that cannot change, and replacing is allowed.
    Replacement {
        /// The object as it is, to be kept before [`Cluster::replace`](crate::Cluster::replace).
        live: Document,
        /// The fields.
        problems: Vec<crate::Problem>,
        /// The object as it would be; absent where only the end of the live one makes room for it, such as its port or its
        /// share of a quota.
        result: Option<Document>,
    },
    /// It cannot be dry-run before another object of the set is applied; it will be then.
    Deferred {
        /// The Namespace or CustomResourceDefinition that must come first.
        until: ObjectId,
    },
}

/// What applying did or would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// The object did not exist.
    Created,
    /// The object was changed.
    Configured,
    /// The object is as the manifest says; nothing was written.
    Unchanged,
}

/// A field that was taken from another manager, because its value differed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Conflict {
    /// Path of the field, such as `.spec.replicas`.
    pub path: String,
    /// The field manager that had set it.
    pub manager: String,
}

/// An object after it was applied.
#[derive(Clone, Debug)]
pub struct Applied {
    /// Its identity.
    pub id: ObjectId,
    /// What the API server answered: the object with UID, generation and resourceVersion, without
    /// its managed fields.
    pub object: Arc<Value>,
    /// What was done.
    pub change: Change,
    /// Fields that were taken from other managers.
    pub conflicts: Vec<Conflict>,
}

impl Change {
    /// The word for people: `created`, `configured`, `unchanged`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        }
    }
}

impl Planned {
    /// Whose objects it may touch.
    pub const fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Why it is not known whether an autoscaler decides about its replicas, when it is live, and whether they are left
    /// alone therefore: they were set as an autoscaler does it.
    pub fn unseen_autoscalers(&self) -> Option<(&Error, bool)> {
        Some((self.unseen.as_deref()?, self.autoscaled))
    }

    /// What applying would do; `None` when that is not known before an earlier stage is applied.
    pub const fn change(&self) -> Option<Change> {
        match &self.outcome {
            Outcome::Accepted { change, .. } => Some(*change),
            Outcome::Replacement { .. } => Some(Change::Configured),
            Outcome::Deferred { .. } => None,
        }
    }
}

impl Planned {
    /// Forgets the content of the dry run's result and of the live object, where only a preview needs
    /// it: of a large set they are as large as the set. What applying does stays the same.
    pub fn forget_content(&mut self) {
        if let Outcome::Accepted {
            change,
            live,
            result,
            handover: false,
            ..
        } = &mut self.outcome
            && *change != Change::Unchanged
        {
            result.forget_content();
            live.iter_mut().for_each(Document::forget_content);
        }
    }
}

impl Applied {
    /// UID that the API server gave the object.
    pub fn uid(&self) -> Option<&str> {
        self.object.pointer("/metadata/uid").and_then(Value::as_str)
    }

    /// Generation of the object after our write.
    pub fn generation(&self) -> Option<i64> {
        self.object
            .pointer("/metadata/generation")
            .and_then(Value::as_i64)
    }
}
