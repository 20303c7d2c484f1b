//! What can go wrong on the agent side.

use std::net::SocketAddr;

use tonic::{Code, Status};

use crate::sealing::SealError;

/// The agent side cannot start, or cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is taken or not ours.
    #[error("could not listen for delegates on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The store failed.
    #[error("could not {operation}")]
    Store {
        /// What was being done.
        operation: &'static str,
        /// Why.
        #[source]
        source: sortie_store::Error,
    },
    /// The authority's key does not open.
    #[error(
        "could not use the key of the agent authority; the master key must be the one it was made under"
    )]
    Key(#[source] SealError),
    /// The stored authority cannot be read.
    #[error("the stored agent authority is damaged; restore the data folder")]
    DamagedAuthority,
    /// A certificate could not be made or read.
    #[error("could not {operation}")]
    Certificate {
        /// What was being done.
        operation: &'static str,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// The TLS settings were not accepted.
    #[error("could not set TLS up for the agent listener")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No random numbers.
    #[error("could not get random numbers from the system")]
    Random,
    /// The listener failed.
    #[error("could not serve delegates")]
    Serve(#[source] tonic::transport::Error),
}

impl Error {
    pub(super) fn store(operation: &'static str) -> impl FnOnce(sortie_store::Error) -> Self {
        move |source| Self::Store { operation, source }
    }

    pub(super) fn certificate(operation: &'static str) -> impl FnOnce(rcgen::Error) -> Self {
        move |source| Self::Certificate { operation, source }
    }

    /// Stable code, explained in `docs/errors`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Bind { .. } => "SRT-S201",
            Self::Key(_) | Self::DamagedAuthority => "SRT-S202",
            Self::Store { .. }
            | Self::Certificate { .. }
            | Self::Tls(_)
            | Self::Random
            | Self::Serve(_) => "SRT-S203",
        }
    }
}

/// Why a delegate's call is refused. The text begins with the code, so that a delegate can show its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The join token is not known, or its secret part is wrong.
    UnknownToken,
    /// The join token's time is over.
    ExpiredToken,
    /// The join token is revoked.
    RevokedToken,
    /// The join token was used as often as it may.
    UsedUpToken,
    /// The join token is for another organisation or project.
    OtherScope,
    /// The join token is for a delegate of another name.
    OtherName,
    /// Another delegate that is not revoked has the name.
    NameTaken,
    /// The request's certificate signing request is bad.
    BadRequest,
    /// The name is no DNS label.
    BadName,
    /// No client certificate, or not of this authority.
    NoCertificate,
    /// The certificate expired longer ago than can be renewed.
    ExpiredCertificate,
    /// The certificate has ended; it can be renewed.
    EndedCertificate,
    /// The proof of the old key is wrong or too old.
    BadProof,
    /// The delegate is revoked or deleted.
    RevokedDelegate,
    /// The delegate broke the protocol.
    Protocol,
    /// The task is not this delegate's.
    NotYourTask,
    /// The server cannot do it now.
    Unavailable,
}

impl Refusal {
    /// Stable code, explained in `docs/errors`.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::UnknownToken => "SRT-S210",
            Self::ExpiredToken => "SRT-S211",
            Self::RevokedToken => "SRT-S212",
            Self::UsedUpToken => "SRT-S213",
            Self::OtherScope => "SRT-S214",
            Self::BadRequest | Self::BadName => "SRT-S215",
            Self::NoCertificate => "SRT-S216",
            Self::ExpiredCertificate => "SRT-S217",
            Self::BadProof => "SRT-S218",
            Self::RevokedDelegate => "SRT-S219",
            Self::Protocol => "SRT-S220",
            Self::NotYourTask => "SRT-S221",
            Self::Unavailable => "SRT-S222",
            Self::EndedCertificate => "SRT-S224",
            Self::NameTaken => "SRT-S225",
            Self::OtherName => "SRT-S226",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::UnknownToken => "the join token is not known here; make a new one",
            Self::ExpiredToken => "the join token has expired; make a new one",
            Self::RevokedToken => "the join token was revoked; make a new one",
            Self::UsedUpToken => "the join token was used as often as it may; make a new one",
            Self::OtherScope => "the join token is for another organisation or project",
            Self::OtherName => "the join token is for a delegate of another name",
            Self::NameTaken => {
                "another delegate has this name; revoke it (`sortie delegate revoke NAME`) or choose another name"
            }
            Self::BadRequest => "the certificate signing request is not valid",
            Self::BadName => "a delegate's name is a DNS label of at most 63 characters",
            Self::NoCertificate => "this call needs a client certificate of this control plane",
            Self::ExpiredCertificate => {
                "the certificate expired too long ago to be renewed; join again with a new token"
            }
            Self::EndedCertificate => "the certificate has ended; renew it",
            Self::BadProof => "the proof of the old key is wrong or too old",
            Self::RevokedDelegate => "the delegate was revoked",
            Self::Protocol => "the stream does not follow the protocol",
            Self::NotYourTask => "the task is not held by this delegate",
            Self::Unavailable => "the control plane cannot do this now; try again",
        }
    }

    fn grpc(self) -> Code {
        match self {
            Self::UnknownToken
            | Self::ExpiredToken
            | Self::RevokedToken
            | Self::UsedUpToken
            | Self::OtherScope
            | Self::NoCertificate
            | Self::ExpiredCertificate
            | Self::EndedCertificate
            | Self::BadProof => Code::Unauthenticated,
            Self::RevokedDelegate | Self::NotYourTask | Self::OtherName => Code::PermissionDenied,
            Self::NameTaken => Code::FailedPrecondition,
            Self::BadRequest | Self::BadName | Self::Protocol => Code::InvalidArgument,
            Self::Unavailable => Code::Unavailable,
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        Self::new(
            refusal.grpc(),
            format!("{} {}", refusal.code(), refusal.text()),
        )
    }
}

/// The status for a peer that broke the session protocol.
pub(super) fn broken(error: &sortie_link::Error) -> Status {
    let code = match error {
        sortie_link::Error::NoCommonVersion { .. } => Code::FailedPrecondition,
        sortie_link::Error::Silent { .. } => Code::DeadlineExceeded,
        _ => Code::InvalidArgument,
    };
    Status::new(code, format!("{} {error}", error.code()))
}

/// Logs a failure of the server's own and answers with "unavailable".
pub(super) fn unavailable(operation: &'static str, error: &dyn std::error::Error) -> Status {
    tracing::error!(operation, error = chain(error), "a delegate's call failed");
    Refusal::Unavailable.into()
}

/// An error with all its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
