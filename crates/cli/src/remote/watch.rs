//! `sortie watch` and `run --follow`: an execution until it ends.

use std::collections::VecDeque;
use std::io::IsTerminal as _;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use serde_json::json;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{Remote, reference};
use crate::args::{Output, Watch};
use crate::client::wire::{Execution, LogLine};
use crate::client::{Client, Event, Follow, Patience};
use crate::exit::{Exit, Failure, Result};
use crate::progress::{Labels, LogLines, Narrator, Screen, exit_of, failed, summary, tree};
use crate::style::Style;
use crate::{Surroundings, clock, print};

/// How often times in the tree move on.
const REDRAW: Duration = Duration::from_millis(500);

/// Lines of the failed step's log that are shown at the end.
const LAST_WORDS: usize = 12;

/// Follow an execution.
pub(crate) async fn run(args: &Watch, around: &Surroundings) -> Result {
    let remote = Remote::connect(around, &args.execution.scope)?;
    let id = reference::find(&remote, "follow", &args.execution).await?;
    follow(&remote.client, &id, around).await
}

/// Show an execution until it ends; the exit says how it ended. Ctrl-C leaves it alone and ends the view.
pub(super) async fn follow(client: &Client, id: &str, around: &Surroundings) -> Result {
    let screen = match around.output {
        Output::Text => Screen::open(around.no_color()),
        Output::Json => None,
    };
    let shown = async {
        match (around.output, screen) {
            (Output::Json, _) => as_json(client, id).await,
            (Output::Text, Some(screen)) => as_tree(client, id, screen, around).await,
            (Output::Text, None) => as_lines(client, id, around).await,
        }
    };
    tokio::select! {
        exit = shown => exit,
        _ = tokio::signal::ctrl_c() => Err(Failure::new(Exit::Interrupted, "interrupted; the execution goes on")
            .hint(format!("sortie watch {id} follows it again, sortie abort {id} ends it"))),
    }
}

fn states(client: &Client, id: &str) -> Follow {
    let what = format!("follow execution {id}");
    Follow::new(
        client,
        &what,
        &["executions", id, "events"],
        Patience::default(),
    )
}

fn log(client: &Client, id: &str) -> Follow {
    let what = format!("follow the log of execution {id}");
    Follow::new(
        client,
        &what,
        &["executions", id, "logs"],
        Patience::default(),
    )
}

/// One JSON document per event: `{"event":"state"|"log"|"end","data":…}`.
async fn as_json(client: &Client, id: &str) -> Result {
    let followed = log(client, id).query(vec![("follow", "true".to_owned())]);
    let log = followed.into_stream().filter(|event| {
        // The end is told once, by the states.
        std::future::ready(!event.as_ref().is_ok_and(|event| event.event == "end"))
    });
    let mut events = std::pin::pin!(stream::select(states(client, id).into_stream(), log));
    let mut end = None;
    while let Some(event) = events.next().await {
        let event = event?;
        if event.event == "end" {
            end = Some(event);
            continue;
        }
        print_event(&event);
    }
    let end = end.unwrap_or_default();
    print_event(&end);
    Ok(exit_of(&status_of(&end)))
}

fn print_event(event: &Event) {
    match RawValue::from_string(event.data.clone()) {
        Ok(data) => print::json(&json_line(event, &data)),
        Err(_) => print::json(&json!({ "event": event.event, "data": event.data })),
    }
}

#[derive(serde::Serialize)]
struct JsonLine<'a> {
    event: &'a str,
    data: &'a RawValue,
}

fn json_line<'a>(event: &'a Event, data: &'a RawValue) -> JsonLine<'a> {
    JsonLine {
        event: &event.event,
        data,
    }
}

fn status_of(end: &Event) -> String {
    #[derive(serde::Deserialize)]
    struct End {
        status: String,
    }
    serde_json::from_str::<End>(&end.data).map_or_else(|_| String::new(), |end| end.status)
}

