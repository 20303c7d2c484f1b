//! No pods of a side go while a rule of any route leads to them: subsets of a mesh, Services of any name, and routes that
//! nobody may look at.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sortie_step::task::{Action, Amount};
use sortie_strategy::routing::{Config, Provider, Routing};
use sortie_testkit::Crds;

use crate::canarying::canary;
use crate::coloring::SERVICE;
use crate::crashing::ground::Ground;
use crate::progressing::progressive;
use crate::routing::{shares, testers};
use crate::swapping::SWAP;
use crate::world::{Log, Told, World, documents, plain, web};

const MESH: &str = "networking.istio.io/v1/VirtualService";
const DEPLOYMENT: &str = "apps/v1/Deployment";

/// The pods of both sides are told apart by their track, and the Service has all of them.
fn app(version: &str) -> String {
    let web = web(&format!("example.com/web:{version}"), "").replace(
        "metadata: {labels: {app: web}}",
        "metadata: {labels: {app: web, sortie.dev/track: stable}}",
    );
    let web = web.replacen("spec:\n", "spec:\n  replicas: 2\n", 1);
    documents(&[&web, SERVICE])
}

/// Each side has a Service.
fn apart(version: &str) -> String {
    let service = |name: &str, track: &str| {
        let service = SERVICE.replace("name: web}", &format!("name: {name}}}"));
        service.replace(
            "selector: {app: web}",
            &format!("selector: {{app: web, sortie.dev/track: {track}}}"),
        )
    };
    let web = app(version).replace(SERVICE, "");
    documents(&[
        web.trim_end_matches("\n---\n"),
        &service("web", "stable"),
        &service("web-canary", "canary"),
    ])
}

fn subsets(key: &str, of: [&str; 2]) -> String {
    let [one, two] = of;
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: web}}\nspec:\n  host: everything\n  subsets: [{{name: one, labels: {{{key}: {one}}}}}, {{name: two, labels: {{{key}: {two}}}}}]\n---\n{}",
        SERVICE.replace("name: web}", "name: everything}")
    )
}

/// A route that somebody wrote, with these destinations in each of its rules: host, subset, weight.
fn mesh(rules: &[&[(&str, Option<&str>, u32)]]) -> String {
    let rules: Vec<Value> = rules
        .iter()
        .map(|rule| {
            let route: Vec<Value> = rule
                .iter()
                .map(|(host, subset, weight)| {
                    let mut destination = json!({"host": host});
                    if let Some(subset) = subset {
                        destination["subset"] = (*subset).into();
                    }
                    json!({"destination": destination, "weight": weight})
                })
                .collect();
            json!({"route": route})
        })
        .collect();
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "shop"}, "spec": {"hosts": ["web"], "http": rules},
    })
    .to_string()
}

struct Meshed {
    world: World,
    _ground: Arc<Ground>,
}

impl Meshed {
    async fn new(test: &str) -> Self {
        let ground = Ground::shared().await;
        ground.cluster.install_crds(Crds::Istio).await.unwrap();
        let world = World::on(ground.cluster.clone(), test).await;
        Self {
            world,
            _ground: ground,
        }
    }

    async fn weights(&self, rule: usize) -> Vec<u64> {
        let live = self.world.get(MESH, "shop").await.unwrap();
        let route = live["spec"]["http"][rule]["route"].clone();
        let weight = |one: &Value| one["weight"].as_u64().unwrap_or(0);
        route.as_array().unwrap().iter().map(weight).collect()
    }

