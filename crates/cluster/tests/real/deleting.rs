use std::time::Duration;

use serde_json::json;
use sortie_cluster::delete::{Doomed, Gone, Held};
use sortie_cluster::lease::Guard;
use sortie_cluster::watch::Selection;

use crate::fixture::{Fixture, config_map, deployment, meddle, objects};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn only_the_meant_object_is_deleted() {
    let fixture = Fixture::new("meant").await;
    let applied = fixture
        .apply(objects(fixture.ns(), &config_map("a", "v")))
        .await;
    let (id, guard) = (applied[0].id.clone(), Guard::unfenced());
    let doomed = |uid: Option<&str>, release: Option<&str>| Doomed {
        id: id.clone(),
        uid: uid.map(str::to_owned),
        release: release.map(str::to_owned),
    };
    let ours = fixture.scope().release;
    for other in [
        doomed(Some("another-uid"), None),
        doomed(None, Some("another-release")),
    ] {
        let gone = fixture
            .cluster
            .delete(&other, PATIENCE, &guard)
            .await
            .unwrap();
        assert_eq!(gone, Gone::NotOurs, "{other:?}");
    }
    let this = doomed(applied[0].uid(), Some(&ours));
    assert_eq!(
        fixture
            .cluster
            .delete(&this, PATIENCE, &guard)
            .await
            .unwrap(),
        Gone::Deleted
    );
    assert_eq!(
        fixture
            .cluster
            .delete(&this, PATIENCE, &guard)
            .await
            .unwrap(),
        Gone::Absent
    );
    fixture.finish().await;
}

#[tokio::test]
async fn a_finalizer_that_nobody_clears_is_named() {
    let fixture = Fixture::new("stuck").await;
    let object = |finalizers: &[&str]| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "finalizers": finalizers}});
    meddle(&fixture, "x", object(&["example.com/slow"])).await;
    let id = sortie_manifest::ObjectId {
        group: String::new(),
        kind: "ConfigMap".into(),
        namespace: Some(fixture.ns().into()),
        name: "a".into(),
    };
    let doomed = Doomed {
        id,
        uid: None,
        release: None,
    };
    let error = fixture
        .cluster
        .delete(&doomed, Duration::from_secs(1), &Guard::unfenced())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "SRT-C017");
    assert!(
        error.to_string().ends_with(
            "waiting for finalizers example.com/slow (of the controller of example.com)"
        ) && error.to_string().contains("being deleted since 20"),
        "{error}"
    );
    // A second try waits for the deletion that is under way, and ends with it.
    let guard = Guard::unfenced();
    let (again, _) = tokio::join!(
        fixture.cluster.delete(&doomed, PATIENCE, &guard),
        meddle(&fixture, "x", object(&[])),
    );
    // Whichever request was first.
    assert!(matches!(again.unwrap(), Gone::Deleted | Gone::Absent));
    fixture.finish().await;
}

#[tokio::test]
async fn a_set_is_deleted_in_reverse_and_workloads_after_their_pods() {
    let fixture = Fixture::new("reverse").await;
    let yaml = format!("{}{}", config_map("a", "v"), deployment("web", "web:1"));
    let applied = fixture.apply(objects(fixture.ns(), &yaml)).await;
    let doomed = applied.iter().map(|applied| Doomed {
        id: applied.id.clone(),
        uid: applied.uid().map(str::to_owned),
        release: Some(fixture.scope().release),
    });
    let results = fixture
        .cluster
        .delete_all(doomed.collect(), PATIENCE, &Guard::unfenced())
        .await;
    let order: Vec<_> = results
        .iter()
        .map(|(id, gone)| (id.kind.as_str(), *gone.as_ref().unwrap()))
        .collect();
    assert_eq!(
        order,
        [("Deployment", Gone::Deleted), ("ConfigMap", Gone::Deleted)]
    );
    let replica_sets = fixture
        .cluster
        .resolve("apps", "v1", "ReplicaSet")
        .await
        .unwrap();
    let left = fixture
        .cluster
        .list(&sortie_cluster::watch::Selection::of(
            replica_sets,
            fixture.ns(),
        ))
        .await
        .unwrap();
    assert!(left.is_empty(), "{left:?}");
    fixture.finish().await;
}

