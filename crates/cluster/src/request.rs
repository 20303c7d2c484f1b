//! The one function through which every request to the API server goes.
//!
//! It is the place for what must hold for all of them: a time limit, retries with back-off that
//! honour `Retry-After`, the check of the release's lease as the last act before a write is sent,
//! the [`Point`] at which a test may kill the process, and one classification of failures.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use backon::BackoffBuilder as _;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use http::{Method, Request};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use kube::client::Body;
use serde_json::Value;
use sortie_manifest::Origin;
use tokio::time::Instant;

use crate::access::{CredentialError, Pass};
use crate::clock::{self, Boottime};
use crate::connect::Cluster;
use crate::error::{Cause, Error};
use crate::fault::{self, Point, Side};
use crate::lease::Guard;
use crate::status::Status;

/// Largest answer that is read.
const ANSWER_LIMIT: usize = 128 * 1024 * 1024;

/// Over how long those are spread who were told to come back at one time.
const SPREAD: Duration = Duration::from_secs(1);

/// One request, with what is needed to explain its failure.
#[derive(Clone, Debug)]
pub(crate) struct Call<'a> {
    /// What is tried, as an English verb.
    pub(crate) verb: &'static str,
    /// The object it is tried on.
    pub(crate) target: String,
    pub(crate) origin: Option<&'a Origin>,
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) accept: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) body: Bytes,
    /// Set for requests that change something, together with the right to do so.
    pub(crate) write: Option<(Point, &'a Guard)>,
    /// Upper limit for one attempt, below the connection's own.
    pub(crate) time_limit: Option<Duration>,
    /// Whether momentary failures are tried again here.
    pub(crate) patient: bool,
}

/// An answer with a 2xx status.
#[derive(Debug)]
pub(crate) struct Answer {
    /// HTTP status; 201 tells a creation from an update.
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

/// What an attempt came to when it did not succeed.
enum Attempt {
    Refused {
        status: Box<Status>,
        retry_after: Option<Duration>,
        /// What was shown of us.
        pass: Pass,
    },
    Broken(Cause),
}

impl<'a> Call<'a> {
    /// A request that changes nothing.
    pub(crate) fn read(verb: &'static str, target: impl Into<String>, path: String) -> Self {
        Self {
            verb,
            target: target.into(),
            origin: None,
            method: Method::GET,
            path,
            accept: "application/json",
            content_type: "application/json",
            body: Bytes::new(),
            write: None,
            time_limit: None,
            patient: true,
        }
    }

    /// A request that changes something.
    pub(crate) fn write(
        verb: &'static str,
        target: impl Into<String>,
        (method, path): (Method, String),
        (point, guard): (Point, &'a Guard),
    ) -> Self {
        Self {
            method,
            write: Some((point, guard)),
            ..Self::read(verb, target, path)
        }
    }

    /// The same with a JSON body.
    pub(crate) fn body(mut self, value: &impl serde::Serialize) -> Result<Self, Error> {
        match serde_json::to_vec(value) {
            Ok(bytes) => self.body = bytes.into(),
            Err(source) => {
                return Err(self.failure(Cause::Unreadable {
                    source: source.into(),
                }));
            }
        }
        Ok(self)
    }

    pub(crate) fn failure(&self, cause: Cause) -> Error {
        Error::new(self.verb, self.target.clone(), cause).at(self.origin)
    }
}

impl Answer {
    pub(crate) fn json(&self, call: &Call<'_>) -> Result<Value, Error> {
        serde_json::from_slice(&self.body).map_err(|source| {
            call.failure(Cause::Unreadable {
                source: source.into(),
            })
        })
    }
}

impl Cluster {
    /// Sends a request and reads the answer as JSON.
    pub(crate) async fn fetch(&self, call: &Call<'_>) -> Result<Value, Error> {
        self.send(call).await?.json(call)
    }

    /// Sends a request, again and again while the failure is momentary and patience lasts.
    pub(crate) async fn send(&self, call: &Call<'_>) -> Result<Answer, Error> {
        self.attempts(call).await.map_err(|attempt| match attempt {
            Attempt::Refused { status, .. } => call.failure(status.into_cause()),
            Attempt::Broken(cause) => call.failure(cause),
        })
    }

    /// Sends a request and hands the server's refusal back as it is.
    pub(crate) async fn ask(&self, call: &Call<'_>) -> Result<Result<Answer, Status>, Error> {
        match self.attempts(call).await {
            Ok(answer) => Ok(Ok(answer)),
            Err(Attempt::Refused { status, .. }) => Ok(Err(*status)),
            Err(Attempt::Broken(cause)) => Err(call.failure(cause)),
        }
    }

    async fn attempts(&self, call: &Call<'_>) -> Result<Answer, Attempt> {
        let patience = if call.patient {
            self.inner.options.patience
        } else {
            Duration::ZERO
        };
        let give_up = Instant::now() + patience;
        let give_up = self.deadline.map_or(give_up, |end| end.min(give_up));
        let mut pauses = backon::ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(5))
            .without_max_times()
            .with_jitter()
            .build();
        let mut renewed = false;
        loop {
            let attempt = match self.attempt(call).await {
                Ok(answer) => return Ok(answer),
                Err(attempt) => attempt,
            };
            if !renewed && self.has_other_credentials(&attempt).await? {
                renewed = true;
                continue;
            }
            let pause = pauses.next().unwrap_or(Duration::from_secs(5));
            let pause = match &attempt {
                Attempt::Refused {
                    status,
                    retry_after,
                    ..
                } if status.is_transient() => match retry_after {
                    // Everybody was told the same time: not all come back at once.
                    Some(after) => after.saturating_add(pause.min(SPREAD)),
                    None => pause,
                },
                Attempt::Broken(Cause::Unreachable { .. } | Cause::TimedOut { .. }) => pause,
                Attempt::Broken(Cause::NoCredentials { source }) if source.is_transient() => pause,
                _ => return Err(attempt),
            };
            if pause >= give_up.saturating_duration_since(Instant::now()) {
                return Err(attempt);
            }
            tracing::debug!(
                verb = call.verb,
                target = %call.target,
                pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                "request failed for the moment, trying again"
            );
            tokio::time::sleep(pause).await;
        }
    }

