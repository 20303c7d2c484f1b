//! Faults of a real control plane while hundreds of objects are applied: nothing is lost, nothing is
//! done twice.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use sortie_cluster::apply::{Change, Planned, Scope};
use sortie_cluster::lease::Guard;
use sortie_cluster::watch::Selection;
use sortie_cluster::{Cluster, Error, Options};
use sortie_manifest::Object;
use sortie_testkit::{Kind, Part, Settings, TestNamespace};

use crate::fixture::{Fixture, config_map, connect, objects};

const COUNT: usize = 300;

/// Distinct objects of several kinds.
fn set(namespace: &str) -> Vec<Object> {
    let yaml: Vec<String> = (0..COUNT)
        .map(|number| match number % 3 {
            0 => config_map(&format!("map-{number}"), "v"),
            1 => format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: secret-{number}}}\nstringData: {{a: b}}\n"),
            _ => format!("apiVersion: v1\nkind: Service\nmetadata: {{name: svc-{number}}}\nspec: {{clusterIP: None, selector: {{app: a}}, ports: [{{port: 80}}]}}\n"),
        })
        .collect();
    objects(namespace, &yaml.join("---\n"))
}

async fn plan(cluster: &Cluster, namespace: &str) -> Vec<Planned> {
    let targets = cluster.locate(set(namespace), namespace).await.unwrap();
    let scope = Scope {
        release: sortie_manifest::labels::release_id(namespace, "web"),
        ..Scope::default()
    };
    cluster.plan(targets, &scope).await.unwrap()
}

/// Applies all, sixteen at a time.
async fn apply(
    cluster: &Cluster,
    planned: &[Planned],
    mut done: impl FnMut(usize),
) -> Result<(), Error> {
    let guard = Guard::unfenced();
    let writes =
        futures::stream::iter(planned.iter().map(|planned| cluster.apply(planned, &guard)));
    let mut writes = writes
        .buffer_unordered(16)
        .enumerate()
        .map(|(number, result)| result.map(|_| number));
    while let Some(number) = writes.try_next().await? {
        done(number + 1);
    }
    Ok(())
}

/// What is in a namespace, without what two namespaces cannot have in common.
async fn content(namespace: &TestNamespace) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for plural in ["configmaps", "secrets", "services"] {
        let path = format!("/api/v1/namespaces/{}/{plural}", namespace.name());
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        let list: Value = namespace.client().request(request).await.unwrap();
        for object in list["items"].as_array().unwrap() {
            if object["metadata"]["name"] == "kube-root-ca.crt" {
                continue;
            }
            let mut object = object.clone();
            // Written once: nothing came after the creation.
            let managers = object["metadata"]["managedFields"].as_array().unwrap();
            assert_eq!(managers.len(), 1, "{object}");
            for field in [
                "uid",
                "resourceVersion",
                "creationTimestamp",
                "namespace",
                "managedFields",
                "annotations",
                "labels",
            ] {
                object["metadata"].as_object_mut().unwrap().remove(field);
            }
            found.insert(format!("{plural} {object}"));
        }
    }
    found
}

