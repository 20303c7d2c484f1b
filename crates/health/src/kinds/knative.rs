//! Kinds of Knative, by its conventions for conditions: one of them, `Ready` or `Succeeded`, sums up all that are of
//! weight; Unknown is on its way, and False is failed, whatever the reason.

use serde_json::Value;

use crate::read::{Condition, condition, group, has};
use crate::verdict::Verdict;

/// Does the kind report at all? Some of those that Knative keeps to itself do not.
pub(super) fn reports(object: &Value) -> bool {
    has(object, "/status") || !group(object).contains(".internal.")
}

pub(super) fn living(object: &Value) -> Verdict {
    let summary: Option<Condition<'_>> =
        condition(object, "Ready").or_else(|| condition(object, "Succeeded"));
    match summary {
        Some(it) if it.is_true() => Verdict::healthy("ready"),
        Some(it) if it.is_false() => Verdict::degraded(it.explain()),
        Some(it) => Verdict::progressing(format!("not ready yet: {}", it.explain())),
        None => Verdict::progressing("not ready yet"),
    }
}
