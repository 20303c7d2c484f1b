//! Secrets.

use secrecy::SecretString;

use crate::entity::Kind;
use crate::parse::Limits;
use crate::position::Located;
use crate::problem::Code;
use crate::reader::fields::{unknown_value, wrong_type};
use crate::reader::{Context, Fields};
use crate::yaml::json::to_json;
use crate::yaml::{self, Content, Key, Node};

/// A secret.
#[derive(Clone, Debug)]
pub enum Secret {
    /// `SecretText`
    Text(SecretText),
    /// `SecretFile`, `SSHKey`, `WinRmCredentials`: cannot be used yet.
    Unsupported {
        /// `type`
        secret_type: String,
    },
}

/// A secret text.
#[derive(Clone, Debug)]
pub struct SecretText {
    /// `secretManagerIdentifier`; `harnessSecretManager` is the built-in store.
    pub manager: Located<String>,
    /// `valueType`
    pub source: SecretSource,
}

/// Where the text of a secret comes from.
#[derive(Clone, Debug)]
pub enum SecretSource {
    /// `Inline`: from the document, or, when it has no value there, given separately. The store
    /// keeps the document without it: see [`crate::take_secret_value`].
    Inline(Option<SecretString>),
    /// `Reference`, `CustomSecretManagerValues`: a path in another manager, cannot be used yet.
    Unsupported {
        /// `valueType`
        value_type: String,
    },
}

/// Secrets that are not text.
const LATER: [&str; 3] = ["SecretFile", "SSHKey", "WinRmCredentials"];

impl Secret {
    pub(crate) fn read(fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        let kind = fields.required_fixed_text("type", cx);
        fields.accept(&["spec"]);
        let kind = kind?;
        if kind.value == "SecretText" {
            let mut spec = fields.required_map("spec", cx)?;
            let text = SecretText::read(&mut spec, cx);
            spec.finish_strictly(cx);
            return text.map(Self::Text);
        }
        let path = fields.path_of("type");
        if !LATER.contains(&kind.as_str()) {
            unknown_value(
                &path,
                &kind,
                &[&["SecretText"], LATER.as_slice()].concat(),
                cx,
            );
            return None;
        }
        let message = format!(
            "secrets of type `{}` are kept, and cannot be used yet",
            kind.value
        );
        cx.not_runnable(Code::NotRunnable, &path, kind.position, message);
        Some(Self::Unsupported {
            secret_type: kind.value,
        })
    }
}

impl SecretText {
    fn read(spec: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        let manager = spec.required_fixed_text("secretManagerIdentifier", cx);
        if let Some(manager) = &manager
            && manager.value != BUILT_IN
            && manager
                .strip_prefix("account.")
                .or_else(|| manager.strip_prefix("org."))
                != Some(BUILT_IN)
        {
            let path = spec.path_of("secretManagerIdentifier");
            let message =
                format!("only the built-in store `{BUILT_IN}` can be used yet; the secret is kept");
            cx.not_runnable(Code::NotRunnable, &path, manager.position, message);
        }
        spec.accept(&["value"]);
        spec.no_effect(&["additionalMetadata"], cx);
        let types = [
            ("Inline", true),
            ("Reference", false),
            ("CustomSecretManagerValues", false),
        ];
        let source = if spec.required_choice("valueType", &types, cx)? {
            SecretSource::Inline(inline(spec, cx))
        } else {
            let value_type = spec.fixed_text("valueType", cx)?;
            let message = format!(
                "secrets with `valueType: {}` are kept, and cannot be used yet",
                value_type.value
            );
            cx.not_runnable(
                Code::NotRunnable,
                &spec.path_of("valueType"),
                value_type.position,
                message,
            );
            SecretSource::Unsupported {
                value_type: value_type.value,
            }
        };
        Some(Self {
            manager: manager?,
            source,
        })
    }
}

/// Identifier of the built-in store; it is there at every scope.
const BUILT_IN: &str = "harnessSecretManager";

