//! What `sortie login` remembers: one file that only its owner can read.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::environment::Environment;
use crate::exit::{Exit, Explain};

const FILE: &str = "config.yaml";

/// Where and as whom to talk to a control plane.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Address, `http(s)://HOST:PORT`.
    pub server: Option<String>,
    /// API token.
    pub token: Option<SecretString>,
    /// Organisation that verbs work in.
    pub org: Option<String>,
    /// Project that verbs work in.
    pub project: Option<String>,
    /// PEM file with the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
}

/// The file's form.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
struct OnDisk {
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<Zeroizing<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    org: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_file: Option<PathBuf>,
}

/// The settings could not be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither `SORTIE_CONFIG_DIR` nor `XDG_CONFIG_HOME` nor `HOME` is set.
    #[error("there is no folder for the settings")]
    NoFolder,
    /// The file is there and cannot be read.
    #[error("cannot read the settings file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not what `sortie login` writes. What is in it is not repeated: it holds a token.
    #[error("the settings file {} is not valid{place}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where.
        place: String,
    },
    /// The file cannot be written.
    #[error("cannot write the settings file {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NoFolder | Self::Write { .. } => "SRT-Z005",
            Self::Read { .. } | Self::Parse { .. } => "SRT-Z004",
        }
    }

    fn hint(&self) -> Option<String> {
        Some(
            match self {
                Self::NoFolder => "set HOME or SORTIE_CONFIG_DIR",
                Self::Parse { .. } => "correct it, or delete it and run `sortie login` again",
                Self::Read { .. } | Self::Write { .. } => {
                    "give yourself access to it, or set SORTIE_CONFIG_DIR to another folder"
                }
            }
            .to_owned(),
        )
    }
}

/// The settings file: in `SORTIE_CONFIG_DIR`, else `XDG_CONFIG_HOME/sortie`, else `~/.config/sortie`.
///
/// # Errors
/// None of the variables is set.
pub fn path(environment: &Environment) -> Result<PathBuf, Error> {
    let folder = environment
        .config_dir
        .clone()
        .or_else(|| {
            environment
                .xdg_config_home
                .as_ref()
                .map(|home| home.join("sortie"))
        })
        .or_else(|| {
            environment
                .home
                .as_ref()
                .map(|home| home.join(".config/sortie"))
        });
    folder
        .map(|folder| folder.join(FILE))
        .ok_or(Error::NoFolder)
}

impl Settings {
    /// The file's settings with what the environment says on top. Without a file: the environment's.
    ///
    /// # Errors
    /// There is a file and it cannot be read or is not valid.
    pub fn load(environment: &Environment) -> Result<Self, Error> {
        let file = match path(environment) {
            Ok(path) => Self::read(&path)?,
            Err(_) => Self::default(),
        };
        // A token goes only to the server that it is for.
        let elsewhere = environment.server.is_some() && environment.server != file.server;
        let file_token = file.token.filter(|_| !elsewhere);
        Ok(Self {
            server: environment.server.clone().or(file.server),
            token: environment.token.clone().or(file_token),
            ca_file: environment.ca_file.clone().or(file.ca_file),
            ..Self {
                org: file.org,
                project: file.project,
                ..Self::default()
            }
        })
    }

