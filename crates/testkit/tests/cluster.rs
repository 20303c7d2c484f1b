//! The shared cluster is a real one: pods run, Services route, names resolve, images are pulled.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{net::Ipv4Addr, time::Duration};

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Namespace, PersistentVolumeClaim, Pod, Service},
};
use kube::{
    Api,
    api::{ListParams, LogParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use sortie_testkit::{
    Cluster, GitServer, NamespaceOptions, Registry, TestNamespace, TrafficPod, TrafficProbe,
    images, wait_for,
};

const LIMIT: Duration = Duration::from_secs(90);

fn deployment(image: &str, replicas: u32) -> Deployment {
    let value = json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
                    "containers": [{
                        "name": "web",
                        "image": image,
                        "imagePullPolicy": "IfNotPresent",
                        "ports": [{"containerPort": 8080}],
                        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1},
                        "livenessProbe": {"httpGet": {"path": "/live", "port": 8080}},
                        "securityContext": {
                            "allowPrivilegeEscalation": false,
                            "readOnlyRootFilesystem": true,
                            "capabilities": {"drop": ["ALL"]},
                        },
                    }],
                },
            },
        },
    });
    serde_json::from_value(value).unwrap()
}

async fn create_service(namespace: &TestNamespace) -> Ipv4Addr {
    let value = json!({
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    });
    let services: Api<Service> = Api::namespaced(namespace.client(), namespace.name());
    let service: Service = serde_json::from_value(value).unwrap();
    let service = services
        .create(&PostParams::default(), &service)
        .await
        .unwrap();
    service.spec.unwrap().cluster_ip.unwrap().parse().unwrap()
}

/// The new version alone, all of it available, and the old pods' endpoints gone.
fn is_rolled_out(deployment: Option<&Deployment>) -> bool {
    let Some(Deployment {
        metadata,
        spec: Some(spec),
        status: Some(status),
        ..
    }) = deployment
    else {
        return false;
    };
    let wanted = spec.replicas;
    metadata.generation == status.observed_generation
        && status.updated_replicas == wanted
        && status.available_replicas == wanted
        && status.replicas == wanted
}

#[tokio::test]
async fn the_sample_rolls_without_a_failed_request_and_pods_resolve_names() {
    let cluster = Cluster::shared().await.unwrap();
    let (v1, v2) = (
        cluster.image("sample-v1").await.unwrap(),
        cluster.image("sample-v2").await.unwrap(),
    );
    let options = NamespaceOptions { restricted: true };
    let namespace = cluster.namespace_with("rolls", options).await.unwrap();
    let deployments: Api<Deployment> = Api::namespaced(namespace.client(), namespace.name());
    let address = create_service(&namespace).await;
    deployments
        .create(&PostParams::default(), &deployment(&v1, 2))
        .await
        .unwrap();
    wait_for(deployments.clone(), "web", LIMIT, is_rolled_out)
        .await
        .unwrap();

    let mut probe = TrafficProbe::start(&cluster, address, 80).unwrap();
    // The node's rules follow the endpoints: the first requests may come before them.
    probe
        .wait_for(LIMIT, |report| report.count("v1") >= 20)
        .await
        .unwrap();
    let before = probe.report();
    let patch =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": v2}]}}}});
    deployments
        .patch("web", &PatchParams::default(), &Patch::Strategic(patch))
        .await
        .unwrap();
    wait_for(deployments.clone(), "web", LIMIT, is_rolled_out)
        .await
        .unwrap();
    let rolled = probe.report();
    // The old pods are gone from the Service by now, or go within their drain.
    let enough =
        |report: &sortie_testkit::TrafficReport| report.count("v2") >= rolled.count("v2") + 200;
    probe.wait_for(LIMIT, enough).await.unwrap();
    let report = probe.stop().await.unwrap();
    assert_eq!(report.failed, before.failed, "{report:?}");
    assert!(
        report.count("v1") >= 20 && report.count("v2") >= 200,
        "{report:?}"
    );

    let reply = cluster
        .request(address, 80, "GET", "/resolve?name=web")
        .await
        .unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.body.trim().parse::<Ipv4Addr>().unwrap(), address);
    let name = "/resolve?name=kubernetes.default.svc.cluster.local";
    let reply = cluster.request(address, 80, "GET", name).await.unwrap();
    assert!(reply.body.trim().ends_with(".0.1"), "{reply:?}");
    let missing = cluster
        .request(address, 80, "GET", "/resolve?name=nobody")
        .await
        .unwrap();
    assert_eq!(missing.status, 502, "{missing:?}");
    namespace.finish().await.unwrap();
}

