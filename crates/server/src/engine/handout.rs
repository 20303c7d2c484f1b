//! From a step of a plan to the task that a delegate gets. Protobuf types are made here and nowhere
//! else in the engine.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use prost::Message as _;
use serde::{Deserialize, Serialize};
use sortie_model::connector::{
    ConnectorSpec, GitConnection, GitConnector, GitCredential, Username,
};
use sortie_model::pipeline::StepType;
use sortie_model::service::{GitReference, GitStore, Manifest, ManifestSpec, Store as FileSource};
use sortie_model::{EntitySpec, Field, FlagField, Kind, ListField};
use sortie_proto::v1;
use sortie_store::{BlobHash, Execution, Scope};
use sortie_workflow::{Node, NodePath, Plan, Stage, State, Step};

use super::compile::{self, reference};
use super::fault::Fault;
use super::library::{Found, Library};
use super::parameters::{StageParameters, StepParameters};
use super::roots::{Roots, parameters};
use super::surroundings::{self, Surroundings};
use crate::tasks;

/// Largest context snapshot.
const MAX_CONTEXT: usize = 4 * 1024 * 1024;

/// Files larger than this go as blobs.
const MAX_INLINE: usize = 64 * 1024;

/// Largest sum of files inside a task; more go as blobs.
const MAX_INLINE_TOTAL: usize = 256 * 1024;

/// A step ready to be handed out; stored before it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Handout {
    /// The task without its epoch, protobuf, base64.
    task: String,
    /// Selectors that a delegate must have.
    pub selectors: Vec<String>,
    /// Whether another holder can go on where a lost one stopped.
    pub resumable: bool,
    /// When it must have ended.
    pub deadline: Timestamp,
    /// Hash of the context snapshot.
    pub context: String,
}

impl Handout {
    /// The task; `None` when the record is damaged.
    pub(super) fn task(&self) -> Option<v1::Task> {
        let bytes = STANDARD.decode(&self.task).ok()?;
        v1::Task::decode(bytes.as_slice()).ok()
    }

    /// The blobs that it refers to.
    pub(super) fn blobs(&self) -> Vec<BlobHash> {
        let task = self.task();
        let named = task.iter().flat_map(tasks::blobs);
        named
            .filter_map(|blob| BlobHash::parse(&blob.sha256))
            .collect()
    }
}

/// A step to prepare.
pub(super) struct Preparation<'a> {
    /// The entities of the execution.
    pub library: Library<'a>,
    /// The execution.
    pub execution: &'a Execution,
    /// Its plan.
    pub plan: &'a Plan,
    /// Its state.
    pub state: &'a State,
    /// The stage of the step.
    pub stage: &'a Stage,
    /// The step.
    pub step: &'a Step,
    /// Where it stands.
    pub node: &'a NodePath,
    /// Id of the task.
    pub task: &'a str,
    /// When it must have ended.
    pub deadline: Timestamp,
}

