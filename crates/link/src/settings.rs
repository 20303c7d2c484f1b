//! Time-outs and bounds of a session.

use std::time::Duration;

/// Time-outs and bounds; both sides use the same defaults, the server's values travel in its welcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Between heartbeats, both ways. In the application, because proxies answer HTTP/2 pings themselves. 10 s.
    pub heartbeat: Duration,
    /// Silence after which a stream is given up. 30 s.
    pub dead_after: Duration,
    /// For the welcome to follow the hello. 10 s.
    pub greeting: Duration,
    /// Before unacknowledged control messages are sent again on the same stream. 15 s.
    pub resend_after: Duration,
    /// Between two states of one task and kind on the wire. 100 ms.
    pub state_interval: Duration,
    /// Control messages kept for the peer; more ends the stream. 4096.
    pub outbox_limit: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(10),
            dead_after: Duration::from_secs(30),
            greeting: Duration::from_secs(10),
            resend_after: Duration::from_secs(15),
            state_interval: Duration::from_millis(100),
            outbox_limit: 4096,
        }
    }
}
