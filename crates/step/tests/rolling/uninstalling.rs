//! The end of a release: what goes, in which order, and what stays.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use serde_json::Value;
use sortie_cluster::fault::Point;
use sortie_cluster::record::{HEAD_TYPE, PART_TYPE};
use sortie_cluster::watch::Selection;
use sortie_step::report::Change;
use sortie_step::task::{Action, Uninstall};
use sortie_testkit::Cluster;

use crate::crashing::{Deed, Order, limits, run_until, variable};
use crate::world::{Told, World, config, documents, plain, web};

/// The writes that happen in an uninstallation; a lease that is not long held is not renewed.
pub(crate) const POINTS: &[Point] = &[
    Point::LeaseTake,
    Point::LeaseRelease,
    Point::LeaseDelete,
    Point::HeadUpdate,
    Point::HeadDelete,
    Point::PartDelete,
    Point::Delete,
];

/// How many places a normal run tries to die at.
const SAMPLE: usize = 3;

const CLAIM: &str = "
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
";

/// A ConfigMap whose name follows its content.
const SETTINGS: &str =
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: \"1\"}\n";

fn uses_settings(image: &str) -> String {
    web(image, "").replace(
        "          imagePullPolicy",
        "          envFrom: [{configMapRef: {name: settings}}]\n          imagePullPolicy",
    )
}

/// A StatefulSet without pods that has a claim per pod all the same.
fn database(replicas: u32, image: &str) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: db}}
spec:
  replicas: {replicas}
  serviceName: db
  selector: {{matchLabels: {{app: db}}}}
  template:
    metadata: {{labels: {{app: db}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: db
          image: {image}
          imagePullPolicy: IfNotPresent
          volumeMounts: [{{name: log, mountPath: /log}}]
  volumeClaimTemplates:
    - metadata: {{name: log}}
      spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Mi}}}}}}
"#
    )
}

/// A ConfigMap that says that it stays.
fn protected() -> String {
    config("protected", "1").replace(
        "annotations: {",
        "annotations: {sortie.dev/prune: \"false\", ",
    )
}

async fn uninstall(world: &World, options: Uninstall) -> Told {
    world.run(&world.task(Action::Uninstall(options))).await
}

/// Names of Secrets with a record of any release, and of all Leases.
async fn traces(world: &World) -> Vec<String> {
    let namespace = world.namespace.name();
    let leases = sortie_cluster::Resource::leases();
    let secrets = sortie_cluster::Resource::secrets();
    let mut names = Vec::new();
    for selection in [
        Selection::of(secrets.clone(), namespace).where_fields(format!("type={HEAD_TYPE}")),
        Selection::of(secrets, namespace).where_fields(format!("type={PART_TYPE}")),
        Selection::of(leases, namespace),
    ] {
        let found = world.api.list(&selection).await.unwrap();
        names.extend(found.iter().map(|one| one["metadata"]["name"].to_string()));
    }
    names
}