impl Preparation<'_> {
    /// Resolves everything the step needs.
    pub(super) async fn prepare(&self) -> Result<Handout, Fault> {
        let stage: StageParameters = parameters(&self.stage.parameters);
        let step: StepParameters = parameters(&self.step.parameters);
        let mut roots = Roots::of_execution(self.execution, self.plan, self.state);
        roots.enter(self.stage, self.step, self.node, self.state);
        let surroundings =
            surroundings::read(&self.library, &self.execution.scope, &stage, &mut roots).await?;
        let step_type = self.step_type()?;
        let action = self.action(step_type, &step, &surroundings, &roots).await?;
        let mut selectors = roots.list("delegateSelectors", &step.selectors)?;
        selectors.extend(surroundings.selectors.iter().cloned());
        selectors.sort();
        selectors.dedup();
        let snapshot = roots.snapshot();
        if snapshot.len() > MAX_CONTEXT {
            return Err(Fault::too_large(format!(
                "the values that expressions can use come to {} bytes, more than the {MAX_CONTEXT} that a task may carry; make variables and outputs smaller",
                snapshot.len()
            )));
        }
        let context = self.library.store.put_blob(&snapshot).await?;
        let task = v1::Task {
            id: self.task.to_owned(),
            epoch: 0,
            timeout_ms: u64::try_from(self.step.timeout.as_millis()).unwrap_or(u64::MAX),
            requested_by: Some(self.requested_by()),
            context: Some(v1::BlobRef {
                sha256: context.to_string(),
                size: snapshot.len() as u64,
            }),
            step: Some(action),
        };
        Ok(Handout {
            task: STANDARD.encode(task.encode_to_vec()),
            selectors,
            resumable: step_type.is_resumable(),
            deadline: self.deadline,
            context: context.to_string(),
        })
    }

    fn requested_by(&self) -> v1::RequestedBy {
        let Scope { org, project } = self.execution.scope.clone();
        v1::RequestedBy {
            organisation: org.unwrap_or_default(),
            project: project.unwrap_or_default(),
            user: self.execution.requested_by.clone(),
            execution_id: self.execution.id.clone(),
            pipeline_id: self.execution.pipeline.clone(),
            stage_id: self.stage.info.id.clone(),
            step_id: self.step.info.id.clone(),
        }
    }

    fn step_type(&self) -> Result<StepType, Fault> {
        let name = &self.step.step_type;
        StepType::from_name(name).ok_or_else(|| Fault::Refused {
            code: "SRT-S107",
            message: format!("steps of type {name} cannot be run yet; remove the step"),
        })
    }

    async fn action(
        &self,
        step_type: StepType,
        step: &StepParameters,
        surroundings: &Surroundings,
        roots: &Roots,
    ) -> Result<v1::task::Step, Fault> {
        let mut release = v1::KubernetesRelease {
            namespace: surroundings.namespace.clone(),
            name: surroundings.release_name.clone(),
            service_id: surroundings.service_id.clone(),
            environment_id: surroundings.environment_id.clone(),
            infrastructure_id: surroundings.infrastructure_id.clone(),
            number: None,
        };
        let flag = |name: &str| roots.flag(name, step.spec.get(name));
        let prune = flag("pruningEnabled")?;
        match step_type {
            StepType::RollingDeploy => {
                let (manifests, values, versioning) = self.sources(surroundings, roots).await?;
                Ok(v1::task::Step::KubernetesRollingDeploy(
                    v1::KubernetesRollingDeploy {
                        release: Some(release),
                        manifests,
                        values,
                        skip_dry_run: flag("skipDryRun")?,
                        prune,
                        versioning: versioning.into(),
                        adopt: flag("adopt")?,
                        replace: flag("replace")?,
                        prune_limit: roots.count("pruneLimit", step.spec.get("pruneLimit"))?,
                        skip_job_wait: flag("skipJobWait")?,
                    },
                ))
            }
            StepType::RollingRollback => {
                release.number = failed_release(self.stage, self.state);
                Ok(v1::task::Step::KubernetesRollingRollback(
                    v1::KubernetesRollingRollback {
                        release: Some(release),
                        prune,
                        delete_storage: flag("deleteStorage")?,
                    },
                ))
            }
        }
    }

    /// Manifest and values sources of the service, in order.
    async fn sources(
        &self,
        surroundings: &Surroundings,
        roots: &Roots,
    ) -> Result<(Vec<v1::Source>, Vec<v1::Source>, v1::Versioning), Fault> {
        let mut sources = Sources {
            preparation: self,
            scope: &surroundings.service_scope,
            roots,
            inline: 0,
        };
        let (mut manifests, mut values) = (Vec::new(), Vec::new());
        let mut versioning = v1::Versioning::ContentHash;
        for manifest in &surroundings.manifests {
            let id = &manifest.identifier.value;
            match &manifest.spec {
                ManifestSpec::K8sManifest {
                    store,
                    values_paths,
                    skip_versioning,
                    optional_values,
                    ..
                } => {
                    if flag(roots, "skipResourceVersioning", skip_versioning.as_ref())? {
                        versioning = v1::Versioning::Off;
                    }
                    manifests.extend(sources.source(id, store, None, false).await?);
                    let optional = flag(roots, "optionalValuesYaml", optional_values.as_ref())?;
                    let more = sources.source(id, store, Some(values_paths), optional);
                    values.extend(more.await?);
                }
                ManifestSpec::Values {
                    store,
                    optional_values,
                } => {
                    let optional = flag(roots, "optionalValuesYaml", optional_values.as_ref())?;
                    values.extend(sources.source(id, store, None, optional).await?);
                }
                ManifestSpec::Unsupported { manifest_type } => {
                    return Err(unsupported(manifest, manifest_type));
                }
            }
        }
        if manifests.is_empty() {
            return Err(Fault::mismatch(
                "the service has no manifest of type K8sManifest, so there is nothing to deploy",
            ));
        }
        Ok((manifests, values, versioning))
    }
}

