//! The tree of an expression.

use super::{DEPTH, Wrong};

/// A part of an expression.
#[derive(Debug)]
pub(crate) struct Node {
    pub(super) expression: Expression,
    depth: usize,
}

#[derive(Debug)]
pub(super) enum Expression {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
    /// A root such as `status`, or the variable of a macro.
    Name(String),
    Member(Box<Node>, String),
    /// `has(of.member)`
    Has(Box<Node>),
    Index(Box<Node>, Box<Node>),
    /// Of several, all: one false decides.
    All(Vec<Node>),
    /// Of several, any: one true decides.
    Any(Vec<Node>),
    Not(Box<Node>),
    Negative(Box<Node>),
    Two(Operator, Box<Node>, Box<Node>),
    Choice(Box<[Node; 3]>),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Call(Function, Vec<Node>),
    Loop(Loop),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Plus,
    Minus,
    Times,
    Divided,
    Remainder,
}

/// A function; the target of a method is its first argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    Matches,
    LowerAscii,
    UpperAscii,
    Trim,
    ToInt,
    ToDouble,
    ToText,
}

/// `range.all(variable, body)` and its like.
#[derive(Debug)]
pub(super) struct Loop {
    pub(super) kind: LoopKind,
    pub(super) range: Box<Node>,
    pub(super) variable: String,
    /// What is asked of each element, for `map` what is made of it.
    pub(super) body: Box<Node>,
    /// For `map` with three arguments: which elements.
    pub(super) filter: Option<Box<Node>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LoopKind {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
}

// === impl Node ===

impl Node {
    /// A part that stands after `at` characters, unless it is too deep.
    pub(super) fn new(at: usize, expression: Expression) -> Result<Self, Wrong> {
        let depth = 1 + expression.depth();
        if depth > DEPTH {
            return Err(Wrong::new(at, "the expression nests too deeply"));
        }
        Ok(Self { expression, depth })
    }
}

impl Expression {
    /// Of the deepest part.
    fn depth(&self) -> usize {
        let deepest = |nodes: &[Node]| nodes.iter().map(|node| node.depth).max().unwrap_or(0);
        match self {
            Self::Null
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Double(_)
            | Self::Text(_)
            | Self::Name(_) => 0,
            Self::Member(of, _) | Self::Has(of) | Self::Not(of) | Self::Negative(of) => of.depth,
            Self::Index(one, other) | Self::Two(_, one, other) => one.depth.max(other.depth),
            Self::All(nodes) | Self::Any(nodes) | Self::List(nodes) | Self::Call(_, nodes) => {
                deepest(nodes)
            }
            Self::Choice(nodes) => deepest(nodes.as_slice()),
            Self::Map(entries) => entries
                .iter()
                .map(|(key, value)| key.depth.max(value.depth))
                .max()
                .unwrap_or(0),
            Self::Loop(of) => of
                .range
                .depth
                .max(of.body.depth)
                .max(of.filter.as_ref().map_or(0, |filter| filter.depth)),
        }
    }
}