#[tokio::test]
async fn a_switched_off_pod_leaves_its_service() {
    let cluster = Cluster::shared().await.unwrap();
    let image = cluster.image("sample-v1").await.unwrap();
    let namespace = cluster.namespace("switch").await.unwrap();
    let deployments: Api<Deployment> = Api::namespaced(namespace.client(), namespace.name());
    let address = create_service(&namespace).await;
    deployments
        .create(&PostParams::default(), &deployment(&image, 1))
        .await
        .unwrap();
    wait_for(deployments.clone(), "web", LIMIT, is_rolled_out)
        .await
        .unwrap();
    let mut probe = TrafficProbe::start(&cluster, address, 80).unwrap();
    probe
        .wait_for(LIMIT, |report| report.count("v1") > 0)
        .await
        .unwrap();
    // The same from a pod, as for a cluster of another machine.
    let pod = TrafficPod::start(&cluster, namespace.name(), "web", &image)
        .await
        .unwrap();
    let counted = pod.stop().await.unwrap();
    assert!(
        counted.total > 0 && counted.failed == 0 && counted.count("v1") == counted.total,
        "{counted:?}"
    );

    let off = cluster
        .request(address, 80, "PUT", "/ready?on=false")
        .await
        .unwrap();
    assert_eq!(off.status, 204);
    let before = probe.report().failed;
    probe
        .wait_for(LIMIT, |report| report.failed > before)
        .await
        .unwrap();
    probe.stop().await.unwrap();
    namespace.finish().await.unwrap();
}

#[tokio::test]
async fn the_broken_sample_says_why_it_ends() {
    let cluster = Cluster::shared().await.unwrap();
    let image = cluster.image("sample-v3").await.unwrap();
    let namespace = cluster.namespace("broken").await.unwrap();
    let deployments: Api<Deployment> = Api::namespaced(namespace.client(), namespace.name());
    deployments
        .create(&PostParams::default(), &deployment(&image, 1))
        .await
        .unwrap();
    let has_pod = |deployment: Option<&Deployment>| {
        deployment.and_then(|one| one.status.as_ref()?.replicas) == Some(1)
    };
    wait_for(deployments, "web", LIMIT, has_pod).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(namespace.client(), namespace.name());
    let listed = pods.list(&ListParams::default()).await.unwrap();
    let name = listed.items[0].metadata.name.clone().unwrap();
    let crashed = |pod: Option<&Pod>| {
        let status = pod.and_then(|pod| pod.status.as_ref()?.container_statuses.as_ref()?.first());
        let ended = status.and_then(|status| status.last_state.as_ref()?.terminated.as_ref());
        ended.is_some_and(|ended| ended.exit_code == 1)
    };
    wait_for(pods.clone(), &name, LIMIT, crashed).await.unwrap();
    let parameters = LogParams {
        previous: true,
        ..LogParams::default()
    };
    let log = pods.logs(&name, &parameters).await.unwrap();
    assert_eq!(
        log,
        "sortie-sample v3: cannot open /data/settings.toml: No such file or directory\n"
    );

    let folder = namespace.collect_diagnostics().unwrap();
    let saved = std::fs::read_to_string(folder.join(format!("pods/{name}.previous.log"))).unwrap();
    assert!(saved.contains("cannot open /data/settings.toml"), "{saved}");
    for file in [
        "events.txt",
        "objects.yaml",
        "pods.txt",
        "cluster/kubelet.log",
    ] {
        assert!(
            folder.join(file).metadata().unwrap().len() > 0,
            "{file} is empty"
        );
    }
    std::fs::remove_dir_all(folder).unwrap();
    namespace.finish().await.unwrap();
}

