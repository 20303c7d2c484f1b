//! What every task has, whatever its step.

use crate::v1::task::Step;
use crate::v1::{
    BlobRef, Deployment, KubernetesRelease, ManifestSet, Resources, Source, Task, inline_file,
    resources, source,
};

/// The types of steps with their names, and each one's release.
macro_rules! steps {
    ($($variant:ident = $name:literal,)*) => {
        impl Step {
            /// The names of all types, as `Hello.task_types` has them.
            pub const NAMES: &'static [&'static str] = &[$($name,)*];

            /// The name of its type: the field of [`Task`] that it stands in.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name,)* }
            }

            /// The release that it works on.
            #[must_use]
            pub const fn release(&self) -> Option<&KubernetesRelease> {
                match self { $(Self::$variant(step) => step.release.as_ref(),)* }
            }
        }
    };
}

steps! {
    KubernetesRollingDeploy = "kubernetes_rolling_deploy",
    KubernetesRollingRollback = "kubernetes_rolling_rollback",
    KubernetesCanaryDeploy = "kubernetes_canary_deploy",
    KubernetesCanaryDelete = "kubernetes_canary_delete",
    KubernetesBlueGreenDeploy = "kubernetes_blue_green_deploy",
    KubernetesSwapServices = "kubernetes_swap_services",
    KubernetesStageScaleDown = "kubernetes_stage_scale_down",
    KubernetesStageScaleUp = "kubernetes_stage_scale_up",
    KubernetesApply = "kubernetes_apply",
    KubernetesScale = "kubernetes_scale",
    KubernetesPatch = "kubernetes_patch",
    KubernetesDelete = "kubernetes_delete",
    KubernetesRollout = "kubernetes_rollout",
    KubernetesDryRun = "kubernetes_dry_run",
    KubernetesDiff = "kubernetes_diff",
    KubernetesTrafficRouting = "kubernetes_traffic_routing",
    KubernetesProgressiveDeploy = "kubernetes_progressive_deploy",
    KubernetesProgressiveRollback = "kubernetes_progressive_rollback",
}

impl Step {
    /// All files that it names, in no order that says anything.
    #[must_use]
    pub fn sources(&self) -> Vec<&Source> {
        let (manifests, values): (&[_], &[_]) = match self {
            Self::KubernetesRollingDeploy(step) => (&step.manifests, &step.values),
            Self::KubernetesCanaryDeploy(step) => parts(deployed(step.deployment.as_ref())),
            Self::KubernetesProgressiveDeploy(step) => parts(deployed(step.deployment.as_ref())),
            Self::KubernetesBlueGreenDeploy(step) => parts(deployed(step.deployment.as_ref())),
            Self::KubernetesApply(step) => parts(step.set.as_ref()),
            Self::KubernetesDryRun(step) => parts(step.set.as_ref()),
            Self::KubernetesDiff(step) => parts(step.set.as_ref()),
            Self::KubernetesPatch(step) => (&step.content, &[]),
            Self::KubernetesDelete(step) => parts(set_of(step.resources.as_ref())),
            Self::KubernetesRollout(step) => parts(set_of(step.resources.as_ref())),
            Self::KubernetesRollingRollback(_)
            | Self::KubernetesCanaryDelete(_)
            | Self::KubernetesProgressiveRollback(_)
            | Self::KubernetesSwapServices(_)
            | Self::KubernetesStageScaleDown(_)
            | Self::KubernetesStageScaleUp(_)
            | Self::KubernetesTrafficRouting(_)
            | Self::KubernetesScale(_) => (&[], &[]),
        };
        manifests.iter().chain(values).collect()
    }
}

/// Manifests and values.
fn parts(set: Option<&ManifestSet>) -> (&[Source], &[Source]) {
    set.map_or((&[], &[]), |set| (&set.manifests, &set.values))
}

const fn deployed(deployment: Option<&Deployment>) -> Option<&ManifestSet> {
    match deployment {
        Some(deployment) => deployment.set.as_ref(),
        None => None,
    }
}

fn set_of(resources: Option<&Resources>) -> Option<&ManifestSet> {
    match resources?.resources.as_ref()? {
        resources::Resources::Manifests(set) => Some(set),
        _ => None,
    }
}

