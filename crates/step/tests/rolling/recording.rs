//! How often and what a step writes into its record.

use std::fmt::Write as _;

use crate::world::{World, config, plain};

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_written_per_stage_and_never_per_object() {
    let mut world = World::new("record_writes").await;
    let rules = r#"
  - {apiGroups: [""], resources: [configmaps, secrets], verbs: ["*"]}
  - {apiGroups: [""], resources: [pods, events], verbs: [list, watch]}
  - {apiGroups: [apps], resources: ["*"], verbs: [list, watch]}
  - {apiGroups: [coordination.k8s.io], resources: [leases], verbs: ["*"]}"#;
    world.with_rights(rules).await;
    let mut set = String::new();
    for number in 0..40 {
        writeln!(set, "---\n{}", config(&format!("c{number}"), "1")).unwrap();
    }
    world.deploy(plain(&set)).await.outputs();
    world.deploy(plain(&set)).await.outputs();

    let user = format!("system:serviceaccount:{}:deployer", world.namespace.name());
    let asked = world.cluster.audit(&user).await.unwrap();
    let writes = asked.iter().filter(|request| {
        let changes = matches!(
            request.verb.as_str(),
            "create" | "update" | "patch" | "delete"
        );
        changes && matches!(request.resource.as_str(), "secrets" | "leases")
    });
    let count = writes.count();
    assert!(
        (4..=20).contains(&count),
        "{count} writes of records and leases for two deployments"
    );
    world.finish().await;
}
