//! What goes into the `Authorization` header, renewed before it expires and when it is refused.

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderValue};
use http::{Method, Request};
use kube::client::Body;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Mutex;

use super::error::CredentialError;
use super::identity::Identity;
use super::issuer::Issuer;
use super::plugin::Plugin;
use super::{Oidc, transport};
use crate::clock::{self, Boottime};

/// How often a token file is read.
const FILE_LIFETIME: Duration = Duration::from_secs(60);

/// Most of a token file that is read.
const FILE_LIMIT: usize = 1024 * 1024;

/// A credential is renewed when this is left of its life, or a fifth of it when that is less.
const MARGIN: Duration = Duration::from_secs(60);

/// How long a credential goes on being used after it could not be renewed, before the next try.
const RESPITE: Duration = Duration::from_secs(5);

/// Where the header comes from.
#[derive(Debug)]
pub(crate) enum Source {
    /// It stays what it is; a client certificate alone needs none.
    Fixed(Option<HeaderValue>),
    TokenFile(PathBuf),
    Plugin(Box<Plugin>),
    Issuer(Box<Oidc>),
}

/// The credentials of one connection.
#[derive(Debug)]
pub(crate) struct Credentials {
    source: Renewable,
    identity: Identity,
    held: RwLock<Option<Held>>,
    /// Held during a renewal, so that many needs at once cause one.
    turn: Mutex<()>,
}

#[derive(Debug)]
enum Renewable {
    No(Option<HeaderValue>),
    TokenFile(PathBuf),
    Plugin(Box<Plugin>),
    Issuer(Box<Mutex<Issuer>>),
}

/// A header, and how long it is good for when that is known.
type Obtained = (Option<HeaderValue>, Option<Duration>);

#[derive(Clone, Debug)]
struct Held {
    pass: Pass,
    renew_at: Option<Boottime>,
    ends_at: Option<Boottime>,
}

/// What one request shows of us.
#[derive(Clone, Debug)]
pub(crate) struct Pass {
    header: Option<HeaderValue>,
    /// Counts renewals, so that many refusals of the same cause one.
    edition: u64,
    /// The edition of the client certificate beside it.
    identity: u64,
}

impl Source {
    pub(super) fn bearer(token: &SecretString) -> Result<Self, CredentialError> {
        Ok(Self::Fixed(Some(bearer(token, "the token")?)))
    }

    pub(super) fn basic(user: &str, password: &SecretString) -> Result<Self, CredentialError> {
        let pair = STANDARD.encode(format!("{user}:{}", password.expose_secret()));
        Ok(Self::Fixed(Some(sensitive(
            &format!("Basic {pair}"),
            "the password",
        )?)))
    }
}

impl Credentials {
    pub(super) fn new(
        source: Source,
        identity: Identity,
        proxies: transport::Proxies,
    ) -> Result<Self, CredentialError> {
        let source = match source {
            Source::Fixed(header) => Renewable::No(header),
            Source::TokenFile(path) => Renewable::TokenFile(path),
            Source::Plugin(plugin) => Renewable::Plugin(plugin),
            Source::Issuer(oidc) => {
                Renewable::Issuer(Box::new(Mutex::new(Issuer::new(*oidc, proxies)?)))
            }
        };
        Ok(Self {
            source,
            identity,
            held: RwLock::new(None),
            turn: Mutex::new(()),
        })
    }

    /// What to show now. Renewed first when it is about to expire, which may take a while: so this
    /// comes before the check of a lease, never after it.
    pub(crate) async fn current(&self) -> Result<Pass, CredentialError> {
        if let Renewable::No(header) = &self.source {
            return Ok(Pass {
                header: header.clone(),
                edition: 0,
                identity: self.identity.edition(),
            });
        }
        match self.fresh() {
            Some(pass) => Ok(pass),
            None => self.renew(None).await,
        }
    }

    /// Something else to show in place of `refused`, which the API server did not accept; `None`
    /// when there is nothing else.
    pub(crate) async fn instead_of(&self, refused: &Pass) -> Result<Option<Pass>, CredentialError> {
        if matches!(self.source, Renewable::No(_)) {
            return Ok(None);
        }
        let pass = self.renew(Some(refused.edition)).await?;
        let changed = pass.header != refused.header || pass.identity != refused.identity;
        Ok(changed.then_some(pass))
    }

