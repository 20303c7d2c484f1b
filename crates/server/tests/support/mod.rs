//! A whole server in the test's process: real SQLite, real sockets, real HTTP. Only the delegates
//! are played by the test.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;
use sortie_proto::v1;
use sortie_server::app::{AgentSide, App};
use sortie_server::config::{Args, Config};
use sortie_server::delegates::{AdminError, DelegateAdmin, DelegateView, JoinToken, NewJoinToken};
use sortie_server::engine::Engine;
use sortie_server::tasks::{DispatchError, Dispatcher, TaskEvents as _, TaskOutcome, TaskRequest};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longest wait for anything in a test.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Server {
    pub address: String,
    pub token: String,
    pub engine: Engine,
    pub tasks: UnboundedReceiver<TaskRequest>,
    pub cancelled: UnboundedReceiver<String>,
    client: Client,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
}

impl Server {
    /// Starts on a fresh data folder.
    pub async fn start(folder: &Path) -> Self {
        Self::restart(folder, None).await
    }

    /// Starts on a data folder that may have been used; `token` is that of the first start.
    pub async fn restart(folder: &Path, token: Option<String>) -> Self {
        // Another test of this process may have installed it.
        let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut config = Config::load(Args::default()).unwrap();
        config.data_dir = folder.to_owned();
        config.web_address = "127.0.0.1:0".parse().unwrap();
        let app = App::open(&config).await.unwrap();
        let token = app
            .first_token()
            .await
            .unwrap()
            .map(|token| token.to_string())
            .or(token)
            .unwrap();
        let address = format!("http://{}", app.web_address());
        let engine = app.engine();
        let (queue, tasks) = unbounded_channel();
        let (cancel, cancelled) = unbounded_channel();
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let agent = Arc::new(Queue { queue, cancel });
        let agent = AgentSide {
            dispatcher: agent.clone(),
            delegates: agent,
        };
        #[allow(clippy::disallowed_methods, reason = "joined in stop")]
        let running =
            tokio::spawn(
                async move { app.run(agent, std::future::ready(()), stop).await.unwrap() },
            );
        Self {
            address,
            token,
            engine,
            tasks,
            cancelled,
            client: client(),
            shutdown,
            running,
        }
    }

    /// Stops in order and waits for it.
    pub async fn stop(self) -> String {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.running)
            .await
            .unwrap()
            .unwrap();
        self.token
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.client
            .get(format!("{}{path}", self.address))
            .bearer_auth(&self.token)
    }

    pub fn put(&self, path: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
        self.client
            .put(format!("{}{path}", self.address))
            .bearer_auth(&self.token)
            .body(body)
    }

    pub fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.client
            .post(format!("{}{path}", self.address))
            .bearer_auth(&self.token)
            .json(body)
    }

    pub fn delete(&self, path: &str) -> RequestBuilder {
        self.client
            .delete(format!("{}{path}", self.address))
            .bearer_auth(&self.token)
    }

    /// Stores documents and expects success.
    pub async fn apply(&self, yaml: &str) -> Value {
        let response = self.put("/api/v1/entities", yaml.to_owned()).send().await;
        json(response.unwrap(), 200).await
    }

    /// Stores everything the example needs.
    pub async fn apply_hello(&self) {
        self.apply(&hello()).await;
    }

    /// Starts a pipeline and returns the id of the execution.
    pub async fn run(&self, body: &Value) -> String {
        let response = self.post("/api/v1/executions", body).send().await.unwrap();
        let started = json(response, 201).await;
        started["id"].as_str().unwrap().to_owned()
    }

    /// Starts the example's pipeline; a delegate has its first task, which comes with the id of the execution.
    pub async fn begin_hello(&mut self) -> (String, TaskRequest) {
        self.apply_hello().await;
        let id = self.run(&serde_json::json!({"pipeline": "hello"})).await;
        let task = self.next_task().await;
        self.accept(&task).await;
        (id, task)
    }

    pub async fn view(&self, id: &str) -> Value {
        let response = self.get(&format!("/api/v1/executions/{id}")).send().await;
        json(response.unwrap(), 200).await
    }

    /// The next task that the engine hands out.
    pub async fn next_task(&mut self) -> TaskRequest {
        let next = tokio::time::timeout(PATIENCE, self.tasks.recv()).await;
        next.expect("a task within the patience").unwrap()
    }

    pub async fn accept(&self, task: &TaskRequest) {
        self.engine
            .accepted(&task.id, "demo", Duration::ZERO)
            .await
            .unwrap();
    }

    pub async fn succeed(&self, task: &TaskRequest, outputs: &str) {
        let outputs_json = outputs.to_owned();
        let outcome = TaskOutcome::Succeeded(v1::Succeeded { outputs_json });
        self.engine.finished(&task.id, outcome).await.unwrap();
    }

    pub async fn fail(&self, task: &TaskRequest, message: &str, outputs: &str) {
        let outcome = TaskOutcome::Failed(v1::Failed {
            failure_type: v1::FailureType::Application.into(),
            code: "SRT-T001".to_owned(),
            message: message.to_owned(),
            hint: String::new(),
            outputs_json: outputs.to_owned(),
        });
        self.engine.finished(&task.id, outcome).await.unwrap();
    }

    /// Follows the execution until it is over and returns its last view.
    pub async fn ended(&self, id: &str) -> Value {
        let mut events = self
            .events(&format!("/api/v1/executions/{id}/events"))
            .await;
        let mut last = Value::Null;
        while let Some((name, data)) = events.next().await {
            if name == "state" {
                last = serde_json::from_str(&data).unwrap();
            }
        }
        assert_eq!(last["ended"], true, "{last:#}");
        last
    }

    pub async fn events(&self, path: &str) -> Events {
        let response = self.get(path).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        Events {
            response,
            buffer: String::new(),
        }
    }
}

