use std::time::Duration;

use thiserror::Error as ThisError;

use crate::git::{FetchLimits, GitSource};
use crate::process::{Finished, ProcessError};
use crate::workspace::WorkspaceError;

/// Why files of a repository could not be fetched.
#[derive(Debug, ThisError)]
pub enum Error {
    /// The URL is not one that is fetched from. It is not shown: it may hold a password.
    #[error("the URL of the repository cannot be used: {reason}")]
    Url {
        /// What is wrong.
        reason: &'static str,
    },
    /// The reference cannot be the name of one.
    #[error("{reference} is not a valid name; a commit is given by its full id")]
    Reference {
        /// The reference.
        reference: String,
    },
    /// A path leads out of the repository or cannot be one.
    #[error("the path {path:?} does not stay inside the repository")]
    Path {
        /// The path.
        path: String,
    },
    /// The private folder could not be used.
    #[error("cannot prepare the fetch")]
    Workspace {
        /// Why.
        #[source]
        source: WorkspaceError,
    },
    /// Git could not be run or was ended.
    #[error("cannot run git for {repository}")]
    Run {
        /// URL of the repository.
        repository: String,
        /// Why.
        #[source]
        source: ProcessError,
    },
    /// User or password are wrong, missing, or without the right to read.
    #[error("{repository} refused the credentials{}", if *given { "" } else { ": none were given" })]
    Unauthorised {
        /// URL of the repository.
        repository: String,
        /// Whether there were any.
        given: bool,
    },
    /// There is no repository, or it is hidden from this user.
    #[error("there is no repository at {repository}, or these credentials may not see it")]
    RepositoryNotFound {
        /// URL of the repository.
        repository: String,
    },
    /// The repository has no such branch, tag or commit.
    #[error("{repository} has no {reference}")]
    ReferenceNotFound {
        /// URL of the repository.
        repository: String,
        /// The reference.
        reference: String,
    },
    /// The commit has no such file or folder.
    #[error("{repository} has no file or folder {path:?} at {reference}")]
    PathNotFound {
        /// URL of the repository.
        repository: String,
        /// The reference.
        reference: String,
        /// The path.
        path: String,
    },
    /// The server's certificate is not trusted.
    #[error("no trusted TLS connection to {repository}: {detail}")]
    Tls {
        /// URL of the repository.
        repository: String,
        /// What git said.
        detail: String,
    },
    /// The host name is unknown.
    #[error("the host of {repository} is unknown")]
    Dns {
        /// URL of the repository.
        repository: String,
    },
    /// No connection, or it broke.
    #[error("no connection to {repository}: {detail}")]
    Connect {
        /// URL of the repository.
        repository: String,
        /// What git said.
        detail: String,
    },
    /// The server has a problem of its own.
    #[error("the server of {repository} failed: {detail}")]
    Server {
        /// URL of the repository.
        repository: String,
        /// What git said.
        detail: String,
    },
    /// It took too long.
    #[error("fetching from {repository} took longer than {limit:?}")]
    TimeLimit {
        /// URL of the repository.
        repository: String,
        /// The limit.
        limit: Duration,
    },
    /// The repository is too large.
    #[error("{repository} is larger than {limit} bytes at this commit")]
    TooLarge {
        /// URL of the repository.
        repository: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The paths hold too much.
    #[error("the paths in {repository} hold more than {bytes} bytes or {files} files")]
    TooManyFiles {
        /// URL of the repository.
        repository: String,
        /// The limit in bytes.
        bytes: usize,
        /// The limit in files.
        files: usize,
    },
    /// A symbolic link stands where a file is expected.
    #[error("{path:?} in {repository} is a symbolic link")]
    SymbolicLink {
        /// URL of the repository.
        repository: String,
        /// The link.
        path: String,
    },
    /// The repository holds a pointer in place of the file.
    #[error("{path:?} in {repository} is stored with Git LFS")]
    LargeFilePointer {
        /// URL of the repository.
        repository: String,
        /// The file.
        path: String,
    },
    /// An object of the repository does not read as it should.
    #[error("{path:?} in {repository} cannot be read from the fetched data")]
    Damaged {
        /// URL of the repository.
        repository: String,
        /// The file.
        path: String,
    },
    /// Anything else that git reports.
    #[error("git failed for {repository}: {detail}")]
    Other {
        /// URL of the repository.
        repository: String,
        /// What git said.
        detail: String,
    },
}

impl Error {
    /// Stable code with a page in the error reference.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Url { .. } => "SRT-R010",
            Self::Reference { .. } => "SRT-R011",
            Self::Unauthorised { .. } => "SRT-R012",
            Self::RepositoryNotFound { .. } => "SRT-R013",
            Self::ReferenceNotFound { .. } => "SRT-R014",
            Self::Path { .. } | Self::PathNotFound { .. } => "SRT-R015",
            Self::Tls { .. } => "SRT-R016",
            Self::Dns { .. } => "SRT-R017",
            Self::Connect { .. } => "SRT-R018",
            Self::Server { .. } => "SRT-R019",
            Self::TooLarge { .. } | Self::TooManyFiles { .. } => "SRT-R020",
            Self::SymbolicLink { .. } => "SRT-R021",
            Self::LargeFilePointer { .. } => "SRT-R022",
            Self::Damaged { .. } | Self::Other { .. } => "SRT-R023",
            Self::TimeLimit { .. } => "SRT-R004",
            Self::Workspace { source } => source.code(),
            Self::Run { source, .. } => source.code(),
        }
    }

    /// Whether the same fetch may succeed a little later.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Dns { .. } | Self::Connect { .. } | Self::Server { .. } | Self::TimeLimit { .. }
        )
    }

    /// What the owner of the source can do about it, in one sentence.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Url { .. } => "correct the URL of the connector",
            Self::Reference { .. } => "correct the branch, tag or commit",
            Self::Path { .. } | Self::PathNotFound { .. } => {
                "correct the path; it is relative to the root of the repository and its case counts"
            }
            Self::Unauthorised { .. } => {
                "check the user name and the token of the connector, that the token has not expired, and that it may read this repository"
            }
            Self::RepositoryNotFound { .. } => {
                "check the URL, and that the connector's user may read the repository: many servers hide what a user may not see"
            }
            Self::ReferenceNotFound { .. } => "check the name, and that it has been pushed",
            Self::Tls { .. } => {
                "give the CA certificate of the server to the delegate, or renew the server's certificate"
            }
            Self::Dns { .. } => "check the host name, and that the delegate's DNS knows it",
            Self::Connect { .. } => {
                "check that the delegate may reach the host and port: network policies, proxies, firewalls"
            }
            Self::Server { .. } => "try again later, or ask the operator of the git server",
            Self::TimeLimit { .. } => "try again, or use a smaller repository or a longer time-out",
            Self::TooLarge { .. } | Self::TooManyFiles { .. } => {
                "keep manifests in a smaller repository, or name the paths more narrowly"
            }
            Self::SymbolicLink { .. } => "put the file itself in place of the link",
            Self::LargeFilePointer { .. } => "store manifests without Git LFS",
            Self::Workspace { .. } => "check the free space and the rights of the temporary folder",
            Self::Run { .. } => "check that git is installed where the delegate runs",
            Self::Damaged { .. } | Self::Other { .. } => {
                "try the same with git by hand; the message is git's own"
            }
        }
    }
}

