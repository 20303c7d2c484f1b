//! Uninstalling: everything that a release owns goes in reverse order, then its records and its Lease.
//!
//! What to delete is found out anew from records and labels whenever it begins, so that a task that was killed anywhere is
//! carried on by the next one: records go after all objects, the Lease after all records.

mod plan;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sortie_cluster::clock;
use sortie_cluster::delete::{Doomed, Gone};
use sortie_cluster::record::{HEAD_TYPE, History, NAME_LABEL, Records, Tracked};
use sortie_cluster::watch::Selection;
use sortie_cluster::{Error, Resource};
use sortie_manifest::{ObjectId, labels};

use crate::configuration::{self, Versioned};
use crate::failure::{Failure, chain, first_of};
use crate::locked::{self, Locked, record_failure};
use crate::protection;
use crate::remove::remove;
use crate::report::Unit;
use crate::rolling::{by_label, close_interrupted, forbidden, recorded, tracked};
use crate::run::Run;
use crate::task::Uninstall;
use crate::units::Ended;
use plan::{Claims, Plan, Wish, owned};

pub(crate) use plan::Storage;

/// The unit under which it is journalled.
const JOURNAL: &str = "Uninstall";

/// Uninstall. The outputs name what went and what was kept.
pub(crate) async fn run(run: &Run<'_>, options: Uninstall) -> Result<Value, Ended> {
    let storage = if options.delete_storage {
        Storage::Goes
    } else {
        Storage::Stays
    };
    remove_release(run, storage, options.dry_run).await
}

/// Remove the release, with as much of its storage as is asked for.
pub(crate) async fn remove_release(
    run: &Run<'_>,
    storage: Storage,
    dry_run: bool,
) -> Result<Value, Ended> {
    let before = run
        .bounds
        .run(std::future::pending(), before(run, storage, dry_run))
        .await?;
    let mut locked = match before {
        Before::Done(outputs) => return Ok(outputs),
        Before::Locked(locked) => locked,
    };
    let result = under_lease(run, storage, &mut locked).await;
    match &result {
        Ok(_) => locked.remove(run).await,
        Err(_) => locked.release(run).await,
    }
    result
}

/// How far it comes without the right to write.
enum Before {
    /// There is nothing to do.
    Done(Value),
    /// The release is ours.
    Locked(Box<Locked>),
}

async fn before(run: &Run<'_>, storage: Storage, dry_run: bool) -> Result<Before, Ended> {
    run.units.enter(Unit::Initialize);
    let look = locked::look(run).await?;
    let known = !look.history.is_empty() || has_lease(run, &look.records).await?;
    if dry_run || !known {
        let plan = survey(run, &look.records, &look.history, storage).await?;
        if !known && plan.going().is_empty() {
            return Ok(Before::Done(nothing(run, &plan)));
        }
        if dry_run {
            return Ok(Before::Done(foreseen(run, &plan)));
        }
    }
    let locked = Locked::acquire(run, Unit::Initialize, look).await?;
    Ok(Before::Locked(Box::new(locked)))
}

/// What an earlier task may have left of a release whose records are gone.
async fn has_lease(run: &Run<'_>, records: &Records) -> Result<bool, Failure> {
    let release = records.release();
    let (resource, namespace) = (Resource::leases(), Some(release.namespace()));
    let name = release.lease_name();
    let lease = run.env.cluster.get(&resource, namespace, &name).await;
    let lease = lease.map_err(|error| Failure::cluster(&error))?;
    Ok(lease.is_some())
}

/// Neither records nor a Lease nor anything to delete.
fn nothing(run: &Run<'_>, plan: &Plan) -> Value {
    let release = &run.task.release;
    let reason = format!(
        "there is no release {} in namespace {}",
        release.name, release.namespace
    );
    run.info(Unit::Initialize, &reason);
    json!({
        "releaseName": release.name,
        "uninstalled": false,
        "reason": reason,
        "kept": kept(plan),
    })
}

/// What would happen, for people and programs.
fn foreseen(run: &Run<'_>, plan: &Plan) -> Value {
    for id in plan.going() {
        run.info(Unit::Initialize, format!("{id} would be deleted"));
    }
    let rows: Vec<Value> = plan
        .going()
        .iter()
        .map(|id| json!({"object": id, "change": "deleted"}))
        .collect();
    json!({
        "releaseName": run.task.release.name,
        "namespace": run.task.release.namespace,
        "dryRun": rows,
        "kept": kept(plan),
    })
}

fn kept(plan: &Plan) -> Vec<Value> {
    let kept = plan.kept.iter();
    kept.map(|(id, reason)| json!({"object": id, "reason": reason}))
        .collect()
}

