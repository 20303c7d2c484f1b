//! Refusals for what only one object can have at a time: it may get free when another object is gone.

use crate::error::{Cause, Error};

/// Whether an object is refused for what another one occupies: room that a quota leaves, a port, an address, being the
/// default. Not for a quota that even an empty namespace would not satisfy.
pub(super) fn is_occupied(error: &Error) -> bool {
    let is = |message: &str| {
        message.contains("already allocated") || message.contains("already marked as default")
    };
    match error.cause() {
        Cause::Quota { message } => message.contains("exceeded quota") && may_fit(message),
        Cause::Invalid { problems } => {
            !problems.is_empty() && problems.iter().all(|problem| is(&problem.message))
        }
        Cause::Forbidden { message } | Cause::Server { message, .. } => is(message),
        _ => false,
    }
}

/// Whether what a quota's refusal says is asked for is no more than its limits. What cannot be read may fit: only trying
/// tells.
fn may_fit(message: &str) -> bool {
    let limits: Vec<(&str, f64)> = amounts(message, "limited: ").collect();
    amounts(message, "requested: ").all(|(resource, asked)| {
        let mut limits = limits.iter();
        let limit = limits.find(|(limited, _)| *limited == resource);
        limit.is_none_or(|(_, limit)| asked <= *limit)
    })
}

/// The amounts (`cpu=2,memory=1Gi`) that follow a word of the API server's message about a quota.
fn amounts<'a>(message: &'a str, word: &str) -> impl Iterator<Item = (&'a str, f64)> {
    let listed = message.split_once(word).map_or("", |(_, rest)| rest);
    let listed = listed.split([' ', '\n']).next().unwrap_or_default();
    listed
        .split(',')
        .filter_map(|amount| amount.split_once('='))
        .filter_map(|(resource, amount)| Some((resource, quantity(amount)?)))
}

/// A quantity as Kubernetes writes it: `1.5`, `500m`, `2Gi`, `3e6`.
fn quantity(text: &str) -> Option<f64> {
    if let Ok(number) = text.parse::<f64>() {
        return number.is_finite().then_some(number);
    }
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, suffix) = text.split_at_checked(at)?;
    let factor = match suffix {
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024_f64,
        "Mi" => 1024_f64.powi(2),
        "Gi" => 1024_f64.powi(3),
        "Ti" => 1024_f64.powi(4),
        "Pi" => 1024_f64.powi(5),
        "Ei" => 1024_f64.powi(6),
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Problem;

    #[test]
    fn a_refusal_without_any_problem_is_about_nothing_that_gets_free() {
        let taken = Problem {
            field: "spec.clusterIP".to_owned(),
            message: "provided IP is already allocated".to_owned(),
        };
        for (problems, occupied) in [(vec![taken], true), (Vec::new(), false)] {
            let error = Error::new("apply", "a", Cause::Invalid { problems });
            assert_eq!(is_occupied(&error), occupied);
        }
    }

    #[test]
    fn a_quota_that_is_too_small_for_the_object_alone_leaves_no_room_ever() {
        for (asked, limit, occupied) in [
            ("pods=1", "pods=1", true),
            ("pods=1", "pods=0", false),
            ("requests.storage=2Gi", "requests.storage=1500Mi", false),
            ("requests.storage=1Gi", "requests.storage=1500Mi", true),
            ("cpu=500m", "cpu=1", true),
            ("cpu=1500m,pods=1", "cpu=1,pods=5", false),
            ("cpu=1e3", "cpu=1k", true),
            ("cpu=what", "cpu=1", true),
        ] {
            let message = format!(
                "services \"a\" is forbidden: exceeded quota: small, requested: {asked}, used: pods=1, limited: {limit}"
            );
            let error = Error::new("apply", "a", Cause::Quota { message });
            assert_eq!(is_occupied(&error), occupied, "{asked} of {limit}");
        }
    }
}
