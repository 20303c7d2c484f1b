//! Runs a step here and shows it: as a tree, as lines, or as JSON lines.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sortie_cluster::Cluster;
use sortie_render::git::Network;
use sortie_render::tools::Search;
use sortie_step::policy::Policy;
use sortie_step::report::Level;
use sortie_step::task::{Action, Owner, Release, RequestedBy, Task};
use sortie_step::{FailureKind, Limits, Nothing, Outcome, Renderer};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use super::said::{self, Said};
use crate::args::Output;
use crate::client::wire::{LogLine, Node};
use crate::exit::{Exit, Failure, Result};
use crate::progress::{Changes, Labels, LogLines, Screen, logged, tree};
use crate::style::Style;
use crate::{Surroundings, clock, print};

/// How often times in the tree move on.
const REDRAW: Duration = Duration::from_millis(500);

/// A step to run here.
#[derive(Debug)]
pub(super) struct Job {
    /// The verb, for people.
    pub(super) verb: &'static str,
    /// The cluster.
    pub(super) cluster: Cluster,
    /// Namespace of the release.
    pub(super) namespace: String,
    /// Release name.
    pub(super) release: String,
    /// How long it may take.
    pub(super) timeout: Duration,
    /// What to do.
    pub(super) action: Action,
}

/// Who asks for a step that runs here.
#[derive(Debug, PartialEq, Eq)]
struct Asker {
    /// For the release record.
    name: String,
    /// With the machine, for the Lease.
    address: String,
}

impl Asker {
    /// A process without a user's name, as in many containers, is known by its user id and machine.
    fn of(user: Option<&str>, uid: u32, host: &str) -> Self {
        match user {
            Some(user) => Self {
                name: user.to_owned(),
                address: format!("{user}@{host}"),
            },
            None => {
                let address = format!("uid {uid}@{host}");
                Self {
                    name: address.clone(),
                    address,
                }
            }
        }
    }
}

/// Runs the step to its end. Ctrl-C stops it at the next safe place; a second one ends the program.
pub(super) async fn run(job: Job, around: &Surroundings) -> Result<Value> {
    let Job {
        verb,
        cluster,
        namespace,
        release,
        timeout,
        action,
    } = job;
    let who = Asker::of(
        around.environment.user.as_deref(),
        rustix::process::getuid().as_raw(),
        &rustix::system::uname().nodename().to_string_lossy(),
    );
    let task = Task {
        id: uuid::Uuid::now_v7().to_string(),
        epoch: 0,
        release: Release {
            namespace,
            name: release,
            owner: Owner::default(),
        },
        requested_by: RequestedBy {
            user: who.name,
            ..RequestedBy::default()
        },
        timeout,
        action,
    };
    let (teller, hears) = said::channel();
    let cancel = CancellationToken::new();
    let proxies = around.environment.proxies.clone();
    let environment = sortie_step::Environment {
        cluster,
        renderer: Renderer {
            search: Search::from_environment(),
            scratch: std::env::temp_dir(),
            ca_file: around.environment.ca_file.clone(),
            network: Network {
                http_proxy: proxies.http,
                https_proxy: proxies.https,
                no_proxy: proxies.none,
            },
        },
        policy: Policy::default(),
        resolver: Arc::new(Nothing),
        sink: Arc::new(teller),
        cancel: cancel.clone(),
        holder: format!(
            "{} (sortie {verb}, process {})",
            who.address,
            std::process::id()
        ),
        limits: Limits::default(),
    };
    let mut view = View::open(verb, &task.release.name, around);
    let outcome = {
        let step = Box::pin(sortie_step::run(&task, &environment));
        watch(step, hears, &mut view, &cancel).await?
    };
    view.close(outcome, verb, &task.release)
}

/// Shows what the step says until it has ended.
async fn watch(
    mut step: impl Future<Output = Outcome> + Unpin,
    mut hears: UnboundedReceiver<Said>,
    view: &mut View,
    cancel: &CancellationToken,
) -> Result<Outcome> {
    let mut redraw = tokio::time::interval(REDRAW);
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        tokio::select! {
            // What was said comes before the end.
            biased;
            Some(said) = hears.recv() => view.show(said),
            outcome = &mut step => {
                while let Ok(said) = hears.try_recv() {
                    view.show(said);
                }
                return Ok(outcome);
            }
            _ = &mut interrupt => {
                if cancel.is_cancelled() {
                    return Err(Failure::new(Exit::Interrupted, "ended at once; what was begun is in the release record")
                        .hint("the next deploy or rollback of this release carries on from there"));
                }
                cancel.cancel();
                view.warn("stopping at the next safe place; Ctrl-C again ends at once");
                interrupt.set(tokio::signal::ctrl_c());
            }
            _ = redraw.tick() => {}
        }
        view.draw();
    }
}

/// What a person, or a program, sees of the step.
struct View {
    output: Output,
    screen: Option<Screen>,
    style: Style,
    node: Node,
    labels: Labels,
    changes: Changes,
    log: LogLines,
    lines: i64,
    /// Errors that were said last: the end may tell them.
    errors: Vec<Said>,
}

