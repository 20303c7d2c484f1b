//! Deleting objects that somebody names, those of a set, or those of the release.

use serde_json::{Value, json};
use sortie_cluster::Cause;
use sortie_cluster::delete::{Doomed, Gone};
use sortie_manifest::ObjectId;

use super::named::{locate, refuse_foreign};
use super::set::{self, Marked};
use super::take;
use crate::failure::{Failure, chain, first_of};
use crate::locked::Locked;
use crate::protection::text;
use crate::remove::remove;
use crate::report::Unit;
use crate::run::Run;
use crate::task::{Delete, Resources, Set};
use crate::uninstall::{self, Storage};
use crate::units::Ended;

/// Delete. The outputs name what went, what was not there and what was kept.
pub(crate) async fn run(run: &Run<'_>, options: &Delete) -> Result<Value, Ended> {
    let ids = match &options.resources {
        Resources::Release => {
            let storage = if options.delete_namespaces {
                Storage::Namespaces
            } else {
                Storage::Stays
            };
            return uninstall::remove_release(run, storage, false).await;
        }
        Resources::Names(names) => {
            run.units.enter(Unit::Initialize);
            let named = Box::pin(named(run, names));
            run.bounds.run(std::future::pending(), named).await?
        }
        Resources::Manifests(set) => {
            let of_set = Box::pin(of_set(run, set));
            run.bounds.run(std::future::pending(), of_set).await?
        }
    };
    let locked = take(run).await?;
    let result = under_lease(run, options, ids, &locked).await;
    locked.release(run).await;
    result
}

/// The objects that are named, each once.
async fn named(run: &Run<'_>, names: &[String]) -> Result<Vec<ObjectId>, Ended> {
    run.check_namespace()?;
    let mut ids = Vec::new();
    for name in names {
        let (_, id) = locate(run, name).await?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// The objects of a set. Of kinds that nobody serves there are none.
async fn of_set(run: &Run<'_>, set: &Set) -> Result<Vec<ObjectId>, Ended> {
    run.check_namespace()?;
    let objects = set::render(run, set, Marked::Kept).await?;
    run.check_objects(&objects)?;
    let cluster = &run.env.cluster;
    let located = cluster.locate_each(objects, &run.task.release.namespace);
    let (targets, errors) = located.await.map_err(|error| Failure::cluster(&error))?;
    for error in &errors {
        match error.cause() {
            Cause::UnknownKind { .. } => run.info(Unit::Initialize, chain(error)),
            Cause::Duplicate { .. } => {}
            _ => return Err(first_of(&errors).into()),
        }
    }
    Ok(targets.into_iter().map(|target| target.id).collect())
}

async fn under_lease(
    run: &Run<'_>,
    options: &Delete,
    ids: Vec<ObjectId>,
    locked: &Locked,
) -> Result<Value, Ended> {
    let survey = Box::pin(survey(run, options, ids));
    let Survey {
        doomed,
        mut absent,
        kept,
    } = run.bounds.run(locked.lost(), survey).await?;
    run.units.enter(Unit::Delete);
    let removal = async { Ok(remove(run, locked, doomed, Unit::Delete).await) };
    let removed = run.bounds.run(locked.lost(), Box::pin(removal)).await?;
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for (id, result) in removed {
        match result {
            Ok(Gone::Deleted) => deleted.push(id),
            Ok(Gone::Absent | Gone::NotOurs) => absent.push(id),
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(first_of(&errors).into());
    }
    let names = |ids: Vec<ObjectId>| -> Value { ids.iter().map(ObjectId::to_string).collect() };
    Ok(json!({
        "releaseName": run.task.release.name,
        "namespace": run.task.release.namespace,
        "deleted": names(deleted),
        "notFound": names(absent),
        "kept": names(kept),
    }))
}

/// What is there of the objects to delete.
struct Survey {
    doomed: Vec<Doomed>,
    absent: Vec<ObjectId>,
    kept: Vec<ObjectId>,
}

async fn survey(run: &Run<'_>, options: &Delete, ids: Vec<ObjectId>) -> Result<Survey, Ended> {
    let of_set = matches!(options.resources, Resources::Manifests(_));
    let mut survey = Survey {
        doomed: Vec::new(),
        absent: Vec::new(),
        kept: Vec::new(),
    };
    for (id, live) in run.env.cluster.survey(ids).await {
        let live = live.map_err(|error| Failure::cluster(&error))?;
        let Some(live) = live else {
            run.info(Unit::Initialize, format!("{id} is not there"));
            survey.absent.push(id);
            continue;
        };
        refuse_foreign(run, &id, &live)?;
        let is_namespace = id.group.is_empty() && id.kind == "Namespace";
        if of_set && is_namespace && !options.delete_namespaces {
            let text = format!("{id} stays, with what else is in it: name it to delete it");
            run.warn(Unit::Initialize, text);
            survey.kept.push(id);
            continue;
        }
        let uid = Some(text(&live, "/metadata/uid").to_owned());
        survey.doomed.push(Doomed {
            id,
            uid,
            release: None,
        });
    }
    Ok(survey)
}
