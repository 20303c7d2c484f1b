//! From sources to objects: fetch, resolve expressions in values, render templates, parse.

use std::path::{Path, PathBuf};

use sortie_manifest::{Limits, Object, ParseError, ParseErrors, Stream};
use sortie_render::git::{self, Credentials, FetchLimits, GitSource, Network};
use sortie_render::memory::{Budget, Engines};
use sortie_render::plain::LeftOut;
use sortie_render::template::{self, RenderLimits, Rendered, Request, Warning};
use sortie_render::tools::{Search, find_git, find_helm};
use sortie_render::{SourceFile, Workspace, plain, values};

use crate::failure::{Failure, FailureKind, all_of, chain};
use crate::nothing::{Barren, nothing};
use crate::report::{Level, Sink, Unit};
use crate::resolve::{self, Resolving};
use crate::task::{Git, Release, Source};

/// Files named in the log; more are counted.
const NAMED_FILES: usize = 100;

/// How sources are fetched and rendered on this machine.
#[derive(Clone, Debug)]
pub struct Renderer {
    /// Where helm and git are looked for.
    pub search: Search,
    /// Folder for private folders of single tasks.
    pub scratch: PathBuf,
    /// PEM bundle that Git trusts instead of the system's roots.
    pub ca_file: Option<PathBuf>,
    /// The way through proxies.
    pub network: Network,
}

/// What becomes of files with the skip marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marked {
    /// They are no manifests.
    LeftOut,
    /// They are manifests like others: somebody has listed them.
    Kept,
}

impl Renderer {
    /// The files of all sources, in order.
    pub(crate) async fn fetch(
        &self,
        sources: &[Source],
        resolving: &mut Resolving<'_>,
        sink: &dyn Sink,
    ) -> Result<Vec<SourceFile>, Failure> {
        let mut all = Vec::new();
        for source in sources {
            match source {
                Source::Inline(files) => all.extend(files.iter().cloned()),
                Source::Git(git) => all.extend(self.fetch_git(git, resolving, sink).await?),
            }
        }
        Ok(all)
    }

    async fn fetch_git(
        &self,
        source: &Git,
        resolving: &mut Resolving<'_>,
        sink: &dyn Sink,
    ) -> Result<Vec<SourceFile>, Failure> {
        let Git {
            url,
            reference,
            paths,
            credentials,
        } = source;
        sink.log(
            Unit::FetchFiles,
            Level::Info,
            &format!("fetching {} at {reference}", paths.join(", ")),
        );
        let credentials = match credentials {
            None => None,
            Some((username, secret)) => {
                let password = resolving.secret(secret).await.map_err(|error| {
                    Failure::configuration(
                        error.code(),
                        &error,
                        "check the connector's passwordRef",
                    )
                })?;
                Some(Credentials {
                    username: username.clone(),
                    password,
                })
            }
        };
        let tool = find_git(None, &self.search)
            .await
            .map_err(|error| Failure::configuration(error.code(), &error, "install git"))?;
        let workspace = self.workspace()?;
        let source = GitSource {
            url: url.clone(),
            reference: reference.clone(),
            paths: paths.clone(),
            credentials,
            ca_file: self.ca_file.clone(),
            network: self.network.clone(),
        };
        let fetched = git::fetch(&source, &tool, &workspace, &FetchLimits::default()).await;
        let fetched = fetched.map_err(|error| {
            let kind = if error.is_transient() {
                FailureKind::Connectivity
            } else {
                FailureKind::Configuration
            };
            Failure::new(kind, error.code(), chain(&error), error.help())
        })?;
        let files = counted(fetched.files.len(), "file");
        let text = format!("{url} at commit {}: {files}", fetched.commit);
        sink.log(Unit::FetchFiles, Level::Info, &text);
        Ok(fetched.files)
    }

    /// Render manifests with values and parse what comes out: at least one object. Files with the skip marker are left
    /// out.
    pub(crate) async fn render(
        &self,
        manifests: Vec<SourceFile>,
        values_files: Vec<SourceFile>,
        release: &Release,
        resolving: &mut Resolving<'_>,
        sink: &dyn Sink,
    ) -> Result<Vec<Object>, Failure> {
        let files = (manifests, values_files);
        let templated = self
            .template(files, Marked::LeftOut, release, resolving, sink)
            .await?;
        templated.objects(release, resolving, sink)
    }

