//! Steps beside any strategy in pipelines, on real pods: what they do, what they hand on, and what a rollback undoes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use sortie_tests::Product;
use sortie_tests::rollout::{Images, deployments, run_pipeline};

/// A pipeline of one stage; each step is `(identifier, type, spec)`.
fn pipeline(id: &str, steps: &[(&str, &str, &str)], rollback: &[(&str, &str, &str)]) -> String {
    let list = |steps: &[(&str, &str, &str)]| -> String {
        let step = |(id, kind, spec): &(&str, &str, &str)| {
            format!(
                "              - step: {{name: {id}, identifier: {id}, type: {kind}, timeout: 3m, spec: {spec}}}\n"
            )
        };
        steps.iter().map(step).collect()
    };
    format!(
        "pipeline:\n  name: {id}\n  identifier: {id}\n  variables:\n    - {{name: version, type: String, value: v1}}\n    - {{name: image, type: \
         String, value: none}}\n  stages:\n    - stage:\n        name: deploy\n        identifier: deploy\n        type: Deployment\n        \
         spec:\n          deploymentType: Kubernetes\n          service: {{serviceRef: hello}}\n          environment:\n            \
         environmentRef: demo\n            infrastructureDefinitions: [{{identifier: demo_namespace}}]\n          execution:\n            \
         steps:\n{}            rollbackSteps:\n{}        failureStrategies:\n          - onFailure: {{errors: [AllErrors], action: {{type: \
         StageRollback}}}}\n",
        list(steps),
        list(rollback)
    )
}

async fn store(product: &Product, pipeline: &str) -> Result<()> {
    let folder = tempfile::tempdir().context("a folder for the pipeline")?;
    let file = folder.path().join("pipeline.yaml");
    std::fs::write(&file, pipeline).context("write the pipeline")?;
    let file = file.display().to_string();
    product.sortie(&["apply", "-f", &file]).await.map(drop)
}

async fn ends(product: &Product, pipeline: &str, images: &Images, code: i32) -> Result<String> {
    let ended = run_pipeline(product, pipeline, images, "v1").await?;
    let said = format!("{}\n{}", ended.stdout, ended.stderr);
    assert_eq!(ended.code, Some(code), "{said}");
    Ok(said)
}

async fn hello(product: &Product) -> Result<Deployment> {
    Ok(deployments(product).get("hello").await?)
}

async fn replicas(product: &Product) -> Result<Option<i32>> {
    Ok(hello(product).await?.spec.and_then(|spec| spec.replicas))
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_on_objects_work_together_and_are_undone_by_a_rollback() -> Result<()> {
    let product = Product::start("e2e-steps").await?;
    let images = Images::load(product.cluster()).await?;
    product.apply_example().await?;
    // A manifest of the step's own, with a value that an earlier step has handed on.
    let maps = "apiVersion: v1\\nkind: ConfigMap\\nmetadata: {name: applied}\\ndata: {release: '{{ .Values.release }}'}\\n---\\napiVersion: v1\\nkind: ConfigMap\\nmetadata: {name: doomed}\\n";
    let apply = format!(
        "{{manifestSource: {{type: K8sManifest, spec: {{store: {{type: Inline, spec: {{content: \"{maps}\"}}}}}}}}, overrides: [{{manifest: \
         {{identifier: number, type: Values, spec: {{store: {{type: Inline, spec: {{content: 'release: \
         <+execution.steps.rolling.output.releaseNumber>'}}}}}}}}}}]}}"
    );
    let patch = "{workload: Deployment/hello, mergeStrategyType: Strategic, recordChangeCause: true, source: {type: Inline, spec: {content: '{spec: {template: {metadata: {annotations: {patched: <+pipeline.name>}}}}}'}}}";
    let restart = "{command: restart, resources: {type: ResourceName, spec: {resourceNames: [Deployment/hello]}}}";
    let history = "{command: history, resources: {type: ReleaseName}}";
    let scale = "{workload: Deployment/hello, instanceSelection: {type: Count, spec: {count: 2}}}";
    let delete =
        "{deleteResources: {type: ResourceName, spec: {resourceNames: [ConfigMap/doomed]}}}";
    let steps = [
        ("tried", "K8sDryRun", "{}"),
        ("rolling", "K8sRollingDeploy", "{}"),
        ("compared", "K8sDiff", "{}"),
        ("scaled", "K8sScale", scale),
        ("patched", "K8sPatch", patch),
        ("applied", "K8sApply", apply.as_str()),
        ("restarted", "K8sRollout", restart),
        ("listed", "K8sRollout", history),
        ("deleted", "K8sDelete", delete),
    ];
    let rollback = [("back", "K8sRollingRollback", "{}")];
    store(&product, &pipeline("steps", &steps, &rollback)).await?;
    ends(&product, "steps", &images, 0).await?;

    assert_eq!(replicas(&product).await?, Some(2));
    let deployment = hello(&product).await?;
    let template = deployment.spec.context("a spec")?.template.metadata;
    let annotations = template
        .and_then(|metadata| metadata.annotations)
        .context("annotations")?;
    assert_eq!(
        annotations.get("patched").map(String::as_str),
        Some("steps")
    );
    assert!(annotations.contains_key("kubectl.kubernetes.io/restartedAt"));
    let cause = deployment.metadata.annotations.unwrap_or_default();
    assert!(
        cause.contains_key("kubernetes.io/change-cause"),
        "{cause:?}"
    );
    let client = product.cluster().client().await?;
    let maps: Api<ConfigMap> = Api::namespaced(client, product.namespace());
    let applied = maps.get("applied").await?.data.context("data")?;
    assert_eq!(applied.get("release").map(String::as_str), Some("1"));
    assert!(maps.get_opt("doomed").await?.is_none());

    // What an execution has changed is undone when one of its steps fails, although nothing was deployed.
    let back = "{workload: Deployment/hello, instanceSelection: {type: Percentage, spec: {percentage: 50}}}";
    let nothing = "{workload: Deployment/missing, mergeStrategyType: Merge, source: {type: Inline, spec: {content: '{spec: {paused: true}}'}}}";
    let again = "{manifestSource: {type: K8sManifest, spec: {store: {type: Inline, spec: {content: \"apiVersion: v1\\nkind: ConfigMap\\nmetadata: {name: fresh}\\n\"}}}}}";
    let steps = [
        ("scaled", "K8sScale", back),
        ("applied", "K8sApply", again),
        ("patched", "K8sPatch", nothing),
    ];
    store(&product, &pipeline("failing", &steps, &rollback)).await?;
    let said = ends(&product, "failing", &images, 1).await?;
    assert!(said.contains("missing"), "{said}");
    assert_eq!(replicas(&product).await?, Some(2), "{said}");
    assert!(maps.get_opt("fresh").await?.is_none(), "{said}");
    assert!(
        maps.get_opt("applied").await?.is_some(),
        "another execution's: {said}"
    );
    product.finish().await
}
