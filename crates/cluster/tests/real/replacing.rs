//! Objects with changes that the API server never allows.

use std::time::Duration;

use serde_json::{Value, json};
use sortie_cluster::apply::{Change, Immutable, Outcome, Planned};
use sortie_cluster::lease::Guard;
use sortie_cluster::{Cause, Error};

use crate::fixture::{Fixture, deployment, meddle, objects};

const PATIENCE: Duration = Duration::from_secs(60);

fn frozen(name: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\nimmutable: true\ndata: {{key: {value}}}\n"
    )
}

async fn plan(fixture: &Fixture, yaml: &str, immutable: Immutable) -> Result<Planned, Error> {
    let set = objects(fixture.ns(), yaml);
    let mut targets = fixture.cluster.locate(set, fixture.ns()).await.unwrap();
    targets[0].immutable = immutable;
    let planned = fixture.cluster.plan(targets, &fixture.scope()).await;
    planned
        .map(|mut planned| planned.remove(0))
        .map_err(|mut errors| errors.remove(0))
}

#[tokio::test]
async fn every_field_that_cannot_change_is_named() {
    let fixture = Fixture::new("fixed").await;
    let stateful = |service: &str, policy: &str| {
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": {
            "serviceName": service, "podManagementPolicy": policy, "replicas": 0,
            "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "db", "image": "db:1"}]}},
        }}).to_string()
    };
    let binding = |role: &str| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "db"},
               "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}, "subjects": []})
        .to_string()
    };
    let service = |address: &str| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db"},
               "spec": {"clusterIP": address, "ports": [{"port": 1}], "selector": {"app": "db"}}})
        .to_string()
    };
    for (before, after, fields) in [
        (
            stateful("db", "OrderedReady"),
            stateful("other", "Parallel"),
            &["spec.serviceName", "spec.podManagementPolicy"][..],
        ),
        (binding("view"), binding("edit"), &["roleRef"]),
        (
            service("None"),
            service("10.111.222.33"),
            &["spec.clusterIP"],
        ),
        (frozen("f", "a"), frozen("f", "b"), &["data"]),
    ] {
        fixture.apply(objects(fixture.ns(), &before)).await;
        let error = plan(&fixture, &after, Immutable::Refuse).await.unwrap_err();
        assert_eq!(error.code(), "SRT-C006", "{error}");
        for field in fields {
            assert!(error.to_string().contains(field), "{field}: {error}");
        }
    }
    fixture.finish().await;
}

#[tokio::test]
async fn a_replaced_object_is_another_and_only_what_was_kept_is_deleted() {
    let fixture = Fixture::new("replaced").await;
    let guard = Guard::unfenced();
    let first = fixture
        .apply(objects(fixture.ns(), &frozen("web", "old")))
        .await;
    let planned = plan(&fixture, &frozen("web", "new"), Immutable::Replace)
        .await
        .unwrap();
    let kept = planned.replaces().unwrap().0.value();
    assert_eq!(kept["data"]["key"], "old");
    // Without being asked for it, it is not deleted.
    let error = fixture.cluster.apply(&planned, &guard).await.unwrap_err();
    assert_eq!(error.code(), "SRT-C006", "{error}");

    // Somebody changes it after it was kept.
    let path = format!("/api/v1/namespaces/{}/configmaps/web", fixture.ns());
    let theirs = json!({"metadata": {"labels": {"theirs": "yes"}}});
    fixture
        .send(
            http::Method::PATCH,
            &path,
            "application/merge-patch+json",
            &theirs,
        )
        .await;
    let error = fixture
        .cluster
        .replace(&planned, &kept, PATIENCE, &guard)
        .await
        .unwrap_err();
    assert!(error.is_conflict(), "{error}");

    let kept = fixture.live(&path).await;
    let applied = fixture
        .cluster
        .replace(&planned, &kept, PATIENCE, &guard)
        .await
        .unwrap();
    assert_eq!(
        (applied.change, &applied.object["data"]["key"]),
        (Change::Created, &json!("new"))
    );
    assert_ne!(applied.uid(), first[0].uid());
    let again = plan(&fixture, &frozen("web", "new"), Immutable::Refuse)
        .await
        .unwrap();
    assert_eq!(again.change(), Some(Change::Unchanged));
    fixture.finish().await;
}

