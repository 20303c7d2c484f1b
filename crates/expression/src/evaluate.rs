//! Walks expressions and computes their values.

use serde_json::{Map, Value};

use crate::compare;
use crate::error::{Error, Reason};
use crate::limits::RANGE;
use crate::number;
use crate::operand::{Operand, Stop, describe, readable, undefined, weight};
use crate::run::{Frame, Run};
use crate::syntax::{Expr, Fragment, Kind, Operator, Span};

/// Operands inside operands, over all nested expressions and values: bounds the stack.
const FRAMES: usize = 80;

impl Run<'_> {
    pub(crate) fn eval(&mut self, frame: Frame<'_>, expr: &Expr) -> Result<Operand, Stop> {
        self.tick(frame.text, &expr.span, 1)?;
        if self.frames >= FRAMES {
            let message = "the expression and the values in it nest too deeply";
            return Err(Error::at(frame.text, expr.span.start, Reason::Nesting, message).into());
        }
        self.frames += 1;
        // The kinds that nest most have no part in the large frame of `kind`.
        let result = match &expr.kind {
            Kind::Block(index) => self.block(frame, *index),
            Kind::Chain { first, rest } => self.chain(frame, expr, first, rest),
            Kind::Name(name) => self.postfix(frame, &expr.span, Some(name), None, &[]),
            _ => self.kind(frame, expr),
        };
        self.frames -= 1;
        result
    }

    pub(crate) fn value(&mut self, frame: Frame<'_>, expr: &Expr) -> Result<Value, Stop> {
        self.eval(frame, expr)?.value(frame.text, &expr.span)
    }

    fn kind(&mut self, frame: Frame<'_>, expr: &Expr) -> Result<Operand, Stop> {
        let value = match &expr.kind {
            Kind::Literal(value) => value.clone(),
            Kind::Text(fragments) => Value::String(self.fragments(frame, &expr.span, fragments)?),
            Kind::Postfix { base, steps } => {
                let (name, base) = match &base.kind {
                    Kind::Name(name) => (Some(name.as_slice()), None),
                    _ => (None, Some(base.as_ref())),
                };
                return self.postfix(frame, &expr.span, name, base, steps);
            }
            Kind::List(items) => {
                let items = items.iter().map(|item| self.value(frame, item));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            Kind::Map(entries) => {
                let mut map = Map::new();
                for (key, value) in entries {
                    let name = self.value(frame, key)?;
                    let name = readable(&name, frame.text, &key.span)?;
                    map.insert(name, self.value(frame, value)?);
                }
                Value::Object(map)
            }
            Kind::Not(inner) => Value::Bool(!self.truth(frame, inner)?),
            Kind::Negate(inner) => {
                let value = self.open(frame, inner)?;
                number::negate(&value).map_err(type_error(frame, &expr.span))?
            }
            Kind::Empty(inner) => {
                let value = self.eval(frame, inner)?.or_null();
                self.guard(frame, &inner.span, &value)?;
                Value::Bool(compare::is_empty(&value))
            }
            Kind::Size(inner) => {
                let value = self.eval(frame, inner)?.or_null();
                self.guard(frame, &inner.span, &value)?;
                compare::size(&value).map_err(type_error(frame, &inner.span))?
            }
            Kind::And(parts) => {
                let mut all = true;
                for part in parts {
                    all = all && self.truth(frame, part)?;
                }
                Value::Bool(all)
            }
            Kind::Or(parts) => {
                let mut any = false;
                for part in parts {
                    any = any || self.truth(frame, part)?;
                }
                Value::Bool(any)
            }
            Kind::Choose {
                condition,
                then,
                otherwise,
            } => {
                let chosen = if self.truth(frame, condition)? {
                    then
                } else {
                    otherwise
                };
                return self.eval(frame, chosen);
            }
            Kind::Block(_) | Kind::Chain { .. } | Kind::Name(_) => return self.eval(frame, expr),
            Kind::Default { value, otherwise } => match self.eval(frame, value)? {
                Operand::Value(value) if self.is_secret(&value) || compare::is_set(&value) => value,
                _ => return self.eval(frame, otherwise),
            },
        };
        Ok(Operand::Value(value))
    }

    fn block(&mut self, frame: Frame<'_>, index: usize) -> Result<Operand, Stop> {
        match frame.code.blocks.get(index) {
            Some(block) => self.code(frame.text, &block.code),
            None => Ok(Operand::Value(Value::Null)),
        }
    }

    pub(crate) fn fragments(
        &mut self,
        frame: Frame<'_>,
        span: &Span,
        fragments: &[Fragment],
    ) -> Result<String, Stop> {
        let mut result = String::new();
        for fragment in fragments {
            match fragment {
                Fragment::Text(text) => result.push_str(text),
                Fragment::Block(index) => {
                    let value = self.block(frame, *index)?.value(frame.text, span)?;
                    result.push_str(&readable(&value, frame.text, span)?);
                }
            }
            self.fits(frame, span, result.len())?;
        }
        Ok(result)
    }

    fn chain(
        &mut self,
        frame: Frame<'_>,
        whole: &Expr,
        first: &Expr,
        rest: &[(Operator, Expr)],
    ) -> Result<Operand, Stop> {
        let mut left = self.side(frame, first, rest.first().map(|(operator, _)| *operator))?;
        for (operator, expr) in rest {
            let value = match operator {
                Operator::Equal | Operator::NotEqual => {
                    let equal = self.equal(frame, whole, left, expr)?;
                    Value::Bool(equal == (*operator == Operator::Equal))
                }
                _ => {
                    let a = left.value(frame.text, &first.span)?;
                    let b = self.side(frame, expr, Some(*operator))?;
                    let b = b.value(frame.text, &expr.span)?;
                    self.operate(frame, &whole.span, *operator, &a, &b)?
                }
            };
            self.tick(frame.text, &expr.span, weight(&value))?;
            left = Operand::Value(value);
        }
        Ok(left)
    }

    /// One side of an operator. What `-` and `/` cannot compute with may be meant as text.
    fn side(
        &mut self,
        frame: Frame<'_>,
        expr: &Expr,
        operator: Option<Operator>,
    ) -> Result<Operand, Stop> {
        let operand = self.eval(frame, expr)?;
        if !matches!(operator, Some(Operator::Subtract | Operator::Divide)) {
            return Ok(operand);
        }
        match &operand {
            Operand::Undefined { name } if !matches!(expr.kind, Kind::Block(_)) => {
                Err(Stop::Text(undefined(frame.text, &expr.span, name)))
            }
            Operand::Value(value @ Value::String(_)) if number::read(value).is_none() => {
                let message = format!("{} is not a number", describe(value));
                Err(Stop::Text(Error::at(
                    frame.text,
                    expr.span.start,
                    Reason::Type,
                    message,
                )))
            }
            _ => Ok(operand),
        }
    }

    fn equal(
        &mut self,
        frame: Frame<'_>,
        whole: &Expr,
        left: Operand,
        right: &Expr,
    ) -> Result<bool, Stop> {
        let right = self.eval(frame, right)?;
        let (left, right) = match (left, right) {
            (
                Operand::Value(Value::Null) | Operand::Undefined { .. },
                Operand::Value(Value::Null),
            )
            | (Operand::Value(Value::Null), Operand::Undefined { .. }) => return Ok(true),
            (Operand::Value(_), Operand::Value(Value::Null))
            | (Operand::Value(Value::Null), Operand::Value(_)) => return Ok(false),
            (left, right) => (
                left.value(frame.text, &whole.span)?,
                right.value(frame.text, &whole.span)?,
            ),
        };
        self.guard(frame, &whole.span, &left)?;
        self.guard(frame, &whole.span, &right)?;
        Ok(compare::equal(&left, &right))
    }

    fn operate(
        &mut self,
        frame: Frame<'_>,
        span: &Span,
        operator: Operator,
        left: &Value,
        right: &Value,
    ) -> Result<Value, Stop> {
        if operator == Operator::Add && (left.is_string() || right.is_string()) {
            let mut text = readable(left, frame.text, span)?;
            text.push_str(&readable(right, frame.text, span)?);
            self.fits(frame, span, text.len())?;
            return Ok(Value::String(text));
        }
        self.guard(frame, span, left)?;
        self.guard(frame, span, right)?;
        let result = match operator {
            Operator::Range => range(left, right),
            Operator::Less
            | Operator::LessOrEqual
            | Operator::Greater
            | Operator::GreaterOrEqual => compare::order(operator, left, right).map(Value::Bool),
            Operator::Matches | Operator::NotMatches => compare::matches(left, right)
                .map(|matches| Value::Bool(matches == (operator == Operator::Matches))),
            Operator::StartsWith
            | Operator::NotStartsWith
            | Operator::EndsWith
            | Operator::NotEndsWith => compare::affix(operator, left, right).map(Value::Bool),
            _ => number::arithmetic(operator, left, right),
        };
        result.map_err(type_error(frame, span))
    }

    fn truth(&mut self, frame: Frame<'_>, expr: &Expr) -> Result<bool, Stop> {
        let value = self.open(frame, expr)?;
        compare::truth(&value).map_err(type_error(frame, &expr.span))
    }

    /// A value that is looked into.
    pub(crate) fn open(&mut self, frame: Frame<'_>, expr: &Expr) -> Result<Value, Stop> {
        let value = self.value(frame, expr)?;
        self.guard(frame, &expr.span, &value)?;
        Ok(value)
    }
}

fn type_error(frame: Frame<'_>, span: &Span) -> impl FnOnce(String) -> Stop {
    let (text, offset) = (frame.text, span.start);
    move |message| Stop::Error(Error::at(text, offset, Reason::Type, message))
}

fn range(left: &Value, right: &Value) -> Result<Value, String> {
    let (Some(from), Some(to)) = (left.as_i64(), right.as_i64()) else {
        return Err("a range needs two whole numbers".to_owned());
    };
    if to
        .checked_sub(from)
        .is_none_or(|length| length.abs() >= RANGE)
    {
        return Err(format!("a range has at most {RANGE} elements"));
    }
    let items: Vec<Value> = if from <= to {
        (from..=to).map(Value::from).collect()
    } else {
        (to..=from).rev().map(Value::from).collect()
    };
    Ok(Value::Array(items))
}
