//! Two processes at work on one release at the same time.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use serde_json::Value;
use sortie_testkit::effects;

use crate::crashing::ground::{Ground, Who};
use crate::crashing::process::{Halt, limits};
use crate::crashing::story::{Story, version};
use crate::crashing::{Deed, Scene, at_once, none_of, whole};

/// A number below the bound.
fn draw(below: u128) -> u64 {
    u64::try_from(uuid::Uuid::new_v4().as_u128() % below).unwrap()
}

/// What is wrong after both have ended.
async fn race(started_apart: Duration, skew: i64) -> Vec<String> {
    let mut scene = Scene::set(Story::Second, "race").await;
    scene.order.history = 5;
    scene.world.limits = limits(5);
    let mut start = |who: Who, number: u32, skew: i64| {
        scene.order.task = uuid::Uuid::new_v4().to_string();
        scene.order.deed = Deed::Deploy(version(number));
        scene.skew = skew;
        scene.start(who, &Halt::Nowhere)
    };
    let mut first = start(Who::First, 2, skew);
    first.ends_within(started_apart).await;
    let second = start(Who::Second, 3, -skew);
    let (first, second) = tokio::join!(first.end(), second.end());
    let (first, second) = (first.unwrap(), second.unwrap());

    let mut wrong = Vec::new();
    let number = |told: &Value| told["releaseNumber"].as_u64();
    let mut numbers = [number(&first), number(&second)];
    numbers.sort_unstable();
    if numbers != [Some(2), Some(3)] {
        wrong.push(format!("told {first} and {second}"));
    }
    let effects = scene.effects().await;
    let turns = effects::turns(&effects);
    if turns.len() != 2 {
        wrong.push(format!("they wrote in turn: {turns:?}"));
    }
    let statuses = scene.world.statuses().await;
    if statuses != ["Superseded", "Superseded", "Succeeded"] {
        wrong.push(format!("{statuses:?}"));
    }
    // What is there is what the last has written.
    let last = if number(&first) == Some(3) { "2" } else { "3" };
    let a = scene.world.get("v1/ConfigMap", "a").await.unwrap();
    let web = scene.world.get("apps/v1/Deployment", "web").await.unwrap();
    let image = web.pointer("/spec/template/spec/containers/0/image");
    if a["data"]["a"] != last || image.unwrap() != format!("example.com/web:{last}").as_str() {
        wrong.push(format!("{} and {image:?}, not {last}", a["data"]));
    }
    let head = scene.world.heads().await.pop().unwrap();
    for (id, live) in scene
        .world
        .api
        .survey(
            head.inventory
                .iter()
                .map(|tracked| tracked.id.clone())
                .collect(),
        )
        .await
    {
        let live = live.unwrap().unwrap_or_default();
        if live["metadata"]["uid"].as_str() != head.uid(&id) {
            wrong.push(format!("{id} is another than the record says"));
        }
    }
    scene.close().await;
    wrong
}

#[tokio::test(flavor = "multi_thread")]
async fn two_deployments_of_one_release_never_interleave() {
    let _ground = Ground::shared().await;
    let count = if whole() { 40 } else { 4 };
    let races = (0..count).map(|number| async move {
        let apart = Duration::from_millis(draw(2500));
        // Every other pair disagrees about the time of day by days.
        let skew = if number % 2 == 0 { 0 } else { 200_000 };
        let wrong = race(apart, skew).await;
        let named = wrong
            .into_iter()
            .map(|text| format!("{apart:?} apart, {skew} s skewed: {text}"));
        named.collect::<Vec<_>>()
    });
    let failures: Vec<Vec<String>> = stream::iter(races)
        .buffer_unordered(at_once())
        .collect()
        .await;
    none_of(&failures.concat());
}
