//! Canary and blue-green deployments from here, on the real cluster that tests share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::{Value, json};
use support::world::{World, web};
use support::{Ended, Person};

/// The application behind a Service.
fn app(image: &str) -> String {
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}\n";
    format!("{service}---{}", web(2, image))
}

impl World {
    async fn new(test: &str) -> Self {
        Self::of(test, Person::with_tools()).await
    }

    /// The files have this version from now on.
    async fn version(&self, image: &str) {
        let image = self.cluster.image(image).await.unwrap();
        self.me.file("k8s/app.yaml", &app(&image));
    }

    async fn deploy(&self, strategy: &[&str]) -> Ended {
        let deploy = ["deploy", "k8s", "--strategy"];
        self.on(&[&deploy[..], strategy].concat()).await
    }

    async fn status(&self) -> Value {
        self.on(&["status", "-o", "json"]).await.json()
    }

    async fn replicas(&self, deployment: &str) -> String {
        let path = "jsonpath={.spec.replicas}";
        self.kubectl(&["get", "deployment", deployment, "-o", path])
            .await
    }

    async fn color(&self) -> String {
        let path = r"jsonpath={.spec.selector.sortie\.dev/color}";
        self.kubectl(&["get", "service", "web", "-o", path]).await
    }
}

#[track_caller]
fn refused(ended: &Ended, exit: i32, code: &str, said: &str) {
    assert_eq!(ended.code, exit, "{ended:?}");
    assert!(ended.stderr.contains(&format!("code: {code}")), "{ended:?}");
    assert!(ended.stderr.contains(said), "{said:?}: {ended:?}");
}

