//! From the words of an expression to its tree.

use super::lex::{Token, tokens};
use super::syntax::{Expression, Function, Loop, LoopKind, Node, Operator};
use super::{TEXT, Wrong};

/// Deepest nesting of brackets, choices and signs.
const NESTING: usize = 24;

/// Words that the language keeps for itself.
const RESERVED: [&str; 15] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
];

/// Reads an expression that may use these `roots`.
pub(crate) fn parse(text: &str, roots: &[&str]) -> Result<Node, Wrong> {
    if text.len() > TEXT {
        return Err(Wrong::new(0, format!("longer than {TEXT} bytes")));
    }
    let mut parser = Parser {
        end: text.chars().count(),
        tokens: tokens(text)?,
        next: 0,
        names: roots.iter().map(|root| (*root).to_owned()).collect(),
        nesting: 0,
    };
    let node = parser.choice()?;
    match parser.tokens.get(parser.next) {
        None => Ok(node),
        Some((at, _)) => Err(Wrong::new(*at, "the expression has ended before this")),
    }
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    next: usize,
    /// Characters of the text.
    end: usize,
    /// Names that have a meaning here.
    names: Vec<String>,
    nesting: usize,
}

type Parsed = Result<Node, Wrong>;

impl Parser {
    fn at(&self) -> usize {
        self.tokens.get(self.next).map_or(self.end, |(at, _)| *at)
    }

    fn wrong<T>(&self, message: impl Into<String>) -> Result<T, Wrong> {
        Err(Wrong::new(self.at(), message))
    }

    fn sees(&self, sign: &str) -> bool {
        matches!(self.tokens.get(self.next), Some((_, Token::Sign(seen))) if *seen == sign)
    }

    fn takes(&mut self, sign: &str) -> bool {
        let seen = self.sees(sign);
        self.next += usize::from(seen);
        seen
    }

    fn expects(&mut self, sign: &str) -> Result<(), Wrong> {
        if self.takes(sign) {
            Ok(())
        } else {
            self.wrong(format!("'{sign}' is missing"))
        }
    }

    fn name(&mut self) -> Result<String, Wrong> {
        match self.tokens.get(self.next) {
            Some((_, Token::Name(name))) => {
                let name = name.clone();
                self.next += 1;
                Ok(name)
            }
            _ => self.wrong("a name is missing"),
        }
    }

    fn nested(&mut self, inner: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        self.nesting += 1;
        if self.nesting > NESTING {
            return self.wrong("the expression nests too deeply");
        }
        let node = inner(self);
        self.nesting -= 1;
        node
    }

    /// `condition ? this : that`
    fn choice(&mut self) -> Parsed {
        let at = self.at();
        let condition = self.any()?;
        if !self.takes("?") {
            return Ok(condition);
        }
        let this = self.nested(Self::any)?;
        self.expects(":")?;
        let that = self.nested(Self::choice)?;
        Node::new(at, Expression::Choice(Box::new([condition, this, that])))
    }

    fn any(&mut self) -> Parsed {
        self.chain("||", Self::all, Expression::Any)
    }

    fn all(&mut self) -> Parsed {
        self.chain("&&", Self::relation, Expression::All)
    }

    fn chain(
        &mut self,
        sign: &str,
        inner: fn(&mut Self) -> Parsed,
        whole: fn(Vec<Node>) -> Expression,
    ) -> Parsed {
        let at = self.at();
        let first = inner(self)?;
        if !self.sees(sign) {
            return Ok(first);
        }
        let mut nodes = vec![first];
        while self.takes(sign) {
            nodes.push(inner(self)?);
        }
        Node::new(at, whole(nodes))
    }

    fn relation(&mut self) -> Parsed {
        self.left(Self::sum, |parser| {
            let sign = match parser.tokens.get(parser.next) {
                Some((_, Token::Sign(sign))) => *sign,
                Some((_, Token::Name(name))) if name == "in" => "in",
                _ => return None,
            };
            Some(match sign {
                "==" => Operator::Equal,
                "!=" => Operator::NotEqual,
                "<" => Operator::Less,
                "<=" => Operator::LessOrEqual,
                ">" => Operator::Greater,
                ">=" => Operator::GreaterOrEqual,
                "in" => Operator::In,
                _ => return None,
            })
        })
    }

