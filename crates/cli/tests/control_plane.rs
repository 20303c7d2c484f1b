//! The program against a whole control plane: real SQLite, real sockets, real HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sortie_server::config::{Args, Config};
use sortie_server::server::Server;
use support::{PATIENCE, Person, hello};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

struct ControlPlane {
    address: String,
    token: String,
    shutdown: CancellationToken,
    running: JoinSet<()>,
    _folder: TempDir,
}

impl ControlPlane {
    /// Status of the answer; `token` is one as a Secret holds it.
    async fn revoke_join_token(&self, token: &str) -> u16 {
        let token = STANDARD.decode(token).unwrap();
        let id = std::str::from_utf8(&token).unwrap().split('.').nth(1);
        let address = format!("{}/api/v1/delegate-tokens/{}", self.address, id.unwrap());
        let client = reqwest::Client::builder().build().unwrap();
        let request = client.delete(address).bearer_auth(&self.token);
        request.send().await.unwrap().status().as_u16()
    }

    async fn start() -> Self {
        // Another test of this process may have installed it.
        let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::load(Args::default()).unwrap();
        config.data_dir = folder.path().to_owned();
        config.web_address = "127.0.0.1:0".parse().unwrap();
        config.agent_address = "127.0.0.1:0".parse().unwrap();
        let server = Server::open(&config).await.unwrap();
        let token = server.first_token().await.unwrap().unwrap().to_string();
        let address = format!("http://{}", server.web_address());
        let shutdown = CancellationToken::new();
        let mut running = JoinSet::new();
        let stop = shutdown.clone();
        running.spawn(async move { server.run(stop).await.unwrap() });
        Self {
            address,
            token,
            shutdown,
            running,
            _folder: folder,
        }
    }

    /// Someone who has logged in.
    async fn person(&self) -> Person {
        let me = Person::new();
        let ended = me
            .sortie_with(&["login", &self.address], &format!("{}\n", self.token))
            .await
            .ok();
        assert!(ended.stdout.contains("as admin"), "{ended:?}");
        me
    }