impl Task {
    /// The blobs that it refers to: its context snapshot, and files that are too large for the task itself.
    pub fn blobs(&self) -> impl Iterator<Item = &BlobRef> {
        let sources = self.step.as_ref().map(Step::sources).unwrap_or_default();
        let files = sources.into_iter().filter_map(|source| match &source.from {
            Some(source::From::Inline(inline)) => Some(&inline.files),
            _ => None,
        });
        let large = files.flatten().filter_map(|file| match &file.content {
            Some(inline_file::Content::Blob(blob)) => Some(blob),
            _ => None,
        });
        self.context.iter().chain(large)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{self, InlineFile, InlineFiles};

    fn source(sha256: &str) -> Source {
        let content = Some(inline_file::Content::Blob(BlobRef {
            sha256: sha256.to_owned(),
            size: 1,
        }));
        let files = vec![InlineFile {
            path: "a.yaml".to_owned(),
            content,
        }];
        Source {
            id: "a".to_owned(),
            from: Some(source::From::Inline(InlineFiles { files })),
        }
    }

    /// Every type of steps with all the files that it can have.
    fn steps() -> Vec<(Step, &'static [&'static str])> {
        let set = || {
            Some(ManifestSet {
                manifests: vec![source("m")],
                values: vec![source("v")],
            })
        };
        let deployment = || {
            Some(Deployment {
                set: set(),
                ..Default::default()
            })
        };
        let resources = || {
            Some(Resources {
                resources: set().map(resources::Resources::Manifests),
            })
        };
        vec![
            (
                Step::KubernetesRollingDeploy(v1::KubernetesRollingDeploy {
                    manifests: vec![source("m")],
                    values: vec![source("v")],
                    ..Default::default()
                }),
                &["m", "v"],
            ),
            (Step::KubernetesRollingRollback(Default::default()), &[]),
            (
                Step::KubernetesCanaryDeploy(v1::KubernetesCanaryDeploy {
                    deployment: deployment(),
                    ..Default::default()
                }),
                &["m", "v"],
            ),
            (Step::KubernetesCanaryDelete(Default::default()), &[]),
            (
                Step::KubernetesBlueGreenDeploy(v1::KubernetesBlueGreenDeploy {
                    deployment: deployment(),
                    ..Default::default()
                }),
                &["m", "v"],
            ),
            (Step::KubernetesSwapServices(Default::default()), &[]),
            (Step::KubernetesStageScaleDown(Default::default()), &[]),
            (Step::KubernetesStageScaleUp(Default::default()), &[]),
            (
                Step::KubernetesApply(v1::KubernetesApply {
                    set: set(),
                    ..Default::default()
                }),
                &["m", "v"],
            ),
            (Step::KubernetesScale(Default::default()), &[]),
            (
                Step::KubernetesPatch(v1::KubernetesPatch {
                    content: vec![source("c")],
                    ..Default::default()
                }),
                &["c"],
            ),
            (
                Step::KubernetesDelete(v1::KubernetesDelete {
                    resources: resources(),
                    ..Default::default()
                }),
                &["m", "v"],
            ),
            (
                Step::KubernetesRollout(v1::KubernetesRollout {
                    resources: resources(),
                    ..Default::default()
                }),
                &["m", "v"],
            ),
            (
                Step::KubernetesDryRun(v1::KubernetesDryRun {
                    set: set(),
                    ..Default::default()
                }),
                &["m", "v"],
            ),
            (
                Step::KubernetesDiff(v1::KubernetesDiff {
                    set: set(),
                    ..Default::default()
                }),
                &["m", "v"],
            ),
            (Step::KubernetesTrafficRouting(Default::default()), &[]),
            (
                Step::KubernetesProgressiveDeploy(v1::KubernetesProgressiveDeploy {
                    deployment: deployment(),
                    ..Default::default()
                }),
                &["m", "v"],
            ),
            (Step::KubernetesProgressiveRollback(Default::default()), &[]),
        ]
    }

    #[test]
    fn every_step_names_its_type_and_all_its_files() {
        let names: Vec<_> = steps().iter().map(|(step, _)| step.name()).collect();
        assert_eq!(names, Step::NAMES);
        for (step, files) in steps() {
            // prost makes the variant of the field's name.
            let variant = format!("{step:?}");
            let variant = variant.split('(').next().unwrap();
            let camel = step.name().split('_').map(|word| {
                let (first, rest) = word.split_at(1);
                first.to_uppercase() + rest
            });
            assert_eq!(camel.collect::<String>(), variant);
            let task = Task {
                step: Some(step),
                ..Task::default()
            };
            let blobs: Vec<_> = task.blobs().map(|blob| blob.sha256.as_str()).collect();
            assert_eq!(blobs, files);
        }
    }
}
