//! Tokens to expressions, by recursive descent.

use serde_json::Value;

use crate::error::{Error, Reason};
use crate::lex::Token;
use crate::limits::DEPTH;
use crate::syntax::{Expr, Fragment, Kind, Operator, Span, Step};

/// Operators by precedence, the weakest first.
const LEVELS: [&[Operator]; 5] = [
    &[
        Operator::Equal,
        Operator::NotEqual,
        Operator::Matches,
        Operator::NotMatches,
        Operator::StartsWith,
        Operator::NotStartsWith,
        Operator::EndsWith,
        Operator::NotEndsWith,
    ],
    &[
        Operator::Less,
        Operator::LessOrEqual,
        Operator::Greater,
        Operator::GreaterOrEqual,
    ],
    &[Operator::Range],
    &[Operator::Add, Operator::Subtract],
    &[Operator::Multiply, Operator::Divide, Operator::Remainder],
];

/// Parses the tokens of one piece of code. `Ok(None)`: the code is no expression and may be text.
pub(crate) fn expression(
    text: &str,
    tokens: &[(Token, Span)],
    span: &Span,
    may_be_text: bool,
) -> Result<Option<Expr>, Error> {
    if tokens.is_empty() {
        let empty = Kind::Literal(Value::String(String::new()));
        return Ok(Some(Expr {
            kind: empty,
            span: span.clone(),
        }));
    }
    let mut parser = Parser {
        text,
        tokens,
        position: 0,
        end: span.end,
        depth: 0,
    };
    let parsed = match parser.choice() {
        Ok(_) if parser.position < tokens.len() => Err(parser.unexpected()),
        other => other,
    };
    match parsed {
        Ok(expression) => Ok(Some(expression)),
        Err(error) if may_be_text && error.reason == Reason::Syntax => Ok(None),
        Err(error) => Err(error),
    }
}

struct Parser<'t> {
    text: &'t str,
    tokens: &'t [(Token, Span)],
    position: usize,
    /// Where the code ends.
    end: usize,
    depth: usize,
}

