//! Expressions in values files: against the context snapshot first, then by asking whoever gave the task.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Mutex;
use std::sync::PoisonError;

use async_trait::async_trait;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use sortie_expression::{Context, Evaluator, JsonContext, Lookup, SecretMarker};
use sortie_manifest::Object;

use crate::report::Masked;
use crate::task::Release;

/// Rounds of asking for one file: an answer may hold expressions that name more.
const ROUNDS: usize = 15;

/// Answers names that the context snapshot lacks, and secrets.
#[async_trait]
pub trait Resolver: Send + Sync + fmt::Debug {
    /// One answer per name, in order. Names are expression paths such as `pipeline.variables.x` or
    /// `secrets.getValue("account.token")`.
    async fn resolve(&self, names: &[String]) -> Result<Vec<Resolution>, Unanswered>;
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub enum Resolution {
    /// A value that is no secret.
    Value(Value),
    /// A secret.
    Secret(SecretString),
    /// The task may not have it; one line that says why.
    Denied(String),
    /// There is no such value.
    Undefined,
}

/// The other side could not be asked.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the control plane could not be asked: {reason}")]
pub struct Unanswered {
    /// Why, one line.
    pub reason: String,
}

/// A resolver that knows nothing: for local runs, where `--context` is all there is.
#[derive(Clone, Copy, Debug)]
pub struct Nothing;

#[async_trait]
impl Resolver for Nothing {
    async fn resolve(&self, names: &[String]) -> Result<Vec<Resolution>, Unanswered> {
        Ok(names.iter().map(|_| Resolution::Undefined).collect())
    }
}

/// Why a text could not be resolved.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// An expression is wrong or names what does not exist.
    #[error(transparent)]
    Expression(sortie_expression::Error),
    /// The other side could not be asked.
    #[error(transparent)]
    Unanswered(Unanswered),
    /// A name is not for this task.
    #[error("{name} is denied: {reason}")]
    Denied {
        /// The name.
        name: String,
        /// Why.
        reason: String,
    },
    /// A secret does not exist.
    #[error("there is no secret {name}")]
    NoSecret {
        /// Its identifier.
        name: String,
    },
}

impl Error {
    /// Stable code with a page in the error reference.
    #[must_use]
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Expression(error) => error.code(),
            Self::Unanswered(_) => "SRT-T001",
            Self::Denied { .. } => "SRT-T002",
            Self::NoSecret { .. } => "SRT-T003",
        }
    }
}

/// Resolves texts of one task; remembers what it was told.
#[derive(Debug)]
pub(crate) struct Resolving<'a> {
    resolver: &'a dyn Resolver,
    masked: &'a Masked,
    names: Names,
    secrets: BTreeMap<String, SecretString>,
    marker: SecretMarker,
}

/// The snapshot, what was answered so far, and what was asked in vain.
#[derive(Debug)]
struct Names {
    snapshot: JsonContext,
    answered: BTreeMap<Vec<String>, Value>,
    missing: Mutex<BTreeSet<Vec<String>>>,
}

impl Context for Names {
    fn resolve(&self, path: &[String]) -> Lookup {
        // The longest answered prefix decides: an answer may be a map that the path goes on into.
        for end in (1..=path.len()).rev() {
            if let Some(value) = self.answered.get(&path[..end]) {
                return Lookup::within(value, &path[end..]);
            }
        }
        let found = self.snapshot.resolve(path);
        if found == Lookup::Undefined {
            let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
            missing.insert(path.to_vec());
        }
        found
    }
}

impl<'a> Resolving<'a> {
    /// For one task and what its context says.
    pub(crate) fn new(context: &Value, resolver: &'a dyn Resolver, masked: &'a Masked) -> Self {
        let names = Names {
            snapshot: JsonContext::new(context.clone()),
            answered: BTreeMap::new(),
            missing: Mutex::default(),
        };
        // Random and new each time, so that no text can be mistaken for a marker.
        let marker = SecretMarker::new(&uuid::Uuid::new_v4().simple().to_string());
        Self {
            resolver,
            masked,
            names,
            secrets: BTreeMap::new(),
            marker,
        }
    }

