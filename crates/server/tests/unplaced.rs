//! The whole control plane without any delegate.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::{Value, json};
use sortie_server::config::{Args, Config};
use sortie_server::server::Server;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn a_run_that_no_delegate_takes_says_so_everywhere() {
    let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::load(Args::default()).unwrap();
    config.data_dir = folder.path().to_owned();
    config.web_address = "127.0.0.1:0".parse().unwrap();
    config.agent_address = "127.0.0.1:0".parse().unwrap();
    let server = Server::open(&config).await.unwrap();
    let token = server.first_token().await.unwrap().unwrap();
    let web = format!("http://{}/api/v1", server.web_address());
    let stop = CancellationToken::new();
    let running = server.run(stop.clone());
    let story = async {
        let client = support::client();
        let call = |request: reqwest::RequestBuilder| async {
            let response = request.bearer_auth(token.as_str()).send().await.unwrap();
            let status = response.status().as_u16();
            support::json(response, status).await
        };
        let short = support::hello().replace("timeout: 5m", "timeout: 2s");
        call(client.put(format!("{web}/entities")).body(short)).await;
        let run = json!({"pipeline": "hello"});
        let started = call(client.post(format!("{web}/executions")).json(&run)).await;
        let id = started["id"]
            .as_str()
            .unwrap_or_else(|| panic!("{started:#}"));
        let events = client.get(format!("{web}/executions/{id}/events"));
        let events = events.bearer_auth(token.as_str()).send().await.unwrap();
        // Ends when the execution has.
        let followed = events.text().await.unwrap();
        assert!(
            followed.contains("waiting: no delegate is connected"),
            "{followed}"
        );
        let view = call(client.get(format!("{web}/executions/{id}"))).await;
        let list = call(client.get(format!("{web}/executions"))).await;
        stop.cancel();
        (view, list)
    };
    let (served, (view, list)) = tokio::join!(running, story);
    served.unwrap();

    let expected =
        "no delegate with the tag demo was connected within 2 s; see `sortie get delegates`";
    let tells = |value: &Value| {
        let message = value["message"].as_str().unwrap_or_default();
        message.starts_with(expected) && value["code"] == "SRT-S231"
    };
    assert_eq!(view["status"], "EXPIRED", "{view:#}");
    assert!(tells(&view), "{view:#}");
    assert!(tells(&list["items"][0]), "{list:#}");
    let nodes = view["nodes"].as_array().unwrap();
    let step = nodes.iter().find(|node| node["type"] == "K8sRollingDeploy");
    assert!(tells(step.unwrap()), "{view:#}");
}