    /// Render manifests with values files, and parse nothing yet.
    pub(crate) async fn template(
        &self,
        (manifests, values_files): (Vec<SourceFile>, Vec<SourceFile>),
        marked: Marked,
        release: &Release,
        resolving: &mut Resolving<'_>,
        sink: &dyn Sink,
    ) -> Result<Templated, Failure> {
        let (manifests, left_out) = plain::manifests(manifests, marked == Marked::LeftOut);
        let barren: Vec<Barren> = manifests.iter().map(Barren::of).collect();
        for file in &left_out {
            sink.log(
                Unit::Initialize,
                Level::Info,
                &format!("{} left out: {}", file.path, file.reason),
            );
        }
        for file in manifests.iter().filter(|file| holds_expressions(file)) {
            let text = format!(
                "{} holds <+…> expressions; they are resolved in values files only",
                file.path
            );
            sink.log(Unit::Initialize, Level::Warning, &text);
        }
        let mut resolved = Vec::new();
        for file in values_files {
            resolved.push(resolve_file(file, resolving).await?);
        }
        let merged = match resolved.as_slice() {
            [] => None,
            files => Some(values::merge(files).map_err(|error| {
                Failure::configuration(error.code(), &error, "correct the values file")
            })?),
        };
        let request = Request {
            files: manifests,
            values: merged.as_ref(),
            release: &release.name,
            namespace: &release.namespace,
        };
        let mut turn = None;
        let helm = if template::needs_engine(&request) {
            let waits = |budget| sink.log(Unit::Initialize, Level::Info, &queued(&budget));
            turn = Some(Engines::of_this_process().turn(waits).await);
            let helm = find_helm(None, &self.search).await.map_err(|error| {
                Failure::configuration(
                    error.code(),
                    &error,
                    "install helm 4, or use manifests without templates",
                )
            })?;
            Some(helm)
        } else {
            None
        };
        let workspace = self.workspace()?;
        let rendered =
            template::render(request, helm.as_ref(), &workspace, &RenderLimits::default()).await;
        drop(turn);
        let rendered =
            rendered.map_err(|error| Failure::configuration(error.code(), &error, error.help()))?;
        for warning in &rendered.warnings {
            sink.log(Unit::Initialize, Level::Warning, &describe(warning));
        }
        Ok(Templated {
            rendered,
            barren,
            left_out,
        })
    }

    fn workspace(&self) -> Result<Workspace, Failure> {
        Workspace::create_in(&self.scratch).map_err(|error| {
            let hint = format!("make {} writable", Path::display(&self.scratch));
            Failure::new(FailureKind::Unknown, error.code(), chain(&error), hint)
        })
    }
}

/// Manifests that are rendered and not read yet.
#[derive(Debug)]
pub(crate) struct Templated {
    rendered: Rendered,
    /// Why each manifest may come to nothing.
    barren: Vec<Barren>,
    left_out: Vec<LeftOut>,
}

impl Templated {
    /// The rendered files, to be changed. What is no manifest among those that are put in their place is left out.
    pub(crate) const fn files(&mut self) -> &mut Vec<SourceFile> {
        &mut self.rendered.files
    }

    /// What is in them: at least one object.
    pub(crate) fn objects(
        mut self,
        release: &Release,
        resolving: &Resolving<'_>,
        sink: &dyn Sink,
    ) -> Result<Vec<Object>, Failure> {
        let files = std::mem::take(&mut self.rendered.files);
        let (files, left_out) = plain::manifests(files, false);
        self.rendered.files = files;
        self.left_out.extend(left_out);
        let objects = parse(&self.rendered, sink)?;
        if objects.is_empty() {
            return Err(nothing(&self.barren, &self.left_out));
        }
        resolving.conceal(&objects, release);
        Ok(objects)
    }
}

fn holds_expressions(file: &SourceFile) -> bool {
    file.text().is_some_and(sortie_expression::has_expressions)
}

pub(crate) async fn resolve_file(
    file: SourceFile,
    resolving: &mut Resolving<'_>,
) -> Result<SourceFile, Failure> {
    let Some(text) = file
        .text()
        .filter(|text| sortie_expression::has_expressions(text))
    else {
        return Ok(file);
    };
    match resolving.text(text).await {
        Ok(text) => Ok(SourceFile::new(file.path, text)),
        Err(error) => Err(Failure::new(
            FailureKind::Configuration,
            error.code(),
            format!(
                "cannot resolve the expressions of {}: {}",
                place(&file, &error),
                chain(&error)
            ),
            "correct the name, or define it before this step",
        )),
    }
}