async fn under_lease(run: &Run<'_>, storage: Storage, locked: &mut Locked) -> Result<Value, Ended> {
    close_interrupted(run, locked).await?;
    locked.history = locked::history(&locked.records, run.task).await?;
    let look = survey(run, &locked.records, &locked.history, storage);
    let mut plan = run.bounds.run(locked.lost(), Box::pin(look)).await?;
    for (id, why) in &plan.kept {
        run.warn(Unit::Initialize, format!("{id} is kept: {why}"));
    }
    journal(run, locked, "uninstall begun").await?;

    run.units.enter(Unit::Delete);
    let removal = Box::pin(delete(run, locked, &mut plan));
    let Deleted { mut names, errors } = run.bounds.run(locked.lost(), removal).await?;
    if !errors.is_empty() {
        let text = format!(
            "uninstall failed: objects that could not be deleted: {}",
            errors.len()
        );
        journal(run, locked, &text).await?;
        return Err(first_of(&errors).into());
    }

    run.units.enter(Unit::WrapUp);
    run.bounds.check()?;
    locked.history = locked::history(&locked.records, run.task).await?;
    let records = locked.records.remove_all(&locked.history, locked.guard());
    let removed = async { records.await.map_err(|error| record_failure(&error).into()) };
    let count = run.bounds.run_writes(locked.lost(), removed).await?;
    run.info(Unit::WrapUp, format!("records deleted: {count}"));
    if let Some(home) = plan.home.take() {
        names.push(home.id.to_string());
        go(run, locked, home).await?;
    }
    let release = &run.task.release;
    Ok(json!({
        "releaseName": release.name,
        "namespace": release.namespace,
        "uninstalled": true,
        "deleted": names,
        "kept": kept(&plan),
    }))
}

/// The release's own namespace goes last, and with it the Lease: nothing is written after it.
async fn go(run: &Run<'_>, locked: &Locked, home: Tracked) -> Result<(), Ended> {
    let doomed = vec![doom(run, home)];
    let removal = async { Ok(remove(run, locked, doomed, Unit::WrapUp).await) };
    let removed = run.bounds.run(std::future::pending(), Box::pin(removal));
    let errors: Vec<Error> = removed
        .await?
        .into_iter()
        .filter_map(|(_, result)| result.err())
        .collect();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(first_of(&errors).into())
    }
}

/// Note in the newest record how far it is, for whoever looks at a release that was left half-way.
async fn journal(run: &Run<'_>, locked: &mut Locked, what: &str) -> Result<(), Ended> {
    let Some(stored) = locked.history.newest() else {
        return Ok(());
    };
    let mut stored = stored.clone();
    what.clone_into(&mut stored.head.message);
    stored.head.note(JOURNAL, "", what, clock::now());
    let write = async { Ok(locked.update(&mut stored).await?) };
    run.bounds.run_writes(locked.lost(), write).await?;
    locked.history = locked::history(&locked.records, run.task).await?;
    Ok(())
}

/// What became of the objects.
#[derive(Default)]
struct Deleted {
    names: Vec<String>,
    errors: Vec<Error>,
}

impl Deleted {
    fn take(&mut self, plan: &mut Plan, results: Vec<(ObjectId, Result<Gone, Error>)>) {
        for (id, result) in results {
            match result {
                Ok(Gone::Deleted | Gone::Absent) => self.names.push(id.to_string()),
                Ok(Gone::NotOurs) => plan.keep(id, "another object has its name now"),
                Err(error) => self.errors.push(error),
            }
        }
    }
}

/// Delete everything but records: every object is tried. Versioned configuration goes when all else is gone, and only
/// what nothing names that stays.
async fn delete(run: &Run<'_>, locked: &Locked, plan: &mut Plan) -> Result<Deleted, Ended> {
    let mut deleted = Deleted::default();
    let objects = std::mem::take(&mut plan.doomed).into_iter();
    let claims = std::mem::take(&mut plan.claims).into_iter();
    let claims = claims.map(|tracked| Doomed {
        id: tracked.id,
        uid: tracked.uid,
        release: None,
    });
    let doomed = objects.map(|tracked| doom(run, tracked)).chain(claims);
    let results = remove(run, locked, doomed.collect(), Unit::Delete).await;
    deleted.take(plan, results);
    if plan.versioned.is_empty() || !deleted.errors.is_empty() {
        return Ok(deleted);
    }
    let ids = plan.versioned.iter().map(|tracked| &tracked.id);
    let namespaces = configuration::namespaces(run, ids);
    let none = BTreeSet::new();
    let look = configuration::versioned(run, &none, &namespaces);
    let Versioned { unused, used } = look.await.map_err(|error| Failure::cluster(&error))?;
    for found in used {
        plan.keep(found.id, "something that stays names it");
    }
    let unused = unused
        .into_iter()
        .filter(|found| protection::annotated(&found.object).is_none());
    let doomed: Vec<Doomed> = unused
        .map(|found| configuration::doom(run, found))
        .collect();
    let results = remove(run, locked, doomed, Unit::Delete).await;
    deleted.take(plan, results);
    Ok(deleted)
}

