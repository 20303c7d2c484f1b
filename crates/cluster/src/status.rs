//! From the API server's `Status` objects to causes that people understand.

use serde_json::Value;

use crate::error::{Cause, Problem};
use crate::quoted::without_values;

/// How the API server says that a field never changes.
const IMMUTABLE: [&str; 8] = [
    "immutable",
    "updates to statefulset spec for fields other than",
    "cannot change roleRef",
    "may not be changed",
    "may not change once set",
    "updates to parameters are forbidden",
    "updates to provisioner are forbidden",
    "pod updates may not change fields other than",
];

/// The parts of a `Status` object that decide what went wrong.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    pub(crate) code: u16,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) causes: Vec<StatusCause>,
    /// `details.kind`: plural of the resource that the status is about.
    pub(crate) about: String,
    /// `details.name`.
    pub(crate) name: String,
    pub(crate) retry_after: Option<u64>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct StatusCause {
    pub(crate) reason: String,
    pub(crate) field: String,
    pub(crate) message: String,
}

impl Status {
    /// Reads an error answer; proxies and load balancers answer with text of their own.
    pub(crate) fn read(code: u16, body: &[u8]) -> Self {
        let value: Value = match serde_json::from_slice(body) {
            Ok(value) => value,
            Err(_) => {
                let text = String::from_utf8_lossy(body);
                let message: String = text.trim().chars().take(300).collect();
                return Self {
                    code,
                    message,
                    ..Self::default()
                };
            }
        };
        let text = |value: &Value, pointer: &str| -> String {
            value
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let causes = value.pointer("/details/causes").and_then(Value::as_array);
        Self {
            code,
            reason: text(&value, "/reason"),
            message: without_values(&text(&value, "/message")),
            about: text(&value, "/details/kind"),
            name: text(&value, "/details/name"),
            retry_after: value
                .pointer("/details/retryAfterSeconds")
                .and_then(Value::as_u64),
            causes: causes
                .into_iter()
                .flatten()
                .map(|cause| StatusCause {
                    reason: text(cause, "/reason"),
                    field: text(cause, "/field"),
                    message: without_values(&text(cause, "/message")),
                })
                .collect(),
        }
    }

    /// Whether the answer says that the server is momentarily unable, not that the request is wrong.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self.code, 429 | 502 | 503 | 504)
            || (self.code == 500
                && (self.message.contains("etcdserver: ")
                    || self.message.contains("etcd cluster is unavailable")
                    || self.reason == "ServerTimeout"))
            || self.webhook_unavailable().is_some()
            || self.quota_raced()
    }

    /// The field conflicts that server-side apply without force reports, as (path, manager).
    pub(crate) fn field_conflicts(&self) -> Vec<(String, String)> {
        self.causes
            .iter()
            .filter(|cause| cause.reason == "FieldManagerConflict")
            .map(|cause| {
                // conflict with "kubectl-edit" using apps/v1
                let manager = cause.message.split('"').nth(1).unwrap_or(&cause.message);
                (cause.field.clone(), manager.to_owned())
            })
            .collect()
    }

    /// The cause, in our vocabulary.
    pub(crate) fn into_cause(self) -> Cause {
        if let Some((by, message)) = self.denied() {
            return Cause::Denied { by, message };
        }
        if let Some((webhook, message)) = self.webhook_unavailable() {
            return Cause::WebhookUnavailable { webhook, message };
        }
        if let Some(cause) = self
            .causes
            .iter()
            .find(|c| c.reason == "NamespaceTerminating")
        {
            let namespace = between(&cause.message, "namespace ", " ").unwrap_or_default();
            return Cause::NamespaceTerminating {
                namespace: namespace.to_owned(),
            };
        }
        match self.code {
            401 => Cause::Unauthorized {
                message: self.message,
            },
            403 if self.is_quota() => Cause::Quota {
                message: self.after_forbidden(),
            },
            403 => Cause::Forbidden {
                message: self.after_forbidden(),
            },
            404 if self.about == "namespaces" => Cause::NamespaceMissing {
                namespace: self.name,
            },
            404 => Cause::NotFound,
            409 if self.reason == "AlreadyExists" => Cause::AlreadyExists,
            409 => Cause::Conflict {
                message: self.message,
            },
            400 | 413 | 415 | 422 => self.into_invalid(),
            429 | 502 | 503 | 504 => Cause::Busy {
                status: self.code,
                message: self.message,
            },
            status if self.is_transient() => Cause::Busy {
                status,
                message: self.message,
            },
            // The server-side schema check of an apply patch answers with status 500, and so does its decoding.
            500 if [
                "failed to create typed patch object",
                "failed to convert new object",
            ]
            .iter()
            .any(|words| self.message.contains(words)) =>
            {
                self.into_invalid()
            }
            status => Cause::Server {
                status,
                message: self.message,
            },
        }
    }