    /// From now on what the Secrets among `objects` hold is masked.
    pub(crate) fn conceal(&self, objects: &[Object], release: &Release) {
        self.masked.learn_set(objects, release);
    }

    /// The text with every expression replaced. Secrets in it are known to the masker before this returns.
    pub(crate) async fn text(&mut self, text: &str) -> Result<String, Error> {
        let mut asked = BTreeSet::new();
        for _ in 0..ROUNDS {
            self.names
                .missing
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clear();
            let result = Evaluator::new(&self.names)
                .with_secrets(&self.marker)
                .text(text);
            let missing = self
                .names
                .missing
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            let new: Vec<_> = missing
                .into_iter()
                .filter(|path| !asked.contains(path))
                .collect();
            if !new.is_empty() {
                self.ask(&new).await?;
                asked.extend(new);
                continue;
            }
            let marked = result.map_err(Error::Expression)?;
            return self.fill(&marked).await;
        }
        Evaluator::new(&self.names)
            .with_secrets(&self.marker)
            .text(text)
            .map_err(Error::Expression)
    }

    /// The value of one secret, such as a connector's password, by its name for the resolver.
    pub(crate) async fn secret(&mut self, name: &str) -> Result<SecretString, Error> {
        if let Some(known) = self.secrets.get(name) {
            return Ok(known.clone());
        }
        let answers = self
            .resolver
            .resolve(&[name.to_owned()])
            .await
            .map_err(Error::Unanswered)?;
        let value = match answers.into_iter().next() {
            Some(Resolution::Secret(value)) => value,
            Some(Resolution::Value(Value::String(value))) => SecretString::from(value),
            Some(Resolution::Denied(reason)) => {
                return Err(Error::Denied {
                    name: name.to_owned(),
                    reason,
                });
            }
            _ => {
                return Err(Error::NoSecret {
                    name: name.to_owned(),
                });
            }
        };
        self.masked.learn(&value);
        self.secrets.insert(name.to_owned(), value.clone());
        Ok(value)
    }

    /// The names of all secrets that were asked for so far.
    pub(crate) fn secret_names(&self) -> Vec<String> {
        self.secrets.keys().cloned().collect()
    }

    async fn ask(&mut self, paths: &[Vec<String>]) -> Result<(), Error> {
        let names: Vec<String> = paths.iter().map(|path| path.join(".")).collect();
        let answers = self
            .resolver
            .resolve(&names)
            .await
            .map_err(Error::Unanswered)?;
        for ((path, name), answer) in paths.iter().zip(names).zip(answers) {
            match answer {
                Resolution::Value(value) => {
                    self.names.answered.insert(path.clone(), value);
                }
                Resolution::Denied(reason) => return Err(Error::Denied { name, reason }),
                // A name that turns out to be a secret must be asked for as one, so that it is masked by its marker.
                Resolution::Secret(_) | Resolution::Undefined => {}
            }
        }
        Ok(())
    }

