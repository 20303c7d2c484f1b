//! Each preset gives what the steps need and nothing else: they run as the chart's account, and the API server's audit
//! log tells which rules they used and which they missed.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sortie_cluster::LogRequest;
use sortie_cluster::watch::Selection;
use sortie_step::FailureKind;
use sortie_testkit::{Audited, Cluster, Crds, TestNamespace, wait_for};

use crate::account::Account;
use crate::beside;
use crate::helm::kubectl;
use crate::steps::{Steps, failed, succeeded};

/// What the steps may ask and go on without, because no preset but `cluster` gives it: reading what is not of a namespace.
const DISPENSABLE: &[(&str, &str, &str)] = &[
    ("", "namespaces", "get"),
    ("storage.k8s.io", "storageclasses", "get"),
];

/// (group, resource or resource/subresource, verb)
type Right = (String, String, String);

/// One object of every kind that the preset `namespaces` deploys; NAME, IMAGE and TEXT are filled in.
const EVERY_KIND: &str = include_str!("every_kind.yaml");

/// Everything that only the preset `cluster` deploys: a namespace, a kind of its own, roles beyond the account's.
const CLUSTER_WIDE: &str = include_str!("cluster_wide.yaml");

/// Keeps what carries it from going until it is taken away.
const HOLD: &str = "example.com/hold";

/// Ends at once with a line in its log.
const BROKEN: &str = "
---
apiVersion: v1
kind: Pod
metadata: {name: broken}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: broken, image: IMAGE, imagePullPolicy: IfNotPresent, env: [{name: CRASH, value: '1'}], readinessProbe: {httpGet: {path: /ready, port: 8080}}}]
";

fn every_kind(name: &str, text: &str, image: &str) -> String {
    // What a rollback removes does not always go at once: something else must have finished with it.
    let hold = if name == "more" { HOLD } else { "" };
    EVERY_KIND
        .replace("NAME", name)
        .replace("TEXT", text)
        .replace("IMAGE", image)
        .replace("HOLD", hold)
}

/// Takes the finalizer away once the account wants the object to go and watches for that.
async fn let_go<K>(namespace: &TestNamespace, account: &Account)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    K: Clone + std::fmt::Debug + Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let api: Api<K> = Api::namespaced(namespace.client(), namespace.name());
    let doomed =
        |object: Option<&K>| object.is_some_and(|it| it.meta().deletion_timestamp.is_some());
    wait_for(api.clone(), "more", Duration::from_secs(60), doomed)
        .await
        .unwrap();
    let resource = K::plural(&());
    let watched = async {
        let user = account.user();
        let watches = |request: &Audited| request.verb == "watch" && request.resource == resource;
        while !account
            .cluster()
            .audit(&user)
            .await
            .unwrap()
            .iter()
            .any(watches)
        {}
    };
    tokio::time::timeout(Duration::from_secs(60), watched)
        .await
        .unwrap();
    let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    api.patch("more", &PatchParams::default(), &patch)
        .await
        .unwrap();
}

async fn namespaces() -> (Cluster, TestNamespace, TestNamespace) {
    let cluster = Cluster::shared().await.unwrap();
    let home = cluster.namespace("charts_home").await.unwrap();
    let target = cluster.namespace("charts_target").await.unwrap();
    (cluster, home, target)
}

/// [`judge_user`] for an account of this test.
async fn judge(account: &Account, rules: &[Value]) {
    judge_user(account.cluster(), &account.user(), rules).await;
}

/// Fails on a right that a request of `user` missed, and on one that no request used within a short time: a watch
/// begins after its list has been answered.
pub(crate) async fn judge_user(cluster: &Cluster, user: &str, rules: &[Value]) {
    let look = async || unused(rules, &cluster.audit(user).await.unwrap());
    let judged = tokio::time::timeout(Duration::from_secs(20), async {
        while !look().await.is_empty() {}
    });
    if judged.await.is_err() {
        panic!("nothing uses {:#?}", look().await);
    }
}