#[tokio::test]
async fn what_was_live_is_back_when_the_new_one_is_refused() {
    let fixture = Fixture::new("restored").await;
    let guard = Guard::unfenced();
    fixture
        .apply(objects(fixture.ns(), &frozen("web", "old")))
        .await;
    let noted = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web", "annotations": {"note": "theirs"}}});
    meddle(&fixture, "somebody", noted).await;
    let planned = plan(&fixture, &frozen("web", "new"), Immutable::Replace)
        .await
        .unwrap();
    let policies = refuse_creation(&fixture).await;

    let kept = planned.replaces().unwrap().0.whole();
    let error = fixture
        .cluster
        .replace(&planned, &kept, PATIENCE, &guard)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "SRT-C024", "{error}");
    assert!(
        error.to_string().ends_with("the old one is back"),
        "{error}"
    );
    assert!(
        matches!(error.cause(), Cause::NotReplaced { source, .. } if source.code() == "SRT-C008")
    );
    let path = format!("/api/v1/namespaces/{}/configmaps/web", fixture.ns());
    assert_eq!(fixture.live(&path).await["data"]["key"], "old");
    // What somebody else had added is theirs, as before.
    fixture
        .apply(objects(fixture.ns(), &frozen("web", "old")))
        .await;
    let live = fixture.live(&path).await;
    assert_eq!(live["metadata"]["annotations"]["note"], "theirs");
    assert!(
        live["metadata"]["managedFields"]
            .to_string()
            .contains("somebody"),
        "{live}"
    );

    // When the sample is refused, it is said what hinders a new one, and not to replace the old one.
    for immutable in [Immutable::Refuse, Immutable::Replace] {
        let error = plan(&fixture, &frozen("web", "never"), immutable).await;
        let error = error.unwrap_err();
        assert!(
            matches!(error.cause(), Cause::Irreplaceable { source, .. } if source.code() == "SRT-C008"),
            "{error}"
        );
        assert!(!error.advice().contains("--replace"));
    }

    for path in policies {
        fixture
            .send(http::Method::DELETE, &path, "application/json", &json!({}))
            .await;
    }
    fixture.finish().await;
}

/// Lets the API server refuse new ConfigMaps `web` and `probe` whose key is `new`; the paths of what does it.
async fn refuse_creation(fixture: &Fixture) -> [String; 2] {
    let group = "/apis/admissionregistration.k8s.io/v1";
    let (name, version) = (fixture.ns(), "admissionregistration.k8s.io/v1");
    let policy = json!({"apiVersion": version, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
        "spec": {"matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]},
                 "validations": [{"expression": "!(object.metadata.name in ['web', 'probe'] && object.data.key == 'new' || object.data.key == 'never')"}]}});
    let binding = json!({"apiVersion": version, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"],
                 "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}}});
    let mut paths = Vec::new();
    for (plural, object) in [
        ("validatingadmissionpolicies", policy),
        ("validatingadmissionpolicybindings", binding),
    ] {
        let collection = format!("{group}/{plural}");
        fixture
            .send(http::Method::POST, &collection, "application/json", &object)
            .await;
        paths.push(format!("{collection}/{name}"));
    }
    // The API server begins to enforce a policy some time after it was made.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while plan(fixture, &frozen("probe", "new"), Immutable::Refuse)
        .await
        .is_ok()
    {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the policy is never enforced"
        );
    }
    paths.try_into().unwrap()
}

#[tokio::test]
async fn a_new_object_that_is_invalid_refuses_the_set_and_every_problem_is_told() {
    let fixture = Fixture::new("replaced-invalid").await;
    fixture
        .apply(objects(fixture.ns(), &deployment("web", "web:1")))
        .await;
    let other = deployment("web", "web:1").replace("\"app\":\"web\"", "\"app\":\"shop\"");
    let policy = "\"image\":\"web:1\",\"imagePullPolicy\":\"Sometimes\"";
    let invalid = other.replace("\"image\":\"web:1\"", policy);
    let error = plan(&fixture, &invalid, Immutable::Replace)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "SRT-C005", "{error}");
    assert!(error.to_string().contains("imagePullPolicy"), "{error}");
    let error = plan(&fixture, &invalid, Immutable::Refuse)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "SRT-C006", "{error}");
    for field in ["spec.selector", "imagePullPolicy"] {
        assert!(error.to_string().contains(field), "{field}: {error}");
    }
    let planned = plan(&fixture, &other, Immutable::Replace).await.unwrap();
    let Outcome::Replacement {
        result: Some(result),
        ..
    } = &planned.outcome
    else {
        panic!("{planned:?}");
    };
    let result = result.value();
    assert_eq!(result["metadata"]["name"], "web");
    assert_eq!(result["spec"]["selector"]["matchLabels"]["app"], "shop");
    assert!(result["spec"]["revisionHistoryLimit"].is_number());
    fixture.finish().await;
}

