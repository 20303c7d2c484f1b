//! JSONPath, as far as conditions about one object use it: `$.status.phase`, `$..replicas`, `$.list[0]`, `$.list[*].name`,
//! `$.status.conditions[?(@.type == 'Ready')].status`, and `.length()` at the end.

use serde_json::Value;

/// Most values that one path may look at.
const VISITS: usize = 100_000;
/// Most steps of a path.
const STEPS: usize = 64;

enum Step {
    Name(String),
    Index(usize),
    /// `[*]`, `.*`
    Every,
    /// `..name`, or `..*` without a name.
    Deep(Option<String>),
    /// `[?(@.path == 'value')]`
    Where(Vec<String>, bool, Value),
}

/// What the path leads to. A path that may lead to several values gives their list, or the value itself if it is one.
pub(super) fn select(path: &str, document: &Value) -> Result<Option<Value>, String> {
    let (path, length) = match path.strip_suffix(".length()") {
        Some(path) => (path, true),
        None => (path, false),
    };
    let steps = steps(path).ok_or_else(|| {
        let shown: String = path.chars().take(60).collect();
        format!("the path `{shown}` cannot be read")
    })?;
    let mut visits = 0;
    let mut found = vec![document];
    for step in &steps {
        let mut next = Vec::new();
        for value in found {
            step.follow(value, &mut next, &mut visits)?;
        }
        found = next;
    }
    let several = steps
        .iter()
        .any(|step| matches!(step, Step::Every | Step::Deep(_) | Step::Where(..)));
    let value = match found.as_slice() {
        [] if !several || !length => None,
        [only] => Some((*only).clone()),
        all => Some(all.iter().map(|value| (*value).clone()).collect()),
    };
    if !length {
        return Ok(value);
    }
    match value {
        None => Ok(None),
        Some(Value::Array(list)) => Ok(Some(list.len().into())),
        Some(Value::Object(map)) => Ok(Some(map.len().into())),
        Some(_) => Err("what the path leads to has no length".to_owned()),
    }
}

