//! Which kinds the cluster serves: aggregated discovery, cached until a kind is missing.

mod bare;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Mutex;

use crate::clock::{self, Boottime};
use crate::connect::Cluster;
use crate::error::{Cause, Error};
use crate::request::Call;
use crate::resource::Resource;

/// What asks for the discovery documents of all groups at once.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// How many candidates an unknown kind's error names.
const NEAREST: usize = 3;

/// How long what the server said counts for a kind that it does not serve: a step asks for every kind of router that there
/// may be, several times, and a cluster has few of them.
const FRESH: Duration = Duration::from_secs(1);

/// The cache of one connection.
#[derive(Debug, Default)]
pub(crate) struct Discovery {
    known: RwLock<Option<Arc<Kinds>>>,
    /// Held during a refresh, so that many misses at once cause one.
    refreshing: Mutex<u64>,
}

/// Everything the cluster serves.
#[derive(Debug)]
struct Kinds {
    /// Per group and kind, the versions that serve it, the preferred one first.
    by_kind: HashMap<(String, String), Vec<Resource>>,
    /// Counts refreshes.
    edition: u64,
    /// When the server was asked.
    asked: Boottime,
}

impl Cluster {
    /// The resource that serves `kind` of `group` in `version`.
    ///
    /// A kind that is not in the cache refreshes it once before it is an error.
    pub async fn resolve(&self, group: &str, version: &str, kind: &str) -> Result<Resource, Error> {
        let find = |kinds: &Kinds| {
            let versions = kinds.versions(group, kind)?;
            versions
                .iter()
                .find(|resource| resource.version == version)
                .cloned()
        };
        let api_version = if group.is_empty() {
            version.to_owned()
        } else {
            format!("{group}/{version}")
        };
        self.lookup(find, (&api_version, group, kind), Duration::ZERO)
            .await
    }

    /// The resource that serves `kind` of `group` in the version that the server prefers.
    ///
    /// A kind that is not in the cache refreshes it once before it is an error, unless the cache is less than a second old.
    pub async fn resolve_preferred(&self, group: &str, kind: &str) -> Result<Resource, Error> {
        let find = |kinds: &Kinds| kinds.versions(group, kind)?.first().cloned();
        let group_name = if group.is_empty() {
            "the core group"
        } else {
            group
        };
        self.lookup(find, (group_name, group, kind), FRESH).await
    }

    /// Asks what the cluster serves before anybody needs it. What fails is asked again, and told, when it is needed.
    pub async fn learn_kinds(&self) {
        if self.cached_kinds().is_none()
            && let Err(error) = self.refresh(None).await
        {
            tracing::debug!(%error, "the kinds that the cluster serves are not known yet");
        }
    }

    /// Whether objects of a kind have namespaces, as far as that is known without asking.
    pub(crate) fn is_namespaced(&self, group: &str, kind: &str) -> Option<bool> {
        let kinds = self.cached_kinds()?;
        Some(kinds.versions(group, kind)?.first()?.namespaced)
    }

    /// Forgets what the cluster serves, after a CustomResourceDefinition was applied.
    pub fn forget_kinds(&self) {
        let mut known = self
            .inner
            .discovery
            .known
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *known = None;
    }

    async fn lookup(
        &self,
        find: impl Fn(&Kinds) -> Option<Resource>,
        (api_version, group, kind): (&str, &str, &str),
        fresh: Duration,
    ) -> Result<Resource, Error> {
        let cached = self.cached_kinds();
        if let Some(resource) = cached.as_deref().and_then(&find) {
            return Ok(resource);
        }
        let kinds = match cached {
            Some(kinds) if clock::boottime().since(kinds.asked) < fresh => kinds,
            cached => self.refresh(cached.map(|kinds| kinds.edition)).await?,
        };
        find(&kinds).ok_or_else(|| {
            Error::new(
                "find the API for",
                kind,
                Cause::UnknownKind {
                    api_version: api_version.to_owned(),
                    kind: kind.to_owned(),
                    nearest: kinds.nearest(group, kind),
                },
            )
        })
    }

    fn cached_kinds(&self) -> Option<Arc<Kinds>> {
        self.inner
            .discovery
            .known
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Asks the server anew, unless somebody else did since `seen` was read.
    async fn refresh(&self, seen: Option<u64>) -> Result<Arc<Kinds>, Error> {
        let mut editions = self.inner.discovery.refreshing.lock().await;
        if let Some(kinds) = self.cached_kinds()
            && Some(kinds.edition) != seen
        {
            return Ok(kinds);
        }
        let asked = clock::boottime();
        let (core, groups) =
            futures::future::try_join(self.discover("/api"), self.discover("/apis")).await?;
        *editions += 1;
        let kinds = Arc::new(Kinds::read(&[core, groups], *editions, asked));
        let mut known = self
            .inner
            .discovery
            .known
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *known = Some(Arc::clone(&kinds));
        Ok(kinds)
    }

    async fn discover(&self, path: &'static str) -> Result<Value, Error> {
        let mut call = Call::read("list", "the kinds that the cluster serves", path.to_owned());
        call.accept = AGGREGATED;
        self.fetch(&call).await
    }
}

impl Kinds {
    /// Reads `APIGroupDiscoveryList` documents; anything that does not fit is left out.
    fn read(documents: &[Value], edition: u64, asked: Boottime) -> Self {
        let mut by_kind: HashMap<(String, String), Vec<Resource>> = HashMap::new();
        for group in documents
            .iter()
            .flat_map(|document| list(document, "items"))
        {
            let name = group
                .pointer("/metadata/name")
                .and_then(Value::as_str)
                .unwrap_or_default();
            for version in list(group, "versions") {
                let Some(number) = version.get("version").and_then(Value::as_str) else {
                    continue;
                };
                for entry in list(version, "resources") {
                    if let Some(resource) = read_resource(name, number, entry) {
                        let key = (resource.group.clone(), resource.kind.clone());
                        by_kind.entry(key).or_default().push(resource);
                    }
                }
            }
        }
        Self {
            by_kind,
            edition,
            asked,
        }
    }

