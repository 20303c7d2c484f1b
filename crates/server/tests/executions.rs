//! Executions from outside: what is handed out, what follows from its end, events, logs, restarts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use sortie_proto::v1;
use sortie_server::tasks::{TaskEvents as _, TaskOutcome};
use support::{Server, deploy, files, problem};

const ROLLING: &str = "pipeline.stages.deploy.spec.execution.steps.rollout.steps.rolling";
const ROLLBACK: &str = "pipeline.stages.deploy.spec.execution.rollbackSteps.rollback";
const DEPLOY: &str = "pipeline.stages.deploy.spec.execution.steps.rollout.steps.rolling";

fn node<'a>(view: &'a Value, path: &str) -> &'a Value {
    let nodes = view["nodes"].as_array().unwrap();
    let found = nodes.iter().find(|node| node["path"] == path);
    found.unwrap_or_else(|| panic!("no {path} in {view:#}"))
}

#[tokio::test]
async fn a_pipeline_runs_to_success() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path()).await;
    server.apply_hello().await;
    let id = server
        .run(&json!({"pipeline": "hello", "variables": {"version": "v2"}}))
        .await;
    let task = server.next_task().await;
    assert_eq!(task.selectors, ["demo"]);
    let by = task.task.requested_by.as_ref().unwrap();
    assert_eq!(
        (
            by.project.as_str(),
            by.user.as_str(),
            by.execution_id.as_str(),
            by.step_id.as_str()
        ),
        ("default", "admin", id.as_str(), "rolling")
    );
    assert_eq!(task.task.timeout_ms, 300_000);
    let step = deploy(&task);
    let release = step.release.as_ref().unwrap();
    assert_eq!(
        (release.namespace.as_str(), release.name.as_str()),
        ("sortie-demo", "hello")
    );
    assert_eq!(release.service_id, "default.default.hello");
    assert_eq!(
        files(&step.manifests),
        ["configmap", "deployment", "service"].map(|name| format!("hello/manifests/{name}.yaml"))
    );
    assert_eq!(files(&step.values), ["hello/values.yaml"]);
    assert!(!step.prune && !step.skip_dry_run);

    server
        .engine
        .waiting(&task.id, "no delegate is connected")
        .await
        .unwrap();
    let queued = server.view(&id).await;
    let message = &node(&queued, ROLLING)["message"];
    assert_eq!(message, "waiting: no delegate is connected");
    server.accept(&task).await;
    let metrics = server.get("/metrics").send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(
        metrics.contains("sortie_server_task_acceptance_seconds_count 1\n"),
        "{metrics}"
    );
    let running = server.view(&id).await;
    assert_eq!(node(&running, ROLLING)["message"], Value::Null);
    assert_eq!(node(&running, ROLLING)["status"], "RUNNING", "{running:#}");
    assert_eq!(node(&running, ROLLING)["delegate"], "demo");
    server.succeed(&task, r#"{"releaseNumber": 4}"#).await;
    let ended = server.ended(&id).await;
    assert_eq!(ended["status"], "SUCCEEDED", "{ended:#}");
    assert_eq!(node(&ended, ROLLING)["outputs"]["releaseNumber"], 4);
    assert_eq!(ended["sequence"], 1);
    let list = server
        .get("/api/v1/executions?pipeline=hello")
        .send()
        .await
        .unwrap();
    let page = support::json(list, 200).await;
    assert_eq!(page["items"][0]["id"], id.as_str());
    // Said again, it changes nothing.
    server.fail(&task, "late", "").await;
    assert_eq!(server.view(&id).await["version"], ended["version"]);
    server.stop().await;
}

