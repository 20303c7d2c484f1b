//! HTTPS servers that tests run themselves.

use std::{net::IpAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

/// Bound on a client's handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// TLS with a new certificate for an address, and the authority that made it, PEM.
pub fn tls(address: IpAddr) -> Result<(ServerConfig, String)> {
    let key = KeyPair::generate().context("make a key")?;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).context("make an authority")?;
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().context("make a key")?;
    let leaf = CertificateParams::new(vec![address.to_string()])
        .and_then(|leaf| leaf.signed_by(&key, &issuer))
        .context("make a certificate")?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .context("choose TLS versions")?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .context("use the certificate")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((config, authority.pem()))
}

/// Serves until dropped.
pub async fn serve(listener: TcpListener, tls: ServerConfig, router: Router) {
    const PAUSE: Duration = Duration::from_millis(50);
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, acceptor.clone(), router.clone()));
                }
                // Out of file descriptors, say.
                Err(_) => sleep(PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// A connection that fails is the client's to begin anew.
async fn connection(stream: TcpStream, acceptor: TlsAcceptor, router: Router) {
    if let Ok(Ok(stream)) = timeout(HANDSHAKE, acceptor.accept(stream)).await {
        let service = TowerToHyperService::new(router);
        let server = auto::Builder::new(TokioExecutor::new());
        server
            .serve_connection(TokioIo::new(stream), service)
            .await
            .ok();
    }
}
