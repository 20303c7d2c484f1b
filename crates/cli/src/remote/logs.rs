//! `sortie logs`: the log of an execution, or of one step.

use std::io::IsTerminal as _;

use futures::StreamExt as _;
use serde_json::value::RawValue;

use super::{Remote, watch};
use crate::args::{Logs, Output, ScopeArgs};
use crate::client::wire::Execution;
use crate::client::{Follow, Patience, Request};
use crate::exit::{Exit, Failure, Result};
use crate::progress::{Labels, LogLines};
use crate::style::Style;
use crate::{Surroundings, print};

/// Print the log. Its end, however the execution ended, is success.
pub(crate) async fn run(args: &Logs, around: &Surroundings) -> Result {
    let remote = Remote::connect(around, &ScopeArgs::default())?;
    let id = args.execution.as_str();
    let what = format!("read the log of execution {id}");
    let execution: Execution = remote
        .client
        .fetch(Request::get(&what, &["executions", id]))
        .await?;
    let labels = Labels::of(&execution.nodes);
    let mut query = vec![("follow", args.follow.to_string())];
    query.extend(args.step.clone().map(|step| ("step", step)));
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