    fn sum(&mut self) -> Parsed {
        self.left(Self::product, |parser| {
            match parser.tokens.get(parser.next) {
                Some((_, Token::Sign("+"))) => Some(Operator::Plus),
                Some((_, Token::Sign("-"))) => Some(Operator::Minus),
                _ => None,
            }
        })
    }

    fn product(&mut self) -> Parsed {
        self.left(Self::signed, |parser| {
            match parser.tokens.get(parser.next) {
                Some((_, Token::Sign("*"))) => Some(Operator::Times),
                Some((_, Token::Sign("/"))) => Some(Operator::Divided),
                Some((_, Token::Sign("%"))) => Some(Operator::Remainder),
                _ => None,
            }
        })
    }

    /// Operators of one rank, from the left.
    fn left(
        &mut self,
        inner: fn(&mut Self) -> Parsed,
        operator: fn(&Self) -> Option<Operator>,
    ) -> Parsed {
        let mut node = inner(self)?;
        while let Some(found) = operator(self) {
            let at = self.at();
            self.next += 1;
            let right = inner(self)?;
            node = Node::new(at, Expression::Two(found, Box::new(node), Box::new(right)))?;
        }
        Ok(node)
    }

    fn signed(&mut self) -> Parsed {
        let at = self.at();
        if self.takes("!") {
            let node = self.nested(Self::signed)?;
            return Node::new(at, Expression::Not(Box::new(node)));
        }
        if self.takes("-") {
            let node = self.nested(Self::signed)?;
            return Node::new(at, Expression::Negative(Box::new(node)));
        }
        self.member()
    }

    fn member(&mut self) -> Parsed {
        let mut node = self.primary()?;
        loop {
            let at = self.at();
            if self.takes(".") {
                if self.sees("?") {
                    return self.wrong("optional values are not supported; use has()");
                }
                let name = self.name()?;
                node = if self.takes("(") {
                    self.method(at, node, &name)?
                } else {
                    Node::new(at, Expression::Member(Box::new(node), name))?
                };
            } else if self.takes("[") {
                let index = self.nested(Self::choice)?;
                self.expects("]")?;
                node = Node::new(at, Expression::Index(Box::new(node), Box::new(index)))?;
            } else {
                return Ok(node);
            }
        }
    }

    fn primary(&mut self) -> Parsed {
        let at = self.at();
        if self.takes("(") {
            let node = self.nested(Self::choice)?;
            self.expects(")")?;
            return Ok(node);
        }
        if self.takes("[") {
            let nodes = self.list("]")?;
            return Node::new(at, Expression::List(nodes));
        }
        if self.takes("{") {
            return self.map(at);
        }
        let expression = match self.tokens.get(self.next).map(|(_, token)| token.clone()) {
            Some(Token::Int(number)) => Expression::Int(number),
            Some(Token::Double(number)) => Expression::Double(number),
            Some(Token::Text(text)) => Expression::Text(text),
            Some(Token::Name(name)) => return self.named(at, &name),
            Some(Token::Sign(sign)) => return self.wrong(format!("'{sign}' cannot stand here")),
            None => return self.wrong("the expression ends too early"),
        };
        self.next += 1;
        Node::new(at, expression)
    }

    fn named(&mut self, at: usize, name: &str) -> Parsed {
        self.next += 1;
        let expression = match name {
            "null" => Expression::Null,
            "true" => Expression::Bool(true),
            "false" => Expression::Bool(false),
            _ if self.takes("(") => return self.function(at, name),
            _ if RESERVED.contains(&name) || name == "in" => {
                return Err(Wrong::new(at, format!("'{name}' cannot stand here")));
            }
            _ if self.names.iter().any(|known| known == name) => Expression::Name(name.to_owned()),
            _ => {
                let known = self.names.join(", ");
                return Err(Wrong::new(
                    at,
                    format!("there is no '{name}'; there are {known}"),
                ));
            }
        };
        Node::new(at, expression)
    }