    fn into_invalid(self) -> Cause {
        let mut problems: Vec<Problem> = self
            .causes
            .iter()
            .map(|cause| Problem {
                field: cause.field.clone(),
                message: cause.message.clone(),
            })
            .filter(|problem| !problem.message.is_empty())
            .collect();
        if problems.is_empty() {
            problems.push(Problem {
                field: String::new(),
                message: self.message,
            });
        }
        let immutable = |problem: &Problem| {
            IMMUTABLE
                .iter()
                .any(|words| problem.message.contains(words))
        };
        if problems.iter().any(immutable) {
            let (problems, others) = problems.into_iter().partition(immutable);
            Cause::Immutable { problems, others }
        } else {
            Cause::Invalid { problems }
        }
    }

    /// `admission webhook "w" denied the request: why`, or a ValidatingAdmissionPolicy's refusal.
    fn denied(&self) -> Option<(String, String)> {
        if let Some(rest) = after(&self.message, "admission webhook \"")
            && let Some((webhook, rest)) = rest.split_once('"')
            && let Some(message) = after(rest, "denied the request")
        {
            return Some((format!("webhook {webhook}"), trimmed(message)));
        }
        if let Some(rest) = after(&self.message, "ValidatingAdmissionPolicy '")
            && let Some((policy, rest)) = rest.split_once('\'')
            && let Some(message) = after(rest, "denied request")
        {
            return Some((format!("policy {policy}"), trimmed(message)));
        }
        None
    }

    /// `failed calling webhook "w": why`.
    fn webhook_unavailable(&self) -> Option<(String, String)> {
        let rest = after(&self.message, "failed calling webhook \"")?;
        let (webhook, message) = rest.split_once('"')?;
        Some((webhook.to_owned(), trimmed(message)))
    }

    fn is_quota(&self) -> bool {
        self.message.contains("exceeded quota:")
            || self.message.contains("failed quota:")
            || self.message.contains("maximum cpu usage")
            || self.message.contains("maximum memory usage")
            || self.message.contains("minimum cpu usage")
            || self.message.contains("minimum memory usage")
    }

    /// Two writers counted the same quota at once; the server asks to try again.
    fn quota_raced(&self) -> bool {
        self.code == 409
            && self
                .message
                .contains("Operation cannot be fulfilled on resourcequotas")
    }

    /// The message without the `pods "web" is forbidden: ` that our own message makes redundant.
    fn after_forbidden(&self) -> String {
        after(&self.message, " is forbidden: ")
            .unwrap_or(&self.message)
            .to_owned()
    }
}

fn after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    text.split_once(mark).map(|(_, rest)| rest)
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let rest = after(text, start)?;
    Some(rest.split_once(end).map_or(rest, |(inner, _)| inner))
}

