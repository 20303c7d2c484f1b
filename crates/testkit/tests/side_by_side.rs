//! Clusters beside each other, and what is left of them: nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Node};
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use serde_json::json;
use sortie_testkit::{Cluster, Kind, wait_for};

/// Everything on this machine that names the folder: processes, mounts, links of logs.
fn traces(dir: &Path) -> Vec<String> {
    let needle = dir.display().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let path = entry.path();
        let command = std::fs::read(path.join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if command.contains(&needle) {
            found.push(format!("{}: {command}", path.display()));
        }
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    found.extend(
        mounts
            .lines()
            .filter(|line| line.contains(&needle))
            .map(ToOwned::to_owned),
    );
    for link in std::fs::read_dir("/var/log/containers")
        .into_iter()
        .flatten()
        .flatten()
    {
        if std::fs::read_link(link.path()).is_ok_and(|target| target.starts_with(dir)) {
            found.push(link.path().display().to_string());
        }
    }
    found
}

/// What a cluster of this number makes outside its folder.
fn places(number: &str) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = [
        "/run/netns/sortie-N",
        "/run/netns/sortie-N-n1",
        "/sys/class/net/sortie-N",
    ]
    .iter()
    .map(|place| PathBuf::from(place.replace('N', number)))
    .collect();
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        places.push(hierarchy.path().join(format!("sortie-{number}-n1")));
    }
    places.push(PathBuf::from(format!("/sys/fs/cgroup/sortie-{number}-n1")));
    for result in std::fs::read_dir("/var/lib/cni/results")
        .into_iter()
        .flatten()
        .flatten()
    {
        if result
            .file_name()
            .to_string_lossy()
            .starts_with(&format!("sortie-{number}-n1-"))
        {
            places.push(result.path());
        }
    }
    places
}

fn number_of(cluster: &Cluster) -> String {
    cluster.bridge_address().unwrap().octets()[2].to_string()
}

#[tokio::test]
async fn two_real_clusters_run_side_by_side_and_leave_nothing() {
    let one = Box::pin(Cluster::start(Kind::Real)).await.unwrap();
    let two = Box::pin(Cluster::start(Kind::Real)).await.unwrap();
    assert_ne!(one.bridge_address(), two.bridge_address());
    // With a gateway: a process of it is no child of ours.
    one.gateway().await.unwrap();
    for cluster in [&one, &two] {
        let nodes: Api<Node> = Api::all(cluster.client().await.unwrap());
        assert_eq!(
            nodes
                .list(&ListParams::default())
                .await
                .unwrap()
                .items
                .len(),
            1
        );
        assert!(!traces(cluster.dir().unwrap()).is_empty());
    }
    let dirs = [one.dir().unwrap().to_owned(), two.dir().unwrap().to_owned()];
    let [first, second] = [number_of(&one), number_of(&two)];
    drop(one);
    assert_eq!(traces(&dirs[0]), Vec::<String>::new());
    for place in places(&first) {
        assert!(!place.exists(), "{} is left", place.display());
    }
    // The other one was not touched.
    let nodes: Api<Node> = Api::all(two.client().await.unwrap());
    assert_eq!(
        nodes
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    assert!(Path::new(&format!("/run/netns/sortie-{second}")).exists());
    drop(two);
    assert_eq!(traces(&dirs[1]), Vec::<String>::new());
    assert!(
        !dirs
            .iter()
            .any(|dir| dir.exists() || dir.with_extension("lock").exists())
    );
}

#[tokio::test]
async fn fake_nodes_run_many_pods() {
    let cluster = Box::pin(Cluster::start(Kind::Kwok)).await.unwrap();
    let namespace = cluster.namespace("many").await.unwrap();
    let deployments: Api<Deployment> = Api::namespaced(namespace.client(), namespace.name());
    let web: Deployment = serde_json::from_value(json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 100,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "web:1"}]},
            },
        },
    }))
    .unwrap();
    deployments
        .create(&PostParams::default(), &web)
        .await
        .unwrap();
    let is_available = |web: Option<&Deployment>| {
        web.and_then(|web| web.status.as_ref()?.available_replicas) == Some(100)
    };
    wait_for(deployments, "web", Duration::from_secs(60), is_available)
        .await
        .unwrap();
    namespace.finish().await.unwrap();
    let dir = cluster.dir().unwrap().to_owned();
    drop(cluster);
    assert_eq!(traces(&dir), Vec::<String>::new());
    assert!(!dir.exists());
}

/// `up` is killed outright at several moments; `down` finds all it had made by then.
#[tokio::test]
async fn an_interrupted_start_is_cleaned_up() {
    let program = env!("CARGO_BIN_EXE_sortie-cluster");
    for (index, seconds) in ["0.3", "1.5", "4"].iter().enumerate() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join(format!("c{index}"));
        let place = ["--name", "interrupted", "--dir", dir.to_str().unwrap()];
        let killed = Command::new("timeout")
            .args(["-s", "KILL", seconds, program, "up"])
            .args(place)
            .output()
            .unwrap();
        let state = std::fs::read_to_string(dir.join("state.json")).unwrap_or_default();
        let number = state
            .split("\"number\": ")
            .nth(1)
            .and_then(|rest| rest.split(',').next());
        let number = number.map(str::to_owned);
        assert!(
            number.is_some() || index == 0,
            "nothing was started in {seconds} s: {killed:?}"
        );
        let down = Command::new(program)
            .arg("down")
            .args(place)
            .output()
            .unwrap();
        assert!(down.status.success(), "{down:?} after {killed:?}");
        assert_eq!(traces(&dir), Vec::<String>::new(), "after {seconds} s");
        for place in number.iter().flat_map(|number| places(number)) {
            assert!(
                !place.exists(),
                "{} is left after {seconds} s",
                place.display()
            );
        }
    }
}
