//! Under which names ConfigMaps and Secrets are live that a release has versioned.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde_json::Value;
use sortie_cluster::apply::Target;
use sortie_cluster::inventory::Found;
use sortie_cluster::{Cluster, Error};
use sortie_manifest::ObjectId;
use sortie_manifest::references::ConfigKind;

use super::is_of_one;
use crate::difference::original_name;

/// What identifies each of these objects in the cluster, in their order: its own name, or for a ConfigMap or Secret of
/// which only versions are live, that of the newest. Where such objects may not be listed, its own name.
///
/// # Errors
/// The API server does not answer.
pub async fn live_identities(
    cluster: &Cluster,
    targets: &[Target],
) -> Result<Vec<ObjectId>, Error> {
    let mut listed: BTreeMap<(ConfigKind, &str), Vec<Found>> = BTreeMap::new();
    let mut live = Vec::with_capacity(targets.len());
    for Target { object, id, .. } in targets {
        let (Some(kind), Some(namespace)) = (ConfigKind::of(object), id.namespace.as_deref())
        else {
            live.push(id.clone());
            continue;
        };
        let found = match listed.entry((kind, namespace)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => match cluster.configuration(kind, namespace, None).await {
                Ok(found) => entry.insert(found),
                Err(error) if is_of_one(&error) => entry.insert(Vec::new()),
                Err(error) => return Err(error),
            },
        };
        live.push(present(id, found));
    }
    Ok(live)
}

fn present(id: &ObjectId, found: &[Found]) -> ObjectId {
    if found.iter().any(|found| found.id == *id) {
        return id.clone();
    }
    let versions = found
        .iter()
        .filter(|found| original_name(&found.object) == Some(&id.name));
    let newest = versions.max_by_key(|found| {
        let made = found.object.pointer("/metadata/creationTimestamp");
        (made.and_then(Value::as_str), &found.id.name)
    });
    newest.map_or_else(|| id.clone(), |newest| newest.id.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sortie_manifest::versioning::ORIGINAL_NAME;

    use super::*;

    fn id(name: &str) -> ObjectId {
        ObjectId {
            group: String::new(),
            kind: "ConfigMap".to_owned(),
            namespace: Some("shop".to_owned()),
            name: name.to_owned(),
        }
    }

    fn version(name: &str, original: &str, made: &str) -> Found {
        Found {
            id: id(name),
            object: json!({"metadata": {
                "name": name,
                "creationTimestamp": made,
                "annotations": {ORIGINAL_NAME: original},
            }}),
        }
    }

    #[test]
    fn the_newest_version_stands_for_what_is_not_there_itself() {
        let found = [
            version("web-1", "web", "2026-01-01T00:00:00Z"),
            version("web-9", "web", "2026-03-01T00:00:00Z"),
            version("web-2", "web", "2026-02-01T00:00:00Z"),
            version("web-x", "web-more", "2026-04-01T00:00:00Z"),
            version("plain", "else", "2026-01-01T00:00:00Z"),
            version("plain-1", "plain", "2026-05-01T00:00:00Z"),
        ];
        for (stated, live) in [("web", "web-9"), ("plain", "plain"), ("none", "none")] {
            assert_eq!(present(&id(stated), &found), id(live));
        }
    }
}
