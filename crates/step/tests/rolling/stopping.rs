//! A process that is stopped at any of its writes, and goes on after another has taken its release over, writes nothing
//! more: both together have the effects of one that nothing happened to.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use sortie_cluster::fault::Point;
use sortie_testkit::effects::{self, Effect};

use crate::crashing::ground::{Ground, Who};
use crate::crashing::process::{Halt, limits};
use crate::crashing::story::Story;
use crate::crashing::{
    Deed, Place, Scene, Told, at_once, differences, none_of, undisturbed, whole,
};
use crate::world::config;

/// What the first process has written after the second took its place.
fn too_late(effects: &[Effect]) -> Vec<String> {
    let late = effects::late(effects, &Who::First.user(), &Who::Second.user());
    let described = late.into_iter().filter(|late| {
        // The namespace is made before there is a lease; made again, it is as it was.
        let same = |other: &&Effect| other.uid == late.uid && other.version == late.version;
        late.resource != "namespaces" || effects.iter().filter(same).count() == 1
    });
    described
        .map(|late| format!("{} {} after another took over", late.verb, late.key))
        .collect()
}

/// Tells the story with the first process stopped at the place until the second has ended; what went otherwise.
async fn outlive(place: Place, undisturbed: &Told) -> Vec<String> {
    let name = format!("stop_{}", place.text().replace(':', "_"));
    let mut scene = Scene::set(place.story, &name).await;
    let first = scene.start(Who::First, &Halt::Stop(place.text()));
    if !first.stands_still().await {
        first.end().await;
        scene.close().await;
        return match place.is_certain() {
            true => vec!["is not reached".to_owned()],
            false => Vec::new(),
        };
    }
    scene.epoch += 1;
    let second = scene.start(Who::Second, &Halt::Nowhere).end().await;
    first.go_on();
    // What it says is of no interest: it may have been done, or has learnt that it is not needed.
    assert!(first.end().await.is_some(), "it died: {place:?}");
    let told = scene.told(second.unwrap()).await;
    scene.close().await;
    let mut found = differences(undisturbed, &told);
    // Who waited for its turn takes it, and gives it back when it finds nothing to do.
    let waited = matches!(place.point, Point::NamespaceCreate | Point::LeaseCreate)
        || (place.point == Point::LeaseTake && place.side == "before");
    found.retain(|text| !waited || !text.starts_with("leases."));
    found.extend(too_late(&told.effects));
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_stopped_and_replaced_writes_nothing_more() {
    let _ground = Ground::shared().await;
    let mut places = Place::chosen(1);
    if places.len() == Story::ALL.len() {
        // A sample, of which each story is told with a death as well.
        places.truncate(places.len().div_ceil(2));
    }
    let stops = places.into_iter().map(|place| async move {
        println!("{place:?}");
        let found = outlive(place, undisturbed(place.story).await).await;
        let named = found.into_iter().map(|text| format!("{place:?}: {text}"));
        named.collect::<Vec<_>>()
    });
    let failures: Vec<Vec<String>> = stream::iter(stops)
        .buffer_unordered(at_once())
        .collect()
        .await;
    none_of(&failures.concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_was_permitted_before_a_stop_is_not_sent_after_it() {
    // What the first was about to write, nobody else writes: only its own check keeps it from doing so.
    let mut scene = Scene::set(Story::Waves, "permitted").await;
    scene.order.history = 5;
    scene.world.limits = limits(5);
    scene.order.deed = Deed::Deploy(config("a", "1"));
    let first = scene.start(Who::First, &Halt::Stop("apply:before:1".to_owned()));
    assert!(first.stands_still().await);
    let former = scene.order.clone();
    scene.order.task = uuid::Uuid::new_v4().to_string();
    scene.order.deed = Deed::Deploy(config("b", "1"));
    let told = scene.start(Who::Second, &Halt::Nowhere).end().await;
    assert_eq!(told.unwrap()["releaseNumber"], 2);
    first.go_on();
    let told = first.end().await.unwrap().to_string();
    assert!(told.contains("lease"), "{told}");
    assert!(scene.world.get("v1/ConfigMap", "a").await.is_none());
    assert_eq!(scene.world.statuses().await, ["Failed", "Succeeded"]);
    let effects = scene.effects().await;
    assert_eq!(too_late(&effects), Vec::<String>::new());

    // Its task is over, whoever asks again.
    scene.order = former;
    let told = scene.start(Who::First, &Halt::Nowhere).end().await;
    assert!(told.unwrap().to_string().contains("SRT-T014"));
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_stop_is_no_reason_to_give_up() {
    let scene = Scene::set(Story::Second, "short_stop").await;
    let first = scene.start(Who::First, &Halt::Stop("apply:after:1".to_owned()));
    assert!(first.stands_still().await);
    first.go_on();
    let told = first.end().await.unwrap();
    assert_eq!(told["releaseNumber"], 2);
    scene.close().await;
}

/// Stops anywhere, not only at writes.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_stopped_anywhere_writes_nothing_more() {
    let _ground = Ground::shared().await;
    let count = if whole() { 60 } else { 2 };
    let stops = (0..count).map(|number| async move {
        let story = if number % 2 == 0 {
            Story::Second
        } else {
            Story::Hooks
        };
        let undisturbed = undisturbed(story).await;
        let mut scene = Scene::set(story, "stop_anywhere").await;
        let after = Duration::from_millis(300 + uuid::Uuid::new_v4().as_u128() as u64 % 2500);
        let mut first = scene.start(Who::First, &Halt::Nowhere);
        let ended = first.ends_within(after).await;
        if !ended {
            first.stop();
        }
        scene.epoch += 1;
        let second = scene.start(Who::Second, &Halt::Nowhere).end().await;
        if !ended {
            first.go_on();
        }
        first.end().await;
        let second = second.unwrap();
        let told = scene.told(second).await;
        scene.close().await;
        let mut found = differences(undisturbed, &told);
        found.extend(too_late(&told.effects));
        let named = found
            .into_iter()
            .map(|text| format!("{story:?} after {after:?}: {text}"));
        named.collect::<Vec<_>>()
    });
    let failures: Vec<Vec<String>> = stream::iter(stops)
        .buffer_unordered(at_once())
        .collect()
        .await;
    none_of(&failures.concat());
}
