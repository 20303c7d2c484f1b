//! Which names a text uses, without evaluating it.

use crate::error::Error;
use crate::lex;
use crate::limits::TEXT_BYTES;
use crate::syntax::{Code, Expr, Fragment, Kind, Span, Step};

/// A name that a text uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The path as far as it is written out: `variables.<+x>` gives `["variables"]`.
    pub path: Vec<String>,
    /// Whether all of the path is written out.
    pub complete: bool,
    /// The function that is called on the path, such as `getValue` on `secrets`. Methods of values look the same.
    pub function: Option<String>,
    /// The first argument of that call, when it is text without expressions.
    pub argument: Option<String>,
    /// Where it stands in the text, in bytes.
    pub span: Span,
}

/// The names that a text uses, in the order of their position. Checks the syntax of its expressions on the way.
///
/// # Errors
/// An expression that cannot be read, nests too deeply or is never closed; a text that is too large.
pub fn references(text: &str) -> Result<Vec<Reference>, Error> {
    if text.len() > TEXT_BYTES {
        let message = format!("the text is larger than {TEXT_BYTES} bytes");
        return Err(Error::at(text, 0, crate::Reason::TooLarge, message));
    }
    let mut found = Vec::new();
    for block in lex::template(text)?.blocks {
        of_code(&block.code, &mut found);
    }
    found.sort_by_key(|reference| (reference.span.start, reference.span.end));
    Ok(found)
}

fn of_code(code: &Code, found: &mut Vec<Reference>) {
    for block in &code.blocks {
        of_code(&block.code, found);
    }
    if let Some(expression) = &code.expression {
        of_expr(expression, found);
    }
}

fn of_expr(expr: &Expr, found: &mut Vec<Reference>) {
    let mut walk = |expr: &Expr| of_expr(expr, found);
    match &expr.kind {
        Kind::Literal(_) | Kind::Text(_) | Kind::Block(_) => {}
        Kind::Name(name) => found.extend(of_path(name, &[], &expr.span)),
        Kind::List(items) | Kind::And(items) | Kind::Or(items) => items.iter().for_each(walk),
        Kind::Map(entries) => {
            for (key, value) in entries {
                walk(key);
                walk(value);
            }
        }
        Kind::Postfix { base, steps } => {
            for step in steps {
                match step {
                    Step::Index(index) => walk(index),
                    Step::Call { arguments, .. } => arguments.iter().for_each(&mut walk),
                    Step::Member { .. } => {}
                }
            }
            match &base.kind {
                Kind::Name(name) => found.extend(of_path(name, steps, &expr.span)),
                _ => walk(base),
            }
        }
        Kind::Not(inner) | Kind::Negate(inner) | Kind::Empty(inner) | Kind::Size(inner) => {
            walk(inner);
        }
        Kind::Chain { first, rest } => {
            walk(first);
            rest.iter().for_each(|(_, expr)| walk(expr));
        }
        Kind::Choose {
            condition,
            then,
            otherwise,
        } => {
            walk(condition);
            walk(then);
            walk(otherwise);
        }
        Kind::Default { value, otherwise } => {
            walk(value);
            walk(otherwise);
        }
    }
}

fn of_path(name: &[Fragment], steps: &[Step], span: &Span) -> Option<Reference> {
    let mut reference = Reference {
        path: Vec::new(),
        complete: true,
        function: None,
        argument: None,
        span: span.clone(),
    };
    let mut pending = Some(literal(name));
    for step in steps {
        match step {
            Step::Call { arguments, .. } => {
                // The last name is the function.
                reference.function = pending.take().flatten();
                reference.argument = match arguments.first().map(|argument| &argument.kind) {
                    Some(Kind::Literal(value)) => value.as_str().map(str::to_owned),
                    _ => None,
                };
                if let (Some("get"), Some(key)) =
                    (reference.function.as_deref(), &reference.argument)
                    && !reference.path.is_empty()
                {
                    pending = Some(Some(key.clone()));
                    reference.function = None;
                    reference.argument = None;
                    continue;
                }
                return Some(reference);
            }
            Step::Member { name, .. } => advance(&mut reference, &mut pending, literal(name))?,
            Step::Index(index) => {
                let key = match &index.kind {
                    Kind::Literal(value) => Some(match value.as_str() {
                        Some(text) => text.to_owned(),
                        None => value.to_string(),
                    }),
                    _ => None,
                };
                advance(&mut reference, &mut pending, key)?;
            }
        }
        if !reference.complete {
            return Some(reference);
        }
    }
    advance(&mut reference, &mut pending, None)?;
    Some(reference)
}

/// Takes the pending element into the path. `None` when not even the first element is known.
fn advance(
    reference: &mut Reference,
    pending: &mut Option<Option<String>>,
    next: Option<String>,
) -> Option<()> {
    match pending.replace(next) {
        Some(Some(element)) => reference.path.push(element),
        Some(None) if reference.path.is_empty() => return None,
        Some(None) => reference.complete = false,
        None => {}
    }
    Some(())
}

fn literal(name: &[Fragment]) -> Option<String> {
    match name {
        [Fragment::Text(text)] => Some(text.clone()),
        _ => None,
    }
}
