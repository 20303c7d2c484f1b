//! The hooks of a service on their way to the delegate.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::json;
use sortie_proto::v1::{ServiceHook, ServiceHookAction};
use support::Server;

const HOOKS: &str = "      hooks:
        - preHook:
            identifier: warm
            storeType: Inline
            actions: [SteadyStateCheck]
            store: {content: 'echo <+service.name> <+secrets.getValue(\"key\")>'}
        - postHook:
            identifier: decrypt
            storeType: Inline
            actions: [FetchFiles, TemplateManifest]
            store:
              content: |
                sops -d -i a.yaml
                echo done
";

#[tokio::test]
async fn steps_that_take_the_manifests_take_the_hooks_along() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path()).await;
    server.apply_hello().await;
    let service = include_str!("../../../examples/hello/service.yaml");
    let service = service.replacen(
        "      manifests:\n",
        &format!("{HOOKS}      manifests:\n"),
        1,
    );
    server.apply(&service).await;
    for (kind, spec, takes) in [
        ("K8sRollingDeploy", "{}", true),
        ("K8sBlueGreenDeploy", "{}", true),
        ("K8sDryRun", "{}", true),
        ("K8sApply", "{filePaths: [configmap.yaml]}", true),
        (
            "K8sScale",
            "{workload: Deployment/hello, instanceSelection: {type: Count, spec: {count: 1}}}",
            false,
        ),
        ("K8sRollingRollback", "{}", false),
    ] {
        server.apply(&pipeline(kind, spec)).await;
        server.run(&json!({"pipeline": "hooks"})).await;
        let hooks = server.next_task().await.task.hooks;
        if !takes {
            assert!(hooks.is_empty(), "{kind}: {hooks:?}");
            continue;
        }
        // Expressions are the delegate's to resolve: some are secrets.
        let warm = ServiceHook {
            id: "warm".to_owned(),
            after: false,
            actions: vec![ServiceHookAction::SteadyStateCheck.into()],
            script: "echo <+service.name> <+secrets.getValue(\"key\")>".to_owned(),
        };
        let decrypt = ServiceHook {
            id: "decrypt".to_owned(),
            after: true,
            actions: vec![
                ServiceHookAction::FetchFiles.into(),
                ServiceHookAction::TemplateManifest.into(),
            ],
            script: "sops -d -i a.yaml\necho done\n".to_owned(),
        };
        assert_eq!(hooks, [warm, decrypt], "{kind}");
    }
}

fn pipeline(kind: &str, spec: &str) -> String {
    format!(
        "pipeline:\n  name: hooks\n  identifier: hooks\n  stages:\n    - stage:\n        name: deploy\n        identifier: deploy\n        \
         type: Deployment\n        spec:\n          deploymentType: Kubernetes\n          service:\n            serviceRef: hello\n          \
         environment:\n            environmentRef: demo\n            infrastructureDefinitions:\n              - identifier: demo_namespace\n          \
         execution:\n            steps:\n              - step: {{name: one, identifier: one, type: {kind}, spec: {spec}}}\n        \
         failureStrategies:\n          - onFailure: {{errors: [AllErrors], action: {{type: Abort}}}}\n"
    )
}
