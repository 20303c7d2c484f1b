//! Saying how a deployment would change the cluster. Nothing is written and nobody is waited for.

use serde_json::{Value, json};
use sortie_cluster::apply::{Immutable, MARK, Planned, Scope};
use sortie_cluster::record::{History, Records, Side, Tracked};
use sortie_manifest::ObjectId;

use crate::adoption;
use crate::autoscalers;
use crate::difference::{Difference, Fate, original_name, planned};
use crate::failure::Failure;
use crate::locked::{self, Look, record_failure};
use crate::replacement::Asked;
use crate::report::Unit;
use crate::rolling::{foresee, recorded, render, sequence};
use crate::run::Run;
use crate::shape::{Shape, Wanted};
use crate::task::{Diff, Prune, RollingDeploy};
use crate::try_out::{asked, judge, scope};
use crate::units::Ended;

/// Compare. The outputs have a [`Difference`] for each object of the set and each that the set lacks.
pub(crate) async fn run(run: &Run<'_>, options: &Diff) -> Result<Value, Ended> {
    let differences = compare(run, options);
    let differences = run
        .bounds
        .run(std::future::pending(), Box::pin(differences))
        .await?;
    tell(run, &differences);
    let release = &run.task.release;
    Ok(json!({
        "releaseName": release.name,
        "namespace": release.namespace,
        "objects": differences,
    }))
}

/// What differs, as unified text.
fn tell(run: &Run<'_>, differences: &[Difference]) {
    let unit = Unit::Initialize;
    let changed: Vec<_> = differences
        .iter()
        .filter(|one| one.change.is_change())
        .collect();
    for one in &changed {
        run.info(
            unit,
            format!("{} would be {}", one.object, one.change.as_str()),
        );
        for line in one.text.lines().chain(one.notes.iter().map(String::as_str)) {
            run.info(unit, line);
        }
    }
    if changed.is_empty() {
        run.info(unit, "nothing would change");
    }
    for one in differences.iter().filter(|one| one.change == Fate::Runs) {
        run.info(unit, format!("{} is a hook and would run", one.object));
    }
}

async fn compare(run: &Run<'_>, diff: &Diff) -> Result<Vec<Difference>, Ended> {
    let Diff {
        deploy: options,
        strategy,
    } = diff;
    let shape = Shape::from(*strategy);
    run.units.enter(Unit::FetchFiles);
    let Look {
        records, history, ..
    } = locked::look(run).await?;
    let rendered = render(run, options).await?;
    run.check_objects(&rendered.objects)?;
    let first = shape.is_first(&history);
    let wanted = shape.of(run, options, &history, rendered.objects);
    let Wanted::Deploy(shaped) = wanted.await? else {
        return Ok(Vec::new());
    };
    for text in &shaped.notes {
        run.info(Unit::Initialize, text);
    }
    sequence(run, &shaped.objects, Unit::Initialize)?;
    run.bounds
        .pending()
        .set("the API server was still judging the objects");
    let scope = Scope {
        adopt: options.adopt,
        first,
        steered: shaped.steered,
        ..scope(run)
    };
    let mut plan = judge(run, shaped.objects, scope, Asked::ByTask).await?;
    if shaped.side.is_whole() {
        (plan, _) = adoption::keep_names(run, plan, options, first).await?;
    }
    let plan = shaped.written.of(run, Unit::Initialize, plan);
    let earlier = earlier(run, &records, &history).await;
    let previous = |id: &ObjectId, original: &str| {
        earlier.iter().find(|(old, value)| {
            (&old.group, &old.kind, &old.namespace) == (&id.group, &id.kind, &id.namespace)
                && original_name(value) == Some(original)
        })
    };
    let compared = plan.iter().map(|one| {
        let mut found = planned(one, previous);
        let refused = asked(options).of(&one.target.object) == Immutable::Refuse;
        if one.replaces().is_some() && refused {
            found.notes.push("refused without --replace".to_owned());
        }
        found
    });
    let mut found: Vec<Difference> = compared.collect();
    if !shaped.side.is_canary() {
        let doomed = superfluous(
            run,
            options,
            (&history, &shaped.side, &shaped.former),
            &plan,
        )
        .await?;
        if options.prune.is_some() {
            for one in autoscalers::returning(run, &plan, &doomed).await {
                let mut again = planned(&one.planned, previous);
                again.notes.push(one.line());
                let id = again.object.clone();
                found
                    .iter_mut()
                    .filter(|found| found.object == id)
                    .for_each(|found| *found = again.clone());
            }
        }
        found.extend(going(run, options, doomed).await);
    }
    Ok(found)
}

/// The objects of the last good release, to compare versioned configuration with. Without them it is shown as new.
async fn earlier(run: &Run<'_>, records: &Records, history: &History) -> Vec<(ObjectId, Value)> {
    let Some(good) = history.last_good(None) else {
        return Vec::new();
    };
    let values = records.objects(&good.head).await;
    let objects = values
        .map_err(|error| record_failure(&error))
        .and_then(|values| recorded(run, &good.head, values));
    match objects {
        Ok(objects) => {
            let namespace = &run.task.release.namespace;
            let entry = |object: sortie_manifest::Object| {
                (object.id().in_namespace(namespace), object.into_value())
            };
            objects.into_iter().map(entry).collect()
        }
        Err(failure) => {
            run.warn(Unit::Initialize, failure.message);
            Vec::new()
        }
    }
}

/// What earlier releases had and the set lacks.
async fn superfluous(
    run: &Run<'_>,
    options: &RollingDeploy,
    (history, side, former): (&History, &Side, &[ObjectId]),
    plan: &[Planned],
) -> Result<Vec<Tracked>, Failure> {
    if options.prune.is_none() && history.records().is_empty() {
        return Ok(Vec::new());
    }
    // Only what goes is of interest here, whatever their number.
    let all = Prune {
        limit: Some(u32::MAX),
    };
    let foreseen = foresee(
        run,
        (history, side, former),
        plan,
        Some(all),
        Unit::Initialize,
    );
    Ok(foreseen.await?.doomed)
}

/// What becomes of it.
async fn going(run: &Run<'_>, options: &RollingDeploy, doomed: Vec<Tracked>) -> Vec<Difference> {
    let ids: Vec<ObjectId> = doomed.into_iter().map(|Tracked { id, .. }| id).collect();
    if options.prune.is_none() {
        let left = ids.into_iter();
        return left.map(|id| Difference::plain(id, Fate::Left)).collect();
    }
    let lives = run.env.cluster.survey(ids).await;
    let deleted = lives.into_iter().filter_map(|(id, live)| {
        let mut live = live.ok().flatten()?;
        if let Some(annotations) = live.pointer_mut("/metadata/annotations") {
            annotations.as_object_mut()?.shift_remove(MARK);
        }
        Some(Difference::plain(id, Fate::Deleted).between(Some(&live), None))
    });
    deleted.collect()
}
