//! What a person, or a program, sees of a step that runs here: a picture on a terminal, lines elsewhere, or JSON lines.

use std::io::IsTerminal as _;

use serde_json::{Value, json};
use sortie_step::Outcome;
use sortie_step::report::Level;
use sortie_step::task::Release;

use super::follow::{self, WayBack};
use super::said::{self, Picture, Said};
use crate::args::Output;
use crate::client::wire::{LogLine, Node};
use crate::exit::{Exit, Failure, Result};
use crate::progress::{Changes, Labels, LogLines, Screen, logged, tree};
use crate::style::Style;
use crate::{Surroundings, clock, print};

/// How much is shown of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Everything.
    Whole,
    /// Warnings and errors, on stderr: stdout is for the result alone.
    Warnings,
}

/// What a person, or a program, sees of the step.
pub(super) struct View {
    output: Output,
    look: Look,
    screen: Option<Screen>,
    style: Style,
    picture: Picture,
    labels: Labels,
    changes: Changes,
    log: LogLines,
    lines: i64,
    /// Errors that were said last: the end may tell them.
    errors: Vec<Said>,
    no_color: bool,
}

impl View {
    pub(super) fn open(verb: &str, release: &str, look: Look, around: &Surroundings) -> Self {
        let screen = match (around.output, look) {
            (Output::Text, Look::Whole) => Screen::open(around.no_color()),
            _ => None,
        };
        let node = Node {
            path: verb.to_owned(),
            identifier: verb.to_owned(),
            name: format!("{verb} {release}"),
            status: "RUNNING".to_owned(),
            started_at: Some(clock::now()),
            ..Node::default()
        };
        Self {
            output: around.output,
            look,
            screen,
            style: Style::new(std::io::stdout().is_terminal(), around.no_color()),
            labels: Labels::of(std::slice::from_ref(&node)),
            picture: Picture::new(node),
            changes: Changes::default(),
            log: LogLines::default(),
            lines: 0,
            errors: Vec::new(),
            no_color: around.no_color(),
        }
    }

    /// Takes in what was said.
    pub(super) fn show(&mut self, said: Said) {
        if self.look == Look::Warnings {
            match &said {
                Said::Log(_, Level::Warning, _) => self.print(said),
                Said::Log(_, Level::Error, _) => self.errors.push(said),
                _ => {}
            }
            return;
        }
        self.picture.note(&said, clock::now());
        if self.output == Output::Json {
            return print::json(&as_json(&said));
        }
        if matches!(said, Said::Log(_, Level::Error, _)) {
            return self.errors.push(said);
        }
        if matches!(said, Said::Log(..)) {
            self.show_errors(&[]);
        }
        self.print(said);
    }

    /// The errors that were kept back, but for those that are told otherwise.
    fn show_errors(&mut self, told: &[String]) {
        for said in std::mem::take(&mut self.errors) {
            if !matches!(&said, Said::Log(_, _, text) if told.contains(text)) {
                self.print(said);
            }
        }
    }

    fn print(&mut self, said: Said) {
        if self.look == Look::Warnings {
            if let Said::Log(_, level, text) = &said {
                let style = Style::new(std::io::stderr().is_terminal(), self.no_color);
                print::note(&logged(said::level_word(*level), text, style));
            }
            return;
        }
        if let Some(screen) = &mut self.screen {
            // Above the tree only what asks for attention.
            if let Said::Log(unit, level @ (Level::Warning | Level::Error), text) = &said {
                let text = logged(said::level_word(*level), text, screen.style());
                screen.print(&format!("{}: {text}", unit.name()));
            }
            return;
        }
        let lines = match said {
            Said::Log(unit, level, text) => {
                self.lines += 1;
                let line = LogLine {
                    node: self.picture.node.path.clone(),
                    unit: unit.name().to_owned(),
                    level: said::level_word(level).to_owned(),
                    seq: self.lines,
                    text,
                };
                self.log.show(&line, &self.labels, self.style)
            }
            _ => {
                let nodes = std::slice::from_ref(&self.picture.node);
                self.changes.since_last(nodes, &self.labels, self.style)
            }
        };
        for line in lines {
            print::line(&line);
        }
    }

    /// A line about the view itself.
    pub(super) fn warn(&mut self, text: &str) {
        match &mut self.screen {
            Some(screen) => screen.print(text),
            None => print::note(text),
        }
    }