    fn versions(&self, group: &str, kind: &str) -> Option<&Vec<Resource>> {
        self.by_kind.get(&(group.to_owned(), kind.to_owned()))
    }

    /// Kinds that may have been meant: the same kind elsewhere, then kinds spelt alike.
    fn nearest(&self, group: &str, kind: &str) -> Vec<String> {
        let wanted = kind.to_lowercase();
        let mut scored: Vec<(usize, bool, String)> = self
            .by_kind
            .iter()
            .map(|((other_group, other), versions)| {
                let distance = edit_distance(&wanted, &other.to_lowercase());
                let resource = versions.first();
                let api_version = resource.map(Resource::api_version).unwrap_or_default();
                (
                    distance,
                    other_group != group,
                    format!("{api_version} {other}"),
                )
            })
            // Short names are soon like any other.
            .filter(|(distance, ..)| {
                *distance <= (wanted.len() / 3).clamp(1, 2.max(wanted.len() / 4))
            })
            .collect();
        scored.sort();
        let best = scored.first().map_or(0, |(distance, ..)| *distance);
        let close = scored
            .into_iter()
            .take_while(|(distance, ..)| *distance <= best + 1);
        close.take(NEAREST).map(|(.., name)| name).collect()
    }
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    let list = value.get(key).and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default()
}

fn read_resource(group: &str, version: &str, entry: &Value) -> Option<Resource> {
    let text = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str);
    let kind = text("/responseKind/kind").filter(|kind| !kind.is_empty())?;
    let verbs = entry.get("verbs").and_then(Value::as_array)?;
    Some(Resource {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        plural: text("/resource")?.to_owned(),
        namespaced: text("/scope") == Some("Namespaced"),
        verbs: verbs
            .iter()
            .filter_map(|verb| verb.as_str().map(str::to_owned))
            .collect(),
    })
}

/// Levenshtein distance; names are short.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, from) in left.chars().enumerate() {
        let mut diagonal = i;
        let mut previous = i + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(&right) {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = *cell;
            *cell = replaced.min(*cell + 1).min(previous + 1);
            previous = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn kinds() -> Kinds {
        let entry = |resource: &str, kind: &str| {
            json!({"resource": resource, "scope": "Namespaced", "verbs": ["get", "patch"],
                   "responseKind": {"group": "", "version": "", "kind": kind}})
        };
        let core = json!({"items": [{"metadata": {}, "versions": [
            {"version": "v1", "resources": [entry("pods", "Pod"), entry("services", "Service")]},
        ]}]});
        let groups = json!({"items": [
            {"metadata": {"name": "apps"}, "versions": [
                {"version": "v1", "resources": [entry("deployments", "Deployment"), entry("daemonsets", "DaemonSet")]},
                {"version": "v1beta1", "resources": [entry("deployments", "Deployment")]},
            ]},
        ]});
        Kinds::read(&[core, groups], 1, clock::boottime())
    }

    #[test]
    fn the_preferred_version_comes_first() {
        let kinds = kinds();
        let versions: Vec<_> = kinds
            .versions("apps", "Deployment")
            .unwrap()
            .iter()
            .map(|r| r.version.as_str())
            .collect();
        assert_eq!(versions, ["v1", "v1beta1"]);
        assert!(kinds.versions("", "Deployment").is_none());
        assert_eq!(
            kinds.versions("", "Pod").unwrap()[0].path(Some("a"), None),
            "/api/v1/namespaces/a/pods"
        );
    }

    #[test]
    fn a_misspelt_or_misplaced_kind_names_the_right_one() {
        let kinds = kinds();
        assert_eq!(kinds.nearest("apps", "Deploymnet"), ["apps/v1 Deployment"]);
        assert_eq!(
            kinds.nearest("extensions", "Deployment"),
            ["apps/v1 Deployment"]
        );
        assert_eq!(kinds.nearest("", "service"), ["v1 Service"]);
        assert_eq!(kinds.nearest("", "Pdd"), ["v1 Pod"]);
        for unlike in ["FlinkSessionJob", "Foo", "X"] {
            assert!(kinds.nearest("example.com", unlike).is_empty(), "{unlike}");
        }
    }

    #[test]
    fn distances_are_levenshtein() {
        for (left, right, distance) in [
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("same", "same", 0),
            ("ab", "ba", 2),
        ] {
            assert_eq!(edit_distance(left, right), distance, "{left} {right}");
        }
    }
}