/// File, line and column of an expression; the file alone where that is not known.
fn place(file: &SourceFile, error: &resolve::Error) -> String {
    match error {
        resolve::Error::Expression(error) => {
            format!("{}:{}:{}", file.path, error.line, error.column)
        }
        _ => file.path.clone(),
    }
}

fn parse(rendered: &Rendered, sink: &dyn Sink) -> Result<Vec<Object>, Failure> {
    let limits = Limits::default();
    let files = &rendered.files;
    let mut objects = Vec::new();
    let (mut faults, mut more) = (Vec::new(), 0);
    for file in files {
        match sortie_manifest::read(&file.path, &file.content, &limits) {
            Ok(Stream {
                objects: parsed,
                keys,
            }) => {
                objects.extend(parsed);
                for key in keys {
                    sink.log(Unit::Initialize, Level::Warning, &key.to_string());
                }
            }
            Err(errors) => {
                more += errors.more();
                // One reason for all of them: nobody has rendered it.
                let kept = if is_raw(file, rendered) {
                    1
                } else {
                    ParseErrors::KEPT
                };
                let errors = errors.into_iter().take(kept);
                faults.extend(errors.map(|error| unreadable(file, rendered, &error)));
            }
        }
    }
    if let Some(failure) = all_of(sink, Unit::Initialize, faults, more) {
        return Err(failure);
    }
    let names: Vec<_> = files
        .iter()
        .take(NAMED_FILES)
        .map(|file| file.path.as_str())
        .collect();
    sink.log(
        Unit::Initialize,
        Level::Info,
        &format!(
            "{} in {}: {}",
            counted(objects.len(), "object"),
            counted(files.len(), "file"),
            names.join(", ")
        ),
    );
    Ok(objects)
}

/// Whether a file is a template that nobody has rendered.
fn is_raw(file: &SourceFile, rendered: &Rendered) -> bool {
    let is_raw =
        |warning: &Warning| matches!(warning, Warning::NotRendered { path } if *path == file.path);
    rendered.warnings.iter().any(is_raw)
}

/// A manifest that is no YAML. That of a template which nobody has rendered says nothing to its author.
fn unreadable(file: &SourceFile, rendered: &Rendered, error: &ParseError) -> Failure {
    if !is_raw(file, rendered) {
        let hint = "correct the manifest, or the template that makes it";
        return Failure::configuration(error.code(), error, hint);
    }
    let text = format!(
        "{} looks like a Go template (it has {{{{ }}}}), which without a values file is not rendered: {}",
        file.path,
        chain(error)
    );
    let hint = "give a values file, an empty one also does: --values FILE with sortie deploy, valuesPaths or a Values manifest in a service";
    Failure::new(FailureKind::Configuration, "SRT-T017", text, hint)
}

/// `1 object`, `3 objects`.
fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

fn queued(budget: &Budget) -> String {
    format!(
        "waiting until other tasks have rendered their templates: memory suffices for {} at once",
        budget.at_once
    )
}