#[tokio::test]
async fn a_failed_deployment_is_rolled_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path()).await;
    let (id, task) = server.begin_hello().await;
    let why = "pod web-1: container app: CrashLoopBackOff";
    server.fail(&task, why, r#"{"releaseNumber": 7}"#).await;
    let rollback = server.next_task().await;
    let Some(v1::task::Step::KubernetesRollingRollback(step)) = &rollback.task.step else {
        panic!("{:?}", rollback.task.step);
    };
    assert_eq!(step.release.as_ref().unwrap().number, Some(7));
    server.accept(&rollback).await;
    server.succeed(&rollback, "{}").await;
    let ended = server.ended(&id).await;
    assert_eq!(ended["status"], "FAILED");
    let failed = node(&ended, ROLLING);
    assert_eq!(
        (&failed["status"], &failed["message"]),
        (&json!("FAILED"), &json!(why))
    );
    assert_eq!(failed["code"], "SRT-T001");
    assert_eq!(node(&ended, ROLLBACK)["status"], "SUCCEEDED");
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_handed_out_fails_the_step_without_rollback() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    server.apply_hello().await;
    let gone = server
        .delete("/api/v1/entities/connector/demo_cluster")
        .send()
        .await
        .unwrap();
    assert_eq!(gone.status(), 204);
    let id = server.run(&json!({"pipeline": "hello"})).await;
    let ended = server.ended(&id).await;
    assert_eq!(ended["status"], "FAILED");
    let failed = node(&ended, ROLLING);
    assert_eq!(failed["code"], "SRT-S101", "{failed:#}");
    assert!(failed["message"].as_str().unwrap().contains("demo_cluster"));
    assert_eq!(
        node(&ended, ROLLBACK)["status"],
        "SKIPPED",
        "nothing was deployed"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_pipeline_that_cannot_run_is_refused_with_every_reason() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    server.apply_hello().await;
    let run = |body: Value| {
        let request = server.post("/api/v1/executions", &body);
        async move { request.send().await.unwrap() }
    };
    problem(run(json!({"pipeline": "missing"})).await, 404, "SRT-S002").await;
    problem(
        run(json!({"pipeline": "hello", "project": "other"})).await,
        404,
        "SRT-S002",
    )
    .await;
    let odd = json!({"pipeline": "hello", "variables": {"verzion": "v1", "version": ["v1"]}});
    let found = problem(run(odd).await, 422, "SRT-S010").await;
    let findings = found["problems"].as_array().unwrap();
    assert_eq!(findings.len(), 2, "{found:#}");
    let (unknown, mistyped) = (&findings[0], &findings[1]);
    let message = unknown["message"].as_str().unwrap();
    assert!(message.ends_with("was `version` meant?"), "{message}");
    for place in ["file", "line", "column"] {
        assert!(unknown.get(place).is_none(), "an invented place: {found:#}");
    }
    assert!(mistyped["line"].as_u64().unwrap() > 1, "{found:#}");
    let list = server.get("/api/v1/executions").send().await.unwrap();
    assert_eq!(support::json(list, 200).await["items"], json!([]));
    server.stop().await;
}

#[tokio::test]
async fn an_abort_cancels_the_task_and_ends_without_rollback() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path()).await;
    let (id, task) = server.begin_hello().await;
    let abort = format!("/api/v1/executions/{id}/abort");
    let response = server
        .post(&abort, &json!({"reason": "wrong\nversion"}))
        .send()
        .await
        .unwrap();
    support::json(response, 202).await;
    let cancelled = tokio::time::timeout(support::PATIENCE, server.cancelled.recv()).await;
    assert_eq!(cancelled.unwrap().unwrap(), task.id);
    let aborted = TaskOutcome::Aborted(v1::Aborted::default());
    server.engine.finished(&task.id, aborted).await.unwrap();
    let ended = server.ended(&id).await;
    assert_eq!(ended["status"], "ABORTED");
    assert_eq!(ended["abortedBy"], "admin");
    assert_eq!(ended["abortReason"], "wrong version");
    assert!(ended["abortedAt"].is_string());
    let list = server.get("/api/v1/executions").send().await.unwrap();
    let list = support::json(list, 200).await;
    let told = "aborted by admin: wrong version";
    assert_eq!(list["items"][0]["message"], told);
    assert_eq!(node(&ended, DEPLOY)["message"], told);
    assert_ne!(node(&ended, ROLLBACK)["status"], "SUCCEEDED");
    let response = server.post(&abort, &json!({})).send().await.unwrap();
    problem(response, 409, "SRT-S012").await;
    server.stop().await;
}

