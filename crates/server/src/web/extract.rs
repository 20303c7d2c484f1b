//! Extractors whose refusals are problem documents.

use axum::extract::rejection::{BytesRejection, JsonRejection};
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use axum::http::request::Parts;
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::BODY_LIMIT;
use crate::problem::{Code, Problem};

/// A JSON body.
#[derive(Debug)]
pub(super) struct Json<T>(pub T);

/// The query of the address.
#[derive(Debug)]
pub(super) struct Query<T>(pub T);

/// Parts of the path.
#[derive(Debug)]
pub(super) struct Path<T>(pub T);

/// A body as it is, of at most so many bytes: refused by its announced length before anything of it
/// is read, and otherwise as soon as it grows larger.
#[derive(Debug)]
pub(super) struct Body<const LIMIT: usize>(pub Bytes);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        check_announced(&request, BODY_LIMIT)?;
        match axum::Json::<T>::from_request(request, state).await {
            Ok(axum::Json(value)) => Ok(Self(value)),
            Err(JsonRejection::BytesRejection(rejection)) => Err(unread(&rejection, BODY_LIMIT)),
            Err(rejection) => Err(Problem::new(Code::Malformed, rejection.body_text())),
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        query
            .map(|axum::extract::Query(value)| Self(value))
            .map_err(|rejection| Problem::new(Code::Malformed, rejection.body_text()))
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(value)| Self(value))
            .map_err(|rejection| Problem::new(Code::Malformed, rejection.body_text()))
    }
}

impl<const LIMIT: usize, S: Send + Sync> FromRequest<S> for Body<LIMIT> {
    type Rejection = Problem;

    async fn from_request(mut request: Request, state: &S) -> Result<Self, Problem> {
        check_announced(&request, LIMIT)?;
        DefaultBodyLimit::max(LIMIT).apply(&mut request);
        match Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(Self(bytes)),
            Err(rejection) => Err(unread(&rejection, LIMIT)),
        }
    }
}

/// Refuses a body by the length that the request announces.
fn check_announced(request: &Request, limit: usize) -> Result<(), Problem> {
    let announced = request.headers().get(CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_large(limit));
    }
    Ok(())
}

fn unread(rejection: &BytesRejection, limit: usize) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        too_large(limit)
    } else {
        Problem::new(Code::Malformed, rejection.body_text())
    }
}

fn too_large(limit: usize) -> Problem {
    let size = if limit >= 1024 * 1024 {
        format!("{} MiB", limit / (1024 * 1024))
    } else {
        format!("{limit} bytes")
    };
    Problem::new(
        Code::TooLarge,
        format!("the body is larger than {size}, the most that is taken here; nothing was stored"),
    )
    .hint("send less at a time: documents may be stored in several requests")
}