fn inline(spec: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<SecretString> {
    let node = spec.node("value")?;
    let path = spec.path_of("value");
    let Some(scalar) = node.scalar() else {
        wrong_type(node, "a text", &path, cx);
        return None;
    };
    if node.shared {
        let message = "the value of a secret is written out here, without anchors and aliases";
        cx.error(Code::InvalidValue, &path, node.position, message);
        return None;
    }
    Some(SecretString::from(scalar.text.clone()))
}

/// The body of an entity as JSON; of a secret without the value.
pub(crate) fn json_without_value(kind: Kind, body: &Node) -> serde_json::Value {
    let mut json = to_json(body);
    if kind == Kind::Secret
        && let Some(spec) = json
            .get_mut("spec")
            .and_then(serde_json::Value::as_object_mut)
    {
        spec.remove("value");
    }
    json
}

/// Takes the value of a `SecretText` out of its document.
///
/// Yields the document with `null` in the place of the value, and everything else (comments, order,
/// spaces) as it was, and the value; `None` when the document has no value. Only for a text of one
/// document that [`crate::parse()`] reads as a secret without errors.
///
/// # Errors
/// The value cannot be cut out: it has a tag, an anchor, or is an alias.
pub fn take_secret_value(text: &str) -> Result<(String, Option<SecretString>), NotSeparable> {
    let limits = Limits {
        bytes: text.len(),
        ..Limits::default()
    };
    let (documents, faults) = yaml::documents(text, &limits);
    let [document] = documents.as_slice() else {
        return Err(NotSeparable);
    };
    let Some((key, node)) = value_of(&document.root) else {
        return if faults.is_empty() {
            Ok((text.to_owned(), None))
        } else {
            Err(NotSeparable)
        };
    };
    let (Some(scalar), false, true) = (node.scalar(), node.shared, faults.is_empty()) else {
        return Err(NotSeparable);
    };
    let stripped = cut(text, key.end, node).ok_or(NotSeparable)?;
    // Reading it again proves that the value is gone and the document still is one.
    let (again, faults) = yaml::documents(&stripped, &limits);
    let gone = match again.as_slice() {
        [document] => value_of(&document.root).is_none(),
        _ => false,
    };
    if !gone || !faults.is_empty() {
        return Err(NotSeparable);
    }
    Ok((stripped, Some(SecretString::from(scalar.text.clone()))))
}

/// The value of a secret cannot be separated from its document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the value of the secret cannot be taken out of its document; write it as plain or quoted text without tag and anchor"
)]
pub struct NotSeparable;

impl NotSeparable {
    /// The stable code.
    pub const fn code(self) -> &'static str {
        Code::InvalidValue.code()
    }
}

/// `secret.spec.value`, when it is not null.
fn value_of(root: &Node) -> Option<(&Key, &Node)> {
    let below = |node: &'_ Node, name: &str| -> Option<usize> {
        let Content::Map(pairs) = &node.content else {
            return None;
        };
        pairs.iter().position(|(key, _)| key.text == name)
    };
    let mut node = root;
    for name in ["secret", "spec"] {
        let index = below(node, name)?;
        let Content::Map(pairs) = &node.content else {
            return None;
        };
        node = &pairs.get(index)?.1;
    }
    let index = below(node, "value")?;
    let Content::Map(pairs) = &node.content else {
        return None;
    };
    let (key, value) = pairs.get(index)?;
    (!value.is_null()).then_some((key, value))
}

/// Replaces a scalar by `null`.
fn cut(text: &str, key_end: usize, node: &Node) -> Option<String> {
    let start = node.position.offset;
    let written = text.get(start..node.end)?;
    let kept = start + written.trim_end().len();
    if !node.scalar()?.block {
        return Some(format!("{}null{}", text.get(..start)?, text.get(kept..)?));
    }
    // `value: |-  # comment`: the header is replaced, its comment stays, the lines below it go.
    let between = text.get(key_end..start)?;
    let header = key_end + between.find(['|', '>'])?;
    let header_end = header + text.get(header..)?.find(char::is_whitespace)?;
    let line_end = header_end + text.get(header_end..)?.find('\n')?;
    let rest = text.get(line_end.max(kept)..)?;
    Some(format!(
        "{}null{}{}",
        text.get(..header)?,
        text.get(header_end..line_end)?,
        rest
    ))
}
