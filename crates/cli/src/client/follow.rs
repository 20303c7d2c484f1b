//! Following a stream of events over cuts and restarts of the server.

use std::collections::VecDeque;
use std::time::Duration;

use futures::Stream;
use reqwest::header::{ACCEPT, HeaderName, HeaderValue};
use reqwest::{Response, StatusCode};
use tokio::time::Instant;

use super::{Client, Error, Event, Parser, Request, problem};
use crate::exit::{Exit, Failure};

/// How a stream is taken up again after a cut.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// First pause; each next one may be twice as long.
    pub first: Duration,
    /// Longest pause.
    pub longest: Duration,
    /// How long the server may be away.
    pub give_up: Duration,
}

impl Default for Patience {
    /// From 200 ms up to 5 s, for five minutes.
    fn default() -> Self {
        Self {
            first: Duration::from_millis(200),
            longest: Duration::from_secs(5),
            give_up: Duration::from_secs(300),
        }
    }
}

/// A stream that ends with an `end` event, and goes on after every cut before that.
#[derive(Debug)]
pub struct Follow {
    client: Client,
    what: String,
    path: Vec<String>,
    query: Vec<(&'static str, String)>,
    patience: Patience,
    connection: Option<(Response, Parser)>,
    ready: VecDeque<Event>,
    last_id: Option<String>,
    away: Option<Away>,
    /// The server has answered before.
    begun: bool,
    ended: bool,
}

#[derive(Debug)]
struct Away {
    since: Instant,
    attempts: u32,
}

/// Why a connection did not come about or did not last.
enum Cut {
    /// Try again.
    Momentary,
    /// It will not get better.
    Final(Failure),
}

impl Follow {
    /// Follows `path` (behind `/api/v1`), to do `what`.
    #[must_use]
    pub fn new(client: &Client, what: &str, path: &[&str], patience: Patience) -> Self {
        Self {
            client: client.clone(),
            what: what.to_owned(),
            path: path.iter().map(|part| (*part).to_owned()).collect(),
            query: Vec::new(),
            patience,
            connection: None,
            ready: VecDeque::new(),
            last_id: None,
            away: None,
            begun: false,
            ended: false,
        }
    }

    /// The same with parameters.
    #[must_use]
    pub fn query(mut self, query: Vec<(&'static str, String)>) -> Self {
        self.query = query;
        self
    }

    /// The events as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<Event, Failure>> {
        futures::stream::try_unfold(self, |mut follow| async move {
            Ok(follow.next().await?.map(|event| (event, follow)))
        })
    }

    /// The next event; `None` after `end`.
    ///
    /// # Errors
    /// The server refuses, or stays away for longer than the patience lasts.
    pub async fn next(&mut self) -> Result<Option<Event>, Failure> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.ended = event.event == "end";
                if event.id.is_some() {
                    self.last_id.clone_from(&event.id);
                }
                self.away = None;
                return Ok(Some(event));
            }
            if self.ended {
                return Ok(None);
            }
            match self.more().await {
                Ok(events) => self.ready.extend(events),
                Err(Cut::Final(failure)) => return Err(failure),
                Err(Cut::Momentary) => {
                    self.connection = None;
                    self.pause().await?;
                }
            }
        }
    }

    async fn more(&mut self) -> Result<Vec<Event>, Cut> {
        let (response, parser) = match &mut self.connection {
            Some(connection) => connection,
            None => {
                let response = self.connect().await?;
                self.begun = true;
                self.connection.insert((response, Parser::default()))
            }
        };
        match response.chunk().await {
            Ok(Some(chunk)) => parser.feed(&chunk).map_err(|error| {
                Cut::Final(self.client.strange(&self.what, &error.to_string()).into())
            }),
            Ok(None) | Err(_) => Err(Cut::Momentary),
        }
    }

    async fn connect(&self) -> Result<Response, Cut> {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let request = Request::get(&self.what, &path).query(self.query.clone());
        let mut builder = self
            .client
            .builder(&request)
            .header(ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(id) = self
            .last_id
            .as_deref()
            .and_then(|id| HeaderValue::from_str(id).ok())
        {
            builder = builder.header(HeaderName::from_static("last-event-id"), id);
        }
        let response = match builder.send().await {
            Ok(response) => response,
            // The first connection tells a wrong address from a server that restarts.
            Err(error) if !self.begun => {
                return Err(Cut::Final(
                    self.client.unreachable(&self.what, error).into(),
                ));
            }
            Err(_) => return Err(Cut::Momentary),
        };
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(response);
        }
        let body = self
            .client
            .read(&self.what, response)
            .await
            .map_err(|_| Cut::Momentary)?;
        let failure = problem::failure(&self.what, self.client.address(), status, &body);
        if failure.exit == Exit::Unreachable {
            Err(Cut::Momentary)
        } else {
            Err(Cut::Final(failure))
        }
    }

    /// Waits before the next attempt: longer each time, never exactly as long as others.
    async fn pause(&mut self) -> Result<(), Failure> {
        let away = self.away.get_or_insert_with(|| Away {
            since: Instant::now(),
            attempts: 0,
        });
        if away.since.elapsed() >= self.patience.give_up {
            let server = self.client.address().to_owned();
            return Err(Error::Gone {
                what: self.what.clone(),
                server,
            }
            .into());
        }
        let doubled = self
            .patience
            .first
            .saturating_mul(1 << away.attempts.min(16));
        let most = doubled.min(self.patience.longest);
        away.attempts += 1;
        tracing::info!(
            attempt = away.attempts,
            "the connection to the control plane was cut; trying again"
        );
        tokio::time::sleep(most.mul_f64(rand::random_range(0.5..=1.0))).await;
        Ok(())
    }
}
