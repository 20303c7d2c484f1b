//! The control plane's API as this program uses it.

mod error;
mod follow;
mod problem;
mod sse;
pub mod wire;

use std::path::Path;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Certificate, Method, RequestBuilder, Response, Url, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use error::Error;
pub use follow::{Follow, Patience};
pub use sse::{Event, Parser, TooLong};

use crate::exit::Failure;

/// Longest time for a request that is not a stream; a little longer than the server gives itself.
const REQUEST: Duration = Duration::from_secs(40);

/// Longest time to set up a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Longest silence on a connection; streams carry a sign of life every 15 s.
const SILENCE: Duration = Duration::from_secs(45);

/// Largest answer that is read.
const LARGEST: usize = 64 << 20;

/// A connection to one control plane as one user.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: SecretString,
}

/// One request.
#[derive(Debug)]
pub struct Request<'a> {
    /// What is tried, to finish the sentence "cannot …".
    pub what: &'a str,
    /// HTTP method.
    pub method: Method,
    /// Parts of the path behind `/api/v1`.
    pub path: &'a [&'a str],
    /// Parameters.
    pub query: Vec<(&'a str, String)>,
    /// Body.
    pub body: Body<'a>,
}

/// The body of a request.
#[derive(Debug)]
pub enum Body<'a> {
    /// None.
    Empty,
    /// A JSON document.
    Json(&'a Value),
    /// YAML documents; may hold the value of a secret.
    Yaml(SecretString),
}

impl<'a> Request<'a> {
    /// A request without parameters and body.
    #[must_use]
    pub const fn new(what: &'a str, method: Method, path: &'a [&'a str]) -> Self {
        Self {
            what,
            method,
            path,
            query: Vec::new(),
            body: Body::Empty,
        }
    }

    /// A request to read something.
    #[must_use]
    pub const fn get(what: &'a str, path: &'a [&'a str]) -> Self {
        Self::new(what, Method::GET, path)
    }

    /// The same with parameters.
    #[must_use]
    pub fn query(mut self, query: Vec<(&'a str, String)>) -> Self {
        self.query = query;
        self
    }

    /// The same with a body.
    #[must_use]
    pub fn body(mut self, body: Body<'a>) -> Self {
        self.body = body;
        self
    }
}

impl Client {
    /// Prepares a connection. Sends nothing.
    ///
    /// # Errors
    /// The address, the token or the file of authorities cannot be used.
    pub fn new(address: &str, token: &SecretString, ca_file: Option<&Path>) -> Result<Self, Error> {
        let base = parse_address(address)?;
        if HeaderValue::from_str(token.expose_secret()).is_err() {
            return Err(Error::Token);
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("sortie/", env!("CARGO_PKG_VERSION")))
            // A redirect could carry the token somewhere else.
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .tcp_nodelay(true);
        if base.scheme() == "http" {
            // No TLS, no authorities: a machine without any can still talk to its own server.
            builder = builder.tls_certs_only([]);
        } else if let Some(path) = ca_file {
            builder = builder.tls_certs_only(authorities(path)?);
        }
        let http = builder.build().map_err(|source| Error::Build { source })?;
        Ok(Self {
            http,
            base,
            token: token.clone(),
        })
    }

    /// The address, for messages.
    #[must_use]
    pub fn address(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Sends a request and reads the answer; `null` when there is none.
    ///
    /// # Errors
    /// The server cannot be reached, refuses, or answers what is not JSON.
    pub async fn send(&self, request: Request<'_>) -> Result<Value, Failure> {
        let what = request.what;
        let response = self.builder(&request).timeout(REQUEST).send().await;
        let response = response.map_err(|source| self.unreachable(what, source))?;
        let status = response.status();
        let body = self.read(what, response).await?;
        if !status.is_success() {
            return Err(problem::failure(what, self.address(), status, &body));
        }
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).map_err(|_| self.strange(what, "not JSON").into())
    }

    /// The same for an answer of a known form.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn fetch<T: DeserializeOwned>(&self, request: Request<'_>) -> Result<T, Failure> {
        let what = request.what;
        let value = self.send(request).await?;
        self.typed(what, value)
    }

    /// `value` in a known form.
    ///
    /// # Errors
    /// It has another form.
    pub fn typed<T: DeserializeOwned>(&self, what: &str, value: Value) -> Result<T, Failure> {
        serde_json::from_value(value).map_err(|error| self.strange(what, &error.to_string()).into())
    }

    fn builder(&self, request: &Request<'_>) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments
                .pop_if_empty()
                .extend(["api", "v1"])
                .extend(request.path);
        }
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        let builder = self
            .http
            .request(request.method.clone(), url)
            .headers(self.headers());
        match &request.body {
            Body::Empty => builder,
            Body::Json(value) => builder.json(value),
            Body::Yaml(text) => builder
                .header(CONTENT_TYPE, "application/yaml")
                .body(text.expose_secret().to_owned()),
        }
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let bearer = format!("Bearer {}", self.token.expose_secret());
        if let Ok(mut value) = HeaderValue::from_str(&bearer) {
            value.set_sensitive(true);
            headers.insert(reqwest::header::AUTHORIZATION, value);
        }
        headers
    }

    async fn read(&self, what: &str, mut response: Response) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > LARGEST => {
                    return Err(self.strange(what, "the answer is too large").into());
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => return Ok(body),
                Err(source) => return Err(self.unreachable(what, source).into()),
            }
        }
    }

    fn unreachable(&self, what: &str, source: reqwest::Error) -> Error {
        Error::Unreachable {
            what: what.to_owned(),
            server: self.address().to_owned(),
            source: source.without_url(),
        }
    }

    fn strange(&self, what: &str, reason: &str) -> Error {
        Error::Strange {
            what: what.to_owned(),
            server: self.address().to_owned(),
            reason: reason.to_owned(),
        }
    }
}

