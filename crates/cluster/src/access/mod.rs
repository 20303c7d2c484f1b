//! How to find a cluster, and who we are there.
//!
//! What a user writes down ([`Access`]) becomes an [`Endpoint`], and that a connection whose
//! credentials renew themselves ([`credentials`]) over one HTTP stack ([`transport`]). The client
//! library's own credentials are not used: it runs plugins without a time limit on the runtime's
//! threads and shows their output in errors, takes a token file's last line break for a part of the
//! token, and asks nobody again after the API server has refused a token.

mod credentials;
mod error;
mod identity;
mod issuer;
mod key;
mod kubeconfig;
mod plugin;
mod transport;

use std::path::PathBuf;

use kube::config::AuthInfo;
use secrecy::SecretString;

pub use self::error::{ConnectError, CredentialError};
pub use self::plugin::{Interaction, Plugin};

pub(crate) use self::credentials::{Credentials, Pass};
pub(crate) use self::transport::client;

use self::identity::Identity;

/// How to find the cluster and who we are there.
#[derive(Clone, Debug)]
pub enum Access {
    /// The service account of the pod that we run in.
    InCluster,
    /// A kubeconfig file, with every kind of credentials that kubectl reads from one.
    Kubeconfig {
        /// The file; without it, `KUBECONFIG` and then `~/.kube/config`, as kubectl does.
        path: Option<PathBuf>,
        /// The context; without it, the file's current one.
        context: Option<String>,
    },
    /// An API server by its address.
    Server(Box<Server>),
}

/// An API server that is named by its address.
#[derive(Clone, Debug)]
pub struct Server {
    /// `https://HOST:PORT`, with a path where it has one.
    pub address: String,
    /// Whose certificates to accept.
    pub trust: Trust,
    /// Name that its certificate must have, if not that of the address.
    pub certificate_name: Option<String>,
    /// `http://[USER:PASSWORD@]HOST:PORT` or `socks5://HOST:PORT`; without it, `HTTPS_PROXY` and
    /// `NO_PROXY` of the environment count.
    pub proxy: Option<SecretString>,
    /// Namespace for objects that name none; `default` without it.
    pub namespace: Option<String>,
    /// Who we are.
    pub credential: Credential,
}

/// Whose certificates are accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Those of the authorities that the system trusts.
    #[default]
    System,
    /// Those of these authorities, PEM.
    Authorities(Vec<u8>),
    /// Anybody's: whoever sits on the way reads and changes everything. Only when a person said so.
    Anybody,
}

/// Who we are to the API server.
#[derive(Clone, Debug)]
pub enum Credential {
    /// Nobody.
    Anonymous,
    /// A bearer token, such as a service account's.
    Token(SecretString),
    /// A file with a bearer token; read again each minute and when the token is refused.
    TokenFile(PathBuf),
    /// A client certificate with its key, both PEM.
    Certificate {
        /// The certificate, and those between it and the authority.
        certificate: Vec<u8>,
        /// The key. One that is encrypted must be PKCS #8 (`ENCRYPTED PRIVATE KEY`).
        key: SecretString,
        /// What opens the key if it is encrypted.
        passphrase: Option<SecretString>,
    },
    /// User and password. Kubernetes itself takes none since 1.19; some proxies before it do.
    Password {
        /// User.
        user: String,
        /// Password.
        password: SecretString,
    },
    /// An OpenID Connect issuer's ID token, renewed before it expires.
    Oidc(Box<Oidc>),
    /// A program that prints an `ExecCredential`, run again before what it gave expires.
    Plugin(Box<Plugin>),
}

/// An OpenID Connect issuer, and how it gives us ID tokens.
#[derive(Clone, Debug)]
pub struct Oidc {
    /// Its `https://` address, as in the token's `iss`.
    pub issuer: String,
    /// Whose certificates to accept from it.
    pub trust: Trust,
    /// Client that it knows us as.
    pub client_id: String,
    /// The client's secret, if it has one.
    pub client_secret: Option<SecretString>,
    /// Scopes beside `openid`.
    pub scopes: Vec<String>,
    /// A token that we have already.
    pub id_token: Option<SecretString>,
    /// What to trade for the next one.
    pub grant: Option<Grant>,
}

