//! Opens secrets that the control plane sealed to the key of this boot.

use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey};
use sortie_link::TaskRef;
use sortie_proto::v1;
use zeroize::Zeroizing;

/// How this key's use is named in a hello.
pub(crate) const CAPABILITY: &str = "hpke-x25519-sha256-aes256gcm";

/// Bound to every sealed value.
const INFO: &[u8] = b"sortie-resolve-v1";

/// The key of one boot; it never leaves the process.
pub(crate) struct SealingKey {
    private: HpkePrivateKey,
    public: Vec<u8>,
}

/// No key could be made, or a value was sealed to another one or for another purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SealError {
    #[error("no sealing key could be made")]
    Generate,
    #[error("a sealed value is not for this task or not for this delegate")]
    Open,
}

impl SealingKey {
    /// A new key.
    pub(crate) fn generate() -> Result<Self, SealError> {
        let suite: &dyn Hpke = DH_KEM_X25519_HKDF_SHA256_AES_256;
        let (public, private) = suite.generate_key_pair().map_err(|_| SealError::Generate)?;
        Ok(Self {
            private,
            public: public.0,
        })
    }

    /// For the hello.
    pub(crate) fn public(&self) -> &[u8] {
        &self.public
    }

    /// The plain bytes of a value that was sealed for this task, epoch and name.
    pub(crate) fn open(
        &self,
        task: &TaskRef,
        name: &str,
        sealed: &v1::Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let suite: &dyn Hpke = DH_KEM_X25519_HKDF_SHA256_AES_256;
        let encapsulated = EncapsulatedSecret(sealed.encapsulated_key.clone());
        let aad = format!("{}\0{}\0{name}", task.id, task.epoch);
        suite
            .open(
                &encapsulated,
                INFO,
                aad.as_bytes(),
                &sealed.ciphertext,
                &self.private,
            )
            .map(Zeroizing::new)
            .map_err(|_| SealError::Open)
    }
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealingKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use rustls::crypto::hpke::HpkePublicKey;

    use super::*;

    fn seal(key: &SealingKey, aad: &str, plain: &[u8]) -> v1::Sealed {
        let suite: &dyn Hpke = DH_KEM_X25519_HKDF_SHA256_AES_256;
        let public = HpkePublicKey(key.public().to_vec());
        let (encapsulated, ciphertext) = suite.seal(INFO, aad.as_bytes(), plain, &public).unwrap();
        v1::Sealed {
            encapsulated_key: encapsulated.0,
            ciphertext,
        }
    }

    #[test]
    fn a_value_opens_only_for_its_task_epoch_name_and_key() {
        let (key, other) = (
            SealingKey::generate().unwrap(),
            SealingKey::generate().unwrap(),
        );
        let task = TaskRef::new("t", 3);
        let sealed = seal(&key, "t\x003\0db", b"hunter22");
        assert_eq!(
            *key.open(&task, "db", &sealed).unwrap(),
            b"hunter22".to_vec()
        );
        assert!(key.open(&task, "dc", &sealed).is_err());
        assert!(key.open(&TaskRef::new("t", 4), "db", &sealed).is_err());
        assert!(key.open(&TaskRef::new("u", 3), "db", &sealed).is_err());
        assert!(other.open(&task, "db", &sealed).is_err());
        assert!(key.open(&task, "db", &v1::Sealed::default()).is_err());
    }
}
