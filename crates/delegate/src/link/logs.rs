//! Log lines on their way to the control plane: a bounded buffer, and the stream that empties it.
//!
//! Lines are numbered before they enter the buffer, so that a line which the buffer had to drop is a visible gap.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use sortie_link::TaskRef;
use sortie_proto::v1;
use sortie_proto::v1::link_client::LinkClient;
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status};

/// Bytes of text kept for the control plane, of all tasks together. Beyond it the oldest lines go.
const CAPACITY: usize = 4 * 1024 * 1024;

/// Lines and bytes of one batch.
const BATCH: (usize, usize) = (512, 128 * 1024);

/// Lines that come together go together.
const GATHER: Duration = Duration::from_millis(25);

/// What a line costs beside its text.
const OVERHEAD: usize = 96;

/// Longest line; more is cut with a mark.
const MAX_LINE: usize = 16 * 1024;

/// The buffer.
#[derive(Debug)]
pub(crate) struct LogBuffer {
    inner: Mutex<Inner>,
    filled: Notify,
    emptied: Notify,
    dropped: Counter,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Inner {
    /// Not in a batch yet.
    lines: VecDeque<(TaskRef, v1::LogLine)>,
    /// Sent, or about to be, and not known to be stored.
    batches: VecDeque<v1::LogBatch>,
    /// Of all of the above.
    bytes: usize,
    /// Number of the last batch made.
    number: u64,
}

impl LogBuffer {
    pub(crate) fn new(dropped: Counter) -> Self {
        Self {
            inner: Mutex::default(),
            filled: Notify::new(),
            emptied: Notify::new(),
            dropped,
            capacity: CAPACITY,
        }
    }

    /// Takes a line; makes room by dropping the oldest that are in no batch yet.
    pub(crate) fn push(&self, task: &TaskRef, mut line: v1::LogLine) {
        cut(&mut line.text);
        let mut inner = self.lock();
        inner.bytes += cost(&line);
        inner.lines.push_back((task.clone(), line));
        while inner.bytes > self.capacity {
            let Some((_, line)) = inner.lines.pop_front() else {
                break;
            };
            inner.bytes -= cost(&line);
            self.dropped.inc();
        }
        drop(inner);
        self.filled.notify_one();
    }

    /// Whether everything is stored.
    pub(crate) fn is_empty(&self) -> bool {
        let inner = self.lock();
        inner.lines.is_empty() && inner.batches.is_empty()
    }

    /// Returns when the last line was stored, now or since the last call.
    pub(crate) async fn emptied(&self) {
        self.emptied.notified().await;
    }

    /// The batch that follows number `sent`: one made before, or a new one of one task's lines.
    fn batch_after(&self, sent: u64) -> Option<v1::LogBatch> {
        let mut inner = self.lock();
        if let Some(batch) = inner.batches.iter().find(|batch| batch.number > sent) {
            return Some(batch.clone());
        }
        let (task, line) = inner.lines.pop_front()?;
        let mut bytes = cost(&line);
        let mut lines = vec![line];
        while lines.len() < BATCH.0
            && inner
                .lines
                .front()
                .is_some_and(|(next, line)| *next == task && bytes + cost(line) <= BATCH.1)
        {
            let Some((_, line)) = inner.lines.pop_front() else {
                break;
            };
            bytes += cost(&line);
            lines.push(line);
        }
        inner.number += 1;
        let batch = v1::LogBatch {
            number: inner.number,
            task_id: task.id.as_str().to_owned(),
            epoch: task.epoch,
            lines,
        };
        inner.batches.push_back(batch.clone());
        Some(batch)
    }

    /// Forgets what is stored.
    fn stored(&self, number: u64) {
        let mut inner = self.lock();
        while inner
            .batches
            .front()
            .is_some_and(|batch| batch.number <= number)
        {
            inner.forget_oldest();
        }
        if inner.lines.is_empty() && inner.batches.is_empty() {
            self.emptied.notify_one();
        }
    }

