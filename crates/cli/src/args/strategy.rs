//! Arguments of verbs that bring a new version in, beside the present one or in its place.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use sortie_step::task::Amount;

use super::{HistoryArgs, ReleaseArgs, SetArgs, WithArgs};
use crate::duration;

#[derive(Debug, Args)]
pub struct Deploy {
    #[command(flatten)]
    pub set: SetArgs,
    #[command(flatten)]
    pub release: ReleaseArgs,
    #[command(flatten)]
    pub strategy: StrategyArgs,
    /// Check everything against the API server and stop before the first write
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub bring: BringArgs,
}

/// How a new version comes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Strategy {
    /// Replace pods step by step, as the workloads' own settings say.
    #[default]
    Rolling,
    /// Run a few pods beside the present version.
    Canary,
    /// Run all pods in the colour that gets no traffic.
    BlueGreen,
}

#[derive(Clone, Copy, Debug, Args)]
pub struct StrategyArgs {
    /// How to bring the new version in
    #[arg(long, value_enum, default_value_t)]
    pub strategy: Strategy,
    /// Pods of each workload of a canary: so many, or a share of the present ones; default: 1
    #[arg(long, value_name = "N|N%", value_parser = amount)]
    pub canary: Option<Amount>,
    /// Let the canary take this share of the pods from the present version; at 100% it becomes the release
    #[arg(long, value_name = "N%", value_parser = share, conflicts_with = "canary")]
    pub progressive: Option<u32>,
}

/// What a deployment may do, and how long it may take.
#[derive(Clone, Copy, Debug, Args)]
pub struct BringArgs {
    /// Take over objects that belong to another release
    #[arg(long)]
    pub adopt: bool,
    /// Delete objects and make them anew where a field changes that cannot change; not volumes and claims
    #[arg(long)]
    pub replace: bool,
    /// Delete what earlier releases had and this one lacks, once this one is healthy
    #[arg(long)]
    pub prune: bool,
    /// How many objects may be deleted; without it at most 20, and at most half of the release
    #[arg(long, value_name = "N", requires = "prune")]
    pub prune_limit: Option<u32>,
    /// Write Jobs without waiting for their end
    #[arg(long)]
    pub skip_job_wait: bool,
    #[command(flatten)]
    pub kept: HistoryArgs,
    /// How long the whole of it may take
    #[arg(long, default_value = "10m", value_name = "DURATION", value_parser = duration::parse)]
    pub timeout: Duration,
}

#[derive(Debug, Args)]
pub struct Promote {
    /// What the canary was deployed from; `-` for stdin. Nothing for a blue-green release
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    #[command(flatten)]
    pub with: WithArgs,
    #[command(flatten)]
    pub release: ReleaseArgs,
    #[command(flatten)]
    pub settle: SettleArgs,
    #[command(flatten)]
    pub bring: BringArgs,
}

#[derive(Debug, Args)]
pub struct Swap {
    #[command(flatten)]
    pub release: ReleaseArgs,
    #[command(flatten)]
    pub settle: SettleArgs,
    /// First give the colour without traffic the pods back that `cancel` took
    #[arg(long)]
    pub scale_up: bool,
    /// How long the whole of it may take
    #[arg(long, default_value = "10m", value_name = "DURATION", value_parser = duration::parse)]
    pub timeout: Duration,
}

#[derive(Clone, Copy, Debug, Args)]
pub struct SettleArgs {
    /// After a swap: how long clients may still be on their way to the other colour
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = duration::parse_from_zero)]
    pub settle: Duration,
}

#[derive(Debug, Args)]
pub struct Cancel {
    #[command(flatten)]
    pub release: ReleaseArgs,
    /// After a swap: take the pods from the version that had the traffic before
    #[arg(long)]
    pub previous: bool,
    /// How long it may take
    #[arg(long, default_value = "10m", value_name = "DURATION", value_parser = duration::parse)]
    pub timeout: Duration,
}

/// Reads a share of all pods, for clap.
fn share(text: &str) -> Result<u32, String> {
    match text.strip_suffix('%').map(str::parse) {
        Some(Ok(percent @ 1..=100)) => Ok(percent),
        _ => Err("write a share of 1 to 100 %, such as `25%`".to_owned()),
    }
}

/// Reads a number of pods, or a share of them, for clap.
fn amount(text: &str) -> Result<Amount, String> {
    let (digits, is_share) = match text.strip_suffix('%') {
        Some(digits) => (digits, true),
        None => (text, false),
    };
    match (digits.parse::<u32>(), is_share) {
        (Ok(percent @ 1..=100), true) => Ok(Amount::Percent(percent)),
        (Ok(count @ 1..), false) => Ok(Amount::Count(count)),
        _ => Err(
            "write a number of pods from 1, such as `2`, or a share of 1 to 100 %, such as `25%`"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_of_a_hundred() {
        for (text, expected) in [
            ("1%", Some(1)),
            ("100%", Some(100)),
            ("0%", None),
            ("101%", None),
            ("10", None),
            ("", None),
        ] {
            assert_eq!(share(text).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_canary_has_a_number_or_a_share_of_pods() {
        for (text, expected) in [
            ("1", Some(Amount::Count(1))),
            ("25%", Some(Amount::Percent(25))),
            ("100%", Some(Amount::Percent(100))),
            ("0", None),
            ("0%", None),
            ("101%", None),
            ("-1", None),
            ("1.5%", None),
            ("%", None),
            ("", None),
            ("4294967296", None),
            ("25 %", None),
        ] {
            assert_eq!(amount(text).ok(), expected, "{text:?}");
        }
    }
}
