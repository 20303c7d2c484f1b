//! Paths, indexes and calls: `service.name`, `list[0]`, `<+x>.trim()`, `json.select("a", <+x>)`.

use serde_json::Value;

use crate::context::Lookup;
use crate::error::{Error, Reason};
use crate::functors;
use crate::methods::{self, MethodError};
use crate::operand::{Operand, Stop, describe, readable, undefined, weight};
use crate::run::{Frame, Run};
use crate::syntax::{Expr, Fragment, Span, Step};

/// Elements of one path.
const PATH: usize = 64;

/// What the steps so far lead to.
enum Cursor {
    /// A path that is looked up when its value is needed.
    Path(Vec<String>),
    /// A value, and whether it came from a nested expression.
    Value(Operand, bool),
}

impl Run<'_> {
    /// Follows `steps` from a name (the first element of a path) or from the value of `base`.
    pub(crate) fn postfix(
        &mut self,
        frame: Frame<'_>,
        span: &Span,
        name: Option<&[Fragment]>,
        base: Option<&Expr>,
        steps: &[Step],
    ) -> Result<Operand, Stop> {
        // A name that is put together from nested expressions may be meant as text.
        let mut maybe_text = false;
        let mut steps = steps;
        let mut cursor = match (name, base) {
            (Some(name), _) => {
                maybe_text = name.iter().any(|part| matches!(part, Fragment::Block(_)));
                let first = self.fragments(frame, span, name)?;
                if let Some((
                    Step::Call {
                        arguments,
                        span: at,
                    },
                    rest,
                )) = steps.split_first()
                {
                    steps = rest;
                    Cursor::Value(self.function(frame, at, &first, arguments)?, false)
                } else {
                    Cursor::Path(vec![first])
                }
            }
            (None, Some(base)) => Cursor::Value(
                self.eval(frame, base)?,
                matches!(base.kind, crate::syntax::Kind::Block(_)),
            ),
            (None, None) => Cursor::Value(Operand::Value(Value::Null), false),
        };
        while let Some((step, rest)) = steps.split_first() {
            steps = rest;
            cursor = match (step, rest.split_first()) {
                (
                    Step::Member { name, .. },
                    Some((
                        Step::Call {
                            arguments,
                            span: at,
                        },
                        rest,
                    )),
                ) => {
                    steps = rest;
                    let method = self.fragments(frame, at, name)?;
                    self.call(frame, at, cursor, &method, arguments)?
                }
                (Step::Member { name, span: at }, _) => {
                    let name = self.fragments(frame, at, name)?;
                    self.member(frame, at, cursor, &name)?
                }
                (Step::Index(index), _) => {
                    let value = self.open(frame, index)?;
                    let key = readable(&value, frame.text, &index.span)?;
                    self.index(frame, &index.span, cursor, key)?
                }
                (Step::Call { span: at, .. }, _) => {
                    let message = "this cannot be called";
                    return Err(error(frame, at, Reason::Syntax, message).into());
                }
            };
        }
        match cursor {
            Cursor::Value(operand, _) => Ok(operand),
            Cursor::Path(path) => match self.resolve(frame, span, &path)? {
                Operand::Undefined { name } if maybe_text => {
                    Err(Stop::Text(undefined(frame.text, span, &name)))
                }
                other => Ok(other),
            },
        }
    }

    /// `.name`
    fn member(
        &mut self,
        frame: Frame<'_>,
        span: &Span,
        cursor: Cursor,
        name: &str,
    ) -> Result<Cursor, Stop> {
        match cursor {
            Cursor::Path(mut path) => {
                // A nested expression may yield several elements.
                path.extend(name.split('.').map(str::to_owned));
                self.bounded_path(frame, span, path)
            }
            // `<+<+a>.b>`: the text of a may be the beginning of a path, or all of this is text.
            Cursor::Value(Operand::Value(Value::String(text)), true) => {
                let mut path: Vec<String> = text.split('.').map(str::to_owned).collect();
                path.extend(name.split('.').map(str::to_owned));
                self.bounded_path(frame, span, path.clone())?;
                match self.resolve(frame, span, &path)? {
                    Operand::Undefined { name } => {
                        Err(Stop::Text(undefined(frame.text, span, &name)))
                    }
                    found => Ok(Cursor::Value(found, true)),
                }
            }
            Cursor::Value(operand, nested) => Ok(Cursor::Value(inside(operand, name), nested)),
        }
    }

    /// `[index]`
    fn index(
        &mut self,
        frame: Frame<'_>,
        span: &Span,
        cursor: Cursor,
        key: String,
    ) -> Result<Cursor, Stop> {
        match cursor {
            Cursor::Path(mut path) => {
                path.push(key);
                self.bounded_path(frame, span, path)
            }
            Cursor::Value(Operand::Value(value @ (Value::Array(_) | Value::Object(_))), _) => {
                Ok(Cursor::Value(inside(Operand::Value(value), &key), false))
            }
            Cursor::Value(Operand::Value(value), _) => {
                let message = format!("{} has no elements", describe(&value));
                Err(error(frame, span, Reason::Type, message).into())
            }
            Cursor::Value(Operand::Undefined { name }, _) => Ok(Cursor::Value(
                Operand::Undefined {
                    name: format!("{name}[{key}]"),
                },
                false,
            )),
        }
    }

    fn bounded_path(
        &self,
        frame: Frame<'_>,
        span: &Span,
        path: Vec<String>,
    ) -> Result<Cursor, Stop> {
        if path.len() > PATH {
            let message = format!("a path has at most {PATH} elements");
            return Err(error(frame, span, Reason::TooLarge, message).into());
        }
        self.fits(frame, span, path.iter().map(String::len).sum())?;
        Ok(Cursor::Path(path))
    }

    /// `.method(arguments)`
    fn call(
        &mut self,
        frame: Frame<'_>,
        span: &Span,
        cursor: Cursor,
        method: &str,
        arguments: &[Expr],
    ) -> Result<Cursor, Stop> {
        let arguments = self.arguments(frame, arguments)?;
        let receiver = match cursor {
            Cursor::Path(path) => {
                if let [functor] = path.as_slice()
                    && let Some(result) = self.functor(frame, span, functor, method, &arguments)?
                {
                    return Ok(Cursor::Value(result, false));
                }
                if let ("get", [key]) = (method, arguments.as_slice()) {
                    self.guard(frame, span, key)?;
                    let key = readable(key, frame.text, span)?;
                    return self.index(frame, span, Cursor::Path(path), key);
                }
                self.resolve(frame, span, &path)?
            }
            Cursor::Value(operand, _) => operand,
        };
        let receiver = receiver.value(frame.text, span)?;
        if !methods::KEEP_SECRETS.contains(&method) {
            self.guard(frame, span, &receiver)?;
            for argument in &arguments {
                self.guard(frame, span, argument)?;
            }
        }
        self.tick(frame.text, span, 1 + weight(&receiver))?;
        let result = methods::call(&receiver, method, &arguments).map_err(|failed| {
            let (reason, message) = match failed {
                MethodError::Unknown => {
                    let count = arguments.len();
                    let kind = describe(&receiver);
                    let message = format!("{kind} has no method {method} with {count} argument(s)");
                    (Reason::UnknownFunction, message)
                }
                MethodError::Failed(message) => (Reason::Function, format!("{method}: {message}")),
            };
            Stop::Error(error(frame, span, reason, message))
        })?;
        self.produced(frame, span, &result)?;
        Ok(Cursor::Value(Operand::Value(result), false))
    }

    /// `name(arguments)`
    fn function(
        &mut self,
        frame: Frame<'_>,
        span: &Span,
        name: &str,
        arguments: &[Expr],
    ) -> Result<Operand, Stop> {
        let arguments = self.arguments(frame, arguments)?;
        match self.functor(frame, span, "", name, &arguments)? {
            Some(result) => Ok(result),
            None => {
                let message = format!("there is no function {name}");
                Err(error(frame, span, Reason::UnknownFunction, message).into())
            }
        }
    }

    /// A function of the context, or a built-in one.
    fn functor(
        &mut self,
        frame: Frame<'_>,
        span: &Span,
        functor: &str,
        function: &str,
        arguments: &[Value],
    ) -> Result<Option<Operand>, Stop> {
        let name = if functor.is_empty() {
            function.to_owned()
        } else {
            format!("{functor}.{function}")
        };
        let failed = |message: String| {
            Stop::Error(error(
                frame,
                span,
                Reason::Function,
                format!("{name}: {message}"),
            ))
        };
        let cost = arguments.iter().map(weight).sum::<usize>() + 1;
        self.tick(frame.text, span, cost)?;
        let known = self.settings.context.call(functor, function, arguments);
        let found = match known.map_err(failed)? {
            Some(found) => found,
            None if (functor, function) == ("secrets", "getValue") => match arguments {
                [Value::String(secret)] if !secret.is_empty() => Lookup::Secret(secret.clone()),
                _ => return Err(failed("the identifier of one secret is needed".to_owned())),
            },
            None => {
                for argument in arguments {
                    self.guard(frame, span, argument)?;
                }
                let result = functors::call(functor, function, arguments, self.settings.now);
                match result.map_err(failed)? {
                    Some(value) => {
                        self.produced(frame, span, &value)?;
                        return Ok(Some(Operand::Value(value)));
                    }
                    None => return Ok(None),
                }
            }
        };
        self.found(frame, span, found, name).map(Some)
    }

    fn arguments(&mut self, frame: Frame<'_>, arguments: &[Expr]) -> Result<Vec<Value>, Stop> {
        arguments
            .iter()
            .map(|argument| self.value(frame, argument))
            .collect()
    }

    fn produced(&mut self, frame: Frame<'_>, span: &Span, value: &Value) -> Result<(), Stop> {
        let weight = weight(value);
        self.fits(frame, span, weight.saturating_mul(64))?;
        self.tick(frame.text, span, weight)
    }
}

/// The element `key` of an operand.
fn inside(operand: Operand, key: &str) -> Operand {
    match operand {
        Operand::Value(value) => match Lookup::within(&value, &[key.to_owned()]) {
            Lookup::Value(inner) => Operand::Value(inner),
            _ => Operand::Undefined {
                name: key.to_owned(),
            },
        },
        Operand::Undefined { name } => Operand::Undefined {
            name: format!("{name}.{key}"),
        },
    }
}

fn error(frame: Frame<'_>, span: &Span, reason: Reason, message: impl Into<String>) -> Error {
    Error::at(frame.text, span.start, reason, message)
}
