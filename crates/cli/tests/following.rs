//! Following an execution on a whole control plane; the test plays the delegate.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use sortie_proto::v1;
use sortie_server::app::{AgentSide, App};
use sortie_server::config::{Args, Config};
use sortie_server::delegates::{AdminError, DelegateAdmin, DelegateView, JoinToken, NewJoinToken};
use sortie_server::engine::Engine;
use sortie_server::tasks::{DispatchError, Dispatcher, TaskEvents as _, TaskOutcome, TaskRequest};
use support::{Following, PATIENCE, Person, hello};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

struct ControlPlane {
    address: SocketAddr,
    token: Option<String>,
    engine: Engine,
    tasks: UnboundedReceiver<TaskRequest>,
    shutdown: CancellationToken,
    running: JoinSet<()>,
}

impl ControlPlane {
    async fn start(folder: &Path, address: SocketAddr) -> Self {
        // Another test of this process may have installed it.
        let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut config = Config::load(Args::default()).unwrap();
        config.data_dir = folder.to_owned();
        config.web_address = address;
        let app = App::open(&config).await.unwrap();
        let token = app
            .first_token()
            .await
            .unwrap()
            .map(|token| token.to_string());
        let (address, engine) = (app.web_address(), app.engine());
        let (queue, tasks) = unbounded_channel();
        let delegate = Arc::new(Delegate(queue));
        let side = AgentSide {
            dispatcher: delegate.clone(),
            delegates: delegate,
        };
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let mut running = JoinSet::new();
        running.spawn(async move { app.run(side, std::future::ready(()), stop).await.unwrap() });
        Self {
            address,
            token,
            engine,
            tasks,
            shutdown,
            running,
        }
    }

    async fn person(&self) -> Person {
        let me = Person::new()
            .with("SORTIE_SERVER", &format!("http://{}", self.address))
            .with("SORTIE_TOKEN", self.token.as_ref().unwrap());
        me.sortie(&["apply", "-f", hello().to_str().unwrap()])
            .await
            .ok();
        me
    }

    /// The next task that the engine hands out, accepted.
    async fn task(&mut self) -> TaskRequest {
        let next = tokio::time::timeout(PATIENCE, self.tasks.recv()).await;
        let task = next.expect("a task in time").unwrap();
        self.engine
            .accepted(&task.id, "demo", PATIENCE)
            .await
            .unwrap();
        task
    }

    async fn log(&self, task: &TaskRequest, lines: &[(u64, &str)]) {
        let line = |(seq, text): &(u64, &str)| v1::LogLine {
            seq: *seq,
            unit: "Apply".to_owned(),
            time_ms: 1_800_000_000_000,
            level: v1::LogLevel::Info.into(),
            text: (*text).to_owned(),
        };
        self.engine
            .log(&task.id, 1, lines.iter().map(line).collect())
            .await
            .unwrap();
    }

    async fn succeed(&self, task: &TaskRequest) {
        let outcome = TaskOutcome::Succeeded(v1::Succeeded {
            outputs_json: "{}".to_owned(),
        });
        self.engine.finished(&task.id, outcome).await.unwrap();
    }

    async fn fail(&self, task: &TaskRequest, message: &str) {
        let outcome = TaskOutcome::Failed(v1::Failed {
            code: "SRT-H004".to_owned(),
            message: message.to_owned(),
            outputs_json: "{}".to_owned(),
            ..v1::Failed::default()
        });
        self.engine.finished(&task.id, outcome).await.unwrap();
    }

    async fn stop(mut self) -> SocketAddr {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.running.join_next())
            .await
            .unwrap();
        self.address
    }
}

struct Delegate(UnboundedSender<TaskRequest>);

#[async_trait]
impl Dispatcher for Delegate {
    async fn enqueue(&self, request: TaskRequest) -> Result<(), DispatchError> {
        // A server that stops drops the receiver first.
        let _stopped = self.0.send(request);
        Ok(())
    }

    async fn cancel(&self, _task: &str) -> Result<(), DispatchError> {
        Ok(())
    }
}

#[async_trait]
impl DelegateAdmin for Delegate {
    async fn create_join_token(&self, _: NewJoinToken) -> Result<JoinToken, AdminError> {
        unreachable!("this test makes no token")
    }

    async fn revoke_join_token(&self, _: &str) -> Result<bool, AdminError> {
        Ok(false)
    }

    async fn delegates(&self) -> Result<Vec<DelegateView>, AdminError> {
        Ok(Vec::new())
    }

    async fn revoke_delegate(&self, _: &str, _: &str) -> Result<bool, AdminError> {
        Ok(false)
    }
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_survives_a_restart_of_the_server_without_losing_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = ControlPlane::start(folder.path(), any_port()).await;
    let me = server.person().await;
    let mut following = Following::start(&me, &["run", "hello", "--set", "version=v2", "--follow"]);
    let task = server.task().await;
    following.until("running on demo").await;
    server.log(&task, &[(1, "line one"), (2, "line two")]).await;
    following.until("line two").await;

