//! Clocks that disagree: a Lease is measured by the taker's own clock alone, whatever the holder
//! wrote into it.

use std::time::Duration;

use serde_json::json;
use sortie_cluster::lease::{Claim, Terms, Waiting, acquire};
use tokio::time::Instant;

use crate::fixture::Fixture;

const NAME: &str = "sortie.skewed";

const TERM: Duration = Duration::from_secs(2);

/// A Lease of somebody whose clock shows that time.
fn lease(time: &str) -> serde_json::Value {
    json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NAME}, "spec": {
        "holderIdentity": "bob", "leaseDurationSeconds": TERM.as_secs(), "leaseTransitions": 7,
        "acquireTime": time, "renewTime": time}})
}

fn claim(fixture: &Fixture) -> Claim {
    Claim {
        namespace: fixture.ns().to_owned(),
        name: NAME.to_owned(),
        holder: "ann".to_owned(),
        floor: 0,
        terms: Terms::new(TERM),
    }
}

#[tokio::test]
async fn a_holder_of_another_time_is_followed_after_one_duration_and_not_before() {
    for time in ["1990-01-01T00:00:00.000000Z", "2090-01-01T00:00:00.000000Z"] {
        let fixture = Fixture::new("skew").await;
        let path = format!(
            "/apis/coordination.k8s.io/v1/namespaces/{}/leases",
            fixture.ns()
        );
        fixture
            .send(http::Method::POST, &path, "application/json", &lease(time))
            .await;
        let begin = Instant::now();
        let held = acquire(&fixture.cluster, claim(&fixture), |_: &Waiting| {});
        let held = tokio::time::timeout(TERM * 10, held).await;
        let held = held.expect("never taken").unwrap();
        assert!(
            begin.elapsed() >= TERM,
            "{time}: taken after {:?}",
            begin.elapsed()
        );
        assert!(held.guard().fence() > 7);
        held.release().await;
        fixture.finish().await;
    }
}

#[tokio::test]
async fn a_holder_that_renews_is_not_followed_however_old_its_time_looks() {
    let fixture = Fixture::new("skewed").await;
    let base = format!(
        "/apis/coordination.k8s.io/v1/namespaces/{}/leases",
        fixture.ns()
    );
    let start = lease("1990-01-01T00:00:00.000000Z");
    fixture
        .send(http::Method::POST, &base, "application/json", &start)
        .await;
    let path = format!("{base}/{NAME}");
    let renewing = async {
        let mut ticks = tokio::time::interval(TERM / 4);
        // For four durations.
        for second in 0..16 {
            ticks.tick().await;
            let time = format!("1990-01-01T00:00:{second:02}.500000Z");
            let renewal = json!({"spec": {"renewTime": time}});
            let kind = "application/merge-patch+json";
            fixture
                .send(http::Method::PATCH, &path, kind, &renewal)
                .await;
        }
    };
    let taking = acquire(&fixture.cluster, claim(&fixture), |_: &Waiting| {});
    tokio::select! {
        () = renewing => {}
        held = taking => panic!("taken from a living holder: {:?}", held.map(|held| held.guard().fence())),
    }
    let live = fixture.live(&path).await;
    assert_eq!(live["spec"]["holderIdentity"], "bob");
    fixture.finish().await;
}
