use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;

pub(super) fn services() -> Services {
    Services {
        stable: Some("web".to_owned()),
        canary: Some("web-canary".to_owned()),
        ports: [("web", 80), ("web-canary", 80), ("other", 8080)]
            .map(|(name, port)| (name.to_owned(), port))
            .into(),
        ..Services::default()
    }
}

pub(super) fn to(host: &str, weight: impl Into<Option<u32>>) -> Destination {
    Destination {
        host: host.to_owned(),
        port: None,
        weight: weight.into(),
    }
}

pub(super) fn route(name: &str, rules: Vec<Rule>, destinations: Vec<Destination>) -> Route {
    Route {
        name: name.to_owned(),
        rules,
        destinations,
    }
}

pub(super) fn text(how: How, value: &str) -> Match {
    Match {
        how,
        value: value.to_owned(),
    }
}

pub(super) fn header(how: How, key: &str, value: &str) -> Rule {
    Rule::Headers(vec![Header {
        key: key.to_owned(),
        value: text(how, value),
    }])
}

pub(super) fn config(provider: Provider, routes: Vec<Route>) -> Config {
    Config {
        provider,
        name: "shop".to_owned(),
        routes,
    }
}

pub(super) fn gateway() -> Provider {
    Provider::GatewayApi {
        protocol: Protocol::Http,
        hosts: vec!["web.lab".to_owned()],
        gateways: vec!["infra/gw".to_owned()],
    }
}

pub(super) fn istio() -> Provider {
    Provider::Istio {
        hosts: Vec::new(),
        gateways: vec!["infra/gw".to_owned()],
        is_delegate: false,
    }
}

pub(super) const SMI: Provider = Provider::Smi { root: None };

fn both() -> Vec<Route> {
    let testers = vec![header(How::Prefix, "x-user", "test.")];
    vec![
        route("testers", testers, vec![to("canary", 1)]),
        route("all", Vec::new(), vec![to("stable", 3), to("canary", 1)]),
    ]
}

pub(super) fn one(config: &Config, live: &[Value]) -> Value {
    let mut objects = configured(config, &services(), "default", live).unwrap();
    assert_eq!(objects.len(), 1);
    objects.remove(0)
}

/// An HTTPRoute as somebody wrote it, with backends of these weights.
pub(super) fn written(backends: &[(&str, Option<u32>)]) -> Value {
    let backends: Vec<Value> = backends
        .iter()
        .map(|(name, weight)| {
            let mut backend = json!({"name": name, "port": 80});
            if let Some(weight) = weight {
                backend["weight"] = (*weight).into();
            }
            backend
        })
        .collect();
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "shop", "namespace": "default", "annotations": {"note": "mine"}},
        "spec": {
            "parentRefs": [{"name": "gw"}],
            "rules": [
                {"matches": [{"path": {"type": "PathPrefix", "value": "/static"}}], "backendRefs": [{"name": "files", "port": 80}]},
                {"timeouts": {"request": "3s"}, "backendRefs": backends},
            ],
        },
    })
}

pub(super) fn weights(object: &Value, rules: &str, backends: &str) -> Vec<u64> {
    let list = object.pointer(rules).unwrap().get(backends).unwrap();
    let list = list.as_array().unwrap().iter();
    list.map(|one| one["weight"].as_u64().unwrap()).collect()
}

