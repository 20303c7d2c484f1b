//! `sortie dev`: a control plane and a delegate in one process, on the cluster of the kubeconfig.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use sortie_cluster::Cluster;
use sortie_delegate::app::{self as delegate, Parts};
use sortie_delegate::config::LogFormat;
use sortie_delegate::identity::{FileStore, JoinToken, TokenSource};
use sortie_server::config::{Args, Config};
use sortie_server::server::{self, Server};
use sortie_step::policy::Policy;
use tokio_util::sync::CancellationToken;

use crate::args::{ClusterArgs, Dev, Level, Output};
use crate::environment::Environment;
use crate::exit::{Exit, Explain, Failure, Result};
use crate::local::connect;
use crate::remote::{Remote, delegates};
use crate::settings::{self, Settings};
use crate::{Surroundings, duration, print};

/// Tasks that run at a time.
const CAPACITY: u32 = 10;

/// How long tasks may go on after Ctrl-C; their releases are carried on by whoever deploys next.
const DRAIN: Duration = Duration::from_secs(5);

/// Why it could not go on.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot make the folder {}", path.display())]
    Folder {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the control plane could not start or go on")]
    Server(#[source] server::Error),
    #[error("the delegate could not start or go on")]
    Delegate(#[source] delegate::Error),
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        match self {
            Self::Folder { .. } => Exit::Usage,
            Self::Server(_) | Self::Delegate(_) => Exit::Failed,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Folder { .. } => "SRT-Z011",
            Self::Server(error) => error.code(),
            Self::Delegate(error) => error.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Folder { .. } => "name another folder with --data-dir",
            Self::Server(_) => "another program may use the address; --listen names another one",
            Self::Delegate(_) => "-v shows more of what it does",
        };
        Some(hint.to_owned())
    }
}

/// Run both until Ctrl-C.
pub(crate) async fn run(args: &Dev, around: &Surroundings) -> Result {
    let Dev {
        kubeconfig,
        kube_context,
        name,
        data_dir,
        listen,
    } = args;
    let access = ClusterArgs {
        kubeconfig: kubeconfig.clone(),
        kube_context: kube_context.clone(),
        namespace: None,
    };
    let (cluster, _) = connect(&access).await?;
    // A folder that was not asked for goes with the process.
    let temporary = match data_dir {
        Some(_) => None,
        None => Some(temporary()?),
    };
    let folder = match (&temporary, data_dir) {
        (Some(folder), _) => folder.path(),
        (None, Some(folder)) => folder.as_path(),
        (None, None) => Path::new("."),
    };
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let made = tokio::fs::create_dir_all(&folder).await;
    made.map_err(|source| Error::Folder {
        path: folder.clone(),
        source,
    })?;

    let server = Server::open(&config(&folder, *listen)?)
        .await
        .map_err(Error::Server)?;
    let address = format!("http://{}", server.web_address());
    let agent = format!("https://127.0.0.1:{}", server.agent_address().port());
    let first = server.first_token().await.map_err(Error::Server)?;
    let settings = settings(
        &folder,
        &address,
        first.as_deref().map(String::as_str),
        around,
    )?;

    let stop_server = CancellationToken::new();
    let stop_delegate = CancellationToken::new();
    let serving = Box::pin(server.run(stop_server.clone()));
    let delegating = Box::pin(async {
        let job = Job {
            cluster,
            name: name.clone(),
            folder: folder.clone(),
            agent,
        };
        job.run(&settings, around, stop_delegate.clone()).await
    });
    announce(name, &address, &folder, around.output);
    let work = both(serving, delegating, &stop_server, &stop_delegate);
    tokio::select! {
        exit = work => exit,
        () = interrupted(&stop_delegate) => Err(Failure::new(Exit::Interrupted, "ended at once")),
    }
}

/// The delegate ends first, so that the control plane hears of the end of its tasks.
async fn both(
    serving: impl Future<Output = std::result::Result<(), server::Error>> + Unpin,
    delegating: impl Future<Output = Result<()>> + Unpin,
    stop_server: &CancellationToken,
    stop_delegate: &CancellationToken,
) -> Result {
    let delegated = async {
        let ended = delegating.await;
        stop_server.cancel();
        ended
    };
    let served = async {
        let ended = serving.await;
        stop_delegate.cancel();
        ended
    };
    let (delegated, served) = tokio::join!(delegated, served);
    served.map_err(Error::Server)?;
    delegated?;
    Ok(Exit::Done)
}

/// Asks both to stop at the first Ctrl-C or SIGTERM; returns at the second.
async fn interrupted(stop: &CancellationToken) {
    for _ in 0..2 {
        if sortie_server::signals::asked_to_stop().await.is_err() {
            return std::future::pending().await;
        }
        if stop.is_cancelled() {
            return;
        }
        print::note("stopping; Ctrl-C again ends at once");
        stop.cancel();
    }
}

/// The delegate's part.
struct Job {
    cluster: Cluster,
    name: String,
    folder: PathBuf,
    agent: String,
}

impl Job {
    async fn run(
        self,
        settings: &Settings,
        around: &Surroundings,
        stop: CancellationToken,
    ) -> Result<()> {
        let Self {
            cluster,
            name,
            folder,
            agent,
        } = self;
        let identity = folder.join("delegate.json");
        let join_token = if identity.exists() {
            TokenSource::None
        } else {
            TokenSource::Given(join_token(settings, &name).await?)
        };
        let proxies = around.environment.proxies.clone();
        let config = sortie_delegate::config::Config {
            server: agent,
            tags: vec![name.clone()],
            capacity: CAPACITY,
            namespace: cluster.default_namespace().to_owned(),
            identity_secret: String::new(),
            join_token_file: None,
            pod_name: name.clone(),
            instance: Some(format!("{name}-dev")),
            admin_address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            scratch_dir: std::env::temp_dir(),
            extra_ca_file: None,
            log_format: LogFormat::Human,
            log_level: String::new(),
            policy: Policy::default(),
            kubeconfig: None,
            drain: DRAIN,
            http_proxy: proxies.http,
            // The way to our own control plane.
            https_proxy: None,
            no_proxy: proxies.none,
            name,
        };
        let parts = Parts {
            cluster,
            identity: Arc::new(FileStore::new(identity)),
            join_token,
            log_level: None,
        };
        delegate::run(config, parts, stop)
            .await
            .map_err(Error::Delegate)?;
        Ok(())
    }
}

/// A token for one delegate, asked for as anybody would.
async fn join_token(settings: &Settings, name: &str) -> Result<JoinToken> {
    let remote = Remote::of(settings.clone())?;
    let life = Duration::from_secs(duration::HOUR);
    let label = format!("sortie dev, delegate {name}");
    let made = delegates::make_token(&remote, Level::Account, &label, 1, life).await?;
    JoinToken::parse(made.token.expose_secret())
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))
}

