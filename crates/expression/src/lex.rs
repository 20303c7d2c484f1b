//! Finds the expressions in a text and cuts them into tokens.
//!
//! The end of an expression is found here: the `>` that closes it is one outside of string literals, after the
//! nested expressions. A `>` or `>=` with white space on both sides, an operand after it and another `>` on the
//! line to close the expression is the operator; everywhere else the operator is written `gt`, `ge` or `\>`.

use serde_json::Value;

use crate::error::{Error, Reason};
use crate::limits::NESTING;
use crate::parse;
use crate::syntax::{Block, Code, Fragment, Operator, Span, Template};

/// How far ahead the end of an expression is searched when a `>` may be an operator, in bytes.
const LOOK_AHEAD: usize = 512;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    Word(String),
    Number(Value),
    Text(Vec<Fragment>),
    Block(usize),
    Operator(Operator),
    Not,
    Question,
    Elvis,
    Colon,
    Comma,
    Dot,
    Open(char),
    Close(char),
    /// Something that is no token; the parser says so.
    Other(String),
}

/// Reads a text with expressions in it.
pub(crate) fn template(text: &str) -> Result<Template, Error> {
    let mut lexer = Lexer::new(text);
    let mut blocks = Vec::new();
    let mut position = 0;
    while let Some(found) = text.get(position..).and_then(|rest| rest.find("<+")) {
        let start = position + found;
        match lexer.block(start, 1)? {
            Some(block) => {
                position = block.span.end;
                blocks.push(block);
            }
            // Nothing was closed after it: the rest is not meant as an expression.
            None if !lexer.closed_any => break,
            None => return Err(unclosed(text, start)),
        }
    }
    Ok(Template { blocks })
}

/// Reads a text that is one expression, without delimiters.
pub(crate) fn whole(text: &str) -> Result<Code, Error> {
    let mut lexer = Lexer::new(text);
    match lexer.code(0, 0)? {
        Some((code, _)) => Ok(code),
        None => Err(unclosed(text, text.find("<+").unwrap_or(0))),
    }
}

fn unclosed(text: &str, offset: usize) -> Error {
    Error::at(
        text,
        offset,
        Reason::Unclosed,
        "the expression that begins here is never closed",
    )
}

struct Lexer<'t> {
    text: &'t str,
    /// Bounds the work when string literals and nested expressions must be read again.
    fuel: usize,
    /// Whether a nested expression was closed since the outermost one began.
    closed_any: bool,
}