#[tokio::test]
async fn what_the_old_object_occupies_is_in_no_way_of_the_new_one() {
    let fixture = Fixture::new("replaced-occupied").await;
    let guard = Guard::unfenced();
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": {"hard": {"count/deployments.apps": "1"}}});
    meddle(&fixture, "admin", quota).await;
    let quotas = fixture.cluster.resolve("", "v1", "ResourceQuota").await;
    let quotas = sortie_cluster::watch::Selection::of(quotas.unwrap(), fixture.ns());
    let mut watched = fixture.cluster.watch(quotas).await.unwrap();
    watched
        .until(|view| view.objects.get("small")?.pointer("/status/used").cloned())
        .await;
    let service = |spec: Value| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec})
            .to_string()
    };
    let free = json!({"type": "NodePort", "selector": {"app": "web"}, "ports": [{"port": 80}]});
    let first = fixture
        .apply(objects(fixture.ns(), &service(free.clone())))
        .await;
    let port = &first[0].object["spec"]["ports"][0]["nodePort"];
    let mut fixed = free;
    fixed["ports"][0]["nodePort"] = port.clone();
    let mut moved = fixed.clone();
    let address = first[0].object["spec"]["clusterIP"].as_str().unwrap();
    let network: Vec<&str> = address.split('.').take(2).collect();
    let address = format!("{}.222.34", network.join("."));
    moved["clusterIP"] = json!(address);
    fixture.apply(objects(fixture.ns(), &service(fixed))).await;
    let web = deployment("web", "web:1");
    fixture.apply(objects(fixture.ns(), &web)).await;
    let other = web.replace("\"app\":\"web\"", "\"app\":\"shop\"");
    for (yaml, known) in [(service(moved), true), (other, false)] {
        let planned = plan(&fixture, &yaml, Immutable::Replace).await.unwrap();
        let result = match &planned.outcome {
            Outcome::Replacement { result, .. } => result,
            outcome => panic!("{outcome:?}"),
        };
        assert_eq!(result.is_some(), known, "{yaml}");
        let kept = planned.replaces().unwrap().0.value();
        let replaced = fixture.cluster.replace(&planned, &kept, PATIENCE, &guard);
        assert_eq!(replaced.await.unwrap().change, Change::Created, "{yaml}");
    }
    let path = format!("/api/v1/namespaces/{}/services/web", fixture.ns());
    let live = fixture.live(&path).await;
    assert_eq!(&live["spec"]["ports"][0]["nodePort"], port);
    assert_eq!(live["spec"]["clusterIP"], address);
    fixture.finish().await;
}

#[tokio::test]
async fn a_job_is_replaced() {
    let fixture = Fixture::new("job").await;
    let job = |image: &str| {
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "web"},
               "spec": {"suspend": true, "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": image}]}}}})
        .to_string()
    };
    fixture.apply(objects(fixture.ns(), &job("a:1"))).await;
    let planned = plan(&fixture, &job("a:2"), Immutable::Replace)
        .await
        .unwrap();
    let kept: Value = planned.replaces().unwrap().0.value();
    let replaced = fixture
        .cluster
        .replace(&planned, &kept, PATIENCE, &Guard::unfenced())
        .await;
    let container = "/spec/template/spec/containers/0/image";
    assert_eq!(
        replaced.unwrap().object.pointer(container),
        Some(&json!("a:2"))
    );
    fixture.finish().await;
}

