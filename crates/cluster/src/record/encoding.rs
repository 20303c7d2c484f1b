//! Heads and parts as the data of Secrets.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sortie_manifest::labels;

use super::head::Head;
use super::part::{self, Part, PartId};
use super::records::Stored;
use super::{HEAD_TYPE, NAME_LABEL, NUMBER_LABEL, PART_TYPE, RecordError, Release, STATUS_LABEL};

/// Inventory and journal move to parts when they are larger, compressed, than this.
const INLINE_LIMIT: usize = 256 * 1024;

/// Keys of a head's data.
const HEAD: &str = "head";
/// Key of a part's data.
const CONTENT: &str = "content";

/// The two lists of a head that may grow large: key in the data, and field that names their parts.
const INVENTORY: (&str, &str) = ("inventory", "inventoryParts");
const JOURNAL: (&str, &str) = ("journal", "journalParts");

/// A head ready to be written, with the parts that must be written before it.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) secret: Value,
    pub(super) overflow: Vec<Part>,
}

/// A head as read, before the parts that its lists may have moved to are.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) stored: Stored,
    pub(super) inventory: List,
    pub(super) journal: List,
}

/// Where a list is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum List {
    Inline(Vec<u8>),
    Moved(Vec<PartId>),
}

pub(super) fn encode(release: &Release, head: &Head) -> Result<Encoded, RecordError> {
    let failed = |source| RecordError::Encode {
        release: release.clone(),
        source,
    };
    let mut document = match serde_json::to_value(head).map_err(failed)? {
        Value::Object(document) => document,
        _ => Map::new(),
    };
    let mut data = BTreeMap::new();
    let mut overflow = Vec::new();
    let lists = [
        (INVENTORY, part::pack(&head.inventory).map_err(failed)?),
        (JOURNAL, part::pack(&head.journal).map_err(failed)?),
    ];
    for ((key, field), bytes) in lists {
        document.remove(field);
        if bytes.len() <= INLINE_LIMIT {
            data.insert(key, STANDARD.encode(bytes));
            continue;
        }
        let parts = part::cut(&release.hash(), &bytes);
        let ids: Vec<&PartId> = parts.iter().map(|part| &part.id).collect();
        document.insert(field.to_owned(), json!(ids));
        overflow.extend(parts);
    }
    data.insert(HEAD, STANDARD.encode(Value::Object(document).to_string()));
    let mut labels = release_labels(release);
    labels.insert(NUMBER_LABEL.to_owned(), head.number.to_string());
    labels.insert(STATUS_LABEL.to_owned(), head.status.name().to_owned());
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": release.head_name(head.number),
            "namespace": release.namespace(),
            "labels": labels,
        },
        "type": HEAD_TYPE,
        "data": data,
    });
    Ok(Encoded { secret, overflow })
}

pub(super) fn encode_part(release: &Release, part: &Part) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": part.id.secret_name(),
            "namespace": release.namespace(),
            "labels": release_labels(release),
        },
        "type": PART_TYPE,
        "immutable": true,
        "data": {CONTENT: STANDARD.encode(&part.bytes)},
    })
}

