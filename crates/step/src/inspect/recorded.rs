//! What a release's record tells of its Secrets, when the cluster tells nothing of them any more.

use sortie_cluster::record::{Head, Records};
use sortie_manifest::{Object, Origin, secrets};

use crate::failure::chain;

/// The Secrets among the recorded objects of these numbers, for [`inspect`](super::inspect) to mask: pods may repeat what was
/// in one that is gone, has changed or may not be read. What cannot be read of a record is left out.
pub async fn recorded_secrets<'a>(
    records: &Records,
    heads: impl IntoIterator<Item = &'a Head>,
) -> Vec<Object> {
    let mut known = Vec::new();
    for head in heads {
        let is_one = |kind: &str, group: &str| kind == "Secret" && group.is_empty();
        let mut inventory = head.inventory.iter();
        if !inventory.any(|tracked| is_one(&tracked.id.kind, &tracked.id.group)) {
            continue;
        }
        let recorded = records.objects(head).await.unwrap_or_else(|error| {
            let (number, error) = (head.number, chain(&error));
            tracing::debug!(number, error, "what its Secrets held is not known");
            Vec::new()
        });
        let recorded = recorded
            .into_iter()
            .filter(|value| value.as_object().is_some_and(secrets::is_secret));
        let objects = recorded.map(|value| Object::from_value(value, Origin::outside("a record")));
        known.extend(objects.filter_map(Result::ok));
    }
    known
}