/// What git's messages say, by their texts in the C locale; the first of these that has one of them decides.
const MEANINGS: [(Meaning, &[&str]); 8] = [
    (Meaning::TooLarge, &["died of signal 25", "File too large"]),
    (
        Meaning::Unauthorised,
        &[
            "Authentication failed",
            "could not read Username",
            "could not read Password",
            "error: 401",
            "error: 403",
        ],
    ),
    (
        Meaning::Dns,
        &["Could not resolve host", "Could not resolve proxy"],
    ),
    (
        Meaning::Tls,
        &[
            "SSL certificate",
            "certificate verification",
            "certificate problem",
            "TLS",
            "SSL",
            "CAfile",
        ],
    ),
    (
        Meaning::ReferenceNotFound,
        &[
            "couldn't find remote ref",
            "not our ref",
            "unadvertised object",
            "no such remote ref",
            "did not send all necessary objects",
        ],
    ),
    (
        Meaning::RepositoryNotFound,
        &[
            "' not found",
            "error: 404",
            "does not appear to be a git repository",
            "not valid: is this a git repository",
            "does not exist",
        ],
    ),
    (Meaning::Server, &["error: 5", "error: 429"]),
    (
        Meaning::Connect,
        &[
            "Failed to connect",
            "Connection refused",
            "timed out",
            "Connection reset",
            "Operation too slow",
            "Recv failure",
            "Empty reply",
            "hung up unexpectedly",
            "early EOF",
            "unexpected disconnect",
            "curl ",
        ],
    ),
];

#[derive(Clone, Copy)]
enum Meaning {
    TooLarge,
    Unauthorised,
    Dns,
    Tls,
    ReferenceNotFound,
    RepositoryNotFound,
    Server,
    Connect,
}

/// Makes sense of git's end and messages.
pub(super) fn classify(source: &GitSource, limits: &FetchLimits, finished: &Finished) -> Error {
    const SIGXFSZ: i32 = 25;
    let repository = source.url.clone();
    let text = finished.errors.as_str();
    let said = MEANINGS
        .iter()
        .find(|(_, words)| words.iter().any(|word| text.contains(word)))
        .map(|(meaning, _)| *meaning);
    let said = match finished.signal {
        Some(SIGXFSZ) => Some(Meaning::TooLarge),
        _ => said,
    };
    match said {
        Some(Meaning::TooLarge) => Error::TooLarge {
            repository,
            limit: limits.repository,
        },
        Some(Meaning::Unauthorised) => Error::Unauthorised {
            repository,
            given: source.credentials.is_some(),
        },
        Some(Meaning::Dns) => Error::Dns { repository },
        Some(Meaning::Tls) => Error::Tls {
            repository,
            detail: detail(text),
        },
        Some(Meaning::ReferenceNotFound) => Error::ReferenceNotFound {
            repository,
            reference: source.reference.to_string(),
        },
        Some(Meaning::RepositoryNotFound) => Error::RepositoryNotFound { repository },
        Some(Meaning::Server) => Error::Server {
            repository,
            detail: detail(text),
        },
        Some(Meaning::Connect) => Error::Connect {
            repository,
            detail: detail(text),
        },
        None => Error::Other {
            repository,
            detail: detail(text),
        },
    }
}

/// The lines that say what went wrong, shortened.
fn detail(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter_map(|line| {
            line.strip_prefix("fatal: ")
                .or_else(|| line.strip_prefix("error: "))
        })
        .collect();
    let text = if lines.is_empty() {
        text.trim().replace('\n', "; ")
    } else {
        lines.join("; ")
    };
    if text.is_empty() {
        "it gave no reason".to_owned()
    } else {
        text.chars().take(500).collect()
    }
}