/// What an issuer gives an ID token for.
#[derive(Clone, Debug)]
pub enum Grant {
    /// A refresh token. When the issuer replaces it, the new one is kept in memory only.
    Refresh(SecretString),
    /// User and password of a person (resource owner password credentials).
    Password {
        /// User.
        user: String,
        /// Password.
        password: SecretString,
    },
}

/// As whom to act instead of oneself. The API server must allow it (verb `impersonate`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Impersonation {
    /// User, such as `system:serviceaccount:NAMESPACE:NAME`.
    pub user: String,
    /// Groups; those of the user are not added by themselves.
    pub groups: Vec<String>,
}

/// A cluster whose address and credentials are known.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Address, trust, namespace and impersonation. Of its credentials nothing is used.
    config: kube::Config,
    /// Proxy that was asked for.
    proxy: Option<SecretString>,
    /// Whether proxies of the environment count.
    use_environment: bool,
    identity: Identity,
    source: credentials::Source,
}

impl Access {
    /// Reads files, and checks what can be checked without a request.
    pub(crate) async fn resolve(
        &self,
        impersonate: Option<&Impersonation>,
    ) -> Result<Endpoint, ConnectError> {
        let mut endpoint = match self {
            Self::InCluster => in_cluster()?,
            Self::Kubeconfig { path, context } => {
                kubeconfig::read(path.as_deref(), context.as_deref()).await?
            }
            Self::Server(server) => server.resolve()?,
        };
        if let Some(Impersonation { user, groups }) = impersonate {
            endpoint.config.auth_info = AuthInfo {
                impersonate: Some(user.clone()),
                impersonate_groups: Some(groups.clone()),
                ..AuthInfo::default()
            };
        }
        Ok(endpoint)
    }
}

impl Endpoint {
    /// Address of the API server.
    pub(crate) fn server(&self) -> String {
        self.config.cluster_url.to_string()
    }
}

fn in_cluster() -> Result<Endpoint, ConnectError> {
    let mut config =
        kube::Config::incluster().map_err(|source| ConnectError::ReadServiceAccount { source })?;
    let auth = std::mem::take(&mut config.auth_info);
    let source = match auth.token_file {
        Some(path) => credentials::Source::TokenFile(path.into()),
        None => credentials::Source::Fixed(None),
    };
    Ok(Endpoint {
        config,
        proxy: None,
        // The API server's Service address is rarely among the exceptions of a pod's proxy.
        use_environment: false,
        identity: Identity::none(),
        source,
    })
}

impl Server {
    fn resolve(&self) -> Result<Endpoint, ConnectError> {
        let Self {
            address,
            trust,
            certificate_name,
            proxy,
            namespace,
            credential,
        } = self;
        let url: http::Uri = address
            .parse()
            .ok()
            .filter(|url: &http::Uri| {
                let https = matches!(url.scheme_str(), Some("https" | "http"));
                let named = url.authority().is_some_and(|a| !a.as_str().contains('@'));
                https && named && url.query().is_none()
            })
            .ok_or_else(|| ConnectError::Address {
                address: address.chars().take(200).collect(),
            })?;
        let mut config = kube::Config::new(url);
        config.tls_server_name.clone_from(certificate_name);
        if let Some(namespace) = namespace {
            config.default_namespace.clone_from(namespace);
        }
        match trust {
            Trust::System => {}
            Trust::Authorities(pem) => config.root_cert = Some(identity::authorities(pem)?),
            Trust::Anybody => config.accept_invalid_certs = true,
        }
        let mut identity = Identity::none();
        let source = match credential.clone() {
            Credential::Anonymous => credentials::Source::Fixed(None),
            Credential::Token(token) => credentials::Source::bearer(&token)?,
            Credential::TokenFile(path) => credentials::Source::TokenFile(path),
            Credential::Certificate {
                certificate,
                key,
                passphrase,
            } => {
                identity = Identity::from_pem(&certificate, &key, passphrase.as_ref())?;
                credentials::Source::Fixed(None)
            }
            Credential::Password { user, password } => {
                credentials::Source::basic(&user, &password)?
            }
            Credential::Oidc(oidc) => credentials::Source::Issuer(oidc),
            Credential::Plugin(plugin) => credentials::Source::Plugin(plugin),
        };
        Ok(Endpoint {
            config,
            proxy: proxy.clone(),
            use_environment: true,
            identity,
            source,
        })
    }
}
