//! The only place of the server that reads the wall clock.

use jiff::Timestamp;

/// The time now.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the clock of the server; everything else takes the time from here"
)]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
