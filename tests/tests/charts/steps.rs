//! The steps that a delegate runs, as one account.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sortie_render::SourceFile;
use sortie_render::tools::Search;
use sortie_step::policy::Policy;
use sortie_step::report::{Level, ObjectRow, Sink, Unit, UnitStatus};
use sortie_step::task::{
    Action, Owner, Release, RequestedBy, RollingDeploy, RollingRollback, Source, Target, Task,
    Versioning,
};
use sortie_step::{Environment, Failure, Limits, Nothing, Outcome, Renderer};
use tokio_util::sync::CancellationToken;

use crate::account::Account;

/// Runs steps on the release `shop` in one namespace.
pub(crate) struct Steps {
    env: Environment,
    log: Arc<Log>,
    namespace: String,
}

/// Keeps the log lines, and prints them for the reader of a failed test.
#[derive(Debug, Default)]
pub(crate) struct Log(Mutex<Vec<String>>);

impl Sink for Log {
    fn unit(&self, _: Unit, _: UnitStatus) {}
    fn log(&self, unit: Unit, _: Level, text: &str) {
        println!("{unit}: {text}");
        self.0.lock().unwrap().push(text.to_owned());
    }
    fn object(&self, _: Unit, _: ObjectRow) {}
}

impl Steps {
    pub(crate) async fn new(account: &Account, namespace: &str) -> Self {
        let log = Arc::new(Log::default());
        let env = Environment {
            cluster: account.connect().await,
            renderer: Renderer {
                search: Search::from_environment(),
                scratch: std::env::temp_dir(),
                ca_file: None,
                network: sortie_render::git::Network::default(),
            },
            policy: account.policy(),
            resolver: Arc::new(Nothing),
            scripts: None,
            sink: log.clone(),
            cancel: CancellationToken::new(),
            holder: "charts".to_owned(),
            rules_namespace: account.home().to_owned(),
            // So that old records are collected soon, and no address of a load balancer is waited for long.
            limits: Limits {
                history: 2,
                load_balancer: Duration::from_secs(1),
                settle: Duration::from_secs(1),
                ..Limits::default()
            },
        };
        Self {
            env,
            log,
            namespace: namespace.to_owned(),
        }
    }

    /// The connection that the steps use.
    pub(crate) fn cluster(&self) -> &sortie_cluster::Cluster {
        &self.env.cluster
    }

    /// Where the steps work.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// From here on the API server alone says what is allowed.
    pub(crate) fn forget_policy(&mut self) {
        self.env.policy = Policy::default();
    }

    /// Whether a log line holds `text`.
    pub(crate) fn said(&self, text: &str) -> bool {
        self.log
            .0
            .lock()
            .unwrap()
            .iter()
            .any(|line| line.contains(text))
    }

    /// K8sRollingDeploy of these manifests, names as they are written.
    pub(crate) async fn deploy(&self, manifests: &str) -> Outcome {
        let options = RollingDeploy {
            manifests: vec![Source::Inline(vec![SourceFile::new(
                "app.yaml",
                manifests.as_bytes(),
            )])],
            versioning: Versioning::Off,
            ..RollingDeploy::default()
        };
        self.run(Action::RollingDeploy(options)).await
    }

    /// The same, with names that follow the content.
    pub(crate) async fn deploy_versioned(&self, manifests: &str) -> Outcome {
        let file = SourceFile::new("app.yaml", manifests.as_bytes());
        let options = RollingDeploy {
            manifests: vec![Source::Inline(vec![file])],
            ..RollingDeploy::default()
        };
        self.run(Action::RollingDeploy(options)).await
    }

    /// K8sRollingRollback to the last good release, volumes included.
    pub(crate) async fn rollback(&self) -> Outcome {
        let options = RollingRollback {
            target: Target::LastGood,
            delete_storage: true,
        };
        self.run(Action::RollingRollback(options)).await
    }

    async fn run(&self, action: Action) -> Outcome {
        self.run_on("shop", action).await
    }

    /// A step on another release of the same namespace.
    pub(crate) async fn run_on(&self, release: &str, action: Action) -> Outcome {
        self.carry_out(release, false, action).await
    }

    /// A step of a rollback: first it undoes what other steps have changed.
    pub(crate) async fn undo_on(&self, release: &str, action: Action) -> Outcome {
        self.carry_out(release, true, action).await
    }

    async fn carry_out(&self, release: &str, undo_changes: bool, action: Action) -> Outcome {
        let task = Task {
            id: uuid::Uuid::new_v4().to_string(),
            epoch: 1,
            release: Release {
                namespace: self.namespace.clone(),
                name: release.to_owned(),
                owner: Owner::default(),
            },
            requested_by: RequestedBy {
                execution: "the only one".to_owned(),
                ..RequestedBy::default()
            },
            undo_changes,
            hooks: Vec::new(),
            timeout: Duration::from_secs(120),
            action,
        };
        sortie_step::run(&task, &self.env).await
    }
}

#[track_caller]
pub(crate) fn succeeded(outcome: &Outcome) {
    assert!(matches!(outcome, Outcome::Succeeded { .. }), "{outcome:?}");
}

#[track_caller]
pub(crate) fn failed(outcome: Outcome) -> Failure {
    match outcome {
        Outcome::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}
