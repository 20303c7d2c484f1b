//! The command line and the environment.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use super::setting::{Origin, Setting};

/// The control plane of Sortie.
#[derive(Debug, Default, Parser)]
#[command(name = "sortie-server", version, about)]
pub struct Args {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Settings file (YAML)
    #[arg(long, global = true, env = "SORTIE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder for the database, blobs and keys
    #[arg(long, global = true, env = "SORTIE_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<String>,
    /// Address for people and programs: REST and events
    #[arg(long, env = "SORTIE_WEB_ADDRESS", value_name = "ADDR")]
    pub web_address: Option<String>,
    /// Address for delegates
    #[arg(long, env = "SORTIE_AGENT_ADDRESS", value_name = "ADDR")]
    pub agent_address: Option<String>,
    /// File with the master key: 32 random bytes, base64
    #[arg(long, env = "SORTIE_MASTER_KEY_FILE", value_name = "FILE")]
    pub master_key_file: Option<String>,
    /// Life of a delegate's certificate, such as `24h`
    #[arg(long, env = "SORTIE_CERTIFICATE_LIFETIME", value_name = "DURATION")]
    pub certificate_lifetime: Option<String>,
    /// How long a delegate may be away before its tasks are offered to others, such as `2m`
    #[arg(long, env = "SORTIE_TASK_LEASE", value_name = "DURATION")]
    pub task_lease: Option<String>,
    /// How long ended executions are kept with their logs, such as `90d`
    #[arg(long, env = "SORTIE_KEEP_EXECUTIONS", value_name = "DURATION")]
    pub keep_executions: Option<String>,
    /// How many of the last runs of a pipeline are kept however old they are
    #[arg(long, env = "SORTIE_KEEP_RUNS", value_name = "NUMBER")]
    pub keep_runs: Option<String>,
    /// How long finished tasks are kept, such as `24h`
    #[arg(long, env = "SORTIE_KEEP_TASKS", value_name = "DURATION")]
    pub keep_tasks: Option<String>,
    /// Form of the log: `json` or `human`
    #[arg(long, env = "SORTIE_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// Log level or filter, such as `info` or `info,sortie_server=debug`
    #[arg(long, env = "SORTIE_LOG_LEVEL", value_name = "FILTER")]
    pub log_level: Option<String>,
    /// Print the settings in force and end
    #[arg(long)]
    pub print_config: bool,
    /// Which of these came from the environment.
    #[arg(skip)]
    pub(super) from_environment: FromEnvironment,
}

/// What the program does instead of serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// API tokens
    #[command(subcommand)]
    Token(Token),
}

/// What is done with API tokens.
#[derive(Debug, Subcommand)]
pub enum Token {
    /// Make an API token and print it once, also while the server runs: the way back in when every token is lost
    #[command(
        after_help = "Example:\n  kubectl exec deployment/sortie-server -- sortie-server token create --admin | sortie login URL"
    )]
    Create(TokenCreate),
}

/// An API token to make.
#[derive(Debug, clap::Args)]
pub struct TokenCreate {
    /// For the administrator
    #[arg(long, required = true)]
    pub admin: bool,
    /// What it is for, shown in lists
    #[arg(long, default_value = "made on the server", value_name = "TEXT", value_parser = label)]
    pub label: String,
    /// Days until it ends; never unless said
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: Option<u32>,
}

fn label(text: &str) -> Result<String, &'static str> {
    let label = text.trim();
    if crate::tokens::is_label(label) {
        Ok(label.to_owned())
    } else {
        Err("1 to 128 characters on one line")
    }
}

/// Ids of the arguments that came from the environment.
#[derive(Debug, Default)]
pub(super) struct FromEnvironment(BTreeSet<String>);

impl Args {
    /// Reads a command line, program name first, and the environment.
    ///
    /// # Errors
    /// An unknown flag or a flag without its value; also `--help` and `--version`, as clap has it.
    pub fn read<T: Into<OsString> + Clone>(
        line: impl IntoIterator<Item = T>,
    ) -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches_from(line)?;
        let ids = matches.ids().map(ToString::to_string);
        let from_environment = ids
            .filter(|id| {
                // An id may also be that of the group of all arguments.
                matches.try_contains_id(id).is_ok()
                    && matches.value_source(id) == Some(ValueSource::EnvVariable)
            })
            .collect();
        Ok(Self {
            from_environment: FromEnvironment(from_environment),
            ..Self::from_arg_matches(&matches)?
        })
    }
}

impl FromEnvironment {
    /// Where the argument for a setting came from.
    pub(super) fn origin(&self, setting: Setting) -> Origin {
        if self.0.contains(setting.id) {
            Origin::Environment(setting.variable)
        } else {
            Origin::Flag(setting.flag)
        }
    }

    /// Who names the settings file.
    pub(super) fn origin_of_config(&self) -> Origin {
        self.origin(Setting {
            name: "",
            id: "config",
            flag: "--config",
            variable: "SORTIE_CONFIG",
        })
    }
}
