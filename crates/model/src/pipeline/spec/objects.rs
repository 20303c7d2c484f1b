//! Steps on single objects and on manifests, beside any strategy.

use super::flags;
use super::instances::InstanceSelection;
use super::resources::{Resources, object, paths};
use crate::field::{FlagField, ListField, TextField};
use crate::problem::Code;
use crate::reader::{Context, Fields};
use crate::service::{Manifest, ManifestSpec, Store, manifest_reading};

/// Options of `K8sApply`.
#[derive(Clone, Debug)]
pub struct Apply {
    /// What to apply.
    pub source: ApplySource,
    /// Values that are merged over those of the service.
    pub overrides: Vec<Manifest>,
    /// Do not ask the server for a dry run first.
    pub skip_dry_run: Option<FlagField>,
    /// Do not wait until the objects are as they should be.
    pub skip_steady_state_check: Option<FlagField>,
}

/// What `K8sApply` applies.
#[derive(Clone, Debug)]
pub enum ApplySource {
    /// `filePaths`: these of the service's manifests, relative to their folder; at least one.
    Files(ListField),
    /// `manifestSource`: a [`ManifestSpec::K8sManifest`] of the step's own.
    Own(Box<ManifestSpec>),
}

impl Apply {
    pub(super) fn read(spec: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        flags::read(spec, cx);
        let skip_dry_run = spec.flag("skipDryRun", cx);
        let skip_rendering = spec.flag("skipRendering", cx);
        if let Some(flag) = skip_rendering.filter(|flag| flag.value.value() != Some(&false)) {
            let message = "`skipRendering` cannot be run: what holds no `{{` is not changed by rendering; remove it";
            let path = spec.path_of("skipRendering");
            cx.not_runnable(Code::NotRunnable, &path, flag.position, message.to_owned());
        }
        let skip_steady_state_check = spec.flag("skipSteadyStateCheck", cx);
        let overrides = Manifest::read_all(spec, "overrides", cx);
        let first = overrides
            .iter()
            .position(|manifest| matches!(manifest.spec, ManifestSpec::K8sManifest { .. }));
        if let Some(index) = first {
            let message =
                "overrides are values; manifests of the step's own go into `manifestSource`";
            let path = crate::path::item(&spec.path_of("overrides"), index);
            let at = overrides[index].identifier.position;
            cx.not_runnable(Code::NotRunnable, &path, at, message.to_owned());
        }
        Some(Self {
            source: ApplySource::read(spec, cx)?,
            overrides,
            skip_dry_run,
            skip_steady_state_check,
        })
    }
}

impl ApplySource {
    fn read(spec: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        let has_files = spec.node("filePaths").is_some_and(|node| !node.is_empty());
        let Some(mut own) = spec.map("manifestSource", cx) else {
            return paths(spec, "filePaths", cx).map(Self::Files);
        };
        if has_files {
            let message = "`filePaths` and `manifestSource` exclude each other; remove one";
            let path = spec.path_of("filePaths");
            cx.error(
                Code::Conflict,
                &path,
                spec.position_of("filePaths"),
                message,
            );
        }
        let read = ManifestSpec::read(&mut own, cx);
        let at = own.position_of_value("type");
        let path = own.path_of("type");
        own.finish(cx);
        let read = read?;
        if matches!(read, ManifestSpec::Values { .. }) {
            let message = "the manifests of a step are of type `K8sManifest`";
            cx.error(Code::UnknownValue, &path, at, message);
            return None;
        }
        Some(Self::Own(Box::new(read)))
    }
}

/// Options of `K8sScale`.
#[derive(Clone, Debug)]
pub struct Scale {
    /// `[namespace/]Kind/name`
    pub workload: TextField,
    /// How many pods it is to have.
    pub instances: InstanceSelection,
    /// Do not wait until they are there.
    pub skip_steady_state_check: Option<FlagField>,
}

impl Scale {
    pub(super) fn read(spec: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        let workload = object(spec, "workload", cx);
        let instances = InstanceSelection::required(spec, 0..=1000, cx);
        let skip_steady_state_check = spec.flag("skipSteadyStateCheck", cx);
        Some(Self {
            workload: workload?,
            instances: instances?,
            skip_steady_state_check,
        })
    }
}

/// Options of `K8sDelete`.
#[derive(Clone, Debug)]
pub struct Delete {
    /// What to delete.
    pub resources: Resources,
}

impl Delete {
    pub(super) fn read(spec: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        flags::read(spec, cx);
        Some(Self {
            resources: Resources::required(spec, "deleteResources", cx)?,
        })
    }
}

/// Options of `K8sRollout`.
#[derive(Clone, Debug)]
pub struct Rollout {
    /// What to do.
    pub command: RolloutCommand,
    /// With which workloads.
    pub resources: Resources,
}

/// What `K8sRollout` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolloutCommand {
    /// Make all pods anew.
    Restart,
    /// Roll out what has changed while it was paused.
    Resume,
    /// Wait until the workloads are as they should be.
    Status,
    /// Bring an earlier revision back.
    Undo {
        /// Which; `None`: the one before the present. Written as the flag `--to-revision`.
        to_revision: Option<u64>,
    },
    /// Do not roll changes out for now.
    Pause,
    /// List the revisions.
    History,
}

impl Rollout {
    pub(super) fn read(spec: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        const COMMANDS: [(&str, RolloutCommand); 6] = [
            ("restart", RolloutCommand::Restart),
            ("resume", RolloutCommand::Resume),
            ("status", RolloutCommand::Status),
            ("undo", RolloutCommand::Undo { to_revision: None }),
            ("pause", RolloutCommand::Pause),
            ("history", RolloutCommand::History),
        ];
        let command = spec.required_choice("command", &COMMANDS, cx);
        let command = match command {
            Some(RolloutCommand::Undo { .. }) => Some(RolloutCommand::Undo {
                to_revision: flags::read_revision(spec, cx),
            }),
            other => {
                flags::read(spec, cx);
                other
            }
        };
        let resources = Resources::required(spec, "resources", cx);
        Some(Self {
            command: command?,
            resources: resources?,
        })
    }
}

/// Options of `K8sPatch`.
#[derive(Clone, Debug)]
pub struct Patch {
    /// `[namespace/]Kind/name`
    pub workload: TextField,
    /// How the patch is to be read.
    pub kind: PatchKind,
    /// Where it is.
    pub source: Store,
    /// Write down in the object what the change was for.
    pub record_change_cause: Option<FlagField>,
    /// Do not wait until the object is as it should be.
    pub skip_steady_state_check: Option<FlagField>,
}

/// `mergeStrategyType`: the form of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// Lists are merged by their keys.
    Strategic,
    /// Lists are replaced whole.
    Merge,
    /// A list of operations.
    Json,
}

impl Patch {
    pub(super) fn read(spec: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        const KINDS: [(&str, PatchKind); 3] = [
            ("Strategic", PatchKind::Strategic),
            ("Merge", PatchKind::Merge),
            ("Json", PatchKind::Json),
        ];
        flags::read(spec, cx);
        let workload = object(spec, "workload", cx);
        let kind = spec.settled_choice("mergeStrategyType", &KINDS, cx);
        let source = manifest_reading::store(spec, "source", cx);
        let record_change_cause = spec.flag("recordChangeCause", cx);
        let skip_steady_state_check = spec.flag("skipSteadyStateCheck", cx);
        Some(Self {
            workload: workload?,
            kind: kind?,
            source: source?,
            record_change_cause,
            skip_steady_state_check,
        })
    }
}
