//! Routes as the last act of a deployment, and as the first of its end.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sortie_step::task::{Action, Amount, RollingDeploy, Task};
use sortie_strategy::routing::{
    Config, Inherit, InheritedRoute, Protocol, Provider, Route, Routing,
};
use sortie_testkit::{Cluster, Crds, Gateway, Kind, TrafficProbe, TrafficReport};

use crate::canarying::canary;
use crate::coloring::{SERVICE, blue_green};
use crate::progressing::progressive;
use crate::routing::{HTTP_ROUTE, carry, measure, shares, testers, to, weights};
use crate::scaling::in_execution;
use crate::swapping::{SWAP, app};
use crate::world::{World, documents, plain, web};

const LIMIT: Duration = Duration::from_secs(60);
const SPLIT: &str = "split.smi-spec.io/v1alpha4/TrafficSplit";
const VIRTUAL_SERVICE: &str = "networking.istio.io/v1/VirtualService";

fn config(provider: Provider, routes: Vec<Route>) -> Routing {
    Routing::Config(Config {
        provider,
        name: "shop".to_owned(),
        routes,
    })
}

fn istio() -> Provider {
    Provider::Istio {
        hosts: Vec::new(),
        gateways: Vec::new(),
        is_delegate: false,
    }
}

const fn mesh() -> Provider {
    Provider::Smi { root: None }
}

/// Two routes of a mesh to both sides.
pub(crate) fn testers_and_shares() -> Routing {
    config(mesh(), vec![testers(), shares(3, 1)])
}

fn routed(yaml: &str, routing: Routing) -> RollingDeploy {
    RollingDeploy {
        routing: Some(routing),
        ..plain(yaml)
    }
}

fn only_stable() -> Route {
    Route {
        destinations: vec![to("stable", 100)],
        ..shares(0, 0)
    }
}

fn in_rollback(mut task: Task) -> Task {
    task.undo_changes = true;
    task
}

fn backends(rule: &Value) -> Vec<&str> {
    let backends = rule["backendRefs"].as_array().unwrap().iter();
    backends.map(|one| one["name"].as_str().unwrap()).collect()
}

/// A world with version 1 behind a gateway.
async fn behind_a_gateway(
    name: &str,
    deploy: impl Fn(RollingDeploy) -> Action,
) -> (World, Gateway) {
    let world = World::new(name).await;
    let gateway = world.cluster.gateway().await.unwrap();
    let v1 = app(&world.cluster.image("sample-v1").await.unwrap());
    carry(&world, deploy(plain(&v1)), "e1").await.outputs();
    (world, gateway)
}

fn provider(world: &World, gateway: &Gateway) -> Provider {
    Provider::GatewayApi {
        protocol: Protocol::Http,
        hosts: vec![format!("{}.lab", world.namespace.name())],
        gateways: vec![gateway.name.clone()],
    }
}

fn probe(world: &World, gateway: &Gateway, headers: &str) -> TrafficProbe {
    let host = format!("{}.lab", world.namespace.name());
    let address = (gateway.address, gateway.port);
    TrafficProbe::start_with(&world.cluster, address, &host, headers).unwrap()
}

/// A client of version 1, which a route leads to.
async fn from_the_beginning(world: &World, gateway: &Gateway) -> TrafficProbe {
    let before = config(provider(world, gateway), vec![only_stable()]);
    carry(world, Action::TrafficRouting(before), "e1")
        .await
        .outputs();
    let begun = |report: &TrafficReport| report.count("v1") > 0;
    measure(world, gateway, 50, begun).await;
    probe(world, gateway, "")
}

