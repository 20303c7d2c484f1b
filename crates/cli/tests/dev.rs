//! `sortie dev`: everything in one process, on the real cluster that tests share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::path::Path;

use sortie_testkit::Cluster;
use support::{Following, Person, hello};

/// The hello example, for this namespace and the test's own images.
fn example(me: &Person, namespace: &str, repository: &str) {
    for entry in std::fs::read_dir(hello()).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text
                .replace("namespace: sortie-demo", &format!("namespace: {namespace}"))
                .replace("docker.io/library/sortie-sample", repository);
            me.file(
                &format!("hello/{}", path.file_name().unwrap().to_str().unwrap()),
                &text,
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_runs_and_a_broken_version_is_rolled_back() {
    let cluster = Cluster::shared().await.unwrap();
    let namespace = cluster.namespace("cli_dev").await.unwrap();
    let image = cluster.image("sample-v1").await.unwrap();
    let (repository, v1) = image.rsplit_once(':').unwrap();
    let broken = cluster.image("sample-v3").await.unwrap();
    let host = Person::with_tools().with("KUBECONFIG", cluster.kubeconfig().to_str().unwrap());
    let mut dev = Following::start(&host, &["dev", "--listen", "127.0.0.1:0", "-o", "json"]);
    dev.until("started").await;
    let started: serde_json::Value = serde_json::from_str(&dev.seen[0]).unwrap();
    let folder = started["configDir"].as_str().unwrap().to_owned();

    let me = Person::new()
        .with("SORTIE_CONFIG_DIR", &folder)
        .with("KUBECONFIG", cluster.kubeconfig().to_str().unwrap());
    example(&me, namespace.name(), repository);
    me.sortie(&["apply", "-f", "hello", "--strict"]).await.ok();
    let version = format!("version={v1}");
    let ended = me
        .sortie(&["run", "hello", "--set", &version, "--follow"])
        .await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        ended.stdout.contains("Wait for Steady State: succeeded"),
        "{ended:?}"
    );
    let delegates = me
        .sortie(&["get", "delegates", "-o", "json"])
        .await
        .ok()
        .json();
    assert_eq!(delegates["items"][0]["connected"], true);

    // What a delegate deployed, the command line sees without a control plane.
    let local = ["-n", namespace.name(), "--release", "hello", "-o", "json"];
    let status = me
        .sortie(&[&["status"], local.as_slice()].concat())
        .await
        .ok()
        .json();
    assert_eq!(status["number"], 1);

    let (_, v3) = broken.rsplit_once(':').unwrap();
    let version = format!("version={v3}");
    let ended = me
        .sortie(&["run", "hello", "--set", &version, "--follow"])
        .await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stdout.contains("rollback: succeeded"), "{ended:?}");
    assert!(ended.stdout.contains("SRT-H"), "{ended:?}");
    let status = me
        .sortie(&[&["status"], local.as_slice()].concat())
        .await
        .ok()
        .json();
    assert_eq!(status["running"], 1);

    dev.interrupt();
    let (ended, _) = dev.ended().await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        !Path::new(&folder).exists(),
        "the folder goes with the process"
    );
    namespace.finish().await.unwrap();
}

/// A control plane and a delegate in one process, on the folder `data`.
const DEV: [&str; 7] = [
    "dev",
    "--listen",
    "127.0.0.1:0",
    "--data-dir",
    "data",
    "-o",
    "json",
];

/// `dev` on the folder `data` of `host`, and somebody who is logged in there.
async fn started(host: &Person) -> (Following, Person) {
    let mut dev = Following::start(host, &DEV);
    dev.until("started").await;
    let started: serde_json::Value = serde_json::from_str(&dev.seen[0]).unwrap();
    let me = Person::new().with("SORTIE_CONFIG_DIR", started["configDir"].as_str().unwrap());
    (dev, me)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_is_taken_up_again() {
    let cluster = Cluster::shared().await.unwrap();
    let host = Person::new().with("KUBECONFIG", cluster.kubeconfig().to_str().unwrap());
    let mut names = Vec::new();
    for _ in 0..2 {
        let (dev, me) = started(&host).await;
        me.file(
            "a.yaml",
            "environment:\n  name: a\n  identifier: a\n  type: Production\n",
        );
        let ended = me.sortie(&["apply", "-f", "a.yaml"]).await.ok();
        names.push(ended.stdout.contains("unchanged"));
        dev.interrupt();
        let (ended, _) = dev.ended().await;
        assert_eq!(ended.code, 0, "{ended:?}");
    }
    assert_eq!(names, [false, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_delegate_ends_it_with_advice() {
    let cluster = Cluster::shared().await.unwrap();
    let host = Person::new().with("KUBECONFIG", cluster.kubeconfig().to_str().unwrap());
    let (dev, me) = started(&host).await;
    // Until it has enrolled there is nothing to revoke.
    let enrolled = async { while me.sortie(&["delegate", "revoke", "demo"]).await.code != 0 {} };
    tokio::time::timeout(support::PATIENCE, enrolled)
        .await
        .unwrap();
    let (ended, _) = dev.ended().await;
    assert_eq!(ended.code, 5, "{ended:?}");
    assert!(ended.stderr.contains("SRT-Z015"), "{ended:?}");
    assert!(
        !ended.stderr.contains('\u{1b}'),
        "no colour without a terminal: {ended:?}"
    );
    let identity = host.path().join("data/delegate.json");
    assert!(
        ended.stderr.contains(identity.to_str().unwrap()),
        "{ended:?}"
    );

    // The advice helps: without the file, a new delegate enrols.
    let again = Following::start(&host, &DEV).ended().await.0;
    assert_eq!(again.code, 5, "{again:?}");
    std::fs::remove_file(&identity).unwrap();
    let (dev, me) = started(&host).await;
    let connected = async {
        loop {
            let listed = me.sortie(&["get", "delegates"]).await;
            if listed.stdout.contains("connected") {
                break;
            }
        }
    };
    tokio::time::timeout(support::PATIENCE, connected)
        .await
        .unwrap();
    dev.interrupt();
    assert_eq!(dev.ended().await.0.code, 0);
}