pub(super) fn decode(release: &Release, secret: &Value) -> Result<Decoded, RecordError> {
    let name = secret_name(secret);
    let damaged = |what: String| RecordError::Damaged {
        secret: name.clone(),
        what,
    };
    let bytes = data(secret, HEAD).map_err(damaged)?;
    let mut document: Map<String, Value> =
        serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    let version = document.get("formatVersion").and_then(Value::as_str);
    match Head::is_known_format(version.unwrap_or_default()) {
        Some(true) => {}
        Some(false) => {
            let (secret, found) = (name, version.unwrap_or_default().to_owned());
            return Err(RecordError::NewerFormat { secret, found });
        }
        None => return Err(damaged("it has no version of the format".to_owned())),
    }
    let mut list = |(key, field): (&str, &str)| match document.remove(field) {
        Some(parts) => serde_json::from_value(parts)
            .map(List::Moved)
            .map_err(|error| damaged(format!("{field}: {error}"))),
        None => data(secret, key).map(List::Inline).map_err(damaged),
    };
    let (inventory, journal) = (list(INVENTORY)?, list(JOURNAL)?);
    let head: Head = serde_json::from_value(Value::Object(document))
        .map_err(|error| damaged(error.to_string()))?;
    if head.namespace != release.namespace() || head.release != release.name() {
        return Err(damaged(format!(
            "it is of release {}/{}",
            head.namespace, head.release
        )));
    }
    if name != release.head_name(head.number) {
        let number = head.number;
        return Err(damaged(format!("its name is not that of number {number}")));
    }
    let version = secret
        .pointer("/metadata/resourceVersion")
        .and_then(Value::as_str);
    let moved = [&inventory, &journal]
        .into_iter()
        .flat_map(List::parts)
        .cloned()
        .collect();
    let stored = Stored::new(head, version.unwrap_or_default(), moved);
    Ok(Decoded {
        stored,
        inventory,
        journal,
    })
}

/// The bytes of a part, checked against its name.
pub(super) fn decode_part(
    release: &Release,
    id: &PartId,
    secret: &Value,
) -> Result<Vec<u8>, RecordError> {
    let damaged = |what: String| RecordError::Damaged {
        secret: id.secret_name(),
        what,
    };
    let bytes = data(secret, CONTENT).map_err(damaged)?;
    if PartId::of(&release.hash(), &bytes) != *id {
        return Err(damaged(
            "its content does not have the hash in its name".to_owned(),
        ));
    }
    Ok(bytes)
}

impl List {
    pub(super) fn parts(&self) -> &[PartId] {
        match self {
            Self::Inline(_) => &[],
            Self::Moved(parts) => parts,
        }
    }
}

pub(super) fn secret_name(secret: &Value) -> String {
    let name = secret.pointer("/metadata/name").and_then(Value::as_str);
    name.unwrap_or_default().to_owned()
}

pub(super) fn release_labels(release: &Release) -> BTreeMap<String, String> {
    BTreeMap::from([
        (labels::RELEASE.to_owned(), release.hash()),
        (NAME_LABEL.to_owned(), release.name().to_owned()),
        (
            "app.kubernetes.io/managed-by".to_owned(),
            "sortie".to_owned(),
        ),
    ])
}

