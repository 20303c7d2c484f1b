//! Rolling back over what cannot go back.

use sortie_step::task::Target;

use crate::world::{World, config, documents, plain, web};

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_keeps_the_version_that_is_stored() {
    let world = World::new("stored_versions").await;
    let v3 = world.cluster.image("sample-v3").await.unwrap();
    let group = format!("{}.example.com", world.namespace.name());
    let version = |name: &str, storage: bool| {
        format!(
            "{{name: {name}, served: true, storage: {storage}, schema: {{openAPIV3Schema: {{type: object}}}}}}"
        )
    };
    let definition = |versions: &[String]| {
        format!(
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: widgets.{group}}}\nspec:\n  group: {group}\n  scope: Namespaced\n  names: {{kind: Widget, plural: widgets}}\n  versions: [{}]\n",
            versions.join(", ")
        )
    };
    let first = documents(&[&definition(&[version("v1", true)]), &config("a", "1")]);
    let first = world.deploy(plain(&first)).await;
    let second = definition(&[version("v1", false), version("v2", true)]);
    let second = documents(&[&second, &config("a", "2"), &web(&v3, "")]);
    let failed = world.deploy(plain(&second)).await;
    let back = world.rollback(Target::Below(2)).await;
    let name = format!("widgets.{group}");
    world
        .kubectl(&["delete", "customresourcedefinition", &name], "")
        .await;

    first.outputs();
    assert_eq!(failed.failure().code, "SRT-H007");
    back.outputs();
    assert!(
        back.said("left as it is") && back.said("storedVersions"),
        "{:?}",
        back.lines
    );
    assert_eq!(
        world.get("v1/ConfigMap", "a").await.unwrap()["data"]["a"],
        "1"
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_has_grown_stays_as_large() {
    let world = World::new("grown_claim").await;
    let v3 = world.cluster.image("sample-v3").await.unwrap();
    let namespace = world.namespace.name().to_owned();
    world
        .given(&format!(
            "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {{name: {namespace}}}\nprovisioner: example.com/none\nallowVolumeExpansion: true\n---\napiVersion: v1\nkind: PersistentVolume\nmetadata: {{name: {namespace}}}\nspec:\n  capacity: {{storage: 1Mi}}\n  accessModes: [ReadWriteOnce]\n  storageClassName: {namespace}\n  hostPath: {{path: /tmp/{namespace}}}\n"
        ))
        .await;
    let claim = |size: &str| {
        format!(
            "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: data}}\nspec:\n  accessModes: [ReadWriteOnce]\n  storageClassName: {namespace}\n  resources: {{requests: {{storage: {size}}}}}\n"
        )
    };
    let first = documents(&[&claim("1Mi"), &config("a", "1")]);
    let first = world.deploy(plain(&first)).await;
    let second = documents(&[&claim("2Mi"), &config("a", "2"), &web(&v3, "")]);
    let failed = world.deploy(plain(&second)).await;
    let back = world.rollback(Target::Below(2)).await;
    let left = world.get("v1/PersistentVolumeClaim", "data").await;
    for kind in ["persistentvolume", "storageclass"] {
        world
            .kubectl(&["delete", kind, &namespace, "--wait=false"], "")
            .await;
    }

    first.outputs();
    assert_eq!(failed.failure().release_number, Some(2));
    back.outputs();
    assert!(back.said("left as it is"), "{:?}", back.lines);
    assert_eq!(
        left.unwrap()["spec"]["resources"]["requests"]["storage"],
        "2Mi"
    );
    assert_eq!(
        world.get("v1/ConfigMap", "a").await.unwrap()["data"]["a"],
        "1"
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_may_only_now_not_be_made_is_no_success_of_a_rollback() {
    let world = World::new("claim_without_room").await;
    let claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec:\n  accessModes: [ReadWriteOnce]\n  resources: {requests: {storage: 1Mi}}\n";
    for value in ["1", "2"] {
        let set = documents(&[claim, &config("a", value)]);
        world.deploy(plain(&set)).await.outputs();
    }
    world.kubectl(&["delete", "pvc", "data"], "").await;
    world.given("apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: none}\nspec: {hard: {persistentvolumeclaims: \"0\"}}\n").await;
    let counted = "--for=jsonpath={.status.hard}";
    world
        .kubectl(&["wait", counted, "resourcequota/none"], "")
        .await;

    let back = world.rollback(Target::Number(1)).await;
    assert_eq!(back.failure().code, "SRT-C007");
    assert!(!back.said("left as it is"), "{:?}", back.lines);
    let value = async || world.get("v1/ConfigMap", "a").await.unwrap()["data"]["a"].clone();
    assert_eq!(value().await, "1", "it stops over nothing");

    // Once there is room, the same brings it back.
    world
        .kubectl(&["delete", "resourcequota", "none"], "")
        .await;
    world.rollback(Target::Number(1)).await.outputs();
    let claim = world.get("v1/PersistentVolumeClaim", "data").await;
    assert!(claim.is_some());
    world.finish().await;
}
