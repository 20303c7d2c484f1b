//! One evaluation: texts, names and their values, and what it may cost.

use serde_json::{Map, Value};

use crate::context::Lookup;
use crate::error::{Error, Reason};
use crate::evaluator::Evaluator;
use crate::lex;
use crate::limits::{NESTING, STEPS, TEXT_BYTES, TREE_DEPTH, VALUE_BYTES};
use crate::operand::{Operand, Stop, readable, weight};
use crate::syntax::{Code, Span, Template};

/// One piece of code and the text it stands in.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'s> {
    pub(crate) text: &'s str,
    pub(crate) code: &'s Code,
}

/// One evaluation.
pub(crate) struct Run<'r> {
    pub(crate) settings: &'r Evaluator<'r>,
    outer: &'r str,
    steps: usize,
    /// Operands being evaluated inside each other.
    pub(crate) frames: usize,
    /// The names whose values are being evaluated.
    values: Vec<String>,
}

impl<'r> Run<'r> {
    pub(crate) fn new(settings: &'r Evaluator<'r>, outer: &'r str) -> Self {
        Self {
            settings,
            outer,
            steps: 0,
            frames: 0,
            values: Vec::new(),
        }
    }

    /// A text with its expressions replaced.
    pub(crate) fn text(
        &mut self,
        text: &str,
        template: &Template,
        keep: bool,
    ) -> Result<String, Stop> {
        let mut result = String::with_capacity(text.len());
        let mut position = 0;
        for block in &template.blocks {
            result.push_str(text.get(position..block.span.start).unwrap_or(""));
            position = block.span.end;
            let value = self
                .code(text, &block.code)
                .and_then(|operand| operand.value(text, &block.span))
                .and_then(|value| readable(&value, text, &block.span));
            match value {
                Ok(value) => result.push_str(&value),
                Err(Stop::Deferred(_)) if keep => {
                    result.push_str(text.get(block.span.clone()).unwrap_or(""));
                }
                Err(stop) => return Err(stop),
            }
            if result.len() > TEXT_BYTES {
                let message = format!("the text grows larger than {TEXT_BYTES} bytes");
                return Err(Error::at(text, block.span.start, Reason::TooLarge, message).into());
            }
        }
        result.push_str(text.get(position..).unwrap_or(""));
        Ok(result)
    }

    /// A string of a tree, as the outermost text.
    pub(crate) fn leaf(&mut self, text: &str) -> Result<Value, Error> {
        bounded(text)?;
        let template = lex::template(text)?;
        let keep = self.settings.keep_deferred;
        let result = match only_block(text, &template) {
            Some(code) => match self
                .code(text, code)
                .and_then(|o| o.value(text, &code.span))
            {
                Err(Stop::Deferred(_)) if keep => Ok(Value::String(text.to_owned())),
                other => other,
            },
            None => self.text(text, &template, keep).map(Value::String),
        };
        result.map_err(Stop::into_error)
    }

    /// A value with every string that holds expressions evaluated by `leaf`.
    pub(crate) fn tree<E: From<Error>>(
        &mut self,
        tree: &Value,
        depth: usize,
        leaf: &mut dyn FnMut(&mut Self, &str) -> Result<Value, E>,
    ) -> Result<Value, E> {
        if depth > TREE_DEPTH {
            let message = format!("lists and maps nest more than {TREE_DEPTH} levels deep");
            return Err(Error::at(self.outer, 0, Reason::Nesting, message).into());
        }
        Ok(match tree {
            Value::String(text) if crate::has_expressions(text) => leaf(self, text)?,
            Value::Array(list) => {
                let items = list.iter().map(|item| self.tree(item, depth + 1, leaf));
                Value::Array(items.collect::<Result<_, E>>()?)
            }
            Value::Object(map) => {
                let mut result = Map::new();
                for (key, value) in map {
                    result.insert(key.clone(), self.tree(value, depth + 1, leaf)?);
                }
                Value::Object(result)
            }
            other => other.clone(),
        })
    }

    pub(crate) fn code(&mut self, text: &str, code: &Code) -> Result<Operand, Stop> {
        let frame = Frame { text, code };
        let Some(expression) = &code.expression else {
            return self.spliced(frame);
        };
        match self.eval(frame, expression) {
            Err(Stop::Text(_)) if code.may_be_text => self.spliced(frame),
            Err(Stop::Text(error)) => Err(Stop::Error(error)),
            other => other,
        }
    }

    /// The code as text with its nested expressions replaced.
    fn spliced(&mut self, frame: Frame<'_>) -> Result<Operand, Stop> {
        let Frame { text, code } = frame;
        let mut result = String::new();
        let mut position = code.span.start;
        let raw = |from: usize, to: usize| text.get(from..to).unwrap_or("").replace("\\>", ">");
        for block in &code.blocks {
            result.push_str(&raw(position, block.span.start));
            position = block.span.end;
            let value = self.code(text, &block.code)?.value(text, &block.span)?;
            result.push_str(&readable(&value, text, &block.span)?);
            self.fits(frame, &block.span, result.len())?;
        }
        result.push_str(&raw(position, code.span.end));
        Ok(Operand::Value(Value::String(result.trim().to_owned())))
    }

