//! Parts: immutable pieces of a record, named by their content.

use std::fmt;
use std::io::{BufWriter, IntoInnerError, Read as _};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use sortie_manifest::hash;

/// Most bytes one part holds; a Secret may hold 1 MiB.
pub(super) const PART_LIMIT: usize = 900 * 1024;

/// Most bytes that a record's contents may unpack to.
pub(super) const CONTENT_LIMIT: usize = 128 * 1024 * 1024;

/// Bytes that are compressed at once.
const BUFFER: usize = 64 * 1024;

/// Name of a part: SHA-256 of the release's hash and the part's bytes, as 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartId(String);

/// A part with its content.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) id: PartId,
    pub(super) bytes: Vec<u8>,
}

impl PartId {
    /// The id that `bytes` have in the release with this hash. Two releases never share a part, so
    /// that each can collect its own.
    pub(super) fn of(release_hash: &str, bytes: &[u8]) -> Self {
        let mut named = release_hash.as_bytes().to_vec();
        named.push(b'\n');
        named.extend_from_slice(bytes);
        Self(hash::digest(&named))
    }

    /// Name of the part's Secret.
    pub fn secret_name(&self) -> String {
        format!("sortie.part.{}", self.0)
    }

    /// The id in the name of a part's Secret.
    pub(super) fn from_secret_name(name: &str) -> Option<Self> {
        name.strip_prefix("sortie.part.")
            .map(|id| Self(id.to_owned()))
    }
}

impl fmt::Display for PartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Part {
    /// Never the content: it may hold secret values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part")
            .field("id", &self.id)
            .field("bytes", &self.bytes.len())
            .finish()
    }
}

/// Compresses a JSON value.
pub(super) fn pack(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // The serializer writes piece by piece, and the encoder has a price per call.
    let mut buffer = BufWriter::with_capacity(BUFFER, encoder);
    serde_json::to_writer(&mut buffer, value)?;
    let finished = buffer.into_inner().map_err(IntoInnerError::into_error);
    let finished = finished.and_then(GzEncoder::finish);
    finished.map_err(serde_json::Error::io)
}

/// The reverse of [`pack`], with a limit on what comes out.
pub(super) fn unpack<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let mut text = Vec::new();
    let limit = u64::try_from(CONTENT_LIMIT).unwrap_or(u64::MAX);
    let mut decoder = GzDecoder::new(bytes).take(limit + 1);
    decoder
        .read_to_end(&mut text)
        .map_err(|error| format!("it does not unpack ({error})"))?;
    if text.len() > CONTENT_LIMIT {
        return Err(format!("it unpacks to more than {CONTENT_LIMIT} bytes"));
    }
    serde_json::from_slice(&text).map_err(|error| format!("it is not the expected JSON ({error})"))
}

/// Cuts packed bytes into parts.
pub(super) fn cut(release_hash: &str, bytes: &[u8]) -> Vec<Part> {
    bytes
        .chunks(PART_LIMIT)
        .map(|chunk| Part {
            id: PartId::of(release_hash, chunk),
            bytes: chunk.to_vec(),
        })
        .collect()
}

/// The objects as parts.
pub(super) fn pack_objects(
    release_hash: &str,
    objects: &[impl Serialize],
) -> Result<Vec<Part>, serde_json::Error> {
    Ok(cut(release_hash, &pack(&objects)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn a_bomb_is_refused() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let zeros = vec![b' '; 1024 * 1024];
        for _ in 0..=CONTENT_LIMIT / zeros.len() {
            encoder.write_all(&zeros).unwrap();
        }
        let bomb = encoder.finish().unwrap();
        assert!(bomb.len() < 200_000);
        assert!(unpack::<Value>(&bomb).unwrap_err().contains("more than"));
        assert!(unpack::<Value>(b"not gzip").is_err());
    }

    #[test]
    fn equal_content_has_one_name_per_release() {
        let first = pack_objects("a", &[&json!({"x": 1})]).unwrap();
        assert_eq!(first, pack_objects("a", &[&json!({"x": 1})]).unwrap());
        assert_ne!(
            first[0].id,
            pack_objects("b", &[&json!({"x": 1})]).unwrap()[0].id
        );
        assert!(first[0].id.secret_name().len() <= 253);
        assert_eq!(
            PartId::from_secret_name(&first[0].id.secret_name()),
            Some(first[0].id.clone())
        );
    }

    proptest! {
        #[test]
        fn cutting_and_joining_is_the_identity(bytes in proptest::collection::vec(any::<u8>(), 0..3000), times in 1usize..1200) {
            let bytes = bytes.repeat(times);
            let parts = cut("r", &bytes);
            let joined: Vec<u8> = parts.iter().flat_map(|part| part.bytes.clone()).collect();
            prop_assert_eq!(joined, bytes);
            prop_assert!(parts.iter().all(|part| part.bytes.len() <= PART_LIMIT && !part.bytes.is_empty()));
        }
    }
}