async fn none_failed(mut probe: TrafficProbe) -> TrafficReport {
    let enough = |report: &TrafficReport| report.total >= 1000;
    probe.wait_for(LIMIT, enough).await.unwrap();
    let report = probe.stop().await.unwrap();
    assert_eq!(report.failed, 0, "{:?}", report.failures);
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_gets_its_weight_and_loses_it_before_its_pods() {
    let (world, gateway) = behind_a_gateway("followed", Action::RollingDeploy).await;
    let v2 = app(&world.cluster.image("sample-v2").await.unwrap());
    let provider = || provider(&world, &gateway);
    let all_along = from_the_beginning(&world, &gateway).await;

    let routing = config(provider(), vec![shares(80, 20)]);
    let task = world.task(canary(routed(&v2, routing.clone()), Amount::Count(1)));
    let task = in_execution(task, "e2");
    let told = world.run(&task).await;
    let outputs = told.outputs();
    assert_eq!(outputs["routes"][0]["changed"], true);
    assert_eq!(outputs["routes"][0]["object"]["name"], "shop");
    let copies = outputs["canaryWorkload"].as_str().unwrap();
    assert!(copies.contains("Service/web-canary"), "{copies}");
    assert_eq!(world.run(&task).await.outputs(), outputs);
    let copy = world.get("apps/v1/Deployment", "web-canary").await.unwrap();
    assert_eq!(
        copy["spec"]["selector"]["matchLabels"],
        json!({"app": "web-canary", "sortie.dev/track": "canary"})
    );
    let route = world.get(HTTP_ROUTE, "shop").await.unwrap();
    assert_eq!(weights(&route, 0), [80, 20]);
    // The Service itself leads to nobody but the release.
    let (address, port) = world
        .cluster
        .service(world.namespace.name(), "web")
        .await
        .unwrap();
    let mut inside = TrafficProbe::start(&world.cluster, address, port).unwrap();
    let enough = |report: &TrafficReport| report.total >= 100;
    inside.wait_for(LIMIT, enough).await.unwrap();
    let inside = inside.stop().await.unwrap();
    assert_eq!((inside.failed, inside.count("v2")), (0, 0), "{inside:?}");
    let both = |report: &TrafficReport| report.count("v2") > 0;
    let report = measure(&world, &gateway, 2000, both).await;
    let share = report.count("v2") * 1000 / report.total;
    println!("20 %: {share} of 1000 requests, {} in all", report.total);
    assert_eq!(report.failed, 0, "{:?}", report.failures);
    assert!(share.abs_diff(200) <= 40, "{report:?}");

    // A rollback takes the weight back, then the pods.
    let task = in_rollback(in_execution(world.task(Action::CanaryDelete), "e2"));
    world.run(&task).await.outputs();
    let route = world.get(HTTP_ROUTE, "shop").await.unwrap();
    assert_eq!(backends(&route["spec"]["rules"][0]), ["web"]);
    for (kind, name) in [
        ("apps/v1/Deployment", "web-canary"),
        ("v1/Service", "web-canary"),
    ] {
        assert!(world.get(kind, name).await.is_none(), "{kind}");
    }

    // So does the deletion in the way forward, of conditions too.
    let both_routes = config(provider(), vec![testers(), shares(80, 20)]);
    let again = canary(routed(&v2, both_routes), Amount::Count(1));
    carry(&world, again, "e3").await.outputs();
    let mut chosen = probe(&world, &gateway, "x-tester: yes\r\n");
    chosen.wait_for(LIMIT, both).await.unwrap();
    chosen.stop().await.unwrap();
    let mut chosen = probe(&world, &gateway, "x-tester: yes\r\n");
    chosen.wait_for(LIMIT, enough).await.unwrap();
    let mid = chosen.report();
    assert_eq!((mid.failed, mid.count("v2")), (0, mid.total), "{mid:?}");
    let told = carry(&world, Action::CanaryDelete, "e3").await;
    told.outputs();
    assert!(told.said("gets no requests any more"), "{:?}", told.lines);
    let route = world.get(HTTP_ROUTE, "shop").await.unwrap();
    for rule in route["spec"]["rules"].as_array().unwrap() {
        assert_eq!(backends(rule), ["web"]);
    }
    let chosen = none_failed(chosen).await;
    assert!(chosen.count("v1") > 0, "{chosen:?}");
    let report = none_failed(all_along).await;
    println!("{} requests along the way, none failed", report.total);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_with_a_share_of_the_traffic_loses_it_before_its_pods() {
    let (world, gateway) = behind_a_gateway("followed_stage", blue_green).await;
    let v2 = app(&world.cluster.image("sample-v2").await.unwrap());
    world.swap(SWAP, "e1").await.outputs();
    let provider = || provider(&world, &gateway);
    let all_along = from_the_beginning(&world, &gateway).await;

    let mut some = shares(90, 10);
    some.destinations = vec![to("primary", 90), to("stage", 10)];
    let routing = config(provider(), vec![some]);
    let told = carry(&world, blue_green(routed(&v2, routing)), "e2").await;
    assert_eq!(told.outputs()["routes"][0]["changed"], true);
    let both = |report: &TrafficReport| report.count("v2") > 0;
    let report = measure(&world, &gateway, 500, both).await;
    assert_eq!(report.failed, 0, "{:?}", report.failures);
    let share = report.count("v2") * 100 / report.total;
    assert!(share.abs_diff(10) <= 5, "{report:?}");

    world.scale_down("e2").await.outputs();
    let route = world.get(HTTP_ROUTE, "shop").await.unwrap();
    assert_eq!(weights(&route, 0), [100, 0]);
    assert_eq!(backends(&route["spec"]["rules"][0]), ["web", "web-stage"]);
    none_failed(all_along).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_router_cannot_do_keeps_a_deployment_from_its_first_write() {
    let cluster = Arc::new(Cluster::start(Kind::Kwok).await.unwrap());
    let world = World::on(Arc::clone(&cluster), "followed_refused").await;
    let image = "example.com/web:1";
    let set = |more: &str| documents(&[&web(image, more), SERVICE]);
    world.deploy(plain(&set(""))).await.outputs();
    let v2 = set(", {name: V, value: '2'}");
    let all = || config(mesh(), vec![shares(80, 20)]);
    let deploy = async |yaml: &str, routing: Routing| {
        let action = canary(routed(yaml, routing), Amount::Count(1));
        world.run(&world.task(action)).await
    };
    // No router at all.
    let told = deploy(&v2, all()).await;
    assert_eq!(told.failure().code, "SRT-C004", "{:?}", told.failure());
    for crds in [Crds::Smi, Crds::Istio] {
        cluster.install_crds(crds).await.unwrap();
    }
    let foreign = "apiVersion: split.smi-spec.io/v1alpha4\nkind: TrafficSplit\nmetadata: {name: shop, labels: {app.kubernetes.io/managed-by: flagger}}\nspec: {service: web, backends: [{service: web, weight: 100}]}\n";
    let others = "apiVersion: v1\nkind: Service\nmetadata: {name: web-canary}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n";
    let expressed = v2.replace(
        "matchLabels: {app: web}",
        "matchExpressions: [{key: app, operator: In, values: [web]}]",
    );
    let absent = || {
        let name = "absent".to_owned();
        let destinations = vec![to("canary", 5)];
        let routes = vec![InheritedRoute { name, destinations }];
        Routing::Inherit(Inherit { routes })
    };
    let unselected = v2.replace(
        "selector: {app: web}, ports",
        "selector: {app: other}, ports",
    );
    for (given, yaml, routing, code, text) in [
        ("", &v2, absent(), "SRT-P004", "absent"),
        ("", &expressed, all(), "SRT-T090", "expression"),
        ("", &unselected, all(), "SRT-T090", "reaches no workload"),
        (
            "",
            &documents(&[&v2, others]),
            all(),
            "SRT-T091",
            "web-canary",
        ),
        (foreign, &v2, all(), "SRT-P005", "flagger"),
        (others, &v2, all(), "SRT-T091", "does not belong"),
    ] {
        if !given.is_empty() {
            world.given(given).await;
        }
        let told = deploy(yaml, routing).await;
        let failure = told.failure();
        assert_eq!(failure.code, code, "{failure:?}");
        assert!(failure.message.contains(text), "{failure:?}");
    }
    assert_eq!(world.statuses().await, ["Succeeded"]);
    assert!(
        world
            .get("apps/v1/Deployment", "web-canary")
            .await
            .is_none()
    );

    // One that stands among the pods of the release cannot leave them.
    world
        .kubectl(&["delete", "service", "web-canary"], "")
        .await;
    world.kubectl(&["delete", "trafficsplit", "shop"], "").await;
    let action = canary(plain(&v2), Amount::Count(1));
    world.run(&world.task(action)).await.outputs();
    let told = deploy(&v2, all()).await;
    assert_eq!(told.failure().code, "SRT-T090", "{:?}", told.failure());
    assert!(told.failure().hint.contains("K8sCanaryDelete"));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn meshes_follow_a_canary_and_go_back() {
    let cluster = Arc::new(Cluster::start(Kind::Kwok).await.unwrap());
    for crds in [Crds::Smi, Crds::Istio] {
        cluster.install_crds(crds).await.unwrap();
    }
    let world = World::on(Arc::clone(&cluster), "followed_meshes").await;
    let set = |image: &str| documents(&[&web(image, ""), SERVICE]);
    world
        .deploy(plain(&set("example.com/web:1")))
        .await
        .outputs();
    let v2 = set("example.com/web:2");
    for provider in [istio(), mesh()] {
        let routing = config(provider, vec![shares(3, 1)]);
        let action = canary(routed(&v2, routing), Amount::Count(1));
        carry(&world, action, "e2").await.outputs();
    }
    let route = world.get(VIRTUAL_SERVICE, "shop").await.unwrap();
    let to = |host: &str, weight: u32| json!({"destination": {"host": host}, "weight": weight});
    assert_eq!(
        route["spec"],
        json!({"hosts": ["web"], "http": [{"name": "all", "route": [to("web", 75), to("web-canary", 25)]}]})
    );
    let split = world.get(SPLIT, "shop").await.unwrap();
    assert_eq!(split["spec"]["backends"][1]["weight"], 25);
    // The next canary of the release has no route of its own, and is where the first one's leads.
    let action = canary(plain(&set("example.com/web:3")), Amount::Count(1));
    carry(&world, action, "e3").await.outputs();
    let copy = world.get("apps/v1/Deployment", "web-canary").await.unwrap();
    let labels = &copy["spec"]["template"]["metadata"]["labels"];
    assert_eq!(labels["app"], "web-canary");
    carry(&world, Action::CanaryDelete, "e3").await.outputs();
    let route = world.get(VIRTUAL_SERVICE, "shop").await.unwrap();
    assert_eq!(route["spec"]["http"][0]["route"], json!([to("web", 100)]));
    let split = world.get(SPLIT, "shop").await.unwrap();
    assert_eq!(
        split["spec"]["backends"],
        json!([{"service": "web", "weight": 100}])
    );
    assert!(world.get("v1/Service", "web-canary").await.is_none());

    // What the first execution made goes with its rollback.
    let action = canary(
        routed(&v2, config(mesh(), vec![shares(1, 1)])),
        Amount::Count(1),
    );
    carry(&world, action, "e4").await.outputs();
    let task = in_rollback(in_execution(world.task(Action::CanaryDelete), "e4"));
    world.run(&task).await.outputs();
    let split = world.get(SPLIT, "shop").await.unwrap();
    assert_eq!(
        split["spec"]["backends"],
        json!([{"service": "web", "weight": 100}])
    );
    assert!(
        world
            .get("apps/v1/Deployment", "web-canary")
            .await
            .is_none()
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_that_are_there_follow_a_progressive_canary() {
    let cluster = Arc::new(Cluster::start(Kind::Kwok).await.unwrap());
    cluster.install_crds(Crds::Smi).await.unwrap();
    let mut world = World::on(Arc::clone(&cluster), "followed_steps").await;
    world.limits.settle = Duration::from_secs(1);
    let service = |name: &str, track: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{selector: {{app: web, sortie.dev/track: {track}}}, ports: [{{port: 80}}]}}\n"
        )
    };
    let set = |number: u32| {
        let web = web(&format!("example.com/web:{number}"), "")
            .replace(
                "labels: {app: web}",
                "labels: {app: web, sortie.dev/track: stable}",
            )
            .replace("spec:\n  selector", "spec:\n  replicas: 4\n  selector");
        documents(&[
            &web,
            &service("web", "stable"),
            &service("web-canary", "canary"),
        ])
    };
    world.deploy(plain(&set(1))).await.outputs();
    let split = "apiVersion: split.smi-spec.io/v1alpha4\nkind: TrafficSplit\nmetadata: {name: shop}\nspec: {service: web, backends: [{service: web, weight: 100}, {service: web-canary, weight: 0}]}\n";
    world.given(split).await;
    let weights = async || {
        let split = world.get(SPLIT, "shop").await.unwrap();
        let backends = split["spec"]["backends"].as_array().unwrap().clone();
        let weights = backends.iter().map(|one| one["weight"].as_u64().unwrap());
        weights.collect::<Vec<_>>()
    };
    let own = progressive(routed(&set(2), config(mesh(), vec![shares(1, 1)])), 50);
    let refused = carry(&world, own, "e2").await;
    assert_eq!(refused.failure().code, "SRT-T092");
    let share = async |percent| {
        let action = progressive(plain(&set(2)), percent);
        carry(&world, action, "e2").await.outputs();
    };
    share(50).await;
    assert_eq!(weights().await, [50, 50]);
    let task = in_rollback(in_execution(world.task(Action::ProgressiveRollback), "e2"));
    world.run(&task).await.outputs();
    assert_eq!(weights().await, [100, 0]);
    let copy = world.get("apps/v1/Deployment", "web-canary").await;
    assert!(copy.is_none());
    share(25).await;
    assert_eq!(weights().await, [75, 25]);
    share(100).await;
    assert_eq!(weights().await, [100, 0]);
    let live = world.get("apps/v1/Deployment", "web").await.unwrap();
    let image = &live["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(
        (image, &live["spec"]["replicas"]),
        (&json!("example.com/web:2"), &json!(4))
    );
    world.finish().await;
}
