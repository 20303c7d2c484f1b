//! Health by rules of the user's own: on an object, and for all objects of a kind.

use std::sync::Arc;
use std::time::Duration;

use sortie_cluster::record::Release;
use sortie_health::Status;
use sortie_step::health_rules::{self, CONFIG_MAP};
use sortie_step::inspect::inspect;
use sortie_step::task::{Action, Target};
use sortie_step::{Outcome, run};

use crate::world::{Log, RELEASE, World, config, documents, plain};

/// The ConfigMap with a rule for ConfigMaps, and one for a kind that no set has.
fn rules(rule: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {CONFIG_MAP}}}\ndata:\n  ConfigMap: {rule:?}\n  Other.example.com: \"(\"\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_cannot_be_read_refuses_the_set_before_the_first_write() {
    let world = World::new("rule_broken").await;
    let broken = |name: &str, rule: &str| {
        config(name, "1").replace("annotations: {", &format!("annotations: {{{rule}, "))
    };
    let set = documents(&[
        &config("fine", "1"),
        &broken("ours", "sortie.dev/health: 'data.a == '"),
        &broken(
            "older",
            "harness.io/steadyStateCondition: '<+json.select(\"a\", response)> =='",
        ),
    ]);
    let told = world.deploy(plain(&set)).await;
    let failure = told.failure();
    assert_eq!(failure.code, "SRT-H021", "{failure:?}");
    for part in [
        "set.yaml:",
        "/ours",
        "sortie.dev/health",
        "at character",
        "(and 1 more)",
    ] {
        assert!(failure.message.contains(part), "{part}: {failure:?}");
    }
    assert!(told.said("/older"), "{:?}", told.lines);
    let touched = [("v1/ConfigMap", "fine"), ("v1/ConfigMap", "ours")];
    world.assert_untouched(&touched).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_deadline_what_a_rule_says_names_its_object_once() {
    let world = World::new("rule_deadline").await;
    let rule = "annotations: {sortie.dev/health: \"'Degraded: no leader'\", ";
    let set = config("a", "1").replace("annotations: {", rule);
    let mut task = world.task(Action::RollingDeploy(plain(&set)));
    task.timeout = Duration::from_secs(5);
    let told = world.run(&task).await;
    let message = &told.failure().message;
    assert!(message.contains("no leader"), "{message}");
    assert_eq!(message.matches("ConfigMap/").count(), 1, "{message}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_for_a_kind_judges_a_deployment_and_whoever_asks_later() {
    let world = World::new("rule_of_kind").await;
    world.given(&rules("data.a == \"2\"")).await;
    let mut task = world.task(Action::RollingDeploy(plain(&config("a", "1"))));
    task.timeout = Duration::from_secs(5);
    let told = world.run(&task).await;
    let failure = told.failure();
    assert_eq!(failure.code, "SRT-T010", "{failure:?}");
    assert!(
        failure.message.contains("not yet true: data.a == \"2\""),
        "{failure:?}"
    );
    // A rule for a kind that is not in the set hinders nobody, and is told.
    assert!(told.said("Other.example.com"), "{:?}", told.lines);

    let head = world.heads().await.pop().unwrap();
    let found = health_rules::read(&world.api, &[world.namespace.name()])
        .await
        .unwrap();
    let release = Release::new(world.namespace.name(), RELEASE).unwrap();
    let hash = release.hash();
    let inspected = inspect(
        &world.api,
        Some(&hash),
        &head.inventory,
        &found.rules,
        Vec::new(),
    );
    let inspected = inspected.await.unwrap();
    assert_eq!(
        inspected[0].verdict.status,
        Status::Progressing,
        "{inspected:?}"
    );

    world.deploy(plain(&config("a", "2"))).await.outputs();

    // A broken one refuses a deployment of its kind, and no rollback.
    world.given(&rules("data.a ==")).await;
    let told = world.deploy(plain(&config("a", "3"))).await;
    let failure = told.failure();
    assert_eq!(failure.code, "SRT-H021", "{failure:?}");
    let place = format!(
        "the rule for ConfigMap in ConfigMap {}/{CONFIG_MAP}",
        world.namespace.name()
    );
    assert!(failure.message.contains(&place), "{failure:?}");
    let value = world.get("v1/ConfigMap", "a").await.unwrap();
    assert_eq!(value["data"]["a"], "2");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_rule_holds_where_the_release_s_namespace_has_none() {
    let world = World::new("rule_shared").await;
    let shared = world.cluster.namespace("rule_shared_home").await.unwrap();
    let kubectl = ["apply", "-f", "-"];
    let in_shared = rules("data.a == \"2\"").replace(
        "metadata: {",
        &format!("metadata: {{namespace: {}, ", shared.name()),
    );
    world.kubectl_anywhere(&kubectl, &in_shared).await;
    let mut env = world.env(Arc::new(Log::default()));
    shared.name().clone_into(&mut env.rules_namespace);
    let mut task = world.task(Action::RollingDeploy(plain(&config("a", "1"))));
    task.timeout = Duration::from_secs(5);
    let outcome = run(&task, &env).await;
    assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");

    world.given(&rules("data.a == \"1\"")).await;
    let task = world.task(Action::RollingDeploy(plain(&config("a", "1"))));
    let outcome = run(&task, &env).await;
    assert!(matches!(outcome, Outcome::Succeeded { .. }), "{outcome:?}");
    let told = world.rollback(Target::LastGood).await;
    assert_eq!(told.outputs()["rolledBack"], false);
    shared.finish().await.unwrap();
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_later_hears_what_the_deployment_said_of_claims_and_services() {
    let world = World::new("asked_later").await;
    let class = world.namespace.name().to_owned();
    let claim = |class: &str| {
        format!(
            "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: data}}\nspec:\n  accessModes: [ReadWriteOnce]\n  storageClassName: {class}\n  resources: {{requests: {{storage: 1Mi}}}}\n"
        )
    };
    world
        .given(&format!(
            "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {{name: {class}}}\nprovisioner: example.com/none\nvolumeBindingMode: WaitForFirstConsumer\n"
        ))
        .await;
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: lost}\nspec: {clusterIP: None, selector: {app: nothing}, ports: [{port: 80}]}\n";
    let told = world
        .deploy(plain(&documents(&[&claim(&class), service])))
        .await;
    let head = world.heads().await.pop().unwrap();
    let release = Release::new(world.namespace.name(), RELEASE).unwrap();
    let rules = Arc::default();
    let hash = release.hash();
    let inspected = inspect(&world.api, Some(&hash), &head.inventory, &rules, Vec::new()).await;
    world
        .kubectl(&["delete", "storageclass", &class, "--wait=false"], "")
        .await;

    told.outputs();
    for one in inspected.unwrap() {
        assert_eq!(one.verdict.status, Status::Healthy, "{one:?}");
        let expected = match one.id.kind.as_str() {
            "Service" => "matches no pod of this release",
            _ => "no pod of this release does",
        };
        assert!(one.verdict.message.contains(expected), "{one:?}");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_read_hides_nothing_else() {
    let mut world = World::new("asked_without_right").await;
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: seen}\nspec: {clusterIP: None, ports: [{port: 80}]}\n";
    let set = documents(&[&config("hidden", "1"), service]);
    world.deploy(plain(&set)).await.outputs();
    let head = world.heads().await.pop().unwrap();
    world
        .with_rights("\n- {apiGroups: [\"\"], resources: [services], verbs: [get]}\n")
        .await;
    let inspected = inspect(
        &world.api,
        None,
        &head.inventory,
        &Arc::default(),
        Vec::new(),
    )
    .await;
    let inspected = inspected.unwrap();
    assert_eq!(inspected.len(), 2);
    for one in inspected {
        let is_hidden = one.id.name == "hidden";
        assert_eq!(one.is_forbidden, is_hidden, "{one:?}");
        let expected = if is_hidden {
            Status::Unknown
        } else {
            Status::Healthy
        };
        assert_eq!(one.verdict.status, expected, "{one:?}");
        assert!(
            !is_hidden || one.verdict.message.contains("not allowed"),
            "{one:?}"
        );
    }
    world.finish().await;
}
