//! Rolling back: whole, and over nothing that cannot go back.

use sortie_step::Outcome;
use sortie_step::report::Change;
use sortie_step::task::{Action, RollingDeploy, RollingRollback, Target};

use crate::world::{World, config, documents, plain, web};

const CLAIM: &str = "
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Mi}}
";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_release_added_goes_but_for_storage_and_versioned_configuration() {
    let world = World::new("added").await;
    let v1 = world.cluster.image("sample-v1").await.unwrap();
    let v3 = world.cluster.image("sample-v3").await.unwrap();
    let versioned = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: b}\n";
    world
        .deploy(plain(&documents(&[&config("kept", "1"), &web(&v1, "")])))
        .await
        .outputs();
    world.given(&config("older", "theirs")).await;

    let set = documents(&[
        &config("kept", "2"),
        &config("extra", "1"),
        &config("older", "ours"),
        versioned,
        CLAIM,
        &web(&v3, ""),
    ]);
    let failed = world.deploy(plain(&set)).await;
    assert_eq!(failed.failure().release_number, Some(2));
    assert!(world.get("v1/ConfigMap", "extra").await.is_some());
    let settings = world.heads().await[1]
        .inventory
        .iter()
        .find(|tracked| tracked.id.name.starts_with("settings-"))
        .unwrap()
        .id
        .name
        .clone();

    let back = world.rollback(Target::Below(2)).await;
    assert_eq!(back.outputs()["releaseNumber"], 1);
    assert_eq!(
        world.get("v1/ConfigMap", "kept").await.unwrap()["data"]["a"],
        "1"
    );
    assert!(world.get("v1/ConfigMap", "extra").await.is_none());
    assert!(
        world.get("v1/ConfigMap", "older").await.is_some(),
        "it was there before"
    );
    assert!(
        world.get("v1/ConfigMap", &settings).await.is_some(),
        "pods may still name it"
    );
    assert!(
        world
            .get("v1/PersistentVolumeClaim", "data")
            .await
            .is_some()
    );
    assert!(
        back.said("PersistentVolumeClaim") && back.said("is kept"),
        "{:?}",
        back.lines
    );
    assert_eq!(back.change("ConfigMap"), Change::Configured);

    // Again, and with storage.
    let options = RollingRollback {
        target: Target::Below(2),
        delete_storage: true,
    };
    world
        .run(&world.task(Action::RollingRollback(options)))
        .await
        .outputs();
    assert!(
        world
            .get("v1/PersistentVolumeClaim", "data")
            .await
            .is_none()
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_earlier_success_nothing_happens() {
    let world = World::new("no_success").await;
    let none = world.rollback(Target::LastGood).await;
    assert_eq!(none.outputs()["rolledBack"], false);
    let none = world.rollback(Target::Number(1)).await;
    assert_eq!(none.failure().code, "SRT-T021");
    let leases = async || world.kubectl(&["get", "lease", "-o", "name"], "").await;
    assert_eq!(leases().await, "", "nothing is left of what never was");

    // Nor of a first deployment that the API server refuses.
    let refused =
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 99999}]}\n";
    world.deploy(plain(refused)).await.failure();
    assert_eq!(leases().await, "");

    let v3 = world.cluster.image("sample-v3").await.unwrap();
    let set = documents(&[&config("a", "1"), &web(&v3, "")]);
    world.deploy(plain(&set)).await.failure();
    for target in [Target::LastGood, Target::Below(1), Target::Below(2)] {
        let told = world.rollback(target).await;
        assert_eq!(told.outputs()["rolledBack"], false, "{target:?}");
    }
    assert!(
        world.get("v1/ConfigMap", "a").await.is_some(),
        "nothing is removed"
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_of_naming_a_release() {
    let world = World::new("targets").await;
    for value in ["1", "2", "3"] {
        world.deploy(plain(&config("a", value))).await.outputs();
    }
    let value = async || world.get("v1/ConfigMap", "a").await.unwrap()["data"]["a"].clone();

    let good = world.rollback(Target::LastGood).await;
    assert_eq!(good.outputs()["rolledBack"], false);
    let stale = world.rollback(Target::Below(2)).await;
    assert_eq!(stale.failure().code, "SRT-T020");
    let unknown = world.rollback(Target::Number(9)).await;
    assert_eq!(unknown.failure().code, "SRT-T021");
    assert_eq!(value().await, "3");

    // A later step of the pipeline failed: the newest release goes though it had succeeded.
    world.rollback(Target::Below(3)).await.outputs();
    assert_eq!(value().await, "2");
    assert_eq!(
        world.statuses().await,
        ["Superseded", "Succeeded", "Failed"]
    );

    let told = world.rollback(Target::Number(1)).await;
    let outputs = told.outputs();
    assert_eq!(
        (&outputs["releaseNumber"], &outputs["recordNumber"]),
        (&1.into(), &4.into())
    );
    assert!(told.said("number 1 back: 1 object"), "{:?}", told.lines);
    assert!(!told.said("1 objects"), "{:?}", told.lines);
    assert_eq!(value().await, "1");
    assert_eq!(
        world.statuses().await,
        ["Superseded", "Superseded", "Failed", "Succeeded"]
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_stops_over_nothing() {
    let world = World::new("stops_over_nothing").await;
    let job = "
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: once, image: IMAGE, imagePullPolicy: IfNotPresent, args: [--help]}]
";
    let v1 = world.cluster.image("sample-v1").await.unwrap();
    let job = job.replace("IMAGE", &v1);
    let set = documents(&[&config("a", "1"), &config("z", "1"), &job]);
    let first = world.deploy(plain(&set)).await;
    first.outputs();
    world.kubectl(&["delete", "job", "once"], "").await;
    let v3 = world.cluster.image("sample-v3").await.unwrap();
    let broken = documents(&[&config("a", "2"), &config("z", "2"), &web(&v3, "")]);
    world.deploy(plain(&broken)).await.failure();
    // Another release has taken one of the objects.
    let taken = ["label", "--overwrite", "configmap", "a"];
    let taken = [&taken[..], &["sortie.dev/release=another"]].concat();
    world.kubectl(&taken, "").await;

    let back = world.rollback(Target::Below(2)).await;
    let failure = back.failure();
    assert!(
        failure.message.contains("ConfigMap") && failure.message.contains("/a"),
        "{failure:?}"
    );
    assert_eq!(
        world.get("v1/ConfigMap", "z").await.unwrap()["data"]["a"],
        "1"
    );
    assert!(world.get("apps/v1/Deployment", "web").await.is_none());
    assert!(
        world.get("batch/v1/Job", "once").await.is_none(),
        "it is not run again"
    );
    assert!(matches!(back.outcome, Outcome::Failed(_)));
    let journal = &world.heads().await[1].journal;
    let last = journal.last().unwrap();
    assert_eq!(last.what, "rollback to number 1 failed");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_has_ended_is_not_run_again_by_a_rollback_though_another_took_its_name() {
    let world = World::new("job_replaced").await;
    let job = |image: &str| {
        format!(
            "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: once}}\nspec: {{template: {{spec: {{restartPolicy: Never, containers: [{{name: once, image: {image}, imagePullPolicy: IfNotPresent, args: [--help]}}]}}}}}}\n"
        )
    };
    let (v1, v2) = (
        world.cluster.image("sample-v1").await.unwrap(),
        world.cluster.image("sample-v2").await.unwrap(),
    );
    let first = documents(&[&config("a", "1"), &job(&v1)]);
    world.deploy(plain(&first)).await.outputs();
    let second = RollingDeploy {
        replace: true,
        ..plain(&documents(&[&config("a", "2"), &job(&v2)]))
    };
    world.deploy(second).await.outputs();
    let uid = async || world.get("batch/v1/Job", "once").await.unwrap()["metadata"]["uid"].clone();
    let ran = uid().await;
    let back = world.rollback(Target::Number(1)).await;
    back.outputs();
    assert!(
        back.said("once ran under release number 1 and is not run again"),
        "{:?}",
        back.lines
    );
    assert_eq!(uid().await, ran);
    assert_eq!(
        world.get("v1/ConfigMap", "a").await.unwrap()["data"]["a"],
        "1"
    );

    let endless = job(&v2).replace(", args: [--help]", "");
    let third = RollingDeploy {
        replace: true,
        wait_for_jobs: false,
        ..plain(&documents(&[&config("a", "3"), &endless]))
    };
    world.deploy(third).await.outputs();
    let back = world.rollback(Target::Number(1)).await;
    back.outputs();
    assert!(
        back.said("what runs in its place is deleted"),
        "{:?}",
        back.lines
    );
    assert!(world.get("batch/v1/Job", "once").await.is_none());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stateful_set_is_freed_of_the_broken_pod_that_it_waits_for() {
    let world = World::new("stuck_pod").await;
    let set = |image: &str| {
        format!(
            r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: db}}
spec:
  serviceName: db
  replicas: 2
  selector: {{matchLabels: {{app: db}}}}
  template:
    metadata: {{labels: {{app: db}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: db
          image: {image}
          imagePullPolicy: IfNotPresent
          readinessProbe: {{httpGet: {{path: /ready, port: 8080}}, periodSeconds: 1}}
"#
        )
    };
    let v1 = world.cluster.image("sample-v1").await.unwrap();
    let v3 = world.cluster.image("sample-v3").await.unwrap();
    world.deploy(plain(&set(&v1))).await.outputs();
    world.deploy(plain(&set(&v3))).await.failure();
    let back = world.rollback(Target::Below(2)).await;
    back.outputs();
    assert!(
        back.said("in the way of its StatefulSet"),
        "{:?}",
        back.lines
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_quota_hinders_no_replacement_and_no_return() {
    let world = World::new("restoring_full").await;
    let image = world.cluster.image("sample-v1").await.unwrap();
    world.given("apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: small}\nspec: {hard: {count/deployments.apps: \"1\"}}\n").await;
    let counted = "--for=jsonpath={.status.hard}";
    let wait = ["wait", counted, "resourcequota/small"];
    world.kubectl(&wait, "").await;
    let first = web(&image, "");
    let other = RollingDeploy {
        replace: true,
        ..plain(&first.replace("app: web", "app: shop"))
    };
    world.deploy(plain(&first)).await.outputs();

    // What the new object is like is not known, and what becomes of it without being asked for is said.
    let compared = RollingDeploy {
        replace: false,
        ..other.clone()
    };
    let compared = world.task(Action::Diff(compared.into()));
    let compared = world.run(&compared).await;
    let web = &compared.outputs()["objects"][0];
    assert_eq!(web["change"], "replaced");
    let notes = web["notes"].to_string();
    for note in ["spec.selector", "is not known", "refused without --replace"] {
        assert!(notes.contains(note), "{note}: {notes}");
    }

    world.deploy(other).await.outputs();
    let back = world.rollback(Target::Number(1)).await;
    let replaced = back.outputs()["replacedResourceIds"].as_array().unwrap();
    assert_eq!(replaced.len(), 1, "{replaced:?}");
    let web = world.get("apps/v1/Deployment", "web").await.unwrap();
    assert_eq!(web["spec"]["selector"]["matchLabels"]["app"], "web");

    // With room for both, what the API server adds is in neither side of the difference.
    let delete = ["delete", "resourcequota", "small"];
    world.kubectl(&delete, "").await;
    let compared = plain(&first.replace("app: web", "app: shop"));
    let compared = world.task(Action::Diff(compared.into()));
    let compared = world.run(&compared).await;
    let text = compared.outputs()["objects"][0]["text"].as_str().unwrap();
    assert!(text.contains("app: shop"), "{text}");
    assert!(!text.contains("\n-  revisionHistoryLimit"), "{text}");
    world.finish().await;
}
