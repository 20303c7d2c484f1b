//! What became of the objects of a namespace, revision by revision.
//!
//! Several watches tell what happens in an order of their own; the revisions of the store put it into the order in which it
//! happened. So each moment that there was can be looked at afterwards, and none is missed.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use futures::{StreamExt as _, TryStreamExt as _, future::try_join_all};
use kube::{
    Api,
    api::{DynamicObject, GroupVersionKind, ListParams, WatchEvent, WatchParams},
    core::{ApiResource, ObjectList},
};
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use crate::Cluster;

/// A kind to watch: `apiVersion` and `kind`.
pub type Watched = (&'static str, &'static str);

/// What serves requests.
pub const SERVING: [Watched; 7] = [
    ("v1", "Pod"),
    ("v1", "Service"),
    ("discovery.k8s.io/v1", "EndpointSlice"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "ReplicaSet"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
];

/// How long the last events may be on their way.
const LIMIT: Duration = Duration::from_secs(30);
/// A watch is begun anew after so many seconds, at the place where it ended.
const WATCH: u32 = 280;

/// A running record of a namespace. Nothing is watched any more once it is dropped.
#[derive(Debug)]
pub struct Chronicle {
    apis: Vec<(&'static str, Api<DynamicObject>)>,
    history: History,
    events: UnboundedReceiver<Result<Version>>,
    _watches: JoinSet<()>,
}

/// What happened, in its order.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// From this revision on everything is known; what was there before is as it was then.
    pub begin: u64,
    /// What each revision has brought.
    pub versions: Vec<Version>,
}

/// One object after one change of it.
#[derive(Clone, Debug)]
pub struct Version {
    /// The revision of the store.
    pub revision: u64,
    /// Its kind.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// The object; `None` when it was deleted.
    pub object: Option<Value>,
}

/// The objects at one moment, by kind and name.
pub type Objects = BTreeMap<(&'static str, String), Value>;

impl Chronicle {
    /// Begin with what there is of these kinds; the namespace need not exist.
    pub async fn start(cluster: &Cluster, namespace: &str, kinds: &[Watched]) -> Result<Self> {
        let client = cluster.client().await?;
        let (sender, events) = unbounded_channel();
        let mut watches = JoinSet::new();
        let mut history = History::default();
        let mut apis = Vec::new();
        for (version, kind) in kinds {
            let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
            let api = Api::namespaced_with(client.clone(), namespace, &resource);
            let list = list(&api, kind).await?;
            let from = list.metadata.resource_version.unwrap_or_default();
            history.begin = history.begin.max(revision(Some(&from))?);
            for object in list.items {
                history.versions.push(version_of(kind, object, true)?);
            }
            watches.spawn(follow(api.clone(), kind, from, sender.clone()));
            apis.push((*kind, api));
        }
        Ok(Self {
            apis,
            history,
            events,
            _watches: watches,
        })
    }

    /// Everything that has happened until now.
    pub async fn so_far(&mut self) -> Result<&History> {
        let lists = self
            .apis
            .iter()
            .map(async |(kind, api)| anyhow::Ok((*kind, list(api, kind).await?)));
        let mut ends = Vec::new();
        for (kind, list) in try_join_all(lists).await? {
            ends.push(End::of(kind, list)?);
        }
        let catch_up = async {
            while !ends.iter().all(|end| end.is_reached(&self.history)) {
                let event = self.events.recv().await.context("nothing is watched")?;
                self.history.versions.push(event?);
                // What has arrived already needs no look of its own.
                while let Ok(event) = self.events.try_recv() {
                    self.history.versions.push(event?);
                }
            }
            anyhow::Ok(())
        };
        let caught_up = tokio::time::timeout(LIMIT, catch_up).await;
        caught_up.context("the watches do not tell what the lists show")??;
        self.history.versions.sort_by_key(|one| one.revision);
        Ok(&self.history)
    }
}

impl History {
    /// Shows each moment since the beginning: what it has changed, from `None` where it is the beginning itself, and all
    /// objects after that.
    pub fn replay(&self, mut look: impl FnMut(Option<&Version>, &Objects)) {
        let mut objects = Objects::new();
        let (before, since): (Vec<_>, Vec<_>) = self
            .versions
            .iter()
            .partition(|one| one.revision <= self.begin);
        for version in before {
            version.happen(&mut objects);
        }
        look(None, &objects);
        for version in since {
            version.happen(&mut objects);
            look(Some(version), &objects);
        }
    }
}

impl Version {
    fn happen(&self, objects: &mut Objects) {
        let key = (self.kind, self.name.clone());
        match &self.object {
            Some(object) => drop(objects.insert(key, object.clone())),
            None => drop(objects.remove(&key)),
        }
    }
}

/// What a list shows at the end.
struct End {
    kind: &'static str,
    revision: u64,
    live: BTreeMap<String, u64>,
}

impl End {
    fn of(kind: &'static str, list: ObjectList<DynamicObject>) -> Result<Self> {
        let at = revision(list.metadata.resource_version.as_deref())?;
        let mut live = BTreeMap::new();
        for object in list.items {
            let version = revision(object.metadata.resource_version.as_deref())?;
            live.insert(object.metadata.name.unwrap_or_default(), version);
        }
        Ok(Self {
            kind,
            revision: at,
            live,
        })
    }

    /// Whether everything up to the list is known.
    fn is_reached(&self, history: &History) -> bool {
        let mut last: BTreeMap<&str, (u64, bool)> = BTreeMap::new();
        for one in history.versions.iter().filter(|one| one.kind == self.kind) {
            let entry = last.entry(&one.name).or_default();
            if one.revision >= entry.0 {
                *entry = (one.revision, one.object.is_some());
            }
        }
        let names: BTreeSet<&str> = last
            .keys()
            .copied()
            .chain(self.live.keys().map(String::as_str))
            .collect();
        names.into_iter().all(|name| {
            let (known, is_there) = last.get(name).copied().unwrap_or_default();
            match self.live.get(name) {
                Some(listed) => known >= *listed,
                None => !is_there || known > self.revision,
            }
        })
    }
}

async fn list(api: &Api<DynamicObject>, kind: &str) -> Result<ObjectList<DynamicObject>> {
    let list = api.list(&ListParams::default()).await;
    list.with_context(|| format!("list each {kind}"))
}

/// Tells what a watch says, until nobody listens or it breaks.
async fn follow(
    api: Api<DynamicObject>,
    kind: &'static str,
    mut from: String,
    tell: UnboundedSender<Result<Version>>,
) {
    loop {
        let params = WatchParams::default().timeout(WATCH);
        let read = async {
            let events = api.watch(&params, &from).await;
            let mut events = events
                .with_context(|| format!("watch each {kind}"))?
                .boxed();
            while let Some(event) = events.try_next().await? {
                let (object, is_there) = match event {
                    WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, true),
                    WatchEvent::Deleted(object) => (object, false),
                    WatchEvent::Bookmark(mark) => {
                        from = mark.metadata.resource_version;
                        continue;
                    }
                    WatchEvent::Error(status) => {
                        bail!("the watch of each {kind} ended: {status:?}")
                    }
                };
                let version = version_of(kind, object, is_there)?;
                from = version.revision.to_string();
                tell.send(Ok(version))
                    .map_err(|_| anyhow!("nobody listens"))?;
            }
            Ok(())
        };
        if let Err(error) = read.await {
            // Without a listener there is nobody to tell that either.
            drop(tell.send(Err(error)));
            return;
        }
    }
}

fn version_of(kind: &'static str, object: DynamicObject, is_there: bool) -> Result<Version> {
    let revision = revision(object.metadata.resource_version.as_deref())?;
    let name = object.metadata.name.clone().unwrap_or_default();
    let object = is_there.then(|| serde_json::to_value(object));
    let object = object.transpose().context("encode an object")?;
    Ok(Version {
        revision,
        kind,
        name,
        object,
    })
}

fn revision(text: Option<&str>) -> Result<u64> {
    let text = text.context("an object without a version")?;
    text.parse()
        .with_context(|| format!("{text} is no revision"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn version(revision: u64, name: &str, object: Option<u64>) -> Version {
        Version {
            revision,
            kind: "Pod",
            name: name.to_owned(),
            object: object.map(|value| json!(value)),
        }
    }

    #[test]
    fn each_moment_is_shown_once_and_with_what_was_there() {
        let history = History {
            begin: 5,
            versions: vec![
                version(2, "a", Some(1)),
                version(5, "b", Some(1)),
                version(6, "a", None),
                version(7, "b", Some(2)),
            ],
        };
        let mut seen = Vec::new();
        history.replay(|change, objects| {
            let names = objects
                .iter()
                .map(|((_, name), one)| format!("{name}{one}"));
            seen.push((
                change.map(|one| one.revision),
                names.collect::<Vec<_>>().join(" "),
            ));
        });
        let expected = [(None, "a1 b1"), (Some(6), "b1"), (Some(7), "b2")];
        let expected = expected.map(|(at, names)| (at, names.to_owned()));
        assert_eq!(seen, expected);
    }

    #[test]
    fn the_end_is_reached_when_the_watch_knows_all_that_the_list_shows() {
        let end = End {
            kind: "Pod",
            revision: 9,
            live: [("a".to_owned(), 7)].into(),
        };
        let reached = |versions: &[Version]| {
            end.is_reached(&History {
                begin: 1,
                versions: versions.to_vec(),
            })
        };
        assert!(!reached(&[]), "a is not known");
        assert!(
            !reached(&[version(3, "a", Some(1))]),
            "a is known as it was"
        );
        assert!(reached(&[version(7, "a", Some(1))]));
        assert!(reached(&[version(12, "a", None)]), "a has gone since");
        let gone = version(2, "b", Some(1));
        assert!(!reached(&[version(7, "a", Some(1)), gone.clone()]));
        assert!(reached(&[
            version(7, "a", Some(1)),
            gone,
            version(8, "b", None)
        ]));
    }
}
