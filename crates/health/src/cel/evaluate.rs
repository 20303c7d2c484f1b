//! The value of an expression, in a bounded number of steps.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::syntax::{Expression, Loop, LoopKind, Node, Operator};
use super::value::Value;
use super::{MADE_TEXT, STEPS, functions};

/// Why there is no value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// A field, key or index is not there; later it may be.
    Absent(String),
    /// An operator or function cannot work on what it got.
    Type(String),
    /// Too many steps, or too large a text.
    Budget,
}

pub(super) type Found<'a> = Result<Value<'a>, Fault>;

/// Evaluates with these values of the roots.
pub(crate) fn evaluate<'a>(node: &'a Node, roots: &[(&'a str, Value<'a>)]) -> Found<'a> {
    let mut run = Run {
        steps: 0,
        names: roots.to_vec(),
    };
    run.value(node)
}

pub(super) struct Run<'a> {
    steps: usize,
    /// The innermost last.
    names: Vec<(&'a str, Value<'a>)>,
}

impl<'a> Run<'a> {
    /// Counts steps.
    pub(super) fn spend(&mut self, steps: usize) -> Result<(), Fault> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps > STEPS {
            Err(Fault::Budget)
        } else {
            Ok(())
        }
    }

    fn value(&mut self, node: &'a Node) -> Found<'a> {
        self.spend(1)?;
        match &node.expression {
            Expression::Null => Ok(Value::Null),
            Expression::Bool(it) => Ok(Value::Bool(*it)),
            Expression::Int(it) => Ok(Value::Int(*it)),
            Expression::Double(it) => Ok(Value::Double(*it)),
            Expression::Text(it) => Ok(Value::Text(Cow::Borrowed(it))),
            Expression::Name(name) => self
                .names
                .iter()
                .rev()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.clone())
                .ok_or_else(|| Fault::Absent(name.clone())),
            Expression::Member(of, name) => {
                let value = self.value(of)?;
                self.member(&value, name)?
                    .ok_or_else(|| Fault::Absent(path(node)))
            }
            Expression::Has(of) => match self.value(of) {
                Ok(value) => Ok(Value::Bool(!matches!(value, Value::Null))),
                Err(Fault::Absent(_)) => Ok(Value::Bool(false)),
                Err(fault) => Err(fault),
            },
            Expression::Index(of, index) => {
                let value = self.value(of)?;
                let index = self.value(index)?;
                self.index(&value, &index)?
                    .ok_or_else(|| Fault::Absent(path(node)))
            }
            Expression::All(nodes) => self.chain(nodes, false),
            Expression::Any(nodes) => self.chain(nodes, true),
            Expression::Not(of) => self.truth(of).map(|it| Value::Bool(!it)),
            Expression::Negative(of) => match self.value(of)? {
                Value::Int(it) => it.checked_neg().map(Value::Int).ok_or_else(overflow),
                Value::Double(it) => Ok(Value::Double(-it)),
                other => Err(Fault::Type(format!("{} has no sign", other.kind()))),
            },
            Expression::Two(operator, left, right) => {
                let left = self.value(left)?;
                let right = self.value(right)?;
                self.two(*operator, &left, &right)
            }
            Expression::Choice(nodes) => {
                let [condition, this, that] = nodes.as_ref();
                let chosen = if self.truth(condition)? { this } else { that };
                self.value(chosen)
            }
            Expression::List(nodes) => {
                let values: Result<Vec<_>, _> = nodes.iter().map(|node| self.value(node)).collect();
                Ok(Value::List(values?.into()))
            }
            Expression::Map(entries) => self.map(entries),
            Expression::Call(function, nodes) => {
                let values: Result<Vec<_>, _> = nodes.iter().map(|node| self.value(node)).collect();
                functions::call(self, *function, &values?)
            }
            Expression::Loop(of) => self.repeat(of),
        }
    }

    fn truth(&mut self, node: &'a Node) -> Result<bool, Fault> {
        match self.value(node)? {
            Value::Bool(it) => Ok(it),
            other => Err(Fault::Type(format!(
                "{} where true or false is needed",
                other.kind()
            ))),
        }
    }

    /// Of `&&` and `||`: the deciding value wins over faults of the others, on either side of it.
    fn chain(&mut self, nodes: &'a [Node], decides: bool) -> Found<'a> {
        let mut fault = None;
        for node in nodes {
            match self.truth(node) {
                Ok(it) if it == decides => return Ok(Value::Bool(it)),
                Ok(_) => {}
                Err(Fault::Budget) => return Err(Fault::Budget),
                Err(found) => {
                    fault.get_or_insert(found);
                }
            }
        }
        fault.map_or(Ok(Value::Bool(!decides)), Err)
    }

    fn member(&mut self, of: &Value<'a>, name: &str) -> Result<Option<Value<'a>>, Fault> {
        match of {
            Value::Object(map) => Ok(map.get(name).map(Value::of)),
            Value::Map(_) => self.index(of, &Value::Text(Cow::Owned(name.to_owned()))),
            Value::Null => Ok(None),
            other => Err(Fault::Type(format!("{} has no field {name}", other.kind()))),
        }
    }

    fn index(&mut self, of: &Value<'a>, index: &Value<'a>) -> Result<Option<Value<'a>>, Fault> {
        match (of, index) {
            (Value::Object(map), Value::Text(key)) => Ok(map.get(key.as_ref()).map(Value::of)),
            (Value::Map(entries), key) => {
                for (known, value) in entries.iter() {
                    if self.equal(known, key)? {
                        return Ok(Some(value.clone()));
                    }
                }
                Ok(None)
            }
            (Value::Array(list), Value::Int(at)) => Ok(usize::try_from(*at)
                .ok()
                .and_then(|at| list.get(at))
                .map(Value::of)),
            (Value::List(list), Value::Int(at)) => Ok(usize::try_from(*at)
                .ok()
                .and_then(|at| list.get(at))
                .cloned()),
            (of, index) => Err(Fault::Type(format!(
                "{} cannot be looked up in {}",
                index.kind(),
                of.kind()
            ))),
        }
    }

    fn map(&mut self, nodes: &'a [(Node, Node)]) -> Found<'a> {
        let mut entries: Vec<(Value<'a>, Value<'a>)> = Vec::with_capacity(nodes.len());
        for (key, value) in nodes {
            let key = self.value(key)?;
            if !matches!(key, Value::Text(_) | Value::Int(_) | Value::Bool(_)) {
                return Err(Fault::Type(format!("{} cannot be a key", key.kind())));
            }
            entries.push((key, self.value(value)?));
        }
        Ok(Value::Map(entries.into()))
    }

    fn repeat(&mut self, of: &'a Loop) -> Found<'a> {
        let range = self.value(&of.range)?;
        // Of a map, the keys.
        self.spend(range.size().unwrap_or(0))?;
        let elements = range
            .elements()
            .or_else(|| Some(range.entries()?.into_iter().map(|(key, _)| key).collect()))
            .ok_or_else(|| Fault::Type(format!("{} has no elements", range.kind())))?;
        let mut made = Vec::new();
        let mut count = 0_usize;
        let mut fault = None;
        for element in elements {
            self.names.push((&of.variable, element.clone()));
            let answer = self.each(of, &mut made, element);
            self.names.pop();
            match (of.kind, answer) {
                (_, Err(Fault::Budget)) => return Err(Fault::Budget),
                (LoopKind::All, Ok(false)) => return Ok(Value::Bool(false)),
                (LoopKind::Exists, Ok(true)) => return Ok(Value::Bool(true)),
                (_, Ok(yes)) => count += usize::from(yes),
                // As for && and ||: another element may decide.
                (LoopKind::All | LoopKind::Exists, Err(found)) => {
                    fault.get_or_insert(found);
                }
                (_, Err(found)) => return Err(found),
            }
        }
        if let Some(fault) = fault {
            return Err(fault);
        }
        Ok(match of.kind {
            LoopKind::All => Value::Bool(true),
            LoopKind::Exists => Value::Bool(false),
            LoopKind::ExistsOne => Value::Bool(count == 1),
            LoopKind::Filter | LoopKind::Map => Value::List(made.into()),
        })
    }

    /// Asks the body of one element, or lets it make one.
    fn each(
        &mut self,
        of: &'a Loop,
        made: &mut Vec<Value<'a>>,
        element: Value<'a>,
    ) -> Result<bool, Fault> {
        match of.kind {
            LoopKind::All | LoopKind::Exists | LoopKind::ExistsOne => self.truth(&of.body),
            LoopKind::Filter => {
                let kept = self.truth(&of.body)?;
                if kept {
                    made.push(element);
                }
                Ok(kept)
            }
            LoopKind::Map => {
                let kept = match &of.filter {
                    Some(filter) => self.truth(filter)?,
                    None => true,
                };
                if kept {
                    made.push(self.value(&of.body)?);
                }
                Ok(kept)
            }
        }
    }

    fn two(&mut self, operator: Operator, left: &Value<'a>, right: &Value<'a>) -> Found<'a> {
        let ordered = |order: fn(Ordering) -> bool| {
            compare(left, right)
                .map(|found| Value::Bool(found.is_some_and(order)))
                .ok_or_else(|| unfit(left, right))
        };
        match operator {
            Operator::Equal => self.equal(left, right).map(Value::Bool),
            Operator::NotEqual => self.equal(left, right).map(|it| Value::Bool(!it)),
            Operator::Less => ordered(Ordering::is_lt),
            Operator::LessOrEqual => ordered(Ordering::is_le),
            Operator::Greater => ordered(Ordering::is_gt),
            Operator::GreaterOrEqual => ordered(Ordering::is_ge),
            Operator::In => self.contains(right, left).map(Value::Bool),
            Operator::Plus => self.plus(left, right),
            Operator::Minus | Operator::Times | Operator::Divided | Operator::Remainder => {
                arithmetic(operator, left, right)
            }
        }
    }

    fn plus(&mut self, left: &Value<'a>, right: &Value<'a>) -> Found<'a> {
        match (left, right) {
            (Value::Text(left), Value::Text(right)) => {
                let length = left.len() + right.len();
                if length > MADE_TEXT {
                    return Err(Fault::Budget);
                }
                self.spend(length / 16)?;
                Ok(Value::Text(Cow::Owned(format!("{left}{right}"))))
            }
            _ => match (left.elements(), right.elements()) {
                (Some(mut both), Some(more)) => {
                    both.extend(more);
                    self.spend(both.len())?;
                    Ok(Value::List(both.into()))
                }
                _ => arithmetic(Operator::Plus, left, right),
            },
        }
    }

    fn contains(&mut self, of: &Value<'a>, what: &Value<'a>) -> Result<bool, Fault> {
        if of.entries().is_some() {
            return match self.index(of, what) {
                Ok(found) => Ok(found.is_some()),
                Err(Fault::Type(_)) => Ok(false),
                Err(fault) => Err(fault),
            };
        }
        let Some(elements) = of.elements() else {
            return Err(Fault::Type(format!("{} has no elements", of.kind())));
        };
        for element in &elements {
            if self.equal(element, what)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn equal(&mut self, left: &Value<'a>, right: &Value<'a>) -> Result<bool, Fault> {
        self.spend(1)?;
        if let (Value::Text(left), Value::Text(right)) = (left, right) {
            self.spend(left.len().min(right.len()) / 64)?;
            return Ok(left == right);
        }
        if let (Some(left), Some(right)) = (left.elements(), right.elements()) {
            self.spend(left.len())?;
            if left.len() != right.len() {
                return Ok(false);
            }
            for (left, right) in left.iter().zip(&right) {
                if !self.equal(left, right)? {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        if let (Some(entries), Some(size)) = (left.entries(), right.entries().map(|it| it.len())) {
            self.spend(entries.len())?;
            if entries.len() != size {
                return Ok(false);
            }
            for (key, value) in &entries {
                match self.index(right, key) {
                    Ok(Some(other)) if self.equal(value, &other)? => {}
                    Ok(_) | Err(Fault::Type(_)) => return Ok(false),
                    Err(fault) => return Err(fault),
                }
            }
            return Ok(true);
        }
        Ok(match (left, right) {
            (Value::Null, Value::Null) => true,
            _ => compare(left, right).flatten() == Some(Ordering::Equal),
        })
    }
}

/// The order of two values, nothing for a number that is none; or nothing at all for values that have no order.
#[expect(
    clippy::option_option,
    reason = "no order for this pair of types is not the same as none for this NaN"
)]
fn compare(left: &Value<'_>, right: &Value<'_>) -> Option<Option<Ordering>> {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => Some(Some(left.cmp(right))),
        (Value::Text(left), Value::Text(right)) => Some(Some(left.cmp(right))),
        (Value::Bool(left), Value::Bool(right)) => Some(Some(left.cmp(right))),
        _ => Some(double(left)?.partial_cmp(&double(right)?)),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "as the language compares numbers of two types"
)]
const fn double(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Int(it) => Some(*it as f64),
        Value::Double(it) => Some(*it),
        _ => None,
    }
}

fn arithmetic<'a>(operator: Operator, left: &Value<'a>, right: &Value<'a>) -> Found<'a> {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => match operator {
            Operator::Plus => left.checked_add(*right),
            Operator::Minus => left.checked_sub(*right),
            Operator::Times => left.checked_mul(*right),
            Operator::Divided => left.checked_div(*right),
            _ => left.checked_rem(*right),
        }
        .map(Value::Int)
        .ok_or_else(overflow),
        (Value::Double(left), Value::Double(right)) => match operator {
            Operator::Plus => Ok(left + right),
            Operator::Minus => Ok(left - right),
            Operator::Times => Ok(left * right),
            Operator::Divided => Ok(left / right),
            _ => Err(Fault::Type("% works on whole numbers".to_owned())),
        }
        .map(Value::Double),
        _ => Err(unfit(left, right)),
    }
}

fn unfit(left: &Value<'_>, right: &Value<'_>) -> Fault {
    Fault::Type(format!(
        "{} and {} do not go together",
        left.kind(),
        right.kind()
    ))
}

fn overflow() -> Fault {
    Fault::Type("the result is no number, or too large".to_owned())
}

/// `status.conditions[…].type`, for messages.
fn path(node: &Node) -> String {
    match &node.expression {
        Expression::Name(name) => name.clone(),
        Expression::Member(of, name) => format!("{}.{name}", path(of)),
        Expression::Index(of, index) => match &index.expression {
            Expression::Text(key) => format!("{}['{key}']", path(of)),
            Expression::Int(at) => format!("{}[{at}]", path(of)),
            _ => format!("{}[…]", path(of)),
        },
        _ => "…".to_owned(),
    }
}
