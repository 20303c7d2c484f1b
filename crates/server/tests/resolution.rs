//! What a step is handed: entities pinned, values resolved, secrets only for those who may.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::{Value, json};
use sortie_proto::v1;
use sortie_server::tasks::{Resolution, Resolver as _};
use support::{Server, deploy, files};

#[tokio::test]
async fn values_are_resolved_against_the_snapshot_of_the_step() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path()).await;
    server.apply_hello().await;
    let id = server
        .run(&json!({"pipeline": "hello", "variables": {"version": "v9"}}))
        .await;
    let task = server.next_task().await;
    let names = [
        "artifacts.primary.image",
        "artifact.tag",
        "serviceVariables.greeting",
        "serviceVariables.replicas",
        "env.name",
        "infra.namespace",
        "infra.releaseName",
        "pipeline.name",
        "pipeline.sequenceId",
        "stage.identifier",
        "step.identifier",
        "pipeline.executionId",
        "nothing.here",
    ]
    .map(str::to_owned);
    let answers = server.engine.resolve(&task.id, &names).await;
    let text = |index: usize| match &answers[index] {
        Resolution::Value(Value::String(text)) => text.clone(),
        Resolution::Value(value) => value.to_string(),
        other => panic!("{}: {other:?}", names[index]),
    };
    assert_eq!(text(0), "docker.io/library/sortie-sample:v9");
    assert_eq!(text(1), "v9");
    assert!(!text(2).contains("<+"), "{}", text(2));
    assert_eq!(text(3), "3");
    assert_eq!(text(5), "sortie-demo");
    assert_eq!(text(6), "hello");
    assert_eq!(text(8), "1");
    assert_eq!((text(9).as_str(), text(10).as_str()), ("deploy", "rolling"));
    assert_eq!(text(11), id);
    assert!(
        matches!(answers[12], Resolution::Undefined),
        "{:?}",
        answers[12]
    );
    // A snapshot is read by the delegate as well: it holds the same.
    let context = task.task.context.as_ref().unwrap();
    let blob = folder
        .path()
        .join("blobs")
        .join(&context.sha256[..2])
        .join(&context.sha256);
    let bytes = std::fs::read(blob).unwrap();
    assert_eq!(bytes.len() as u64, context.size);
    let roots: Value = serde_json::from_slice(&bytes).unwrap();
    let local = sortie_expression::JsonContext::new(roots);
    let image = sortie_expression::evaluate_text("<+artifacts.primary.image>", &local).unwrap();
    assert_eq!(image, "docker.io/library/sortie-sample:v9");
    server.stop().await;
}

#[tokio::test]
async fn a_change_of_entities_does_not_change_what_runs() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path()).await;
    let (id, task) = server.begin_hello().await;
    let changed = support::hello().replace("namespace: sortie-demo", "namespace: elsewhere");
    server.apply(&changed).await;
    server.fail(&task, "no luck", "{}").await;
    let rollback = server.next_task().await;
    let Some(v1::task::Step::KubernetesRollingRollback(step)) = &rollback.task.step else {
        panic!("{:?}", rollback.task.step);
    };
    assert_eq!(step.release.as_ref().unwrap().namespace, "sortie-demo");
    server.accept(&rollback).await;
    server.succeed(&rollback, "{}").await;
    server.ended(&id).await;
    let _next = server.run(&json!({"pipeline": "hello"})).await;
    let next = server.next_task().await;
    assert_eq!(
        deploy(&next).release.as_ref().unwrap().namespace,
        "elsewhere"
    );
    server.stop().await;
}

