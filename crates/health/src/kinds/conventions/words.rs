//! What a word that an operator writes means: `Ready`, `SyncFailed`, `Setting up primary`, `HEALTH_OK`.
//!
//! Words are split at capitals, spaces and punctuation, and each part is looked up; the worst part decides. What is in
//! no list is read by its ending, as English does: what ends in "-ing" goes on, what ends in "-ed" is done.

/// What a word says about the object; of several, the last in this order decides.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Sense {
    /// As wished.
    Good,
    /// On its way.
    Working,
    /// Stopped on purpose.
    Held,
    /// Failed.
    Bad,
}

/// Parts of a text that are looked at; what a longer text goes on to say is for people.
const PARTS: usize = 24;

const BAD: [&str; 68] = [
    "abort",
    "aborted",
    "backoff",
    "bad",
    "blocked",
    "broken",
    "canceled",
    "cancelled",
    "conflict",
    "conflicted",
    "conflicts",
    "corrupt",
    "corrupted",
    "crash",
    "crashed",
    "crashloop",
    "critical",
    "dead",
    "degraded",
    "denied",
    "disallowed",
    "disconnected",
    "err",
    "error",
    "errored",
    "errors",
    "evicted",
    "exceeded",
    "exception",
    "expired",
    "fail",
    "failed",
    "failing",
    "fails",
    "failure",
    "failures",
    "fatal",
    "faulted",
    "faulty",
    "forbidden",
    "impaired",
    "incompatible",
    "inconsistent",
    "insufficient",
    "interrupted",
    "invalid",
    "killed",
    "lost",
    "misconfigured",
    "orphaned",
    "panic",
    "preempted",
    "red",
    "refused",
    "rejected",
    "revoked",
    "stalled",
    "stuck",
    "terminal",
    "terminated",
    "timeout",
    "unauthorized",
    "unhealthy",
    "unreachable",
    "unrecoverable",
    "unsatisfiable",
    "unsupported",
    "violated",
];

const HELD: [&str; 17] = [
    "approval",
    "deactivated",
    "disabled",
    "halted",
    "held",
    "hibernated",
    "hibernation",
    "hold",
    "inactive",
    "onhold",
    "paused",
    "quiesced",
    "shutoff",
    "sleeping",
    "stopped",
    "suspend",
    "suspended",
];

/// On the way to being held: as long as one of these is said, it is not.
const STOPPING: [&str; 9] = [
    "deactivating",
    "draining",
    "halting",
    "hibernating",
    "pausing",
    "quiescing",
    "stopping",
    "suspending",
    "shutting",
];

const WORKING: [&str; 34] = [
    "await",
    "bootstrap",
    "delayed",
    "deleted",
    "failover",
    "init",
    "new",
    "outdated",
    "partial",
    "pending",
    "planned",
    "progress",
    "queued",
    "recoverable",
    "removed",
    "requested",
    "requeued",
    "retry",
    "rollback",
    "scheduled",
    "submitted",
    "throttled",
    "unattached",
    "unavailable",
    "unbound",
    "undeployed",
    "uninitialized",
    "uninstalled",
    "unprovisioned",
    "unready",
    "unscheduled",
    "unsynced",
    "wait",
    "yellow",
];

/// Said of what has come to its end, and well.
const ENDED: [&str; 15] = [
    "available",
    "bound",
    "complete",
    "completed",
    "done",
    "ended",
    "finished",
    "fulfilled",
    "joined",
    "ok",
    "passed",
    "ready",
    "succeeded",
    "success",
    "successful",
];

const GOOD: [&str; 21] = [
    "active",
    "alive",
    "clean",
    "current",
    "green",
    "healthy",
    "idle",
    "latest",
    "live",
    "normal",
    "okay",
    "online",
    "operational",
    "optimal",
    "running",
    "serving",
    "stable",
    "started",
    "up",
    "uptodate",
    "valid",
];

/// Words in "-ing" that say nothing about going on.
const NOT_GOING_ON: [&str; 8] = [
    "during",
    "existing",
    "following",
    "missing",
    "nothing",
    "string",
    "thing",
    "using",
];

/// Words in "-ed" that say nothing about being done.
const NOT_DONE: [&str; 14] = [
    "advised",
    "based",
    "changed",
    "deprecated",
    "drifted",
    "expected",
    "limited",
    "mixed",
    "need",
    "needed",
    "undefined",
    "unmanaged",
    "unspecified",
    "unused",
];

const NEGATIONS: [&str; 7] = ["no", "non", "not", "never", "none", "un", "without"];

/// The lower-case parts of a text: `notReady` is "not ready", `HEALTH_OK` is "health ok".
pub(super) fn parts(text: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut open = false;
    let mut before = ' ';
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if !character.is_alphanumeric() {
            // An apostrophe does not end a word.
            open = open && character == '\'';
            before = character;
            continue;
        }
        let next_is_small = characters.peek().is_some_and(|next| next.is_lowercase());
        let begins = character.is_uppercase()
            && (before.is_lowercase() || (before.is_uppercase() && next_is_small));
        if !open || begins {
            if parts.len() == PARTS {
                break;
            }
            parts.push(String::new());
            open = true;
        }
        if let Some(part) = parts.last_mut() {
            part.extend(character.to_lowercase());
        }
        before = character;
    }
    parts
}

