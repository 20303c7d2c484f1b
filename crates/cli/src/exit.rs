//! How the program ends: one exit code and one way of telling why, the same for every verb.

use std::process::ExitCode;

use serde::{Deserialize, Serialize};

/// What every verb returns.
pub type Result<T = Exit> = std::result::Result<T, Failure>;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// The deployment or the check failed.
    Failed,
    /// Wrong use: arguments, files that are not what they should be.
    Usage,
    /// Could not reach the control plane or the cluster.
    Unreachable,
    /// What was named does not exist.
    NotFound,
    /// Not allowed: token, role, RBAC, policy.
    NotAllowed,
    /// Somebody else changed or holds it.
    Conflict,
    /// Ctrl-C, as shells count it (128 + SIGINT).
    Interrupted,
}

impl Exit {
    /// The process exit code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::NotFound => 4,
            Self::NotAllowed => 5,
            Self::Conflict => 6,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// An error of this program that can explain itself.
pub trait Explain: std::error::Error {
    /// How the program ends because of it.
    fn exit(&self) -> Exit;
    /// Stable code with a page in the error reference.
    fn code(&self) -> &'static str;
    /// What to do about it.
    fn hint(&self) -> Option<String> {
        None
    }
}

/// Why a verb did not get done, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// How the program ends.
    #[serde(serialize_with = "code_of")]
    pub exit: Exit,
    /// Which operation on what failed.
    pub message: String,
    /// Why, outermost first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Stable code with a page in the error reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Findings about documents that were refused.
    #[serde(skip_serializing_if = "<[Finding]>::is_empty")]
    pub problems: Box<[Finding]>,
}

/// A finding about a document: at a place in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// `error` or `warning`.
    #[serde(default)]
    pub severity: String,
    /// The file as the user named it.
    #[serde(default)]
    pub file: String,
    /// Line, from 1; absent for what is no text, such as a variable of the command line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Column in characters, from 1; absent when `line` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// Path of the field.
    #[serde(default)]
    pub path: String,
    /// Stable code.
    #[serde(default)]
    pub code: String,
    /// What is wrong and what to do.
    #[serde(default)]
    pub message: String,
}

impl Failure {
    /// Wrong use of the command line.
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            code: Some("SRT-Z001".to_owned()),
            ..Self::new(Exit::Usage, message)
        }
    }

    /// A failure that is told by its message alone.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            causes: Vec::new(),
            hint: None,
            code: None,
            problems: Box::default(),
        }
    }

    /// The same with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl<E: Explain> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut causes = Vec::new();
        let mut cause = error.source();
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        Self {
            causes,
            hint: error.hint(),
            code: Some(error.code().to_owned()),
            ..Self::new(error.exit(), error.to_string())
        }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            severity,
            file,
            line,
            column,
            path,
            code,
            message,
        } = self;
        write!(f, "{severity}: ")?;
        match (line, column) {
            (Some(line), Some(column)) => write!(f, "{file}:{line}:{column}: ")?,
            (Some(line), None) => write!(f, "{file}:{line}: ")?,
            _ if file.is_empty() => {}
            _ => write!(f, "{file}: ")?,
        }
        write!(f, "{code} ")?;
        if path.is_empty() {
            f.write_str(message)
        } else {
            write!(f, "{path}: {message}")
        }
    }
}

fn code_of<S: serde::Serializer>(
    exit: &Exit,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_u8(exit.code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read x")]
    struct Outer(#[source] std::io::Error);

    impl Explain for Outer {
        fn exit(&self) -> Exit {
            Exit::NotFound
        }
        fn code(&self) -> &'static str {
            "SRT-Z002"
        }
    }

    #[test]
    fn a_failure_keeps_every_cause_once() {
        let failure = Failure::from(Outer(std::io::Error::other("no such thing")));
        assert_eq!(failure.message, "cannot read x");
        assert_eq!(failure.causes, ["no such thing"]);
        let json = serde_json::to_value(&failure).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"exit": 4, "message": "cannot read x", "causes": ["no such thing"], "code": "SRT-Z002"})
        );
    }

    #[test]
    fn a_finding_names_the_place_that_is_known_and_no_other() {
        let table = [
            (
                r#"{"file":"a.yaml","line":3,"column":5}"#,
                "error: a.yaml:3:5: SRT-E012 p: m",
            ),
            (r#"{"file":"a.yaml"}"#, "error: a.yaml: SRT-E012 p: m"),
            (r#"{"file":""}"#, "error: SRT-E012 p: m"),
            (r#"{"file":"","line":null}"#, "error: SRT-E012 p: m"),
        ];
        for (json, text) in table {
            let finding = Finding {
                severity: "error".to_owned(),
                path: "p".to_owned(),
                code: "SRT-E012".to_owned(),
                message: "m".to_owned(),
                ..serde_json::from_str(json).unwrap()
            };
            assert_eq!(finding.to_string(), text, "{json}");
        }
    }

    #[test]
    fn exit_codes_are_those_of_the_manual() {
        let codes = [
            (Exit::Done, 0),
            (Exit::Failed, 1),
            (Exit::Usage, 2),
            (Exit::Unreachable, 3),
            (Exit::NotFound, 4),
            (Exit::NotAllowed, 5),
            (Exit::Conflict, 6),
            (Exit::Interrupted, 130),
        ];
        for (exit, code) in codes {
            assert_eq!(exit.code(), code);
        }
    }
}
