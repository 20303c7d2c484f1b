//! What callers evaluate with.

use jiff::Timestamp;
use serde_json::Value;

use crate::compare;
use crate::context::Context;
use crate::error::{Error, Reason};
use crate::lex;
use crate::operand::{Stop, describe};
use crate::run::{Run, bounded};
use crate::secret::SecretMarker;

/// Evaluates texts against a context.
#[derive(Clone)]
pub struct Evaluator<'c> {
    pub(crate) context: &'c dyn Context,
    pub(crate) now: Option<Timestamp>,
    pub(crate) secrets: Option<&'c SecretMarker>,
    pub(crate) keep_deferred: bool,
}

impl<'c> Evaluator<'c> {
    /// Without clock and secrets; a deferred name is an error.
    pub fn new(context: &'c dyn Context) -> Self {
        Self {
            context,
            now: None,
            secrets: None,
            keep_deferred: false,
        }
    }

    /// The time that `currentTime()` and `currentDate()` tell.
    #[must_use]
    pub fn at(mut self, now: Timestamp) -> Self {
        self.now = Some(now);
        self
    }

    /// Lets secrets be named; they evaluate to the markers of `marker`.
    #[must_use]
    pub fn with_secrets(mut self, marker: &'c SecretMarker) -> Self {
        self.secrets = Some(marker);
        self
    }

    /// Leaves an expression that needs a deferred name as it is written, to be evaluated again later.
    #[must_use]
    pub fn keep_deferred(mut self) -> Self {
        self.keep_deferred = true;
        self
    }

    /// The text with each expression replaced by its value: lists and maps as JSON, all else as it reads.
    ///
    /// # Errors
    /// See [`Reason`]. A name without value and a null are errors here.
    pub fn text(&self, text: &str) -> Result<String, Error> {
        let mut run = Run::new(self, text);
        bounded(text)?;
        let template = lex::template(text)?;
        run.text(text, &template, self.keep_deferred)
            .map_err(Stop::into_error)
    }

    /// The value of a text that is one expression; the outer delimiters may be left out (`<+a> == 1`).
    ///
    /// # Errors
    /// See [`Reason`]. A name without value is an error; a null is not.
    pub fn typed(&self, text: &str) -> Result<Value, Error> {
        let mut run = Run::new(self, text);
        bounded(text)?;
        let code = lex::whole(text)?;
        match run
            .code(text, &code)
            .and_then(|operand| operand.value(text, &code.span))
        {
            Err(Stop::Deferred(_)) if self.keep_deferred => Ok(Value::String(text.to_owned())),
            other => other.map_err(Stop::into_error),
        }
    }

    /// A condition: [`Evaluator::typed`] that yields true or false, or one of these words as text.
    ///
    /// # Errors
    /// See [`Reason`]; any other value is an error.
    pub fn condition(&self, text: &str) -> Result<bool, Error> {
        let value = self.typed(text)?;
        let truth = match &value {
            Value::Bool(truth) => Some(*truth),
            Value::String(word) => compare::bool_word(word),
            _ => None,
        };
        truth.ok_or_else(|| {
            let message = format!("the condition is {}, not true or false", describe(&value));
            Error::at(text, 0, Reason::Type, message)
        })
    }

    /// A tree with every string evaluated. A string that is one expression becomes its value, of any type;
    /// other strings stay text. Keys are left alone. Errors give the place inside the string.
    ///
    /// # Errors
    /// See [`Reason`].
    pub fn tree(&self, tree: &Value) -> Result<Value, Error> {
        let mut run = Run::new(self, "");
        run.tree(tree, 0, &mut |run, text| run.leaf(text))
    }
}

impl std::fmt::Debug for Evaluator<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            context: _,
            now,
            secrets: _,
            keep_deferred,
        } = self;
        f.debug_struct("Evaluator")
            .field("now", now)
            .field("keep_deferred", keep_deferred)
            .finish_non_exhaustive()
    }
}
