//! `sortie logs`: the log of an execution, or of one step.

use std::io::IsTerminal as _;

use futures::StreamExt as _;
use serde_json::value::RawValue;

use super::{Remote, reference, watch};
use crate::args::{Logs, Output};
use crate::client::wire::{Execution, Node};
use crate::client::{Follow, Patience, Request};
use crate::exit::{Exit, Failure, Result};
use crate::progress::{Labels, LogLines, Named, find, shortest};
use crate::style::Style;
use crate::{Surroundings, print};

/// Print the log. Its end, however the execution ended, is success.
pub(crate) async fn run(args: &Logs, around: &Surroundings) -> Result {
    let Logs {
        execution,
        step,
        follow,
    } = args;
    let remote = Remote::connect(around, &execution.scope)?;
    let id = reference::find(&remote, "read the log of", execution).await?;
    let id = id.as_str();
    let what = format!("read the log of execution {id}");
    let execution: Execution = remote
        .client
        .fetch(Request::get(&what, &["executions", id]))
        .await?;
    let labels = Labels::of(&execution.nodes);
    let mut query = vec![("follow", follow.to_string())];
    if let Some(name) = step {
        query.push(("step", path_of(&what, &execution, name)?));
    }
    let follow = Follow::new(
        &remote.client,
        &what,
        &["executions", id, "logs"],
        Patience::default(),
    );
    let printed = print_all(follow.query(query), &labels, around);
    tokio::select! {
        exit = printed => exit,
        _ = tokio::signal::ctrl_c() => Err(Failure::new(Exit::Interrupted, "interrupted")),
    }
}

/// The path of the node that a person named.
fn path_of(what: &str, execution: &Execution, name: &str) -> Result<String> {
    let nodes = &execution.nodes;
    let names = |of: &[&Node]| -> String {
        let names: Vec<String> = of.iter().map(|node| shortest(nodes, &node.path)).collect();
        names.join(", ")
    };
    match find(nodes, name) {
        Named::One(node) => Ok(node.path.clone()),
        Named::Several(several) => Err(Failure::usage(format!(
            "cannot {what}: `{name}` names several of its steps"
        ))
        .hint(format!("say --step with one of {}", names(&several)))),
        Named::Nothing => Err(Failure {
            code: Some("SRT-Z012".to_owned()),
            ..Failure::new(
                Exit::NotFound,
                format!("cannot {what}: it has no step `{name}`"),
            )
        }
        .hint(format!(
            "it has {}",
            names(&nodes.iter().collect::<Vec<_>>())
        ))),
    }
}

async fn print_all(follow: Follow, labels: &Labels, around: &Surroundings) -> Result {
    let style = Style::new(std::io::stdout().is_terminal(), around.no_color());
    let mut events = std::pin::pin!(follow.into_stream());
    let mut shown = LogLines::default();
    while let Some(event) = events.next().await {
        let event = event?;
        match around.output {
            Output::Json if event.event == "log" => {
                if let Ok(line) = RawValue::from_string(event.data) {
                    print::json(&line);
                }
            }
            Output::Json => {}
            Output::Text => {
                let lines = watch::log_line(&event);
                for line in lines
                    .iter()
                    .flat_map(|line| shown.show(line, labels, style))
                {
                    print::line(&line);
                }
            }
        }
    }
    Ok(Exit::Done)
}