impl<'t> Lexer<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            fuel: text.len().saturating_mul(32) + 10_000,
            closed_any: false,
        }
    }

    /// The block at `start`; `None` when it is never closed.
    fn block(&mut self, start: usize, depth: usize) -> Result<Option<Block>, Error> {
        if depth > NESTING {
            let message = format!("expressions nest more than {NESTING} levels deep");
            return Err(Error::at(self.text, start, Reason::Nesting, message));
        }
        if depth == 1 {
            self.closed_any = false;
        }
        let Some((code, end)) = self.code(start + 2, depth)? else {
            return Ok(None);
        };
        self.closed_any = true;
        Ok(Some(Block {
            span: start..end,
            code,
        }))
    }

    /// Code from `start` up to its `>`, or for depth 0 up to the end of the text; and the position after it.
    fn code(&mut self, start: usize, depth: usize) -> Result<Option<(Code, usize)>, Error> {
        let mut blocks = Vec::new();
        let mut tokens: Vec<(Token, Span)> = Vec::new();
        let mut position = start;
        let (inner_end, end) = loop {
            self.burn(position)?;
            let rest = self.rest(position);
            let Some(next) = rest.chars().next() else {
                if depth == 0 {
                    break (position, position);
                }
                return Ok(None);
            };
            if next.is_whitespace() {
                position += next.len_utf8();
                continue;
            }
            if rest.starts_with("<+") {
                let Some(block) = self.block(position, depth + 1)? else {
                    return Ok(None);
                };
                let span = block.span.clone();
                position = span.end;
                tokens.push((Token::Block(blocks.len()), span));
                blocks.push(block);
                continue;
            }
            if next == '>' && depth > 0 && !self.is_operator(start, position) {
                break (position, position + 1);
            }
            let quoted = match next {
                '"' | '\'' => self.string(position, next, depth, &mut blocks)?,
                _ => None,
            };
            let (token, length) = match quoted {
                Some((fragments, length)) => (Token::Text(fragments), length),
                None => token(rest, next),
            };
            tokens.push((token, position..position + length));
            position += length;
        };
        let may_be_text = !blocks.is_empty() && tokens.iter().all(|(t, _)| fits_text(t));
        let span = start..inner_end;
        let expression = parse::expression(self.text, &tokens, &span, may_be_text)?;
        Ok(Some((
            Code {
                span,
                blocks,
                expression,
                may_be_text,
            },
            end,
        )))
    }

    /// A string literal and its length; `None` when it does not end on its line.
    fn string(
        &mut self,
        start: usize,
        quote: char,
        depth: usize,
        blocks: &mut Vec<Block>,
    ) -> Result<Option<(Vec<Fragment>, usize)>, Error> {
        let known = blocks.len();
        let mut fragments = Vec::new();
        let mut literal = String::new();
        let mut position = start + 1;
        loop {
            self.burn(position)?;
            let rest = self.rest(position);
            let mut chars = rest.chars();
            match chars.next() {
                None | Some('\n') => {
                    blocks.truncate(known);
                    return Ok(None);
                }
                Some(c) if c == quote => break,
                Some('\\')
                    if chars
                        .clone()
                        .next()
                        .is_some_and(|c| c == quote || "\\>".contains(c)) =>
                {
                    literal.extend(chars.next());
                    position += 2;
                }
                Some('<') if rest.starts_with("<+") => {
                    let Some(block) = self.block(position, depth + 1)? else {
                        blocks.truncate(known);
                        return Ok(None);
                    };
                    position = block.span.end;
                    if !literal.is_empty() {
                        fragments.push(Fragment::Text(std::mem::take(&mut literal)));
                    }
                    fragments.push(Fragment::Block(blocks.len()));
                    blocks.push(block);
                }
                Some(c) => {
                    literal.push(c);
                    position += c.len_utf8();
                }
            }
        }
        if !literal.is_empty() || fragments.is_empty() {
            fragments.push(Fragment::Text(literal));
        }
        Ok(Some((fragments, position + 1 - start)))
    }

    /// Whether the `>` at `position` is an operator in code that began at `start`.
    fn is_operator(&self, start: usize, position: usize) -> bool {
        let white = |c: Option<char>| c.is_some_and(|c| c == ' ' || c == '\t');
        let padded = self.rest(start).starts_with(char::is_whitespace);
        let before = self
            .text
            .get(start..position)
            .and_then(|code| code.chars().next_back());
        if padded || !white(before) {
            return false;
        }
        let rest = self.rest(position + 1);
        let rest = rest.strip_prefix('=').unwrap_or(rest);
        if !white(rest.chars().next()) {
            return false;
        }
        let mut line = rest.lines().next().unwrap_or("");
        if line.len() > LOOK_AHEAD {
            line = line
                .get(..line.floor_char_boundary(LOOK_AHEAD))
                .unwrap_or("");
        }
        let Some(after) = after_operand(line.trim_start()) else {
            return false;
        };
        let after = after.trim_start();
        let goes_on = after.starts_with(['>', '?', '&', '|', ')', ':', ',', '+', '*', '/', '%'])
            || ["and ", "or "].iter().any(|word| after.starts_with(word));
        goes_on && closing(after).is_some()
    }

    fn rest(&self, position: usize) -> &'t str {
        self.text.get(position..).unwrap_or("")
    }

    fn burn(&mut self, position: usize) -> Result<(), Error> {
        match self.fuel.checked_sub(1) {
            Some(left) => {
                self.fuel = left;
                Ok(())
            }
            None => Err(Error::at(
                self.text,
                position,
                Reason::TooLarge,
                "the expressions in this text are too entangled to be read",
            )),
        }
    }
}

/// What follows the operand at the start of `line`.
fn after_operand(line: &str) -> Option<&str> {
    if let Some(inner) = line.strip_prefix("<+") {
        return closing(inner).and_then(|end| inner.get(end + 1..));
    }
    let first = line.chars().next()?;
    if first == '"' || first == '\'' {
        let inner = line.get(1..)?;
        return inner.find(first).and_then(|end| inner.get(end + 1..));
    }
    if first == '(' {
        return line.get(1..).and_then(after_operand);
    }
    let is_part = |c: char| c.is_alphanumeric() || "_$.-".contains(c);
    let end = line.find(|c| !is_part(c)).unwrap_or(line.len());
    if end == 0 { None } else { line.get(end..) }
}

/// The position of the `>` that closes an expression whose inside begins at the start of `line`.
fn closing(line: &str) -> Option<usize> {
    let mut open = 0_usize;
    let mut previous = ' ';
    for (index, c) in line.char_indices() {
        match c {
            '+' if previous == '<' => open += 1,
            '>' if previous == '\\' => {}
            '>' if open == 0 => return Some(index),
            '>' => open -= 1,
            _ => {}
        }
        previous = c;
    }
    None
}

