//! What the process finds in its environment, read once; everything else gets it as an argument.

use std::ffi::OsString;
use std::path::PathBuf;

use secrecy::SecretString;

/// The variables that this program looks at.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `SORTIE_CONFIG_DIR`: folder of the settings file.
    pub config_dir: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`: parent of the settings folder.
    pub xdg_config_home: Option<PathBuf>,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `SORTIE_SERVER`: address of the control plane; wins over the settings file.
    pub server: Option<String>,
    /// `SORTIE_TOKEN`: API token; wins over the settings file.
    pub token: Option<SecretString>,
    /// `SORTIE_CA_FILE`: certificate authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// `NO_COLOR` is set to something, or the terminal is `dumb`.
    pub no_color: bool,
    /// `USER`: who asks, for release records.
    pub user: Option<String>,
    /// `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`. Curl's rule: `HTTP_PROXY` counts in small letters only.
    pub proxies: Proxies,
    /// `RUST_LOG`: which log lines to show, in place of `-v`.
    pub log: Option<String>,
}

/// The way through proxies.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// For http.
    pub http: Option<String>,
    /// For https.
    pub https: Option<String>,
    /// What is reached without one.
    pub none: Option<String>,
}

impl Environment {
    /// The environment of this process. Empty variables count as unset.
    #[must_use]
    pub fn read() -> Self {
        let path = |name| variable(name).map(PathBuf::from);
        let text = |name| variable(name).and_then(|value| value.into_string().ok());
        Self {
            config_dir: path("SORTIE_CONFIG_DIR"),
            xdg_config_home: path("XDG_CONFIG_HOME").filter(|path| path.is_absolute()),
            home: path("HOME"),
            server: text("SORTIE_SERVER"),
            token: text("SORTIE_TOKEN").map(SecretString::from),
            ca_file: path("SORTIE_CA_FILE"),
            no_color: variable("NO_COLOR").is_some() || text("TERM").as_deref() == Some("dumb"),
            user: text("USER").or_else(|| text("LOGNAME")),
            proxies: Proxies {
                http: text("http_proxy"),
                https: text("https_proxy").or_else(|| text("HTTPS_PROXY")),
                none: text("no_proxy").or_else(|| text("NO_PROXY")),
            },
            log: text("RUST_LOG"),
        }
    }
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
