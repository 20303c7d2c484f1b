//! One method over gRPC, as the sample application serves it and a probe calls it: cleartext HTTP/2, a message in its frame,
//! the status in the trailers. `rpc Version(Empty) returns (Text)` of the service `sortie.sample.v1.Sample`, where `Text` has
//! the field `string text = 1`.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use axum::{
    body::{Body, Bytes},
    response::Response,
};
use http::{HeaderMap, HeaderValue, Request, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, task::JoinSet, time::timeout};

use crate::Reply;

/// The method.
pub const PATH: &str = "/sortie.sample.v1.Sample/Version";

/// Tag of the field `text`.
const TEXT: u8 = 0x0a;
/// Bytes before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;
/// Longest text: its length is one byte.
const LONGEST: usize = 127;
/// Bound on a call.
const TIMEOUT: Duration = Duration::from_secs(2);
const STATUS: &str = "grpc-status";
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// What the method answers.
pub fn answer(text: &str) -> Response {
    let mut trailers = HeaderMap::new();
    trailers.insert(STATUS, HeaderValue::from_static("0"));
    let frames = [
        Frame::data(Bytes::from(framed(text))),
        Frame::trailers(trailers),
    ];
    let frames = frames.map(Ok::<_, std::convert::Infallible>);
    let mut response = Response::new(Body::new(StreamBody::new(futures::stream::iter(frames))));
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response
}

/// Calls the method on a connection of its own. The status is 200 where both HTTP's and gRPC's are good.
///
/// # Errors
/// There is no answer in time, or none of gRPC.
pub(crate) async fn call(target: SocketAddr, host: &str) -> Result<Reply> {
    let called = timeout(TIMEOUT, called(target, host)).await;
    called.with_context(|| format!("no answer of {target} after {TIMEOUT:?}"))?
}

async fn called(target: SocketAddr, host: &str) -> Result<Reply> {
    let stream = TcpStream::connect(target).await;
    let stream = stream.with_context(|| format!("connect to {target}"))?;
    let hands = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = hands.await.context("begin HTTP/2")?;
    // It ends with the call.
    let mut driving = JoinSet::new();
    driving.spawn(connection);
    let request = Request::post(format!("http://{host}{PATH}"))
        .header(CONTENT_TYPE, GRPC)
        .header("te", "trailers")
        .body(Full::new(Bytes::from_static(&[0; PREFIX])))
        .context("make the request")?;
    let answer = sender.send_request(request).await.context("call")?;
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, 64 * 1024).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?;
    let in_trailers = body.trailers().and_then(|trailers| trailers.get(STATUS));
    let status = in_trailers.or_else(|| head.headers.get(STATUS)).cloned();
    let bytes = body.to_bytes();
    if head.status != 200 {
        let body = String::from_utf8_lossy(&bytes).into_owned();
        let status = head.status.as_u16();
        return Ok(Reply { status, body });
    }
    match status.as_ref().map(HeaderValue::to_str) {
        Some(Ok("0")) => Ok(Reply {
            status: 200,
            body: text(&bytes)?,
        }),
        other => bail!("gRPC ended with {other:?}"),
    }
}

fn framed(text: &str) -> Vec<u8> {
    let text = &text.as_bytes()[..text.len().min(LONGEST)];
    let length = u8::try_from(text.len()).unwrap_or_default();
    let mut bytes = vec![0, 0, 0, 0, length + 2, TEXT, length];
    bytes.extend(text);
    bytes
}

fn text(frame: &[u8]) -> Result<String> {
    let message = frame.get(PREFIX..).context("no message")?;
    let [TEXT, length, text @ ..] = message else {
        bail!("another message: {message:?}");
    };
    ensure!(usize::from(*length) == text.len(), "the message broke off");
    String::from_utf8(text.to_vec()).context("no text")
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use axum::{Router, routing::post};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn what_is_answered_arrives() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Router::new().route(PATH, post(async || answer("v1 pod\n")));
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, routes).await });
        let reply = call(address, "sample.lab").await.unwrap();
        let body = "v1 pod\n".to_owned();
        assert_eq!(reply, Reply { status: 200, body });
        for broken in [&b""[..], &[0, 0, 0, 0, 2], &[0, 0, 0, 0, 3, TEXT, 2, b'a']] {
            assert!(text(broken).is_err(), "{broken:?}");
        }
    }
}
