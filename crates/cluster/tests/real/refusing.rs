//! Each refusal is a clear error of its own, and nothing is written.

use serde_json::json;
use sortie_cluster::lease::Guard;
use sortie_cluster::{Cause, Error, Options};
use sortie_manifest::Object;

use crate::fixture::{Fixture, config_map, deployment, meddle, objects};

/// Plans a set that must be refused, with its only error.
async fn refusal(fixture: &Fixture, set: Vec<Object>) -> Error {
    let mut errors = fixture.plan(set).await.unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.remove(0)
}

#[tokio::test]
async fn unknown_kinds_name_their_place_and_the_nearest_kind() {
    let fixture = Fixture::new("unknown").await;
    let yaml = format!(
        "{}---\napiVersion: apps/v1\nkind: Deploymnet\nmetadata: {{name: web}}\n---\napiVersion: extensions/v1beta1\nkind: Ingress\nmetadata: {{name: web}}\n",
        config_map("a", "v")
    );
    let errors = fixture
        .plan(objects(fixture.ns(), &yaml))
        .await
        .unwrap_err();
    assert_eq!(errors.len(), 2);
    assert_eq!(
        errors[0].to_string(),
        "cannot apply Deploymnet/web (web.yaml:6:1): the cluster does not know kind Deploymnet in apps/v1; it knows apps/v1 Deployment"
    );
    assert_eq!(errors[0].code(), "SRT-C004");
    assert!(
        errors[1]
            .to_string()
            .ends_with("it knows networking.k8s.io/v1 Ingress"),
        "{}",
        errors[1]
    );
    fixture.finish().await;
}

#[tokio::test]
async fn invalid_objects_name_their_fields_and_nothing_is_written() {
    let fixture = Fixture::new("invalid").await;
    let bad = deployment("bad", "web:1").replace("\"replicas\":1", "\"replicas\":-1");
    let typo = deployment("typo", "web:1").replace("\"replicas\"", "\"replica\"");
    let yaml = format!("{}{bad}{typo}", config_map("good", "v"));
    let errors = fixture
        .plan(objects(fixture.ns(), &yaml))
        .await
        .unwrap_err();
    let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors.len(), 2, "{texts:?}");
    assert!(
        texts[0].contains("web.yaml:") && texts[0].contains("spec.replicas"),
        "{texts:?}"
    );
    assert!(texts[1].contains("replica"), "{texts:?}");
    assert!(
        errors.iter().all(|error| error.code() == "SRT-C005"),
        "{texts:?}"
    );
    let maps = fixture
        .cluster
        .resolve("", "v1", "ConfigMap")
        .await
        .unwrap();
    assert_eq!(
        fixture
            .cluster
            .get(&maps, Some(fixture.ns()), "good")
            .await
            .unwrap(),
        None
    );
    fixture.finish().await;
}

#[tokio::test]
async fn a_full_quota_is_told_from_a_missing_right() {
    let fixture = Fixture::new("quota").await;
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": {"hard": {"count/configmaps": "1"}}});
    meddle(&fixture, "admin", quota).await;
    // The quota is enforced once its controller has counted.
    let quotas = sortie_cluster::watch::Selection::of(
        fixture
            .cluster
            .resolve("", "v1", "ResourceQuota")
            .await
            .unwrap(),
        fixture.ns(),
    );
    let mut watched = fixture.cluster.watch(quotas).await.unwrap();
    watched
        .until(|view| view.objects.get("small")?.pointer("/status/used").cloned())
        .await;
    let error = refusal(&fixture, objects(fixture.ns(), &config_map("a", "v"))).await;
    assert_eq!(error.code(), "SRT-C007", "{error}");
    assert!(
        error.to_string().contains("exceeded quota: small"),
        "{error}"
    );
    fixture.finish().await;
}

#[tokio::test]
async fn a_missing_namespace_and_a_namespace_on_a_cluster_object_are_errors() {
    let fixture = Fixture::new("nowhere").await;
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: does-not-exist}\n";
    let error = refusal(&fixture, objects(fixture.ns(), yaml)).await;
    assert_eq!(error.code(), "SRT-C013", "{error}");
    let yaml = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, namespace: b}\n";
    let error = refusal(&fixture, objects(fixture.ns(), yaml)).await;
    assert_eq!(error.code(), "SRT-C005", "{error}");
    fixture.finish().await;
}

