//! Conditions in the `<+…>` language, as Harness has them on custom resources:
//! `${json.select("$..status.availableReplicas", response) == json.select("$..spec.replicas", response)}`.

use std::cell::RefCell;

use serde_json::{Map, Value};
use sortie_expression::{Context, Evaluator, Lookup, Reason};

use super::{RuleError, json_path, not_yet, unfit};
use crate::read;
use crate::verdict::Verdict;

/// Names of the annotation, ours first.
const STEADY: [&str; 2] = [
    "sortie.dev/steady-state-condition",
    "harness.io/steadyStateCondition",
];
const FAILED: [&str; 2] = [
    "sortie.dev/failure-condition",
    "harness.io/failureCondition",
];

/// Longest condition, in bytes.
const TEXT: usize = 8 * 1024;

/// The conditions of one object.
#[derive(Debug)]
pub(super) struct Conditions {
    steady: Option<String>,
    failed: Option<String>,
}

impl Conditions {
    /// Those of the object and where they are, if it has any.
    pub(super) fn of(object: &Value) -> Result<Option<(String, Self)>, RuleError> {
        let find = |names: [&'static str; 2]| {
            names
                .into_iter()
                .find_map(|name| Some((name, read::member(object, "/metadata/annotations", name)?)))
        };
        let (steady, failed) = (find(STEADY), find(FAILED));
        let Some((first, _)) = steady.or(failed) else {
            return Ok(None);
        };
        for (name, text) in steady.into_iter().chain(failed) {
            check(name, text)?;
        }
        let conditions = Self {
            steady: steady.map(|(_, text)| bare(text).to_owned()),
            failed: failed.map(|(_, text)| bare(text).to_owned()),
        };
        Ok(Some((format!("annotation {first}"), conditions)))
    }

    pub(super) fn assess(&self, place: &str, object: &Value) -> Option<Verdict> {
        let context = Response::of(object);
        if let Some(failed) = &self.failed {
            match holds(failed, &context) {
                Ok(true) => {
                    return Some(Verdict::degraded(format!(
                        "its failure condition is true: {failed}"
                    )));
                }
                Ok(false) => {}
                Err(wrong) => return Some(unfit(place, &wrong.message)),
            }
        }
        let steady = self.steady.as_ref()?;
        Some(match holds(steady, &context) {
            Ok(true) => Verdict::healthy("its steady state condition is true"),
            Ok(false) => Verdict::progressing(not_yet(steady)),
            Err(wrong) => unfit(place, &wrong.message),
        })
    }
}

/// Can it be read? An empty object shows that, whatever the condition makes of it.
fn check(name: &str, text: &str) -> Result<(), RuleError> {
    let place = format!("annotation {name}");
    if text.len() > TEXT {
        return Err(RuleError::new(
            &place,
            1,
            &format!("longer than {TEXT} bytes"),
        ));
    }
    match holds(bare(text), &Response::of(&Value::Object(Map::new()))) {
        Err(Wrong {
            column: Some(column),
            message,
        }) => Err(RuleError::new(&place, column, &message)),
        _ => Ok(()),
    }
}

/// Why a condition is neither true nor false.
struct Wrong {
    /// Where in the condition, if it cannot be read at all.
    column: Option<usize>,
    message: String,
}

/// The condition without the `${…}` that it may stand in.
fn bare(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix("${")
        .and_then(|inner| inner.strip_suffix('}'))
        .unwrap_or(text)
        .trim()
}

/// Is the condition true? What it names and is not there yet makes it false.
fn holds(condition: &str, context: &Response) -> Result<bool, Wrong> {
    let error = match Evaluator::new(context).condition(condition) {
        Ok(truth) => return Ok(truth),
        Err(error) => error,
    };
    let path = context.unreadable.take();
    let readable = match error.reason {
        Reason::Undefined => return Ok(false),
        Reason::Function if path.is_none() => return Ok(false),
        Reason::Syntax
        | Reason::Unclosed
        | Reason::UnknownFunction
        | Reason::Nesting
        | Reason::Function => false,
        _ => true,
    };
    Err(Wrong {
        column: (!readable).then_some(error.column),
        message: path.unwrap_or_else(|| error.to_string()),
    })
}

/// The object as `response`; its fields go by their own names, too.
struct Response {
    object: Value,
    /// What is wrong with a path, if one cannot be read.
    unreadable: RefCell<Option<String>>,
}

impl Response {
    fn of(object: &Value) -> Self {
        let mut object = object.clone();
        // Large, and about no health.
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        unexpressed(&mut object);
        Self {
            object,
            unreadable: RefCell::default(),
        }
    }
}

/// Breaks every `<+` in the texts of the object: what a cluster says is no expression.
fn unexpressed(value: &mut Value) {
    match value {
        Value::String(text) if text.contains("<+") => *text = text.replace("<+", "< +"),
        Value::Array(list) => list.iter_mut().for_each(unexpressed),
        Value::Object(map) => map.values_mut().for_each(unexpressed),
        _ => {}
    }
}

impl Context for Response {
    fn resolve(&self, path: &[String]) -> Lookup {
        match path {
            [first, rest @ ..] if first == "response" => Lookup::within(&self.object, rest),
            path => Lookup::within(&self.object, path),
        }
    }

    /// `json.select` with whole paths: the built-in one knows only names and indexes.
    fn call(
        &self,
        functor: &str,
        function: &str,
        arguments: &[Value],
    ) -> Result<Option<Lookup>, String> {
        match (functor, function, arguments) {
            (
                "json",
                "select",
                [
                    Value::String(path),
                    document @ (Value::Object(_) | Value::Array(_)),
                ],
            ) => {
                let found = json_path::select(path, document).inspect_err(|wrong| {
                    self.unreadable.replace(Some(wrong.clone()));
                })?;
                Ok(Some(found.map_or(Lookup::Undefined, Lookup::Value)))
            }
            _ => Ok(None),
        }
    }
}
