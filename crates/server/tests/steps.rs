//! What each type of steps hands to the delegate, and which steps a rollback takes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::{Value, json};
use sortie_proto::v1;
use sortie_proto::v1::task::Step as Wire;
use sortie_server::tasks::TaskRequest;
use support::{Server, files};

/// A pipeline with these steps and rollback steps: type and spec each. Their identifiers are `s0`, …, `r0`, ….
fn pipeline(steps: &[(&str, &str)], rollback: &[(&str, &str)]) -> String {
    let list = |steps: &[(&str, &str)], prefix: &str| -> String {
        let step = |(index, (kind, spec)): (usize, &(&str, &str))| {
            format!(
                "              - step:\n                  name: {prefix}{index}\n                  identifier: {prefix}{index}\n                  \
                 type: {kind}\n                  spec: {spec}\n"
            )
        };
        steps.iter().enumerate().map(step).collect()
    };
    format!(
        "pipeline:\n  name: steps\n  identifier: steps\n  variables:\n    - name: share\n      type: Number\n      value: 40\n    - name: \
         target\n      type: String\n      value: web\n  stages:\n    - stage:\n        name: deploy\n        identifier: deploy\n        \
         type: Deployment\n        spec:\n          deploymentType: Kubernetes\n          service:\n            serviceRef: hello\n          \
         environment:\n            environmentRef: demo\n            infrastructureDefinitions:\n              - identifier: demo_namespace\n          \
         execution:\n            steps:\n{}            rollbackSteps:\n{}        failureStrategies:\n          - onFailure:\n              \
         errors: [AllErrors]\n              action: {{type: StageRollback}}\n",
        list(steps, "s"),
        list(rollback, "r")
    )
}

struct World {
    server: Server,
    _folder: tempfile::TempDir,
}

impl World {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path()).await;
        server.apply_hello().await;
        Self {
            server,
            _folder: folder,
        }
    }

    async fn run(&self, steps: &[(&str, &str)], rollback: &[(&str, &str)]) -> String {
        self.server.apply(&pipeline(steps, rollback)).await;
        self.server.run(&json!({"pipeline": "steps"})).await
    }

    /// The task of a pipeline with this step alone.
    async fn task(&mut self, kind: &str, spec: &str) -> TaskRequest {
        self.run(&[(kind, spec)], &[("K8sRollingRollback", "{}")])
            .await;
        let task = self.server.next_task().await;
        assert!(task.resumable && !task.task.undo_changes, "{kind}");
        let release = task.task.step.as_ref().unwrap().release().unwrap().clone();
        assert_eq!(
            (release.namespace.as_str(), release.name.as_str()),
            ("sortie-demo", "hello")
        );
        assert_eq!(release.service_id, "default.default.hello");
        task
    }

    async fn step(&mut self, kind: &str, spec: &str) -> Wire {
        self.task(kind, spec).await.task.step.unwrap()
    }

    /// Why a step with these options cannot be handed out: code and message.
    async fn refusal(&self, kind: &str, spec: &str) -> (String, String) {
        let id = self.run(&[(kind, spec)], &[]).await;
        let ended = self.server.ended(&id).await;
        let failed = node(&ended, "steps.s0");
        let text = |field: &str| failed[field].as_str().unwrap_or_default().to_owned();
        assert_eq!(failed["status"], "FAILED", "{ended:#}");
        (text("code"), text("message"))
    }
}

fn node<'a>(view: &'a Value, end: &str) -> &'a Value {
    let mut nodes = view["nodes"].as_array().unwrap().iter();
    let path = format!("pipeline.stages.deploy.spec.execution.{end}");
    nodes
        .find(|node| node["path"] == path.as_str())
        .unwrap_or_else(|| panic!("no {path} in {view:#}"))
}

fn names(set: Option<&v1::ManifestSet>) -> (Vec<String>, Vec<String>) {
    let set = set.unwrap();
    (files(&set.manifests), files(&set.values))
}

