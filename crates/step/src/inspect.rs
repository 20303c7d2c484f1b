//! How the objects of a release are right now, for people who ask: read once, and nothing waited for.

mod documents;
mod recorded;
mod sides;
mod versions;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use serde_json::Value;
use sortie_cluster::record::Tracked;
use sortie_cluster::{Cause as Refusal, Cluster, Error, clock};
use sortie_health::diagnosis::{Cause, Glance, Observation, covers, glance};
use sortie_health::{ClusterRules, Facts, Status, Verdict};
use sortie_manifest::workload::Workload;
use sortie_manifest::{Object, ObjectId, labels};

use crate::adoption::object_of;
use crate::confidential::Confidential;
use crate::failure::chain;
use crate::report::MASK;
use crate::steady::facts::{Set, complete, is_tracked};
use crate::steady::{last_words, surroundings};

pub use documents::inspect_documents;
pub use recorded::recorded_secrets;
pub use sides::{fallen_stage, former_whole, is_of_set, is_progressive, services, sides};
pub use versions::live_identities;

/// Objects that are read at a time.
const AT_ONCE: usize = 16;

/// One object as it is now.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// What identifies it.
    pub id: ObjectId,
    /// How it is.
    pub verdict: Verdict,
    /// What is wrong with its pods, when it is a workload that is not healthy.
    pub trouble: Option<Trouble>,
    /// Whether it is unknown because the account may not read it.
    pub is_forbidden: bool,
}

impl Inspected {
    /// An object that could not be read.
    #[must_use]
    pub fn unread(id: ObjectId, why: &Error) -> Self {
        Self {
            id,
            verdict: Verdict::new(Status::Unknown, chain(why)),
            trouble: None,
            is_forbidden: matches!(why.cause(), Refusal::Forbidden { .. }),
        }
    }
}

/// Trouble in the words that a failed deployment would use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Stable code with a page in the error reference.
    pub code: &'static str,
    /// One line: pod, container, reason, last log lines.
    pub explanation: String,
    /// What to do about it.
    pub hint: &'static str,
}

/// An object as it was read; an error is about this one alone.
type Found = Result<Option<Value>, Error>;

/// What is around the workloads of a namespace: pods, revisions, events.
type Surroundings = [Vec<Value>; 3];

