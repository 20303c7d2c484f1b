//! Reading and writing the records of one release.

use std::borrow::Cow;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::Method;
use serde::Serialize;
use serde_json::{Value, json};
use sortie_manifest::labels;

use super::encoding::{self, Decoded, List};
use super::head::{Head, Status};
use super::history::{Collection, History};
use super::part::{self, Part, PartId};
use super::tracked::Inventory;
use super::{HEAD_TYPE, METADATA_LIST, PART_TYPE, RecordError, Release, Unreadable};
use crate::clock;
use crate::connect::Cluster;
use crate::error::{Cause, Error};
use crate::fault::Point;
use crate::lease::Guard;
use crate::request::Call;
use crate::resource::{Resource, escape};

/// Most bytes that all parts of one set of objects may have.
const PARTS_LIMIT: usize = 64 * 1024 * 1024;

/// The records of one release.
#[derive(Clone, Debug)]
pub struct Records {
    pub(super) cluster: Cluster,
    release: Release,
}

/// A head as it is in the cluster, with the version that the next update requires.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The head; change it, then [`Records::update`] it.
    pub head: Head,
    pub(super) version: String,
    /// Parts that inventory and journal have moved to.
    moved: Vec<PartId>,
}

/// The records of a release, and what of them is not needed any more.
#[derive(Debug)]
pub struct Survey {
    /// All of them.
    pub history: History,
    /// What [`Records::collect`] removes.
    pub superfluous: Collection,
}

impl Survey {
    /// The heads that stay. `None`: what stays cannot all be read.
    pub fn kept(&self) -> Option<impl Iterator<Item = &Head>> {
        let goes = |number: u64| self.superfluous.numbers.contains(&number);
        let mut unreadable = self.history.unreadable().iter();
        let all_read = unreadable.all(|record| record.number.is_some_and(goes));
        let heads = self.history.heads();
        all_read.then(|| heads.filter(move |head| !goes(head.number)))
    }
}

impl Stored {
    pub(super) fn new(head: Head, version: &str, moved: Vec<PartId>) -> Self {
        Self {
            head,
            version: version.to_owned(),
            moved,
        }
    }

    #[cfg(test)]
    pub(super) fn for_test(head: Head) -> Self {
        Self::new(head, "1", Vec::new())
    }

    /// Every part that the record needs.
    pub fn all_parts(&self) -> impl Iterator<Item = &PartId> {
        self.head
            .parts
            .iter()
            .chain(&self.head.kept)
            .chain(&self.moved)
    }
}

impl Records {
    /// The records of `release` in `cluster`.
    pub const fn new(cluster: Cluster, release: Release) -> Self {
        Self { cluster, release }
    }

    /// The release.
    pub const fn release(&self) -> &Release {
        &self.release
    }

