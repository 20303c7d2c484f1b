//! Infrastructure definitions: cluster, namespace and release name.

use crate::entity::Kind;
use crate::field::{Field, ListField, TextField};
use crate::identifier;
use crate::path;
use crate::problem::Code;
use crate::reader::fields::unknown_value;
use crate::reader::{Context, Fields};
use crate::reference::RefField;
use crate::service::DeploymentType;

/// An infrastructure definition.
#[derive(Clone, Debug)]
pub struct Infrastructure {
    /// The environment that owns it.
    pub environment: RefField,
    /// `deploymentType`; must equal the service's.
    pub deployment_type: DeploymentType,
    /// `type` and `spec`
    pub spec: InfrastructureSpec,
    /// Several executions may deploy here at the same time.
    pub allow_simultaneous_deployments: bool,
    /// When not empty: only these services may be deployed here.
    pub scoped_services: ListField,
}

/// The infrastructures that Sortie uses.
#[derive(Clone, Debug)]
pub enum InfrastructureSpec {
    /// A namespace of a cluster that a connector reaches.
    KubernetesDirect {
        /// A K8sCluster connector.
        connector: RefField,
        /// Namespace: a DNS label, or text with an expression.
        namespace: TextField,
        /// Name of the release.
        release_name: TextField,
    },
    /// A type that exists in Harness and cannot be used yet.
    Unsupported {
        /// `type`
        infrastructure_type: String,
    },
}

impl Infrastructure {
    pub(crate) fn environment_identifier(&self) -> Option<String> {
        self.environment
            .value
            .value()
            .map(|target| target.identifier.clone())
    }
}

/// Types of the published schema beside KubernetesDirect.
const LATER: [&str; 4] = [
    "KubernetesGcp",
    "KubernetesAws",
    "KubernetesAzure",
    "KubernetesRancher",
];

/// Longest release name: it is the value of a label.
const LONGEST_RELEASE_NAME: usize = 63;

impl Infrastructure {
    pub(crate) fn read(fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        let environment = fields.required_reference("environmentRef", Kind::Environment, cx);
        let deployment_type = DeploymentType::read(fields, "deploymentType", cx);
        let spec = InfrastructureSpec::read(fields, cx);
        let allow = fields
            .fixed_flag("allowSimultaneousDeployments", cx)
            .unwrap_or(false);
        let scoped_services = fields.texts("scopedServices", cx);
        fields.accept(&["__uuid", "metadata"]);
        Some(Self {
            environment: environment?,
            deployment_type: deployment_type?,
            spec: spec?,
            allow_simultaneous_deployments: allow,
            scoped_services,
        })
    }
}

impl InfrastructureSpec {
    fn read(fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        let kind = fields.required_fixed_text("type", cx);
        let direct = kind
            .as_ref()
            .is_some_and(|kind| kind.value == "KubernetesDirect");
        if let Some(kind) = kind.filter(|_| !direct) {
            fields.accept(&["spec"]);
            let path = fields.path_of("type");
            if !LATER.contains(&kind.as_str()) {
                let known = [&["KubernetesDirect"], LATER.as_slice()].concat();
                unknown_value(&path, &kind, &known, cx);
                return None;
            }
            let message = format!(
                "infrastructures of type `{}` are kept, and cannot be deployed to yet",
                kind.value
            );
            cx.not_runnable(Code::NotRunnable, &path, kind.position, message);
            return Some(Self::Unsupported {
                infrastructure_type: kind.value,
            });
        }
        let mut spec = fields.required_map("spec", cx)?;
        let connector = spec.required_reference("connectorRef", Kind::Connector, cx);
        let namespace = spec.required_text("namespace", cx);
        if let Some(Field::Value(text)) = namespace.as_ref().map(|field| &field.value)
            && !identifier::is_dns_label(text)
        {
            let message = format!(
                "`{}` cannot be a namespace; use lower-case letters, digits and hyphens, at most 63, a letter or digit at \
                 both ends",
                path::clip(text)
            );
            cx.error(
                Code::InvalidValue,
                &spec.path_of("namespace"),
                spec.position_of_value("namespace"),
                message,
            );
        }
        let release_name = spec.required_text("releaseName", cx);
        if let Some(Field::Value(text)) = release_name.as_ref().map(|field| &field.value)
            && text.len() > LONGEST_RELEASE_NAME
        {
            let message = "a release name has at most 63 characters";
            cx.error(
                Code::InvalidValue,
                &spec.path_of("releaseName"),
                spec.position_of_value("releaseName"),
                message,
            );
        }
        spec.not_runnable(&["provisioner"], cx);
        spec.finish(cx);
        direct.then_some(())?;
        Some(Self::KubernetesDirect {
            connector: connector?,
            namespace: namespace?,
            release_name: release_name?,
        })
    }
}