    fn fresh(&self) -> Option<Pass> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let held = held.as_ref()?;
        let now = clock::boottime();
        (held.renew_at.is_none_or(|at| now < at)).then(|| held.pass.clone())
    }

    /// One at a time; whoever waited finds it done. `refused`: that edition is no use any more.
    async fn renew(&self, refused: Option<u64>) -> Result<Pass, CredentialError> {
        let _turn = self.turn.lock().await;
        if let Some(pass) = self.fresh()
            && refused != Some(pass.edition)
        {
            return Ok(pass);
        }
        let obtained = match &self.source {
            Renewable::No(header) => Ok((header.clone(), None)),
            Renewable::TokenFile(path) => read_token(path).await,
            Renewable::Plugin(plugin) => self.ask(plugin).await,
            Renewable::Issuer(issuer) => ask_issuer(issuer, refused.is_some()).await,
        };
        self.keep(obtained, refused)
    }

    /// Keeps what was obtained. When nothing was, what is held goes on for as long as it is valid.
    fn keep(
        &self,
        obtained: Result<Obtained, CredentialError>,
        refused: Option<u64>,
    ) -> Result<Pass, CredentialError> {
        let now = clock::boottime();
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let edition = held.as_ref().map_or(0, |held| held.pass.edition);
        match obtained {
            Ok((header, lifetime)) => {
                let pass = Pass {
                    header,
                    edition: edition + 1,
                    identity: self.identity.edition(),
                };
                *held = Some(Held {
                    pass: pass.clone(),
                    renew_at: lifetime.map(|life| now.after(life - MARGIN.min(life / 5))),
                    ends_at: lifetime.map(|life| now.after(life)),
                });
                Ok(pass)
            }
            Err(error) => match held.as_mut() {
                Some(held)
                    if refused.is_none()
                        && (held.ends_at.is_none_or(|end| now < end)
                            || matches!(self.source, Renewable::TokenFile(..))) =>
                {
                    tracing::warn!(error = %error, "credentials could not be renewed, going on with the present ones");
                    held.renew_at = Some(now.after(RESPITE));
                    Ok(held.pass.clone())
                }
                _ => Err(error),
            },
        }
    }

    async fn ask(&self, plugin: &Plugin) -> Result<Obtained, CredentialError> {
        let given = plugin.run().await?;
        if let Some((certificate, key)) = &given.certificate {
            self.identity.show(certificate.as_bytes(), key, None)?;
        }
        let header = match &given.token {
            Some(token) => Some(bearer(token, "the plugin's token")?),
            None => None,
        };
        // When both clocks disagree, the token is refused early and the plugin asked again then.
        let left = given.expires.map(|end| end.duration_since(clock::now()));
        Ok((
            header,
            left.map(|left| left.try_into().unwrap_or(Duration::ZERO)),
        ))
    }
}

impl Pass {
    /// Puts it onto a request.
    pub(crate) fn show(&self, request: &mut Request<Body>) {
        if let Some(header) = &self.header {
            request.headers_mut().insert(AUTHORIZATION, header.clone());
        }
        request.extensions_mut().insert(Shown);
    }
}

/// Marks a request that carries its credentials already.
#[derive(Clone, Debug)]
struct Shown;

/// Whether a request carries its credentials already.
pub(super) fn is_shown(request: &Request<Body>) -> bool {
    request.extensions().get::<Shown>().is_some()
}

/// The same request once more, for when the first is refused. Only reads: a write is repeated where
/// its lease is checked again.
pub(super) fn again(request: &Request<Body>) -> Option<Request<Body>> {
    let body = request.body().try_clone()?;
    (request.method() == Method::GET).then(|| {
        let mut copy = Request::new(body);
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.headers_mut() = request.headers().clone();
        copy
    })
}

async fn ask_issuer(issuer: &Mutex<Issuer>, refused: bool) -> Result<Obtained, CredentialError> {
    let (token, lifetime) = issuer.lock().await.token(refused).await?;
    Ok((Some(bearer(&token, "the ID token")?), Some(lifetime)))
}

async fn read_token(path: &Path) -> Result<Obtained, CredentialError> {
    let bytes = tokio::fs::read(path).await;
    let bytes = bytes.map_err(|source| CredentialError::ReadFile {
        path: path.to_owned(),
        source,
    })?;
    let what = format!("the token in {}", path.display());
    let text = String::from_utf8(bytes).ok();
    let token = text.as_deref().map(str::trim);
    let token = token.filter(|token| !token.is_empty() && token.len() <= FILE_LIMIT);
    let token = token.ok_or_else(|| CredentialError::Malformed {
        what: what.clone(),
        problem: "the file is empty, or no text".to_owned(),
    })?;
    let header = bearer(&token.into(), &what)?;
    Ok((Some(header), Some(FILE_LIFETIME)))
}

fn bearer(token: &SecretString, what: &str) -> Result<HeaderValue, CredentialError> {
    sensitive(&format!("Bearer {}", token.expose_secret().trim()), what)
}

fn sensitive(text: &str, what: &str) -> Result<HeaderValue, CredentialError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| CredentialError::Malformed {
        what: what.to_owned(),
        problem: "it has characters that no HTTP header can carry".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}