#[tokio::test]
async fn a_restarted_server_carries_the_execution_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path()).await;
    server.apply_hello().await;
    let id = server.run(&json!({"pipeline": "hello"})).await;
    let before = server.next_task().await;
    let token = server.stop().await;

    // Before a delegate accepted: the same task is handed out again, with the entities of then.
    let mut server = Server::restart(folder.path(), Some(token)).await;
    let again = server.next_task().await;
    assert_eq!(again.id, before.id);
    assert_eq!(again.task, before.task);
    server.accept(&again).await;
    let token = server.stop().await;

    // While it runs: the result arrives at the new server.
    let mut server = Server::restart(folder.path(), Some(token)).await;
    server.fail(&again, "no luck", "{}").await;
    let rollback = loop {
        let task = server.next_task().await;
        if task.id != again.id {
            break task;
        }
    };
    server.accept(&rollback).await;
    server.succeed(&rollback, "{}").await;
    let ended = server.ended(&id).await;
    assert_eq!(ended["status"], "FAILED");
    assert_eq!(node(&ended, ROLLBACK)["status"], "SUCCEEDED");
    let token = server.stop().await;

    let mut server = Server::restart(folder.path(), Some(token)).await;
    assert_eq!(server.view(&id).await["status"], "FAILED");
    assert!(
        server.tasks.try_recv().is_err(),
        "an ended execution has nothing to do"
    );
    server.stop().await;
}

#[tokio::test]
async fn progress_and_logs_reach_their_followers() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path()).await;
    let (id, task) = server.begin_hello().await;
    let follow = format!("/api/v1/executions/{id}/logs?follow=true&step=rolling");
    let mut log = server.events(&follow).await;
    let line = |seq: u64, text: &str| v1::LogLine {
        seq,
        unit: "Apply".to_owned(),
        time_ms: 1_800_000_000_000,
        level: v1::LogLevel::Info.into(),
        text: text.to_owned(),
    };
    server
        .engine
        .log(&task.id, 1, vec![line(1, "one"), line(2, "two")])
        .await
        .unwrap();
    server
        .engine
        .log(&task.id, 1, vec![line(2, "two"), line(3, "th\x1bree")])
        .await
        .unwrap();
    let mut texts = Vec::new();
    for _ in 0..3 {
        let (name, data) = log.next().await.unwrap();
        assert_eq!(name, "log");
        let data: Value = serde_json::from_str(&data).unwrap();
        assert_eq!(
            (&data["unit"], &data["node"]),
            (&json!("Apply"), &json!(ROLLING))
        );
        texts.push(data["text"].as_str().unwrap().to_owned());
    }
    assert_eq!(texts, ["one", "two", "three"]);

    let progress = |revision, status: v1::UnitStatus| v1::Progress {
        task: Some(v1::TaskRef {
            task_id: task.id.clone(),
            epoch: 1,
        }),
        revision,
        units: vec![v1::UnitProgress {
            name: "Apply".to_owned(),
            status: status.into(),
            ..v1::UnitProgress::default()
        }],
    };
    server
        .engine
        .progress(progress(2, v1::UnitStatus::Running))
        .await
        .unwrap();
    server
        .engine
        .progress(progress(1, v1::UnitStatus::Queued))
        .await
        .unwrap();
    let view = server.view(&id).await;
    assert_eq!(
        node(&view, ROLLING)["units"][0]["status"],
        "RUNNING",
        "an older one never wins"
    );
    server.succeed(&task, "{}").await;
    assert_eq!(log.next().await.unwrap().0, "end");
    assert!(log.next().await.is_none());

    let mut whole = server
        .events(&format!("/api/v1/executions/{id}/logs"))
        .await;
    let mut count = 0;
    while let Some((name, _)) = whole.next().await {
        count += usize::from(name == "log");
    }
    assert_eq!(count, 3);
    let bad = server
        .get(&format!("/api/v1/executions/{id}/logs?step=nope"))
        .send()
        .await;
    problem(bad.unwrap(), 404, "SRT-S002").await;
    server.stop().await;
}

#[tokio::test]
async fn a_step_that_takes_too_long_is_cancelled_and_rolled_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path()).await;
    server.apply_hello().await;
    let pipeline = support::hello();
    let quick = pipeline
        .split("\n---\n")
        .find(|document| document.contains("stages:"))
        .unwrap()
        .replacen("timeout: 5m", "timeout: 1s", 1)
        .replacen("skipDryRun: false", "skipDryRun: <+pipeline.name == \"hello\">\n                          pruningEnabled: true\n                          pruneLimit: 5\n                          skipJobWait: true\n                          replace: true", 1);
    server.apply(&quick).await;
    let id = server.run(&json!({"pipeline": "hello"})).await;
    let task = server.next_task().await;
    let asked = deploy(&task);
    assert!(asked.prune && asked.skip_dry_run && asked.skip_job_wait && asked.replace);
    assert!(!asked.adopt);
    assert_eq!(asked.prune_limit, Some(5));
    server.accept(&task).await;
    let cancelled = tokio::time::timeout(support::PATIENCE, server.cancelled.recv()).await;
    assert_eq!(cancelled.unwrap().unwrap(), task.id);
    let aborted = TaskOutcome::Aborted(v1::Aborted::default());
    server.engine.finished(&task.id, aborted).await.unwrap();
    let rollback = server.next_task().await;
    server.accept(&rollback).await;
    server.succeed(&rollback, "{}").await;
    let ended = server.ended(&id).await;
    assert_eq!(node(&ended, ROLLING)["status"], "EXPIRED", "{ended:#}");
    assert_eq!(node(&ended, ROLLBACK)["status"], "SUCCEEDED");
    server.stop().await;
}

