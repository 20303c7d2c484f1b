//! The one place that reads the clock.

use jiff::Timestamp;

/// The time now.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the clock module of this program"
)]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
