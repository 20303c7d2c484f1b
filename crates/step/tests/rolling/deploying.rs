//! The path that everybody takes: version 1, version 2, a broken version 3, and back.

use std::sync::Arc;

use async_trait::async_trait;
use secrecy::SecretString;
use serde_json::{Value, json};
use sortie_health::Status;
use sortie_step::report::{Change, Level, Unit};
use sortie_step::task::{Action, RollingDeploy, Target};
use sortie_step::{Resolution, Resolver, Unanswered};

use crate::world::{RELEASE, Told, World, app, config, documents, plain, web};

const PASSWORD: &str = "correct-horse-battery";

/// Knows one secret.
#[derive(Debug)]
pub(crate) struct OneSecret(pub(crate) &'static str);

#[async_trait]
impl Resolver for OneSecret {
    async fn resolve(&self, names: &[String]) -> Result<Vec<Resolution>, Unanswered> {
        let answer = |name: &String| match name.as_str() {
            r#"secrets.getValue("account.password")"# => {
                Resolution::Secret(SecretString::from(self.0))
            }
            _ => Resolution::Undefined,
        };
        Ok(names.iter().map(answer).collect())
    }
}

fn assert_discreet(told: &Told) {
    let text = format!("{told:?}");
    assert!(!text.contains(PASSWORD), "the secret shows: {text}");
}

