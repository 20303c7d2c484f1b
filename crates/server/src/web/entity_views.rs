//! Wire forms of entities.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sortie_store::{EntityVersion, Stored, StoredOutcome};
use utoipa::{IntoParams, ToSchema};

use crate::problem::Finding;

/// How documents are to be stored.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct PutQuery {
    /// Unknown fields and missing references are errors.
    pub strict: bool,
    /// Check everything and store nothing.
    pub dry_run: bool,
    /// Name of the file, for messages.
    pub file: Option<String>,
}

/// Which entities to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Only identifiers behind this one: `next` of the page before.
    pub after: Option<String>,
    /// At most so many, 1 to 500; 100 unless said.
    pub limit: Option<u32>,
}

/// Which entity of several with one identifier.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct OneQuery {
    /// The environment of an infrastructure.
    pub environment: Option<String>,
    /// A kept version; the current one unless said.
    pub version: Option<i64>,
}

/// What became of a body of documents.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Applied {
    /// In the order of the body.
    pub entities: Vec<AppliedEntity>,
    /// What is worth knowing and no error.
    pub warnings: Vec<Finding>,
}

/// What became of one document.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AppliedEntity {
    /// Kind, e.g. `service`.
    pub kind: String,
    /// Organisation, absent at account level.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub org: Option<String>,
    /// Project, absent above a project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Environment of an infrastructure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Identifier.
    pub identifier: String,
    /// Current version now; of a dry run the version it would have.
    pub version: i64,
    /// `created`, `updated` or `unchanged`.
    pub outcome: Outcome,
}

/// What was done with a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// It is new.
    Created,
    /// It has a new version, or a secret a new value.
    Updated,
    /// It is as before.
    Unchanged,
}

/// One entity.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EntityView {
    /// Kind, e.g. `service`.
    pub kind: String,
    /// Organisation, absent at account level.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub org: Option<String>,
    /// Project, absent above a project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Environment of an infrastructure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Identifier.
    pub identifier: String,
    /// Name for people.
    pub name: String,
    /// Counted from 1.
    pub version: i64,
    /// Who wrote this version.
    pub updated_by: String,
    /// When this version was written.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// The document as the user wrote it; never a secret's value.
    pub yaml: String,
}

/// A page of entities.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EntityPage {
    /// By identifier.
    pub items: Vec<EntityView>,
    /// `after` for the next page, absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl From<EntityVersion> for EntityView {
    fn from(entity: EntityVersion) -> Self {
        let kind = kind_name(&entity.key.kind);
        Self {
            kind,
            org: entity.key.scope.org,
            project: entity.key.scope.project,
            environment: non_empty(entity.key.parent),
            identifier: entity.key.identifier,
            name: entity.name,
            version: entity.version,
            updated_by: entity.created_by,
            updated_at: entity.created_at,
            yaml: entity.text,
        }
    }
}

impl From<Stored> for AppliedEntity {
    fn from(stored: Stored) -> Self {
        Self {
            kind: kind_name(&stored.key.kind),
            org: stored.key.scope.org,
            project: stored.key.scope.project,
            environment: non_empty(stored.key.parent),
            identifier: stored.key.identifier,
            version: stored.version,
            outcome: match stored.outcome {
                StoredOutcome::Created => Outcome::Created,
                StoredOutcome::Updated => Outcome::Updated,
                StoredOutcome::Unchanged => Outcome::Unchanged,
            },
        }
    }
}

impl From<&sortie_model::Problem> for Finding {
    fn from(problem: &sortie_model::Problem) -> Self {
        Self {
            severity: if problem.is_error() {
                "error"
            } else {
                "warning"
            }
            .to_owned(),
            file: Some(problem.file.clone()),
            line: Some(problem.line),
            column: Some(problem.column),
            path: problem.path.clone(),
            code: problem.code.code().to_owned(),
            message: problem.message.clone(),
        }
    }
}

/// The name people use for a stored kind.
fn kind_name(root_key: &str) -> String {
    sortie_model::Kind::from_name(root_key)
        .map_or_else(|| root_key.to_owned(), |kind| kind.name().to_owned())
}

fn non_empty(text: String) -> Option<String> {
    if text.is_empty() { None } else { Some(text) }
}
