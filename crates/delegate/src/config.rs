//! Settings of the delegate: file, then environment, then flags; later ones win.

mod rules;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use serde::Deserialize;
use sortie_step::policy::Policy;

/// Deploys to the cluster it runs in on behalf of a Sortie control plane.
#[derive(Debug, Parser)]
#[command(name = "sortie-delegate", version, about)]
pub struct Args {
    /// Settings file (YAML)
    #[arg(long, env = "SORTIE_DELEGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Agent address of the control plane, https://HOST:PORT
    #[arg(long, env = "SORTIE_DELEGATE_SERVER", value_name = "URL")]
    server: Option<String>,
    /// Name of the delegate
    #[arg(long, env = "SORTIE_DELEGATE_NAME")]
    name: Option<String>,
    /// Tasks to run at a time
    #[arg(long, env = "SORTIE_DELEGATE_CAPACITY")]
    capacity: Option<u32>,
    /// Address of /live, /ready and /metrics
    #[arg(long, env = "SORTIE_DELEGATE_ADMIN_ADDRESS", value_name = "ADDR")]
    admin_address: Option<SocketAddr>,
    /// Socket for --set-log-level, in a folder that nobody else can reach
    #[arg(long, env = "SORTIE_DELEGATE_CONTROL_SOCKET", value_name = "FILE")]
    control_socket: Option<PathBuf>,
    /// Log form
    #[arg(long, env = "SORTIE_DELEGATE_LOG_FORMAT", value_enum)]
    log_format: Option<LogFormat>,
    /// Log level or filter, such as `info` or `info,sortie_delegate=debug`
    #[arg(long, env = "SORTIE_DELEGATE_LOG_LEVEL", value_name = "FILTER")]
    log_level: Option<String>,
    /// Namespace of the identity Secret
    #[arg(long, env = "POD_NAMESPACE", hide = true)]
    namespace: Option<String>,
    /// Name of this instance for people
    #[arg(long, env = "POD_NAME", hide = true)]
    pod_name: Option<String>,
    /// Identity of this instance
    #[arg(long, env = "POD_UID", hide = true)]
    pod_uid: Option<String>,
    /// Kubeconfig of the cluster to work on, outside of a pod
    #[arg(long, env = "SORTIE_DELEGATE_KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// How long running tasks may go on after SIGTERM, in seconds; then they are handed to another replica
    #[arg(long, env = "SORTIE_DELEGATE_DRAIN_SECONDS", value_name = "SECONDS")]
    drain_seconds: Option<u64>,
    /// Proxy for Git over http://
    #[arg(long, env = "HTTP_PROXY", hide = true, hide_env_values = true)]
    http_proxy: Option<String>,
    /// Proxy for the connection to the control plane and for Git
    #[arg(long, env = "HTTPS_PROXY", hide = true, hide_env_values = true)]
    https_proxy: Option<String>,
    /// Hosts that are reached without the proxy
    #[arg(long, env = "NO_PROXY", hide = true)]
    no_proxy: Option<String>,
    /// Print the settings in force and end
    #[arg(long)]
    pub print_config: bool,
    /// Change the log level of the delegate that runs with these settings, and end
    #[arg(long, value_name = "FILTER", conflicts_with = "print_config")]
    pub set_log_level: Option<String>,
}

