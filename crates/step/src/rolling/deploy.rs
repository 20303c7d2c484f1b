//! A rolling deployment: bring a set of objects in and wait until it is healthy.

use serde_json::{Map, Value, json};
use sortie_cluster::apply::{Change, Planned};
use sortie_cluster::record::{Head, History, Stored, Tracked};
use sortie_manifest::{Object, ObjectId};
use sortie_render::SourceFile;

use super::closing::{close, outputs, told};
use super::earlier::{Earlier, earlier, noted, opened};
use super::opening::{Opened, Rendered, gone, open, recorded, sequence};
use super::{hook_runs, namespace, prune};
use crate::adoption::{self, Adoption};
use crate::apply::{self, Manner, OnRefusal};
use crate::autoscalers;
use crate::failure::{FailureKind, first_of};
use crate::health_rules;
use crate::instances::Instances;
use crate::locked::{self, Locked, record_failure};
use crate::progressive;
use crate::replacement;
use crate::report::Unit;
use crate::resolve::Resolving;
use crate::run::Run;
use crate::scaling;
use crate::sequence::Sequence;
use crate::service_hooks::{AroundWait, ServiceHooks};
use crate::shape::{self, Shape, Shaped, Wanted};
use crate::single::traffic;
use crate::sources::Marked;
use crate::steady;
use crate::swap::undo_interrupted;
use crate::task::{HookAction, RollingDeploy, Source};
use crate::try_out::try_out;
use crate::units::Ended;

/// Deploy in this shape. The outputs name the release and its number.
pub(crate) async fn run(
    run: &Run<'_>,
    options: &RollingDeploy,
    shape: Shape,
) -> Result<Value, Ended> {
    let before = Box::pin(before(run, options, shape));
    let before = run.bounds.run(std::future::pending(), before).await?;
    let (locked, rendered) = match before {
        Before::Done(number, told) => {
            tidy_up(run, number).await;
            return Ok(told);
        }
        Before::TriedOut(outputs) => return Ok(outputs),
        Before::Locked(locked, rendered) => (locked, rendered),
    };
    let mut locked = locked;
    let options = rendered.options(options);
    let result = under_lease(run, (&options, shape), &mut locked, rendered).await;
    locked.release(run).await;
    result
}

/// How far a deployment comes without the right to write.
enum Before {
    /// The task had ended well with this number and told this, and its result was lost on the way.
    Done(u64, Value),
    /// Nothing was to be written.
    TriedOut(Value),
    /// The release is ours.
    Locked(Box<Locked>, Rendered),
}

async fn before(run: &Run<'_>, options: &RollingDeploy, shape: Shape) -> Result<Before, Ended> {
    run.units.enter(match shape.is_recorded() {
        true => Unit::Initialize,
        false => Unit::FetchFiles,
    });
    // Who looks at the release meanwhile learns what every deployment needs.
    let needed = async {
        let (rules, ()) = futures::join!(run.rules(), run.env.cluster.learn_kinds());
        Ok(rules)
    };
    let (look, rules) = futures::try_join!(locked::look(run), needed)?;
    let history = &look.history;
    let rendered = match earlier(shape.own(history), run.task)? {
        Earlier::Done(number) => {
            let head = &history.number(number).ok_or_else(|| gone(number))?.head;
            return Ok(Before::Done(number, told(&run.task.release, head)));
        }
        Earlier::Open(number) => {
            run.units.enter(Unit::Initialize);
            let head = &history.number(number).ok_or_else(|| gone(number))?.head;
            let text = format!("release number {number} was interrupted: its record is carried on");
            run.info(Unit::Initialize, text);
            let values = look.records.objects(head).await;
            let values = values.map_err(|error| record_failure(&error))?;
            let secrets: Vec<String> = noted(head, "secrets");
            learn(run, &secrets).await;
            Rendered {
                objects: recorded(run, head, values)?,
                secrets,
                versioning: None,
            }
        }
        Earlier::None => Box::pin(progressive::set(run, (options, shape), &look)).await?,
    };
    let options = &rendered.options(options);
    run.check_objects(&rendered.objects)?;
    health_rules::check(run, &rendered.objects, &*rules?)?;
    if options.dry_run {
        return dry_run(run, (options, shape), history, rendered.objects)
            .await
            .map(Before::TriedOut);
    }
    namespace::bring(run, options, &rendered.objects).await?;
    let locked = Locked::acquire(run, Unit::Initialize, look).await?;
    Ok(Before::Locked(Box::new(locked), rendered))
}