const MANIFESTS: [&str; 3] = [
    "hello/manifests/configmap.yaml",
    "hello/manifests/deployment.yaml",
    "hello/manifests/service.yaml",
];

#[tokio::test]
async fn strategies_get_the_service_and_their_options() {
    let mut world = World::start().await;
    let share =
        "instanceSelection: {type: Percentage, spec: {percentage: <+pipeline.variables.share>}}";
    let spec = format!("{{{share}, adopt: true, delegateSelectors: [special]}}");
    let task = world.task("K8sCanaryDeploy", &spec).await;
    assert_eq!(task.selectors, ["demo", "special"]);
    let Some(Wire::KubernetesCanaryDeploy(canary)) = task.task.step else {
        panic!("{:?}", task.task.step);
    };
    let deployment = canary.deployment.unwrap();
    let (manifests, values) = names(deployment.set.as_ref());
    assert_eq!(manifests, MANIFESTS);
    assert_eq!(values, ["hello/values.yaml"]);
    assert!(deployment.adopt && !deployment.replace && !deployment.prune);
    assert_eq!(deployment.routing, None);
    let amount = canary.instances.unwrap().amount;
    assert_eq!(amount, Some(v1::amount::Amount::Percent(40)));

    let spec = "{canaryType: Progressive, targetPercentage: <+pipeline.variables.share>}";
    let Wire::KubernetesProgressiveDeploy(share) = world.step("K8sCanaryDeploy", spec).await else {
        panic!("another step");
    };
    assert_eq!(share.percent, 40);
    assert_eq!(names(share.deployment.unwrap().set.as_ref()).0, MANIFESTS);
    let spec = "{canaryType: Progressive, targetPercentage: <+pipeline.variables.share + 61>}";
    let (code, message) = world.refusal("K8sCanaryDeploy", spec).await;
    assert_eq!(code, "SRT-S105", "{message}");

    let spec = "{pruningEnabled: true, pruneLimit: 4, skipDeploymentIfSameManifest: <+pipeline.variables.share == 40>}";
    let Wire::KubernetesBlueGreenDeploy(colour) = world.step("K8sBlueGreenDeploy", spec).await
    else {
        panic!("another step");
    };
    let deployment = colour.deployment.unwrap();
    assert_eq!((deployment.prune, deployment.prune_limit), (true, Some(4)));
    assert!(colour.skip_unchanged);

    let Wire::KubernetesSwapServices(swap) =
        world.step("K8sBGSwapServices", "{settleDelay: 2s}").await
    else {
        panic!("another step");
    };
    assert_eq!((swap.settle_ms, swap.back), (Some(2000), false));
    let spec = "{replicaCountMode: Custom, instanceSelection: {type: Count, spec: {count: 3}}}";
    let Wire::KubernetesStageScaleUp(up) = world.step("K8sBlueGreenStageScaleUp", spec).await
    else {
        panic!("another step");
    };
    let count = Some(v1::amount::Amount::Count(3));
    assert_eq!(up.instances.unwrap().amount, count);
    for (kind, expected) in [
        ("K8sCanaryDelete", "kubernetes_canary_delete"),
        (
            "K8sProgressiveCanaryRollback",
            "kubernetes_progressive_rollback",
        ),
        ("K8sBlueGreenStageScaleDown", "kubernetes_stage_scale_down"),
        ("K8sBlueGreenStageScaleUp", "kubernetes_stage_scale_up"),
    ] {
        assert_eq!(world.step(kind, "{}").await.name(), expected);
    }
    world.server.stop().await;
}

