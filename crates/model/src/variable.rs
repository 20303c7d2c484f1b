//! Variables of pipelines, stages, step groups, services and environments.

use std::collections::HashSet;

use crate::entity::Kind;
use crate::field::{Field, TextField};
use crate::identifier;
use crate::path;
use crate::position::Located;
use crate::problem::Code;
use crate::reader::fields::{reference_of, text_of, wrong_type};
use crate::reader::{Context, Fields};
use crate::reference::RefField;
use crate::yaml::Node;

/// A variable.
#[derive(Clone, Debug)]
pub struct Variable {
    /// Its name; may hold dots, dollars and hyphens.
    pub name: Located<String>,
    /// Its value, if it has one.
    pub value: Option<VariableValue>,
    /// Used when there is no value.
    pub default: Option<VariableValue>,
    /// An execution without a value must be refused.
    pub required: bool,
}

/// The value of a variable by its `type`.
#[derive(Clone, Debug)]
pub enum VariableValue {
    /// `String`
    Text(Located<Field<String>>),
    /// `Number`
    Number(Located<Field<f64>>),
    /// `Secret`: reading the variable yields the secret that it names.
    Secret(RefField),
}

impl Variable {
    /// The value that counts: `value`, else `default`.
    pub fn effective(&self) -> Option<&VariableValue> {
        self.value.as_ref().or(self.default.as_ref())
    }
}

/// Reads `variables`. A runtime input as value is an [`Field::Expression`] here: whoever starts an
/// execution can give variables a value.
pub(crate) fn read_all(fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Vec<Variable> {
    let mut seen = HashSet::new();
    let mut variables = Vec::new();
    for (node, path) in fields.items("variables", cx) {
        let Some(mut item) = Fields::open(node, path, cx) else {
            continue;
        };
        let variable = read(&mut item, cx);
        let path = item.path_of("name");
        item.finish(cx);
        let Some(variable) = variable else { continue };
        if !seen.insert(variable.name.value.clone()) {
            let message = format!(
                "a variable `{}` is already there; remove one of the two",
                path::clip(&variable.name.value)
            );
            cx.error(
                Code::DuplicateIdentifier,
                &path,
                variable.name.position,
                message,
            );
        }
        variables.push(variable);
    }
    variables
}

#[derive(Clone, Copy)]
enum Type {
    Text,
    Number,
    Secret,
}

fn read(item: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Variable> {
    let name = item.required_fixed_text("name", cx);
    if let Some(name) = &name
        && !identifier::is_variable_name(&name.value)
    {
        let message = format!(
            "`{}` cannot be the name of a variable; use letters, digits, `_`, `.`, `$` and `-`, at most 128, a letter or \
             underscore first",
            path::clip(&name.value)
        );
        cx.error(
            Code::InvalidName,
            &item.path_of("name"),
            name.position,
            message,
        );
    }
    let types = [
        ("String", Type::Text),
        ("Number", Type::Number),
        ("Secret", Type::Secret),
    ];
    let kind = item.required_choice("type", &types, cx);
    let required = item.fixed_flag("required", cx).unwrap_or(false);
    item.accept(&["description", "metadata", "value", "default"]);
    let kind = kind?;
    let value = value(item, "value", kind, cx);
    let default = self::value(item, "default", kind, cx);
    Some(Variable {
        name: name?,
        value,
        default,
        required,
    })
}

fn value(
    item: &mut Fields<'_>,
    field: &'static str,
    kind: Type,
    cx: &mut Context<'_>,
) -> Option<VariableValue> {
    let node = item.node(field)?;
    let path = item.path_of(field);
    if matches!(kind, Type::Secret) {
        let text = node
            .scalar()
            .map(|scalar| scalar.text.trim())
            .unwrap_or_default();
        if text.contains("secrets.getValue(") {
            let message = "a variable of type Secret names the secret itself: write `account.db_password`, not an \
                           expression around it";
            cx.error(Code::InvalidValue, &path, node.position, message);
            return None;
        }
        if text.is_empty() && node.scalar().is_some() {
            return None;
        }
        let is_input = crate::field::is_runtime_input(text);
        let expression = || Located {
            value: Field::Expression(text.to_owned()),
            position: node.position,
        };
        return match is_input {
            true => Some(VariableValue::Secret(expression())),
            false => reference_of(node, &path, Kind::Secret, cx).map(VariableValue::Secret),
        };
    }
    let text = text_of(node, &path, cx)?;
    match kind {
        Type::Number => number(text, node, &path, cx).map(VariableValue::Number),
        _ => Some(VariableValue::Text(text)),
    }
}

fn number(
    text: TextField,
    node: &Node,
    path: &str,
    cx: &mut Context<'_>,
) -> Option<Located<Field<f64>>> {
    let position = text.position;
    let value = match text.value {
        Field::Expression(text) => Field::Expression(text),
        Field::Value(text) if text.trim().is_empty() => return None,
        Field::Value(text) => match text.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => Field::Value(number),
            _ => {
                wrong_type(node, "a number", path, cx);
                return None;
            }
        },
    };
    Some(Located { value, position })
}
