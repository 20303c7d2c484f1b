//! Reading manifests and their stores.

use std::collections::HashSet;

use super::reading::unique;
use super::{GitReference, GitStore, Manifest, ManifestSpec, Store};
use crate::connector::GitProvider;
use crate::entity::Kind;
use crate::field::{Field, TextField, has_expression};
use crate::parse;
use crate::position::Located;
use crate::problem::Code;
use crate::reader::fields::{reference_of, unknown_value};
use crate::reader::{Context, Fields};
use crate::reference::RefField;

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
    /// Reads the list `name`.
    pub(crate) fn read_all(
        spec: &mut Fields<'_>,
        name: &'static str,
        cx: &mut Context<'_>,
    ) -> Vec<Self> {
        let mut seen = HashSet::new();
        let mut manifests: Vec<Self> = Vec::new();
        let mut bases = 0;
        for (node, path) in spec.items(name, cx) {
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
        let spec = ManifestSpec::read(fields, cx);
        Some(Self {
            spec: spec?,
            identifier: identifier?,
        })
    }
}

impl ManifestSpec {
    /// Reads `type` and `spec`.
    pub(crate) fn read(fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        fields.accept(&["spec"]);
        let kind = fields.required_fixed_text("type", cx)?;
        Some(match kind.as_str() {
            "K8sManifest" => {
                let mut spec = fields.required_map("spec", cx)?;
                let manifest = Self::K8sManifest {
                    values_paths: spec.texts("valuesPaths", cx),
                    skip_versioning: spec.flag("skipResourceVersioning", cx),
                    declarative_rollback: spec.flag("enableDeclarativeRollback", cx),
                    optional_values: spec.flag("optionalValuesYaml", cx),
                    store: store(&mut spec, "store", cx)?,
                };
                spec.accept(&["metadata"]);
                spec.finish(cx);
                manifest
            }
            "Values" => {
                let mut spec = fields.required_map("spec", cx)?;
                let optional_values = spec.flag("optionalValuesYaml", cx);
                let manifest = Self::Values {
                    store: store(&mut spec, "store", cx)?,
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
                Self::Unsupported {
                    manifest_type: kind.value,
                }
            }
            _ => {
                let known = [&["K8sManifest", "Values"], LATER_MANIFESTS.as_slice()].concat();
                unknown_value(&fields.path_of("type"), &kind, &known, cx);
                return None;
            }
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

/// Reads the store at `name`, which is required.
pub(crate) fn store(
    fields: &mut Fields<'_>,
    name: &'static str,
    cx: &mut Context<'_>,
) -> Option<Store> {
    let mut store = fields.required_map(name, cx)?;
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
pub(crate) fn check_relative(field: &TextField, path: &str, cx: &mut Context<'_>) {
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
