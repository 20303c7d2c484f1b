//! What can go wrong between the delegate and the control plane.

use tonic::{Code, Status};

use crate::identity;
use crate::telemetry::chain;

/// Something on the way to, or at, the control plane. All of these are tried again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address setting is no address.
    #[error("the control plane's address `{address}` is not of the form https://HOST:PORT")]
    Address {
        /// The setting.
        address: String,
    },
    /// The proxy setting is no address.
    #[error("the proxy's address is not of the form http://HOST:PORT")]
    ProxyAddress,
    /// The name is unknown, or nothing answers.
    #[error(
        "cannot connect to the control plane at {address}; check the address, DNS, firewalls and network policies"
    )]
    Connect {
        /// `host:port`.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The proxy does not answer or refuses.
    #[error("cannot reach the control plane at {address} through the proxy {proxy}")]
    Proxy {
        /// `host:port` of the control plane.
        address: String,
        /// `host:port` of the proxy.
        proxy: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another authority than the one we know.
    #[error(
        "what answers at {address} is not the control plane that {known_by}; a new control plane needs a new join token, and no TLS proxy may stand between"
    )]
    OtherAuthority {
        /// `host:port`.
        address: String,
        /// What we know the control plane by.
        known_by: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No TLS connection came about.
    #[error("no TLS connection to the control plane at {address}")]
    Tls {
        /// `host:port`.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The certificates or the key do not make TLS settings.
    #[error("cannot use the delegate's certificate")]
    Certificate(#[source] rustls::Error),
    /// No HTTP/2 connection came about.
    #[error("no HTTP/2 connection to the control plane at {address}")]
    Http2 {
        /// `host:port`.
        address: String,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
    /// It takes too long.
    #[error("{operation} took longer than {seconds} s")]
    TimedOut {
        /// What was tried.
        operation: &'static str,
        /// The limit.
        seconds: u64,
    },
    /// There is neither an identity nor a token.
    #[error(
        "this delegate has not enrolled and has no join token; make one with `sortie delegate token create` and put it into the Secret that the chart value `existingSecret` names"
    )]
    NoToken,
    /// The token cannot be read.
    #[error(transparent)]
    Token(Box<dyn std::error::Error + Send + Sync>),
    /// No key to which secrets can be sealed.
    #[error("cannot make the key that secrets are sealed to")]
    SealingKey,
    /// The identity's place does not answer.
    #[error(transparent)]
    Identity(identity::Error),
    /// The control plane said no.
    #[error("the control plane refused {operation}: {reason}")]
    Refused {
        /// `to enrol this delegate`, `to renew the certificate`, `the session`.
        operation: &'static str,
        /// Its words.
        reason: String,
        /// Its status.
        code: Code,
    },
    /// The answer is not what was agreed on.
    #[error(
        "cannot read the control plane's answer: {what} is missing or malformed; update the older program"
    )]
    Answer {
        /// What is wrong.
        what: &'static str,
    },
    /// The stream ended.
    #[error("the connection to the control plane ended: {reason}")]
    Ended {
        /// What is known.
        reason: String,
    },
    /// A rule of the protocol was broken, or nothing was heard.
    #[error(transparent)]
    Protocol(sortie_link::Error),
}

impl Error {
    /// Stable code with a page in the error reference.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Address { .. } => "SRT-D020",
            Self::ProxyAddress => "SRT-D021",
            Self::Connect { .. } => "SRT-D022",
            Self::Proxy { .. } => "SRT-D023",
            Self::OtherAuthority { .. } => "SRT-D024",
            Self::Tls { .. } => "SRT-D025",
            Self::Certificate(_) | Self::SealingKey => "SRT-D026",
            Self::Http2 { .. } => "SRT-D027",
            Self::TimedOut { .. } => "SRT-D028",
            Self::NoToken => "SRT-D029",
            Self::Token(_) => "SRT-D030",
            Self::Refused { .. } => "SRT-D031",
            Self::Answer { .. } => "SRT-D032",
            Self::Ended { .. } => "SRT-D033",
            Self::Identity(error) => error.code(),
            Self::Protocol(error) => error.code(),
        }
    }

    /// A status from the control plane, as what it means for `operation`.
    pub(super) fn from_status(operation: &'static str, status: &Status) -> Self {
        let reason = reason(status);
        match status.code() {
            Code::Unauthenticated
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::InvalidArgument
            | Code::NotFound
            | Code::ResourceExhausted
            | Code::Unimplemented => Self::Refused {
                operation,
                reason,
                code: status.code(),
            },
            _ => Self::Ended { reason },
        }
    }

    /// Whether trying soon again is pointless: somebody has to do something first.
    pub(super) fn is_lasting(&self) -> bool {
        match self {
            Self::Address { .. }
            | Self::ProxyAddress
            | Self::OtherAuthority { .. }
            | Self::NoToken
            | Self::Token(_)
            | Self::Refused { .. }
            | Self::Certificate(_) => true,
            Self::Protocol(error) => matches!(error, sortie_link::Error::NoCommonVersion { .. }),
            _ => false,
        }
    }

    /// Whether our certificate seems to be the reason that there is no session, whatever our clock says of it.
    pub(super) fn doubts_certificate(&self) -> bool {
        match self {
            Self::Refused {
                operation, code, ..
            } => *code == Code::Unauthenticated && *operation == "the session",
            // TLS 1.3 tells a client after its handshake that its certificate was not taken.
            Self::Ended { .. } | Self::Http2 { .. } | Self::Tls { .. } => {
                chain(self).contains("CertificateExpired")
            }
            _ => false,
        }
    }
}

/// The status in words; transport errors hide theirs behind several layers.
fn reason(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    if text.is_empty() {
        text = format!("{:?}", status.code());
    }
    text.chars()
        .filter(|letter| !letter.is_control())
        .take(500)
        .collect()
}
