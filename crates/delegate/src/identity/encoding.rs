//! The identity as it is stored: PEM that other tools read, and one small JSON document of ours.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Enrolment, Error, Identity, PrivateKey};

const KEY: &str = "tls.key";
const CHAIN: &str = "tls.crt";
const AUTHORITIES: &str = "ca.crt";
const ABOUT: &str = "identity.json";

/// What is stored, by key.
pub(super) type Data = BTreeMap<String, Zeroizing<Vec<u8>>>;

/// What the PEM files do not say.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct About {
    delegate_id: String,
    not_after: Timestamp,
    renew_at: Timestamp,
    #[serde(default)]
    join_token_id: String,
}

pub(super) fn encode(identity: &Identity) -> Data {
    let mut data = Data::new();
    data.insert(KEY.to_owned(), pem("PRIVATE KEY", identity.key.pkcs8()));
    let Some(enrolment) = &identity.enrolment else {
        return data;
    };
    let list = |certificates: &[CertificateDer<'_>]| {
        let parts = certificates
            .iter()
            .map(|certificate| pem("CERTIFICATE", certificate));
        Zeroizing::new(parts.flat_map(|part| part.to_vec()).collect::<Vec<u8>>())
    };
    let about = serde_json::json!(About {
        delegate_id: enrolment.delegate.clone(),
        not_after: enrolment.not_after,
        renew_at: enrolment.renew_at,
        join_token_id: enrolment.token.clone(),
    });
    data.insert(CHAIN.to_owned(), list(&enrolment.chain));
    data.insert(AUTHORITIES.to_owned(), list(&enrolment.authorities));
    data.insert(
        ABOUT.to_owned(),
        Zeroizing::new(about.to_string().into_bytes()),
    );
    data
}

pub(super) fn decode(data: &Data, place: impl Fn() -> String) -> Result<Identity, Error> {
    let damaged = |field| Error::Damaged {
        place: place(),
        field,
    };
    let key = data.get(KEY).ok_or_else(|| damaged(KEY))?;
    let der = PrivatePkcs8KeyDer::from_pem_slice(key).map_err(|_| damaged(KEY))?;
    let key = PrivateKey::from_pkcs8(der.secret_pkcs8_der().to_vec()).map_err(|_| damaged(KEY))?;
    let Some(about) = data.get(ABOUT) else {
        return Ok(Identity {
            key,
            enrolment: None,
        });
    };
    let about: About = serde_json::from_slice(about).map_err(|_| damaged(ABOUT))?;
    let list = |field: &'static str| {
        let text = data.get(field).ok_or_else(|| damaged(field))?;
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(text)
            .collect::<Result<_, _>>()
            .map_err(|_| damaged(field))?;
        if certificates.is_empty() {
            Err(damaged(field))
        } else {
            Ok(certificates)
        }
    };
    let enrolment = Enrolment {
        chain: list(CHAIN)?,
        authorities: list(AUTHORITIES)?,
        delegate: about.delegate_id,
        not_after: about.not_after,
        renew_at: about.renew_at,
        token: about.join_token_id,
    };
    Ok(Identity {
        key,
        enrolment: Some(enrolment),
    })
}

fn pem(label: &str, der: &[u8]) -> Zeroizing<Vec<u8>> {
    let encoded = Zeroizing::new(STANDARD.encode(der));
    let mut text = Zeroizing::new(format!("-----BEGIN {label}-----\n").into_bytes());
    for line in encoded.as_bytes().chunks(64) {
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    text.extend_from_slice(format!("-----END {label}-----\n").as_bytes());
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn enrolled() -> Identity {
        let key = PrivateKey::generate().unwrap();
        let made = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let enrolment = Enrolment {
            delegate: "d-1".into(),
            chain: vec![certificate.clone()],
            authorities: vec![certificate.clone(), certificate],
            not_after: Timestamp::from_second(1_800_000_000).unwrap(),
            renew_at: Timestamp::from_second(1_799_990_000).unwrap(),
            token: "t".into(),
        };
        Identity {
            key,
            enrolment: Some(enrolment),
        }
    }

    #[test]
    fn an_identity_is_read_as_it_was_written() {
        let identity = enrolled();
        let read = decode(&encode(&identity), String::new).unwrap();
        assert_eq!(read.enrolment, identity.enrolment);
        assert_eq!(read.key.pkcs8(), identity.key.pkcs8());
        let fresh = Identity {
            key: identity.key,
            enrolment: None,
        };
        assert!(
            decode(&encode(&fresh), String::new)
                .unwrap()
                .enrolment
                .is_none()
        );
    }

    #[test]
    fn every_damage_is_named() {
        let whole = encode(&enrolled());
        for field in [KEY, CHAIN, AUTHORITIES, ABOUT] {
            let mut data = whole.clone();
            data.insert(
                field.to_owned(),
                Zeroizing::new(b"-----BEGIN nonsense".to_vec()),
            );
            let error = decode(&data, || "a/b".to_owned()).unwrap_err();
            assert!(error.to_string().contains(field), "{error}");
        }
        for field in [KEY, CHAIN, AUTHORITIES] {
            let mut data = whole.clone();
            data.remove(field);
            decode(&data, String::new).unwrap_err();
        }
    }
}
