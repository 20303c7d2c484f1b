//! Settings: file, then environment, then flags; later ones win. Unknown settings are errors, and
//! everything is checked before anything is made or started.

mod arguments;
mod file;
mod setting;
mod values;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub use arguments::{Args, Command, Token, TokenCreate};
pub use setting::{Origin, Wrong};

use self::file::File;
use crate::retention::Retention;

use self::setting::{Reader, Setting};

/// Form of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For reading.
    #[default]
    Human,
}

/// The settings in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Folder for the database, blobs and keys. Default `sortie-data`.
    pub data_dir: PathBuf,
    /// Address for people and programs. Default `127.0.0.1:8080`.
    pub web_address: SocketAddr,
    /// Address for delegates. Default `127.0.0.1:8443`.
    pub agent_address: SocketAddr,
    /// The master key's file; by default one is made in the data folder.
    pub master_key_file: Option<PathBuf>,
    /// Life of a delegate's certificate. Default 24 h.
    pub certificate_lifetime: Duration,
    /// How long a delegate may be away before its tasks are offered to others. Default 120 s.
    pub task_lease: Duration,
    /// How long what is over is kept.
    pub retention: Retention,
    /// Form of the log. Default human.
    pub log_format: LogFormat,
    /// Log filter. Default `info`.
    pub log_level: String,
}

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not there or not readable.
    #[error("could not read the settings file {}, which {origin} names", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Who names it.
        origin: Origin,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not YAML of the expected form.
    #[error("the settings file {} is not valid", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// Values cannot be used.
    #[error("{}", lines(wrong))]
    Values {
        /// All of them, at least one.
        wrong: Vec<Wrong>,
    },
}

impl Error {
    /// Stable code of the error, explained in `docs/errors`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "SRT-S130",
            Self::Parse { .. } => "SRT-S131",
            Self::Values { .. } => "SRT-S132",
        }
    }
}

fn lines(wrong: &[Wrong]) -> String {
    let lines: Vec<String> = wrong.iter().map(Wrong::to_string).collect();
    lines.join("\n")
}

/// Names a setting once; the arguments have the same id, flag and variable, as a test sees to.
macro_rules! setting {
    ($constant:ident, $name:literal, $id:literal, $flag:literal, $variable:literal) => {
        const $constant: Setting = Setting {
            name: $name,
            id: $id,
            flag: $flag,
            variable: $variable,
        };
    };
}

setting!(
    DATA_DIR,
    "dataDir",
    "data_dir",
    "--data-dir",
    "SORTIE_DATA_DIR"
);
setting!(
    WEB_ADDRESS,
    "web.address",
    "web_address",
    "--web-address",
    "SORTIE_WEB_ADDRESS"
);
setting!(
    AGENT_ADDRESS,
    "agent.address",
    "agent_address",
    "--agent-address",
    "SORTIE_AGENT_ADDRESS"
);
setting!(
    MASTER_KEY_FILE,
    "masterKeyFile",
    "master_key_file",
    "--master-key-file",
    "SORTIE_MASTER_KEY_FILE"
);
setting!(
    CERTIFICATE_LIFETIME,
    "certificateLifetime",
    "certificate_lifetime",
    "--certificate-lifetime",
    "SORTIE_CERTIFICATE_LIFETIME"
);
setting!(
    TASK_LEASE,
    "taskLease",
    "task_lease",
    "--task-lease",
    "SORTIE_TASK_LEASE"
);
setting!(
    KEPT_EXECUTIONS,
    "retention.executions",
    "keep_executions",
    "--keep-executions",
    "SORTIE_KEEP_EXECUTIONS"
);
setting!(
    KEPT_RUNS,
    "retention.runs",
    "keep_runs",
    "--keep-runs",
    "SORTIE_KEEP_RUNS"
);
setting!(
    KEPT_TASKS,
    "retention.tasks",
    "keep_tasks",
    "--keep-tasks",
    "SORTIE_KEEP_TASKS"
);
setting!(
    LOG_FORMAT,
    "log.format",
    "log_format",
    "--log-format",
    "SORTIE_LOG_FORMAT"
);
setting!(
    LOG_LEVEL,
    "log.level",
    "log_level",
    "--log-level",
    "SORTIE_LOG_LEVEL"
);

impl Config {
    /// Brings file, environment (which clap has read into `args`) and flags together, and checks
    /// all of it. Reads the settings file and the master key's file, and changes nothing.
    pub fn load(args: Args) -> Result<Self, Error> {
        let (path, file) = match args.config {
            Some(path) => {
                let file = File::read(&path, args.from_environment.origin_of_config())?;
                (path, file)
            }
            None => (PathBuf::new(), File::default()),
        };
        let mut reader = Reader::new(args.from_environment, path);
        // Settings are shown also where the files that they name are not.
        let key_file = |text: &str| match args.print_config {
            true => Ok(Some(text.into())),
            false => values::key_file(text).map(Some),
        };
        let local = |port: u16| move || SocketAddr::from(([127, 0, 0, 1], port));
        let kept = Retention::default();

        let given = (args.data_dir, file.data_dir);
        let data_dir = reader.read(DATA_DIR, given, || "sortie-data".into(), values::folder);
        let given = (args.web_address, file.web.address);
        let web_address = reader.read(WEB_ADDRESS, given, local(8080), values::address);
        let given = (args.agent_address, file.agent.address);
        let agent_address = reader.read(AGENT_ADDRESS, given, local(8443), values::address);
        let given = (args.master_key_file, file.master_key_file);
        let master_key_file = reader.read(MASTER_KEY_FILE, given, || None, key_file);
        let given = (args.certificate_lifetime, file.certificate_lifetime);
        let day = || Duration::from_secs(24 * 3600);
        let certificate_lifetime = reader.read(CERTIFICATE_LIFETIME, given, day, values::duration);
        let given = (args.task_lease, file.task_lease);
        let two_minutes = || Duration::from_secs(120);
        let task_lease = reader.read(TASK_LEASE, given, two_minutes, values::duration);
        let given = (args.keep_executions, file.retention.executions);
        let executions = reader.read(KEPT_EXECUTIONS, given, || kept.executions, values::duration);
        let given = (args.keep_runs, file.retention.runs);
        let runs = reader.read(KEPT_RUNS, given, || kept.runs, values::runs);
        let given = (args.keep_tasks, file.retention.tasks);
        let tasks = reader.read(KEPT_TASKS, given, || kept.tasks, values::duration);
        let given = (args.log_format, file.log.format);
        let log_format = reader.read(LOG_FORMAT, given, LogFormat::default, values::log_format);
        let given = (args.log_level, file.log.level);
        let log_level = reader.read(LOG_LEVEL, given, || "info".to_owned(), values::log_level);

        if let Some(expected) = values::clash(web_address, agent_address)
            && !reader.refuse(AGENT_ADDRESS, expected.clone())
        {
            reader.refuse(WEB_ADDRESS, expected);
        }
        let wrong = reader.into_wrong();
        if !wrong.is_empty() {
            return Err(Error::Values { wrong });
        }
        Ok(Self {
            data_dir,
            web_address,
            agent_address,
            master_key_file,
            certificate_lifetime,
            task_lease,
            retention: Retention {
                executions,
                runs,
                tasks,
            },
            log_format,
            log_level,
        })
    }

    /// As a settings file, JSON, which is YAML as well.
    #[must_use]
    pub fn to_file(&self) -> String {
        File::from(self).to_json()
    }
}

#[cfg(test)]
mod tests;
