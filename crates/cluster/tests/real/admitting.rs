//! A real admission webhook: away, back, refusing.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sortie_cluster::{Cluster, Error, Options};

use crate::fixture::{Fixture, config_map, objects};
use crate::parties::Webhook;

async fn plan(cluster: &Cluster, fixture: &Fixture) -> Result<(), Error> {
    let set = objects(fixture.ns(), &config_map("a", "v"));
    let targets = cluster.locate(set, fixture.ns()).await.unwrap();
    let planned = cluster.plan(targets, &fixture.scope()).await;
    planned.map(drop).map_err(|mut errors| errors.remove(0))
}

#[tokio::test]
async fn a_webhook_that_is_away_is_waited_for_and_its_refusal_told() {
    let fixture = Fixture::new("admission").await;
    let shared = sortie_testkit::Cluster::shared().await.unwrap();
    let Some(bridge) = shared.bridge_address() else {
        eprintln!("the cluster of KUBECONFIG does not reach this machine: no webhook");
        fixture.finish().await;
        return;
    };
    // This machine's leg in the network of the control plane.
    let [a, b, c, _] = bridge.octets();
    let webhook = Webhook::at([a, b, c, 254].into()).await;
    let name = format!("{}.example.com", fixture.ns());
    let configuration = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": {"name": name},
        "webhooks": [{"name": name, "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail", "timeoutSeconds": 2,
            "clientConfig": {"url": format!("https://{}/", webhook.address), "caBundle": STANDARD.encode(&webhook.authority)},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": fixture.ns()}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}]}]});
    let base = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    fixture
        .send(http::Method::POST, base, "application/json", &configuration)
        .await;
    let impatient = Options {
        patience: Duration::ZERO,
        ..Options::default()
    };
    let impatient = fixture.another(impatient).await;
    let enforced = async {
        while plan(&impatient, &fixture).await.is_ok() {}
        plan(&impatient, &fixture).await.unwrap_err()
    };
    let enforced = tokio::time::timeout(Duration::from_secs(60), enforced).await;
    let error = enforced.expect("the webhook is never called");
    assert_eq!(error.code(), "SRT-C009", "{error}");

    // Whoever is patient does not notice more than a delay.
    let waiting = plan(&fixture.cluster, &fixture);
    let coming = async {
        let error = plan(&impatient, &fixture).await.unwrap_err();
        assert_eq!(error.code(), "SRT-C009", "{error}");
        webhook.start().await
    };
    let (waited, webhook) = tokio::join!(waiting, coming);
    waited.unwrap();

    webhook.deny();
    let error = plan(&fixture.cluster, &fixture).await.unwrap_err();
    assert_eq!(error.code(), "SRT-C008", "{error}");
    assert!(
        error
            .to_string()
            .ends_with(&format!("webhook {name} denied it: not on a Friday")),
        "{error}"
    );
    let request = http::Request::delete(format!("{base}/{name}"));
    let request = request.body(Vec::new()).unwrap();
    let _gone: Value = fixture.namespace.client().request(request).await.unwrap();
    fixture.finish().await;
}