impl Parser<'_> {
    /// `condition ? then : otherwise`, `value ?: otherwise`, or what binds closer.
    fn choice(&mut self) -> Result<Expr, Error> {
        self.depth += 1;
        if self.depth > DEPTH {
            let message = format!("the expression nests more than {DEPTH} levels deep");
            return Err(Error::at(self.text, self.start(), Reason::Nesting, message));
        }
        let first = self.any()?;
        let start = first.span.start;
        let kind = if self.take(&Token::Elvis) {
            let otherwise = self.choice()?;
            Kind::Default {
                value: Box::new(first),
                otherwise: Box::new(otherwise),
            }
        } else if self.take(&Token::Question) {
            let then = self.choice()?;
            self.expect(&Token::Colon)?;
            let otherwise = self.choice()?;
            Kind::Choose {
                condition: Box::new(first),
                then: Box::new(then),
                otherwise: Box::new(otherwise),
            }
        } else {
            self.depth -= 1;
            return Ok(first);
        };
        self.depth -= 1;
        Ok(self.spanned(kind, start))
    }

    fn any(&mut self) -> Result<Expr, Error> {
        self.joined(Operator::Or, Kind::Or, Self::all)
    }

    fn all(&mut self) -> Result<Expr, Error> {
        self.joined(Operator::And, Kind::And, |parser| parser.chain(&LEVELS))
    }

    fn joined(
        &mut self,
        by: Operator,
        kind: fn(Vec<Expr>) -> Kind,
        part: fn(&mut Self) -> Result<Expr, Error>,
    ) -> Result<Expr, Error> {
        let first = part(self)?;
        let start = first.span.start;
        let mut parts = vec![first];
        while self.take(&Token::Operator(by)) {
            parts.push(part(self)?);
        }
        if parts.len() == 1
            && let Some(only) = parts.pop()
        {
            return Ok(only);
        }
        Ok(self.spanned(kind(parts), start))
    }

    fn chain(&mut self, levels: &[&[Operator]]) -> Result<Expr, Error> {
        let Some((level, closer)) = levels.split_first() else {
            return self.unary();
        };
        let first = self.chain(closer)?;
        let start = first.span.start;
        let mut rest = Vec::new();
        while let Some((Token::Operator(operator), _)) = self.tokens.get(self.position)
            && level.contains(operator)
        {
            self.position += 1;
            rest.push((*operator, self.chain(closer)?));
        }
        if rest.is_empty() {
            return Ok(first);
        }
        Ok(self.spanned(
            Kind::Chain {
                first: Box::new(first),
                rest,
            },
            start,
        ))
    }

    fn unary(&mut self) -> Result<Expr, Error> {
        let start = self.start();
        let kind: fn(Box<Expr>) -> Kind = match self.peek() {
            Some(Token::Not) => Kind::Not,
            Some(Token::Operator(Operator::Subtract)) => Kind::Negate,
            Some(Token::Word(word)) if word == "not" => Kind::Not,
            Some(Token::Word(word)) if word == "empty" => Kind::Empty,
            Some(Token::Word(word)) if word == "size" => Kind::Size,
            _ => return self.postfix(),
        };
        self.position += 1;
        self.depth += 1;
        if self.depth > DEPTH {
            let message = format!("the expression nests more than {DEPTH} levels deep");
            return Err(Error::at(self.text, start, Reason::Nesting, message));
        }
        let operand = self.unary()?;
        self.depth -= 1;
        Ok(self.spanned(kind(Box::new(operand)), start))
    }

    fn postfix(&mut self) -> Result<Expr, Error> {
        let base = self.primary()?;
        let start = base.span.start;
        let mut steps = Vec::new();
        loop {
            let span_start = self.start();
            if self.take(&Token::Dot) {
                let name = self.name()?;
                steps.push(Step::Member {
                    name,
                    span: span_start..self.last_end(),
                });
            } else if self.take(&Token::Open('[')) {
                steps.push(Step::Index(self.choice()?));
                self.expect(&Token::Close(']'))?;
            } else if self.peek() == Some(&Token::Open('(')) && callable(&base, &steps) {
                self.position += 1;
                let arguments = self.list(')', Self::choice)?;
                steps.push(Step::Call {
                    arguments,
                    span: span_start..self.last_end(),
                });
            } else if steps.is_empty() {
                return Ok(base);
            } else {
                return Ok(self.spanned(
                    Kind::Postfix {
                        base: Box::new(base),
                        steps,
                    },
                    start,
                ));
            }
        }
    }

    fn primary(&mut self) -> Result<Expr, Error> {
        let start = self.start();
        let Some((token, _)) = self.tokens.get(self.position) else {
            return Err(self.unexpected());
        };
        let kind = match token {
            Token::Number(value) => Kind::Literal(value.clone()),
            Token::Text(fragments) => match fragments.as_slice() {
                [Fragment::Text(text)] => Kind::Literal(Value::String(text.clone())),
                _ => Kind::Text(fragments.clone()),
            },
            Token::Block(index) => Kind::Block(*index),
            Token::Word(word) => match word.as_str() {
                "null" => Kind::Literal(Value::Null),
                "true" => Kind::Literal(Value::Bool(true)),
                "false" => Kind::Literal(Value::Bool(false)),
                "if" | "for" | "while" | "var" | "function" | "return" | "new" => {
                    let message =
                        format!("`{word}` is a statement, and only expressions are supported");
                    return Err(Error::at(self.text, start, Reason::Syntax, message));
                }
                _ => {
                    let name = self.name()?;
                    return Ok(self.spanned(Kind::Name(name), start));
                }
            },
            Token::Open('(') => {
                self.position += 1;
                let inner = self.choice()?;
                self.expect(&Token::Close(')'))?;
                return Ok(inner);
            }
            Token::Open('[') => {
                self.position += 1;
                let items = self.list(']', Self::choice)?;
                return Ok(self.spanned(Kind::List(items), start));
            }
            Token::Open('{') => {
                self.position += 1;
                let entries = self.list('}', Self::entry)?;
                return Ok(self.spanned(Kind::Map(entries), start));
            }
            _ => return Err(self.unexpected()),
        };
        self.position += 1;
        Ok(self.spanned(kind, start))
    }

    fn entry(&mut self) -> Result<(Expr, Expr), Error> {
        let key = self.choice()?;
        self.expect(&Token::Colon)?;
        Ok((key, self.choice()?))
    }

    /// Items up to the closing bracket.
    fn list<T>(
        &mut self,
        close: char,
        item: fn(&mut Self) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut items = Vec::new();
        if self.take(&Token::Close(close)) {
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            if self.take(&Token::Close(close)) {
                return Ok(items);
            }
            self.expect(&Token::Comma)?;
        }
    }

    /// An element of a path: words, numbers and nested expressions without space between them, or a literal.
    fn name(&mut self) -> Result<Vec<Fragment>, Error> {
        let mut name: Vec<Fragment> = Vec::new();
        let mut end = None;
        while let Some((token, span)) = self.tokens.get(self.position)
            && end.is_none_or(|end| end == span.start)
        {
            match token {
                Token::Text(fragments) if name.is_empty() => {
                    self.position += 1;
                    return Ok(fragments.clone());
                }
                Token::Block(index) => name.push(Fragment::Block(*index)),
                Token::Word(_) | Token::Number(_) | Token::Operator(_) => {
                    let word = self.text.get(span.clone()).unwrap_or("");
                    if !word
                        .chars()
                        .all(|c| c.is_alphanumeric() || "_$@".contains(c))
                    {
                        break;
                    }
                    match name.last_mut() {
                        Some(Fragment::Text(text)) => text.push_str(word),
                        _ => name.push(Fragment::Text(word.to_owned())),
                    }
                }
                _ => break,
            }
            end = Some(span.end);
            self.position += 1;
        }
        if name.is_empty() {
            Err(self.unexpected())
        } else {
            Ok(name)
        }
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.position).map(|(token, _)| token)
    }

    fn take(&mut self, wanted: &Token) -> bool {
        let found = self.peek() == Some(wanted);
        self.position += usize::from(found);
        found
    }

    fn expect(&mut self, wanted: &Token) -> Result<(), Error> {
        if self.take(wanted) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    /// Where the next token begins.
    fn start(&self) -> usize {
        self.tokens
            .get(self.position)
            .map_or(self.end, |(_, span)| span.start)
    }

    /// Where the last token that was taken ends.
    fn last_end(&self) -> usize {
        let last = self
            .position
            .checked_sub(1)
            .and_then(|last| self.tokens.get(last));
        last.map_or(self.end, |(_, span)| span.end)
    }

    fn spanned(&self, kind: Kind, start: usize) -> Expr {
        Expr {
            kind,
            span: start..self.last_end(),
        }
    }

    fn unexpected(&self) -> Error {
        let message = match self.tokens.get(self.position) {
            Some((_, span)) => {
                let found = self.text.get(span.clone()).unwrap_or("");
                let found: String = found.chars().take(40).collect();
                format!("`{found}` is not expected here")
            }
            None => "the expression ends too early".to_owned(),
        };
        Error::at(self.text, self.start(), Reason::Syntax, message)
    }
}

/// Whether a parenthesis after this is a call.
fn callable(base: &Expr, steps: &[Step]) -> bool {
    match steps.last() {
        Some(Step::Member { .. }) => true,
        Some(_) => false,
        None => matches!(base.kind, Kind::Name(_)),
    }
}