impl Step {
    fn follow<'a>(
        &self,
        value: &'a Value,
        next: &mut Vec<&'a Value>,
        visits: &mut usize,
    ) -> Result<(), String> {
        *visits += 1;
        if *visits > VISITS {
            return Err("the path leads to too much".to_owned());
        }
        match self {
            Self::Name(name) => next.extend(value.get(name)),
            Self::Index(index) => next.extend(value.get(index)),
            Self::Every => next.extend(inner(value)),
            Self::Deep(name) => {
                match name {
                    Some(name) => next.extend(value.get(name)),
                    None => next.extend(inner(value)),
                }
                for value in inner(value) {
                    self.follow(value, next, visits)?;
                }
            }
            Self::Where(path, equal, wanted) => {
                for value in inner(value) {
                    *visits += 1;
                    let there = path.iter().try_fold(value, |value, name| value.get(name));
                    if there.is_some_and(|there| (there == wanted) == *equal) {
                        next.push(value);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Elements of a list, values of a map.
fn inner(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Array(list) => Box::new(list.iter()),
        Value::Object(map) => Box::new(map.values()),
        _ => Box::new(std::iter::empty()),
    }
}

fn steps(path: &str) -> Option<Vec<Step>> {
    let mut rest = path.trim().strip_prefix('$').unwrap_or_else(|| path.trim());
    let mut steps = Vec::new();
    // A path may begin with a name.
    let mut may_be_bare = !rest.starts_with(['.', '[']);
    while !rest.is_empty() {
        if steps.len() == STEPS {
            return None;
        }
        if let Some(inside) = rest.strip_prefix('[') {
            let (step, after) = bracket(inside)?;
            steps.push(step);
            rest = after;
        } else {
            let deep = rest.starts_with("..");
            let after_dots = rest.strip_prefix("..").or_else(|| rest.strip_prefix('.'));
            let at = after_dots.or_else(|| may_be_bare.then_some(rest))?;
            let end = at.find(['.', '[']).unwrap_or(at.len());
            let (name, after) = at.split_at(end);
            if deep && name.is_empty() && after.starts_with('[') {
                steps.push(Step::Deep(None));
            } else {
                steps.push(match (name, deep) {
                    ("", _) => return None,
                    ("*", true) => Step::Deep(None),
                    ("*", false) => Step::Every,
                    (name, true) => Step::Deep(Some(name.to_owned())),
                    (name, false) => Step::Name(name.to_owned()),
                });
            }
            rest = after;
        }
        may_be_bare = false;
    }
    Some(steps)
}

/// What stands in brackets, and what follows them.
fn bracket(inside: &str) -> Option<(Step, &str)> {
    if let Some(after) = inside.strip_prefix("*]") {
        return Some((Step::Every, after));
    }
    if let Some(filter) = inside.strip_prefix("?(") {
        return condition(filter);
    }
    if let Some((name, after)) = quoted(inside) {
        return Some((Step::Name(name), after.strip_prefix(']')?));
    }
    let (index, after) = inside.split_once(']')?;
    Some((Step::Index(index.trim().parse().ok()?), after))
}

/// `@.a.b == 'x')]`
fn condition(filter: &str) -> Option<(Step, &str)> {
    let path = filter.trim_start().strip_prefix('@')?;
    let end = path.find(['=', '!'])?;
    let (path, rest) = path.split_at(end);
    let (equal, rest) = match (rest.strip_prefix("=="), rest.strip_prefix("!=")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return None,
    };
    let rest = rest.trim_start();
    let (value, rest) = match quoted(rest) {
        Some((text, rest)) => (Value::String(text), rest),
        None => {
            let (word, _) = rest.split_once(')')?;
            (
                serde_json::from_str(word.trim()).ok()?,
                rest.strip_prefix(word)?,
            )
        }
    };
    let names: Vec<String> = path.trim().split('.').skip(1).map(str::to_owned).collect();
    if names.is_empty() || names.iter().any(String::is_empty) {
        return None;
    }
    let after = rest.trim_start().strip_prefix(")]")?;
    Some((Step::Where(names, equal, value), after))
}

/// A text in quotes, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|it| matches!(it, '\'' | '"'))?;
    let (inner, after) = text.get(1..)?.split_once(quote)?;
    Some((inner.to_owned(), after))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_to_values() {
        let document = json!({
            "spec": {"replicas": 2, "a-b": {"c.d": 7}},
            "status": {"replicas": 3, "conditions": [
                {"type": "Ready", "status": "True", "n": 1},
                {"type": "Synced", "status": "False", "n": 2},
            ]},
        });
        for (path, expected) in [
            ("$.spec.replicas", Some(json!(2))),
            ("spec.replicas", Some(json!(2))),
            ("$['spec']['a-b'][\"c.d\"]", Some(json!(7))),
            ("$.spec.x", None),
            ("$.spec.x.y", None),
            ("$..replicas", Some(json!([2, 3]))),
            ("$..spec.replicas", Some(json!(2))),
            ("$..x", None),
            ("$.status.conditions[1].type", Some(json!("Synced"))),
            ("$.status.conditions[9].type", None),
            (
                "$.status.conditions[*].type",
                Some(json!(["Ready", "Synced"])),
            ),
            (
                "$.status.conditions[?(@.type=='Ready')].status",
                Some(json!("True")),
            ),
            (
                "$.status.conditions[?( @.type == \"Ready\" )].status",
                Some(json!("True")),
            ),
            (
                "$.status.conditions[?(@.type != 'Ready')].status",
                Some(json!("False")),
            ),
            (
                "$.status.conditions[?(@.n == 2)].type",
                Some(json!("Synced")),
            ),
            ("$.status.conditions[?(@.type == 'X')].status", None),
            ("$.status.conditions.length()", Some(json!(2))),
            ("$", Some(document.clone())),
        ] {
            assert_eq!(select(path, &document), Ok(expected), "{path}");
        }
        for path in [
            "$.",
            "$...x",
            "$.a[",
            "$.a[x]",
            "$.a[?(@.b)]",
            "$.a[?(x == 1)]",
            "$.spec.replicas.length()",
            "$[1]b",
            &".a".repeat(70),
        ] {
            assert!(select(path, &document).is_err(), "{path}");
        }
    }

    #[test]
    fn a_path_does_not_look_at_too_much() {
        let mut document = json!(1);
        for _ in 0..60 {
            document = json!({"a": document, "b": [1, 2, 3]});
        }
        assert!(select("$..*..*..*..*", &document).is_err());
        assert!(select("$..a", &document).is_ok());
    }
}
