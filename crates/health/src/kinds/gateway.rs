//! Gateway API, by its specification: a route is judged for each of its parents, a Gateway with its listeners, and only
//! by conditions of the current generation.

use serde_json::Value;

use crate::read::{Condition, condition, condition_in, int, list, text};
use crate::verdict::{Status, Verdict};

pub(super) const GROUP: &str = "gateway.networking.k8s.io";

/// What a controller says that has not looked yet.
const NOT_YET: [&str; 3] = ["Pending", "Waiting", "AddressNotAssigned"];

pub(super) fn class(object: &Value) -> Verdict {
    positive(condition(object, "Accepted"), "accepted")
}

pub(super) fn gateway(object: &Value) -> Verdict {
    let generation = generation(object);
    let accepted = condition(object, "Accepted");
    // Controllers of before version 1.0 write Scheduled.
    let accepted = positive(
        accepted.or_else(|| condition(object, "Scheduled")),
        "accepted",
    );
    if accepted.status != Status::Healthy {
        return accepted;
    }
    for listener in list(object, "/status/listeners") {
        let find = |kind| condition_in(list(listener, "/conditions"), kind, generation);
        let refused = ["Accepted", "ResolvedRefs"]
            .into_iter()
            .filter_map(find)
            .find(|it| it.is_false() && !NOT_YET.contains(&it.reason()))
            .or_else(|| find("Conflicted").filter(|it| it.is_true()));
        if let Some(refused) = refused {
            let name = text(listener, "/name").unwrap_or("?");
            return Verdict::degraded(format!("listener {name}: {}", refused.explain()));
        }
    }
    positive(condition(object, "Programmed"), "programmed")
}

pub(super) fn route(object: &Value) -> Verdict {
    let wanted = list(object, "/spec/parentRefs");
    if wanted.is_empty() {
        return Verdict::healthy("names no parent, so that nothing is routed by it");
    }
    let namespace = text(object, "/metadata/namespace").unwrap_or("");
    let generation = generation(object);
    let mut verdicts = Vec::new();
    for parent in wanted {
        let name = text(parent, "/name").unwrap_or("?");
        let told: Vec<&Value> = list(object, "/status/parents")
            .iter()
            .filter(|told| {
                told.pointer("/parentRef")
                    .is_some_and(|told| identity(told, namespace) == identity(parent, namespace))
            })
            .collect();
        if told.is_empty() {
            verdicts.push(Verdict::progressing(format!(
                "{name} has not looked at it yet"
            )));
        }
        // Several controllers may answer for one parent.
        verdicts.extend(told.iter().map(|told| of_parent(told, name, generation)));
    }
    let worst = verdicts.iter().map(|it| it.status).max();
    let parents = wanted.len();
    verdicts
        .into_iter()
        .find(|it| Some(it.status) == worst && it.status != Status::Healthy)
        .unwrap_or_else(|| {
            let plural = if parents == 1 { "" } else { "s" };
            Verdict::healthy(format!("accepted by {parents} parent{plural}"))
        })
}

/// What one parent says of a route.
fn of_parent(told: &Value, name: &str, generation: i64) -> Verdict {
    let find = |kind| condition_in(list(told, "/conditions"), kind, generation);
    if let Some(partly) = find("PartiallyInvalid").filter(|it| it.is_true()) {
        return Verdict::degraded(format!("{name}: {}", partly.explain()));
    }
    let accepted = positive(find("Accepted"), "accepted");
    let verdict = if accepted.status == Status::Healthy && find("ResolvedRefs").is_some() {
        positive(find("ResolvedRefs"), "resolved")
    } else {
        accepted
    };
    Verdict::new(verdict.status, format!("{name}: {}", verdict.message))
}

/// True is well, False is refused unless the controller has only not looked yet.
fn positive(condition: Option<Condition<'_>>, word: &str) -> Verdict {
    match condition {
        Some(it) if it.is_true() => Verdict::healthy(word),
        Some(it) if it.is_false() && !NOT_YET.contains(&it.reason()) => {
            Verdict::degraded(format!("not {word}: {}", it.explain()))
        }
        Some(it) => Verdict::progressing(format!("not {word} yet: {}", it.explain())),
        None => Verdict::progressing(format!("not {word} yet")),
    }
}

/// What tells one parent from another, with the defaults of the API.
fn identity<'a>(parent: &'a Value, namespace: &'a str) -> impl PartialEq + use<'a> {
    (
        parent
            .pointer("/group")
            .and_then(Value::as_str)
            .unwrap_or(GROUP),
        text(parent, "/kind").unwrap_or("Gateway"),
        text(parent, "/namespace").unwrap_or(namespace),
        text(parent, "/name"),
        text(parent, "/sectionName"),
        int(parent, "/port"),
    )
}

fn generation(object: &Value) -> i64 {
    int(object, "/metadata/generation").unwrap_or(0)
}
