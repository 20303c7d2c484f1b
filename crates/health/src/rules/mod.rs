//! Rules that users give for the health of an object: on the object itself, by annotation, or for all objects of a kind, by a
//! ConfigMap ([`ClusterRules`]).
//!
//! | Annotation | Says |
//! |---|---|
//! | `sortie.dev/health` | a CEL expression that is true when the object is healthy, or that gives a status such as `"Degraded: no leader"` |
//! | `sortie.dev/steady-state-condition`, `harness.io/steadyStateCondition` | a condition in the `<+…>` language that is true when the object is healthy |
//! | `sortie.dev/failure-condition`, `harness.io/failureCondition` | one that is true when it has failed |
//!
//! The first that is there counts, then the rule for the kind. What such a rule names and the object does not have yet makes
//! it Progressing; a rule that cannot be read or evaluated makes it Unknown.

mod by_kind;
mod condition;
mod json_path;

use std::fmt;

use serde_json::Value;
use thiserror::Error;

use crate::cel::{self, Fault, Node};
use crate::line;
use crate::read;
use crate::verdict::{Status, Verdict};

pub use by_kind::ClusterRules;
use condition::Conditions;

/// The annotation with a CEL expression.
const HEALTH: &str = "sortie.dev/health";

/// Names that an expression may use. `self` and `object` are the whole object, the others its fields.
const ROOTS: [&str; 8] = [
    "self",
    "object",
    "apiVersion",
    "kind",
    "metadata",
    "spec",
    "status",
    "data",
];

/// A rule that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("the health rule in {place} cannot be read: {message} (at character {column})")]
pub struct RuleError {
    /// Where the rule is, such as `annotation sortie.dev/health`.
    pub place: String,
    /// What is wrong with it.
    pub message: String,
    /// Where in the rule, counted from 1.
    pub column: usize,
}

/// A rule that a user gave, ready to be asked.
#[derive(Debug)]
pub struct Rule {
    place: String,
    how: How,
}

#[derive(Debug)]
enum How {
    Expression { text: String, node: Node },
    Conditions(Conditions),
}

// === impl RuleError ===

impl RuleError {
    /// The stable code; `docs/errors/` has a page for it.
    pub const CODE: &str = "SRT-H021";

    /// [`RuleError::CODE`].
    #[must_use]
    pub const fn code(&self) -> &'static str {
        Self::CODE
    }

    fn new(place: &str, column: usize, message: &str) -> Self {
        Self {
            place: line::one_line(place, line::NAME_LIMIT),
            message: line::one_line(message, line::MESSAGE_LIMIT),
            column,
        }
    }
}

// === impl Rule ===

impl Rule {
    /// The rule that the annotations of the object give, if they do. Ask this before a deployment, so that a rule with a
    /// mistake stops it before anything is written.
    ///
    /// # Errors
    /// The rule cannot be read.
    pub fn of(object: &Value) -> Result<Option<Self>, RuleError> {
        if let Some(text) = read::member(object, "/metadata/annotations", HEALTH) {
            return Self::expression(&format!("annotation {HEALTH}"), text).map(Some);
        }
        let conditions = Conditions::of(object)?;
        Ok(conditions.map(|(place, conditions)| Self {
            place,
            how: How::Conditions(conditions),
        }))
    }

    fn expression(place: &str, text: &str) -> Result<Self, RuleError> {
        let node = cel::parse(text, &ROOTS)
            .map_err(|wrong| RuleError::new(place, wrong.at + 1, &wrong.message))?;
        Ok(Self {
            place: place.to_owned(),
            how: How::Expression {
                text: text.to_owned(),
                node,
            },
        })
    }

    /// What the rule says of the object; nothing where it leaves the verdict to the rule of the kind.
    #[must_use]
    pub fn assess(&self, object: &Value) -> Option<Verdict> {
        let (expression, node) = match &self.how {
            How::Conditions(conditions) => return conditions.assess(&self.place, object),
            How::Expression { text, node } => (text, node),
        };
        let roots = ROOTS.map(|root| {
            let value = match root {
                "self" | "object" => Some(object),
                field => object.get(field),
            };
            (root, cel::Value::of(value.unwrap_or(&Value::Null)))
        });
        Some(match cel::evaluate(node, &roots) {
            Ok(cel::Value::Bool(true)) => {
                Verdict::healthy(format!("as the rule in {} wishes", self.place))
            }
            Ok(cel::Value::Bool(false)) => Verdict::progressing(not_yet(expression)),
            Ok(cel::Value::Text(said)) => said_status(&said)
                .unwrap_or_else(|| self.unfit(&format!("\"{said}\" is not a status"))),
            Ok(other) => self.unfit(&format!(
                "it gives {}, not true, false or a status",
                other.kind()
            )),
            Err(Fault::Absent(what)) => Verdict::progressing(format!("{what} is not there yet")),
            Err(Fault::Type(message)) => self.unfit(&message),
            Err(Fault::Budget) => self.unfit("it takes too many steps"),
        })
    }

    /// The rule cannot be evaluated on this object.
    fn unfit(&self, message: &str) -> Verdict {
        unfit(&self.place, message)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule in {}", self.place)
    }
}

/// What the user's rule says of the object, if there is one: by its annotations, else for its kind.
pub(crate) fn assess(object: &Value, of_kinds: &ClusterRules) -> Option<Verdict> {
    let rule = match Rule::of(object) {
        Ok(Some(rule)) => Ok(rule),
        Ok(None) => of_kinds.rule(object)?,
        Err(error) => Err(error),
    };
    match rule {
        Ok(rule) => rule.assess(object),
        Err(error) => Some(Verdict::new(Status::Unknown, error.to_string())),
    }
}

fn unfit(place: &str, message: &str) -> Verdict {
    let message = format!("the health rule in {place} cannot be evaluated: {message}");
    Verdict::new(Status::Unknown, message)
}

fn not_yet(condition: &str) -> String {
    format!("not yet true: {}", line::one_line(condition, 160))
}

/// `Degraded`, or `Degraded: why`.
fn said_status(said: &str) -> Option<Verdict> {
    let (word, why) = said.split_once(':').unwrap_or((said, ""));
    let status = [
        Status::Healthy,
        Status::Suspended,
        Status::Progressing,
        Status::Degraded,
    ]
    .into_iter()
    .find(|status| status.as_str() == word.trim())?;
    let why = why.trim();
    Some(Verdict::new(
        status,
        if why.is_empty() { "by its rule" } else { why },
    ))
}
