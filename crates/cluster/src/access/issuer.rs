//! ID tokens of an OpenID Connect issuer (OpenID Connect Core 1.0, section 12, and Discovery 1.0).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt as _, Limited};
use kube::client::Body;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::error::CredentialError;
use super::transport::{self, Http, Proxies};
use super::{Grant, Oidc};
use crate::clock;
use crate::resource::escape;

/// For one request to the issuer.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Most of an answer that is read.
const ANSWER_LIMIT: usize = 1024 * 1024;

/// What is assumed of a token that does not say how long it is good for.
const SHORT_LIFE: Duration = Duration::from_secs(60);

/// An issuer, and what is left to trade with it.
pub(super) struct Issuer {
    oidc: Oidc,
    http: Http,
    endpoint: Option<Endpoint>,
}

/// Where it gives tokens.
#[derive(Clone)]
struct Endpoint {
    uri: Uri,
    /// Whether the client's secret goes into the form and not into the header.
    secret_in_form: bool,
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    token_endpoint: String,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
}

#[derive(Deserialize)]
struct Tokens {
    id_token: Option<SecretString>,
    refresh_token: Option<SecretString>,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    #[serde(default)]
    error_description: String,
}

#[derive(Deserialize)]
struct Claims {
    exp: f64,
    iat: Option<f64>,
}

impl Issuer {
    pub(super) fn new(oidc: Oidc, proxies: Proxies) -> Result<Self, CredentialError> {
        let issuer: Option<Uri> = oidc.issuer.parse().ok();
        let https = issuer.is_some_and(|uri| uri.scheme_str() == Some("https"));
        if !https {
            return Err(answer(&oidc.issuer, "its address is not https://"));
        }
        let tls = transport::trusting(&oidc.trust).map_err(|_| {
            answer(
                &oidc.issuer,
                "its certificate authority cannot be used: no certificate in PEM form",
            )
        })?;
        Ok(Self {
            http: transport::http(tls, None, proxies),
            oidc,
            endpoint: None,
        })
    }

    /// An ID token and how long it is good for. `refused`: the one given last is no use.
    pub(super) async fn token(
        &mut self,
        refused: bool,
    ) -> Result<(SecretString, Duration), CredentialError> {
        if let Some(token) = self
            .oidc
            .id_token
            .take_if(|_| !refused || self.oidc.grant.is_none())
            && let Some(claims) = claims(&token)
        {
            // Made at an unknown time: the wall clock tells how much is left, or else the refusal.
            let left = claims.exp - clock::now().as_second() as f64;
            if left > 0.0 {
                return Ok((token, Duration::from_secs_f64(left.min(1e9))));
            }
        }
        let token = self.trade().await?;
        let life = claims(&token).and_then(|claims| {
            // Just made: its own span needs no clock that agrees with the issuer's.
            let life = claims.exp - claims.iat?;
            (life > 0.0).then(|| Duration::from_secs_f64(life.min(1e9)))
        });
        Ok((token, life.unwrap_or(SHORT_LIFE)))
    }

    async fn trade(&mut self) -> Result<SecretString, CredentialError> {
        let Some(grant) = self.oidc.grant.clone() else {
            return Err(CredentialError::Expired {
                issuer: self.oidc.issuer.clone(),
            });
        };
        let endpoint = self.endpoint().await?;
        let scopes = scopes(&self.oidc.scopes);
        let mut form = match &grant {
            Grant::Refresh(token) => vec![
                ("grant_type", "refresh_token"),
                ("refresh_token", token.expose_secret()),
            ],
            Grant::Password { user, password } => vec![
                ("grant_type", "password"),
                ("username", user),
                ("password", password.expose_secret()),
                ("scope", &scopes),
            ],
        };
        let client = self.oidc.client_id.as_str();
        let secret = self.oidc.client_secret.as_ref();
        let mut request = Request::post(endpoint.uri.clone());
        match secret.map(SecretString::expose_secret) {
            None => form.push(("client_id", client)),
            Some(secret) if endpoint.secret_in_form => {
                form.extend([("client_id", client), ("client_secret", secret)]);
            }
            Some(secret) => {
                let pair = format!("{}:{}", escape(client), escape(secret));
                let header = format!("Basic {}", STANDARD.encode(pair));
                request = request.header(AUTHORIZATION, header);
            }
        }
        let form: Vec<String> = form
            .into_iter()
            .map(|(key, value)| format!("{key}={}", escape(value)))
            .collect();
        let request = request
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(Body::from(form.join("&").into_bytes()));
        let request = request.map_err(|_| self.unusable("its token endpoint takes no request"))?;
        let tokens: Tokens = self.send(request).await?;
        if let Some(token) = tokens.refresh_token
            && matches!(grant, Grant::Refresh(_))
        {
            self.oidc.grant = Some(Grant::Refresh(token));
        }
        tokens
            .id_token
            .ok_or_else(|| self.unusable("it gives no id_token; is `openid` among the scopes?"))
    }

