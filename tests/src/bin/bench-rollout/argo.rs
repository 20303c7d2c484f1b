//! The other tool: its controller, and a workload that it brings new versions to.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};
use sortie_testkit::{Cluster, environment};
use sortie_tests::account::{Account, clear_namespace};
use sortie_tests::measured;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::{Strategy, pods};

const LIMIT: Duration = Duration::from_secs(300);
/// How long the former set stays after a blue-green deployment, and is not counted: without any delay the controller asks
/// itself again and again and never takes its pods.
const DELAY: Duration = Duration::from_secs(1);

/// The controller as a process.
pub(crate) struct Controller {
    child: Child,
    process: u32,
}

impl Controller {
    /// With its usual settings, but as many requests in a second as the cluster's own controllers may send.
    pub(crate) fn start(cluster: &Cluster, account: &Account) -> Result<Self> {
        let log = cluster.dir().context("the cluster has no folder")?;
        let log = std::fs::File::create(log.join("log/argo-rollouts.log"));
        let log = log.context("make a log")?;
        let child = Command::new(environment::tool("argo-rollouts")?)
            .arg("--kubeconfig")
            .arg(&account.kubeconfig)
            .args(["--leader-elect=false", "--qps=500", "--burst=1000"])
            .args(["--metricsPort=0", "--healthzPort=0"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("make a log")?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("start Argo Rollouts")?;
        let process = child.id().context("Argo Rollouts has ended")?;
        Ok(Self { child, process })
    }

    /// The process.
    pub(crate) const fn process(&self) -> u32 {
        self.process
    }

    /// Largest resident memory so far, in MiB.
    pub(crate) fn peak(&self) -> Result<f64> {
        measured::peak(self.process).context("Argo Rollouts has ended")
    }

    pub(crate) async fn end(mut self) -> Result<()> {
        self.child.kill().await.context("end Argo Rollouts")
    }
}

/// A Rollout in a namespace of its own.
pub(crate) struct Workload {
    rollouts: Api<DynamicObject>,
    namespace: String,
    strategy: Strategy,
    size: u32,
}

impl Workload {
    /// Version 0, complete.
    pub(crate) async fn create(
        cluster: &Cluster,
        namespace: &str,
        (strategy, size): (Strategy, u32),
    ) -> Result<Self> {
        let client = cluster.client().await?;
        let kind = GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Rollout");
        let kind = ApiResource::from_gvk(&kind);
        let rollouts = Api::namespaced_with(client.clone(), namespace, &kind);
        let services = GroupVersionKind::gvk("", "v1", "Service");
        let services: Api<DynamicObject> =
            Api::namespaced_with(client, namespace, &ApiResource::from_gvk(&services));
        let apply = PatchParams::apply("bench");
        for name in ["web", "web-stage"] {
            let spec =
                json!({"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]});
            let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec});
            let applied = services.patch(name, &apply, &Patch::Apply(service)).await;
            applied.context("make a Service")?;
        }
        let workload = Self {
            rollouts,
            namespace: namespace.to_owned(),
            strategy,
            size,
        };
        let rollout = workload.rollout();
        let applied = workload
            .rollouts
            .patch("web", &apply, &Patch::Apply(rollout))
            .await;
        workload
            .finished(&applied.context("make a Rollout")?)
            .await?;
        Ok(workload)
    }

    fn rollout(&self) -> Value {
        let strategy = match self.strategy {
            Strategy::Canary => json!({"canary": {
                "maxSurge": "25%", "maxUnavailable": 0, "steps": [{"setWeight": 10}]}}),
            Strategy::BlueGreen => json!({"blueGreen": {
                "activeService": "web", "previewService": "web-stage",
                "autoPromotionEnabled": true, "scaleDownDelaySeconds": DELAY.as_secs()}}),
        };
        json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "web"},
            "spec": {
                "replicas": self.size,
                "selector": {"matchLabels": {"app": "web"}},
                "strategy": strategy,
                "template": pods(0),
            },
        })
    }

    /// Seconds from the request for another version until it has replaced the former one, without [`DELAY`].
    pub(crate) async fn deploy(&self, number: u32) -> Result<f64> {
        let begun = Instant::now();
        let patch = json!({"spec": {"template": pods(number)}});
        let patched = self
            .rollouts
            .patch("web", &PatchParams::default(), &Patch::Merge(patch))
            .await;
        self.finished(&patched.context("change the Rollout")?)
            .await?;
        let idle = match self.strategy {
            Strategy::Canary => Duration::ZERO,
            Strategy::BlueGreen => DELAY,
        };
        Ok(begun.elapsed().saturating_sub(idle).as_secs_f64())
    }

    async fn finished(&self, asked: &DynamicObject) -> Result<()> {
        let asked = asked.metadata.generation.unwrap_or_default();
        let is_finished = |rollout: Option<&DynamicObject>| {
            rollout.is_some_and(|rollout| {
                let status = &rollout.data["status"];
                let counts = ["replicas", "updatedReplicas", "availableReplicas"];
                let generation = rollout.metadata.generation.unwrap_or_default();
                let is_active = status["blueGreen"]["activeSelector"] == status["currentPodHash"];
                status["phase"] == "Healthy"
                    && generation >= asked
                    && status["observedGeneration"] == generation.to_string().as_str()
                    && counts.iter().all(|key| status[*key] == self.size)
                    && (self.strategy == Strategy::Canary || is_active)
            })
        };
        let finished = await_condition(self.rollouts.clone(), "web", is_finished);
        let finished = tokio::time::timeout(LIMIT, finished).await;
        finished
            .with_context(|| format!("Argo Rollouts did not finish in {}", self.namespace))?
            .context("watch the Rollout")?;
        Ok(())
    }

    pub(crate) async fn clear(self, cluster: &Cluster) -> Result<()> {
        clear_namespace(cluster, &self.namespace).await
    }
}
