//! What a deployment asks of the API server when there is nothing, or little, to do.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use sortie_step::task::{Action, RollingDeploy, Task};
use sortie_step::{Environment, Resolution, Resolver, Unanswered};
use sortie_testkit::Audited;

use crate::world::{Log, RELEASE, World, config, documents, inline, plain};

/// Healthy without a pod.
const ASLEEP: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: example.com/web:1}]}
";

async fn requests(world: &World) -> Vec<Audited> {
    let user = format!("system:serviceaccount:{}:deployer", world.namespace.name());
    world.cluster.audit(&user).await.unwrap()
}

/// How often what was asked for: verb and resource.
fn counted(requests: &[Audited]) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for request in requests {
        let what = format!("{} {}", request.verb, request.resource);
        *counted.entry(what).or_default() += 1;
    }
    counted
}

#[tokio::test]
async fn what_did_not_change_costs_one_list_a_kind_and_no_watch() {
    let mut world = World::new("asking").await;
    let rules = "[{apiGroups: ['*'], resources: ['*'], verbs: ['*']}]";
    world.with_rights(rules).await;
    let set = documents(&[&config("a", "1"), &config("b", "1"), ASLEEP]);
    for _ in 0..2 {
        world.deploy(plain(&set)).await.outputs();
    }
    let before = requests(&world).await.len();
    world.deploy(plain(&set)).await.outputs();
    let asked = requests(&world).await.split_off(before);
    let typed = |request: &&Audited| !request.query.contains("fieldSelector=type");
    let large = asked
        .iter()
        .filter(|of| of.resource == "secrets" && of.verb == "list");
    assert_eq!(
        large.filter(typed).count(),
        0,
        "none reads all records with the rest: {asked:?}"
    );
    let asked = counted(&asked);
    let expected = [
        // The rules for health.
        ("get configmaps", 1),
        // A look, and the one that is taken as it was then.
        ("get leases", 1),
        ("update leases", 2),
        // The heads at the look and at the end, the parts when the set is tried out and at the end, and what is versioned.
        ("list secrets", 5),
        // What is live, and what is versioned.
        ("list configmaps", 2),
        ("list deployments", 1),
        // For the addresses.
        ("list pods", 1),
        // The head of this release, and no part again.
        ("create secrets", 1),
        // It succeeds, and the one before is superseded.
        ("update secrets", 2),
    ];
    let expected = expected.map(|(what, count)| (what.to_owned(), count));
    assert_eq!(asked, BTreeMap::from(expected));

    let heads = world.heads().await;
    assert_eq!(heads[2].parts, heads[0].parts);
    // One that somebody has deleted is written again.
    let part = heads[0].parts[0].secret_name();
    world.kubectl(&["delete", "secret", &part], "").await;
    world.deploy(plain(&set)).await.outputs();
    assert!(world.get("v1/Secret", &part).await.is_some());
    world.finish().await;
}

#[tokio::test]
async fn what_another_has_done_since_the_first_look_counts() {
    let world = World::new("since").await;
    world.deploy(plain(&config("a", "1"))).await.outputs();
    let release = sortie_cluster::record::Release::new(world.namespace.name(), RELEASE).unwrap();
    let (namespace, lease) = (release.namespace(), release.lease_name());
    let cluster = &world.api;
    let claim = || sortie_cluster::lease::Claim {
        namespace: namespace.to_owned(),
        name: lease.clone(),
        holder: "ann".to_owned(),
        floor: 0,
        terms: sortie_cluster::lease::Terms::default(),
    };
    let take = async |glance| {
        let taking = sortie_cluster::lease::acquire_since(cluster, claim(), glance, |_| {});
        taking.await.unwrap()
    };
    let glance = sortie_cluster::lease::glance(cluster, namespace, &lease).await;
    world.deploy(plain(&config("a", "2"))).await.outputs();
    // Somebody has held it since.
    let held = take(glance).await;
    assert!(!held.is_undisturbed());
    // Nobody is to believe what he sees while another may write.
    let none = sortie_cluster::lease::glance(cluster, namespace, &lease).await;
    assert!(none.is_none());
    held.release().await;
    let glance = sortie_cluster::lease::glance(cluster, namespace, &lease).await;
    let held = take(glance).await;
    assert!(held.is_undisturbed());
    held.release().await;
    assert!(!take(None).await.is_undisturbed());
    world.finish().await;
}

/// Lets another task deploy before it answers.
#[derive(Debug)]
struct Meanwhile(Environment, Task);

#[async_trait]
impl Resolver for Meanwhile {
    async fn resolve(&self, names: &[String]) -> Result<Vec<Resolution>, Unanswered> {
        let Self(environment, task) = self;
        sortie_step::run(task, environment).await;
        let answer = |_| Resolution::Value(json!("x"));
        Ok(names.iter().map(answer).collect())
    }
}

#[tokio::test]
async fn a_release_that_came_between_look_and_lease_is_seen() {
    let mut world = World::new("between").await;
    world.deploy(plain(&config("a", "1"))).await.outputs();
    let other = world.task(Action::RollingDeploy(plain(&config("a", "2"))));
    let environment = world.env(Arc::new(Log::default()));
    world.resolver = Arc::new(Meanwhile(environment, other));
    let told = world.deploy(RollingDeploy {
        values: inline(&[("values.yaml", "a: <+pipeline.variables.x>")]),
        ..plain(&config("a", "3"))
    });
    assert_eq!(told.await.outputs()["releaseNumber"], 3);
    assert_eq!(
        world.statuses().await,
        ["Superseded", "Superseded", "Succeeded"]
    );
    let live = world.get("v1/ConfigMap", "a").await.unwrap();
    assert_eq!(live["data"]["a"], "3");
    world.finish().await;
}
