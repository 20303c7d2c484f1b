//! Hooks: objects that run before or after everything else of a deployment. Pure.
//!
//! A hook says so by `sortie.dev/hook: pre-deploy` or `post-deploy`, or by Helm's annotations. It gets a wave far before or
//! after all others, so that it is tried out, recorded, resumed and waited for like everything else. A Job or Pod that
//! is a hook runs once per release: the release's number is appended to its name.

use sortie_manifest::Object;
use sortie_manifest::annotations::HOOK_NAME;

use crate::failure::{Failure, FailureKind};

/// Annotation of a hook; deployed hooks carry it whatever they were written with.
pub(crate) const HOOK: &str = "sortie.dev/hook";
const HELM_HOOK: &str = "helm.sh/hook";
const WEIGHTS: [&str; 2] = ["sortie.dev/hook-weight", "helm.sh/hook-weight"];
const POLICIES: [&str; 2] = [
    "sortie.dev/hook-delete-policy",
    "helm.sh/hook-delete-policy",
];
const WAVE: &str = "sortie.dev/wave";

const PRE: &str = "pre-deploy";
const POST: &str = "post-deploy";

/// The wave of hooks without a weight, before and after all others.
const FAR: i32 = 1_000_000_000;
/// Larger weights count as this.
const HEAVIEST: i32 = 1_000_000;
/// Longest name of a Job or Pod whose pods have names of their own.
const NAME_LIMIT: usize = 63;

/// When a hook's Job or Pod is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Policy {
    /// After a later release has run its own; so it is where nothing is said.
    pub(crate) before_next: bool,
    /// After its release has succeeded.
    pub(crate) on_success: bool,
    /// After its release has failed.
    pub(crate) on_failure: bool,
}

/// Give the hooks of a set their places. `first`: no release has succeeded before. What is a hook of something else, such
/// as of a test, is left out and comes back in words.
///
/// # Errors
/// An annotation cannot be understood.
pub(crate) fn place(
    objects: &mut Vec<Object>,
    number: u64,
    first: bool,
) -> Result<Vec<String>, Failure> {
    let mut left_out = Vec::new();
    let mut placed = Vec::with_capacity(objects.len());
    for mut object in objects.drain(..) {
        match phase(&object, first)? {
            Phase::None => {}
            Phase::Other(events) => {
                left_out.push(format!(
                    "{} is a hook for {events} and no part of this deployment",
                    object.id()
                ));
                continue;
            }
            Phase::Hook(name) => {
                let weight = weight(&object)?;
                let wave = if name == PRE { -FAR } else { FAR } + weight;
                object.set_annotation(HOOK, name);
                object.set_annotation(WAVE, &wave.to_string());
                if runs(&object) {
                    rename(&mut object, number)?;
                }
            }
        }
        placed.push(object);
    }
    *objects = placed;
    Ok(left_out)
}

/// Whether a deployed object is a hook that runs once per release.
pub(crate) fn is_run(object: &Object) -> bool {
    object.annotation(HOOK).is_some() && runs(object)
}

/// Whether an object that has its place is a hook that runs after everything else.
pub(crate) fn is_after(object: &Object) -> bool {
    object.annotation(HOOK) == Some(POST)
}

/// When a deployed hook is deleted.
pub(crate) fn policy(object: &Object) -> Policy {
    let stated = POLICIES.iter().find_map(|name| object.annotation(name));
    let Some(stated) = stated else {
        return Policy {
            before_next: true,
            ..Policy::default()
        };
    };
    let has = |word: &str| stated.split(',').any(|stated| stated.trim() == word);
    Policy {
        before_next: has("before-hook-creation"),
        on_success: has("hook-succeeded"),
        on_failure: has("hook-failed"),
    }
}

