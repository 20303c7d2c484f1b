//! What an audit log of [`Audit::Effects`](crate::Audit::Effects) says was changed, and how two runs of one story
//! differ in it. Pure.
//!
//! A run that was killed and taken up again may send more requests than one that was not, but must have the same
//! effects: no object made, changed or deleted once more.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::audit_event::Event;

/// Accounts of the cluster's own controllers.
const CONTROLLERS: &str = "system:serviceaccount:kube-system:";

/// One write that succeeded, or whose sender was gone before its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// Who sent it.
    pub user: String,
    /// `create`, `update`, `patch`, `delete`.
    pub verb: String,
    /// Plural name of the resource.
    pub resource: String,
    /// Name of the object; of a generated one its prefix.
    pub name: String,
    /// What names the object alike in each run: its resource and name, or its resource and who made it, without what
    /// differs from namespace to namespace.
    pub key: String,
    /// When the server had read it; on one clock, and in order as text.
    pub received: String,
    /// When the server had answered.
    pub answered: String,
    /// Whether it made the object.
    pub created: bool,
    /// Its sender was gone: it may have been done or not.
    pub unanswered: bool,
    /// UID of the object; empty where no body is kept.
    pub uid: String,
    /// Version that the write left; empty where no body is kept.
    pub version: String,
    /// Generation that the write left; 0 for kinds without.
    pub generation: i64,
}

impl Effect {
    /// Whether a controller of the cluster sent it.
    pub fn of_controller(&self) -> bool {
        self.user.starts_with(CONTROLLERS)
    }

    /// Whether it deleted the object, or asked for that.
    pub fn deleted(&self) -> bool {
        self.verb == "delete"
    }
}

/// The writes about a namespace and what is in it, and about objects without a namespace that bear its name in theirs.
/// Dry runs, writes of a status, and what was refused are left out. Lines that are not whole are passed over.
pub fn read(log: &str, namespace: &str) -> Result<Vec<Effect>> {
    let mut effects = Vec::new();
    for line in log.split_inclusive('\n') {
        if !line.starts_with('{') || !line.ends_with('\n') || !line.contains(namespace) {
            continue;
        }
        let event: Event = serde_json::from_str(line).context("parse the audit log")?;
        effects.extend(event.effect(namespace));
    }
    effects.sort_by(|a, b| a.received.cmp(&b.received));
    Ok(effects)
}

/// How the effects of a run differ from those of one that nothing happened to; empty when they do not.
pub fn differences(undisturbed: &[Effect], tried: &[Effect]) -> Vec<String> {
    let (expected, found) = (Sum::of(undisturbed), Sum::of(tried));
    let lost = &found.unanswered;
    let mut differences = Vec::new();
    for (what, expected, found) in [
        ("created", &expected.created, &found.created),
        ("changed", &expected.changed, &found.changed),
        ("deleted", &expected.deleted, &found.deleted),
    ] {
        let keys: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
        for key in keys {
            let count = |sum: &BTreeMap<String, usize>| sum.get(key).copied().unwrap_or_default();
            let (expected, found) = (count(expected), count(found));
            let unknown = lost.get(key).copied().unwrap_or_default();
            if found > expected || found + unknown < expected {
                differences.push(format!("{key} {what} {found} times, not {expected}"));
            }
        }
    }
    for (key, generation) in &found.generations {
        let most = expected.generations.get(key).copied().unwrap_or_default();
        if *generation > most {
            differences.push(format!("{key} has generation {generation}, not {most}"));
        }
    }
    let mut seen = BTreeSet::new();
    for effect in tried.iter().filter(|effect| effect.deleted()) {
        let ours = !effect.unanswered && !effect.of_controller() && !effect.uid.is_empty();
        if ours && !seen.insert(&effect.uid) {
            let Effect { key, uid, .. } = effect;
            differences.push(format!("{key} with UID {uid} deleted a second time"));
        }
    }
    differences
}

/// The writes that `user` had sent to the server only after another's, which took its place, was answered; until it takes
/// its own turn after the other's last. Those about the Lease count as well.
pub fn late<'a>(effects: &'a [Effect], user: &str, successor: &str) -> Vec<&'a Effect> {
    let leases = |who: &str| {
        let own = |effect: &&Effect| effect.resource == "leases" && effect.user == who;
        let answered = effects.iter().filter(|effect| !effect.unanswered);
        answered.filter(own).collect::<Vec<_>>()
    };
    let turn = leases(successor);
    let (Some(first), Some(last)) = (turn.first(), turn.last()) else {
        return Vec::new();
    };
    let own_turn = leases(user)
        .into_iter()
        .map(|effect| &effect.received)
        .find(|received| **received > last.answered);
    let is_late = |effect: &&Effect| {
        let early = own_turn.is_none_or(|turn| effect.received < *turn);
        effect.user == user && effect.received > first.answered && early && !effect.unanswered
    };
    effects.iter().filter(is_late).collect()
}

