//! Arguments of verbs that need no control plane.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::duration;

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
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,
}

#[derive(Debug, Args)]
pub struct ReleaseArgs {
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Release name
    #[arg(long, value_name = "NAME")]
    pub release: String,
}

#[derive(Debug, Args)]
pub struct Deploy {
    /// Manifest files, or folders with everything below them; `-` for stdin
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    #[command(flatten)]
    pub release: ReleaseArgs,
    /// Values file for Go templates; later ones win
    #[arg(long, value_name = "FILE")]
    pub values: Vec<PathBuf>,
    /// How to bring the new version in
    #[arg(long, value_enum, default_value_t)]
    pub strategy: Strategy,
    /// Check everything against the API server and stop before the first write
    #[arg(long)]
    pub dry_run: bool,
    /// Take over objects that belong to another release
    #[arg(long)]
    pub adopt: bool,
    /// Delete what earlier releases had and this one lacks, once this one is healthy
    #[arg(long)]
    pub prune: bool,
    /// How many objects may be deleted; without it at most 20, and at most half of the release
    #[arg(long, value_name = "N", requires = "prune")]
    pub prune_limit: Option<u32>,
    /// Write Jobs without waiting for their end
    #[arg(long)]
    pub skip_job_wait: bool,
    /// How long the whole deployment may take
    #[arg(long, default_value = "10m", value_name = "DURATION", value_parser = duration::parse)]
    pub timeout: Duration,
}

/// How a new version comes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Strategy {
    /// Replace pods step by step, as the workloads' own settings say.
    #[default]
    Rolling,
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