    async fn stop(mut self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.running.join_next())
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn login_keeps_the_token_for_its_owner_alone() {
    let server = ControlPlane::start().await;
    let me = server.person().await;
    let file = me.path().join("config/config.yaml");
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(
        std::fs::read_to_string(&file)
            .unwrap()
            .contains(&server.token)
    );

    // A wrong token is refused, and does not take the place of the good one.
    let ended = me
        .sortie_with(&["login", &server.address], "sortie_wrong_hunter2")
        .await;
    assert_eq!(ended.code, 5, "{ended:?}");
    assert!(
        ended.stderr.contains("SRT-S001") && !ended.stderr.contains("hunter2"),
        "{ended:?}"
    );
    me.sortie(&["get", "pipelines"]).await.ok();

    let ended = me.sortie_with(&["login", &server.address], "").await;
    assert_eq!(ended.code, 2, "{ended:?}");

    let stranger = Person::new().with("SORTIE_SERVER", &server.address);
    let ended = stranger.sortie(&["get", "pipelines"]).await;
    assert_eq!(ended.code, 5, "{ended:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entities_come_and_go() {
    let server = ControlPlane::start().await;
    let me = server.person().await;
    let hello = hello();
    let hello = hello.to_str().unwrap();

    let ended = me.sortie(&["apply", "-f", hello, "--dry-run"]).await.ok();
    assert!(
        ended
            .stdout
            .contains("pipeline hello created, version 1 (dry run)"),
        "{ended:?}"
    );
    let ended = me.sortie(&["get", "pipelines", "-o", "json"]).await.ok();
    assert_eq!(ended.json(), json!({"items": []}));
    for (kind, told) in [
        ("pipelines", "No pipelines yet. Make one with `sortie apply"),
        (
            "executions",
            "No executions yet. Run a pipeline with `sortie run",
        ),
        (
            "delegates",
            "No delegates yet. Install one with `sortie delegate install",
        ),
    ] {
        let ended = me.sortie(&["get", kind]).await.ok();
        assert_eq!(ended.stdout, "", "a list of nothing has no lines");
        assert!(ended.stderr.starts_with(told), "{ended:?}");
    }

    let ended = me.sortie(&["apply", "-f", hello, "--strict"]).await.ok();
    assert!(
        ended
            .stdout
            .contains("infrastructure demo/demo_namespace created"),
        "{ended:?}"
    );
    let ended = me.sortie(&["apply", "-f", hello, "-o", "json"]).await.ok();
    let applied = ended.json();
    assert_eq!(applied["warnings"], json!([]));
    for entity in applied["entities"].as_array().unwrap() {
        assert_eq!(entity["outcome"], "unchanged");
    }

    let ended = me.sortie(&["get", "service", "hello"]).await.ok();
    let written = std::fs::read_to_string(format!("{hello}/service.yaml")).unwrap();
    assert!(written.contains(ended.stdout.trim()), "{ended:?}");
    let ended = me.sortie(&["get", "infrastructures"]).await.ok();
    assert!(ended.stdout.contains("demo/demo_namespace"), "{ended:?}");
    me.sortie(&["get", "infrastructure", "demo/demo_namespace"])
        .await
        .ok();
    assert_eq!(
        me.sortie(&["get", "infrastructure", "demo_namespace"])
            .await
            .code,
        2
    );
    assert_eq!(me.sortie(&["get", "banana"]).await.code, 2);

    me.sortie(&["delete", "pipeline", "hello"]).await.ok();
    let ended = me.sortie(&["get", "pipeline", "hello"]).await;
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(ended.stderr.contains("SRT-S002"), "{ended:?}");
    assert_eq!(me.sortie(&["delete", "pipeline", "hello"]).await.code, 4);
    // Another project is another world.
    let ended = me
        .sortie(&["get", "services", "--project", "other", "-o", "json"])
        .await
        .ok();
    assert_eq!(ended.json(), json!({"items": []}));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_shown_at_its_place_in_its_file_and_nothing_is_stored() {
    let server = ControlPlane::start().await;
    let me = server.person().await;
    me.file(
        "in/a.yaml",
        "environment:\n  name: a\n  identifier: a\n  type: Production",
    );
    me.file(
        "in/b.yaml",
        "# a comment\n---\nenvironment:\n  name: b\n  identifier: b b\n  type: Production\n",
    );
    let ended = me.sortie(&["apply", "-f", "in"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.stderr.contains("error: in/b.yaml:5:15: SRT-E014"),
        "{ended:?}"
    );
    assert!(ended.stderr.contains("code: SRT-S008"), "{ended:?}");
    let ended = me.sortie(&["get", "environments", "-o", "json"]).await.ok();
    assert_eq!(ended.json(), json!({"items": []}));

    me.file(
        "in/b.yaml",
        "environment:\n  name: b\n  identifier: b\n  type: Production\n  colour: red\n",
    );
    let ended = me.sortie(&["apply", "-f", "in", "--strict"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    let ended = me.sortie(&["apply", "-f", "in"]).await.ok();
    assert!(
        ended.stderr.contains("warning: in/b.yaml:5:3: SRT-E010"),
        "{ended:?}"
    );

    me.file("elsewhere.yaml", "environment:\n  name: c\n  identifier: c\n  type: Production\n  orgIdentifier: acme\n  projectIdentifier: shop\n");
    let ended = me
        .sortie(&[
            "apply",
            "-f",
            "elsewhere.yaml",
            "--org",
            "other",
            "--project",
            "x",
        ])
        .await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("SRT-S009"), "{ended:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_value_of_a_secret_never_is_in_a_file_nor_comes_back() {
    let server = ControlPlane::start().await;
    let me = server.person().await;
    me.file("secret.yaml", "secret:\n  name: db\n  identifier: db\n  type: SecretText\n  spec:\n    secretManagerIdentifier: harnessSecretManager\n    valueType: Inline\n");
    let arguments = ["apply", "-f", "secret.yaml", "--secret-value-stdin"];
    let ended = me.sortie_with(&arguments, "hunter2\n").await.ok();
    assert!(ended.stdout.contains("secret db created"), "{ended:?}");
    let ended = me.sortie_with(&arguments, "hunter2\n").await.ok();
    assert!(ended.stdout.contains("secret db unchanged"), "{ended:?}");
    let ended = me.sortie_with(&arguments, "hunter3").await.ok();
    assert!(ended.stdout.contains("secret db updated"), "{ended:?}");
    for arguments in [
        &["get", "secret", "db"][..],
        &["get", "secret", "db", "-o", "json"],
        &["get", "secrets", "-o", "json"],
    ] {
        let ended = me.sortie(arguments).await.ok();
        assert!(!ended.stdout.contains("hunter"), "{ended:?}");
    }
    assert_eq!(
        me.sortie(&arguments).await.code,
        2,
        "an empty value is refused"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_is_started_listed_and_ended() {
    let server = ControlPlane::start().await;
    let me = server.person().await;
    me.sortie(&["apply", "-f", hello().to_str().unwrap()])
        .await
        .ok();
    let ended = me.sortie(&["run", "nothing"]).await;
    assert_eq!(ended.code, 4, "{ended:?}");
    let ended = me.sortie(&["run", "hello", "--set", "nonsense=1"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("nonsense"), "{ended:?}");
    assert!(
        !ended.stderr.contains(":1:1:"),
        "what is on the command line is at no place in a file: {ended:?}"
    );

    let id = me
        .sortie(&["run", "hello", "--set", "version=v2"])
        .await
        .ok()
        .stdout
        .trim()
        .to_owned();
    let listed = me
        .sortie(&["get", "executions", "-o", "json"])
        .await
        .ok()
        .json();
    assert_eq!(listed["items"][0]["id"], id.as_str());
    let ended = me
        .sortie(&["abort", &id, "--reason", "only a test"])
        .await
        .ok();
    let why = "aborted by admin: only a test";
    assert!(
        ended.stdout.contains(&id) && ended.stdout.contains(why),
        "{ended:?}"
    );
    assert!(ended.stdout.contains("was told to stop"), "{ended:?}");
    let watch = format!("sortie watch {id}");
    assert!(ended.stderr.contains(&watch), "{ended:?}");
    let ended = me.sortie(&["watch", &id]).await;
    assert_eq!(
        ended.code, 1,
        "an aborted execution is no success: {ended:?}"
    );
    assert!(ended.stdout.contains("hello #1 aborted"), "{ended:?}");
    assert!(ended.stdout.contains(&format!("\n  {why}\n")), "{ended:?}");
    let ended = me.sortie(&["get", "executions"]).await.ok();
    assert!(
        ended.stdout.trim_end().ends_with(&format!("admin   {why}")),
        "{ended:?}"
    );
    let ended = me.sortie(&["get", "execution", "hello#1"]).await.ok();
    for told in [why, &id, "by admin, aborted 20"] {
        assert!(ended.stdout.contains(told), "{told}: {ended:?}");
    }
    assert_eq!(me.sortie(&["abort", &id]).await.code, 6, "it is over");
    for verb in ["watch", "logs", "abort"] {
        let ended = me.sortie(&[verb, "0190-none"]).await;
        assert_eq!(ended.code, 4, "{verb}: {ended:?}");
    }
    me.sortie(&["logs", &id]).await.ok();
    assert_eq!(me.sortie(&["logs", &id, "--step", "none"]).await.code, 4);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_is_named_by_its_beginning_its_number_or_as_the_newest() {
    let server = ControlPlane::start().await;
    let me = server.person().await;
    let ended = me.sortie(&["watch"]).await;
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(ended.stderr.contains("SRT-Z012"), "{ended:?}");
    me.sortie(&["apply", "-f", hello().to_str().unwrap()])
        .await
        .ok();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let started = me.sortie(&["run", "hello"]).await.ok();
        ids.push(started.stdout.trim().to_owned());
    }
    let get = async |arguments: &[&str]| {
        let ended = me
            .sortie(&[&["get", "execution", "-o", "json"], arguments].concat())
            .await;
        if ended.code == 0 {
            ended.json()["id"].as_str().unwrap().to_owned()
        } else {
            format!("{}: {}", ended.code, ended.stderr)
        }
    };
    for (place, id) in ids.iter().enumerate() {
        assert_eq!(&get(&[&format!("hello#{}", place + 1)]).await, id);
        assert_eq!(&get(&[&id[..id.len() - 2]]).await, id);
        assert_eq!(&get(&[&id[..24].to_uppercase()]).await, id);
    }
    for newest in [&["hello"][..], &["--latest"], &["hello", "--latest"]] {
        assert_eq!(get(newest).await, ids[2], "{newest:?}");
    }
    // All of them begin alike: what they have in common names none.
    let several = get(&[&ids[0][..4]]).await;
    assert!(
        several.starts_with("2: ") && several.contains("SRT-Z013"),
        "{several}"
    );
    for (place, id) in ids.iter().enumerate() {
        assert!(
            several.contains(&format!("hello#{} ({id})", place + 1)),
            "{several}"
        );
    }
    for missing in ["hello#4", "nothing", "nothing#1", "0fff", "0190-none"] {
        let answer = get(&[missing]).await;
        assert!(answer.starts_with("4: "), "{missing}: {answer}");
    }
    // Another project has none of them.
    let elsewhere = get(&["hello#1", "--project", "other"]).await;
    assert!(elsewhere.starts_with("4: "), "{elsewhere}");

    // The newest is ended only by who says so.
    for unsaid in [&["abort"][..], &["abort", "hello"]] {
        assert_eq!(me.sortie(unsaid).await.code, 2, "{unsaid:?}");
    }
    me.sortie(&["abort", "hello", "--latest"]).await.ok();
    let ended = me.sortie(&["watch", "hello"]).await;
    assert!(ended.stdout.contains("hello #3 aborted"), "{ended:?}");
    me.sortie(&["abort", "hello#1"]).await.ok();
    let ended = me.sortie(&["watch", "hello#1"]).await;
    assert!(ended.stdout.contains("hello #1 aborted"), "{ended:?}");
    for step in ["rolling", "rollout/rolling", "deploy"] {
        me.sortie(&["logs", "hello#1", "--step", step]).await.ok();
    }
    let ended = me.sortie(&["logs", "hello#1", "--step", "roll"]).await;
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(
        ended.stderr.contains("it has deploy, rollout, rolling"),
        "{ended:?}"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delegates_get_tokens() {
    let server = ControlPlane::start().await;
    let me = server.person().await;
    let ended = me
        .sortie(&[
            "delegate",
            "token",
            "create",
            "--uses",
            "3",
            "--expires-in",
            "2h",
        ])
        .await
        .ok();
    assert!(ended.stdout.starts_with("sortie-join."), "{ended:?}");
    assert_eq!(
        ended.stdout.lines().count(),
        1,
        "the token alone, so that it can be piped: {ended:?}"
    );
    assert!(!ended.stderr.contains("sortie-join."), "{ended:?}");
    let made = me
        .sortie(&["delegate", "token", "create", "-o", "json"])
        .await
        .ok()
        .json();
    assert_eq!(made["maxUses"], 1);
    assert!(made["name"].is_null(), "{made}");
    let create = ["delegate", "token", "create", "--name"];
    let ended = me.sortie(&[&create[..], &["edge"]].concat()).await.ok();
    assert!(ended.stderr.contains("for delegate edge"), "{ended:?}");
    let ended = me.sortie(&[&create[..], &["No Name"]].concat()).await;
    assert!(ended.stderr.contains("DNS label"), "{ended:?}");
    let ended = me.sortie(&["get", "delegates", "-o", "json"]).await.ok();
    assert_eq!(ended.json(), json!({"items": []}));
    let ended = me.sortie(&["delegate", "revoke", "demo"]).await;
    assert_eq!(ended.code, 4, "{ended:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn install_puts_the_token_into_the_cluster_and_only_its_name_into_the_command() {
    let server = ControlPlane::start().await;
    let cluster = sortie_testkit::Cluster::shared().await.unwrap();
    let namespace = cluster.namespace("cli_install").await.unwrap();
    let bin = sortie_testkit::environment::cache_dir()
        .unwrap()
        .join("bin");
    let me = server
        .person()
        .await
        .with("KUBECONFIG", cluster.kubeconfig().to_str().unwrap())
        .with("PATH", bin.to_str().unwrap());
    let install = |more: &[&'static str]| {
        let mut words = vec!["delegate", "install", "demo", "-n", namespace.name()];
        words.extend([
            "--agent",
            "https://sortie.example.com:8443",
            "--target-namespace",
            "shop",
        ]);
        words.extend(["--image", "registry:5000/sortie-delegate:1.2"]);
        words.extend(more);
        words.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let words = install(&[]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ended = me.sortie(&words).await.ok();
    let shown = format!("{}{}", ended.stdout, ended.stderr);
    assert!(!shown.contains("sortie-join."), "{shown}");
    assert!(
        ended
            .stdout
            .starts_with("helm upgrade --install demo helm/sortie-delegate"),
        "{shown}"
    );
    for word in [
        "server=https://sortie.example.com:8443",
        "existingSecret=demo-join",
        "'rbac.namespaces[0]=shop'",
        "image.repository=registry:5000/sortie-delegate",
        "image.tag=1.2",
        "--wait",
    ] {
        assert!(ended.stdout.contains(word), "{word}: {shown}");
    }
    let access = sortie_cluster::Access::Kubeconfig {
        path: Some(cluster.kubeconfig().to_owned()),
        context: None,
    };
    let api = sortie_cluster::Cluster::connect(&access, sortie_cluster::Options::default())
        .await
        .unwrap();
    let secrets = sortie_cluster::Resource::secrets();
    let read = async || {
        api.get(&secrets, Some(namespace.name()), "demo-join")
            .await
            .unwrap()
            .unwrap()
    };
    let first = read().await["data"]["token"].as_str().unwrap().to_owned();
    assert!(!first.is_empty());

    // Once more, with helm and a chart that does not exist: a new token, and helm's failure is told.
    let words = install(&["--run", "--chart", "no/such/chart"]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ended = me.sortie(&words).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("SRT-Z010"), "{ended:?}");
    assert_ne!(read().await["data"]["token"].as_str().unwrap(), first);
    assert_eq!(
        server.revoke_join_token(&first).await,
        404,
        "it was revoked"
    );
    let second = read().await["data"]["token"].as_str().unwrap().to_owned();
    assert_eq!(server.revoke_join_token(&second).await, 204, "it counts");

    for wrong in [
        ["install", "Demo", "--agent", "https://x"],
        ["install", "demo", "--agent", "http://x"],
    ] {
        assert_eq!(
            me.sortie(&[&["delegate"], &wrong[..]].concat()).await.code,
            2
        );
    }
    namespace.finish().await.unwrap();
    server.stop().await;
}