/// Who wrote in turn, Leases left out and each stretch of one account named once.
pub fn turns(effects: &[Effect]) -> Vec<&str> {
    let mut turns: Vec<&str> = effects
        .iter()
        .filter(|effect| !effect.of_controller() && !effect.unanswered)
        .filter(|effect| effect.resource != "leases")
        .map(|effect| effect.user.as_str())
        .collect();
    turns.dedup();
    turns
}

/// How often each object was written.
#[derive(Debug, Default)]
struct Sum {
    created: BTreeMap<String, usize>,
    /// Versions that writes of ours have left, of objects whose versions are known.
    changed: BTreeMap<String, usize>,
    deleted: BTreeMap<String, usize>,
    generations: BTreeMap<String, i64>,
    unanswered: BTreeMap<String, usize>,
}

impl Sum {
    fn of(effects: &[Effect]) -> Self {
        let mut sum = Self::default();
        let mut versions = BTreeSet::new();
        for effect in effects {
            let key = || effect.key.clone();
            if effect.unanswered {
                *sum.unanswered.entry(key()).or_default() += 1;
                continue;
            }
            if effect.created {
                *sum.created.entry(key()).or_default() += 1;
            }
            if effect.of_controller() {
                continue;
            }
            if effect.deleted() {
                *sum.deleted.entry(key()).or_default() += 1;
                continue;
            }
            let most = sum.generations.entry(key()).or_default();
            *most = (*most).max(effect.generation);
            // A Lease is renewed as long as a run takes.
            let counts = effect.resource != "leases" && !effect.version.is_empty();
            if counts && versions.insert((&effect.uid, &effect.version)) {
                *sum.changed.entry(key()).or_default() += 1;
            }
        }
        sum
    }
}

impl Event {
    fn effect(self, namespace: &str) -> Option<Effect> {
        let writes = ["create", "update", "patch", "delete"];
        let about = self.object.namespace == namespace || self.object.name.contains(namespace);
        let dry = self.uri.contains("dryRun=") || !self.request["dryRun"].is_null();
        let done = (200..300).contains(&self.status.code);
        let unanswered = self.status.code == 504;
        if !writes.contains(&self.verb.as_str()) || !about || dry || !(done || unanswered) {
            return None;
        }
        // What each namespace is given, sooner or later.
        let given = ["kube-root-ca.crt", "default"].contains(&self.object.name.as_str());
        if !self.object.subresource.is_empty() || given {
            return None;
        }
        let text = |pointer: &str| {
            let found = self.response.pointer(pointer).and_then(Value::as_str);
            found.unwrap_or_default().to_owned()
        };
        let uid = [
            text("/metadata/uid"),
            text("/details/uid"),
            self.object.uid.clone(),
        ];
        Some(Effect {
            key: self.key(namespace),
            created: self.status.code == 201,
            unanswered,
            uid: uid
                .into_iter()
                .find(|uid| !uid.is_empty())
                .unwrap_or_default(),
            version: text("/metadata/resourceVersion"),
            generation: self.response["metadata"]["generation"]
                .as_i64()
                .unwrap_or_default(),
            user: self.user.name,
            verb: self.verb,
            resource: self.object.resource,
            name: self.object.name,
            received: self.received,
            answered: self.answered,
        })
    }

    /// The object's name in any namespace.
    fn key(&self, namespace: &str) -> String {
        let resource = match self.object.group.as_str() {
            "" => self.object.resource.clone(),
            group => format!("{}.{group}", self.object.resource),
        };
        let resource = resource.replace(namespace, "NAMESPACE");
        let metadata = &self.response["metadata"];
        let owners = metadata["ownerReferences"].as_array();
        let mut owners = owners.into_iter().flatten();
        let maker = owners.find(|owner| owner["controller"] == true);
        if let Some(maker) = maker {
            let (kind, name) = (&maker["kind"], maker["name"].as_str().unwrap_or_default());
            let kind = kind.as_str().unwrap_or_default();
            // A ReplicaSet bears a hash of its pods.
            let name = match kind {
                "ReplicaSet" => name.rsplit_once('-').map_or(name, |(name, _)| name),
                _ => name,
            };
            return format!("{resource} of {kind} {name}");
        }
        let generated = metadata["generateName"].as_str();
        let name = generated.unwrap_or(&self.object.name);
        format!(
            "{resource} {}",
            without_hashes(&name.replace(namespace, "NAMESPACE"))
        )
    }
}

