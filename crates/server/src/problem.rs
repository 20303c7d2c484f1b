//! Errors of the web API: problem documents (RFC 9457) with a stable code.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// What went wrong; answers a request in place of what was asked for.
#[derive(Debug, Clone)]
pub struct Problem(Box<ProblemDocument>);

/// What went wrong, as the body of every response that is not a success
/// (`application/problem+json`).
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDocument {
    /// `urn:sortie:error:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same for every problem of this code.
    pub title: &'static str,
    /// HTTP status.
    pub status: u16,
    /// Which operation on what failed, and why.
    pub detail: String,
    /// Stable code, e.g. `SRT-S002`; explained in `docs/errors`.
    pub code: &'static str,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Every finding, when documents were refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Finding>,
}

/// One finding about a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Finding {
    /// `error` or `warning`.
    pub severity: String,
    /// The file as the caller named it; absent when the finding is about a stored document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line, from 1; absent when the finding is at no place of a document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Column in characters, from 1; absent when `line` is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// Path of the field, e.g. `pipeline.stages[0].stage.spec`.
    pub path: String,
    /// Stable code, e.g. `SRT-E010`.
    pub code: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// The problems of the web API. One variant, one code, one page in `docs/errors`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// No token, or one that is not valid.
    Unauthorised,
    /// There is no such thing.
    NotFound,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// The request cannot be read.
    Malformed,
    /// The body is larger than allowed.
    TooLarge,
    /// The server took too long.
    Timeout,
    /// A fault of the server; the log has more.
    Internal,
    /// Documents were refused; nothing was stored.
    Refused,
    /// A document names another scope than the request.
    ScopeMismatch,
    /// The pipeline cannot be run.
    NotRunnable,
    /// Something else has this name, or changed meanwhile.
    Conflict,
    /// The execution is over.
    Ended,
    /// The server is starting or stopping.
    Unavailable,
    /// The request is taken from the server's own machine only.
    NotFromHere,
}

impl Code {
    /// All codes, for tests and documentation.
    pub const ALL: [Self; 14] = [
        Self::Unauthorised,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Malformed,
        Self::TooLarge,
        Self::Timeout,
        Self::Internal,
        Self::Refused,
        Self::ScopeMismatch,
        Self::NotRunnable,
        Self::Conflict,
        Self::Ended,
        Self::Unavailable,
        Self::NotFromHere,
    ];

    /// Stable code, title and HTTP status.
    #[must_use]
    pub const fn parts(self) -> (&'static str, &'static str, StatusCode) {
        match self {
            Self::Unauthorised => ("SRT-S001", "Not logged in", StatusCode::UNAUTHORIZED),
            Self::NotFound => ("SRT-S002", "Not found", StatusCode::NOT_FOUND),
            Self::MethodNotAllowed => (
                "SRT-S003",
                "Method not allowed",
                StatusCode::METHOD_NOT_ALLOWED,
            ),
            Self::Malformed => ("SRT-S004", "Unreadable request", StatusCode::BAD_REQUEST),
            Self::TooLarge => ("SRT-S005", "Too large", StatusCode::PAYLOAD_TOO_LARGE),
            Self::Timeout => ("SRT-S006", "Took too long", StatusCode::GATEWAY_TIMEOUT),
            Self::Internal => (
                "SRT-S007",
                "Fault of the server",
                StatusCode::INTERNAL_SERVER_ERROR,
            ),
            Self::Refused => (
                "SRT-S008",
                "Documents refused",
                StatusCode::UNPROCESSABLE_ENTITY,
            ),
            Self::ScopeMismatch => (
                "SRT-S009",
                "Another scope",
                StatusCode::UNPROCESSABLE_ENTITY,
            ),
            Self::NotRunnable => (
                "SRT-S010",
                "Cannot be run",
                StatusCode::UNPROCESSABLE_ENTITY,
            ),
            Self::Conflict => ("SRT-S011", "Conflict", StatusCode::CONFLICT),
            Self::Ended => ("SRT-S012", "Execution is over", StatusCode::CONFLICT),
            Self::Unavailable => (
                "SRT-S013",
                "Not available now",
                StatusCode::SERVICE_UNAVAILABLE,
            ),
            Self::NotFromHere => ("SRT-S014", "Not from here", StatusCode::FORBIDDEN),
        }
    }
}

impl Problem {
    /// A problem with its detail.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let (text, title, status) = code.parts();
        Self(Box::new(ProblemDocument {
            kind: format!("urn:sortie:error:{text}"),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            code: text,
            hint: None,
            problems: Vec::new(),
        }))
    }

    /// The same with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// The same with findings about documents.
    #[must_use]
    pub fn findings(mut self, findings: Vec<Finding>) -> Self {
        self.0.problems = findings;
        self
    }

    /// Something that does not exist.
    pub fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(Code::NotFound, format!("there is no {what}"))
    }

    /// A fault of ours: the cause goes to the log, not to the caller.
    pub fn internal(operation: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(operation, error = %chain(error), "request failed");
        Self::new(Code::Internal, format!("the server could not {operation}"))
            .hint("try again; if it stays, look at the server's log")
    }

    /// A failure of the store.
    pub fn store(operation: &str, error: &sortie_store::Error) -> Self {
        match error {
            sortie_store::Error::Conflict { what } => Self::new(
                Code::Conflict,
                format!("could not {operation}: {what} changed meanwhile or exists already"),
            ),
            _ => Self::internal(operation, error),
        }
    }
}

/// An error with all its causes on one line.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self.0)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"sortie\""),
            );
        }
        response
    }
}