#[tokio::test]
async fn steps_on_files_get_those_that_they_name() {
    let mut world = World::start().await;
    let values = "{manifest: {identifier: more, type: Values, spec: {store: {type: Inline, spec: {content: 'replicas: 1'}}}}}";
    let spec = format!(
        "{{filePaths: [service.yaml, /configmap.yaml], overrides: [{values}], skipSteadyStateCheck: true}}"
    );
    let Wire::KubernetesApply(apply) = world.step("K8sApply", &spec).await else {
        panic!("another step");
    };
    let (manifests, values) = names(apply.set.as_ref());
    assert_eq!(manifests, [MANIFESTS[2], MANIFESTS[0]]);
    assert_eq!(
        values,
        ["hello/values.yaml", "more.yaml"],
        "overrides come last"
    );
    assert!(apply.skip_steady_state_check);

    // What is written in the step itself must be seen as a manifest too.
    let spec = "{manifestSource: {type: K8sManifest, spec: {store: {type: Inline, spec: {content: 'kind: A'}}}}}";
    let Wire::KubernetesApply(apply) = world.step("K8sApply", spec).await else {
        panic!("another step");
    };
    assert_eq!(names(apply.set.as_ref()).0, ["manifestSource.yaml"]);

    let own = "{type: K8sManifest, spec: {store: {type: Harness, spec: {files: [/hello/manifests/service.yaml]}}, valuesPaths: [/hello/values.yaml]}}";
    let spec = format!("{{manifestSource: {own}}}");
    let Wire::KubernetesApply(apply) = world.step("K8sApply", &spec).await else {
        panic!("another step");
    };
    let (manifests, values) = names(apply.set.as_ref());
    assert_eq!(manifests, [MANIFESTS[2]]);
    assert_eq!(values, ["hello/values.yaml"]);

    let spec = "{deleteResources: {type: ManifestPath, spec: {manifestPaths: [configmap.yaml]}}}";
    let Wire::KubernetesDelete(delete) = world.step("K8sDelete", spec).await else {
        panic!("another step");
    };
    let Some(v1::resources::Resources::Manifests(set)) = delete.resources.unwrap().resources else {
        panic!("other resources");
    };
    assert_eq!(names(Some(&set)).0, [MANIFESTS[0]]);
    let spec =
        "{command: restart, resources: {type: ManifestPath, spec: {allManifestPaths: true}}}";
    let Wire::KubernetesRollout(rollout) = world.step("K8sRollout", spec).await else {
        panic!("another step");
    };
    assert_eq!(rollout.command(), v1::RolloutCommand::Restart);
    let Some(v1::resources::Resources::Manifests(set)) = rollout.resources.unwrap().resources
    else {
        panic!("other resources");
    };
    assert_eq!(names(Some(&set)).0, MANIFESTS);

    let Wire::KubernetesDryRun(dry_run) = world.step("K8sDryRun", "{}").await else {
        panic!("another step");
    };
    assert_eq!(names(dry_run.set.as_ref()).0, MANIFESTS);
    let Wire::KubernetesDiff(diff) = world.step("K8sDiff", "{}").await else {
        panic!("another step");
    };
    assert_eq!(names(diff.set.as_ref()).0, MANIFESTS);
    assert_eq!(diff.versioning(), v1::Versioning::ContentHash);

    for (spec, expected) in [
        ("{filePaths: [job.yaml]}", "`job.yaml` is not among"),
        ("{filePaths: ['<+\"../x\">']}", "leaves the folder"),
    ] {
        let (code, message) = world.refusal("K8sApply", spec).await;
        assert_eq!(code, "SRT-S105", "{message}");
        assert!(message.contains(expected), "{message}");
    }
    world.server.stop().await;
}

