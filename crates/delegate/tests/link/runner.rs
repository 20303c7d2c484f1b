//! A runner that does what the name of a task's release says.

use std::sync::Arc;

use async_trait::async_trait;
use secrecy::ExposeSecret as _;
use serde_json::json;
use sortie_delegate::tasks::{TaskIo, TaskRunner};
use sortie_link::RefusalReason;
use sortie_proto::v1;
use sortie_proto::v1::task_result::Outcome;
use sortie_step::report::{Change, Level, ObjectRow, Sink as _, Unit, UnitStatus};
use sortie_step::{HandedOver, Resolution, Resolver as _};
use tokio::sync::Semaphore;

/// A task that does `what`.
pub fn task(id: &str, what: &str) -> v1::Task {
    let release = v1::KubernetesRelease {
        name: what.to_owned(),
        ..Default::default()
    };
    let rollback = v1::KubernetesRollingRollback {
        release: Some(release),
        ..Default::default()
    };
    v1::Task {
        id: id.to_owned(),
        step: Some(v1::task::Step::KubernetesRollingRollback(rollback)),
        ..v1::Task::default()
    }
}

/// Runs scripted tasks.
pub struct Scripted {
    /// One permit lets one waiting task go on.
    pub gate: Arc<Semaphore>,
}

#[async_trait]
impl TaskRunner for Scripted {
    fn task_types(&self) -> Vec<String> {
        vec!["kubernetes_rolling_rollback".to_owned()]
    }

    fn check(&self, task: &v1::Task) -> Result<(), (RefusalReason, String)> {
        match what(task) {
            "forbidden" => Err((RefusalReason::Policy, "not here".to_owned())),
            _ => Ok(()),
        }
    }

    async fn run(&self, task: v1::Task, io: TaskIo) -> Result<Outcome, HandedOver> {
        Ok(match what(&task) {
            "wait" => self.wait(&io).await?,
            "deaf" => std::future::pending().await,
            "panic" => panic!("hunter22"),
            "talk" => talk(&io),
            "ask" => ask(&io).await,
            "read" => read(&task, &io).await,
            "flood" => {
                self.wait(&io).await?;
                for number in 0..5_000 {
                    io.sink
                        .log(Unit::Apply, Level::Info, &format!("line {number}"));
                }
                succeeded(&json!({}))
            }
            other => panic!("no script for {other}"),
        })
    }
}

fn what(task: &v1::Task) -> &str {
    match &task.step {
        Some(v1::task::Step::KubernetesRollingRollback(rollback)) => rollback
            .release
            .as_ref()
            .map_or("", |release| release.name.as_str()),
        _ => "",
    }
}

impl Scripted {
    async fn wait(&self, io: &TaskIo) -> Result<Outcome, HandedOver> {
        io.sink.unit(Unit::WaitForSteadyState, UnitStatus::Running);
        tokio::select! {
            permit = self.gate.acquire() => {
                permit.unwrap().forget();
                Ok(succeeded(&json!({"epoch": io.task.epoch})))
            }
            () = io.cancel.cancelled() => Ok(Outcome::Aborted(v1::Aborted::default())),
            () = io.hand_over.cancelled() => Err(HandedOver),
        }
    }
}

fn succeeded(outputs: &serde_json::Value) -> Outcome {
    Outcome::Succeeded(v1::Succeeded {
        outputs_json: outputs.to_string(),
    })
}

fn talk(io: &TaskIo) -> Outcome {
    io.sink.unit(Unit::Apply, UnitStatus::Running);
    io.sink.log(Unit::Apply, Level::Info, "first\nsecond");
    let id = sortie_manifest::ObjectId {
        group: "apps".into(),
        kind: "Deployment".into(),
        namespace: Some("shop".into()),
        name: "web".into(),
    };
    let row = ObjectRow {
        id,
        change: Change::Created,
        health: sortie_health::Status::Healthy,
        message: "ready".into(),
    };
    io.sink.object(Unit::Apply, row);
    io.sink.unit(Unit::Apply, UnitStatus::Succeeded);
    succeeded(&json!({"number": 1}))
}

async fn ask(io: &TaskIo) -> Outcome {
    let names = ["a.value", "a.secret", "a.denied", "a.nothing"].map(str::to_owned);
    let answers = io.questions.resolve(&names).await.unwrap();
    let [
        Resolution::Value(value),
        Resolution::Secret(secret),
        Resolution::Denied(reason),
        Resolution::Undefined,
    ] = answers.as_slice()
    else {
        panic!("{answers:?}")
    };
    succeeded(&json!({"value": value, "secret": secret.expose_secret().len(), "reason": reason}))
}

async fn read(task: &v1::Task, io: &TaskIo) -> Outcome {
    match io
        .blobs
        .fetch(&io.task, task.context.as_ref().unwrap())
        .await
    {
        Ok(bytes) => succeeded(&json!({"bytes": bytes.len()})),
        Err(error) => Outcome::Failed(v1::Failed {
            code: error.code().to_owned(),
            message: error.to_string(),
            ..v1::Failed::default()
        }),
    }
}
