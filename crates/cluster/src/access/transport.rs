//! The HTTP stack: multiplexed connections that notice a dead peer, directly or through a proxy.
//!
//! There are no retries of writes below ours, because the lease must be checked before every single
//! attempt.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{HeaderValue, USER_AGENT};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use kube::client::{Body, ConfigExt as _};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tower::{BoxError, Service, ServiceBuilder};
use tracing::Level;

use super::credentials::{self, Credentials};
use super::error::ConnectError;
use super::identity::{self, Identity};
use super::{Endpoint, Trust};

/// For TCP, and the words with a proxy.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A client for one kind of server.
pub(super) type Http = hyper_util::client::legacy::Client<HttpsConnector<Wire>, Body>;

/// Which connections go through a proxy.
#[derive(Clone, Debug)]
pub(super) struct Proxies(Option<Arc<Matcher>>);

/// A client of the API server, and the credentials that it shows.
pub(crate) fn client(
    endpoint: Endpoint,
    user_agent: &str,
) -> Result<(kube::Client, Arc<Credentials>), ConnectError> {
    let Endpoint {
        mut config,
        proxy,
        use_environment,
        identity,
        source,
    } = endpoint;
    let failed = |source| ConnectError::BuildClient {
        server: config.cluster_url.to_string(),
        source,
    };
    let proxies = Proxies::read(proxy.as_ref(), use_environment, &config.cluster_url)?;
    let credentials = Credentials::new(source, identity.clone(), proxies.clone())?;
    let credentials = Arc::new(credentials);
    identity::provider();
    let mut tls = config
        .rustls_client_config()
        .map_err(|e| failed(e.into()))?;
    tls.client_auth_cert_resolver = Arc::new(identity.clone());
    let name = config.tls_server_name.clone().map(ServerName::try_from);
    let name = name.transpose().map_err(|error| failed(error.into()))?;
    let session = Session {
        credentials: Arc::clone(&credentials),
        line: Arc::new(Line {
            current: RwLock::new((
                identity.edition(),
                http(tls.clone(), name.clone(), proxies.clone()),
            )),
            identity,
            tls,
            name,
            proxies,
        }),
    };
    let agent = HeaderValue::from_str(user_agent).map_err(|error| failed(error.into()))?;
    config.headers.push((USER_AGENT, agent));
    let headers = config.extra_headers_layer();
    let headers = headers.map_err(|error| failed(error.into()))?;
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .layer(headers)
        .service(session);
    Ok((
        kube::Client::new(service, config.default_namespace),
        credentials,
    ))
}

/// A client with its own pool of connections.
pub(super) fn http(tls: ClientConfig, name: Option<ServerName<'static>>, proxies: Proxies) -> Http {
    let builder = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http();
    let builder = match name {
        Some(name) => builder.with_server_name_resolver(FixedServerNameResolver::new(name)),
        None => builder,
    };
    let https = builder
        .enable_http1()
        .enable_http2()
        .wrap_connector(Wire::new(proxies));
    hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .http2_keep_alive_interval(Duration::from_secs(15))
        .http2_keep_alive_timeout(Duration::from_secs(10))
        .http2_keep_alive_while_idle(true)
        .http2_adaptive_window(true)
        .build(https)
}

/// TLS settings without a client certificate.
pub(super) fn trusting(trust: &Trust) -> Result<ClientConfig, BoxError> {
    identity::provider();
    let mut config = kube::Config::new(Uri::from_static("https://issuer"));
    match trust {
        Trust::System => {}
        Trust::Authorities(pem) => config.root_cert = Some(identity::authorities(pem)?),
        Trust::Anybody => config.accept_invalid_certs = true,
    }
    Ok(config.rustls_client_config()?)
}

/// Sends requests with the credentials of the moment.
#[derive(Clone)]
struct Session {
    credentials: Arc<Credentials>,
    line: Arc<Line>,
}

/// The connections to the API server.
struct Line {
    /// The edition of the client certificate that the connections were made with.
    current: RwLock<(u64, Http)>,
    identity: Identity,
    tls: ClientConfig,
    name: Option<ServerName<'static>>,
    proxies: Proxies,
}

impl Line {
    /// New connections when the client certificate has changed: they keep the one that they were
    /// made with, and so do the TLS sessions that can be resumed.
    fn http(&self) -> Http {
        let edition = self.identity.edition();
        {
            let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
            if current.0 == edition {
                return current.1.clone();
            }
        }
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.0 != edition {
            let mut tls = self.tls.clone();
            tls.resumption = Resumption::in_memory_sessions(32);
            *current = (edition, http(tls, self.name.clone(), self.proxies.clone()));
        }
        current.1.clone()
    }

    async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, BoxError> {
        let mut told = Told::of(&request);
        let answer = self.http().request(request).await?;
        if let Some(told) = &mut told {
            told.status = Some(answer.status());
        }
        Ok(answer)
    }
}

/// Says of a request that it was made when it is over, or given up: its path, which holds no secret, and nothing
/// else of it.
struct Told {
    method: Method,
    uri: Uri,
    begun: Instant,
    status: Option<StatusCode>,
}

impl Told {
    /// `None` when nobody listens.
    fn of(request: &Request<Body>) -> Option<Self> {
        tracing::enabled!(Level::DEBUG).then(|| Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            begun: Instant::now(),
            status: None,
        })
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let method = &self.method;
        let path = self.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        match self.status.map(|status| status.as_u16()) {
            Some(status) => tracing::debug!(%method, path, status, ms, "API request"),
            None => tracing::debug!(%method, path, ms, "API request without an answer"),
        }
    }
}

