//! Fields that change hands: to an autoscaler, and from kubectl and helm.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sortie_cluster::apply::{Applied, Change};
use sortie_cluster::lease::Guard;

use crate::fixture::{Fixture, deployment, objects};

const AUTOSCALER: &str = r"---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec: {minReplicas: 2, maxReplicas: 5, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}
";

fn replicas(applied: &Applied) -> &Value {
    &applied.object["spec"]["replicas"]
}

fn with_replicas(count: u32) -> String {
    deployment("web", "web:1").replace("\"replicas\":1", &format!("\"replicas\":{count}"))
}

#[tokio::test]
async fn replicas_are_handed_to_a_live_autoscaler_and_never_drop() {
    let fixture = Fixture::new("autoscaled").await;
    let path = format!("/apis/apps/v1/namespaces/{}/deployments/web", fixture.ns());
    let first = fixture
        .apply(objects(fixture.ns(), &with_replicas(3)))
        .await;
    assert_eq!(replicas(&first[0]), 3);

    // An autoscaler appears beside the set.
    fixture.apply(objects(fixture.ns(), AUTOSCALER)).await;
    let second = fixture
        .apply(objects(fixture.ns(), &with_replicas(4)))
        .await;
    assert_eq!(second[0].change, Change::Configured);
    assert_eq!(
        replicas(&second[0]),
        3,
        "the manifest's number does not count"
    );
    let since = crate::fixture::version(&first[0]);
    assert_eq!(
        all_replicas(&fixture, &since).await,
        BTreeSet::from([3]),
        "never another number"
    );
    assert_eq!(
        owners(&fixture.live(&path).await, "f:replicas"),
        [] as [&str; 0]
    );

    // What the autoscaler sets stays, through changes of everything else.
    let scaled = json!({"spec": {"replicas": 5}});
    let scale = format!("{path}/scale");
    fixture
        .send(
            http::Method::PATCH,
            &scale,
            "application/merge-patch+json",
            &scaled,
        )
        .await;
    let same = fixture
        .apply(objects(fixture.ns(), &with_replicas(4)))
        .await;
    assert_eq!(
        (same[0].change, replicas(&same[0])),
        (Change::Unchanged, &json!(5))
    );
    let image = with_replicas(4).replace("web:1", "web:2");
    let third = fixture.apply(objects(fixture.ns(), &image)).await;
    assert_eq!(
        (third[0].change, replicas(&third[0])),
        (Change::Configured, &json!(5))
    );
    assert!(third[0].conflicts.is_empty(), "{:?}", third[0].conflicts);

    // Zero turns the workload off, whoever scales it.
    let off = fixture
        .apply(objects(fixture.ns(), &with_replicas(0)))
        .await;
    assert_eq!(replicas(&off[0]), 0);
    // And the next number turns it on again: an autoscaler would rest for ever.
    let on = fixture
        .apply(objects(fixture.ns(), &with_replicas(4)))
        .await;
    assert_eq!(replicas(&on[0]), 4);
    fixture.finish().await;
}

#[tokio::test]
async fn replicas_that_the_manifest_stops_naming_stay_with_an_autoscaler() {
    let fixture = Fixture::new("autoscaled-unnamed").await;
    let ns = fixture.ns();
    let unnamed = deployment("web", "web:1").replace("\"replicas\":1,", "");
    assert!(!unnamed.contains("replicas"));
    let path = format!("/apis/apps/v1/namespaces/{ns}/deployments/web");
    for with_set in [true, false] {
        let first = fixture.apply(objects(ns, &with_replicas(4))).await;
        assert_eq!(replicas(&first[0]), 4);
        // Or it is live beside the set, since the case before.
        let autoscaler = if with_set { AUTOSCALER } else { "" };
        let second = fixture
            .apply(objects(ns, &format!("{unnamed}{autoscaler}")))
            .await;
        assert_eq!(replicas(&second[0]), 4, "in the set: {with_set}");
        let since = crate::fixture::version(&first[0]);
        let seen = all_replicas(&fixture, &since).await;
        assert_eq!(seen, BTreeSet::from([4]), "in the set: {with_set}");
        fixture
            .send(
                http::Method::DELETE,
                &path,
                "application/json",
                &json!({"propagationPolicy": "Background"}),
            )
            .await;
    }
    fixture.finish().await;
}

