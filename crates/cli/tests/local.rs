//! Deploying from here, on the real cluster that tests share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::Value;
use support::world::{World, web};
use support::{Ended, Person};

/// A configuration, and the application that is reached at this path.
fn app(path: &str) -> String {
    let config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata:\n  greeting: {{ .Values.greeting | quote }}\n";
    let web = web(1, "{{ .Values.image }}").replace("/ready", path);
    format!("{config}---{web}")
}

const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\n";

impl World {
    async fn new(test: &str) -> Self {
        let me = Person::with_tools();
        me.file("k8s/app.yaml", &app("/ready"));
        Self::of(test, me).await
    }

    async fn values(&self, image: &str, greeting: &str) {
        let image = self.cluster.image(image).await.unwrap();
        self.me.file(
            "values.yaml",
            &format!("image: {image}\ngreeting: {greeting}\n"),
        );
    }

    async fn deploy(&self, more: &[&str]) -> Ended {
        self.on(&[&["deploy", "k8s", "--values", "values.yaml"], more].concat())
            .await
    }

    /// Makes the record with this number unreadable.
    async fn damage(&self, number: u64) {
        let record = format!("sortie.release.shop.{number}");
        let patch = r#"{"data": {"head": "bm90IGpzb24="}}"#;
        self.kubectl(&["patch", "secret", &record, "-p", patch])
            .await;
    }