    let address = server.stop().await;
    let mut server = ControlPlane::start(folder.path(), address).await;
    let task = server.task().await;
    server
        .log(
            &task,
            &[(2, "line two"), (3, "line three"), (5, "line five")],
        )
        .await;
    following.until("line five").await;
    server.succeed(&task).await;

    let (ended, seen) = following.ended().await;
    assert_eq!(ended.code, 0, "{ended:?}");
    for text in [
        "line one",
        "line two",
        "line three",
        "(1 line was lost)",
        "line five",
        "hello #1 succeeded",
    ] {
        let count = seen.iter().filter(|line| line.contains(text)).count();
        assert_eq!(count, 1, "{text}: {seen:#?}");
    }
    let ends = [
        "[rollout/rolling: Apply] line five",
        "[rollout/rolling] succeeded",
        "[rollout] succeeded",
        "[deploy] succeeded",
        "✓ hello #1",
    ];
    let places = ends.map(|text| seen.iter().position(|line| line.starts_with(text)).unwrap());
    assert!(places.is_sorted(), "what is inside ends first: {seen:#?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_told_with_its_reason_and_the_rollback() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = ControlPlane::start(folder.path(), any_port()).await;
    let me = server.person().await;
    let following = Following::start(&me, &["run", "hello", "--follow"]);
    let task = server.task().await;
    server.log(&task, &[(1, "pulling")]).await;
    server
        .fail(&task, "Deployment/hello: image not found")
        .await;
    let rollback = server.task().await;
    server.succeed(&rollback).await;
    let (ended, seen) = following.ended().await;
    assert_eq!(ended.code, 1, "{ended:?}");
    let at = seen
        .iter()
        .position(|line| line.contains("hello #1 failed"))
        .unwrap();
    assert_eq!(
        seen[at + 1],
        "  rollout/rolling: Deployment/hello: image not found (SRT-H004)"
    );
    assert_eq!(seen[at + 2], "  rollback: succeeded");
    assert!(
        seen[at + 3].starts_with("  hint: sortie logs "),
        "{seen:#?}"
    );
    // What the hint says works.
    let words: Vec<&str> = seen[at + 3].split_whitespace().skip(2).collect();
    let ended = me.sortie(&words).await.ok();
    assert!(ended.stdout.contains("pulling"), "{ended:?}");
    let shown = me.sortie(&["get", "execution", words[1]]).await.ok();
    assert!(shown.stdout.contains("image not found"), "{shown:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_read_json_lines() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = ControlPlane::start(folder.path(), any_port()).await;
    let me = server.person().await;
    let mut following = Following::start(&me, &["run", "hello", "--follow", "-o", "json"]);
    let task = server.task().await;
    server.log(&task, &[(1, "hello \u{1b}[31m")]).await;
    following.until("\"log\"").await;
    server.succeed(&task).await;
    let (ended, seen) = following.ended().await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let events: Vec<serde_json::Value> = seen
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(events[0]["event"], "started");
    let last = events.last().unwrap();
    assert_eq!(
        (&last["event"], &last["data"]["status"]),
        (&"end".into(), &"SUCCEEDED".into())
    );
    let states: Vec<_> = events
        .iter()
        .filter(|event| event["event"] == "state")
        .collect();
    assert_eq!(states.last().unwrap()["data"]["status"], "SUCCEEDED");
    let logs: Vec<_> = events
        .iter()
        .filter(|event| event["event"] == "log")
        .collect();
    assert_eq!(logs.len(), 1);
    assert_eq!(
        events
            .iter()
            .filter(|event| event["event"] == "end")
            .count(),
        1
    );

    let id = events[0]["data"]["id"].as_str().unwrap();
    let ended = me.sortie(&["logs", id, "-o", "json"]).await.ok();
    assert_eq!(ended.lines().len(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_leaves_the_execution_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = ControlPlane::start(folder.path(), any_port()).await;
    let me = server.person().await;
    let mut following = Following::start(&me, &["run", "hello", "--follow"]);
    let task = server.task().await;
    following.until("running on demo").await;
    following.interrupt();
    let (ended, _) = following.ended().await;
    assert_eq!(ended.code, 130, "{ended:?}");
    assert!(ended.stderr.contains("the execution goes on"), "{ended:?}");
    server.succeed(&task).await;
    let listed = me
        .sortie(&["get", "executions", "-o", "json"])
        .await
        .ok()
        .json();
    let id = listed["items"][0]["id"].as_str().unwrap().to_owned();
    me.sortie(&["watch", &id]).await.ok();
    server.stop().await;
}
