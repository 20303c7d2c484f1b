//! A verdict counts only on an object that was read at or after our own write.

use serde_json::Value;

use crate::kinds::{Facts, Judgement, judge};
use crate::read;
use crate::verdict::Verdict;

/// What the API server answered to our write. Every field that is absent is not checked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Written {
    /// `metadata.generation` after the write. Kinds such as Service or PersistentVolumeClaim have none.
    pub generation: Option<i64>,
    /// `metadata.uid`: another one is another object of the same name.
    pub uid: Option<String>,
    /// `metadata.resourceVersion` after the write. Compared as a number, and only if both are numbers, which is how
    /// the Kubernetes API conventions define its order.
    pub resource_version: Option<String>,
}

impl Written {
    /// What to wait for after a write, from the object that the API server returned.
    #[must_use]
    pub fn of(answer: &Value) -> Self {
        Self {
            generation: read::int(answer, "/metadata/generation"),
            uid: read::uid(answer).map(str::to_owned),
            resource_version: read::text(answer, "/metadata/resourceVersion").map(str::to_owned),
        }
    }

    /// Is `object` another one of the same name?
    #[must_use]
    pub fn is_replaced(&self, object: &Value) -> bool {
        matches!((self.uid.as_deref(), read::uid(object)), (Some(ours), Some(seen)) if ours != seen)
    }

    /// Why `object` says nothing about our write yet, or nothing if it does.
    #[must_use]
    pub fn unseen(&self, object: &Value) -> Option<&'static str> {
        let Self {
            generation,
            uid,
            resource_version,
        } = self;
        if let (Some(ours), Some(seen)) = (uid.as_deref(), read::uid(object))
            && ours != seen
        {
            return Some("another object of this name is in its place");
        }
        if let (Some(ours), Some(seen)) = (*generation, read::int(object, "/metadata/generation"))
            && seen < ours
        {
            return Some("our change is not visible yet");
        }
        if let (Some(ours), Some(seen)) = (
            resource_version
                .as_deref()
                .and_then(|version| version.parse::<u64>().ok()),
            read::text(object, "/metadata/resourceVersion")
                .and_then(|version| version.parse::<u64>().ok()),
        ) && seen < ours
        {
            return Some("our change is not visible yet");
        }
        None
    }
}

/// [`assess`](crate::assess), but Progressing while `object` is older than our write, so that the state before the
/// write is never taken for its result.
#[must_use]
pub fn assess_after(object: &Value, written: &Written, facts: &Facts) -> Verdict {
    judge_after(object, written, facts).verdict
}

pub(crate) fn judge_after(object: &Value, written: &Written, facts: &Facts) -> Judgement {
    match written.unseen(object) {
        Some(reason) if !object.is_null() => Judgement {
            verdict: Verdict::progressing(reason),
            by_user: false,
        },
        _ => judge(object, facts),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::verdict::Status;

    #[test]
    fn an_object_older_than_our_write_is_progressing() {
        let written = Written::of(
            &json!({"metadata": {"uid": "u1", "generation": 3, "resourceVersion": "100"}}),
        );
        for (metadata, status) in [
            (
                json!({"uid": "u1", "generation": 3, "resourceVersion": "100"}),
                Status::Healthy,
            ),
            (
                json!({"uid": "u1", "generation": 4, "resourceVersion": "101"}),
                Status::Healthy,
            ),
            (
                json!({"uid": "u1", "generation": 2, "resourceVersion": "101"}),
                Status::Progressing,
            ),
            (
                json!({"uid": "u1", "generation": 3, "resourceVersion": "99"}),
                Status::Progressing,
            ),
            (
                json!({"uid": "u1", "generation": 3, "resourceVersion": "opaque"}),
                Status::Healthy,
            ),
            (
                json!({"uid": "u2", "generation": 3, "resourceVersion": "100"}),
                Status::Progressing,
            ),
        ] {
            let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata});
            assert_eq!(
                assess_after(&object, &written, &Facts::default()).status,
                status,
                "{object}"
            );
        }
        assert_eq!(
            assess_after(&Value::Null, &written, &Facts::default()).status,
            Status::Missing
        );
    }
}
