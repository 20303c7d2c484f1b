//! `sortie run`, `sortie abort` and `sortie get execution`.

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{Remote, reference, watch};
use crate::args::{Abort, ExecutionArgs, Get, Level, Output, Run};
use crate::client::wire::{Execution, ExecutionSummary, Page};
use crate::client::{Body, Request};
use crate::exit::{Exit, Result};
use crate::progress::{self, State, summary, tree};
use crate::style::{Style, harmless};
use crate::{Surroundings, clock, duration, print};

/// Most executions that one request may ask for.
const PAGE: u32 = 500;

/// Start a pipeline, and follow it if asked to.
pub(crate) async fn run(args: &Run, around: &Surroundings) -> Result {
    let remote = Remote::connect(around, &args.scope)?;
    let variables: Map<String, Value> = args
        .variables
        .iter()
        .map(|(name, value)| (name.clone(), Value::String(value.clone())))
        .collect();
    let mut body = json!({ "pipeline": args.pipeline, "variables": variables });
    for (name, value) in remote.scope(Level::Project) {
        body[name] = Value::String(value);
    }
    let what = format!("run pipeline {}", args.pipeline);
    let request = Request::new(&what, Method::POST, &["executions"]).body(Body::Json(&body));
    let started = remote.client.send(request).await?;
    let execution: ExecutionSummary = remote.client.typed(&what, started.clone())?;
    let ExecutionSummary {
        id,
        pipeline,
        sequence,
        ..
    } = &execution;
    match (around.output, args.follow) {
        (Output::Json, _) if args.follow => {
            print::json(&json!({"event": "started", "data": started}))
        }
        (Output::Json, _) => print::json(&started),
        (Output::Text, true) => print::note(&format!(
            "{} #{sequence} is execution {id}",
            harmless(pipeline)
        )),
        (Output::Text, false) => {
            print::line(id);
            print::note(&format!(
                "{} #{sequence} has begun; sortie watch {id} follows it",
                harmless(pipeline)
            ));
        }
    }
    if args.follow {
        watch::follow(&remote.client, id, around).await
    } else {
        Ok(Exit::Done)
    }
}

/// End an execution.
pub(crate) async fn abort(args: &Abort, around: &Surroundings) -> Result {
    let Abort {
        execution,
        latest,
        scope,
        reason,
    } = args;
    let remote = Remote::connect(around, scope)?;
    let wanted = ExecutionArgs {
        execution: execution.clone(),
        latest: *latest,
        scope: scope.clone(),
    };
    let id = reference::find_named(&remote, "abort", &wanted).await?;
    let what = format!("abort execution {id}");
    let path = ["executions", id.as_str(), "abort"];
    let body = json!({ "reason": reason });
    let request = Request::new(&what, Method::POST, &path).body(Body::Json(&body));
    let value = remote.client.send(request).await?;
    match around.output {
        Output::Json => print::json(&value),
        Output::Text => {
            let execution: Execution = remote.client.typed(&what, value)?;
            print::line(&harmless(&aborting(&id, &execution)));
            if !execution.summary.ended {
                print::note(&format!("sortie watch {id} follows it to its end"));
            }
        }
    }
    Ok(Exit::Done)
}

/// What became of the request to end an execution: most go on for a while, to a safe place.
fn aborting(id: &str, execution: &Execution) -> String {
    let why = progress::abort(execution).map_or_else(String::new, |why| format!(": {why}"));
    if execution.summary.ended {
        let word = State::of(&execution.summary.status).word();
        format!("execution {id} is {word}{why}")
    } else {
        format!("execution {id} was told to stop{why}")
    }
}

/// One execution as a tree, or the newest ones.
pub(super) async fn get(remote: &Remote, args: &Get, around: &Surroundings) -> Result {
    if args.id.is_none() && !args.latest {
        return list(remote, args, around.output).await;
    }
    let wanted = ExecutionArgs {
        execution: args.id.clone(),
        latest: args.latest,
        scope: args.scope.clone(),
    };
    let id = reference::find(remote, "get", &wanted).await?;
    let what = format!("get execution {id}");
    let value = remote
        .client
        .send(Request::get(&what, &["executions", &id]))
        .await?;
    match around.output {
        Output::Json => print::json(&value),
        Output::Text => {
            let execution: Execution = remote.client.typed(&what, value)?;
            let mut lines = summary(&execution, Style::none());
            lines.insert(1, harmless(&format!("  {}", history(&execution))));
            for line in lines {
                print::line(&line);
            }
            for line in tree(&execution.nodes, clock::now()) {
                print::line(&line.fit(usize::MAX, Style::none()));
            }
        }
    }
    Ok(Exit::Done)
}

async fn list(remote: &Remote, args: &Get, output: Output) -> Result {
    let what = "list executions";
    let mut items: Vec<Value> = Vec::new();
    let mut before: Option<String> = None;
    loop {
        let left = args.limit
            - u32::try_from(items.len())
                .unwrap_or(args.limit)
                .min(args.limit);
        let mut query = remote.scope(Level::Project);
        query.push(("limit", left.min(PAGE).to_string()));
        query.extend(before.map(|before| ("before", before)));
        let page: Page = remote
            .client
            .fetch(Request::get(what, &["executions"]).query(query))
            .await?;
        items.extend(page.items);
        match page.next {
            Some(next) if items.len() < usize::try_from(args.limit).unwrap_or(usize::MAX) => {
                before = Some(next)
            }
            _ => break,
        }
    }
    match output {
        Output::Json => print::json(&json!({ "items": items })),
        Output::Text => {
            let found: Vec<ExecutionSummary> = remote.client.typed(what, Value::Array(items))?;
            if found.is_empty() {
                print::note("No executions yet. Run a pipeline with `sortie run PIPELINE`");
                return Ok(Exit::Done);
            }
            let rows: Vec<Vec<String>> = found.into_iter().map(row).collect();
            // No ids: RUN names an execution for every verb. The message last: a narrow terminal cuts it.
            let header = ["RUN", "STATUS", "STARTED", "TOOK", "BY", "MESSAGE"];
            print::rows(&header, &rows);
        }
    }
    Ok(Exit::Done)
}

/// Its id, who began it and when, and when it was aborted.
fn history(execution: &Execution) -> String {
    let ExecutionSummary {
        id,
        requested_by,
        created_at,
        ..
    } = &execution.summary;
    let begun = print::time(*created_at);
    let aborted = execution
        .aborted_at
        .map_or_else(String::new, |at| format!(", aborted {}", print::time(at)));
    format!("execution {id}, started {begun} by {requested_by}{aborted}")
}

fn row(execution: ExecutionSummary) -> Vec<String> {
    let message = progress::cause(&execution).unwrap_or_default();
    let ExecutionSummary {
        pipeline,
        sequence,
        status,
        requested_by,
        created_at,
        ended_at,
        ..
    } = execution;
    let took = ended_at.map_or_else(String::new, |end| {
        duration::show(end.duration_since(created_at))
    });
    vec![
        format!("{pipeline}#{sequence}"),
        State::of(&status).word().to_owned(),
        print::time(created_at),
        took,
        requested_by,
        message,
    ]
}