#[tokio::test]
async fn secrets_are_given_only_to_running_tasks_of_their_project() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path()).await;
    server.apply_hello().await;
    let secret = |id: &str, value: &str| {
        format!(
            "secret:\n  name: {id}\n  identifier: {id}\n  type: SecretText\n  spec:\n    secretManagerIdentifier: harnessSecretManager\n    valueType: Inline\n    value: {value}\n"
        )
    };
    server.apply(&secret("own", "s3cret")).await;
    for (query, id) in [("?scope=account", "shared"), ("?project=other", "foreign")] {
        let stored = server
            .put(&format!("/api/v1/entities{query}"), secret(id, "v"))
            .send()
            .await;
        support::json(stored.unwrap(), 200).await;
    }
    let id = server.run(&json!({"pipeline": "hello"})).await;
    let task = server.next_task().await;
    let ask = [
        r#"secrets.getValue("own")"#,
        r#"secrets.getValue("account.shared")"#,
        r#"secrets.getValue("foreign")"#,
        r#"secrets.getValue("other.foreign")"#,
        r#"secrets.getValue("missing")"#,
        r#"["x", secrets.getValue("own")]"#,
    ]
    .map(str::to_owned);
    let answers = server.engine.resolve(&task.id, &ask).await;
    assert!(
        matches!(&answers[0], Resolution::Secret(bytes) if bytes.as_slice() == b"s3cret"),
        "{:?}",
        answers[0]
    );
    assert!(matches!(&answers[1], Resolution::Secret(bytes) if bytes.as_slice() == b"v"));
    for (answer, name) in answers.iter().zip(&ask).skip(2) {
        assert!(
            matches!(answer, Resolution::Denied(_)),
            "{name}: {answer:?}"
        );
    }
    assert!(!format!("{answers:?}").contains("s3cret"));
    let unknown = server.engine.resolve("no-such-task", &ask).await;
    assert!(
        unknown
            .iter()
            .all(|answer| matches!(answer, Resolution::Denied(_)))
    );
    server.accept(&task).await;
    server.succeed(&task, "{}").await;
    server.ended(&id).await;
    let late = server.engine.resolve(&task.id, &ask).await;
    assert!(
        late.iter()
            .all(|answer| matches!(answer, Resolution::Denied(_))),
        "the execution is over"
    );
    server.stop().await;
}

#[tokio::test]
async fn files_come_from_git_with_the_password_left_for_the_delegate_to_ask() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path()).await;
    server.apply_hello().await;
    let account = "connector:\n  name: git\n  identifier: git\n  type: Github\n  spec:\n    url: https://git.example/acme/\n    type: Account\n    authentication:\n      type: Http\n      spec:\n        type: UsernameToken\n        spec:\n          username: bot\n          tokenRef: git_token\n";
    let stored = server
        .put("/api/v1/entities?scope=account", account)
        .send()
        .await
        .unwrap();
    support::json(stored, 200).await;
    let service = "service:\n  name: hello\n  identifier: hello\n  serviceDefinition:\n    type: Kubernetes\n    spec:\n      manifests:\n        - manifest:\n            identifier: m\n            type: K8sManifest\n            spec:\n              store:\n                type: Github\n                spec:\n                  connectorRef: account.git\n                  gitFetchType: Branch\n                  branch: release-<+pipeline.variables.version>\n                  repoName: shop\n                  paths: [k8s/app]\n              valuesPaths: [k8s/values.yaml]\n              skipResourceVersioning: true\n";
    server.apply(service).await;
    server
        .run(&json!({"pipeline": "hello", "variables": {"version": "v3"}}))
        .await;
    let task = server.next_task().await;
    let step = deploy(&task);
    assert_eq!(step.versioning(), v1::Versioning::Off);
    let Some(v1::source::From::Git(git)) = &step.manifests[0].from else {
        panic!("{:?}", step.manifests);
    };
    assert_eq!(git.url, "https://git.example/acme/shop");
    assert_eq!(git.username, "bot");
    // The connector lives at account level, so its bare reference means an account's secret.
    assert_eq!(
        git.password_secret,
        "secrets.getValue(\"account.git_token\")"
    );
    assert_eq!(
        git.revision,
        Some(v1::git_source::Revision::Branch("release-v3".to_owned()))
    );
    assert_eq!(files(&step.manifests), ["k8s/app"]);
    assert_eq!(files(&step.values), ["k8s/values.yaml"]);
    server.stop().await;
}
