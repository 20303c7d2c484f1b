//! Options of the steps that run a new version beside the old one.

use std::time::Duration;

use super::{Amount, RollingDeploy};

/// Options of a canary: copies of the workloads beside the originals, which stay as they are.
#[derive(Clone, Debug)]
pub struct CanaryDeploy {
    /// What is deployed, and how. Nothing is pruned by a canary.
    pub deploy: RollingDeploy,
    /// How many pods each copy has: of those that the original has now, at least one.
    pub instances: Amount,
}

/// Options of a progressive canary: copies of the workloads take pods from the originals.
#[derive(Clone, Debug)]
pub struct ProgressiveDeploy {
    /// What is deployed, and how. Something is pruned at 100 % alone.
    pub deploy: RollingDeploy,
    /// The share of the copies in all pods, 1 to 100; at 100 the originals get the new version, and the copies go.
    pub percent: u32,
    /// Go on with the set that the canary was made of which stands, and render none.
    pub is_recorded: bool,
}

/// Options of a blue-green deployment: copies of the workloads in the colour that gets no traffic.
#[derive(Clone, Debug)]
pub struct BlueGreenDeploy {
    /// What is deployed, and how. Pruning concerns the colour that is deployed.
    pub deploy: RollingDeploy,
    /// Nothing is done when the set is the one that gets the traffic already.
    pub skip_unchanged: bool,
}

/// Options of the exchange of the two colours.
#[derive(Clone, Copy, Debug)]
pub struct SwapServices {
    /// How long clients may still be on their way to the colour that had the traffic, before the step ends.
    pub settle: Duration,
    /// How long pods and endpoints may take.
    pub patience: Duration,
    /// Undo the swap of the same execution; nothing to do when there was none.
    pub back: bool,
}

impl Default for SwapServices {
    /// A swap forward, with the times of a step that says nothing of them.
    fn default() -> Self {
        Self {
            settle: Duration::from_secs(30),
            patience: Duration::from_secs(120),
            back: false,
        }
    }
}

/// Options of taking the pods of the colour without traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageScaleDown {
    /// The release number whose pods go: refused once something else is in the stage. `None`: what is there when the step
    /// looks first.
    pub number: Option<u64>,
}

/// Options of bringing the colour without traffic to its size.
#[derive(Clone, Copy, Debug, Default)]
pub struct StageScaleUp {
    /// How many pods each workload gets; `None`: as many as it had before it was scaled down.
    pub instances: Option<Amount>,
    /// Ends as soon as the numbers are written.
    pub skip_steady_state_check: bool,
}

/// Options of a comparison of a deployment with what is live.
#[derive(Clone, Debug, Default)]
pub struct Diff {
    /// What would be deployed, and how.
    pub deploy: RollingDeploy,
    /// How it would come in.
    pub strategy: Strategy,
}

/// How a set comes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// In place of what the release is.
    #[default]
    Rolling,
    /// As a canary, of so many pods.
    Canary(Amount),
    /// As a progressive canary with this percentage of the pods.
    Progressive(u32),
    /// In the colour that gets no traffic.
    BlueGreen,
}

impl From<RollingDeploy> for Diff {
    fn from(deploy: RollingDeploy) -> Self {
        let strategy = Strategy::Rolling;
        Self { deploy, strategy }
    }
}
