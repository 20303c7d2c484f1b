//! Why no connection can be set up, and why there are no credentials for one.

use std::path::PathBuf;
use std::time::Duration;

use tower::BoxError;

/// Why no connection could be set up. Reaching the server is tried by the first request only.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No kubeconfig, or an unusable one.
    #[error("cannot use the kubeconfig{}", path_clause(.path.as_deref()))]
    ReadKubeconfig {
        /// The file that was asked for.
        path: Option<PathBuf>,
        /// What is wrong with it.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    /// Not in a pod, or the pod has no service account token.
    #[error("cannot use the pod's service account")]
    ReadServiceAccount {
        /// What is missing.
        #[source]
        source: kube::config::InClusterError,
    },
    /// The address of the API server is none.
    #[error("`{address}` is not the address of an API server")]
    Address {
        /// What was given, cut short.
        address: String,
    },
    /// The proxy's address is none that can be used. It is not shown: it may hold a password.
    #[error("the proxy's address is not http://HOST:PORT or socks5://HOST:PORT")]
    Proxy,
    /// The credentials cannot be used.
    #[error("cannot use the credentials for the API server")]
    Credential {
        /// What is wrong with them.
        #[source]
        source: CredentialError,
    },
    /// Certificates, credentials or address do not make a client.
    #[error("cannot set up a client for {server}")]
    BuildClient {
        /// Address of the API server.
        server: String,
        /// What does not fit.
        #[source]
        source: BoxError,
    },
}

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// A file cannot be read.
    #[error("cannot read {}", .path.display())]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Something is not what it is given as.
    #[error("{what} cannot be used: {problem}")]
    Malformed {
        /// Such as `the client key`.
        what: String,
        /// What is wrong with it; never its value.
        problem: String,
    },
    /// A client key that needs a passphrase.
    #[error("the client key is encrypted, and there is no passphrase for it")]
    EncryptedKey,
    /// Another passphrase encrypts the client key.
    #[error("the passphrase does not open the client key")]
    Passphrase,
    /// A client key that is encrypted as OpenSSL did before PKCS #8.
    #[error("the client key is encrypted in OpenSSL's own format, which is not read")]
    KeyFormat,
    /// A client key that is encrypted in a way that is unknown, insecure or too costly.
    #[error("the encryption of the client key is not accepted: {problem}")]
    KeyScheme {
        /// What is wrong with it.
        problem: String,
    },
    /// A kubeconfig with an `auth-provider` that is not OIDC.
    #[error("auth-provider `{name}` is not supported")]
    UnknownProvider {
        /// Its name.
        name: String,
    },
    /// The plugin cannot be started.
    #[error("cannot start the credential plugin `{command}`{}", hint_clause(.hint.as_deref()))]
    PluginStart {
        /// Its command.
        command: String,
        /// What the kubeconfig says about its installation.
        hint: Option<String>,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The plugin wants to ask, and nobody can answer.
    #[error("the credential plugin `{command}` must ask a person, and there is no terminal")]
    PluginNeedsTerminal {
        /// Its command.
        command: String,
    },
    /// The plugin did not end.
    #[error("the credential plugin `{command}` did not end within {} s", .after.as_secs())]
    PluginTimedOut {
        /// Its command.
        command: String,
        /// How long was waited.
        after: Duration,
    },
    /// The plugin ended with an error.
    #[error("the credential plugin `{command}` failed ({status}){}", said_clause(.said))]
    PluginFailed {
        /// Its command.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// The end of what it wrote to stderr.
        said: String,
    },
    /// The plugin's output is no usable `ExecCredential`.
    #[error("the credential plugin `{command}` printed no usable ExecCredential: {problem}")]
    PluginAnswer {
        /// Its command.
        command: String,
        /// What is wrong with it; never a value of it.
        problem: String,
    },
    /// The issuer cannot be reached.
    #[error("no answer from the identity provider {issuer}")]
    IssuerUnreachable {
        /// Its address.
        issuer: String,
        /// Why not.
        #[source]
        source: BoxError,
    },
    /// The issuer gives no token.
    #[error("the identity provider {issuer} gives no token (status {status}): {said}")]
    IssuerRefused {
        /// Its address.
        issuer: String,
        /// HTTP status.
        status: u16,
        /// Its OAuth error, such as `invalid_grant`.
        said: String,
    },
    /// The issuer's answer is not what OpenID Connect promises.
    #[error("the answer of the identity provider {issuer} cannot be used: {problem}")]
    IssuerAnswer {
        /// Its address.
        issuer: String,
        /// What is wrong with it; never a value of it.
        problem: String,
    },
    /// The ID token is over, and there is nothing to trade for another.
    #[error("the ID token of {issuer} has expired, and there is no refresh token")]
    Expired {
        /// Its address.
        issuer: String,
    },
}

