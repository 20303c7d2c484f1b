//! Routers: real API servers judge what `sortie_strategy::routing` makes, and a real gateway carries requests by it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind, TypeMeta},
    runtime::wait::await_condition,
};
use serde_json::{Value, json};
use sortie_strategy::routing::{
    Config, Destination, Header, How, Inherit, InheritedRoute, Match, Protocol, Provider, Route,
    Rule, Services, changed_fields, configured, inherited, split,
};
use sortie_testkit::{Cluster, Crds, Kind, TestNamespace, TrafficProbe, TrafficReport};

const LIMIT: Duration = Duration::from_secs(90);

fn services() -> Services {
    Services {
        stable: Some("web".to_owned()),
        canary: Some("web-canary".to_owned()),
        ports: [("web".to_owned(), 80), ("web-canary".to_owned(), 80)].into(),
        ..Services::default()
    }
}

fn to(host: &str, weight: u32) -> Destination {
    Destination {
        host: host.to_owned(),
        port: None,
        weight: Some(weight),
    }
}

fn route(name: &str, rules: Vec<Rule>, destinations: Vec<Destination>) -> Route {
    Route {
        name: name.to_owned(),
        rules,
        destinations,
    }
}

fn text(how: How, value: &str) -> Match {
    let value = value.to_owned();
    Match { how, value }
}

fn headers(how: How, key: &str, value: &str) -> Rule {
    let key = key.to_owned();
    let value = text(how, value);
    Rule::Headers(vec![Header { key, value }])
}

fn api(client: &Client, namespace: &str, object: &Value) -> Api<DynamicObject> {
    let types: TypeMeta = serde_json::from_value(object.clone()).unwrap();
    let kind = ApiResource::from_gvk(&GroupVersionKind::try_from(types).unwrap());
    Api::namespaced_with(client.clone(), namespace, &kind)
}

/// Creates an object, with every field checked against its schema; returns it as it is stored.
async fn create(client: &Client, namespace: &str, object: &Value) -> Value {
    let strict = PatchParams {
        field_validation: Some(kube::core::params::ValidationDirective::Strict),
        ..PatchParams::apply("sortie")
    };
    let name = object["metadata"]["name"].as_str().unwrap();
    let applied = api(client, namespace, object)
        .patch(name, &strict, &Patch::Apply(object))
        .await;
    serde_json::to_value(applied.unwrap_or_else(|error| panic!("{error}: {object}"))).unwrap()
}

async fn change(client: &Client, namespace: &str, live: &Value, wanted: &Value) -> Value {
    let operations = changed_fields(live, wanted);
    assert!(!operations.is_empty(), "nothing changes: {live}");
    let patch: Patch<Value> = Patch::Json(serde_json::from_value(json!(operations)).unwrap());
    let control = PatchParams {
        field_manager: Some("sortie-control".to_owned()),
        ..PatchParams::default()
    };
    let name = live["metadata"]["name"].as_str().unwrap();
    let changed = api(client, namespace, live)
        .patch(name, &control, &patch)
        .await;
    let changed = changed.unwrap_or_else(|error| panic!("{error}: {wanted}"));
    serde_json::to_value(changed).unwrap()
}

/// All conditions that each provider has, on two routes.
fn everything(provider: Provider, rules: Vec<Rule>) -> Config {
    let some = route("some", rules, vec![to("canary", 1)]);
    let all = route("all", Vec::new(), vec![to("stable", 80), to("canary", 20)]);
    Config {
        provider,
        name: "shop".to_owned(),
        routes: vec![some, all],
    }
}

