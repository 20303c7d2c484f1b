//! `sortie apply`: store entities, all or none.

use std::io::IsTerminal as _;

use reqwest::Method;
use secrecy::SecretString;

use super::bundle::Bundle;
use super::{Remote, secret_value};
use crate::args::{Apply, Output};
use crate::client::wire::{Applied, AppliedEntity};
use crate::client::{Body, Request};
use crate::exit::{Exit, Failure, Result};
use crate::files::{self, Folders};
use crate::style::{Style, Tone, harmless};
use crate::{Surroundings, print};

/// Bytes that a control plane takes as one body.
const MOST: u64 = sortie_model::Limits::BYTES as u64;

/// Send all files as one body and say what became of each document.
pub(crate) async fn run(args: &Apply, around: &Surroundings) -> Result {
    let Apply {
        files,
        recursive,
        scope,
        level,
        strict,
        dry_run,
        secret_value_stdin,
    } = args;
    let reads_stdin = files.iter().filter(|path| path.as_os_str() == "-").count();
    if reads_stdin > 1 || (reads_stdin == 1 && *secret_value_stdin) {
        return Err(Failure::usage("stdin can be read only once"));
    }
    let remote = Remote::connect(around, scope)?;
    let folders = Folders::from_flag(*recursive);
    let bundle = Bundle::of(files::read(files, folders, MOST)?)?;
    let body = if *secret_value_stdin {
        secret_value::place(&bundle.text, &secret_value::read()?)?
    } else {
        SecretString::from(bundle.text.as_str())
    };
    let mut query = remote.scope(*level);
    query.push(("strict", strict.to_string()));
    query.push(("dryRun", dry_run.to_string()));
    if let Some(file) = bundle.single() {
        query.push((
            "file",
            file.chars().filter(|c| !c.is_control()).take(250).collect(),
        ));
    }
    let request = Request::new("store the documents", Method::PUT, &["entities"]);
    let sent = remote
        .client
        .fetch(request.query(query).body(Body::Yaml(body)))
        .await;
    let mut applied: Applied = sent.map_err(|failure: Failure| Failure {
        problems: failure
            .problems
            .into_iter()
            .map(|found| bundle.locate(found))
            .collect(),
        ..failure
    })?;
    applied.warnings = applied
        .warnings
        .into_iter()
        .map(|found| bundle.locate(found))
        .collect();
    match around.output {
        Output::Json => print::json(&applied),
        Output::Text => {
            let style = Style::new(std::io::stderr().is_terminal(), around.no_color());
            for warning in &applied.warnings {
                print::note(&style.paint(Tone::Warning, &harmless(&warning.to_string())));
            }
            for entity in &applied.entities {
                print::line(&line(entity, *dry_run));
            }
        }
    }
    Ok(Exit::Done)
}

fn line(entity: &AppliedEntity, dry_run: bool) -> String {
    let AppliedEntity {
        kind,
        org: _,
        project: _,
        environment,
        identifier,
        version,
        outcome,
    } = entity;
    let name = match environment {
        Some(environment) => format!("{environment}/{identifier}"),
        None => identifier.clone(),
    };
    let note = if dry_run { " (dry run)" } else { "" };
    harmless(&format!("{kind} {name} {outcome}, version {version}{note}"))
}
