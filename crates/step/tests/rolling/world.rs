//! What the tests share: a namespace of the real cluster, tasks on it, and a record of what a step said.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use sortie_cluster::{Access, Options};
use sortie_render::SourceFile;
use sortie_render::tools::Search;
use sortie_step::policy::Policy;
use sortie_step::report::{Change, Level, ObjectRow, Sink, Unit, UnitStatus};
use sortie_step::task::{
    Action, Owner, Release, RequestedBy, RollingDeploy, RollingRollback, Source, Target, Task,
};
use sortie_step::{Environment, Failure, Limits, Nothing, Outcome, Renderer, Resolver};
use sortie_testkit::{Cluster, TestNamespace};
use tokio_util::sync::CancellationToken;

/// Name of the release in most tests.
pub(crate) const RELEASE: &str = "shop";

/// A namespace of one test, with everything a step needs to work in it.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) api: sortie_cluster::Cluster,
    pub(crate) namespace: TestNamespace,
    pub(crate) policy: Policy,
    pub(crate) resolver: Arc<dyn Resolver>,
    pub(crate) cancel: CancellationToken,
    pub(crate) holder: String,
    pub(crate) limits: Limits,
}

/// What a step said and how it ended.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) outcome: Outcome,
    pub(crate) lines: Vec<(Unit, Level, String)>,
    pub(crate) units: Vec<(Unit, UnitStatus)>,
    pub(crate) rows: Vec<ObjectRow>,
}

/// Keeps everything a step says.
#[derive(Debug, Default)]
pub(crate) struct Log {
    lines: Mutex<Vec<(Unit, Level, String)>>,
    units: Mutex<Vec<(Unit, UnitStatus)>>,
    rows: Mutex<Vec<ObjectRow>>,
    said: tokio::sync::Notify,
}

impl Sink for Log {
    fn unit(&self, unit: Unit, status: UnitStatus) {
        self.units.lock().unwrap().push((unit, status));
    }

    fn log(&self, unit: Unit, level: Level, text: &str) {
        println!("{unit:>22} {level:?}: {text}");
        self.lines
            .lock()
            .unwrap()
            .push((unit, level, text.to_owned()));
        self.said.notify_waiters();
    }

    fn object(&self, _: Unit, row: ObjectRow) {
        self.rows.lock().unwrap().push(row);
    }
}

impl Log {
    /// Waits until a line holds `text`.
    pub(crate) async fn says(&self, text: &str) {
        let wait = async {
            loop {
                let said = self.said.notified();
                tokio::pin!(said);
                said.as_mut().enable();
                if self
                    .lines
                    .lock()
                    .unwrap()
                    .iter()
                    .any(|(_, _, line)| line.contains(text))
                {
                    return;
                }
                said.await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), wait).await;
        assert!(waited.is_ok(), "no line says {text:?}");
    }
}

impl World {
    pub(crate) async fn new(test: &str) -> Self {
        let cluster = Cluster::shared().await.unwrap();
        let namespace = cluster.namespace(test).await.unwrap();
        let api = connect(cluster.kubeconfig()).await;
        Self {
            cluster,
            api,
            namespace,
            policy: Policy::default(),
            resolver: Arc::new(Nothing),
            cancel: CancellationToken::new(),
            holder: "test".to_owned(),
            limits: Limits::default(),
        }
    }

    pub(crate) fn env(&self, sink: Arc<dyn Sink>) -> Environment {
        Environment {
            cluster: self.api.clone(),
            renderer: Renderer {
                search: Search::from_environment(),
                scratch: std::env::temp_dir(),
                ca_file: None,
                network: sortie_render::git::Network::default(),
            },
            policy: self.policy.clone(),
            resolver: Arc::clone(&self.resolver),
            sink,
            cancel: self.cancel.clone(),
            holder: self.holder.clone(),
            limits: self.limits,
        }
    }

    /// A task on the release [`RELEASE`] with a new id.
    pub(crate) fn task(&self, action: Action) -> Task {
        Task {
            id: uuid::Uuid::new_v4().to_string(),
            epoch: 1,
            release: Release {
                namespace: self.namespace.name().to_owned(),
                name: RELEASE.to_owned(),
                owner: Owner::default(),
            },
            requested_by: RequestedBy {
                organisation: "acme".to_owned(),
                project: "web".to_owned(),
                user: "ann".to_owned(),
                execution: String::new(),
            },
            timeout: Duration::from_secs(120),
            action,
        }
    }

    pub(crate) async fn run(&self, task: &Task) -> Told {
        self.run_with(task, Arc::new(Log::default())).await
    }

    pub(crate) async fn run_with(&self, task: &Task, log: Arc<Log>) -> Told {
        let outcome = sortie_step::run(task, &self.env(log.clone())).await;
        Told {
            outcome,
            lines: log.lines.lock().unwrap().clone(),
            units: log.units.lock().unwrap().clone(),
            rows: log.rows.lock().unwrap().clone(),
        }
    }