fn config(folder: &Path, listen: SocketAddr) -> Result<Config> {
    let mut config = Config::load(Args::default())
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    config.data_dir = folder.to_owned();
    config.web_address = listen;
    config.agent_address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Ok(config)
}

/// The settings for other terminals, in a folder of their own; at a later start with the token of the first.
fn settings(
    folder: &Path,
    address: &str,
    first_token: Option<&str>,
    around: &Surroundings,
) -> Result<Settings> {
    let own = Environment {
        config_dir: Some(folder.join("cli")),
        ..Environment::default()
    };
    let path = settings::path(&own)?;
    let kept = Settings::load(&own)?.token;
    let given = around.environment.token.clone();
    let token = first_token.map(SecretString::from).or(kept).or(given);
    let token = token.ok_or_else(|| {
        Failure::new(
            Exit::NotAllowed,
            "the data folder has a control plane, and its token is not known",
        )
        .hint("set SORTIE_TOKEN, or name another folder with --data-dir")
    })?;
    let settings = Settings {
        server: Some(address.to_owned()),
        token: Some(token),
        org: Some("default".to_owned()),
        project: Some("default".to_owned()),
        ca_file: None,
    };
    settings.save(&path)?;
    Ok(settings)
}

fn temporary() -> Result<tempfile::TempDir> {
    let made = tempfile::Builder::new().prefix("sortie-dev-").tempdir();
    Ok(made.map_err(|source| Error::Folder {
        path: std::env::temp_dir(),
        source,
    })?)
}

fn announce(name: &str, address: &str, folder: &Path, output: Output) {
    let config = folder.join("cli");
    match output {
        Output::Json => print::json(&serde_json::json!({
            "event": "started", "server": address, "delegate": name, "configDir": config,
        })),
        Output::Text => {
            print::line(&format!(
                "control plane at {address}, delegate {name}; Ctrl-C ends both"
            ));
            print::line("in another terminal:");
            print::line(&format!("  export SORTIE_CONFIG_DIR={}", config.display()));
            print::line("  sortie apply -f examples/hello");
            print::line("  sortie run hello --follow");
        }
    }
}