    /// It is refused with this code and these words, and the pods stay.
    async fn refused(&self, action: Action, code: &str, words: &[&str], workload: &str) {
        let version = |live: Option<Value>| live.unwrap()["metadata"]["resourceVersion"].clone();
        let head = self.world.heads().await.pop().unwrap();
        let route = version(self.world.get(MESH, "shop").await);
        let told = self.world.of_execution(action, "e9").await;
        let failure = told.failure();
        assert_eq!(failure.code, code, "{failure:?}");
        let text = format!("{} {}", failure.message, failure.hint);
        for word in words {
            assert!(text.contains(word), "{word}: {failure:?}");
        }
        let live = self.world.get(DEPLOYMENT, workload).await.unwrap();
        assert!(live["spec"]["replicas"].as_u64().unwrap() > 0);
        assert_eq!(version(self.world.get(MESH, "shop").await), route);
        let after = self.world.heads().await.pop().unwrap();
        assert_eq!(after.number, head.number);
        assert_eq!(after.journal.len(), head.journal.len(), "nothing was noted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_goes_once_no_subset_leads_to_it() {
    let meshed = Meshed::new("leaving_subsets").await;
    let world = &meshed.world;
    world.deploy(plain(&app("1"))).await.outputs();
    let deploy = async |execution: &str| {
        let action = canary(plain(&app("2")), Amount::Count(1));
        world
            .of_execution(action, execution)
            .await
            .outputs()
            .clone()
    };
    deploy("e1").await;
    world
        .given(&subsets("sortie.dev/track", ["stable", "canary"]))
        .await;
    world
        .given(&mesh(&[&[
            ("everything", Some("one"), 80),
            ("everything", Some("two"), 20),
        ]]))
        .await;
    let told = world.of_execution(Action::CanaryDelete, "e1").await;
    assert_eq!(told.outputs()["canaryDeleted"], true);
    assert!(told.said("may still be on their way"), "{:?}", told.lines);
    assert_eq!(meshed.weights(0).await, [100, 0]);

    // Rules that somebody wrote, with nobody beside the canary.
    deploy("e2").await;
    let only = &[("everything", Some("two"), 100)][..];
    world.given(&mesh(&[only])).await;
    let words = [
        "rule 1",
        "shop",
        "canary",
        "second backend",
        "sortie.dev/preview",
    ];
    let delete = || Action::CanaryDelete;
    meshed
        .refused(delete(), "SRT-T121", &words, "web-canary")
        .await;
    // A Service of any name leads there by what it selects.
    world
        .given(&SERVICE.replace("name: web}", "name: anybody}").replace(
            "selector: {app: web}",
            "selector: {sortie.dev/track: canary}",
        ))
        .await;
    let named = &[("anybody", None, 100)][..];
    world.given(&mesh(&[&[("web", None, 1)], named])).await;
    meshed
        .refused(delete(), "SRT-T121", &["rule 2"], "web-canary")
        .await;
    world
        .kubectl(
            &[
                "annotate",
                "virtualservice",
                "shop",
                "sortie.dev/preview=true",
            ],
            "",
        )
        .await;
    let told = world.of_execution(delete(), "e2").await;
    assert_eq!(told.outputs()["canaryDeleted"], true);
    assert!(told.said("rule 2 of VirtualService"), "{:?}", told.lines);
    meshed.world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_see_routes_takes_no_pods_away() {
    let mut meshed = Meshed::new("leaving_unseen").await;
    let admin = meshed.world.api.clone();
    let world = &meshed.world;
    world.deploy(plain(&app("1"))).await.outputs();
    let canary = canary(plain(&app("2")), Amount::Count(1));
    world.of_execution(canary, "e1").await.outputs();
    world.given(&mesh(&[&[("web", None, 1)]])).await;
    let all_of =
        |group: &str| format!("{{apiGroups: ['{group}'], resources: ['*'], verbs: ['*']}}");
    let groups = [
        "",
        "apps",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "autoscaling",
        "policy",
        "gateway.networking.k8s.io",
        "split.smi-spec.io",
    ];
    let rules = |more: &str| format!("[{}{more}]", groups.map(all_of).join(", "));
    meshed.world.with_rights(&rules("")).await;
    let words = [
        "virtualservices",
        "networking.istio.io",
        "apiGroups",
        "list",
    ];
    let delete = || Action::CanaryDelete;
    meshed
        .refused(delete(), "SRT-T120", &words, "web-canary")
        .await;
    let words = ["virtualservices", "list"];
    let share = || progressive(plain(&app("3")), 50);
    meshed
        .refused(share(), "SRT-T120", &words, "web-canary")
        .await;
    let routes =
        ", {apiGroups: ['networking.istio.io'], resources: ['virtualservices'], verbs: ['*']}";
    meshed.world.with_rights(&rules(routes)).await;
    meshed
        .refused(delete(), "SRT-T120", &["destinationrules"], "web-canary")
        .await;
    meshed.world.api = admin;
    let told = meshed.world.of_execution(delete(), "e1").await;
    assert_eq!(told.outputs()["canaryDeleted"], true);
    meshed.world.finish().await;
}

/// Where a line is that holds a text.
#[track_caller]
fn place(told: &Told, text: &str) -> usize {
    let found = told
        .lines
        .iter()
        .position(|(_, _, line)| line.contains(text));
    found.unwrap_or_else(|| panic!("no line says {text:?}: {:?}", told.lines))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_pod_of_a_progressive_canary_outlives_the_rules_for_it() {
    let meshed = Meshed::new("leaving_testers").await;
    let world = &meshed.world;
    let testing = SERVICE.replace("name: web}", "name: testing}").replace(
        "selector: {app: web}",
        "selector: {sortie.dev/track: canary}",
    );
    world.deploy(plain(&app("1"))).await.outputs();
    world.given(&testing).await;
    let share = |percent| progressive(plain(&app("2")), percent);
    world.of_execution(share(50), "e1").await.outputs();
    let mut routes = vec![testers(), shares(1, 1)];
    routes[0].destinations[0].host = "testing".to_owned();
    routes[1].destinations.truncate(1);
    let config = Config {
        provider: Provider::Istio {
            hosts: Vec::new(),
            gateways: Vec::new(),
            is_delegate: false,
        },
        name: "shop".to_owned(),
        routes,
    };
    let route = Action::TrafficRouting(Routing::Config(config));
    world.of_execution(route, "e2").await.outputs();
    let told = world.of_execution(Action::CanaryDelete, "e1").await;
    assert_eq!(told.outputs()["canaryDeleted"], true);
    let (moved, gone) = (
        place(&told, "may still be on their way"),
        place(&told, "web-canary: 0 pods"),
    );
    assert!(moved < gone, "{:?}", told.lines);
    let live = world.get(MESH, "shop").await.unwrap();
    let host = live.pointer("/spec/http/0/route/0/destination/host");
    assert_eq!(host, Some(&json!("web")));
    meshed.world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stable_side_keeps_pods_as_long_as_a_rule_leads_to_it_alone() {
    let meshed = Meshed::new("leaving_stable").await;
    let world = &meshed.world;
    world.deploy(plain(&apart("1"))).await.outputs();
    let both = &[("web", None, 100), ("web-canary", None, 0)][..];
    world.given(&mesh(&[&[("web", None, 1)], both])).await;
    let share = |percent| progressive(plain(&apart("2")), percent);
    let words = ["rule 1", "stable", "second backend"];
    meshed.refused(share(100), "SRT-T121", &words, "web").await;
    world.of_execution(share(50), "e1").await.outputs();
    assert_eq!(meshed.weights(1).await, [50, 50]);
    meshed.refused(share(100), "SRT-T121", &words, "web").await;
    let told = world.of_execution(Action::CanaryDelete, "e1").await;
    assert_eq!(told.outputs()["canaryDeleted"], true);
    assert_eq!(meshed.weights(1).await, [100, 0]);

    world.given(&mesh(&[both])).await;
    let told = world.of_execution(share(100), "e2").await;
    told.outputs();
    assert_eq!(meshed.weights(0).await, [100, 0]);
    meshed.world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_goes_in_the_middle_stops_the_exchange() {
    let mut meshed = Meshed::new("leaving_midway").await;
    meshed.world.limits.settle = Duration::from_secs(600);
    let world = &meshed.world;
    world.deploy(plain(&apart("1"))).await.outputs();
    let both = &[("web", None, 100), ("web-canary", None, 0)][..];
    world.given(&mesh(&[both])).await;
    let log = Arc::new(Log::default());
    let task = world.task_of(progressive(plain(&apart("2")), 50), "e1");
    let delete = async {
        log.says("shop configured").await;
        world
            .kubectl(&["delete", "virtualservice", "shop"], "")
            .await;
    };
    let (told, ()) = tokio::join!(world.run_with(&task, Arc::clone(&log)), delete);
    let failure = told.failure();
    assert_eq!(failure.code, "SRT-T122", "{failure:?}");
    assert!(failure.message.contains("shop was deleted"), "{failure:?}");
    let back = world.of_execution(Action::CanaryDelete, "e1").await;
    assert_eq!(back.outputs()["canaryDeleted"], true);
    meshed.world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_colour_is_scaled_down_once_no_subset_leads_to_it() {
    let meshed = Meshed::new("leaving_colors").await;
    let world = &meshed.world;
    let set =
        |version: &str| documents(&[&web(&format!("example.com/web:{version}"), ""), SERVICE]);
    world.stage(&set("1"), "e1").await.outputs();
    world.swap(SWAP, "e1").await.outputs();
    world.stage(&set("2"), "e2").await.outputs();
    world
        .given(&subsets("sortie.dev/color", ["blue", "green"]))
        .await;
    let only = &[("everything", Some("two"), 100)][..];
    world.given(&mesh(&[only])).await;
    let down = || Action::StageScaleDown(sortie_step::task::StageScaleDown::default());
    meshed
        .refused(down(), "SRT-T121", &["rule 1", "stage"], "web-green")
        .await;
    world
        .given(&mesh(&[&[
            ("everything", Some("one"), 90),
            ("everything", Some("two"), 10),
        ]]))
        .await;
    let told = world.of_execution(down(), "e2").await;
    assert_eq!(told.outputs()["stageScaledDown"], true);
    assert_eq!(meshed.weights(0).await, [100, 0]);
    assert!(told.said("may still be on their way"), "{:?}", told.lines);
    meshed.world.finish().await;
}
