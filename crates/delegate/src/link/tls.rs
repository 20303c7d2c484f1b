//! TLS to the control plane: 1.3 only, and nobody is trusted but its own authority.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::identity::{Enrolment, PrivateKey};

/// The name in every listener certificate. Only the control plane's own authority can sign for it, so the address under
/// which it is reached may change.
const LISTENER_NAME: &str = "agent.sortie.internal";

/// What the control plane is known by.
#[derive(Clone, Debug)]
pub(crate) enum Trust {
    /// The SHA-256 of its authority's certificate, from the join token.
    Fingerprint([u8; 32]),
    /// Its authority's certificates, from enrolment.
    Authorities(Vec<CertificateDer<'static>>),
}

impl Trust {
    /// For people.
    pub(crate) const fn known_by(&self) -> &'static str {
        match self {
            Self::Fingerprint(_) => "made the join token",
            Self::Authorities(_) => "this delegate enrolled with",
        }
    }
}

/// Settings without a client certificate: for enrolment and renewal.
pub(crate) fn anonymous(trust: Trust) -> Result<Arc<ClientConfig>, rustls::Error> {
    Ok(finished(builder(trust)?.with_no_client_auth()))
}

/// Settings with the delegate's certificate.
pub(crate) fn authenticated(
    key: &PrivateKey,
    enrolment: &Enrolment,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let trust = Trust::Authorities(enrolment.authorities.clone());
    let config = builder(trust)?.with_client_auth_cert(enrolment.chain.clone(), key.for_tls())?;
    Ok(finished(config))
}

type Builder = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn builder(trust: Trust) -> Result<Builder, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = AuthorityVerifier {
        trust,
        provider: Arc::clone(&provider),
    };
    Ok(ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier)))
}

fn finished(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

/// Takes the authority that is trusted, whatever address was dialled.
#[derive(Debug)]
struct AuthorityVerifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

impl AuthorityVerifier {
    /// The trusted authorities; by fingerprint, one that the server sent itself.
    fn authorities<'a>(
        &'a self,
        sent: &'a [CertificateDer<'a>],
    ) -> Result<Vec<&'a CertificateDer<'a>>, rustls::Error> {
        match &self.trust {
            Trust::Authorities(authorities) => Ok(authorities.iter().collect()),
            Trust::Fingerprint(wanted) => sent
                .iter()
                .find(|certificate| digest(&SHA256, certificate).as_ref() == wanted)
                .map(|authority| vec![authority])
                .ok_or(rustls::Error::InvalidCertificate(
                    CertificateError::UnknownIssuer,
                )),
        }
    }
}

impl ServerCertVerifier for AuthorityVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let mut roots = RootCertStore::empty();
        for authority in self.authorities(intermediates)? {
            roots.add(authority.clone().into_owned())?;
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(
            Arc::new(roots),
            Arc::clone(&self.provider),
        )
        .build()
        .map_err(|_| rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let name = ServerName::try_from(LISTENER_NAME)
            .map_err(|_| rustls::Error::InvalidCertificate(CertificateError::NotValidForName))?;
        verifier.verify_server_cert(end_entity, intermediates, &name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 was not offered".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    use super::*;

    struct Made {
        authority: CertificateDer<'static>,
        listener: CertificateDer<'static>,
    }

    fn make(name: &str) -> Made {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let authority = params.self_signed(&key).unwrap();
        let issuer = Issuer::from_ca_cert_der(authority.der(), key).unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let listener = params
            .signed_by(&KeyPair::generate().unwrap(), &issuer)
            .unwrap();
        Made {
            authority: authority.der().clone(),
            listener: listener.der().clone(),
        }
    }

    fn verify(trust: Trust, listener: &CertificateDer<'_>, sent: &[CertificateDer<'_>]) -> bool {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = AuthorityVerifier { trust, provider };
        let dialled = ServerName::try_from("10.1.2.3").unwrap();
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_790_000_000));
        verifier
            .verify_server_cert(listener, sent, &dialled, &[], now)
            .is_ok()
    }

    fn hash(certificate: &CertificateDer<'_>) -> [u8; 32] {
        digest(&SHA256, certificate).as_ref().try_into().unwrap()
    }

    #[test]
    fn only_the_authority_that_is_known_can_vouch() {
        let (ours, theirs) = (make(LISTENER_NAME), make(LISTENER_NAME));
        let by_hash = |made: &Made| Trust::Fingerprint(hash(&made.authority));
        let by_list = |made: &Made| Trust::Authorities(vec![made.authority.clone()]);
        let sent = |made: &Made| [made.authority.clone()];
        assert!(verify(by_hash(&ours), &ours.listener, &sent(&ours)));
        assert!(verify(by_list(&ours), &ours.listener, &[]));
        assert!(!verify(by_hash(&ours), &theirs.listener, &sent(&theirs)));
        assert!(!verify(by_list(&ours), &theirs.listener, &sent(&theirs)));
        // The real authority is public: sending it along does not make another listener trusted.
        assert!(!verify(by_hash(&ours), &theirs.listener, &sent(&ours)));
        // The hash must be an authority's, not the listener's own.
        assert!(!verify(
            Trust::Fingerprint(hash(&ours.listener)),
            &ours.listener,
            &sent(&ours)
        ));
    }

    #[test]
    fn a_certificate_for_something_else_is_refused() {
        let made = make("delegate-1");
        let trust = Trust::Authorities(vec![made.authority.clone()]);
        assert!(!verify(trust, &made.listener, &[]));
    }
}
