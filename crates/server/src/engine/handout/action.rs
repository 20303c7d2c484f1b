//! From the options of a step to its part of the task.

use sortie_model::pipeline::spec::{
    Apply, ApplySource, CanaryDeploy, CanarySize, Delete, InstanceSelection, Patch, PatchKind,
    Resources, RollingDeploy, RollingRollback, Rollout, RolloutCommand, Scale,
};
use sortie_model::pipeline::{StepSpec, StepType};
use sortie_model::{FlagField, ListField, TextField};
use sortie_proto::v1;
use sortie_workflow::{Node, NodePath, Stage, State};

use super::Preparation;
use super::sources::{Collected, Sources, Wanted};
use crate::engine::compile;
use crate::engine::fault::Fault;
use crate::engine::roots::Roots;
use crate::engine::surroundings::Surroundings;

/// Name of the files of a `manifestSource`, for logs.
const OWN_MANIFESTS: &str = "manifestSource";
/// Name of the files of a patch, for logs.
const PATCH: &str = "patch";

/// Resolves the options of a step.
pub(super) struct Builder<'a> {
    pub preparation: &'a Preparation<'a>,
    pub surroundings: &'a Surroundings,
    pub roots: &'a Roots,
}

impl Builder<'_> {
    pub(super) async fn step(&self, spec: &StepSpec) -> Result<v1::task::Step, Fault> {
        use v1::task::Step as Wire;
        Ok(match spec {
            StepSpec::RollingDeploy(options) => {
                Wire::KubernetesRollingDeploy(self.rolling_deploy(options).await?)
            }
            StepSpec::RollingRollback(options) => {
                Wire::KubernetesRollingRollback(self.rolling_rollback(options)?)
            }
            StepSpec::CanaryDeploy(options) => self.canary_deploy(options).await?,
            StepSpec::CanaryDelete => Wire::KubernetesCanaryDelete(v1::KubernetesCanaryDelete {
                release: self.release(),
            }),
            StepSpec::BlueGreenDeploy(options) => {
                let skip = options.skip_if_same_manifest.as_ref();
                Wire::KubernetesBlueGreenDeploy(v1::KubernetesBlueGreenDeploy {
                    release: self.release(),
                    deployment: Some(v1::Deployment {
                        routing: self.routing(options.routing.as_ref())?,
                        ..self.deployment(&options.deploy).await?
                    }),
                    skip_unchanged: self.flag("skipDeploymentIfSameManifest", skip)?,
                })
            }
            StepSpec::SwapServices(options) => {
                let settle = options.settle.map(|settle| settle.as_millis());
                Wire::KubernetesSwapServices(v1::KubernetesSwapServices {
                    release: self.release(),
                    settle_ms: settle.map(|settle| settle.try_into().unwrap_or(u64::MAX)),
                    back: self.preparation.node.is_rollback(),
                })
            }
            StepSpec::StageScaleDown => {
                Wire::KubernetesStageScaleDown(v1::KubernetesStageScaleDown {
                    release: self.release(),
                })
            }
            StepSpec::StageScaleUp(options) => {
                let skip = options.skip_steady_state_check.as_ref();
                let instances = options.instances.as_ref();
                Wire::KubernetesStageScaleUp(v1::KubernetesStageScaleUp {
                    release: self.release(),
                    instances: instances.map(|wanted| self.amount(wanted)).transpose()?,
                    skip_steady_state_check: self.flag("skipSteadyStateCheck", skip)?,
                })
            }
            StepSpec::Apply(options) => Wire::KubernetesApply(self.apply(options).await?),
            StepSpec::Scale(options) => Wire::KubernetesScale(self.scale(options)?),
            StepSpec::Patch(options) => Wire::KubernetesPatch(self.patch(options).await?),
            StepSpec::Delete(options) => Wire::KubernetesDelete(self.delete(options).await?),
            StepSpec::Rollout(options) => Wire::KubernetesRollout(self.rollout(options).await?),
            StepSpec::DryRun => Wire::KubernetesDryRun(v1::KubernetesDryRun {
                release: self.release(),
                set: Some(self.service(Wanted::All).await?.set),
            }),
            StepSpec::Diff => {
                let collected = self.service(Wanted::All).await?;
                Wire::KubernetesDiff(v1::KubernetesDiff {
                    release: self.release(),
                    versioning: collected.versioning().into(),
                    set: Some(collected.set),
                })
            }
            StepSpec::TrafficRouting(options) => {
                Wire::KubernetesTrafficRouting(self.traffic_routing(options)?)
            }
            StepSpec::ProgressiveCanaryRollback => {
                Wire::KubernetesProgressiveRollback(v1::KubernetesProgressiveRollback {
                    release: self.release(),
                })
            }
            StepSpec::Unsupported => {
                return Err(super::unknown(&self.preparation.step.step_type));
            }
        })
    }

    async fn rolling_deploy(
        &self,
        options: &RollingDeploy,
    ) -> Result<v1::KubernetesRollingDeploy, Fault> {
        let deployment = self.deployment(options).await?;
        let set = deployment.set.unwrap_or_default();
        Ok(v1::KubernetesRollingDeploy {
            release: self.release(),
            versioning: deployment.versioning,
            manifests: set.manifests,
            values: set.values,
            skip_dry_run: self.flag("skipDryRun", options.skip_dry_run.as_ref())?,
            prune: deployment.prune,
            adopt: deployment.adopt,
            replace: deployment.replace,
            prune_limit: deployment.prune_limit,
            skip_job_wait: deployment.skip_job_wait,
        })
    }

    async fn deployment(&self, options: &RollingDeploy) -> Result<v1::Deployment, Fault> {
        let collected = self.service(Wanted::All).await?;
        Ok(v1::Deployment {
            versioning: collected.versioning().into(),
            set: Some(collected.set),
            prune: self.flag("pruningEnabled", options.pruning_enabled.as_ref())?,
            adopt: self.flag("adopt", options.adopt.as_ref())?,
            replace: self.flag("replace", options.replace.as_ref())?,
            prune_limit: self.count("pruneLimit", options.prune_limit.as_ref())?,
            skip_job_wait: self.flag("skipJobWait", options.skip_job_wait.as_ref())?,
            routing: None,
        })
    }

    async fn canary_deploy(&self, options: &CanaryDeploy) -> Result<v1::task::Step, Fault> {
        use v1::task::Step as Wire;
        let release = self.release();
        let deployment = Some(v1::Deployment {
            routing: self.routing(options.routing.as_ref())?,
            ..self.deployment(&options.deploy).await?
        });
        match &options.size {
            CanarySize::Standard(instances) => {
                let instances = self.amount(instances)?;
                if let Some(v1::amount::Amount::Percent(share @ 101..)) = instances.amount {
                    return Err(Fault::mismatch(format!(
                        "a canary of {share} % is larger than what it is a canary of; choose 1 to 100"
                    )));
                }
                Ok(Wire::KubernetesCanaryDeploy(v1::KubernetesCanaryDeploy {
                    release,
                    deployment,
                    instances: Some(instances),
                }))
            }
            CanarySize::Progressive(percent) => {
                let percent = self.number("targetPercentage", percent)?;
                if !(1..=100).contains(&percent) {
                    return Err(Fault::mismatch(format!(
                        "targetPercentage {percent} is no share of all pods; choose 1 to 100"
                    )));
                }
                Ok(Wire::KubernetesProgressiveDeploy(
                    v1::KubernetesProgressiveDeploy {
                        release,
                        deployment,
                        percent,
                    },
                ))
            }
        }
    }

    fn rolling_rollback(
        &self,
        options: &RollingRollback,
    ) -> Result<v1::KubernetesRollingRollback, Fault> {
        let Preparation { stage, state, .. } = self.preparation;
        let number = published_release(stage, state, StepType::RollingDeploy);
        Ok(v1::KubernetesRollingRollback {
            release: self
                .release()
                .map(|release| v1::KubernetesRelease { number, ..release }),
            prune: self.flag("pruningEnabled", options.pruning_enabled.as_ref())?,
            delete_storage: self.flag("deleteStorage", options.delete_storage.as_ref())?,
        })
    }

    async fn apply(&self, options: &Apply) -> Result<v1::KubernetesApply, Fault> {
        let mut sources = Sources::new(self.preparation, self.roots);
        let scope = &self.preparation.execution.scope;
        let mut collected = match &options.source {
            ApplySource::Files(files) => {
                let files = sources.paths("filePaths", files)?;
                let wanted = Wanted::Below(&files);
                sources.of_service(self.surroundings, wanted).await?
            }
            ApplySource::Own(manifest) => {
                let mut own = Collected::default();
                let place = (scope, Wanted::All);
                sources
                    .add(&mut own, OWN_MANIFESTS, manifest, place)
                    .await?;
                own
            }
        };
        for values in &options.overrides {
            let id = &values.identifier.value;
            let place = (scope, Wanted::All);
            sources.add(&mut collected, id, &values.spec, place).await?;
        }
        let skip = options.skip_steady_state_check.as_ref();
        Ok(v1::KubernetesApply {
            release: self.release(),
            set: Some(collected.set),
            skip_steady_state_check: self.flag("skipSteadyStateCheck", skip)?,
        })
    }

    fn scale(&self, options: &Scale) -> Result<v1::KubernetesScale, Fault> {
        let skip = options.skip_steady_state_check.as_ref();
        Ok(v1::KubernetesScale {
            release: self.release(),
            workload: self.text("workload", &options.workload)?,
            to: Some(self.amount(&options.instances)?),
            skip_steady_state_check: self.flag("skipSteadyStateCheck", skip)?,
        })
    }

    async fn patch(&self, options: &Patch) -> Result<v1::KubernetesPatch, Fault> {
        let kind = match options.kind {
            PatchKind::Strategic => v1::PatchKind::Strategic,
            PatchKind::Merge => v1::PatchKind::Merge,
            PatchKind::Json => v1::PatchKind::Json,
        };
        let mut sources = Sources::new(self.preparation, self.roots);
        let place = (&self.preparation.execution.scope, Wanted::All);
        let content = sources.source(PATCH, &options.source, place, false).await?;
        let skip = options.skip_steady_state_check.as_ref();
        Ok(v1::KubernetesPatch {
            release: self.release(),
            workload: self.text("workload", &options.workload)?,
            kind: kind.into(),
            content: content.into_iter().collect(),
            change_cause: self.flag("recordChangeCause", options.record_change_cause.as_ref())?,
            skip_steady_state_check: self.flag("skipSteadyStateCheck", skip)?,
        })
    }

    async fn delete(&self, options: &Delete) -> Result<v1::KubernetesDelete, Fault> {
        let delete_namespaces = match &options.resources {
            Resources::Release { delete_namespace } => {
                self.flag("deleteNamespace", delete_namespace.as_ref())?
            }
            Resources::Names(_) | Resources::Manifests(_) => false,
        };
        Ok(v1::KubernetesDelete {
            release: self.release(),
            resources: Some(self.resources(&options.resources).await?),
            delete_namespaces,
        })
    }

    async fn rollout(&self, options: &Rollout) -> Result<v1::KubernetesRollout, Fault> {
        let (command, to_revision) = match options.command {
            RolloutCommand::Restart => (v1::RolloutCommand::Restart, None),
            RolloutCommand::Resume => (v1::RolloutCommand::Resume, None),
            RolloutCommand::Status => (v1::RolloutCommand::Status, None),
            RolloutCommand::Undo { to_revision } => (v1::RolloutCommand::Undo, to_revision),
            RolloutCommand::Pause => (v1::RolloutCommand::Pause, None),
            RolloutCommand::History => (v1::RolloutCommand::History, None),
        };
        Ok(v1::KubernetesRollout {
            release: self.release(),
            command: command.into(),
            to_revision,
            resources: Some(self.resources(&options.resources).await?),
        })
    }

    async fn resources(&self, resources: &Resources) -> Result<v1::Resources, Fault> {
        use v1::resources::Resources as Wire;
        let wire = match resources {
            Resources::Names(names) => {
                let names = self.list("resourceNames", names)?;
                Wire::Names(v1::ObjectNames { names })
            }
            Resources::Manifests(paths) => {
                let mut sources = Sources::new(self.preparation, self.roots);
                let collected = sources.of_paths(self.surroundings, paths).await?;
                Wire::Manifests(collected.set)
            }
            Resources::Release { .. } => Wire::Release(v1::ReleaseObjects {}),
        };
        let resources = Some(wire);
        Ok(v1::Resources { resources })
    }

    async fn service(&self, wanted: Wanted<'_>) -> Result<Collected, Fault> {
        let mut sources = Sources::new(self.preparation, self.roots);
        sources.of_service(self.surroundings, wanted).await
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "the field of every message is optional"
    )]
    pub(super) fn release(&self) -> Option<v1::KubernetesRelease> {
        let surroundings = self.surroundings;
        Some(v1::KubernetesRelease {
            namespace: surroundings.namespace.clone(),
            name: surroundings.release_name.clone(),
            service_id: surroundings.service_id.clone(),
            environment_id: surroundings.environment_id.clone(),
            infrastructure_id: surroundings.infrastructure_id.clone(),
            number: None,
        })
    }

    fn amount(&self, instances: &InstanceSelection) -> Result<v1::Amount, Fault> {
        use v1::amount::Amount as Wire;
        let wire = match instances {
            InstanceSelection::Count(count) => Wire::Count(self.number("count", count)?),
            InstanceSelection::Percentage(share) => {
                Wire::Percent(self.number("percentage", share)?)
            }
        };
        let amount = Some(wire);
        Ok(v1::Amount { amount })
    }

    pub(super) fn flag(&self, name: &str, field: Option<&FlagField>) -> Result<bool, Fault> {
        super::flag(self.roots, name, field)
    }

    pub(super) fn text(&self, name: &str, field: &TextField) -> Result<String, Fault> {
        self.roots.text(name, field.text())
    }

    pub(super) fn list(&self, name: &str, field: &ListField) -> Result<Vec<String>, Fault> {
        self.roots.list(name, &compile::list(field))
    }

    pub(super) fn count(
        &self,
        name: &str,
        field: Option<&TextField>,
    ) -> Result<Option<u32>, Fault> {
        field.map(|field| self.number(name, field)).transpose()
    }

    pub(super) fn number(&self, name: &str, field: &TextField) -> Result<u32, Fault> {
        let value = serde_json::Value::String(field.text().to_owned());
        let number = self.roots.count(name, Some(&value))?;
        number.ok_or_else(|| Fault::mismatch(format!("{name} must be a whole number from 0")))
    }
}

/// The release number that a step of a type published in the stage, the last one first.
fn published_release(stage: &Stage, state: &State, of: StepType) -> Option<u64> {
    fn last(
        nodes: &[Node],
        state: &State,
        of: StepType,
        path: &dyn Fn(&str) -> NodePath,
    ) -> Option<u64> {
        nodes.iter().rev().find_map(|node| match node {
            Node::Step(step) if StepType::from_name(&step.step_type) == Some(of) => {
                let known = state.node(&path(&step.info.id))?;
                known.outputs.get("releaseNumber")?.as_u64()
            }
            Node::Step(_) => None,
            Node::Group(group) => {
                let group_path = path(&group.info.id);
                last(&group.steps, state, of, &|id| group_path.child(id))
            }
            Node::Parallel { members } => last(members, state, of, path),
        })
    }
    let path = NodePath::stage(&stage.info.id);
    last(&stage.steps, state, of, &|id| path.step(id))
}
