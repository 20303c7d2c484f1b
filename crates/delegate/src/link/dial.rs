//! Connections to the control plane: TCP, through a proxy where one is set, then TLS and HTTP/2.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use tower::Service as _;

use super::Error;
use super::tls::Trust;

/// For TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// HTTP/2 pings notice a silent partition before the session's own heartbeat does.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// The way to the control plane.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    uri: Uri,
    host: String,
    /// `host:port`.
    address: String,
    proxies: Arc<Matcher>,
}

impl Dialer {
    /// `server` is `https://HOST:PORT`; `proxy` and `no_proxy` are as in the usual environment variables.
    pub(crate) fn new(
        server: &str,
        proxy: Option<&str>,
        no_proxy: Option<&str>,
    ) -> Result<Self, Error> {
        let malformed = || Error::Address {
            address: server.chars().take(200).collect(),
        };
        let text = if server.contains("://") {
            server.to_owned()
        } else {
            format!("https://{server}")
        };
        let uri: Uri = text.parse().map_err(|_| malformed())?;
        let plain = matches!(uri.path(), "" | "/") && uri.query().is_none();
        if uri.scheme_str() != Some("https") || !plain {
            return Err(malformed());
        }
        let authority = uri.authority().ok_or_else(malformed)?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(malformed());
        }
        let (host, port) = (authority.host(), authority.port_u16().unwrap_or(443));
        let address = format!("{host}:{port}");
        let mut proxies = Matcher::builder();
        if let Some(proxy) = proxy {
            let text = if proxy.contains("://") {
                proxy.to_owned()
            } else {
                format!("http://{proxy}")
            };
            let parsed: Uri = text.parse().map_err(|_| Error::ProxyAddress)?;
            if parsed.scheme_str() != Some("http") || parsed.host().is_none_or(str::is_empty) {
                return Err(Error::ProxyAddress);
            }
            proxies = proxies.https(text);
        }
        if let Some(no_proxy) = no_proxy {
            proxies = proxies.no(no_proxy);
        }
        Ok(Self {
            uri: format!("https://{address}")
                .parse()
                .map_err(|_| malformed())?,
            host: host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
            address,
            proxies: Arc::new(proxies.build()),
        })
    }

    /// `host:port`, for people.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// A connection; it is one connection and never a second one: when it breaks, every call on it fails.
    pub(crate) async fn connect(
        &self,
        config: Arc<ClientConfig>,
        trust: &Trust,
    ) -> Result<Channel, Error> {
        let connecting = async {
            let tcp = match self.proxies.intercept(&self.uri) {
                Some(proxy) => self.through(&proxy).await?,
                None => self.directly().await?,
            };
            self.secured(tcp, config, trust).await
        };
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .map_err(|_| Error::TimedOut {
                operation: "connecting to the control plane",
                seconds: CONNECT_TIMEOUT.as_secs(),
            })??;
        let once = Mutex::new(Some(TokioIo::new(stream)));
        let connector = tower::service_fn(move |_: Uri| {
            let stream = once.lock().unwrap_or_else(PoisonError::into_inner).take();
            std::future::ready(stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)))
        });
        // TLS is done: the transport would add its own for an https address.
        Endpoint::from_shared(format!("http://{}", self.address))
            .map_err(|_| Error::Address {
                address: self.address.clone(),
            })?
            .origin(self.uri.clone())
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(Duration::from_secs(10))
            .keep_alive_while_idle(true)
            .buffer_size(32)
            .connect_with_connector(connector)
            .await
            .map_err(|source| Error::Http2 {
                address: self.address.clone(),
                source,
            })
    }

    async fn directly(&self) -> Result<TcpStream, Error> {
        let port = self.uri.port_u16().unwrap_or(443);
        let connected = TcpStream::connect((self.host.as_str(), port)).await;
        let stream = connected
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .map_err(|source| Error::Connect {
                address: self.address.clone(),
                source,
            })?;
        Ok(stream)
    }

    async fn through(&self, proxy: &Intercept) -> Result<TcpStream, Error> {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        let mut tunnel = Tunnel::new(proxy.uri().clone(), tcp);
        if let Some(authorization) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(authorization.clone());
        }
        let stream = tunnel
            .call(self.uri.clone())
            .await
            .map_err(|error| Error::Proxy {
                address: self.address.clone(),
                proxy: proxy
                    .uri()
                    .authority()
                    .map(display_authority)
                    .unwrap_or_default(),
                source: Box::new(error),
            })?;
        Ok(stream.into_inner())
    }

    async fn secured(
        &self,
        tcp: TcpStream,
        config: Arc<ClientConfig>,
        trust: &Trust,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Error> {
        let name = ServerName::try_from(self.host.clone()).map_err(|_| Error::Address {
            address: self.address.clone(),
        })?;
        TlsConnector::from(config)
            .connect(name, tcp)
            .await
            .map_err(|source| {
                let address = self.address.clone();
                let cause = source
                    .get_ref()
                    .and_then(|error| error.downcast_ref::<rustls::Error>());
                if matches!(cause, Some(rustls::Error::InvalidCertificate(_))) {
                    Error::OtherAuthority {
                        address,
                        known_by: trust.known_by(),
                        source,
                    }
                } else {
                    Error::Tls { address, source }
                }
            })
    }
}

