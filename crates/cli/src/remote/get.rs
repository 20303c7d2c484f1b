//! `sortie get` and `sortie delete`: entities, executions and delegates.

use reqwest::Method;
use serde_json::Value;
use sortie_model::Kind;

use super::{Remote, delegates, executions};
use crate::args::{Delete, Get, Output};
use crate::client::Request;
use crate::client::wire::{Entity, Page};
use crate::exit::{Exit, Failure, Result};
use crate::{Surroundings, print};

/// Entities per request.
const PAGE: &str = "500";

/// Show one, or list all.
pub(crate) async fn run(args: &Get, around: &Surroundings) -> Result {
    let remote = Remote::connect(around, &args.scope)?;
    match args.kind.as_str() {
        "execution" | "executions" => return executions::get(&remote, args, around).await,
        _ if args.latest => return Err(Failure::usage("--latest goes with executions only")),
        "delegate" | "delegates" => return delegates::get(&remote, args, around).await,
        _ if args.all => return Err(Failure::usage("--all goes with delegates only")),
        _ => {}
    }
    let kind = kind(&args.kind, &["execution", "delegate"])?;
    match &args.id {
        Some(id) => one(&remote, kind, id, args, around.output).await,
        None => all(&remote, kind, args, around.output).await,
    }
}

/// Delete an entity.
pub(crate) async fn delete(args: &Delete, around: &Surroundings) -> Result {
    let remote = Remote::connect(around, &args.scope)?;
    let kind = kind(&args.kind, &[])?;
    let (environment, identifier) = name(kind, &args.id)?;
    let mut query = remote.scope(args.level);
    query.extend(environment.map(|environment| ("environment", environment.to_owned())));
    let what = format!("delete {kind} {}", args.id);
    let path = ["entities", kind.name(), identifier];
    remote
        .client
        .send(Request::new(&what, Method::DELETE, &path).query(query))
        .await?;
    match around.output {
        Output::Json => print::json(&serde_json::json!({
            "kind": kind.name(), "environment": environment, "identifier": identifier, "outcome": "deleted",
        })),
        Output::Text => print::line(&format!("{kind} {} deleted", args.id)),
    }
    Ok(Exit::Done)
}

async fn one(remote: &Remote, kind: Kind, id: &str, args: &Get, output: Output) -> Result {
    let (environment, identifier) = name(kind, id)?;
    let mut query = remote.scope(args.level);
    query.extend(environment.map(|environment| ("environment", environment.to_owned())));
    let what = format!("get {kind} {id}");
    let path = ["entities", kind.name(), identifier];
    let value = remote
        .client
        .send(Request::get(&what, &path).query(query))
        .await?;
    match output {
        Output::Json => print::json(&value),
        // As it was written, so that it can be changed and applied again.
        Output::Text => {
            let entity: Entity = remote.client.typed(&what, value)?;
            print::line(entity.yaml.trim_end());
        }
    }
    Ok(Exit::Done)
}

async fn all(remote: &Remote, kind: Kind, args: &Get, output: Output) -> Result {
    let what = format!("list {kind} entities");
    let path = ["entities", kind.name()];
    let mut items: Vec<Value> = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let mut query = remote.scope(args.level);
        query.push(("limit", PAGE.to_owned()));
        query.extend(after.map(|after| ("after", after)));
        let page: Page = remote
            .client
            .fetch(Request::get(&what, &path).query(query))
            .await?;
        items.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    match output {
        Output::Json => print::json(&serde_json::json!({ "items": items })),
        Output::Text => {
            let entities: Vec<Entity> = remote.client.typed(&what, Value::Array(items))?;
            if entities.is_empty() {
                print::note(&none_yet(kind));
                return Ok(Exit::Done);
            }
            let rows: Vec<Vec<String>> = entities.into_iter().map(row).collect();
            print::rows(&["ID", "NAME", "VERSION", "UPDATED", "BY"], &rows);
        }
    }
    Ok(Exit::Done)
}

fn none_yet(kind: Kind) -> String {
    format!("No {kind}s yet. Make one with `sortie apply -f FILE`")
}

fn row(entity: Entity) -> Vec<String> {
    let Entity {
        environment,
        identifier,
        name,
        version,
        updated_by,
        updated_at,
        yaml: _,
    } = entity;
    let id = match environment {
        Some(environment) => format!("{environment}/{identifier}"),
        None => identifier,
    };
    vec![
        id,
        name,
        version.to_string(),
        print::time(updated_at),
        updated_by,
    ]
}

/// A kind by what people type.
fn kind(text: &str, others: &[&str]) -> Result<Kind> {
    Kind::from_name(text).ok_or_else(|| {
        let known = Kind::ALL
            .iter()
            .map(|kind| kind.name())
            .chain(others.iter().copied());
        let known: Vec<&str> = known.collect();
        Failure::usage(format!("`{text}` is no kind of thing"))
            .hint(format!("one of {}", known.join(", ")))
    })
}

/// Environment and identifier of `ENVIRONMENT/ID`; other kinds have no environment.
fn name(kind: Kind, id: &str) -> Result<(Option<&str>, &str)> {
    match (kind, id.split_once('/')) {
        (Kind::Infrastructure, Some((environment, identifier))) => {
            Ok((Some(environment), identifier))
        }
        (Kind::Infrastructure, None) => Err(Failure::usage(
            "an infrastructure is named by its environment and its identifier",
        )
        .hint(format!("write it as ENVIRONMENT/{id}"))),
        _ => Ok((None, id)),
    }
}