#[tokio::test]
async fn a_namespace_that_is_being_deleted_says_what_holds_it() {
    let fixture = Fixture::new("ending").await;
    let held = json!({"apiVersion": "v1", "kind": "ConfigMap",
                      "metadata": {"name": "held", "finalizers": ["example.com/slow"]}});
    let inner = format!("{}-inner", fixture.ns());
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": inner}});
    let post = http::Method::POST;
    let maps = format!("/api/v1/namespaces/{inner}/configmaps");
    let json = "application/json";
    fixture
        .send(post.clone(), "/api/v1/namespaces", json, &namespace)
        .await;
    fixture.send(post, &maps, json, &held).await;
    let id = sortie_manifest::ObjectId {
        group: String::new(),
        kind: "Namespace".into(),
        namespace: None,
        name: inner.clone(),
    };
    let doomed = sortie_cluster::delete::Doomed {
        id,
        uid: None,
        release: None,
    };
    let guard = Guard::unfenced();
    let patience = std::time::Duration::from_secs(12);
    let error = fixture
        .cluster
        .delete(&doomed, patience, &guard)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "SRT-C017", "{error}");
    assert!(
        error
            .to_string()
            .contains("example.com/slow in 1 resource instances"),
        "{error}"
    );

    let yaml = config_map("new", "v")
        .replace("{name: new}", &format!("{{name: new, namespace: {inner}}}"));
    let error = refusal(&fixture, objects(fixture.ns(), &yaml)).await;
    assert_eq!(error.code(), "SRT-C014", "{error}");
    let release = json!({"metadata": {"finalizers": null}});
    let path = format!("{maps}/held");
    fixture
        .send(
            http::Method::PATCH,
            &path,
            "application/merge-patch+json",
            &release,
        )
        .await;
    fixture.finish().await;
}

#[tokio::test]
async fn the_same_object_twice_is_an_error_that_names_both_places() {
    let fixture = Fixture::new("twice").await;
    let yaml = format!("{}---\n{}", config_map("a", "v"), config_map("a", "w"));
    let error = refusal(&fixture, objects(fixture.ns(), &yaml)).await;
    let text = error.to_string();
    assert!(
        text.contains("(web.yaml:6:1)") && text.ends_with("also at web.yaml:1:1"),
        "{text}"
    );
    fixture.finish().await;
}

#[tokio::test]
async fn another_releases_object_is_refused_unless_adopted() {
    let fixture = Fixture::new("another").await;
    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": "a",
        "labels": {"sortie.dev/release": "0123"},
        "annotations": {"sortie.dev/release-name": "shop/other"},
    }});
    meddle(&fixture, "sortie", theirs).await;
    let error = refusal(&fixture, objects(fixture.ns(), &config_map("a", "v"))).await;
    assert_eq!(error.code(), "SRT-C015");
    assert!(error.to_string().contains("shop/other"), "{error}");
    let set = objects(fixture.ns(), &config_map("a", "v"));
    let targets = fixture.cluster.locate(set, fixture.ns()).await.unwrap();
    let scope = sortie_cluster::apply::Scope {
        adopt: true,
        ..fixture.scope()
    };
    assert_eq!(
        fixture.cluster.plan(targets, &scope).await.unwrap().len(),
        1
    );
    fixture.finish().await;
}

#[tokio::test]
async fn an_immutable_field_is_named() {
    let fixture = Fixture::new("immutable").await;
    fixture
        .apply(objects(fixture.ns(), &deployment("web", "web:1")))
        .await;
    let changed = deployment("web", "web:1").replace("\"app\":\"web\"", "\"app\":\"other\"");
    let error = refusal(&fixture, objects(fixture.ns(), &changed)).await;
    assert_eq!(error.code(), "SRT-C006", "{error}");
    assert!(error.to_string().contains("spec.selector"), "{error}");
    // What the API server quotes of the object is not for a log.
    let pod = |value: &str| {
        json!({"restartPolicy": "Never", "containers": [
            {"name": "a", "image": "a:1", "env": [{"name": "A", "value": value}]},
        ]})
    };
    let job = |value: &str| {
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a"},
               "spec": {"suspend": true, "template": {"spec": pod(value)}}})
        .to_string()
    };
    let lone = |value: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": pod(value)})
            .to_string()
    };
    for (before, after, words) in [
        (
            job("hunter2"),
            job("hunter3"),
            "spec.template.spec cannot change",
        ),
        (
            lone("hunter2"),
            lone("hunter3"),
            "pod updates may not change",
        ),
    ] {
        fixture.apply(objects(fixture.ns(), &before)).await;
        let error = refusal(&fixture, objects(fixture.ns(), &after)).await;
        assert_eq!(error.code(), "SRT-C006", "{error}");
        let told = format!("{error} {error:?}");
        assert!(told.contains(words) && !told.contains("hunter"), "{told}");
    }
    fixture.finish().await;
}