/// A Deployment of the sample, whose pod needs `seconds` to end and is there.
async fn slow_to_end(fixture: &Fixture, seconds: u64) -> (Doomed, serde_json::Value) {
    let shared = sortie_testkit::Cluster::shared().await.unwrap();
    let image = shared.image("sample-v1").await.unwrap();
    let yaml = deployment("web", &image)
        .replace(
            "\"containers\":",
            "\"terminationGracePeriodSeconds\":90,\"containers\":",
        )
        .replace(
            "\"image\":",
            &format!("\"imagePullPolicy\":\"IfNotPresent\",\"lifecycle\":{{\"preStop\":{{\"sleep\":{{\"seconds\":{seconds}}}}}}},\"image\":"),
        );
    let applied = fixture.apply(objects(fixture.ns(), &yaml)).await;
    let deployments = fixture.cluster.resolve("apps", "v1", "Deployment").await;
    let selection = Selection::of(deployments.unwrap(), fixture.ns()).named("web");
    let mut watched = fixture.cluster.watch(selection).await.unwrap();
    let ready = |view: &sortie_cluster::watch::View| {
        let web = view.objects.get("web")?;
        (web["status"]["readyReplicas"] == 1).then(|| serde_json::Value::clone(web))
    };
    let live = watched.until(ready).await;
    let doomed = Doomed {
        id: applied[0].id.clone(),
        uid: applied[0].uid().map(str::to_owned),
        release: None,
    };
    (doomed, live)
}

/// What is told while the deletion of something goes on for longer than it is given.
async fn told_of_deletion(fixture: &Fixture, doomed: &Doomed) -> Vec<String> {
    let told = std::sync::Mutex::new(Vec::new());
    let held = |_: &sortie_manifest::ObjectId, why: Option<&str>| {
        told.lock().unwrap().extend(why.map(str::to_owned));
    };
    let patience = (Duration::from_secs(1), &held as Held<'_>);
    let guard = Guard::unfenced();
    let gone = fixture.cluster.delete(doomed, patience, &guard).await;
    assert_eq!(gone.unwrap(), Gone::Deleted);
    told.into_inner().unwrap()
}

#[tokio::test]
async fn a_workload_is_waited_for_as_long_as_its_pods_may_take_to_end() {
    let fixture = Fixture::new("ends_slowly").await;
    let (doomed, _) = slow_to_end(&fixture, 6).await;
    let told = told_of_deletion(&fixture, &doomed).await;
    assert!(
        told.iter()
            .any(|why| why.starts_with("waiting for pods to end: web-")),
        "{told:?}"
    );
    fixture.finish().await;
}

#[tokio::test]
async fn a_namespace_is_waited_for_as_long_as_anybodys_pods_in_it_may_take_to_end() {
    let fixture = Fixture::new("ends_namespace").await;
    slow_to_end(&fixture, 6).await;
    let doomed = Doomed {
        id: sortie_manifest::ObjectId {
            group: String::new(),
            kind: "Namespace".into(),
            namespace: None,
            name: fixture.ns().into(),
        },
        uid: None,
        release: None,
    };
    let told = told_of_deletion(&fixture, &doomed).await;
    let named = |why: &String| why.contains("waiting for pods to end: web-");
    assert!(told.iter().any(named), "{told:?}");
    // It is there again for its end.
    let again =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": fixture.ns()}});
    let path = "/api/v1/namespaces";
    fixture
        .send(http::Method::POST, path, "application/json", &again)
        .await;
    fixture.finish().await;
}

#[tokio::test]
async fn what_is_brought_back_outwaits_the_end_of_its_pods() {
    let fixture = Fixture::new("back_slowly").await;
    let (doomed, live) = slow_to_end(&fixture, 6).await;
    let guard = Guard::unfenced();
    let cluster = &fixture.cluster;
    let second = Duration::from_secs(1);
    // Whoever deletes it goes away while the pod is ending.
    let deletion = cluster.delete(&doomed, PATIENCE, &guard);
    assert!(tokio::time::timeout(second, deletion).await.is_err());
    let back = cluster.bring_back(&live, second, &guard).await;
    assert!(back.unwrap());
    let path = format!("/apis/apps/v1/namespaces/{}/deployments/web", fixture.ns());
    let web = fixture.live(&path).await;
    assert_ne!(web["metadata"]["uid"], live["metadata"]["uid"]);
    assert_eq!(web["metadata"].get("deletionTimestamp"), None);
    fixture.finish().await;
}
