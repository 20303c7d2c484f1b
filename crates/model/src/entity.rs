//! An entity: one YAML document with one root key that tells its kind.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde::Serialize;

use crate::connector::Connector;
use crate::environment::Environment;
use crate::file::File;
use crate::infrastructure::Infrastructure;
use crate::pipeline::Pipeline;
use crate::position::Position;
use crate::problem::Code;
use crate::reference::Reference;
use crate::secret::Secret;
use crate::service::Service;

/// One entity, read from YAML.
///
/// The text that the user wrote is the entity; this is its parsed form, a cache that can be made
/// again at any time. The text of this entity alone is `&source[entity.range]`.
#[derive(Clone, Debug)]
pub struct Entity {
    /// What it is.
    pub kind: Kind,
    /// Organisation and project as written; both are empty when the file leaves them out.
    pub scope: Scope,
    /// Identifier, unique per kind and scope (infrastructures: per environment too).
    pub identifier: String,
    /// Name for people.
    pub name: String,
    /// Free text, empty when absent.
    pub description: String,
    /// Tags; a tag without a value has an empty one.
    pub tags: BTreeMap<String, String>,
    /// The typed content.
    pub spec: EntitySpec,
    /// The whole body below the root key as JSON, also with fields that no schema knows: the
    /// root for expressions such as `<+pipeline.…>`. A scalar is a number only when it prints as
    /// it was written (`1.10` and `0644` stay text). The value of a secret is left out.
    pub value: serde_json::Value,
    /// Bytes of the file that hold this document; a document of its own when cut out.
    pub range: Range<usize>,
    /// Where the root key is.
    pub position: Position,
    pub(crate) references: Vec<Reference>,
    pub(crate) unsupported: Vec<Unsupported>,
}

impl Entity {
    /// Every reference to another entity, in the order of the text. References that hold an
    /// expression are not among them: they are known only when the pipeline runs.
    pub fn references(&self) -> &[Reference] {
        &self.references
    }

    /// What this entity uses that Sortie stores but cannot run yet. An execution that needs the
    /// entity must be refused while this is not empty.
    pub fn unsupported(&self) -> &[Unsupported] {
        &self.unsupported
    }

    /// The key under which the entity is stored.
    pub fn key(&self) -> EntityKey {
        let environment = match &self.spec {
            EntitySpec::Infrastructure(infrastructure) => infrastructure.environment_identifier(),
            _ => None,
        };
        EntityKey {
            kind: self.kind,
            scope: self.scope.clone(),
            environment,
            identifier: self.identifier.clone(),
        }
    }
}

/// The typed content of an entity.
#[derive(Clone, Debug)]
pub enum EntitySpec {
    /// `connector:`
    Connector(Connector),
    /// `secret:`
    Secret(Secret),
    /// `service:`
    Service(Service),
    /// `environment:`
    Environment(Environment),
    /// `infrastructureDefinition:`
    Infrastructure(Infrastructure),
    /// `pipeline:`
    Pipeline(Pipeline),
    /// `file:`
    File(File),
}

/// The kinds of entity that can be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// A way to reach a cluster, a repository or a registry.
    Connector,
    /// A secret value or a reference to one.
    Secret,
    /// What is deployed.
    Service,
    /// Where it is deployed, for people.
    Environment,
    /// Where it is deployed, for machines: cluster, namespace, release name.
    Infrastructure,
    /// How it is deployed.
    Pipeline,
    /// A file of the Harness file store.
    File,
}

impl Kind {
    /// All kinds, in the order in which one may refer to the next ones being there already.
    pub const ALL: [Self; 7] = [
        Self::Secret,
        Self::Connector,
        Self::File,
        Self::Environment,
        Self::Service,
        Self::Infrastructure,
        Self::Pipeline,
    ];

    /// The root key of its documents.
    pub const fn root_key(self) -> &'static str {
        match self {
            Self::Connector => "connector",
            Self::Secret => "secret",
            Self::Service => "service",
            Self::Environment => "environment",
            Self::Infrastructure => "infrastructureDefinition",
            Self::Pipeline => "pipeline",
            Self::File => "file",
        }
    }

    /// The name that people type and paths of the API use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Infrastructure => "infrastructure",
            other => other.root_key(),
        }
    }

    /// Reads a name, a root key or a plural (`infrastructures`).
    pub fn from_name(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| {
            let name = kind.name();
            text == name
                || text == kind.root_key()
                || text.strip_suffix('s') == Some(name)
                || text == "infra" && *kind == Self::Infrastructure
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Organisation and project of an entity.
///
/// Neither is account level (or: left out in the file, when it comes from a file), an organisation
/// alone is organisation level, both are project level.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Scope {
    /// `orgIdentifier`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub org: Option<String>,
    /// `projectIdentifier`; never without `org`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
}

impl Scope {
    /// The scope of a project.
    pub fn project(org: impl Into<String>, project: impl Into<String>) -> Self {
        Self {
            org: Some(org.into()),
            project: Some(project.into()),
        }
    }

    /// Whether neither organisation nor project is named.
    pub fn is_empty(&self) -> bool {
        self.org.is_none() && self.project.is_none()
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.org, &self.project) {
            (Some(org), Some(project)) => write!(f, "{org}/{project}"),
            (Some(org), None) => write!(f, "{org}"),
            _ => f.write_str("account"),
        }
    }
}

/// What an entity is stored under.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityKey {
    /// Its kind.
    pub kind: Kind,
    /// Its scope as written.
    pub scope: Scope,
    /// For an infrastructure: the identifier of its environment (they repeat across environments).
    pub environment: Option<String>,
    /// Its identifier.
    pub identifier: String,
}

impl fmt::Display for EntityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.environment {
            Some(environment) => {
                write!(f, "{} {}/{}", self.kind, environment, self.identifier)
            }
            None => write!(f, "{} {}", self.kind, self.identifier),
        }
    }
}

/// Something that is stored as written and cannot be run yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// [`Code::StepNotRunnable`] or [`Code::NotRunnable`].
    pub code: Code,
    /// Path of the field, such as `pipeline.stages[0].stage.spec.execution.steps[1].step.type`.
    pub path: String,
    /// Where it is.
    pub position: Position,
    /// What to tell the user.
    pub message: String,
}