#[tokio::test]
async fn a_policys_refusal_names_the_policy() {
    let fixture = Fixture::new("policy").await;
    let name = fixture.ns().to_owned();
    let yaml = format!(
        "{}\n---\n{}\n",
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
            "spec": {"matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]},
                     "validations": [{"expression": "object.data.key != 'forbidden'", "message": "that word is not allowed"}]}}),
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"],
                     "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}}}),
    );
    let applied = fixture.apply(objects(fixture.ns(), &yaml)).await;
    // The API server begins to enforce a policy some time after it was made.
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    let error = loop {
        match fixture
            .plan(objects(fixture.ns(), &config_map("a", "forbidden")))
            .await
        {
            Err(mut errors) => break errors.remove(0),
            Ok(_) => assert!(
                tokio::time::Instant::now() < deadline,
                "the policy is never enforced"
            ),
        }
    };
    assert_eq!(error.code(), "SRT-C008", "{error}");
    assert!(
        error
            .to_string()
            .contains(&format!("policy {name} denied it")),
        "{error}"
    );
    for applied in applied {
        let doomed = sortie_cluster::delete::Doomed {
            id: applied.id,
            uid: None,
            release: None,
        };
        let patience = std::time::Duration::from_secs(30);
        fixture
            .cluster
            .delete(&doomed, patience, &Guard::unfenced())
            .await
            .unwrap();
    }
    fixture.finish().await;
}

#[tokio::test]
async fn a_webhook_that_cannot_be_called_is_named() {
    let fixture = Fixture::new("webhook").await;
    let name = format!("{}.example.com", fixture.ns());
    let yaml = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": {"name": name},
        "webhooks": [{"name": name, "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail", "timeoutSeconds": 1,
            "clientConfig": {"service": {"namespace": fixture.ns(), "name": "nobody"}},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": fixture.ns()}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}]}]});
    let applied = fixture
        .apply(objects(fixture.ns(), &yaml.to_string()))
        .await;
    let impatient = Options {
        patience: std::time::Duration::from_millis(100),
        ..Options::default()
    };
    let cluster = fixture.another(impatient).await;
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    let error = loop {
        let set = objects(fixture.ns(), &config_map("a", "v"));
        let targets = cluster.locate(set, fixture.ns()).await.unwrap();
        match cluster.plan(targets, &fixture.scope()).await {
            Err(mut errors) => break errors.remove(0),
            Ok(_) => assert!(
                tokio::time::Instant::now() < deadline,
                "the webhook is never called"
            ),
        }
    };
    assert_eq!(error.code(), "SRT-C009", "{error}");
    assert!(matches!(error.cause(), Cause::WebhookUnavailable { webhook, .. } if *webhook == name));
    let doomed = sortie_cluster::delete::Doomed {
        id: applied[0].id.clone(),
        uid: None,
        release: None,
    };
    fixture
        .cluster
        .delete(
            &doomed,
            std::time::Duration::from_secs(30),
            &Guard::unfenced(),
        )
        .await
        .unwrap();
    fixture.finish().await;
}

#[tokio::test]
async fn a_secrets_value_is_not_in_the_refusal() {
    let fixture = Fixture::new("secret").await;
    let yaml = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {pin: 73577357, list: [swordfish]}\n";
    let error = refusal(&fixture, objects(fixture.ns(), yaml)).await;
    let text = format!("{error} {error:?}");
    assert!(
        !text.contains("73577357") && !text.contains("swordfish"),
        "{text}"
    );
    // No manifest that is read has such a value.
    let yaml = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n";
    let mut set = objects(fixture.ns(), yaml);
    let data = json!({"pin": "not-base64-swordfish"});
    set[0].edit(|secret| secret["data"] = data).unwrap();
    let error = refusal(&fixture, set).await;
    let text = format!("{error} {error:?}");
    assert!(!text.contains("swordfish"), "{text}");
    assert_eq!(error.code(), "SRT-C005", "{text}");
    fixture.finish().await;
}

#[tokio::test]
async fn a_missing_right_is_the_servers_own_sentence() {
    let fixture = Fixture::new("forbidden").await;
    let other = fixture.as_service_account("default").await;
    let set = objects(fixture.ns(), &config_map("a", "v"));
    let targets = other.locate(set, fixture.ns()).await.unwrap();
    let errors = other.plan(targets, &fixture.scope()).await.unwrap_err();
    let text = errors[0].to_string();
    assert_eq!(errors[0].code(), "SRT-C003", "{text}");
    assert!(
        text.contains("cannot patch resource") && text.contains(fixture.ns()),
        "{text}"
    );
    let rule = "- {apiGroups: [\"\"], resources: [\"configmaps\"], verbs: [\"patch\"]}";
    assert!(text.contains(rule), "{text}");
    let maps = other.resolve("", "v1", "ConfigMap").await.unwrap();
    assert!(
        !other
            .can_i("patch", &maps, Some(fixture.ns()))
            .await
            .unwrap()
    );
    assert!(
        fixture
            .cluster
            .can_i("patch", &maps, Some(fixture.ns()))
            .await
            .unwrap()
    );
    let pods = sortie_cluster::watch::Selection::of(sortie_cluster::Resource::pods(), fixture.ns());
    assert_eq!(other.watch(pods).await.unwrap_err().code(), "SRT-C003");
    fixture.finish().await;
}