#[tokio::test]
async fn nodes_pull_from_the_registry() {
    let cluster = Cluster::shared().await.unwrap();
    let image = cluster.image("sample-v1").await.unwrap();
    let registry = Registry::of(&cluster).await.unwrap();
    let namespace = cluster.namespace("pulls").await.unwrap();
    let tag = namespace.name().rsplit('-').next().unwrap();
    let pulled = registry
        .push(&image, &format!("sample:{tag}"))
        .await
        .unwrap();
    let deployments: Api<Deployment> = Api::namespaced(namespace.client(), namespace.name());
    deployments
        .create(&PostParams::default(), &deployment(&pulled, 1))
        .await
        .unwrap();
    wait_for(deployments.clone(), "web", LIMIT, is_rolled_out)
        .await
        .unwrap();
    // As for a cluster that is not on this machine: built here, pushed, pulled under the registry's own name.
    let prefix = format!("http://{}/team", registry.address());
    let pushed = images::push("sample-v2", &prefix).await.unwrap();
    assert_eq!(
        pushed,
        format!("{}/team/sortie-sample:v2", registry.address())
    );
    let patch =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": pushed}]}}}});
    deployments
        .patch("web", &PatchParams::default(), &Patch::Strategic(patch))
        .await
        .unwrap();
    wait_for(deployments, "web", LIMIT, is_rolled_out)
        .await
        .unwrap();
    namespace.finish().await.unwrap();
}

/// A pod of `image` that runs `command` once, as a user of no account, on a read-only root file system.
fn one_off(name: &str, image: &str, command: &[&str], volumes: &serde_json::Value) -> Pod {
    let mounts: Vec<_> = volumes
        .as_array()
        .unwrap()
        .iter()
        .map(|volume| json!({"name": volume["name"], "mountPath": format!("/{}", volume["name"].as_str().unwrap())}))
        .collect();
    let value = json!({
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 12345, "fsGroup": 4711,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{
                "name": "main",
                "image": image,
                "command": command,
                "env": [{"name": "GIT_SSL_CAINFO", "value": "/ca/ca.pem"}],
                "volumeMounts": mounts,
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]},
                },
            }],
            "volumes": volumes,
        },
    });
    serde_json::from_value(value).unwrap()
}

async fn output_of(namespace: &TestNamespace, pod: &Pod) -> (String, String) {
    let pods: Api<Pod> = Api::namespaced(namespace.client(), namespace.name());
    let name = pod.metadata.name.clone().unwrap();
    pods.create(&PostParams::default(), pod).await.unwrap();
    let phase = |pod: Option<&Pod>| pod.and_then(|pod| pod.status.as_ref()?.phase.clone());
    let is_over = |pod: Option<&Pod>| matches!(phase(pod).as_deref(), Some("Succeeded" | "Failed"));
    let pod = wait_for(pods.clone(), &name, LIMIT, is_over).await.unwrap();
    (
        phase(pod.as_ref()).unwrap(),
        pods.logs(&name, &LogParams::default()).await.unwrap(),
    )
}

/// The image's programs work for any uid without write access, and pods reach the git server of the tests.
#[tokio::test]
async fn the_delegate_image_has_its_tools_and_pods_reach_git() {
    let cluster = Cluster::shared().await.unwrap();
    let image = cluster.image("delegate").await.unwrap();
    let git = GitServer::start(&cluster).await.unwrap();
    let commit = git
        .create_repo("app", &[("web.yaml", "a: 1")])
        .await
        .unwrap();
    let options = NamespaceOptions { restricted: true };
    let namespace = cluster.namespace_with("tools", options).await.unwrap();
    let ca = json!({"metadata": {"name": "ca"}, "data": {"ca.pem": git.ca_pem()}});
    let maps: Api<ConfigMap> = Api::namespaced(namespace.client(), namespace.name());
    maps.create(&PostParams::default(), &serde_json::from_value(ca).unwrap())
        .await
        .unwrap();
    let volumes =
        json!([{"name": "ca", "configMap": {"name": "ca"}}, {"name": "tmp", "emptyDir": {}}]);
    let credentials = format!("https://{}:{}@", git.username(), git.password());
    let url = git.repo_url("app").replace("https://", &credentials);
    for (name, command, expected) in [
        ("git", &["git", "ls-remote", &url][..], commit.as_str()),
        (
            "clone",
            &["git", "clone", "--depth=1", &url, "/tmp/app"],
            "",
        ),
        ("helm", &["helm", "version"], "Version:\"v4."),
        ("kustomize", &["kustomize", "version"], "v5."),
        ("ssh", &["ssh", "-V"], "OpenSSH_"),
    ] {
        let pod = one_off(name, &image, command, &volumes);
        let (phase, log) = output_of(&namespace, &pod).await;
        assert_eq!(phase, "Succeeded", "{name}: {log}");
        assert!(log.contains(expected), "{name}: {log}");
    }
    namespace.finish().await.unwrap();
}