    /// Looks a path up, and evaluates the value that it has.
    pub(crate) fn resolve(
        &mut self,
        frame: Frame<'_>,
        span: &Span,
        path: &[String],
    ) -> Result<Operand, Stop> {
        let found = self.settings.context.resolve(path);
        self.found(frame, span, found, path.join("."))
    }

    pub(crate) fn found(
        &mut self,
        frame: Frame<'_>,
        span: &Span,
        found: Lookup,
        name: String,
    ) -> Result<Operand, Stop> {
        let error = |reason, message: String| Error::at(frame.text, span.start, reason, message);
        match found {
            Lookup::Undefined => Ok(Operand::Undefined { name }),
            Lookup::Deferred => {
                let message = format!("{name} is not known at this point of the execution");
                Err(Stop::Deferred(error(Reason::Deferred, message).named(name)))
            }
            Lookup::Secret(secret) => match self.settings.secrets {
                Some(marker) => Ok(Operand::Value(Value::String(marker.mark(&secret)))),
                None => {
                    let message = format!("the secret {secret} cannot be used here");
                    Err(error(Reason::Secret, message).named(secret).into())
                }
            },
            Lookup::Value(value) => {
                self.tick(frame.text, span, weight(&value))?;
                if !holds_expressions(&value, 0) {
                    return Ok(Operand::Value(value));
                }
                if self.values.len() >= NESTING || self.values.contains(&name) {
                    let message = if self.values.contains(&name) {
                        format!("the value of {name} refers to itself")
                    } else {
                        format!("values refer to each other over more than {NESTING} levels")
                    };
                    return Err(error(Reason::Nesting, message).named(name).into());
                }
                self.values.push(name.clone());
                let result = match &value {
                    Value::String(text) => self.inner(text),
                    _ => self
                        .tree(&value, 0, &mut |run, text| {
                            run.inner(text)?.value(text, &(0..text.len()))
                        })
                        .map(Operand::Value),
                };
                self.values.pop();
                result.map_err(|stop| {
                    stop.map(|inner| Error {
                        name: inner.name,
                        ..error(
                            inner.reason,
                            format!("in the value of {name}: {}", inner.message),
                        )
                    })
                })
            }
        }
    }

    /// A value that holds expressions.
    fn inner(&mut self, text: &str) -> Result<Operand, Stop> {
        let template = lex::template(text)?;
        match only_block(text, &template) {
            Some(code) => self.code(text, code),
            None => self
                .text(text, &template, false)
                .map(|t| Operand::Value(Value::String(t))),
        }
    }

    pub(crate) fn is_secret(&self, value: &Value) -> bool {
        let marks = |text: &str| {
            self.settings
                .secrets
                .is_some_and(|marker| marker.marks(text))
        };
        value.as_str().is_some_and(marks)
    }

    /// Refuses to look into a secret.
    pub(crate) fn guard(&self, frame: Frame<'_>, span: &Span, value: &Value) -> Result<(), Stop> {
        if !self.is_secret(value) {
            return Ok(());
        }
        let message = "a secret can be put into text but not compared, measured or changed: its value \
                       is not known here";
        Err(Error::at(frame.text, span.start, Reason::Secret, message).into())
    }

    pub(crate) fn fits(&self, frame: Frame<'_>, span: &Span, bytes: usize) -> Result<(), Stop> {
        if bytes <= VALUE_BYTES {
            return Ok(());
        }
        let message = format!("the value grows larger than {VALUE_BYTES} bytes");
        Err(Error::at(frame.text, span.start, Reason::TooLarge, message).into())
    }

    pub(crate) fn tick(&mut self, text: &str, span: &Span, steps: usize) -> Result<(), Stop> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps <= STEPS {
            return Ok(());
        }
        let message = format!("the evaluation takes more than {STEPS} steps");
        Err(Error::at(text, span.start, Reason::TooLarge, message).into())
    }
}

/// Refuses a text that is too large.
pub(crate) fn bounded(text: &str) -> Result<(), Error> {
    if text.len() <= TEXT_BYTES {
        return Ok(());
    }
    let message = format!("the text is larger than {TEXT_BYTES} bytes");
    Err(Error::at(text, 0, Reason::TooLarge, message))
}

/// The code of a text that is one expression and nothing else.
fn only_block<'t>(text: &str, template: &'t Template) -> Option<&'t Code> {
    match template.blocks.as_slice() {
        [block] if block.span == (0..text.len()) => Some(&block.code),
        _ => None,
    }
}

fn holds_expressions(value: &Value, depth: usize) -> bool {
    match value {
        Value::String(text) => crate::has_expressions(text),
        // What nests deeper is refused when it is walked.
        Value::Array(_) | Value::Object(_) if depth > TREE_DEPTH => true,
        Value::Array(list) => list.iter().any(|item| holds_expressions(item, depth + 1)),
        Value::Object(map) => map.values().any(|item| holds_expressions(item, depth + 1)),
        _ => false,
    }
}