/// The text with a `#` for each run of at least eight hexadecimal digits.
fn without_hashes(text: &str) -> String {
    let mut out = String::new();
    let mut run = String::new();
    let flush = |run: &mut String, out: &mut String| {
        out.push_str(if run.len() >= 8 { "#" } else { run });
        run.clear();
    };
    for c in text.chars() {
        if c.is_ascii_digit() || ('a'..='f').contains(&c) {
            run.push(c);
        } else {
            flush(&mut run, &mut out);
            out.push(c);
        }
    }
    flush(&mut run, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ME: &str = "system:serviceaccount:default:first";
    const YOU: &str = "system:serviceaccount:default:second";
    const CONTROLLER: &str = "system:serviceaccount:kube-system:deployment-controller";

    /// A line of the log: who, when, `verb resource name`, code, and the answer's metadata.
    #[expect(clippy::needless_pass_by_value, reason = "each is made for its line")]
    fn line(user: &str, at: u32, what: &str, code: u16, metadata: Value) -> String {
        let mut words = what.split(' ');
        let mut next = || words.next().unwrap_or_default();
        let (verb, resource, name) = (next(), next(), next());
        let event = json!({
            "verb": verb, "requestURI": "/x?timeout=1s", "user": {"username": user},
            "objectRef": {"resource": resource, "namespace": "ns", "name": name},
            "responseStatus": {"code": code}, "responseObject": {"metadata": metadata},
            "requestReceivedTimestamp": format!("2026-01-01T00:00:{at:02}.000000Z"),
            "stageTimestamp": format!("2026-01-01T00:00:{at:02}.500000Z"),
        });
        format!("{event}\n")
    }

    /// A ConfigMap made, a Deployment changed, its ReplicaSet made by its controller, a Job deleted.
    fn undisturbed() -> Vec<String> {
        vec![
            line(
                ME,
                1,
                "patch configmaps a",
                201,
                json!({"uid": "a", "resourceVersion": "1"}),
            ),
            line(
                ME,
                2,
                "patch deployments web",
                200,
                json!({"uid": "w", "resourceVersion": "2", "generation": 2}),
            ),
            line(
                CONTROLLER,
                3,
                "create replicasets web-x1",
                201,
                replica_set("r1", "web-x1"),
            ),
            line(
                ME,
                4,
                "delete jobs before",
                200,
                json!({"uid": "j", "resourceVersion": "4"}),
            ),
        ]
    }

    fn replica_set(uid: &str, name: &str) -> Value {
        let owner = json!([{"kind": "Deployment", "name": "web", "controller": true}]);
        json!({"uid": uid, "name": name, "ownerReferences": owner})
    }

    fn effects(lines: &[String]) -> Vec<Effect> {
        read(&lines.concat(), "ns").unwrap()
    }

    #[test]
    fn every_duplicate_is_found_and_nothing_else() {
        let deployment = |version: &str, generation: i64| json!({"uid": "w", "resourceVersion": version, "generation": generation});
        let job = json!({"uid": "j", "resourceVersion": "5"});
        let planted: Vec<(&str, String, &[&str])> = vec![
            (
                "an object made again under its name",
                line(
                    YOU,
                    9,
                    "patch configmaps a",
                    201,
                    json!({"uid": "a2", "resourceVersion": "9"}),
                ),
                &[
                    "configmaps a created 2 times, not 1",
                    "configmaps a changed 2 times, not 1",
                ],
            ),
            (
                "a second ReplicaSet",
                line(
                    CONTROLLER,
                    9,
                    "create replicasets web-x2",
                    201,
                    replica_set("r2", "web-x2"),
                ),
                &["replicasets of Deployment web created 2 times, not 1"],
            ),
            (
                "a hook that runs twice",
                line(
                    YOU,
                    9,
                    "create jobs again",
                    201,
                    json!({"uid": "j2", "resourceVersion": "9"}),
                ),
                &[
                    "jobs again created 1 times, not 0",
                    "jobs again changed 1 times, not 0",
                ],
            ),
            (
                "another generation",
                line(YOU, 9, "patch deployments web", 200, deployment("9", 3)),
                &[
                    "deployments web changed 2 times, not 1",
                    "deployments web has generation 3, not 2",
                ],
            ),
            (
                "the same object deleted again",
                line(YOU, 9, "delete jobs before", 200, job),
                &[
                    "jobs before deleted 2 times, not 1",
                    "jobs before with UID j deleted a second time",
                ],
            ),
            (
                "a patch that changes nothing",
                line(YOU, 9, "patch deployments web", 200, deployment("2", 2)),
                &[],
            ),
            (
                "a refusal",
                line(YOU, 9, "patch deployments web", 409, json!({})),
                &[],
            ),
            (
                "a renewal",
                line(
                    YOU,
                    9,
                    "update leases l",
                    200,
                    json!({"uid": "l", "resourceVersion": "9"}),
                ),
                &[],
            ),
            (
                "a status",
                line(
                    CONTROLLER,
                    9,
                    "update deployments web",
                    200,
                    deployment("9", 2),
                ),
                &[],
            ),
            (
                "a controller's deletion",
                line(
                    CONTROLLER,
                    9,
                    "delete pods web-x1-y",
                    200,
                    json!({"uid": "p"}),
                ),
                &[],
            ),
            (
                "a dry run",
                line(YOU, 9, "patch configmaps b", 201, json!({"uid": "b"}))
                    .replace("timeout=1s", "dryRun=All"),
                &[],
            ),
            (
                "another namespace",
                line(YOU, 9, "patch configmaps b", 201, json!({"uid": "b"}))
                    .replace("\"ns\"", "\"other\""),
                &[],
            ),
            ("half a line", "{\"verb\":\"create\",\"ns".to_owned(), &[]),
        ];
        let before = effects(&undisturbed());
        assert!(differences(&before, &before).is_empty());
        for (what, line, expected) in planted {
            let mut lines = undisturbed();
            lines.push(line);
            assert_eq!(differences(&before, &effects(&lines)), expected, "{what}");
        }
        // What is missing is found as well, unless it may have been done for one who was gone.
        let mut lines = undisturbed();
        lines[0] = line(ME, 1, "patch configmaps a", 504, json!({}));
        assert_eq!(differences(&before, &effects(&lines)), Vec::<String>::new());
        lines.remove(0);
        let found = differences(&before, &effects(&lines));
        assert_eq!(
            found,
            [
                "configmaps a created 0 times, not 1",
                "configmaps a changed 0 times, not 1"
            ]
        );
    }

    #[test]
    fn who_comes_late_is_known_by_the_lease() {
        let taken = line(
            YOU,
            5,
            "update leases l",
            200,
            json!({"uid": "l", "resourceVersion": "5"}),
        );
        let mut lines = undisturbed();
        lines.push(taken);
        assert!(late(&effects(&lines), ME, YOU).is_empty());
        lines.push(line(
            ME,
            6,
            "patch configmaps a",
            200,
            json!({"uid": "a", "resourceVersion": "6"}),
        ));
        let all = effects(&lines);
        let late = late(&all, ME, YOU);
        assert_eq!(late.len(), 1);
        assert_eq!(late[0].version, "6");
        assert_eq!(turns(&all), [ME]);
        // Its own turn after the other's is no intrusion.
        let take = |user, at| line(user, at, "update leases l", 200, json!({"uid": "l"}));
        lines.extend([take(YOU, 7), take(ME, 8)]);
        lines.push(line(ME, 9, "patch configmaps a", 200, json!({"uid": "a"})));
        let all = effects(&lines);
        let versions: Vec<_> = super::late(&all, ME, YOU)
            .iter()
            .map(|late| &late.version)
            .collect();
        assert_eq!(versions, ["6"]);
    }

    #[test]
    fn turns_are_stretches() {
        let write = |user, at| line(user, at, "patch configmaps a", 200, json!({"uid": "a"}));
        let all = effects(&[write(ME, 1), write(ME, 2), write(YOU, 3), write(ME, 4)]);
        assert_eq!(turns(&all), [ME, YOU, ME]);
    }

    #[test]
    fn names_differ_only_by_what_is_not_a_hash() {
        for (name, expected) in [
            ("sortie.part.0123456789abcdef", "sortie.part.#"),
            ("sortie.release.shop.12", "sortie.release.shop.12"),
            ("settings-abc", "settings-abc"),
            ("deadbeef-x", "#-x"),
        ] {
            assert_eq!(without_hashes(name), expected);
        }
    }
}
