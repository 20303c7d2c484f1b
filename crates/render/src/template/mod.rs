//! Go templates in manifests, rendered by Helm's own engine.
//!
//! The templates become a chart made on the fly, so that syntax, functions and their many special
//! cases are exactly those that people know; nothing is interpreted here. Three things differ from a
//! chart: whole numbers in values stay whole numbers (`eq .Values.replicas 3` holds and a million does
//! not print as `1e+06`), a missing value shows as `<no value>` and is reported instead of vanishing,
//! and a file is rendered to text whatever the text is, so that errors in it keep their line.

mod chart;
mod failure;
mod scan;

use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value};
use sortie_manifest::{Limits, yaml};
use thiserror::Error;

use crate::memory::{Engines, MIB};
use crate::process::{Bounds, Finished, ProcessError, Run};
use crate::source::SourceFile;
use crate::tools::Tool;
use crate::values::Values;
use crate::workspace::{Workspace, WorkspaceError};

pub use scan::UnknownValue;

/// What templates are rendered with.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Templates and plain files; the order is kept.
    pub files: Vec<SourceFile>,
    /// `.Values`; `None` when there is no values file at all, which leaves every file as it is.
    pub values: Option<&'a Values>,
    /// `.Release.Name`.
    pub release: &'a str,
    /// `.Release.Namespace`.
    pub namespace: &'a str,
}

/// How much one rendering may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RenderLimits {
    /// Time.
    pub time: Duration,
    /// Bytes of everything rendered.
    pub output: usize,
    /// Bytes of private memory of the engine.
    pub memory: u64,
    /// Bytes of memory of the container that the share is of; the error names it.
    pub container: Option<u64>,
}

impl Default for RenderLimits {
    /// One minute, 32 MiB of text, an engine's share of the memory of this process's container.
    fn default() -> Self {
        let budget = Engines::of_this_process().budget();
        Self {
            time: Duration::from_secs(60),
            output: 32 * 1024 * 1024,
            memory: budget.each,
            container: budget.container,
        }
    }
}

/// Rendered files, in the order of the request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rendered {
    /// Files under their own paths.
    pub files: Vec<SourceFile>,
    /// What the author should know.
    pub warnings: Vec<Warning>,
}

/// Something that may not be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// A file has template actions, but there is no values file, so that it is used as it is.
    NotRendered {
        /// The file.
        path: String,
    },
    /// A template names a value that no values file has.
    UnknownValue(UnknownValue),
    /// The rendered text shows that a value was missing.
    NoValue {
        /// The file.
        path: String,
        /// Line of the rendered text, from 1.
        line: usize,
    },
    /// One values file has a map where another has something else; the later one was used.
    Clash {
        /// Path of the value.
        path: String,
    },
}

/// Why templates could not be rendered.
#[derive(Debug, Error)]
pub enum TemplateError {
    /// The private folder could not be used.
    #[error("cannot prepare the rendering")]
    Workspace {
        /// Why.
        #[source]
        source: WorkspaceError,
    },
    /// The engine could not be run, or was ended at a limit.
    #[error("cannot render the templates")]
    Run {
        /// Why.
        #[source]
        source: ProcessError,
    },
    /// The engine needed more memory than it may use.
    #[error(
        "rendering needs more than {} MiB of memory{}",
        limit / MIB,
        container.map_or_else(String::new, |bytes| format!(", its share of the container's {} MiB", bytes / MIB))
    )]
    Memory {
        /// The limit in bytes.
        limit: u64,
        /// Bytes of memory of the container, if it has a limit.
        container: Option<u64>,
    },
    /// The system ended the engine.
    #[error(
        "the template engine was ended by signal {signal}{}",
        container.map_or_else(String::new, |bytes| format!("; the container may use {} MiB of memory", bytes / MIB))
    )]
    Killed {
        /// Number of the signal; 9 is what the kernel sends when memory is used up.
        signal: i32,
        /// Bytes of memory of the container, if it has a limit.
        container: Option<u64>,
    },
    /// A template is not text.
    #[error("the template {path} is not UTF-8 text")]
    NotText {
        /// The file.
        path: String,
    },
    /// Templates and values together are too large.
    #[error("templates and values together are larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// A template is wrong, or fails with these values.
    #[error("{place}{message}")]
    Failed {
        /// Where: `web.yaml:3:5: `, as far as it is known.
        place: String,
        /// What the engine said.
        message: String,
    },
    /// The engine answered in an unknown form.
    #[error("the template engine gave an answer that cannot be read: {detail}")]
    Answer {
        /// What is wrong with it.
        detail: &'static str,
    },
}

