//! What is known of each type of steps that Sortie runs. Whoever needs such a fact asks here.

/// A type of steps that Sortie runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepType {
    /// Rolls a release out, all at once.
    RollingDeploy,
    /// Brings the release before a failed rolling deployment back.
    RollingRollback,
}

/// The facts on a type.
struct Facts {
    name: &'static str,
    resumable: bool,
    undoes: Option<StepType>,
}

impl StepType {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::RollingDeploy, Self::RollingRollback];

    const fn facts(self) -> Facts {
        match self {
            Self::RollingDeploy => Facts {
                name: "K8sRollingDeploy",
                resumable: true,
                undoes: None,
            },
            Self::RollingRollback => Facts {
                name: "K8sRollingRollback",
                resumable: true,
                undoes: Some(Self::RollingDeploy),
            },
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

    /// Whether another delegate can go on where a lost one stopped, because the step keeps a journal
    /// in the cluster. A step that cannot is failed when its delegate is lost, and never run twice.
    #[must_use]
    pub const fn is_resumable(self) -> bool {
        self.facts().resumable
    }

    /// The type of steps that it undoes: it runs only when one of these began in its stage.
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
            assert_ne!(known.undoes(), Some(known));
        }
        assert_eq!(StepType::from_name("K8sApply"), None);
    }
}
