//! From the hooks of a service to those of a task.

use sortie_model::pipeline::StepSpec;
use sortie_model::pipeline::spec::{ApplySource, Resources};
use sortie_model::service::{HookAction, HookTime, ServiceHook};
use sortie_proto::v1;

/// The hooks that a step takes along: all of the service, when it is about the service's manifests. Expressions in
/// scripts are resolved by the delegate, as in files.
pub(super) fn of_step(step: &StepSpec, hooks: &[ServiceHook]) -> Vec<v1::ServiceHook> {
    let takes_manifests = match step {
        StepSpec::Apply(options) => matches!(options.source, ApplySource::Files(_)),
        StepSpec::Delete(options) => matches!(options.resources, Resources::Manifests(_)),
        StepSpec::Rollout(options) => matches!(options.resources, Resources::Manifests(_)),
        StepSpec::RollingDeploy(_)
        | StepSpec::CanaryDeploy(_)
        | StepSpec::BlueGreenDeploy(_)
        | StepSpec::DryRun
        | StepSpec::Diff => true,
        _ => false,
    };
    match takes_manifests {
        true => hooks.iter().map(hook).collect(),
        false => Vec::new(),
    }
}

fn hook(hook: &ServiceHook) -> v1::ServiceHook {
    let action = |action: &HookAction| match action {
        HookAction::FetchFiles => v1::ServiceHookAction::FetchFiles.into(),
        HookAction::TemplateManifest => v1::ServiceHookAction::TemplateManifest.into(),
        HookAction::SteadyStateCheck => v1::ServiceHookAction::SteadyStateCheck.into(),
    };
    v1::ServiceHook {
        id: hook.identifier.value.clone(),
        after: hook.time == HookTime::After,
        actions: hook.actions.iter().map(action).collect(),
        script: hook.script.value.text().to_owned(),
    }
}
