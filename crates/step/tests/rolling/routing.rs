//! Routing traffic: through a real gateway, and by objects of other routers on a real API server.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sortie_step::task::Action;
use sortie_strategy::routing::{
    Config, Destination, Header, How, Inherit, InheritedRoute, Match, Protocol, Provider, Route,
    Routing, Rule,
};
use sortie_testkit::{Cluster, Crds, Gateway, Kind, TrafficProbe, TrafficReport};

use crate::progressing::many;
use crate::scaling::{in_execution, roll_back};
use crate::world::{Told, World, documents, plain, web};

const LIMIT: Duration = Duration::from_secs(60);
pub(crate) const HTTP_ROUTE: &str = "gateway.networking.k8s.io/v1/HTTPRoute";

pub(crate) fn to(host: &str, weight: u32) -> Destination {
    Destination {
        host: host.to_owned(),
        port: None,
        weight: Some(weight),
    }
}

pub(crate) fn shares(stable: u32, canary: u32) -> Route {
    Route {
        name: "all".to_owned(),
        rules: Vec::new(),
        destinations: vec![to("stable", stable), to("canary", canary)],
    }
}

pub(crate) fn testers() -> Route {
    let value = Match {
        how: How::Exact,
        value: "yes".to_owned(),
    };
    let key = "x-tester".to_owned();
    Route {
        name: "testers".to_owned(),
        rules: vec![Rule::Headers(vec![Header { key, value }])],
        destinations: vec![to("canary", 1)],
    }
}

fn config(provider: Provider, routes: Vec<Route>) -> Action {
    Action::TrafficRouting(Routing::Config(Config {
        provider,
        name: "shop".to_owned(),
        routes,
    }))
}

fn inherit(route: &str, destinations: Vec<Destination>) -> Action {
    let name = route.to_owned();
    let routes = vec![InheritedRoute { name, destinations }];
    Action::TrafficRouting(Routing::Inherit(Inherit { routes }))
}

/// Two routes of a mesh, to Services that nobody has to have.
pub(crate) fn mesh() -> Config {
    let mut routes = vec![testers(), shares(1, 1)];
    for one in routes.iter_mut().flat_map(|route| &mut route.destinations) {
        one.host = one
            .host
            .replace("stable", "web")
            .replace("canary", "web-canary");
    }
    let root = Some("web".to_owned());
    Config {
        provider: Provider::Smi { root },
        name: "shop".to_owned(),
        routes,
    }
}

fn service(name: &str, app: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  selector: {{app: {app}}}\n  ports: [{{port: 80, targetPort: 8080}}]\n"
    )
}

/// Stable and canary as one release, each with its Service.
fn release(stable: &str, canary: &str) -> String {
    let canary = web(canary, "").replace("{name: web}", "{name: web-canary}");
    let canary = canary.replace("{app: web}", "{app: web-canary}");
    documents(&[
        &web(stable, ""),
        &canary,
        &service("web", "web"),
        &service("web-canary", "web-canary"),
    ])
}

pub(crate) async fn carry(world: &World, action: Action, execution: &str) -> Told {
    world
        .run(&in_execution(world.task(action), execution))
        .await
}

pub(crate) fn weights(route: &Value, rule: usize) -> Vec<u64> {
    let backends = &route["spec"]["rules"][rule]["backendRefs"];
    let backends = backends.as_array().unwrap().iter();
    backends
        .map(|one| one["weight"].as_u64().unwrap())
        .collect()
}