    /// Draws what is known, on a terminal.
    pub(super) fn draw(&mut self) {
        if let Some(screen) = &mut self.screen {
            screen.draw(&tree(
                std::slice::from_ref(&self.picture.node),
                clock::now(),
            ));
        }
    }

    /// The last words; the outputs of a success.
    pub(super) fn close(
        mut self,
        outcome: Outcome,
        (verb, way_back): (&str, WayBack),
        release: &Release,
    ) -> Result<Value> {
        match &outcome {
            Outcome::Failed(failure) => self.show_errors(&failure.lines()),
            _ => self.show_errors(&[]),
        }
        self.picture.node.ended_at = Some(clock::now());
        let (status, message) = match &outcome {
            Outcome::Succeeded { .. } => ("SUCCEEDED", None),
            Outcome::Failed(failure) => ("FAILED", Some(failure.message.clone())),
            Outcome::Aborted => ("ABORTED", None),
        };
        status.clone_into(&mut self.picture.node.status);
        if let Some(screen) = self.screen.take() {
            // How the units went stays on the terminal.
            let mut ended = self.picture.node.clone();
            "RUNNING".clone_into(&mut ended.status);
            let lines = tree(std::slice::from_ref(&ended), clock::now());
            let style = screen.style();
            screen.close();
            for line in lines.iter().skip(1) {
                print::note(&line.fit(usize::MAX, style));
            }
        } else if self.output == Output::Text && self.look == Look::Whole && message.is_none() {
            let nodes = std::slice::from_ref(&self.picture.node);
            for line in self.changes.since_last(nodes, &self.labels, self.style) {
                print::line(&line);
            }
        }
        match outcome {
            Outcome::Succeeded { outputs } => Ok(outputs),
            Outcome::Failed(failure) => Err(follow::failed(failure, (verb, way_back), release)),
            Outcome::Aborted => Err(Failure::new(
                Exit::Interrupted,
                format!(
                    "{verb} {} was stopped at a safe place; what was written stays",
                    release.name
                ),
            )
            .hint(carry_on(verb, way_back, release))),
        }
    }
}

/// The last event of a verb that changes a release and did not succeed, wherever it ended.
pub(crate) fn ended(failure: &Failure) -> Value {
    let status = match failure.exit {
        Exit::Interrupted => "ABORTED",
        _ => "FAILED",
    };
    json!({
        "event": "end", "status": status, "code": failure.code, "message": failure.message, "hint": failure.hint,
    })
}

/// What to type after a step was stopped.
fn carry_on(verb: &str, way_back: WayBack, release: &Release) -> String {
    let Release {
        namespace, name, ..
    } = release;
    let named = format!("-n {namespace} --release {name}");
    match way_back {
        WayBack::Rollback => format!(
            "{verb} again to carry on, or bring the last good release back: sortie rollback {named}"
        ),
        WayBack::Uninstall => format!(
            "{verb} again to carry on, or take away what is there: sortie uninstall {named}"
        ),
        WayBack::Cancel | WayBack::CancelFirst => {
            format!("{verb} again to carry on, or take its pods away: sortie cancel {named}")
        }
        WayBack::Shared => format!(
            "{verb} again to carry on, or give the present version its pods back: sortie cancel {named}"
        ),
        WayBack::Untouched => {
            format!("{verb} again to carry on; the version with the traffic was not touched")
        }
        WayBack::Again => format!("to carry on: sortie {verb} {named}"),
    }
}

fn as_json(said: &Said) -> Value {
    match said {
        Said::Unit(unit, status, at) => json!({
            "event": "unit", "unit": unit.name(), "status": said::status_word(*status), "at": at,
        }),
        Said::Log(unit, level, text) => json!({
            "event": "log", "unit": unit.name(), "level": said::level_word(*level), "text": text,
        }),
        Said::Object(unit, row) => json!({
            "event": "object", "unit": unit.name(), "group": row.id.group, "kind": row.id.kind,
            "namespace": row.id.namespace, "name": row.id.name, "change": row.change.as_str(), "health": row.health.as_str(),
            "message": row.message,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_fails_ends_with_an_event_of_its_own() {
        let mut failure = Failure::new(Exit::Failed, "deploy web failed").hint("look");
        failure.code = Some("SRT-T010".to_owned());
        let event = ended(&failure);
        let expected = json!({
            "event": "end", "status": "FAILED", "code": "SRT-T010",
            "message": "deploy web failed", "hint": "look",
        });
        assert_eq!(event, expected);
    }
}
