//! References between entities: `id`, `org.id`, `account.id`.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crate::entity::{EntityKey, EntitySpec, Kind, Scope};
use crate::field::Field;
use crate::parse::Parsed;
use crate::position::{Located, Position};
use crate::problem::{Code, Problem, Severity};

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

/// References of a set of files to entities that are not in it, as warnings; under strict rules
/// they are errors ([`Problem::strict`]). The caller may know of more entities than these files.
///
/// Files often leave organisation and project out, so an entity without them is taken to be in any
/// scope, and a reference from one to reach every scope of its level.
pub fn missing_references(files: &[Parsed]) -> Vec<Problem> {
    let known = Known::new(files);
    let mut problems = Vec::new();
    for file in files {
        for entity in &file.entities {
            for reference in &entity.references {
                if known.has(reference, &entity.scope) {
                    continue;
                }
                problems.push(Problem {
                    severity: Severity::Warning,
                    file: file.file.clone(),
                    line: reference.position.line,
                    column: reference.position.column,
                    path: reference.path.clone(),
                    code: Code::MissingReference,
                    message: format!(
                        "{} `{}` is not among the files; add it, or make sure that the server has it",
                        reference.kind,
                        crate::path::clip(&reference.target.to_string())
                    ),
                });
            }
        }
    }
    problems
}

/// The entities of some files, to look references up in.
struct Known<'p> {
    by_name: HashMap<(Kind, &'p str), Vec<&'p EntityKey>>,
    /// Paths in the file store.
    files: BTreeMap<&'p str, Vec<&'p Scope>>,
}

impl<'p> Known<'p> {
    fn new(files: &'p [Parsed]) -> Self {
        let mut by_name: HashMap<_, Vec<_>> = HashMap::new();
        for key in files.iter().flat_map(|file| &file.declared) {
            by_name
                .entry((key.kind, key.identifier.as_str()))
                .or_default()
                .push(key);
        }
        let mut paths: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for entity in files.iter().flat_map(|file| &file.entities) {
            if let EntitySpec::File(file) = &entity.spec {
                paths
                    .entry(file.path.as_str())
                    .or_default()
                    .push(&entity.scope);
            }
        }
        Self {
            by_name,
            files: paths,
        }
    }

    fn has(&self, reference: &Reference, from: &Scope) -> bool {
        let wanted = reference.target.scope(from);
        let identifier = reference.target.identifier.as_str();
        if reference.kind == Kind::File {
            let folder = format!("{}/", identifier.trim_end_matches('/'));
            let below = self
                .files
                .range(folder.as_str()..)
                .take_while(|(path, _)| path.starts_with(&folder));
            let exact = self.files.get_key_value(identifier);
            return below
                .chain(exact)
                .flat_map(|(_, scopes)| scopes)
                .any(|scope| fits(&wanted, scope, from));
        }
        let keys = self
            .by_name
            .get(&(reference.kind, identifier))
            .map(Vec::as_slice)
            .unwrap_or_default();
        keys.iter().any(|key| {
            let same_environment = match (&key.environment, &reference.environment) {
                (Some(owner), Some(wanted)) => owner == wanted,
                _ => true,
            };
            same_environment && fits(&wanted, &key.scope, from)
        })
    }
}

fn fits(wanted: &Option<Scope>, scope: &Scope, from: &Scope) -> bool {
    scope.is_empty()
        || match wanted {
            Some(wanted) => wanted == scope || from.is_empty() && !wanted.is_empty(),
            // `org.x` from a file that names no organisation.
            None => scope.project.is_none(),
        }
        || from.is_empty()
            && wanted.as_ref().is_some_and(Scope::is_empty)
            && scope.project.is_some()
}