enum Phase {
    None,
    Hook(&'static str),
    Other(String),
}

fn phase(object: &Object, first: bool) -> Result<Phase, Failure> {
    if let Some(stated) = object.annotation(HOOK) {
        return match stated.trim() {
            PRE => Ok(Phase::Hook(PRE)),
            POST => Ok(Phase::Hook(POST)),
            _ => Err(malformed(object, HOOK, "pre-deploy or post-deploy")),
        };
    }
    let Some(stated) = object.annotation(HELM_HOOK) else {
        return Ok(Phase::None);
    };
    let has = |event: &str| stated.split(',').any(|stated| stated.trim() == event);
    let now = if first { "install" } else { "upgrade" };
    if has("crd-install") {
        Ok(Phase::None)
    } else if has(&format!("pre-{now}")) {
        Ok(Phase::Hook(PRE))
    } else if has(&format!("post-{now}")) {
        Ok(Phase::Hook(POST))
    } else {
        Ok(Phase::Other(stated.to_owned()))
    }
}

fn weight(object: &Object) -> Result<i32, Failure> {
    let stated = WEIGHTS
        .iter()
        .find_map(|name| Some((name, object.annotation(name)?)));
    let Some((name, text)) = stated else {
        return Ok(0);
    };
    let weight: Result<i32, _> = text.trim().parse();
    let weight = weight.map_err(|_| malformed(object, name, "a whole number"))?;
    Ok(weight.clamp(-HEAVIEST, HEAVIEST))
}

/// Whether it runs and ends, and cannot be changed in place.
fn runs(object: &Object) -> bool {
    matches!(
        (object.group(), object.kind()),
        ("batch", "Job") | ("", "Pod")
    )
}

fn rename(object: &mut Object, number: u64) -> Result<(), Failure> {
    let suffix = format!("-{number}");
    let written = object.name().to_owned();
    let mut name = written.clone();
    if name.len() + suffix.len() > NAME_LIMIT && name.is_ascii() {
        name.truncate(NAME_LIMIT.saturating_sub(suffix.len()));
    }
    let name = format!("{}{suffix}", name.trim_end_matches(['-', '.']));
    let renamed = object.set_name(&name);
    renamed.map_err(|_| malformed(object, "metadata.name", "a name to which the number fits"))?;
    object.set_annotation(HOOK_NAME, &written);
    Ok(())
}

fn malformed(object: &Object, what: &str, wanted: &str) -> Failure {
    Failure::new(
        FailureKind::Configuration,
        "SRT-T023",
        format!(
            "{}: {} is a hook whose {what} is not {wanted}",
            object.origin(),
            object.id()
        ),
        format!("write {wanted}"),
    )
}

#[cfg(test)]
mod tests {
    use sortie_manifest::Limits;

    use super::*;

    fn job(annotations: &str) -> Vec<Object> {
        let text = format!(
            "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: migrate, annotations: {{{annotations}}}}}\n"
        );
        sortie_manifest::parse("set.yaml", text.as_bytes(), &Limits::default()).unwrap()
    }

    /// Name, phase and wave of the placed Job.
    fn placed(annotations: &str, first: bool) -> Option<(String, String, String)> {
        let mut objects = job(annotations);
        let left_out = place(&mut objects, 7, first).unwrap();
        let object = objects.first()?;
        assert!(left_out.is_empty());
        let annotation = |name: &str| object.annotation(name).unwrap_or_default().to_owned();
        Some((object.name().to_owned(), annotation(HOOK), annotation(WAVE)))
    }

    #[test]
    fn hooks_come_far_before_or_after_everything_and_once_per_release() {
        let helm = "helm.sh/hook: 'pre-install, post-upgrade', helm.sh/hook-weight: '-5'";
        for (annotations, first, name, phase, wave) in [
            ("", true, "migrate", "", ""),
            (
                "sortie.dev/hook: pre-deploy",
                true,
                "migrate-7",
                PRE,
                "-1000000000",
            ),
            (
                "sortie.dev/hook: post-deploy",
                false,
                "migrate-7",
                POST,
                "1000000000",
            ),
            (helm, true, "migrate-7", PRE, "-1000000005"),
            (helm, false, "migrate-7", POST, "999999995"),
            ("helm.sh/hook: crd-install", true, "migrate", "", ""),
        ] {
            let found = placed(annotations, first).unwrap();
            let expected = (name.to_owned(), phase.to_owned(), wave.to_owned());
            assert_eq!(found, expected, "{annotations}");
        }
        for other in ["test", "pre-delete,post-delete", "pre-upgrade"] {
            let mut objects = job(&format!("helm.sh/hook: '{other}'"));
            let left_out = place(&mut objects, 7, true).unwrap();
            assert!(
                objects.is_empty() && left_out[0].contains(other),
                "{left_out:?}"
            );
        }
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        for annotations in [
            "sortie.dev/hook: later",
            "sortie.dev/hook: pre-deploy, sortie.dev/hook-weight: heavy",
        ] {
            let failure = place(&mut job(annotations), 1, true).unwrap_err();
            assert_eq!(failure.code, "SRT-T023", "{annotations}");
            assert!(failure.message.contains("set.yaml"), "{}", failure.message);
        }
    }

    #[test]
    fn a_hook_stays_until_the_next_one_unless_it_says_otherwise() {
        let policy = |annotations: &str| policy(&job(annotations)[0]);
        let unsaid = policy("");
        assert!(unsaid.before_next && !unsaid.on_success && !unsaid.on_failure);
        let said = policy("helm.sh/hook-delete-policy: 'hook-succeeded,hook-failed'");
        assert!(!said.before_next && said.on_success && said.on_failure);
    }

    #[test]
    fn a_long_name_leaves_room_for_the_number() {
        let mut objects = job("sortie.dev/hook: pre-deploy");
        objects[0].set_name(&"a".repeat(63)).unwrap();
        place(&mut objects, 12, true).unwrap();
        assert_eq!(objects[0].name(), format!("{}-12", "a".repeat(60)));
    }
}
