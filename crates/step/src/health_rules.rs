//! Rules for the health of all objects of a kind, which a ConfigMap gives to a namespace or to everything that a delegate
//! or a command line deploys; and the check of every rule before the first write.

use std::sync::Arc;

use serde_json::{Value, json};
use sortie_cluster::{Cause, Cluster, Error, Resource};
use sortie_health::{ClusterRules, Rule, RuleError};
use sortie_manifest::Object;

use crate::failure::{Failure, FailureKind, chain};
use crate::report::{Level, Sink as _, Unit};
use crate::run::Run;

/// Name of the ConfigMap.
pub const CONFIG_MAP: &str = "sortie-health-rules";
/// Namespace of the rules that hold for every release, where no delegate has a namespace of its own.
pub const SHARED_NAMESPACE: &str = "sortie-system";

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The rules; a kind that has one in an earlier namespace keeps it.
    pub rules: Arc<ClusterRules>,
    /// ConfigMaps that the account may not read.
    pub forbidden: Vec<String>,
}

/// Read the rules of these namespaces, the one that goes before the others first.
///
/// # Errors
/// The API server cannot be asked. Where there is no ConfigMap there are no rules.
pub async fn read(cluster: &Cluster, namespaces: &[&str]) -> Result<Found, Error> {
    let config_maps = Resource::config_maps();
    let mut wanted: Vec<&str> = Vec::new();
    for namespace in namespaces {
        if !namespace.is_empty() && !wanted.contains(namespace) {
            wanted.push(namespace);
        }
    }
    let reads = wanted
        .iter()
        .map(|namespace| cluster.get(&config_maps, Some(namespace), CONFIG_MAP));
    let mut rules = ClusterRules::default();
    let mut forbidden = Vec::new();
    for (namespace, read) in wanted.iter().zip(futures::future::join_all(reads).await) {
        match read {
            Ok(Some(config_map)) => rules.add(&config_map),
            Ok(None) => {}
            Err(error) if matches!(error.cause(), Cause::Forbidden { .. }) => {
                forbidden.push(format!("{namespace}/{CONFIG_MAP}"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Found {
        rules: Arc::new(rules),
        forbidden,
    })
}

/// Read the rules for a step.
pub(crate) async fn of_run(run: &Run<'_>) -> Result<Arc<ClusterRules>, Failure> {
    let namespaces = [
        run.task.release.namespace.as_str(),
        run.env.rules_namespace.as_str(),
    ];
    let found = read(&run.env.cluster, &namespaces).await;
    let Found { rules, forbidden } = found.map_err(|error| Failure::cluster(&error))?;
    for name in forbidden {
        let text =
            format!("rules for health in ConfigMap {name} are not known: it may not be read");
        run.info(Unit::Initialize, text);
    }
    Ok(rules)
}

/// Whether every rule that will judge an object of the set can be read.
///
/// # Errors
/// One cannot: all of them in the log, the first in the failure.
pub(crate) fn check(
    run: &Run<'_>,
    objects: &[Object],
    rules: &ClusterRules,
) -> Result<(), Failure> {
    let wrong = unreadable(objects, rules);
    let Some(first) = wrong.first() else {
        let unused = rules.errors();
        for error in unused {
            run.warn(Unit::Initialize, chain(&error));
        }
        return Ok(());
    };
    if wrong.len() > 1 {
        for line in &wrong {
            run.sink.log(Unit::Initialize, Level::Error, line);
        }
    }
    let mut text = first.clone();
    if wrong.len() > 1 {
        text.push_str(&format!(" (and {} more)", wrong.len() - 1));
    }
    let hint = "correct the rule; docs/health.md has its language, and `sortie health -f FILE` tries it on an object";
    Err(Failure::new(
        FailureKind::Configuration,
        RuleError::CODE,
        text,
        hint,
    ))
}

/// The same for a rollback, which no rule hinders: its objects are of unknown health.
pub(crate) fn warn(run: &Run<'_>, objects: &[Object], rules: &ClusterRules) {
    for line in unreadable(objects, rules) {
        run.warn(Unit::Initialize, line);
    }
}

/// What is wrong with the rules of these objects, in words.
fn unreadable(objects: &[Object], rules: &ClusterRules) -> Vec<String> {
    let mut lines = Vec::new();
    for object in objects {
        let metadata = object.value().get("metadata");
        let annotated = metadata.is_some_and(|metadata| metadata.get("annotations").is_some());
        if !annotated && rules.is_empty() {
            continue;
        }
        // All that a rule is found by.
        let outline = json!({
            "apiVersion": object.api_version(),
            "kind": object.kind(),
            "metadata": metadata.unwrap_or(&Value::Null),
        });
        let wrong = match Rule::of(&outline) {
            Ok(None) => rules.error(&outline),
            Ok(Some(_)) => None,
            Err(error) => Some(error),
        };
        if let Some(error) = wrong {
            let (place, id) = (object.origin(), object.id());
            lines.push(format!("{place}: {id}: {error}"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use sortie_manifest::Limits;

    use super::*;

    const SET: &str = r#"
apiVersion: example.com/v1
kind: Widget
metadata: {name: good, annotations: {sortie.dev/health: "status.ready"}}
---
apiVersion: example.com/v1
kind: Widget
metadata: {name: bad, annotations: {sortie.dev/health: "status.ready =="}}
---
apiVersion: example.com/v1
kind: Widget
metadata: {name: older, annotations: {harness.io/steadyStateCondition: "<+json.select('status.x', response)> == "}}
---
apiVersion: example.com/v1
kind: Gadget
metadata: {name: of-its-kind}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: none}
"#;

    #[test]
    fn every_rule_that_cannot_be_read_is_named_with_its_object_and_its_place() {
        let objects = sortie_manifest::parse("set.yaml", SET.as_bytes(), &Limits::default());
        let rules = ClusterRules::of(&json!({
            "metadata": {"namespace": "shop", "name": CONFIG_MAP},
            "data": {"Gadget.example.com": "1 +", "Widget.example.com": ")", "Other.example.com": "("},
        }));
        let lines = unreadable(&objects.unwrap(), &rules);
        let parts = [
            [
                "set.yaml:6",
                "bad",
                "annotation sortie.dev/health",
                "at character",
            ],
            [
                "set.yaml:10",
                "older",
                "harness.io/steadyStateCondition",
                "at character",
            ],
            [
                "set.yaml:14",
                "of-its-kind",
                "ConfigMap shop/sortie-health-rules",
                "at character 4",
            ],
        ];
        assert_eq!(lines.len(), parts.len(), "{lines:#?}");
        for (line, parts) in lines.iter().zip(parts) {
            for part in parts {
                assert!(line.contains(part), "{part}: {line}");
            }
        }
    }
}