pub(super) fn data(secret: &Value, key: &str) -> Result<Vec<u8>, String> {
    let text = secret
        .get("data")
        .and_then(|data| data.get(key))
        .and_then(Value::as_str);
    let text = text.ok_or_else(|| format!("it has no data.{key}"))?;
    STANDARD
        .decode(text)
        .map_err(|error| format!("data.{key} is not base64 ({error})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Status, Tracked};
    use jiff::Timestamp;
    use proptest::prelude::*;
    use sortie_manifest::ObjectId;

    fn release() -> Release {
        Release::new("shop", "web").unwrap()
    }

    fn id(name: &str) -> ObjectId {
        ObjectId {
            group: "apps".into(),
            kind: "Deployment".into(),
            namespace: Some("shop".into()),
            name: name.into(),
        }
    }

    fn complete(decoded: &Decoded, overflow: &[Part]) -> Head {
        let read = |list: &List| match list {
            List::Inline(bytes) => bytes.clone(),
            List::Moved(ids) => ids
                .iter()
                .flat_map(|id| {
                    overflow
                        .iter()
                        .find(|part| part.id == *id)
                        .unwrap()
                        .bytes
                        .clone()
                })
                .collect(),
        };
        let mut head = decoded.stored.head.clone();
        head.inventory = part::unpack(&read(&decoded.inventory)).unwrap();
        head.journal = part::unpack(&read(&decoded.journal)).unwrap();
        head
    }

    #[test]
    fn fields_of_a_later_minor_format_survive() {
        let mut head = Head::new(&release(), 1, Timestamp::UNIX_EPOCH);
        head.format_version = "1.9".into();
        head.unknown
            .insert("approvals".into(), json!([{"by": "ann"}]));
        let encoded = encode(&release(), &head).unwrap();
        let decoded = decode(&release(), &encoded.secret).unwrap();
        assert_eq!(complete(&decoded, &[]), head);
    }

    #[test]
    fn newer_foreign_and_damaged_records_are_refused() {
        let mut head = Head::new(&release(), 1, Timestamp::UNIX_EPOCH);
        head.format_version = "2.0".into();
        let newer = encode(&release(), &head).unwrap().secret;
        assert_eq!(decode(&release(), &newer).unwrap_err().code(), "SRT-C031");
        head.format_version = "1.0".into();
        let good = encode(&release(), &head).unwrap().secret;
        let other = Release::new("shop", "api").unwrap();
        assert_eq!(decode(&other, &good).unwrap_err().code(), "SRT-C032");
        let mut copy = good.clone();
        copy["metadata"]["name"] = "copy".into();
        assert_eq!(decode(&release(), &copy).unwrap_err().code(), "SRT-C032");
        let mut empty = good.clone();
        empty["data"]["head"] = STANDARD.encode("{}").into();
        assert_eq!(decode(&release(), &empty).unwrap_err().code(), "SRT-C032");
        let mut cut = good;
        cut["data"]["head"] = STANDARD.encode("{\"formatVersion\": \"1.0\"").into();
        assert_eq!(decode(&release(), &cut).unwrap_err().code(), "SRT-C032");
        assert_eq!(
            decode(&release(), &json!({})).unwrap_err().code(),
            "SRT-C032"
        );
    }

    #[test]
    fn a_large_inventory_moves_to_parts() {
        let mut head = Head::new(&release(), 1, Timestamp::UNIX_EPOCH);
        // Names without repetition, so that compression does not hide their number.
        head.inventory = (0..12_000)
            .map(|n| Tracked {
                id: id(&sortie_manifest::hash::digest(&[n as u8, (n >> 8) as u8])),
                uid: None,
            })
            .collect();
        let encoded = encode(&release(), &head).unwrap();
        assert!(!encoded.overflow.is_empty());
        assert!(encoded.secret.to_string().len() < INLINE_LIMIT);
        let decoded = decode(&release(), &encoded.secret).unwrap();
        assert_eq!(decoded.stored.all_parts().count(), encoded.overflow.len());
        assert_eq!(complete(&decoded, &encoded.overflow), head);
    }

    #[test]
    fn a_part_with_other_content_is_refused() {
        let part = part::cut(&release().hash(), b"content").remove(0);
        let mut secret = encode_part(&release(), &part);
        assert_eq!(
            decode_part(&release(), &part.id, &secret).unwrap(),
            b"content"
        );
        secret["data"]["content"] = STANDARD.encode("tampered").into();
        assert_eq!(
            decode_part(&release(), &part.id, &secret)
                .unwrap_err()
                .code(),
            "SRT-C032"
        );
    }

    proptest! {
        #[test]
        fn encoding_loses_nothing(
            number in 1u64..1_000_000,
            message in ".{0,40}",
            names in proptest::collection::vec("[a-z]{1,10}", 0..20),
            notes in proptest::collection::vec(".{0,30}", 0..20),
            good in any::<bool>(),
        ) {
            let now = Timestamp::UNIX_EPOCH;
            let mut head = Head::new(&release(), number, now);
            head.message = message;
            head.status = if good { Status::Succeeded } else { Status::Failed };
            for name in &names {
                head.track(id(name), good.then(|| "u-1".to_owned()));
            }
            for note in notes {
                head.note_with("Apply", "1", note, json!({"k": [1, null]}), now);
            }
            let encoded = encode(&release(), &head).unwrap();
            let decoded = decode(&release(), &encoded.secret).unwrap();
            prop_assert_eq!(complete(&decoded, &encoded.overflow), head);
        }
    }
}
