//! The step of a task message.

use std::time::Duration;

use serde_json::Value;
use sortie_proto::v1;
use sortie_render::SourceFile;
use sortie_render::git::Reference;
use sortie_step::task::{
    Action, Amount, Apply, BlueGreenDeploy, CanaryDeploy, Delete, Git, Patch, PatchKind,
    ProgressiveDeploy, Prune, Resources, RollingDeploy, RollingRollback, Rollout, RolloutCommand,
    Scale, Set, Source, StageScaleDown, StageScaleUp, SwapServices, Target, Versioning,
};

use super::{Blobs, Malformed, traffic};

/// The files of a task.
pub(super) struct Files<'a> {
    /// Those that are too large for the message.
    pub blobs: &'a Blobs,
    /// What expressions in them may name.
    pub context: Value,
}

impl Files<'_> {
    /// The step as the `step` crate takes it.
    pub(super) fn action(&self, step: v1::task::Step) -> Result<Action, Malformed> {
        use v1::task::Step as Wire;
        Ok(match step {
            Wire::KubernetesRollingDeploy(step) => {
                Action::RollingDeploy(self.rolling_deploy(step)?)
            }
            Wire::KubernetesRollingRollback(step) => {
                let number = step.release.and_then(|release| release.number);
                Action::RollingRollback(RollingRollback {
                    target: number.map_or(Target::LastGood, Target::Below),
                    delete_storage: step.delete_storage,
                })
            }
            Wire::KubernetesCanaryDeploy(step) => Action::CanaryDeploy(CanaryDeploy {
                deploy: self.deployment(step.deployment)?,
                instances: amount(step.instances)?,
            }),
            Wire::KubernetesProgressiveDeploy(step) => {
                Action::ProgressiveDeploy(ProgressiveDeploy {
                    deploy: self.deployment(step.deployment)?,
                    percent: percentage(step.percent)?,
                    is_recorded: false,
                })
            }
            Wire::KubernetesProgressiveRollback(_) => Action::ProgressiveRollback,
            Wire::KubernetesCanaryDelete(_) => Action::CanaryDelete,
            Wire::KubernetesBlueGreenDeploy(step) => Action::BlueGreenDeploy(BlueGreenDeploy {
                deploy: self.deployment(step.deployment)?,
                skip_unchanged: step.skip_unchanged,
            }),
            Wire::KubernetesSwapServices(step) => {
                let usual = SwapServices::default();
                Action::SwapServices(SwapServices {
                    settle: step.settle_ms.map_or(usual.settle, Duration::from_millis),
                    back: step.back,
                    ..usual
                })
            }
            Wire::KubernetesStageScaleDown(_) => Action::StageScaleDown(StageScaleDown::default()),
            Wire::KubernetesStageScaleUp(step) => Action::StageScaleUp(StageScaleUp {
                instances: step.instances.map(|_| amount(step.instances)).transpose()?,
                skip_steady_state_check: step.skip_steady_state_check,
            }),
            Wire::KubernetesApply(step) => Action::Apply(Apply {
                set: self.set(step.set)?,
                skip_steady_state_check: step.skip_steady_state_check,
            }),
            Wire::KubernetesScale(step) => Action::Scale(Scale {
                to: amount(step.to)?,
                workload: step.workload,
                skip_steady_state_check: step.skip_steady_state_check,
            }),
            Wire::KubernetesPatch(step) => Action::Patch(self.patch(step)?),
            Wire::KubernetesDelete(step) => Action::Delete(Delete {
                resources: self.resources(step.resources)?,
                delete_namespaces: step.delete_namespaces,
            }),
            Wire::KubernetesRollout(step) => Action::Rollout(Rollout {
                command: command(&step)?,
                resources: self.resources(step.resources)?,
            }),
            Wire::KubernetesDryRun(step) => Action::DryRun(self.set(step.set)?),
            Wire::KubernetesTrafficRouting(step) => Action::TrafficRouting(traffic::routing(step)?),
            Wire::KubernetesDiff(step) => {
                let v1::KubernetesDiff {
                    set, versioning, ..
                } = step;
                let deployment = self.deployment(Some(v1::Deployment {
                    set,
                    versioning,
                    ..v1::Deployment::default()
                }))?;
                Action::Diff(deployment.into())
            }
        })
    }

    fn rolling_deploy(
        &self,
        deploy: v1::KubernetesRollingDeploy,
    ) -> Result<RollingDeploy, Malformed> {
        let v1::KubernetesRollingDeploy {
            manifests, values, ..
        } = deploy;
        self.deployment(Some(v1::Deployment {
            set: Some(v1::ManifestSet { manifests, values }),
            versioning: deploy.versioning,
            adopt: deploy.adopt,
            replace: deploy.replace,
            prune: deploy.prune,
            prune_limit: deploy.prune_limit,
            skip_job_wait: deploy.skip_job_wait,
            routing: None,
        }))
    }

    fn deployment(&self, deploy: Option<v1::Deployment>) -> Result<RollingDeploy, Malformed> {
        let deploy = deploy.ok_or(Malformed::Missing("manifests"))?;
        let versioning = versioning(deploy.versioning());
        let set = self.set(deploy.set)?;
        Ok(RollingDeploy {
            versioning,
            manifests: set.manifests,
            values: set.values,
            context: set.context,
            adopt: deploy.adopt,
            replace: deploy.replace,
            prune: deploy.prune.then_some(Prune {
                limit: deploy.prune_limit,
            }),
            wait_for_jobs: !deploy.skip_job_wait,
            routing: deploy.routing.map(traffic::routing).transpose()?,
            dry_run: false,
        })
    }

    fn patch(&self, patch: v1::KubernetesPatch) -> Result<Patch, Malformed> {
        let kind = match patch.kind() {
            v1::PatchKind::Strategic => PatchKind::Strategic,
            v1::PatchKind::Merge => PatchKind::Merge,
            v1::PatchKind::Json => PatchKind::Json,
            v1::PatchKind::Unspecified => return Err(Malformed::Unknown("kind of patch")),
        };
        Ok(Patch {
            kind,
            workload: patch.workload,
            content: self.sources(patch.content)?,
            context: self.context.clone(),
            change_cause: patch.change_cause,
            skip_steady_state_check: patch.skip_steady_state_check,
        })
    }

    fn resources(&self, resources: Option<v1::Resources>) -> Result<Resources, Malformed> {
        use v1::resources::Resources as Wire;
        let resources = resources.and_then(|resources| resources.resources);
        Ok(match resources.ok_or(Malformed::Missing("resources"))? {
            Wire::Names(names) => Resources::Names(names.names),
            Wire::Manifests(set) => Resources::Manifests(self.set(Some(set))?),
            Wire::Release(_) => Resources::Release,
        })
    }

    fn set(&self, set: Option<v1::ManifestSet>) -> Result<Set, Malformed> {
        let set = set.ok_or(Malformed::Missing("manifests"))?;
        Ok(Set {
            manifests: self.sources(set.manifests)?,
            values: self.sources(set.values)?,
            context: self.context.clone(),
        })
    }

    fn sources(&self, sources: Vec<v1::Source>) -> Result<Vec<Source>, Malformed> {
        sources
            .into_iter()
            .map(|source| self.source(source))
            .collect()
    }

    fn source(&self, source: v1::Source) -> Result<Source, Malformed> {
        Ok(match source.from.ok_or(Malformed::Missing("source"))? {
            v1::source::From::Git(git) => Source::Git(Git {
                reference: match git.revision.ok_or(Malformed::Missing("Git revision"))? {
                    v1::git_source::Revision::Branch(name) => Reference::Branch(name),
                    v1::git_source::Revision::Commit(id) => Reference::Commit(id),
                    v1::git_source::Revision::Tag(name) => Reference::Tag(name),
                },
                url: git.url,
                paths: git.paths,
                credentials: (!git.password_secret.is_empty())
                    .then_some((git.username, git.password_secret)),
            }),
            v1::source::From::Inline(inline) => {
                let files = inline.files.into_iter().map(|file| {
                    let data = match file.content {
                        Some(v1::inline_file::Content::Data(data)) => data,
                        Some(v1::inline_file::Content::Blob(blob)) => self
                            .blobs
                            .get(&blob.sha256)
                            .cloned()
                            .ok_or(Malformed::Missing("file content"))?,
                        None => Vec::new(),
                    };
                    Ok(SourceFile::new(file.path, data))
                });
                Source::Inline(files.collect::<Result<_, _>>()?)
            }
        })
    }
}