    /// Nodes up to the sign that ends them; a comma may stand before it.
    fn list(&mut self, end: &str) -> Result<Vec<Node>, Wrong> {
        let mut nodes = Vec::new();
        while !self.takes(end) {
            nodes.push(self.nested(Self::choice)?);
            if !self.takes(",") {
                self.expects(end)?;
                break;
            }
        }
        Ok(nodes)
    }

    fn map(&mut self, at: usize) -> Parsed {
        let mut entries = Vec::new();
        while !self.takes("}") {
            let key = self.nested(Self::choice)?;
            self.expects(":")?;
            entries.push((key, self.nested(Self::choice)?));
            if !self.takes(",") {
                self.expects("}")?;
                break;
            }
        }
        Node::new(at, Expression::Map(entries))
    }

    /// `size(…)`, after the bracket.
    fn function(&mut self, at: usize, name: &str) -> Parsed {
        let mut arguments = self.list(")")?;
        if name == "has" {
            let [of] = arguments.as_mut_slice() else {
                return Err(Wrong::new(at, "has() takes one field"));
            };
            if !matches!(
                of.expression,
                Expression::Member(..) | Expression::Index(..)
            ) {
                return Err(Wrong::new(
                    at,
                    "has() takes a field, as in has(status.phase)",
                ));
            }
            let of = arguments.remove(0);
            return Node::new(at, Expression::Has(Box::new(of)));
        }
        let function = match name {
            "size" => Function::Size,
            "int" => Function::ToInt,
            "double" => Function::ToDouble,
            "string" => Function::ToText,
            "matches" => Function::Matches,
            _ => return Err(Wrong::new(at, format!("there is no function {name}()"))),
        };
        call(at, function, name, arguments)
    }

    /// `target.name(…)`, after the bracket.
    fn method(&mut self, at: usize, target: Node, name: &str) -> Parsed {
        let kind = match name {
            "all" => LoopKind::All,
            "exists" => LoopKind::Exists,
            "exists_one" | "existsOne" => LoopKind::ExistsOne,
            "filter" => LoopKind::Filter,
            "map" => LoopKind::Map,
            _ => {
                let mut arguments = vec![target];
                arguments.extend(self.list(")")?);
                let function = match name {
                    "size" => Function::Size,
                    "contains" => Function::Contains,
                    "startsWith" => Function::StartsWith,
                    "endsWith" => Function::EndsWith,
                    "matches" => Function::Matches,
                    "lowerAscii" => Function::LowerAscii,
                    "upperAscii" => Function::UpperAscii,
                    "trim" => Function::Trim,
                    _ => return Err(Wrong::new(at, format!("there is no method {name}()"))),
                };
                return call(at, function, name, arguments);
            }
        };
        let variable = self.name()?;
        self.expects(",")?;
        self.names.push(variable.clone());
        let mut body = self.nested(Self::choice)?;
        let mut filter = None;
        if kind == LoopKind::Map && self.takes(",") {
            filter = Some(Box::new(body));
            body = self.nested(Self::choice)?;
        }
        self.names.pop();
        self.expects(")")?;
        let expression = Expression::Loop(Loop {
            kind,
            range: Box::new(target),
            variable,
            body: Box::new(body),
            filter,
        });
        Node::new(at, expression)
    }
}

fn call(at: usize, function: Function, name: &str, arguments: Vec<Node>) -> Parsed {
    let wanted = match function {
        Function::Contains | Function::StartsWith | Function::EndsWith | Function::Matches => 2,
        _ => 1,
    };
    if arguments.len() != wanted {
        return Err(Wrong::new(
            at,
            format!("{name}() has too few or too many arguments"),
        ));
    }
    Node::new(at, Expression::Call(function, arguments))
}