fn doom(run: &Run<'_>, tracked: Tracked) -> Doomed {
    Doomed {
        id: tracked.id,
        uid: tracked.uid,
        release: Some(run.release_id()),
    }
}

/// Look at everything that the release may own and decide about each.
async fn survey(
    run: &Run<'_>,
    records: &Records,
    history: &History,
    storage: Storage,
) -> Result<Plan, Ended> {
    let unit = Unit::Initialize;
    run.bounds
        .pending()
        .set("the objects of the release were still being read");
    let tracked = tracked(history.heads());
    let ids: BTreeSet<ObjectId> = tracked.iter().map(|tracked| tracked.id.clone()).collect();
    let owned = owned(tracked, by_label(run, &ids, unit).await?);
    let release = run.release_id();
    let wish = Wish {
        release: &release,
        namespace: &run.task.release.namespace,
        storage,
    };
    let mut plan = Plan::default();
    let ids: Vec<ObjectId> = owned.iter().map(|tracked| tracked.id.clone()).collect();
    let lives = run.env.cluster.survey(ids.clone()).await;
    for (tracked, (id, live)) in owned.into_iter().zip(lives) {
        let Some(live) = live.map_err(|error| Failure::cluster(&error))? else {
            continue;
        };
        match forbidden(run, &live) {
            Some(why) => plan.keep(id, why),
            None => plan.consider(tracked, &live, wish),
        }
    }
    for (id, live) in claims(run, records, history).await {
        if !ids.contains(&id) {
            plan.consider_claim(id, &live, storage == Storage::Goes);
        }
    }
    for namespace in plan.namespaces() {
        if let Some(why) = shared(run, &namespace).await {
            plan.spare(&namespace, &why);
        }
    }
    if storage == Storage::Namespaces {
        plan.forget_within(&plan.namespaces());
    }
    Ok(plan)
}

/// Whether a namespace holds other releases, which would go with it.
async fn shared(run: &Run<'_>, namespace: &str) -> Option<String> {
    let heads =
        Selection::of(Resource::secrets(), namespace).where_fields(format!("type={HEAD_TYPE}"));
    let heads = match run.env.cluster.list(&heads).await {
        Ok(heads) => heads,
        Err(error) => return Some(format!("what it holds is not known: {}", chain(&error))),
    };
    let ours = run.release_id();
    let release = |head: &Value| {
        let labels = head.pointer("/metadata/labels")?;
        let text = |key: &str| labels.get(key).and_then(Value::as_str);
        (text(labels::RELEASE)? != ours).then(|| text(NAME_LABEL).unwrap_or_default().to_owned())
    };
    let others: BTreeSet<String> = heads.iter().filter_map(release).collect();
    let names: Vec<String> = others.into_iter().collect();
    (!names.is_empty()).then(|| format!("it holds other releases: {}", names.join(", ")))
}

/// The claims that StatefulSets of the release have made, now and in the past.
async fn claims(run: &Run<'_>, records: &Records, history: &History) -> Vec<(ObjectId, Value)> {
    let mut made = BTreeSet::new();
    for stored in history.records() {
        let values = records.objects(&stored.head).await;
        let objects = values
            .map_err(|error| record_failure(&error))
            .and_then(|values| recorded(run, &stored.head, values));
        match objects {
            Ok(objects) => made.extend(Claims::of(&objects)),
            Err(failure) => run.warn(Unit::Initialize, failure.message),
        }
    }
    let home = &run.task.release.namespace;
    let namespace_of = |claims: &Claims| claims.namespace.clone().unwrap_or_else(|| home.clone());
    let namespaces: BTreeSet<String> = made.iter().map(namespace_of).collect();
    let mut found = Vec::new();
    for namespace in namespaces {
        let listed = match run
            .env
            .cluster
            .resolve("", "v1", "PersistentVolumeClaim")
            .await
        {
            Ok(resource) => {
                let selection = Selection::of(resource, &namespace);
                run.env.cluster.list(&selection).await
            }
            Err(error) => Err(error),
        };
        let listed = match listed {
            Ok(listed) => listed,
            Err(error) => {
                let text = format!("claims of StatefulSets are not known: {}", chain(&error));
                run.warn(Unit::Initialize, text);
                continue;
            }
        };
        for live in listed {
            let name = protection::text(&live, "/metadata/name").to_owned();
            let ours = made
                .iter()
                .any(|claims| namespace_of(claims) == namespace && claims.has(&name));
            if ours {
                let id = ObjectId {
                    group: String::new(),
                    kind: "PersistentVolumeClaim".to_owned(),
                    namespace: Some(namespace.clone()),
                    name,
                };
                found.push((id, live));
            }
        }
    }
    found
}
