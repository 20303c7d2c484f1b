//! Blue-green: the new version in the colour that gets no traffic, with a Service that reaches it there. Pure, but for
//! [`shape`].

use serde_json::{Map, Value, json};
use sortie_cluster::record::{History, PRIMARY, STAGE, Side};
use sortie_manifest::labels::{self, Marks};
use sortie_manifest::{Object, ObjectId, hash, selector, workload};
use sortie_strategy::copy;

use super::apart;
use super::budgets;
use super::copies::{self, Copies, Seen, Word};
use super::services::{self, Colors, Pair};
use super::size::{self, STATED};
use super::{COPIES, OUTPUTS, RENDERED, SERVICES, Shaped, Wanted, Written};
use crate::adoption::object_of;
use crate::failure::Failure;
use crate::report::Unit;
use crate::rolling::opened;
use crate::run::Run;
use crate::swap;

/// The copies of a set, and its Services with their colours, which are changed in place.
///
/// # Errors
/// There is nothing to copy, which Service gets the traffic is not clear or it would find no pods, a Service is another
/// controller's, live Services do not agree about the colours, a name becomes too long, or the cluster cannot be asked.
pub(super) async fn shape(
    run: &Run<'_>,
    history: &History,
    objects: &mut Vec<Object>,
    skip_unchanged: bool,
) -> Result<Wanted, Failure> {
    let namespace = &run.task.release.namespace;
    let rendered = hash::manifest_in(objects, namespace);
    let found = services::find(objects)?;
    let mut made_up = Vec::new();
    let mut live = Vec::new();
    for (primary, _) in &found {
        live.push(look(run, primary.id().in_namespace(namespace)).await?);
    }
    let colors = services::colors(&live)?;
    let mut pairs = Vec::new();
    let mut paired = Vec::new();
    for ((primary, stage), (_, live)) in found.iter().zip(&live) {
        let (mut pair, first, second) = services::pair(primary, *stage, live.as_ref(), &colors)?;
        if pair.namespace.is_empty() {
            pair.namespace.clone_from(namespace);
        }
        let id = second.id().in_namespace(namespace);
        agree(&look(run, id.clone()).await?, &colors)?;
        made_up.extend(stage.is_none().then_some(id));
        pairs.push(pair);
        paired.extend([first, second]);
    }
    let outputs = outputs(&pairs, &colors);
    if skip_unchanged && is_what_gets_the_traffic(history, &colors, &rendered) {
        let text = format!(
            "the set is what {} runs, which gets the traffic: nothing to deploy",
            colors.primary
        );
        run.info(Unit::Initialize, text);
        return Ok(Wanted::Skip(skipped(run, outputs)));
    }
    let word = Word {
        word: colors.stage,
        key: labels::COLOR,
        older_key: labels::OLDER_COLOR,
        beside_originals: false,
        apart: None,
    };
    let seen = copies::look(run, objects, word).await?;
    let (primaries, budgets) = futures::try_join!(
        size::look(run, &seen, &colors),
        budgets::look(run, objects, &seen)
    )?;
    let mut made = copies::make(objects, &seen, namespace, word)?;
    size::fit(&mut made, (&seen, &primaries), history, namespace);
    let key = pairs.first().map_or(labels::COLOR, |pair| &pair.key);
    budgets::share_out(objects, &budgets, (&colors, key), namespace, &mut made)?;
    let former = former(objects, &seen, &colors, namespace);
    objects.retain(|object| !paired.iter().any(|service| service.id() == object.id()));
    let noted = [
        (OUTPUTS, Value::Object(outputs)),
        (SERVICES, json!(pairs)),
        (RENDERED, rendered.into()),
        (STATED, json!(size::stated(&seen, namespace))),
    ];
    let mut shaped = shaped(run, made, (&colors, &pairs));
    shaped.former = former;
    shaped.made_up.extend(made_up);
    let noted = noted.map(|(key, value)| (key.to_owned(), value));
    shaped.noted.extend(noted);
    find_pods(&paired, &shaped.objects, &pairs, colors.stage)?;
    objects.extend(paired);
    Ok(Wanted::Deploy(Box::new(shaped)))
}

/// A Service as it is live, if nobody else decides what it selects.
async fn look(run: &Run<'_>, id: ObjectId) -> Result<(ObjectId, Option<Object>), Failure> {
    let found = run.env.cluster.find(&id).await;
    let found = found.map_err(|error| Failure::cluster(&error))?;
    if let Some((_, live)) = &found {
        swap::check(&id.to_string(), live)?;
    }
    Ok((id, found.and_then(|(_, live)| object_of(live))))
}

/// The originals, and what scales them, whose pods have the colour of the stage already: they had the traffic before the
/// release had colours, and have lost it since.
fn former(objects: &[Object], seen: &[Seen], colors: &Colors, namespace: &str) -> Vec<ObjectId> {
    let is_former = |one: &&Seen| {
        let live = one.live.as_ref();
        live.is_some_and(|live| size::is_of(live, colors.stage))
    };
    let ids: Vec<ObjectId> = seen
        .iter()
        .filter(is_former)
        .map(|one| one.original.id())
        .collect();
    let scaling = objects.iter().filter(|object| copy::scales(object, &ids));
    let scaling: Vec<ObjectId> = scaling.map(Object::id).collect();
    let all = ids.into_iter().chain(scaling);
    all.map(|id| id.in_namespace(namespace)).collect()
}

