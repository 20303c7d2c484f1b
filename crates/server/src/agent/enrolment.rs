//! Enrolment and renewal: how a delegate gets its certificate. Both run without a client certificate.

use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, UnixTime};
use sortie_proto::v1;
use sortie_store::{DelegateRecord, Enrolled, Enrolment as Use};
use tonic::{Request, Response, Status};

use super::Core;
use super::authority::{SigningRequest, Subject};
use super::error::{Refusal, unavailable};
use super::{Error, join, listener};
use crate::clock;

/// How long a nonce can be used.
const NONCE_LIFE: Duration = Duration::from_secs(60);

/// How long after its end a certificate can be renewed.
const RENEWABLE: jiff::SignedDuration = jiff::SignedDuration::from_hours(30 * 24);

/// What a renewal's signature covers, before the request and the nonce.
const RENEWAL_PREFIX: &[u8] = b"sortie-renew-v1\0";

/// The enrolment service.
pub(super) struct Enrolment {
    core: Core,
    nonces: Nonces,
    verifier: std::sync::Arc<dyn rustls::server::danger::ClientCertVerifier>,
}

impl Enrolment {
    pub(super) fn new(core: Core) -> Result<Self, Error> {
        let nonces = Nonces::new()?;
        let verifier = listener::client_verifier(&core.authority)?;
        Ok(Self {
            core,
            nonces,
            verifier,
        })
    }

    async fn issue(
        &self,
        request: &SigningRequest,
        delegate: &DelegateRecord,
    ) -> Result<v1::Certificate, Status> {
        let authority = &self.core.authority;
        let life = self.core.options.certificate_lifetime;
        let issued = authority
            .issue(request, &delegate.id, life, clock::now())
            .map_err(|error| unavailable("issue a certificate", &error))?;
        self.core
            .store
            .certificate_issued(&delegate.id, issued.not_after)
            .await
            .map_err(|error| unavailable("note a certificate", &error))?;
        Ok(v1::Certificate {
            delegate_id: delegate.id.clone(),
            chain: vec![issued.certificate],
            authorities: vec![authority.certificate().to_vec()],
            not_before_ms: issued.not_before.as_millisecond(),
            not_after_ms: issued.not_after.as_millisecond(),
            renew_at_ms: issued.renew_at.as_millisecond(),
        })
    }

    /// Who asks for a renewal: the certificate must be of this authority, the request signed by its key.
    fn renewing(&self, request: &v1::RenewRequest, now: Timestamp) -> Result<Subject, Refusal> {
        let leaf = request.chain.first().ok_or(Refusal::NoCertificate)?;
        let subject = Subject::parse(leaf).ok_or(Refusal::NoCertificate)?;
        // Checked at a time when it was valid: this code decides how long after its end it counts.
        let valid_at = subject.not_after.min(now).as_second() - 1;
        let valid_at = u64::try_from(valid_at).map_err(|_| Refusal::NoCertificate)?;
        self.verifier
            .verify_client_cert(
                &CertificateDer::from(leaf.as_slice()),
                &[],
                UnixTime::since_unix_epoch(Duration::from_secs(valid_at)),
            )
            .map_err(|_| Refusal::NoCertificate)?;
        let last = subject
            .not_after
            .checked_add(RENEWABLE)
            .unwrap_or(Timestamp::MAX);
        if now > last {
            return Err(Refusal::ExpiredCertificate);
        }
        if !self.nonces.is_fresh(&request.nonce, now) {
            return Err(Refusal::BadProof);
        }
        let signed = [RENEWAL_PREFIX, &request.csr, &request.nonce].concat();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &subject.public_key)
            .verify(&signed, &request.signature)
            .map_err(|_| Refusal::BadProof)?;
        Ok(subject)
    }
}

