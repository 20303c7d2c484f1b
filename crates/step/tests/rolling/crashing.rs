//! A step that is killed before or after any of its writes, and run again by another process, reaches the same end.
//!
//! The killed process is this test program itself: [`one_step`] is what it runs then. A sample of all places is tried;
//! with `SORTIE_FULL=1` every place is, again and again until it is not reached any more.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sortie_cluster::fault::Point;
use sortie_cluster::record::PART_TYPE;
use sortie_cluster::watch::Selection;
use sortie_step::task::{
    Action, Prune, Release, RollingDeploy, RollingRollback, Target, Task, Uninstall,
};
use sortie_step::{Limits, Outcome};
use sortie_testkit::Cluster;
use tokio_util::sync::CancellationToken;

use crate::world::{Log, RELEASE, World, config, connect, documents, plain, web};

/// Variable with the [`Order`] for [`one_step`].
const ORDER: &str = "SORTIE_TEST_ORDER";

/// How many places a normal run tries.
const SAMPLE: usize = 5;

/// What the process that may be killed is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) kubeconfig: String,
    pub(crate) task: String,
    pub(crate) namespace: String,
    /// Documents to deploy, pruning; without them, roll back.
    pub(crate) deploy: Option<String>,
    /// Remove the release instead.
    pub(crate) uninstall: bool,
    /// Records that are kept.
    pub(crate) history: usize,
    /// Number to roll back to; without it, the last good one.
    pub(crate) number: Option<u64>,
    /// Where the outcome is written.
    pub(crate) outcome: String,
}

#[expect(
    clippy::disallowed_methods,
    reason = "the order of the parent process, and the switch of the long run"
)]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A short lease, so that a killed holder is not waited for long.
pub(crate) fn limits(history: usize) -> Limits {
    Limits {
        lease: Duration::from_secs(3),
        history,
        ..Limits::default()
    }
}

/// Runs one step when a test has started this process for it.
#[tokio::test(flavor = "multi_thread")]
async fn one_step() {
    let Some(order) = variable(ORDER) else { return };
    let order: Order = serde_json::from_str(&order).unwrap();
    let action = match order.deploy {
        None if order.uninstall => Action::Uninstall(Uninstall::default()),
        Some(yaml) => Action::RollingDeploy(RollingDeploy {
            prune: Some(Prune::default()),
            ..plain(&yaml)
        }),
        None => Action::RollingRollback(RollingRollback {
            target: order.number.map_or(Target::LastGood, Target::Number),
            delete_storage: false,
        }),
    };
    let api = connect(Path::new(&order.kubeconfig)).await;
    let env = crate::world::environment(api, limits(order.history), Arc::new(Log::default()));
    let task = Task {
        id: order.task,
        release: Release {
            namespace: order.namespace,
            name: RELEASE.to_owned(),
            owner: sortie_step::task::Owner::default(),
        },
        ..crate::world::task(action)
    };
    let outcome = sortie_step::run(&task, &env).await;
    let told = match outcome {
        Outcome::Succeeded { outputs } => outputs,
        other => Value::String(format!("{other:?}")),
    };
    std::fs::write(order.outcome, told.to_string()).unwrap();
}

/// What is going on when the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Story {
    /// The first release, in a namespace that the set brings.
    First,
    /// Version 1 is replaced by version 2, and what only version 1 had is pruned.
    Second,
    /// Version 2 did not get ready and is undone.
    Undo,
    /// Version 1 is chosen though version 2 is good.
    Choose,
}

impl Story {
    const ALL: [Self; 4] = [Self::First, Self::Second, Self::Undo, Self::Choose];

    /// The writes that happen in it.
    const fn points(self) -> &'static [Point] {
        use Point::{
            Apply, Delete, HeadCreate, HeadDelete, HeadUpdate, LeaseCreate, LeaseRelease,
            LeaseRenew, LeaseTake, NamespaceCreate, PartCreate, PartDelete,
        };
        match self {
            Self::First => &[
                NamespaceCreate,
                LeaseCreate,
                LeaseRenew,
                LeaseRelease,
                PartCreate,
                HeadCreate,
                HeadUpdate,
                Apply,
            ],
            Self::Second => &[
                LeaseTake,
                LeaseRenew,
                LeaseRelease,
                PartCreate,
                HeadCreate,
                HeadUpdate,
                HeadDelete,
                PartDelete,
                Apply,
                Delete,
            ],
            // A rollback may be over before its lease is renewed.
            Self::Undo => &[
                LeaseTake,
                LeaseRelease,
                PartCreate,
                HeadUpdate,
                Apply,
                Delete,
            ],
            Self::Choose => &[
                LeaseTake,
                LeaseRelease,
                PartCreate,
                HeadCreate,
                HeadUpdate,
                HeadDelete,
                PartDelete,
                Apply,
                Delete,
            ],
        }
    }
}