    /// Gives up a batch that the control plane will never take.
    fn give_up_oldest(&self) {
        let lines = self.lock().forget_oldest();
        self.dropped.inc_by(lines);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// How many lines that were.
    fn forget_oldest(&mut self) -> u64 {
        let Some(batch) = self.batches.pop_front() else {
            return 0;
        };
        self.bytes -= batch.lines.iter().map(cost).sum::<usize>();
        batch.lines.len() as u64
    }
}

/// Ships what the buffer holds over one connection, until it breaks.
pub(crate) async fn ship(
    channel: Channel,
    buffer: &LogBuffer,
    open: v1::LogsOpen,
) -> Result<(), Status> {
    use v1::logs_request::Message;
    let (sender, receiver) = mpsc::channel(4);
    let ended = || Status::unavailable("the log stream ended");
    let request = |message| v1::LogsRequest {
        message: Some(message),
    };
    sender
        .send(request(Message::Open(open)))
        .await
        .map_err(|_| ended())?;
    let mut responses = LinkClient::new(channel)
        .logs(ReceiverStream::new(receiver))
        .await?
        .into_inner();
    // Nothing may be sent before the first answer.
    let (mut sent, mut limit) = (0, 0);
    loop {
        let batch = if sent < limit {
            buffer.batch_after(sent)
        } else {
            None
        };
        let number = batch.as_ref().map(|batch| batch.number);
        let next = async {
            match batch {
                // Dropped half-way, the batch is found again by its number.
                Some(batch) => sender.send(request(Message::Batch(batch))).await.is_ok(),
                None => {
                    buffer.filled.notified().await;
                    tokio::time::sleep(GATHER).await;
                    true
                }
            }
        };
        tokio::select! {
            response = responses.message() => {
                let response = response.inspect_err(|status| {
                    if matches!(status.code(), Code::InvalidArgument | Code::OutOfRange) {
                        buffer.give_up_oldest();
                    }
                })?;
                let response = response.ok_or_else(ended)?;
                buffer.stored(response.stored);
                sent = sent.max(response.stored);
                limit = response.stored + u64::from(response.credits);
            }
            is_going_on = next => {
                if !is_going_on {
                    // Why it ended is among the responses.
                    return match responses.message().await {
                        Err(status) => Err(status),
                        Ok(_) => Err(ended()),
                    };
                }
                sent = number.unwrap_or(sent);
            }
        }
    }
}

fn cost(line: &v1::LogLine) -> usize {
    line.text.len() + OVERHEAD
}

/// Cuts a line at a letter's end.
fn cut(text: &mut String) {
    const MARK: &str = " … (cut)";
    if text.len() > MAX_LINE {
        let end = text.floor_char_boundary(MAX_LINE - MARK.len());
        text.truncate(end);
        text.push_str(MARK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(seq: u64, text: &str) -> v1::LogLine {
        v1::LogLine {
            seq,
            text: text.to_owned(),
            ..v1::LogLine::default()
        }
    }

    fn buffer(capacity: usize) -> LogBuffer {
        LogBuffer {
            capacity,
            ..LogBuffer::new(Counter::default())
        }
    }

    fn seqs(batch: &v1::LogBatch) -> Vec<u64> {
        batch.lines.iter().map(|line| line.seq).collect()
    }

    #[test]
    fn a_batch_holds_one_tasks_lines_and_is_repeated_until_stored() {
        let buffer = buffer(CAPACITY);
        let (a, b) = (TaskRef::new("a", 1), TaskRef::new("b", 1));
        buffer.push(&a, line(1, "one"));
        buffer.push(&a, line(2, "two"));
        buffer.push(&b, line(1, "other"));
        let first = buffer.batch_after(0).unwrap();
        assert_eq!(
            (first.number, seqs(&first), first.task_id.as_str()),
            (1, vec![1, 2], "a")
        );
        // Another stream: nothing was stored.
        assert_eq!(buffer.batch_after(0).unwrap(), first);
        let second = buffer.batch_after(1).unwrap();
        assert_eq!((second.number, second.task_id.as_str()), (2, "b"));
        assert!(buffer.batch_after(2).is_none());
        buffer.stored(1);
        assert_eq!(buffer.batch_after(0).unwrap().number, 2);
        assert!(!buffer.is_empty());
        buffer.stored(2);
        assert!(buffer.is_empty());
        assert_eq!(buffer.lock().bytes, 0);
    }

    #[test]
    fn a_full_buffer_drops_the_oldest_and_the_numbers_show_it() {
        let buffer = buffer(3 * (OVERHEAD + 1));
        let task = TaskRef::new("a", 1);
        for seq in 1..=5 {
            buffer.push(&task, line(seq, "x"));
        }
        assert_eq!(seqs(&buffer.batch_after(0).unwrap()), [3, 4, 5]);
        assert_eq!(buffer.dropped.get(), 2);
        // What is in a batch is not dropped; the newest are, when nothing else can be.
        for seq in 6..=8 {
            buffer.push(&task, line(seq, "x"));
        }
        assert_eq!(seqs(&buffer.batch_after(0).unwrap()), [3, 4, 5]);
        assert!(buffer.batch_after(1).is_none());
    }

    #[test]
    fn batches_are_bounded_by_lines_and_by_bytes() {
        let buffer = buffer(CAPACITY);
        let task = TaskRef::new("a", 1);
        let text = "x".repeat(10_000);
        for seq in 1..=20 {
            buffer.push(&task, line(seq, &text));
        }
        assert_eq!(
            buffer.batch_after(0).unwrap().lines.len(),
            BATCH.1 / (10_000 + OVERHEAD)
        );
    }

    #[test]
    fn long_lines_are_cut_with_a_mark() {
        let mut text = "é".repeat(MAX_LINE);
        cut(&mut text);
        assert!(
            text.len() <= MAX_LINE && text.ends_with("(cut)"),
            "{}",
            text.len()
        );
        let mut short = "short".to_owned();
        cut(&mut short);
        assert_eq!(short, "short");
    }
}