impl Service<Request<Body>> for Session {
    type Response = Response<Incoming>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let session = self.clone();
        Box::pin(async move {
            if credentials::is_shown(&request) {
                return session.line.send(request).await;
            }
            let again = credentials::again(&request);
            let pass = session.credentials.current().await?;
            pass.show(&mut request);
            let response = session.line.send(request).await?;
            if response.status() != StatusCode::UNAUTHORIZED {
                return Ok(response);
            }
            let Some(mut request) = again else {
                return Ok(response);
            };
            let Some(pass) = session.credentials.instead_of(&pass).await? else {
                return Ok(response);
            };
            pass.show(&mut request);
            session.line.send(request).await
        })
    }
}

impl Proxies {
    /// `asked` wins over the environment's. Nothing on this machine is reached through a proxy of
    /// the environment, as everywhere in the Kubernetes world.
    fn read(
        asked: Option<&SecretString>,
        use_environment: bool,
        server: &Uri,
    ) -> Result<Self, ConnectError> {
        let host = server.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let here = host == "localhost"
            || host
                .parse()
                .is_ok_and(|address: std::net::IpAddr| address.is_loopback());
        let matcher = match asked {
            Some(proxy) => Matcher::builder().all(proxy.expose_secret()).build(),
            None if use_environment && !here => Matcher::from_env(),
            None => return Ok(Self(None)),
        };
        let found = matcher.intercept(server);
        let usable =
            |proxy: &Intercept| matches!(scheme(proxy), Some("http" | "socks5" | "socks5h"));
        match &found {
            Some(proxy) if !usable(proxy) => Err(ConnectError::Proxy),
            None if asked.is_some() => Err(ConnectError::Proxy),
            _ => Ok(Self(Some(Arc::new(matcher)))),
        }
    }

    fn intercept(&self, destination: &Uri) -> Option<Intercept> {
        self.0.as_ref()?.intercept(destination)
    }
}

fn scheme(proxy: &Intercept) -> Option<&str> {
    proxy.uri().scheme_str()
}

/// Opens TCP connections.
#[derive(Clone)]
pub(super) struct Wire {
    tcp: HttpConnector,
    proxies: Proxies,
}

impl Wire {
    fn new(proxies: Proxies) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(30)));
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        Self { tcp, proxies }
    }

    async fn open(mut self, destination: Uri) -> Result<TokioIo<TcpStream>, BoxError> {
        let Some(proxy) = self.proxies.intercept(&destination) else {
            return Ok(self.tcp.call(destination).await?);
        };
        let name = proxy.uri().host().unwrap_or_default().to_owned();
        let opened = tokio::time::timeout(CONNECT_TIMEOUT, self.through(&proxy, destination)).await;
        let opened = opened.unwrap_or_else(|_| Err("it does not answer".into()));
        opened.map_err(|source| {
            Box::new(ThroughProxy {
                proxy: name,
                source,
            }) as BoxError
        })
    }

    async fn through(
        self,
        proxy: &Intercept,
        destination: Uri,
    ) -> Result<TokioIo<TcpStream>, BoxError> {
        if scheme(proxy) == Some("http") {
            let mut tunnel = Tunnel::new(proxy.uri().clone(), self.tcp);
            if let Some(authorization) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(authorization.clone());
            }
            return Ok(tunnel.call(destination).await?);
        }
        let mut socks = SocksV5::new(proxy.uri().clone(), self.tcp);
        if let Some((user, password)) = proxy.raw_auth() {
            socks = socks.with_auth(user.to_owned(), password.to_owned());
        }
        Ok(socks.call(destination).await?)
    }
}

/// No connection through a proxy.
#[derive(Debug, thiserror::Error)]
#[error("no connection through the proxy {proxy}")]
struct ThroughProxy {
    proxy: String,
    #[source]
    source: BoxError,
}

impl Service<Uri> for Wire {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<TcpStream>, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, destination: Uri) -> Self::Future {
        Box::pin(self.clone().open(destination))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_was_asked_for_is_used_or_refused() {
        let server = Uri::from_static("https://127.0.0.1:6443");
        let used = |proxy: &str| {
            let proxies = Proxies::read(Some(&proxy.into()), true, &server).ok()?;
            let proxy = proxies.intercept(&server)?;
            Some((proxy.uri().to_string(), proxy.basic_auth().is_some()))
        };
        for (asked, want) in [
            ("http://proxy:3128", Some(("http://proxy:3128/", false))),
            (
                "http://ann:secret@proxy:3128",
                Some(("http://proxy:3128/", true)),
            ),
            ("proxy:3128", Some(("http://proxy:3128/", false))),
            ("socks5://proxy:1080", Some(("socks5://proxy:1080/", false))),
            ("https://proxy:3128", None),
            ("ftp://proxy", None),
            ("", None),
            ("a b", None),
        ] {
            let want = want.map(|(uri, auth)| (uri.to_owned(), auth));
            assert_eq!(used(asked), want, "{asked}");
        }
    }

    #[test]
    fn nothing_here_goes_through_a_proxy_of_the_environment() {
        for server in [
            "https://127.0.0.1:6443",
            "https://[::1]:6443",
            "https://localhost:1",
        ] {
            let server: Uri = server.parse().unwrap();
            let proxies = Proxies::read(None, true, &server).unwrap();
            assert!(proxies.0.is_none(), "{server}");
        }
        let server = Uri::from_static("https://10.0.0.1:6443");
        assert!(Proxies::read(None, false, &server).unwrap().0.is_none());
    }
}