fn describe(warning: &Warning) -> String {
    match warning {
        Warning::NotRendered { path } => {
            format!("{path} has template actions but there is no values file: used as it is")
        }
        Warning::UnknownValue(unknown) => unknown.to_string(),
        Warning::NoValue { path, line } => {
            format!("{path}:{line}: a value was missing and rendered as nothing")
        }
        Warning::Clash { path } => {
            format!("values: {path} is a map in one file and not in another; the later file wins")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::Value;

    use super::*;
    use crate::report::{Masked, ObjectRow, UnitStatus};
    use crate::resolve::Nothing;
    use crate::task::Owner;

    #[derive(Debug, Default)]
    struct Warnings(Mutex<Vec<String>>);

    impl Sink for Warnings {
        fn unit(&self, _: Unit, _: UnitStatus) {}
        fn log(&self, _: Unit, level: Level, text: &str) {
            if level != Level::Info {
                self.0.lock().unwrap().push(text.to_owned());
            }
        }
        fn object(&self, _: Unit, _: ObjectRow) {}
    }

    /// Renders without values. Returns the warnings too.
    async fn rendered(files: Vec<SourceFile>) -> (Result<Vec<Object>, Failure>, Vec<String>) {
        let renderer = Renderer {
            search: Search::from_environment(),
            scratch: std::env::temp_dir(),
            ca_file: None,
            network: Network::default(),
        };
        let release = Release {
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
            owner: Owner::default(),
        };
        let warnings = Arc::new(Warnings::default());
        let masked = Masked::new(warnings.clone());
        let mut resolving = Resolving::new(&Value::Null, &Nothing, &masked);
        let objects = renderer
            .render(files, Vec::new(), &release, &mut resolving, &masked)
            .await;
        let warnings = warnings.0.lock().unwrap().clone();
        (objects, warnings)
    }

    #[tokio::test]
    async fn expressions_in_a_manifest_stay_with_a_warning_for_its_file() {
        let config = |name: &str, value: &str| {
            let text = format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{a: \"{value}\", b: \"{value}\"}}\n"
            );
            SourceFile::new(format!("{name}.yaml"), text)
        };
        let files = vec![config("one", "<+env.name>"), config("two", "a < b")];
        let (objects, warnings) = rendered(files).await;
        assert_eq!(objects.unwrap().len(), 2);
        assert_eq!(
            warnings,
            ["one.yaml holds <+…> expressions; they are resolved in values files only"]
        );
    }

    #[tokio::test]
    async fn keys_that_kubectl_reads_otherwise_are_warned_of() {
        let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  on: x\n";
        let (objects, warnings) = rendered(vec![SourceFile::new("a.yaml", text)]).await;
        assert_eq!(objects.unwrap()[0].value()["data"]["on"], "x");
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(
            warnings[0].starts_with("a.yaml:5:3: the key on is taken as it is written"),
            "{warnings:?}"
        );
    }

    #[tokio::test]
    async fn a_template_without_values_is_told_as_one() {
        for text in [
            "kind: Deployment\nspec:\n  replicas: {{ .Values.replicas }}\n",
            "{{- if .Values.on }}\nkind: ConfigMap\n{{- end }}\n",
        ] {
            let (objects, warnings) = rendered(vec![SourceFile::new("web.yaml", text)]).await;
            let failure = objects.unwrap_err();
            assert_eq!(failure.code, "SRT-T017", "{failure:?}");
            assert!(
                failure
                    .message
                    .starts_with("web.yaml looks like a Go template"),
                "{failure:?}"
            );
            assert!(failure.hint.contains("--values FILE"), "{failure:?}");
            assert_eq!(warnings.len(), 1);
        }
        let broken = SourceFile::new("web.yaml", "a: [1\n");
        let failure = rendered(vec![broken]).await.0.unwrap_err();
        assert!(failure.code.starts_with("SRT-M"), "{failure:?}");
    }

    #[tokio::test]
    async fn the_errors_of_all_files_are_told_together() {
        let files = ["a: [1\n---\nkind: A\n", "kind: B\n"];
        let files = files.iter().enumerate();
        let files = files.map(|(at, text)| SourceFile::new(format!("{at}.yaml"), *text));
        let (objects, told) = rendered(files.collect()).await;
        let failure = objects.unwrap_err();
        assert!(failure.message.starts_with("0.yaml:"), "{failure:?}");
        assert!(failure.message.ends_with(" (and 2 more)"), "{failure:?}");
        let places: Vec<_> = told
            .iter()
            .map(|text| text.split(": ").next().unwrap())
            .collect();
        assert_eq!(
            places[1..],
            ["0.yaml:3:1 (document 2)", "1.yaml:1:1"],
            "{told:?}"
        );
        let many = SourceFile::new("many.yaml", "kind: A\n---\n".repeat(250));
        let (objects, told) = rendered(vec![many]).await;
        let failure = objects.unwrap_err();
        assert!(failure.message.ends_with(" (and 249 more)"), "{failure:?}");
        assert_eq!(told.len(), 101);
        assert!(told[100].starts_with("150 more"), "{:?}", told[100]);
    }

    #[tokio::test]
    async fn a_file_without_objects_is_told_as_one() {
        for text in ["", "# nothing yet\n", "---\n---\n"] {
            let (objects, _) = rendered(vec![SourceFile::new("web.yaml", text)]).await;
            assert_eq!(objects.unwrap_err().code, "SRT-T011", "{text:?}");
        }
    }
}
