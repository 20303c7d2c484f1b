//! Arguments of verbs that need no control plane.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{ServerArgs, StrategyArgs};
use crate::{duration, names};

#[derive(Debug, Args)]
pub struct Validate {
    /// Files or folders; `-` for stdin
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Read the folders below folders as well
    #[arg(short = 'R', long)]
    pub recursive: bool,
    /// Unknown fields and missing references are errors
    #[arg(long)]
    pub strict: bool,
}

/// Which cluster to work on.
#[derive(Clone, Debug, Args)]
pub struct ClusterArgs {
    /// Kubeconfig file; default: $KUBECONFIG, ~/.kube/config
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    pub kube_context: Option<String>,
    /// Namespace; default: that of the context
    #[arg(short, long, value_name = "NAME", value_parser = names::namespace)]
    pub namespace: Option<String>,
    #[command(flatten)]
    pub server: Box<ServerArgs>,
}

#[derive(Debug, Args)]
pub struct ReleaseArgs {
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Release name
    #[arg(long, value_name = "NAME", value_parser = names::release)]
    pub release: String,
}

/// What to deploy.
#[derive(Debug, Args)]
pub struct SetArgs {
    /// Manifest files, or folders with everything below them; `-` for stdin
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    #[command(flatten)]
    pub with: WithArgs,
}

/// What goes into templates.
#[derive(Debug, Args)]
pub struct WithArgs {
    /// Values file for Go templates; later ones win
    #[arg(long, value_name = "FILE")]
    pub values: Vec<PathBuf>,
    /// YAML or JSON file with what <+...> expressions in values files may name
    #[arg(long, value_name = "FILE")]
    pub context: Option<PathBuf>,
    /// How ConfigMaps and Secrets get a new name for a new version
    #[arg(long, value_enum, default_value_t)]
    pub versioning: Versioning,
}

/// What the suffix in the name of a ConfigMap or Secret is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Versioning {
    /// The content: pods restart when it changes.
    #[default]
    Content,
    /// The release number: pods restart on each deployment.
    Release,
    /// There is none: names stay as written.
    Off,
}

/// How many releases are kept.
#[derive(Clone, Copy, Debug, Args)]
pub struct HistoryArgs {
    /// Releases that are kept to go back to
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    pub history: u16,
}

#[derive(Debug, Args)]
pub struct Render {
    #[command(flatten)]
    pub set: SetArgs,
    /// Render as a deployment of this release applies it: with its labels and versioned names
    #[arg(long, value_name = "NAME", value_parser = names::release)]
    pub release: Option<String>,
    /// Namespace that templates see
    #[arg(short, long, default_value = "default", value_name = "NAME", value_parser = names::namespace)]
    pub namespace: String,
    /// Print the values of Secrets
    #[arg(long)]
    pub show_secrets: bool,
}

#[derive(Debug, Args)]
pub struct Diff {
    /// Manifest files, or folders with everything below them; `-` for stdin
    #[arg(
        required_unless_present = "from",
        conflicts_with = "from",
        value_name = "PATH"
    )]
    pub paths: Vec<PathBuf>,
    #[command(flatten)]
    pub release: ReleaseArgs,
    #[command(flatten)]
    pub with: WithArgs,
    #[command(flatten)]
    pub strategy: StrategyArgs,
    /// Take over objects that belong to another release
    #[arg(long)]
    pub adopt: bool,
    /// Show what a deployment with --prune would delete as deleted
    #[arg(long)]
    pub prune: bool,
    /// Compare two releases instead: this number
    #[arg(long, value_name = "NUMBER")]
    pub from: Option<u64>,
    /// Compare with this number; default: the newest
    #[arg(long, value_name = "NUMBER", requires = "from")]
    pub to: Option<u64>,
    /// How long it may take
    #[arg(long, default_value = "5m", value_name = "DURATION", value_parser = duration::parse)]
    pub timeout: Duration,
}

#[derive(Debug, Args)]
pub struct Uninstall {
    #[command(flatten)]
    pub release: ReleaseArgs,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Show what would go, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Also delete volumes, claims, definitions of kinds and namespaces, with everything in them
    #[arg(long)]
    pub delete_storage: bool,
    /// How long it may take
    #[arg(long, default_value = "10m", value_name = "DURATION", value_parser = duration::parse)]
    pub timeout: Duration,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["files", "release"]))]
pub struct Health {
    /// File with one or many objects, or a folder with everything below it; `-` for stdin
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Read the objects that the files name from the cluster, with their pods and events
    #[arg(long)]
    pub live: bool,
    /// Read the objects of this release from the cluster
    #[arg(long, value_name = "NAME", value_parser = names::release)]
    pub release: Option<String>,
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

#[derive(Debug, Args)]
pub struct Rollback {
    #[command(flatten)]
    pub release: ReleaseArgs,
    /// Release number to bring back; default: the last good one
    #[arg(long, value_name = "NUMBER")]
    pub to: Option<u64>,
    /// Also remove volumes, claims and namespaces that the failed release added
    #[arg(long)]
    pub delete_storage: bool,
    #[command(flatten)]
    pub kept: HistoryArgs,
    /// How long the whole rollback may take
    #[arg(long, default_value = "10m", value_name = "DURATION", value_parser = duration::parse)]
    pub timeout: Duration,
}

#[derive(Debug, Args)]
pub struct Dev {
    /// Kubeconfig file; default: $KUBECONFIG, ~/.kube/config
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    pub kube_context: Option<String>,
    /// Name of the delegate, for connectors to select it by
    #[arg(long, default_value = "demo")]
    pub name: String,
    /// Where the control plane keeps its data; default: a folder that is removed at the end
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address of the control plane
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDR")]
    pub listen: std::net::SocketAddr,
}
