//! The one place that writes to stdout and stderr: results to stdout, everything about them to stderr.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::args::Output;
use crate::exit::{Exit, Failure};
use crate::style::{Style, Tone, harmless};

/// Why the result is not whole: the first write that failed.
static LOST: Mutex<Option<std::io::Error>> = Mutex::new(None);

/// A line of the result. One that cannot be written makes the program fail at its end: see [`lost`].
pub fn line(text: &str) {
    keep(writeln!(std::io::stdout().lock(), "{text}"));
}

/// A line about what is going on, or why it failed.
pub fn note(text: &str) {
    // Where nobody can be told, that cannot be told either.
    let _lost = writeln!(std::io::stderr().lock(), "{text}");
}

/// Remembers that a part of the result could not be written. A reader that went away (`| head`) is no error of ours.
pub fn keep(written: std::io::Result<()>) {
    if let Err(error) = written
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        let mut lost = LOST.lock().unwrap_or_else(PoisonError::into_inner);
        lost.get_or_insert(error);
    }
}

/// Why the result did not reach stdout whole, once nothing more is written.
pub fn lost() -> Option<Failure> {
    keep(std::io::stdout().flush());
    let error = LOST.lock().unwrap_or_else(PoisonError::into_inner).take()?;
    Some(Failure {
        code: Some("SRT-Z017".to_owned()),
        causes: vec![error.to_string()],
        ..Failure::new(Exit::Failed, "the result could not be written to stdout")
    })
}

/// A question on the terminal; the answer is typed behind it.
///
/// # Errors
/// It could not be shown.
pub fn question(text: &str) -> std::io::Result<()> {
    let mut terminal = std::io::stderr().lock();
    terminal.write_all(text.as_bytes())?;
    terminal.flush()
}

/// One JSON document on one line of the result.
pub fn json(value: &impl Serialize) {
    match serde_json::to_string(value) {
        Ok(text) => line(&text),
        Err(error) => keep(Err(error.into())),
    }
}

/// Why a verb did not get done.
pub fn failure(failure: &Failure, output: Output, no_color: bool) {
    match output {
        Output::Json => match serde_json::to_string(&serde_json::json!({ "error": failure })) {
            Ok(text) => note(&text),
            Err(_) => note(&failure.message),
        },
        Output::Text => {
            let style = Style::new(std::io::stderr().is_terminal(), no_color);
            note(&explain(failure, style));
        }
    }
}

/// A failure in words: what, findings, why, what to do, code.
#[must_use]
pub fn explain(failure: &Failure, style: Style) -> String {
    let mut text = format!(
        "{} {}",
        style.paint(Tone::Bad, "error:"),
        harmless(&failure.message)
    );
    for problem in &failure.problems {
        text.push_str("\n  ");
        text.push_str(&harmless(&problem.to_string()));
    }
    for cause in &failure.causes {
        text.push_str("\n  because: ");
        text.push_str(&harmless(cause));
    }
    if let Some(hint) = &failure.hint {
        text.push_str(&format!(
            "\n  {} {}",
            style.paint(Tone::Active, "hint:"),
            harmless(hint)
        ));
    }
    if let Some(code) = &failure.code {
        text.push_str(&format!("\n  code: {}", harmless(code)));
    }
    text
}

/// Rows in columns, each as wide as its widest cell.
#[must_use]
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let header = header.iter().map(|cell| (*cell).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(header)
        .chain(
            rows.iter()
                .map(|row| row.iter().map(|cell| harmless(cell)).collect()),
        )
        .collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.width()).max().unwrap_or_default()
        })
        .collect();
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let cells = row.iter().zip(&widths);
            let line: String = cells
                .map(|(cell, width)| {
                    let gap = width.saturating_sub(cell.width()) + 3;
                    format!("{cell}{}", " ".repeat(gap))
                })
                .collect();
            line.trim_end().to_owned()
        })
        .collect();
    lines.join("\n")
}

/// A table as the result. On a terminal each row is one line, cut where the terminal ends; elsewhere rows are whole.
pub fn rows(header: &[&str], rows: &[Vec<String>]) {
    let text = table(header, rows);
    match columns(std::io::stdout()) {
        Some(width) => line(&fitted(&text, width)),
        None => line(&text),
    }
}

/// The width of a terminal; `None` when it is none, or does not say.
fn columns(of: impl std::os::fd::AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(of).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// The lines of `text`, each at most `width` columns; one that is cut ends in "…".
fn fitted(text: &str, width: usize) -> String {
    let fit = |line: &str| {
        if line.width() <= width {
            return line.to_owned();
        }
        format!("{}…", cut(line, width.saturating_sub(1)).0)
    };
    text.lines().map(fit).collect::<Vec<_>>().join("\n")
}

/// What fits into `width` columns, and the rest.
#[must_use]
pub fn cut(text: &str, width: usize) -> (&str, &str) {
    let mut taken = 0;
    let end = text.char_indices().find(|(_, c)| {
        taken += c.width().unwrap_or_default();
        taken > width
    });
    text.split_at(end.map_or(text.len(), |(end, _)| end))
}

/// A moment, to the second, in UTC.
#[must_use]
pub fn time(moment: jiff::Timestamp) -> String {
    moment.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Finding;

    #[test]
    fn a_failure_is_told_with_everything_that_is_known() {
        let failure = Failure {
            causes: vec!["why".to_owned()],
            code: Some("SRT-S008".to_owned()),
            problems: Box::new([Finding {
                severity: "error".to_owned(),
                file: "a.yaml".to_owned(),
                line: Some(3),
                column: Some(5),
                path: "service.spec".to_owned(),
                code: "SRT-E012".to_owned(),
                message: "missing".to_owned(),
            }]),
            ..Failure::new(Exit::Usage, "documents refused").hint("correct them")
        };
        insta::assert_snapshot!(explain(&failure, Style::none()), @r"
        error: documents refused
          error: a.yaml:3:5: SRT-E012 service.spec: missing
          because: why
          hint: correct them
          code: SRT-S008
        ");
    }

    #[test]
    fn what_does_not_fit_the_terminal_ends_in_an_ellipsis() {
        for (text, width, expected) in [
            ("NUMBER\n1 äöü", 6, "NUMBER\n1 äöü"),
            ("NUMBER\n1 äöüx y", 6, "NUMBER\n1 äöü…"),
            ("ab", 1, "…"),
            ("日本語", 6, "日本語"),
            ("日本語x", 6, "日本…"),
            ("", 5, ""),
        ] {
            assert_eq!(fitted(text, width), expected, "{text:?}");
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![
            vec!["a".to_owned(), "long cell".to_owned(), "x".to_owned()],
            vec!["äöü".to_owned(), String::new(), "y".to_owned()],
            vec![
                "日本".to_owned(),
                "a\u{1b}[2J\nb".to_owned(),
                "z".to_owned(),
            ],
        ];
        insta::assert_snapshot!(table(&["ID", "NAME", "Z"], &rows), @r"
        ID     NAME        Z
        a      long cell   x
        äöü                y
        日本   a�[2J�b     z
        ");
    }
}