#[test]
fn a_gateway_route_is_made_with_shares_and_conditions() {
    let object = one(&config(gateway(), both()), &[]);
    assert_eq!(
        object,
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {"name": "shop", "namespace": "default", "annotations": {ROUTES: r#"["testers","all"]"#}},
            "spec": {
                "parentRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "infra", "name": "gw"}],
                "hostnames": ["web.lab"],
                "rules": [
                    {
                        "matches": [{
                            "path": {"type": "PathPrefix", "value": "/"},
                            "headers": [{"type": "RegularExpression", "name": "x-user", "value": r"test\..*"}],
                        }],
                        "backendRefs": [{"group": "", "kind": "Service", "name": "web-canary", "port": 80, "weight": 100}],
                    },
                    {
                        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                        "backendRefs": [
                            {"group": "", "kind": "Service", "name": "web", "port": 80, "weight": 75},
                            {"group": "", "kind": "Service", "name": "web-canary", "port": 80, "weight": 25},
                        ],
                    },
                ],
            },
        })
    );
    let split = split(&object, &services(), 60).unwrap();
    assert_eq!(weights(&split, "/spec/rules/0", "backendRefs"), [100]);
    assert_eq!(weights(&split, "/spec/rules/1", "backendRefs"), [40, 60]);
    // Asked for again, nothing changes; asked for otherwise, all of it does.
    let again = one(&config(gateway(), both()), std::slice::from_ref(&object));
    assert_eq!(changed_fields(&object, &again), Vec::<Value>::new());
    let all = route(
        "all",
        Vec::new(),
        vec![to("stable", None), to("other", None)],
    );
    let changed = one(&config(gateway(), vec![all]), std::slice::from_ref(&object));
    assert_eq!(weights(&changed, "/spec/rules/0", "backendRefs"), [50, 50]);
    assert_eq!(changed["spec"]["rules"].as_array().unwrap().len(), 1);
    assert_eq!(changed["metadata"]["annotations"][ROUTES], r#"["all"]"#);
    let paths: Vec<Value> = changed_fields(&object, &changed)
        .iter()
        .map(|operation| operation["path"].clone())
        .collect();
    assert_eq!(
        paths,
        ["/spec/rules", "/metadata/annotations/sortie.dev~1routes"]
    );
}

#[test]
fn in_a_route_that_somebody_wrote_rules_come_first_and_weights_change() {
    let live = written(&[
        ("web", Some(90)),
        ("web-canary", Some(10)),
        ("other", Some(7)),
    ]);
    let shares = vec![to("stable", 50), to("canary", 50)];
    let mut routes = both();
    routes[1].destinations = shares;
    let edited = one(
        &config(gateway(), routes.clone()),
        std::slice::from_ref(&live),
    );
    let rules = edited["spec"]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 3);
    assert_eq!(rules[0]["backendRefs"][0]["name"], "web-canary");
    assert_eq!(rules[1], live["spec"]["rules"][0]);
    assert_eq!(
        weights(&edited, "/spec/rules/2", "backendRefs"),
        [50, 50, 7]
    );
    assert_eq!(edited["spec"]["parentRefs"], live["spec"]["parentRefs"]);
    // Again, with the added rule there.
    assert_eq!(
        one(&config(gateway(), routes), std::slice::from_ref(&edited)),
        edited
    );
    // A rule that leads to the canary alone keeps doing so.
    let split = split(&edited, &services(), 10).unwrap();
    assert_eq!(split["spec"]["rules"][0], rules[0]);
    assert_eq!(weights(&split, "/spec/rules/2", "backendRefs"), [90, 10, 7]);
    assert_eq!(canary_share(&split, &services()), Some(10));
    assert_eq!(without_added(&split).unwrap(), live);
}

