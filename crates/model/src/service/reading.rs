//! Reading services.

use std::collections::HashSet;

use super::{
    Artifact, ArtifactSpec, Artifacts, DeploymentType, DockerImage, GitReference, GitStore,
    Manifest, ManifestSpec, PrimaryArtifact, Service, ServiceDefinition, Store,
};
use crate::connector::GitProvider;
use crate::entity::Kind;
use crate::field::{Field, TextField, has_expression};
use crate::parse;
use crate::path;
use crate::position::Located;
use crate::problem::Code;
use crate::reader::fields::{reference_of, unknown_value};
use crate::reader::{Context, Fields};
use crate::reference::RefField;
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
                variables: Vec::new(),
            });
        }
        let mut spec = fields.required_map("spec", cx)?;
        let manifests = Manifest::read_all(&mut spec, cx);
        let artifacts = Artifacts::read(&mut spec, cx);
        let variables = variable::read_all(&mut spec, cx);
        spec.not_runnable(&["hooks", "manifestConfigurations"], cx);
        spec.no_effect(&["configFiles", "release"], cx);
        spec.finish(cx);
        Some(Self {
            deployment_type,
            manifests,
            artifacts,
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

// ---- manifests ---------------------------------------------------------------------------------

const LATER_MANIFESTS: [&str; 8] = [
    "HelmChart",
    "HelmRepoOverride",
    "Kustomize",
    "KustomizePatches",
    "OpenshiftTemplate",
    "OpenshiftParam",
    "ReleaseRepo",
    "DeploymentRepo",
];

impl Manifest {
    fn read_all(spec: &mut Fields<'_>, cx: &mut Context<'_>) -> Vec<Self> {
        let mut seen = HashSet::new();
        let mut manifests: Vec<Self> = Vec::new();
        let mut bases = 0;
        for (node, path) in spec.items("manifests", cx) {
            let Some(mut item) = Fields::open(node, path, cx) else {
                continue;
            };
            let inner = item.required_map("manifest", cx);
            item.finish(cx);
            let Some(mut inner) = inner else { continue };
            let manifest = Self::read(&mut inner, cx);
            let at = inner.position_of_value("type");
            let paths = (inner.path_of("identifier"), inner.path_of("type"));
            inner.finish(cx);
            let Some(manifest) = manifest else { continue };
            unique(&mut seen, &manifest.identifier, "manifest", &paths.0, cx);
            bases += usize::from(matches!(manifest.spec, ManifestSpec::K8sManifest { .. }));
            if bases == 2 {
                bases += 1;
                let message =
                    "a service has one K8sManifest; put all paths into it, or remove this one";
                cx.error(Code::Conflict, &paths.1, at, message);
            }
            manifests.push(manifest);
        }
        manifests
    }

    fn read(fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        let identifier = parse::identifier(fields, cx);
        let kind = fields.required_fixed_text("type", cx);
        fields.accept(&["spec"]);
        let kind = kind?;
        let spec = match kind.as_str() {
            "K8sManifest" => {
                let mut spec = fields.required_map("spec", cx)?;
                let manifest = ManifestSpec::K8sManifest {
                    values_paths: spec.texts("valuesPaths", cx),
                    skip_versioning: spec.flag("skipResourceVersioning", cx),
                    declarative_rollback: spec.flag("enableDeclarativeRollback", cx),
                    optional_values: spec.flag("optionalValuesYaml", cx),
                    store: store(&mut spec, cx)?,
                };
                spec.accept(&["metadata"]);
                spec.finish(cx);
                manifest
            }
            "Values" => {
                let mut spec = fields.required_map("spec", cx)?;
                let optional_values = spec.flag("optionalValuesYaml", cx);
                let manifest = ManifestSpec::Values {
                    store: store(&mut spec, cx)?,
                    optional_values,
                };
                spec.accept(&["metadata"]);
                spec.finish(cx);
                manifest
            }
            other if LATER_MANIFESTS.contains(&other) => {
                let message =
                    format!("manifests of type `{other}` are kept, and cannot be deployed yet");
                cx.not_runnable(
                    Code::NotRunnable,
                    &fields.path_of("type"),
                    kind.position,
                    message,
                );
                ManifestSpec::Unsupported {
                    manifest_type: kind.value,
                }
            }
            _ => {
                let known = [&["K8sManifest", "Values"], LATER_MANIFESTS.as_slice()].concat();
                unknown_value(&fields.path_of("type"), &kind, &known, cx);
                return None;
            }
        };
        Some(Self {
            identifier: identifier?,
            spec,
        })
    }
}

const LATER_STORES: [&str; 11] = [
    "AzureRepo",
    "HarnessCode",
    "Http",
    "S3",
    "S3Url",
    "Gcs",
    "OciHelmChart",
    "CustomRemote",
    "InheritFromManifest",
    "Artifactory",
    "AzureBlob",
];

const GIT_STORES: [(&str, GitProvider); 5] = [
    ("Git", GitProvider::Git),
    ("Github", GitProvider::Github),
    ("GitLab", GitProvider::Gitlab),
    ("Gitlab", GitProvider::Gitlab),
    ("Bitbucket", GitProvider::Bitbucket),
];

fn store(fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Store> {
    let mut store = fields.required_map("store", cx)?;
    let kind = store.required_fixed_text("type", cx);
    store.accept(&["spec"]);
    let path = store.path_of("type");
    let kind = kind?;
    let git = GIT_STORES.iter().find(|(name, _)| *name == kind.value);
    let own = matches!(kind.as_str(), "Harness" | "Inline");
    if git.is_none() && !own {
        store.finish(cx);
        if !LATER_STORES.contains(&kind.as_str()) {
            let known = GIT_STORES
                .iter()
                .map(|(name, _)| *name)
                .chain(["Harness", "Inline"])
                .chain(LATER_STORES);
            unknown_value(&path, &kind, &known.collect::<Vec<_>>(), cx);
            return None;
        }
        let message = format!(
            "stores of type `{}` are kept, and cannot be used yet",
            kind.value
        );
        cx.not_runnable(Code::NotRunnable, &path, kind.position, message);
        return Some(Store::Unsupported {
            store_type: kind.value,
        });
    }
    let spec = store.required_map("spec", cx);
    store.finish(cx);
    let mut spec = spec?;
    let read = match (git, kind.as_str()) {
        (Some((_, provider)), _) => git_store(*provider, &mut spec, cx).map(Store::Git),
        (None, "Harness") => harness_files(&mut spec, cx).map(|files| Store::Harness { files }),
        _ => spec
            .required_text("content", cx)
            .map(|content| Store::Inline { content }),
    };
    spec.finish(cx);
    read
}

fn git_store(
    provider: GitProvider,
    spec: &mut Fields<'_>,
    cx: &mut Context<'_>,
) -> Option<GitStore> {
    let connector = spec.required_reference("connectorRef", Kind::Connector, cx);
    let repo_name = spec
        .text("repoName", cx)
        .filter(|name| !name.value.text().is_empty());
    let by_branch =
        spec.required_choice("gitFetchType", &[("Branch", true), ("Commit", false)], cx);
    spec.accept(&["branch", "commitId"]);
    let reference = match by_branch {
        None => None,
        Some(true) => spec.required_text("branch", cx).map(GitReference::Branch),
        Some(false) => spec.required_text("commitId", cx).map(GitReference::Commit),
    };
    let mut paths = spec.texts("paths", cx);
    let folder = spec
        .text("folderPath", cx)
        .filter(|folder| !folder.value.text().is_empty());
    if let Some(folder) = folder {
        match &mut paths.value {
            Field::Value(list) if list.is_empty() => list.push(folder),
            _ => {
                let message = "`paths` and `folderPath` exclude each other; remove one";
                cx.error(
                    Code::Conflict,
                    &spec.path_of("folderPath"),
                    folder.position,
                    message,
                );
            }
        }
    }
    if paths.value.value().is_some_and(Vec::is_empty) {
        spec.missing("paths", cx);
    }
    for path in paths.value.value().into_iter().flatten() {
        check_relative(path, &spec.path_of("paths"), cx);
    }
    Some(GitStore {
        provider,
        connector: connector?,
        reference: reference?,
        paths,
        repo_name,
    })
}

/// Paths stay inside the repository.
fn check_relative(field: &TextField, path: &str, cx: &mut Context<'_>) {
    if let Some(text) = field.value.value()
        && (text.split('/').any(|segment| segment == "..") || text.contains(['\\', '\0']))
    {
        let message = "a path stays inside its repository: no `..` and no backslash";
        cx.error(Code::InvalidValue, path, field.position, message);
    }
}

fn harness_files(
    spec: &mut Fields<'_>,
    cx: &mut Context<'_>,
) -> Option<Located<Field<Vec<RefField>>>> {
    spec.no_effect(&["secretFiles"], cx);
    let node = spec.node("files");
    if node.is_none_or(|node| node.is_empty()) {
        spec.missing("files", cx);
        return None;
    }
    let position = spec.position_of_value("files");
    let whole = node.and_then(|node| node.scalar());
    if whole.is_some_and(|scalar| has_expression(&scalar.text)) {
        let list = spec.texts("files", cx);
        let text = list.value.expression().unwrap_or_default().to_owned();
        return Some(Located {
            value: Field::Expression(text),
            position,
        });
    }
    let items = spec.items("files", cx);
    let files = items
        .into_iter()
        .filter_map(|(node, path)| reference_of(node, &path, Kind::File, cx));
    Some(Located {
        value: Field::Value(files.collect()),
        position,
    })
}

// ---- artifacts ---------------------------------------------------------------------------------

const LATER_ARTIFACTS: [&str; 17] = [
    "Ecr",
    "Gcr",
    "Acr",
    "GoogleArtifactRegistry",
    "Har",
    "ArtifactoryRegistry",
    "Nexus3Registry",
    "Nexus2Registry",
    "GithubPackageRegistry",
    "AzureArtifacts",
    "AmazonS3",
    "GoogleCloudStorage",
    "Jenkins",
    "Bamboo",
    "CustomArtifact",
    "AmazonMachineImage",
    "GoogleCloudSource",
];

impl Artifacts {
    fn read(spec: &mut Fields<'_>, cx: &mut Context<'_>) -> Self {
        let Some(mut fields) = spec.map("artifacts", cx) else {
            return Self::default();
        };
        let primary = fields.map("primary", cx).and_then(|mut primary| {
            let read = PrimaryArtifact::read(&mut primary, cx);
            primary.finish(cx);
            read
        });
        let mut seen = HashSet::new();
        let mut sidecars = Vec::new();
        for (node, path) in fields.items("sidecars", cx) {
            let Some(mut item) = Fields::open(node, path, cx) else {
                continue;
            };
            let inner = item.required_map("sidecar", cx);
            item.finish(cx);
            if let Some(mut inner) = inner {
                sidecars.extend(Artifact::read(&mut inner, &mut seen, cx));
                inner.finish(cx);
            }
        }
        fields.accept(&["metadata"]);
        fields.finish(cx);
        Self { primary, sidecars }
    }
}

impl PrimaryArtifact {
    fn read(fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        if fields.node("sources").is_none() && fields.node("type").is_some() {
            let position = fields.position;
            let spec = ArtifactSpec::read(fields, cx)?;
            let chosen = Located {
                value: Field::Value("primary".to_owned()),
                position,
            };
            let identifier = Located {
                value: "primary".to_owned(),
                position,
            };
            return Some(Self {
                chosen,
                sources: vec![Artifact { identifier, spec }],
            });
        }
        let chosen = fields.required_text("primaryArtifactRef", cx);
        let mut seen = HashSet::new();
        let mut sources = Vec::new();
        let items = fields.items("sources", cx);
        let complete = items.len();
        if items.is_empty() && fields.node("sources").is_none_or(|node| node.is_empty()) {
            fields.missing("sources", cx);
        }
        for (node, path) in items {
            let Some(mut item) = Fields::open(node, path, cx) else {
                continue;
            };
            sources.extend(Artifact::read(&mut item, &mut seen, cx));
            item.finish(cx);
        }
        let chosen = chosen?;
        if let Field::Value(name) = &chosen.value
            && sources.len() == complete
            && complete > 0
            && !sources
                .iter()
                .any(|source: &Artifact| source.identifier.value == *name)
        {
            let message = format!(
                "no source has the identifier `{}`; name one of `sources`",
                path::clip(name)
            );
            cx.error(
                Code::InvalidReference,
                &fields.path_of("primaryArtifactRef"),
                chosen.position,
                message,
            );
        }
        Some(Self { chosen, sources })
    }
}

impl Artifact {
    fn read(
        fields: &mut Fields<'_>,
        seen: &mut HashSet<String>,
        cx: &mut Context<'_>,
    ) -> Option<Self> {
        let identifier = parse::identifier(fields, cx);
        if let Some(identifier) = &identifier {
            unique(
                seen,
                identifier,
                "artifact",
                &fields.path_of("identifier"),
                cx,
            );
        }
        fields.accept(&["name"]);
        let spec = if fields.node("template").is_some() {
            fields.not_runnable(&["template"], cx);
            Some(ArtifactSpec::Unsupported {
                artifact_type: "template".to_owned(),
            })
        } else {
            ArtifactSpec::read(fields, cx)
        };
        Some(Self {
            identifier: identifier?,
            spec: spec?,
        })
    }
}

impl ArtifactSpec {
    fn read(fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        let kind = fields.required_fixed_text("type", cx);
        fields.accept(&["spec"]);
        let kind = kind?;
        let path = fields.path_of("type");
        if kind.value != "DockerRegistry" {
            if !LATER_ARTIFACTS.contains(&kind.as_str()) {
                unknown_value(
                    &path,
                    &kind,
                    &[&["DockerRegistry"], LATER_ARTIFACTS.as_slice()].concat(),
                    cx,
                );
                return None;
            }
            let message = format!(
                "artifacts of type `{}` are kept, and cannot be deployed yet",
                kind.value
            );
            cx.not_runnable(Code::NotRunnable, &path, kind.position, message);
            return Some(Self::Unsupported {
                artifact_type: kind.value,
            });
        }
        let mut spec = fields.required_map("spec", cx)?;
        let connector = spec.required_reference("connectorRef", Kind::Connector, cx);
        let image_path = spec.required_text("imagePath", cx);
        let non_empty = |field: &TextField| !field.value.text().is_empty();
        let digest = spec.text("digest", cx).filter(non_empty);
        let by_pattern = spec.node("tagRegex").is_some_and(|node| !node.is_empty());
        spec.not_runnable(&["tagRegex"], cx);
        let tag = spec.text("tag", cx).filter(non_empty);
        match (&tag, by_pattern) {
            (None, false) => spec.missing("tag", cx),
            (Some(tag), true) => {
                let message = "`tag` and `tagRegex` exclude each other; remove one";
                cx.error(Code::Conflict, &spec.path_of("tag"), tag.position, message);
            }
            _ => {}
        }
        spec.finish(cx);
        if tag.is_none() && !by_pattern {
            return None;
        }
        Some(Self::DockerRegistry(DockerImage {
            connector: connector?,
            image_path: image_path?,
            tag,
            digest,
        }))
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
