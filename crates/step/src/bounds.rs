//! The time that a step may take, and the request to stop it.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::failure::{Failure, FailureKind};
use crate::units::Ended;

/// How long writes that are under way at the deadline may take to end.
const GRACE: Duration = Duration::from_secs(30);

/// What a step is waiting for at the moment. The failure at the deadline tells it.
#[derive(Debug, Default)]
pub(crate) struct Pending(Mutex<Vec<String>>);

impl Pending {
    /// Waiting for one thing from now on.
    pub(crate) fn set(&self, line: impl Into<String>) {
        self.replace(vec![line.into()]);
    }

    /// Waiting for several things from now on.
    pub(crate) fn replace(&self, lines: Vec<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = lines;
    }

    fn describe(&self) -> String {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .join("; ")
    }
}

/// The time that a step may take, and the requests to stop it: for good, or to leave the rest to another holder.
#[derive(Debug)]
pub(crate) struct Bounds<'a> {
    cancel: &'a CancellationToken,
    hand_over: &'a CancellationToken,
    deadline: Instant,
    timeout: Duration,
    grace: Duration,
    pending: Pending,
}

impl<'a> Bounds<'a> {
    /// Bounds of a step that begins now.
    pub(crate) fn new(
        timeout: Duration,
        cancel: &'a CancellationToken,
        hand_over: &'a CancellationToken,
    ) -> Self {
        Self {
            cancel,
            hand_over,
            deadline: Instant::now() + timeout,
            timeout,
            grace: GRACE,
            pending: Pending::default(),
        }
    }

    /// When the step's time is over.
    pub(crate) const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Where a step says what it waits for.
    pub(crate) const fn pending(&self) -> &Pending {
        &self.pending
    }

    /// `work` that may be dropped at any moment: it ends at the deadline, on a request to stop, or by `lost`.
    pub(crate) async fn run<T>(
        &self,
        lost: impl Future<Output = Failure>,
        work: impl Future<Output = Result<T, Ended>>,
    ) -> Result<T, Ended> {
        tokio::select! {
            biased;
            result = work => result,
            () = self.cancel.cancelled() => Err(Ended::Aborted),
            () = self.hand_over.cancelled() => Err(Ended::HandedOver),
            failure = lost => Err(Ended::Failed(failure)),
            () = tokio::time::sleep_until(self.deadline) => Err(self.overdue()),
        }
    }

    /// `work` that writes and calls [`check`](Self::check) between two writes: a request that is under way is never
    /// abandoned, except long after the deadline or when the release is not ours any more.
    pub(crate) async fn run_writes<T>(
        &self,
        lost: impl Future<Output = Failure>,
        work: impl Future<Output = Result<T, Ended>>,
    ) -> Result<T, Ended> {
        tokio::select! {
            biased;
            result = work => result,
            failure = lost => Err(Ended::Failed(failure)),
            () = tokio::time::sleep_until(self.deadline + self.grace) => Err(self.overdue()),
        }
    }

    /// Whether to go on: an error at the deadline and on either request to stop.
    pub(crate) fn check(&self) -> Result<(), Ended> {
        if self.cancel.is_cancelled() {
            return Err(Ended::Aborted);
        }
        if self.hand_over.is_cancelled() {
            return Err(Ended::HandedOver);
        }
        if Instant::now() >= self.deadline {
            return Err(self.overdue());
        }
        Ok(())
    }

    /// Resolves when it is time to stop, with why: on either request, and at the deadline.
    pub(crate) async fn stopped(&self) -> Ended {
        let never = std::future::pending::<Failure>();
        let work = std::future::pending::<Result<std::convert::Infallible, Ended>>();
        match self.run(never, work).await {
            Ok(never) => match never {},
            Err(ended) => ended,
        }
    }

    fn overdue(&self) -> Ended {
        let message = format!(
            "not done within {} s: {}",
            self.timeout.as_secs(),
            self.pending.describe()
        );
        Ended::Failed(Failure::new(
            FailureKind::Timeout,
            "SRT-T010",
            message,
            "look at what was waited for, or raise the step's timeout",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn never<T>() -> T {
        std::future::pending().await
    }

    fn code(ended: &Ended) -> &str {
        match ended {
            Ended::Failed(failure) => &failure.code,
            Ended::Aborted => "aborted",
            Ended::HandedOver => "handed over",
        }
    }

    #[tokio::test]
    async fn the_deadline_says_what_was_waited_for() {
        let cancel = CancellationToken::new();
        let hand_over = CancellationToken::new();
        let bounds = Bounds::new(Duration::ZERO, &cancel, &hand_over);
        bounds
            .pending()
            .replace(vec!["the moon".into(), "the tide".into()]);
        let ended = bounds.run::<()>(never(), never()).await.unwrap_err();
        let Ended::Failed(failure) = ended else {
            panic!("not failed")
        };
        assert_eq!(failure.code, "SRT-T010");
        assert_eq!(failure.message, "not done within 0 s: the moon; the tide");
        assert_eq!(code(&bounds.check().unwrap_err()), "SRT-T010");
    }

    #[tokio::test]
    async fn writes_under_way_are_not_abandoned_at_once() {
        let cancel = CancellationToken::new();
        let hand_over = CancellationToken::new();
        let mut bounds = Bounds::new(Duration::ZERO, &cancel, &hand_over);
        let slow = async {
            tokio::task::yield_now().await;
            Ok(7)
        };
        assert_eq!(bounds.run_writes(never(), slow).await.unwrap(), 7);
        bounds.grace = Duration::ZERO;
        let ended = bounds.run_writes::<()>(never(), never()).await.unwrap_err();
        assert_eq!(code(&ended), "SRT-T010");
    }

    #[tokio::test]
    async fn a_request_to_stop_ends_a_wait_and_stops_writes_between_two() {
        let cancel = CancellationToken::new();
        let hand_over = CancellationToken::new();
        let bounds = Bounds::new(Duration::from_secs(5), &cancel, &hand_over);
        assert!(bounds.check().is_ok());
        hand_over.cancel();
        let ended = bounds.run::<()>(never(), never()).await.unwrap_err();
        assert_eq!(code(&ended), "handed over");
        assert_eq!(code(&bounds.check().unwrap_err()), "handed over");
        // Who wants it stopped for good wins.
        cancel.cancel();
        let ended = bounds.run::<()>(never(), never()).await.unwrap_err();
        assert_eq!(code(&ended), "aborted");
        assert_eq!(code(&bounds.check().unwrap_err()), "aborted");
        let under_way = async { Ok(7) };
        assert_eq!(bounds.run_writes(never(), under_way).await.unwrap(), 7);
    }
}
