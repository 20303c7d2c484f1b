//! Measures the verdicts on the corpus of operator statuses and writes the result into `docs/health.md`.

#[path = "../tests/samples/mod.rs"]
mod samples;

use samples::{Agreement, BEGIN, END, corpus, page, told};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let operators = corpus();
    let open = Agreement::of(operators.iter().filter(|it| !it.held_out));
    let held = Agreement::of(operators.iter().filter(|it| it.held_out));
    let text = std::fs::read_to_string(page())?;
    let (before, rest) = text
        .split_once(BEGIN)
        .ok_or("docs/health.md has no place for it")?;
    let (_, after) = rest
        .split_once(END)
        .ok_or("docs/health.md has no end of it")?;
    let agreement = told(&open, &held);
    std::fs::write(page(), format!("{before}{BEGIN}{agreement}{END}{after}"))?;
    Ok(())
}