/// The settings file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
struct FileConfig {
    server: Option<String>,
    name: Option<String>,
    tags: Vec<String>,
    capacity: Option<u32>,
    identity: IdentityFile,
    admin_address: Option<SocketAddr>,
    control_socket: Option<PathBuf>,
    scratch_dir: Option<PathBuf>,
    extra_ca_file: Option<PathBuf>,
    runner_socket: Option<PathBuf>,
    kubeconfig: Option<PathBuf>,
    drain_seconds: Option<u64>,
    log: LogFile,
    policy: Policy,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
struct IdentityFile {
    secret: Option<String>,
    join_token_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LogFile {
    format: Option<LogFormat>,
    level: Option<String>,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For reading.
    #[default]
    Human,
}

/// The settings in force.
#[derive(Clone)]
pub struct Config {
    /// Agent address of the control plane.
    pub server: String,
    /// Name of the delegate; always one of its tags.
    pub name: String,
    /// Selectors that tasks may ask for.
    pub tags: Vec<String>,
    /// Tasks to run at a time. Default 10.
    pub capacity: u32,
    /// Namespace of the identity Secret.
    pub namespace: String,
    /// Name of the identity Secret. Default `NAME-identity`.
    pub identity_secret: String,
    /// The join token's file, needed for the first start only.
    pub join_token_file: Option<PathBuf>,
    /// Names this instance for people. Default: the delegate's name.
    pub pod_name: String,
    /// Identifies this instance over restarts of its container; `None`: made up at start.
    pub instance: Option<String>,
    /// Address of the admin port. Default 127.0.0.1:9090.
    pub admin_address: SocketAddr,
    /// Where the log level is changed while the delegate runs; `None`: it is not.
    pub control_socket: Option<PathBuf>,
    /// Where fetches and renderers work. Default: the system's folder for temporary files.
    pub scratch_dir: PathBuf,
    /// PEM bundle trusted beside the system's roots by Git and registries.
    pub extra_ca_file: Option<PathBuf>,
    /// Where the runner of hooks dials; `None`: there is none.
    pub runner_socket: Option<PathBuf>,
    /// Form of the log. Default human.
    pub log_format: LogFormat,
    /// Log filter. Default `info`.
    pub log_level: String,
    /// What the cluster's owner allows.
    pub policy: Policy,
    /// Kubeconfig of the cluster; `None`: the cluster around the pod.
    pub kubeconfig: Option<PathBuf>,
    /// How long running tasks may go on after the delegate is told to stop. Default 50 s, which leaves 10 s of the pod's
    /// grace period to hand them back.
    pub drain: Duration,
    /// Proxy for Git over `http://`.
    pub http_proxy: Option<String>,
    /// Proxy for the connection to the control plane and for Git.
    pub https_proxy: Option<String>,
    /// Hosts that are reached without the proxy.
    pub no_proxy: Option<String>,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings file, or a file that it names, is not there or not readable.
    #[error("cannot read the file {} of the settings", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not YAML of the expected form.
    #[error("the settings file {} is not valid", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and what.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// A setting that has no default is nowhere.
    #[error(
        "no {setting} is set; set `{key}` in the settings file, {variable} in the environment, or --{flag}"
    )]
    Missing {
        /// What is missing.
        setting: &'static str,
        /// Key in the file.
        key: &'static str,
        /// Environment variable.
        variable: &'static str,
        /// Flag.
        flag: &'static str,
    },
    /// A setting has a value that cannot work.
    #[error("the setting `{key}` is `{value}`; it must be {expected}")]
    Invalid {
        /// Key in the file.
        key: &'static str,
        /// What it is, cut to 100 characters.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// The address of the control plane or of the proxy is none.
    #[error("cannot use the settings `server` and `HTTPS_PROXY`")]
    Route {
        /// Which and why.
        #[source]
        source: Box<crate::link::Error>,
    },
}

const NO_SERVER: Error = Error::Missing {
    setting: "address of the control plane",
    key: "server",
    variable: "SORTIE_DELEGATE_SERVER",
    flag: "server",
};

const NO_NAME: Error = Error::Missing {
    setting: "name of the delegate",
    key: "name",
    variable: "SORTIE_DELEGATE_NAME",
    flag: "name",
};

const NO_CONTROL_SOCKET: Error = Error::Missing {
    setting: "control socket",
    key: "controlSocket",
    variable: "SORTIE_DELEGATE_CONTROL_SOCKET",
    flag: "control-socket",
};

impl Error {
    /// Stable code with a page in the error reference.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "SRT-D001",
            Self::Parse { .. } => "SRT-D002",
            Self::Missing { .. } => "SRT-D003",
            Self::Invalid { .. } => "SRT-D006",
            Self::Route { source } => source.code(),
        }
    }
}