#[tokio::test]
async fn a_claim_gets_a_volume_that_its_pod_can_write() {
    let cluster = Cluster::shared().await.unwrap();
    let image = cluster.image("delegate").await.unwrap();
    let namespace = cluster.namespace("claim").await.unwrap();
    let claim = json!({
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(namespace.client(), namespace.name());
    claims
        .create(
            &PostParams::default(),
            &serde_json::from_value(claim).unwrap(),
        )
        .await
        .unwrap();
    let volumes = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
    let init = one_off(
        "init",
        &image,
        &["git", "init", "/data/repository"],
        &volumes,
    );
    let (phase, log) = output_of(&namespace, &init).await;
    assert_eq!(phase, "Succeeded", "{log}");
    // Another pod finds what the first one wrote.
    let status = one_off(
        "status",
        &image,
        &["git", "-C", "/data/repository", "status"],
        &volumes,
    );
    let (phase, log) = output_of(&namespace, &status).await;
    assert_eq!(phase, "Succeeded", "{log}");
    assert!(log.contains("No commits yet"), "{log}");
    namespace.finish().await.unwrap();
}

#[tokio::test]
async fn a_namespace_goes_with_its_test_and_a_restricted_one_refuses_root() {
    let cluster = Cluster::shared().await.unwrap();
    let client = cluster.client().await.unwrap();
    let namespaces: Api<Namespace> = Api::all(client);
    let options = NamespaceOptions { restricted: true };
    let namespace = cluster.namespace_with("goes", options).await.unwrap();
    let name = namespace.name().to_owned();
    let pods: Api<Pod> = Api::namespaced(namespace.client(), &name);
    let privileged = json!({
        "metadata": {"name": "root"},
        "spec": {"containers": [{"name": "c", "image": "x", "securityContext": {"privileged": true}}]},
    });
    let pod: Pod = serde_json::from_value(privileged).unwrap();
    let refused = pods.create(&PostParams::default(), &pod).await.unwrap_err();
    assert!(
        refused.to_string().contains("violates PodSecurity"),
        "{refused}"
    );
    // Not finished, as in a test that returned early.
    drop(namespace);
    wait_for(namespaces, &name, LIMIT, |namespace| namespace.is_none())
        .await
        .unwrap();
}

/// What `KUBECONFIG` leads to: the same interface, and clear words where this machine cannot help.
#[tokio::test]
async fn the_users_own_cluster_is_used_through_its_api_alone() {
    let shared = Cluster::shared().await.unwrap();
    let cluster = Cluster::attach(shared.kubeconfig()).await.unwrap();
    let namespace = cluster.namespace("attached").await.unwrap();
    assert_eq!((cluster.dir(), cluster.bridge_address()), (None, None));
    let refused = GitServer::start(&cluster).await.unwrap_err();
    assert!(
        refused.to_string().contains("would not reach a git server"),
        "{refused}"
    );
    let refused = cluster.load_image("x.tar".as_ref()).await.unwrap_err();
    assert!(
        refused.to_string().contains("push them to a registry"),
        "{refused}"
    );
    let refused = TrafficProbe::start(&cluster, Ipv4Addr::LOCALHOST, 80).unwrap_err();
    assert!(
        refused.to_string().contains("no node on this machine"),
        "{refused}"
    );
    namespace.finish().await.unwrap();
}
