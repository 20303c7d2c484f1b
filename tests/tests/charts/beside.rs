//! Every step beside the rolling deployment, so that the audit log knows what they ask for.

use std::time::Duration;

use sortie_cluster::watch::{Selection, Watched};
use sortie_render::SourceFile;
use sortie_step::task::{
    Action, Amount, Apply, BlueGreenDeploy, CanaryDeploy, Delete, Patch, PatchKind, Resources,
    RollingDeploy, RollingRollback, Rollout, RolloutCommand, Scale, Set, Source, StageScaleDown,
    StageScaleUp, SwapServices,
};

use sortie_strategy::routing::{
    Config, Destination, How, Match, Protocol, Provider, Route, Routing, Rule,
};

use crate::steps::{Steps, succeeded};

/// A workload behind a Service, with what follows its pods.
const BEHIND: &str = "
apiVersion: v1
kind: Service
metadata: {name: NAME}
spec: {selector: {app: NAME}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: NAME}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: NAME}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}, annotations: {note: TEXT}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - {name: web, image: IMAGE, imagePullPolicy: IfNotPresent, env: [{name: DRAIN, value: '0'}], readinessProbe: {httpGet: {path: /ready, port: 8080}, periodSeconds: 1}}
";

fn source(text: &str) -> Vec<Source> {
    let file = SourceFile::new("app.yaml", text.as_bytes());
    vec![Source::Inline(vec![file])]
}

fn set(text: &str) -> Set {
    Set {
        manifests: source(text),
        ..Set::default()
    }
}

fn deployment(name: &str, text: &str, image: &str) -> RollingDeploy {
    let text = BEHIND.replace("NAME", name).replace("TEXT", text);
    RollingDeploy {
        manifests: source(&text.replace("IMAGE", image)),
        ..RollingDeploy::default()
    }
}

/// Canaries and colours, each on a release of its own.
pub(crate) async fn strategies(steps: &Steps, image: &str) {
    let run = async |release: &str, action: Action| {
        succeeded(&steps.run_on(release, action).await);
    };
    let first = deployment("canaried", "one", image);
    run("canary", Action::RollingDeploy(first)).await;
    let canary = CanaryDeploy {
        deploy: deployment("canaried", "two", image),
        instances: Amount::Count(1),
    };
    run("canary", Action::CanaryDeploy(canary)).await;
    run("canary", Action::CanaryDelete).await;

    let swap = SwapServices {
        settle: Duration::ZERO,
        patience: Duration::from_secs(60),
        back: false,
    };
    for text in ["one", "two"] {
        let deploy = BlueGreenDeploy {
            deploy: deployment("coloured", text, image),
            skip_unchanged: true,
        };
        run("colours", Action::BlueGreenDeploy(deploy)).await;
        run("colours", Action::SwapServices(swap)).await;
    }
    run("colours", Action::StageScaleDown(StageScaleDown::default())).await;
    run("colours", Action::StageScaleUp(StageScaleUp::default())).await;
}