fn kept(told: &Told) -> Vec<(String, String)> {
    let kept = told.outputs()["kept"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut kept: Vec<_> = kept
        .iter()
        .map(|row| {
            let name = format!(
                "{}/{}",
                text(&row["object"]["kind"]),
                text(&row["object"]["name"])
            );
            (name, text(&row["reason"]))
        })
        .collect();
    kept.sort();
    kept
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_goes_in_reverse_order_and_storage_stays() {
    let world = World::new("uninstall_all").await;
    let image = world.cluster.image("sample-v1").await.unwrap();
    let set = documents(&[
        &config("a", "1"),
        &protected(),
        SETTINGS,
        CLAIM,
        &uses_settings(&image).replace(
            "      containers:",
            "      volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]\n      containers:",
        ),
        &database(1, &image),
    ]);
    world.deploy(plain(&set)).await.outputs();

    let told = uninstall(
        &world,
        Uninstall {
            dry_run: true,
            ..Uninstall::default()
        },
    )
    .await;
    assert_eq!(told.outputs()["dryRun"].as_array().unwrap().len(), 4);
    assert!(world.get("apps/v1/Deployment", "web").await.is_some());

    let told = uninstall(&world, Uninstall::default()).await;
    let gone: Vec<String> = told
        .rows
        .iter()
        .filter(|row| row.change == Change::Deleted && row.message == "deleted")
        .map(|row| row.id.kind.clone())
        .collect();
    let place = |kind: &str| gone.iter().position(|gone| gone == kind).unwrap();
    assert!(place("Deployment") < place("ConfigMap"), "{gone:?}");
    assert!(place("StatefulSet") < place("ConfigMap"), "{gone:?}");
    assert_eq!(gone.len(), 4, "{gone:?}");
    // Versioned configuration is the last.
    let last = told.rows.last().unwrap();
    assert!(last.id.name.starts_with("settings-"), "{last:?}");
    let lost = "what it holds cannot be brought back";
    assert_eq!(
        kept(&told),
        [
            (
                "ConfigMap/protected".to_owned(),
                "its annotation sortie.dev/prune says so".to_owned()
            ),
            ("PersistentVolumeClaim/data".to_owned(), lost.to_owned()),
            ("PersistentVolumeClaim/log-db-0".to_owned(), lost.to_owned()),
        ]
    );
    assert_eq!(traces(&world).await, [""; 0]);
    assert!(world.get("v1/ConfigMap", "protected").await.is_some());
    for claim in ["data", "log-db-0"] {
        let claim = world.get("v1/PersistentVolumeClaim", claim).await.unwrap();
        assert!(claim["metadata"]["deletionTimestamp"].is_null());
    }

    // The same name begins anew, with what was kept.
    let told = world.deploy(plain(&set)).await;
    assert_eq!(told.outputs()["releaseNumber"], 1);
    let everything = Uninstall {
        delete_storage: true,
        dry_run: false,
    };
    let told = uninstall(&world, everything).await;
    assert_eq!(kept(&told).len(), 1, "{told:?}");
    for claim in ["data", "log-db-0"] {
        let claim = world.get("v1/PersistentVolumeClaim", claim).await;
        assert!(claim.is_none());
    }
    assert_eq!(traces(&world).await, [""; 0]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_others_by_now_stays() {
    let world = World::new("uninstall_others").await;
    let names = ["a", "b", "c", "d"].map(|name| config(name, "1"));
    let set = documents(&[&names[0], &names[1], &names[2], &names[3], SETTINGS]);
    world.deploy(plain(&set)).await.outputs();
    // Another object under the same name.
    world.kubectl(&["delete", "configmap", "a"], "").await;
    world.given(&names[0]).await;
    // Taken over by another release, and by nobody in particular.
    let other = "sortie.dev/release=0123";
    let label = ["label", "--overwrite", "configmap", "b", other];
    world.kubectl(&label, "").await;
    let unlabel = ["label", "configmap", "c", "sortie.dev/release-"];
    world.kubectl(&unlabel, "").await;
    // Somebody's pod names our configuration.
    let settings = world.kubectl(&["get", "configmap", "-o", "name"], "").await;
    let settings = settings
        .lines()
        .find_map(|line| line.strip_prefix("configmap/settings-"))
        .unwrap();
    world
        .given(&format!(
            "apiVersion: batch/v1\nkind: CronJob\nmetadata: {{name: other}}\nspec:\n  schedule: '0 0 1 1 *'\n  jobTemplate:\n    spec:\n      template:\n        spec:\n          restartPolicy: Never\n          containers: [{{name: a, image: a, envFrom: [{{configMapRef: {{name: settings-{settings}}}}}]}}]\n"
        ))
        .await;

    let told = uninstall(&world, Uninstall::default()).await;
    let kept = kept(&told);
    let reasons: Vec<&str> = kept.iter().map(|(_, reason)| reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "another object has its name now",
            "it does not carry the label of this release any more",
            "it does not carry the label of this release any more",
            "something that stays names it",
        ],
        "{kept:?}"
    );
    for (name, there) in [("a", true), ("b", true), ("c", true), ("d", false)] {
        let found = world.get("v1/ConfigMap", name).await.is_some();
        assert_eq!(found, there, "{name}");
    }
    assert_eq!(traces(&world).await, [""; 0]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_without_records_is_found_by_its_label() {
    let world = World::new("uninstall_lost").await;
    let set = documents(&[&config("a", "1"), SETTINGS]);
    world.deploy(plain(&set)).await.outputs();
    let fields = format!("type={HEAD_TYPE}");
    for selection in [fields.as_str(), &format!("type={PART_TYPE}")] {
        let delete = ["delete", "secret", "--field-selector", selection];
        world.kubectl(&delete, "").await;
    }
    let lease = world.kubectl(&["get", "lease", "-o", "name"], "").await;
    world.kubectl(&["delete", lease.trim()], "").await;
    assert_eq!(traces(&world).await, [""; 0]);

    let told = uninstall(&world, Uninstall::default()).await;
    assert_eq!(told.outputs()["uninstalled"], true);
    assert!(world.get("v1/ConfigMap", "a").await.is_none());
    assert_eq!(told.outputs()["deleted"].as_array().unwrap().len(), 2);
    assert_eq!(traces(&world).await, [""; 0]);

    let told = uninstall(&world, Uninstall::default()).await;
    assert_eq!(told.outputs()["uninstalled"], false);
    assert_eq!(traces(&world).await, [""; 0], "it leaves nothing behind");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_deleted_keeps_the_records_for_the_next_time() {
    let mut world = World::new("uninstall_stuck").await;
    let held = config("held", "1").replace(
        "annotations: {",
        "finalizers: [example.com/hold]\n  annotations: {",
    );
    let set = documents(&[&config("a", "1"), &held]);
    world.deploy(plain(&set)).await.outputs();
    let rule = r#"
- {apiGroups: [""], resources: [secrets, configmaps, pods, events], verbs: [get, list, watch, create, patch, update]}
- {apiGroups: [""], resources: [secrets], verbs: [delete]}
- {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, list, watch, create, update, delete]}
"#;
    world.with_rights(rule).await;
    let told = uninstall(&world, Uninstall::default()).await;
    assert_eq!(told.failure().code, "SRT-C003", "{:?}", told.failure());
    assert!(told.said("kinds cannot be searched"), "{:?}", told.lines);
    let head = world.heads().await.pop().unwrap();
    assert!(
        head.message.starts_with("uninstall failed"),
        "{}",
        head.message
    );

    // With the right to, and without the finalizer, the next one ends it.
    let world = World {
        api: crate::world::connect(world.cluster.kubeconfig()).await,
        ..world
    };
    let free = r#"{"metadata":{"finalizers":null}}"#;
    let patch = ["patch", "configmap", "held", "--type=merge", "-p", free];
    world.kubectl(&patch, "").await;
    uninstall(&world, Uninstall::default()).await.outputs();
    assert_eq!(traces(&world).await, [""; 0]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_holds_a_deletion_is_named_meanwhile_and_at_the_deadline() {
    let world = World::new("uninstall_held").await;
    let held = config("held", "1").replace(
        "annotations: {",
        "finalizers: [example.com/hold]\n  annotations: {",
    );
    let set = documents(&[&config("a", "1"), &held]);
    world.deploy(plain(&set)).await.outputs();
    let mut task = world.task(Action::Uninstall(Uninstall::default()));
    task.timeout = Duration::from_secs(5);
    let told = world.run(&task).await;
    let free = r#"{"metadata":{"finalizers":null}}"#;
    let patch = ["patch", "configmap", "held", "--type=merge", "-p", free];
    world.kubectl(&patch, "").await;

    let failure = told.failure();
    assert_eq!(failure.code, "SRT-T010", "{failure:?}");
    let why = "/held, waiting for finalizers example.com/hold (of the controller of example.com)";
    assert!(failure.message.contains(why), "{failure:?}");
    let meanwhile = told
        .rows
        .iter()
        .any(|row| row.id.name == "held" && row.message.contains("example.com/hold"));
    assert!(meanwhile, "{:?}", told.rows);
    uninstall(&world, Uninstall::default()).await.outputs();
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_of_its_own_goes_last_and_one_that_others_use_stays() {
    let world = World::new("uninstall_home").await;
    let namespace = format!("{}-own", world.namespace.name());
    let own = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n");
    let set = documents(&[&own, &config("a", "1")]);
    let task = |action: Action, release: &str| {
        let mut task = world.task(action);
        namespace.clone_into(&mut task.release.namespace);
        release.clone_into(&mut task.release.name);
        task
    };
    let all = Action::Uninstall(Uninstall {
        delete_storage: true,
        dry_run: false,
    });
    let first = task(Action::RollingDeploy(plain(&set)), "first");
    world.run(&first).await.outputs();
    let other = task(Action::RollingDeploy(plain(&config("b", "1"))), "other");
    world.run(&other).await.outputs();

    let told = world.run(&task(all.clone(), "first")).await;
    assert_eq!(
        kept(&told),
        [(
            format!("Namespace/{namespace}"),
            "it holds other releases: other".to_owned()
        )]
    );
    assert!(
        world
            .get_in(&namespace, "v1/ConfigMap", "a")
            .await
            .is_none()
    );
    assert!(
        world
            .get_in(&namespace, "v1/ConfigMap", "b")
            .await
            .is_some()
    );

    world.run(&task(all.clone(), "other")).await.outputs();
    let told = world.run(&task(all, "first")).await;
    let deleted = told.outputs()["deleted"].as_array().unwrap();
    assert_eq!(deleted.len(), 1, "{deleted:?}");
    assert!(world.get("v1/Namespace", &namespace).await.is_none());
    world.finish().await;
}

/// A death at the place and another process; says whether the place was reached.
async fn survive(place: &str, image: &str) -> bool {
    let mut world = World::new(&format!("uninstall_{}", place.replace(':', "_"))).await;
    world.limits = limits(5);
    let set = documents(&[
        &config("a", "1"),
        &protected(),
        SETTINGS,
        CLAIM,
        &uses_settings(image),
        &database(0, image),
    ]);
    // Two records.
    world.deploy(plain(&set)).await.outputs();
    let set = set.replace(
        "app: web}\n  template",
        "app: web}\n  minReadySeconds: 1\n  template",
    );
    world.deploy(plain(&set)).await.outputs();
    let folder = tempfile::tempdir().unwrap();
    let order = Order::of(&world, Deed::Uninstall, folder.path());
    let first = run_until(&order, Some(place.to_owned())).await;
    let reached = first.is_err();
    if reached {
        let told = run_until(&order, None).await.unwrap();
        assert!(told["uninstalled"].is_boolean(), "{place}: {told}");
    }
    assert_eq!(traces(&world).await, [""; 0], "{place}");
    for (kind, name, there) in [
        ("v1/ConfigMap", "a", false),
        ("v1/ConfigMap", "protected", true),
        ("v1/PersistentVolumeClaim", "data", true),
        ("apps/v1/Deployment", "web", false),
        ("apps/v1/StatefulSet", "db", false),
    ] {
        let found = world.get(kind, name).await;
        assert_eq!(found.is_some(), there, "{place}: {kind} {name}");
    }
    let left = world
        .kubectl(&["get", "configmap,pod,replicaset", "-o", "name"], "")
        .await;
    let left: Vec<&str> = left
        .lines()
        .filter(|name| !name.contains("kube-root"))
        .collect();
    assert_eq!(left, ["configmap/protected"], "{place}");
    world.finish().await;
    reached
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_uninstalls_after_a_kill_reaches_the_same_end() {
    let cluster = Cluster::shared().await.unwrap();
    let image = cluster.image("sample-v1").await.unwrap();
    let full = variable("SORTIE_FULL").is_some();
    let mut places: Vec<(Point, &str)> = Vec::new();
    for point in POINTS {
        places.extend(["before", "after"].map(|side| (*point, side)));
    }
    let mut seed = uuid::Uuid::new_v4().as_u128();
    while !full && places.len() > SAMPLE {
        let count = places.len() as u128;
        places.swap_remove(usize::try_from(seed % count).unwrap());
        seed /= count;
    }
    let image = &image;
    let deaths = places.into_iter().map(|(point, side)| async move {
        let mut time = 1;
        loop {
            let place = format!("{}:{side}:{time}", point.name());
            println!("{place}");
            let reached = survive(&place, image).await;
            assert!(reached || time > 1, "{place} is not reached");
            time += 1;
            if !reached || !full {
                return;
            }
        }
    });
    stream::iter(deaths)
        .buffer_unordered(3)
        .collect::<Vec<()>>()
        .await;
}
