//! Revisions of workloads, as the API server keeps them. Pure.

use serde_json::{Value, json};
use sortie_manifest::ObjectId;

use crate::failure::{Failure, FailureKind};
use crate::protection::{annotation, text};

/// Kinds that have revisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Its revisions are its ReplicaSets.
    Deployment,
    /// Its revisions are ControllerRevisions.
    StatefulSet,
    /// Its revisions are ControllerRevisions.
    DaemonSet,
}

impl Kind {
    /// The kind of an object, if it has revisions.
    pub(super) fn of(id: &ObjectId) -> Option<Self> {
        match (id.group.as_str(), id.kind.as_str()) {
            ("apps", "Deployment") => Some(Self::Deployment),
            ("apps", "StatefulSet") => Some(Self::StatefulSet),
            ("apps", "DaemonSet") => Some(Self::DaemonSet),
            _ => None,
        }
    }
}

/// A revision of a workload.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Revision {
    pub(super) number: u64,
    /// The pod template that it had.
    pub(super) template: Value,
    /// Why it was made; mostly nobody has said.
    pub(super) cause: String,
    /// When, in RFC 3339.
    pub(super) created: String,
}

impl Revision {
    fn images(&self) -> Vec<&str> {
        let containers = self.template.pointer("/spec/containers");
        let containers = containers.and_then(Value::as_array).into_iter().flatten();
        containers
            .filter_map(|container| container.get("image")?.as_str())
            .collect()
    }

    /// For later steps.
    pub(super) fn output(&self) -> Value {
        json!({
            "revision": self.number,
            "createdAt": self.created,
            "changeCause": self.cause,
            "images": self.images(),
        })
    }
}

/// A ReplicaSet of a Deployment as a revision of it.
pub(super) fn of_deployment(replica_set: &Value) -> Option<Revision> {
    let number = annotation(replica_set, "deployment.kubernetes.io/revision")?;
    let mut template = replica_set.pointer("/spec/template")?.clone();
    if let Some(Value::Object(labels)) = template.pointer_mut("/metadata/labels") {
        labels.shift_remove("pod-template-hash");
    }
    Some(Revision {
        number: number.parse().ok()?,
        template,
        cause: cause(replica_set),
        created: text(replica_set, "/metadata/creationTimestamp").to_owned(),
    })
}

/// A ControllerRevision as a revision of its workload.
pub(super) fn of_history(revision: &Value) -> Option<Revision> {
    let mut template = revision.pointer("/data/spec/template")?.clone();
    // It is kept as a patch.
    template.as_object_mut()?.shift_remove("$patch");
    Some(Revision {
        number: revision.get("revision")?.as_u64()?,
        template,
        cause: cause(revision),
        created: text(revision, "/metadata/creationTimestamp").to_owned(),
    })
}

fn cause(object: &Value) -> String {
    annotation(object, "kubernetes.io/change-cause")
        .unwrap_or_default()
        .to_owned()
}

/// The revision to go back to: `number`, or the one before the present. They are sorted.
pub(super) fn wanted<'a>(
    id: &ObjectId,
    revisions: &'a [Revision],
    number: Option<u64>,
) -> Result<&'a Revision, Failure> {
    let found = match number {
        Some(number) => revisions.iter().find(|revision| revision.number == number),
        None => revisions.iter().rev().nth(1),
    };
    found.ok_or_else(|| {
        let there: Vec<String> = revisions
            .iter()
            .map(|revision| revision.number.to_string())
            .collect();
        let text = match number {
            Some(number) => format!(
                "{id} has no revision {number}; there are {}",
                there.join(", ")
            ),
            None => format!("{id} has no revision before the present one"),
        };
        let hint = "look at its revisions with the command history; spec.revisionHistoryLimit says how many are kept";
        Failure::new(FailureKind::Configuration, "SRT-T046", text, hint)
    })
}

/// Revisions as lines for people.
pub(super) fn table(revisions: &[Revision]) -> Vec<String> {
    let head = ["REVISION", "CREATED", "IMAGES", "CHANGE-CAUSE"].map(str::to_owned);
    let rows = revisions.iter().map(|revision| {
        let cause = match revision.cause.as_str() {
            "" => "<none>",
            cause => cause,
        };
        let images = revision.images().join(",");
        [
            revision.number.to_string(),
            revision.created.clone(),
            images,
            cause.to_owned(),
        ]
    });
    let rows: Vec<[String; 4]> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths = [0, 1, 2].map(|column| width(column).unwrap_or_default());
    let line = |row: &[String; 4]| {
        let [number, created, images, cause] = row;
        let [a, b, c] = widths;
        format!("{number:<a$}  {created:<b$}  {images:<c$}  {cause}")
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> ObjectId {
        ObjectId {
            group: "apps".to_owned(),
            kind: "Deployment".to_owned(),
            namespace: Some("shop".to_owned()),
            name: "web".to_owned(),
        }
    }

    fn replica_set(number: &str, image: &str) -> Value {
        json!({
            "metadata": {
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "annotations": {"deployment.kubernetes.io/revision": number},
            },
            "spec": {"template": {
                "metadata": {"labels": {"app": "web", "pod-template-hash": "abc"}},
                "spec": {"containers": [{"name": "web", "image": image}]},
            }},
        })
    }

    #[test]
    fn replica_sets_and_controller_revisions_are_read_alike() {
        let template = json!({
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "web:1"}]},
        });
        let of_deployment = of_deployment(&replica_set("3", "web:1")).unwrap();
        let mut kept = template.clone();
        kept["$patch"] = "replace".into();
        let revision = json!({
            "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
            "revision": 3, "data": {"spec": {"template": kept}},
        });
        let of_history = of_history(&revision).unwrap();
        assert_eq!(of_deployment, of_history);
        assert_eq!((of_history.number, of_history.template), (3, template));
        assert_eq!(super::of_deployment(&json!({"spec": {}})), None);
    }

    #[test]
    fn the_one_before_the_present_is_meant_without_a_number() {
        let all: Vec<Revision> = ["1", "4", "7"]
            .iter()
            .filter_map(|number| of_deployment(&replica_set(number, "web:1")))
            .collect();
        assert_eq!(wanted(&id(), &all, None).unwrap().number, 4);
        assert_eq!(wanted(&id(), &all, Some(1)).unwrap().number, 1);
        let failure = wanted(&id(), &all, Some(2)).unwrap_err();
        assert_eq!(failure.code, "SRT-T046");
        assert!(
            failure.message.ends_with("there are 1, 4, 7"),
            "{failure:?}"
        );
        assert_eq!(wanted(&id(), &all[..1], None).unwrap_err().code, "SRT-T046");
    }

    #[test]
    fn a_table_has_aligned_columns() {
        let mut second = of_deployment(&replica_set("12", "registry/web:2")).unwrap();
        second.cause = "faster".to_owned();
        let all = [of_deployment(&replica_set("1", "web:1")).unwrap(), second];
        assert_eq!(
            table(&all),
            [
                "REVISION  CREATED               IMAGES          CHANGE-CAUSE",
                "1         2026-01-01T00:00:00Z  web:1           <none>",
                "12        2026-01-01T00:00:00Z  registry/web:2  faster",
            ]
        );
    }
}
