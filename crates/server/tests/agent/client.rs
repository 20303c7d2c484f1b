//! What a delegate does on the wire, call by call.

use std::net::SocketAddr;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair};
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sortie_proto::v1;
use sortie_proto::v1::enrolment_client::EnrolmentClient;
use sortie_proto::v1::link_client::LinkClient;
use sortie_server::agent::LISTENER_NAME;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::Status;
use tonic::transport::{Channel, Endpoint, Error};

/// A delegate's key and certificate.
#[derive(Clone)]
pub(crate) struct Identity {
    pub key: Vec<u8>,
    pub certificate: v1::Certificate,
}

/// A channel over TLS that trusts one authority, which the server must show by its hash or that is given.
pub(crate) async fn channel(
    address: SocketAddr,
    authority: &[u8],
    identity: Option<&Identity>,
) -> Result<Channel, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(authority.to_vec())).unwrap();
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .unwrap();
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_webpki_verifier(verifier);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = identity
                .certificate
                .chain
                .iter()
                .cloned()
                .map(CertificateDer::from);
            let key = PrivatePkcs8KeyDer::from(identity.key.clone());
            builder
                .with_client_auth_cert(chain.collect(), PrivateKeyDer::Pkcs8(key))
                .unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let service = tower::service_fn(move |_: tonic::transport::Uri| {
        let connector = connector.clone();
        async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from(LISTENER_NAME).unwrap();
            Ok::<_, std::io::Error>(TokioIo::new(connector.connect(name, stream).await?))
        }
    });
    Endpoint::from_static("http://agent")
        .connect_with_connector(service)
        .await
}

/// The authority as the listener shows it, which must have the hash in the token.
pub(crate) async fn authority(address: SocketAddr, token: &str) -> Vec<u8> {
    let hash = URL_SAFE_NO_PAD
        .decode(token.rsplit('.').next().unwrap())
        .unwrap();
    let shown = shown_chain(address).await;
    let is_it = |der: &&Vec<u8>| digest(&SHA256, der).as_ref() == hash;
    shown
        .iter()
        .find(is_it)
        .expect("the listener shows the token's authority")
        .clone()
}

/// The certificates that the listener sends.
async fn shown_chain(address: SocketAddr) -> Vec<Vec<u8>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Look(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from(LISTENER_NAME).unwrap();
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .unwrap();
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    chain
        .iter()
        .map(|certificate| certificate.to_vec())
        .collect()
}

/// Takes any certificate, only to look at it.
#[derive(Debug)]
struct Look(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Look {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("no TLS 1.2".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

pub(crate) fn new_key() -> Vec<u8> {
    KeyPair::generate().unwrap().serialize_der()
}

pub(crate) fn signing_request(key: &[u8]) -> Vec<u8> {
    let key = KeyPair::from_pkcs8_der_and_sign_algo(
        &PrivatePkcs8KeyDer::from(key),
        &rcgen::PKCS_ECDSA_P256_SHA256,
    )
    .unwrap();
    CertificateParams::default()
        .serialize_request(&key)
        .unwrap()
        .der()
        .to_vec()
}

async fn enrolment(address: SocketAddr, authority: &[u8]) -> EnrolmentClient<Channel> {
    EnrolmentClient::new(channel(address, authority, None).await.unwrap())
}

/// Enrols; `change` may spoil the request.
pub(crate) async fn enrol_with(
    address: SocketAddr,
    authority: &[u8],
    token: &str,
    key: &[u8],
    change: impl FnOnce(&mut v1::EnrolRequest),
) -> Result<Identity, Status> {
    let mut request = v1::EnrolRequest {
        token: token.to_owned(),
        csr: signing_request(key),
        delegate_name: "edge".to_owned(),
        organisation: String::new(),
        project: String::new(),
    };
    change(&mut request);
    let answer = enrolment(address, authority)
        .await
        .enrol(request)
        .await?
        .into_inner();
    Ok(Identity {
        key: key.to_vec(),
        certificate: answer.certificate.unwrap(),
    })
}

/// Enrols a new key.
pub(crate) async fn enrol(address: SocketAddr, token: &str) -> Identity {
    let authority = authority(address, token).await;
    enrol_with(address, &authority, token, &new_key(), |_| {})
        .await
        .unwrap()
}

/// Renews; `change` may spoil the request.
pub(crate) async fn renew(
    address: SocketAddr,
    authority: &[u8],
    old: &Identity,
    change: impl FnOnce(&mut v1::RenewRequest),
) -> Result<Identity, Status> {
    let nonce = nonce(address, authority).await?;
    renew_with(address, authority, old, nonce, change).await
}

pub(crate) async fn nonce(address: SocketAddr, authority: &[u8]) -> Result<Vec<u8>, Status> {
    let mut client = enrolment(address, authority).await;
    Ok(client
        .challenge(v1::ChallengeRequest {})
        .await?
        .into_inner()
        .nonce)
}

/// Renews with this nonce.
pub(crate) async fn renew_with(
    address: SocketAddr,
    authority: &[u8],
    old: &Identity,
    nonce: Vec<u8>,
    change: impl FnOnce(&mut v1::RenewRequest),
) -> Result<Identity, Status> {
    let key = new_key();
    let csr = signing_request(&key);
    let signed = [b"sortie-renew-v1\0".as_slice(), &csr, &nonce].concat();
    let signer = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &old.key).unwrap();
    let signature = signer
        .sign(&SystemRandom::new(), &signed)
        .unwrap()
        .as_ref()
        .to_vec();
    let mut request = v1::RenewRequest {
        chain: old.certificate.chain.clone(),
        csr,
        nonce,
        signature,
    };
    change(&mut request);
    let answer = enrolment(address, authority)
        .await
        .renew(request)
        .await?
        .into_inner();
    Ok(Identity {
        key,
        certificate: answer.certificate.unwrap(),
    })
}

/// A client of the link with the identity's certificate.
pub(crate) async fn link(
    address: SocketAddr,
    identity: &Identity,
) -> Result<LinkClient<Channel>, Error> {
    let authority = &identity.certificate.authorities[0];
    Ok(LinkClient::new(
        channel(address, authority, Some(identity)).await?,
    ))
}

/// The code at the beginning of a refusal.
pub(crate) fn code(status: &Status) -> String {
    status
        .message()
        .split(' ')
        .next()
        .unwrap_or_default()
        .to_owned()
}
