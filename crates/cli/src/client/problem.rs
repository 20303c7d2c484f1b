//! What a control plane answers when it refuses: problem documents (RFC 9457).

use reqwest::StatusCode;
use serde::Deserialize;

use super::Error;
use crate::exit::{Exit, Failure, Finding};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    title: String,
    detail: String,
    code: String,
    hint: Option<String>,
    problems: Vec<Finding>,
}

/// Why `what` was refused.
pub(super) fn failure(what: &str, server: &str, status: StatusCode, body: &[u8]) -> Failure {
    let problem: Option<Problem> = serde_json::from_slice(body).ok();
    let Some(problem) = problem.filter(|problem| !problem.code.is_empty()) else {
        // Not ours: a proxy, a load balancer, another program.
        let error = Error::Strange {
            what: what.to_owned(),
            server: server.to_owned(),
            reason: format!("HTTP status {}", status.as_u16()),
        };
        return Failure {
            exit: exit_of(status),
            ..Failure::from(error)
        };
    };
    let Problem {
        title,
        detail,
        code,
        hint,
        problems,
    } = problem;
    let reason = if detail.is_empty() { title } else { detail };
    Failure {
        hint,
        code: Some(code),
        problems: problems.into(),
        ..Failure::new(exit_of(status), format!("cannot {what}: {reason}"))
    }
}

/// How the program ends when a request is answered by `status`.
pub(super) fn exit_of(status: StatusCode) -> Exit {
    match status.as_u16() {
        401 | 403 => Exit::NotAllowed,
        404 | 410 => Exit::NotFound,
        409 | 412 => Exit::Conflict,
        // The check of what was sent failed, as `sortie validate` counts it.
        413 | 422 => Exit::Failed,
        408 | 429 | 502..=504 => Exit::Unreachable,
        400..=499 => Exit::Usage,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16) -> StatusCode {
        StatusCode::from_u16(code).unwrap()
    }

    #[test]
    fn each_status_has_its_exit_code() {
        let table = [
            (400, Exit::Usage),
            (401, Exit::NotAllowed),
            (403, Exit::NotAllowed),
            (404, Exit::NotFound),
            (405, Exit::Usage),
            (409, Exit::Conflict),
            (413, Exit::Failed),
            (422, Exit::Failed),
            (429, Exit::Unreachable),
            (500, Exit::Failed),
            (502, Exit::Unreachable),
            (503, Exit::Unreachable),
            (504, Exit::Unreachable),
            (301, Exit::Failed),
        ];
        for (code, exit) in table {
            assert_eq!(exit_of(status(code)), exit, "{code}");
        }
    }

    #[test]
    fn a_problem_document_is_told_whole() {
        let body = br#"{"type":"urn:sortie:error:SRT-S008","title":"Documents refused","status":422,
            "detail":"1 error; nothing was stored","code":"SRT-S008","hint":"correct it","extra":1,
            "problems":[{"severity":"error","file":"a.yaml","line":1,"column":2,"path":"p","code":"SRT-E012","message":"m"}]}"#;
        let failure = failure("store the documents", "http://x", status(422), body);
        assert_eq!(failure.exit, Exit::Failed);
        assert_eq!(
            failure.message,
            "cannot store the documents: 1 error; nothing was stored"
        );
        assert_eq!(failure.code.as_deref(), Some("SRT-S008"));
        assert_eq!(failure.hint.as_deref(), Some("correct it"));
        assert_eq!(
            failure.problems[0].to_string(),
            "error: a.yaml:1:2: SRT-E012 p: m"
        );
    }

    #[test]
    fn what_is_no_problem_document_is_not_repeated() {
        for body in [&b"<html>secret</html>"[..], b"", b"{}", b"[1]", b"\xff"] {
            let failure = failure("get x", "http://x", status(502), body);
            assert_eq!(failure.exit, Exit::Unreachable);
            assert!(
                failure.message.contains("HTTP status 502"),
                "{}",
                failure.message
            );
            assert!(!failure.message.contains("secret"));
        }
    }
}