#[test]
fn virtual_services_lead_to_hosts_and_subsets() {
    let mut routes = both();
    routes[0].rules.extend([
        Rule::Uri(text(How::Regex, "/v[12]/.*")),
        Rule::Method(text(How::Exact, "OPTION")),
        Rule::Port(8080),
        Rule::Scheme(text(How::Exact, "https")),
        Rule::Authority(text(How::Prefix, "beta.")),
    ]);
    let object = one(&config(istio(), routes), &[]);
    assert_eq!(
        object["spec"],
        json!({
            "hosts": ["web"],
            "gateways": ["infra/gw"],
            "http": [
                {
                    "name": "testers",
                    "match": [
                        {"headers": {"x-user": {"prefix": "test."}}},
                        {"uri": {"regex": "/v[12]/.*"}},
                        {"method": {"exact": "OPTIONS"}},
                        {"port": 8080},
                        {"scheme": {"exact": "https"}},
                        {"authority": {"prefix": "beta."}},
                    ],
                    "route": [{"destination": {"host": "web-canary"}, "weight": 100}],
                },
                {
                    "name": "all",
                    "route": [
                        {"destination": {"host": "web"}, "weight": 75},
                        {"destination": {"host": "web-canary"}, "weight": 25},
                    ],
                },
            ],
        })
    );
    // Subsets have the words as names; hosts may be written at length.
    let live = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "shop", "namespace": "default"},
        "spec": {"hosts": ["web"], "http": [{"route": [{"destination": {"host": "web.default.svc.cluster.local"}}]}]},
    });
    let mut subsets = live.clone();
    let host = "web.default.svc.cluster.local";
    subsets["spec"]["http"][0]["route"] = json!([
        {"destination": {"host": host, "subset": "stable"}, "weight": 100},
        {"destination": {"host": host, "subset": "canary"}, "weight": 0},
    ]);
    let shifted = split(&subsets, &Services::default(), 30).unwrap();
    assert_eq!(
        shifted["spec"]["http"][0]["route"],
        json!([
            {"destination": {"host": "web.default.svc.cluster.local", "subset": "stable"}, "weight": 70},
            {"destination": {"host": "web.default.svc.cluster.local", "subset": "canary"}, "weight": 30},
        ])
    );
    let long = json!([
        {"destination": {"host": "web.default.svc.cluster.local"}, "weight": 100},
        {"destination": {"host": "web-canary.default"}, "weight": 0},
    ]);
    let mut hosts = live;
    hosts["spec"]["http"][0]["route"] = long;
    let hosts = split(&hosts, &services(), 40).unwrap();
    assert_eq!(weights(&hosts, "/spec/http/0", "route"), [60, 40]);
}

#[test]
fn a_mesh_interface_gets_a_split_and_a_group_for_each_route() {
    let mut routes = both();
    routes[0].rules.extend([
        Rule::Uri(text(How::Exact, "/a.b")),
        Rule::Method(text(How::Exact, "GET")),
    ]);
    let config = config(SMI, routes);
    let made = configured(&config, &services(), "default", &[]).unwrap();
    let names: Vec<String> = objects(&config, "default")
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        names,
        [
            "HTTPRouteGroup/default/shop-testers",
            "TrafficSplit/default/shop-testers",
            "TrafficSplit/default/shop-all"
        ]
    );
    assert_eq!(
        made.iter()
            .map(|one| one["spec"].clone())
            .collect::<Vec<_>>(),
        [
            json!({"matches": [
                {"name": "testers-1", "headers": [{"x-user": r"test\..*"}], "methods": ["*"]},
                {"name": "testers-2", "pathRegex": r"/a\.b", "methods": ["*"]},
                {"name": "testers-3", "methods": ["GET"]},
            ]}),
            json!({"service": "web", "backends": [{"service": "web-canary", "weight": 100}],
                "matches": [{"kind": "HTTPRouteGroup", "name": "shop-testers"}]}),
            json!({"service": "web", "backends": [
                {"service": "web", "weight": 75}, {"service": "web-canary", "weight": 25}]}),
        ]
    );
    assert_eq!(
        configured(&config, &services(), "default", &made).unwrap(),
        made
    );
    let all = InheritedRoute {
        name: "all".to_owned(),
        destinations: vec![to("canary", 60)],
    };
    let shifted = inherited(&Inherit { routes: vec![all] }, &services(), &made[1..]).unwrap();
    assert_eq!(shifted.len(), 1);
    assert_eq!(weights(&shifted[0], "/spec", "backends"), [40, 60]);
}