    /// Whether it was refused for its credentials, and there are others by now.
    async fn has_other_credentials(&self, attempt: &Attempt) -> Result<bool, Attempt> {
        let Attempt::Refused { status, pass, .. } = attempt else {
            return Ok(false);
        };
        if status.code != 401 {
            return Ok(false);
        }
        let other = self.inner.credentials.instead_of(pass).await;
        Ok(other.map_err(no_credentials)?.is_some())
    }

    async fn attempt(&self, call: &Call<'_>) -> Result<Answer, Attempt> {
        // To renew credentials takes time: before the lease is checked, never after it.
        let pass = self.inner.credentials.current().await;
        let pass = pass.map_err(no_credentials)?;
        let mut limit = self.inner.options.request_timeout;
        limit = call.time_limit.map_or(limit, |own| own.min(limit));
        let mut deadline = None;
        if let Some((point, guard)) = call.write {
            let permitted = guard.permit().await;
            let left = permitted.map_err(|source| Attempt::Broken(Cause::LeaseLost { source }))?;
            limit = left.map_or(limit, |left| left.min(limit));
            deadline = Some(clock::boottime().after(limit));
            fault::pass(point, Side::Before);
        }
        let mut request = self.request(call, limit)?;
        pass.show(&mut request);
        let exchange = async {
            let unreachable = |source| Attempt::Broken(Cause::Unreachable { source });
            let response = self
                .inner
                .client
                .send(request)
                .await
                .map_err(|error| unreachable(error.into()))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_LIMIT)
                .collect()
                .await
                .map_err(|source| {
                    if source.is::<LengthLimitError>() {
                        return Attempt::Broken(Cause::Unreadable { source });
                    }
                    unreachable(source)
                })?;
            let body = body.to_bytes();
            if head.status.is_success() {
                return Ok(Answer {
                    status: head.status.as_u16(),
                    body,
                });
            }
            let status = Box::new(Status::read(head.status.as_u16(), &body));
            let seconds = head.headers.get(RETRY_AFTER);
            let seconds = seconds.and_then(|value| value.to_str().ok()?.parse().ok());
            let retry_after = seconds.or(status.retry_after).map(Duration::from_secs);
            Err(Attempt::Refused {
                status,
                retry_after,
                pass,
            })
        };
        let exchange = pin!(exchange);
        let result = tokio::time::timeout(limit, before(deadline, exchange)).await;
        if let Some((point, _)) = call.write {
            fault::pass(point, Side::After);
        }
        let in_time = result.ok().flatten();
        in_time.unwrap_or(Err(Attempt::Broken(Cause::TimedOut { after: limit })))
    }

    fn request(&self, call: &Call<'_>, limit: Duration) -> Result<Request<Body>, Attempt> {
        let mut path = call.path.clone();
        if call.write.is_some() {
            // The server gives up when we do, so that nothing happens behind an expired lease.
            path.push(if path.contains('?') { '&' } else { '?' });
            path.push_str(&format!("timeout={}ms", limit.as_millis().max(1)));
        }
        Request::builder()
            .method(call.method.clone())
            .uri(path)
            .header(ACCEPT, call.accept)
            .header(CONTENT_TYPE, call.content_type)
            .body(Body::from(call.body.clone()))
            .map_err(|source| {
                Attempt::Broken(Cause::Unreadable {
                    source: source.into(),
                })
            })
    }
}

/// Carries on with the work only while it is before the deadline; `None` when it is not any more. A timer alone would
/// not do: whoever comes back from a suspension or a SIGSTOP first does what it was about to do, such as to send what
/// was permitted in another time, and only then learns how late it is.
async fn before<T>(
    deadline: Option<Boottime>,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    let is_late = || deadline.is_some_and(|deadline| clock::boottime() >= deadline);
    poll_fn(|context| {
        if is_late() {
            Poll::Ready(None)
        } else {
            work.as_mut().poll(context).map(Some)
        }
    })
    .await
}

const fn no_credentials(source: CredentialError) -> Attempt {
    Attempt::Broken(Cause::NoCredentials { source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_begun_or_carried_on_after_its_deadline() {
        let now = clock::boottime();
        let later = now.after(Duration::from_secs(60));
        assert_eq!(before(Some(now), pin!(async { 1 })).await, None);
        assert_eq!(before(Some(later), pin!(async { 1 })).await, Some(1));
        assert_eq!(before(None, pin!(async { 1 })).await, Some(1));
        // What was stopped on its way comes back too late.
        let soon = clock::boottime().after(Duration::from_millis(50));
        let mut sent = false;
        let work = async {
            std::thread::sleep(Duration::from_millis(60));
            tokio::task::yield_now().await;
            sent = true;
        };
        assert_eq!(before(Some(soon), pin!(work)).await, None);
        assert!(!sent);
    }
}