#[tokio::test]
async fn what_was_stored_and_not_acted_on_is_acted_on_after_a_restart() {
    use std::sync::Arc;

    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    server.apply_hello().await;
    let token = server.stop().await;
    // An engine that has no dispatcher stores the execution and hands nothing out.
    let store = sortie_store::SqliteStore::open(folder.path())
        .await
        .unwrap();
    let keys = sortie_server::keys::MasterKey::load(folder.path(), None, &store)
        .await
        .unwrap();
    let engine = sortie_server::engine::Engine::new(
        Arc::new(store.clone()),
        Arc::new(keys),
        Arc::default(),
        Arc::default(),
        tokio_util::sync::CancellationToken::new(),
    );
    let run = sortie_server::engine::Run {
        scope: sortie_store::Scope::project("default", "default"),
        pipeline: "hello".to_owned(),
        variables: Default::default(),
        by: "admin".to_owned(),
    };
    let execution = engine.start(&run).await.unwrap();
    engine.stop().await;
    store.close().await;

    let mut server = Server::restart(folder.path(), Some(token)).await;
    let task = server.next_task().await;
    server.accept(&task).await;
    server.succeed(&task, "{}").await;
    assert_eq!(server.ended(&execution.id).await["status"], "SUCCEEDED");
    server.stop().await;
}

#[tokio::test]
async fn many_executions_at_once_all_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path()).await;
    server.apply_hello().await;
    let mut ids = Vec::new();
    for _ in 0..25 {
        ids.push(server.run(&json!({"pipeline": "hello"})).await);
    }
    let mut reports = tokio::task::JoinSet::new();
    for _ in 0..ids.len() {
        let task = server.next_task().await;
        let engine = server.engine.clone();
        reports.spawn(async move {
            // Reports may come together and more than once.
            let outcome = || TaskOutcome::Succeeded(v1::Succeeded::default());
            let (one, two) = tokio::join!(
                engine.accepted(&task.id, "demo", Duration::ZERO),
                engine.accepted(&task.id, "demo", Duration::ZERO)
            );
            one.and(two).unwrap();
            let (one, two) = tokio::join!(
                engine.finished(&task.id, outcome()),
                engine.finished(&task.id, outcome())
            );
            one.and(two).unwrap();
        });
    }
    reports.join_all().await;
    for id in &ids {
        assert_eq!(server.ended(id).await["status"], "SUCCEEDED");
    }
    let metrics = server
        .get("/metrics")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        metrics.contains("executions_ended_total{status=\"SUCCEEDED\"} 25"),
        "{metrics}"
    );
    assert!(
        metrics.contains("sortie_server_executions_running 0"),
        "{metrics}"
    );
    server.stop().await;
}

#[tokio::test]
async fn the_stored_events_lead_to_the_stored_state() {
    use sortie_store::Executions as _;

    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path()).await;
    let (id, task) = server.begin_hello().await;
    server.fail(&task, "no luck", "{}").await;
    let rollback = server.next_task().await;
    server.accept(&rollback).await;
    server.succeed(&rollback, "{}").await;
    server.ended(&id).await;
    server.stop().await;

    let store = sortie_store::SqliteStore::open(folder.path())
        .await
        .unwrap();
    let execution = store.execution(&id).await.unwrap().unwrap();
    let plan = serde_json::from_str(&execution.plan).unwrap();
    let events: Vec<sortie_workflow::EventRecord> = store
        .execution_events(&id, 0, 1000)
        .await
        .unwrap()
        .iter()
        .map(|event| serde_json::from_str(&event.event).unwrap())
        .collect();
    assert!(events.len() >= 4, "{events:?}");
    let state = sortie_workflow::replay(&plan, execution.created_at, &events).unwrap();
    let stored: sortie_workflow::State = serde_json::from_str(&execution.state).unwrap();
    assert_eq!(state, stored);
}