/// Whether each Service that gets the traffic finds pods among the copies, once it selects their colour.
fn find_pods(
    services: &[Object],
    copies: &[Object],
    pairs: &[Pair],
    color: &str,
) -> Result<(), Failure> {
    for pair in pairs {
        let service = services
            .iter()
            .find(|service| service.name() == pair.primary);
        let selected = service.and_then(apart::selector_of);
        let selected = selected.map(|selected| swap::of_color(selected, &pair.key, color));
        let is_found = |copy: &Object| {
            let labels = workload::pod_template(copy);
            let labels =
                labels.and_then(|template| template.get("metadata")?.get("labels")?.as_object());
            let both = selected.as_ref().zip(labels);
            both.is_some_and(|(selected, labels)| selector::matches_map(selected, labels))
        };
        if !copies.iter().any(is_found) {
            let service = format!("Service/{}/{}", pair.namespace, pair.primary);
            return Err(swap::nobody(&service, color));
        }
    }
    Ok(())
}

/// Whether a live Service of the stage selects the stage, or nothing that has a colour.
fn agree((id, live): &(ObjectId, Option<Object>), colors: &Colors) -> Result<(), Failure> {
    let selected = live.as_ref().and_then(labels::selected_color);
    match selected {
        Some((_, color)) if color == colors.primary => Err(services::torn(&format!(
            "{id} is for the stage and selects {color}, which gets the traffic"
        ))),
        _ => Ok(()),
    }
}

/// Whether the same set was deployed to the colour that gets the traffic.
fn is_what_gets_the_traffic(history: &History, colors: &Colors, rendered: &str) -> bool {
    let primary = history.standing(PRIMARY).map(|stored| &stored.head);
    primary.is_some_and(|head| {
        head.side.color.as_deref() == Some(colors.primary)
            && opened::<String>(head, RENDERED).as_deref() == Some(rendered)
    })
}

fn outputs(pairs: &[Pair], colors: &Colors) -> Map<String, Value> {
    let names = |name: fn(&Pair) -> &str| -> String {
        let names: Vec<&str> = pairs.iter().map(name).collect();
        names.join(",")
    };
    let mut outputs = Map::new();
    for (key, value) in [
        ("primaryServiceName", names(|pair| &pair.primary)),
        ("stageServiceName", names(|pair| &pair.stage)),
        ("primaryColor", colors.primary.to_owned()),
        ("stageColor", colors.stage.to_owned()),
    ] {
        outputs.insert(key.to_owned(), value.into());
    }
    outputs.insert("stageDeploymentSkipped".to_owned(), false.into());
    outputs
}

fn skipped(run: &Run<'_>, mut outputs: Map<String, Value>) -> Value {
    let release = &run.task.release;
    outputs.insert("stageDeploymentSkipped".to_owned(), true.into());
    outputs.insert("releaseName".to_owned(), release.name.clone().into());
    outputs.insert("namespace".to_owned(), release.namespace.clone().into());
    Value::Object(outputs)
}

fn shaped(run: &Run<'_>, made: Copies, (colors, pairs): (&Colors, &[Pair])) -> Shaped {
    let release = &run.task.release;
    let marks = Marks {
        namespace: release.namespace.clone(),
        release: release.name.clone(),
        track: None,
        color: Some(colors.stage.to_owned()),
    };
    let Copies {
        workloads,
        others,
        originals,
        notes,
    } = made;
    let mut notes = notes;
    for pair in pairs {
        notes.push(format!(
            "Service {} stays with {}, Service {} gets {}",
            pair.primary, colors.primary, pair.stage, colors.stage
        ));
    }
    let workloads = workloads.into_iter().map(|(_, copy)| copy);
    let mut objects: Vec<Object> = workloads.chain(others).collect();
    for object in &mut objects {
        labels::stamp(object, &marks);
        // Live Services may select by the older key.
        if pairs.iter().any(|pair| pair.key == labels::OLDER_COLOR) {
            sortie_strategy::copy::label_pods(object, labels::OLDER_COLOR, colors.stage);
        }
    }
    let ids = objects
        .iter()
        .map(|object| object.id().in_namespace(&release.namespace));
    let copies: Vec<ObjectId> = ids.collect();
    let mut noted = Map::new();
    noted.insert(COPIES.to_owned(), json!(copies));
    Shaped {
        objects,
        notes,
        side: Side {
            track: None,
            color: Some(colors.stage.to_owned()),
            role: Some(STAGE.to_owned()),
        },
        made_up: copies.clone(),
        written: Written::Beside {
            copies: copies.into_iter().collect(),
            originals,
            only_missing: false,
        },
        noted,
        ..Shaped::default()
    }
}
