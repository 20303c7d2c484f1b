//! One setting: where its value came from, and what is wrong with it.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

use super::arguments::FromEnvironment;

/// Longest part of a value that is shown.
const SHOWN: usize = 100;

/// The names of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Setting {
    /// In the settings file, e.g. `web.address`.
    pub name: &'static str,
    /// Among the arguments, as clap calls it.
    pub id: &'static str,
    /// On the command line.
    pub flag: &'static str,
    /// In the environment.
    pub variable: &'static str,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A flag, e.g. `--web-address`.
    Flag(&'static str),
    /// A variable of the environment.
    Environment(&'static str),
    /// The settings file.
    File(PathBuf),
    /// Nobody set it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(formatter, "the flag {flag}"),
            Self::Environment(variable) => {
                write!(formatter, "the environment variable {variable}")
            }
            Self::File(path) => write!(formatter, "the settings file {}", path.display()),
            Self::Default => formatter.write_str("its default"),
        }
    }
}

/// A setting whose value cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Its name in the settings file, e.g. `web.address`.
    pub setting: &'static str,
    /// Where the value came from.
    pub origin: Origin,
    /// The value, shortened and without control characters.
    pub value: String,
    /// What it must be, to follow "it must be".
    pub expected: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            setting,
            origin,
            value,
            expected,
        } = self;
        write!(
            formatter,
            "{setting}, set by {origin}, is `{value}`; it must be {expected}"
        )
    }
}

/// A value as it was given.
#[derive(Debug)]
struct Given {
    text: String,
    origin: Origin,
}

/// Reads settings one after the other and collects what is wrong with them.
#[derive(Debug)]
pub(super) struct Reader {
    from_environment: FromEnvironment,
    file: PathBuf,
    given: HashMap<&'static str, Given>,
    wrong: Vec<Wrong>,
}

impl Reader {
    /// Of arguments and the settings file at this path.
    pub(super) fn new(from_environment: FromEnvironment, file: PathBuf) -> Self {
        Self {
            from_environment,
            file,
            given: HashMap::new(),
            wrong: Vec::new(),
        }
    }

    /// The value of a setting, from its argument before the file, by `parse`, whose error says what it must be. The
    /// default when nobody set it, and also, so that reading goes on, when it is wrong.
    pub(super) fn read<T>(
        &mut self,
        setting: Setting,
        (argument, stored): (Option<String>, Option<String>),
        default: impl FnOnce() -> T,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        let given = match (argument, stored) {
            (Some(text), _) => Given {
                text,
                origin: self.from_environment.origin(setting),
            },
            (None, Some(text)) => Given {
                text,
                origin: Origin::File(self.file.clone()),
            },
            (None, None) => return default(),
        };
        let parsed = parse(&given.text);
        self.given.insert(setting.name, given);
        parsed.unwrap_or_else(|expected| {
            self.refuse(setting, expected);
            default()
        })
    }

    /// Notes that the value of a setting cannot be used; `false` when nobody set it.
    pub(super) fn refuse(&mut self, setting: Setting, expected: String) -> bool {
        let Some(given) = self.given.get(setting.name) else {
            return false;
        };
        let shown = given.text.chars().filter(|c| !c.is_control());
        self.wrong.push(Wrong {
            setting: setting.name,
            origin: given.origin.clone(),
            value: shown.take(SHOWN).collect(),
            expected,
        });
        true
    }

    /// Everything that was wrong.
    pub(super) fn into_wrong(self) -> Vec<Wrong> {
        self.wrong
    }
}