fn image_of(deployment: &Value) -> &str {
    deployment
        .pointer("/spec/template/spec/containers/0/image")
        .and_then(Value::as_str)
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_come_and_a_broken_one_goes() {
    let mut world = World::new("versions_come").await;
    world.resolver = Arc::new(OneSecret(PASSWORD));
    let v1 = world.cluster.image("sample-v1").await.unwrap();
    let v2 = world.cluster.image("sample-v2").await.unwrap();
    let v3 = world.cluster.image("sample-v3").await.unwrap();

    let first = world.deploy(app(&v1, "hello", 80)).await;
    assert_eq!(first.outputs()["releaseNumber"], 1);
    assert_eq!(
        first.begun(),
        [
            Unit::FetchFiles,
            Unit::Initialize,
            Unit::Prepare,
            Unit::Apply,
            Unit::WaitForSteadyState,
            Unit::WrapUp
        ]
    );
    assert_eq!(first.change("Deployment"), Change::Created);
    assert_discreet(&first);

    let second = world.deploy(app(&v2, "good day", 81)).await;
    assert_eq!(second.outputs()["releaseNumber"], 2);
    assert_eq!(second.change("Deployment"), Change::Configured);
    assert_eq!(world.statuses().await, ["Superseded", "Succeeded"]);
    let good = world.get("apps/v1/Deployment", "web").await.unwrap();
    assert_eq!(image_of(&good), v2);

    let third = world.deploy(app(&v3, "farewell", 82)).await;
    let failure = third.failure();
    assert_eq!(failure.code, "SRT-H007", "{failure:?}");
    assert!(
        failure.message.contains("cannot open /data/settings.toml"),
        "{failure:?}"
    );
    assert_eq!(failure.release_number, Some(3));
    assert_discreet(&third);
    assert_eq!(
        world.statuses().await,
        ["Superseded", "Succeeded", "Failed"]
    );

    let records = format!("{:?}", world.heads().await);
    assert!(!records.contains(PASSWORD), "a journal holds the secret");

    let back = world.rollback(Target::Below(3)).await;
    assert_eq!(back.outputs()["releaseNumber"], 2);
    assert_eq!(back.outputs()["rolledBack"], true);
    assert_discreet(&back);
    assert_eq!(
        back.begun(),
        [
            Unit::Initialize,
            Unit::Rollback,
            Unit::DeleteFailedReleaseResources,
            Unit::WaitForSteadyState,
            Unit::WrapUp
        ]
    );
    let restored = world.get("apps/v1/Deployment", "web").await.unwrap();
    assert_eq!(image_of(&restored), v2);
    let service = world.get("v1/Service", "web").await.unwrap();
    assert_eq!(service["spec"]["ports"][0]["port"], 81);
    assert_eq!(
        world.statuses().await,
        ["Superseded", "Succeeded", "Failed"]
    );
    world.finish().await;
}

/// Generations and versions of what a deployment has written, without what controllers report.
async fn fingerprint(world: &World) -> Vec<Value> {
    let mut prints = Vec::new();
    for head in world.heads().await.iter().rev().take(1) {
        for tracked in &head.inventory {
            let kind = match tracked.id.group.as_str() {
                "" => format!("v1/{}", tracked.id.kind),
                group => format!("{group}/v1/{}", tracked.id.kind),
            };
            let object = world.get(&kind, &tracked.id.name).await.unwrap();
            let metadata = &object["metadata"];
            prints.push(match metadata.get("generation") {
                Some(generation) => json!([tracked.id, metadata["uid"], generation]),
                None => json!([tracked.id, metadata["uid"], metadata["resourceVersion"]]),
            });
        }
    }
    prints
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_set_again_writes_no_object() {
    let mut world = World::new("same_again").await;
    world.resolver = Arc::new(OneSecret(PASSWORD));
    let v1 = world.cluster.image("sample-v1").await.unwrap();
    world.deploy(app(&v1, "hello", 80)).await.outputs();
    let before = fingerprint(&world).await;
    assert_eq!(before.len(), 4);
    let again = world.deploy(app(&v1, "hello", 80)).await;
    assert_eq!(again.outputs()["releaseNumber"], 2);
    for kind in ["Deployment", "Service", "ConfigMap", "Secret"] {
        assert_eq!(again.change(kind), Change::Unchanged, "{kind}");
    }
    assert_eq!(fingerprint(&world).await, before);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_would_happen_and_does_nothing() {
    let world = World::new("dry_run").await;
    let options = RollingDeploy {
        dry_run: true,
        ..plain(&config("a", "1"))
    };
    let told = world.deploy(options).await;
    assert_eq!(told.outputs()["dryRun"][0]["change"], "created");
    world.assert_untouched(&[("v1/ConfigMap", "a")]).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_failed_release_is_no_obstacle() {
    let world = World::new("after_failure").await;
    let v1 = world.cluster.image("sample-v1").await.unwrap();
    let v3 = world.cluster.image("sample-v3").await.unwrap();
    let broken = world.deploy(plain(&web(&v3, ""))).await;
    assert_eq!(broken.failure().code, "SRT-H007");
    world.deploy(plain(&web(&v1, ""))).await.outputs();
    assert_eq!(world.statuses().await, ["Failed", "Succeeded"]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_beyond_the_depth_of_the_history_go() {
    let mut world = World::new("depth").await;
    world.limits.history = 2;
    for value in ["1", "2", "3", "4"] {
        world.deploy(plain(&config("a", value))).await.outputs();
    }
    let numbers: Vec<u64> = world.heads().await.iter().map(|head| head.number).collect();
    assert_eq!(numbers, [3, 4]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_keeps_its_number_and_nobody_from_deploying() {
    let world = World::new("damaged").await;
    for value in ["1", "2"] {
        world.deploy(plain(&config("a", value))).await.outputs();
    }
    let head = damage(&world, 2).await;
    let secrets = async || world.kubectl(&["get", "secret", "-o", "name"], "").await;
    let before = secrets().await;

    let third = world.deploy(plain(&config("a", "3"))).await;
    assert_eq!(third.outputs()["releaseNumber"], 3);
    let warnings = third.lines.iter().filter(|(_, level, line)| {
        *level == Level::Warning && line.contains(&head) && line.contains("backup")
    });
    assert_eq!(warnings.count(), 1, "{:?}", third.lines);
    assert_eq!(world.statuses().await, ["Superseded", "Succeeded"]);
    let after = secrets().await;
    let lost: Vec<&str> = before
        .lines()
        .filter(|name| !after.contains(name))
        .collect();
    assert!(lost.is_empty(), "still to be repaired: {lost:?}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_refuses_a_damaged_record_only_where_it_needs_it() {
    let world = World::new("damaged_back").await;
    for value in ["1", "2", "3"] {
        world.deploy(plain(&config("a", value))).await.outputs();
    }
    let added = documents(&[&config("a", "4"), &config("b", "4")]);
    world.deploy(plain(&added)).await.outputs();
    let value = async || world.get("v1/ConfigMap", "a").await.unwrap()["data"]["a"].clone();

    // Number 3 was the last good one; without it that is number 2.
    damage(&world, 3).await;
    let back = world.rollback(Target::Below(4)).await;
    assert_eq!(back.outputs()["releaseNumber"], 2);
    assert!(back.said("number 3 added is not known"), "{:?}", back.lines);
    assert_eq!(value().await, "2");
    assert!(world.get("v1/ConfigMap", "b").await.is_none());

    let head = damage(&world, 4).await;
    for target in [Target::LastGood, Target::Below(4), Target::Number(4)] {
        let refused = world.rollback(target).await;
        let failure = refused.failure();
        assert_eq!(failure.code, "SRT-C032", "{target:?} {failure:?}");
        assert!(failure.message.contains(&head), "{failure:?}");
        assert!(failure.hint.contains("are 1, 2"), "{failure:?}");
    }
    world.rollback(Target::Number(1)).await.outputs();
    assert_eq!(value().await, "1");
    assert_eq!(world.heads().await.last().unwrap().number, 5);

    // A later version's record is another matter.
    let newer = json!({"data": {"head": "eyJmb3JtYXRWZXJzaW9uIjogIjIuMCJ9"}}).to_string();
    world
        .kubectl(&["patch", "secret", &head, "-p", &newer], "")
        .await;
    let refused = world.deploy(plain(&config("a", "6"))).await;
    assert_eq!(refused.failure().code, "SRT-C031");
    world.finish().await;
}

/// Makes the head with this number unreadable. Returns the name of its Secret.
async fn damage(world: &World, number: u64) -> String {
    let head = format!("sortie.release.{RELEASE}.{number}");
    let damage = r#"{"data": {"head": "bm90IGpzb24="}}"#;
    world
        .kubectl(&["patch", "secret", &head, "-p", damage], "")
        .await;
    head
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_an_application_writes_to_its_log_is_masked() {
    const LOGGED: &str = "/data/settings.toml";
    let mut world = World::new("logged_secret").await;
    world.resolver = Arc::new(OneSecret(LOGGED));
    let v3 = world.cluster.image("sample-v3").await.unwrap();
    let task = world.task(Action::RollingDeploy(app(&v3, "hello", 80)));
    let told = world.run(&task).await;
    let failure = told.failure().clone();
    assert!(failure.message.contains("cannot open ****"), "{failure:?}");
    let seen = format!("{told:?} {:?}", world.heads().await);
    assert!(!seen.contains(LOGGED), "{seen}");

    // Another process is asked for the result; it knows no secret.
    world.resolver = Arc::new(sortie_step::Nothing);
    let again = world.run(&task).await;
    assert_eq!(*again.failure(), failure);
    world.finish().await;
}

fn job(image: &str, name: &str, arguments: &str) -> String {
    format!(
        "
apiVersion: batch/v1
kind: Job
metadata: {{name: {name}}}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers: [{{name: main, image: {image}, imagePullPolicy: IfNotPresent{arguments}}}]
"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_and_bare_pods_are_waited_for() {
    let world = World::new("jobs_and_pods").await;
    let v1 = world.cluster.image("sample-v1").await.unwrap();
    let v3 = world.cluster.image("sample-v3").await.unwrap();
    let pod = format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: lone}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - name: main
      image: {v1}
      imagePullPolicy: IfNotPresent
      readinessProbe: {{httpGet: {{path: /ready, port: 8080}}, periodSeconds: 1}}
"
    );
    let set = documents(&[&pod, &job(&v1, "migrate", ", args: [--help]")]);
    let told = world.deploy(plain(&set)).await;
    told.outputs();
    for kind in ["Pod", "Job"] {
        let row = told.rows.iter().rev().find(|row| row.id.kind == kind);
        assert_eq!(row.unwrap().health, Status::Healthy, "{kind}");
    }
    let failing = documents(&[&pod, &job(&v3, "broken", "")]);
    let failed = world.deploy(plain(&failing)).await;
    let failure = failed.failure();
    assert_eq!(failure.code, "SRT-H015", "{failure:?}");
    assert!(failure.message.contains("cannot open"), "{failure:?}");
    world.finish().await;
}