/// Sends requests through the gateway until the newest weights are in force, then counts.
pub(crate) async fn measure(
    world: &World,
    gateway: &Gateway,
    requests: u64,
    in_force: impl Fn(&TrafficReport) -> bool,
) -> TrafficReport {
    let host = format!("{}.lab", world.namespace.name());
    let start = || {
        let Gateway { address, port, .. } = gateway;
        TrafficProbe::start_for(&world.cluster, *address, *port, &host).unwrap()
    };
    let mut probe = start();
    probe.wait_for(LIMIT, in_force).await.unwrap();
    probe.stop().await.unwrap();
    let mut probe = start();
    let enough = |report: &TrafficReport| report.total >= requests;
    probe.wait_for(LIMIT, enough).await.unwrap();
    probe.stop().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_are_in_force_and_go_back_with_the_execution() {
    let world = World::new("routing").await;
    let gateway = world.cluster.gateway().await.unwrap();
    let stable = world.cluster.image("sample-v1").await.unwrap();
    let canary = world.cluster.image("sample-v2").await.unwrap();
    world
        .deploy(plain(&release(&stable, &canary)))
        .await
        .outputs();
    let provider = || Provider::GatewayApi {
        protocol: Protocol::Http,
        hosts: vec![format!("{}.lab", world.namespace.name())],
        gateways: vec![gateway.name.clone()],
    };
    let first = in_execution(world.task(config(provider(), vec![shares(100, 0)])), "e1");
    let told = world.run(&first).await;
    assert_eq!(told.outputs()["routes"][0]["changed"], true);
    let route = world.get(HTTP_ROUTE, "shop").await.unwrap();
    assert_eq!(weights(&route, 0), [100, 0]);
    assert!(!route["metadata"]["labels"]["sortie.dev/release"].is_null());
    // The gateway has taken it before the step ended.
    let accepted = route.pointer("/status/parents/0/conditions/0").unwrap();
    assert_eq!(
        accepted["observedGeneration"],
        route["metadata"]["generation"]
    );
    let begun = |report: &TrafficReport| report.count("v1") > 0;
    let report = measure(&world, &gateway, 200, begun).await;
    assert_eq!((report.failed, report.count("v2")), (0, 0), "{report:?}");
    let waited = |kind: &str| told.rows.iter().any(|row| row.id.kind == kind);
    assert!(waited("HTTPRoute") && waited("Gateway"), "{:?}", told.rows);
    let again = world.run(&first).await;
    assert_eq!(again.outputs(), told.outputs());

    let told = carry(&world, inherit("all", vec![to("canary", 20)]), "e2").await;
    assert!(told.said("configured"), "{:?}", told.lines);
    told.outputs();
    let route = world.get(HTTP_ROUTE, "shop").await.unwrap();
    assert_eq!(weights(&route, 0), [80, 20]);
    let fields = route["metadata"]["managedFields"].as_array().unwrap();
    let writes = |entry: &&Value| !entry["fieldsV1"]["f:spec"]["f:rules"].is_null();
    let writer = fields.iter().find(writes).unwrap();
    assert_eq!(writer["manager"], "sortie-control");
    let both = |report: &TrafficReport| report.count("v2") > 0;
    let report = measure(&world, &gateway, many().max(2_000), both).await;
    assert_eq!(report.failed, 0, "{:?}", report.failures);
    let (hundredths, of) = (report.count("v2") * 100, report.total);
    assert!(hundredths.abs_diff(20 * of) <= 4 * of, "{report:?}");

    // A second step of the execution, with a rule before the others; then all of the execution is undone.
    let both_routes = vec![testers(), shares(50, 50)];
    carry(&world, config(provider(), both_routes), "e2")
        .await
        .outputs();
    let route = world.get(HTTP_ROUTE, "shop").await.unwrap();
    assert_eq!(
        (weights(&route, 0), weights(&route, 1)),
        (vec![100], vec![50, 50])
    );
    roll_back(&world, "e2").await.outputs();
    let route = world.get(HTTP_ROUTE, "shop").await.unwrap();
    assert_eq!(weights(&route, 0), [100, 0]);
    assert_eq!(route["spec"]["rules"].as_array().unwrap().len(), 1);
    assert_eq!(
        route["metadata"]["annotations"]["sortie.dev/routes"],
        r#"["all"]"#
    );

    // A gateway that nobody has: the route is never taken.
    let nowhere = Provider::GatewayApi {
        protocol: Protocol::Http,
        hosts: Vec::new(),
        gateways: vec!["nobody".to_owned()],
    };
    let mut task = in_execution(world.task(config(nowhere, vec![shares(1, 1)])), "e4");
    task.timeout = Duration::from_secs(8);
    let told = world.run(&task).await;
    assert!(
        told.failure().message.contains("nobody"),
        "{:?}",
        told.failure()
    );
    roll_back(&world, "e4").await.outputs();
    let route = world.get(HTTP_ROUTE, "shop").await.unwrap();
    assert_eq!(route["spec"]["parentRefs"][0]["name"], "gw");

    // What an execution made goes with it.
    let mut other = config(provider(), vec![shares(1, 1)]);
    if let Action::TrafficRouting(Routing::Config(config)) = &mut other {
        config.name = "other".to_owned();
        let Provider::GatewayApi { hosts, .. } = &mut config.provider else {
            panic!("another provider");
        };
        *hosts = vec![format!("other.{}.lab", world.namespace.name())];
    }
    carry(&world, other, "e3").await.outputs();
    assert!(world.get(HTTP_ROUTE, "other").await.is_some());
    roll_back(&world, "e3").await.outputs();
    assert!(world.get(HTTP_ROUTE, "other").await.is_none());
    assert!(world.get(HTTP_ROUTE, "shop").await.is_some());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_routed_is_refused_before_the_first_write() {
    let cluster = Arc::new(Cluster::start(Kind::Kwok).await.unwrap());
    let world = World::on(Arc::clone(&cluster), "routing_refused").await;
    let image = "example.com/web:1";
    world.deploy(plain(&release(image, image))).await.outputs();
    let istio = || Provider::Istio {
        hosts: Vec::new(),
        gateways: Vec::new(),
        is_delegate: false,
    };
    let smi = || Provider::Smi { root: None };
    let gateway = |name: &str| Provider::GatewayApi {
        protocol: Protocol::Http,
        hosts: Vec::new(),
        gateways: vec![name.to_owned()],
    };
    // No router at all.
    for provider in [istio(), smi(), gateway("gw")] {
        let told = carry(&world, config(provider, vec![shares(1, 1)]), "e").await;
        assert_eq!(told.failure().code, "SRT-C004", "{:?}", told.failure());
    }
    let told = carry(&world, inherit("all", vec![to("canary", 1)]), "e").await;
    assert_eq!(told.failure().code, "SRT-P004", "{:?}", told.failure());
    for crds in [Crds::GatewayApi, Crds::Istio, Crds::Smi] {
        cluster.install_crds(crds).await.unwrap();
    }
    world
        .given(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: shop, labels: {app.kubernetes.io/managed-by: flagger}}\nspec:\n  hosts: [web]\n  http: [{route: [{destination: {host: web}, weight: 100}, {destination: {host: web-canary}, weight: 0}]}]\n",
        )
        .await;
    let port = |port| {
        let mut route = shares(1, 1);
        route.rules.push(Rule::Port(port));
        route
    };
    let unknown = |host: &str| {
        let mut route = shares(1, 1);
        route.destinations = vec![to(host, 1)];
        route
    };
    for (action, code, text) in [
        (config(istio(), vec![shares(1, 1)]), "SRT-P005", "flagger"),
        (config(smi(), vec![port(80)]), "SRT-P001", "port"),
        (config(gateway("gw"), vec![port(80)]), "SRT-P001", "port"),
        (
            config(gateway("gw"), vec![unknown("absent")]),
            "SRT-P002",
            "absent",
        ),
        (config(smi(), vec![shares(0, 0)]), "SRT-P003", "all"),
        (
            inherit("nothing", vec![to("absent", 1)]),
            "SRT-P004",
            "nothing",
        ),
    ] {
        let told = carry(&world, action, "e").await;
        let failure = told.failure();
        assert_eq!(failure.code, code, "{failure:?}");
        assert!(failure.message.contains(text), "{failure:?}");
    }
    // Its selector matches nothing: whoever waits for pods behind it waits in vain.
    world.given(&service("empty", "nobody")).await;
    let mut task = world.task(config(smi(), vec![unknown("empty")]));
    task.timeout = Duration::from_secs(5);
    let told = world.run(&task).await;
    let failure = told.failure();
    assert!(
        failure
            .message
            .contains("Service/empty had no ready endpoint"),
        "{failure:?}"
    );
    for kind in ["httproutes", "trafficsplits", "httproutegroups"] {
        let there = world.kubectl(&["get", kind, "-o", "name"], "").await;
        assert_eq!(there.trim(), "", "{kind}");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_keeps_the_weights_of_steps() {
    let cluster = Arc::new(Cluster::start(Kind::Kwok).await.unwrap());
    cluster.install_crds(Crds::Istio).await.unwrap();
    let world = World::on(Arc::clone(&cluster), "routing_kept").await;
    let image = "example.com/web:1";
    let route = |weights: [u32; 2]| {
        let [stable, canary] = weights;
        format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: shop}}\nspec:\n  hosts: [web]\n  http:\n    - route: [{{destination: {{host: web}}, weight: {stable}}}, {{destination: {{host: web-canary}}, weight: {canary}}}]\n"
        )
    };
    let set = |weights| plain(&documents(&[&release(image, image), &route(weights)]));
    let shares = async || {
        let live = world
            .get("networking.istio.io/v1/VirtualService", "shop")
            .await;
        let live = live.unwrap();
        let route = live
            .pointer("/spec/http/0/route")
            .unwrap()
            .as_array()
            .unwrap();
        let weight = |one: &Value| one.get("weight").and_then(Value::as_u64).unwrap_or(0);
        [weight(&route[0]), weight(&route[1])]
    };
    world.deploy(set([100, 0])).await.outputs();
    world.deploy(set([90, 10])).await.outputs();
    assert_eq!(shares().await, [90, 10], "nobody has routed yet");
    let shift = |canary| inherit("all", vec![to("canary", canary)]);
    carry(&world, shift(30), "e1").await.outputs();
    assert_eq!(shares().await, [70, 30]);
    let told = world.deploy(set([90, 10])).await;
    assert!(told.said("keeps the weights"), "{:?}", told.lines);
    world.deploy(set([80, 20])).await.outputs();
    assert_eq!(shares().await, [70, 30]);
    // Given back, the route is the manifest's.
    carry(&world, shift(20), "e2").await.outputs();
    world.deploy(set([100, 0])).await.outputs();
    assert_eq!(shares().await, [100, 0]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn meshes_are_routed_and_go_back_alike() {
    let cluster = Arc::new(Cluster::start(Kind::Kwok).await.unwrap());
    for crds in [Crds::Istio, Crds::Smi] {
        cluster.install_crds(crds).await.unwrap();
    }
    let mut world = World::on(Arc::clone(&cluster), "routing_meshes").await;
    let image = "example.com/web:1";
    world.deploy(plain(&release(image, image))).await.outputs();
    // A route that somebody wrote, and lets deployments change.
    let written = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: shop, annotations: {harness.io/managed: \"true\"}}\nspec:\n  hosts: [web]\n  http:\n    - {match: [{uri: {prefix: /static}}], route: [{destination: {host: files}}]}\n    - {retries: {attempts: 3}, route: [{destination: {host: web}, weight: 90}, {destination: {host: web-canary}, weight: 10}, {destination: {host: third}, weight: 0}]}\n";
    world.given(written).await;
    let service = "networking.istio.io/v1/VirtualService";
    let before = world.get(service, "shop").await.unwrap();
    let istio = Provider::Istio {
        hosts: Vec::new(),
        gateways: Vec::new(),
        is_delegate: false,
    };
    let action = config(istio, vec![testers(), shares(60, 40)]);
    let task = in_execution(world.task(action), "e1");
    world.run(&task).await.outputs();
    let after = world.get(service, "shop").await.unwrap();
    let http = after["spec"]["http"].as_array().unwrap();
    assert_eq!(http.len(), 3);
    assert_eq!(http[0]["name"], "testers");
    assert_eq!(http[1], before["spec"]["http"][0]);
    let shared: Vec<&Value> = http[2]["route"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["weight"])
        .collect();
    assert_eq!(shared, [60, 40, 0]);
    assert_eq!(http[2]["retries"], json!({"attempts": 3}));
    // The same task again writes nothing.
    let version = &after["metadata"]["resourceVersion"];
    world.run(&task).await.outputs();
    let again = world.get(service, "shop").await.unwrap();
    assert_eq!(again["metadata"]["resourceVersion"], *version);

    let mesh = config(Provider::Smi { root: None }, vec![testers(), shares(3, 1)]);
    carry(&world, mesh, "e1").await.outputs();
    let split = "split.smi-spec.io/v1alpha4/TrafficSplit";
    let all = world.get(split, "shop-all").await.unwrap();
    assert_eq!(
        all["spec"]["backends"][1],
        json!({"service": "web-canary", "weight": 25})
    );
    // An account that may not look at the other router's objects.
    let admin = world.api.clone();
    let all_of =
        |group: &str| format!("{{apiGroups: ['{group}'], resources: ['*'], verbs: ['*']}}");
    let groups = ["", "coordination.k8s.io", "split.smi-spec.io"].map(all_of);
    world.with_rights(&format!("[{}]", groups.join(", "))).await;
    let told = carry(&world, inherit("all", vec![to("canary", 100)]), "e1").await;
    told.outputs();
    assert!(
        told.said("no right to look for a VirtualService"),
        "{:?}",
        told.lines
    );
    world.api = admin;
    let all = world.get(split, "shop-all").await.unwrap();
    assert_eq!(all["spec"]["backends"][1]["weight"], 100);

    roll_back(&world, "e1").await.outputs();
    let restored = world.get(service, "shop").await.unwrap();
    assert_eq!(restored["spec"], before["spec"]);
    assert_eq!(
        restored["metadata"]["annotations"],
        before["metadata"]["annotations"]
    );
    for kind in ["trafficsplits", "httproutegroups"] {
        let there = world.kubectl(&["get", kind, "-o", "name"], "").await;
        assert_eq!(there.trim(), "", "{kind}");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_over_grpc_follow_the_weights_of_their_route() {
    const GRPC_ROUTE: &str = "gateway.networking.k8s.io/v1/GRPCRoute";
    let world = World::new("routing_grpc").await;
    let gateway = world.cluster.gateway().await.unwrap();
    let stable = world.cluster.image("sample-v1").await.unwrap();
    let canary = world.cluster.image("sample-v2").await.unwrap();
    let set = release(&stable, &canary).replace(
        "targetPort: 8080",
        "targetPort: 8080, appProtocol: kubernetes.io/h2c",
    );
    world.deploy(plain(&set)).await.outputs();
    let host = format!("{}.lab", world.namespace.name());
    let provider = Provider::GatewayApi {
        protocol: Protocol::Grpc,
        hosts: vec![host.clone()],
        gateways: vec![gateway.name.clone()],
    };
    let told = carry(&world, config(provider, vec![shares(100, 0)]), "e1").await;
    assert_eq!(told.outputs()["routes"][0]["changed"], true);
    let waited = |kind: &str| told.rows.iter().any(|row| row.id.kind == kind);
    assert!(waited("GRPCRoute") && waited("Gateway"), "{:?}", told.rows);
    let start = || {
        let to = (gateway.address, gateway.port);
        TrafficProbe::start_grpc(&world.cluster, to, &host).unwrap()
    };
    // The first calls may come before the gateway knows the host.
    let mut first = start();
    let known = first.wait_for(LIMIT, |report| report.count("v1") > 0);
    known.await.unwrap();
    first.stop().await.unwrap();
    let mut probe = start();
    for percent in [20, 60, 100, 0] {
        let shift = inherit("all", vec![to("canary", percent)]);
        carry(&world, shift, "e2").await.outputs();
        let route = world.get(GRPC_ROUTE, "shop").await.unwrap();
        let percent = u64::from(percent);
        assert_eq!(weights(&route, 0), [100 - percent, percent]);
        let before = probe.report();
        let enough = |report: &TrafficReport| report.total >= before.total + many() / 4;
        let after = probe.wait_for(LIMIT, enough).await.unwrap();
        let calls = after.total - before.total;
        let canary = after.count("v2") - before.count("v2");
        // Some were called before the newest weights were in force.
        let apart = (canary * 100).abs_diff(percent * calls);
        assert!(apart <= 25 * calls, "{percent} %: {canary} of {calls}");
    }
    let report = probe.stop().await.unwrap();
    assert_eq!(report.failed, 0, "{:?}", report.failures);
    assert!(report.total >= many(), "{report:?}");
    world.finish().await;
}
