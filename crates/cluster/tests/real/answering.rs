//! Answers that no healthy API server gives: each is tried again or told, and none is believed.

use std::time::Duration;

use serde_json::json;
use sortie_cluster::access::{Credential, Server, Trust};
use sortie_cluster::{Access, Cluster, Error, Options};
use tokio::time::Instant;

use crate::parties::{Scripted, answer};

async fn client(scripted: &Scripted, patience: Duration) -> Cluster {
    let server = Server {
        address: scripted.address.clone(),
        trust: Trust::System,
        certificate_name: None,
        proxy: None,
        namespace: None,
        credential: Credential::Anonymous,
    };
    let options = Options {
        patience,
        ..Options::default()
    };
    Cluster::connect(&Access::Server(Box::new(server)), options)
        .await
        .unwrap()
}

/// The Kubernetes version that a server tells, which answers in turn as given.
async fn version(answers: Vec<Vec<u8>>, patience: Duration) -> (Result<String, Error>, usize) {
    let scripted = Scripted::saying(answers).await;
    let cluster = client(&scripted, patience).await;
    (cluster.server_version().await, scripted.heard().len())
}

fn good() -> Vec<u8> {
    answer("200 OK", "", r#"{"gitVersion": "v1.33.0"}"#)
}

const PATIENT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn whoever_is_told_to_come_back_later_comes_later() {
    let busy = answer("429 Too Many Requests", "Retry-After: 1\r\n", "");
    let begin = Instant::now();
    let (told, asked) = version(vec![busy, good()], PATIENT).await;
    assert_eq!((told.unwrap().as_str(), asked), ("v1.33.0", 2));
    assert!(begin.elapsed() >= Duration::from_secs(1), "too soon");

    let details =
        json!({"kind": "Status", "reason": "ServerTimeout", "details": {"retryAfterSeconds": 1}});
    let busy = answer("504 Gateway Timeout", "", &details.to_string());
    let begin = Instant::now();
    let (told, asked) = version(vec![busy, good()], PATIENT).await;
    assert!(told.is_ok() && asked == 2);
    assert!(begin.elapsed() >= Duration::from_secs(1), "too soon");
}

#[tokio::test]
async fn a_pause_beyond_patience_is_told_at_once() {
    for pause in ["31", "18446744073709551615"] {
        let header = format!("Retry-After: {pause}\r\n");
        let busy = answer("503 Service Unavailable", &header, "starting");
        let begin = Instant::now();
        let (told, asked) = version(vec![busy], PATIENT).await;
        let error = told.unwrap_err();
        assert_eq!((error.code(), asked), ("SRT-C018", 1), "{error}");
        assert!(
            error.to_string().ends_with("(status 503): starting"),
            "{error}"
        );
        assert!(begin.elapsed() < Duration::from_secs(20));
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_asked_for_again() {
    let mut half = good();
    half.truncate(half.len() - 5);
    let no_head = b"HTTP/1.1 20".to_vec();
    let (told, asked) = version(vec![half, no_head, Vec::new(), good()], PATIENT).await;
    assert!(told.is_ok(), "{told:?}");
    assert_eq!(asked, 4);
}

#[tokio::test]
async fn what_is_no_json_or_too_large_is_told_and_not_asked_for_again() {
    let page = answer("200 OK", "", "<html>Please log in to the network</html>");
    let (told, asked) = version(vec![page], PATIENT).await;
    let error = told.unwrap_err();
    assert_eq!((error.code(), asked), ("SRT-C022", 1), "{error}");

    let large = format!("{{\"gitVersion\": \"{}\"}}", " ".repeat(129 * 1024 * 1024));
    let (told, asked) = version(vec![answer("200 OK", "", &large)], PATIENT).await;
    let error = told.unwrap_err();
    assert_eq!((error.code(), asked), ("SRT-C022", 1), "{error}");

    // Of a refusal that is a page, the beginning is shown.
    let page = answer(
        "403 Forbidden",
        "",
        &"Blocked by the firewall. ".repeat(1000),
    );
    let (told, asked) = version(vec![page], PATIENT).await;
    let error = told.unwrap_err();
    assert_eq!((error.code(), asked), ("SRT-C003", 1));
    let text = error.to_string();
    assert!(
        text.contains("Blocked by the firewall") && text.len() < 500,
        "{text}"
    );
}

#[tokio::test]
async fn two_thousand_kinds_cost_two_requests() {
    let entry = |number: usize| {
        json!({"resource": format!("things{number}"), "scope": "Namespaced", "verbs": ["get", "list", "patch"],
               "responseKind": {"group": format!("g{number}.example.com"), "version": "v1", "kind": format!("Thing{number}")}})
    };
    let group = |number: usize| {
        json!({"metadata": {"name": format!("g{number}.example.com")},
               "versions": [{"version": "v1", "resources": [entry(number)]}]})
    };
    let list = |groups: Vec<serde_json::Value>| {
        let list = json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": groups});
        answer("200 OK", "", &list.to_string())
    };
    let scripted = Scripted::saying(vec![list((0..1872).map(group).collect())]).await;
    let cluster = client(&scripted, PATIENT).await;
    for number in [0, 7, 1871] {
        let (group, kind) = (format!("g{number}.example.com"), format!("Thing{number}"));
        let found = cluster.resolve(&group, "v1", &kind).await.unwrap();
        assert_eq!(found.plural, format!("things{number}"));
    }
    assert_eq!(scripted.heard().len(), 2);
}

/// A step asks for every kind of router, several times, and a cluster serves few of them.
#[tokio::test]
async fn kinds_that_are_missing_do_not_cost_two_requests_each() {
    let none = json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": []});
    let scripted = Scripted::saying(vec![answer("200 OK", "", &none.to_string())]).await;
    let cluster = client(&scripted, PATIENT).await;
    for number in 0..50 {
        let kind = format!("Thing{number}");
        let error = cluster.resolve_preferred("example.com", &kind).await;
        assert_eq!(error.unwrap_err().code(), "SRT-C004");
    }
    // One look, and another if a second went by meanwhile.
    let heard = scripted.heard();
    assert!(heard.len() <= 20, "{}", heard.len());
    let agent = concat!("user-agent: sortie/", env!("CARGO_PKG_VERSION"), "\r\n");
    assert!(
        heard.iter().all(|request| request.contains(agent)),
        "{heard:?}"
    );
}