/// The address of a control plane: http or https, a host, and nothing that could be a secret.
fn parse_address(address: &str) -> Result<Url, Error> {
    let fits = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    };
    Url::parse(address).ok().filter(fits).ok_or(Error::Address)
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, Error> {
    let unreadable = |source| Error::Authorities {
        path: path.to_owned(),
        source,
    };
    let pem = std::fs::read(path).map_err(|source| unreadable(source.into()))?;
    let found = Certificate::from_pem_bundle(&pem).map_err(|source| unreadable(source.into()))?;
    if found.is_empty() {
        return Err(unreadable("there is no PEM certificate in it".into()));
    }
    Ok(found)
}

/// Whether a token sent to `address` could be read on the way: http to another machine.
#[must_use]
pub fn is_in_the_clear(address: &str) -> bool {
    let Ok(url) = Url::parse(address) else {
        return false;
    };
    let here = match url.host_str() {
        Some("localhost") => true,
        Some(host) => host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback()),
        None => false,
    };
    url.scheme() == "http" && !here
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked() {
        for good in [
            "http://127.0.0.1:8080",
            "https://sortie.example.com/",
            "https://x/sortie",
        ] {
            assert!(parse_address(good).is_ok(), "{good}");
        }
        for bad in [
            "sortie.example.com",
            "ftp://x",
            "https://user:secret@x",
            "https://x/?token=1",
            "https://x/#a",
            "",
            "http://",
        ] {
            let error = parse_address(bad).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_token_in_the_clear_is_noticed() {
        for (address, clear) in [
            ("http://10.0.0.1", true),
            ("http://sortie.example.com", true),
            ("https://sortie.example.com", false),
            ("http://127.0.0.1:8080", false),
            ("http://[::1]:8080", false),
            ("http://localhost:8080", false),
        ] {
            assert_eq!(is_in_the_clear(address), clear, "{address}");
        }
    }
}
