//! Saying what a set comes to: rendered, judged by the API server, not written.

use serde_json::{Value, json};
use sortie_cluster::apply::Scope;
use sortie_manifest::{Object, order, secrets, yaml};

use super::set::{self, Marked};
use crate::autoscalers::tell_unseen;
use crate::failure::{Failure, FailureKind, refused};
use crate::report::Unit;
use crate::run::Run;
use crate::task::Set;
use crate::units::Ended;

/// Most bytes of the manifest in the outputs.
const LIMIT: usize = 5 * 1024 * 1024;

/// Try out. The outputs have the rendered manifest, without values of Secrets.
pub(crate) async fn run(run: &Run<'_>, set: &Set) -> Result<Value, Ended> {
    let work = Box::pin(try_out(run, set));
    run.bounds.run(std::future::pending(), work).await
}

async fn try_out(run: &Run<'_>, set: &Set) -> Result<Value, Ended> {
    run.check_namespace()?;
    let mut objects = set::render(run, set, Marked::LeftOut).await?;
    run.check_objects(&objects)?;
    order::sort(&mut objects);
    let manifest = manifest(run, &objects)?;
    run.units.enter(Unit::DryRun);
    for line in manifest.lines() {
        run.info(Unit::DryRun, line);
    }
    judge(run, objects).await?;
    Ok(json!({
        "releaseName": run.task.release.name,
        "namespace": run.task.release.namespace,
        "manifest": manifest,
    }))
}

/// The set as a YAML stream. No secret is in it.
fn manifest(run: &Run<'_>, objects: &[Object]) -> Result<String, Failure> {
    let mut manifest = String::new();
    for object in objects {
        let shown = secrets::masked(&Value::Object(object.value().clone()));
        manifest.push_str("---\n");
        manifest.push_str(&yaml::write(&shown));
        if manifest.len() > LIMIT {
            return Err(too_large());
        }
    }
    Ok(run.sink.mask(&manifest))
}

fn too_large() -> Failure {
    let text = format!("the rendered manifest has more than {LIMIT} bytes");
    let hint = "split the manifest into several services, or look at it with sortie render";
    Failure::new(FailureKind::Configuration, "SRT-T047", text, hint)
}

/// What the API server would do with each object.
async fn judge(run: &Run<'_>, objects: Vec<Object>) -> Result<(), Failure> {
    run.bounds
        .pending()
        .set("the API server was still judging the objects");
    let cluster = run.env.cluster.until(run.bounds.deadline());
    let namespace = &run.task.release.namespace;
    let located = cluster.locate_each(objects, namespace).await;
    let (targets, mut errors) = located.map_err(|error| Failure::cluster(&error))?;
    let scope = Scope {
        release: run.release_id(),
        ..Scope::default()
    };
    match cluster.plan(targets, &scope).await {
        Ok(planned) if errors.is_empty() => {
            tell_unseen(run, Unit::DryRun, &planned);
            for object in &planned {
                let change = match object.change() {
                    Some(change) => change.name(),
                    None => "created once what it needs is there",
                };
                let text = format!("{} would be {change}", object.target.id);
                run.info(Unit::DryRun, text);
            }
            return Ok(());
        }
        Ok(_) => {}
        Err(refusals) => errors.extend(refusals),
    }
    Err(refused(run.sink, Unit::DryRun, &errors))
}
