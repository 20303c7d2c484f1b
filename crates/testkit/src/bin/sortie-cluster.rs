//! Clusters of this machine, for people and Makefiles.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand, ValueEnum};
use sortie_testkit::{
    Cluster, Kind, SHARED_NAME, TrafficPod, TrafficProbe, TrafficReport, environment, images,
};

#[derive(Debug, Parser)]
#[command(about = "Start and stop a Kubernetes on this machine")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a cluster, or say where it is when it runs already
    Up {
        /// A node that runs containers (root), or fake nodes only
        #[arg(long, default_value = "real")]
        kind: KindName,
        #[command(flatten)]
        place: Place,
    },
    /// Take a cluster down; nothing is left behind
    Down {
        #[command(flatten)]
        place: Place,
        /// All clusters of the cache folder
        #[arg(long)]
        all: bool,
    },
    /// List the clusters of the cache folder
    Status,
    /// Print the path of the administrator's kubeconfig
    Kubeconfig {
        #[command(flatten)]
        place: Place,
    },
    /// Build images (sample-v1, sample-v2, sample-v3, delegate, server) or take archives, and load them into the node
    LoadImage {
        #[command(flatten)]
        place: Place,
        /// Names of images to build, or paths of archives that end in .tar
        #[arg(required = true)]
        images: Vec<String>,
    },
    /// Send requests to a Service without a pause, one connection each, and count the answers by version
    Traffic {
        #[command(flatten)]
        place: Place,
        /// Namespace of the Service
        #[arg(long, default_value = "default")]
        namespace: String,
        /// Name of the Service; its first port is asked
        #[arg(long)]
        service: String,
        /// The requests go on until this file exists
        #[arg(long)]
        stop_file: PathBuf,
        /// Where the counts are written, as JSON
        #[arg(long)]
        report: PathBuf,
    },
    /// Build images as docker archives and print their references
    Images {
        /// Push them to PREFIX/sortie-NAME:TAG, and print these references
        #[arg(long, value_name = "PREFIX")]
        push: Option<String>,
        /// pause, coredns, sample-v1, sample-v2, sample-v3, delegate, server; all when none is named
        images: Vec<String>,
    },
}

#[derive(Debug, Clone, clap::Args)]
struct Place {
    /// Name of the cluster [default: shared; kwok for --kind kwok]
    #[arg(long)]
    name: Option<String>,
    /// Its folder [default: clusters/NAME in the cache folder]
    #[arg(long)]
    dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum KindName {
    Real,
    Kwok,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            explain(&format!("sortie-cluster: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<()> {
    match command {
        Command::Up { kind, place } => up(kind, &place).await,
        Command::Down { place, all } => down(&place, all).await,
        Command::Status => status(),
        Command::Kubeconfig { place } => {
            let cluster = find(&place).await?;
            print(&cluster.kubeconfig().display().to_string());
            Ok(())
        }
        Command::LoadImage { place, images } => load_images(&place, &images).await,
        Command::Traffic {
            place,
            namespace,
            service,
            stop_file,
            report,
        } => {
            let counts = count_traffic(&place, &namespace, &service, &stop_file).await?;
            let text = serde_json::to_vec_pretty(&counts).context("encode the counts")?;
            std::fs::write(&report, text).with_context(|| format!("write {}", report.display()))
        }
        Command::Images { images, push } => build_images(&images, push.as_deref()).await,
    }
}

async fn up(kind: KindName, place: &Place) -> Result<()> {
    let (kind, default) = match kind {
        KindName::Real => (Kind::Real, SHARED_NAME),
        KindName::Kwok => (Kind::Kwok, "kwok"),
    };
    let name = place.name.as_deref().unwrap_or(default);
    let started = tokio::time::Instant::now();
    let cluster = Cluster::up(kind, name, place.dir.as_deref()).await?;
    print(&format!(
        "cluster {name} is up ({:.1} s)",
        started.elapsed().as_secs_f32()
    ));
    print(&format!(
        "export KUBECONFIG={}",
        cluster.kubeconfig().display()
    ));
    Ok(())
}

async fn down(place: &Place, all: bool) -> Result<()> {
    if !all {
        return Cluster::down(
            place.name.as_deref().unwrap_or(SHARED_NAME),
            place.dir.as_deref(),
        )
        .await;
    }
    for summary in Cluster::list()? {
        Cluster::down(&summary.name, None).await?;
        print(&format!("cluster {} is down", summary.name));
    }
    Ok(())
}

fn status() -> Result<()> {
    for summary in Cluster::list()? {
        let state = if summary.running { "running" } else { "broken" };
        let kind = match summary.kind {
            Some(Kind::Real) => "real",
            Some(Kind::Kwok) => "kwok",
            None => "?",
        };
        print(&format!(
            "{:24} {kind:5} {state:8} {}",
            summary.name,
            summary.kubeconfig.display()
        ));
    }
    Ok(())
}

async fn load_images(place: &Place, images: &[String]) -> Result<()> {
    let cluster = find(place).await?;
    for image in images {
        if image.ends_with(".tar") {
            cluster.load_image(image.as_ref()).await?;
        } else {
            print(&cluster.image(image).await?);
        }
    }
    Ok(())
}

async fn build_images(names: &[String], push: Option<&str>) -> Result<()> {
    let all = [
        "pause",
        "coredns",
        "sample-v1",
        "sample-v2",
        "sample-v3",
        "delegate",
        "server",
    ];
    let names: Vec<&str> = if names.is_empty() {
        all.to_vec()
    } else {
        names.iter().map(String::as_str).collect()
    };
    for name in names {
        print(&match push {
            Some(prefix) => images::push(name, prefix).await?,
            None => images::build(name).await?.reference,
        });
    }
    Ok(())
}

/// From the node when it is on this machine, otherwise from a pod in the cluster of `KUBECONFIG`.
async fn count_traffic(
    place: &Place,
    namespace: &str,
    service: &str,
    stop_file: &Path,
) -> Result<TrafficReport> {
    let name = place.name.as_deref().unwrap_or(SHARED_NAME);
    if let Some(cluster) = Cluster::find(name, place.dir.as_deref()).await? {
        let (address, port) = cluster.service(namespace, service).await?;
        let probe = TrafficProbe::start(&cluster, address, port)?;
        wait_for_file(stop_file).await;
        return probe.stop().await;
    }
    let kubeconfig = environment::user_kubeconfig()
        .with_context(|| format!("the cluster {name} is not running and KUBECONFIG is not set"))?;
    let cluster = Cluster::attach(&kubeconfig).await?;
    let image = cluster.image("sample-v1").await?;
    let pod = TrafficPod::start(&cluster, namespace, service, &image).await?;
    wait_for_file(stop_file).await;
    pod.stop().await
}

async fn wait_for_file(path: &Path) {
    const LOOK: Duration = Duration::from_millis(100);
    while !path.exists() {
        tokio::time::sleep(LOOK).await;
    }
}

/// A cluster that is there: none is started.
async fn find(place: &Place) -> Result<Cluster> {
    let name = place.name.as_deref().unwrap_or(SHARED_NAME);
    Cluster::find(name, place.dir.as_deref())
        .await?
        .with_context(|| format!("the cluster {name} is not running; start it with `make cluster`"))
}

#[expect(clippy::print_stdout, reason = "what the program is asked for")]
fn print(line: &str) {
    println!("{line}");
}

#[expect(clippy::print_stderr, reason = "why the program failed")]
fn explain(line: &str) {
    eprintln!("{line}");
}
