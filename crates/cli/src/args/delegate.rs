//! Arguments of `sortie delegate`.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::{ClusterArgs, Level, ScopeArgs};
use crate::duration;

#[derive(Debug, Subcommand)]
pub enum Delegate {
    /// Join tokens
    #[command(subcommand)]
    Token(DelegateToken),
    /// Make the join token's Secret in the cluster, then print the helm command, or run it
    #[command(
        after_help = "Examples:\n  sortie delegate install demo -n sortie --agent https://sortie.example.com:8443\n  sortie delegate install demo -n sortie --agent https://sortie.example.com:8443 --target-namespace shop --run"
    )]
    Install(DelegateInstall),
    /// Cut a delegate off for good
    #[command(after_help = "Example:\n  sortie delegate revoke demo")]
    Revoke(DelegateRevoke),
}

#[derive(Debug, Args)]
pub struct DelegateRevoke {
    /// Name or id of the delegate
    pub delegate: String,
}

#[derive(Debug, Subcommand)]
pub enum DelegateToken {
    /// Make a join token and print it once
    #[command(after_help = "Example:\n  sortie delegate token create --uses 3 --expires-in 24h")]
    Create(DelegateTokenCreate),
}

#[derive(Debug, Args)]
pub struct DelegateTokenCreate {
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// What the delegate serves
    #[arg(long, value_enum, default_value_t, value_name = "LEVEL")]
    pub level: Level,
    /// The only name that delegates may join under; any unless said
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// What it is for, shown in lists
    #[arg(
        long,
        default_value = "",
        value_name = "TEXT",
        hide_default_value = true
    )]
    pub label: String,
    /// How many delegates may join with it
    #[arg(long, default_value_t = 1, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub uses: u32,
    /// How long it is valid, in whole hours
    #[arg(long, default_value = "1h", value_name = "DURATION", value_parser = duration::parse_hours)]
    pub expires_in: Duration,
}

#[derive(Debug, Args)]
pub struct DelegateInstall {
    /// Name of the delegate and of its Helm release
    pub name: String,
    #[command(flatten)]
    pub cluster: ClusterArgs,
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// What the delegate serves
    #[arg(long, value_enum, default_value_t, value_name = "LEVEL")]
    pub level: Level,
    /// Agent address of the control plane as the cluster reaches it, https://HOST:PORT
    #[arg(long, value_name = "URL")]
    pub agent: String,
    /// Namespace that it may deploy to; repeat for more
    #[arg(long = "target-namespace", value_name = "NAME", value_parser = crate::names::namespace)]
    pub target_namespaces: Vec<String>,
    /// Chart folder or reference
    #[arg(long, default_value = "helm/sortie-delegate", value_name = "CHART")]
    pub chart: String,
    /// Image, REPOSITORY:TAG
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// How long to wait until the delegate is ready, with --run
    #[arg(long, default_value = "3m", value_name = "DURATION", value_parser = duration::parse)]
    pub timeout: Duration,
    /// Run helm instead of printing the command
    #[arg(long)]
    pub run: bool,
}
