//! One direction of the control lane: numbered, acknowledged cumulatively, sent again until then.
//!
//! The sender's half is an [`Outbox`], the receiver's an [`Inbox`]. Numbers start at 1. A stream delivers in order, but
//! two streams overlap after a reconnect and anything unacknowledged is repeated, so the inbox takes repeats and gaps.

use std::collections::{BTreeMap, VecDeque};

use crate::Error;

/// How far beyond the expected number a message may be; more is a broken peer.
pub const AHEAD_LIMIT: u64 = 8192;

/// How many messages wait for one that is missing; others are dropped, the sender repeats them.
pub const AHEAD_KEPT: usize = 64;

/// What was said and not yet acknowledged.
#[derive(Debug, Clone)]
pub struct Outbox<M> {
    /// Number of the next message.
    next: u64,
    /// Messages `next - kept.len() .. next`.
    kept: VecDeque<M>,
    /// Number of the next message to put on the present stream.
    cursor: u64,
}

impl<M> Default for Outbox<M> {
    fn default() -> Self {
        Self {
            next: 1,
            kept: VecDeque::new(),
            cursor: 1,
        }
    }
}

impl<M: Clone> Outbox<M> {
    /// Keeps a message and returns its number.
    pub fn push(&mut self, message: M) -> u64 {
        let seq = self.next;
        self.kept.push_back(message);
        self.next += 1;
        seq
    }

    /// Takes what is to be put on the stream now, in order, and counts it as sent.
    pub fn unsent(&mut self) -> Vec<(u64, M)> {
        let oldest = self.oldest();
        let skip = usize::try_from(self.cursor.saturating_sub(oldest)).unwrap_or(usize::MAX);
        let batch = self
            .kept
            .iter()
            .enumerate()
            .skip(skip)
            .map(|(index, message)| (oldest + index as u64, message.clone()))
            .collect();
        self.cursor = self.next;
        batch
    }

    /// Drops everything up to `up_to` and returns it, oldest first. Repeated acknowledgements are no error.
    ///
    /// # Errors
    ///
    /// [`Error::AheadOfSender`] when `up_to` was never sent; nothing is dropped then.
    pub fn acknowledge(&mut self, up_to: u64) -> Result<Vec<(u64, M)>, Error> {
        if up_to >= self.next {
            return Err(Error::AheadOfSender {
                claimed: up_to,
                sent: self.next - 1,
            });
        }
        let mut done = Vec::new();
        while self.oldest() <= up_to {
            let seq = self.oldest();
            match self.kept.pop_front() {
                Some(message) => done.push((seq, message)),
                None => break,
            }
        }
        self.cursor = self.cursor.max(self.oldest());
        Ok(done)
    }

    /// A new stream: the peer has everything up to `received`. What it has is returned as acknowledged, the rest will be
    /// sent again.
    ///
    /// # Errors
    ///
    /// [`Error::AheadOfSender`], or [`Error::BehindRetained`] when the peer forgot what it had acknowledged.
    pub fn resume(&mut self, received: u64) -> Result<Vec<(u64, M)>, Error> {
        if received + 1 < self.oldest() {
            return Err(Error::BehindRetained {
                claimed: received,
                oldest: self.oldest(),
            });
        }
        let done = self.acknowledge(received)?;
        self.rewind();
        Ok(done)
    }

    /// Everything kept is to be sent again.
    pub fn rewind(&mut self) {
        self.cursor = self.oldest();
    }

    /// The lowest number kept, or the next one when nothing is kept.
    pub fn oldest(&self) -> u64 {
        self.next - self.kept.len() as u64
    }

