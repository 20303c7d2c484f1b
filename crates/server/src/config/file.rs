//! The settings file.

use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::setting::Origin;
use super::{Config, Error, values};

/// Largest settings file.
const MAX_FILE: u64 = 64 * 1024;

/// The settings file. Values are read later, all in one way wherever they come from.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub(super) struct File {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<String>,
    pub web: Listener,
    pub agent: Listener,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master_key_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_lifetime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_lease: Option<String>,
    pub retention: Kept,
    pub log: Log,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Kept {
    pub executions: Option<String>,
    pub runs: Option<String>,
    pub tasks: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Listener {
    pub address: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    pub format: Option<String>,
    pub level: Option<String>,
}

impl File {
    /// Reads the file that `origin` names; an empty one sets nothing.
    pub(super) fn read(path: &Path, origin: Origin) -> Result<Self, Error> {
        let read = || {
            let mut text = String::new();
            std::fs::File::open(path)?
                .take(MAX_FILE + 1)
                .read_to_string(&mut text)?;
            if text.len() as u64 > MAX_FILE {
                let message = format!("it is larger than {MAX_FILE} bytes");
                return Err(std::io::Error::other(message));
            }
            Ok(text)
        };
        let text = read().map_err(|source| Error::Read {
            path: path.to_owned(),
            origin,
            source,
        })?;
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        serde_saphyr::from_str(&text).map_err(|source| Error::Parse {
            path: path.to_owned(),
            source: Box::new(source),
        })
    }

    /// As JSON, which is YAML as well.
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

impl From<&Config> for File {
    fn from(config: &Config) -> Self {
        Self {
            data_dir: Some(config.data_dir.display().to_string()),
            web: Listener {
                address: Some(config.web_address.to_string()),
            },
            agent: Listener {
                address: Some(config.agent_address.to_string()),
            },
            master_key_file: config
                .master_key_file
                .as_ref()
                .map(|path| path.display().to_string()),
            certificate_lifetime: Some(values::duration_text(config.certificate_lifetime)),
            task_lease: Some(values::duration_text(config.task_lease)),
            retention: Kept {
                executions: Some(values::duration_text(config.retention.executions)),
                runs: Some(config.retention.runs.to_string()),
                tasks: Some(values::duration_text(config.retention.tasks)),
            },
            log: Log {
                format: Some(values::log_format_text(config.log_format)),
                level: Some(config.log_level.clone()),
            },
        }
    }
}
