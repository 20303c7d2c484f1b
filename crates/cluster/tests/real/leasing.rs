use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sortie_cluster::lease::{Claim, Held, Holder, Lost, Terms, Waiting, acquire};
use sortie_cluster::record::Release;
use sortie_cluster::watch::{Selection, View};
use sortie_cluster::{Cluster, Resource};
use tokio::task::JoinSet;

use crate::fixture::Fixture;

fn claim(fixture: &Fixture, holder: &str, seconds: u64) -> Claim {
    let release = Release::new(fixture.ns(), "web").unwrap();
    Claim {
        namespace: fixture.ns().to_owned(),
        name: release.lease_name(),
        holder: holder.to_owned(),
        floor: 0,
        terms: Terms::new(Duration::from_secs(seconds)),
    }
}

async fn take(cluster: &Cluster, claim: Claim) -> Held {
    let taking = acquire(cluster, claim, |_: &Waiting| {});
    tokio::time::timeout(Duration::from_secs(60), taking)
        .await
        .expect("not taken in 60 s")
        .unwrap()
}

#[tokio::test]
async fn whoever_asks_is_told_the_holder_and_since_when() {
    let fixture = Fixture::new("holder").await;
    let ann = claim(&fixture, "ann@laptop", 5);
    let (name, cluster) = (ann.name.clone(), &fixture.cluster);
    let ask = async || Holder::of(cluster, fixture.ns(), &name).await.unwrap();
    assert_eq!(ask().await, None);
    let held = take(cluster, ann).await;
    let first = ask().await.unwrap();
    assert_eq!(first.name, "ann@laptop");
    assert_eq!(first.lasts, Duration::from_secs(5));
    // Renewed, it is still the same taking.
    let selection = Selection::of(Resource::leases(), fixture.ns()).named(&name);
    let mut lease = cluster.watch(selection).await.unwrap();
    let renewed = |view: &View| {
        let lease = view.objects.get(&name)?;
        let at = lease.pointer("/spec/renewTime")?.as_str()?.parse().ok();
        (at > first.renewed_at).then_some(())
    };
    lease.until(renewed).await;
    let later = ask().await.unwrap();
    assert_eq!(later.acquired_at, first.acquired_at);
    assert!(later.renewed_at > later.acquired_at, "{later:?}");
    held.release().await;
    assert_eq!(ask().await, None);
    fixture.finish().await;
}

#[tokio::test]
async fn a_lease_given_back_goes_to_the_next_at_once() {
    let fixture = Fixture::new("giveback").await;
    let first = take(&fixture.cluster, claim(&fixture, "ann@laptop", 60)).await;
    assert_eq!(first.fence(), 1);
    assert!(first.guard().check().is_ok());
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let (cluster, second) = (fixture.cluster.clone(), claim(&fixture, "bob", 60));
    let mut waiter = JoinSet::new();
    waiter.spawn(async move {
        acquire(&cluster, second, move |w: &Waiting| {
            drop(told.send(w.clone()))
        })
        .await
    });
    assert_eq!(heard.recv().await.unwrap().holder, "ann@laptop");
    let guard = first.guard().clone();
    let before = tokio::time::Instant::now();
    first.release().await;
    assert_eq!(guard.check(), Err(Lost::Released));
    let second = waiter.join_next().await.unwrap().unwrap().unwrap();
    assert!(
        before.elapsed() < Duration::from_secs(20),
        "waited for the whole duration"
    );
    assert_eq!(second.fence(), 2);
    second.release().await;
    fixture.finish().await;
}

