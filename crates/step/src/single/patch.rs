//! Changing some fields of an object by a patch that somebody has written.

use serde_json::{Value, json};
use sortie_cluster::patch::{Form, Patched};
use sortie_cluster::record::changes::Entry;
use sortie_manifest::{Limits, ObjectId, yaml};
use sortie_render::SourceFile;

use super::alter::{Altered, Subject, alter, awaited, settle, strategic_refused};
use super::named::{Found, find};
use super::take;
use crate::changes::Ledger;
use crate::failure::{Failure, FailureKind, chain};
use crate::locked::Locked;
use crate::report::Unit;
use crate::resolve::Resolving;
use crate::run::Run;
use crate::sources::resolve_file;
use crate::task::{Patch, PatchKind};
use crate::units::Ended;

/// The annotation in which `kubectl rollout history` looks.
const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";

/// Most bytes that a patch may have.
const LIMIT: usize = 1024 * 1024;

/// Patch. The outputs name the object and say whether it was changed.
pub(crate) async fn run(run: &Run<'_>, options: &Patch) -> Result<Value, Ended> {
    let content = content(run, options);
    let patch = run
        .bounds
        .run(std::future::pending(), Box::pin(content))
        .await?;
    run.units.enter(Unit::Initialize);
    let locked = take(run).await?;
    let result = under_lease(run, options, patch, &locked).await;
    locked.release(run).await;
    result
}

/// The patch, with its expressions resolved.
async fn content(run: &Run<'_>, options: &Patch) -> Result<Value, Ended> {
    run.units.enter(Unit::FetchFiles);
    let env = run.env;
    let mut resolving = Resolving::new(&options.context, env.resolver.as_ref(), run.sink);
    run.bounds
        .pending()
        .set("the patch was still being fetched");
    let fetch = env
        .renderer
        .fetch(&options.content, &mut resolving, run.sink);
    let mut files: Vec<SourceFile> = Vec::new();
    for file in fetch.await? {
        files.push(resolve_file(file, &mut resolving).await?);
    }
    Ok(read(&files, options.kind)?)
}

/// The one document in these files.
fn read(files: &[SourceFile], kind: PatchKind) -> Result<Value, Failure> {
    let size: usize = files.iter().map(|file| file.content.len()).sum();
    if size > LIMIT {
        let text = format!("the patch has {size} bytes, and {LIMIT} are allowed");
        return Err(unusable(text));
    }
    let mut documents = Vec::new();
    for file in files {
        let read = yaml::documents(&file.path, &file.content, &Limits::default());
        let read = read.map_err(|error| unusable(chain(&error)))?;
        documents.extend(read.into_iter().map(|document| document.value));
    }
    documents.retain(|document| !document.is_null());
    let count = documents.len();
    let (Some(patch), 1) = (documents.pop(), count) else {
        let text = format!("a patch is one document, and there are {count}");
        return Err(unusable(text));
    };
    let fits = match kind {
        PatchKind::Json => {
            let is_operation = |entry: &Value| entry.get("op").is_some_and(Value::is_string);
            let operations = patch.as_array();
            operations.is_some_and(|all| all.iter().all(is_operation))
        }
        PatchKind::Merge | PatchKind::Strategic => patch.is_object(),
    };
    let is_mapped = |field: &str| patch.get(field).is_none_or(Value::is_object);
    if fits && kind != PatchKind::Json && !is_mapped("metadata") {
        let text = "the metadata of a merge patch is a map, such as {labels: {tier: front}}";
        return Err(unusable(text));
    }
    match (fits, kind) {
        (true, _) => Ok(patch),
        (false, PatchKind::Json) => Err(unusable(
            "a JSON patch is a list of operations, such as [{op: replace, path: /spec/replicas, value: 3}]",
        )),
        (false, _) => Err(unusable(
            "a merge patch is a map of the fields to set, such as {spec: {replicas: 3}}",
        )),
    }
}

fn unusable(text: impl Into<String>) -> Failure {
    let hint = "correct the patch, or choose the type that it is written for";
    Failure::new(FailureKind::Configuration, "SRT-T044", text, hint)
}

async fn under_lease(
    run: &Run<'_>,
    options: &Patch,
    patch: Value,
    locked: &Locked,
) -> Result<Value, Ended> {
    let prepare = async {
        let found = find(run, &options.workload).await?;
        if options.kind == PatchKind::Strategic && is_custom(&found.id) {
            return Err(strategic_refused(&found.id).into());
        }
        let ledger = Ledger::open(run, locked).await?;
        Ok((found, ledger))
    };
    let (found, mut ledger) = run.bounds.run(locked.lost(), Box::pin(prepare)).await?;
    let Found { id, resource, .. } = &found;
    let patched = Patched {
        resource,
        id,
        subresource: None,
    };
    run.units.enter(Unit::Patch);
    let cause = options.change_cause.then(|| cause(run, id));
    let form = match options.kind {
        PatchKind::Strategic => Form::Strategic,
        PatchKind::Merge => Form::Merge,
        PatchKind::Json => Form::Json,
    };
    let make = |live: &Value, _: Option<&Entry>| {
        let mut patch = patch.clone();
        if let Some(cause) = &cause {
            annotate(&mut patch, cause, live);
        }
        Ok((form, patch))
    };
    let subject = Subject {
        patched,
        unit: Unit::Patch,
        stays: false,
    };
    let write = async {
        run.bounds.check()?;
        Ok(alter(run, locked, Some(&mut ledger), subject, &make).await?)
    };
    let Altered { changed, .. } = run
        .bounds
        .run_writes(locked.lost(), Box::pin(write))
        .await?;
    if !options.skip_steady_state_check {
        let target = awaited(run, patched, changed).await?;
        settle(run, locked, target.into_iter().collect()).await?;
    }
    Ok(json!({
        "releaseName": run.task.release.name,
        "namespace": run.task.release.namespace,
        "workload": id.to_string(),
        "changed": changed,
    }))
}

