//! What a set of rendered objects becomes before it is written: versioned, labelled, ordered. Pure.

use sortie_manifest::labels::{self, Marks};
use sortie_manifest::versioning::{self, Scheme, Versioned};
use sortie_manifest::{Object, order};

use crate::failure::Failure;
use crate::hooks;
use crate::task::{Release, Versioning};

/// Objects as they will be written, and what is worth saying about it.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    /// The objects in the order of their application.
    pub(crate) objects: Vec<Object>,
    /// What versioning renamed.
    pub(crate) versioned: Versioned,
    /// Hooks of something else that are left out, in words.
    pub(crate) left_out: Vec<String>,
}

/// Version and label the objects of release `number`, and place its hooks; `first`: none has succeeded before.
///
/// # Errors
/// A hook's annotation cannot be understood.
pub(crate) fn prepare(
    mut objects: Vec<Object>,
    release: &Release,
    versioning: Versioning,
    (number, first): (u64, bool),
) -> Result<Prepared, Failure> {
    let left_out = hooks::place(&mut objects, number, first)?;
    let scheme = match versioning {
        Versioning::ContentHash => Some(Scheme::ContentHash),
        Versioning::ReleaseNumber => Some(Scheme::ReleaseNumber(number)),
        Versioning::Off => None,
    };
    let versioned = scheme
        .map(|scheme| versioning::version(&mut objects, &release.namespace, scheme))
        .unwrap_or_default();
    let marks = Marks {
        namespace: release.namespace.clone(),
        release: release.name.clone(),
        track: None,
        color: None,
    };
    for object in &mut objects {
        labels::stamp(object, &marks);
    }
    order::sort(&mut objects);
    Ok(Prepared {
        objects,
        versioned,
        left_out,
    })
}

#[cfg(test)]
mod tests {
    use sortie_manifest::Limits;

    use super::*;
    use crate::sequence::{Sequence, Step};
    use crate::task::Owner;

    const SET: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: web, envFrom: [{configMapRef: {name: web}}]}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: web}
data: {a: b}
";

    fn prepared(versioning: Versioning) -> Prepared {
        prepared_of(SET, versioning)
    }

    fn prepared_of(set: &str, versioning: Versioning) -> Prepared {
        let objects = sortie_manifest::parse("set.yaml", set.as_bytes(), &Limits::default());
        let release = Release {
            namespace: "shop".into(),
            name: "web".into(),
            owner: Owner::default(),
        };
        prepare(objects.unwrap(), &release, versioning, (7, true)).unwrap()
    }

    #[test]
    fn configuration_comes_first_and_its_users_follow_its_new_name() {
        for (versioning, suffix) in [
            (Versioning::ReleaseNumber, Some("-7")),
            (Versioning::ContentHash, None),
            (Versioning::Off, Some("")),
        ] {
            let Prepared {
                objects, versioned, ..
            } = prepared(versioning);
            let kinds: Vec<&str> = objects.iter().map(Object::kind).collect();
            assert_eq!(kinds, ["ConfigMap", "Deployment"]);
            let name = objects[0].name();
            match suffix {
                Some(suffix) => assert_eq!(name, format!("web{suffix}")),
                None => assert_eq!(name.len(), "web-".len() + 10, "{name}"),
            }
            let pointer = "/template/spec/containers/0/envFrom/0/configMapRef/name";
            let named = objects[1].value()["spec"].pointer(pointer).unwrap();
            assert_eq!(named, name, "{versioning:?}");
            let renames = usize::from(versioning != Versioning::Off);
            assert_eq!(versioned.renames.len(), renames, "{versioning:?}");
        }
    }

    #[test]
    fn a_dependency_on_what_gets_another_name_is_one_inside_the_set() {
        const SET: &str = "
apiVersion: batch/v1
kind: Job
metadata: {name: mig, annotations: {sortie.dev/hook: pre-deploy, sortie.dev/depends-on: Secret/key}}
---
apiVersion: v1
kind: Service
metadata: {name: api, annotations: {sortie.dev/depends-on: 'ConfigMap/uno, Job/mig'}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: api, annotations: {config.kubernetes.io/depends-on: /namespaces/shop/ConfigMap/uno}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: uno}
---
apiVersion: v1
kind: Secret
metadata: {name: key}
";
        for versioning in [
            Versioning::ContentHash,
            Versioning::ReleaseNumber,
            Versioning::Off,
        ] {
            let objects = prepared_of(SET, versioning).objects;
            let sequence = Sequence::of(&objects, "shop").unwrap();
            assert_eq!(sequence.external, [], "{versioning:?}");
            let steps = sequence.arrange(objects, Object::id);
            let kinds = |step: &Step<Object>| -> Vec<String> {
                let kinds = step.members.iter().map(|object| object.kind().to_owned());
                kinds.collect()
            };
            let kinds: Vec<Vec<String>> = steps.iter().map(kinds).collect();
            let expected = [
                vec!["Secret"],
                vec!["Job"],
                vec!["ConfigMap"],
                vec!["ServiceAccount"],
                vec!["Service"],
            ];
            assert_eq!(kinds, expected, "{versioning:?}");
            let waits = steps[..3].iter().all(|step| {
                let id = step.members[0].id();
                sequence.is_barrier(step, &id)
            });
            assert!(waits, "{versioning:?}: each is waited for");
        }
    }

    #[test]
    fn objects_and_pods_carry_the_release() {
        for object in prepared(Versioning::Off).objects {
            let id = labels::release_id("shop", "web");
            let value = serde_json::Value::Object(object.value().clone());
            let label = |pointer: &str| value.pointer(pointer).cloned();
            assert_eq!(label("/metadata/labels/sortie.dev~1release").unwrap(), *id);
            if object.kind() == "Deployment" {
                let pods = label("/spec/template/metadata/labels/sortie.dev~1release");
                assert_eq!(pods.unwrap(), *id);
            }
        }
    }
}
