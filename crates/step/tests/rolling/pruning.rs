//! Deleting what earlier releases had and the new one lacks.

use serde_json::Value;
use sortie_step::report::{Change, Unit};
use sortie_step::task::{Action, Prune, RollingDeploy, Target};

use crate::crashing::{Deed, Order, run_until};
use crate::world::{Told, World, config, documents, plain, web};

/// Deploys documents and prunes.
fn pruning(yaml: &str) -> RollingDeploy {
    RollingDeploy {
        prune: Some(Prune::default()),
        ..plain(yaml)
    }
}

/// A ConfigMap with one more annotation, whose name stays as it is.
fn annotated(name: &str, annotation: &str) -> String {
    config(name, "1").replacen(
        "annotations: {",
        &format!("annotations: {{{annotation}, "),
        1,
    )
}

async fn has(world: &World, name: &str) -> bool {
    world.get("v1/ConfigMap", name).await.is_some()
}

fn pruned(told: &Told) -> Vec<&str> {
    let ids = told.outputs()["prunedResourceIds"].as_array().unwrap();
    ids.iter().map(|id| id.as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_set_lacks_goes_when_the_release_is_healthy_and_a_rollback_restores_it() {
    let world = World::new("pruned").await;
    let (v1, v3) = (
        world.cluster.image("sample-v1").await.unwrap(),
        world.cluster.image("sample-v3").await.unwrap(),
    );
    let settings = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: b}\n";
    let claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}\n";
    let old_web = web(&v1, "")
        .replace("name: web}", "name: old}")
        .replace("app: web", "app: old");
    let first = documents(&[
        &config("kept", "1"),
        &config("gone", "1"),
        &annotated("ours", "sortie.dev/prune: \"false\""),
        &annotated("theirs", "harness.io/skipPruning: \"true\""),
        settings,
        claim,
        &old_web,
    ]);
    world.deploy(plain(&first)).await.outputs();

    // Not before the new release is healthy.
    let broken = documents(&[&config("kept", "2"), &web(&v3, "")]);
    let failed = world.deploy(pruning(&broken)).await;
    failed.failure();
    assert!(
        failed.said("ConfigMap/gone") || failed.said("will be deleted once"),
        "{:?}",
        failed.lines
    );
    assert!(has(&world, "gone").await);
    world.rollback(Target::Below(2)).await.outputs();

    let second = world.deploy(pruning(&config("kept", "2"))).await;
    let deployment = format!("Deployment.apps/{}/old", world.namespace.name());
    let mut ids = pruned(&second);
    ids.sort_unstable();
    assert_eq!(ids.len(), 2, "{ids:?} {deployment}");
    assert!(
        ids[0].contains("ConfigMap") && ids[0].ends_with("gone"),
        "{ids:?}"
    );
    assert!(
        ids[1].contains("Deployment") && ids[1].ends_with("old"),
        "{ids:?}"
    );
    // Workloads go before what they stand on, and before them their pods.
    let deleted: Vec<&str> = second
        .rows
        .iter()
        .filter(|row| row.change == Change::Deleted && row.message == "deleted")
        .map(|row| row.id.name.as_str())
        .collect();
    assert_eq!(deleted, ["old", "gone"]);
    let pods = world
        .kubectl(&["get", "pods", "-l", "app=old", "-o", "name"], "")
        .await;
    assert_eq!(pods, "");
    let units = second.begun();
    let at = |unit| units.iter().position(|begun| *begun == unit).unwrap();
    assert!(at(Unit::WaitForSteadyState) < at(Unit::Prune) && at(Unit::Prune) < at(Unit::WrapUp));
    let shown = |name: &str| {
        let mut lines = second.lines.iter();
        lines.any(|(unit, _, line)| {
            *unit == Unit::Prepare && line.contains(name) && line.contains("will be deleted")
        })
    };
    assert!(shown("/old") && shown("/gone"), "{:?}", second.lines);
    for name in ["ours", "theirs"] {
        assert!(has(&world, name).await, "{name} is protected");
    }
    assert!(
        world
            .get("v1/PersistentVolumeClaim", "data")
            .await
            .is_some()
    );
    let newest = world.heads().await.pop().unwrap();
    let names: Vec<&str> = newest
        .inventory
        .iter()
        .map(|tracked| tracked.id.name.as_str())
        .collect();
    // Exact after pruning: what is kept is known to later deployments, too.
    assert_eq!(names, ["kept", "ours", "theirs", "data"]);

    // A later step failed: everything comes back.
    let back = world.rollback(Target::Below(3)).await;
    assert!(has(&world, "gone").await);
    assert!(world.get("apps/v1/Deployment", "old").await.is_some());
    let recreated = back.outputs()["recreatedResourceIds"].to_string();
    assert!(
        recreated.contains("/gone") && recreated.contains("/old"),
        "{recreated}"
    );
    let address = ["get", "pods", "-o", "jsonpath={.items[*].status.podIP}"];
    let address = world.kubectl(&address, "").await;
    assert_eq!(back.outputs()["podIps"], serde_json::json!([address]));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_the_limit_is_refused_before_the_first_write() {
    let world = World::new("prune_limit").await;
    let names: Vec<String> = (0..9)
        .map(|number| config(&format!("c{number}"), "1"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    world.deploy(plain(&documents(&names))).await.outputs();
    let small = config("c0", "2");

    let refused = world.deploy(pruning(&small)).await;
    assert_eq!(refused.failure().code, "SRT-T022");
    assert!(
        refused.failure().hint.contains("pruneLimit: 8"),
        "{:?}",
        refused.failure()
    );
    assert!(refused.said("c8: will be deleted"), "the list is shown");
    assert_eq!(world.statuses().await, ["Succeeded"]);
    let untouched = world.get("v1/ConfigMap", "c0").await.unwrap();
    assert_eq!(untouched["data"]["a"], "1");

    let dry = RollingDeploy {
        dry_run: true,
        prune: Some(Prune { limit: Some(8) }),
        ..plain(&small)
    };
    let dry = world.deploy(dry).await;
    let rows = dry.outputs()["dryRun"].as_array().unwrap();
    let deleted = rows.iter().filter(|row| row["change"] == "deleted");
    assert_eq!(deleted.count(), 8, "{rows:?}");
    assert!(has(&world, "c8").await);

    let allowed = RollingDeploy {
        prune: Some(Prune { limit: Some(8) }),
        ..plain(&small)
    };
    assert_eq!(pruned(&world.deploy(allowed).await).len(), 8);
    assert!(!has(&world, "c8").await);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_objects_and_other_objects_of_the_same_name_stay() {
    let world = World::new("prune_others").await;
    let set = documents(&[&config("a", "1"), &config("b", "1"), &config("c", "1")]);
    world.deploy(plain(&set)).await.outputs();
    world
        .kubectl(
            &[
                "label",
                "configmap",
                "b",
                "sortie.dev/release-",
                "--overwrite",
            ],
            "",
        )
        .await;
    world.kubectl(&["delete", "configmap", "c"], "").await;
    let label = labels_of(&world, "a").await;
    world.kubectl(&["create", "configmap", "c"], "").await;
    let ours = format!("sortie.dev/release={label}");
    world.kubectl(&["label", "configmap", "c", &ours], "").await;

    let told = world.deploy(pruning(&config("a", "2"))).await;
    assert!(pruned(&told).is_empty(), "{told:?}");
    assert!(has(&world, "b").await && has(&world, "c").await);
    assert!(told.said("does not carry the label") && told.said("another object has its name"));
    world.finish().await;
}

async fn labels_of(world: &World, name: &str) -> String {
    let object = world.get("v1/ConfigMap", name).await.unwrap();
    let label = &object["metadata"]["labels"]["sortie.dev/release"];
    label.as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_record_the_labels_tell_what_there_was() {
    let world = World::new("prune_unrecorded").await;
    let v1 = world.cluster.image("sample-v1").await.unwrap();
    let widget =
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: gone}\nrules: []\n";
    let set = documents(&[
        &config("kept", "1"),
        &config("gone", "1"),
        widget,
        &web(&v1, ""),
    ]);
    world.deploy(plain(&set)).await.outputs();
    let records = ["sortie.dev/release.v1", "sortie.dev/part.v1"];
    for kind in records {
        let field = format!("--field-selector=type={kind}");
        world.kubectl(&["delete", "secrets", &field], "").await;
    }
    assert!(world.heads().await.is_empty());

    let told = world
        .deploy(pruning(&documents(&[&config("kept", "2"), &web(&v1, "")])))
        .await;
    let mut ids = pruned(&told);
    ids.sort_unstable();
    assert_eq!(
        ids.len(),
        2,
        "pods and ReplicaSets are their Deployment's: {ids:?}"
    );
    assert!(!has(&world, "gone").await);
    let role = world.get("rbac.authorization.k8s.io/v1/Role", "gone").await;
    assert!(role.is_none());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_deleted_is_tried_again_by_the_next_deployment() {
    let mut world = World::new("prune_again").await;
    let rights = |verbs: &str| {
        format!(
            r#"
  - {{apiGroups: [""], resources: [configmaps], verbs: {verbs}}}
  - {{apiGroups: [""], resources: [secrets], verbs: [get, list, watch, create, patch, update, delete]}}
  - {{apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, list, watch, create, patch, update]}}
  - {{apiGroups: [""], resources: [pods, events], verbs: [get, list, watch]}}
  - {{apiGroups: [apps], resources: [replicasets], verbs: [get, list, watch]}}
"#
        )
    };
    world
        .with_rights(&rights("[get, list, watch, create, patch]"))
        .await;
    let set = documents(&[&config("a", "1"), &config("b", "1")]);
    world.deploy(plain(&set)).await.outputs();
    let told = world.deploy(pruning(&config("a", "2"))).await;
    assert_eq!(
        told.outputs()["prunedResourceIds"],
        Value::Array(Vec::new())
    );
    assert!(told.said("left for the next time"), "{:?}", told.lines);
    world
        .kubectl(
            &["delete", "role,rolebinding,serviceaccount", "deployer"],
            "",
        )
        .await;

    world
        .with_rights(&rights("[get, list, watch, create, patch, delete]"))
        .await;
    let mut task = world.task(Action::RollingDeploy(pruning(&config("a", "3"))));
    task.requested_by.user = "bob".to_owned();
    let told = world.run(&task).await;
    assert_eq!(pruned(&told).len(), 1);
    assert!(!has(&world, "b").await);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_when_there_is_nothing_to_deploy_or_it_cannot_be_rendered() {
    let world = World::new("prune_nothing").await;
    let first = documents(&[&config("a", "1"), &config("b", "1")]);
    world.deploy(plain(&first)).await.outputs();
    for broken in [
        "# nothing\n",
        "{{ if false }}a: b{{ end }}\n",
        "{{ .Values.missing.deeply }}\n",
        "kind: ConfigMap\n",
    ] {
        let told = world.deploy(pruning(broken)).await;
        told.failure();
        assert!(told.rows.is_empty(), "{broken}: {:?}", told.rows);
    }
    assert!(has(&world, "a").await && has(&world, "b").await);
    assert_eq!(world.statuses().await, ["Succeeded"]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_names_all_that_was_and_will_be_before_the_first_write() {
    let world = World::new("superset").await;
    let first = documents(&[&config("kept", "1"), &config("gone", "1")]);
    world.deploy(plain(&first)).await.outputs();
    let folder = tempfile::tempdir().unwrap();
    let deed = Deed::Deploy(documents(&[&config("kept", "2"), &config("new", "1")]));
    let order = Order::of(&world, deed, folder.path());
    let killed = run_until(&order, Some("apply:before".to_owned())).await;
    killed.unwrap_err();
    assert!(!has(&world, "new").await, "nothing is written yet");
    let newest = world.heads().await.pop().unwrap();
    let tracked = newest.inventory.iter();
    let mut names: Vec<&str> = tracked.map(|tracked| tracked.id.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["gone", "kept", "new"]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_without_pruning_is_said_and_known_however_long_ago_it_was_deployed() {
    let mut world = World::new("left").await;
    world.limits.history = 2;
    let first = documents(&[
        &config("a", "0"),
        &config("old", "1"),
        &config("older", "1"),
    ]);
    world.deploy(plain(&first)).await.outputs();
    world.kubectl(&["delete", "configmap", "older"], "").await;
    for round in ["1", "2", "3", "4"] {
        let told = world.deploy(plain(&config("a", round))).await;
        told.outputs();
        assert!(told.said("left: ConfigMap/"), "{:?}", told.lines);
        assert!(told.said("/old is not in the set"), "{:?}", told.lines);
    }
    let heads = world.heads().await;
    assert!(heads.iter().all(|head| head.number > 1));
    let known: Vec<&str> = heads[0]
        .inventory
        .iter()
        .map(|tracked| tracked.id.name.as_str())
        .collect();
    assert_eq!(known, ["a", "old"]);

    // It was there before the release that is undone, whatever that one carries along.
    let back = world.rollback(Target::Number(heads[0].number)).await;
    back.outputs();
    assert!(has(&world, "old").await);
    assert!(!back.said("/old"), "{:?}", back.lines);

    let told = world.deploy(pruning(&config("a", "5"))).await;
    let pruned = pruned(&told);
    assert_eq!(pruned.len(), 1, "{pruned:?}");
    assert!(pruned[0].ends_with("/old"), "{pruned:?}");
    assert!(!has(&world, "old").await);
    world.finish().await;
}
