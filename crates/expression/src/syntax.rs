//! Texts and expressions as trees. Positions are bytes in the text that was parsed.

use std::ops::Range;

use serde_json::Value;

pub(crate) type Span = Range<usize>;

/// A text and the expressions in it, in order.
#[derive(Debug)]
pub(crate) struct Template {
    pub(crate) blocks: Vec<Block>,
}

/// `<+…>`.
#[derive(Debug)]
pub(crate) struct Block {
    /// With its delimiters.
    pub(crate) span: Span,
    pub(crate) code: Code,
}

/// What stands between the delimiters, or a whole text that is one expression.
#[derive(Debug)]
pub(crate) struct Code {
    pub(crate) span: Span,
    /// Nested expressions in order, those inside string literals too.
    pub(crate) blocks: Vec<Block>,
    /// The expression; `None` when the code reads as text around its nested expressions.
    pub(crate) expression: Option<Expr>,
    /// Whether the code may stand for text: it has nested expressions and no operator but `-` and `/`.
    pub(crate) may_be_text: bool,
}

#[derive(Debug)]
pub(crate) struct Expr {
    pub(crate) kind: Kind,
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Literal(Value),
    /// A string literal with nested expressions.
    Text(Vec<Fragment>),
    /// A nested expression, as index into [`Code::blocks`].
    Block(usize),
    /// The first element of a path.
    Name(Vec<Fragment>),
    List(Vec<Expr>),
    Map(Vec<(Expr, Expr)>),
    Postfix {
        base: Box<Expr>,
        steps: Vec<Step>,
    },
    Not(Box<Expr>),
    Negate(Box<Expr>),
    Empty(Box<Expr>),
    Size(Box<Expr>),
    /// Operators of one precedence, applied from the left.
    Chain {
        first: Box<Expr>,
        rest: Vec<(Operator, Expr)>,
    },
    And(Vec<Expr>),
    Or(Vec<Expr>),
    /// `condition ? then : otherwise`
    Choose {
        condition: Box<Expr>,
        then: Box<Expr>,
        otherwise: Box<Expr>,
    },
    /// `value ?: otherwise`
    Default {
        value: Box<Expr>,
        otherwise: Box<Expr>,
    },
}

/// A piece of a name or string literal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fragment {
    Text(String),
    Block(usize),
}

/// What follows a value.
#[derive(Debug)]
pub(crate) enum Step {
    Member { name: Vec<Fragment>, span: Span },
    Index(Expr),
    Call { arguments: Vec<Expr>, span: Span },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Matches,
    NotMatches,
    StartsWith,
    NotStartsWith,
    EndsWith,
    NotEndsWith,
    Range,
    And,
    Or,
}

impl Operator {
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Matches => "=~",
            Self::NotMatches => "!~",
            Self::StartsWith => "=^",
            Self::NotStartsWith => "!^",
            Self::EndsWith => "=$",
            Self::NotEndsWith => "!$",
            Self::Range => "..",
            Self::And => "&&",
            Self::Or => "||",
        }
    }
}