#[tokio::test]
async fn options_that_do_not_go_together_are_wrong_use() {
    let me = Person::new();
    me.file("k8s/app.yaml", &app("example.com/web:1"));
    let release = ["-n", "shop", "--release", "web"];
    for (options, said) in [
        (&["--canary", "2"][..], "add --strategy canary"),
        (&["--strategy", "blue-green", "--canary", "25%"], "--canary"),
        (&["--strategy", "canary", "--canary", "0"], "from 1"),
        (&["--strategy", "canary", "--canary", "120%"], "1 to 100 %"),
        (&["--strategy", "canary", "--prune"], "--prune to promote"),
        (&["--strategy", "green-blue"], "blue-green"),
    ] {
        for verb in ["deploy", "diff"] {
            let ended = me
                .sortie(&[&[verb, "k8s"], &release[..], options].concat())
                .await;
            assert_eq!(ended.code, 2, "{ended:?}");
            assert!(ended.stderr.contains(said), "{said:?}: {ended:?}");
        }
    }
    for verb in ["promote", "swap", "cancel"] {
        let ended = me.sortie(&[verb, "-n", "shop"]).await;
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.stderr.contains("--release"), "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_comes_is_looked_at_and_goes_or_is_promoted() {
    let world = World::new("cli_canary").await;
    for verb in ["promote", "swap", "cancel"] {
        refused(
            &world.on(&[verb]).await,
            4,
            "SRT-Z016",
            "there is no release",
        );
    }
    world.version("sample-v1").await;
    world.deploy(&["rolling"]).await.ok();
    for verb in ["promote", "swap"] {
        refused(&world.on(&[verb]).await, 4, "SRT-Z018", "neither a canary");
    }
    let ended = world.on(&["cancel"]).await.ok();
    assert!(ended.stdout.contains("nothing to cancel"), "{ended:?}");

    // What would come is shown before, and nothing is written.
    world.version("sample-v2").await;
    let half = ["canary", "--canary", "50%"];
    let ended = world.on(&["diff", "k8s", "--strategy", "canary"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    let created = "/web-canary: created (k8s/app.yaml:";
    assert!(ended.stdout.contains(created), "{ended:?}");
    assert!(!ended.stdout.contains("/web: "), "{ended:?}");
    let ended = world
        .deploy(&[&half[..], &["--dry-run"]].concat())
        .await
        .ok();
    assert!(ended.stdout.contains("web-canary"), "{ended:?}");

    let ended = world.deploy(&half).await.ok();
    let said = "canary of release shop, number 2, runs in namespace";
    assert!(ended.stdout.contains(said), "{ended:?}");
    assert!(ended.stdout.trim_end().ends_with(": 1 pod"), "{ended:?}");
    assert!(
        ended.stderr.contains("next: `sortie promote PATH..."),
        "{ended:?}"
    );
    let shown = world.status().await;
    assert_eq!(shown["number"], 1, "{shown}");
    assert_eq!(
        (&shown["beside"][0]["number"], &shown["beside"][0]["track"]),
        (&json!(2), &json!("canary"))
    );
    let canary = shown["beside"][0]["objects"].to_string();
    assert!(canary.contains("web-canary"), "{shown}");
    let ended = world.on(&["status"]).await.ok();
    assert!(
        ended.stdout.contains("and number 2, canary: Succeeded"),
        "{ended:?}"
    );
    let ended = world.on(&["history"]).await.ok();
    assert!(
        ended.stdout.contains("2        Succeeded   canary"),
        "{ended:?}"
    );
    let ended = world.on(&["health", "-o", "json"]).await.ok();
    let named = |line: &Value| line["name"] == "web-canary";
    assert!(ended.lines().iter().any(named), "{ended:?}");

    // A rollback knows nothing of it, and says who does.
    let ended = world.on(&["rollback"]).await.ok();
    assert!(ended.stderr.contains("`sortie cancel -n"), "{ended:?}");
    let ended = world.on(&["cancel", "--previous"]).await;
    refused(&ended, 2, "SRT-Z020", "has a canary");

    // Everybody gets what the canary has shown, and nothing else.
    refused(
        &world.on(&["promote"]).await,
        2,
        "SRT-Z020",
        "sortie promote PATH...",
    );
    let same = std::fs::read_to_string(world.me.path().join("k8s/app.yaml")).unwrap();
    world
        .me
        .file("k8s/app.yaml", &same.replace("replicas: 2", "replicas: 3"));
    let ended = world.on(&["promote", "k8s"]).await;
    refused(&ended, 1, "SRT-Z019", "not the one that canary number 2");
    world.me.file("k8s/app.yaml", &same);
    let ended = world
        .on(&["promote", "k8s", "--prune", "-o", "json"])
        .await
        .ok();
    let end = ended.lines().pop().unwrap();
    assert_eq!(end["outputs"]["releaseNumber"], 3, "{end}");
    assert_eq!(end["outputs"]["canaryDeleted"], true, "{end}");
    let left = world.kubectl(&["get", "deployments", "-o", "name"]).await;
    assert_eq!(left.trim(), "deployment.apps/web");
    let shown = world.status().await;
    assert_eq!(
        (&shown["number"], &shown["beside"]),
        (&json!(3), &json!([]))
    );

    // One that fails can be deleted all the same.
    world.version("sample-v3").await;
    let ended = world.deploy(&["canary"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("`sortie cancel -n"), "{ended:?}");
    assert!(!ended.stderr.contains("sortie rollback"), "{ended:?}");
    let shown = world.on(&["status"]).await;
    assert_eq!(shown.code, 1, "{shown:?}");
    assert!(
        shown.stdout.contains("number 4, canary: Failed"),
        "{shown:?}"
    );
    let ended = world.on(&["promote", "k8s"]).await;
    refused(&ended, 1, "SRT-Z019", "did not end well");
    let ended = world.on(&["cancel"]).await.ok();
    let said = "release shop: the canary is deleted from namespace";
    assert!(ended.stdout.contains(said), "{ended:?}");
    world.on(&["status"]).await.ok();
    assert_eq!(world.replicas("web").await, "2");
    world.namespace.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn colours_take_turns_and_a_scaled_one_comes_back() {
    let world = World::new("cli_blue_green").await;
    let (swap, next) = (["swap", "--settle", "0s"], ["blue-green"]);
    world.version("sample-v1").await;
    let ended = world.on(&["diff", "k8s", "--strategy", "blue-green"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stdout.contains("/web-blue: created"), "{ended:?}");
    let ended = world.deploy(&next).await.ok();
    assert!(
        ended.stdout.contains("as blue, behind Service web-stage"),
        "{ended:?}"
    );
    assert!(ended.stderr.contains("next: `sortie swap -n"), "{ended:?}");
    for about_files in ["k8s", "--prune"] {
        let ended = world.on(&["promote", about_files]).await;
        refused(&ended, 2, "SRT-Z020", "leave the PATH out");
    }
    let promote = ["promote", "--settle", "0s"];
    let ended = world.on(&promote).await.ok();
    assert!(
        ended.stdout.contains("number 1 (blue) has the traffic"),
        "{ended:?}"
    );
    assert_eq!(world.color().await, "blue");

    world.version("sample-v2").await;
    world.deploy(&next).await.ok();
    let shown = world.on(&["status"]).await.ok();
    for said in [
        "shop number 1, blue (primary), in namespace",
        "Succeeded; Service web selects it",
        "and number 2, green (stage): Succeeded; Service web-stage selects it",
    ] {
        assert!(shown.stdout.contains(said), "{said:?}: {shown:?}");
    }
    let ended = world.on(&["rollback"]).await;
    refused(&ended, 2, "SRT-Z020", "takes the pods of number 2 (green)");
    let ended = world.on(&["cancel", "--previous"]).await;
    refused(&ended, 2, "SRT-Z020", "has not had the traffic yet");
    // A Service that both colours have is judged by the pods of both, and shown once.
    assert!(!shown.stdout.contains("warning"), "{shown:?}");
    assert_eq!(shown.stdout.matches("web-stage ").count(), 2, "{shown:?}");
    // Deployed in place, the set would let the Service select both colours.
    for verb in [
        &["deploy", "k8s"][..],
        &["diff", "k8s"],
        &["deploy", "k8s", "--strategy", "canary"],
    ] {
        let ended = world.on(verb).await;
        refused(&ended, 2, "SRT-Z020", "add --strategy blue-green");
    }

    let ended = world.on(&[&swap[..], &["-o", "json"]].concat()).await.ok();
    let end = ended.lines().pop().unwrap();
    assert_eq!(end["outputs"]["swapped"], true, "{end}");
    assert_eq!(world.color().await, "green");
    let history = world.on(&["history", "-o", "json"]).await.ok().json();
    let rows = history["items"].as_array().unwrap().iter();
    let roles: Vec<(&Value, &Value)> = rows.map(|row| (&row["color"], &row["role"])).collect();
    assert_eq!(
        roles,
        [
            (&json!("green"), &json!("primary")),
            (&json!("blue"), &json!("stage"))
        ]
    );
    let ended = world.on(&["rollback"]).await;
    refused(&ended, 2, "SRT-Z020", "goes back to number 1 (blue)");
    // The older version is brought back by a swap alone, and loses its pods only where that is meant.
    let ended = world.on(&promote).await;
    refused(
        &ended,
        2,
        "SRT-Z020",
        "has the traffic already: number 2 (green)",
    );
    let ended = world.on(&["cancel"]).await;
    refused(
        &ended,
        2,
        "SRT-Z020",
        "--previous` takes the pods of number 1 (blue)",
    );
    assert_eq!(world.replicas("web-blue").await, "2");
    let ended = world.on(&["cancel", "--previous"]).await.ok();
    let said = "release shop: number 1 (blue) has no pods any more";
    assert!(ended.stdout.contains(said), "{ended:?}");
    assert_eq!(world.replicas("web-blue").await, "0");

    let ended = world.on(&swap).await;
    refused(
        &ended,
        1,
        "SRT-T066",
        "--scale-up` gives it its pods back first",
    );
    assert_eq!(world.color().await, "green");
    world.on(&[&swap[..], &["--scale-up"]].concat()).await.ok();
    assert_eq!(
        (world.replicas("web-blue").await, world.color().await),
        ("2".to_owned(), "blue".to_owned())
    );

    // Now green is the newer one, and has no traffic.
    let ended = world.on(&["cancel"]).await.ok();
    assert!(
        ended.stdout.contains("number 2 (green) has no pods"),
        "{ended:?}"
    );
    world.on(&["status"]).await.ok();
    world.namespace.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_has_the_traffic_before_a_first_colour_is_good() {
    let world = World::new("cli_blue_green_first").await;
    world.version("sample-v3").await;
    let ended = world.deploy(&["blue-green"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    let hint = "no version of it has the traffic yet";
    assert!(ended.stderr.contains(hint), "{ended:?}");
    let ended = world.on(&["rollback"]).await;
    refused(&ended, 2, "SRT-Z020", hint);
    world.on(&["cancel"]).await.ok();
    assert_eq!(world.replicas("web-blue").await, "0");
    world.namespace.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_colour_that_fails_leaves_the_traffic_where_it_is() {
    let world = World::new("cli_blue_green_fails").await;
    world.version("sample-v1").await;
    world.deploy(&["blue-green"]).await.ok();
    world.on(&["swap", "--settle", "0s"]).await.ok();
    world.version("sample-v3").await;
    let ended = world.deploy(&["blue-green"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    let hint = "the version with the traffic was not touched";
    assert!(ended.stderr.contains(hint), "{ended:?}");
    let shown = world.on(&["status"]).await;
    assert_eq!(shown.code, 1, "{shown:?}");
    assert!(
        shown.stdout.contains("and number 2, green (stage): Failed"),
        "{shown:?}"
    );
    refused(&world.on(&["swap"]).await, 4, "SRT-Z018", "nothing to swap");
    let ended = world.on(&["rollback"]).await;
    refused(&ended, 2, "SRT-Z020", "correct the set and deploy it again");
    assert_eq!(world.color().await, "blue");
    let ended = world.on(&["cancel"]).await.ok();
    let said = "number 2 (green) has no pods";
    assert!(ended.stdout.contains(said), "{ended:?}");
    assert_eq!(world.replicas("web-green").await, "0");

    // What overwrites a good version and fails is neither swapped nor gone back to.
    world.version("sample-v2").await;
    world.deploy(&["blue-green"]).await.ok();
    world.on(&["swap", "--settle", "0s"]).await.ok();
    world.version("sample-v3").await;
    assert_eq!(world.deploy(&["blue-green"]).await.code, 1);
    refused(&world.on(&["swap"]).await, 4, "SRT-Z018", "nothing to swap");
    let ended = world.on(&["rollback"]).await;
    refused(&ended, 2, "SRT-Z020", "correct the set and deploy it again");
    let ended = world.on(&["cancel"]).await.ok();
    let said = "number 4 (blue) has no pods";
    assert!(ended.stdout.contains(said), "{ended:?}");
    let replicas = world.replicas("web-blue").await;
    assert_eq!(
        (replicas.as_str(), world.color().await.as_str()),
        ("0", "green")
    );
    world.namespace.finish().await.unwrap();
}
