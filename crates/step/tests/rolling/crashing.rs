//! A step that is killed before or after any of its writes, and run again by another process, has the same effects and
//! reaches the same end as one that nothing happened to.
//!
//! The killed process is this test program itself. A sample of all places is tried; with `SORTIE_FULL=1` every place is,
//! again and again until it is not reached any more. `SORTIE_PLACES=Second:apply:before:1,...` tries these.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use futures::{StreamExt as _, stream};
use sortie_cluster::fault::Point;
use sortie_testkit::effects::{self, Effect};
use sortie_testkit::{Chronicle, SERVING};
use tokio::sync::{Mutex, OnceCell};

use self::end::End;
use self::ground::{Ground, Who};
pub(crate) use self::process::{Deed, Order, limits, run_until};
use self::process::{Halt, Nature, Process};
use self::story::Story;
use crate::world::{World, config, plain};

pub(crate) mod act;
pub(crate) mod colors;
pub(crate) mod end;
pub(crate) mod ground;
pub(crate) mod observer;
pub(crate) mod process;
pub(crate) mod story;

/// Stories that are told at the same time: each of them waits most of its time, but its lease is short.
pub(crate) fn at_once() -> usize {
    if whole() { 6 } else { 4 }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the order of the parent process, and the switches of the tests"
)]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Whether every place is to be tried.
pub(crate) fn whole() -> bool {
    variable("SORTIE_FULL").is_some()
}

/// Points that no step of a release passes.
const ELSEWHERE: [(Point, &str); 2] = [
    (
        Point::IdentityCreate,
        "the delegate's own certificate, when it enrols",
    ),
    (
        Point::IdentityUpdate,
        "the delegate's own certificate, when it is renewed",
    ),
];

/// A place to die or to stand still.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) story: Story,
    pub(crate) point: Point,
    pub(crate) side: &'static str,
    pub(crate) time: u32,
}

impl Place {
    pub(crate) fn text(self) -> String {
        format!("{}:{}:{}", self.point.name(), self.side, self.time)
    }

    /// Whether the story passes it whatever the machine does. A lease is renewed only in stories that last.
    pub(crate) const fn is_certain(self) -> bool {
        !matches!(self.point, Point::LeaseRenew)
    }