#[tokio::test]
async fn what_is_made_for_each_router_is_taken_as_it_is() {
    let cluster = Cluster::start(Kind::Kwok).await.unwrap();
    let crds = [Crds::GatewayApi, Crds::Istio, Crds::Smi];
    for one in crds.into_iter().chain(crds) {
        cluster.install_crds(one).await.unwrap();
    }
    let client = cluster.client().await.unwrap();
    let uri = |how| Rule::Uri(text(how, "/shop.Cart/Add"));
    let gateway = |protocol| Provider::GatewayApi {
        protocol,
        hosts: vec!["web.lab".to_owned()],
        gateways: vec!["infra/gw".to_owned()],
    };
    let istio = |is_delegate| Provider::Istio {
        hosts: Vec::new(),
        gateways: vec!["infra/gw".to_owned()],
        is_delegate,
    };
    let simple = vec![
        uri(How::Exact),
        uri(How::Prefix),
        uri(How::Regex),
        Rule::Method(text(How::Exact, "OPTION")),
        headers(How::Exact, "x-user", "ann"),
        headers(How::Prefix, "x-user", "test."),
        headers(How::Regex, "x-user", "a|b"),
    ];
    let calls = vec![
        uri(How::Exact),
        Rule::Uri(text(How::Prefix, "/shop.Cart/")),
        headers(How::Prefix, "x-user", "test."),
    ];
    let mut all = simple.clone();
    all.extend([
        Rule::Port(8080),
        Rule::Scheme(text(How::Regex, "https?")),
        Rule::Authority(text(How::Prefix, "beta.")),
        Rule::Method(text(How::Prefix, "P")),
    ]);
    let mut kinds = Vec::new();
    for (name, config) in [
        ("http", everything(gateway(Protocol::Http), simple.clone())),
        ("grpc", everything(gateway(Protocol::Grpc), calls)),
        ("istio", everything(istio(false), all.clone())),
        ("delegate", everything(istio(true), all)),
        ("smi", everything(Provider::Smi { root: None }, simple)),
    ] {
        let namespace = cluster.namespace(name).await.unwrap();
        let place = namespace.name();
        let made = configured(&config, &services(), place, &[]).unwrap();
        let mut live = Vec::new();
        for object in &made {
            let stored = create(&client, place, object).await;
            // Nothing was dropped, and defaults are there already.
            assert_eq!(stored["spec"], object["spec"]);
            live.push(stored);
        }
        assert_eq!(
            configured(&config, &services(), place, &live).unwrap(),
            live
        );
        let routes = live.iter().filter(|one| one["kind"] != "HTTPRouteGroup");
        let routes: Vec<Value> = routes.cloned().collect();
        let half = InheritedRoute {
            name: "all".to_owned(),
            destinations: vec![to("canary", 50)],
        };
        let inherit = Inherit { routes: vec![half] };
        for wanted in inherited(&inherit, &services(), &routes).unwrap() {
            let before = routes
                .iter()
                .find(|one| one["metadata"]["name"] == wanted["metadata"]["name"]);
            let now = change(&client, place, before.unwrap(), &wanted).await;
            assert_eq!(now["spec"], wanted["spec"]);
        }
        kinds.extend(
            live.iter()
                .map(|one| one["kind"].as_str().unwrap().to_owned()),
        );
        namespace.finish().await.unwrap();
    }
    kinds.sort_unstable();
    kinds.dedup();
    let expected = [
        "GRPCRoute",
        "HTTPRoute",
        "HTTPRouteGroup",
        "TrafficSplit",
        "VirtualService",
    ];
    assert_eq!(kinds, expected);
    let namespace = cluster.namespace("subsets").await.unwrap();
    let of = |kind: &str, spec: Value| json!({"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": "web"}, "spec": spec});
    let subset = |name: &str| json!({"name": name, "labels": {"track": name}});
    let subsets = json!([subset("stable"), subset("canary")]);
    let rule = of(
        "DestinationRule",
        json!({"host": "web", "subsets": subsets}),
    );
    create(&client, namespace.name(), &rule).await;
    let to = |subset: &str, weight: u32| json!({"destination": {"host": "web", "subset": subset}, "weight": weight});
    let http = json!([{"route": [to("stable", 100), to("canary", 0)]}]);
    let service = of("VirtualService", json!({"hosts": ["web"], "http": http}));
    let live = create(&client, namespace.name(), &service).await;
    assert_eq!(live["spec"], service["spec"]);
    let wanted = split(&live, &Services::default(), 25).unwrap();
    change(&client, namespace.name(), &live, &wanted).await;
    namespace.finish().await.unwrap();
}

