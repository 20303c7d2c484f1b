//! Server-sent events: the state of an execution, and its log.
//!
//! Followers are woken by the hub and read the store again, so that a slow one skips intermediate
//! states but never the last, and a log never has a hole.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use futures::stream::unfold;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sortie_store::LogLine;
use utoipa::{IntoParams, ToSchema};

use super::Web;
use super::executions::view;
use super::extract::{Path, Query};
use crate::engine::ExecutionView;
use crate::hub::Follower;
use crate::problem::{Code, Problem, ProblemDocument};

/// States closer together than this are sent as one.
const COALESCE: Duration = Duration::from_millis(50);

/// Lines per read of the store.
const PAGE: u32 = 500;

/// Log lines may trail the result of their step; this long a follower waits for them at the end.
const TRAILING: Duration = Duration::from_secs(1);

/// Which part of a log.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct LogQuery {
    /// Only of this step, group or stage: its path or its identifier.
    pub step: Option<String>,
    /// Go on until the execution is over.
    pub follow: bool,
    /// Only lines behind this position; `Last-Event-ID` says the same.
    pub after: Option<i64>,
}

/// Data of a `log` event.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogEvent {
    /// Place in the log; also the id of the event.
    pub position: i64,
    /// Path of the step.
    pub node: String,
    /// Command unit, e.g. `Apply`.
    pub unit: String,
    /// `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// When it was written, by the delegate's clock.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Number of the line within its step and holder: a jump shows that lines were lost.
    pub seq: i64,
    /// The text.
    pub text: String,
}

/// Data of an `end` event.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EndEvent {
    /// Status of the execution.
    pub status: String,
}

type EventResult = Result<Event, Infallible>;

/// Follows an execution: a `state` event with the whole view at once and after each change, and an
/// `end` event when it is over.
#[utoipa::path(get, path = "/api/v1/executions/{id}/events", operation_id = "followExecution", tag = "executions",
    params(("id" = String, Path)),
    responses((status = 200, description = "events `state` (data: ExecutionView) and `end` (data: EndEvent)",
        content_type = "text/event-stream", body = ExecutionView), (status = 404, body = ProblemDocument)))]
pub(super) async fn states(
    State(web): State<Web>,
    Path(id): Path<String>,
) -> Result<Sse<impl Stream<Item = EventResult>>, Problem> {
    let follower = web.hub.follow(&id);
    let first = view(&web, &id).await?;
    let states = States {
        web,
        id,
        follower,
        sent: String::new(),
        next: Some(first),
        ended: None,
    };
    let stream = unfold(states, |mut states| async move {
        states.next().await.map(|event| (Ok(event), states))
    });
    Ok(Sse::new(stream).keep_alive(keep_alive()))
}

/// Reads or follows the log of an execution: a `log` event per line, and an `end` event at the end.
#[utoipa::path(get, path = "/api/v1/executions/{id}/logs", operation_id = "readLog", tag = "executions",
    params(("id" = String, Path), LogQuery),
    responses((status = 200, description = "events `log` (data: LogEvent) and `end` (data: EndEvent)",
        content_type = "text/event-stream", body = LogEvent), (status = 404, body = ProblemDocument)))]
pub(super) async fn logs(
    State(web): State<Web>,
    Path(id): Path<String>,
    Query(query): Query<LogQuery>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = EventResult>>, Problem> {
    let follower = web.hub.follow(&id);
    let known = view(&web, &id).await?;
    let node = match &query.step {
        Some(step) => Some(find_node(&known, step)?),
        None => None,
    };
    let resumed = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok()?.parse().ok());
    let log = Log {
        web,
        id,
        node,
        follower,
        follow: query.follow,
        position: query.after.or(resumed).unwrap_or(0),
        lines: VecDeque::new(),
        ended: false,
    };
    let stream = unfold(log, |mut log| async move {
        log.next().await.map(|event| (Ok(event), log))
    });
    Ok(Sse::new(stream).keep_alive(keep_alive()))
}