/// What a stated word or sentence means, or nothing that we know. `runs` tells of an object that is made to come to an
/// end, for which running is being on the way.
pub(super) fn sense(text: &str, runs: bool) -> Option<Sense> {
    let parts = parts(text);
    let joined = parts.concat();
    if matches!(joined.as_str(), "uptodate" | "notapplicable" | "unknown") {
        return (joined == "uptodate").then_some(Sense::Good);
    }
    if ["inprogress", "failingover", "rollingback", "rolledback"]
        .iter()
        .any(|phrase| joined.contains(phrase))
    {
        return Some(Sense::Working);
    }
    if joined.contains("crashloop") || joined.contains("backoff") {
        return Some(Sense::Bad);
    }
    let mut said = None;
    for (index, part) in parts.iter().enumerate() {
        let negated = index > 0 && NEGATIONS.contains(&parts[index - 1].as_str());
        let sense = match of_part(part, runs) {
            Some(Sense::Good) if negated => Some(Sense::Working),
            Some(_) if negated => None,
            sense => sense,
        };
        said = said.max(sense);
    }
    said
}

/// Does the text end in a word for what is over and well, as in `NewReplicaSetAvailable`? `ReplicaSetUpdated` does not.
pub(super) fn ends_well(text: &str) -> bool {
    match parts(text).as_slice() {
        [.., before, last] => {
            of_part(last, true) == Some(Sense::Good) && !NEGATIONS.contains(&before.as_str())
        }
        [last] => of_part(last, true) == Some(Sense::Good),
        [] => false,
    }
}

/// Is the object said to be stopping, with the end not reached?
pub(super) fn is_stopping(text: &str) -> bool {
    parts(text)
        .iter()
        .any(|part| STOPPING.contains(&part.as_str()))
}

fn of_part(part: &str, runs: bool) -> Option<Sense> {
    let listed = |list: &[&str]| list.contains(&part);
    if listed(&BAD) {
        Some(Sense::Bad)
    } else if listed(&HELD) {
        Some(Sense::Held)
    } else if listed(&WORKING) {
        Some(Sense::Working)
    } else if listed(&ENDED) {
        Some(Sense::Good)
    } else if listed(&GOOD) {
        Some(if runs { Sense::Working } else { Sense::Good })
    } else if goes_on(part) {
        Some(Sense::Working)
    } else if is_done(part) {
        Some(if runs { Sense::Working } else { Sense::Good })
    } else {
        None
    }
}

/// "provisioning", "initialization".
pub(super) fn goes_on(part: &str) -> bool {
    (part.len() > 5 && part.ends_with("ing") && !NOT_GOING_ON.contains(&part))
        || part.ends_with("ization")
        || part.ends_with("isation")
}

/// "provisioned", "attached".
fn is_done(part: &str) -> bool {
    part.len() > 4 && part.ends_with("ed") && !part.ends_with("eed") && !NOT_DONE.contains(&part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_split_into_words() {
        for (text, expected) in [
            ("Ready", "ready"),
            ("notReady", "not ready"),
            ("HEALTH_OK", "health ok"),
            ("VMINotExists", "vmi not exists"),
            ("Setting up: primary", "setting up primary"),
            ("isn't ready", "isnt ready"),
            ("", ""),
            ("…", ""),
        ] {
            assert_eq!(parts(text).join(" "), expected, "{text}");
        }
        assert_eq!(parts(&"a ".repeat(1000)).len(), PARTS);
    }

    #[test]
    fn words_have_a_sense() {
        use Sense::{Bad, Good, Held, Working};
        for (text, expected) in [
            ("ready", Some(Good)),
            ("NotReady", Some(Working)),
            ("UpToDate", Some(Good)),
            ("Cluster in healthy state", Some(Good)),
            ("Provisioned", Some(Good)),
            ("Provisioning", Some(Working)),
            ("InProgress", Some(Working)),
            ("Failing over", Some(Working)),
            ("SyncFailed", Some(Bad)),
            ("PartiallyFailed", Some(Bad)),
            ("CrashLoopBackOff", Some(Bad)),
            ("no errors", None),
            ("Paused", Some(Held)),
            ("Unsuspended", Some(Good)),
            ("RequiresApproval", Some(Held)),
            ("unknown", None),
            ("v1.2.3", None),
            ("Existing", None),
        ] {
            assert_eq!(sense(text, false), expected, "{text}");
        }
    }

    #[test]
    fn running_is_not_the_end_of_what_runs_to_an_end() {
        assert_eq!(sense("Running", false), Some(Sense::Good));
        assert_eq!(sense("Running", true), Some(Sense::Working));
        assert_eq!(sense("Created", true), Some(Sense::Working));
        assert_eq!(sense("Completed", true), Some(Sense::Good));
    }

    #[test]
    fn what_is_stopping_has_not_stopped() {
        assert!(is_stopping("Stopping"));
        assert!(!is_stopping("Stopped"));
    }

    #[test]
    fn no_word_has_two_meanings() {
        let mut all: Vec<&str> = [&BAD[..], &HELD, &STOPPING, &WORKING, &ENDED, &GOOD].concat();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
