//! Sets whose parts stand on each other.

use sortie_cluster::delete::Doomed;
use sortie_cluster::lease::Guard;
use sortie_manifest::ObjectId;
use sortie_step::task::{Action, Target};

use crate::world::{World, config, documents, plain};

/// Deletes an object without a namespace, whatever became of the test's release.
async fn clean(world: &World, group: &str, kind: &str, name: &str) {
    let doomed = Doomed {
        id: ObjectId {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: None,
            name: name.to_owned(),
        },
        uid: None,
        release: None,
    };
    let patience = std::time::Duration::from_secs(60);
    let deleted = world
        .api
        .delete(&doomed, patience, &Guard::unfenced())
        .await;
    deleted.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_and_its_objects_come_together() {
    let world = World::new("crd").await;
    let group = format!("{}.example.com", world.namespace.name());
    let definition = format!(
        r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: widgets.{group}}}
spec:
  group: {group}
  scope: Namespaced
  names: {{kind: Widget, plural: widgets}}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {{openAPIV3Schema: {{type: object, properties: {{spec: {{type: object, properties: {{size: {{type: integer}}}}}}}}}}}}
"#
    );
    let widget =
        format!("apiVersion: {group}/v1\nkind: Widget\nmetadata: {{name: w}}\nspec: {{size: 3}}\n");
    // The object is written first in the file; the order is ours.
    let told = world
        .deploy(plain(&documents(&[&widget, &definition])))
        .await;
    let there = world.get(&format!("{group}/v1/Widget"), "w").await;
    let again = world
        .deploy(plain(&documents(&[&definition, &widget])))
        .await;
    clean(
        &world,
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        &format!("widgets.{group}"),
    )
    .await;
    told.outputs();
    assert_eq!(there.unwrap()["spec"]["size"], 3);
    assert_eq!(again.outputs()["releaseNumber"], 2);
    world.finish().await;
}

/// A definition whose names another one has taken is not served until that one is gone: so it is with a slow API server.
#[tokio::test(flavor = "multi_thread")]
async fn a_definition_that_is_served_late_delays_its_objects_alone() {
    let world = World::new("crd_late").await;
    let group = format!("{}.example.com", world.namespace.name());
    let definition = |plural: &str| {
        format!(
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: {plural}.{group}}}\nspec:\n  group: {group}\n  scope: Namespaced\n  names: {{kind: Widget, plural: {plural}}}\n  versions: [{{name: v1, served: true, storage: true, schema: {{openAPIV3Schema: {{type: object}}}}}}]\n"
        )
    };
    let (first, second) = (format!("gadgets.{group}"), format!("widgets.{group}"));
    world.given(&definition("gadgets")).await;
    let served = [
        "wait",
        "--for=condition=Established",
        "--timeout=60s",
        "crd",
    ];
    world
        .kubectl_anywhere(&[&served[..], &[&first]].concat(), "")
        .await;
    let widget = format!("apiVersion: {group}/v1\nkind: Widget\nmetadata: {{name: w}}\n");
    let set = documents(&[&widget, &config("a", "1"), &definition("widgets")]);
    let deploying = world.deploy(plain(&set));
    let freeing = async {
        let refused = ["wait", "--for=create", "--timeout=60s", "crd", &second];
        world.kubectl_anywhere(&refused, "").await;
        let refused = [
            "wait",
            "--for=condition=NamesAccepted=false",
            "--timeout=60s",
            "crd",
            &second,
        ];
        world.kubectl_anywhere(&refused, "").await;
        clean(
            &world,
            "apiextensions.k8s.io",
            "CustomResourceDefinition",
            &first,
        )
        .await;
    };
    let (told, ()) = tokio::join!(deploying, freeing);
    let there = world.get(&format!("{group}/v1/Widget"), "w").await;
    clean(
        &world,
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        &second,
    )
    .await;
    told.outputs();
    assert_eq!(there.unwrap()["metadata"]["generation"], 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_the_set_contains_is_made_first() {
    let world = World::new("own_namespace").await;
    let name = format!("{}-own", world.namespace.name());
    let namespace = format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{team: web}}}}\n"
    );
    let set = documents(&[&config("a", "1"), &namespace]);
    let in_own = |action| {
        let mut task = world.task(action);
        task.release.namespace.clone_from(&name);
        task
    };
    // A set that cannot work makes no namespace.
    let broken = documents(&[
        &set,
        "apiVersion: v1\nkind: Nonsense\nmetadata: {name: none}\n",
    ]);
    let refused = world
        .run(&in_own(Action::RollingDeploy(plain(&broken))))
        .await;
    let made = world
        .api
        .get(&sortie_cluster::Resource::namespaces(), None, &name)
        .await;

    let first = world.run(&in_own(Action::RollingDeploy(plain(&set)))).await;
    let second = world.run(&in_own(Action::RollingDeploy(plain(&set)))).await;
    let options = sortie_step::task::RollingRollback {
        target: Target::Below(2),
        delete_storage: false,
    };
    let back = world.run(&in_own(Action::RollingRollback(options))).await;
    clean(&world, "", "Namespace", &name).await;
    assert_eq!(refused.failure().code, "SRT-C004");
    assert!(made.unwrap().is_none());
    assert_eq!(first.outputs()["namespace"], name.as_str());
    assert!(first.said("the set contains it"), "{:?}", first.lines);
    assert_eq!(second.outputs()["releaseNumber"], 2);
    assert_eq!(back.outputs()["releaseNumber"], 1);
    world.finish().await;
}

/// The rights of the delegate chart's default preset: the listed namespaces, and nothing of the whole cluster.
pub(crate) const NAMESPACE_RIGHTS: &str = r#"
  - {apiGroups: [""], resources: [configmaps, persistentvolumeclaims, pods, secrets, serviceaccounts, services], verbs: [get, list, watch, create, patch, update, delete]}
  - {apiGroups: [apps], resources: [daemonsets, deployments, replicasets, statefulsets], verbs: [get, list, watch, create, patch, update, delete]}
  - {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, list, watch, create, patch, update]}
  - {apiGroups: [""], resources: [pods/log], verbs: [get]}
  - {apiGroups: [""], resources: [events], verbs: [get, list, watch]}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn rights_in_one_namespace_suffice() {
    let mut world = World::new("namespaced").await;
    world.with_rights(NAMESPACE_RIGHTS).await;
    let v1 = world.cluster.image("sample-v1").await.unwrap();
    let v3 = world.cluster.image("sample-v3").await.unwrap();
    let claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: spare}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}\n";
    let set = documents(&[&config("a", "1"), claim, &crate::world::web(&v1, "")]);
    world.deploy(plain(&set)).await.outputs();
    let broken = documents(&[&config("b", "1"), claim, &crate::world::web(&v3, "")]);
    let failed = world.deploy(plain(&broken)).await;
    assert_eq!(failed.failure().code, "SRT-H007");
    assert!(failed.failure().message.contains("last log"), "{failed:?}");
    world.rollback(Target::Below(2)).await.outputs();
    world.finish().await;
}