#[test]
fn inherited_weights_change_what_is_named_and_the_others_share_the_rest() {
    let three = [
        ("web", Some(60)),
        ("web-canary", Some(30)),
        ("other", Some(10)),
    ];
    let shift = |destinations: Vec<Destination>, live: &Value| {
        let name = "main".to_owned();
        let routes = vec![InheritedRoute { name, destinations }];
        inherited(&Inherit { routes }, &services(), std::slice::from_ref(live))
    };
    for (destinations, expected) in [
        (vec![to("stable", 40)], [40, 45, 15]),
        (vec![to("web", 40), to("canary", 60)], [40, 60, 0]),
        // More than everything: among themselves.
        (vec![to("stable", 100), to("canary", 100)], [50, 50, 0]),
        (
            vec![to("stable", 1), to("canary", 2), to("other", 1)],
            [25, 50, 25],
        ),
    ] {
        let shifted = shift(destinations, &written(&three)).unwrap();
        assert_eq!(
            weights(&shifted[0], "/spec/rules/1", "backendRefs"),
            expected
        );
        assert_eq!(
            shifted[0]["spec"]["rules"][0],
            written(&three)["spec"]["rules"][0]
        );
    }
    let missing = shift(vec![to("nobody", 40)], &written(&three));
    assert!(matches!(missing, Err(RoutingError::NoSuchRoute { .. })));
    let none = shift(vec![to("stable", None)], &written(&three));
    assert!(matches!(none, Err(RoutingError::Incomplete { .. })));
    // By the name of a route that a step made.
    let made = one(&config(gateway(), both()), &[]);
    let named = InheritedRoute {
        name: "all".to_owned(),
        destinations: vec![to("canary", 80)],
    };
    let routes = vec![named];
    let shifted = inherited(
        &Inherit { routes },
        &services(),
        std::slice::from_ref(&made),
    );
    let shifted = shifted.unwrap().remove(0);
    assert_eq!(weights(&shifted, "/spec/rules/0", "backendRefs"), [100]);
    assert_eq!(weights(&shifted, "/spec/rules/1", "backendRefs"), [20, 80]);
}

#[test]
fn what_a_router_cannot_do_is_refused() {
    let exact = |value| text(How::Exact, value);
    let grpc = || Provider::GatewayApi {
        protocol: Protocol::Grpc,
        hosts: Vec::new(),
        gateways: vec!["gw".to_owned()],
    };
    for (provider, rule) in [
        (gateway(), Rule::Port(80)),
        (gateway(), Rule::Scheme(exact("https"))),
        (gateway(), Rule::Authority(exact("web.lab"))),
        (gateway(), Rule::Method(text(How::Regex, "G.*"))),
        (grpc(), Rule::Method(exact("POST"))),
        (grpc(), Rule::Uri(text(How::Regex, ".*"))),
        (grpc(), Rule::Uri(text(How::Prefix, "/shop.Ca"))),
        (grpc(), Rule::Port(80)),
        (SMI, Rule::Port(80)),
        (SMI, Rule::Scheme(exact("https"))),
        (SMI, Rule::Authority(exact("web.lab"))),
        (SMI, Rule::Method(text(How::Prefix, "P"))),
    ] {
        let asked = config(
            provider,
            vec![route("r", vec![rule.clone()], vec![to("stable", 1)])],
        );
        let refused = configured(&asked, &services(), "default", &[]).unwrap_err();
        let expected = matches!(&refused, RoutingError::Unsupported { rule: told, .. } if *told == rule.name());
        assert!(
            expected && refused.code() == "SRT-P001",
            "{asked:?} {refused:?}"
        );
        assert!(!refused.advice().is_empty());
    }
    let rules = [
        (
            Rule::Uri(exact("/shop.Cart/Add")),
            json!({"type": "Exact", "service": "shop.Cart", "method": "Add"}),
        ),
        (
            Rule::Uri(text(How::Prefix, "/shop.Cart/")),
            json!({"type": "Exact", "service": "shop.Cart"}),
        ),
    ];
    for (rule, expected) in rules {
        let asked = config(grpc(), vec![route("r", vec![rule], vec![to("stable", 1)])]);
        let object = one(&asked, &[]);
        assert_eq!(object["kind"], "GRPCRoute");
        assert_eq!(object["spec"]["rules"][0]["matches"][0]["method"], expected);
    }
}