/// Makes sources of a service's stores.
struct Sources<'a> {
    preparation: &'a Preparation<'a>,
    scope: &'a Scope,
    roots: &'a Roots,
    /// Bytes of files inside the task so far.
    inline: usize,
}

impl Sources<'_> {
    /// The source of a store; with `paths` of these paths instead of the store's own. None when
    /// there is nothing to take.
    async fn source(
        &mut self,
        id: &str,
        store: &FileSource,
        paths: Option<&ListField>,
        optional: bool,
    ) -> Result<Option<v1::Source>, Fault> {
        let given = match paths {
            Some(paths) => Some(self.roots.list("valuesPaths", &compile::list(paths))?),
            None => None,
        };
        if given.as_ref().is_some_and(Vec::is_empty) {
            return Ok(None);
        }
        let from = match store {
            FileSource::Git(git) => {
                v1::source::From::Git(self.git(git, given.unwrap_or_default()).await?)
            }
            FileSource::Harness { files } => {
                let paths = match (given, &files.value) {
                    (Some(given), _) => given,
                    (None, Field::Value(files)) => files
                        .iter()
                        .map(|file| self.roots.text("files", &reference_path(&file.value)))
                        .collect::<Result<_, _>>()?,
                    (None, Field::Expression(text)) => {
                        let list = serde_json::Value::String(text.clone());
                        self.roots.list("files", &list)?
                    }
                };
                match self.stored(&paths, optional).await? {
                    Some(inline) => v1::source::From::Inline(inline),
                    None => return Ok(None),
                }
            }
            FileSource::Inline { content } => {
                // Resolved by the delegate, like every file.
                let file = self.file(id, content.text().as_bytes()).await?;
                v1::source::From::Inline(v1::InlineFiles { files: vec![file] })
            }
            FileSource::Unsupported { store_type } => {
                return Err(Fault::not_runnable(format!(
                    "manifest `{id}`: files of a {store_type} store cannot be fetched yet"
                )));
            }
        };
        Ok(Some(v1::Source {
            id: id.to_owned(),
            from: Some(from),
        }))
    }

    async fn stored(
        &mut self,
        paths: &[String],
        optional: bool,
    ) -> Result<Option<v1::InlineFiles>, Fault> {
        let mut files = Vec::new();
        for path in paths {
            let found = match self.preparation.library.files(path, self.scope).await {
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

    async fn git(&self, store: &GitStore, given: Vec<String>) -> Result<v1::GitSource, Fault> {
        let roots = self.roots;
        let connector_ref = roots.text("connectorRef", &reference(&store.connector.value))?;
        let library = &self.preparation.library;
        let found = library
            .find(Kind::Connector, &connector_ref, self.scope, "")
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
        let paths = if given.is_empty() {
            roots.list("paths", &compile::list(&store.paths))?
        } else {
            given
        };
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

fn reference_path(field: &Field<sortie_model::EntityRef>) -> String {
    reference(field)
}

fn flag(roots: &Roots, name: &str, field: Option<&FlagField>) -> Result<bool, Fault> {
    let value = field.map(|field| match &field.value {
        Field::Value(flag) => serde_json::Value::Bool(*flag),
        Field::Expression(text) => serde_json::Value::String(text.clone()),
    });
    roots.flag(name, value.as_ref())
}

fn unsupported(manifest: &Manifest, kind: &str) -> Fault {
    Fault::not_runnable(format!(
        "manifest `{}` is of type {kind}, which cannot be run yet",
        manifest.identifier.value
    ))
}

/// The release number that a rolling deployment of the stage published, the last one first.
fn failed_release(stage: &Stage, state: &State) -> Option<u64> {
    fn last(nodes: &[Node], state: &State, path: &dyn Fn(&str) -> NodePath) -> Option<u64> {
        nodes.iter().rev().find_map(|node| match node {
            Node::Step(step)
                if StepType::from_name(&step.step_type) == Some(StepType::RollingDeploy) =>
            {
                let known = state.node(&path(&step.info.id))?;
                known.outputs.get("releaseNumber")?.as_u64()
            }
            Node::Step(_) => None,
            Node::Group(group) => {
                let group_path = path(&group.info.id);
                last(&group.steps, state, &|id| group_path.child(id))
            }
            Node::Parallel { members } => last(members, state, path),
        })
    }
    let path = NodePath::stage(&stage.info.id);
    last(&stage.steps, state, &|id| path.step(id))
}