#[tokio::test]
async fn steps_on_objects_get_their_names_and_numbers() {
    let mut world = World::start().await;
    let spec = "{workload: shop/Deployment/<+pipeline.variables.target>, instanceSelection: {type: Count, spec: {count: 0}}}";
    let Wire::KubernetesScale(scale) = world.step("K8sScale", spec).await else {
        panic!("another step");
    };
    assert_eq!(scale.workload, "shop/Deployment/web");
    let none = Some(v1::amount::Amount::Count(0));
    assert_eq!(scale.to.unwrap().amount, none);
    let spec = "{workload: Deployment/web, instanceSelection: {type: Count, spec: {count: <+pipeline.variables.target>}}}";
    let (code, message) = world.refusal("K8sScale", spec).await;
    assert_eq!(code, "SRT-S105");
    assert!(
        message.contains("count must be a whole number"),
        "{message}"
    );

    let spec = "{workload: Deployment/web, mergeStrategyType: Strategic, recordChangeCause: true, source: {type: Inline, spec: {content: '{spec: {replicas: <+pipeline.variables.share>}}'}}}";
    let Wire::KubernetesPatch(patch) = world.step("K8sPatch", spec).await else {
        panic!("another step");
    };
    assert_eq!(patch.kind(), v1::PatchKind::Strategic);
    assert_eq!(files(&patch.content), ["patch.yaml"]);
    assert!(patch.change_cause && !patch.skip_steady_state_check);

    let spec = "{deleteResources: {type: ResourceName, spec: {resourceNames: [ConfigMap/a, shop/Service/<+pipeline.variables.target>]}}}";
    let Wire::KubernetesDelete(delete) = world.step("K8sDelete", spec).await else {
        panic!("another step");
    };
    let Some(v1::resources::Resources::Names(found)) = delete.resources.unwrap().resources else {
        panic!("other resources");
    };
    assert_eq!(found.names, ["ConfigMap/a", "shop/Service/web"]);
    let spec = "{deleteResources: {type: ReleaseName, spec: {deleteNamespace: true}}}";
    let Wire::KubernetesDelete(delete) = world.step("K8sDelete", spec).await else {
        panic!("another step");
    };
    assert!(delete.delete_namespaces);
    let all = delete.resources.unwrap().resources;
    assert!(matches!(all, Some(v1::resources::Resources::Release(_))));

    let spec = "{command: undo, resources: {type: ReleaseName}, commandFlags: [{commandType: Rollout, flag: --to-revision=2}]}";
    let Wire::KubernetesRollout(rollout) = world.step("K8sRollout", spec).await else {
        panic!("another step");
    };
    assert_eq!(rollout.command(), v1::RolloutCommand::Undo);
    assert_eq!(rollout.to_revision, Some(2));
    world.server.stop().await;
}

