//! Rendering, comparing, judging and uninstalling from here, on the real cluster that tests share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::{Value, json};
use support::world::World;
use support::{Ended, Person};

const SET: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: web}
data:
  greeting: {{ .Values.greeting | quote }}
---
apiVersion: v1
kind: Secret
metadata: {name: web}
stringData:
  password: {{ .Values.password | quote }}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: fixed, annotations: {sortie.dev/skip-versioning: "true"}}
data: {a: {{ .Values.greeting | quote }}}
"#;

const VALUES: &str = "greeting: <+env.greeting>\npassword: hunter2\n";

/// Someone with tools, and no cluster.
fn person() -> Person {
    let me = Person::with_tools();
    me.file("k8s/set.yaml", SET);
    me.file("values.yaml", VALUES);
    me.file("context.yaml", "env: {greeting: hello}\n");
    me
}

impl World {
    async fn new(test: &str) -> Self {
        Self::of(test, person()).await
    }

    /// A verb with the set, its values and its context.
    async fn with_set(&self, verb: &str, more: &[&str]) -> Ended {
        let set = [
            "k8s",
            "--values",
            "values.yaml",
            "--context",
            "context.yaml",
        ];
        self.on(&[&[verb], &set[..], more].concat()).await
    }
}

const RENDER: [&str; 6] = [
    "render",
    "k8s",
    "--values",
    "values.yaml",
    "--context",
    "context.yaml",
];

#[tokio::test]
async fn what_is_rendered_can_be_read_and_shows_no_secret() {
    let me = person();
    let ended = me.sortie(&RENDER).await.ok();
    insta::assert_snapshot!(ended.stdout, @r#"
    ---
    # k8s/set.yaml:8:1
    apiVersion: v1
    kind: Secret
    metadata:
      name: web
    stringData:
      password: "***"
    ---
    # k8s/set.yaml:14:1
    apiVersion: v1
    kind: ConfigMap
    metadata:
      name: fixed
      annotations:
        sortie.dev/skip-versioning: "true"
    data:
      a: hello
    ---
    # k8s/set.yaml:2:1
    apiVersion: v1
    kind: ConfigMap
    metadata:
      name: web
    data:
      greeting: hello
    "#);
    assert!(ended.stderr.contains("--show-secrets"), "{ended:?}");
    let again = me.sortie(&RENDER).await.ok();
    assert_eq!(again.stdout, ended.stdout);

    let ended = me
        .sortie(&[&RENDER[..], &["--show-secrets"]].concat())
        .await;
    assert!(ended.ok().stdout.contains("password: hunter2"));
    let ended = me
        .sortie(&[&RENDER[..], &["-o", "json"]].concat())
        .await
        .ok();
    let list = ended.json();
    assert_eq!(list["kind"], "List");
    assert_eq!(list["items"].as_array().unwrap().len(), 3);
    assert!(!ended.stdout.contains("hunter2"), "{ended:?}");
}

#[tokio::test]
async fn with_a_release_it_is_what_a_deployment_applies() {
    let me = person();
    let release = ["-n", "shop", "--release", "web", "-o", "json"];
    let list = me
        .sortie(&[&RENDER[..], &release].concat())
        .await
        .ok()
        .json();
    let names: Vec<&str> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap())
        .collect();
    assert!(
        names[0].starts_with("web-") && names[1] == "fixed",
        "{names:?}"
    );
    for item in list["items"].as_array().unwrap() {
        let annotations = &item["metadata"]["annotations"];
        assert_eq!(annotations["sortie.dev/release-name"], "shop/web", "{item}");
    }
}

#[tokio::test]
async fn an_unknown_name_is_told_with_its_place() {
    let me = person();
    let ended = me
        .sortie(&["render", "k8s", "--values", "values.yaml"])
        .await;
    assert_eq!(ended.code, 1, "{ended:?}");
    for said in ["values.yaml:1:11: env.greeting is not defined", "SRT-X002"] {
        assert!(ended.stderr.contains(said), "{said}: {ended:?}");
    }
    assert!(ended.stdout.is_empty(), "{ended:?}");
    me.file("context.yaml", "- a\n- b\n");
    let ended = me.sortie(&RENDER).await;
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(
        ended.stderr.contains("context.yaml is not one map"),
        "{ended:?}"
    );
    me.file("context.yaml", "a: [\n");
    let ended = me.sortie(&RENDER).await;
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("context.yaml:1:"), "{ended:?}");
}