impl ConnectError {
    /// Stable code with a page in the error reference.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Credential { source } => source.code(),
            _ => "SRT-C001",
        }
    }

    /// What the person who asked can do about it.
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::ReadKubeconfig { .. } => {
                "Name a readable kubeconfig and one of its contexts; `kubectl config get-contexts` lists them."
            }
            Self::ReadServiceAccount { .. } => {
                "Run inside a pod with a service account token, or name a kubeconfig."
            }
            Self::Address { .. } => "Give it as https://HOST:PORT, without user or password.",
            Self::Proxy => "Correct proxy-url in the kubeconfig, --proxy-url or HTTPS_PROXY.",
            Self::Credential { source } => source.advice(),
            Self::BuildClient { .. } => {
                "Check certificates, credentials and address in the kubeconfig."
            }
        }
    }
}

impl CredentialError {
    /// Stable code with a page in the error reference.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::ReadFile { .. }
            | Self::Malformed { .. }
            | Self::EncryptedKey
            | Self::Passphrase
            | Self::KeyFormat
            | Self::KeyScheme { .. }
            | Self::UnknownProvider { .. } => "SRT-C025",
            Self::PluginStart { .. }
            | Self::PluginNeedsTerminal { .. }
            | Self::PluginTimedOut { .. }
            | Self::PluginFailed { .. }
            | Self::PluginAnswer { .. } => "SRT-C026",
            Self::IssuerUnreachable { .. }
            | Self::IssuerRefused { .. }
            | Self::IssuerAnswer { .. }
            | Self::Expired { .. } => "SRT-C027",
        }
    }

    /// What the person who asked can do about it.
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::ReadFile { .. } => "Check the file's path and that you may read it.",
            Self::Malformed { .. } => "Correct it where it is written down.",
            Self::EncryptedKey => {
                "Name a file with its passphrase (--client-key-passphrase-file with --server), or decrypt it once: openssl pkey -in KEY -out PLAIN"
            }
            Self::Passphrase => "Check the file that the passphrase is in.",
            Self::KeyFormat | Self::KeyScheme { .. } => {
                "Encrypt it anew: openssl pkcs8 -topk8 -v2 aes-256-cbc -in KEY -out NEW"
            }
            Self::UnknownProvider { .. } => {
                "Use the cloud's credential plugin instead: gke-gcloud-auth-plugin or kubelogin, as kubectl needs since 1.26."
            }
            Self::PluginStart { .. } => {
                "Install the plugin, or correct its command in the kubeconfig."
            }
            Self::PluginNeedsTerminal { .. } => {
                "Log in on a terminal once (kubectl get ns), or use credentials that need nobody."
            }
            Self::PluginTimedOut { .. } => "Run the plugin by hand to see what it waits for.",
            Self::PluginFailed { .. } => "Log in again as the plugin says, then try again.",
            Self::PluginAnswer { .. } => {
                "Run the plugin by hand and compare its output with client.authentication.k8s.io."
            }
            Self::IssuerUnreachable { .. } => {
                "Check the issuer's address, its certificate authority and the network to it."
            }
            Self::IssuerRefused { .. } => {
                "Log in at the identity provider again, and check client, secret and scopes."
            }
            Self::IssuerAnswer { .. } => {
                "Check that the address is that of an OpenID Connect issuer."
            }
            Self::Expired { .. } => "Log in at the identity provider again.",
        }
    }

    /// Whether the same may work in a moment.
    pub(crate) const fn is_transient(&self) -> bool {
        match self {
            Self::IssuerUnreachable { .. } => true,
            Self::IssuerRefused { status, .. } => *status == 429 || *status >= 500,
            _ => false,
        }
    }
}

impl From<CredentialError> for ConnectError {
    fn from(source: CredentialError) -> Self {
        Self::Credential { source }
    }
}

fn path_clause(path: Option<&std::path::Path>) -> String {
    path.map(|path| format!(" {}", path.display()))
        .unwrap_or_default()
}

fn hint_clause(hint: Option<&str>) -> String {
    hint.map(|hint| format!(" ({hint})")).unwrap_or_default()
}

fn said_clause(said: &str) -> String {
    if said.is_empty() {
        String::new()
    } else {
        format!(": {said}")
    }
}
