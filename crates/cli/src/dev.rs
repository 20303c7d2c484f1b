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
use crate::remote::delegates::NewToken;
use crate::remote::{Remote, delegates};
use crate::settings::{self, Settings};
use crate::{Surroundings, duration, print};

/// The sample application's image, as `make images` names it.
const SAMPLE: &str = "docker.io/library/sortie-sample";

/// The delegate that the example's connector selects.
const SELECTED: &str = "demo";

/// Tasks that run at a time.
const CAPACITY: u32 = 10;

/// How long tasks may go on after Ctrl-C; their releases are carried on by whoever deploys next.
const DRAIN: Duration = Duration::from_secs(5);

/// How often is looked whether the delegate was revoked.
const LOOK: Duration = Duration::from_secs(2);

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
    #[error("the delegate {name} was revoked, and its identity is of no more use")]
    Revoked {
        name: String,
        /// The file with the identity, when it outlives the process.
        identity: Option<PathBuf>,
    },
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        match self {
            Self::Folder { .. } => Exit::Usage,
            Self::Server(_) | Self::Delegate(_) => Exit::Failed,
            Self::Revoked { .. } => Exit::NotAllowed,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Folder { .. } => "SRT-Z011",
            Self::Server(error) => error.code(),
            Self::Delegate(error) => error.code(),
            Self::Revoked { .. } => "SRT-Z015",
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Folder { .. } => "name another folder with --data-dir",
            Self::Server(_) => "another program may use the address; --listen names another one",
            Self::Delegate(_) => "-v shows more of what it does",
            Self::Revoked { identity: None, .. } => {
                "start `sortie dev` again: it makes a new delegate"
            }
            Self::Revoked {
                identity: Some(path),
                ..
            } => {
                let path = path.display();
                return Some(format!(
                    "delete {path} and start `sortie dev` again: it makes a new delegate"
                ));
            }
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
        server: Box::default(),
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
        let revoked = revoked(&settings, name, !job.identity().exists());
        let error = Error::Revoked {
            name: name.clone(),
            identity: data_dir.as_ref().map(|_| job.identity()),
        };
        let mut running = std::pin::pin!(job.run(&settings, around, stop_delegate.clone()));
        tokio::select! {
            ended = &mut running => return ended,
            found = revoked => found?,
        }
        stop_delegate.cancel();
        running.await?;
        Err(error.into())
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
    fn identity(&self) -> PathBuf {
        self.folder.join("delegate.json")
    }

    async fn run(
        self,
        settings: &Settings,
        around: &Surroundings,
        stop: CancellationToken,
    ) -> Result<()> {
        let identity = self.identity();
        let Self {
            cluster,
            name,
            folder: _,
            agent,
        } = self;
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
            control_socket: None,
            scratch_dir: std::env::temp_dir(),
            extra_ca_file: None,
            runner_socket: None,
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

/// Returns once the delegate of this name is revoked; `anew`: those that are revoked at the start are of former times.
///
/// In a cluster one goes on trying, since an operator may give it a new identity; here nobody would.
async fn revoked(settings: &Settings, name: &str, anew: bool) -> Result<()> {
    let remote = Remote::of(settings.clone())?;
    let mut look = tokio::time::interval(LOOK);
    let mut former: Option<Vec<(String, bool)>> = (!anew).then(Vec::new);
    loop {
        look.tick().await;
        // Without an answer nothing is known; the control plane may be starting or stopping.
        let Ok(mut found) = delegates::of_name(&remote, name).await else {
            continue;
        };
        let former = former.get_or_insert_with(|| found.clone());
        found.retain(|one| !former.contains(one));
        if !found.is_empty() && found.iter().all(|(_, revoked)| *revoked) {
            return Ok(());
        }
    }
}

/// A token for one delegate, asked for as anybody would.
async fn join_token(settings: &Settings, name: &str) -> Result<JoinToken> {
    let remote = Remote::of(settings.clone())?;
    let life = Duration::from_secs(duration::HOUR);
    let label = format!("sortie dev, delegate {name}");
    let wanted = NewToken {
        level: Level::Account,
        name: Some(name),
        label: &label,
        uses: 1,
        life,
    };
    let made = delegates::make_token(&remote, wanted).await?;
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
        Output::Text => example(name, address, &config)
            .iter()
            .for_each(|line| print::line(line)),
    }
}

/// What to type next, ready to be copied.
fn example(name: &str, address: &str, config: &Path) -> Vec<String> {
    let mut lines = vec![
        format!("control plane at {address}, delegate {name}; Ctrl-C ends both"),
        "in another terminal, where Sortie's examples are:".to_owned(),
        format!("  export SORTIE_CONFIG_DIR={}", quoted(config)),
        "  kubectl create namespace sortie-demo".to_owned(),
        "  sortie apply -f examples/hello".to_owned(),
        format!("  sortie run hello --set image={SAMPLE} --set version=v1 --follow"),
        "the image is one that `make images` builds; name one that your nodes have or can pull"
            .to_owned(),
    ];
    if name != SELECTED {
        lines.push(format!(
            "examples/hello/connector.yaml selects a delegate {SELECTED}: write {name} there"
        ));
    }
    lines
}

/// A path as a word of a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Verb};

    #[test]
    fn what_is_printed_to_be_copied_is_a_command_line() {
        let lines = example("demo", "http://127.0.0.1:8080", Path::new("/tmp/a b"));
        assert!(lines.contains(&"  export SORTIE_CONFIG_DIR='/tmp/a b'".to_owned()));
        let commands: Vec<&String> = lines
            .iter()
            .filter(|l| l.starts_with("  sortie "))
            .collect();
        assert_eq!(commands.len(), 2);
        for command in commands {
            let cli = Cli::try_parse_from(command.split_whitespace()).unwrap();
            if let Verb::Run(run) = cli.verb {
                let names: Vec<&str> = run
                    .variables
                    .iter()
                    .map(|(name, _)| name.as_str())
                    .collect();
                assert_eq!(names, ["image", "version"]);
            }
        }
        let other = example("mine", "http://127.0.0.1:8080", Path::new("/tmp"));
        assert!(other.last().unwrap().contains("write mine"));
    }
}
