//! Trying a set out: rendered and judged, and not written.

use sortie_step::task::{Action, Set};

use crate::applying::set;
use crate::world::{APP, World, config, documents, inline};

#[tokio::test]
async fn a_set_is_rendered_and_judged_and_not_written() {
    let world = World::new("dry_run").await;
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: key}\nstringData: {a: hunter2}\n";
    let yaml = documents(&[&config("a", "1"), secret]);
    let told = world.run(&world.task(Action::DryRun(set(&yaml)))).await;
    let manifest = told.outputs()["manifest"].as_str().unwrap();
    assert!(
        manifest.contains("kind: ConfigMap") && manifest.contains("kind: Secret"),
        "{manifest}"
    );
    assert!(!manifest.contains("hunter2"), "{manifest}");
    assert!(
        !format!("{:?}", told.lines).contains("hunter2"),
        "{:?}",
        told.lines
    );
    assert!(told.said("would be created"), "{:?}", told.lines);
    assert!(!manifest.contains("sortie.dev/release"), "as rendered");
    world
        .assert_untouched(&[("v1/ConfigMap", "a"), ("v1/Secret", "key")])
        .await;
    let leases = world.kubectl(&["get", "leases", "-o", "name"], "").await;
    assert_eq!(leases.trim(), "");
    // Templates are rendered with their values.
    let templated = Set {
        manifests: inline(&[("app.yaml", APP)]),
        values: inline(&[(
            "values.yaml",
            "greeting: hello\npassword: hunter2\nimage: example.com/web:1\nreplicas: 1\nport: 80\n",
        )]),
        ..Set::default()
    };
    let told = world.run(&world.task(Action::DryRun(templated))).await;
    assert!(
        told.outputs()["manifest"]
            .as_str()
            .unwrap()
            .contains("greeting: hello")
    );
    world.finish().await;
}

#[tokio::test]
async fn what_the_api_server_refuses_or_is_too_large_is_told() {
    let world = World::new("dry_run_refused").await;
    let bad =
        "apiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec: {ports: [{port: 99999}]}\n";
    let told = world.run(&world.task(Action::DryRun(set(bad)))).await;
    assert_eq!(told.failure().code, "SRT-C005", "{:?}", told.failure());
    let files: Vec<(String, String)> = (0..6)
        .map(|number| {
            let name = format!("large-{number}");
            (
                format!("{name}.yaml"),
                config(&name, &"x".repeat(1_000_000)),
            )
        })
        .collect();
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    let large = Set {
        manifests: inline(&files),
        ..Set::default()
    };
    let told = world.run(&world.task(Action::DryRun(large))).await;
    assert_eq!(told.failure().code, "SRT-T047", "{:?}", told.failure());
    world.finish().await;
}
