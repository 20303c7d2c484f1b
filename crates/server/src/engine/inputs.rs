//! Values that a run gives to the variables of its pipeline, and runtime inputs
//! (`<+input>.default(…).allowedValues(…)`) among their values.

use std::collections::BTreeMap;

use serde_json::Value;
use sortie_model::variable::{Variable, VariableValue};
use sortie_model::{Position, suggest};

use super::compile::{finding, secret_expression, value};
use super::parameters::VariableParameter;
use crate::problem::Finding;

/// Longest text of an input.
const MAX_INPUT: usize = 64 * 1024;

const INPUT: &str = "<+input>";

/// The variables with the values of this run; what does not fit becomes a finding.
pub(super) fn resolve(
    variables: &[Variable],
    inputs: &BTreeMap<String, Value>,
    findings: &mut Vec<Finding>,
) -> Vec<VariableParameter> {
    let mut wrong = |position: Option<Position>, message: String| {
        findings.push(finding("SRT-S104", "pipeline.variables", position, message));
    };
    let names = || {
        variables
            .iter()
            .map(|variable| variable.name.value.as_str())
    };
    for name in inputs.keys() {
        if !variables
            .iter()
            .any(|variable| variable.name.value == *name)
        {
            let shown: String = name.chars().take(128).collect();
            wrong(
                None,
                match suggest::nearest(name, names()) {
                    Some(near) => {
                        format!("the pipeline has no variable `{shown}`; was `{near}` meant?")
                    }
                    None => format!("the pipeline has no variable `{shown}`"),
                },
            );
        }
    }
    let mut resolved = Vec::with_capacity(variables.len());
    for variable in variables {
        let name = &variable.name.value;
        match of_variable(variable, inputs.get(name)) {
            Ok(Some(value)) => resolved.push(VariableParameter {
                name: name.clone(),
                value,
            }),
            Ok(None) => {}
            Err(why) => wrong(
                Some(variable.name.position),
                format!("the variable `{name}` {why}"),
            ),
        }
    }
    resolved
}

/// The value of one variable, `None` when it has none and needs none.
fn of_variable(variable: &Variable, given: Option<&Value>) -> Result<Option<Value>, String> {
    let runtime = variable.value.as_ref().and_then(RuntimeInput::of);
    let runtime = runtime.transpose()?;
    let kind = variable.value.as_ref().or(variable.default.as_ref());
    if let Some(given) = given {
        let value = typed(kind, given)?;
        if let Some(runtime) = &runtime {
            runtime.check(given)?;
        }
        return Ok(Some(value));
    }
    let Some(runtime) = runtime else {
        return match variable.effective() {
            Some(effective) => Ok(Some(value(effective))),
            None if variable.required => Err(format!(
                "is required and has no value; give it one, as in `--set {}=VALUE`",
                variable.name.value
            )),
            None => Ok(None),
        };
    };
    match (&runtime.default, &variable.default) {
        (Some(default), _) => typed(kind, &Value::String(default.clone())).map(Some),
        (None, Some(default)) => Ok(Some(value(default))),
        (None, None) => Err(format!(
            "is asked for when the pipeline runs; give it a value, as in `--set {}=VALUE`",
            variable.name.value
        )),
    }
}

/// A given value as the type of the variable wants it.
fn typed(kind: Option<&VariableValue>, given: &Value) -> Result<Value, String> {
    let (wanted, taken) = match (kind, given) {
        (Some(VariableValue::Number(_)), Value::Number(_)) => ("", Some(given.clone())),
        (Some(VariableValue::Number(_)), Value::String(text)) => {
            ("a number", text.trim().parse().ok().map(Value::Number))
        }
        (Some(VariableValue::Number(_)), _) => ("a number", None),
        (Some(VariableValue::Secret(_)), Value::String(text)) => (
            "a reference to a secret, such as `account.password`",
            sortie_model::EntityRef::parse(text).map(|secret| secret_expression(&secret)),
        ),
        (Some(VariableValue::Secret(_)), _) => ("a reference to a secret", None),
        (_, Value::String(text)) if text.len() <= MAX_INPUT => ("", Some(given.clone())),
        (_, Value::Number(number)) => ("", Some(number.to_string().into())),
        (_, Value::Bool(flag)) => ("", Some(flag.to_string().into())),
        _ => ("a text of at most 64 KiB", None),
    };
    taken.ok_or_else(|| format!("must be {wanted}"))
}

/// A runtime input with what it says about its value.
#[derive(Debug, Default, PartialEq)]
struct RuntimeInput {
    default: Option<String>,
    allowed: Option<Vec<String>>,
}

impl RuntimeInput {
    /// The runtime input that a value is, if it is one.
    fn of(value: &VariableValue) -> Option<Result<Self, String>> {
        let text = match value {
            VariableValue::Text(text) => text.value.expression(),
            VariableValue::Number(number) => number.value.expression(),
            VariableValue::Secret(secret) => secret.value.expression(),
        };
        let rest = text?.trim().strip_prefix(INPUT)?;
        Some(Self::parse(rest))
    }

