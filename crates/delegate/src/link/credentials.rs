//! A certificate that works: made, enrolled, renewed, and read again before each connection.

mod decision;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use sortie_proto::v1;
use sortie_proto::v1::enrolment_client::EnrolmentClient;
use tonic::transport::Channel;
use tonic::{Code, Request};

use self::decision::{Step, decide};
use super::dial::Dialer;
use super::error::Error;
use super::tls::{self, Trust};
use crate::clock;
use crate::identity::{
    self, Enrolment, Identity, IdentityStore, JoinToken, Lock, PrivateKey, Stored, TokenSource,
};

/// What a renewal's signature covers, before the request and the nonce.
const RENEWAL_PREFIX: &[u8] = b"sortie-renew-v1\0";

/// For one call.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Times that a lost race for the store is run again.
const ATTEMPTS: usize = 5;

/// An identity that can be used.
#[derive(Clone, Debug)]
pub(crate) struct Enrolled {
    pub key: PrivateKey,
    pub enrolment: Enrolment,
    /// Version in the store.
    pub version: String,
}

/// Gets certificates.
#[derive(Debug)]
pub(crate) struct Credentials {
    pub store: Arc<dyn IdentityStore>,
    pub dialer: Dialer,
    /// Name of the delegate.
    pub name: String,
    pub token: TokenSource,
}

impl Credentials {
    /// The delegate's certificate, enrolled or renewed first where that is due. `is_doubted`: the control plane did not
    /// take the present one, so it is renewed whatever its age.
    pub(crate) async fn current(&self, is_doubted: bool) -> Result<Enrolled, Error> {
        let token = self
            .token
            .read()
            .await
            .map_err(|error| Error::Token(Box::new(error)))?;
        let stored = self.store.load().await.map_err(Error::Identity)?;
        let identity = stored.as_ref().map(|stored| &stored.identity);
        match (
            decide(identity, token.as_ref(), clock::now(), is_doubted),
            stored,
        ) {
            (Step::Use, Some(stored)) => used(stored),
            (Step::NoToken, _) => Err(Error::NoToken),
            (_, stored) => {
                let seen = stored.map(|stored| stored.version);
                let lock = self.store.lock().await.map_err(Error::Identity)?;
                let result = self
                    .locked(token.as_ref(), is_doubted, seen.as_deref(), &lock)
                    .await;
                lock.release().await;
                result
            }
        }
    }

    /// With the right to write: what another replica did meanwhile counts.
    async fn locked(
        &self,
        token: Option<&JoinToken>,
        is_doubted: bool,
        seen: Option<&str>,
        lock: &Lock,
    ) -> Result<Enrolled, Error> {
        for _ in 0..ATTEMPTS {
            let stored = self.store.load().await.map_err(Error::Identity)?;
            // A certificate that changed since it was doubted has not been tried yet.
            let is_doubted =
                is_doubted && stored.as_ref().map(|stored| stored.version.as_str()) == seen;
            let identity = stored.as_ref().map(|stored| &stored.identity);
            let step = decide(identity, token, clock::now(), is_doubted);
            let (stored, enrolment) = match (step, stored, token) {
                (Step::Use, Some(stored), _) => return used(stored),
                (Step::Enrol, Some(stored), Some(token)) => {
                    let enrolment = self.enrol(&stored.identity.key, token).await?;
                    (stored, enrolment)
                }
                (Step::Enrol, None, Some(_)) => {
                    let key = PrivateKey::generate().map_err(Error::Identity)?;
                    let identity = Identity {
                        key,
                        enrolment: None,
                    };
                    // Whoever made it: the next round goes on from what is there.
                    self.store
                        .create(&identity, lock)
                        .await
                        .map_err(Error::Identity)?;
                    continue;
                }
                (Step::Renew { is_needed }, Some(stored), token) => {
                    match self.renewed(&stored, token).await {
                        Ok(enrolment) => (stored, enrolment),
                        Err(error) if is_needed => return Err(error),
                        Err(error) => {
                            tracing::warn!(
                                error = crate::telemetry::chain(&error),
                                code = error.code(),
                                "certificate not renewed yet"
                            );
                            return used(stored);
                        }
                    }
                }
                _ => return Err(Error::NoToken),
            };
            let identity = Identity {
                key: stored.identity.key,
                enrolment: Some(enrolment),
            };
            let written = self.store.replace(&identity, &stored.version, lock).await;
            if let Some(stored) = written.map_err(Error::Identity)? {
                return used(stored);
            }
        }
        Err(Error::Identity(identity::Error::Contended))
    }

