//! Volumes of the node: folders as `local` PersistentVolumes of the default StorageClass, which has no provisioner.
//! (Ownership by `fsGroup` reaches local volumes, unlike host paths.)

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context as _, Result};
use k8s_openapi::api::{core::v1::PersistentVolume, storage::v1::StorageClass};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use rand::RngExt as _;
use serde_json::json;

use super::node;

/// Volumes that stand ready whenever a cluster is started or found running.
const READY: usize = 20;
/// Prefix of their names.
const PREFIX: &str = "local-";

/// Removes the volumes whose claims are gone, with their content, and makes new ones until enough are free.
pub(crate) async fn provide(cluster: &Path, client: &Client) -> Result<()> {
    let folder = cluster.join(node::NAME).join("volumes");
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let listed = volumes
        .list(&ListParams::default())
        .await
        .context("list the volumes")?;
    let mut free = 0;
    for volume in listed.items {
        let name = volume.name_any();
        let phase = volume
            .status
            .and_then(|status| status.phase)
            .unwrap_or_default();
        match phase.as_str() {
            "Released" | "Failed" if name.starts_with(PREFIX) => {
                match volumes.delete(&name, &DeleteParams::default()).await {
                    // The deletion that a test before this one asked for ended between the list and now.
                    Err(kube::Error::Api(answer)) if answer.is_not_found() => {}
                    answer => {
                        answer.with_context(|| format!("delete the volume {name}"))?;
                    }
                }
                std::fs::remove_dir_all(folder.join(&name)).ok();
            }
            "Bound" => {}
            _ => free += 1,
        }
    }
    if free < READY {
        provide_class(client).await?;
    }
    for _ in free..READY {
        let name = format!("{PREFIX}{:08x}", rand::rng().random::<u32>());
        let path = folder.join(&name);
        std::fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        let everybody = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(&path, everybody).context("open a volume to every user")?;
        let volume = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": "10Gi"},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": "local",
                "local": {"path": path},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                    {"key": "kubernetes.io/hostname", "operator": "In", "values": [node::NAME]},
                ]}]}},
            },
        });
        volumes
            .patch(&name, &PatchParams::apply("testkit"), &Patch::Apply(volume))
            .await
            .with_context(|| format!("make the volume {name}"))?;
    }
    Ok(())
}

async fn provide_class(client: &Client) -> Result<()> {
    let class = json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": "local",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    });
    Api::<StorageClass>::all(client.clone())
        .patch(
            "local",
            &PatchParams::apply("testkit"),
            &Patch::Apply(class),
        )
        .await
        .context("make the storage class")?;
    Ok(())
}
