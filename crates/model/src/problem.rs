//! What is wrong with a file, and where.

use serde::{Serialize, Serializer};

/// One finding about a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Whether the file can be accepted with it.
    pub severity: Severity,
    /// The file as the caller named it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Path of the field, such as `pipeline.stages[0].stage.spec`; empty for the whole file.
    pub path: String,
    /// Stable code; serialised as its text, `SRT-E010`.
    pub code: Code,
    /// What is wrong and what to do. Never holds the value of a secret.
    pub message: String,
}

impl Problem {
    /// The same finding under strict rules: unknown fields and missing references are errors.
    /// What is merely not supported yet stays a warning.
    pub fn strict(mut self) -> Self {
        if matches!(self.code, Code::UnknownField | Code::MissingReference) {
            self.severity = Severity::Error;
        }
        self
    }

    /// Whether the file must be refused.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}:{}:{}: {} ",
            self.file,
            self.line,
            self.column,
            self.code.code()
        )?;
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

/// Weight of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; the entity is accepted.
    Warning,
    /// The entity is refused.
    Error,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// Stable codes of findings; each has a page under `docs/errors/`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// All codes.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as text.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }
        }
    };
}

codes! {
    /// The file is larger than the limit.
    TooLarge = "SRT-E001",
    /// The file is not UTF-8.
    NotUtf8 = "SRT-E002",
    /// The file is not YAML.
    Syntax = "SRT-E003",
    /// Values are nested too deeply.
    TooDeep = "SRT-E004",
    /// Too many values, documents or alias expansions.
    TooManyValues = "SRT-E005",
    /// A key is written twice in one mapping.
    DuplicateKey = "SRT-E006",
    /// The document has not the form of an entity: one root key with a mapping below it.
    NotAnEntity = "SRT-E007",
    /// The root key names no kind of entity.
    UnknownEntity = "SRT-E008",
    /// The root key names a kind that Sortie does not store yet.
    EntityNotSupported = "SRT-E009",
    /// The field is not known here.
    UnknownField = "SRT-E010",
    /// A value of another type is needed.
    WrongType = "SRT-E011",
    /// A required field is missing.
    MissingField = "SRT-E012",
    /// The value is none of the possible ones.
    UnknownValue = "SRT-E013",
    /// An identifier breaks the rules for identifiers.
    InvalidIdentifier = "SRT-E014",
    /// A name breaks the rules for names.
    InvalidName = "SRT-E015",
    /// A duration cannot be read.
    InvalidDuration = "SRT-E016",
    /// A value has a form or size that is not possible here.
    InvalidValue = "SRT-E017",
    /// Two fields exclude each other, or one needs another.
    Conflict = "SRT-E018",
    /// Two things have one identifier or name.
    DuplicateIdentifier = "SRT-E019",
    /// A reference cannot be read.
    InvalidReference = "SRT-E020",
    /// A reference to an entity that is not there.
    MissingReference = "SRT-E021",
    /// An expression cannot be read.
    InvalidExpression = "SRT-E022",
    /// A step type that does not exist.
    UnknownStep = "SRT-E023",
    /// A step type that is stored and cannot be run yet.
    StepNotRunnable = "SRT-E024",
    /// A setting or type that is stored and cannot be run yet.
    NotRunnable = "SRT-E025",
    /// A setting that is stored and has no effect yet.
    NoEffect = "SRT-E026",
    /// A runtime input, which cannot be supplied yet.
    RuntimeInput = "SRT-E027",
    /// There are more findings than are listed.
    MoreProblems = "SRT-E028",
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}