/// A tree that is drawn again and again.
async fn as_tree(client: &Client, id: &str, mut screen: Screen, around: &Surroundings) -> Result {
    let mut events = std::pin::pin!(states(client, id).into_stream());
    let mut redraw = tokio::time::interval(REDRAW);
    let mut last: Option<Execution> = None;
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(event) => {
                    let event = event?;
                    if event.event == "state" {
                        last = Some(parse(client, id, &event)?);
                    }
                }
                None => break,
            },
            _ = redraw.tick() => {}
        }
        if let Some(execution) = &last {
            screen.draw(&tree(&execution.nodes, clock::now()));
        }
    }
    let style = screen.style();
    screen.close();
    let Some(execution) = last else {
        return Ok(Exit::Failed);
    };
    // What stays on the terminal is the tree as it ended.
    for line in tree(&execution.nodes, clock::now()) {
        print::note(&line.fit(usize::MAX, style));
    }
    let exit = exit_of(&execution.summary.status);
    if exit != Exit::Done {
        last_words(client, &execution, style).await;
    }
    let style = Style::new(std::io::stdout().is_terminal(), around.no_color());
    for line in summary(&execution, style) {
        print::line(&line);
    }
    Ok(exit)
}

/// The end of the log of the first step that failed.
async fn last_words(client: &Client, execution: &Execution, style: Style) {
    let Some(node) = failed(&execution.nodes).next() else {
        return;
    };
    let id = &execution.summary.id;
    let mut lines = std::pin::pin!(
        log(client, id)
            .query(vec![("step", node.path.clone())])
            .into_stream()
    );
    let mut tail: VecDeque<LogLine> = VecDeque::new();
    // The log is an extra: without it the summary still tells why.
    while let Some(Ok(event)) = lines.next().await {
        if let Some(line) = log_line(&event) {
            tail.push_back(line);
            if tail.len() > LAST_WORDS {
                tail.pop_front();
            }
        }
    }
    let labels = Labels::of(&execution.nodes);
    let mut shown = LogLines::default();
    for line in tail {
        for line in shown.show(&line, &labels, style) {
            print::note(&line);
        }
    }
}

/// One line per change of state, and the log.
async fn as_lines(client: &Client, id: &str, around: &Surroundings) -> Result {
    let style = Style::new(std::io::stdout().is_terminal(), around.no_color());
    let followed = log(client, id).query(vec![("follow", "true".to_owned())]);
    let mut events = std::pin::pin!(stream::select(
        states(client, id).into_stream(),
        followed.into_stream()
    ));
    let mut last: Option<Execution> = None;
    let mut narrator = Narrator::new(style);
    let begin = Instant::now();
    let failure = loop {
        let wake = narrator.next().map(|due| begin + due);
        let event = tokio::select! {
            event = events.next() => Some(event),
            () = tokio::time::sleep_until(wake.unwrap_or(begin)), if wake.is_some() => None,
        };
        let now = begin.elapsed();
        let lines = match event {
            None => narrator.due(now),
            Some(None) => break None,
            Some(Some(Err(failure))) => break Some(failure),
            Some(Some(Ok(event))) if event.event == "state" => {
                let execution = parse(client, id, &event)?;
                let lines = narrator.state(&execution.nodes, now);
                last = Some(execution);
                lines
            }
            Some(Some(Ok(event))) => {
                log_line(&event).map_or_else(Vec::new, |line| narrator.log(line, now))
            }
        };
        for line in lines {
            print::line(&line);
        }
    };
    for line in narrator.rest() {
        print::line(&line);
    }
    if let Some(failure) = failure {
        return Err(failure);
    }
    let Some(execution) = last else {
        return Ok(Exit::Failed);
    };
    for line in summary(&execution, style) {
        print::line(&line);
    }
    Ok(exit_of(&execution.summary.status))
}

fn parse(client: &Client, id: &str, event: &Event) -> Result<Execution> {
    let value = serde_json::from_str(&event.data).unwrap_or_default();
    client.typed(&format!("follow execution {id}"), value)
}

/// The line of a `log` event.
pub(super) fn log_line(event: &Event) -> Option<LogLine> {
    (event.event == "log")
        .then(|| serde_json::from_str(&event.data).ok())
        .flatten()
}
