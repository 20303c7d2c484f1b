//! The control plane's own certificate authority.
//!
//! Made at the first start and kept in the store, its key encrypted under the master key. It signs two kinds of
//! certificates: the agent listener's, made anew at each start, and the delegates', which live a day by default.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use sortie_store::Store;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use super::Error;
use crate::sealing::AtRest;

/// The name in every listener certificate. Delegates check this name and no other: only this authority, which they
/// know by its hash, can sign for it, and addresses of the server may change.
pub const LISTENER_NAME: &str = "agent.sortie.internal";

/// Name of the store's setting.
const SETTING: &str = "agent-authority";

/// What the key is encrypted for.
const CONTEXT: &str = "agent-authority-key";

/// A certificate is valid a little before it is made: clocks differ.
const BACKDATE: std::time::Duration = std::time::Duration::from_secs(300);

/// Life of the authority and of the listener's certificate.
const YEARS: i32 = 20;

/// The certificate authority.
pub(super) struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// As the store keeps it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    certificate: String,
    key_id: String,
    key: String,
}

/// A certificate for a delegate.
#[derive(Debug, Clone)]
pub(super) struct Issued {
    /// DER.
    pub certificate: Vec<u8>,
    /// Validity.
    pub not_before: Timestamp,
    /// End of it.
    pub not_after: Timestamp,
    /// Two thirds of the life.
    pub renew_at: Timestamp,
}

impl Authority {
    /// Reads the authority, or makes it at the first start.
    pub(super) async fn open(
        store: &dyn Store,
        keys: &dyn AtRest,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let stored = store
            .setting(SETTING)
            .await
            .map_err(Error::store("read the authority"))?;
        let bytes = match stored {
            Some(bytes) => bytes,
            None => {
                let made = Self::make(keys, now)?;
                store
                    .setting_or_insert(SETTING, &made)
                    .await
                    .map_err(Error::store("store the authority"))?
            }
        };
        Self::read(&bytes, keys)
    }

    fn make(keys: &dyn AtRest, now: Timestamp) -> Result<Vec<u8>, Error> {
        let key = KeyPair::generate().map_err(Error::certificate("make the authority's key"))?;
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "Sortie agent authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        validity(&mut params, now, years_from(now));
        let certificate = params
            .self_signed(&key)
            .map_err(Error::certificate("make the authority"))?;
        let plain = Zeroizing::new(key.serialize_der());
        let sealed = keys.seal(CONTEXT, &plain).map_err(Error::Key)?;
        let record = Record {
            certificate: STANDARD.encode(certificate.der()),
            key_id: keys.key_id().to_owned(),
            key: STANDARD.encode(sealed),
        };
        serde_json::to_vec(&record).map_err(|_| Error::DamagedAuthority)
    }

    fn read(bytes: &[u8], keys: &dyn AtRest) -> Result<Self, Error> {
        let record: Record = serde_json::from_slice(bytes).map_err(|_| Error::DamagedAuthority)?;
        let decode = |text: &str| STANDARD.decode(text).map_err(|_| Error::DamagedAuthority);
        let plain = keys
            .open(&record.key_id, CONTEXT, &decode(&record.key)?)
            .map_err(Error::Key)?;
        let key = KeyPair::from_pkcs8_der_and_sign_algo(
            &PrivatePkcs8KeyDer::from(plain.as_slice()),
            &rcgen::PKCS_ECDSA_P256_SHA256,
        )
        .map_err(Error::certificate("read the authority's key"))?;
        let certificate = CertificateDer::from(decode(&record.certificate)?);
        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .map_err(Error::certificate("read the authority"))?;
        Ok(Self {
            certificate,
            issuer,
        })
    }