#[tokio::test]
async fn a_dead_holder_is_followed_after_one_duration_and_cannot_write_any_more() {
    let fixture = Fixture::new("takeover").await;
    let dead = take(&fixture.cluster, claim(&fixture, "dead", 3)).await;
    let guard = dead.guard().clone();
    drop(dead);
    let before = tokio::time::Instant::now();
    let next = take(&fixture.cluster, claim(&fixture, "next", 3)).await;
    assert!(
        before.elapsed() >= Duration::from_secs(3),
        "taken after {:?}",
        before.elapsed()
    );
    assert!(guard.check().is_err());
    assert_eq!(next.fence(), 2);
    assert!(next.guard().check().is_ok());
    next.release().await;
    fixture.finish().await;
}

#[tokio::test]
async fn a_holder_that_was_replaced_learns_it() {
    let fixture = Fixture::new("replaced").await;
    let held = take(&fixture.cluster, claim(&fixture, "first", 3)).await;
    let lease = serde_json::json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": Release::new(fixture.ns(), "web").unwrap().lease_name()},
        "spec": {"holderIdentity": "usurper", "leaseTransitions": 9, "leaseDurationSeconds": 3}});
    crate::fixture::meddle(&fixture, "usurper", lease).await;
    let lost = tokio::time::timeout(Duration::from_secs(30), held.guard().lost())
        .await
        .unwrap();
    assert_eq!(
        lost,
        Lost::Taken {
            holder: "usurper".into()
        }
    );
    fixture.finish().await;
}

#[tokio::test]
async fn the_fence_is_above_the_records_even_when_the_lease_was_deleted() {
    let fixture = Fixture::new("floor").await;
    let mut above = claim(&fixture, "ann", 15);
    above.floor = 41;
    let held = take(&fixture.cluster, above).await;
    assert_eq!(held.fence(), 42);
    held.release().await;
    fixture.finish().await;
}

#[tokio::test]
async fn of_many_takers_one_holds_at_a_time_and_all_get_their_turn() {
    let fixture = Fixture::new("takers").await;
    let inside = Arc::new(AtomicU32::new(0));
    let mut takers = JoinSet::new();
    for n in 0..5 {
        let cluster = fixture.another(sortie_cluster::Options::default()).await;
        let (claim, inside) = (
            claim(&fixture, &format!("taker {n}"), 15),
            Arc::clone(&inside),
        );
        takers.spawn(async move {
            let held = take(&cluster, claim).await;
            assert_eq!(
                inside.fetch_add(1, Ordering::SeqCst),
                0,
                "two holders at once"
            );
            cluster.reachable().await.unwrap();
            held.guard().check().unwrap();
            inside.fetch_sub(1, Ordering::SeqCst);
            let fence = held.fence();
            held.release().await;
            fence
        });
    }
    let mut fences = takers.join_all().await;
    fences.sort_unstable();
    assert_eq!(fences, [1, 2, 3, 4, 5]);
    fixture.finish().await;
}

#[tokio::test]
async fn a_holder_whose_lease_was_deleted_does_not_make_it_again() {
    let fixture = Fixture::new("deleted").await;
    let held = take(&fixture.cluster, claim(&fixture, "ann", 3)).await;
    let guard = held.guard().clone();
    let path = format!(
        "/apis/coordination.k8s.io/v1/namespaces/{}/leases/{}",
        fixture.ns(),
        claim(&fixture, "ann", 3).name
    );
    let none = serde_json::Value::Null;
    let (method, kind) = (http::Method::DELETE, "application/json");
    fixture.send(method, &path, kind, &none).await;
    let lost = tokio::time::timeout(Duration::from_secs(30), guard.lost()).await;
    assert!(matches!(lost, Ok(Lost::Taken { .. })), "{lost:?}");
    held.release().await;
    let leases = Selection::of(Resource::leases(), fixture.ns());
    assert!(fixture.cluster.list(&leases).await.unwrap().is_empty());

    // Somebody else's of the same name is not touched either.
    let second = take(&fixture.cluster, claim(&fixture, "bob", 3)).await;
    assert_eq!(second.fence(), 1);
    assert!(second.guard().check().is_ok());
    second.release().await;
    fixture.finish().await;
}