#[tokio::test]
async fn replicas_of_kubectl_that_the_manifest_does_not_name_stay_with_an_autoscaler() {
    let fixture = Fixture::new("autoscaled-kubectl").await;
    let ns = fixture.ns();
    fixture.apply(objects(ns, AUTOSCALER)).await;
    let theirs: Value = serde_json::from_str(with_replicas(4).trim_start_matches("---")).unwrap();
    let path = format!("/apis/apps/v1/namespaces/{ns}/deployments");
    let create = format!("{path}?fieldManager=kubectl-client-side-apply");
    let before = fixture
        .send(http::Method::POST, &create, "application/json", &theirs)
        .await;
    let unnamed = deployment("web", "web:1").replace("\"replicas\":1,", "");
    let ours = fixture.apply(objects(ns, &unnamed)).await;
    assert_eq!(
        (ours[0].change, replicas(&ours[0])),
        (Change::Configured, &json!(4))
    );
    let since = before["metadata"]["resourceVersion"].as_str().unwrap();
    let seen = all_replicas(&fixture, since).await;
    assert_eq!(seen, BTreeSet::from([4]), "never another number");
    fixture.finish().await;
}

#[tokio::test]
async fn whoever_may_not_list_autoscalers_leaves_replicas_that_were_scaled() {
    let fixture = Fixture::new("autoscaled-unseen").await;
    let ns = fixture.ns();
    let limited = limited(&fixture).await;
    let plan = async |yaml: &str| {
        let targets = limited.locate(objects(ns, yaml), ns).await.unwrap();
        let mut planned = limited.plan(targets, &fixture.scope()).await.unwrap();
        planned.remove(0)
    };
    // Nothing is known, and nothing would be lost.
    assert!(plan(&with_replicas(1)).await.unseen_autoscalers().is_none());
    fixture.apply(objects(ns, &with_replicas(1))).await;
    let planned = plan(&with_replicas(2)).await;
    let (error, left) = planned.unseen_autoscalers().unwrap();
    assert!(!left);
    let rule = "{apiGroups: [\"autoscaling\"], resources: [\"horizontalpodautoscalers\"], verbs: [\"list\"]}";
    assert!(error.to_string().contains(rule), "{error}");

    let scale = format!("/apis/apps/v1/namespaces/{ns}/deployments/web/scale");
    let merge = "application/merge-patch+json";
    let scaled = json!({"spec": {"replicas": 3}});
    fixture
        .send(http::Method::PATCH, &scale, merge, &scaled)
        .await;
    let unnamed = deployment("web", "web:2").replace("\"replicas\":1,", "");
    for yaml in [&with_replicas(2), &unnamed] {
        let planned = plan(yaml).await;
        assert!(planned.unseen_autoscalers().is_some_and(|(_, left)| left));
        let applied = limited.apply(&planned, &Guard::unfenced()).await.unwrap();
        assert_eq!(replicas(&applied), 3);
    }
    let off = plan(&with_replicas(0)).await;
    assert!(off.unseen_autoscalers().is_none());
    fixture.finish().await;
}

#[tokio::test]
async fn whoever_may_not_list_autoscalers_leaves_replicas_that_were_given_away() {
    let fixture = Fixture::new("autoscaled-given").await;
    let ns = fixture.ns();
    fixture
        .apply(objects(ns, &format!("{}{AUTOSCALER}", with_replicas(2))))
        .await;
    let scale = format!("/apis/apps/v1/namespaces/{ns}/deployments/web/scale");
    let merge = "application/merge-patch+json";
    let scaled = json!({"spec": {"replicas": 4}});
    fixture
        .send(http::Method::PATCH, &scale, merge, &scaled)
        .await;
    let limited = limited(&fixture).await;
    let yaml = with_replicas(2).replace("web:1", "web:2");
    let targets = limited.locate(objects(ns, &yaml), ns).await.unwrap();
    let planned = limited.plan(targets, &fixture.scope()).await.unwrap();
    assert!(
        planned[0]
            .unseen_autoscalers()
            .is_some_and(|(_, left)| left)
    );
    let guard = Guard::unfenced();
    let applied = limited.apply(&planned[0], &guard).await.unwrap();
    assert_eq!(
        (applied.change, replicas(&applied)),
        (Change::Configured, &json!(4))
    );
    fixture.finish().await;
}

#[tokio::test]
async fn a_new_workload_begins_with_the_manifests_number_and_gives_it_away() {
    let fixture = Fixture::new("autoscaled-new").await;
    let path = format!("/apis/apps/v1/namespaces/{}/deployments/web", fixture.ns());
    let yaml = format!("{}{AUTOSCALER}", with_replicas(3));
    let first = fixture.apply(objects(fixture.ns(), &yaml)).await;
    assert_eq!(
        (first[0].change, replicas(&first[0])),
        (Change::Created, &json!(3))
    );
    assert_eq!(
        owners(&fixture.live(&path).await, "f:replicas"),
        [] as [&str; 0]
    );
    let again = fixture.apply(objects(fixture.ns(), &yaml)).await;
    assert_eq!(
        (again[0].change, replicas(&again[0])),
        (Change::Unchanged, &json!(3))
    );
    fixture.finish().await;
}

