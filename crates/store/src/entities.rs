//! Entities: the YAML documents users wrote, by scope, kind and identifier, with their versions.

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Result, SecretWrite};

/// Entities with all their versions.
#[async_trait]
pub trait Entities {
    /// Stores all of a change or, when anything fails, nothing of it. A text equal to the current
    /// version makes no new version.
    async fn put_entities(&self, change: &Change, now: Timestamp) -> Result<Vec<Stored>>;

    /// The current version, `None` when there is none or it was deleted.
    async fn entity(&self, key: &EntityKey) -> Result<Option<EntityVersion>>;

    /// One kept version, also of a deleted entity.
    async fn entity_version(&self, key: &EntityKey, version: i64) -> Result<Option<EntityVersion>>;

    /// Current versions of one kind in exactly this scope, by identifier.
    async fn list_entities(
        &self,
        kind: &str,
        scope: &Scope,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<EntityVersion>>;

    /// Current versions of the files of exactly this scope at a path of the file store and, if it
    /// is a folder, below it; by path.
    async fn files_at(&self, scope: &Scope, path: &str) -> Result<Vec<EntityVersion>>;

    /// Deletes an entity (its versions stay for the executions that pinned them; a secret's value
    /// goes at once). Returns whether there was one.
    async fn delete_entity(&self, key: &EntityKey, now: Timestamp) -> Result<bool>;
}

/// Where an entity lives: account (neither set), organisation, or project (both set).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Scope {
    /// Organisation identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<String>,
    /// Project identifier; only together with an organisation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
}

/// Identity of an entity.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EntityKey {
    /// Root key of the YAML document, e.g. `service` or `infrastructureDefinition`.
    pub kind: String,
    /// Where it lives.
    pub scope: Scope,
    /// The environment of an infrastructure definition (its identity includes it), else empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub parent: String,
    /// Identifier within scope, kind and parent.
    pub identifier: String,
}

/// One version of an entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityVersion {
    /// Identity.
    pub key: EntityKey,
    /// Name for people, of the current version.
    pub name: String,
    /// Counted from 1, never reused.
    pub version: i64,
    /// The document as the user wrote it, without a secret's value.
    pub text: String,
    /// Who wrote this version.
    pub created_by: String,
    /// When this version was written.
    pub created_at: Timestamp,
}

/// A set of entities to store together.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// The entities, each identity at most once.
    pub entities: Vec<EntityWrite>,
    /// Encrypted values of secrets among them.
    pub secrets: Vec<SecretWrite>,
    /// Who stores them.
    pub by: String,
}

/// One entity to store.
#[derive(Debug, Clone)]
pub struct EntityWrite {
    /// Identity.
    pub key: EntityKey,
    /// Name for people.
    pub name: String,
    /// Path of a file in the file store, else empty. Two files of a scope never have the same.
    pub path: String,
    /// The document as the user wrote it, without a secret's value.
    pub text: String,
}

/// What became of one entity of a change, in the order of the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Identity.
    pub key: EntityKey,
    /// Its current version now.
    pub version: i64,
    /// What was done.
    pub outcome: StoredOutcome,
}

/// What was done with an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredOutcome {
    /// It is new.
    Created,
    /// It has a new version.
    Updated,
    /// The text was the same; nothing was written.
    Unchanged,
}

impl Scope {
    /// The scope of a project.
    pub fn project(org: impl Into<String>, project: impl Into<String>) -> Self {
        Self {
            org: Some(org.into()),
            project: Some(project.into()),
        }
    }

    /// The organisation as the tables hold it: empty when not set.
    pub(crate) fn org_column(&self) -> &str {
        self.org.as_deref().unwrap_or_default()
    }

    /// The project as the tables hold it: empty when not set.
    pub(crate) fn project_column(&self) -> &str {
        self.project.as_deref().unwrap_or_default()
    }

    pub(crate) fn from_columns(org: String, project: String) -> Self {
        let set = |text: String| if text.is_empty() { None } else { Some(text) };
        Self {
            org: set(org),
            project: set(project),
        }
    }
}