fn trimmed(text: &str) -> String {
    text.trim_start_matches([':', ' ']).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(code: u16, message: &str, reason: &str, causes: &Value) -> Status {
        let body = json!({
            "kind": "Status", "message": message, "reason": reason, "code": code,
            "details": {"name": "shop", "kind": "namespaces", "causes": causes},
        });
        Status::read(code, body.to_string().as_bytes())
    }

    fn cause(code: u16, message: &str, reason: &str) -> Cause {
        read(code, message, reason, &json!([])).into_cause()
    }

    #[test]
    fn each_refusal_has_its_own_cause() {
        let quota = "pods \"web\" is forbidden: exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2";
        assert!(matches!(
            cause(403, quota, "Forbidden"),
            Cause::Quota { message } if message.starts_with("exceeded quota: small")
        ));
        assert!(matches!(
            cause(403, "x is forbidden: User \"u\" cannot patch resource", "Forbidden"),
            Cause::Forbidden { message } if message == "User \"u\" cannot patch resource"
        ));
        assert!(matches!(
            cause(400, "admission webhook \"v.example.com\" denied the request: no latest tag", ""),
            Cause::Denied { by, message } if by == "webhook v.example.com" && message == "no latest tag"
        ));
        assert!(matches!(
            cause(422, "deployments.apps \"web\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: too many", "Invalid"),
            Cause::Denied { by, message } if by == "policy p" && message == "too many"
        ));
        assert!(matches!(
            cause(500, "Internal error occurred: failed calling webhook \"v\": Post: refused", ""),
            Cause::WebhookUnavailable { webhook, message } if webhook == "v" && message == "Post: refused"
        ));
        assert!(matches!(
            cause(404, "namespaces \"shop\" not found", "NotFound"),
            Cause::NamespaceMissing { namespace } if namespace == "shop"
        ));
        assert!(matches!(
            cause(409, "exists", "AlreadyExists"),
            Cause::AlreadyExists
        ));
        assert!(matches!(
            cause(409, "modified", "Conflict"),
            Cause::Conflict { .. }
        ));
        assert!(matches!(
            cause(503, "", ""),
            Cause::Busy { status: 503, .. }
        ));
        assert!(matches!(
            cause(500, "boom", ""),
            Cause::Server { status: 500, .. }
        ));
    }

    #[test]
    fn invalid_fields_are_told_from_immutable_ones() {
        let causes = json!([
            {"reason": "FieldValueInvalid", "field": "spec.selector", "message": "Invalid value: field is immutable"},
        ]);
        assert!(matches!(
            read(422, "m", "Invalid", &causes).into_cause(),
            Cause::Immutable { problems, others } if problems.len() == 1 && problems[0].field == "spec.selector" && others.is_empty()
        ));
        let causes = json!([
            {"field": "spec.replicas", "message": "must be at least 0"},
            {"reason": "FieldValueInvalid", "field": "spec.selector", "message": "Invalid value: field is immutable"},
        ]);
        let both = read(422, "m", "Invalid", &causes).into_cause();
        assert_eq!(
            both.to_string(),
            "spec.selector cannot change; besides, the API server finds it invalid: spec.replicas: must be at least 0"
        );
        let causes = json!([{"field": "spec.replicas", "message": "must be at least 0"}]);
        assert!(matches!(
            read(422, "m", "Invalid", &causes).into_cause(),
            Cause::Invalid { .. }
        ));
    }

    #[test]
    fn a_jobs_new_template_is_named_and_not_shown() {
        let quoted = r#"{"spec":{"containers":[{"env":[{"name":"A","value":"hunter2"}]}]}}"#;
        let message = format!("Invalid value: {quoted}: field is immutable");
        let causes =
            json!([{"reason": "FieldValueInvalid", "field": "spec.template", "message": message}]);
        let whole = format!("Job.batch \"a\" is invalid: spec.template: {message}");
        let status = read(422, &whole, "Invalid", &causes);
        assert!(!format!("{status:?}").contains("hunter2"), "{status:?}");
        assert_eq!(
            status.into_cause().to_string(),
            "spec.template cannot change"
        );
    }

    #[test]
    fn a_terminating_namespace_is_told_from_a_missing_right() {
        let causes = json!([
            {"reason": "NamespaceTerminating", "field": "metadata.namespace", "message": "namespace shop is being terminated"},
        ]);
        assert!(matches!(
            read(403, "m", "Forbidden", &causes).into_cause(),
            Cause::NamespaceTerminating { namespace } if namespace == "shop"
        ));
    }

    #[test]
    fn only_momentary_trouble_is_tried_again() {
        for code in [429, 502, 503, 504] {
            assert!(read(code, "", "", &json!([])).is_transient(), "{code}");
        }
        assert!(read(500, "etcdserver: leader changed", "", &json!([])).is_transient());
        for code in [400, 401, 403, 404, 409, 422, 500] {
            assert!(
                !read(code, "some message", "", &json!([])).is_transient(),
                "{code}"
            );
        }
    }

    #[test]
    fn an_answer_that_is_no_status_is_shown_in_part() {
        let status = Status::read(502, "<html>".repeat(1000).as_bytes());
        assert_eq!(status.message.len(), 300);
    }
}
