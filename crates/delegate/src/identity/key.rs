//! The delegate's private key: ECDSA on P-256.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::Error;

/// A private key. Its bytes are wiped when it is dropped and never shown.
#[derive(Clone)]
pub struct PrivateKey(Zeroizing<Vec<u8>>);

impl PrivateKey {
    /// A new key.
    ///
    /// # Errors
    /// No random numbers.
    pub fn generate() -> Result<Self, Error> {
        let pair = KeyPair::generate().map_err(|_| Error::Key("none could be made"))?;
        Ok(Self(Zeroizing::new(pair.serialize_der())))
    }

    /// A key from its PKCS#8 form.
    ///
    /// # Errors
    /// It is no ECDSA key on P-256.
    pub fn from_pkcs8(der: Vec<u8>) -> Result<Self, Error> {
        let key = Self(Zeroizing::new(der));
        key.pair()?;
        Ok(key)
    }

    /// PKCS#8 bytes.
    pub(super) fn pkcs8(&self) -> &[u8] {
        &self.0
    }

    /// As TLS uses it.
    pub(crate) fn for_tls(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.0.to_vec()))
    }

    /// A certificate signing request in DER. The control plane decides the subject; `name` is for people.
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn request(&self, name: &str) -> Result<Vec<u8>, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        let request = params
            .serialize_request(&self.pair()?)
            .map_err(|_| Error::Key("it signs no certificate request"))?;
        Ok(request.der().to_vec())
    }

    /// ECDSA with SHA-256, ASN.1 DER.
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &self.0)
            .map_err(|_| Error::Key("it is not an ECDSA key on P-256"))?;
        let signature = pair
            .sign(&SystemRandom::new(), message)
            .map_err(|_| Error::Key("it signs nothing"))?;
        Ok(signature.as_ref().to_vec())
    }

    fn pair(&self) -> Result<KeyPair, Error> {
        KeyPair::from_pkcs8_der_and_sign_algo(
            &PrivatePkcs8KeyDer::from(self.0.as_slice()),
            &rcgen::PKCS_ECDSA_P256_SHA256,
        )
        .map_err(|_| Error::Key("it is not an ECDSA key on P-256"))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
    use rcgen::PublicKeyData as _;

    use super::*;

    #[test]
    fn a_signature_is_verified_by_the_public_key() {
        let key = PrivateKey::generate().unwrap();
        let signature = key.sign(b"hello").unwrap();
        let public = UnparsedPublicKey::new(
            &ECDSA_P256_SHA256_ASN1,
            key.pair().unwrap().der_bytes().to_vec(),
        );
        public.verify(b"hello", &signature).unwrap();
        public.verify(b"other", &signature).unwrap_err();
    }

    #[test]
    fn other_bytes_are_no_key() {
        assert!(PrivateKey::from_pkcs8(vec![1, 2, 3]).is_err());
        let key = PrivateKey::generate().unwrap();
        assert!(PrivateKey::from_pkcs8(key.pkcs8().to_vec()).is_ok());
        assert_eq!(format!("{key:?}"), "PrivateKey(…)");
    }
}