/// Routes of every kind, as a step and with a canary, and back. Returns watches of them, to be kept.
pub(crate) async fn routes(steps: &Steps, (image, gateway): (&str, &str)) -> Vec<Watched> {
    let run = async |action: Action| succeeded(&steps.run_on("routed", action).await);
    run(Action::RollingDeploy(deployment("routed", "one", image))).await;
    let gateway = |protocol| Provider::GatewayApi {
        protocol,
        hosts: vec![format!("{protocol:?}.charts.lab").to_lowercase()],
        gateways: vec![gateway.to_owned()],
    };
    let istio = Provider::Istio {
        hosts: Vec::new(),
        gateways: Vec::new(),
        is_delegate: false,
    };
    let http = gateway(Protocol::Http);
    for provider in [
        gateway(Protocol::Grpc),
        istio,
        Provider::Smi { root: None },
        http.clone(),
    ] {
        let routing = Routing::Config(config(provider, &[("stable", 100)]));
        run(Action::TrafficRouting(routing)).await;
        let rollback = Action::RollingRollback(RollingRollback::default());
        succeeded(&steps.undo_on("routed", rollback).await);
    }
    let mut deploy = deployment("routed", "two", image);
    let shares = config(http, &[("stable", 90), ("canary", 10)]);
    deploy.routing = Some(Routing::Config(shares));
    let instances = Amount::Count(1);
    run(Action::CanaryDeploy(CanaryDeploy { deploy, instances })).await;
    run(Action::CanaryDelete).await;
    assert!(
        steps.said("gets no requests any more"),
        "the route goes back"
    );
    let rollback = Action::RollingRollback(RollingRollback::default());
    succeeded(&steps.undo_on("routed", rollback).await);
    // What a router has taken before anybody looks is not watched.
    let mut watches = Vec::new();
    for (group, kind) in [
        ("gateway.networking.k8s.io", "GRPCRoute"),
        ("gateway.networking.k8s.io", "HTTPRoute"),
        ("networking.istio.io", "VirtualService"),
        ("split.smi-spec.io", "TrafficSplit"),
        ("specs.smi-spec.io", "HTTPRouteGroup"),
    ] {
        let resource = steps.cluster().resolve_preferred(group, kind).await;
        let selection = Selection::of(resource.unwrap(), steps.namespace());
        watches.push(steps.cluster().watch(selection).await.unwrap());
    }
    watches
}

fn config(provider: Provider, destinations: &[(&str, u32)]) -> Config {
    let to = |(host, weight): &(&str, u32)| Destination {
        host: (*host).to_owned(),
        port: None,
        weight: Some(*weight),
    };
    let path = Match {
        how: How::Exact,
        value: "/charts.Rights/Used".to_owned(),
    };
    let route = |name: &str, rules| Route {
        name: name.to_owned(),
        rules,
        destinations: destinations.iter().map(to).collect(),
    };
    Config {
        provider,
        name: "routed".to_owned(),
        routes: vec![
            route("some", vec![Rule::Uri(path)]),
            route("all", Vec::new()),
        ],
    }
}

/// Steps without a release number, on the objects of the release `shop` and on one of their own.
pub(crate) async fn single(steps: &Steps) {
    let run = async |action: Action| succeeded(&steps.run_on("shop", action).await);
    let names = |names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned());
        Resources::Names(names.collect())
    };
    for workload in [
        "StatefulSet/web",
        "ReplicaSet/web-set",
        "Deployment/web",
        "ReplicationController/web",
    ] {
        let scale = Scale {
            workload: workload.to_owned(),
            to: Amount::Count(0),
            skip_steady_state_check: false,
        };
        run(Action::Scale(scale)).await;
    }
    let patch = Patch {
        workload: "ConfigMap/web".to_owned(),
        kind: PatchKind::Merge,
        content: source("data: {patched: 'true'}\n"),
        context: serde_json::Value::Null,
        change_cause: true,
        skip_steady_state_check: false,
    };
    run(Action::Patch(patch)).await;
    let note =
        |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n");
    let apply = |name: &str| Apply {
        set: set(&note(name)),
        skip_steady_state_check: false,
    };
    run(Action::Apply(apply("applied"))).await;
    run(Action::DryRun(set(&note("tried")))).await;
    for command in [
        RolloutCommand::Restart,
        RolloutCommand::Status,
        RolloutCommand::Undo { to_revision: None },
        RolloutCommand::History,
    ] {
        let resources = names(&["Deployment/web", "StatefulSet/web", "DaemonSet/web"]);
        run(Action::Rollout(Rollout { command, resources })).await;
    }
    for command in [RolloutCommand::Pause, RolloutCommand::Resume] {
        let resources = names(&["Deployment/web"]);
        run(Action::Rollout(Rollout { command, resources })).await;
    }
    let delete = Delete {
        resources: names(&["ConfigMap/applied"]),
        delete_namespaces: false,
    };
    run(Action::Delete(delete)).await;

    // What one execution has done, and the undoing.
    run(Action::Apply(apply("undone"))).await;
    let rollback = Action::RollingRollback(RollingRollback::default());
    succeeded(&steps.undo_on("shop", rollback).await);
    assert!(steps.said("undone"), "a rollback tells what it undoes");
}
