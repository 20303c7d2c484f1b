//! `make bench NAME=weights`: how near the share of requests comes to the weight of a route, and how soon.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::future::try_join_all;
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};
use sortie_strategy::routing::{
    Config, Destination, Protocol, Provider, Route, Services, changed_fields, configured, split,
};
use sortie_testkit::{Cluster, Gateway, TestNamespace, TrafficProbe, TrafficReport};
use sortie_tests::bench::Bench;
use tokio::time::Instant;

/// Requests for one weight, by so many clients at the same time.
const REQUESTS: u64 = 20_000;
const CLIENTS: u64 = 4;
const LIMIT: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let gateway = cluster.gateway().await?;
    let namespace = cluster.namespace("bench-weights").await?;
    for (name, image) in [("web", "sample-v1"), ("web-canary", "sample-v2")] {
        let image = cluster.image(image).await?;
        namespace.serve(name, &image).await?;
    }
    let mut bench = Bench::new("weights");
    measure(&cluster, &gateway, &namespace, &mut bench).await?;
    bench.report()?;
    namespace.finish().await
}

async fn measure(
    cluster: &Cluster,
    gateway: &Gateway,
    namespace: &TestNamespace,
    bench: &mut Bench,
) -> Result<()> {
    let host = format!("{}.lab", namespace.name());
    let start = || TrafficProbe::start_for(cluster, gateway.address, gateway.port, &host);
    let mut live = make_route(gateway, namespace, &host).await?;
    let mut probe = start()?;
    probe
        .wait_for(LIMIT, |report| report.count("v1") > 0)
        .await?;
    probe.stop().await?;
    let (mut in_force, mut failed) = (Vec::new(), 0);
    for percent in [1_u32, 10, 20, 50] {
        // From the other version alone, so that its first answer tells when the weight is in force.
        live = shift(namespace, &live, 0).await?;
        let mut probe = start()?;
        let seen = loop {
            let before = probe.report();
            let more = |now: &TrafficReport| now.total >= before.total + 300;
            let now = probe.wait_for(LIMIT, more).await?;
            if now.count("v2") == before.count("v2") {
                break now.count("v2");
            }
        };
        let began = Instant::now();
        live = shift(namespace, &live, percent).await?;
        probe
            .wait_for(LIMIT, |report| report.count("v2") > seen)
            .await?;
        if percent >= 10 {
            in_force.push(began.elapsed().as_secs_f64() * 1000.0);
        }
        probe.stop().await?;
        let clients = (0..CLIENTS).map(|_| async {
            let mut probe = start()?;
            let enough = |report: &TrafficReport| report.total >= REQUESTS / CLIENTS;
            probe.wait_for(LIMIT, enough).await?;
            probe.stop().await
        });
        let reports = try_join_all(clients).await?;
        let sum = |of: fn(&TrafficReport) -> u64| reports.iter().map(of).sum::<u64>();
        let (total, new) = (sum(|it| it.total), sum(|it| it.count("v2")));
        failed += sum(|it| it.failed);
        #[expect(clippy::cast_precision_loss, reason = "some thousands of requests")]
        let points = (new as f64 * 100.0 / total as f64 - f64::from(percent)).abs();
        let what = format!("weight {percent}: off by, of {total} requests");
        bench.median(&what, &[points], "points", Some(1.0));
    }
    bench.median("from the patch to the first request", &in_force, "ms", None);
    #[expect(clippy::cast_precision_loss, reason = "some thousands of requests")]
    bench.median("failed requests", &[failed as f64], "", Some(0.0));
    Ok(())
}

fn services() -> Services {
    Services {
        stable: Some("web".to_owned()),
        canary: Some("web-canary".to_owned()),
        ports: [("web".to_owned(), 80), ("web-canary".to_owned(), 80)].into(),
        ..Services::default()
    }
}

fn routes(namespace: &TestNamespace) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute");
    let kind = ApiResource::from_gvk(&kind);
    Api::namespaced_with(namespace.client(), namespace.name(), &kind)
}

async fn make_route(gateway: &Gateway, namespace: &TestNamespace, host: &str) -> Result<Value> {
    let to = |host: &str, weight| Destination {
        host: host.to_owned(),
        port: None,
        weight: Some(weight),
    };
    let config = Config {
        provider: Provider::GatewayApi {
            protocol: Protocol::Http,
            hosts: vec![host.to_owned()],
            gateways: vec![gateway.name.clone()],
        },
        name: "web".to_owned(),
        routes: vec![Route {
            name: "all".to_owned(),
            rules: Vec::new(),
            destinations: vec![to("stable", 1), to("canary", 0)],
        }],
    };
    let made = configured(&config, &services(), namespace.name(), &[])?;
    let made = made.first().context("no route was made")?;
    let route = routes(namespace)
        .patch("web", &PatchParams::apply("sortie"), &Patch::Apply(made))
        .await
        .context("make the route")?;
    serde_json::to_value(route).context("read the route")
}

/// The route with the canary's percentage in it.
async fn shift(namespace: &TestNamespace, live: &Value, percent: u32) -> Result<Value> {
    let operations = changed_fields(live, &split(live, &services(), percent)?);
    let patch = serde_json::from_value(json!(operations)).context("make a patch")?;
    let patched = routes(namespace)
        .patch("web", &PatchParams::default(), &Patch::<Value>::Json(patch))
        .await
        .context("change the weights")?;
    serde_json::to_value(patched).context("read the route")
}
