//! What is live of a release, read by few lists instead of many single reads.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use serde::Deserialize;
use serde_json::value::RawValue;
use sortie_manifest::{ObjectId, labels};

use super::mark::{MARK, Owned};
use super::{Desired, Document, Scope, Target};
use crate::connect::Cluster;
use crate::error::{Cause, Error};
use crate::request::Call;
use crate::resource::Resource;
use crate::watch::Selection;

/// The objects of a set that are live and carry the release's label. A hint only: whatever is
/// missing here is read when its dry run shows that it exists.
pub(super) type Live = HashMap<ObjectId, Known>;

/// What is known of a live object.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) document: Document,
    name: String,
    pub(super) version: String,
    /// The mark of our last apply, and the fields that we still own.
    applied: Option<(String, Owned)>,
}

/// Kind and namespace, which one list covers.
type Place<'a> = (&'a Resource, Option<&'a str>);

impl Cluster {
    /// Lists what is live. Where probably nothing is, the place with most objects of the set goes first: if it has none,
    /// the release is new.
    pub(super) async fn live(&self, targets: &[Target], scope: &Scope) -> Live {
        if scope.release.is_empty() {
            return Live::new();
        }
        let mut places: HashMap<Place<'_>, HashSet<&str>> = HashMap::new();
        for target in targets {
            let place = (&target.resource, target.id.namespace.as_deref());
            places.entry(place).or_default().insert(&target.id.name);
        }
        let mut places: Vec<_> = places.into_iter().collect();
        places.sort_by_key(|(_, names)| std::cmp::Reverse(names.len()));
        let others = places.split_off(usize::from(scope.first).min(places.len()));
        let mut live = self.live_at(places, scope).await;
        if !(scope.first && live.is_empty()) {
            live.extend(self.live_at(others, scope).await);
        }
        live
    }

    async fn live_at(&self, places: Vec<(Place<'_>, HashSet<&str>)>, scope: &Scope) -> Live {
        let lists = places
            .into_iter()
            .map(|(place, names)| self.live_in(place, names, scope));
        // Collected first: a closure kept in the future would make it not Send for its callers.
        let lists: Vec<_> = lists.collect();
        let found: Vec<Vec<_>> = stream::iter(lists)
            .buffer_unordered(self.inner.options.concurrency)
            .collect()
            .await;
        found.into_iter().flatten().collect()
    }

    async fn live_in(
        &self,
        (resource, namespace): Place<'_>,
        names: HashSet<&str>,
        scope: &Scope,
    ) -> Vec<(ObjectId, Known)> {
        let selection = Selection::of(resource.clone(), namespace.unwrap_or_default())
            .labelled(format!("{}={}", labels::RELEASE, scope.release))
            .without_records();
        let call = Call::read("list", resource.plural.clone(), selection.path());
        let read = async {
            let mut found = Vec::new();
            for page in self.pages(&call).await? {
                read_page(&call, &page, resource, namespace, &names, &mut found)?;
            }
            Ok::<_, Error>(found)
        };
        read.await.unwrap_or_else(|error| {
            tracing::debug!(%error, "reading live objects one by one");
            Vec::new()
        })
    }
}

impl Known {
    /// A live object by its text.
    pub(super) fn read(document: Document) -> Result<Self, serde_json::Error> {
        let outline = document.outline()?;
        let mark = outline.metadata.annotations.get(MARK).cloned();
        let applied = mark.filter(|_| !outline.is_ending()).zip(outline.owned());
        let version = outline.metadata.resource_version.clone().into_owned();
        let name = outline.metadata.name.clone().into_owned();
        Ok(Self {
            applied,
            version,
            name,
            document,
        })
    }

    /// Whether applying this again would change nothing.
    pub(super) fn is(&self, desired: &Desired) -> bool {
        let applied = self.applied.as_ref();
        applied.is_some_and(|(mark, owned)| desired.is_marked(mark, owned))
    }
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow, default)]
    items: Vec<&'a RawValue>,
}

/// Adds the objects of a page that are in the set. Their text stays in the page's memory.
fn read_page(
    call: &Call<'_>,
    page: &Bytes,
    resource: &Resource,
    namespace: Option<&str>,
    names: &HashSet<&str>,
    found: &mut Vec<(ObjectId, Known)>,
) -> Result<(), Error> {
    let unreadable = |source: serde_json::Error| {
        call.failure(Cause::Unreadable {
            source: source.into(),
        })
    };
    let items: Page<'_> = serde_json::from_slice(page).map_err(unreadable)?;
    for item in items.items {
        let text = page.slice_ref(item.get().as_bytes());
        let known = Known::read(Document::item(text, resource)).map_err(unreadable)?;
        if names.contains(known.name.as_str()) {
            let id = ObjectId {
                group: resource.group.clone(),
                kind: resource.kind.clone(),
                namespace: namespace.map(str::to_owned),
                name: known.name.clone(),
            };
            found.push((id, known));
        }
    }
    Ok(())
}