#[tokio::test]
async fn what_a_kind_calls_immutable_is_replaced_only_where_a_new_object_would_do() {
    let fixture = Fixture::new("replaced-rules").await;
    let group = format!("{}.example.com", fixture.ns());
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("builds.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"kind": "Build", "plural": "builds"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": {
                    "image": {"type": "string", "x-kubernetes-validations": [
                        {"rule": "self.contains('@')", "message": "must be an immutable reference (name@digest)"}]},
                    "owner": {"type": "string", "x-kubernetes-validations": [
                        {"rule": "self == oldSelf", "message": "is immutable"}]},
                }}},
            }}}],
        },
    });
    let build = |image: &str, owner: &str| {
        let build = json!({"apiVersion": format!("{group}/v1"), "kind": "Build", "metadata": {"name": "b"}, "spec": {"image": image, "owner": owner}});
        build.to_string()
    };
    fixture
        .apply(objects(fixture.ns(), &definition.to_string()))
        .await;
    let set = format!("{definition}\n---\n{}", build("web@1", "a"));
    let first = fixture.apply(objects(fixture.ns(), &set)).await;
    for immutable in [Immutable::Refuse, Immutable::Replace] {
        let error = plan(&fixture, &build("web:2", "a"), immutable)
            .await
            .unwrap_err();
        assert_eq!(error.code(), "SRT-C005", "{error}");
        assert!(error.to_string().contains("name@digest"), "{error}");
    }
    let new = build("web:3", "a").replace("\"b\"", "\"new\"");
    let error = plan(&fixture, &new, Immutable::Replace).await.unwrap_err();
    assert_eq!(error.code(), "SRT-C005", "{error}");
    // Of both, each is called what it is.
    let both = build("web:2", "b");
    let error = plan(&fixture, &both, Immutable::Refuse).await.unwrap_err();
    assert!(
        matches!(error.cause(), Cause::Immutable { problems, others }
            if problems.len() == 1 && problems[0].field == "spec.owner" && others.len() == 1 && others[0].field == "spec.image"),
        "{error}"
    );
    let error = plan(&fixture, &both, Immutable::Replace).await.unwrap_err();
    assert_eq!(error.code(), "SRT-C005", "{error}");
    let other = plan(&fixture, &build("web@2", "b"), Immutable::Replace)
        .await
        .unwrap();
    let (live, problems) = other.replaces().unwrap();
    assert_eq!(problems[0].field, "spec.owner");
    assert_eq!(
        live.value()["metadata"]["uid"],
        first[1].object["metadata"]["uid"]
    );
    let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/builds.{group}");
    fixture
        .send(http::Method::DELETE, &path, "application/json", &json!({}))
        .await;
    fixture.finish().await;
}

#[tokio::test]
async fn a_workload_that_is_replaced_begins_with_what_its_autoscaler_had_made_of_the_old_one() {
    let fixture = Fixture::new("replaced-scaled").await;
    let ns = fixture.ns();
    let autoscaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
        "spec": {"minReplicas": 1, "maxReplicas": 9, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}});
    meddle(&fixture, "admin", autoscaler).await;
    let web = deployment("web", "web:1");
    fixture.apply(objects(ns, &web)).await;
    let path = format!("/apis/apps/v1/namespaces/{ns}/deployments/web");
    let five = json!({"spec": {"replicas": 5}});
    let merge = "application/merge-patch+json";
    fixture
        .send(http::Method::PATCH, &format!("{path}/scale"), merge, &five)
        .await;
    let other = web.replace("\"app\":\"web\"", "\"app\":\"shop\"");
    let replaced = loop {
        let planned = plan(&fixture, &other, Immutable::Replace).await.unwrap();
        let kept = planned.replaces().unwrap().0.value();
        assert_eq!(kept["spec"]["replicas"], 5);
        let guard = Guard::unfenced();
        match fixture
            .cluster
            .replace(&planned, &kept, PATIENCE, &guard)
            .await
        {
            // Its controller has written it since.
            Err(error) if error.is_conflict() => {}
            replaced => break replaced.unwrap(),
        }
    };
    assert_eq!(replaced.object["spec"]["replicas"], 5);
    let again = plan(&fixture, &other, Immutable::Refuse).await.unwrap();
    assert_eq!(
        again.change(),
        Some(Change::Unchanged),
        "its replicas are given away"
    );
    fixture.finish().await;
}