struct States {
    web: Web,
    id: String,
    follower: Follower,
    sent: String,
    next: Option<ExecutionView>,
    /// Status, when the last state was sent and only the end is left.
    ended: Option<String>,
}

impl States {
    async fn next(&mut self) -> Option<Event> {
        if self.id.is_empty() {
            return None;
        }
        if let Some(status) = self.ended.take() {
            self.id.clear();
            return Some(end(&status));
        }
        loop {
            let view = match self.next.take() {
                Some(view) => view,
                None => {
                    tokio::select! {
                        () = self.web.stopping.cancelled() => return None,
                        () = self.follower.state_changed() => {}
                    }
                    tokio::time::sleep(COALESCE).await;
                    view(&self.web, &self.id).await.ok()?
                }
            };
            let text = serde_json::to_string(&view).ok()?;
            if text == self.sent {
                continue;
            }
            if view.summary.ended {
                self.ended = Some(view.summary.status);
            }
            let event = Event::default()
                .event("state")
                .id(view.version.to_string())
                .data(&text);
            self.sent = text;
            return Some(event);
        }
    }
}

struct Log {
    web: Web,
    id: String,
    node: Option<String>,
    follower: Follower,
    follow: bool,
    position: i64,
    lines: VecDeque<LogLine>,
    ended: bool,
}

impl Log {
    async fn next(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        loop {
            if let Some(line) = self.lines.pop_front() {
                return log(line);
            }
            // Asked before the lines are read: what is written later is not missed.
            let execution = self.web.store.execution(&self.id).await.ok()??;
            self.read().await?;
            if !self.lines.is_empty() {
                continue;
            }
            let over = execution.ended_at.is_some();
            if self.follow && !over {
                tokio::select! {
                    () = self.web.stopping.cancelled() => return None,
                    () = self.follower.anything() => continue,
                }
            }
            if self.follow {
                let more = tokio::time::timeout(TRAILING, self.follower.anything());
                if more.await.is_ok() {
                    continue;
                }
                self.read().await?;
                if !self.lines.is_empty() {
                    continue;
                }
            }
            self.ended = true;
            return Some(end(&execution.status));
        }
    }

    async fn read(&mut self) -> Option<()> {
        let store = &self.web.store;
        let lines = store
            .log_lines(&self.id, self.node.as_deref(), self.position, PAGE)
            .await
            .ok()?;
        if let Some(last) = lines.last() {
            self.position = last.position;
        }
        self.lines.extend(lines);
        Some(())
    }
}

fn log(line: LogLine) -> Option<Event> {
    let LogLine { position, line } = line;
    let data = LogEvent {
        position,
        node: line.node,
        unit: line.unit,
        level: line.level,
        at: line.at,
        seq: line.seq,
        text: line.text,
    };
    Event::default()
        .event("log")
        .id(position.to_string())
        .json_data(data)
        .ok()
}

fn end(status: &str) -> Event {
    let data = EndEvent {
        status: status.to_owned(),
    };
    let event = Event::default().event("end");
    // One text always has a JSON form.
    event.json_data(data).unwrap_or_default()
}

fn keep_alive() -> KeepAlive {
    KeepAlive::new().interval(Duration::from_secs(15))
}

/// The path of a node by path or identifier.
fn find_node(view: &ExecutionView, wanted: &str) -> Result<String, Problem> {
    if view.nodes.iter().any(|node| node.path == wanted) {
        return Ok(wanted.to_owned());
    }
    let named: Vec<_> = view
        .nodes
        .iter()
        .filter(|node| node.identifier == wanted)
        .map(|node| node.path.as_str())
        .collect();
    let shown: String = wanted.chars().take(128).collect();
    match named.as_slice() {
        [path] => Ok((*path).to_owned()),
        [] => Err(Problem::not_found(format!(
            "step `{shown}` in this execution"
        ))),
        several => Err(Problem::new(
            Code::Malformed,
            format!("`{shown}` names several nodes of this execution"),
        )
        .hint(format!("use one of the paths {}", several.join(", ")))),
    }
}
