//! Kinds without a rule of their own: what operators share by the Kubernetes API conventions, and what they mean by
//! the words they write.
//!
//! Every sign that the object gives is read ([`conditions`], [`stated`]) and the worst decides, where failed is worse than
//! held, held worse than on its way, and all are worse than good. Before that comes what ends the question: the object
//! is suspended by whoever wrote it ([`hold`]), or its status is of an older generation. No operator has a rule here: a
//! word means the same for all of them.

mod conditions;
mod hold;
mod stated;
mod words;

use serde_json::Value;

use crate::read::{has, int, kind, text};
use crate::verdict::Verdict;
use conditions::Conditions;
use stated::Stated;
use words::Sense;

/// Fields of a status that tell the generation which it is about.
const GENERATIONS: [&str; 4] = [
    "observedGeneration",
    "lastGeneration",
    "lastReconciledGeneration",
    "reconciledGeneration",
];

/// Last words of the names of kinds whose objects are made to come to an end.
const RUNS: [&str; 14] = [
    "backup",
    "benchmark",
    "build",
    "experiment",
    "export",
    "import",
    "job",
    "migration",
    "operation",
    "restore",
    "run",
    "scan",
    "transfer",
    "workflow",
];

/// First words of the names of kinds that make such objects again and again.
const REPEATS: [&str; 6] = [
    "cluster",
    "cron",
    "recurring",
    "scaled",
    "schedule",
    "scheduled",
];

/// One sign of health, and what it says in words.
struct Sign {
    sense: Sense,
    why: String,
}

pub(super) fn general(object: &Value) -> Verdict {
    if !has(object, "/status") && !has(object, "/spec") {
        return Verdict::healthy("exists");
    }
    let runs = runs_to_an_end(object);
    let stated = Stated::of(object, runs);
    if let Some(how) = hold::wished(object) {
        return match stated.stopping() {
            Some(word) => Verdict::progressing(format!("{how}, and is {word}")),
            None => Verdict::suspended(how),
        };
    }
    if let Some(behind) = behind(object) {
        return behind;
    }
    let conditions = Conditions::of(object);
    if let Some(verdict) = conditions.first_of_all() {
        return verdict;
    }
    let mut signs = conditions.signs(runs);
    let summed_up = !signs.is_empty() && conditions.sum_up();
    signs.extend(stated.signs(summed_up));
    let worst = signs.iter().map(|sign| sign.sense).max();
    let Some(worst) = worst else {
        return unsaid(object, runs, &stated, &conditions);
    };
    // Of the signs that say the same, the first says it best.
    let why = signs
        .into_iter()
        .find(|sign| sign.sense == worst)
        .map_or_else(String::new, |sign| sign.why);
    match worst {
        Sense::Good => Verdict::healthy(why),
        Sense::Working => Verdict::progressing(why),
        Sense::Held => Verdict::suspended(why),
        Sense::Bad => Verdict::degraded(why),
    }
}

/// Nothing that we can read.
fn unsaid(object: &Value, runs: bool, stated: &Stated<'_>, conditions: &Conditions<'_>) -> Verdict {
    if conditions.are_outdated() {
        Verdict::progressing("its conditions are of an earlier generation")
    } else if let Some(word) = stated.unknown() {
        Verdict::progressing(word)
    } else if runs {
        Verdict::progressing("has not come to its end")
    } else if has(object, "/status") {
        Verdict::healthy("exists; its status says nothing about health")
    } else {
        Verdict::healthy("exists")
    }
}

/// Progressing while the status, or a part of it, is of an older generation.
pub(super) fn behind(object: &Value) -> Option<Verdict> {
    let generation = int(object, "/metadata/generation")?;
    let seen = generations(object).find(|seen| *seen < generation)?;
    Some(Verdict::progressing(format!(
        "its controller has not seen the latest change yet (generation {generation}, seen {seen})"
    )))
}

/// Does the object say which generation its status is about? One that has neither spec nor status need not.
pub(super) fn tells_generation(object: &Value) -> bool {
    generations(object).next().is_some()
        || Conditions::of(object).tell_generation()
        || !(has(object, "/spec") || has(object, "/status"))
}

/// The generations that the status and its parts are about.
fn generations(object: &Value) -> impl Iterator<Item = i64> {
    let status = object.pointer("/status").unwrap_or(&Value::Null);
    let parts = status
        .as_object()
        .into_iter()
        .flatten()
        // Conditions tell their own generation, each for itself.
        .filter(|(name, _)| *name != "conditions" && stated::is_about_now(name))
        .flat_map(|(_, part)| {
            part.as_array()
                .map_or_else(|| std::slice::from_ref(part), Vec::as_slice)
        });
    std::iter::once(status)
        .chain(parts)
        .filter_map(|part| GENERATIONS.iter().find_map(|name| number(part.get(name)?)))
}

/// A whole number, also one that is written as text.
fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

/// Is the object made to come to an end, such as a Job or a Backup? For these, running is being on the way.
fn runs_to_an_end(object: &Value) -> bool {
    let parts = words::parts(kind(object));
    let first = parts.first().map_or("", String::as_str);
    let last = parts.last().map_or("", String::as_str);
    let group = ["set", "group", "flow"].contains(&last) && parts.iter().any(|part| part == "job");
    // A template or a schedule of such objects is none.
    let repeats =
        (parts.len() > 1 && REPEATS.contains(&first)) || text(object, "/spec/schedule").is_some();
    (group || RUNS.contains(&last)) && !repeats
}