#[tokio::test]
async fn an_object_of_kubectl_apply_becomes_ours_with_what_it_stops_naming() {
    let fixture = Fixture::new("kubectl").await;
    let path = format!("/apis/apps/v1/namespaces/{}/deployments/web", fixture.ns());
    let mut theirs: Value =
        serde_json::from_str(deployment("web", "web:1").trim_start_matches("---")).unwrap();
    theirs["spec"]["minReadySeconds"] = json!(7);
    theirs["spec"]["template"]["metadata"]["labels"]["old"] = json!("label");
    theirs["metadata"]["annotations"] =
        json!({"kubectl.kubernetes.io/last-applied-configuration": theirs.to_string()});
    let collection = path.trim_end_matches("/web");
    let create = format!("{collection}?fieldManager=kubectl-client-side-apply");
    let before = fixture
        .send(http::Method::POST, &create, "application/json", &theirs)
        .await;
    // Somebody's own additions stay.
    let edit = json!({"metadata": {"annotations": {"team": "shop"}}});
    let edited = format!("{path}?fieldManager=kubectl-edit");
    fixture
        .send(
            http::Method::PATCH,
            &edited,
            "application/merge-patch+json",
            &edit,
        )
        .await;

    let applied = fixture
        .apply(objects(fixture.ns(), &deployment("web", "web:1")))
        .await;
    let object = &applied[0].object;
    assert_eq!(applied[0].change, Change::Configured);
    assert_eq!(object["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(
        object["spec"].get("minReadySeconds"),
        None,
        "no stale field"
    );
    assert_eq!(
        object["spec"]["template"]["metadata"]["labels"].get("old"),
        None
    );
    let annotations = &object["metadata"]["annotations"];
    assert_eq!(
        annotations.get("kubectl.kubernetes.io/last-applied-configuration"),
        None
    );
    assert_eq!(annotations["team"], "shop");
    // What the API server had filled in is what it fills in.
    for field in [
        "progressDeadlineSeconds",
        "revisionHistoryLimit",
        "strategy",
    ] {
        assert_eq!(object["spec"][field], before["spec"][field], "{field}");
    }
    let again = fixture
        .apply(objects(fixture.ns(), &deployment("web", "web:1")))
        .await;
    assert_eq!(again[0].change, Change::Unchanged);
    fixture.finish().await;
}

#[tokio::test]
async fn what_kubectl_has_created_becomes_ours_and_what_it_has_set_since_is_named() {
    let fixture = Fixture::new("kubectl-set").await;
    let path = format!("/apis/apps/v1/namespaces/{}/deployments/web", fixture.ns());
    let mut theirs: Value =
        serde_json::from_str(deployment("web", "web:1").trim_start_matches("---")).unwrap();
    let env = |name: &str| json!([{"name": name, "value": "x"}]);
    theirs["spec"]["template"]["spec"]["containers"][0]["env"] = env("EXTRA");
    for manager in ["kubectl-create", "kubectl-replace"] {
        let collection = path.trim_end_matches("/web");
        let create = format!("{collection}?fieldManager={manager}");
        fixture
            .send(http::Method::POST, &create, "application/json", &theirs)
            .await;
        let set = json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "env": env("SET")}]}}}});
        let patch = format!("{path}?fieldManager=kubectl-set");
        let strategic = "application/strategic-merge-patch+json";
        fixture
            .send(http::Method::PATCH, &patch, strategic, &set)
            .await;
        let yaml = deployment("web", "web:1");
        let planned = fixture.plan(objects(fixture.ns(), &yaml)).await.unwrap();
        let remaining = planned[0].remaining();
        let named: Vec<_> = remaining
            .iter()
            .map(|one| (one.manager.as_str(), one.path.as_str()))
            .collect();
        let place = r#".spec.template.spec.containers[name="web"].env[name="SET"]"#;
        assert_eq!(named, [("kubectl-set", place)]);
        let guard = Guard::unfenced();
        let applied = fixture.cluster.apply(&planned[0], &guard).await.unwrap();
        let container = &applied.object["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["env"], env("SET"), "{manager}");
        let again = fixture.plan(objects(fixture.ns(), &yaml)).await.unwrap();
        assert_eq!(again[0].change(), Some(Change::Unchanged));
        assert_eq!(again[0].remaining(), []);
        fixture
            .send(http::Method::DELETE, &path, "application/json", &json!({}))
            .await;
    }
    fixture.finish().await;
}