/// A stream of server-sent events.
pub struct Events {
    response: Response,
    buffer: String,
}

impl Events {
    /// Name and data of the next event; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<(String, String)> {
        loop {
            if let Some((event, rest)) = self.buffer.split_once("\n\n") {
                let field = |name: &str| {
                    let mut lines = event.lines();
                    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                };
                let found = (field("event"), field("data"));
                let found = match found {
                    (Some(name), Some(data)) => {
                        Some((name.trim().to_owned(), data.trim().to_owned()))
                    }
                    _ => None,
                };
                self.buffer = rest.to_owned();
                match found {
                    Some(found) => return Some(found),
                    None => continue,
                }
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await;
            match chunk.expect("an event within the patience").unwrap() {
                Some(bytes) => self.buffer.push_str(std::str::from_utf8(&bytes).unwrap()),
                None => return None,
            }
        }
    }
}

pub async fn json(response: Response, status: u16) -> Value {
    let found = response.status();
    let text = response.text().await.unwrap();
    assert_eq!(found, status, "{text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A problem document with this status and code.
pub async fn problem(response: Response, status: u16, code: &str) -> Value {
    let content_type = response.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    let problem = json(response, status).await;
    assert_eq!(content_type, "application/problem+json", "{problem}");
    assert_eq!(problem["code"], code, "{problem:#}");
    problem
}

pub fn client() -> Client {
    Client::builder()
        .timeout(Duration::from_secs(60))
        .build()
        .unwrap()
}

/// All documents of a small application.
pub fn hello() -> String {
    include_str!("../fixtures/hello.yaml").to_owned()
}

pub fn deploy(task: &TaskRequest) -> &v1::KubernetesRollingDeploy {
    match task.task.step.as_ref().unwrap() {
        v1::task::Step::KubernetesRollingDeploy(deploy) => deploy,
        other => panic!("{other:?}"),
    }
}

pub fn files(sources: &[v1::Source]) -> Vec<String> {
    let mut paths = Vec::new();
    for source in sources {
        match source.from.as_ref().unwrap() {
            v1::source::From::Inline(inline) => {
                paths.extend(inline.files.iter().map(|file| file.path.clone()));
            }
            v1::source::From::Git(git) => paths.extend(git.paths.clone()),
        }
    }
    paths
}

struct Queue {
    queue: UnboundedSender<TaskRequest>,
    cancel: UnboundedSender<String>,
}

#[async_trait]
impl Dispatcher for Queue {
    async fn enqueue(&self, request: TaskRequest) -> Result<(), DispatchError> {
        // A server that stops drops the receiver first.
        let _stopped = self.queue.send(request);
        Ok(())
    }

    async fn cancel(&self, task: &str) -> Result<(), DispatchError> {
        let _stopped = self.cancel.send(task.to_owned());
        Ok(())
    }
}

#[async_trait]
impl DelegateAdmin for Queue {
    async fn create_join_token(&self, request: NewJoinToken) -> Result<JoinToken, AdminError> {
        Ok(JoinToken {
            id: "t1".to_owned(),
            token: format!(
                "sortie-join.t1.{}.{}.{}",
                request.label,
                request.delegate_name.unwrap_or_default(),
                request.max_uses
            )
            .into(),
        })
    }

    async fn revoke_join_token(&self, id: &str) -> Result<bool, AdminError> {
        Ok(id == "t1")
    }

    async fn delegates(&self) -> Result<Vec<DelegateView>, AdminError> {
        let delegate = |name: &str, revoked_at| DelegateView {
            id: format!("id of {name}"),
            name: name.to_owned(),
            scope: sortie_store::Scope::default(),
            enrolled_at: jiff::Timestamp::UNIX_EPOCH,
            revoked_at,
            certificate_ends_at: None,
            sessions: Vec::new(),
        };
        let revoked = delegate("old", Some(jiff::Timestamp::UNIX_EPOCH));
        Ok(vec![delegate("edge", None), revoked])
    }

    async fn revoke_delegate(&self, id: &str, _by: &str) -> Result<bool, AdminError> {
        Ok(id == "known")
    }
}
