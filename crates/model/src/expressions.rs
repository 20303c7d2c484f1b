//! Expressions inside scalars: their syntax, the secrets they name, and their place in the file.

use crate::path;
use crate::position::Position;
use crate::reference::EntityRef;
use crate::yaml::Node;

/// What is wrong with an expression, and at which byte of the text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) offset: usize,
    pub(crate) message: String,
}

/// Checks the syntax of all expressions of a text; yields the secrets that they name outright, as in
/// `<+secrets.getValue("account.db_password")>`, with the byte of the text where each is named.
pub(crate) fn check(text: &str) -> Result<Vec<(usize, EntityRef)>, Fault> {
    let references = sortie_expression::references(text).map_err(|error| Fault {
        offset: error.offset,
        message: format!("{error} ({})", error.code()),
    })?;
    // The evaluator takes it for text; in a field it is a mistake.
    if let Some(offset) = text
        .rfind("<+")
        .filter(|offset| !text.get(*offset..).unwrap_or_default().contains('>'))
    {
        let message = "this `<+` is never closed; close the expression with `>`".to_owned();
        return Err(Fault { offset, message });
    }
    let mut secrets = Vec::new();
    for reference in references {
        let reads =
            reference.path == ["secrets"] && reference.function.as_deref() == Some("getValue");
        let (true, Some(name)) = (reads, reference.argument) else {
            continue;
        };
        match EntityRef::parse(&name) {
            Some(target) => secrets.push((reference.span.start, target)),
            None => {
                return Err(Fault {
                    offset: reference.span.start,
                    message: format!(
                        "`{}` cannot be the name of a secret; write `identifier`, `org.identifier` or `account.identifier`",
                        path::clip(&name)
                    ),
                });
            }
        }
    }
    Ok(secrets)
}

/// Maps a byte of a scalar's text to the file. Escapes, folding and indentation make the text of a
/// scalar differ from its source, so the `<+` before it is found in both; inside an expression that
/// is written over several lines the place is the one of its `<+`.
pub(crate) fn place(source: &str, node: &Node, text: &str, offset: usize) -> Position {
    let whole = node.position;
    let Some(raw) = source.get(whole.offset..node.end) else {
        return whole;
    };
    let before = text.get(..(offset + 2).min(text.len())).unwrap_or(text);
    let Some(last) = before.matches("<+").count().checked_sub(1) else {
        return whole;
    };
    let opening = |text: &str| text.match_indices("<+").nth(last).map(|(at, _)| at);
    let (Some(in_text), Some(in_raw)) = (opening(text), opening(raw)) else {
        return whole;
    };
    let inside = text.get(in_text..offset).unwrap_or_default();
    let inside = raw
        .get(in_raw..)
        .filter(|raw| raw.starts_with(inside))
        .map_or("", |_| inside);
    advance(whole, raw.get(..in_raw + inside.len()).unwrap_or_default())
}

/// The position after a text that starts at a position.
fn advance(from: Position, text: &str) -> Position {
    let offset = from.offset + text.len();
    match text.rsplit_once('\n') {
        Some((lines, last)) => Position {
            line: from.line + lines.matches('\n').count() + 1,
            column: last.chars().count() + 1,
            offset,
        },
        None => Position {
            line: from.line,
            column: from.column + text.chars().count(),
            offset,
        },
    }
}