#[tokio::test]
async fn an_apply_survives_the_end_of_the_api_server_a_frozen_etcd_and_goaways() {
    // The server tells one in fifty requests to come again on another connection (GOAWAY).
    let settings = Settings {
        api_server: vec!["--goaway-chance=0.02".to_owned()],
        ..Settings::default()
    };
    let own = Box::pin(sortie_testkit::Cluster::start_with(Kind::Kwok, settings));
    let own = own.await.unwrap();
    let cluster = connect(own.kubeconfig(), Options::default()).await;
    let calm = own.namespace("calm").await.unwrap();
    let planned = plan(&cluster, calm.name()).await;
    apply(&cluster, &planned, |_| {}).await.unwrap();
    let expected = content(&calm).await;
    assert_eq!(expected.len(), COUNT);

    // Killed after a third, back a moment later.
    let killed = own.namespace("killed").await.unwrap();
    let planned = plan(&cluster, killed.name()).await;
    let maps = cluster.resolve("", "v1", "ConfigMap").await.unwrap();
    let mut watched = cluster
        .watch(Selection::of(maps, killed.name()))
        .await
        .unwrap();
    let (third, mut reached) = tokio::sync::watch::channel(0);
    let applying = apply(&cluster, &planned, |done| {
        third.send_replace(done);
    });
    let killing = async {
        reached.wait_for(|done| *done >= COUNT / 3).await.unwrap();
        own.kill_api_server().await.unwrap();
        let so_far = *reached.borrow();
        assert!(so_far < COUNT, "all was over before the kill");
        own.start_api_server().await.unwrap();
    };
    let (applied, ()) = tokio::join!(applying, killing);
    applied.unwrap();
    assert_eq!(content(&killed).await, expected);
    // The watch from before sees what came after.
    let all = watched.until(|view| (view.objects.len() > COUNT / 3).then_some(()));
    tokio::time::timeout(Duration::from_secs(60), all)
        .await
        .expect("the watch came back");

    // With etcd frozen, requests end without an answer and are sent again: what became of the first is unknown.
    let frozen = own.namespace("frozen").await.unwrap();
    let planned = plan(&cluster, frozen.name()).await;
    let hasty = Options {
        request_timeout: Duration::from_secs(1),
        ..Options::default()
    };
    let hasty = connect(own.kubeconfig(), hasty).await;
    let mut done = 0;
    let mut applying = Box::pin(apply(&hasty, &planned, |now| done = now));
    let before = tokio::time::timeout(Duration::from_millis(50), &mut applying).await;
    own.freeze(Part::Etcd).unwrap();
    let during = tokio::time::timeout(Duration::from_secs(4), &mut applying).await;
    own.thaw(Part::Etcd).unwrap();
    assert!(
        before.is_err() && during.is_err(),
        "it went on without etcd"
    );
    applying.await.unwrap();
    assert_eq!(done, COUNT);
    assert_eq!(content(&frozen).await, expected);

    // The same set again finds everything as it is.
    let planned = plan(&cluster, frozen.name()).await;
    assert!(
        planned
            .iter()
            .all(|planned| planned.change() == Some(Change::Unchanged))
    );
    for namespace in [calm, killed, frozen] {
        namespace.finish().await.unwrap();
    }
}

#[tokio::test]
async fn a_storm_of_429_delays_and_loses_nothing() {
    let fixture = Fixture::new("storm").await;
    let shared = sortie_testkit::Cluster::shared().await.unwrap();
    let name = fixture.ns().to_owned();
    let cluster = fixture.as_administrator("ann").await;
    // API Priority and Fairness gives this account one seat and sends everybody beyond it away.
    let level = json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "PriorityLevelConfiguration", "metadata": {"name": name},
        "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 0, "lendablePercent": 0, "borrowingLimitPercent": 1, "limitResponse": {"type": "Reject"}}}});
    let schema = json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": {"name": name},
        "spec": {"priorityLevelConfiguration": {"name": name}, "matchingPrecedence": 100, "distinguisherMethod": {"type": "ByUser"},
            "rules": [{"subjects": [{"kind": "ServiceAccount", "serviceAccount": {"namespace": name, "name": "ann"}}],
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true}]}]}});
    let json = "application/json";
    let base = "/apis/flowcontrol.apiserver.k8s.io/v1";
    for (plural, object) in [
        ("prioritylevelconfigurations", &level),
        ("flowschemas", &schema),
    ] {
        let path = format!("{base}/{plural}");
        fixture.send(http::Method::POST, &path, json, object).await;
    }
    let user = format!("system:serviceaccount:{name}:ann");
    let rounds = async {
        // Until the API server has noticed the new rule, nobody is sent away.
        for round in 0.. {
            let yaml: Vec<String> = (0..40)
                .map(|number| config_map(&format!("map-{round}-{number}"), "v"))
                .collect();
            let set = objects(&name, &yaml.join("---\n"));
            let targets = cluster.locate(set, &name).await.unwrap();
            let planned = cluster.plan(targets, &fixture.scope()).await.unwrap();
            apply(&cluster, &planned, |_| {}).await.unwrap();
            if shared.dir().is_none() {
                return;
            }
            let asked = shared.audit(&user).await.unwrap();
            let busy = asked.iter().filter(|request| request.code == 429).count();
            let made = asked
                .iter()
                .filter(|request| request.code == 201 && !request.query.contains("dryRun"));
            let names: BTreeSet<_> = made.clone().map(|request| &request.name).collect();
            assert_eq!(
                (made.count(), names.len()),
                (40 * (round + 1), 40 * (round + 1))
            );
            if busy > 0 {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(120), rounds)
        .await
        .expect("a storm, and an end of it");
    for plural in ["flowschemas", "prioritylevelconfigurations"] {
        let path = format!("{base}/{plural}/{name}");
        let request = http::Request::delete(path).body(Vec::new()).unwrap();
        let _gone: Value = fixture.namespace.client().request(request).await.unwrap();
    }
    fixture.finish().await;
}
