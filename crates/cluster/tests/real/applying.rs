use serde_json::{Value, json};
use sortie_cluster::apply::{Applied, CONTROL_MANAGER, Change, Conflict, Outcome, Planned};
use sortie_cluster::lease::Guard;
use sortie_cluster::{Cause, Error};

use crate::fixture::{Fixture, SET, config_map, deployment, meddle, objects, version};

#[tokio::test]
async fn a_second_apply_of_the_same_set_writes_nothing() {
    let fixture = Fixture::new("reapply").await;
    let mut yaml = format!("{SET}{}", deployment("web", "web:1"));
    // More than a handful of a kind, so that live objects are read by a list.
    for n in 0..6 {
        yaml.push_str(&format!("---\n{}", config_map(&format!("map-{n}"), "a")));
    }
    let first = fixture.apply(objects(fixture.ns(), &yaml)).await;
    assert_eq!(first.len(), 15);
    for applied in &first {
        assert_eq!(applied.change, Change::Created, "{}", applied.id);
        assert!(applied.uid().is_some() && applied.conflicts.is_empty());
    }
    let second = fixture.apply(objects(fixture.ns(), &yaml)).await;
    for (first, second) in first.iter().zip(&second) {
        assert_eq!(second.change, Change::Unchanged, "{}", second.id);
        assert_eq!(first.uid(), second.uid());
        // Controllers write statuses; what we applied has not been written again.
        if matches!(
            first.id.kind.as_str(),
            "ConfigMap" | "Secret" | "Role" | "Service"
        ) {
            assert_eq!(version(first), version(second), "{}", first.id);
        }
    }
    fixture.finish().await;
}

#[tokio::test]
async fn only_what_differs_is_written() {
    let fixture = Fixture::new("differs").await;
    let both = |value: &str| format!("{}---\n{}", config_map("a", "same"), config_map("b", value));
    let first = fixture.apply(objects(fixture.ns(), &both("one"))).await;
    let second = fixture.apply(objects(fixture.ns(), &both("two"))).await;
    assert_eq!(second[0].change, Change::Unchanged);
    assert_eq!(second[1].change, Change::Configured);
    assert_eq!(version(&first[0]), version(&second[0]));
    assert_eq!(second[1].object["data"]["key"], "two");
    // A field that the manifest stops naming goes away.
    let less = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n";
    let third = fixture.apply(objects(fixture.ns(), less)).await;
    assert_eq!(third[0].change, Change::Configured);
    assert_eq!(third[0].object.get("data"), None);
    fixture.finish().await;
}

#[tokio::test]
async fn the_same_values_with_other_owners_are_no_equal_objects() {
    let fixture = Fixture::new("owners").await;
    let foreign = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"key": "v"}});
    meddle(&fixture, "kubectl", foreign).await;
    let mut plain = sortie_manifest::parse(
        "a.yaml",
        config_map("a", "v").as_bytes(),
        &Default::default(),
    )
    .unwrap();
    let planned = fixture.plan(std::mem::take(&mut plain)).await.unwrap();
    // Without it, a field removed from the manifest later would stay.
    assert_eq!(planned[0].change(), Some(Change::Configured));
    fixture.finish().await;
}

#[tokio::test]
async fn fields_taken_from_others_are_reported() {
    let fixture = Fixture::new("conflicts").await;
    let yaml = deployment("web", "web:1");
    fixture.apply(objects(fixture.ns(), &yaml)).await;
    let theirs = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 7}});
    meddle(&fixture, "somebody", theirs).await;
    let applied = fixture.apply(objects(fixture.ns(), &yaml)).await;
    assert_eq!(applied[0].change, Change::Configured);
    let taken = Conflict {
        path: ".spec.replicas".into(),
        manager: "somebody".into(),
    };
    assert_eq!(applied[0].conflicts, [taken]);
    assert_eq!(applied[0].object["spec"]["replicas"], 1);
    assert_eq!(
        fixture.apply(objects(fixture.ns(), &yaml)).await[0].change,
        Change::Unchanged
    );
    fixture.finish().await;
}

#[tokio::test]
async fn what_we_patched_ourselves_is_no_conflict() {
    let fixture = Fixture::new("control").await;
    let yaml = deployment("web", "web:1");
    let applied = fixture.apply(objects(fixture.ns(), &yaml)).await;
    let (id, guard) = (&applied[0].id, Guard::unfenced());
    let resource = fixture
        .cluster
        .resolve("apps", "v1", "Deployment")
        .await
        .unwrap();
    let scale = json!([
        {"op": "test", "path": "/spec/replicas", "value": 1},
        {"op": "replace", "path": "/spec/replicas", "value": 3},
    ]);
    let patched = fixture
        .cluster
        .patch(&resource, id, &scale, &guard)
        .await
        .unwrap();
    assert_eq!(patched["spec"]["replicas"], 3);
    let managers = patched["metadata"]["managedFields"].as_array().unwrap();
    assert!(
        managers
            .iter()
            .any(|entry| entry["manager"] == CONTROL_MANAGER)
    );
    // The test in the patch does not hold any more: a lost compare-and-set.
    let error = fixture
        .cluster
        .patch(&resource, id, &scale, &guard)
        .await
        .unwrap_err();
    assert!(error.is_conflict(), "{error}");
    let applied = fixture.apply(objects(fixture.ns(), &yaml)).await;
    assert_eq!(
        (applied[0].change, applied[0].conflicts.len()),
        (Change::Configured, 0)
    );
    fixture.finish().await;
}