    /// All heads of the release. A record that cannot be read is named in the history, and keeps nobody from the others.
    pub async fn history(&self) -> Result<History, RecordError> {
        let path = self.list_path(HEAD_TYPE);
        let target = format!("the records of release {}", self.release);
        let listed = self.cluster.list_all("list", &target, &path, None).await;
        let (mut stored, mut unreadable) = (Vec::new(), Vec::new());
        let mut inventories = Vec::new();
        for secret in listed.map_err(cluster)? {
            match self.decoded(&secret, &mut inventories).await {
                Ok(record) => stored.push(record),
                Err(why) if why.is_about_content() => {
                    unreadable.push(Unreadable::new(&self.release, &secret, why));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(History::new(stored, unreadable))
    }

    /// The head of one number; `None` when there is none.
    pub async fn read(&self, number: u64) -> Result<Option<Stored>, RecordError> {
        match self.secret(&self.release.head_name(number)).await {
            Ok(secret) => self.decoded(&secret, &mut Vec::new()).await.map(Some),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(cluster(error)),
        }
    }

    /// Writes the first version of a head, after the parts with its rendered objects. Parts that are `present`, as was
    /// seen under the release's lease, are not written again.
    ///
    /// A head with this number that somebody else wrote first is a conflict.
    pub async fn create(
        &self,
        mut head: Head,
        objects: &[impl Serialize],
        present: &[PartId],
        guard: &Guard,
    ) -> Result<Stored, RecordError> {
        head.parts = self.keep_new(objects, present, guard).await?;
        self.create_as(head, present, guard).await
    }

    /// As [`create`](Self::create), where the objects are in the parts that the head names.
    pub async fn create_as(
        &self,
        mut head: Head,
        present: &[PartId],
        guard: &Guard,
    ) -> Result<Stored, RecordError> {
        self.seal(&mut head, guard);
        let encoded = encoding::encode(&self.release, &head)?;
        self.write_parts(&encoded.overflow, present, guard).await?;
        let place = (Method::POST, self.path(None));
        let stored = self
            .put(place, Point::HeadCreate, encoded.secret, guard)
            .await;
        self.ours_or_conflict(stored, head, &encoded.overflow).await
    }

    /// Writes a changed head, if nobody has written it since it was read.
    ///
    /// On success `stored` has the version for the next update. When a later holder of the lease
    /// has written it, the error is [`RecordError::TakenOver`].
    pub async fn update(&self, stored: &mut Stored, guard: &Guard) -> Result<(), RecordError> {
        let mut head = stored.head.clone();
        if guard.fence() != 0 && head.fence > guard.fence() {
            return Err(self.taken_over(&head));
        }
        self.seal(&mut head, guard);
        let encoded = encoding::encode(&self.release, &head)?;
        // What the head names as it is stored is there.
        let (overflow, present) = (&encoded.overflow, &stored.moved);
        self.write_parts(overflow, present, guard).await?;
        let mut secret = encoded.secret;
        secret["metadata"]["resourceVersion"] = stored.version.clone().into();
        let place = (
            Method::PUT,
            self.path(Some(&self.release.head_name(head.number))),
        );
        let written = self.put(place, Point::HeadUpdate, secret, guard).await;
        *stored = self
            .ours_or_conflict(written, head, &encoded.overflow)
            .await?;
        Ok(())
    }

    /// Marks every earlier success on the same side as superseded, after `head` has succeeded.
    pub async fn supersede(
        &self,
        history: &History,
        head: &Head,
        guard: &Guard,
    ) -> Result<(), RecordError> {
        for earlier in history.superseded_by(head) {
            let mut earlier = earlier.clone();
            earlier.head.status = Status::Superseded;
            self.update(&mut earlier, guard).await?;
        }
        Ok(())
    }

    /// The rendered objects of a release, in the order in which they were recorded.
    pub async fn objects(&self, head: &Head) -> Result<Vec<Value>, RecordError> {
        self.unpack_objects(head.number, &head.parts).await
    }

    /// The objects in parts that [`keep`](Self::keep) has written and the head with this number names.
    pub async fn kept(&self, number: u64, parts: &[PartId]) -> Result<Vec<Value>, RecordError> {
        self.unpack_objects(number, parts).await
    }

    /// Writes objects as parts; a head must name the result before it counts.
    pub async fn keep(
        &self,
        objects: &[impl Serialize],
        guard: &Guard,
    ) -> Result<Vec<PartId>, RecordError> {
        self.keep_new(objects, &[], guard).await
    }

    async fn keep_new(
        &self,
        objects: &[impl Serialize],
        present: &[PartId],
        guard: &Guard,
    ) -> Result<Vec<PartId>, RecordError> {
        let parts = part::pack_objects(&self.release.hash(), objects).map_err(|source| {
            RecordError::Encode {
                release: self.release.clone(),
                source,
            }
        })?;
        let found = parts.iter().map(|part| part.bytes.len()).sum();
        if found > PARTS_LIMIT {
            let release = self.release.clone();
            return Err(RecordError::TooLarge {
                release,
                found,
                limit: PARTS_LIMIT,
            });
        }
        self.write_parts(&parts, present, guard).await?;
        Ok(parts.into_iter().map(|part| part.id).collect())
    }

    /// The records, and what goes so that the newest `depth` of them stay.
    /// The last good record, everything newer, and what is in progress always stay; parts all stay while a record
    /// that may need them cannot be read.
    ///
    /// Call it under the release's lease: a part is an orphan between its writing and its head's.
    pub async fn survey(&self, depth: usize) -> Result<Survey, RecordError> {
        let (history, parts) = futures::try_join!(self.history(), self.parts())?;
        let superfluous = history.collection(depth, &parts);
        Ok(Survey {
            history,
            superfluous,
        })
    }

    /// Removes what is superfluous, under the lease under which it was found to be.
    pub async fn collect(&self, survey: &Survey, guard: &Guard) -> Result<(), RecordError> {
        // Heads first: killed in between, a part is an orphan and not a head without its parts.
        for number in &survey.superfluous.numbers {
            let version = survey.history.version(*number);
            let name = self.release.head_name(*number);
            self.remove(&name, version, (Point::HeadDelete, guard))
                .await?;
        }
        for part in &survey.superfluous.parts {
            self.remove(&part.secret_name(), None, (Point::PartDelete, guard))
                .await?;
        }
        Ok(())
    }

    /// The parts of this release that are in the cluster.
    pub async fn parts(&self) -> Result<Vec<PartId>, RecordError> {
        let target = format!("the parts of release {}", self.release);
        let path = self.list_path(PART_TYPE);
        let found = self
            .cluster
            .list_all("list", &target, &path, Some(METADATA_LIST))
            .await;
        let found = found.map_err(cluster)?;
        let names = found.iter().map(encoding::secret_name);
        Ok(names
            .filter_map(|name| PartId::from_secret_name(&name))
            .collect())
    }

    /// Puts our fence and the time on a head.
    fn seal(&self, head: &mut Head, guard: &Guard) {
        head.fence = head.fence.max(guard.fence());
        head.updated_at = clock::now();
    }

    fn taken_over(&self, head: &Head) -> RecordError {
        let release = self.release.clone();
        RecordError::TakenOver {
            release,
            number: head.number,
            fence: head.fence,
        }
    }

    /// After a refused write: our own earlier attempt whose answer was lost is a success.
    async fn ours_or_conflict(
        &self,
        written: Result<Value, Error>,
        head: Head,
        overflow: &[Part],
    ) -> Result<Stored, RecordError> {
        let moved = overflow.iter().map(|part| part.id.clone()).collect();
        let version_of = |secret: &Value| {
            let version = secret
                .pointer("/metadata/resourceVersion")
                .and_then(Value::as_str);
            version.unwrap_or_default().to_owned()
        };
        let error = match written {
            Ok(secret) => return Ok(Stored::new(head, &version_of(&secret), moved)),
            Err(error) => error,
        };
        if !matches!(error.cause(), Cause::Conflict { .. } | Cause::AlreadyExists) {
            return Err(cluster(error));
        }
        match self.read(head.number).await? {
            Some(there) if there.head == head => Ok(there),
            Some(there) if there.head.fence > head.fence => Err(self.taken_over(&there.head)),
            _ => Err(cluster(error)),
        }
    }

    /// A record with its lists. Deployments of one set have the same inventory: of those that are `known`, none is read and
    /// unpacked again.
    async fn decoded(
        &self,
        secret: &Value,
        known: &mut Vec<(List, Inventory)>,
    ) -> Result<Stored, RecordError> {
        let Decoded {
            mut stored,
            inventory,
            journal,
        } = encoding::decode(&self.release, secret)?;
        let (number, name) = (
            stored.head.number,
            self.release.head_name(stored.head.number),
        );
        let damaged = |what| RecordError::Damaged {
            secret: name.clone(),
            what,
        };
        let same = known.iter().find(|(list, _)| *list == inventory);
        stored.head.inventory = match same {
            Some((_, same)) => same.clone(),
            None => {
                let bytes = self.list_bytes(number, &inventory).await?;
                let unpacked: Inventory = part::unpack(&bytes).map_err(damaged)?;
                known.push((inventory, unpacked.clone()));
                unpacked
            }
        };
        let bytes = self.list_bytes(number, &journal).await?;
        stored.head.journal = part::unpack(&bytes).map_err(damaged)?;
        Ok(stored)
    }

    async fn list_bytes<'a>(
        &self,
        number: u64,
        list: &'a List,
    ) -> Result<Cow<'a, [u8]>, RecordError> {
        match list {
            List::Inline(bytes) => Ok(bytes.into()),
            List::Moved(parts) => self.part_bytes(number, parts).await.map(Cow::Owned),
        }
    }

    async fn unpack_objects(
        &self,
        number: u64,
        parts: &[PartId],
    ) -> Result<Vec<Value>, RecordError> {
        if parts.is_empty() {
            return Ok(Vec::new());
        }
        let bytes = self.part_bytes(number, parts).await?;
        let secret = self.release.head_name(number);
        part::unpack(&bytes).map_err(|what| RecordError::Damaged { secret, what })
    }

    async fn part_bytes(&self, number: u64, parts: &[PartId]) -> Result<Vec<u8>, RecordError> {
        let mut bytes = Vec::new();
        for part in parts {
            let secret = match self.secret(&part.secret_name()).await {
                Ok(secret) => secret,
                Err(error) if error.is_not_found() => {
                    let (release, part) = (self.release.clone(), part.clone());
                    return Err(RecordError::PartMissing {
                        release,
                        number,
                        part,
                    });
                }
                Err(error) => return Err(cluster(error)),
            };
            bytes.extend(encoding::decode_part(&self.release, part, &secret)?);
            if bytes.len() > PARTS_LIMIT {
                let (release, found) = (self.release.clone(), bytes.len());
                return Err(RecordError::TooLarge {
                    release,
                    found,
                    limit: PARTS_LIMIT,
                });
            }
        }
        Ok(bytes)
    }

    async fn write_parts(
        &self,
        parts: &[Part],
        present: &[PartId],
        guard: &Guard,
    ) -> Result<(), RecordError> {
        // Collected first: a closure kept in the future would make it not Send for its callers.
        let writes: Vec<_> = parts
            .iter()
            .filter(|part| !present.contains(&part.id))
            .map(|part| self.write_part(part, guard))
            .collect();
        stream::iter(writes).buffer_unordered(4).try_collect().await
    }

    async fn write_part(&self, part: &Part, guard: &Guard) -> Result<(), RecordError> {
        let secret = encoding::encode_part(&self.release, part);
        let place = (Method::POST, self.path(None));
        match self.put(place, Point::PartCreate, secret, guard).await {
            // Named by its content: whoever wrote it wrote the same.
            Err(error) if matches!(error.cause(), Cause::AlreadyExists) => Ok(()),
            written => written.map(drop).map_err(cluster),
        }
    }

    pub(super) async fn put(
        &self,
        place: (Method, String),
        point: Point,
        secret: Value,
        guard: &Guard,
    ) -> Result<Value, Error> {
        let target = format!("record {}", encoding::secret_name(&secret));
        let (method, path) = place;
        let place = (method, format!("{path}?fieldManager=sortie"));
        let call = Call::write("write", target, place, (point, guard)).body(&secret)?;
        self.cluster.fetch(&call).await
    }

    pub(super) async fn remove(
        &self,
        name: &str,
        version: Option<&str>,
        write: (Point, &Guard),
    ) -> Result<(), RecordError> {
        let place = (Method::DELETE, self.path(Some(name)));
        let mut options = json!({"apiVersion": "v1", "kind": "DeleteOptions"});
        if let Some(version) = version {
            options["preconditions"] = json!({"resourceVersion": version});
        }
        let call = Call::write("remove", format!("record {name}"), place, write)
            .body(&options)
            .map_err(cluster)?;
        match self.cluster.send(&call).await {
            Err(error) if !error.is_not_found() => Err(cluster(error)),
            _ => Ok(()),
        }
    }

    pub(super) async fn secret(&self, name: &str) -> Result<Value, Error> {
        let call = Call::read("read", format!("record {name}"), self.path(Some(name)));
        self.cluster.fetch(&call).await
    }

    pub(super) fn path(&self, name: Option<&str>) -> String {
        Resource::secrets().path(Some(self.release.namespace()), name)
    }

    fn list_path(&self, secret_type: &str) -> String {
        let labels = escape(&format!("{}={}", labels::RELEASE, self.release.hash()));
        let fields = escape(&format!("type={secret_type}"));
        format!(
            "{}?labelSelector={labels}&fieldSelector={fields}",
            self.path(None)
        )
    }
}

fn cluster(error: Error) -> RecordError {
    RecordError::Cluster(error)
}

impl std::fmt::Display for super::Tracked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.id.fmt(f)
    }
}
