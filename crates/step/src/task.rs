//! What a step is asked to do. The delegate makes a [`Task`] from the wire, the command line from its arguments.

mod hook;
mod single;
mod strategy;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sortie_render::SourceFile;
use sortie_render::git::Reference;
use sortie_strategy::routing::Routing;

pub use hook::{HookAction, HookTime, ServiceHook};
pub use single::{
    Amount, Apply, Delete, Patch, PatchKind, Resources, Rollout, RolloutCommand, Scale, Set,
};
pub use strategy::{
    BlueGreenDeploy, CanaryDeploy, Diff, ProgressiveDeploy, StageScaleDown, StageScaleUp, Strategy,
    SwapServices,
};

/// One step to carry out on one release.
#[derive(Clone, Debug)]
pub struct Task {
    /// Names this step run in the release record. Running the same id again resumes it.
    pub id: String,
    /// Counts the holders of the task; 0 for a local run.
    pub epoch: u64,
    /// The release it works on.
    pub release: Release,
    /// Who asked.
    pub requested_by: RequestedBy,
    /// How long the whole step may take.
    pub timeout: Duration,
    /// Whether it is part of a rollback: before anything else, what steps of the same execution have scaled, patched or
    /// applied is undone.
    pub undo_changes: bool,
    /// Scripts around fetching, rendering and waiting for what the step brings to the cluster, in their order.
    pub hooks: Vec<ServiceHook>,
    /// What to do.
    pub action: Action,
}

/// A release: (namespace, name) is its identity.
#[derive(Clone, Debug)]
pub struct Release {
    /// The infrastructure's namespace: where the record, the Lease and namespace-less objects live.
    pub namespace: String,
    /// Release name.
    pub name: String,
    /// Which service, environment and infrastructure it belongs to; empty for a local release.
    pub owner: Owner,
}

/// What a release belongs to. A release name that belongs to another owner is refused, not shared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// Service identifier.
    pub service: String,
    /// Environment identifier.
    pub environment: String,
    /// Infrastructure definition identifier.
    pub infrastructure: String,
}

/// Who asked for a step, for policy and for the record.
#[derive(Clone, Debug, Default)]
pub struct RequestedBy {
    /// Organisation identifier.
    pub organisation: String,
    /// Project identifier.
    pub project: String,
    /// The person or token.
    pub user: String,
    /// The pipeline execution; empty for a local run.
    pub execution: String,
}

/// The kinds of step.
#[derive(Clone, Debug)]
pub enum Action {
    /// Bring a set of objects to the cluster and wait until it is healthy.
    RollingDeploy(RollingDeploy),
    /// Bring the last good release back.
    RollingRollback(RollingRollback),
    /// Run a few pods of a new version beside the present one.
    CanaryDeploy(CanaryDeploy),
    /// Give a new version a larger share of the pods, step by step.
    ProgressiveDeploy(ProgressiveDeploy),
    /// Take back what steps of the same execution have brought in progressively.
    ProgressiveRollback,
    /// Remove what canaries of the release run.
    CanaryDelete,
    /// Run a new version in the colour that gets no traffic.
    BlueGreenDeploy(BlueGreenDeploy),
    /// Let the two colours exchange their traffic.
    SwapServices(SwapServices),
    /// Take all pods from the colour that gets no traffic.
    StageScaleDown(StageScaleDown),
    /// Give the colour that gets no traffic its pods back.
    StageScaleUp(StageScaleUp),
    /// Remove a release and everything it owns.
    Uninstall(Uninstall),
    /// Say how a deployment with these options would change the cluster, and write nothing.
    Diff(Diff),
    /// Say what a set comes to once it is rendered, let the API server judge it, and write nothing.
    DryRun(Set),
    /// Bring objects to the cluster as they are, beside any release number.
    Apply(Apply),
    /// Change how many pods a workload has.
    Scale(Scale),
    /// Change some fields of an object.
    Patch(Patch),
    /// Delete objects.
    Delete(Delete),
    /// Restart, stop, list or bring back revisions of workloads.
    Rollout(Rollout),
    /// Route traffic to the Services of the release.
    TrafficRouting(Routing),
}

/// Options of a rolling deployment.
#[derive(Clone, Debug)]
pub struct RollingDeploy {
    /// Manifest sources, in order; their documents form one set.
    pub manifests: Vec<Source>,
    /// Values files, in order; later ones win. Manifests are templates only when there is one or when they hold `{{`.
    pub values: Vec<Source>,
    /// How ConfigMaps and Secrets are versioned.
    pub versioning: Versioning,
    /// Take over objects that carry another release's label.
    pub adopt: bool,
    /// Delete objects and make them anew when fields change that cannot change; storage only by its own annotation.
    pub replace: bool,
    /// Delete what earlier releases had and this one lacks, once this one is healthy; `None`: it stays.
    pub prune: Option<Prune>,
    /// Jobs are waited for until they are complete.
    pub wait_for_jobs: bool,
    /// What expressions in values files may name: a JSON object.
    pub context: Value,
    /// How requests are routed once everything is healthy; `None`: as before.
    pub routing: Option<Routing>,
    /// Stop after everything was checked, before the first write.
    pub dry_run: bool,
}

impl Default for RollingDeploy {
    fn default() -> Self {
        Self {
            manifests: Vec::new(),
            values: Vec::new(),
            versioning: Versioning::default(),
            adopt: false,
            replace: false,
            prune: None,
            wait_for_jobs: true,
            context: Value::Null,
            routing: None,
            dry_run: false,
        }
    }
}

/// How much of earlier releases may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prune {
    /// At most so many objects; `None`: at most 20, and at most half of what the release had where that is more than 3.
    pub limit: Option<u32>,
}

/// How ConfigMaps and Secrets are versioned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Versioning {
    /// Equal content, equal name: no restart.
    #[default]
    ContentHash,
    /// The release number is the suffix: a restart on each deployment.
    ReleaseNumber,
    /// Names stay as written.
    Off,
}

/// Options of a rollback.
#[derive(Clone, Debug, Default)]
pub struct RollingRollback {
    /// Which release to bring back.
    pub target: Target,
    /// Also remove volumes, claims and namespaces that the failed release added.
    pub delete_storage: bool,
}

/// Options of the removal of a release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uninstall {
    /// Also remove volumes, claims, definitions of kinds and namespaces, with everything in them.
    pub delete_storage: bool,
    /// Say what would go, and write nothing.
    pub dry_run: bool,
}

/// Which release a rollback brings back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// The last good one below the newest, when the newest is not good.
    #[default]
    LastGood,
    /// The last good one below this failed number; nothing to do if the release never got that number.
    Below(u64),
    /// Exactly this number, also when the newest is good: recorded as a new release with that content.
    Number(u64),
}

/// Where files come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Files at hand.
    Inline(Vec<SourceFile>),
    /// A Git repository over HTTP(S); the password is asked for by name.
    Git(Git),
}

/// Files of a Git repository.
#[derive(Clone, Debug)]
pub struct Git {
    /// http or https, without credentials.
    pub url: String,
    /// What to fetch.
    pub reference: Reference,
    /// Files or folders.
    pub paths: Vec<String>,
    /// User name and the name of the password's secret, as the [`Resolver`](crate::Resolver) knows it; `None`: anonymous.
    pub credentials: Option<(String, String)>,
}
