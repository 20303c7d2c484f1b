//! Reading services.

use std::collections::HashSet;

use super::{Artifacts, DeploymentType, Manifest, Service, ServiceDefinition, ServiceHook};
use crate::path;
use crate::position::Located;
use crate::problem::Code;
use crate::reader::fields::unknown_value;
use crate::reader::{Context, Fields};
use crate::variable;

impl Service {
    pub(crate) fn read(fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        fields.accept(&["gitOpsEnabled", "__uuid", "metadata"]);
        if fields.fixed_flag("gitOpsEnabled", cx) == Some(true) {
            let message = "GitOps services are kept, and cannot be run; set `gitOpsEnabled: false`"
                .to_owned();
            let path = fields.path_of("gitOpsEnabled");
            cx.not_runnable(
                Code::NotRunnable,
                &path,
                fields.position_of("gitOpsEnabled"),
                message,
            );
        }
        fields.no_effect(&["enforce"], cx);
        let Some(mut definition) = fields.map("serviceDefinition", cx) else {
            return Some(Self { definition: None });
        };
        let read = ServiceDefinition::read(&mut definition, cx);
        definition.finish(cx);
        Some(Self {
            definition: Some(read?),
        })
    }
}

impl ServiceDefinition {
    fn read(fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        let deployment_type = DeploymentType::read(fields, "type", cx);
        fields.accept(&["spec"]);
        let deployment_type = deployment_type?;
        if deployment_type != DeploymentType::Kubernetes {
            return Some(Self {
                deployment_type,
                manifests: Vec::new(),
                artifacts: Artifacts::default(),
                hooks: Vec::new(),
                variables: Vec::new(),
            });
        }
        let mut spec = fields.required_map("spec", cx)?;
        let manifests = Manifest::read_all(&mut spec, "manifests", cx);
        let artifacts = Artifacts::read(&mut spec, cx);
        let variables = variable::read_all(&mut spec, cx);
        let hooks = ServiceHook::read_all(&mut spec, cx);
        spec.not_runnable(&["manifestConfigurations"], cx);
        spec.no_effect(&["configFiles", "release"], cx);
        spec.finish(cx);
        Some(Self {
            deployment_type,
            manifests,
            artifacts,
            hooks,
            variables,
        })
    }
}

/// Deployment types of the published schema beside Kubernetes.
const LATER: [&str; 19] = [
    "NativeHelm",
    "Ssh",
    "WinRm",
    "ServerlessAwsLambda",
    "AzureWebApp",
    "AzureFunction",
    "CustomDeployment",
    "ECS",
    "Elastigroup",
    "TAS",
    "Asg",
    "GoogleCloudFunctions",
    "AwsLambda",
    "AWS_SAM",
    "GoogleCloudRun",
    "AzureContainerApps",
    "Salesforce",
    "GoogleManagedInstanceGroup",
    "AiAgent",
];

impl DeploymentType {
    pub(crate) fn read(
        fields: &mut Fields<'_>,
        name: &'static str,
        cx: &mut Context<'_>,
    ) -> Option<Self> {
        let kind = fields.required_fixed_text(name, cx)?;
        let path = fields.path_of(name);
        if kind.value == "Kubernetes" {
            return Some(Self::Kubernetes);
        }
        if !LATER.contains(&kind.as_str()) {
            unknown_value(
                &path,
                &kind,
                &[&["Kubernetes"], LATER.as_slice()].concat(),
                cx,
            );
            return None;
        }
        let message = format!(
            "`{}` is kept, and cannot be deployed yet; only Kubernetes can",
            kind.value
        );
        cx.not_runnable(Code::NotRunnable, &path, kind.position, message);
        Some(Self::Unsupported(kind.value))
    }
}

/// Says that two things of one list have one identifier.
pub(crate) fn unique(
    seen: &mut HashSet<String>,
    identifier: &Located<String>,
    what: &str,
    path: &str,
    cx: &mut Context<'_>,
) {
    if !seen.insert(identifier.value.clone()) {
        let message = format!(
            "{what} `{}` is already there; change one of the identifiers",
            path::clip(&identifier.value)
        );
        cx.error(
            Code::DuplicateIdentifier,
            path,
            identifier.position,
            message,
        );
    }
}
