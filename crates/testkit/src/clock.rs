//! The testkit's only clock.

/// Now, in UTC.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the testkit reads the clock"
)]
pub(crate) fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