    pub(crate) async fn deploy(&self, options: RollingDeploy) -> Told {
        self.run(&self.task(Action::RollingDeploy(options))).await
    }

    pub(crate) async fn rollback(&self, target: Target) -> Told {
        let options = RollingRollback {
            target,
            delete_storage: false,
        };
        self.run(&self.task(Action::RollingRollback(options))).await
    }

    /// One object of the namespace, named `group/version/Kind` (`v1/Kind` in the core group).
    pub(crate) async fn get(&self, kind: &str, name: &str) -> Option<Value> {
        let words: Vec<&str> = kind.split('/').collect();
        let (group, version, kind) = match words.as_slice() {
            [version, kind] => ("", *version, *kind),
            [group, version, kind] => (*group, *version, *kind),
            _ => panic!("{kind}"),
        };
        let resource = self.api.resolve(group, version, kind).await.unwrap();
        self.api
            .get(&resource, Some(self.namespace.name()), name)
            .await
            .unwrap()
    }

    /// The heads of the release, the oldest first.
    pub(crate) async fn heads(&self) -> Vec<sortie_cluster::record::Head> {
        let release = sortie_cluster::record::Release::new(self.namespace.name(), RELEASE).unwrap();
        let records = sortie_cluster::record::Records::new(self.api.clone(), release);
        records.history().await.unwrap().heads().cloned().collect()
    }

    /// Statuses of all heads, the oldest first.
    pub(crate) async fn statuses(&self) -> Vec<&'static str> {
        self.heads()
            .await
            .iter()
            .map(|head| head.status.name())
            .collect()
    }

    pub(crate) async fn finish(self) {
        self.namespace.finish().await.unwrap();
    }
}

impl Told {
    #[track_caller]
    pub(crate) fn outputs(&self) -> &Value {
        match &self.outcome {
            Outcome::Succeeded { outputs } => outputs,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn failure(&self) -> &Failure {
        match &self.outcome {
            Outcome::Failed(failure) => failure,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn said(&self, text: &str) -> bool {
        self.lines.iter().any(|(_, _, line)| line.contains(text))
    }

    /// The units in the order in which they began.
    pub(crate) fn begun(&self) -> Vec<Unit> {
        self.units
            .iter()
            .filter(|(_, status)| *status == UnitStatus::Running)
            .map(|(unit, _)| *unit)
            .collect()
    }

    /// What was done to the object of this kind.
    pub(crate) fn change(&self, kind: &str) -> Change {
        let row = self.rows.iter().find(|row| row.id.kind == kind);
        row.unwrap_or_else(|| panic!("no row about a {kind}"))
            .change
    }
}

pub(crate) async fn connect(kubeconfig: &std::path::Path) -> sortie_cluster::Cluster {
    let access = Access::Kubeconfig {
        path: Some(kubeconfig.to_owned()),
        context: None,
    };
    sortie_cluster::Cluster::connect(&access, Options::default())
        .await
        .unwrap()
}

/// Manifest files at hand.
pub(crate) fn inline(files: &[(&str, &str)]) -> Vec<Source> {
    let files = files
        .iter()
        .map(|(path, text)| SourceFile::new(*path, text.as_bytes()));
    vec![Source::Inline(files.collect())]
}

/// The sample application as templates: a Deployment that reads a ConfigMap and a Secret, and its Service.
pub(crate) const APP: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata:
  name: web
data:
  greeting: {{ .Values.greeting | quote }}
---
apiVersion: v1
kind: Secret
metadata:
  name: web
stringData:
  password: {{ .Values.password | quote }}
---
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  selector: {app: web}
  ports:
    - port: {{ .Values.port }}
      targetPort: 8080
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: {{ .Values.replicas }}
  selector:
    matchLabels: {app: web}
  strategy:
    rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
  template:
    metadata:
      labels: {app: web}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: {{ .Values.image }}
          imagePullPolicy: IfNotPresent
          envFrom:
            - configMapRef: {name: web}
            - secretRef: {name: web}
          readinessProbe:
            httpGet: {path: /ready, port: 8080}
            periodSeconds: 1
"#;

/// Values of the sample application.
pub(crate) const VALUES: &str = r#"
image: <+artifacts.primary.image>
greeting: <+serviceVariables.greeting>
password: <+secrets.getValue("account.password")>
port: <+serviceVariables.port>
replicas: 1
"#;

/// Options that deploy [`APP`].
pub(crate) fn app(image: &str, greeting: &str, port: u16) -> RollingDeploy {
    RollingDeploy {
        manifests: inline(&[("templates/app.yaml", APP)]),
        values: inline(&[("values.yaml", VALUES)]),
        context: json!({
            "artifacts": {"primary": {"image": image}},
            "serviceVariables": {"greeting": greeting, "port": port},
        }),
        ..RollingDeploy::default()
    }
}
