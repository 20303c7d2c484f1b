//! Rules for all objects of a kind, from the data of ConfigMaps.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Rule, RuleError};
use crate::read;

/// Rules by kind. Each key of a ConfigMap's data is `Kind.group` (`Kind` alone for the core group), its value a CEL
/// expression as in the annotation `sortie.dev/health`:
///
/// ```yaml
/// data:
///   Widget.example.com: status.phase == "Failed" ? "Degraded: " + status.message : status.phase == "Ready"
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClusterRules {
    /// By key: the ConfigMap, where it says its name, and the expression.
    expressions: BTreeMap<String, (String, String)>,
}

impl ClusterRules {
    /// The rules of one ConfigMap.
    #[must_use]
    pub fn of(config_map: &Value) -> Self {
        let mut rules = Self::default();
        rules.add(config_map);
        rules
    }

    /// Adds the rules of another ConfigMap; a kind that has a rule already keeps it.
    pub fn add(&mut self, config_map: &Value) {
        let data = config_map.get("data").and_then(Value::as_object);
        let metadata = |key| config_map.pointer(key).and_then(Value::as_str);
        let source = match (metadata("/metadata/namespace"), metadata("/metadata/name")) {
            (Some(namespace), Some(name)) => format!(" in ConfigMap {namespace}/{name}"),
            _ => String::new(),
        };
        for (key, expression) in data.into_iter().flatten() {
            if let Some(expression) = expression.as_str() {
                self.expressions
                    .entry(key.clone())
                    .or_insert_with(|| (source.clone(), expression.to_owned()));
            }
        }
    }

    /// Rules that cannot be read. Objects of their kinds are Unknown; all others are judged.
    #[must_use]
    pub fn errors(&self) -> Vec<RuleError> {
        self.expressions
            .iter()
            .filter_map(|(key, rule)| read_rule(key, rule).err())
            .collect()
    }

    /// Why the rule for objects of this kind cannot be read, if there is one and it cannot.
    #[must_use]
    pub fn error(&self, object: &Value) -> Option<RuleError> {
        self.rule(object)?.err()
    }

    /// Is there no rule?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.expressions.is_empty()
    }

    /// The rule for objects of this kind.
    pub(super) fn rule(&self, object: &Value) -> Option<Result<Rule, RuleError>> {
        if self.is_empty() {
            return None;
        }
        let kind = read::kind(object);
        let key = match read::group(object) {
            "" => kind.to_owned(),
            group => format!("{kind}.{group}"),
        };
        let rule = self.expressions.get(&key)?;
        Some(read_rule(&key, rule))
    }
}

fn read_rule(key: &str, (source, expression): &(String, String)) -> Result<Rule, RuleError> {
    Rule::expression(&format!("the rule for {key}{source}"), expression)
}
