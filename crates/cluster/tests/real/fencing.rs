//! What keeps two holders of one release, and us and everybody else, from writing over each other.

use std::time::Duration;

use serde_json::json;
use sortie_cluster::Cause;
use sortie_cluster::apply::{Change, Scope};
use sortie_cluster::lease::{Claim, Guard, Held, Terms, Waiting, acquire};
use sortie_manifest::labels;

use crate::fixture::{Fixture, config_map, meddle, objects, version};

/// Short, so that it is told apart from the usual limit of a request.
const LEASE: Duration = Duration::from_secs(6);

async fn take(fixture: &Fixture, cluster: &sortie_cluster::Cluster) -> Held {
    let claim = Claim {
        namespace: fixture.ns().to_owned(),
        name: "sortie.test".to_owned(),
        holder: "ann".to_owned(),
        floor: 0,
        terms: Terms::new(LEASE),
    };
    acquire(cluster, claim, |_: &Waiting| {}).await.unwrap()
}

#[tokio::test]
async fn an_object_that_changed_since_it_was_read_is_read_again() {
    let fixture = Fixture::new("changed").await;
    fixture
        .apply(objects(fixture.ns(), &config_map("a", "one")))
        .await;
    let planned = fixture
        .plan(objects(fixture.ns(), &config_map("a", "two")))
        .await
        .unwrap()
        .remove(0);
    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"key": "theirs", "other": "x"}});
    meddle(&fixture, "somebody", theirs).await;
    let applied = fixture
        .cluster
        .apply(&planned, &Guard::unfenced())
        .await
        .unwrap();
    // Only who reads again knows whose value it was.
    let conflict = applied.conflicts.first().expect("a conflict to report");
    assert_eq!(
        (conflict.path.as_str(), conflict.manager.as_str()),
        (".data.key", "somebody")
    );
    assert_eq!(applied.object["data"], json!({"key": "two", "other": "x"}));
    fixture.finish().await;
}

#[tokio::test]
async fn of_two_releases_that_make_the_same_object_one_is_refused() {
    let fixture = Fixture::new("both").await;
    let (ns, guard) = (fixture.ns(), Guard::unfenced());
    let account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\n";
    let ours = fixture.plan(objects(ns, account)).await.unwrap().remove(0);
    let mut other = objects(ns, account);
    let marks = labels::Marks {
        namespace: ns.to_owned(),
        release: "other".to_owned(),
        track: None,
        color: None,
    };
    other
        .iter_mut()
        .for_each(|object| labels::stamp(object, &marks));
    let scope = Scope {
        release: labels::release_id(ns, "other"),
        ..Scope::default()
    };
    let targets = fixture.cluster.locate(other, ns).await.unwrap();
    let theirs = fixture.cluster.plan(targets, &scope).await.unwrap();

    // Neither was there when both were planned.
    let first = fixture.cluster.apply(&ours, &guard).await.unwrap();
    let error = fixture.cluster.apply(&theirs[0], &guard).await.unwrap_err();
    assert_eq!(error.code(), "SRT-C015", "{error}");
    // Whoever lost the answer sends it again: the object is what was wanted, and is not written again.
    let again = fixture.cluster.apply(&ours, &guard).await.unwrap();
    assert_eq!(again.change, Change::Created);
    assert_eq!(version(&again), version(&first));
    let owner = &again.object["metadata"]["labels"]["sortie.dev/release"];
    assert_eq!(*owner, fixture.scope().release);
    fixture.finish().await;
}

#[tokio::test]
async fn what_somebody_makes_between_plan_and_creation_is_not_overwritten_unseen() {
    let fixture = Fixture::new("between").await;
    let planned = fixture
        .plan(objects(fixture.ns(), &config_map("a", "ours")))
        .await
        .unwrap()
        .remove(0);
    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"key": "theirs"}});
    meddle(&fixture, "somebody", theirs).await;
    let guard = Guard::unfenced();
    let applied = fixture.cluster.apply(&planned, &guard).await.unwrap();
    assert_eq!(applied.change, Change::Configured);
    let conflict = applied.conflicts.first().expect("a conflict to report");
    assert_eq!(conflict.manager, "somebody");
    fixture.finish().await;
}

#[tokio::test]
async fn a_lease_that_was_given_back_sends_nothing() {
    let fixture = Fixture::new("givenback").await;
    let held = take(&fixture, &fixture.cluster).await;
    let guard = held.guard().clone();
    let planned = fixture
        .plan(objects(fixture.ns(), &config_map("a", "one")))
        .await
        .unwrap()
        .remove(0);
    held.release().await;
    let error = fixture.cluster.apply(&planned, &guard).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::LeaseLost { .. }), "{error}");
    let maps = fixture.cluster.resolve("", "v1", "ConfigMap").await;
    let live = fixture
        .cluster
        .get(&maps.unwrap(), Some(fixture.ns()), "a")
        .await
        .unwrap();
    assert_eq!(live, None);
    fixture.finish().await;
}

#[tokio::test]
async fn a_write_ends_before_the_lease_that_permits_it() {
    let fixture = Fixture::new("limited").await;
    let cluster = fixture.as_administrator("writer").await;
    let held = take(&fixture, &cluster).await;
    let planned = fixture
        .plan(objects(fixture.ns(), &config_map("a", "one")))
        .await
        .unwrap()
        .remove(0);
    cluster.apply(&planned, held.guard()).await.unwrap();
    held.release().await;
    let user = format!("system:serviceaccount:{}:writer", fixture.ns());
    let shared = sortie_testkit::Cluster::shared().await.unwrap();
    let requests = shared.audit(&user).await.unwrap();
    let write = requests
        .iter()
        .find(|request| request.verb == "patch" && !request.query.contains("dryRun"))
        .expect("the write");
    let limit = write
        .query
        .split('&')
        .find_map(|pair| pair.strip_prefix("timeout="));
    let limit: u64 = limit
        .and_then(|limit| limit.strip_suffix("ms"))
        .unwrap()
        .parse()
        .unwrap();
    assert!(u128::from(limit) <= LEASE.as_millis(), "{}", write.query);
    fixture.finish().await;
}
