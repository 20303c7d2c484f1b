//! Rules that users give: on an object by annotation, or for a kind by ConfigMap.

#![allow(clippy::unwrap_used, clippy::needless_pass_by_value, missing_docs)]

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use sortie_health::Status::{Degraded, Healthy, Progressing, Suspended, Unknown};
use sortie_health::diagnosis::{Budgets, Change, Class, Observation};
use sortie_health::steady::{Steady, SteadyState};
use sortie_health::{ClusterRules, Facts, Rule, Status, assess, assess_with};

fn object(annotations: Value, status: Value) -> Value {
    json!({
        "apiVersion": "example.com/v1", "kind": "Widget",
        "metadata": {"name": "w", "generation": 2, "annotations": annotations},
        "spec": {"replicas": 2, "deploymentName": "w"}, "status": status,
    })
}

#[track_caller]
fn check(object: &Value, status: Status, says: &str) {
    let verdict = assess(object);
    assert_eq!(verdict.status, status, "{}: {object}", verdict.message);
    assert!(
        verdict.message.contains(says),
        "{:?} lacks {says:?}",
        verdict.message
    );
}

#[test]
fn an_expression_on_the_object() {
    let status = json!({"phase": "Odd", "ready": 2, "why": "because"});
    let with = |rule: &str| object(json!({"sortie.dev/health": rule}), status.clone());
    for (rule, expected, says) in [
        (
            "status.phase == 'Odd'",
            Healthy,
            "annotation sortie.dev/health",
        ),
        ("self.status.ready == object.spec.replicas", Healthy, ""),
        (
            "status.phase == 'Even'",
            Progressing,
            "not yet true: status.phase == 'Even'",
        ),
        (
            "status.leader != ''",
            Progressing,
            "status.leader is not there yet",
        ),
        ("data.x == 'y'", Progressing, "data.x is not there yet"),
        (
            "status.phase == 'Odd' ? 'Degraded: ' + status.why : true",
            Degraded,
            "because",
        ),
        (
            "status.phase == 'Odd' ? 'Suspended' : 'Healthy'",
            Suspended,
            "by its rule",
        ),
        ("'Fine'", Unknown, "\"Fine\" is not a status"),
        ("status.ready", Unknown, "a whole number"),
        ("status.phase > 1", Unknown, "do not go together"),
        (
            "status.phase ==",
            Unknown,
            "cannot be read: the expression ends too early (at character 16)",
        ),
        ("phase == 'Odd'", Unknown, "there is no 'phase'"),
    ] {
        check(&with(rule), expected, says);
    }
}

#[test]
fn rules_come_after_the_generation_and_before_the_kind() {
    let rule = json!({"sortie.dev/health": "status.phase == 'Failed'"});
    check(
        &object(rule.clone(), json!({"phase": "Failed"})),
        Healthy,
        "",
    );
    check(
        &object(
            rule.clone(),
            json!({"phase": "Failed", "observedGeneration": 1}),
        ),
        Progressing,
        "seen 1",
    );
    let broken = json!({"sortie.dev/health": "("});
    check(
        &object(broken, json!({"observedGeneration": 1})),
        Unknown,
        "cannot be read",
    );
    let mut deleted = object(rule, json!({"phase": "Failed"}));
    deleted["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    check(&deleted, Progressing, "being deleted");
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"generation": 1, "annotations": {"sortie.dev/health": "status.readyReplicas >= 1"}},
        "spec": {"replicas": 3}, "status": {"observedGeneration": 1, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 1},
    });
    check(&deployment, Healthy, "");
}

#[test]
fn conditions_as_harness_has_them() {
    let status = json!({"availableReplicas": 2, "phase": "Odd", "said": "<+status.phase>", "conditions": [{"type": "Ready", "status": "True"}]});
    let with = |steady: &str| {
        object(
            json!({"harness.io/steadyStateCondition": steady}),
            status.clone(),
        )
    };
    for (condition, expected, says) in [
        (
            "${json.select(\"$..status.availableReplicas\", response) == json.select(\"$..spec.replicas\", response) && json.select(\"$..spec.deploymentName\", response) == \"w\"}",
            Healthy,
            "steady state condition is true",
        ),
        (
            "${json.select(\"$.status.phase\", response) == \"Even\"}",
            Progressing,
            "not yet true",
        ),
        (
            "json.select('status.conditions[?(@.type==\"Ready\")].status', response) == 'True'",
            Healthy,
            "",
        ),
        (
            "<+json.select('$.status.phase', response)> == 'Odd'",
            Healthy,
            "",
        ),
        ("response.status.availableReplicas > 1", Healthy, ""),
        ("status.availableReplicas >= spec.replicas", Healthy, ""),
        (
            "json.select('$.status.x', response) == 1",
            Progressing,
            "not yet true",
        ),
        ("json.select('$.status.x', response) == null", Healthy, ""),
        ("1==1", Healthy, ""),
        ("response.status.said == '< +status.phase>'", Healthy, ""),
        (
            "json.select('$.status[', response) == 1",
            Unknown,
            "the path `$.status[` cannot be read",
        ),
        (
            "status.phase == == 1",
            Unknown,
            "annotation harness.io/steadyStateCondition cannot be read",
        ),
        ("status.phase", Unknown, "cannot be evaluated"),
    ] {
        check(&with(condition), expected, says);
    }
}