impl TemplateError {
    /// Stable code with a page in the error reference.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Workspace { source } => source.code(),
            Self::Run { source } => source.code(),
            Self::Memory { .. } | Self::Killed { .. } => "SRT-R006",
            Self::NotText { .. } | Self::Failed { .. } => "SRT-R040",
            Self::TooLarge { .. } => "SRT-R041",
            Self::Answer { .. } => "SRT-R042",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Memory {
                container: Some(_), ..
            }
            | Self::Killed { .. } => {
                "simplify the template (look for loops that build ever larger texts or lists), or give the container more \
                 memory: resources.limits.memory in the values of the delegate's chart"
            }
            Self::Memory { .. } => {
                "simplify the template: look for loops that build ever larger texts or lists"
            }
            _ => "correct the template or its values",
        }
    }
}

/// Whether rendering these files takes the engine: there are values, and a file has an action.
pub fn needs_engine(request: &Request<'_>) -> bool {
    request.values.is_some() && request.files.iter().any(is_template)
}

/// Renders the files; `helm` is used only if [`needs_engine`].
///
/// Dropping the future ends the engine.
pub async fn render(
    request: Request<'_>,
    helm: Option<&Tool>,
    workspace: &Workspace,
    limits: &RenderLimits,
) -> Result<Rendered, TemplateError> {
    let mut rendered = Rendered::default();
    let Some(values) = request.values else {
        rendered.warnings = request
            .files
            .iter()
            .filter(|file| is_template(file))
            .map(|file| Warning::NotRendered {
                path: file.path.clone(),
            })
            .collect();
        rendered.files = request.files;
        return Ok(rendered);
    };
    rendered.warnings.extend(
        values
            .clashes
            .iter()
            .map(|path| Warning::Clash { path: path.clone() }),
    );
    let (templates, paths): (Vec<_>, Vec<_>) = split(&request.files)?;
    if templates.is_empty() {
        rendered.files = request.files;
        return Ok(rendered);
    }
    let Some(helm) = helm else {
        return Err(TemplateError::Answer {
            detail: "no engine was given",
        });
    };
    for (text, path) in templates.iter().zip(&paths) {
        rendered.warnings.extend(
            scan::unknown_values(path, text, &values.map)
                .into_iter()
                .map(Warning::UnknownValue),
        );
    }
    let texts = run(
        &request, values, &templates, &paths, helm, workspace, limits,
    )
    .await?;
    for (path, text) in paths.iter().zip(&texts) {
        rendered.warnings.extend(missing_values(path, text));
    }
    let mut texts = texts.into_iter();
    for mut file in request.files {
        if is_template(&file) {
            file.content = texts.next().unwrap_or_default().into_bytes();
        }
        rendered.files.push(file);
    }
    Ok(rendered)
}

fn is_template(file: &SourceFile) -> bool {
    file.content.windows(2).any(|pair| pair == b"{{")
}

/// Texts and paths of the templates among the files.
fn split(files: &[SourceFile]) -> Result<(Vec<String>, Vec<String>), TemplateError> {
    let mut parts = (Vec::new(), Vec::new());
    for file in files.iter().filter(|file| is_template(file)) {
        let text = file.text().ok_or_else(|| TemplateError::NotText {
            path: file.path.clone(),
        })?;
        parts.0.push(text.trim_start_matches('\u{feff}').to_owned());
        parts.1.push(file.path.clone());
    }
    Ok(parts)
}