    async fn fill(&mut self, marked: &str) -> Result<String, Error> {
        let mut values = BTreeMap::new();
        for name in self.marker.names(marked) {
            let value = self
                .secret(&format!("secrets.getValue(\"{name}\")"))
                .await?;
            values.insert(name, value);
        }
        let value = |name: &str| Some(values.get(name)?.expose_secret().to_owned());
        self.marker
            .substitute(marked, value)
            .map_err(|missing| Error::NoSecret { name: missing.name })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::report::Deaf;

    /// Answers from a table, and keeps what it was asked.
    #[derive(Debug, Default)]
    struct Table {
        answers: BTreeMap<&'static str, Resolution>,
        asked: Mutex<Vec<String>>,
        away: bool,
    }

    #[async_trait]
    impl Resolver for Table {
        async fn resolve(&self, names: &[String]) -> Result<Vec<Resolution>, Unanswered> {
            if self.away {
                let reason = "no session".to_owned();
                return Err(Unanswered { reason });
            }
            self.asked.lock().unwrap().extend_from_slice(names);
            let answer = |name: &String| self.answers.get(name.as_str()).cloned();
            Ok(names
                .iter()
                .map(|name| answer(name).unwrap_or(Resolution::Undefined))
                .collect())
        }
    }

    fn table(answers: &[(&'static str, Resolution)]) -> Table {
        Table {
            answers: answers.iter().cloned().collect(),
            ..Table::default()
        }
    }

    const SECRET: &str = r#"secrets.getValue("account.token")"#;

    fn secret(value: &str) -> Resolution {
        Resolution::Secret(SecretString::from(value))
    }

    async fn resolved(table: &Table, text: &str) -> (Result<String, Error>, Masked) {
        let masked = Masked::new(Arc::new(Deaf));
        let context = json!({"env": {"name": "prod"}});
        let result = Resolving::new(&context, table, &masked).text(text).await;
        (result, masked)
    }

    #[tokio::test]
    async fn the_snapshot_is_asked_first() {
        let table = table(&[]);
        let (text, _) = resolved(&table, "in <+env.name>").await;
        assert_eq!(text.unwrap(), "in prod");
        assert!(table.asked.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_the_snapshot_lacks_is_asked_for_once() {
        let answer = Resolution::Value(json!("v1"));
        let table = table(&[("pipeline.variables.tag", answer)]);
        let text = "<+pipeline.variables.tag> <+pipeline.variables.tag>";
        let (text, _) = resolved(&table, text).await;
        assert_eq!(text.unwrap(), "v1 v1");
        let asked = table.asked.lock().unwrap().clone();
        assert_eq!(asked, ["pipeline.variables.tag"]);
    }

    #[tokio::test]
    async fn secrets_are_filled_in_and_masked() {
        let table = table(&[(SECRET, secret("hunter22"))]);
        let (text, masked) = resolved(&table, &format!("p: <+{SECRET}>")).await;
        assert_eq!(text.unwrap(), "p: hunter22");
        assert!(!masked.mask("it is hunter22").contains("hunter22"));
    }

    #[tokio::test]
    async fn each_refusal_has_its_code() {
        let denied = Resolution::Denied("another project".to_owned());
        for (answers, away, text, code) in [
            (vec![], true, "<+a.b>", "SRT-T001"),
            (vec![("a.b", denied.clone())], false, "<+a.b>", "SRT-T002"),
            (
                vec![(SECRET, denied)],
                false,
                r#"<+secrets.getValue("account.token")>"#,
                "SRT-T002",
            ),
            (
                vec![],
                false,
                r#"<+secrets.getValue("account.token")>"#,
                "SRT-T003",
            ),
        ] {
            let table = Table {
                away,
                ..table(&answers)
            };
            let error = resolved(&table, text).await.0.unwrap_err();
            assert_eq!(error.code(), code, "{text}: {error}");
        }
    }

    #[tokio::test]
    async fn a_name_that_nobody_knows_is_an_error_that_names_it() {
        let (text, _) = resolved(&table(&[]), "x <+serviceVariables.nope>").await;
        let error = text.unwrap_err();
        let text = crate::failure::chain(&error);
        assert!(text.contains("serviceVariables.nope"), "{text}");
        assert!(error.code().starts_with("SRT-X"), "{error:?}");
    }

    #[tokio::test]
    async fn a_secret_is_never_taken_for_a_value() {
        let table = table(&[("a.b", secret("hunter22"))]);
        let (text, _) = resolved(&table, "<+a.b>").await;
        assert!(!format!("{text:?}").contains("hunter22"), "{text:?}");
        assert!(text.is_err());
    }
}
