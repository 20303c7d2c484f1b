//! What goes wrong before a control plane gives an answer of its own.

use std::path::PathBuf;

use crate::exit::{Exit, Explain};

/// The control plane gave no answer, or none that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is no address of a control plane. It is not repeated: it may hold a password.
    #[error("the address of the control plane is not of the form http(s)://HOST:PORT")]
    Address,
    /// The token holds what no token holds.
    #[error("the token is not usable: it holds characters that no token has")]
    Token,
    /// The file of authorities is not usable.
    #[error("cannot use the authorities in {}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No HTTP client could be made.
    #[error("cannot set up the connection to the control plane")]
    Build {
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// No connection, or it broke.
    #[error("cannot {what}: no answer from the control plane at {server}")]
    Unreachable {
        /// What was tried.
        what: String,
        /// The address.
        server: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// A stream stayed away for too long.
    #[error("cannot {what}: the control plane at {server} has been away for too long")]
    Gone {
        /// What was tried.
        what: String,
        /// The address.
        server: String,
    },
    /// Something answers there, and it does not speak as a control plane does.
    #[error(
        "cannot {what}: what answers at {server} does not speak as a control plane does ({reason})"
    )]
    Strange {
        /// What was tried.
        what: String,
        /// The address.
        server: String,
        /// What is wrong with the answer.
        reason: String,
    },
}

impl Explain for Error {
    fn exit(&self) -> Exit {
        match self {
            Self::Address | Self::Token | Self::Authorities { .. } | Self::Build { .. } => {
                Exit::Usage
            }
            Self::Unreachable { .. } | Self::Gone { .. } | Self::Strange { .. } => {
                Exit::Unreachable
            }
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Address | Self::Token => "SRT-Z001",
            Self::Authorities { .. } | Self::Build { .. } => "SRT-Z008",
            Self::Unreachable { .. } | Self::Gone { .. } => "SRT-Z006",
            Self::Strange { .. } => "SRT-Z007",
        }
    }

    fn hint(&self) -> Option<String> {
        Some(
            match self {
                Self::Address => "for example https://sortie.example.com or http://127.0.0.1:8080",
                Self::Token => "give the token alone, as the server printed it",
                Self::Authorities { .. } | Self::Build { .. } => {
                    "name a PEM file with the authority that signed the server's certificate"
                }
                Self::Unreachable { .. } | Self::Gone { .. } => {
                    "check that the server runs, and the address: that of `sortie login`, or SORTIE_SERVER"
                }
                Self::Strange { .. } => {
                    "check the address (that of `sortie login`, or SORTIE_SERVER), and what stands between"
                }
            }
            .to_owned(),
        )
    }
}
