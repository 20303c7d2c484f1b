//! A connection that breaks and comes back, as when the API server restarts.

use std::time::Duration;

use sortie_cluster::lease::{Claim, Terms, Waiting, acquire};
use sortie_cluster::watch::Selection;
use sortie_cluster::{Access, Cluster, Options};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::fixture::{Fixture, config_map, objects};

/// A TCP forwarder that can be cut.
struct Wire {
    open: watch::Sender<bool>,
    _task: JoinSet<()>,
    port: u16,
}

impl Wire {
    async fn to(address: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (open, state) = watch::channel(true);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let (address, mut state) = (address.clone(), state.clone());
                connections.spawn(async move {
                    if !*state.borrow_and_update() {
                        return;
                    }
                    let mut far = TcpStream::connect(address).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = state.wait_for(|open| !open) => {}
                    }
                });
            }
        });
        Self {
            open,
            _task: task,
            port,
        }
    }

    fn cut(&self) {
        self.open.send_replace(false);
    }

    fn mend(&self) {
        self.open.send_replace(true);
    }
}

async fn through_wire(fixture: &Fixture) -> (Wire, Cluster) {
    let server: http::Uri = fixture.cluster.server().parse().unwrap();
    let address = format!(
        "{}:{}",
        server.host().unwrap(),
        server.port_u16().unwrap_or(443)
    );
    let wire = Wire::to(address).await;
    let file = fixture.kubeconfig_with(|config| {
        let cluster = &mut config["clusters"][0]["cluster"];
        cluster["server"] = format!("https://127.0.0.1:{}", wire.port).into();
        cluster["tls-server-name"] = server.host().unwrap().into();
    });
    let access = Access::Kubeconfig {
        path: Some(file.path().to_owned()),
        context: None,
    };
    let cluster = Cluster::connect(&access, Options::default()).await.unwrap();
    (wire, cluster)
}

#[tokio::test]
async fn a_watch_and_a_request_go_on_after_an_outage() {
    let fixture = Fixture::new("outage").await;
    let (wire, cluster) = through_wire(&fixture).await;
    let maps = cluster.resolve("", "v1", "ConfigMap").await.unwrap();
    let mut watched = cluster
        .watch(Selection::of(maps.clone(), fixture.ns()))
        .await
        .unwrap();
    fixture
        .apply(objects(fixture.ns(), &config_map("a", "one")))
        .await;
    watched.until(|view| view.objects.get("a").cloned()).await;
    wire.cut();
    // Missed while the wire is cut, and seen afterwards.
    fixture
        .apply(objects(fixture.ns(), &config_map("b", "one")))
        .await;
    assert!(cluster.reachable().await.is_err());
    let patient = cluster.get(&maps, Some(fixture.ns()), "b");
    let mend = async {
        assert!(cluster.reachable().await.is_err());
        wire.mend();
    };
    let (found, ()) = tokio::join!(patient, mend);
    assert!(found.unwrap().is_some());
    let seen = watched.until(|view| view.objects.get("b").cloned());
    tokio::time::timeout(Duration::from_secs(60), seen)
        .await
        .expect("the watch never came back");
    fixture.finish().await;
}

#[tokio::test]
async fn a_holder_that_cannot_renew_stops_writing_and_resumes_with_its_renewal() {
    let fixture = Fixture::new("norenewal").await;
    let (wire, cluster) = through_wire(&fixture).await;
    let claim = Claim {
        namespace: fixture.ns().to_owned(),
        name: "sortie.test".to_owned(),
        holder: "ann".to_owned(),
        floor: 0,
        terms: Terms::new(Duration::from_secs(3)),
    };
    let held = acquire(&cluster, claim, |_: &Waiting| {}).await.unwrap();
    let guard = held.guard().clone();
    wire.cut();
    // The permit tells how long it is good for without a renewal.
    while let Ok(Some(left)) = guard.check() {
        tokio::time::sleep_until(tokio::time::Instant::now() + left).await;
    }
    assert!(guard.check().is_err(), "still permitted");
    // A write that waits for the renewal goes through once the wire is mended.
    let set = objects(fixture.ns(), &config_map("a", "one"));
    let planned = fixture.plan(set).await.unwrap().remove(0);
    let write = cluster.apply(&planned, &guard);
    let mend = async { wire.mend() };
    let (applied, ()) = tokio::join!(write, mend);
    assert!(applied.is_ok(), "{applied:?}");
    assert!(guard.check().is_ok());
    held.release().await;
    fixture.finish().await;
}