#[tokio::test]
async fn a_kind_that_is_defined_and_not_served_yet_is_judged_later() {
    let fixture = Fixture::new("unserved").await;
    let group = format!("{}.example.com", fixture.ns());
    // Both want the same names; the second is never served.
    let definition = |plural: &str| {
        let names = json!({"kind": "Widget", "plural": plural});
        let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}});
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
               "metadata": {"name": format!("{plural}.{group}")},
               "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [version]}})
    };
    let (first, second) = (definition("widgets"), definition("gadgets"));
    for one in [&first, &second] {
        fixture.apply(objects(fixture.ns(), &one.to_string())).await;
    }
    let widget =
        json!({"apiVersion": format!("{group}/v1"), "kind": "Widget", "metadata": {"name": "w"}});
    let set = format!("{second}\n---\n{widget}\n");
    let planned = fixture.plan(objects(fixture.ns(), &set)).await.unwrap();
    assert_eq!(planned[0].change(), Some(Change::Unchanged));
    assert!(
        matches!(&planned[1].outcome, Outcome::Deferred { until } if until.name == format!("gadgets.{group}")),
        "{:?}",
        planned[1].outcome
    );
    for plural in ["widgets", "gadgets"] {
        let path =
            format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{plural}.{group}");
        fixture
            .send(http::Method::DELETE, &path, "application/json", &json!({}))
            .await;
    }
    fixture.finish().await;
}

#[tokio::test]
async fn a_set_may_bring_its_own_kinds_and_namespaces() {
    let fixture = Fixture::new("defined").await;
    let group = format!("{}.example.com", fixture.ns());
    let (kind, inner) = ("Widget", format!("{}-inner", fixture.ns()));
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("widgets.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"kind": kind, "plural": "widgets"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}},
            }}}],
        },
    });
    let yaml = format!(
        "{definition}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {inner}}}\n---\n{}\n---\n{}\n",
        json!({"apiVersion": format!("{group}/v1"), "kind": kind, "metadata": {"name": "w"}, "spec": {"size": 1}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": inner}}),
    );
    let planned = fixture.plan(objects(fixture.ns(), &yaml)).await.unwrap();
    let waits_for = |index: usize| match &planned[index].outcome {
        Outcome::Deferred { until } => until.to_string(),
        Outcome::Accepted { change, .. } => change.name().to_owned(),
        Outcome::Replacement { .. } => "replaced".to_owned(),
    };
    assert_eq!(waits_for(0), "created");
    assert_eq!(
        waits_for(2),
        format!("CustomResourceDefinition/widgets.{group}")
    );
    assert_eq!(waits_for(3), format!("Namespace/{inner}"));
    let guard = Guard::unfenced();
    for planned in &planned {
        let applied = fixture.cluster.apply(planned, &guard).await.unwrap();
        assert_eq!(applied.change, Change::Created, "{}", applied.id);
    }
    // Once everything is there, the whole set is dry-run at once.
    let again = fixture.plan(objects(fixture.ns(), &yaml)).await.unwrap();
    for planned in &again {
        assert_eq!(
            planned.change(),
            Some(Change::Unchanged),
            "{}",
            planned.target.id
        );
    }
    for name in [format!("widgets.{group}"), inner.clone()] {
        let group = if name == inner {
            ""
        } else {
            "apiextensions.k8s.io"
        };
        let kind = if name == inner {
            "Namespace"
        } else {
            "CustomResourceDefinition"
        };
        let id = sortie_manifest::ObjectId {
            group: group.into(),
            kind: kind.into(),
            namespace: None,
            name,
        };
        let doomed = sortie_cluster::delete::Doomed {
            id,
            uid: None,
            release: None,
        };
        fixture
            .cluster
            .delete(&doomed, std::time::Duration::from_secs(60), &guard)
            .await
            .unwrap();
    }
    let error = fixture.cluster.resolve(&group, "v1", kind).await;
    // Discovery notices the deletion a moment later; the kind is either still listed or unknown.
    if let Err(error) = error {
        assert!(
            matches!(error.cause(), Cause::UnknownKind { .. }),
            "{error}"
        );
    }
    fixture.finish().await;
}

#[tokio::test]
async fn hundreds_of_objects_are_applied_together() {
    let fixture = Fixture::new("many").await;
    let yaml: String = (0..300)
        .map(|n| format!("---\n{}", config_map(&format!("m{n}"), "v")))
        .collect();
    let planned = fixture.plan(objects(fixture.ns(), &yaml)).await.unwrap();
    let expected: Vec<_> = planned.iter().map(|one| one.target.id.clone()).collect();
    let mut told = Vec::new();
    let done = |planned: Planned, result: Result<Applied, Error>| {
        let applied = result.unwrap();
        assert_eq!(applied.change, Change::Created);
        assert_eq!(applied.id, planned.target.id);
        told.push(applied.id);
    };
    let guard = Guard::unfenced();
    fixture.cluster.apply_stage(planned, &guard, done).await;
    assert_eq!(told, expected, "each once, in the order of the plan");
    let again = fixture.plan(objects(fixture.ns(), &yaml)).await.unwrap();
    assert!(
        again
            .iter()
            .all(|planned| planned.change() == Some(Change::Unchanged))
    );
    let maps = fixture
        .cluster
        .resolve("", "v1", "ConfigMap")
        .await
        .unwrap();
    let live = fixture
        .cluster
        .get(&maps, Some(fixture.ns()), "m299")
        .await
        .unwrap();
    assert_eq!(
        live.as_ref().and_then(|live| live.pointer("/data/key")),
        Some(&Value::from("v"))
    );
    fixture.finish().await;
}
