//! From the bytes of a file to entities and findings.

use std::collections::BTreeMap;

use crate::connector::Connector;
use crate::entity::{Entity, EntityKey, EntitySpec, Kind, Scope};
use crate::environment::Environment;
use crate::file::File;
use crate::identifier;
use crate::infrastructure::Infrastructure;
use crate::path;
use crate::pipeline::Pipeline;
use crate::position::{Located, Position};
use crate::problem::{Code, Problem};
use crate::reader::{Context, Fields};
use crate::secret::Secret;
use crate::service::Service;
use crate::suggest;
use crate::yaml::{self, Content, Document, Key, Node};

/// Limits for one file. What exceeds them is refused before it is read to the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file.
    pub bytes: usize,
    /// Documents in the file.
    pub documents: usize,
    /// Depth of nested lists and mappings.
    pub depth: usize,
    /// Values in all documents, with aliases expanded. Their text may come to twice `bytes`.
    pub nodes: usize,
    /// Findings that are listed.
    pub problems: usize,
}

impl Limits {
    /// Bytes of a file, unless said otherwise.
    pub const BYTES: usize = 4 << 20;
}

impl Default for Limits {
    /// 4 MiB, 1,000 documents, depth 64, 200,000 values, 200 findings.
    fn default() -> Self {
        Self {
            bytes: Self::BYTES,
            documents: 1000,
            depth: 64,
            nodes: 200_000,
            problems: 200,
        }
    }
}

/// What a file yields.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    /// The name that the caller gave to the file.
    pub file: String,
    /// Entities whose form could be read. There may still be errors about them: nothing of a file
    /// may be stored while [`Parsed::has_errors`].
    pub entities: Vec<Entity>,
    /// Every finding, in the order of the file.
    pub problems: Vec<Problem>,
    /// Keys of all entities whose kind and identifier could be read, also when the rest could not.
    pub declared: Vec<EntityKey>,
    /// Documents that are not empty.
    pub documents: usize,
}

impl Parsed {
    /// Whether the file must be refused; `strict` as in [`Problem::strict`].
    pub fn has_errors(&self, strict: bool) -> bool {
        self.problems
            .iter()
            .any(|problem| problem.is_error() || strict && problem.clone().strict().is_error())
    }
}

/// Reads a file with one or more entities. `file` is the name for findings.
///
/// Never fails as a whole: what is wrong is among the findings, all of them at once.
pub fn parse(file: &str, text: &[u8], limits: &Limits) -> Parsed {
    let source = match checked_text(text, limits) {
        Ok(source) => source,
        Err((code, position, message)) => {
            let mut cx = Context::new(file, "", limits.problems);
            cx.error(code, "", position, message);
            return Parsed {
                file: file.to_owned(),
                problems: cx.problems,
                ..Parsed::default()
            };
        }
    };
    let (documents, faults) = yaml::documents(source, limits);
    let mut cx = Context::new(file, source, limits.problems);
    for fault in faults {
        cx.error(fault.code, &fault.path, fault.position, fault.message);
    }
    let mut parsed = Parsed {
        file: file.to_owned(),
        documents: documents.len(),
        ..Parsed::default()
    };
    let mut seen: BTreeMap<EntityKey, Position> = BTreeMap::new();
    for document in &documents {
        read_document(document, &mut parsed, &mut seen, &mut cx);
    }
    parsed.problems = cx.problems;
    parsed.problems.sort_by_key(|problem| {
        (
            problem.code == Code::MoreProblems,
            problem.line,
            problem.column,
        )
    });
    parsed
}

/// `4 MiB`, `1000 bytes`.
fn size(bytes: usize) -> String {
    const MIB: usize = 1 << 20;
    if bytes >= MIB && bytes.is_multiple_of(MIB) {
        format!("{} MiB", bytes / MIB)
    } else {
        format!("{bytes} bytes")
    }
}

fn checked_text<'t>(text: &'t [u8], limits: &Limits) -> Result<&'t str, (Code, Position, String)> {
    if text.len() > limits.bytes {
        // Its true size is not known: whoever read it may have stopped at the limit.
        let message = format!("the file has more than {}; split it", size(limits.bytes));
        return Err((Code::TooLarge, Position::START, message));
    }
    std::str::from_utf8(text).map_err(|error| {
        let valid = text.get(..error.valid_up_to()).unwrap_or_default();
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        let start = valid
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let column = String::from_utf8_lossy(valid.get(start..).unwrap_or_default())
            .chars()
            .count()
            + 1;
        let position = Position {
            line,
            column,
            offset: error.valid_up_to(),
        };
        (
            Code::NotUtf8,
            position,
            "the file is not UTF-8 text; save it as UTF-8".to_owned(),
        )
    })
}

