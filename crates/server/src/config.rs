//! Settings: file, then environment, then flags; later ones win. Unknown settings are errors.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use serde::{Deserialize, Serialize};

/// The control plane of Sortie.
#[derive(Debug, Default, Parser)]
#[command(name = "sortie-server", version, about)]
pub struct Args {
    /// Settings file (YAML)
    #[arg(long, env = "SORTIE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder for the database, blobs and keys
    #[arg(long, env = "SORTIE_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address for people and programs: REST and events
    #[arg(long, env = "SORTIE_WEB_ADDRESS", value_name = "ADDR")]
    pub web_address: Option<SocketAddr>,
    /// Address for delegates
    #[arg(long, env = "SORTIE_AGENT_ADDRESS", value_name = "ADDR")]
    pub agent_address: Option<SocketAddr>,
    /// File with the master key: 32 random bytes, base64
    #[arg(long, env = "SORTIE_MASTER_KEY_FILE", value_name = "FILE")]
    pub master_key_file: Option<PathBuf>,
    /// Life of a delegate's certificate, such as `24h`
    #[arg(long, env = "SORTIE_CERTIFICATE_LIFETIME", value_name = "DURATION")]
    pub certificate_lifetime: Option<String>,
    /// How long a delegate may be away before its tasks are offered to others, such as `2m`
    #[arg(long, env = "SORTIE_TASK_LEASE", value_name = "DURATION")]
    pub task_lease: Option<String>,
    /// Form of the log
    #[arg(long, env = "SORTIE_LOG_FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,
    /// Log level or filter, such as `info` or `info,sortie_server=debug`
    #[arg(long, env = "SORTIE_LOG_LEVEL", value_name = "FILTER")]
    pub log_level: Option<String>,
    /// Print the settings in force and end
    #[arg(long)]
    pub print_config: bool,
}

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
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
    /// Form of the log. Default human.
    pub log_format: LogFormat,
    /// Log filter. Default `info`.
    pub log_level: String,
}

/// The settings file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
struct File {
    data_dir: Option<PathBuf>,
    web: Listener,
    agent: Listener,
    master_key_file: Option<PathBuf>,
    certificate_lifetime: Option<String>,
    task_lease: Option<String>,
    log: Log,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Listener {
    address: Option<SocketAddr>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Log {
    format: Option<LogFormat>,
    level: Option<String>,
}

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not there or not readable.
    #[error("could not read the settings file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
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
    /// A duration cannot be read.
    #[error("{setting} is `{value}`, which is no duration such as `90s`, `2m` or `24h`")]
    Duration {
        /// Name of the setting.
        setting: &'static str,
        /// What was given.
        value: String,
        /// Why.
        #[source]
        source: jiff::Error,
    },
    /// A duration is zero, negative or absurdly long.
    #[error("{setting} is `{value}`; it must be between one second and ten years")]
    DurationRange {
        /// Name of the setting.
        setting: &'static str,
        /// What was given.
        value: String,
    },
}

impl Config {
    /// Brings file, environment (which clap has read into `args`) and flags together.
    pub fn load(args: Args) -> Result<Self, Error> {
        let file = match &args.config {
            Some(path) => read(path)?,
            None => File::default(),
        };
        Self::merge(args, file)
    }

    fn merge(args: Args, file: File) -> Result<Self, Error> {
        let Args {
            config: _,
            data_dir,
            web_address,
            agent_address,
            master_key_file,
            certificate_lifetime,
            task_lease,
            log_format,
            log_level,
            print_config: _,
        } = args;
        Ok(Self {
            data_dir: data_dir
                .or(file.data_dir)
                .unwrap_or_else(|| PathBuf::from("sortie-data")),
            web_address: web_address
                .or(file.web.address)
                .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080))),
            agent_address: agent_address
                .or(file.agent.address)
                .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8443))),
            master_key_file: master_key_file.or(file.master_key_file),
            certificate_lifetime: duration(
                "certificateLifetime",
                certificate_lifetime.or(file.certificate_lifetime),
                Duration::from_secs(24 * 3600),
            )?,
            task_lease: duration(
                "taskLease",
                task_lease.or(file.task_lease),
                Duration::from_secs(120),
            )?,
            log_format: log_format.or(file.log.format).unwrap_or_default(),
            log_level: log_level
                .or(file.log.level)
                .unwrap_or_else(|| "info".to_owned()),
        })
    }
}

fn read(path: &Path) -> Result<File, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    if text.trim().is_empty() {
        return Ok(File::default());
    }
    serde_saphyr::from_str(&text).map_err(|source| Error::Parse {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

fn duration(
    setting: &'static str,
    value: Option<String>,
    default: Duration,
) -> Result<Duration, Error> {
    let Some(value) = value else {
        return Ok(default);
    };
    let parsed: jiff::SignedDuration = match value.parse() {
        Ok(parsed) => parsed,
        Err(source) => {
            return Err(Error::Duration {
                setting,
                value,
                source,
            });
        }
    };
    let allowed = Duration::from_secs(1)..=Duration::from_secs(10 * 366 * 24 * 3600);
    match Duration::try_from(parsed) {
        Ok(parsed) if allowed.contains(&parsed) => Ok(parsed),
        _ => Err(Error::DurationRange { setting, value }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Result<Config, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.yaml");
        std::fs::write(&path, text).unwrap();
        Config::load(Args {
            config: Some(path),
            ..Args::default()
        })
    }

    #[test]
    fn the_file_of_the_chart_is_read() {
        let config = file(
            "dataDir: /data\nweb:\n  address: \"0.0.0.0:8080\"\nagent:\n  address: \"0.0.0.0:8443\"\n\
             masterKeyFile: /etc/k\ncertificateLifetime: 24h\n\
             log:\n  format: json\n  level: \"info\"\n",
        )
        .unwrap();
        assert_eq!(config.data_dir, Path::new("/data"));
        assert_eq!(config.certificate_lifetime, Duration::from_secs(86_400));
        assert_eq!(config.log_format, LogFormat::Json);
    }

    #[test]
    fn flags_win_over_the_file() {
        let file = File {
            data_dir: Some("/file".into()),
            certificate_lifetime: Some("1h".to_owned()),
            ..File::default()
        };
        let args = Args {
            data_dir: Some("/flag".into()),
            ..Args::default()
        };
        let config = Config::merge(args, file).unwrap();
        assert_eq!(config.data_dir, Path::new("/flag"));
        assert_eq!(config.certificate_lifetime, Duration::from_secs(3600));
    }

    #[test]
    fn wrong_files_are_refused() {
        for (text, expected) in [
            ("dataDirr: /data\n", "dataDirr"),
            ("web: {port: 80}\n", "port"),
            ("agent: {hostnames: [a]}\n", "hostnames"),
            ("web: {address: nowhere}\n", ""),
            ("[1, 2]\n", ""),
        ] {
            let error = file(text).unwrap_err();
            let Error::Parse { source, .. } = &error else {
                panic!("{text}: {error}");
            };
            assert!(source.to_string().contains(expected), "{text}: {source}");
        }
        for (text, range) in [
            ("taskLease: soon\n", false),
            ("taskLease: 0s\n", true),
            ("taskLease: -5m\n", true),
            ("taskLease: 99999999h\n", true),
        ] {
            let error = file(text).unwrap_err();
            assert_eq!(
                matches!(error, Error::DurationRange { .. }),
                range,
                "{text}: {error}"
            );
        }
    }
}
