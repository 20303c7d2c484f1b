//! `sortie validate`: every problem of entity files, with its place.

use std::io::IsTerminal as _;

use serde::Serialize;
use sortie_model::{Limits, Parsed, Problem};

use crate::args::{Output, Validate};
use crate::exit::{Exit, Result};
use crate::files::{self, Folders};
use crate::print;
use crate::style::{Style, Tone, harmless};

/// The code of a file without documents.
const NO_DOCUMENTS: &str = "SRT-Z014";

/// The form of `-o json`.
#[derive(Debug, Serialize)]
struct Report {
    files: usize,
    entities: usize,
    errors: Vec<Finding>,
    warnings: Vec<Finding>,
}

#[derive(Debug, Serialize)]
struct Finding {
    file: String,
    line: usize,
    column: usize,
    path: String,
    code: &'static str,
    message: String,
    /// The line for people.
    #[serde(skip)]
    text: String,
    #[serde(skip)]
    is_error: bool,
}

/// Check the files and print what is wrong; the exit code says whether there is an error.
///
/// # Errors
/// A path cannot be read.
pub(crate) fn run(args: &Validate, output: Output, no_color: bool) -> Result {
    let Validate {
        paths,
        recursive,
        strict,
    } = args;
    let limits = Limits::default();
    // One byte more than is accepted, so that what is too large is seen to be so.
    let most = u64::try_from(limits.bytes).map_or(u64::MAX, |most| most.saturating_add(1));
    let mut parsed = Vec::new();
    files::each(paths, Folders::from_flag(*recursive), most, |file| {
        parsed.push(sortie_model::parse(&file.name, &file.data, &limits));
        Ok(())
    })?;
    let findings = findings(&parsed, *strict);
    let entities = parsed.iter().map(|parsed| parsed.entities.len()).sum();
    let errors = findings.iter().filter(|finding| finding.is_error).count();
    let exit = if errors == 0 {
        Exit::Done
    } else {
        Exit::Failed
    };
    match output {
        Output::Json => {
            let (errors, warnings) = findings.into_iter().partition(|finding| finding.is_error);
            print::json(&Report {
                files: parsed.len(),
                entities,
                errors,
                warnings,
            });
        }
        Output::Text => {
            let style = Style::new(std::io::stdout().is_terminal(), no_color);
            for finding in &findings {
                let weight = if finding.is_error {
                    style.paint(Tone::Bad, "error:")
                } else {
                    style.paint(Tone::Warning, "warning:")
                };
                print::line(&format!("{weight} {}", harmless(&finding.text)));
            }
            print::line(&format!(
                "{}, {}, {}, {}",
                counted(parsed.len(), "file", "files"),
                counted(entities, "entity", "entities"),
                counted(errors, "error", "errors"),
                counted(findings.len() - errors, "warning", "warnings"),
            ));
        }
    }
    Ok(exit)
}

/// Every finding in the order of files and lines.
fn findings(parsed: &[Parsed], strict: bool) -> Vec<Finding> {
    let problems = parsed.iter().flat_map(|parsed| parsed.problems.clone());
    let missing = sortie_model::missing_references(parsed);
    let mut findings: Vec<Finding> = problems
        .chain(missing)
        .map(|problem| if strict { problem.strict() } else { problem })
        .map(Finding::from)
        .collect();
    let silent = parsed
        .iter()
        .filter(|parsed| parsed.entities.is_empty() && parsed.problems.is_empty());
    findings.extend(silent.map(|parsed| no_documents(&parsed.file, strict)));
    findings.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    findings
}

/// An empty file, or one with comments alone: most likely not what was meant.
fn no_documents(file: &str, strict: bool) -> Finding {
    let message = format!("no documents in {file}");
    Finding {
        file: file.to_owned(),
        line: 1,
        column: 1,
        path: String::new(),
        code: NO_DOCUMENTS,
        text: format!("{file}:1:1: {NO_DOCUMENTS} {message}"),
        message,
        is_error: strict,
    }
}

fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

impl From<Problem> for Finding {
    fn from(problem: Problem) -> Self {
        Self {
            text: problem.to_string(),
            is_error: problem.is_error(),
            file: problem.file,
            line: problem.line,
            column: problem.column,
            path: problem.path,
            code: problem.code.code(),
            message: problem.message,
        }
    }
}
