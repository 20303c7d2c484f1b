//! The API server takes everything that the charts render, and restricted Pod Security takes their pods.

use serde_json::{Value, json};
use sortie_testkit::{Cluster, NamespaceOptions};

use crate::helm::{kubectl, objects, only};
use crate::rendering::MATRIX;

#[tokio::test(flavor = "multi_thread")]
async fn every_rendering_is_admitted_under_restricted_pod_security() {
    let cluster = Cluster::shared().await.unwrap();
    let options = NamespaceOptions { restricted: true };
    let namespace = cluster
        .namespace_with("charts_admission", options)
        .await
        .unwrap();
    let create = |objects: &[Value]| {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        let words = [
            "create",
            "--dry-run=server",
            "--validate=strict",
            "--warnings-as-errors",
            "-f",
            "-",
        ];
        kubectl(cluster.kubeconfig(), &words, &list.to_string())
    };
    for (chart, values) in MATRIX {
        let objects = objects(chart, namespace.name(), values);
        create(&objects).unwrap_or_else(|error| panic!("{chart} {values}: {error}"));
        let pod = pod(only(&objects, "Deployment"));
        create(std::slice::from_ref(&pod))
            .unwrap_or_else(|error| panic!("{chart} {values}: {error}"));

        // The check itself works: what is restricted is refused without it.
        let mut weak = pod;
        weak["spec"]["securityContext"] = json!({});
        let refusal = create(&[weak]).expect_err("restricted Pod Security is not enforced");
        assert!(refusal.contains("violates PodSecurity"), "{refusal}");
    }
    namespace.finish().await.unwrap();
}

/// The pod that the Deployment would create, with an account and a priority that are there without it.
fn pod(deployment: &Value) -> Value {
    let template = &deployment["spec"]["template"];
    let mut spec = template["spec"].clone();
    spec["serviceAccountName"] = json!("default");
    spec.as_object_mut().unwrap().remove("priorityClassName");
    let metadata = json!({
        "name": "pod",
        "namespace": deployment["metadata"]["namespace"],
        "labels": template["metadata"]["labels"],
        "annotations": template["metadata"]["annotations"],
    });
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
}