#[test]
fn what_is_incomplete_is_told() {
    let asked =
        |provider, destinations| config(provider, vec![route("r", Vec::new(), destinations)]);
    let nothing = Services::default();
    let nowhere = Provider::GatewayApi {
        protocol: Protocol::Http,
        hosts: Vec::new(),
        gateways: Vec::new(),
    };
    for (asked, services, code) in [
        (
            asked(gateway(), vec![to("canary", 1)]),
            &nothing,
            "SRT-P002",
        ),
        (
            asked(gateway(), vec![to("unknown", 1)]),
            &services(),
            "SRT-P002",
        ),
        (
            asked(gateway(), vec![to("web.shop", 1)]),
            &services(),
            "SRT-P001",
        ),
        (
            asked(nowhere, vec![to("stable", 1)]),
            &services(),
            "SRT-P003",
        ),
        (
            asked(gateway(), vec![to("stable", 0)]),
            &services(),
            "SRT-P003",
        ),
        (asked(gateway(), Vec::new()), &services(), "SRT-P003"),
        (asked(istio(), vec![to("web", 1)]), &nothing, "SRT-P003"),
        (asked(SMI, vec![to("web", 1)]), &nothing, "SRT-P003"),
        (config(SMI, Vec::new()), &services(), "SRT-P003"),
    ] {
        let refused = configured(&asked, services, "default", &[]).unwrap_err();
        assert_eq!(refused.code(), code, "{asked:?} {refused}");
    }
    // Shares that cannot be told beside another backend's weight.
    let live = written(&[
        ("web", Some(1)),
        ("web-canary", Some(1)),
        ("other", Some(2)),
    ]);
    let coarse = split(&live, &services(), 20).unwrap_err();
    assert!(
        matches!(coarse, RoutingError::Coarse { whole: 2, .. }),
        "{coarse:?}"
    );
    assert!(split(&live, &services(), 50).is_ok());
}

#[test]
fn a_route_that_others_manage_is_told() {
    let with = |metadata: Value| {
        let mut route = written(&[("web", None)]);
        for (key, value) in metadata.as_object().unwrap() {
            route["metadata"][key] = value.clone();
        }
        manager(&route, "me")
    };
    let wrote = |manager: &str, field: &str| json!([{"manager": manager, "fieldsV1": {"f:spec": {field: {}}}}]);
    for (metadata, expected) in [
        (json!({}), None),
        (
            json!({"managedFields": wrote("kubectl-client-side-apply", "f:rules")}),
            None,
        ),
        (
            json!({"managedFields": wrote("sortie-control", "f:rules")}),
            None,
        ),
        (
            json!({"managedFields": wrote("flagger", "f:rules")}),
            Some("flagger"),
        ),
        (
            json!({"managedFields": wrote("external-dns", "f:hostnames")}),
            None,
        ),
        (
            json!({"managedFields": wrote("flagger", "f:rules"), "annotations": {"harness.io/managed": "true"}}),
            None,
        ),
        (
            json!({"ownerReferences": [{"kind": "Canary", "name": "web", "controller": true}]}),
            Some("Canary/web"),
        ),
        (
            json!({"labels": {"app.kubernetes.io/managed-by": "Helm"}}),
            Some("Helm"),
        ),
        (
            json!({"labels": {"app.kubernetes.io/managed-by": "Helm", "sortie.dev/release": "me"}}),
            None,
        ),
        (
            json!({"labels": {"sortie.dev/release": "you"}}),
            Some("another release of Sortie"),
        ),
    ] {
        assert_eq!(with(metadata.clone()).as_deref(), expected, "{metadata}");
    }
}

#[test]
fn whoever_gets_more_requests_is_known() {
    let names = |all: BTreeSet<String>| all.into_iter().collect::<Vec<_>>();
    let live = written(&[("web", Some(90)), ("web-canary", Some(10)), ("x", Some(0))]);
    let more = split(&live, &services(), 40).unwrap();
    assert_eq!(names(gaining(Some(&live), &more)), ["web-canary"]);
    assert_eq!(names(gaining(Some(&more), &live)), ["web"]);
    assert_eq!(names(gaining(Some(&live), &live)), Vec::<String>::new());
    assert_eq!(names(gaining(None, &more)), ["files", "web", "web-canary"]);
    let istio = one(&config(istio(), both()), &[]);
    assert_eq!(names(gaining(None, &istio)), ["web", "web-canary"]);
    let mut elsewhere = live;
    elsewhere["spec"]["rules"][1]["backendRefs"][0]["namespace"] = "other".into();
    assert_eq!(names(gaining(None, &elsewhere)), ["files", "web-canary"]);
}
