//! Rules of apply and health that other stories do not come by. See docs/rules.md.

use std::time::Duration;

use sortie_health::Status as Health;
use sortie_step::report::ObjectRow;
use sortie_step::task::{Prune, RollingDeploy};
use sortie_testkit::Audited;

use crate::sets::NAMESPACE_RIGHTS;
use crate::world::{RELEASE, Told, World, config, documents, inline, plain, web};

/// What the steps of this test asked of the API server; empty when its audit log cannot be read.
async fn asked(world: &World) -> Option<Vec<Audited>> {
    world.cluster.dir()?;
    let user = format!("system:serviceaccount:{}:deployer", world.namespace.name());
    Some(world.cluster.audit(&user).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_object_of_fifty_and_nothing_is_written() {
    let mut world = World::new("one_of_fifty").await;
    world.with_rights(NAMESPACE_RIGHTS).await;
    let mut set: Vec<String> = (0..49)
        .map(|number| config(&format!("c{number}"), "1"))
        .collect();
    set.insert(
        30,
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 99999}]}\n"
            .to_owned(),
    );
    let set: Vec<&str> = set.iter().map(String::as_str).collect();
    let told = world.deploy(plain(&documents(&set))).await;
    let failure = told.failure();
    assert_eq!(failure.code, "SRT-C005", "{failure:?}");
    assert!(
        failure.message.contains("spec.ports[0].port"),
        "{failure:?}"
    );
    if let Some(asked) = asked(&world).await {
        let dry = |request: &&Audited| request.query.contains("dryRun=All");
        assert!(
            asked.iter().filter(dry).count() >= 50,
            "the whole set is tried out"
        );
        let is_write = |verb: &str| matches!(verb, "create" | "update" | "patch" | "delete");
        let written: Vec<&Audited> = asked
            .iter()
            .filter(|request| is_write(&request.verb) && !dry(request))
            // Who works on the release is no object of it; what a right allows is asked by a creation.
            .filter(|request| {
                request.resource != "leases" && !request.resource.ends_with("reviews")
            })
            .collect();
        assert!(written.is_empty(), "{written:?}");
    }
    world
        .assert_untouched(&[("v1/ConfigMap", "c0"), ("v1/ConfigMap", "c48")])
        .await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_pruned_for_a_set_that_is_unreadable_empty_or_elsewhere() {
    let world = World::new("spared").await;
    let objects = [config("a", "1"), config("b", "1")];
    let first = documents(&[&objects[0], &objects[1]]);
    world.deploy(plain(&first)).await.outputs();
    let pruning = |manifests: &str| RollingDeploy {
        manifests: inline(&[("templates/set.yaml", manifests)]),
        values: inline(&[("values.yaml", "empty: true\n")]),
        prune: Some(Prune { limit: Some(100) }),
        ..RollingDeploy::default()
    };
    let both_are_there = async || {
        for name in ["a", "b"] {
            assert!(
                world.get("v1/ConfigMap", name).await.is_some(),
                "{name} is gone"
            );
        }
    };
    let failing = format!("{}\n---\n{{{{ fail \"no\" }}}}\n", objects[0]);
    let empty = format!(
        "{{{{- if not .Values.empty }}}}\n{}{{{{- end }}}}\n",
        objects[0]
    );
    let invalid = format!(
        "{}\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: w}}\nspec: {{ports: [{{port: 99999}}]}}\n",
        objects[0]
    );
    for set in [&failing, &empty, &invalid] {
        world.deploy(pruning(set)).await.failure();
        both_are_there().await;
    }
    // The same name of a release in another namespace is another release.
    let other = World::new("spared_not").await;
    let told = other.deploy(pruning(&config("c", "1"))).await;
    assert_eq!(told.outputs()["prunedResourceIds"], serde_json::json!([]));
    both_are_there().await;
    assert_eq!(world.statuses().await, ["Succeeded"], "{RELEASE}");
    other.finish().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wait_for_health_watches_each_kind_once_and_asks_for_nothing() {
    let mut world = World::new("watched").await;
    world.with_rights(NAMESPACE_RIGHTS).await;
    let v1 = world.cluster.image("sample-v1").await.unwrap();
    let one = web(&v1, r#", {name: START_DELAY, value: "2"}"#);
    let two = one
        .replace("name: web}", "name: two}")
        .replace("app: web", "app: two");
    world
        .deploy(plain(&documents(&[&one, &two])))
        .await
        .outputs();
    if let Some(asked) = asked(&world).await {
        for resource in ["pods", "replicasets", "events"] {
            let of = |verb: &str| {
                let of = |request: &&Audited| {
                    request.resource == resource
                        && request.verb == verb
                        && request.subresource.is_empty()
                };
                asked.iter().filter(of).count()
            };
            assert_eq!(of("get"), 0, "{resource}: {asked:?}");
            // One for the watch, and one for the collection of configuration that no pod uses any more.
            assert!(of("list") <= 2, "{resource}: {asked:?}");
            assert_eq!(of("watch"), 1, "{resource}: {asked:?}");
        }
    }
    world.finish().await;
}

#[track_caller]
fn last_row<'a>(told: &'a Told, kind: &str) -> &'a ObjectRow {
    let rows = told.rows.iter().rev();
    let mut rows = rows.filter(|row| row.id.kind == kind);
    rows.next()
        .unwrap_or_else(|| panic!("no row about a {kind}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_as_good_as_it_gets_is_healthy_and_says_why() {
    let world = World::new("good_enough").await;
    // Nothing runs, nothing is bound, nobody has given the Ingress an address, and the selector has a typing error.
    let set = r"
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: CLASS}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {storageClassName: CLASS, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: wbe}, ports: [{port: 80}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec: {rules: [{host: web.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: nobody/pulls-this:1}]}}
";
    let class = world.namespace.name().to_owned();
    let told = world.deploy(plain(&set.replace("CLASS", &class))).await;
    world
        .kubectl_anywhere(&["delete", "storageclass", &class], "")
        .await;
    told.outputs();
    for (kind, words) in [
        ("PersistentVolumeClaim", "first"),
        ("Service", "matches no pod"),
        ("Ingress", "no address"),
        ("Deployment", "scaled to zero"),
    ] {
        let row = last_row(&told, kind);
        assert_eq!(row.health, Health::Healthy, "{row:?}");
        assert!(row.message.contains(words), "{row:?}");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_runs_is_not_done_and_one_replica_that_may_be_unavailable_is_awaited() {
    let world = World::new("awaited").await;
    let v1 = world.cluster.image("sample-v1").await.unwrap();
    // Neither will come to an end: the server of a Job serves for ever, and the Deployment's starts in ten minutes.
    let job = format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: work}}\nspec: {{template: {{spec: {{restartPolicy: Never, terminationGracePeriodSeconds: 0, containers: [{{name: a, image: {v1:?}, imagePullPolicy: IfNotPresent}}]}}}}}}\n"
    );
    let slow = web(&v1, r#", {name: START_DELAY, value: "600"}"#).replace(
        "spec:\n  selector",
        "spec:\n  strategy: {rollingUpdate: {maxUnavailable: 1}}\n  selector",
    );
    assert!(slow.contains("maxUnavailable"));
    for (set, kind, name) in [(job, "Job", "Job/"), (slow, "Deployment", "web-")] {
        let mut task = world.task(sortie_step::task::Action::RollingDeploy(plain(&set)));
        task.timeout = Duration::from_secs(8);
        let told = world.run(&task).await;
        let failure = told.failure();
        assert!(failure.message.contains(name), "{failure:?}");
        let healthy = |row: &ObjectRow| row.id.kind == kind && row.health == Health::Healthy;
        assert!(!told.rows.iter().any(healthy), "{:?}", told.rows);
    }
    world.finish().await;
}