#[tokio::test]
async fn fields_that_were_applied_in_another_version_go_as_well() {
    let fixture = Fixture::new("kubectl-version").await;
    let collection = format!(
        "/apis/autoscaling/v1/namespaces/{}/horizontalpodautoscalers?fieldManager=kubectl-client-side-apply",
        fixture.ns()
    );
    let theirs = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web", "labels": {"old": "label"}},
        "spec": {"minReplicas": 2, "maxReplicas": 5,
                 "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}});
    fixture
        .send(http::Method::POST, &collection, "application/json", &theirs)
        .await;
    let unnamed = AUTOSCALER.replace("minReplicas: 2, ", "");
    let applied = fixture.apply(objects(fixture.ns(), &unnamed)).await;
    let object = &applied[0].object;
    assert_eq!(object["metadata"]["labels"].get("old"), None, "{object}");
    assert_eq!(object["spec"]["minReplicas"], 1, "the default: {object}");
    let again = fixture.apply(objects(fixture.ns(), &unnamed)).await;
    assert_eq!(again[0].change, Change::Unchanged);
    fixture.finish().await;
}

#[tokio::test]
async fn objects_of_helm_become_ours_whatever_way_it_applied_them() {
    let fixture = Fixture::new("helm").await;
    let map = |name: &str, data: Value| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data,
               "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "Helm"}}})
    };
    let collection = format!("/api/v1/namespaces/{}/configmaps", fixture.ns());
    let both = json!({"kept": "a", "dropped": "b"});
    // As helm 3 does, and as helm 4 does.
    let create = format!("{collection}?fieldManager=helm");
    fixture
        .send(
            http::Method::POST,
            &create,
            "application/json",
            &map("updated", both.clone()),
        )
        .await;
    let apply = format!("{collection}/applied?fieldManager=helm&force=true");
    fixture
        .send(
            http::Method::PATCH,
            &apply,
            "application/apply-patch+yaml",
            &map("applied", both),
        )
        .await;
    let ours = |name: &str| {
        format!(
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{kept: a}}\n"
        )
    };
    let yaml = format!("{}{}", ours("updated"), ours("applied"));
    for applied in fixture.apply(objects(fixture.ns(), &yaml)).await {
        assert_eq!(
            applied.object["data"],
            json!({"kept": "a"}),
            "{}",
            applied.id
        );
        let labels = &applied.object["metadata"]["labels"];
        assert_eq!(
            labels.get("app.kubernetes.io/managed-by"),
            None,
            "{}",
            applied.id
        );
    }
    for applied in fixture.apply(objects(fixture.ns(), &yaml)).await {
        assert_eq!(applied.change, Change::Unchanged, "{}", applied.id);
    }
    fixture.finish().await;
}

/// A connection as somebody who may write Deployments and not list autoscalers.
async fn limited(fixture: &Fixture) -> sortie_cluster::Cluster {
    let ns = fixture.ns();
    let rbac = "rbac.authorization.k8s.io";
    for object in [
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "limited"}}),
        json!({"apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": {"name": "limited"},
               "rules": [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list", "create", "patch"]}]}),
        json!({"apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": {"name": "limited"},
               "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "limited"},
               "subjects": [{"kind": "ServiceAccount", "name": "limited", "namespace": ns}]}),
    ] {
        crate::fixture::meddle(fixture, "admin", object).await;
    }
    fixture.as_service_account("limited").await
}

/// Every number of replicas that any workload has had since a version.
async fn all_replicas(fixture: &Fixture, since: &str) -> BTreeSet<u64> {
    let path = format!(
        "/apis/apps/v1/namespaces/{}/deployments?watch=true&timeoutSeconds=1&resourceVersion={since}",
        fixture.ns()
    );
    let request = http::Request::get(path).body(Vec::new()).unwrap();
    let events = fixture
        .namespace
        .client()
        .request_text(request)
        .await
        .unwrap();
    let events = events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    events
        .map(|event| event["object"]["spec"]["replicas"].as_u64().unwrap())
        .collect()
}

/// The managers that own a field of the spec.
fn owners<'a>(object: &'a Value, field: &str) -> Vec<&'a str> {
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    entries
        .iter()
        .filter(|entry| entry["fieldsV1"]["f:spec"].get(field).is_some())
        .map(|entry| entry["manager"].as_str().unwrap())
        .collect()
}
