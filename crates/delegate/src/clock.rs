//! The only place of this crate that reads the wall clock.

use jiff::Timestamp;

/// The time now.
#[expect(
    clippy::disallowed_methods,
    reason = "this module is the crate's clock"
)]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