/// The rights that no request used. Panics on a request that missed one.
fn unused(rules: &[Value], requests: &[Audited]) -> Vec<Right> {
    let mut used: BTreeSet<(Right, &str)> = BTreeSet::new();
    let mut missing: BTreeSet<(Right, &str)> = BTreeSet::new();
    for request in requests {
        let resource = match request.subresource.as_str() {
            "" => request.resource.clone(),
            subresource => format!("{}/{subresource}", request.resource),
        };
        let right = |verb: &str| (request.group.clone(), resource.clone(), verb.to_owned());
        let name = request.name.as_str();
        if request.code == 403 {
            missing.insert((right(&request.verb), name));
            continue;
        }
        // An apply that makes an object needs the right to create it, too.
        if request.verb == "patch" && request.code == 201 {
            used.insert((right("create"), name));
        }
        used.insert((right(&request.verb), name));
    }
    missing.retain(|((group, resource, verb), _)| !DISPENSABLE.contains(&(group, resource, verb)));
    assert!(missing.is_empty(), "the role lacks {missing:#?}");

    let words = |value: &Value| -> Vec<String> {
        let words = value.as_array().into_iter().flatten();
        words
            .map(|word| word.as_str().unwrap().to_owned())
            .collect()
    };
    let mut unused = Vec::new();
    for rule in rules {
        let names = words(&rule["resourceNames"]);
        for group in words(&rule["apiGroups"]) {
            for resource in words(&rule["resources"]) {
                for verb in words(&rule["verbs"]) {
                    let matches = |((g, r, v), name): &(Right, &str)| {
                        (group == "*" || *g == group)
                            && (resource == "*" || *r == resource)
                            && *v == verb
                            && (names.is_empty() || names.iter().any(|known| known == name))
                    };
                    if !used.iter().any(matches) {
                        unused.push((group.clone(), resource.clone(), verb));
                    }
                }
            }
        }
    }
    unused
}

