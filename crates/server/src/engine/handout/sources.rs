//! From the stores of manifests and patches to sources of a task.

use sortie_model::connector::{
    ConnectorSpec, GitConnection, GitConnector, GitCredential, Username,
};
use sortie_model::pipeline::spec::ManifestPaths;
use sortie_model::service::{GitReference, GitStore, ManifestSpec, Store as FileSource};
use sortie_model::{EntitySpec, Field, FlagField, Kind, ListField};
use sortie_proto::v1;
use sortie_store::Scope;

use super::Preparation;
use crate::engine::compile::{self, reference};
use crate::engine::fault::Fault;
use crate::engine::library::Found;
use crate::engine::roots::Roots;
use crate::engine::surroundings::Surroundings;

/// Files larger than this go as blobs.
const MAX_INLINE: usize = 64 * 1024;

/// Largest sum of files inside a task; more go as blobs.
const MAX_INLINE_TOTAL: usize = 256 * 1024;

/// Makes sources of stores, for one task.
pub(super) struct Sources<'a> {
    preparation: &'a Preparation<'a>,
    roots: &'a Roots,
    /// Bytes of files inside the task so far.
    inline: usize,
}

/// Which files of a store.
#[derive(Clone, Copy)]
pub(super) enum Wanted<'a> {
    /// Those that the store names.
    All,
    /// These in their place.
    Instead(&'a ListField),
    /// These, relative to the folder that the store names.
    Below(&'a [String]),
}

/// Manifests with their values.
#[derive(Default)]
pub(super) struct Collected {
    /// The sources.
    pub set: v1::ManifestSet,
    /// Whether ConfigMaps and Secrets keep the names as written.
    pub unversioned: bool,
}

impl Collected {
    pub(super) const fn versioning(&self) -> v1::Versioning {
        match self.unversioned {
            true => v1::Versioning::Off,
            false => v1::Versioning::ContentHash,
        }
    }
}

impl<'a> Sources<'a> {
    pub(super) const fn new(preparation: &'a Preparation<'a>, roots: &'a Roots) -> Self {
        Self {
            preparation,
            roots,
            inline: 0,
        }
    }

    /// Manifests and values of the service, in order. Values are taken whole, whatever is `wanted` of the manifests.
    pub(super) async fn of_service(
        &mut self,
        surroundings: &Surroundings,
        wanted: Wanted<'_>,
    ) -> Result<Collected, Fault> {
        let scope = &surroundings.service_scope;
        let mut collected = Collected::default();
        for manifest in &surroundings.manifests {
            let id = &manifest.identifier.value;
            self.add(&mut collected, id, &manifest.spec, (scope, wanted))
                .await?;
        }
        if collected.set.manifests.is_empty() {
            return Err(Fault::mismatch(
                "the service has no manifest of type K8sManifest, so there is nothing to deploy",
            ));
        }
        Ok(collected)
    }

    /// As [`Sources::of_service`] with these paths of a step; all manifests when there are none.
    pub(super) async fn of_paths(
        &mut self,
        surroundings: &Surroundings,
        paths: &ManifestPaths,
    ) -> Result<Collected, Fault> {
        match paths {
            ManifestPaths::All => self.of_service(surroundings, Wanted::All).await,
            ManifestPaths::Some(paths) => {
                let paths = self.paths("manifestPaths", paths)?;
                self.of_service(surroundings, Wanted::Below(&paths)).await
            }
        }
    }

    /// Paths of a step's field, which stay below their folder.
    pub(super) fn paths(&self, field: &str, paths: &ListField) -> Result<Vec<String>, Fault> {
        let paths = self.roots.list(field, &compile::list(paths))?;
        if paths.is_empty() {
            return Err(Fault::mismatch(format!("{field} names no file")));
        }
        match paths
            .iter()
            .find(|path| path.split('/').any(|part| part == ".."))
        {
            Some(path) => Err(Fault::mismatch(format!(
                "{field}: `{path}` leaves the folder of the manifests; write it without `..`"
            ))),
            None => Ok(paths),
        }
    }

    /// Adds a manifest of the service or of a step, whose references start from a scope.
    pub(super) async fn add(
        &mut self,
        collected: &mut Collected,
        id: &str,
        manifest: &ManifestSpec,
        (scope, wanted): (&Scope, Wanted<'_>),
    ) -> Result<(), Fault> {
        let Collected { set, unversioned } = collected;
        match manifest {
            ManifestSpec::K8sManifest {
                store,
                values_paths,
                skip_versioning,
                optional_values,
                ..
            } => {
                *unversioned |= self.flag("skipResourceVersioning", skip_versioning.as_ref())?;
                let files = self.source(id, store, (scope, wanted), false).await?;
                set.manifests.extend(files);
                let optional = self.flag("optionalValuesYaml", optional_values.as_ref())?;
                let values = (scope, Wanted::Instead(values_paths));
                let more = self.source(id, store, values, optional).await?;
                set.values.extend(more);
            }
            ManifestSpec::Values {
                store,
                optional_values,
            } => {
                let optional = self.flag("optionalValuesYaml", optional_values.as_ref())?;
                let values = (scope, Wanted::All);
                set.values
                    .extend(self.source(id, store, values, optional).await?);
            }
            ManifestSpec::Unsupported { manifest_type } => {
                return Err(Fault::not_runnable(format!(
                    "manifest `{id}` is of type {manifest_type}, which cannot be run yet"
                )));
            }
        }
        Ok(())
    }

    fn flag(&self, name: &str, field: Option<&FlagField>) -> Result<bool, Fault> {
        super::flag(self.roots, name, field)
    }

    /// The source of a store, whose references start from a scope. None when there is nothing to take.
    pub(super) async fn source(
        &mut self,
        id: &str,
        store: &FileSource,
        (scope, wanted): (&Scope, Wanted<'_>),
        optional: bool,
    ) -> Result<Option<v1::Source>, Fault> {
        let instead = match wanted {
            Wanted::Instead(paths) => Some(self.roots.list("valuesPaths", &compile::list(paths))?),
            Wanted::All | Wanted::Below(_) => None,
        };
        if instead.as_ref().is_some_and(Vec::is_empty) {
            return Ok(None);
        }
        let below = match wanted {
            Wanted::Below(files) => Some(files),
            Wanted::All | Wanted::Instead(_) => None,
        };
        let from = match store {
            FileSource::Git(git) => {
                let own = self.roots.list("paths", &compile::list(&git.paths))?;
                let paths = match (instead, below) {
                    (Some(instead), _) => instead,
                    (None, Some(files)) => in_repository(&own, files),
                    (None, None) => own,
                };
                v1::source::From::Git(self.git(git, scope, paths).await?)
            }
            FileSource::Harness { files } => {
                let own = match &files.value {
                    Field::Value(files) => files
                        .iter()
                        .map(|file| self.roots.text("files", &reference(&file.value)))
                        .collect::<Result<_, _>>()?,
                    Field::Expression(text) => {
                        let list = serde_json::Value::String(text.clone());
                        self.roots.list("files", &list)?
                    }
                };
                let inline = match (instead, below) {
                    (Some(instead), _) => self.stored(&instead, scope, optional).await?,
                    (None, Some(files)) => Some(self.stored_below(&own, files, scope).await?),
                    (None, None) => self.stored(&own, scope, optional).await?,
                };
                match inline {
                    Some(inline) => v1::source::From::Inline(inline),
                    None => return Ok(None),
                }
            }
            FileSource::Inline { content } => {
                // A manifest is a file whose name says that it is YAML.
                let name = format!("{id}.yaml");
                let is_other = |file: &&String| **file != id && **file != name;
                if let Some(other) = below.and_then(|files| files.iter().find(is_other)) {
                    return Err(not_among(other));
                }
                // Resolved by the delegate, like every file.
                let file = self.file(&name, content.text().as_bytes()).await?;
                v1::source::From::Inline(v1::InlineFiles { files: vec![file] })
            }
            FileSource::Unsupported { store_type } => {
                return Err(Fault::not_runnable(format!(
                    "`{id}`: files of a {store_type} store cannot be fetched yet"
                )));
            }
        };
        Ok(Some(v1::Source {
            id: id.to_owned(),
            from: Some(from),
        }))
    }

    /// Files below any of the folders.
    async fn stored_below(
        &mut self,
        folders: &[String],
        files: &[String],
        scope: &Scope,
    ) -> Result<v1::InlineFiles, Fault> {
        let mut found = Vec::new();
        for file in files {
            let before = found.len();
            for root in folders {
                let path = [join(folder(root), file)];
                let there = self.stored(&path, scope, true).await?;
                found.extend(there.into_iter().flat_map(|there| there.files));
            }
            if found.len() == before {
                return Err(not_among(file));
            }
        }
        Ok(v1::InlineFiles { files: found })
    }

    async fn stored(
        &mut self,
        paths: &[String],
        scope: &Scope,
        optional: bool,
    ) -> Result<Option<v1::InlineFiles>, Fault> {
        let mut files = Vec::new();
        for path in paths {
            let found = match self.preparation.library.files(path, scope).await {
                Err(Fault::Refused {
                    code: "SRT-S101", ..
                }) if optional => continue,
                found => found?,
            };
            for found in found {
                let name = found.path.trim_start_matches('/').to_owned();
                files.push(self.file(&name, found.content.as_bytes()).await?);
            }
        }
        Ok((!files.is_empty()).then_some(v1::InlineFiles { files }))
    }

    async fn file(&mut self, path: &str, content: &[u8]) -> Result<v1::InlineFile, Fault> {
        let fits = content.len() <= MAX_INLINE && self.inline + content.len() <= MAX_INLINE_TOTAL;
        let content = if fits {
            self.inline += content.len();
            v1::inline_file::Content::Data(content.to_vec())
        } else {
            let hash = self.preparation.library.store.put_blob(content).await?;
            v1::inline_file::Content::Blob(v1::BlobRef {
                sha256: hash.to_string(),
                size: content.len() as u64,
            })
        };
        Ok(v1::InlineFile {
            path: path.to_owned(),
            content: Some(content),
        })
    }

    async fn git(
        &self,
        store: &GitStore,
        scope: &Scope,
        paths: Vec<String>,
    ) -> Result<v1::GitSource, Fault> {
        let roots = self.roots;
        let connector_ref = roots.text("connectorRef", &reference(&store.connector.value))?;
        let library = &self.preparation.library;
        let found = library
            .find(Kind::Connector, &connector_ref, scope, "")
            .await?;
        let EntitySpec::Connector(connector) = &found.entity.spec else {
            return Err(Fault::mismatch(format!(
                "`{connector_ref}` is no connector"
            )));
        };
        let ConnectorSpec::Git(git) = &connector.spec else {
            return Err(Fault::mismatch(format!(
                "files in a repository need a Git connector, and `{connector_ref}` is of another type"
            )));
        };
        let (username, password_secret) = credentials(git, &found, &connector_ref, roots)?;
        let revision = match &store.reference {
            GitReference::Branch(branch) => {
                v1::git_source::Revision::Branch(roots.text("branch", branch.text())?)
            }
            GitReference::Commit(commit) => {
                let commit = roots.text("commitId", commit.text())?;
                let is_hash = (7..=64).contains(&commit.len())
                    && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
                if is_hash {
                    v1::git_source::Revision::Commit(commit)
                } else {
                    v1::git_source::Revision::Tag(commit)
                }
            }
        };
        Ok(v1::GitSource {
            url: repository(git, store, &connector_ref, roots)?,
            username,
            password_secret,
            revision: Some(revision),
            paths,
        })
    }
}

fn repository(
    git: &GitConnector,
    store: &GitStore,
    connector: &str,
    roots: &Roots,
) -> Result<String, Fault> {
    let url = roots.text("url of the connector", git.url.text())?;
    match (git.connection, &store.repo_name) {
        (GitConnection::Repo, _) => Ok(url),
        (GitConnection::Account, Some(name)) => {
            let name = roots.text("repoName", name.text())?;
            Ok(format!(
                "{}/{}",
                url.trim_end_matches('/'),
                name.trim_start_matches('/')
            ))
        }
        (GitConnection::Account, None) => Err(Fault::mismatch(format!(
            "connector `{connector}` is for an account, so the manifest store must name the repository with repoName"
        ))),
    }
}

/// User name, and the name under which the delegate asks for the password.
fn credentials(
    git: &GitConnector,
    found: &Found,
    connector: &str,
    roots: &Roots,
) -> Result<(String, String), Fault> {
    match &git.credential {
        GitCredential::Anonymous => Ok((String::new(), String::new())),
        GitCredential::UserSecret { username, secret } => {
            let username = match username {
                Username::Plain(username) => roots.text("username", username.text())?,
                Username::Secret(_) => {
                    return Err(Fault::not_runnable(format!(
                        "connector `{connector}` keeps its user name as a secret (usernameRef), which cannot be used yet; write it as username"
                    )));
                }
            };
            let secret = roots.text("secret of the connector", &reference(&secret.value))?;
            let secret = from_project(&secret, &found.scope);
            Ok((username, format!("secrets.getValue(\"{secret}\")")))
        }
        GitCredential::Unsupported { credential_type } => Err(Fault::not_runnable(format!(
            "connector `{connector}` authenticates by {credential_type}, which cannot be used yet"
        ))),
    }
}

/// A reference made in a scope, as it must be written in the project of the execution.
fn from_project(reference: &str, scope: &Scope) -> String {
    if reference.contains('.') {
        return reference.to_owned();
    }
    match (&scope.org, &scope.project) {
        (_, Some(_)) => reference.to_owned(),
        (Some(_), None) => format!("org.{reference}"),
        (None, None) => format!("account.{reference}"),
    }
}

/// Files of a repository that a step names: relative to the folder of the store, or, where it has several, to the
/// repository.
fn in_repository(own: &[String], files: &[String]) -> Vec<String> {
    let root = match own {
        [root] => folder(root),
        _ => "",
    };
    files.iter().map(|file| join(root, file)).collect()
}

/// The folder that a path names, or that its file is in.
fn folder(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    let (parent, last) = path.rsplit_once('/').unwrap_or(("", path));
    let is_file = [".yaml", ".yml", ".json", ".tpl"]
        .iter()
        .any(|end| last.ends_with(end));
    match is_file {
        true => parent,
        false => path,
    }
}

fn join(folder: &str, file: &str) -> String {
    let file = file.trim_start_matches('/');
    match folder {
        "" | "." => file.to_owned(),
        _ => format!("{folder}/{file}"),
    }
}

fn not_among(file: &str) -> Fault {
    Fault::mismatch(format!(
        "`{file}` is not among the manifests of the service; write the path relative to their folder"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_a_step_start_where_the_manifests_are() {
        for (own, file, expected) in [
            (&["k8s"][..], "jobs/a.yaml", "k8s/jobs/a.yaml"),
            (&["/k8s/"], "/jobs", "/k8s/jobs"),
            (&["k8s/all.yaml"], "job.yaml", "k8s/job.yaml"),
            (&["all.yaml"], "job.yaml", "job.yaml"),
            (&["."], "job.yaml", "job.yaml"),
            (&["a", "b"], "a/job.yaml", "a/job.yaml"),
            (&["account:/a"], "job.yaml", "account:/a/job.yaml"),
        ] {
            let own: Vec<_> = own.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(
                in_repository(&own, &[file.to_owned()]),
                [expected],
                "{own:?}"
            );
        }
    }
}