    /// Reads `.name(parameters)` parts: parameters end at the first `)` that another part or the
    /// end follows.
    fn parse(mut rest: &str) -> Result<Self, String> {
        let mut input = Self::default();
        while !rest.is_empty() {
            let unreadable = || format!("has a runtime input that cannot be read, at `{rest}`");
            let part = rest.strip_prefix('.').ok_or_else(unreadable)?;
            let (name, after) = part.split_once('(').ok_or_else(unreadable)?;
            let close = after
                .char_indices()
                .filter(|(_, character)| *character == ')')
                .map(|(at, _)| at)
                .find(|at| {
                    let behind = after.get(at + 1..).unwrap_or_default();
                    behind.is_empty() || behind.starts_with('.')
                })
                .ok_or_else(unreadable)?;
            let parameters = after.get(..close).unwrap_or_default();
            rest = after.get(close + 1..).unwrap_or_default();
            match name {
                "default" => input.default = Some(unquote(parameters).to_owned()),
                "allowedValues" | "selectOneFrom" => {
                    let values = parameters.split(',').map(|value| unquote(value).to_owned());
                    input.allowed = Some(values.collect());
                }
                other => {
                    return Err(format!(
                        "is a runtime input with `.{other}(…)`, which cannot be used yet"
                    ));
                }
            }
        }
        Ok(input)
    }

    fn check(&self, given: &Value) -> Result<(), String> {
        let Some(allowed) = &self.allowed else {
            return Ok(());
        };
        let given = match given {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        if allowed.iter().any(|value| same(value, &given)) {
            return Ok(());
        }
        Err(format!("must be one of {}", allowed.join(", ")))
    }
}

/// Numbers are compared as numbers.
fn same(one: &str, other: &str) -> bool {
    let number = |text: &str| text.parse::<f64>().ok();
    match (number(one), number(other)) {
        #[expect(clippy::float_cmp, reason = "the same number, written in two ways")]
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

fn unquote(text: &str) -> &str {
    let text = text.trim();
    let inner = text
        .strip_prefix("\\'")
        .and_then(|text| text.strip_suffix("\\'"));
    inner.unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sortie_model::{EntitySpec, Limits};

    use super::*;

    fn check(variable: &str, given: Option<&Value>) -> Result<Option<Value>, String> {
        let text = format!(
            "pipeline:\n  name: p\n  identifier: p\n  variables:\n    - {variable}\n  stages:\n    - stage:\n        name: s\n        identifier: s\n        type: Custom\n        spec: {{}}\n"
        );
        let parsed = sortie_model::parse("p", text.as_bytes(), &Limits::default());
        let EntitySpec::Pipeline(pipeline) = &parsed.entities[0].spec else {
            panic!("{:?}", parsed.problems);
        };
        of_variable(&pipeline.variables[0], given)
    }

    #[test]
    fn values_come_from_the_run_the_variable_or_its_default() {
        let plain = "{name: v, type: String, value: a}";
        assert_eq!(check(plain, None), Ok(Some(json!("a"))));
        assert_eq!(check(plain, Some(&json!("b"))), Ok(Some(json!("b"))));
        assert_eq!(check(plain, Some(&json!(1.5))), Ok(Some(json!("1.5"))));
        assert!(check(plain, Some(&json!(["b"]))).is_err());
        assert!(check(plain, Some(&json!("x".repeat(MAX_INPUT + 1)))).is_err());
        let number = "{name: v, type: Number, value: 3}";
        assert_eq!(check(number, None), Ok(Some(json!(3))));
        assert_eq!(check(number, Some(&json!("4"))), Ok(Some(json!(4))));
        assert!(check(number, Some(&json!("four"))).is_err());
        let secret = "{name: v, type: Secret, value: account.a}";
        let expression = json!("<+secrets.getValue(\"org.b\")>");
        assert_eq!(check(secret, Some(&json!("org.b"))), Ok(Some(expression)));
        assert!(
            check(secret, Some(&json!("a\")>"))).is_err(),
            "no way out of the quotes"
        );
    }

    #[test]
    fn runtime_inputs_are_asked_for() {
        let bare = "{name: v, type: String, value: <+input>}";
        assert!(check(bare, None).is_err());
        assert_eq!(check(bare, Some(&json!("x"))), Ok(Some(json!("x"))));
        let default = "{name: v, type: String, value: <+input>.default(a)}";
        assert_eq!(check(default, None), Ok(Some(json!("a"))));
        let other = "{name: v, type: String, value: <+input>, default: b}";
        assert_eq!(check(other, None), Ok(Some(json!("b"))));
        let choice =
            "{name: v, type: String, value: '<+input>.allowedValues(dev, prod).default(dev)'}";
        assert_eq!(check(choice, None), Ok(Some(json!("dev"))));
        assert_eq!(check(choice, Some(&json!("prod"))), Ok(Some(json!("prod"))));
        let refused = check(choice, Some(&json!("test"))).unwrap_err();
        assert!(refused.contains("dev, prod"), "{refused}");
        for odd in [
            "<+input>.regex(a)",
            "<+input>.executionInput()",
            "<+input>.default(a",
            "<+input>x",
        ] {
            let variable = format!("{{name: v, type: String, value: '{odd}'}}");
            assert!(check(&variable, Some(&json!("a"))).is_err(), "{odd}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_runtime_input_is_read_or_refused(text in "(\\.(default|allowedValues|regex)?[(),.'\\\\a-c]{0,9}){0,5}") {
            let _read = RuntimeInput::parse(&text);
        }
    }
}