#[tokio::test]
async fn routes_are_handed_out_with_every_condition_and_resolved_weights() {
    let mut world = World::start().await;
    let rules = "[{rule: {type: uri, spec: {value: /a, matchType: prefix}}}, {rule: {type: headers, spec: {values: [{key: x, value: '1'}]}}}, {rule: {type: port, spec: {value: 80}}}]";
    let to = "[{destination: {host: stable}}, {destination: {host: canary, weight: <+pipeline.variables.share>, port: 8080}}]";
    let spec = format!(
        "{{type: config, trafficRouting: {{provider: gatewayApi, spec: {{name: <+pipeline.variables.target>, gateways: [infra/main], routes: [{{route: {{type: http, name: r, rules: {rules}, destinations: {to}}}}}]}}}}}}"
    );
    let Wire::KubernetesTrafficRouting(step) = world.step("K8sTrafficRouting", &spec).await else {
        panic!("another step");
    };
    use v1::kubernetes_traffic_routing::Routing;
    let Some(Routing::Config(config)) = step.routing else {
        panic!("no routes in full");
    };
    assert_eq!(config.name, "web");
    let gateways = vec!["infra/main".to_owned()];
    let gateway = v1::GatewayApiProvider {
        gateways,
        ..Default::default()
    };
    assert_eq!(
        config.provider,
        Some(v1::traffic_routes::Provider::GatewayApi(gateway))
    );
    let route = &config.routes[0];
    let text = |value| v1::TextMatch {
        r#match: Some(value),
    };
    let header = v1::HeaderMatch {
        key: "x".to_owned(),
        value: Some(text(v1::text_match::Match::Exact("1".to_owned()))),
    };
    let rules = [
        v1::traffic_rule::Rule::Uri(text(v1::text_match::Match::Prefix("/a".to_owned()))),
        v1::traffic_rule::Rule::Headers(v1::HeaderMatches {
            headers: vec![header],
        }),
        v1::traffic_rule::Rule::Port(80),
    ];
    assert_eq!(
        route.rules,
        rules.map(|rule| v1::TrafficRule { rule: Some(rule) })
    );
    let weights: Vec<_> = route
        .destinations
        .iter()
        .map(|to| (to.host.as_str(), to.weight, to.port))
        .collect();
    assert_eq!(
        weights,
        [("stable", None, None), ("canary", Some(40), Some(8080))]
    );

    let spec = "{type: inherit, trafficRouting: {routes: [{route: {name: r, destinations: [{destination: {host: canary, weight: 5}}]}}]}}";
    let Wire::KubernetesTrafficRouting(step) = world.step("K8sTrafficRouting", spec).await else {
        panic!("another step");
    };
    assert!(matches!(step.routing, Some(Routing::Inherit(weights)) if weights.routes.len() == 1));
    for (provider, expected) in [
        (
            "{provider: smi, spec: {rootService: web, name: n, routes: [ROUTE]}}",
            "smi",
        ),
        (
            "{provider: istio, spec: {delegateService: true, name: n, routes: [ROUTE]}}",
            "istio",
        ),
    ] {
        let route = "{route: {type: http, name: r, destinations: [{destination: {host: a}}]}}";
        let spec = provider.replace("ROUTE", route);
        let spec = format!("{{type: config, trafficRouting: {spec}}}");
        let Wire::KubernetesTrafficRouting(step) = world.step("K8sTrafficRouting", &spec).await
        else {
            panic!("another step");
        };
        let Some(Routing::Config(config)) = step.routing else {
            panic!("no routes in full");
        };
        use v1::traffic_routes::Provider;
        let found = match config.provider.unwrap() {
            Provider::Smi(smi) if smi.root_service == "web" => "smi",
            Provider::Istio(istio) if istio.is_delegate => "istio",
            other => panic!("{other:?}"),
        };
        assert_eq!(found, expected);
    }

    // The same as an option of deployments.
    let to = "[{destination: {host: stable, weight: 80}}, {destination: {host: canary, weight: <+pipeline.variables.share>}}]";
    let spec = format!(
        "{{instanceSelection: {{type: Count, spec: {{count: 1}}}}, trafficRouting: {{provider: gatewayApi, spec: {{name: shop, gateways: [infra/main], routes: [{{route: {{type: http, name: r, destinations: {to}}}}}]}}}}}}"
    );
    let Wire::KubernetesCanaryDeploy(step) = world.step("K8sCanaryDeploy", &spec).await else {
        panic!("another step");
    };
    let routing = step.deployment.unwrap().routing.unwrap().routing;
    let Some(Routing::Config(config)) = routing else {
        panic!("no routes in full");
    };
    assert_eq!(config.routes[0].destinations[1].weight, Some(40));
    let spec = "{trafficRouting: {routes: [{route: {name: r, destinations: [{destination: {host: stage, weight: 5}}]}}]}}";
    let Wire::KubernetesBlueGreenDeploy(step) = world.step("K8sBlueGreenDeploy", spec).await else {
        panic!("another step");
    };
    let routing = step.deployment.unwrap().routing.unwrap().routing;
    assert!(matches!(routing, Some(Routing::Inherit(weights)) if weights.routes.len() == 1));
    world.server.stop().await;
}

const CANARY: (&str, &str) = (
    "K8sCanaryDeploy",
    "{instanceSelection: {type: Count, spec: {count: 1}}}",
);
const SCALE: (&str, &str) = (
    "K8sScale",
    "{workload: Deployment/web, instanceSelection: {type: Count, spec: {count: 1}}}",
);

