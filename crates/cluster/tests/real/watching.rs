use std::time::Duration;

use serde_json::json;
use sortie_cluster::watch::Selection;

use crate::fixture::{Fixture, config_map, meddle, objects};

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future)
        .await
        .expect("nothing within 30 s")
}

async fn maps(fixture: &Fixture) -> Selection {
    let resource = fixture
        .cluster
        .resolve("", "v1", "ConfigMap")
        .await
        .unwrap();
    Selection::of(resource, fixture.ns())
}

#[tokio::test]
async fn a_view_follows_creation_change_and_deletion() {
    let fixture = Fixture::new("view").await;
    let ours = format!("sortie.dev/release={}", fixture.scope().release);
    let mut watched = fixture
        .cluster
        .watch(maps(&fixture).await.labelled(ours))
        .await
        .unwrap();
    assert!(watched.view().objects.is_empty());
    fixture
        .apply(objects(fixture.ns(), &config_map("a", "one")))
        .await;
    // Not of the release, so not in the view.
    meddle(
        &fixture,
        "x",
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}}),
    )
    .await;
    let first = within(watched.until(|view| view.objects.get("a").cloned())).await;
    assert_eq!(first["kind"], "ConfigMap");
    assert_eq!(first["metadata"].get("managedFields"), None);
    fixture
        .apply(objects(fixture.ns(), &config_map("a", "two")))
        .await;
    within(watched.until(|view| (view.objects.get("a")?["data"]["key"] == "two").then_some(())))
        .await;
    let applied = fixture
        .apply(objects(fixture.ns(), &config_map("a", "two")))
        .await;
    let doomed = sortie_cluster::delete::Doomed {
        id: applied[0].id.clone(),
        uid: None,
        release: None,
    };
    let guard = sortie_cluster::lease::Guard::unfenced();
    fixture
        .cluster
        .delete(&doomed, Duration::from_secs(30), &guard)
        .await
        .unwrap();
    within(watched.until(|view| view.objects.is_empty().then_some(()))).await;
    fixture.finish().await;
}

#[tokio::test]
async fn equal_selections_share_one_watch_until_the_last_handle_is_dropped() {
    let fixture = Fixture::new("shared").await;
    let selection = maps(&fixture).await;
    let first = fixture.cluster.watch(selection.clone()).await.unwrap();
    let second = fixture.cluster.watch(selection.clone()).await.unwrap();
    assert!(first.shares_with(&second));
    drop(first);
    // The watch goes on for the second handle.
    let mut second = second;
    fixture
        .apply(objects(fixture.ns(), &config_map("a", "one")))
        .await;
    within(second.until(|view| view.objects.get("a").cloned())).await;
    let mut metadata = selection;
    metadata.metadata_only = true;
    let other = fixture.cluster.watch(metadata).await.unwrap();
    assert!(!other.shares_with(&second));
    let object = other.view().objects.get("a").cloned().unwrap();
    assert_eq!(
        (object.get("data"), &object["kind"]),
        (None, &json!("ConfigMap"))
    );
    fixture.finish().await;
}
