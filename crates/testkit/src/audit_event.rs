//! One line of an API server's audit log, as far as tests ask for it.

use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
pub(crate) struct Event {
    #[serde(rename = "auditID", default)]
    pub(crate) id: String,
    pub(crate) verb: String,
    #[serde(rename = "requestURI", default)]
    pub(crate) uri: String,
    pub(crate) user: User,
    #[serde(rename = "objectRef", default)]
    pub(crate) object: Object,
    #[serde(rename = "responseStatus", default)]
    pub(crate) status: Status,
    #[serde(rename = "requestObject", default)]
    pub(crate) request: Value,
    #[serde(rename = "responseObject", default)]
    pub(crate) response: Value,
    #[serde(rename = "requestReceivedTimestamp", default)]
    pub(crate) received: String,
    #[serde(rename = "stageTimestamp", default)]
    pub(crate) answered: String,
}

#[derive(Deserialize)]
pub(crate) struct User {
    #[serde(rename = "username", default)]
    pub(crate) name: String,
}

/// Empty for what is about no resource, such as `/version`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Object {
    #[serde(rename = "apiGroup")]
    pub(crate) group: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    /// 0 before the answer.
    pub(crate) code: u16,
}