    /// Whether this number is still kept.
    pub fn keeps(&self, seq: u64) -> bool {
        (self.oldest()..self.next).contains(&seq)
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether nothing waits for an acknowledgement.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

/// What was heard: delivers each number once, in order.
#[derive(Debug, Clone)]
pub struct Inbox<M> {
    /// Everything up to here was delivered.
    delivered: u64,
    /// Everything up to here is handled for good.
    committed: u64,
    /// Arrived before their turn.
    ahead: BTreeMap<u64, M>,
}

impl<M> Default for Inbox<M> {
    fn default() -> Self {
        Self::after(0)
    }
}

impl<M> Inbox<M> {
    /// Expects `received + 1` next.
    pub fn after(received: u64) -> Self {
        Self {
            delivered: received,
            committed: received,
            ahead: BTreeMap::new(),
        }
    }

    /// Takes a message; returns those whose turn it is now, in order. A repeat returns nothing.
    ///
    /// # Errors
    ///
    /// [`Error::TooFarAhead`].
    pub fn receive(&mut self, seq: u64, message: M) -> Result<Vec<(u64, M)>, Error> {
        if seq <= self.delivered {
            return Ok(Vec::new());
        }
        if seq - self.delivered > AHEAD_LIMIT {
            return Err(Error::TooFarAhead {
                seq,
                expected: self.delivered + 1,
            });
        }
        if seq > self.delivered + 1 && self.ahead.len() >= AHEAD_KEPT {
            return Ok(Vec::new());
        }
        self.ahead.insert(seq, message);
        let mut turn = Vec::new();
        while let Some(message) = self.ahead.remove(&(self.delivered + 1)) {
            self.delivered += 1;
            turn.push((self.delivered, message));
        }
        Ok(turn)
    }

    /// Everything up to `seq` is handled for good. Returns whether there is something new to acknowledge.
    pub fn commit(&mut self, seq: u64) -> bool {
        let up_to = seq.min(self.delivered);
        let is_new = up_to > self.committed;
        self.committed = self.committed.max(up_to);
        is_new
    }

    /// What to acknowledge, and the resume point.
    pub fn committed(&self) -> u64 {
        self.committed
    }

    /// What was delivered and not committed is expected again (its handling failed).
    pub fn rewind(&mut self) {
        self.delivered = self.committed;
        self.ahead.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn gaps_wait_and_repeats_vanish() {
        let mut inbox = Inbox::default();
        assert_eq!(inbox.receive(2, 'b').unwrap(), vec![]);
        assert_eq!(inbox.receive(1, 'a').unwrap(), vec![(1, 'a'), (2, 'b')]);
        assert_eq!(inbox.receive(1, 'a').unwrap(), vec![]);
        assert_eq!(inbox.committed(), 0);
        assert!(inbox.commit(9));
        assert!(!inbox.commit(1));
        assert_eq!(inbox.committed(), 2);
        assert!(matches!(
            inbox.receive(AHEAD_LIMIT + 3, 'z'),
            Err(Error::TooFarAhead { .. })
        ));
    }

    #[test]
    fn failed_handling_is_repeated() {
        let mut inbox = Inbox::default();
        inbox.receive(1, 'a').unwrap();
        inbox.receive(2, 'b').unwrap();
        inbox.commit(1);
        inbox.rewind();
        assert_eq!(inbox.receive(2, 'b').unwrap(), vec![(2, 'b')]);
    }

    #[test]
    fn outbox_sends_once_until_told_otherwise() {
        let mut outbox = Outbox::default();
        assert_eq!((outbox.push('a'), outbox.push('b')), (1, 2));
        assert_eq!(outbox.unsent(), vec![(1, 'a'), (2, 'b')]);
        assert_eq!(outbox.unsent(), vec![]);
        outbox.push('c');
        assert_eq!(outbox.acknowledge(1).unwrap(), vec![(1, 'a')]);
        assert_eq!(outbox.unsent(), vec![(3, 'c')]);
        assert_eq!(outbox.resume(2).unwrap(), vec![(2, 'b')]);
        assert_eq!(outbox.unsent(), vec![(3, 'c')]);
        assert_eq!(
            outbox.acknowledge(4),
            Err(Error::AheadOfSender {
                claimed: 4,
                sent: 3
            })
        );
        assert_eq!(
            outbox.resume(0),
            Err(Error::BehindRetained {
                claimed: 0,
                oldest: 3
            })
        );
        assert_eq!((outbox.oldest(), outbox.len()), (3, 1));
    }

    proptest! {
        /// Loss, repeats, reordering and failed handling between an outbox and an inbox: everything arrives, once, in order.
        #[test]
        fn everything_arrives_once_in_order(script in prop::collection::vec((0u8..6, 0usize..64), 1..200)) {
            let mut outbox = Outbox::default();
            let mut inbox = Inbox::default();
            let mut wire: Vec<(u64, u64)> = Vec::new();
            let mut committed = Vec::new();
            let mut waiting = VecDeque::new();
            let mut pushed = 0u64;
            for (action, pick) in script {
                match action {
                    0 => { pushed += 1; outbox.push(pushed); }
                    1 => wire.extend(outbox.unsent()),
                    2 if !wire.is_empty() => {
                        let (seq, message) = wire[pick % wire.len()];
                        waiting.extend(inbox.receive(seq, message).unwrap());
                    }
                    3 if !wire.is_empty() => { wire.remove(pick % wire.len()); }
                    4 => {
                        if let Some((seq, message)) = waiting.pop_front() {
                            committed.push(message);
                            inbox.commit(seq);
                        }
                    }
                    5 => {
                        inbox.rewind();
                        waiting.clear();
                        outbox.resume(inbox.committed()).unwrap();
                    }
                    _ => {}
                }
            }
            inbox.rewind();
            waiting.clear();
            outbox.resume(inbox.committed()).unwrap();
            for (seq, message) in outbox.unsent() {
                for (seq, message) in inbox.receive(seq, message).unwrap() {
                    committed.push(message);
                    inbox.commit(seq);
                }
            }
            outbox.acknowledge(inbox.committed()).unwrap();
            prop_assert!(outbox.is_empty());
            prop_assert_eq!(committed, (1..=pushed).collect::<Vec<_>>());
        }
    }
}
