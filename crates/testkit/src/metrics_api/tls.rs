//! TLS for the API server alone: it shows the certificate of its front proxy.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};

use crate::cluster::pki::Identity;

/// The server's own identity, and the authority whose clients may ask.
pub(super) fn tls(identity: &Identity, client_ca: &str) -> Result<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut clients = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(client_ca.as_bytes())
        .context("read the front proxy's authority")?;
    clients
        .add(authority)
        .context("trust the front proxy's authority")?;
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(clients), Arc::clone(&provider))
            .build()
            .context("verify clients")?;
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes())
        .context("read the server's certificate")?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.expose().as_bytes())
        .context("read the server's key")?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("choose TLS versions")?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate], key)
        .context("use the server's certificate")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