const fn versioning(versioning: v1::Versioning) -> Versioning {
    match versioning {
        v1::Versioning::Unspecified | v1::Versioning::ContentHash => Versioning::ContentHash,
        v1::Versioning::ReleaseNumber => Versioning::ReleaseNumber,
        v1::Versioning::Off => Versioning::Off,
    }
}

fn amount(amount: Option<v1::Amount>) -> Result<Amount, Malformed> {
    let amount = amount.and_then(|amount| amount.amount);
    Ok(match amount.ok_or(Malformed::Missing("number of pods"))? {
        v1::amount::Amount::Count(count) => Amount::Count(count),
        v1::amount::Amount::Percent(percent) => Amount::Percent(percent),
    })
}

fn percentage(percent: u32) -> Result<u32, Malformed> {
    match percent {
        1..=100 => Ok(percent),
        _ => Err(Malformed::Unknown("percentage")),
    }
}

fn command(rollout: &v1::KubernetesRollout) -> Result<RolloutCommand, Malformed> {
    Ok(match rollout.command() {
        v1::RolloutCommand::Restart => RolloutCommand::Restart,
        v1::RolloutCommand::Resume => RolloutCommand::Resume,
        v1::RolloutCommand::Status => RolloutCommand::Status,
        v1::RolloutCommand::Undo => RolloutCommand::Undo {
            to_revision: rollout.to_revision,
        },
        v1::RolloutCommand::Pause => RolloutCommand::Pause,
        v1::RolloutCommand::History => RolloutCommand::History,
        v1::RolloutCommand::Unspecified => return Err(Malformed::Unknown("command")),
    })
}