impl View {
    fn open(verb: &str, release: &str, around: &Surroundings) -> Self {
        let screen = match around.output {
            Output::Text => Screen::open(around.no_color()),
            Output::Json => None,
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
            screen,
            style: Style::new(std::io::stdout().is_terminal(), around.no_color()),
            labels: Labels::of(std::slice::from_ref(&node)),
            node,
            changes: Changes::default(),
            log: LogLines::default(),
            lines: 0,
            errors: Vec::new(),
        }
    }

    fn show(&mut self, said: Said) {
        said::note(&mut self.node, &said);
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
        if let Some(screen) = &self.screen {
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
                    node: self.node.path.clone(),
                    unit: unit.name().to_owned(),
                    level: said::level_word(level).to_owned(),
                    seq: self.lines,
                    text,
                };
                self.log.show(&line, &self.labels, self.style)
            }
            _ => {
                let nodes = std::slice::from_ref(&self.node);
                self.changes.since_last(nodes, &self.labels, self.style)
            }
        };
        for line in lines {
            print::line(&line);
        }
    }

    fn warn(&self, text: &str) {
        match &self.screen {
            Some(screen) => screen.print(text),
            None => print::note(text),
        }
    }

    fn draw(&self) {
        if let Some(screen) = &self.screen {
            screen.draw(&tree(std::slice::from_ref(&self.node), clock::now()));
        }
    }

    /// The last words; the outputs of a success.
    fn close(mut self, outcome: Outcome, verb: &str, release: &Release) -> Result<Value> {
        match &outcome {
            Outcome::Failed(failure) => self.show_errors(&failure.lines()),
            _ => self.show_errors(&[]),
        }
        self.node.ended_at = Some(clock::now());
        let (status, message) = match &outcome {
            Outcome::Succeeded { .. } => ("SUCCEEDED", None),
            Outcome::Failed(failure) => ("FAILED", Some(failure.message.clone())),
            Outcome::Aborted => ("ABORTED", None),
        };
        status.clone_into(&mut self.node.status);
        if let Some(screen) = self.screen.take() {
            // How the units went stays on the terminal.
            let mut ended = self.node.clone();
            "RUNNING".clone_into(&mut ended.status);
            let lines = tree(std::slice::from_ref(&ended), clock::now());
            let style = screen.style();
            screen.close();
            for line in lines.iter().skip(1) {
                print::note(&line.fit(usize::MAX, style));
            }
        } else if self.output == Output::Text && message.is_none() {
            let nodes = std::slice::from_ref(&self.node);
            for line in self.changes.since_last(nodes, &self.labels, self.style) {
                print::line(&line);
            }
        }
        match outcome {
            Outcome::Succeeded { outputs } => Ok(outputs),
            Outcome::Failed(failure) => Err(failed(failure, verb, release)),
            Outcome::Aborted => Err(Failure::new(
                Exit::Interrupted,
                format!(
                    "{verb} {} was stopped at a safe place; what was written stays",
                    release.name
                ),
            )
            .hint("deploy again to carry on, or roll back")),
        }
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
            "event": "object", "unit": unit.name(), "kind": row.id.kind, "namespace": row.id.namespace,
            "name": row.id.name, "change": row.change.as_str(), "health": row.health.as_str(),
            "message": row.message,
        }),
    }
}

fn failed(failure: sortie_step::Failure, verb: &str, release: &Release) -> Failure {
    let sortie_step::Failure {
        kind,
        code,
        message,
        hint,
        release_number,
    } = failure;
    let number =
        release_number.map_or_else(String::new, |number| format!(", release number {number}"));
    let Release {
        namespace, name, ..
    } = release;
    let undo = (verb == "deploy" && release_number.is_some()).then(|| {
        format!(
            "`sortie rollback -n {namespace} --release {name}` brings the last good release back"
        )
    });
    let hints: Vec<String> = Some(hint)
        .filter(|hint| !hint.is_empty())
        .into_iter()
        .chain(undo)
        .collect();
    let exit = match (code.as_str(), kind) {
        // Another release's object, another owner, a lost lease or a lost compare-and-set.
        ("SRT-C010" | "SRT-C012" | "SRT-C015" | "SRT-C023" | "SRT-C034" | "SRT-C035", _) => {
            Exit::Conflict
        }
        ("SRT-C013", _) => Exit::NotFound,
        (_, FailureKind::Connectivity) => Exit::Unreachable,
        (_, FailureKind::Authentication | FailureKind::Authorization) => Exit::NotAllowed,
        _ => Exit::Failed,
    };
    Failure {
        hint: (!hints.is_empty()).then(|| hints.join("; ")),
        code: Some(code).filter(|code| !code.is_empty()),
        ..Failure::new(exit, format!("{verb} {name} failed{number}: {message}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asker_without_a_name_is_known_by_user_id_and_machine() {
        let named = Asker::of(Some("ada"), 1000, "desk");
        assert_eq!(named.name, "ada");
        assert_eq!(named.address, "ada@desk");
        let nameless = Asker::of(None, 1000, "runner-7");
        assert_eq!(nameless.name, "uid 1000@runner-7");
        assert_eq!(nameless.address, "uid 1000@runner-7");
    }
}