/// Root keys of entities that Harness has and Sortie does not store yet.
const LATER: [&str; 11] = [
    "environmentGroup",
    "inputSet",
    "overlayInputSet",
    "overrides",
    "serviceOverrides",
    "template",
    "trigger",
    "freeze",
    "variable",
    "monitoredService",
    "infrastructure",
];

fn read_document(
    document: &Document,
    parsed: &mut Parsed,
    seen: &mut BTreeMap<EntityKey, Position>,
    cx: &mut Context<'_>,
) {
    let Some((key, body)) = root(&document.root, cx) else {
        return;
    };
    let Some(kind) = Kind::ALL
        .into_iter()
        .find(|kind| kind.root_key() == key.text)
    else {
        unknown_kind(key, cx);
        return;
    };
    let Some(mut fields) = Fields::open(body, key.text.clone(), cx) else {
        return;
    };
    let envelope = Envelope::read(kind, &mut fields, cx);
    let spec = read_spec(kind, &mut fields, cx);
    match kind {
        Kind::Secret => fields.finish_strictly(cx),
        _ => fields.finish(cx),
    }
    let references = std::mem::take(&mut cx.references);
    let unsupported = std::mem::take(&mut cx.unsupported);
    let Some(identifier) = envelope.identifier else {
        return;
    };
    let declared = EntityKey {
        kind,
        scope: envelope.scope.clone(),
        environment: match &spec {
            Some(EntitySpec::Infrastructure(infra)) => infra.environment_identifier(),
            _ => None,
        },
        identifier: identifier.value.clone(),
    };
    let name = envelope.name.or_else(|| match &spec {
        Some(EntitySpec::File(file)) => Some(file.name().to_owned()),
        _ => None,
    });
    if let Some(first) = seen.get(&declared) {
        let message = format!(
            "{declared} is already there in this file, at line {}; remove one or change its identifier",
            first.line
        );
        let path = path::join(&key.text, "identifier");
        cx.error(
            Code::DuplicateIdentifier,
            &path,
            identifier.position,
            message,
        );
    } else {
        seen.insert(declared.clone(), key.position);
    }
    parsed.declared.push(declared);
    if let (Some(spec), Some(name)) = (spec, name) {
        parsed.entities.push(Entity {
            kind,
            scope: envelope.scope,
            identifier: identifier.value,
            name,
            description: envelope.description,
            tags: envelope.tags,
            value: crate::secret::json_without_value(kind, body),
            spec,
            range: document.range.clone(),
            position: key.position,
            references,
            unsupported,
        });
    }
}

/// The one root key and what is below it.
fn root<'t>(root: &'t Node, cx: &mut Context<'_>) -> Option<(&'t Key, &'t Node)> {
    let pairs = match &root.content {
        Content::Map(pairs) => pairs.as_slice(),
        _ => &[],
    };
    if let [(key, body)] = pairs {
        return Some((key, body));
    }
    let has = |name: &str| pairs.iter().any(|(key, _)| key.text == name);
    let message = if has("apiVersion") && has("kind") {
        "this is a Kubernetes object, not an entity; put it in the file store or in a repository, and name it in a \
         service's manifests"
            .to_owned()
    } else if pairs.is_empty() {
        format!(
            "an entity is a mapping with one root key, such as `pipeline:`; this is {}",
            root.describe()
        )
    } else {
        let keys: Vec<_> = pairs
            .iter()
            .take(4)
            .map(|(key, _)| format!("`{}`", path::clip(&key.text)))
            .collect();
        format!(
            "an entity has one root key, such as `pipeline:`, and everything else below it; this has {} ({}). Several \
             entities in one file are separated by `---`",
            pairs.len(),
            keys.join(", ")
        )
    };
    cx.error(Code::NotAnEntity, "", root.position, message);
    None
}

fn unknown_kind(key: &Key, cx: &mut Context<'_>) {
    let name = path::clip(&key.text);
    if LATER.contains(&key.text.as_str()) {
        let message = format!("`{name}` is not supported yet; the document is left out");
        cx.warn(Code::EntityNotSupported, &name, key.position, message);
        return;
    }
    let known = Kind::ALL.iter().map(|kind| kind.root_key());
    let message = match suggest::nearest(&key.text, known.clone()) {
        Some(nearest) => format!("`{name}` is no kind of entity; was `{nearest}` meant?"),
        None => {
            let known: Vec<_> = known.collect();
            format!(
                "`{name}` is no kind of entity; use one of: {}",
                known.join(", ")
            )
        }
    };
    cx.error(Code::UnknownEntity, &name, key.position, message);
}

