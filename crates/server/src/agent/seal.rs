//! Seals secrets to the key of one boot of one delegate instance.

use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256;
use rustls::crypto::hpke::{Hpke, HpkePublicKey};
use sortie_link::TaskRef;
use sortie_proto::v1;

/// Bound to every sealed value.
const INFO: &[u8] = b"sortie-resolve-v1";

/// Seals `plain` so that only the boot that has the private key can open it, and only as the answer for this task, epoch
/// and name. `None` when the key is no X25519 public key.
pub(super) fn seal(key: &[u8], task: &TaskRef, name: &str, plain: &[u8]) -> Option<v1::Sealed> {
    let suite: &dyn Hpke = DH_KEM_X25519_HKDF_SHA256_AES_256;
    let aad = format!("{}\0{}\0{name}", task.id, task.epoch);
    let (encapsulated, ciphertext) = suite
        .seal(INFO, aad.as_bytes(), plain, &HpkePublicKey(key.to_vec()))
        .ok()?;
    Some(v1::Sealed {
        encapsulated_key: encapsulated.0,
        ciphertext,
    })
}
