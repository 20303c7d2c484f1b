//! What is known of each type of steps whose options Sortie reads. Whoever needs such a fact asks here.

/// A type of steps whose options Sortie reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepType {
    /// Rolls a release out, all at once.
    RollingDeploy,
    /// Brings the release before a failed rolling deployment back.
    RollingRollback,
    /// Runs some pods of a new release beside the present one.
    CanaryDeploy,
    /// Deletes the canary.
    CanaryDelete,
    /// Takes a progressive canary back, step by step.
    ProgressiveCanaryRollback,
    /// Runs the new release under the colour that gets no traffic.
    BlueGreenDeploy,
    /// Exchanges which colour gets the traffic.
    SwapServices,
    /// Stops the pods of the colour without traffic.
    StageScaleDown,
    /// Starts them again.
    StageScaleUp,
    /// Applies manifests beside any release number.
    Apply,
    /// Changes how many pods a workload has.
    Scale,
    /// Deletes objects.
    Delete,
    /// Shows what the manifests come to.
    DryRun,
    /// Shows how a deployment would change the cluster.
    Diff,
    /// Works on the revisions of workloads.
    Rollout,
    /// Changes some fields of an object.
    Patch,
    /// Changes how a router shares traffic.
    TrafficRouting,
}

/// The facts on a type.
struct Facts {
    name: &'static str,
    runnable: bool,
    resumable: bool,
    noted: bool,
    undoes: Option<StepType>,
}

impl Facts {
    /// A type that steps can have, and that works on the cluster alone: its journal is there.
    const fn runs(name: &'static str) -> Self {
        Self {
            name,
            runnable: true,
            resumable: true,
            noted: false,
            undoes: None,
        }
    }

    /// A type whose steps note what they change.
    const fn noted(self) -> Self {
        Self {
            noted: true,
            ..self
        }
    }

    const fn undoing(self, undone: StepType) -> Self {
        Self {
            undoes: Some(undone),
            ..self
        }
    }
}

impl StepType {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::RollingDeploy,
        Self::RollingRollback,
        Self::CanaryDeploy,
        Self::CanaryDelete,
        Self::ProgressiveCanaryRollback,
        Self::BlueGreenDeploy,
        Self::SwapServices,
        Self::StageScaleDown,
        Self::StageScaleUp,
        Self::Apply,
        Self::Scale,
        Self::Delete,
        Self::DryRun,
        Self::Diff,
        Self::Rollout,
        Self::Patch,
        Self::TrafficRouting,
    ];

    const fn facts(self) -> Facts {
        match self {
            Self::RollingDeploy => Facts::runs("K8sRollingDeploy"),
            Self::RollingRollback => Facts::runs("K8sRollingRollback").undoing(Self::RollingDeploy),
            Self::CanaryDeploy => Facts::runs("K8sCanaryDeploy"),
            Self::CanaryDelete => Facts::runs("K8sCanaryDelete").undoing(Self::CanaryDeploy),
            Self::ProgressiveCanaryRollback => {
                Facts::runs("K8sProgressiveCanaryRollback").undoing(Self::CanaryDeploy)
            }
            Self::BlueGreenDeploy => Facts::runs("K8sBlueGreenDeploy"),
            Self::SwapServices => Facts::runs("K8sBGSwapServices").undoing(Self::SwapServices),
            Self::StageScaleDown => Facts::runs("K8sBlueGreenStageScaleDown"),
            Self::StageScaleUp => Facts::runs("K8sBlueGreenStageScaleUp"),
            Self::Apply => Facts::runs("K8sApply").noted(),
            Self::Scale => Facts::runs("K8sScale").noted(),
            Self::Delete => Facts::runs("K8sDelete"),
            Self::DryRun => Facts::runs("K8sDryRun"),
            Self::Diff => Facts::runs("K8sDiff"),
            Self::Rollout => Facts::runs("K8sRollout").noted(),
            Self::Patch => Facts::runs("K8sPatch").noted(),
            Self::TrafficRouting => Facts::runs("K8sTrafficRouting").noted(),
        }
    }

    /// The type with this name in YAML.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// Its name in YAML, such as `K8sRollingDeploy`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// Whether steps of the type can be run, not only kept.
    #[must_use]
    pub const fn is_runnable(self) -> bool {
        self.facts().runnable
    }

    /// Whether another delegate can go on where a lost one stopped, because the step keeps a journal
    /// in the cluster. A step that cannot is failed when its delegate is lost, and never run twice.
    #[must_use]
    pub const fn is_resumable(self) -> bool {
        self.facts().resumable
    }

    /// Whether its steps have no release number and note what they change instead: any rollback step of the same
    /// execution undoes that first.
    #[must_use]
    pub const fn notes_changes(self) -> bool {
        self.facts().noted
    }

    /// The type of steps that it undoes: among the rollback steps of a stage it runs only when one of these began.
    #[must_use]
    pub const fn undoes(self) -> Option<Self> {
        self.facts().undoes
    }
}

#[cfg(test)]
mod tests {
    use super::StepType;

    #[test]
    fn every_type_is_found_by_its_name_and_no_other() {
        for known in StepType::ALL {
            assert_eq!(StepType::from_name(known.name()), Some(known));
            let lower = known.name().to_lowercase();
            assert_eq!(StepType::from_name(&lower), None);
        }
        assert_eq!(StepType::from_name("ShellScript"), None);
    }
}