    /// Each first passing in each story.
    fn all() -> Vec<Self> {
        let mut places = Vec::new();
        for story in Story::ALL {
            for point in story.points() {
                for side in ["before", "after"] {
                    places.push(Self {
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

    /// Those that somebody asked for, or all of the whole run, or `count` of each story at random.
    pub(crate) fn chosen(count: usize) -> Vec<Self> {
        if let Some(wanted) = variable("SORTIE_PLACES") {
            let is_wanted = |place: &Self| {
                let name = format!("{:?}:{}", place.story, place.text());
                wanted.split(',').any(|wanted| name.starts_with(wanted))
            };
            let mut places = Self::all();
            places.retain(is_wanted);
            return places;
        }
        let mut places = Self::all();
        if whole() {
            return places;
        }
        let mut random = uuid::Uuid::new_v4().as_u128();
        let mut draw = |below: usize| {
            let drawn = usize::try_from(random % below as u128).unwrap();
            random /= below as u128;
            drawn
        };
        let mut sample = Vec::new();
        for story in Story::ALL {
            for _ in 0..count {
                let of_story: Vec<usize> = (0..places.len())
                    .filter(|at| places[*at].story == story)
                    .collect();
                sample.push(places.swap_remove(of_story[draw(of_story.len())]));
            }
        }
        sample
    }
}

/// How a story went.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) end: End,
    pub(crate) effects: Vec<Effect>,
    /// What nobody may ever see, and somebody could have.
    pub(crate) violations: Vec<String>,
}

/// A story whose step is about to begin.
pub(crate) struct Scene {
    pub(crate) ground: Arc<Ground>,
    pub(crate) world: World,
    pub(crate) story: Story,
    pub(crate) order: Order,
    pub(crate) epoch: u64,
    pub(crate) skew: i64,
    log: u64,
    chronicle: Mutex<Chronicle>,
}

impl Scene {
    pub(crate) async fn set(story: Story, name: &str) -> Self {
        let ground = Ground::shared().await;
        let mut world = World::on(ground.cluster.clone(), name).await;
        world.limits = limits(1);
        story.prepare(&world).await;
        let namespace = story.namespace(&world);
        let order = Order {
            kubeconfig: String::new(),
            task: uuid::Uuid::new_v4().to_string(),
            deed: story.deed(&namespace),
            namespace,
            history: 1,
            outcome: String::new(),
        };
        let log = ground.cluster.audit_place().await.unwrap();
        let chronicle = Chronicle::start(&ground.cluster, &order.namespace, &SERVING).await;
        Self {
            ground,
            world,
            story,
            order,
            epoch: 1,
            skew: 0,
            log,
            chronicle: Mutex::new(chronicle.unwrap()),
        }
    }

    /// Lets a process carry the step out.
    pub(crate) fn start(&self, who: Who, halt: &Halt) -> Process {
        let order = Order {
            kubeconfig: self.ground.kubeconfig(who).display().to_string(),
            outcome: self.ground.file().display().to_string(),
            ..self.order.clone()
        };
        let nature = Nature {
            holder: who.name().to_owned(),
            epoch: self.epoch,
            skew: self.skew,
        };
        Process::start(&order, &nature, halt)
    }

    /// What has happened so far.
    pub(crate) async fn effects(&self) -> Vec<Effect> {
        let log = self.ground.cluster.audit_log_since(self.log).await.unwrap();
        effects::read(&log, &self.order.namespace).unwrap()
    }

    /// How it went, now that the last process has told.
    pub(crate) async fn told(&self, told: serde_json::Value) -> Told {
        let effects = self.effects().await;
        // Of a release that is gone nobody knows what went.
        let told = match self.story {
            Story::Uninstall => serde_json::Value::Null,
            _ => told,
        };
        let end = End::of(&self.world, &self.order.namespace, &self.order.task, told).await;
        Told {
            end,
            effects,
            violations: self.violations().await,
        }
    }

    /// What nobody may ever see, and could have been seen so far.
    async fn violations(&self) -> Vec<String> {
        let mut chronicle = self.chronicle.lock().await;
        let history = chronicle.so_far().await.unwrap();
        match self.story {
            // It is what an uninstallation is for.
            Story::Uninstall => Vec::new(),
            story => observer::violations(history, story.sharing()),
        }
    }

    pub(crate) async fn close(self) {
        self.story.clean(&self.world, &self.order.namespace).await;
        self.world.finish().await;
    }
}

/// How the story goes when nothing happens; told once for all tests.
pub(crate) async fn undisturbed(story: Story) -> &'static Told {
    static TOLD: LazyLock<HashMap<Story, OnceCell<Told>>> =
        LazyLock::new(|| Story::ALL.map(|story| (story, OnceCell::new())).into());
    let tell = async || {
        let scene = Scene::set(story, &format!("whole_{story:?}")).await;
        let told = scene.start(Who::First, &Halt::Nowhere).end().await.unwrap();
        let told = scene.told(told).await;
        scene.close().await;
        let records: Vec<_> = told.end.records.iter().map(summary).collect();
        assert_eq!(records, story.records(), "{story:?}: {told:?}");
        assert!(
            told.end.orphans.is_empty() && told.end.holder.is_none(),
            "{told:?}"
        );
        assert!(!told.effects.is_empty());
        assert_eq!(told.violations, Vec::<String>::new(), "{story:?}");
        told
    };
    TOLD[&story].get_or_init(tell).await
}

fn summary(record: &serde_json::Value) -> (u64, &str) {
    (
        record["number"].as_u64().unwrap(),
        record["status"].as_str().unwrap(),
    )
}

/// How a story went otherwise than if nothing had happened; empty when it did not.
pub(crate) fn differences(undisturbed: &Told, told: &Told) -> Vec<String> {
    let mut differences = effects::differences(&undisturbed.effects, &told.effects);
    differences.extend(undisturbed.end.differences(&told.end));
    differences.extend(told.violations.iter().cloned());
    differences
}

/// Fails when stories went otherwise.
pub(crate) fn none_of(failures: &[String]) {
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Tells the story with a death at the place; says whether the place was reached, and what went otherwise.
async fn survive(place: Place, undisturbed: &Told) -> (bool, Vec<String>) {
    let name = format!("crash_{}", place.text().replace(':', "_"));
    let scene = Scene::set(place.story, &name).await;
    let halt = Halt::Die(place.text());
    let first = scene.start(Who::First, &halt).end().await;
    let reached = first.is_none();
    let told = match first {
        Some(told) => told,
        None => scene
            .start(Who::Second, &Halt::Nowhere)
            .end()
            .await
            .unwrap(),
    };
    let told = scene.told(told).await;
    scene.close().await;
    (reached, differences(undisturbed, &told))
}

/// Tells the story with a death on these sides of a point, in a whole run at each time that it is passed; says on which
/// sides there was one, and what went otherwise.
async fn deaths(sides: &[Place]) -> (Vec<(Point, &'static str)>, Vec<String>) {
    let (mut died, mut failures) = (Vec::new(), Vec::new());
    let mut places = sides.to_vec();
    while !places.is_empty() {
        let mut again = Vec::new();
        for place in places {
            println!("{place:?}");
            let (reached, found) = survive(place, undisturbed(place.story).await).await;
            failures.extend(found.into_iter().map(|text| format!("{place:?}: {text}")));
            if reached {
                died.push((place.point, place.side));
                let time = place.time + 1;
                again.push(Place { time, ..place });
            } else if place.time > 1 && place.side == "before" {
                // What is not begun is not done, either.
                break;
            } else if place.time == 1 && place.is_certain() {
                failures.push(format!("{place:?} is not reached"));
            }
        }
        again.retain(|place| whole() && place.is_certain());
        places = again;
    }
    (died, failures)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_runs_a_killed_task_again_has_its_effects_and_reaches_its_end() {
    let _ground = Ground::shared().await;
    let places = Place::chosen(1);
    let points = places.chunk_by(|a, b| a.story == b.story && a.point == b.point);
    let told: Vec<_> = stream::iter(points.map(deaths))
        .buffer_unordered(at_once())
        .collect()
        .await;
    let (died, failures): (Vec<_>, Vec<_>) = told.into_iter().unzip();
    none_of(&failures.concat());
    if whole() {
        // What one story may be too short for, another has passed.
        let died: HashSet<_> = died.concat().into_iter().collect();
        let mut sides = places.iter().map(|place| (place.point, place.side));
        assert_eq!(sides.find(|side| !died.contains(side)), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_task_left_behind_is_no_obstacle_for_others() {
    let mut scene = Scene::set(Story::Waves, "left_behind").await;
    scene.order.deed = Deed::Deploy(config("a", "1"));
    scene.order.history = 5;
    scene.world.limits = limits(5);
    let died = scene.start(Who::First, &Halt::Die("apply:after".to_owned()));
    assert_eq!(died.end().await, None);
    assert_eq!(scene.world.statuses().await, ["InProgress"]);
    scene.world.deploy(plain(&config("a", "2"))).await.outputs();
    assert_eq!(scene.world.statuses().await, ["Failed", "Succeeded"]);

    // The killed task comes back too late.
    let told = scene.start(Who::First, &Halt::Nowhere).end().await.unwrap();
    assert!(told.to_string().contains("SRT-T014"), "{told}");
    let value = scene.world.get("v1/ConfigMap", "a").await.unwrap();
    assert_eq!(value["data"]["a"], "2");
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planted_duplicate_is_found() {
    let scene = Scene::set(Story::Hooks, "planted").await;
    let told = scene.start(Who::First, &Halt::Nowhere).end().await.unwrap();
    let told = scene.told(told).await;
    // What a step would do that did not know what had been done.
    let second = [
        "--kubeconfig",
        &scene.ground.kubeconfig(Who::Second).display().to_string(),
    ]
    .map(str::to_owned);
    let act = async |args: &[&str]| {
        let second = second.each_ref().map(String::as_str);
        scene.world.kubectl(&[&second[..], args].concat(), "").await
    };
    let job = act(&["get", "jobs", "-o", "name"]).await;
    let again = ["create", "job", "again", "--image=example.com/job:1"];
    act(&again).await;
    act(&["delete", job.trim(), "--wait=true"]).await;
    act(&["annotate", "configmap", "a", "touched=yes"]).await;
    let again = scene.told(told.end.told.clone()).await;
    let found = effects::differences(&told.effects, &again.effects).join("\n");
    for expected in [
        "jobs.batch again created 1 times, not 0",
        "configmaps a changed 2 times, not 1",
        "deleted 1 times, not 0",
    ] {
        assert!(found.contains(expected), "{found}");
    }
    let found = told.end.differences(&again.end).join("\n");
    for expected in ["Job again", "Job before", "ConfigMap a"] {
        assert!(found.contains(expected), "{found}");
    }
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_may_ever_see_is_noticed() {
    let scene = Scene::set(Story::Canary, "noticed").await;
    let told = scene.start(Who::First, &Halt::Nowhere).end().await.unwrap();
    assert_eq!(scene.told(told).await.violations, Vec::<String>::new());
    // In the end all of it is as it was.
    let pods = ["delete", "pods", "-l", "app=web", "--wait=false"];
    scene.world.kubectl(&pods, "").await;
    for app in ["nobody", "web"] {
        let patch = format!(r#"{{"spec": {{"selector": {{"app": "{app}"}}}}}}"#);
        let args = ["patch", "service", "web", "-p", &patch];
        scene.world.kubectl(&args, "").await;
    }
    let noticed = scene.violations().await.join("; ");
    for expected in ["NobodyServes", "the Service web is without a ready pod"] {
        assert!(noticed.contains(expected), "{noticed}");
    }
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_workload_and_its_canary_lack_together_is_noticed() {
    let scene = Scene::set(Story::Progressive, "shared_noticed").await;
    let told = scene.start(Who::First, &Halt::Nowhere).end().await.unwrap();
    assert_eq!(scene.told(told).await.violations, Vec::<String>::new());
    let act = async |args: &[&str]| scene.world.kubectl(args, "").await;
    let canary = "--selector=sortie.dev/track=canary";
    act(&["scale", "deployment", "web-canary", "--replicas=0"]).await;
    act(&["wait", "--for=delete", "pod", canary, "--timeout=60s"]).await;
    act(&["scale", "deployment", "web", "--replicas=4"]).await;
    act(&["rollout", "status", "deployment/web", "--timeout=60s"]).await;
    let noticed = scene.violations().await.join("; ");
    for expected in [
        "Abandoned",
        "Unavailable { workload: \"web\", available: 1, least: 2 }",
        "TooMany { workload: \"web\", pods: 4, most: 3 }",
    ] {
        assert!(noticed.contains(expected), "{noticed}");
    }
    scene.close().await;
}

#[test]
fn every_point_happens_in_a_story_or_is_passed_elsewhere() {
    // A point that nobody reaches is one that nobody tests.
    for point in Point::ALL {
        let told = Story::ALL
            .iter()
            .any(|story| story.points().contains(&point));
        let elsewhere = ELSEWHERE.iter().any(|(other, _)| *other == point);
        assert_ne!(told, elsewhere, "{point:?}");
    }
}