/// The gateway has taken the route at its present generation.
async fn accepted(namespace: &TestNamespace, route: &Value) {
    let routes = api(&namespace.client(), namespace.name(), route);
    let name = route["metadata"]["name"].as_str().unwrap();
    let is_accepted = |route: Option<&DynamicObject>| {
        route.is_some_and(|route| {
            let parents = route
                .data
                .pointer("/status/parents")
                .and_then(Value::as_array);
            let mut conditions = parents
                .into_iter()
                .flatten()
                .filter_map(|parent| parent["conditions"].as_array())
                .flatten();
            conditions.any(|one| {
                one["type"] == "Accepted"
                    && one["status"] == "True"
                    && one["observedGeneration"].as_i64() == route.metadata.generation
            })
        })
    };
    let watched = await_condition(routes, name, is_accepted);
    tokio::time::timeout(LIMIT, watched).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_shares_requests_by_weight() {
    let cluster = Cluster::shared().await.unwrap();
    let gateway = cluster.gateway().await.unwrap();
    let namespace = cluster.namespace("gateway").await.unwrap();
    for (name, image) in [("web", "sample-v1"), ("web-canary", "sample-v2")] {
        let image = cluster.image(image).await.unwrap();
        namespace.serve(name, &image).await.unwrap();
    }
    let host = format!("{}.lab", namespace.name());
    let config = Config {
        provider: Provider::GatewayApi {
            protocol: Protocol::Http,
            hosts: vec![host.clone()],
            gateways: vec![gateway.name.clone()],
        },
        name: "shop".to_owned(),
        routes: vec![route(
            "all",
            Vec::new(),
            vec![to("stable", 100), to("canary", 0)],
        )],
    };
    let made = configured(&config, &services(), namespace.name(), &[]).unwrap();
    let mut live = create(&namespace.client(), namespace.name(), &made[0]).await;
    accepted(&namespace, &live).await;
    let start = || TrafficProbe::start_for(&cluster, gateway.address, gateway.port, &host).unwrap();
    let mut probe = start();
    let is_open = |report: &TrafficReport| report.count("v1") > 0;
    probe.wait_for(LIMIT, is_open).await.unwrap();
    probe.stop().await.unwrap();
    for percent in [0_u32, 20, 100] {
        let wanted = split(&live, &services(), percent).unwrap();
        if percent > 0 {
            live = change(&namespace.client(), namespace.name(), &live, &wanted).await;
            accepted(&namespace, &live).await;
        }
        // Accepted is not yet in force: Envoy is told a moment later.
        let mut probe = start();
        let is_in_force = |report: &TrafficReport| match percent {
            0 => report.total > 0,
            _ => report.count("v2") > 0,
        };
        probe.wait_for(LIMIT, is_in_force).await.unwrap();
        let settling = probe.stop().await.unwrap();
        assert_eq!(settling.failed, 0, "{:?}", settling.failures);
        let mut probe = start();
        let wanted = if percent == 20 { 2000 } else { 200 };
        let counted = probe.wait_for(LIMIT, |report| report.total >= wanted).await;
        counted.unwrap();
        let report = probe.stop().await.unwrap();
        assert_eq!(report.failed, 0, "{:?}", report.failures);
        let share = report.count("v2") * 1000 / report.total;
        let asked = u64::from(percent) * 10;
        let slack = if percent == 20 { 40 } else { 0 };
        println!(
            "{percent} %: {share} of 1000 requests, {} in all",
            report.total
        );
        assert!(share.abs_diff(asked) <= slack, "{percent} %: {report:?}");
    }
    namespace.finish().await.unwrap();
}
