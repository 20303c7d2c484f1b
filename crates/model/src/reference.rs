//! References between entities: `id`, `org.id`, `account.id`.

use std::fmt;

use crate::entity::{Kind, Scope};
use crate::field::Field;
use crate::position::{Located, Position};

/// Where a reference points, told by its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// No prefix: the scope of the entity that refers.
    Same,
    /// `org.`
    Org,
    /// `account.`
    Account,
}

/// A parsed reference.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityRef {
    /// Where it points.
    pub level: Level,
    /// Identifier there. For files of the file store: the path, with its leading slash.
    pub identifier: String,
}

impl EntityRef {
    /// Reads `id`, `org.id` or `account.id`; `None` when the identifier is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let (level, identifier) = match text.split_once('.') {
            Some(("account", rest)) => (Level::Account, rest),
            Some(("org", rest)) => (Level::Org, rest),
            Some(_) => return None,
            None => (Level::Same, text),
        };
        crate::identifier::is_identifier(identifier).then(|| Self {
            level,
            identifier: identifier.to_owned(),
        })
    }

    /// Reads a path of the file store: `/a/b`, `org:/a/b`, `account:/a/b`.
    pub fn parse_file_path(text: &str) -> Option<Self> {
        let (level, path) = match text.split_once(':') {
            Some(("account", path)) => (Level::Account, path),
            Some(("org", path)) => (Level::Org, path),
            _ => (Level::Same, text),
        };
        crate::file::is_store_path(path).then(|| Self {
            level,
            identifier: path.to_owned(),
        })
    }

    /// The scope that it points to from an entity in `from`. An organisation reference from
    /// account level points nowhere: references point outward only.
    pub fn scope(&self, from: &Scope) -> Option<Scope> {
        match self.level {
            Level::Same => Some(from.clone()),
            Level::Org => {
                let org = from.org.clone()?;
                Some(Scope {
                    org: Some(org),
                    project: None,
                })
            }
            Level::Account => Some(Scope::default()),
        }
    }
}

impl fmt::Display for EntityRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.identifier.starts_with('/') {
            ':'
        } else {
            '.'
        };
        match self.level {
            Level::Same => f.write_str(&self.identifier),
            Level::Org => write!(f, "org{separator}{}", self.identifier),
            Level::Account => write!(f, "account{separator}{}", self.identifier),
        }
    }
}

/// A field that refers to an entity, or an expression that will yield such a reference.
pub type RefField = Located<Field<EntityRef>>;

/// One reference of an entity to another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Kind of the entity referred to.
    pub kind: Kind,
    /// Where and what.
    pub target: EntityRef,
    /// For an infrastructure: the identifier of the environment that owns it, when it is fixed.
    pub environment: Option<String>,
    /// Path of the field.
    pub path: String,
    /// Where it is written.
    pub position: Position,
}
