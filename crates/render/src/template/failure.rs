use crate::template::{TemplateError, chart};

/// Makes an error in the user's terms out of the engine's message.
///
/// The engine names the files of the generated chart: `_N.yaml` is the user's file number N with the
/// same lines, `N.yaml` is ours and tells only which file was being rendered.
pub(super) fn read(errors: &str, templates: &[String], paths: &[String]) -> TemplateError {
    let text = errors
        .trim()
        .trim_end_matches("Use --debug flag to render out invalid YAML")
        .trim();
    let text = text.strip_prefix("Error: ").unwrap_or(text);
    let (file, line, column, rest) = match last_place(text) {
        Some(place) => (Some(place.file), place.line, place.column, place.rest),
        None => (None, None, None, text),
    };
    let message = clean(rest);
    let line = line.or_else(|| line_of(&message, templates.get(file?)?));
    let place = match (file.and_then(|file| paths.get(file)), line, column) {
        (Some(path), Some(line), Some(column)) => format!("{path}:{line}:{column}: "),
        (Some(path), Some(line), None) => format!("{path}:{line}: "),
        (Some(path), None, _) => format!("{path}: "),
        (None, ..) => String::new(),
    };
    TemplateError::Failed { place, message }
}

struct Place<'t> {
    file: usize,
    line: Option<usize>,
    column: Option<usize>,
    /// What follows the place.
    rest: &'t str,
}

/// The innermost place is named last, after those that led there.
fn last_place(text: &str) -> Option<Place<'_>> {
    let prefix = format!("{}/templates/", chart::NAME);
    let mut found: Option<Place<'_>> = None;
    for (at, _) in text.match_indices(&prefix) {
        let name = &text[at + prefix.len()..];
        let (ours, name) = match name.strip_prefix('_') {
            Some(name) => (false, name),
            None => (true, name),
        };
        let digits = name
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(name.len());
        let (Ok(file), Some(after)) =
            (name[..digits].parse(), name[digits..].strip_prefix(".yaml"))
        else {
            continue;
        };
        let (line, after) = number(after);
        let (column, after) = number(after);
        if ours {
            // Our own lines mean nothing to the user, and never hide a place in a user's file.
            if found.as_ref().is_none_or(|place| place.line.is_none()) {
                found = Some(Place {
                    file,
                    line: None,
                    column: None,
                    rest: after,
                });
            }
        } else if line.is_some() {
            // The engine counts columns from 0.
            found = Some(Place {
                file,
                line,
                column: column.map(|column| column + 1),
                rest: after,
            });
        }
    }
    found
}

/// `:12` at the start of a text.
fn number(text: &str) -> (Option<usize>, &str) {
    let Some(digits) = text.strip_prefix(':') else {
        return (None, text);
    };
    let end = digits
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(digits.len());
    match digits[..end].parse() {
        Ok(number) => (Some(number), &digits[end..]),
        Err(_) => (None, text),
    }
}

/// One line without the engine's punctuation and without the names of generated files.
fn clean(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut line = words.join(" ");
    while let Some(start) = line.find(&format!("executing \"{}/templates/", chart::NAME)) {
        let opening = start + "executing \"".len();
        let Some(close) = line[opening..].find('"') else {
            break;
        };
        line.replace_range(start..=opening + close, "");
    }
    let line = line.trim_start_matches([':', ')', ' ']);
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.is_empty() {
        "the template engine gave no reason".to_owned()
    } else {
        line
    }
}

/// The line that holds the message as a text of its own: `fail` and `required` report no place.
fn line_of(message: &str, template: &str) -> Option<usize> {
    let quoted = [format!("\"{message}\""), format!("`{message}`")];
    template
        .lines()
        .position(|line| quoted.iter().any(|quoted| line.contains(quoted)))
        .map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_the_engine_are_told_in_terms_of_the_users_files() {
        let paths = ["k8s/web.yaml".to_owned(), "db.yaml".to_owned()];
        let templates = [
            "a: 1\nb: {{ required \"need it\" .Values.zz }}\n".to_owned(),
            String::new(),
        ];
        let table = [
            (
                "Error: parse error at (sortie/templates/_1.yaml:2): function \"foo\" not defined\n\nUse --debug flag to render out invalid YAML\n",
                "db.yaml:2: function \"foo\" not defined",
            ),
            (
                "Error: sortie/templates/0.yaml:6:9\n  executing \"sortie/templates/0.yaml\" at <include \"sortie/templates/_0.yaml\" $context>:\n    error calling include:\nsortie/templates/_0.yaml:2:13\n  executing \"sortie/templates/_0.yaml\" at <.Values.q.z>:\n    nil pointer evaluating interface {}.z\n",
                "k8s/web.yaml:2:14: at <.Values.q.z>: nil pointer evaluating interface {}.z",
            ),
            (
                "Error: template: sortie/templates/1.yaml:6:9: executing \"sortie/templates/1.yaml\" at <include \"sortie/templates/_1.yaml\" .>: error calling include: template: sortie/templates/_1.yaml:4:7: executing \"sortie/templates/_1.yaml\" at <eq .Values.n \"3\">: error calling eq: incompatible types for comparison",
                "db.yaml:4:8: at <eq .Values.n \"3\">: error calling eq: incompatible types for comparison",
            ),
            (
                "Error: execution error at (sortie/templates/0.yaml:6:9): need it\n",
                "k8s/web.yaml:2: need it",
            ),
            (
                "Error: execution error at (sortie/templates/1.yaml:6:9): other\n",
                "db.yaml: other",
            ),
            ("Error: something else\n", "something else"),
            ("", "the template engine gave no reason"),
        ];
        for (errors, expected) in table {
            assert_eq!(
                read(errors, &templates, &paths).to_string(),
                expected,
                "{errors}"
            );
        }
    }
}
