//! Reading the fields of one mapping.

use std::time::Duration;

use super::Context;
use crate::duration;
use crate::entity::Kind;
use crate::field::{Field, FlagField, ListField, TextField, has_expression};
use crate::path;
use crate::position::{Located, Position};
use crate::problem::Code;
use crate::reference::{EntityRef, RefField};
use crate::suggest;
use crate::yaml::{Content, Key, Node};

/// A mapping whose fields are taken one by one; what nobody took is unknown.
pub(crate) struct Fields<'t> {
    pub(crate) path: String,
    pub(crate) position: Position,
    pairs: &'t [(Key, Node)],
    known: Vec<&'static str>,
}

impl<'t> Fields<'t> {
    /// Opens a mapping; anything else is an error.
    pub(crate) fn open(node: &'t Node, path: String, cx: &mut Context<'_>) -> Option<Self> {
        match &node.content {
            Content::Map(pairs) => Some(Self {
                path,
                position: node.position,
                pairs,
                known: Vec::new(),
            }),
            _ => {
                wrong_type(node, "a mapping", &path, cx);
                None
            }
        }
    }

    /// Takes a field; null counts as absent.
    pub(crate) fn node(&mut self, name: &'static str) -> Option<&'t Node> {
        self.known.push(name);
        let found = self.pairs.iter().find(|(key, _)| key.text == name);
        found.map(|(_, node)| node).filter(|node| !node.is_null())
    }

    pub(crate) fn path_of(&self, name: &str) -> String {
        path::join(&self.path, name)
    }

    /// The place of a key, else of the mapping.
    pub(crate) fn position_of(&self, name: &str) -> Position {
        let found = self.pairs.iter().find(|(key, _)| key.text == name);
        found.map_or(self.position, |(key, _)| key.position)
    }

    /// The place of a value, else of its key, else of the mapping.
    pub(crate) fn position_of_value(&self, name: &str) -> Position {
        let found = self.pairs.iter().find(|(key, _)| key.text == name);
        found.map_or(self.position, |(_, node)| node.position)
    }

    /// Says that a required field is not there.
    pub(crate) fn missing(&self, name: &str, cx: &mut Context<'_>) {
        let path = self.path_of(name);
        let message = format!("`{name}` is required here; add it");
        cx.error(Code::MissingField, &path, self.position_of(name), message);
    }

    /// Marks fields as known without reading them.
    pub(crate) fn accept(&mut self, names: &[&'static str]) {
        self.known.extend_from_slice(names);
    }

    /// Marks fields that are kept and do nothing yet; says so when they hold something.
    pub(crate) fn no_effect(&mut self, names: &[&'static str], cx: &mut Context<'_>) {
        for name in names {
            if self.node(name).is_some_and(|node| !node.is_empty()) {
                let message = format!("`{name}` is kept and has no effect yet");
                cx.warn(
                    Code::NoEffect,
                    &self.path_of(name),
                    self.position_of(name),
                    message,
                );
            }
        }
    }

    /// Marks fields that would change what a run does and are not supported yet.
    pub(crate) fn not_runnable(&mut self, names: &[&'static str], cx: &mut Context<'_>) {
        for name in names {
            if self.node(name).is_some_and(|node| !node.is_empty()) {
                let message =
                    format!("`{name}` is kept, and cannot be run yet; remove it to run this");
                let path = self.path_of(name);
                cx.not_runnable(Code::NotRunnable, &path, self.position_of(name), message);
            }
        }
    }

    /// Says which fields nobody took.
    pub(crate) fn finish(self, cx: &mut Context<'_>) {
        self.report_unknown(false, cx);
    }

    /// As [`Fields::finish`], with an error for each: what was meant for another field of a secret
    /// must not be stored in the open.
    pub(crate) fn finish_strictly(self, cx: &mut Context<'_>) {
        self.report_unknown(true, cx);
    }

    fn report_unknown(self, refuse: bool, cx: &mut Context<'_>) {
        for (key, _) in self.pairs {
            if cx.is_full() {
                return;
            }
            if self.known.iter().any(|known| *known == key.text) {
                continue;
            }
            let end = if refuse {
                "; remove it"
            } else {
                " and is ignored"
            };
            let mut message = format!("`{}` is not known here{end}", path::clip(&key.text));
            if let Some(nearest) = suggest::nearest(&key.text, self.known.iter().copied()) {
                message.push_str(&format!("; was `{nearest}` meant?"));
            }
            let path = self.path_of(&key.text);
            match refuse {
                true => cx.error(Code::UnknownField, &path, key.position, message),
                false => cx.warn(Code::UnknownField, &path, key.position, message),
            }
        }
    }

    // ---- single values -------------------------------------------------------------------------

    /// A text that may hold expressions.
    pub(crate) fn text(&mut self, name: &'static str, cx: &mut Context<'_>) -> Option<TextField> {
        let node = self.node(name)?;
        let path = self.path_of(name);
        let field = text_of(node, &path, cx)?;
        cx.runtime_input(node, field.text(), &path);
        Some(field)
    }

    /// A required text; empty text counts as missing.
    pub(crate) fn required_text(
        &mut self,
        name: &'static str,
        cx: &mut Context<'_>,
    ) -> Option<TextField> {
        self.need(name, cx)?;
        self.text(name, cx)
    }

    /// A text that expressions cannot stand for.
    pub(crate) fn fixed_text(
        &mut self,
        name: &'static str,
        cx: &mut Context<'_>,
    ) -> Option<Located<String>> {
        let node = self.node(name)?;
        let path = self.path_of(name);
        let Some(scalar) = node.scalar() else {
            wrong_type(node, "a text", &path, cx);
            return None;
        };
        Some(Located {
            value: scalar.text.clone(),
            position: node.position,
        })
    }

    /// A required text that expressions cannot stand for; empty text counts as missing.
    pub(crate) fn required_fixed_text(
        &mut self,
        name: &'static str,
        cx: &mut Context<'_>,
    ) -> Option<Located<String>> {
        self.need(name, cx)?;
        self.fixed_text(name, cx)
    }

    /// A required word out of a table.
    pub(crate) fn required_choice<T: Copy>(
        &mut self,
        name: &'static str,
        table: &[(&'static str, T)],
        cx: &mut Context<'_>,
    ) -> Option<T> {
        self.need(name, cx)?;
        self.choice(name, table, cx)
    }

    /// A word out of a table.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        name: &'static str,
        table: &[(&'static str, T)],
        cx: &mut Context<'_>,
    ) -> Option<T> {
        let word = self.fixed_text(name, cx)?;
        let found = table.iter().find(|(key, _)| *key == word.value);
        if found.is_none() {
            let words: Vec<_> = table.iter().map(|(key, _)| *key).collect();
            unknown_value(&self.path_of(name), &word, &words, cx);
        }
        found.map(|(_, value)| *value)
    }

    /// As [`Fields::required_choice`]; an expression is kept, and noted as not runnable.
    pub(crate) fn settled_choice<T: Copy>(
        &mut self,
        name: &'static str,
        table: &[(&'static str, T)],
        cx: &mut Context<'_>,
    ) -> Option<T> {
        self.need(name, cx)?;
        let node = self.node(name)?;
        let path = self.path_of(name);
        let scalar = node.scalar().filter(|scalar| has_expression(&scalar.text));
        let Some(scalar) = scalar else {
            return self.choice(name, table, cx);
        };
        if !cx.runtime_input(node, &scalar.text, &path) {
            let message =
                "an expression is kept here, and cannot be run yet; write one of the words";
            cx.not_runnable(Code::NotRunnable, &path, node.position, message.to_owned());
        }
        None
    }

    /// True or false, or an expression.
    pub(crate) fn flag(&mut self, name: &'static str, cx: &mut Context<'_>) -> Option<FlagField> {
        let node = self.node(name)?;
        let path = self.path_of(name);
        let field = self.text_like(node, &path, cx)?;
        let value = match field.value {
            Field::Expression(text) => Field::Expression(text),
            Field::Value(text) if text.is_empty() => return None,
            Field::Value(_) => match node.scalar().and_then(|scalar| scalar.truth()) {
                Some(truth) => Field::Value(truth),
                None => {
                    wrong_type(node, "true or false", &path, cx);
                    return None;
                }
            },
        };
        Some(Located {
            value,
            position: field.position,
        })
    }

    /// True or false; expressions cannot stand for it.
    pub(crate) fn fixed_flag(&mut self, name: &'static str, cx: &mut Context<'_>) -> Option<bool> {
        let node = self.node(name)?;
        let truth = node.scalar().and_then(|scalar| scalar.truth());
        if truth.is_none() {
            wrong_type(node, "true or false", &self.path_of(name), cx);
        }
        truth
    }

    /// A duration such as `10m` or `1h 30m`, or an expression.
    pub(crate) fn duration(
        &mut self,
        name: &'static str,
        cx: &mut Context<'_>,
    ) -> Option<Located<Field<Duration>>> {
        let node = self.node(name)?;
        let path = self.path_of(name);
        let field = self.text_like(node, &path, cx)?;
        let value = match field.value {
            Field::Expression(text) => Field::Expression(text),
            Field::Value(text) if text.is_empty() => return None,
            Field::Value(text) => match duration::parse(&text) {
                Ok(duration) => Field::Value(duration),
                Err(fault) => {
                    let message = format!("`{}` is no duration: {fault}", path::clip(&text));
                    cx.error(Code::InvalidDuration, &path, node.position, message);
                    return None;
                }
            },
        };
        Some(Located {
            value,
            position: field.position,
        })
    }

    fn text_like(&self, node: &Node, path: &str, cx: &mut Context<'_>) -> Option<TextField> {
        let field = text_of(node, path, cx)?;
        cx.runtime_input(node, field.text(), path);
        Some(field)
    }

    // ---- references ----------------------------------------------------------------------------

    /// A reference to an entity; it is noted among the references of the entity.
    pub(crate) fn reference(
        &mut self,
        name: &'static str,
        kind: Kind,
        cx: &mut Context<'_>,
    ) -> Option<RefField> {
        let node = self.node(name)?;
        reference_of(node, &self.path_of(name), kind, cx)
    }

    /// A required reference.
    pub(crate) fn required_reference(
        &mut self,
        name: &'static str,
        kind: Kind,
        cx: &mut Context<'_>,
    ) -> Option<RefField> {
        self.need(name, cx)?;
        self.reference(name, kind, cx)
    }

    // ---- collections ---------------------------------------------------------------------------

    /// A mapping below this one. A text with an expression in its place is noted as not runnable.
    pub(crate) fn map(&mut self, name: &'static str, cx: &mut Context<'_>) -> Option<Self> {
        let node = self.node(name)?;
        let path = self.path_of(name);
        if expression_for_object(node, &path, cx) {
            return None;
        }
        Fields::open(node, path, cx)
    }

    /// A required mapping.
    pub(crate) fn required_map(
        &mut self,
        name: &'static str,
        cx: &mut Context<'_>,
    ) -> Option<Self> {
        if self.node(name).is_none() {
            self.missing(name, cx);
        }
        self.map(name, cx)
    }

    /// The items of a list with their paths; nothing when absent or empty.
    pub(crate) fn items(
        &mut self,
        name: &'static str,
        cx: &mut Context<'_>,
    ) -> Vec<(&'t Node, String)> {
        let Some(node) = self.node(name) else {
            return Vec::new();
        };
        let path = self.path_of(name);
        match &node.content {
            Content::List(items) => {
                let paths = (0..items.len()).map(|index| path::item(&path, index));
                items.iter().zip(paths).collect()
            }
            Content::Scalar(scalar) if scalar.text.trim().is_empty() => Vec::new(),
            _ => {
                if !expression_for_object(node, &path, cx) {
                    wrong_type(node, "a list", &path, cx);
                }
                Vec::new()
            }
        }
    }

    /// A list of texts. As a whole it may be an expression or a JSON list as text; empty text and
    /// the text `null` are an empty list.
    pub(crate) fn texts(&mut self, name: &'static str, cx: &mut Context<'_>) -> ListField {
        let empty = Located {
            value: Field::Value(Vec::new()),
            position: self.position_of(name),
        };
        let Some(node) = self.node(name) else {
            return empty;
        };
        let path = self.path_of(name);
        let position = node.position;
        match &node.content {
            Content::List(items) => {
                let read = |(index, item): (usize, &Node)| {
                    let path = path::item(&path, index);
                    let field = text_of(item, &path, cx)?;
                    cx.runtime_input(item, field.text(), &path);
                    Some(field)
                };
                let items = items.iter().enumerate().filter_map(read).collect();
                Located {
                    value: Field::Value(items),
                    position,
                }
            }
            Content::Scalar(scalar) => {
                let text = scalar.text.trim();
                if text.is_empty() || text == "null" {
                    return empty;
                }
                if has_expression(text) {
                    cx.check_expressions(node, &scalar.text, &path);
                    cx.runtime_input(node, text, &path);
                    return Located {
                        value: Field::Expression(scalar.text.clone()),
                        position,
                    };
                }
                match serde_json::from_str::<Vec<String>>(text) {
                    Ok(texts) => {
                        let located = |text| Located {
                            value: Field::Value(text),
                            position,
                        };
                        let items = texts.into_iter().map(located).collect();
                        Located {
                            value: Field::Value(items),
                            position,
                        }
                    }
                    Err(_) => {
                        wrong_type(node, "a list of texts", &path, cx);
                        empty
                    }
                }
            }
            Content::Map(_) => {
                wrong_type(node, "a list of texts", &path, cx);
                empty
            }
        }
    }

    /// Says that a required field is missing; empty text is missing too.
    fn need(&mut self, name: &'static str, cx: &mut Context<'_>) -> Option<()> {
        let node = self.node(name);
        let blank = |node: &Node| {
            node.scalar()
                .is_some_and(|scalar| scalar.text.trim().is_empty())
        };
        if node.is_none_or(blank) {
            self.missing(name, cx);
            return None;
        }
        Some(())
    }
}

/// A scalar as text; its expressions are checked.
pub(crate) fn text_of(node: &Node, path: &str, cx: &mut Context<'_>) -> Option<TextField> {
    let Some(scalar) = node.scalar() else {
        wrong_type(node, "a text", path, cx);
        return None;
    };
    let text = scalar.text.clone();
    let value = if has_expression(&text) {
        if !crate::field::is_runtime_input(&text) {
            cx.check_expressions(node, &text, path);
        }
        Field::Expression(text)
    } else {
        Field::Value(text)
    };
    Some(Located {
        value,
        position: node.position,
    })
}

/// A scalar as reference; it is noted.
pub(crate) fn reference_of(
    node: &Node,
    path: &str,
    kind: Kind,
    cx: &mut Context<'_>,
) -> Option<RefField> {
    let field = text_of(node, path, cx)?;
    cx.runtime_input(node, field.text(), path);
    let position = field.position;
    let text = match field.value {
        Field::Expression(text) => {
            return Some(Located {
                value: Field::Expression(text),
                position,
            });
        }
        Field::Value(text) => text,
    };
    let parsed = match kind {
        Kind::File => EntityRef::parse_file_path(&text),
        _ => EntityRef::parse(&text),
    };
    let Some(target) = parsed else {
        let form = match kind {
            Kind::File => "`/folder/file`, `org:/folder/file` or `account:/folder/file`",
            _ => "`identifier`, `org.identifier` or `account.identifier`",
        };
        let message = format!(
            "`{}` cannot be a reference; write {form}",
            path::clip(&text)
        );
        cx.error(Code::InvalidReference, path, position, message);
        return None;
    };
    cx.refer(kind, target.clone(), None, path.to_owned(), position);
    Some(Located {
        value: Field::Value(target),
        position,
    })
}

/// Says that a value has the wrong type. The value itself is not repeated: it may be secret.
pub(crate) fn wrong_type(node: &Node, expected: &str, path: &str, cx: &mut Context<'_>) {
    let message = format!("{expected} is needed here, not {}", node.describe());
    cx.error(Code::WrongType, path, node.position, message);
}

/// Says that a word is none of the possible ones.
pub(crate) fn unknown_value(
    path: &str,
    word: &Located<String>,
    words: &[&str],
    cx: &mut Context<'_>,
) {
    let message = match suggest::nearest(&word.value, words.iter().copied()) {
        Some(nearest) => {
            format!(
                "`{}` is not possible here; was `{nearest}` meant?",
                path::clip(&word.value)
            )
        }
        None => format!(
            "`{}` is not possible here; use one of: {}",
            path::clip(&word.value),
            words.join(", ")
        ),
    };
    cx.error(Code::UnknownValue, path, word.position, message);
}

/// Harness lets `<+input>` or an expression stand for whole objects; they are known only later.
fn expression_for_object(node: &Node, path: &str, cx: &mut Context<'_>) -> bool {
    let Some(scalar) = node.scalar().filter(|scalar| has_expression(&scalar.text)) else {
        return false;
    };
    if !cx.runtime_input(node, &scalar.text, path) {
        let message =
            "an expression for a whole object is kept, and cannot be run yet; write the object";
        cx.not_runnable(Code::NotRunnable, path, node.position, message.to_owned());
    }
    true
}
