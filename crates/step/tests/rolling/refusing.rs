//! What cannot work is refused before the first write, with an error that a person can act on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sortie_step::FailureKind;
use sortie_step::task::{Action, Owner, RollingDeploy, Target};

use crate::deploying::OneSecret;
use crate::world::{Told, World, app, config, documents, inline, plain, web};

#[track_caller]
fn assert_refused(told: &Told, kind: FailureKind, code: &str, words: &[&str]) {
    let failure = told.failure();
    assert_eq!(
        (failure.kind, failure.code.as_str()),
        (kind, code),
        "{failure:?}"
    );
    for word in words {
        assert!(
            failure.message.contains(word),
            "{word:?} is not in {failure:?}"
        );
    }
    assert!(!failure.hint.is_empty(), "{failure:?}");
    assert_eq!(failure.release_number, None, "{failure:?}");
}

const GOOD: (&str, &str) = ("v1/ConfigMap", "good");

/// A set with something good in it, so that a write would show.
fn beside_good(yaml: &str) -> RollingDeploy {
    plain(&documents(&[&config("good", "1"), yaml]))
}

#[tokio::test(flavor = "multi_thread")]
async fn sets_that_cannot_work_leave_nothing_behind() {
    let world = World::new("refused_sets").await;
    let unknown = "apiVersion: apps/v1\nkind: Deploymnet\nmetadata: {name: web}\n";
    let invalid =
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 99999}]}\n";
    let misspelt =
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {prots: [{port: 80}]}\n";
    let twice = config("good", "2");
    let elsewhere =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: no-such-namespace}\n";
    let config_kind = FailureKind::Configuration;
    for (yaml, code, words) in [
        (
            unknown,
            "SRT-C004",
            &["Deploymnet", "apps/v1 Deployment"][..],
        ),
        (invalid, "SRT-C005", &["Service", "set.yaml", "99999"]),
        (misspelt, "SRT-C005", &["Service", "prots"]),
        (&twice, "SRT-C016", &["ConfigMap", "set.yaml"]),
        (elsewhere, "SRT-C013", &["no-such-namespace"]),
        ("a: [b", "SRT-M001", &["set.yaml"]),
        ("kind: Service\n", "SRT-M002", &["set.yaml", "apiVersion"]),
    ] {
        let told = world.deploy(beside_good(yaml)).await;
        let code = if code.starts_with("SRT-M") {
            told.failure().code.clone()
        } else {
            code.to_owned()
        };
        assert!(code.starts_with("SRT-"), "{code}");
        assert_refused(&told, config_kind, &code, words);
    }
    let all = documents(&[&config("good", "1"), unknown, &twice, invalid]);
    let told = world.deploy(plain(&all)).await;
    assert!(
        told.failure().message.ends_with(" (and 2 more)"),
        "{told:?}"
    );
    for word in ["Deploymnet", "the same object is also at", "99999"] {
        assert!(told.said(word), "{word}: {:?}", told.lines);
    }
    let nothing = world.deploy(plain("# nothing\n")).await;
    assert_refused(&nothing, config_kind, "SRT-T011", &["no Kubernetes object"]);
    world.assert_untouched(&[GOOD]).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_nobody_knows_are_named() {
    let mut world = World::new("refused_names").await;
    world.resolver = Arc::new(OneSecret("correct-horse"));
    let mut options = app("image:1", "hello", 80);
    options.values = inline(&[("values.yaml", "image: <+artifacts.primary.nope>\n")]);
    let told = world.deploy(options).await;
    let failure = told.failure();
    assert_eq!(failure.kind, FailureKind::Configuration);
    assert!(failure.message.contains("values.yaml"), "{failure:?}");
    assert!(
        failure.message.contains("artifacts.primary.nope"),
        "{failure:?}"
    );

    let mut options = app("image:1", "hello", 80);
    options.values = inline(&[(
        "values.yaml",
        "password: <+secrets.getValue(\"org.other\")>\n",
    )]);
    let told = world.deploy(options).await;
    assert_refused(
        &told,
        FailureKind::Configuration,
        "SRT-T003",
        &["org.other"],
    );

    world.assert_untouched(&[]).await;

    // A value that no file has renders as nothing, as Helm does it; it is named before, and explained after.
    let mut options = app("image:1", "hello", 80);
    options.values = inline(&[("values.yaml", "replicas: 1\nport: 80\n")]);
    let told = world.deploy(options).await;
    assert!(told.said("no values file has image"), "{:?}", told.lines);
    assert_eq!(told.failure().code, "SRT-H001");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_namespace_is_an_error() {
    let world = World::new("no_namespace").await;
    let mut task = world.task(Action::RollingDeploy(plain(&config("a", "1"))));
    task.release.namespace = format!("{}-absent", world.namespace.name());
    let told = world.run(&task).await;
    let kind = FailureKind::Configuration;
    assert_refused(&told, kind, "SRT-C013", &["does not exist", "-absent"]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_of_the_cluster_has_the_last_word() {
    let mut world = World::new("policy").await;
    let own = world.namespace.name().to_owned();
    let policy = |json: serde_json::Value| serde_json::from_value(json).unwrap();
    let elsewhere = config("a", "1").replace("  name: a", "  name: a\n  namespace: default");
    let image = web("docker.io/library/sortie-sample:v1", "");
    for (limits, yaml, word) in [
        (
            serde_json::json!({"namespaces": ["other"]}),
            config("a", "1"),
            own.as_str(),
        ),
        (
            serde_json::json!({"namespaces": [own.clone()]}),
            elsewhere,
            "default",
        ),
        (
            serde_json::json!({"projects": {"acme/web": {"kinds": ["ConfigMap"]}}}),
            image.clone(),
            "Deployment",
        ),
        (
            serde_json::json!({"projects": {"*": {"registries": ["reg.example.com"]}}}),
            image,
            "sortie-sample",
        ),
    ] {
        world.policy = policy(limits);
        let told = world.deploy(beside_good(&yaml)).await;
        assert_refused(&told, FailureKind::Authorization, "SRT-T012", &[word]);
    }
    world.policy = policy(serde_json::json!({"namespaces": ["other"]}));
    let told = world.rollback(Target::LastGood).await;
    assert_refused(&told, FailureKind::Authorization, "SRT-T012", &[&own]);
    world.assert_untouched(&[GOOD]).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_rights_is_told_which_one_it_lacks() {
    let mut world = World::new("no_rights").await;
    world.with_rights("[]").await;
    let told = world.deploy(plain(&config("a", "1"))).await;
    let kind = FailureKind::Authorization;
    assert_refused(&told, kind, "SRT-C003", &["deployer", "secrets"]);

    // Enough for the record, not for the object.
    let records = r#"[{apiGroups: [""], resources: [secrets], verbs: ["*"]}, {apiGroups: [coordination.k8s.io], resources: [leases], verbs: ["*"]}]"#;
    world.with_rights(records).await;
    let told = world.deploy(beside_good(&config("a", "1"))).await;
    assert_refused(&told, kind, "SRT-C003", &["ConfigMap", "deployer"]);
    world.assert_untouched(&[GOOD]).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_counts_objects_refuses_the_set() {
    let world = World::new("quota_objects").await;
    world.given("apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: small}\nspec: {hard: {count/configmaps: \"1\"}}\n").await;
    // The quota's controller counts first.
    world
        .kubectl(
            &[
                "wait",
                "--for=jsonpath={.status.hard}",
                "resourcequota/small",
            ],
            "",
        )
        .await;
    let told = world.deploy(beside_good(&config("b", "1"))).await;
    let failure = told.failure();
    assert_eq!(failure.code, "SRT-C007", "{failure:?}");
    assert!(failure.message.contains("small"), "{failure:?}");
    world.assert_untouched(&[GOOD]).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_counts_pods_is_explained_within_seconds() {
    let world = World::new("quota_pods").await;
    world.given("apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: none}\nspec: {hard: {pods: \"0\"}}\n").await;
    world
        .kubectl(
            &[
                "wait",
                "--for=jsonpath={.status.hard}",
                "resourcequota/none",
            ],
            "",
        )
        .await;
    let image = world.cluster.image("sample-v1").await.unwrap();
    #[expect(clippy::disallowed_methods, reason = "measured from outside the step")]
    let began = Instant::now();
    let told = world.deploy(plain(&web(&image, ""))).await;
    assert!(
        began.elapsed() < Duration::from_secs(40),
        "{:?}",
        began.elapsed()
    );
    let failure = told.failure();
    assert_eq!(failure.code, "SRT-H009", "{failure:?}");
    assert!(failure.message.contains("none"), "{failure:?}");
    assert_eq!(failure.release_number, Some(1));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_of_somebody_else_is_refused() {
    let world = World::new("another_owner").await;
    let owner = |service: &str| Owner {
        service: service.to_owned(),
        environment: "prod".to_owned(),
        infrastructure: "k8s".to_owned(),
    };
    let mut task = world.task(Action::RollingDeploy(plain(&config("a", "1"))));
    task.release.owner = owner("web");
    world.run(&task).await.outputs();

    let mut other = world.task(Action::RollingDeploy(plain(&config("a", "2"))));
    other.release.owner = owner("api");
    let told = world.run(&other).await;
    let kind = FailureKind::Authorization;
    assert_refused(&told, kind, "SRT-C034", &["\"web\""]);
    assert_eq!(
        world.get("v1/ConfigMap", "a").await.unwrap()["data"]["a"],
        "1"
    );
    assert_eq!(world.statuses().await, ["Succeeded"]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_another_release_are_taken_over_only_when_asked() {
    let world = World::new("adopt").await;
    let mut first = world.task(Action::RollingDeploy(plain(&config("a", "1"))));
    first.release.name = "first".to_owned();
    world.run(&first).await.outputs();

    let told = world.deploy(beside_good(&config("a", "2"))).await;
    assert_refused(&told, FailureKind::Authorization, "SRT-C015", &["first"]);
    world.assert_untouched(&[GOOD]).await;

    let adopting = RollingDeploy {
        adopt: true,
        ..plain(&config("a", "2"))
    };
    world.deploy(adopting).await.outputs();
    assert_eq!(
        world.get("v1/ConfigMap", "a").await.unwrap()["data"]["a"],
        "2"
    );
    world.finish().await;
}