fn read_spec(kind: Kind, fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<EntitySpec> {
    Some(match kind {
        Kind::Connector => EntitySpec::Connector(Connector::read(fields, cx)?),
        Kind::Secret => EntitySpec::Secret(Secret::read(fields, cx)?),
        Kind::Service => EntitySpec::Service(Service::read(fields, cx)?),
        Kind::Environment => EntitySpec::Environment(Environment::read(fields, cx)?),
        Kind::Infrastructure => EntitySpec::Infrastructure(Infrastructure::read(fields, cx)?),
        Kind::Pipeline => EntitySpec::Pipeline(Pipeline::read(fields, cx)?),
        Kind::File => EntitySpec::File(File::read(fields, cx)?),
    })
}

/// The fields that all entities share.
struct Envelope {
    identifier: Option<Located<String>>,
    name: Option<String>,
    scope: Scope,
    description: String,
    tags: BTreeMap<String, String>,
}

impl Envelope {
    fn read(kind: Kind, fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Self {
        let name = match kind {
            Kind::File => fields.fixed_text("name", cx).map(|name| name.value),
            _ => name(fields, cx),
        };
        Self {
            identifier: identifier(fields, cx),
            name,
            scope: scope(fields, cx),
            description: fields
                .fixed_text("description", cx)
                .map(|text| text.value)
                .unwrap_or_default(),
            tags: tags(fields, cx),
        }
    }
}

/// `identifier` of an entity, stage, step or group.
pub(crate) fn identifier(fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Located<String>> {
    let identifier = fields.required_fixed_text("identifier", cx)?;
    let path = fields.path_of("identifier");
    let shown = path::clip(&identifier.value);
    if !identifier::is_identifier(&identifier.value) {
        let message = format!(
            "`{shown}` cannot be an identifier; use letters, digits and underscores, at most 128, not a digit first"
        );
        cx.error(Code::InvalidIdentifier, &path, identifier.position, message);
    } else if identifier::is_reserved(&identifier.value) {
        let message = format!(
            "`{shown}` cannot be an identifier: expressions need the word; choose another one"
        );
        cx.error(Code::InvalidIdentifier, &path, identifier.position, message);
    }
    Some(identifier)
}

/// `name` of an entity, stage, step or group.
pub(crate) fn name(fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<String> {
    let name = fields.required_fixed_text("name", cx)?;
    if !identifier::is_name(&name.value) {
        let message = format!(
            "`{}` cannot be a name; use letters, digits, spaces, `_`, `-` and `.`, at most 128, not a space first",
            path::clip(&name.value)
        );
        cx.error(
            Code::InvalidName,
            &fields.path_of("name"),
            name.position,
            message,
        );
    }
    Some(name.value)
}

fn scope(fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Scope {
    let mut part = |name: &'static str| {
        let text = fields
            .fixed_text(name, cx)
            .filter(|text| !text.is_empty())?;
        if !identifier::is_identifier(&text.value) {
            let message = format!("`{}` cannot be an identifier", path::clip(&text.value));
            cx.error(
                Code::InvalidIdentifier,
                &fields.path_of(name),
                text.position,
                message,
            );
        }
        Some(text)
    };
    let org = part("orgIdentifier");
    let project = part("projectIdentifier");
    if let (None, Some(project)) = (&org, &project) {
        let path = fields.path_of("projectIdentifier");
        let message = "a project is in an organisation; add `orgIdentifier`";
        cx.error(Code::Conflict, &path, project.position, message);
    }
    Scope {
        org: org.map(|text| text.value),
        project: project.map(|text| text.value),
    }
}

/// `tags`: a mapping of texts.
pub(crate) fn tags(fields: &mut Fields<'_>, cx: &mut Context<'_>) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::new();
    let Some(node) = fields.node("tags") else {
        return tags;
    };
    let path = fields.path_of("tags");
    let Content::Map(pairs) = &node.content else {
        if !node.is_empty() {
            crate::reader::fields::wrong_type(node, "a mapping of tags to texts", &path, cx);
        }
        return tags;
    };
    for (key, value) in pairs {
        match value.scalar() {
            Some(scalar) if scalar.is_null() => tags.insert(key.text.clone(), String::new()),
            Some(scalar) => tags.insert(key.text.clone(), scalar.text.clone()),
            None => {
                let path = path::join(&path, &key.text);
                crate::reader::fields::wrong_type(value, "a text", &path, cx);
                None
            }
        };
    }
    tags
}