/// Without user and password.
fn display_authority(authority: &http::uri::Authority) -> String {
    let port = authority
        .port_u16()
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    format!("{}{port}", authority.host())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_or_refused() {
        for (text, want) in [
            (
                "https://sortie.example.com:8443",
                Some("sortie.example.com:8443"),
            ),
            ("https://sortie.example.com", Some("sortie.example.com:443")),
            ("sortie.example.com:8443", Some("sortie.example.com:8443")),
            ("https://10.0.0.1:8443/", Some("10.0.0.1:8443")),
            ("https://[::1]:8443", Some("[::1]:8443")),
            ("http://sortie.example.com:8443", None),
            ("https://user:pass@sortie.example.com", None),
            ("https://sortie.example.com/agent", None),
            ("https://", None),
            ("", None),
            ("a b", None),
        ] {
            let dialer = Dialer::new(text, None, None).ok();
            assert_eq!(dialer.as_ref().map(Dialer::address), want, "{text}");
        }
        let dialer = Dialer::new("https://[::1]:8443", None, None).unwrap();
        assert_eq!(dialer.host, "::1");
    }

    #[test]
    fn proxies_and_exceptions_are_those_of_the_environment() {
        let uses = |proxy: &str, no_proxy: &str| {
            let dialer = Dialer::new(
                "https://sortie.example.com:8443",
                Some(proxy),
                Some(no_proxy),
            );
            let dialer = dialer.unwrap();
            dialer
                .proxies
                .intercept(&dialer.uri)
                .map(|proxy| proxy.uri().to_string())
        };
        assert_eq!(
            uses("http://proxy:3128", "").as_deref(),
            Some("http://proxy:3128/")
        );
        assert_eq!(
            uses("proxy:3128", "other.com").as_deref(),
            Some("http://proxy:3128/")
        );
        assert_eq!(uses("http://proxy:3128", "localhost,.example.com"), None);
        assert_eq!(uses("http://proxy:3128", "*"), None);
        assert!(Dialer::new("https://a:1", Some("socks5://proxy:1"), None).is_err());
    }

    #[test]
    fn credentials_of_a_proxy_are_not_shown() {
        let dialer =
            Dialer::new("https://a:1", Some("http://user:hunter22@proxy:1"), None).unwrap();
        let intercept = dialer.proxies.intercept(&dialer.uri).unwrap();
        assert!(intercept.basic_auth().is_some());
        assert_eq!(
            display_authority(intercept.uri().authority().unwrap()),
            "proxy:1"
        );
        assert!(!format!("{dialer:?}").contains("hunter22"));
    }
}
