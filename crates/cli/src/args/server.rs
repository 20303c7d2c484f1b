//! Arguments that name an API server and who we are there, without a kubeconfig. Secrets come from files alone: what
//! stands in arguments is seen by everybody on the machine.

use std::path::PathBuf;

use clap::Args;

/// Where help lists them.
const ELSEWHERE: &str = "Without a kubeconfig";

/// An API server by its address. Its credentials are shown by `--help`, not by `-h`.
#[derive(Clone, Debug, Default, Args)]
pub struct ServerArgs {
    /// API server to work on, https://HOST:PORT, instead of a kubeconfig's
    #[arg(
        long = "server",
        value_name = "URL",
        conflicts_with_all = ["kubeconfig", "kube_context"],
    )]
    pub address: Option<String>,
    /// Certificate authorities of the API server, PEM; default: those of the system
    #[arg(
        long,
        value_name = "FILE",
        requires = "address",
        hide_short_help = true,
        help_heading = ELSEWHERE
    )]
    pub certificate_authority: Option<PathBuf>,
    /// Accept any certificate: whoever sits on the way reads and changes everything
    #[arg(
        long,
        requires = "address",
        conflicts_with = "certificate_authority",
        hide_short_help = true,
        help_heading = ELSEWHERE
    )]
    pub insecure_skip_tls_verify: bool,
    /// Name in the API server's certificate, if not that of its address
    #[arg(
        long,
        value_name = "NAME",
        requires = "address",
        hide_short_help = true,
        help_heading = ELSEWHERE
    )]
    pub tls_server_name: Option<String>,
    /// File with a bearer token, such as a service account's; read again when the token is refused
    #[arg(long, value_name = "FILE", requires = "address", conflicts_with_all = ["client_certificate", "username", "oidc_issuer_url"], hide_short_help = true, help_heading = ELSEWHERE)]
    pub token_file: Option<PathBuf>,
    /// Client certificate, PEM
    #[arg(long, value_name = "FILE", requires_all = ["address", "client_key"], conflicts_with = "oidc_issuer_url", hide_short_help = true, help_heading = ELSEWHERE)]
    pub client_certificate: Option<PathBuf>,
    /// Key of the client certificate, PEM
    #[arg(
        long,
        value_name = "FILE",
        requires = "client_certificate",
        hide_short_help = true,
        help_heading = ELSEWHERE
    )]
    pub client_key: Option<PathBuf>,
    /// File with the passphrase that the client key is encrypted with
    #[arg(
        long,
        value_name = "FILE",
        requires = "client_key",
        hide_short_help = true,
        help_heading = ELSEWHERE
    )]
    pub client_key_passphrase_file: Option<PathBuf>,
    /// User, at an identity provider or at a proxy before the API server
    #[arg(long, value_name = "NAME", requires_all = ["address", "password_file"], conflicts_with = "client_certificate", hide_short_help = true, help_heading = ELSEWHERE)]
    pub username: Option<String>,
    /// File with the user's password
    #[arg(
        long,
        value_name = "FILE",
        requires = "username",
        hide_short_help = true,
        help_heading = ELSEWHERE
    )]
    pub password_file: Option<PathBuf>,
    /// OpenID Connect issuer whose ID tokens the API server takes, https://...
    #[arg(long, value_name = "URL", requires_all = ["address", "oidc_client_id"], hide_short_help = true, help_heading = ELSEWHERE)]
    pub oidc_issuer_url: Option<String>,
    /// Client that the issuer knows
    #[arg(
        long,
        value_name = "ID",
        requires = "oidc_issuer_url",
        hide_short_help = true,
        help_heading = ELSEWHERE
    )]
    pub oidc_client_id: Option<String>,
    /// File with the client's secret
    #[arg(
        long,
        value_name = "FILE",
        requires = "oidc_issuer_url",
        hide_short_help = true,
        help_heading = ELSEWHERE
    )]
    pub oidc_client_secret_file: Option<PathBuf>,
    /// File with a refresh token; otherwise --username and --password-file are traded for a token
    #[arg(
        long,
        value_name = "FILE",
        requires = "oidc_issuer_url",
        conflicts_with = "username",
        hide_short_help = true,
        help_heading = ELSEWHERE
    )]
    pub oidc_refresh_token_file: Option<PathBuf>,
    /// Certificate authorities of the issuer, PEM; default: those of the system
    #[arg(
        long,
        value_name = "FILE",
        requires = "oidc_issuer_url",
        hide_short_help = true,
        help_heading = ELSEWHERE
    )]
    pub oidc_certificate_authority: Option<PathBuf>,
    /// Scope to ask for beside openid; repeat for more
    #[arg(
        long = "oidc-scope",
        value_name = "SCOPE",
        requires = "oidc_issuer_url",
        hide_short_help = true,
        help_heading = ELSEWHERE
    )]
    pub oidc_scopes: Vec<String>,
    /// Act as this user; also with a kubeconfig
    #[arg(long = "as", value_name = "USER", hide_short_help = true, help_heading = ELSEWHERE)]
    pub impersonate: Option<String>,
    /// Act as a member of this group; repeat for more
    #[arg(
        long = "as-group",
        value_name = "GROUP",
        requires = "impersonate",
        hide_short_help = true,
        help_heading = ELSEWHERE
    )]
    pub impersonate_groups: Vec<String>,
}