/// Look at each of these objects, in their order, as a deployment of all of them would: by what they say about each other
/// and by the [rules](crate::health_rules) of the cluster. Of a release with
/// this [hash](sortie_cluster::record::Release::hash) only its own pods are read. What the Secrets among the objects hold, and
/// those among `known`, is masked in everything that is told.
///
/// # Errors
/// The API server does not answer. What it does not show is unknown, with the reason. Pods and events that may not be read leave their workloads unexplained.
pub async fn inspect(
    cluster: &Cluster,
    release: Option<&str>,
    objects: &[Tracked],
    rules: &Arc<ClusterRules>,
    known: Vec<Object>,
) -> Result<Vec<Inspected>, Error> {
    let found: Vec<Found> = stream::iter(objects)
        .map(|tracked| async {
            match cluster.find(&tracked.id).await {
                Ok(found) => Ok(Ok(found.map(|(_, object)| object))),
                Err(error) if is_of_one(&error) => Ok(Err(error)),
                Err(error) => Err(error),
            }
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let set = set_of(objects, &found);
    let ours = release.map(|hash| format!("{}={hash}", labels::RELEASE));
    let mut around: BTreeMap<(&str, bool), Surroundings> = BTreeMap::new();
    let mut inspected = Vec::new();
    for (tracked, object) in objects.iter().zip(&found) {
        let id = &tracked.id;
        let object = match object {
            Ok(object) => object.as_ref(),
            Err(why) => {
                inspected.push(Inspected::unread(id.clone(), why));
                continue;
            }
        };
        let mut trouble = None;
        let mut verdict = match object {
            Some(object) => {
                let mut facts = set
                    .as_ref()
                    .map_or_else(Facts::default, |set| set.about(id, object));
                facts.rules = Arc::clone(rules);
                complete(&mut facts, cluster, object).await;
                sortie_health::assess_with(object, &facts)
            }
            None => Verdict::missing(),
        };
        if let (Some(object), Some(namespace)) = (object, &id.namespace)
            && is_ill(&verdict)
            && covers(object)
        {
            // Pods that were taken over keep the labels that they had.
            let label = ours.as_deref();
            let label =
                label.filter(|_| release.is_some_and(|release| is_tracked(object, release)));
            let around = match around.entry((namespace.as_str(), label.is_some())) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(read_around(cluster, namespace, label).await?),
            };
            let around = around
                .each_ref()
                .map(|list| list.iter().collect::<Vec<_>>());
            let around = around.each_ref().map(Vec::as_slice);
            if let Some(cause) = diagnose(object, &mut verdict, around, clock::now()) {
                let words = last_words(cluster, &cause).await;
                trouble = Some(Trouble::of(&cause, &words));
            }
        }
        let id = id.clone();
        inspected.push(Inspected {
            id,
            verdict,
            trouble,
            is_forbidden: false,
        });
    }
    let found = found.into_iter().flatten().flatten();
    let known = known.into_iter().map(Object::into_value);
    mask(&mut inspected, found.chain(known));
    Ok(inspected)
}

/// Mask what the Secrets among `objects` hold. What these say about themselves or others makes nothing public: it may be just
/// what is to be masked.
fn mask(inspected: &mut [Inspected], objects: impl Iterator<Item = Value>) {
    let specified = objects.filter_map(|mut object| {
        object.as_object_mut()?.remove("status");
        object_of(object).filter(|object| object.kind() != "Event")
    });
    let objects: Vec<Object> = specified.collect();
    let mut held = Confidential::default();
    held.learn(objects.iter(), &[]);
    for Inspected {
        verdict, trouble, ..
    } in inspected
    {
        verdict.message = held.mask(&verdict.message, MASK);
        if let Some(trouble) = trouble {
            trouble.explanation = held.mask(&trouble.explanation, MASK);
        }
    }
}

/// Whether the API server refuses to show one object, and may show others.
fn is_of_one(error: &Error) -> bool {
    matches!(
        error.cause(),
        Refusal::Forbidden { .. } | Refusal::Server { .. } | Refusal::Unreadable { .. }
    )
}

/// What the workloads say about the rest; `None` when one of them cannot be read.
fn set_of(objects: &[Tracked], found: &[Found]) -> Option<Set> {
    let mut workloads = Vec::new();
    for (tracked, live) in objects.iter().zip(found) {
        if Workload::of(&tracked.id.group, &tracked.id.kind).is_some() {
            workloads.extend(live.as_ref().ok()?.clone().and_then(object_of));
        }
    }
    Some(Set::of(workloads.iter()))
}

async fn read_around(
    cluster: &Cluster,
    namespace: &str,
    label: Option<&str>,
) -> Result<Surroundings, Error> {
    let mut read = Surroundings::default();
    let selections = surroundings(cluster, namespace, label).await?;
    for (selection, list) in selections.iter().zip(&mut read) {
        match cluster.list(selection).await {
            Ok(objects) => *list = objects,
            Err(error) if matches!(error.cause(), Refusal::Forbidden { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

/// Whether there is something to explain.
fn is_ill(verdict: &Verdict) -> bool {
    !matches!(verdict.status, Status::Healthy | Status::Suspended)
}

/// What is wrong with the pods of a workload; `around` are pods, revisions and events. Where they have only just started,
/// the verdict says so.
fn diagnose(
    object: &Value,
    verdict: &mut Verdict,
    around: [&[&Value]; 3],
    now: Timestamp,
) -> Option<Cause> {
    let [pods, revisions, events] = around.map(Cow::Borrowed);
    let observation = Observation {
        workload: object,
        revisions,
        pods,
        events,
    };
    match glance(&observation, now) {
        Glance::Fine => None,
        Glance::Starting(line) => {
            *verdict = Verdict::new(verdict.status, format!("{}; {line}", verdict.message));
            None
        }
        Glance::Trouble(cause) => Some(*cause),
    }
}

impl Trouble {
    /// `words` are the last lines of the container's log, as far as they are known.
    fn of(cause: &Cause, words: &[String]) -> Self {
        Self {
            code: cause.code(),
            explanation: cause.one_line(words),
            hint: cause.hint(),
        }
    }
}
