//! What steps without a release number have changed, so that a rollback of the same execution can undo it.
//!
//! One Secret per release holds the changes of the newest execution: it is written before each change, under the release's
//! Lease and by compare-and-set, and carries the fence as heads do.

mod fields;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sortie_manifest::ObjectId;

pub use fields::{Field, Undoing, fields, fields_since, former, redoing, undoing};

use super::head::{FORMAT_VERSION, Head};
use super::part::{self, PART_LIMIT};
use super::{RecordError, Records, Release, encoding};
use crate::fault::Point;
use crate::lease::Guard;

/// Type of the Secret.
pub const CHANGES_TYPE: &str = "sortie.dev/changes.v1";

/// Key of its data.
const CHANGES: &str = "changes";

/// The changes of one execution, the oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Changes {
    /// Version of the format it was written in.
    pub format_version: String,
    /// Fence of the Lease under which it was last written.
    #[serde(default)]
    pub fence: u32,
    /// The execution; of a task without one, the task.
    pub execution: String,
    /// What was changed.
    pub entries: Vec<Entry>,
}

/// One change of one object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Task that did it.
    pub task: String,
    /// When it was noted, for people.
    pub at: Timestamp,
    /// Command unit, such as `Scale`.
    pub what: String,
    /// The object.
    pub object: ObjectId,
    /// UID of the object; absent until an object that is made has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The part of the object that was written, such as `scale`, where it has an address of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subresource: Option<String>,
    /// How to undo it.
    pub undo: Undo,
    /// Whether it was undone, or cannot be any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undone: bool,
}

/// How to undo a change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Undo {
    /// The object was made: it is deleted.
    Created,
    /// Fields were changed: they get their former values back.
    Fields(Vec<Field>),
    /// Fields were changed and stay; noted for whoever carries the task on.
    Stays(Vec<Field>),
}

/// The changes as they are in the cluster, with the version that the next write requires.
#[derive(Clone, Debug)]
pub struct StoredChanges {
    /// The changes; change them, then [`Records::write_changes`] them.
    pub changes: Changes,
    /// `None`: they are not in the cluster yet.
    version: Option<String>,
}

impl Changes {
    /// No changes.
    fn of(execution: &str) -> Self {
        Self {
            format_version: FORMAT_VERSION.to_owned(),
            fence: 0,
            execution: execution.to_owned(),
            entries: Vec::new(),
        }
    }

    /// What the task has noted about an object.
    pub fn noted(&self, task: &str, object: &ObjectId) -> Option<&Entry> {
        let is_it = |entry: &&Entry| entry.task == task && entry.object == *object;
        self.entries.iter().find(is_it)
    }

    /// Notes a change. What the task has noted about the same object before is replaced.
    pub fn note(&mut self, entry: Entry) {
        let is_it = |known: &&mut Entry| known.task == entry.task && known.object == entry.object;
        match self.entries.iter_mut().find(is_it) {
            Some(known) => *known = entry,
            None => self.entries.push(entry),
        }
    }
}

impl Entry {
    /// The fields that were noted; none of an object that is made.
    pub fn fields(&self) -> &[Field] {
        match &self.undo {
            Undo::Created => &[],
            Undo::Fields(fields) | Undo::Stays(fields) => fields,
        }
    }
}

impl StoredChanges {
    /// Whether there is something that an undoing would look at.
    pub fn has_open(&self) -> bool {
        self.changes.entries.iter().any(|entry| !entry.undone)
    }

    /// Whether they are in the cluster.
    pub const fn is_stored(&self) -> bool {
        self.version.is_some()
    }
}

impl Release {
    /// Name of the Secret with the release's changes.
    pub fn changes_name(&self) -> String {
        format!("sortie.changes.{}", self.name())
    }
}

impl Records {
    /// The changes of an execution; those of another one are forgotten with the next write.
    ///
    /// # Errors
    /// They cannot be read, or a later version of Sortie has written them.
    pub async fn changes(&self, execution: &str) -> Result<StoredChanges, RecordError> {
        let secret = match self.secret(&self.release().changes_name()).await {
            Ok(secret) => secret,
            Err(error) if error.is_not_found() => {
                return Ok(StoredChanges {
                    changes: Changes::of(execution),
                    version: None,
                });
            }
            Err(error) => return Err(RecordError::Cluster(error)),
        };
        let mut stored = decode(&secret)?;
        if stored.changes.execution != execution {
            let fence = stored.changes.fence;
            stored.changes = Changes {
                fence,
                ..Changes::of(execution)
            };
        }
        Ok(stored)
    }