/// Runs a pipeline whose step `fails` does so, and tells which rollback steps were handed out and which skipped.
async fn rolled_back(
    steps: &[(&str, &str)],
    fails: usize,
    rollback: &[(&str, &str)],
) -> Vec<Option<v1::Task>> {
    let mut world = World::start().await;
    let id = world.run(steps, rollback).await;
    let server = &mut world.server;
    for (index, _) in steps.iter().enumerate().take(fails + 1) {
        let task = server.next_task().await;
        server.accept(&task).await;
        let outputs = format!(r#"{{"releaseNumber": {}}}"#, index + 1);
        match index == fails {
            true => server.fail(&task, "no luck", &outputs).await,
            false => server.succeed(&task, &outputs).await,
        }
    }
    let mut told = Vec::new();
    for index in 0..rollback.len() {
        let path = format!("rollbackSteps.r{index}");
        let skipped = || async {
            let view = server.view(&id).await;
            node(&view, &path)["status"] == "SKIPPED"
        };
        if skipped().await {
            told.push(None);
            continue;
        }
        let task = server.next_task().await;
        assert_eq!(
            task.task.requested_by.as_ref().unwrap().step_id,
            format!("r{index}")
        );
        server.accept(&task).await;
        server.succeed(&task, "{}").await;
        told.push(Some(task.task));
    }
    server.ended(&id).await;
    world.server.stop().await;
    told
}

#[tokio::test]
async fn a_rollback_takes_the_steps_that_have_something_to_undo() {
    let canary = [
        CANARY,
        ("K8sCanaryDelete", "{}"),
        ("K8sRollingDeploy", "{}"),
    ];
    let back = [("K8sCanaryDelete", "{}"), ("K8sRollingRollback", "{}")];
    let told = rolled_back(&canary, 0, &back).await;
    let [Some(delete), None] = &told[..] else {
        panic!("{told:?}");
    };
    assert!(delete.undo_changes);
    let told = rolled_back(&canary, 2, &back).await;
    let [Some(_), Some(rolling)] = &told[..] else {
        panic!("{told:?}");
    };
    let release = rolling.step.as_ref().unwrap().release().unwrap();
    assert_eq!(release.number, Some(3));

    let share = [(
        "K8sCanaryDeploy",
        "{canaryType: Progressive, targetPercentage: 10}",
    )];
    let back = [("K8sProgressiveCanaryRollback", "{}")];
    let told = rolled_back(&share, 0, &back).await;
    assert!(matches!(&told[..], [Some(_)]), "{told:?}");

    let colours = [("K8sBlueGreenDeploy", "{}"), ("K8sBGSwapServices", "{}")];
    let back = [("K8sBGSwapServices", "{}")];
    assert_eq!(rolled_back(&colours, 0, &back).await, [None]);
    let told = rolled_back(&colours, 1, &back).await;
    let [
        Some(v1::Task {
            step: Some(Wire::KubernetesSwapServices(swap)),
            ..
        }),
    ] = &told[..]
    else {
        panic!("{told:?}");
    };
    assert!(swap.back);

    // What a step without a release number has changed is undone although no deployment began.
    let changing = [SCALE, ("K8sRollingDeploy", "{}")];
    let told = rolled_back(&changing, 0, &[("K8sRollingRollback", "{}")]).await;
    let [Some(rolling)] = &told[..] else {
        panic!("{told:?}");
    };
    assert!(rolling.undo_changes);
    assert_eq!(
        rolling.step.as_ref().unwrap().release().unwrap().number,
        None
    );
}

#[tokio::test]
async fn a_type_that_cannot_be_run_yet_is_refused_before_anything_runs() {
    let world = World::start().await;
    let pipeline = pipeline(&[("ShellScript", "{}")], &[]);
    world.server.apply(&pipeline).await;
    let request = json!({"pipeline": "steps"});
    let request = world.server.post("/api/v1/executions", &request);
    support::problem(request.send().await.unwrap(), 422, "SRT-S010").await;
    world.server.stop().await;
}