/// Whether code with this token may be meant as text around its nested expressions.
fn fits_text(token: &Token) -> bool {
    match token {
        Token::Operator(operator) => matches!(operator, Operator::Subtract | Operator::Divide),
        Token::Word(word) => word_operator(word).is_none() && word != "not" && word != "empty",
        Token::Not | Token::Question | Token::Elvis => false,
        Token::Other(other) => !["=", "&", "|", "^", "~"].contains(&other.as_str()),
        Token::Open(bracket) | Token::Close(bracket) => !"()".contains(*bracket),
        Token::Number(_) | Token::Text(_) | Token::Block(_) => true,
        Token::Colon | Token::Comma | Token::Dot => true,
    }
}

/// The token at the start of `rest` and its length.
fn token(rest: &str, first: char) -> (Token, usize) {
    for (symbol, token) in &SYMBOLS {
        if rest.starts_with(symbol) {
            return (token.clone(), symbol.len());
        }
    }
    if first.is_ascii_digit() {
        return number(rest);
    }
    if first.is_alphabetic() || "_$@".contains(first) {
        let is_part = |c: char| c.is_alphanumeric() || "_$@".contains(c);
        let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let word = rest.get(..length).unwrap_or("");
        let token = match word_operator(word) {
            Some(operator) => Token::Operator(operator),
            None => Token::Word(word.to_owned()),
        };
        return (token, length);
    }
    let token = match first {
        '(' | '[' | '{' => Token::Open(first),
        ')' | ']' | '}' => Token::Close(first),
        _ => Token::Other(first.to_string()),
    };
    (token, first.len_utf8())
}

/// Longer symbols stand before their beginnings.
static SYMBOLS: [(&str, Token); 28] = [
    ("\\>=", Token::Operator(Operator::GreaterOrEqual)),
    ("\\>", Token::Operator(Operator::Greater)),
    (">=", Token::Operator(Operator::GreaterOrEqual)),
    (">", Token::Operator(Operator::Greater)),
    ("<=", Token::Operator(Operator::LessOrEqual)),
    ("<", Token::Operator(Operator::Less)),
    ("==", Token::Operator(Operator::Equal)),
    ("=~", Token::Operator(Operator::Matches)),
    ("=^", Token::Operator(Operator::StartsWith)),
    ("=$", Token::Operator(Operator::EndsWith)),
    ("!=", Token::Operator(Operator::NotEqual)),
    ("!~", Token::Operator(Operator::NotMatches)),
    ("!^", Token::Operator(Operator::NotStartsWith)),
    ("!$", Token::Operator(Operator::NotEndsWith)),
    ("!", Token::Not),
    ("&&", Token::Operator(Operator::And)),
    ("||", Token::Operator(Operator::Or)),
    ("?:", Token::Elvis),
    ("?", Token::Question),
    (":", Token::Colon),
    (",", Token::Comma),
    ("..", Token::Operator(Operator::Range)),
    (".", Token::Dot),
    ("+", Token::Operator(Operator::Add)),
    ("-", Token::Operator(Operator::Subtract)),
    ("*", Token::Operator(Operator::Multiply)),
    ("/", Token::Operator(Operator::Divide)),
    ("%", Token::Operator(Operator::Remainder)),
];

fn word_operator(word: &str) -> Option<Operator> {
    Some(match word {
        "and" => Operator::And,
        "or" => Operator::Or,
        "eq" => Operator::Equal,
        "ne" => Operator::NotEqual,
        "lt" => Operator::Less,
        "le" => Operator::LessOrEqual,
        "gt" => Operator::Greater,
        "ge" => Operator::GreaterOrEqual,
        _ => return None,
    })
}

fn number(rest: &str) -> (Token, usize) {
    let digits = |text: &str| {
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len())
    };
    if let Some(hex) = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X")) {
        let length = hex
            .find(|c: char| !c.is_ascii_hexdigit())
            .unwrap_or(hex.len());
        let value = hex
            .get(..length)
            .and_then(|hex| i64::from_str_radix(hex, 16).ok());
        return (
            numeral(value.map(Value::from), rest, length + 2),
            length + 2,
        );
    }
    let whole = digits(rest);
    let fraction = rest
        .get(whole..)
        .and_then(|r| r.strip_prefix('.'))
        .map_or(0, digits);
    if fraction == 0 {
        let value = rest.get(..whole).and_then(|d| d.parse::<i64>().ok());
        return (numeral(value.map(Value::from), rest, whole), whole);
    }
    let length = whole + 1 + fraction;
    let value = rest
        .get(..length)
        .and_then(|d| d.parse::<f64>().ok())
        .filter(|f| f.is_finite());
    (numeral(value.map(Value::from), rest, length), length)
}

fn numeral(value: Option<Value>, rest: &str, length: usize) -> Token {
    match value {
        Some(value) => Token::Number(value),
        None => Token::Other(rest.get(..length).unwrap_or("").to_owned()),
    }
}
