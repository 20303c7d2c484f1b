//! The only place of the server that reads the wall clock.

use jiff::Timestamp;

/// The time now, in whole milliseconds: what the store keeps is then what was decided with.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the clock of the server; everything else takes the time from here"
)]
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    // A time that is in range stays so without its fraction of a millisecond.
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
