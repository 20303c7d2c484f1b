//! `sortie deploy`: one rolling deployment from here.

use std::collections::HashSet;
use std::path::PathBuf;

use serde_json::{Value, json};
use sortie_render::SourceFile;
use sortie_step::task::{Action, Prune, RollingDeploy, Source};

use super::connect;
use super::follow::{self, Job};
use crate::args::{Deploy, Output, Strategy};
use crate::exit::{Exit, Failure, Result};
use crate::files::{self, Folders};
use crate::{Surroundings, print};

/// Bytes of all manifests, and of all values; what is read of them is bounded again by whoever parses it.
const MOST: u64 = 64 << 20;

/// Deploy and follow to steady state.
pub(crate) async fn run(args: &Deploy, around: &Surroundings) -> Result {
    let Deploy {
        paths,
        release,
        values,
        strategy: Strategy::Rolling,
        dry_run,
        adopt,
        prune,
        prune_limit,
        skip_job_wait,
        timeout,
    } = args;
    let manifests = manifests(paths, values)?;
    let values = files::read(values, Folders::Flat, MOST)?;
    let values = values
        .into_iter()
        .map(|file| Source::Inline(vec![source(file)]));
    let (cluster, namespace) = connect(&release.cluster).await?;
    let job = Job {
        verb: "deploy",
        cluster,
        namespace: namespace.clone(),
        release: release.release.clone(),
        timeout: *timeout,
        action: Action::RollingDeploy(RollingDeploy {
            manifests: vec![Source::Inline(manifests)],
            values: values.collect(),
            adopt: *adopt,
            prune: prune.then_some(Prune {
                limit: *prune_limit,
            }),
            wait_for_jobs: !skip_job_wait,
            dry_run: *dry_run,
            context: json!({}),
            ..RollingDeploy::default()
        }),
    };
    let outputs = follow::run(job, around).await?;
    match around.output {
        Output::Json => {
            print::json(&json!({ "event": "end", "status": "SUCCEEDED", "outputs": outputs }))
        }
        Output::Text if *dry_run => print_plan(&outputs),
        Output::Text => print::line(&format!(
            "release {} number {} runs in namespace {namespace}",
            release.release,
            outputs
                .get("releaseNumber")
                .and_then(Value::as_u64)
                .unwrap_or_default()
        )),
    }
    Ok(Exit::Done)
}

/// The manifest files; a folder's values files that were named as such are none.
fn manifests(paths: &[PathBuf], values: &[PathBuf]) -> Result<Vec<SourceFile>> {
    let canonical = |path: &PathBuf| std::fs::canonicalize(path).ok();
    let values: HashSet<PathBuf> = values.iter().filter_map(canonical).collect();
    let mut all = Vec::new();
    for path in paths {
        let listed = if path.as_os_str() == "-" {
            vec![path.clone()]
        } else {
            files::list(path, Folders::Recursive)?
        };
        all.extend(
            listed
                .into_iter()
                .filter(|path| canonical(path).is_none_or(|path| !values.contains(&path))),
        );
    }
    if all.is_empty() {
        return Err(Failure::usage(
            "there is no manifest among the files that were named",
        ));
    }
    let read = files::read(&all, Folders::Flat, MOST)?;
    Ok(read.into_iter().map(manifest).collect())
}

/// What comes from stdin has no name that says that it is a manifest.
fn manifest(file: files::File) -> SourceFile {
    if file.name == "-" {
        return SourceFile::new("stdin.yaml", file.data);
    }
    source(file)
}

fn source(file: files::File) -> SourceFile {
    SourceFile::new(file.name, file.data)
}

/// What a deployment would do, one line per object.
fn print_plan(outputs: &Value) {
    let rows = outputs
        .get("dryRun")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let text = |row: &Value, pointer: &str| {
        row.pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            [
                "/object/kind",
                "/object/namespace",
                "/object/name",
                "/change",
            ]
            .map(|pointer| text(row, pointer))
            .to_vec()
        })
        .collect();
    print::line(&print::table(
        &["KIND", "NAMESPACE", "NAME", "WOULD BE"],
        &rows,
    ));
    print::note("dry run: nothing was written");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_files_below_a_folder_are_no_manifests() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("manifests")).unwrap();
        for name in ["values.yaml", "manifests/web.yaml", "README.md"] {
            std::fs::write(folder.path().join(name), "a: 1").unwrap();
        }
        let values = [folder.path().join("manifests/../values.yaml")];
        let found = manifests(&[folder.path().to_owned()], &values).unwrap();
        let names: Vec<_> = found.iter().map(SourceFile::name).collect();
        assert_eq!(names, ["web.yaml"]);
        let alone = manifests(&[folder.path().join("values.yaml")], &values).unwrap_err();
        assert_eq!(alone.exit, Exit::Usage);
    }
}