#[tokio::test(flavor = "multi_thread")]
async fn the_preset_namespaces_is_what_the_steps_need() {
    let (cluster, home, target) = namespaces().await;
    let (good, elsewhere) = (target.name(), home.name());
    let image = cluster.image("sample-v1").await.unwrap();
    let account = Account::create(elsewhere, &format!("rbac: {{namespaces: [{good}]}}")).await;
    let steps = Steps::new(&account, good).await;

    // A first one that is refused leaves nothing behind.
    let refused = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: note}\ndata: {number: 1}\n";
    assert_eq!(failed(steps.deploy(refused).await).code, "SRT-C005");
    let leases = ["get", "leases", "-n", good, "-o", "name"];
    assert_eq!(kubectl(cluster.kubeconfig(), &leases, "").unwrap(), "");

    succeeded(&steps.deploy(&every_kind("web", "one", &image)).await);
    // A release that changes and adds everything, and fails; its rollback removes what it added.
    let second = every_kind("web", "two", &image) + "---\n" + &every_kind("more", "two", &image);
    let failure = failed(
        steps
            .deploy(&(second + &BROKEN.replace("IMAGE", &image)))
            .await,
    );
    assert!(failure.message.contains("broken"), "{failure:?}");
    assert!(
        steps.said("cannot open") || failure.message.contains("cannot open"),
        "its last words: {failure:?}"
    );
    let (rolled_back, ..) = tokio::join!(
        steps.rollback(),
        let_go::<Secret>(&target, &account),
        let_go::<ConfigMap>(&target, &account),
        let_go::<ServiceAccount>(&target, &account),
        let_go::<Ingress>(&target, &account),
        let_go::<NetworkPolicy>(&target, &account),
    );
    succeeded(&rolled_back);
    let left = kubectl(
        cluster.kubeconfig(),
        &[
            "get",
            "-n",
            good,
            "configmap,secret,service,deploy,sts,ds,job,cronjob,hpa,pdb,ingress,netpol,pvc,pod,sa,rs,rc",
            "-o",
            "name",
            "--field-selector=metadata.name=more",
        ],
        "",
    );
    assert_eq!(
        left.unwrap(),
        "",
        "the rollback removes what the failed release added"
    );

    beside::single(&steps).await;
    beside::strategies(&steps, &image).await;
    let gateway = cluster.gateway().await.unwrap();
    for crds in [Crds::Istio, Crds::Smi] {
        cluster.install_crds(crds).await.unwrap();
    }
    let watches = beside::routes(&steps, (&image, &gateway.name)).await;

    // Two at a time, of which one waits for the other's lease; and collection of old records.
    let note = |number: u32| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: note}}\ndata: {{number: '{number}'}}\n"
        )
    };
    let (first, second) = (note(1), note(2));
    let (first, second) = tokio::join!(steps.deploy(&first), steps.deploy(&second));
    succeeded(&first);
    succeeded(&second);
    assert!(steps.said("wait"), "one waits for the other");
    succeeded(&steps.deploy(&note(3)).await);
    // And of configuration that nothing names any more.
    succeeded(&steps.deploy_versioned(&note(4)).await);
    succeeded(&steps.deploy_versioned(&note(5)).await);
    succeeded(&steps.deploy_versioned(&note(6)).await);
    assert!(steps.said("nothing names it any more"));
    judge(&account, &account.rules("-deploy", Some(good))).await;
    drop(watches);
    judge(&account, &account.rules("-health-rules", Some(elsewhere))).await;

    // Elsewhere the policy refuses before the API server is asked, and the API server refuses without the policy.
    let failure = failed(
        Steps::new(&account, elsewhere)
            .await
            .deploy(&every_kind("web", "one", &image))
            .await,
    );
    assert_eq!(failure.code, "SRT-T012", "{failure:?}");
    let mut free = Steps::new(&account, elsewhere).await;
    free.forget_policy();
    let failure = failed(free.deploy(&every_kind("web", "one", &image)).await);
    assert_eq!(failure.kind, FailureKind::Authorization, "{failure:?}");
    assert!(failure.message.contains(elsewhere), "{failure:?}");
    drop(account);
    home.finish().await.unwrap();
    target.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_preset_cluster_deploys_namespaces_custom_resources_and_roles() {
    let (cluster, home, target) = namespaces().await;
    let image = cluster.image("sample-v1").await.unwrap();
    let mut account = Account::create(home.name(), "rbac: {preset: cluster}").await;
    let steps = Steps::new(&account, target.name()).await;

    let note =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: note}\ndata: {number: '1'}\n---\n";
    succeeded(&steps.deploy(note).await);
    let wide = CLUSTER_WIDE
        .replace("OTHER", &format!("{}-more", target.name()))
        .replace("UNIQUE", target.name());
    account.remove_at_end(&wide);
    succeeded(&steps.deploy(&(note.to_owned() + &wide)).await);
    let failure = failed(
        steps
            .deploy(&(note.to_owned() + &wide + &BROKEN.replace("IMAGE", &image)))
            .await,
    );
    assert!(failure.message.contains("broken"), "{failure:?}");
    succeeded(&steps.rollback().await);
    let rules: Vec<Value> = account.rules("-deploy", None);
    judge(&account, &rules[..1]).await;

    drop(account);
    home.finish().await.unwrap();
    target.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_preset_view_reads_and_writes_nothing() {
    let (_cluster, home, target) = namespaces().await;
    let namespace = target.name();
    let account = Account::create(
        home.name(),
        &format!("rbac: {{preset: view, namespaces: [{namespace}]}}"),
    )
    .await;
    let steps = Steps::new(&account, namespace).await;
    let kinds = [
        ("", "v1", "ConfigMap"),
        ("", "v1", "PersistentVolumeClaim"),
        ("", "v1", "Pod"),
        ("", "v1", "ReplicationController"),
        ("", "v1", "ServiceAccount"),
        ("", "v1", "Service"),
        ("apps", "v1", "DaemonSet"),
        ("apps", "v1", "Deployment"),
        ("apps", "v1", "ReplicaSet"),
        ("apps", "v1", "StatefulSet"),
        ("batch", "v1", "CronJob"),
        ("batch", "v1", "Job"),
        ("autoscaling", "v2", "HorizontalPodAutoscaler"),
        ("policy", "v1", "PodDisruptionBudget"),
        ("networking.k8s.io", "v1", "Ingress"),
        ("networking.k8s.io", "v1", "NetworkPolicy"),
        ("coordination.k8s.io", "v1", "Lease"),
    ];
    let api = steps.cluster();
    let mut watches = Vec::new();
    for (group, version, kind) in kinds {
        let resource = api.resolve(group, version, kind).await.unwrap();
        assert!(
            api.get(&resource, Some(namespace), "none")
                .await
                .unwrap()
                .is_none(),
            "{kind}"
        );
        watches.push(api.watch(Selection::of(resource, namespace)).await.unwrap());
    }
    let events = Selection::of(sortie_cluster::Resource::events(), namespace);
    watches.push(api.watch(events).await.unwrap());
    let logs = LogRequest {
        namespace: namespace.to_owned(),
        pod: "none".to_owned(),
        container: None,
        previous: false,
        lines: 1,
        bytes: 100,
    };
    drop(api.logs(&logs).await);
    judge(&account, &account.rules("-view", Some(namespace))).await;
    drop(watches);

    let secrets = api.resolve("", "v1", "Secret").await.unwrap();
    let refusal = api.get(&secrets, Some(namespace), "any").await.unwrap_err();
    assert_eq!(refusal.code(), "SRT-C003", "{refusal}");
    let note = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: note}\n";
    let failure = failed(steps.deploy(note).await);
    assert_eq!(failure.kind, FailureKind::Authorization, "{failure:?}");
    let written = kubectl(
        account.cluster().kubeconfig(),
        &[
            "get",
            "-n",
            namespace,
            "configmap",
            "note",
            "--ignore-not-found",
        ],
        "",
    );
    assert_eq!(written.unwrap(), "");
    drop(account);
    home.finish().await.unwrap();
    target.finish().await.unwrap();
}