#[test]
fn a_failure_condition_comes_first() {
    let with = |annotations: Value, phase: &str| object(annotations, json!({"phase": phase}));
    let both = json!({
        "harness.io/steadyStateCondition": "status.phase != 'Starting'",
        "harness.io/failureCondition": "${status.phase == 'Broken'}",
    });
    check(
        &with(both.clone(), "Broken"),
        Degraded,
        "failure condition is true: status.phase == 'Broken'",
    );
    check(&with(both.clone(), "Starting"), Progressing, "not yet true");
    check(&with(both, "Up"), Healthy, "");
    // Alone, it leaves the rest to the rule of the kind.
    let alone = json!({"harness.io/failureCondition": "status.phase == 'Ready'"});
    check(&with(alone.clone(), "Ready"), Degraded, "");
    check(&with(alone, "Provisioning"), Progressing, "Provisioning");
    // Our own names count before the others.
    let ours = json!({"harness.io/steadyStateCondition": "false", "sortie.dev/steady-state-condition": "true"});
    check(&with(ours, "Odd"), Healthy, "");
}

#[test]
fn rules_of_the_cluster() {
    let rules = ClusterRules::of(&json!({"data": {
        "Widget.example.com": "status.phase == 'Odd'",
        "ConfigMap": "data.ready == 'yes'",
        "Gadget.example.com": "status.",
    }}));
    let errors = rules.errors();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].code(), "SRT-H021");
    assert!(
        errors[0].to_string().contains("Gadget.example.com"),
        "{}",
        errors[0]
    );
    let facts = Facts {
        rules: Arc::new(rules),
        ..Facts::default()
    };
    let status = |object: &Value| assess_with(object, &facts).status;
    let widget = object(json!({}), json!({"phase": "Odd"}));
    assert_eq!(assess(&widget).status, Progressing);
    assert_eq!(status(&widget), Healthy);
    let own = object(
        json!({"sortie.dev/health": "false"}),
        json!({"phase": "Odd"}),
    );
    assert_eq!(status(&own), Progressing);
    for (api, kind, expected) in [
        ("v1", "ConfigMap", Progressing),
        ("example.com/v2", "Gadget", Unknown),
        ("example.org/v1", "Widget", Healthy),
    ] {
        let object = json!({"apiVersion": api, "kind": kind, "metadata": {"name": "x"}});
        assert_eq!(status(&object), expected, "{api} {kind}");
    }
    let mut rules = ClusterRules::of(&json!({"data": {"A.b": "true", "odd": 3}}));
    rules.add(&json!({"data": {"A.b": "false", "C.d": "true"}}));
    let joined = ClusterRules::of(&json!({"data": {"A.b": "true", "C.d": "true"}}));
    assert_eq!(rules, joined);
    assert!(ClusterRules::of(&json!({"data": 3})).is_empty());
}

#[test]
fn a_rule_with_a_mistake_is_found_before_the_deployment() {
    for (annotations, wrong) in [
        (json!({}), false),
        (json!({"sortie.dev/health": "status.phase == 'x'"}), false),
        (json!({"sortie.dev/health": "status.phase = 'x'"}), true),
        (json!({"sortie.dev/health": "x".repeat(9000)}), true),
        (
            json!({"harness.io/steadyStateCondition": "status.phase == 'x'"}),
            false,
        ),
        (
            json!({"harness.io/steadyStateCondition": "json.select('$.a.b', response) == 1"}),
            false,
        ),
        (json!({"harness.io/steadyStateCondition": "("}), true),
        (json!({"harness.io/failureCondition": "frob()"}), true),
        (
            json!({"harness.io/failureCondition": "x".repeat(9000)}),
            true,
        ),
    ] {
        let object = object(annotations, json!({}));
        assert_eq!(Rule::of(&object).is_err(), wrong, "{object}");
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

#[test]
fn a_wait_follows_the_rule() {
    let observe = |steady: &mut SteadyState, object: &Value, seconds| {
        let observation = Observation {
            workload: object,
            revisions: vec![].into(),
            pods: vec![].into(),
            events: vec![].into(),
        };
        steady.observe(&observation, at(seconds))
    };
    let wait = |object: &Value| {
        SteadyState::new(
            object,
            Change::Changed,
            Facts::default(),
            Budgets::default(),
        )
    };
    let rule = |rule: &str| {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "generation": 1, "annotations": {"sortie.dev/health": rule}},
            "spec": {"replicas": 1},
            "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1},
        })
    };
    // A workload that its kind calls healthy and its rule failed: failed, once it has lasted.
    for (text, class) in [
        ("'Degraded: no leader'", Class::Degraded),
        ("status.nothing >", Class::RuleUnfit),
        ("1", Class::RuleUnfit),
    ] {
        let object = rule(text);
        let mut steady = wait(&object);
        assert!(
            matches!(observe(&mut steady, &object, 0), Steady::Waiting { .. }),
            "{text}"
        );
        match observe(&mut steady, &object, 30) {
            Steady::Failed(cause) => assert_eq!(cause.class, class, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    let waiting = rule("has(status.leader)");
    let mut steady = wait(&waiting);
    assert!(matches!(
        observe(&mut steady, &waiting, 0),
        Steady::Waiting { .. }
    ));
    assert!(matches!(
        observe(&mut steady, &waiting, 900),
        Steady::Waiting { .. }
    ));
    let mut there = waiting;
    there["status"]["leader"] = json!("web-0");
    assert!(matches!(
        observe(&mut steady, &there, 901),
        Steady::Reached(_)
    ));
}
