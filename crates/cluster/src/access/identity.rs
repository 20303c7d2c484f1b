//! The TLS side of who we are: a client certificate that may change while the process runs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::InconsistentKeys;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::sign::CertifiedKey;
use secrecy::SecretString;

use super::error::CredentialError;
use super::key;

/// The certificate that new connections show, if any. Clones share it.
#[derive(Clone)]
pub(crate) struct Identity {
    shared: Arc<Shared>,
}

struct Shared {
    shown: RwLock<Option<Arc<CertifiedKey>>>,
    /// Counts changes: a connection keeps the certificate that it was made with.
    edition: AtomicU64,
}

impl Identity {
    pub(crate) fn none() -> Self {
        Self {
            shared: Arc::new(Shared {
                shown: RwLock::new(None),
                edition: AtomicU64::new(0),
            }),
        }
    }

    pub(crate) fn from_pem(
        certificate: &[u8],
        key: &SecretString,
        passphrase: Option<&SecretString>,
    ) -> Result<Self, CredentialError> {
        let identity = Self::none();
        identity.show(certificate, key, passphrase)?;
        Ok(identity)
    }

    /// Shows another certificate from now on.
    pub(crate) fn show(
        &self,
        certificate: &[u8],
        key: &SecretString,
        passphrase: Option<&SecretString>,
    ) -> Result<(), CredentialError> {
        let key = certified(certificate, key, passphrase)?;
        let shown = &self.shared.shown;
        *shown.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(key));
        self.shared.edition.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// How often the certificate has changed.
    pub(crate) fn edition(&self) -> u64 {
        self.shared.edition.load(Ordering::SeqCst)
    }

    fn shown(&self) -> Option<Arc<CertifiedKey>> {
        let shown = &self.shared.shown;
        shown.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("edition", &self.edition())
            .finish_non_exhaustive()
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.shown()
    }

    fn has_certs(&self) -> bool {
        self.shown().is_some()
    }
}

/// The certificates of a PEM bundle, DER.
pub(crate) fn authorities(pem: &[u8]) -> Result<Vec<Vec<u8>>, CredentialError> {
    let found = certificates(pem, "the certificate authority")?;
    Ok(found.into_iter().map(|der| der.to_vec()).collect())
}

/// The provider of cryptography of the whole process.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    if let Some(provider) = CryptoProvider::get_default() {
        return Arc::clone(provider);
    }
    // Installing fails only when a provider is there already, which is as good.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    CryptoProvider::get_default().map_or_else(
        || Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
        Arc::clone,
    )
}

fn certified(
    certificate: &[u8],
    key: &SecretString,
    passphrase: Option<&SecretString>,
) -> Result<CertifiedKey, CredentialError> {
    let chain = certificates(certificate, "the client certificate")?;
    let malformed = |problem: &str| CredentialError::Malformed {
        what: "the client certificate with its key".to_owned(),
        problem: problem.to_owned(),
    };
    let key = key::read(key, passphrase)?;
    let key =
        any_supported_type(&key).map_err(|_| malformed("the key's algorithm is not supported"))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        // Of a kind of key that does not say what its public half is: the API server will see.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(malformed("the key is not the certificate's"))
        }
        Err(_) => Err(malformed("the certificate cannot be read")),
    }
}

fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, CredentialError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(CredentialError::Malformed {
            what: what.to_owned(),
            problem: "there is no certificate in PEM form in it".to_owned(),
        }),
    }
}