#[tonic::async_trait]
impl v1::enrolment_server::Enrolment for Enrolment {
    async fn enrol(
        &self,
        request: Request<v1::EnrolRequest>,
    ) -> Result<Response<v1::EnrolResponse>, Status> {
        let request = request.into_inner();
        let token = zeroize::Zeroizing::new(request.token);
        let (id, hash) = join::parse(&token).ok_or(Refusal::UnknownToken)?;
        if !sortie_link::is_delegate_name(&request.delegate_name) {
            return Err(Refusal::BadName.into());
        }
        let csr = SigningRequest::parse(&request.csr).ok_or(Refusal::BadRequest)?;
        let store = &self.core.store;
        let known = store
            .join_token(&id)
            .await
            .map_err(|error| unavailable("read a join token", &error))?
            .filter(|token| join::is_equal(&token.hash, &hash))
            .ok_or(Refusal::UnknownToken)?;
        let wants = |asked: &str, has: Option<&String>| {
            asked.is_empty() || has.is_some_and(|has| has == asked)
        };
        if !wants(&request.organisation, known.scope.org.as_ref())
            || !wants(&request.project, known.scope.project.as_ref())
        {
            return Err(Refusal::OtherScope.into());
        }
        let enrolled = store
            .enrol(&Use {
                token: id.clone(),
                public_key: csr.key_hash(),
                delegate: uuid::Uuid::now_v7().to_string(),
                name: request.delegate_name,
                now: clock::now(),
            })
            .await
            .map_err(|error| unavailable("enrol a delegate", &error))?;
        let delegate = match enrolled {
            Enrolled::Delegate(delegate) if delegate.revoked_at.is_some() => {
                return Err(Refusal::RevokedDelegate.into());
            }
            Enrolled::Delegate(delegate) => delegate,
            Enrolled::Unknown => return Err(Refusal::UnknownToken.into()),
            Enrolled::Revoked => return Err(Refusal::RevokedToken.into()),
            Enrolled::Expired => return Err(Refusal::ExpiredToken.into()),
            Enrolled::UsedUp => return Err(Refusal::UsedUpToken.into()),
            Enrolled::OtherName => return Err(Refusal::OtherName.into()),
            Enrolled::NameTaken => return Err(Refusal::NameTaken.into()),
        };
        let certificate = self.issue(&csr, &delegate).await?;
        tracing::info!(
            delegate = delegate.id,
            name = delegate.name,
            token = id,
            "delegate enrolled"
        );
        Ok(Response::new(v1::EnrolResponse {
            certificate: Some(certificate),
        }))
    }

    async fn challenge(
        &self,
        _: Request<v1::ChallengeRequest>,
    ) -> Result<Response<v1::ChallengeResponse>, Status> {
        let nonce = self
            .nonces
            .make(clock::now())
            .map_err(|error| unavailable("make a nonce", &error))?;
        Ok(Response::new(v1::ChallengeResponse { nonce }))
    }

    async fn renew(
        &self,
        request: Request<v1::RenewRequest>,
    ) -> Result<Response<v1::RenewResponse>, Status> {
        let request = request.into_inner();
        let subject = self.renewing(&request, clock::now())?;
        let csr = SigningRequest::parse(&request.csr).ok_or(Refusal::BadRequest)?;
        let delegate = self.core.live_delegate(&subject.delegate).await?;
        let certificate = self.issue(&csr, &delegate).await?;
        tracing::debug!(delegate = delegate.id, "certificate renewed");
        Ok(Response::new(v1::RenewResponse {
            certificate: Some(certificate),
        }))
    }
}

/// Nonces prove by themselves that this process made them, and when: nothing is kept.
struct Nonces(hmac::Key);

impl Nonces {
    fn new() -> Result<Self, Error> {
        hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map(Self)
            .map_err(|_| Error::Random)
    }

    fn make(&self, now: Timestamp) -> Result<Vec<u8>, Error> {
        let mut nonce = now.as_millisecond().to_be_bytes().to_vec();
        let mut random = [0; 16];
        SystemRandom::new()
            .fill(&mut random)
            .map_err(|_| Error::Random)?;
        nonce.extend_from_slice(&random);
        let tag = hmac::sign(&self.0, &nonce);
        nonce.extend_from_slice(tag.as_ref());
        Ok(nonce)
    }

    fn is_fresh(&self, nonce: &[u8], now: Timestamp) -> bool {
        let Some((body, tag)) = nonce.split_at_checked(24) else {
            return false;
        };
        if hmac::verify(&self.0, body, tag).is_err() {
            return false;
        }
        let Some(millis) = body.first_chunk::<8>() else {
            return false;
        };
        let age = now.as_millisecond() - i64::from_be_bytes(*millis);
        (0..=i64::try_from(NONCE_LIFE.as_millis()).unwrap_or(0)).contains(&age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_fresh_for_a_minute_and_only_here() {
        let (ours, theirs) = (Nonces::new().unwrap(), Nonces::new().unwrap());
        let made = Timestamp::from_second(1_800_000_000).unwrap();
        let at = |second| {
            made.checked_add(jiff::SignedDuration::from_secs(second))
                .unwrap()
        };
        let nonce = ours.make(made).unwrap();
        assert_ne!(nonce, ours.make(made).unwrap());
        for (second, want) in [(0, true), (60, true), (61, false), (-1, false)] {
            assert_eq!(ours.is_fresh(&nonce, at(second)), want, "{second}");
        }
        assert!(!theirs.is_fresh(&nonce, made));
        for length in [0, 8, 24, nonce.len() - 1] {
            assert!(!ours.is_fresh(&nonce[..length], made), "{length}");
        }
    }
}
