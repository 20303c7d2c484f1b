//! What a plan of an application is, and why there may be none.

use std::fmt;

use thiserror::Error;

use super::Stage;
use crate::object::{ObjectId, Origin};

/// In which order the objects of a set are applied.
///
/// Members are positions in the set that was planned. Every object is in exactly one batch, and
/// everything that it depends on in an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Groups of objects; each begins when the one before is written and what it awaits is ready.
    pub batches: Vec<Batch>,
    /// Dependencies that annotations name and the set does not hold. They must be in the cluster,
    /// and ready, before the first write.
    pub external: Vec<External>,
    /// What turned out otherwise than an annotation says; worth a warning.
    pub notes: Vec<Note>,
}

/// Objects that may be written together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The wave, from annotations; 0 where none is given.
    pub wave: i32,
    /// The stage inside the wave.
    pub stage: Stage,
    /// Number inside the stage, from 0.
    pub layer: usize,
    /// Its objects in their fixed order.
    pub members: Vec<usize>,
    /// Objects of this batch and of earlier ones that must be ready before the next batch begins:
    /// namespaces and definitions, what an annotation makes others wait for, and at the end of a
    /// wave all of it.
    pub awaited: Vec<usize>,
}

/// A dependency outside the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct External {
    /// The object whose annotation names it.
    pub object: ObjectId,
    /// What it names. Without a namespace it is cluster-scoped, or in the namespace of the object:
    /// the API knows which.
    pub dependency: ObjectId,
}

/// Something that turned out otherwise than an annotation says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// An object comes in an earlier wave than its annotation says, since something there needs it.
    Earlier {
        /// The object.
        object: ObjectId,
        /// The wave of its annotation.
        stated: i32,
        /// The wave in which it comes.
        wave: i32,
    },
    /// A change rule names a group that no object of the set belongs to.
    EmptyGroup {
        /// The object with the rule.
        object: ObjectId,
        /// The group.
        group: String,
    },
}

/// Why objects have no order. Nothing has been written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OrderError {
    /// An annotation cannot be understood.
    #[error("{origin}: {object} has {value:?} in the annotation {annotation}: {reason}")]
    Malformed {
        /// Where the object was written.
        origin: Origin,
        /// The object.
        object: ObjectId,
        /// The annotation.
        annotation: String,
        /// The part of its value that is wrong, shortened when it is long.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An annotation names a kind without its group, and the set does not say which is meant.
    #[error("{origin}: {object} depends on {wanted}, and {problem}; write KIND.GROUP/NAME")]
    Unclear {
        /// Where the object was written.
        origin: Origin,
        /// The object.
        object: ObjectId,
        /// What it names, as kind and name.
        wanted: String,
        /// Why that is not enough.
        problem: &'static str,
    },
    /// Objects wait for each other in a circle.
    #[error("these objects wait for each other: {}", Circle(.members))]
    Cycle {
        /// The objects; each waits for the next, and the last for the first.
        members: Vec<Waiting>,
    },
}

/// One object of a circle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The object.
    pub object: ObjectId,
    /// Where it was written.
    pub origin: Origin,
    /// By what it waits for the next.
    pub by: WaitsBy,
}

/// By what an object waits for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsBy {
    /// It names the other in an annotation.
    DependsOn,
    /// It has a change rule about a group of the other, or the other has one about its group.
    ChangeRule,
    /// Its content names the other.
    Reference,
}

impl OrderError {
    /// Stable code with a page in the error reference.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "SRT-M012",
            Self::Unclear { .. } => "SRT-M013",
            Self::Cycle { .. } => "SRT-M014",
        }
    }
}

impl Plan {
    /// The objects in the order in which they are deleted: the exact reverse, one batch after
    /// another, each gone before the next begins.
    pub fn deletion(&self) -> Vec<Vec<usize>> {
        let reversed = |batch: &Batch| batch.members.iter().rev().copied().collect();
        self.batches.iter().rev().map(reversed).collect()
    }
}

struct Circle<'a>(&'a [Waiting]);

impl fmt::Display for Circle<'_> {
    /// `Deployment/a (a.yaml:1:1, depends-on) → Job/b (a.yaml:9:1, names it) → Deployment/a`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 10;
        for Waiting { object, origin, by } in self.0.iter().take(LONGEST) {
            write!(f, "{object} ({origin}, {by}) → ")?;
        }
        if self.0.len() > LONGEST {
            write!(f, "… {} more … → ", self.0.len() - LONGEST)?;
        }
        match self.0.first() {
            Some(first) => write!(f, "{}", first.object),
            None => Ok(()),
        }
    }
}

impl fmt::Display for WaitsBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DependsOn => "depends-on",
            Self::ChangeRule => "change-rule",
            Self::Reference => "names it",
        })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earlier {
                object,
                stated,
                wave,
            } => write!(
                f,
                "{object} comes in wave {wave} instead of {stated}: something in wave {wave} needs it"
            ),
            Self::EmptyGroup { object, group } => write!(
                f,
                "{object} has a rule about the change group {group:?}, to which nothing belongs"
            ),
        }
    }
}