/// A place to die: `point:side:time`.
#[derive(Clone, Copy, Debug)]
struct Place {
    story: Story,
    point: Point,
    side: &'static str,
    time: u32,
}

impl Place {
    fn text(self) -> String {
        format!("{}:{}:{}", self.point.name(), self.side, self.time)
    }
}

struct Images {
    v1: String,
    v2: String,
}

/// A ConfigMap whose name follows its content.
fn settings(number: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\ndata: {{a: {number:?}}}\n"
    )
}

/// A ConfigMap that can only change by being replaced.
fn frozen(number: &str) -> String {
    let config = config("frozen", number);
    let config = config.replace(
        "annotations: {",
        "annotations: {sortie.dev/replace: \"true\", ",
    );
    format!("{config}immutable: true\n")
}

fn version(number: u32, images: &Images) -> String {
    let image = if number == 1 { &images.v1 } else { &images.v2 };
    let number = number.to_string();
    let extra = config("extra", "1");
    let settings = settings(&number);
    match number.as_str() {
        "1" => documents(&[
            &config("a", "1"),
            &config("old", "1"),
            &frozen("1"),
            &settings,
            &web(image, ""),
        ]),
        _ => documents(&[
            &config("a", "2"),
            &extra,
            &frozen("2"),
            &settings,
            &web(image, ""),
        ]),
    }
}

/// Lets another process do it, which dies at the place; says whether it did, and else what it told.
async fn run_process(order: &Order, place: Option<Place>) -> Result<Value, ()> {
    run_until(order, place.map(Place::text)).await
}