    /// The file's settings; empty without a file.
    fn read(path: &Path) -> Result<Self, Error> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => {
                return Err(Error::Read {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let found: OnDisk = serde_saphyr::from_str(&text).map_err(|error| Error::Parse {
            path: path.to_owned(),
            place: error.location().map_or_else(String::new, |place| {
                format!(" at line {}, column {}", place.line(), place.column())
            }),
        })?;
        let OnDisk {
            server,
            token,
            org,
            project,
            ca_file,
        } = found;
        let token = token.map(|token| SecretString::from(token.as_str()));
        Ok(Self {
            server,
            token,
            org,
            project,
            ca_file,
        })
    }

    /// Write the settings to `path`: whole or not at all, for the owner alone from the first byte.
    ///
    /// # Errors
    /// The folder or the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let failed = |source| Error::Write {
            path: path.to_owned(),
            source,
        };
        let Self {
            server,
            token,
            org,
            project,
            ca_file,
        } = self.clone();
        let token = token.map(|token| Zeroizing::new(token.expose_secret().to_owned()));
        let text = serde_saphyr::to_string(&OnDisk {
            server,
            token,
            org,
            project,
            ca_file,
        })
        .map(Zeroizing::new)
        .map_err(|error| failed(std::io::Error::other(error.to_string())))?;
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(failed)?;
        let temporary = folder.join(format!(".{FILE}.{}", std::process::id()));
        let written = (|| {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&temporary)?;
            file.set_permissions(Permissions::from_mode(0o600))?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&temporary, path)
        })();
        if written.is_err() {
            // The first error is the one to tell.
            let _left_over = std::fs::remove_file(&temporary);
        }
        written.map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(folder: &Path) -> Environment {
        Environment {
            config_dir: Some(folder.to_owned()),
            ..Environment::default()
        }
    }

    fn some() -> Settings {
        Settings {
            server: Some("https://sortie.example.com".to_owned()),
            token: Some(SecretString::from("sortie_a_b: #'\"")),
            org: Some("acme".to_owned()),
            project: Some("shop".to_owned()),
            ca_file: Some(PathBuf::from("/etc/ca file.pem")),
        }
    }

    #[test]
    fn settings_come_back_as_they_were_and_only_the_owner_can_read_them() {
        let folder = tempfile::tempdir().unwrap();
        let environment = environment(&folder.path().join("new/sortie"));
        let path = path(&environment).unwrap();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // An older file that everybody could read does not stay that way.
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        some().save(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let back = Settings::load(&environment).unwrap();
        assert_eq!(
            back.token.as_ref().unwrap().expose_secret(),
            "sortie_a_b: #'\""
        );
        assert_eq!(back.server, some().server);
        assert_eq!(
            (back.org, back.project, back.ca_file),
            (some().org, some().project, some().ca_file)
        );
        assert_eq!(
            std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1
        );
    }

    #[test]
    fn a_new_folder_is_for_the_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let environment = environment(&folder.path().join("sortie"));
        some().save(&path(&environment).unwrap()).unwrap();
        let mode = std::fs::metadata(folder.path().join("sortie"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn the_environment_wins_and_a_token_goes_only_to_its_own_server() {
        let folder = tempfile::tempdir().unwrap();
        let mut environment = environment(folder.path());
        some().save(&path(&environment).unwrap()).unwrap();
        environment.server = Some("https://other.example.com".to_owned());
        let settings = Settings::load(&environment).unwrap();
        assert_eq!(settings.server, environment.server);
        assert!(
            settings.token.is_none(),
            "the file's token is for the file's server"
        );
        environment.token = Some(SecretString::from("theirs"));
        let settings = Settings::load(&environment).unwrap();
        assert_eq!(settings.token.unwrap().expose_secret(), "theirs");
    }

    #[test]
    fn a_broken_file_is_named_and_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let environment = environment(folder.path());
        let path = path(&environment).unwrap();
        for text in [
            "token: [hunter2]\n",
            "tokn: hunter2\n",
            "token: hunter2\n  x: y\n",
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Settings::load(&environment).unwrap_err();
            let failure = crate::exit::Failure::from(error);
            let shown = crate::print::explain(&failure, crate::style::Style::none());
            assert!(shown.contains("config.yaml is not valid"), "{shown}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn the_folder_is_found_as_other_programs_find_theirs() {
        let mut environment = Environment::default();
        assert!(matches!(path(&environment), Err(Error::NoFolder)));
        environment.home = Some(PathBuf::from("/home/me"));
        assert_eq!(
            path(&environment).unwrap(),
            Path::new("/home/me/.config/sortie/config.yaml")
        );
        environment.xdg_config_home = Some(PathBuf::from("/x"));
        assert_eq!(
            path(&environment).unwrap(),
            Path::new("/x/sortie/config.yaml")
        );
        environment.config_dir = Some(PathBuf::from("/c"));
        assert_eq!(path(&environment).unwrap(), Path::new("/c/config.yaml"));
    }
}