    async fn numbers(&self) -> Vec<(u64, String)> {
        let listed = self.on(&["history", "-o", "json"]).await.ok().json();
        let row = |row: &Value| {
            (
                row["number"].as_u64().unwrap(),
                row["status"].as_str().unwrap().to_owned(),
            )
        };
        listed["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(row)
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_is_named_and_marked() {
    let world = World::new("cli_damaged").await;
    world.me.file("one.yaml", CONFIG);
    let deploy = ["deploy", "one.yaml"];
    for _ in 0..2 {
        world.on(&deploy).await.ok();
    }
    world.damage(2).await;

    assert_eq!(
        world.numbers().await,
        [status(2, "Damaged"), status(1, "Superseded")]
    );
    let listed = world.on(&["history"]).await.ok().stdout;
    let row = listed
        .lines()
        .find(|line| line.contains("Damaged"))
        .unwrap();
    assert!(
        row.contains("SRT-C032: record sortie.release.shop.2"),
        "{row}"
    );
    assert!(row.contains("backup"), "{row}");
    let ended = world.on(&["status"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stdout.contains("shop number 1"), "{ended:?}");
    assert!(ended.stderr.contains("warning: SRT-C032"), "{ended:?}");

    let ended = world.on(&deploy).await.ok();
    assert!(ended.stdout.contains("number 3 runs"), "{ended:?}");
    let shown = world.on(&["status", "-o", "json"]).await.ok().json();
    assert_eq!(shown["unreadable"][0]["number"], 2);

    world.damage(3).await;
    let ended = world.on(&["rollback"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    let printed = format!("{}{}", ended.stdout, ended.stderr);
    for once in [
        "record sortie.release.shop.3 is damaged",
        "from a backup",
        "SRT-C032",
    ] {
        assert_eq!(printed.matches(once).count(), 1, "{once}: {printed}");
    }

    world.damage(1).await;
    let ended = world.on(&["status"]).await;
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("sortie.release.shop.3"), "{ended:?}");
    world.namespace.finish().await.unwrap();
}

fn status(number: u64, text: &str) -> (u64, String) {
    (number, text.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_come_a_broken_one_is_explained_and_goes() {
    let world = World::new("cli_versions").await;
    for verb in ["status", "history"] {
        let ended = world.on(&[verb]).await;
        assert_eq!(ended.code, 4, "{ended:?}");
        assert!(ended.stderr.contains("code: SRT-Z016"), "{ended:?}");
    }

    world.values("sample-v1", "hello").await;
    let ended = world.deploy(&["--dry-run"]).await.ok();
    assert!(
        ended.stdout.contains("WOULD BE") && ended.stdout.contains("created"),
        "{ended:?}"
    );
    assert_eq!(
        world.on(&["history"]).await.code,
        4,
        "a dry run leaves nothing behind"
    );

    let ended = world.deploy(&[]).await.ok();
    assert!(
        ended.stdout.contains("release shop number 1 runs"),
        "{ended:?}"
    );
    assert!(
        ended.stdout.contains("[deploy] Apply: succeeded"),
        "{ended:?}"
    );
    let ended = world.on(&["status"]).await.ok();
    assert!(ended.stdout.contains("shop number 1"), "{ended:?}");
    assert!(ended.stdout.contains("Deployment"), "{ended:?}");

    world.values("sample-v2", "good day").await;
    let ended = world.deploy(&["-o", "json"]).await.ok();
    let lines = ended.lines();
    let last = lines.last().unwrap();
    assert_eq!(
        (&last["event"], &last["status"]),
        (&"end".into(), &"SUCCEEDED".into())
    );
    assert_eq!(last["outputs"]["releaseNumber"], 2);
    assert!(lines.iter().any(|l| l["event"] == "object"
        && l["group"] == "apps"
        && l["kind"] == "Deployment"
        && l["health"] == "Healthy"));
    assert_eq!(
        world.numbers().await,
        [status(2, "Succeeded"), status(1, "Superseded")]
    );

    world.values("sample-v3", "farewell").await;
    let ended = world.deploy(&[]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended
            .stderr
            .contains("error: deploy shop failed, release number 3:"),
        "{ended:?}"
    );
    assert!(ended.stderr.contains("code: SRT-H"), "{ended:?}");
    let undo = format!(
        "`sortie rollback -n {} --release shop` brings",
        world.namespace.name()
    );
    assert!(ended.stderr.contains(&undo), "{ended:?}");
    let failed = world.on(&["status", "-o", "json"]).await;
    assert_eq!(failed.code, 1, "{failed:?}");
    let failed = failed.json();
    assert_eq!(
        (&failed["status"], &failed["lease"]),
        (&"Failed".into(), &Value::Null)
    );
    // The same line as the failed deployment.
    let objects = failed["objects"].as_array().unwrap();
    let ill = objects.iter().find(|object| object["kind"] == "Deployment");
    assert_eq!(ill.unwrap()["group"], "apps", "{failed}");
    let trouble = &ill.unwrap()["trouble"];
    assert_eq!(trouble["code"], "SRT-H007", "{failed}");
    let explanation = trouble["explanation"].as_str().unwrap();
    assert!(
        explanation.contains("container web") && explanation.contains("/data/settings.toml"),
        "{explanation}"
    );
    // And `health` tells an object as `status` does.
    let told = world.on(&["health", "-o", "json"]).await.lines();
    let named = |rows: &[Value]| -> Vec<Value> {
        let keys = ["group", "kind", "namespace", "name", "status"];
        let row = |row: &Value| keys.iter().map(|key| row[*key].clone()).collect();
        rows.iter().map(row).collect()
    };
    assert_eq!(named(&told), named(objects));
    assert_ne!(ill.unwrap()["status"], Value::Null, "{failed}");
    let shown = world.on(&["status"]).await.stdout;
    assert!(shown.contains("/web: SRT-H007: pod web-"), "{shown}");

    let ended = world.on(&["rollback"]).await.ok();
    assert!(ended.stdout.contains("runs in namespace"), "{ended:?}");
    let shown = world.on(&["status", "-o", "json"]).await.ok().json();
    assert_eq!(
        (&shown["number"], &shown["running"]),
        (&3.into(), &2.into())
    );

    let ended = world.on(&["rollback", "--to", "1"]).await.ok();
    let told = "number 4, with the content of number 1, runs in namespace";
    assert!(ended.stdout.contains(told), "{ended:?}");
    assert_eq!(world.numbers().await[0], status(4, "Succeeded"));

    // What is good by its record may be broken by now.
    let ended = world.on(&["rollback"]).await.ok();
    let chosen = format!(
        "sortie rollback -n {} --release shop --to 2",
        world.namespace.name()
    );
    assert!(ended.stdout.contains(&chosen), "{ended:?}");
    world.namespace.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_was_good_yet_the_way_back_is_an_uninstallation_and_the_last_event_says_so() {
    let world = World::new("local_first").await;
    world.values("sample-v3", "hello").await;
    let ended = world.deploy(&["-o", "json"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    let last = ended.lines().pop().unwrap();
    assert_eq!(
        (&last["event"], &last["status"]),
        (&"end".into(), &"FAILED".into()),
        "{last}"
    );
    assert!(
        last["code"].as_str().unwrap().starts_with("SRT-H"),
        "{last}"
    );
    let hint = last["hint"].as_str().unwrap();
    let way = format!(
        "`sortie uninstall -n {} --release shop`",
        world.namespace.name()
    );
    assert!(hint.contains(&way), "{hint}");
    assert!(!hint.contains("rollback"), "{hint}");
    world.namespace.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_was_cannot_be_rolled_back() {
    let world = World::new("cli_typo").await;
    let nowhere = format!("{}-absent", world.namespace.name());
    for namespace in [world.namespace.name(), &nowhere] {
        let named = ["-n", namespace, "--release", "typo"];
        for verb in [
            &["rollback"][..],
            &["rollback", "--to", "1"],
            // A Lease that a rollback left would be a release to it.
            &["uninstall", "--yes"],
        ] {
            let ended = world.me.sortie(&[verb, &named].concat()).await;
            assert_eq!(ended.code, 4, "{verb:?}: {ended:?}");
            let told = format!("there is no release typo in namespace {namespace}");
            assert!(ended.stderr.contains(&told), "{verb:?}: {ended:?}");
            assert!(!ended.stderr.contains("manifest"), "{verb:?}: {ended:?}");
            // Whoever reads events hears the end, however early it comes.
            let told = [verb, &named, &["-o", "json"]].concat();
            let last = world.me.sortie(&told).await.lines().pop().unwrap();
            let told = (&last["event"], &last["status"]);
            assert_eq!(told, (&"end".into(), &"FAILED".into()), "{last}");
        }
    }
    world.namespace.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_cluster_refuses_is_told_by_exit_code_and_place() {
    let world = World::new("cli_refusals").await;
    world.me.file(
        "bad/kind.yaml",
        "apiVersion: apps/v1\nkind: Deploymnet\nmetadata: {name: web}\n",
    );
    let ended = world.on(&["deploy", "bad/kind.yaml"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("bad/kind.yaml:1"), "{ended:?}");
    assert!(
        ended.stderr.contains("SRT-C004") && ended.stderr.contains("Deployment"),
        "{ended:?}"
    );

    for (text, code, said) in [
        ("", "SRT-T011", "bad/empty.yaml is empty"),
        ("# nothing\n---\n", "SRT-T011", "holds only comments"),
        (
            "kind: {{ .Values.kind }}\n",
            "SRT-T017",
            "looks like a Go template",
        ),
    ] {
        world.me.file("bad/empty.yaml", text);
        let ended = world.on(&["deploy", "bad/empty.yaml"]).await;
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(
            ended.stderr.contains(code) && ended.stderr.contains(said),
            "{ended:?}"
        );
    }
    let piped = [
        "deploy",
        "-",
        "--dry-run",
        "--release",
        "shop",
        "-n",
        world.namespace.name(),
    ];
    let ended = world.me.sortie_with(&piped, CONFIG).await.ok();
    assert!(ended.stdout.contains("ConfigMap"), "{ended:?}");

    world.me.file("bad/yaml.yaml", "a: [1\n");
    let ended = world.on(&["deploy", "bad/yaml.yaml"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("SRT-M"), "{ended:?}");

    let ended = world
        .me
        .sortie(&["status", "-n", "default", "--release", "No_Name"])
        .await;
    assert_eq!(ended.code, 2, "{ended:?}");

    let kubeconfig = std::fs::read_to_string(world.cluster.kubeconfig()).unwrap();
    let (before, after) = kubeconfig.split_once("https://").unwrap();
    let end = after
        .find(|c: char| !(c.is_ascii_alphanumeric() || ".:-".contains(c)))
        .unwrap();
    let elsewhere = format!("{before}https://127.0.0.1:1{}", &after[end..]);
    world.me.file("nowhere", &elsewhere);
    let ended = world
        .me
        .sortie(&[
            "status",
            "--release",
            "shop",
            "--kubeconfig",
            "nowhere",
            "-n",
            "x",
        ])
        .await;
    assert_eq!(ended.code, 3, "{ended:?}");
    world.namespace.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_stops_at_a_safe_place_and_the_next_deployment_carries_on() {
    let world = World::new("cli_interrupt").await;
    world.values("sample-v1", "hello").await;
    world.me.file("k8s/app.yaml", &app("/nothing"));
    let release = ["-n", world.namespace.name(), "--release", "shop"];
    let arguments = [
        &["deploy", "k8s", "--values", "values.yaml"],
        release.as_slice(),
    ]
    .concat();
    let mut following = support::Following::start(&world.me, &arguments);
    following.until("Wait for Steady State: running").await;
    let shown = world.on(&["status"]).await.stdout;
    let holder = shown
        .lines()
        .find(|line| line.contains("holds the release for"))
        .unwrap();
    assert!(
        holder.contains("tester@") && holder.contains("(sortie deploy, process"),
        "{holder}"
    );
    let held = world.on(&["status", "-o", "json"]).await.json();
    assert_eq!(held["lease"]["expired"], false, "{held}");
    assert!(held["lease"]["ageSeconds"].is_u64(), "{held}");
    following.interrupt();
    let (ended, _) = following.ended().await;
    assert_eq!(ended.code, 130, "{ended:?}");
    assert!(
        ended.stderr.contains("stopping at the next safe place"),
        "{ended:?}"
    );
    assert!(
        ended.stderr.contains("stopped at a safe place"),
        "{ended:?}"
    );

    world.me.file("k8s/app.yaml", &app("/ready"));
    world.deploy(&[]).await.ok();
    assert_eq!(world.numbers().await[0].1, "Succeeded");
    world.namespace.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn versioning_and_what_is_kept_are_chosen() {
    let world = World::new("cli_versioning").await;
    let pod = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: user}\nspec: {containers: [{name: c, image: c, envFrom: [{configMapRef: {name: web}}]}]}\n";
    world.me.file("one.yaml", &format!("{CONFIG}{pod}"));
    let names = async |how: &[&str]| {
        let render = ["render", "one.yaml", "-o", "json"];
        let listed = world.on(&[&render, how].concat()).await.ok().json();
        listed["items"][0]["metadata"]["name"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let by_content = names(&[]).await;
    assert!(by_content.starts_with("web-"), "{by_content}");
    assert_eq!(names(&["--versioning", "content"]).await, by_content);
    assert_eq!(names(&["--versioning", "release"]).await, "web-1");
    assert_eq!(names(&["--versioning", "off"]).await, "web");

    world.me.file("one.yaml", CONFIG);
    let deploy = ["deploy", "one.yaml", "--versioning", "off"];
    for number in 1..=3 {
        let ended = world.on(&[&deploy[..], &["--history", "2"]].concat()).await;
        assert_eq!(ended.code, 0, "{number}: {ended:?}");
    }
    let kept = [status(3, "Succeeded"), status(2, "Superseded")];
    assert_eq!(world.numbers().await, kept);
    let diff = ["diff", "one.yaml", "--versioning", "off"];
    world.on(&diff).await.ok();
    let ended = world.on(&[&deploy[..], &["--history", "0"]].concat()).await;
    assert_eq!(ended.code, 2, "{ended:?}");
    world.namespace.finish().await.unwrap();
}
