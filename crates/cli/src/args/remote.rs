//! Arguments of verbs that talk to a control plane.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub struct Login {
    /// Address of the control plane, http(s)://HOST:PORT
    #[arg(value_name = "URL")]
    pub server: String,
    /// Organisation that later verbs work in
    #[arg(long, default_value = "default", value_name = "ID")]
    pub org: String,
    /// Project that later verbs work in
    #[arg(long, default_value = "default", value_name = "ID")]
    pub project: String,
    /// PEM file with the authorities to trust instead of the system's
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

/// Organisation and project; default: those of `sortie login`.
#[derive(Clone, Debug, Default, Args)]
pub struct ScopeArgs {
    /// Organisation; default: that of `sortie login`
    #[arg(long, value_name = "ID")]
    pub org: Option<String>,
    /// Project; default: that of `sortie login`
    #[arg(long, value_name = "ID")]
    pub project: Option<String>,
}

/// What an entity belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// The whole control plane.
    Account,
    /// The organisation.
    Org,
    /// The project.
    #[default]
    Project,
}

#[derive(Debug, Args)]
pub struct Apply {
    /// Files or folders; `-` for stdin
    #[arg(short = 'f', long = "file", required = true, value_name = "PATH", num_args = 1..)]
    pub files: Vec<PathBuf>,
    /// Read the folders below folders as well
    #[arg(short = 'R', long)]
    pub recursive: bool,
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// Where documents go that name no organisation and no project
    #[arg(long, value_enum, default_value_t, value_name = "LEVEL")]
    pub level: Level,
    /// Unknown fields and missing references are errors
    #[arg(long)]
    pub strict: bool,
    /// Check only, store nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Read the value of the one secret in the files from stdin
    #[arg(long)]
    pub secret_value_stdin: bool,
}

#[derive(Debug, Args)]
pub struct Get {
    /// pipeline, service, environment, infrastructure, connector, secret, file, execution or delegate
    pub kind: String,
    /// One of them, whole; infrastructures are named ENVIRONMENT/ID, executions also PIPELINE#NUMBER
    pub id: Option<String>,
    /// Executions: the newest run, of PIPELINE when one is named
    #[arg(long)]
    pub latest: bool,
    /// Delegates: those that were revoked in the last 30 days, too
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// Where to look
    #[arg(long, value_enum, default_value_t, value_name = "LEVEL")]
    pub level: Level,
    /// Executions: at most so many, newest first
    #[arg(long, default_value_t = 20, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

#[derive(Debug, Args)]
pub struct Delete {
    /// pipeline, service, environment, infrastructure, connector, secret or file
    pub kind: String,
    /// Its identifier; infrastructures are named ENVIRONMENT/ID
    pub id: String,
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// Where it is
    #[arg(long, value_enum, default_value_t, value_name = "LEVEL")]
    pub level: Level,
}

#[derive(Debug, Args)]
pub struct Run {
    /// Identifier of the pipeline
    pub pipeline: String,
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// Set a pipeline variable
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = assignment)]
    pub variables: Vec<(String, String)>,
    /// Follow to the end; the exit code tells how it ended
    #[arg(short, long)]
    pub follow: bool,
}

/// Which execution is meant.
#[derive(Clone, Debug, Default, Args)]
pub struct ExecutionArgs {
    /// Id or its beginning, PIPELINE#NUMBER, or PIPELINE for its newest run; default: the newest run of all
    pub execution: Option<String>,
    /// The newest run, of PIPELINE when one is named
    #[arg(long)]
    pub latest: bool,
    #[command(flatten)]
    pub scope: ScopeArgs,
}

#[derive(Debug, Args)]
pub struct Watch {
    #[command(flatten)]
    pub execution: ExecutionArgs,
}

#[derive(Debug, Args)]
pub struct Logs {
    #[command(flatten)]
    pub execution: ExecutionArgs,
    /// Only of this step, group or stage: its identifier, or as much of the end of its path as tells it apart
    #[arg(long, value_name = "STEP")]
    pub step: Option<String>,
    /// Go on until the execution ends
    #[arg(short, long)]
    pub follow: bool,
}

#[derive(Debug, Args)]
pub struct Abort {
    /// Id or its beginning, or PIPELINE#NUMBER; with --latest PIPELINE or nothing
    pub execution: Option<String>,
    /// The newest run, of PIPELINE when one is named
    #[arg(long)]
    pub latest: bool,
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// Why, for others to read
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| "write it as NAME=VALUE".to_owned())?;
    if name.is_empty() {
        return Err("the name of the variable is missing".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_set_by_name() {
        let pair = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(assignment("a=b"), pair("a", "b"));
        assert_eq!(assignment("a=b=c"), pair("a", "b=c"));
        assert_eq!(assignment("a="), pair("a", ""));
        assert!(assignment("a").is_err());
        assert!(assignment("=b").is_err());
    }
}
