//! `sortie validate`: every problem of entity files, with its place.

use std::io::IsTerminal as _;

use serde::Serialize;
use sortie_model::{Limits, Problem};

use crate::args::{Output, Validate};
use crate::exit::{Exit, Result};
use crate::files::{self, File, Folders};
use crate::print;
use crate::style::{Style, Tone, harmless};

/// The form of `-o json`.
#[derive(Debug, Serialize)]
struct Report<'a> {
    files: usize,
    entities: usize,
    errors: Vec<Finding<'a>>,
    warnings: Vec<Finding<'a>>,
}

#[derive(Debug, Serialize)]
struct Finding<'a> {
    file: &'a str,
    line: usize,
    column: usize,
    path: &'a str,
    code: &'static str,
    message: &'a str,
}

/// Check the files and print what is wrong; the exit code says whether there is an error.
///
/// # Errors
/// A path cannot be read.
pub(crate) fn run(args: &Validate, output: Output, no_color: bool) -> Result {
    let files = files::read(&args.paths, Folders::from_flag(args.recursive))?;
    let (entities, problems) = check(&files, args.strict);
    let (errors, warnings): (Vec<_>, Vec<_>) =
        problems.iter().partition(|problem| problem.is_error());
    let exit = if errors.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    };
    match output {
        Output::Json => print::json(&Report {
            files: files.len(),
            entities,
            errors: errors.into_iter().map(Finding::from).collect(),
            warnings: warnings.into_iter().map(Finding::from).collect(),
        }),
        Output::Text => {
            let style = Style::new(std::io::stdout().is_terminal(), no_color);
            for problem in &problems {
                let weight = if problem.is_error() {
                    style.paint(Tone::Bad, "error:")
                } else {
                    style.paint(Tone::Warning, "warning:")
                };
                print::line(&format!("{weight} {}", harmless(&problem.to_string())));
            }
            print::line(&format!(
                "{}, {}, {}, {}",
                counted(files.len(), "file", "files"),
                counted(entities, "entity", "entities"),
                counted(errors.len(), "error", "errors"),
                counted(warnings.len(), "warning", "warnings"),
            ));
        }
    }
    Ok(exit)
}

/// How many entities there are, and every finding in the order of files and lines.
fn check(files: &[File], strict: bool) -> (usize, Vec<Problem>) {
    let limits = Limits::default();
    let parsed: Vec<_> = files
        .iter()
        .map(|file| sortie_model::parse(&file.name, &file.data, &limits))
        .collect();
    let mut problems: Vec<Problem> = parsed
        .iter()
        .flat_map(|parsed| parsed.problems.clone())
        .collect();
    problems.extend(sortie_model::missing_references(&parsed));
    if strict {
        problems = problems.into_iter().map(Problem::strict).collect();
    }
    problems.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    (
        parsed.iter().map(|parsed| parsed.entities.len()).sum(),
        problems,
    )
}

fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

impl<'a> From<&'a Problem> for Finding<'a> {
    fn from(problem: &'a Problem) -> Self {
        Self {
            file: &problem.file,
            line: problem.line,
            column: problem.column,
            path: &problem.path,
            code: problem.code.code(),
            message: &problem.message,
        }
    }
}