    /// Asks the issuer's discovery document, once.
    async fn endpoint(&mut self) -> Result<Endpoint, CredentialError> {
        if let Some(endpoint) = &self.endpoint {
            return Ok(endpoint.clone());
        }
        let issuer = self.oidc.issuer.trim_end_matches('/');
        let request = Request::builder()
            .method(Method::GET)
            .uri(format!("{issuer}/.well-known/openid-configuration"))
            .header(ACCEPT, "application/json")
            .body(Body::empty());
        let request = request.map_err(|_| self.unusable("its address takes no path"))?;
        let metadata: Metadata = self.send(request).await?;
        if metadata.issuer.trim_end_matches('/') != issuer {
            return Err(self.unusable("its discovery document is another issuer's"));
        }
        let uri: Uri = metadata
            .token_endpoint
            .parse()
            .ok()
            .filter(|uri: &Uri| uri.scheme_str() == Some("https"))
            .ok_or_else(|| self.unusable("its token endpoint is not https://"))?;
        let methods = &metadata.token_endpoint_auth_methods_supported;
        let takes = |method: &str| methods.iter().any(|known| known == method);
        let endpoint = Endpoint {
            uri,
            secret_in_form: takes("client_secret_post") && !takes("client_secret_basic"),
        };
        self.endpoint = Some(endpoint.clone());
        Ok(endpoint)
    }

    async fn send<T: serde::de::DeserializeOwned>(
        &self,
        request: Request<Body>,
    ) -> Result<T, CredentialError> {
        let unreachable = |source| CredentialError::IssuerUnreachable {
            issuer: self.oidc.issuer.clone(),
            source,
        };
        let exchange = async {
            let response = self
                .http
                .request(request)
                .await
                .map_err(|e| unreachable(e.into()))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_LIMIT).collect().await;
            let body = body.map_err(unreachable)?.to_bytes();
            Ok((head.status, body))
        };
        let answered = tokio::time::timeout(TIME_LIMIT, exchange).await;
        let (status, body) =
            answered.map_err(|_| unreachable("no answer within 30 s".into()))??;
        if !status.is_success() {
            let said = serde_json::from_slice(&body).map(|refusal: Refusal| {
                let Refusal {
                    error,
                    error_description,
                } = refusal;
                format!("{error} {error_description}")
                    .trim()
                    .chars()
                    .take(300)
                    .collect()
            });
            return Err(CredentialError::IssuerRefused {
                issuer: self.oidc.issuer.clone(),
                status: status.as_u16(),
                said: said.unwrap_or_else(|_| "it does not say why".to_owned()),
            });
        }
        serde_json::from_slice(&body)
            .map_err(|_| self.unusable("it is not the JSON that OpenID Connect promises"))
    }

    fn unusable(&self, problem: &str) -> CredentialError {
        answer(&self.oidc.issuer, problem)
    }
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer")
            .field("issuer", &self.oidc.issuer)
            .finish_non_exhaustive()
    }
}

fn answer(issuer: &str, problem: &str) -> CredentialError {
    CredentialError::IssuerAnswer {
        issuer: issuer.chars().take(200).collect(),
        problem: problem.to_owned(),
    }
}

/// `openid` and the others, once each.
fn scopes(more: &[String]) -> String {
    let mut scopes = vec!["openid"];
    for scope in more {
        if !scopes.contains(&scope.as_str()) {
            scopes.push(scope);
        }
    }
    scopes.join(" ")
}

/// What a token says of its time. Its signature is the API server's to check.
fn claims(token: &SecretString) -> Option<Claims> {
    let payload = token.expose_secret().split('.').nth(1)?;
    let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    let claims: Claims = serde_json::from_slice(&payload).ok()?;
    claims.exp.is_finite().then_some(claims)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_token_is_read_and_nonsense_is_none() {
        let token = |payload: &str| format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(payload)).into();
        let claims = |payload: &str| super::claims(&token(payload)).map(|c| (c.exp, c.iat));
        assert_eq!(
            claims(r#"{"exp": 20, "iat": 10}"#),
            Some((20.0, Some(10.0)))
        );
        assert_eq!(claims(r#"{"exp": 1.5e9, "sub": "x"}"#), Some((1.5e9, None)));
        for payload in ["", "{}", "[]", r#"{"exp": "soon"}"#] {
            assert_eq!(claims(payload), None, "{payload}");
        }
        for text in ["", "a", "a.b", "a.%%.c", "..."] {
            assert!(super::claims(&text.into()).is_none(), "{text}");
        }
    }

    #[test]
    fn openid_is_always_asked_for() {
        assert_eq!(scopes(&[]), "openid");
        assert_eq!(
            scopes(&["email".into(), "openid".into(), "email".into()]),
            "openid email"
        );
    }
}
