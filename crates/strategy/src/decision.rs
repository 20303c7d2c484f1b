//! What every planner answers.

use std::time::Duration;

use jiff::Timestamp;

/// The answer of a planner: the state to keep, and what to do now.
///
/// The executor stores the state before it acts. Every action may be carried out twice: a killed executor's successor asks
/// the planner again with the stored state and a new observation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<S, A> {
    /// The new state.
    pub state: S,
    /// What to do, in this order; nothing to wait for the next observation.
    pub actions: Vec<A>,
    /// Ask again at this time even when nothing was observed.
    pub wake: Option<Timestamp>,
}

impl<S, A> Decision<S, A> {
    pub(crate) fn wait(state: S) -> Self {
        Self {
            state,
            actions: Vec::new(),
            wake: None,
        }
    }

    pub(crate) fn until(mut self, time: Timestamp) -> Self {
        self.wake = Some(time);
        self
    }

    pub(crate) fn with(mut self, action: A) -> Self {
        self.actions.push(action);
        self
    }
}

/// The end of a time that began at `start`.
pub(crate) fn after(start: Timestamp, time: Duration) -> Timestamp {
    start.saturating_add(time).unwrap_or(Timestamp::MAX)
}