    /// A renewal; where it is refused for good and there is a token, enrolment with the same key.
    async fn renewed(
        &self,
        stored: &Stored,
        token: Option<&JoinToken>,
    ) -> Result<Enrolment, Error> {
        let Some(enrolment) = &stored.identity.enrolment else {
            return Err(Error::NoToken);
        };
        let result = self.renew(&stored.identity.key, enrolment).await;
        match (result, token) {
            (
                Err(Error::Refused {
                    code: Code::Unauthenticated,
                    reason,
                    ..
                }),
                Some(token),
            ) if token.id != enrolment.token => {
                tracing::info!(reason, "renewal refused, enrolling with the join token");
                self.enrol(&stored.identity.key, token).await
            }
            (result, _) => result,
        }
    }

    async fn enrol(&self, key: &PrivateKey, token: &JoinToken) -> Result<Enrolment, Error> {
        let mut client = self.client(Trust::Fingerprint(token.authority)).await?;
        let request = v1::EnrolRequest {
            token: token.expose().to_owned(),
            csr: key.request(&self.name).map_err(Error::Identity)?,
            delegate_name: self.name.clone(),
            organisation: String::new(),
            project: String::new(),
        };
        let answer = client
            .enrol(limited(request))
            .await
            .map_err(|status| Error::from_status("to enrol this delegate", &status))?;
        let enrolment = enrolment(answer.into_inner().certificate, &token.id)?;
        tracing::info!(
            delegate = enrolment.delegate,
            until = %enrolment.not_after,
            "enrolled with the control plane"
        );
        Ok(enrolment)
    }

    async fn renew(&self, key: &PrivateKey, old: &Enrolment) -> Result<Enrolment, Error> {
        let failed = |status| Error::from_status("to renew the certificate", &status);
        let mut client = self
            .client(Trust::Authorities(old.authorities.clone()))
            .await?;
        let challenge = client
            .challenge(limited(v1::ChallengeRequest {}))
            .await
            .map_err(failed)?;
        let nonce = challenge.into_inner().nonce;
        let csr = key.request(&self.name).map_err(Error::Identity)?;
        let signed = [RENEWAL_PREFIX, &csr, &nonce].concat();
        let request = v1::RenewRequest {
            chain: old
                .chain
                .iter()
                .map(|certificate| certificate.to_vec())
                .collect(),
            csr,
            nonce,
            signature: key.sign(&signed).map_err(Error::Identity)?,
        };
        let answer = client.renew(limited(request)).await.map_err(failed)?;
        let enrolment = enrolment(answer.into_inner().certificate, &old.token)?;
        tracing::info!(until = %enrolment.not_after, "certificate renewed");
        Ok(enrolment)
    }

    async fn client(&self, trust: Trust) -> Result<EnrolmentClient<Channel>, Error> {
        let config = tls::anonymous(trust.clone()).map_err(Error::Certificate)?;
        let channel = self.dialer.connect(config, &trust).await?;
        Ok(EnrolmentClient::new(channel).max_decoding_message_size(64 * 1024))
    }
}

fn limited<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_TIMEOUT);
    request
}

fn used(stored: Stored) -> Result<Enrolled, Error> {
    let Stored {
        identity: Identity { key, enrolment },
        version,
    } = stored;
    let enrolment = enrolment.ok_or(Error::NoToken)?;
    Ok(Enrolled {
        key,
        enrolment,
        version,
    })
}

/// What the control plane issued.
fn enrolment(certificate: Option<v1::Certificate>, token: &str) -> Result<Enrolment, Error> {
    let certificate = certificate.ok_or(Error::Answer {
        what: "the certificate",
    })?;
    let list = |what, der: Vec<Vec<u8>>| -> Result<Vec<CertificateDer<'static>>, Error> {
        if der.is_empty() {
            return Err(Error::Answer { what });
        }
        Ok(der.into_iter().map(CertificateDer::from).collect())
    };
    let time = |millis| {
        Timestamp::from_millisecond(millis).map_err(|_| Error::Answer {
            what: "the validity",
        })
    };
    if certificate.delegate_id.is_empty() {
        return Err(Error::Answer {
            what: "the delegate's id",
        });
    }
    Ok(Enrolment {
        delegate: certificate.delegate_id,
        chain: list("the certificate", certificate.chain)?,
        authorities: list("the authority", certificate.authorities)?,
        not_after: time(certificate.not_after_ms)?,
        renew_at: time(certificate.renew_at_ms)?,
        token: token.to_owned(),
    })
}