/// Everything that happens under the lease.
async fn under_lease(
    run: &Run<'_>,
    (options, shape): (&RollingDeploy, Shape),
    locked: &mut Locked,
    rendered: Rendered,
) -> Result<Value, Ended> {
    // Services that do not agree about the colours say nothing about which one is free.
    undo_interrupted(run, locked).await?;
    let locked = &*locked;
    let opened = run
        .bounds
        .run_writes(
            locked.lost(),
            Box::pin(open(run, (options, shape), locked, rendered)),
        )
        .await?;
    let (mut stored, planned, sequence) = match opened {
        Opened::Record(stored, planned, sequence) => (stored, planned, sequence),
        Opened::Done(number) => {
            let stored = locked.history.number(number);
            let head = &stored.ok_or_else(|| gone(number))?.head;
            locked.tidy(run, Some(head)).await;
            return Ok(told(&run.task.release, head));
        }
        Opened::Skipped(outputs) => return Ok(outputs),
    };
    let number = stored.head.number;
    let doomed: Vec<Tracked> = noted(&stored.head, prune::NOTED);
    let objects = planned.iter().map(|planned| &planned.target.object);
    let around = || AroundWait::of(run, objects.clone(), &options.context);
    let around = shape.is_beginning().then(around);
    let scaled = autoscalers::scaled(doomed.iter().map(|of| &of.id), objects);
    let brought = bring_in(
        run,
        (options, around.as_ref()),
        locked,
        &mut stored,
        (planned, &sequence),
    )
    .await;
    let (mut result, instances) = match brought {
        Ok(instances) => (Ok(()), instances),
        Err(ended) => (Err(ended), Instances::default()),
    };
    if result.is_ok() {
        result = Box::pin(progressive::follow(run, locked, &mut stored)).await;
    }
    if result.is_ok()
        && let Some(around) = &around
    {
        result = around.after(run, locked).await;
    }
    let mut routes = None;
    if result.is_ok()
        && let Some(asked) = options.routing.as_ref().filter(|_| !shape.is_steered())
    {
        match Box::pin(traffic::follow(run, asked, locked)).await {
            Ok(told) => routes = Some(told),
            Err(ended) => result = Err(ended),
        }
    }
    let mut pruned = None;
    if result.is_ok() && options.prune.is_some() {
        let work = Box::pin(prune::prune(run, locked, &mut stored));
        match run.bounds.run(locked.lost(), work).await {
            Ok(ids) => {
                result = rescale(run, locked, &mut stored, (scaled, &ids)).await;
                pruned = Some(ids);
            }
            // The release is there and healthy; what is left is the next deployment's.
            Err(Ended::Failed(failure)) if failure.kind == FailureKind::Timeout => {
                run.units.mark_failed();
                run.warn(Unit::Prune, failure.message);
            }
            Err(ended) => result = Err(ended),
        }
    }
    if result.is_ok() {
        run.units.enter(Unit::WrapUp);
    } else if !matches!(result, Err(Ended::HandedOver)) {
        let own = |task: &str| task == run.task.id;
        replacement::restore(run, locked, &mut stored, Unit::Apply, own).await;
    }
    let result = match result {
        Ok(()) => {
            hook_runs::clear(run, locked, &mut stored, true).await;
            let mut told = told_of(run, &stored.head, pruned, instances).await;
            if let Some(routes) = routes {
                told["routes"] = routes;
            }
            Ok(told)
        }
        Err(ended) => Err(ended),
    };
    close(run, locked, &mut stored, &result).await?;
    if matches!(result, Err(Ended::Failed(_) | Ended::Aborted)) {
        // Nobody runs a hook again whose failure is recorded.
        hook_runs::clear(run, locked, &mut stored, false).await;
    }
    match result {
        Err(Ended::Failed(failure)) => Err(failure.of_release(number).into()),
        result => result,
    }
}

/// What a deployment that went well tells.
async fn told_of(
    run: &Run<'_>,
    head: &Head,
    pruned: Option<Vec<ObjectId>>,
    instances: Instances,
) -> Value {
    let names = |ids: Vec<ObjectId>| -> Value { ids.iter().map(ObjectId::to_string).collect() };
    let mut outputs = outputs(&run.task.release, head.number);
    for (key, value) in opened::<Map<String, Value>>(head, shape::OUTPUTS).unwrap_or_default() {
        outputs[key] = value;
    }
    if let Some(pruned) = pruned {
        outputs["prunedResourceIds"] = names(pruned);
    }
    instances.tell(run, &mut outputs).await;
    adoption::tell_outputs(head, &mut outputs);
    let replaced = replacement::replaced(head, &run.task.id);
    if !replaced.is_empty() {
        outputs["replacedResourceIds"] = names(replaced);
    }
    outputs
}