/// The same, with the place as `SORTIE_DIE_AT` has it.
pub(crate) async fn run_until(order: &Order, place: Option<String>) -> Result<Value, ()> {
    let mut command = tokio::process::Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "crashing::one_step", "--nocapture"])
        .env(ORDER, serde_json::to_string(order).unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(place) = place {
        command.env("SORTIE_DIE_AT", place);
    }
    let output = command.output().await.unwrap();
    if output.status.signal().is_some() {
        return Err(());
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{said}");
    assert!(output.status.success(), "{said}");
    let told = std::fs::read_to_string(&order.outcome).unwrap();
    Ok(serde_json::from_str(&told).unwrap())
}

/// The world before the story's step.
async fn prepare(world: &World, story: Story, images: &Images) {
    if story == Story::First {
        return;
    }
    world.deploy(plain(&version(1, images))).await.outputs();
    match story {
        Story::Undo => {
            let slow = documents(&[
                &config("a", "2"),
                &config("extra", "1"),
                &frozen("2"),
                &settings("2"),
                &web(&images.v2, r#", {name: START_DELAY, value: "600"}"#),
            ]);
            let task = world.task(Action::RollingDeploy(plain(&slow)));
            let log = Arc::new(Log::default());
            let mut env = world.env(log.clone());
            env.cancel = CancellationToken::new();
            let cancel = async {
                log.says("Progressing").await;
                env.cancel.cancel();
            };
            let (outcome, ()) = tokio::join!(sortie_step::run(&task, &env), cancel);
            assert!(matches!(outcome, Outcome::Aborted), "{outcome:?}");
        }
        Story::Choose => {
            // Both records are kept.
            let mut env = world.env(Arc::new(Log::default()));
            env.limits.history = 5;
            let options: RollingDeploy = plain(&version(2, images));
            let task = world.task(Action::RollingDeploy(options));
            let outcome = sortie_step::run(&task, &env).await;
            assert!(matches!(outcome, Outcome::Succeeded { .. }), "{outcome:?}");
        }
        Story::First | Story::Second => {}
    }
}

/// Tells the story with a death at the place; says whether the place was reached.
async fn survive(place: Place, images: &Images) -> bool {
    let mut world = World::new(&format!("crash_{}", place.text().replace(':', "_"))).await;
    world.limits = limits(1);
    let story = place.story;
    prepare(&world, story, images).await;
    let folder = tempfile::tempdir().unwrap();
    let namespace = match story {
        Story::First => format!("{}-own", world.namespace.name()),
        _ => world.namespace.name().to_owned(),
    };
    let deploy = match story {
        Story::First => {
            let own = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n");
            Some(documents(&[&version(2, images), &own]))
        }
        Story::Second => Some(version(2, images)),
        Story::Undo | Story::Choose => None,
    };
    let order = Order {
        kubeconfig: world.cluster.kubeconfig().display().to_string(),
        task: uuid::Uuid::new_v4().to_string(),
        namespace: namespace.clone(),
        deploy,
        uninstall: false,
        history: 1,
        number: (story == Story::Choose).then_some(1),
        outcome: folder.path().join("outcome").display().to_string(),
    };
    let first = run_process(&order, Some(place)).await;
    let reached = first.is_err();
    let told = match first {
        Ok(told) => told,
        Err(()) => run_process(&order, None).await.unwrap(),
    };
    let end = End::of(&world, &namespace, &order.task).await;
    if story == Story::First {
        world
            .kubectl(&["delete", "namespace", &namespace, "--wait=false"], "")
            .await;
    }
    end.check(place, &told, images);
    world.finish().await;
    reached
}

/// What the cluster looks like at the end.
#[derive(Debug)]
struct End {
    records: Vec<(u64, &'static str, bool)>,
    orphans: usize,
    holder: Option<Value>,
    value: Value,
    frozen: Value,
    extra: bool,
    old: bool,
    settings: usize,
    image: Value,
    available: Value,
}

impl End {
    async fn of(world: &World, namespace: &str, task: &str) -> Self {
        let heads = world.heads_in(namespace).await;
        let parts = Selection::of(sortie_cluster::Resource::secrets(), namespace)
            .where_fields(format!("type={PART_TYPE}"));
        let parts = world.api.list(&parts).await.unwrap();
        let named: std::collections::BTreeSet<String> = heads
            .iter()
            .flat_map(|head| head.parts.iter().chain(&head.kept))
            .map(|part| part.secret_name())
            .collect();
        let release = sortie_cluster::record::Release::new(namespace, RELEASE).unwrap();
        let get = async |kind: &str, name: &str| world.get_in(namespace, kind, name).await;
        let lease = get("coordination.k8s.io/v1/Lease", &release.lease_name()).await;
        let web = get("apps/v1/Deployment", "web").await.unwrap_or_default();
        let field = |value: &Value, pointer: &str| value.pointer(pointer).cloned();
        Self {
            records: heads
                .iter()
                .map(|head| (head.number, head.status.name(), head.asked_by.task == task))
                .collect(),
            orphans: parts
                .iter()
                .filter(|part| !named.contains(part["metadata"]["name"].as_str().unwrap()))
                .count(),
            holder: lease.and_then(|lease| field(&lease, "/spec/holderIdentity")),
            value: get("v1/ConfigMap", "a").await.unwrap_or_default()["data"]["a"].clone(),
            frozen: get("v1/ConfigMap", "frozen").await.unwrap_or_default()["data"]["a"].clone(),
            extra: get("v1/ConfigMap", "extra").await.is_some(),
            settings: versioned_settings(world, namespace).await,
            old: get("v1/ConfigMap", "old").await.is_some(),
            image: field(&web, "/spec/template/spec/containers/0/image").unwrap_or_default(),
            available: field(&web, "/status/availableReplicas").unwrap_or_default(),
        }
    }

    fn check(&self, place: Place, told: &Value, images: &Images) {
        let number = match place.story {
            Story::First | Story::Undo => 1,
            Story::Second => 2,
            Story::Choose => told["releaseNumber"].as_u64().unwrap_or_default(),
        };
        let context = format!("{place:?}: {told} {self:?}");
        assert_eq!(told["releaseNumber"], number, "{context}");
        let records: &[(u64, &str, bool)] = match place.story {
            Story::First => &[(1, "Succeeded", true)],
            Story::Second => &[(2, "Succeeded", true)],
            Story::Undo => &[(1, "Succeeded", false), (2, "Failed", false)],
            Story::Choose => &[(3, "Succeeded", true)],
        };
        assert_eq!(self.records, records, "{context}");
        assert_eq!(self.orphans, 0, "{context}");
        assert!(self.holder.is_none(), "{context}");
        let new = matches!(place.story, Story::First | Story::Second);
        assert_eq!(self.value, if new { "2" } else { "1" }, "{context}");
        assert_eq!(self.frozen, if new { "2" } else { "1" }, "{context}");
        assert_eq!(self.extra, new, "{context}");
        assert_eq!(self.old, !new, "{context}");
        // What only a record that is gone named is collected.
        let settings = if place.story == Story::Undo { 2 } else { 1 };
        assert_eq!(self.settings, settings, "{context}");
        let image = if new { &images.v2 } else { &images.v1 };
        assert_eq!(self.image, image.as_str(), "{context}");
        assert_eq!(self.available, 1, "{context}");
    }
}

async fn versioned_settings(world: &World, namespace: &str) -> usize {
    let maps = world.api.resolve("", "v1", "ConfigMap").await.unwrap();
    let maps = world
        .api
        .list(&Selection::of(maps, namespace))
        .await
        .unwrap();
    let versioned = maps.iter().filter(|map| {
        let annotations = &map["metadata"]["annotations"];
        annotations["sortie.dev/original-name"] == "settings"
    });
    versioned.count()
}

fn all_places() -> Vec<Place> {
    let mut places = Vec::new();
    for story in Story::ALL {
        for point in story.points() {
            for side in ["before", "after"] {
                places.push(Place {
                    story,
                    point: *point,
                    side,
                    time: 1,
                });
            }
        }
    }
    places
}

/// Some of them, at random.
fn sampled(mut places: Vec<Place>) -> Vec<Place> {
    let mut seed = uuid::Uuid::new_v4().as_u128();
    while places.len() > SAMPLE {
        let count = places.len() as u128;
        places.swap_remove(usize::try_from(seed % count).unwrap());
        seed /= count;
    }
    places
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_runs_a_killed_task_again_reaches_its_end() {
    let cluster = Cluster::shared().await.unwrap();
    let images = Images {
        v1: cluster.image("sample-v1").await.unwrap(),
        v2: cluster.image("sample-v2").await.unwrap(),
    };
    let full = variable("SORTIE_FULL").is_some();
    let places = if full {
        all_places()
    } else {
        sampled(all_places())
    };
    let images = &images;
    let deaths = places.into_iter().map(|mut place| async move {
        println!("{place:?}");
        assert!(survive(place, images).await, "{place:?} is not reached");
        while full && !matches!(place.point, Point::LeaseRenew) {
            place.time += 1;
            if !survive(place, images).await {
                break;
            }
        }
    });
    stream::iter(deaths)
        .buffer_unordered(3)
        .collect::<Vec<()>>()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_task_left_behind_is_no_obstacle_for_others() {
    let mut world = World::new("left_behind").await;
    world.limits = limits(5);
    let folder = tempfile::tempdir().unwrap();
    let order = Order {
        kubeconfig: world.cluster.kubeconfig().display().to_string(),
        task: uuid::Uuid::new_v4().to_string(),
        namespace: world.namespace.name().to_owned(),
        deploy: Some(config("a", "1")),
        uninstall: false,
        history: 5,
        number: None,
        outcome: folder.path().join("outcome").display().to_string(),
    };
    let place = Place {
        story: Story::First,
        point: Point::Apply,
        side: "after",
        time: 1,
    };
    run_process(&order, Some(place)).await.unwrap_err();
    assert_eq!(world.statuses().await, ["InProgress"]);
    world.deploy(plain(&config("a", "2"))).await.outputs();
    assert_eq!(world.statuses().await, ["Failed", "Succeeded"]);

    // The killed task comes back too late.
    let told = run_process(&order, None).await.unwrap();
    assert!(told.to_string().contains("SRT-T014"), "{told}");
    let value = world.get("v1/ConfigMap", "a").await.unwrap();
    assert_eq!(value["data"]["a"], "2");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_point_happens_in_a_story_or_in_none() {
    // A point that nobody reaches is one that nobody tests. These are not about releases, or of later steps.
    let unused = [Point::Patch, Point::IdentityCreate, Point::IdentityUpdate];
    for point in Point::ALL {
        let mut stories = Story::ALL.iter();
        let told = crate::uninstalling::POINTS.contains(&point)
            || stories.any(|story| story.points().contains(&point));
        assert_ne!(told, unused.contains(&point), "{point:?}");
    }
}