async fn run(
    request: &Request<'_>,
    values: &Values,
    templates: &[String],
    paths: &[String],
    helm: &Tool,
    workspace: &Workspace,
    limits: &RenderLimits,
) -> Result<Vec<String>, TemplateError> {
    let prepare = |source| TemplateError::Workspace { source };
    let folder = workspace.folder("chart-").map_err(prepare)?;
    let chart = chart::Chart {
        templates,
        values,
        release: request.release,
        namespace: request.namespace,
    };
    chart.write(folder.path())?;
    let finished = engine(helm, folder.path(), limits)
        .wait()
        .await
        .map_err(|source| TemplateError::Run { source })?;
    if !finished.succeeded() {
        return Err(refusal(&finished, templates, paths, limits));
    }
    answer(&finished.output, templates.len(), limits)
}

fn engine<'a>(helm: &'a Tool, folder: &'a Path, limits: &RenderLimits) -> Run<'a> {
    let arguments = [
        "template",
        "release",
        ".",
        "--namespace",
        "default",
        "--skip-schema-validation",
        "--disable-openapi-validation",
    ];
    Run {
        program: &helm.path,
        arguments: arguments.map(OsString::from).to_vec(),
        environment: vec![
            ("HOME", folder.join("home").into()),
            ("TMPDIR", folder.into()),
            ("LC_ALL", "C".into()),
            ("GOMEMLIMIT", (limits.memory / 4 * 3).to_string().into()),
        ],
        folder,
        input: Vec::new(),
        bounds: Bounds {
            time: limits.time,
            output: limits.output,
            memory: limits.memory,
            file: 1 << 20,
        },
    }
}

fn refusal(
    finished: &Finished,
    templates: &[String],
    paths: &[String],
    limits: &RenderLimits,
) -> TemplateError {
    let errors = &finished.errors;
    let starved = [
        "out of memory",
        "cannot allocate memory",
        "failed to reserve",
        "failed to create new OS thread",
    ];
    let container = limits.container;
    if starved.iter().any(|words| errors.contains(words)) {
        return TemplateError::Memory {
            limit: limits.memory,
            container,
        };
    }
    if let Some(signal) = finished.signal {
        return TemplateError::Killed { signal, container };
    }
    failure::read(errors, templates, paths)
}

/// Takes the rendered texts out of the engine's answer, in the order of the templates.
fn answer(
    output: &[u8],
    count: usize,
    limits: &RenderLimits,
) -> Result<Vec<String>, TemplateError> {
    let wrong = |detail| TemplateError::Answer { detail };
    let limits = Limits {
        bytes: limits.output,
        documents: count,
        ..Limits::default()
    };
    let documents =
        yaml::documents("answer", output, &limits).map_err(|_| wrong("it is not YAML"))?;
    let mut texts = vec![None; count];
    for document in documents {
        let Value::Object(mut document) = document.value else {
            continue;
        };
        let slot = index(&document)
            .and_then(|at| texts.get_mut(at))
            .ok_or_else(|| wrong("a file is unknown"))?;
        let Some(Value::String(text)) = document.remove("text") else {
            return Err(wrong("a text is missing"));
        };
        *slot = Some(text);
    }
    texts
        .into_iter()
        .collect::<Option<_>>()
        .ok_or_else(|| wrong("a file is missing"))
}

fn index(document: &Map<String, Value>) -> Option<usize> {
    usize::try_from(document.get("index")?.as_u64()?).ok()
}

fn missing_values<'a>(path: &'a str, text: &'a str) -> impl Iterator<Item = Warning> + 'a {
    text.lines()
        .enumerate()
        .filter(|(_, line)| line.contains("<no value>"))
        .map(|(at, _)| Warning::NoValue {
            path: path.to_owned(),
            line: at + 1,
        })
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRendered { path } => write!(
                f,
                "{path} has template actions, but there is no values file: it is used as it is"
            ),
            Self::UnknownValue(unknown) => unknown.fmt(f),
            Self::NoValue { path, line } => {
                write!(
                    f,
                    "{path}: line {line} of the rendered text has <no value>: a value is missing"
                )
            }
            Self::Clash { path } => write!(
                f,
                "{path} is a map in one values file and not in another; the later file is used"
            ),
        }
    }
}