/// The settings in force, one a line. Proxies are named without what stands in their addresses: that may be a password.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            server,
            name,
            tags,
            capacity,
            namespace,
            identity_secret,
            join_token_file,
            pod_name,
            instance,
            admin_address,
            control_socket,
            scratch_dir,
            extra_ca_file,
            runner_socket,
            log_format,
            log_level,
            policy,
            kubeconfig,
            drain,
            http_proxy,
            https_proxy,
            no_proxy,
        } = self;
        let path = |path: &Option<PathBuf>| {
            path.as_ref()
                .map_or_else(|| "none".to_owned(), |path| path.display().to_string())
        };
        let set = |setting: &Option<String>| if setting.is_some() { "set" } else { "none" };
        writeln!(f, "server: {server}")?;
        writeln!(f, "name: {name}")?;
        writeln!(f, "tags: {}", tags.join(", "))?;
        writeln!(f, "capacity: {capacity}")?;
        writeln!(f, "identity Secret: {namespace}/{identity_secret}")?;
        writeln!(f, "join token file: {}", path(join_token_file))?;
        writeln!(f, "pod: {pod_name}")?;
        writeln!(
            f,
            "instance: {}",
            instance.as_deref().unwrap_or("made up at start")
        )?;
        writeln!(f, "admin address: {admin_address}")?;
        writeln!(f, "control socket: {}", path(control_socket))?;
        writeln!(f, "scratch folder: {}", scratch_dir.display())?;
        writeln!(f, "extra CA file: {}", path(extra_ca_file))?;
        writeln!(f, "runner socket: {}", path(runner_socket))?;
        writeln!(f, "log: {log_level} ({log_format:?})")?;
        writeln!(f, "kubeconfig: {}", path(kubeconfig))?;
        writeln!(f, "drain: {} s", drain.as_secs())?;
        writeln!(f, "HTTP proxy: {}", set(http_proxy))?;
        writeln!(f, "HTTPS proxy: {}", set(https_proxy))?;
        writeln!(f, "no proxy for: {}", no_proxy.as_deref().unwrap_or("none"))?;
        write!(f, "policy: {policy:?}")
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Config {
    /// Look at the files that the settings name.
    ///
    /// # Errors
    /// One is not there, or not what it should be.
    pub fn check_files(&self) -> Result<(), Error> {
        rules::check_files(self)
    }

    /// The control socket, for who needs it.
    ///
    /// # Errors
    /// None is set.
    pub fn control_socket(&self) -> Result<&Path, Error> {
        self.control_socket.as_deref().ok_or(NO_CONTROL_SOCKET)
    }
}

impl Args {
    /// Read the file that the arguments name and put everything together.
    ///
    /// # Errors
    /// The file cannot be read or parsed, a setting without a default is missing, or one cannot work.
    pub fn resolve(self) -> Result<Config, Error> {
        let Self {
            config,
            server,
            name,
            capacity,
            admin_address,
            control_socket,
            log_format,
            log_level,
            namespace,
            pod_name,
            pod_uid,
            kubeconfig,
            drain_seconds,
            http_proxy,
            https_proxy,
            no_proxy,
            print_config: _,
            set_log_level: _,
        } = self;
        let file = config.as_deref().map(read).transpose()?.unwrap_or_default();
        let FileConfig {
            server: file_server,
            name: file_name,
            mut tags,
            capacity: file_capacity,
            identity,
            admin_address: file_admin_address,
            control_socket: file_control_socket,
            scratch_dir,
            extra_ca_file,
            runner_socket,
            kubeconfig: file_kubeconfig,
            drain_seconds: file_drain_seconds,
            log,
            policy,
        } = file;

        let server = server.or(file_server).ok_or(NO_SERVER)?;
        let name = name.or(file_name).ok_or(NO_NAME)?;
        if !tags.contains(&name) {
            tags.insert(0, name.clone());
        }
        let config = Config {
            server,
            tags,
            capacity: capacity.or(file_capacity).unwrap_or(10),
            namespace: namespace.unwrap_or_else(|| "default".to_owned()),
            identity_secret: identity
                .secret
                .unwrap_or_else(|| format!("{name}-identity")),
            join_token_file: identity.join_token_file,
            pod_name: pod_name.unwrap_or_else(|| name.clone()),
            instance: pod_uid,
            admin_address: admin_address
                .or(file_admin_address)
                .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 9090))),
            control_socket: control_socket.or(file_control_socket),
            scratch_dir: scratch_dir.unwrap_or_else(std::env::temp_dir),
            extra_ca_file,
            runner_socket,
            log_format: log_format.or(log.format).unwrap_or_default(),
            log_level: log_level.or(log.level).unwrap_or_else(|| "info".to_owned()),
            policy,
            kubeconfig: kubeconfig.or(file_kubeconfig),
            drain: Duration::from_secs(drain_seconds.or(file_drain_seconds).unwrap_or(50)),
            http_proxy: proxy(http_proxy, "http_proxy"),
            https_proxy: proxy(https_proxy, "https_proxy"),
            no_proxy: no_proxy.or_else(|| lowercase("no_proxy")),
            name,
        };
        rules::check(&config)?;
        Ok(config)
    }
}

/// A proxy that is given, or by the other spelling of its variable. An empty one is none.
fn proxy(given: Option<String>, other: &str) -> Option<String> {
    given
        .or_else(|| lowercase(other))
        .filter(|proxy| !proxy.is_empty())
}

/// The other spelling of a proxy variable.
fn lowercase(name: &str) -> Option<String> {
    std::env::var_os(name)?.into_string().ok()
}

fn read(path: &Path) -> Result<FileConfig, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    serde_saphyr::from_str(&text).map_err(|source| Error::Parse {
        path: path.to_owned(),
        source: Box::new(source),
    })
}