/// Whether its kind is defined by a CustomResourceDefinition, as far as its group tells.
fn is_custom(id: &ObjectId) -> bool {
    id.group.contains('.') && !id.group.ends_with(".k8s.io")
}

/// Why the object changes, for people.
fn cause(run: &Run<'_>, id: &ObjectId) -> String {
    let asked = &run.task.requested_by;
    let mut text = format!("sortie patch of {}/{}", id.kind, id.name);
    if !asked.execution.is_empty() {
        text.push_str(&format!(", execution {}", asked.execution));
    }
    if !asked.user.is_empty() {
        text.push_str(&format!(", by {}", asked.user));
    }
    text
}

/// A field of a map, which is made where it is missing.
fn at<'a>(map: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    let fields = map.as_object_mut()?;
    Some(fields.entry(key).or_insert_with(|| json!({})))
}

/// Adds the change cause to a patch of the object.
fn annotate(patch: &mut Value, cause: &str, live: &Value) {
    match patch {
        Value::Array(operations) => {
            if live.pointer("/metadata/annotations").is_none() {
                let none = json!({"op": "add", "path": "/metadata/annotations", "value": {}});
                operations.insert(0, none);
            }
            let path = format!("/metadata/annotations/{}", CHANGE_CAUSE.replace('/', "~1"));
            operations.push(json!({"op": "add", "path": path, "value": cause}));
        }
        whole => {
            // What is no map is the API server's to refuse.
            let annotations =
                at(whole, "metadata").and_then(|metadata| at(metadata, "annotations"));
            if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
                annotations.insert(CHANGE_CAUSE.to_owned(), cause.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str], kind: PatchKind) -> Result<Value, String> {
        let files = texts
            .iter()
            .map(|text| SourceFile::new("patch.yaml", *text));
        read(&files.collect::<Vec<_>>(), kind).map_err(|failure| {
            assert_eq!(failure.code, "SRT-T044");
            failure.message
        })
    }

    #[test]
    fn a_patch_is_one_document_of_its_form() {
        let map = "spec: {replicas: 3}";
        let list = "- {op: remove, path: /spec/replicas}";
        for kind in [PatchKind::Merge, PatchKind::Strategic] {
            assert_eq!(of(&[map], kind).unwrap()["spec"]["replicas"], 3);
            assert_eq!(
                of(&["", map, "# nothing\n"], kind).unwrap()["spec"]["replicas"],
                3
            );
            assert!(of(&[list], kind).unwrap_err().contains("map of the fields"));
            for odd in ["metadata: x", "metadata: [1]", "metadata:"] {
                let why = of(&[odd], kind).unwrap_err();
                assert!(why.contains("metadata of a merge patch is a map"), "{why}");
            }
            assert!(of(&[map, map], kind).unwrap_err().contains("there are 2"));
            assert!(of(&[], kind).unwrap_err().contains("there are 0"));
            assert!(of(&["a: [1"], kind).unwrap_err().contains("patch.yaml:1"));
        }
        let json = r#"[{"op": "remove", "path": "/spec/replicas"}]"#;
        for text in [list, json] {
            assert_eq!(of(&[text], PatchKind::Json).unwrap()[0]["op"], "remove");
        }
        for text in [map, "[1]", "[{path: /a}]"] {
            let why = of(&[text], PatchKind::Json).unwrap_err();
            assert!(why.contains("list of operations"), "{why}");
        }
        let large = format!("a: {}", "x".repeat(LIMIT));
        assert!(
            of(&[&large], PatchKind::Merge)
                .unwrap_err()
                .contains("are allowed")
        );
    }

    #[test]
    fn the_change_cause_is_in_the_same_patch() {
        let bare = json!({"metadata": {"name": "web"}});
        let full = json!({"metadata": {"name": "web", "annotations": {"a": "b"}}});
        for (live, operations) in [(&bare, 3), (&full, 2)] {
            let mut patch = json!([{"op": "remove", "path": "/spec/a"}]);
            annotate(&mut patch, "why", live);
            let all = patch.as_array().unwrap();
            assert_eq!(all.len(), operations);
            let last = json!({"op": "add", "path": "/metadata/annotations/kubernetes.io~1change-cause", "value": "why"});
            assert_eq!(*all.last().unwrap(), last);
        }
        let mut patch = json!({"metadata": {"annotations": {"x": "y"}}, "spec": {"a": 1}});
        annotate(&mut patch, "why", &bare);
        let annotations = &patch["metadata"]["annotations"];
        assert_eq!(
            *annotations,
            json!({"x": "y", "kubernetes.io/change-cause": "why"})
        );
        let mut patch = json!({"metadata": {"annotations": null}});
        annotate(&mut patch, "why", &full);
        assert!(patch["metadata"]["annotations"].is_null());
    }
}