/// Write and wait.
async fn bring_in(
    run: &Run<'_>,
    (options, around): (&RollingDeploy, Option<&AroundWait<'_>>),
    locked: &Locked,
    stored: &mut Stored,
    planned: (Vec<Planned>, &Sequence),
) -> Result<Instances, Ended> {
    run.units.enter(Unit::Apply);
    let wake = scaling::wake(run, locked, &stored.head, &planned.0);
    run.bounds.run_writes(locked.lost(), Box::pin(wake)).await?;
    let manner = Manner {
        unit: Unit::Apply,
        on_refusal: OnRefusal::Stop,
        wait_for_jobs: options.wait_for_jobs,
    };
    let planned = (progressive::written(&stored.head, planned.0), planned.1);
    let set = apply::whole_set(run, locked, stored, planned, manner);
    let set = run.bounds.run_writes(locked.lost(), Box::pin(set)).await?;
    if !set.errors.is_empty() {
        return Err(first_of(&set.errors).into());
    }
    run.units.enter(Unit::WaitForSteadyState);
    if set.awaited.is_empty() {
        run.info(Unit::WaitForSteadyState, "nothing to wait for");
    }
    if let Some(around) = around {
        around.before(run, locked).await?;
    }
    if !(set.untouched && steady::is_reached(run, &set.awaited)) {
        let wait = steady::wait(run, locked.guard(), set.awaited);
        run.bounds.run(locked.lost(), Box::pin(wait)).await?;
    }
    Ok(set.instances)
}

/// Bring the replicas back that autoscalers decided about until they were pruned.
async fn rescale(
    run: &Run<'_>,
    locked: &Locked,
    stored: &mut Stored,
    (scaled, pruned): (Vec<Object>, &[ObjectId]),
) -> Result<(), Ended> {
    let manner = Manner {
        unit: Unit::Prune,
        on_refusal: OnRefusal::Stop,
        wait_for_jobs: true,
    };
    let again = (scaled, pruned.to_vec());
    let again = autoscalers::take_back(run, locked, stored, again, manner);
    let again = run
        .bounds
        .run_writes(locked.lost(), Box::pin(again))
        .await?;
    if !again.errors.is_empty() {
        return Err(first_of(&again.errors).into());
    }
    if again.awaited.is_empty() {
        return Ok(());
    }
    let wait = steady::wait(run, locked.guard(), again.awaited);
    run.bounds.run(locked.lost(), Box::pin(wait)).await
}

/// The set as its sources say it.
pub(crate) async fn render(run: &Run<'_>, options: &RollingDeploy) -> Result<Rendered, Ended> {
    let sources = (options.manifests.as_slice(), options.values.as_slice());
    render_sources(run, sources, &options.context, Marked::LeftOut).await
}

/// Fetch manifests and values, and render them.
pub(crate) async fn render_sources(
    run: &Run<'_>,
    (manifests, values): (&[Source], &[Source]),
    context: &Value,
    marked: Marked,
) -> Result<Rendered, Ended> {
    let renderer = &run.env.renderer;
    run.bounds
        .pending()
        .set("the sources were still being fetched");
    let mut resolving = Resolving::new(context, run.env.resolver.as_ref(), run.sink);
    let hooks = ServiceHooks::of(run, &mut resolving).await?;
    let mut files = Vec::new();
    let point = HookAction::FetchFiles;
    hooks.before(point, &mut files, &mut resolving).await?;
    let fetched = renderer.fetch(manifests, &mut resolving, run.sink).await?;
    files.retain(|file: &SourceFile| !fetched.iter().any(|other| other.path == file.path));
    files.extend(fetched);
    let values = renderer.fetch(values, &mut resolving, run.sink).await?;
    hooks.after(point, &mut files, &mut resolving).await?;
    run.units.enter(Unit::Initialize);
    let point = HookAction::TemplateManifest;
    hooks.before(point, &mut files, &mut resolving).await?;
    run.bounds
        .pending()
        .set("the manifests were still being rendered");
    let release = &run.task.release;
    let templated = renderer.template((files, values), marked, release, &mut resolving, run.sink);
    let mut templated = templated.await?;
    hooks
        .after(point, templated.files(), &mut resolving)
        .await?;
    let mut objects = templated.objects(release, &resolving, run.sink)?;
    let cluster = &run.env.cluster;
    cluster.place(&mut objects, &release.namespace).await;
    Ok(Rendered {
        objects,
        secrets: resolving.secret_names(),
        versioning: None,
    })
}

/// Make the secrets of a recorded release known to the masker: an application may write one to its log.
pub(crate) async fn learn(run: &Run<'_>, secrets: &[String]) {
    let mut resolving = Resolving::new(&Value::Null, run.env.resolver.as_ref(), run.sink);
    for name in secrets {
        if let Err(error) = resolving.secret(name).await {
            tracing::debug!(%error, "a secret of the recorded release stays unknown to the masker");
        }
    }
}

/// Say what would happen, and write nothing.
async fn dry_run(
    run: &Run<'_>,
    (options, shape): (&RollingDeploy, Shape),
    history: &History,
    objects: Vec<Object>,
) -> Result<Value, Ended> {
    let Shaped {
        objects,
        versioned,
        side,
        written,
        notes,
        steered,
        former,
        noted,
        ..
    } = match shape.of(run, options, history, objects).await? {
        Wanted::Deploy(shaped) => *shaped,
        Wanted::Skip(outputs) => return Ok(outputs),
    };
    for text in notes {
        run.info(Unit::Initialize, text);
    }
    let first = shape.is_first(history);
    if let Some(asked) = &options.routing {
        Box::pin(traffic::foresee(run, asked, &objects)).await?;
    }
    sequence(run, &objects, Unit::Initialize)?;
    let mut planned = try_out(run, objects, options, (first, &steered)).await?;
    if side.is_whole() {
        (planned, _) = adoption::keep_names(run, planned, options, first).await?;
    }
    let planned = written.of(run, Unit::Initialize, planned);
    let is_whole = side.is_whole();
    let whole = is_whole.then_some((first, versioned.mentions.as_slice()));
    let adopted = Adoption::of(run, Unit::Initialize, &planned, whole).await;
    let earlier = (history, &side, former.as_slice());
    let foreseen = prune::foresee(run, earlier, &planned, options.prune, Unit::Initialize);
    let doomed = foreseen.await?.doomed;
    let color = side.color.as_deref();
    shape::check_neighbours(run, (color, &noted), &planned, &doomed).await?;
    let returning = autoscalers::returning(run, &planned, &doomed).await;
    let mut rows = Vec::new();
    for object in &planned {
        let id = &object.target.id;
        let returning = returning.iter().find(|one| one.planned.target.id == *id);
        let change = match object.change() {
            Some(_) if object.replaces().is_some() => "replaced",
            Some(_) if returning.is_some() => Change::Configured.name(),
            Some(change) => change.name(),
            None => "created once what it needs is there",
        };
        let why = returning.map_or_else(String::new, |one| format!(": {}", one.line()));
        run.info(Unit::Initialize, format!("{id} would be {change}{why}"));
        let mut row = json!({"object": id, "change": change});
        if let Some(from) = adopted.former(id) {
            row["takenOverFrom"] = from.into();
        }
        if let Some(one) = returning {
            row["replicas"] = json!({"before": one.from, "after": one.to});
        }
        rows.push(row);
    }
    rows.extend(
        doomed
            .into_iter()
            .map(|Tracked { id, .. }| json!({"object": id, "change": "deleted"})),
    );
    Ok(json!({"releaseName": run.task.release.name, "dryRun": rows}))
}

/// Finish what a killed holder of this task left undone after its success. Nobody depends on it: whoever holds the
/// release now is not waited for longer than a dead holder's lease lasts.
async fn tidy_up(run: &Run<'_>, number: u64) {
    let tidy = async {
        let Ok(look) = locked::look(run).await else {
            return;
        };
        let Ok(locked) = Locked::acquire(run, Unit::FetchFiles, look).await else {
            return;
        };
        let newest = locked.history.newest().map(|stored| &stored.head);
        if let Some(head) = newest.filter(|head| head.number == number) {
            locked.tidy(run, Some(head)).await;
        }
        locked.release(run).await;
    };
    drop(tokio::time::timeout(run.env.limits.lease * 2, tidy).await);
}