#[tokio::test]
async fn health_is_told_of_files_line_by_line() {
    let me = Person::new();
    let job = |name: &str, condition: &str| {
        json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": "shop"},
            "status": {"conditions": [{"type": condition, "status": "True", "message": "so it is"}]},
        })
    };
    let list = json!({
        "apiVersion": "v1", "kind": "List",
        "items": [job("good", "Complete"), job("bad", "Failed")],
    });
    let ended = me
        .sortie_with(&["health", "-f", "-", "-o", "json"], &list.to_string())
        .await;
    assert_eq!(ended.code, 1, "{ended:?}");
    let lines = ended.lines();
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            assert_eq!(line["group"], "batch");
            (
                line["kind"].clone(),
                line["name"].clone(),
                line["status"].clone(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (json!("Job"), json!("good"), json!("Healthy")),
            (json!("Job"), json!("bad"), json!("Degraded")),
        ]
    );
    assert!(lines[1]["message"].as_str().unwrap().contains("so it is"));

    me.file("good.yaml", &job("good", "Complete").to_string());
    let ended = me.sortie(&["health", "-f", "good.yaml"]).await.ok();
    assert!(
        ended.stdout.contains("HEALTH") && ended.stdout.contains("good"),
        "{ended:?}"
    );
    for (text, code) in [("a: [", 2), ("", 2), ("a: b\n", 2)] {
        let ended = me.sortie_with(&["health", "-f", "-"], text).await;
        assert_eq!(ended.code, code, "{ended:?}");
    }
    assert_eq!(me.sortie(&["health", "-f", "none.yaml"]).await.code, 4);
    assert_eq!(me.sortie(&["health"]).await.code, 2, "nothing is named");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diff_foretells_what_a_deployment_does() {
    let world = World::new("cli_diff").await;
    let ended = world.with_set("diff", &[]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("3 created"), "{ended:?}");
    assert!(ended.stdout.contains("--- /dev/null"), "{ended:?}");
    assert_eq!(
        world.on(&["history"]).await.code,
        4,
        "it leaves nothing behind"
    );

    world.with_set("deploy", &[]).await.ok();
    let ended = world.with_set("diff", &[]).await.ok();
    assert_eq!(
        (ended.stdout.as_str(), ended.stderr.trim()),
        ("", "3 unchanged")
    );

    // Somebody else has changed a value, and the set changes it and a secret.
    let patch = ["patch", "configmap", "fixed", "--field-manager=ann", "-p"];
    world
        .kubectl(&[&patch[..], &[r#"{"data":{"a":"hers"}}"#]].concat())
        .await;
    world.me.file("context.yaml", "env: {greeting: good day}\n");
    world
        .me
        .file("values.yaml", &VALUES.replace("hunter2", "sesame"));
    let ended = world.with_set("diff", &[]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    for text in [
        "ConfigMap/",
        "/fixed: configured (k8s/set.yaml:14:1)\n! .data.a: taken from ann\n",
        "-  a: hers\n+  a: good day\n",
        "-  greeting: hello\n+  greeting: good day\n",
        "-  password: \"*** (before)\"\n+  password: \"*** (after)\"\n",
    ] {
        assert!(ended.stdout.contains(text), "{text}: {ended:?}");
    }
    for secret in ["hunter2", "sesame", "aHVudGVyMg", "c2VzYW1l"] {
        assert!(!ended.stdout.contains(secret), "{ended:?}");
    }

    world.with_set("deploy", &[]).await.ok();
    let ended = world.on(&["diff", "--from", "1"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended
            .stdout
            .contains("-  greeting: hello\n+  greeting: good day\n"),
        "{ended:?}"
    );
    world.on(&["diff", "--from", "2", "--to", "2"]).await.ok();
    let ended = world.on(&["diff", "--from", "7"]).await;
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(
        ended.stderr.contains("the kept numbers are 1, 2"),
        "{ended:?}"
    );
    world.namespace.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_is_no_difference_and_what_is_left_out_is_told() {
    let world = World::new("cli_diff_hook").await;
    let image = world.cluster.image("sample-v1").await.unwrap();
    let set = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\n---\n\
         apiVersion: batch/v1\nkind: Job\n\
         metadata: {{name: mig, annotations: {{sortie.dev/hook: pre-deploy}}}}\n\
         spec: {{template: {{spec: {{restartPolicy: Never, containers: [{{name: mig, image: {image}, imagePullPolicy: IfNotPresent, args: [--help]}}]}}}}}}\n"
    );
    std::fs::create_dir_all(world.me.path().join("hooked")).unwrap();
    world.me.file("hooked/set.yaml", &set);
    world.me.file("hooked/more.json", "{}");
    let path = ["hooked"];
    for verb in ["deploy", "diff"] {
        let ended = world.on(&[&[verb][..], &path].concat()).await.ok();
        let left_out = "hooked/more.json left out: not a .yaml or .yml file";
        assert!(ended.stderr.contains(left_out), "{ended:?}");
        if verb == "diff" {
            assert_eq!(ended.stdout, "", "{ended:?}");
            for text in [
                "hooks that a deployment runs",
                "/mig-2 (",
                "1 unchanged, 1 hook\n",
            ] {
                assert!(ended.stderr.contains(text), "{text}: {ended:?}");
            }
        }
    }
    let told = world
        .on(&["diff", "hooked", "-o", "json"])
        .await
        .ok()
        .json();
    assert_eq!(told["different"], false, "{told}");
    let mut objects = told["objects"].as_array().unwrap().iter();
    assert!(objects.any(|one| one["change"] == "runs"), "{told}");

    // A file that is named is a manifest whatever it is called.
    let named = r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "named"}}"#;
    world.me.file("named.json", named);
    let rendered = world.me.sortie(&["render", "named.json"]).await.ok();
    assert!(rendered.stdout.contains("name: named"), "{rendered:?}");
    world.namespace.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diff_names_what_the_set_lacks_and_what_is_refused() {
    let world = World::new("cli_diff_less").await;
    world.with_set("deploy", &[]).await.ok();
    let fixed = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\n";
    world.me.file("less.yaml", fixed);
    let ended = world.on(&["diff", "less.yaml"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    let left = "/fixed: not in the set any more; it stays";
    assert!(ended.stdout.contains(left), "{ended:?}");
    let ended = world
        .on(&["diff", "less.yaml", "--prune", "-o", "json"])
        .await;
    assert_eq!(ended.code, 1, "{ended:?}");
    let told = ended.json();
    assert_eq!(told["different"], true);
    let object = |name: &str| {
        let mut objects = told["objects"].as_array().unwrap().iter();
        objects
            .find(|one| one["object"]["name"].as_str().unwrap().starts_with(name))
            .cloned()
    };
    let gone = object("fixed").unwrap();
    assert_eq!(gone["change"], "deleted", "{gone}");
    assert!(
        gone["text"].as_str().unwrap().contains("-  a: hello"),
        "{gone}"
    );
    assert!(
        !gone["text"]
            .as_str()
            .unwrap()
            .contains("sortie.dev/applied"),
        "{gone}"
    );
    let new = object("other").unwrap();
    assert_eq!(
        (&new["change"], &new["origin"]),
        (&json!("created"), &json!("less.yaml:1:1"))
    );

    // What fails is never taken for a difference.
    world
        .me
        .file("bad.yaml", &fixed.replace("ConfigMap", "ConfigMop"));
    let ended = world.on(&["diff", "bad.yaml"]).await;
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("SRT-C004"), "{ended:?}");
    world.namespace.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_told_of_a_cluster_and_of_a_release() {
    let world = World::new("cli_health").await;
    let image = world.cluster.image("sample-v3").await.unwrap();
    world.me.file(
        "web.yaml",
        &format!(
            r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers:
        - name: web
          image: {image}
          imagePullPolicy: IfNotPresent
          readinessProbe: {{httpGet: {{path: /ready, port: 8080}}, periodSeconds: 1}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: config}}
"#
        ),
    );
    let ended = world.on(&["deploy", "web.yaml"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    let absent = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: absent}\n";
    world.me.file("absent.yaml", absent);
    let name = world.namespace.name();
    let live = [
        "health",
        "-f",
        "web.yaml",
        "-f",
        "absent.yaml",
        "--live",
        "-n",
        name,
        "-o",
        "json",
    ];
    let ended = world.me.sortie(&live).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    let lines = ended.lines();
    assert_eq!(lines[0]["trouble"]["code"], "SRT-H007", "{lines:?}");
    // Its versioned name is another one.
    assert_eq!(lines[1]["status"], "Healthy", "{lines:?}");
    let versioned = lines[1]["name"].as_str().unwrap();
    assert!(versioned.starts_with("config-"), "{lines:?}");
    assert_eq!(lines[2]["status"], "Missing", "{lines:?}");
    assert_eq!(lines[2]["name"], "absent", "{lines:?}");

    // Nothing is applied here.
    let strange = "apiVersion: v1\nkind: ConfigMop\nmetadata: {name: x}\n";
    let arguments = ["health", "-f", "-", "--live", "-n", name];
    let ended = world.me.sortie_with(&arguments, strange).await;
    assert!(ended.stdout.contains("cannot read ConfigMop/"), "{ended:?}");

    // What kubectl has read says the same, with ReplicaSets and events or without.
    for kinds in ["deployments,pods", "deployments,replicasets,pods,events"] {
        let read = world.kubectl(&["get", kinds, "-o", "json"]).await;
        let files = ["health", "-f", "-", "-o", "json"];
        let ended = world.me.sortie_with(&files, &read).await;
        assert_eq!(ended.code, 1, "{ended:?}");
        let lines = ended.lines();
        let web = lines.iter().find(|line| line["kind"] == "Deployment");
        let trouble = &web.unwrap()["trouble"];
        assert_eq!(trouble["code"], "SRT-H007", "{kinds} {lines:?}");
        let explanation = trouble["explanation"].as_str().unwrap();
        assert!(explanation.contains("pod web-"), "{explanation}");
    }

    let ended = world.on(&["health"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.stdout.contains("/web: SRT-H007: pod web-"),
        "{ended:?}"
    );
    assert!(ended.stdout.contains("config-"), "{ended:?}");
    let unknown = ["health", "--release", "nope", "-n", name];
    assert_eq!(world.me.sortie(&unknown).await.code, 4);
    world.namespace.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn uninstalling_needs_a_yes_and_tells_what_stays() {
    let world = World::new("cli_uninstall").await;
    world.with_set("deploy", &[]).await.ok();
    let ended = world.on(&["uninstall"]).await;
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("add --yes"), "{ended:?}");
    let ended = world.on(&["uninstall", "--dry-run"]).await.ok();
    assert_eq!(ended.stdout.matches("deleted").count(), 3, "{ended:?}");
    world.on(&["status"]).await.ok();

    let ended = world.on(&["uninstall", "--yes", "-o", "json"]).await.ok();
    let lines = ended.lines();
    let end = lines.last().unwrap();
    assert_eq!(end["outputs"]["uninstalled"], true, "{end}");
    assert_eq!(end["outputs"]["deleted"].as_array().unwrap().len(), 3);
    let deleted = |line: &&Value| line["event"] == "object" && line["change"] == "deleted";
    assert!(lines.iter().filter(deleted).count() >= 3, "{lines:?}");
    let ended = world.on(&["uninstall", "--yes"]).await;
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(ended.stderr.contains("SRT-Z016"), "{ended:?}");
    world.namespace.finish().await.unwrap();
}