    /// Writes changed changes, if nobody has written them since they were read.
    ///
    /// # Errors
    /// They were written by somebody else meanwhile, are too large, or the API server refuses them.
    pub async fn write_changes(
        &self,
        stored: &mut StoredChanges,
        guard: &Guard,
    ) -> Result<(), RecordError> {
        let changes = &mut stored.changes;
        changes.fence = changes.fence.max(guard.fence());
        let mut secret = encode(self.release(), changes)?;
        let (place, name) = (self.path(None), self.release().changes_name());
        let place = match &stored.version {
            Some(version) => {
                secret["metadata"]["resourceVersion"] = version.clone().into();
                (Method::PUT, self.path(Some(&name)))
            }
            None => (Method::POST, place),
        };
        let error = match self.put(place, Point::ChangesWrite, secret, guard).await {
            Ok(secret) => {
                stored.version = Some(version(&secret));
                return Ok(());
            }
            Err(error) => error,
        };
        // Our own earlier attempt, whose answer was lost, is a success.
        if error.is_conflict() || matches!(error.cause(), crate::Cause::AlreadyExists) {
            let there = self.changes(&stored.changes.execution).await?;
            if there.changes == stored.changes {
                *stored = there;
                return Ok(());
            }
        }
        Err(RecordError::Cluster(error))
    }

    /// Removes the changes of a release that is no more.
    pub(super) async fn remove_changes(&self, guard: &Guard) -> Result<(), RecordError> {
        let name = self.release().changes_name();
        match self.secret(&name).await {
            Ok(_) => {
                self.remove(&name, None, (Point::ChangesDelete, guard))
                    .await
            }
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(RecordError::Cluster(error)),
        }
    }
}

fn version(secret: &Value) -> String {
    let version = secret.pointer("/metadata/resourceVersion");
    version
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn encode(release: &Release, changes: &Changes) -> Result<Value, RecordError> {
    let bytes = part::pack(changes).map_err(|source| RecordError::Encode {
        release: release.clone(),
        source,
    })?;
    if bytes.len() > PART_LIMIT {
        return Err(RecordError::TooLarge {
            release: release.clone(),
            found: bytes.len(),
            limit: PART_LIMIT,
        });
    }
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": release.changes_name(),
            "namespace": release.namespace(),
            "labels": encoding::release_labels(release),
        },
        "type": CHANGES_TYPE,
        "data": {CHANGES: STANDARD.encode(bytes)},
    }))
}

fn decode(secret: &Value) -> Result<StoredChanges, RecordError> {
    let name = encoding::secret_name(secret);
    let damaged = |what: String| RecordError::Damaged {
        secret: name.clone(),
        what,
    };
    let bytes = encoding::data(secret, CHANGES).map_err(damaged)?;
    let document: Value = part::unpack(&bytes).map_err(damaged)?;
    let format = document.get("formatVersion").and_then(Value::as_str);
    match Head::is_known_format(format.unwrap_or_default()) {
        Some(true) => {}
        Some(false) => {
            let found = format.unwrap_or_default().to_owned();
            return Err(RecordError::NewerFormat {
                secret: name,
                found,
            });
        }
        None => return Err(damaged("it has no version of the format".to_owned())),
    }
    let changes = serde_json::from_value(document).map_err(|error| damaged(error.to_string()))?;
    Ok(StoredChanges {
        changes,
        version: Some(version(secret)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(task: &str, name: &str, undo: Undo) -> Entry {
        Entry {
            task: task.to_owned(),
            at: Timestamp::UNIX_EPOCH,
            what: "Scale".to_owned(),
            object: ObjectId {
                group: "apps".to_owned(),
                kind: "Deployment".to_owned(),
                namespace: Some("shop".to_owned()),
                name: name.to_owned(),
            },
            uid: None,
            subresource: None,
            undo,
            undone: false,
        }
    }

    #[test]
    fn changes_come_back_as_they_were_written() {
        let mut changes = Changes::of("e1");
        let replicas = Field {
            path: vec!["spec".to_owned(), "replicas".to_owned()],
            before: None,
            after: Some(Value::Null),
        };
        changes.note(entry("t1", "web", Undo::Fields(vec![replicas])));
        changes.note(entry("t1", "api", Undo::Created));
        changes.note(entry("t2", "web", Undo::Stays(Vec::new())));
        let release = Release::new("shop", "web").unwrap();
        let mut secret = encode(&release, &changes).unwrap();
        secret["metadata"]["resourceVersion"] = "7".into();
        let stored = decode(&secret).unwrap();
        assert_eq!(stored.changes, changes);
        assert_eq!(stored.version.as_deref(), Some("7"));
        assert!(stored.has_open());
    }

    #[test]
    fn a_task_has_one_note_per_object() {
        let mut changes = Changes::of("e1");
        changes.note(entry("t1", "web", Undo::Created));
        changes.note(entry("t2", "web", Undo::Created));
        let mut again = entry("t1", "web", Undo::Created);
        again.undone = true;
        changes.note(again);
        assert_eq!(changes.entries.len(), 2);
        let noted = |task| changes.noted(task, &entry("", "web", Undo::Created).object);
        assert!(noted("t1").unwrap().undone);
        assert!(!noted("t2").unwrap().undone);
        assert!(noted("t3").is_none());
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let release = Release::new("shop", "web").unwrap();
        let mut changes = Changes::of("e1");
        changes.format_version = "2.0".to_owned();
        let newer = decode(&encode(&release, &changes).unwrap()).unwrap_err();
        assert_eq!(newer.code(), "SRT-C031");
        let damaged = json!({"metadata": {"name": "x"}, "data": {"changes": "AAAA"}});
        assert_eq!(decode(&damaged).unwrap_err().code(), "SRT-C032");
    }
}