    /// The authority's certificate.
    pub(super) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// SHA-256 of the certificate, as join tokens carry it.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, &self.certificate).as_ref());
        bytes
    }

    /// A key and certificate for the agent listener.
    pub(super) fn listener(
        &self,
        now: Timestamp,
    ) -> Result<(CertificateDer<'static>, PrivatePkcs8KeyDer<'static>), Error> {
        let operation = "make the listener's certificate";
        let mut params = CertificateParams::new([LISTENER_NAME.to_owned()])
            .map_err(Error::certificate(operation))?;
        params
            .distinguished_name
            .push(DnType::CommonName, "Sortie agent listener");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        validity(&mut params, now, years_from(now));
        let key = KeyPair::generate().map_err(Error::certificate(operation))?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(Error::certificate(operation))?;
        Ok((
            certificate.der().clone(),
            PrivatePkcs8KeyDer::from(key.serialize_der()),
        ))
    }

    /// A certificate for a delegate's key. Of the request only the key counts, and only after its signature was checked.
    pub(super) fn issue(
        &self,
        request: &SigningRequest,
        delegate: &str,
        life: std::time::Duration,
        now: Timestamp,
    ) -> Result<Issued, Error> {
        let operation = "issue a certificate";
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, delegate);
        let uri = format!("sortie://delegate/{delegate}");
        let uri = uri.try_into().map_err(Error::certificate(operation))?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let not_after = now.checked_add(life).unwrap_or(Timestamp::MAX);
        let renew_at = now.checked_add(life * 2 / 3).unwrap_or(not_after);
        validity(&mut params, now, not_after);
        let request = CertificateSigningRequestParams {
            params,
            public_key: request.0.public_key.clone(),
        };
        let certificate = request
            .signed_by(&self.issuer)
            .map_err(Error::certificate(operation))?;
        Ok(Issued {
            certificate: certificate.der().to_vec(),
            not_before: now.checked_sub(BACKDATE).unwrap_or(now),
            not_after,
            renew_at,
        })
    }
}

/// A certificate signing request whose signature was checked.
pub(super) struct SigningRequest(CertificateSigningRequestParams);

impl SigningRequest {
    /// Reads a request and checks its signature. Only ECDSA keys on P-256 are taken.
    pub(super) fn parse(der: &[u8]) -> Option<Self> {
        let request =
            CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(der))
                .ok()?;
        (request.public_key.algorithm() == &rcgen::PKCS_ECDSA_P256_SHA256).then_some(Self(request))
    }

    /// SHA-256 of the public key.
    pub(super) fn key_hash(&self) -> Vec<u8> {
        use rcgen::PublicKeyData as _;
        digest(&SHA256, self.0.public_key.der_bytes())
            .as_ref()
            .to_vec()
    }
}

/// What a delegate's certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    /// Id of the delegate.
    pub delegate: String,
    /// End of the certificate.
    pub not_after: Timestamp,
    /// The public key, as signatures are checked with it.
    pub public_key: Vec<u8>,
}

impl Subject {
    /// Reads a certificate. Whether the authority signed it must have been checked by whoever calls.
    pub(super) fn parse(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let delegate = certificate
            .subject()
            .iter_common_name()
            .next()?
            .as_str()
            .ok()?
            .to_owned();
        let seconds = certificate.validity().not_after.timestamp();
        Some(Self {
            delegate,
            not_after: Timestamp::from_second(seconds).ok()?,
            public_key: certificate.public_key().subject_public_key.data.to_vec(),
        })
    }
}

fn validity(params: &mut CertificateParams, now: Timestamp, not_after: Timestamp) {
    let epoch = date_time_ymd(1970, 1, 1);
    let at = |time: Timestamp| {
        let seconds = u64::try_from(time.as_second()).unwrap_or_default();
        epoch + std::time::Duration::from_secs(seconds)
    };
    params.not_before = at(now.checked_sub(BACKDATE).unwrap_or(now));
    params.not_after = at(not_after);
}

fn years_from(now: Timestamp) -> Timestamp {
    let hours = i64::from(YEARS) * 366 * 24;
    now.checked_add(jiff::SignedDuration::from_hours(hours))
        .unwrap_or(Timestamp::MAX)
}
