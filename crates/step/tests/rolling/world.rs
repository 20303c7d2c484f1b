//! What the tests share: a namespace of the real cluster, tasks on it, and a record of what a step said.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use sortie_cluster::{Access, Options};
use sortie_render::SourceFile;
use sortie_render::tools::Search;
use sortie_step::policy::Policy;
use sortie_step::report::{Change, Level, ObjectRow, Sink, Unit, UnitStatus};
use sortie_step::scripts::Scripts;
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
    pub(crate) cluster: Arc<Cluster>,
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
    pub(crate) units: Mutex<Vec<(Unit, UnitStatus)>>,
    rows: Mutex<Vec<ObjectRow>>,
    said: tokio::sync::Notify,
}

impl Sink for Log {
    fn unit(&self, unit: Unit, status: UnitStatus) {
        self.units.lock().unwrap().push((unit, status));
    }

    fn log(&self, unit: Unit, level: Level, text: &str) {
        println!("{:>22} {level:?}: {text}", unit.name());
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
    /// In the real cluster that tests share.
    pub(crate) async fn new(test: &str) -> Self {
        Self::on(Arc::new(Cluster::shared().await.unwrap()), test).await
    }

    pub(crate) async fn on(cluster: Arc<Cluster>, test: &str) -> Self {
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
            limits: Limits {
                settle: Duration::from_secs(2),
                ..Limits::default()
            },
        }
    }

    pub(crate) fn env(&self, sink: Arc<dyn Sink>) -> Environment {
        Environment {
            policy: self.policy.clone(),
            resolver: Arc::clone(&self.resolver),
            cancel: self.cancel.clone(),
            holder: self.holder.clone(),
            ..environment(self.api.clone(), self.limits, sink)
        }
    }

    /// A task on the release [`RELEASE`] with a new id.
    pub(crate) fn task(&self, action: Action) -> Task {
        let mut task = task(action);
        self.namespace
            .name()
            .clone_into(&mut task.release.namespace);
        task
    }

    pub(crate) async fn run(&self, task: &Task) -> Told {
        self.run_with(task, Arc::new(Log::default())).await
    }

    pub(crate) async fn run_with(&self, task: &Task, log: Arc<Log>) -> Told {
        self.run_scripted(task, None, log).await
    }

    /// With somebody who runs the hooks of the service.
    pub(crate) async fn run_scripted(
        &self,
        task: &Task,
        scripts: Option<Arc<dyn Scripts>>,
        log: Arc<Log>,
    ) -> Told {
        let env = Environment {
            scripts,
            ..self.env(log.clone())
        };
        let outcome = sortie_step::run(task, &env).await;
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

    /// A connection of the administrator, whatever rights steps have.
    async fn admin(&self) -> sortie_cluster::Cluster {
        connect(self.cluster.kubeconfig()).await
    }

    /// One object of the namespace, named `group/version/Kind` (`v1/Kind` in the core group).
    pub(crate) async fn get(&self, kind: &str, name: &str) -> Option<Value> {
        self.get_in(self.namespace.name(), kind, name).await
    }

    /// The same in another namespace.
    pub(crate) async fn get_in(&self, namespace: &str, kind: &str, name: &str) -> Option<Value> {
        let words: Vec<&str> = kind.split('/').collect();
        let (group, version, kind) = match words.as_slice() {
            [version, kind] => ("", *version, *kind),
            [group, version, kind] => (*group, *version, *kind),
            _ => panic!("{kind}"),
        };
        let api = self.admin().await;
        let resource = api.resolve(group, version, kind).await.unwrap();
        api.get(&resource, Some(namespace), name).await.unwrap()
    }

    /// The heads of the release, the oldest first.
    pub(crate) async fn heads(&self) -> Vec<sortie_cluster::record::Head> {
        self.heads_in(self.namespace.name()).await
    }

    /// The same in another namespace.
    pub(crate) async fn heads_in(&self, namespace: &str) -> Vec<sortie_cluster::record::Head> {
        let release = sortie_cluster::record::Release::new(namespace, RELEASE).unwrap();
        let records = sortie_cluster::record::Records::new(self.admin().await, release);
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

    /// Runs kubectl as the administrator in the namespace and returns what it printed.
    pub(crate) async fn kubectl(&self, args: &[&str], input: &str) -> String {
        let mut all = vec!["--namespace", self.namespace.name()];
        all.extend(args);
        self.kubectl_anywhere(&all, input).await
    }

    /// The same in whatever namespace the input names.
    pub(crate) async fn kubectl_anywhere(&self, args: &[&str], input: &str) -> String {
        let output = self.kubectl_output(args, input).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {args:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same of what may be refused; what is said then.
    pub(crate) async fn kubectl_tried(&self, args: &[&str], input: &str) -> Result<(), String> {
        let mut all = vec!["--namespace", self.namespace.name()];
        all.extend(args);
        let output = self.kubectl_output(&all, input).await;
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8(output.stderr).unwrap()),
        }
    }

    async fn kubectl_output(&self, args: &[&str], input: &str) -> std::process::Output {
        use tokio::io::AsyncWriteExt as _;
        let tool = sortie_testkit::environment::tool("kubectl").unwrap();
        let mut child = tokio::process::Command::new(tool)
            .arg("--kubeconfig")
            .arg(self.cluster.kubeconfig())
            .args(args)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).await.unwrap();
        drop(stdin);
        child.wait_with_output().await.unwrap()
    }

    /// Applies documents as the administrator.
    pub(crate) async fn given(&self, yaml: &str) {
        self.kubectl(&["apply", "-f", "-"], yaml).await;
    }

    /// From now on steps run as a service account with these rules in the namespace, and no others.
    pub(crate) async fn with_rights(&mut self, rules: &str) {
        let namespace = self.namespace.name().to_owned();
        let account = format!(
            r#"
apiVersion: v1
kind: ServiceAccount
metadata: {{name: deployer}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: deployer}}
rules: {rules}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: deployer}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: deployer}}
subjects: [{{kind: ServiceAccount, name: deployer, namespace: {namespace}}}]
"#
        );
        self.given(&account).await;
        let token = self.kubectl(&["create", "token", "deployer"], "").await;
        let admin = self
            .kubectl(&["config", "view", "--raw", "-o", "json"], "")
            .await;
        let mut config: Value = serde_json::from_str(&admin).unwrap();
        config["users"][0]["user"] = json!({"token": token.trim()});
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kubeconfig");
        std::fs::write(&file, config.to_string()).unwrap();
        self.api = connect(&file).await;
    }

    /// Asserts that a refused task has left nothing behind: no record and none of these objects.
    pub(crate) async fn assert_untouched(&self, objects: &[(&str, &str)]) {
        assert!(self.heads().await.is_empty(), "a record was opened");
        for (kind, name) in objects {
            assert!(self.get(kind, name).await.is_none(), "{kind} {name} exists");
        }
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

/// An environment that knows nothing and allows everything.
pub(crate) fn environment(
    cluster: sortie_cluster::Cluster,
    limits: Limits,
    sink: Arc<dyn Sink>,
) -> Environment {
    Environment {
        cluster,
        renderer: Renderer {
            search: Search::from_environment(),
            scratch: std::env::temp_dir(),
            ca_file: None,
            network: sortie_render::git::Network::default(),
        },
        policy: Policy::default(),
        resolver: Arc::new(Nothing),
        scripts: None,
        sink,
        cancel: CancellationToken::new(),
        holder: "test".to_owned(),
        rules_namespace: String::new(),
        limits,
    }
}

/// A task with a new id on the release [`RELEASE`] of no namespace.
pub(crate) fn task(action: Action) -> Task {
    Task {
        id: uuid::Uuid::new_v4().to_string(),
        epoch: 1,
        release: Release {
            namespace: String::new(),
            name: RELEASE.to_owned(),
            owner: Owner::default(),
        },
        requested_by: RequestedBy {
            organisation: "acme".to_owned(),
            project: "web".to_owned(),
            user: "ann".to_owned(),
            execution: String::new(),
        },
        undo_changes: false,
        hooks: Vec::new(),
        timeout: Duration::from_secs(120),
        action,
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

/// Options that deploy documents as they are.
pub(crate) fn plain(yaml: &str) -> RollingDeploy {
    RollingDeploy {
        manifests: inline(&[("set.yaml", yaml)]),
        ..RollingDeploy::default()
    }
}

/// A ConfigMap whose name stays as it is.
pub(crate) fn config(name: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  annotations: {{sortie.dev/skip-versioning: \"true\"}}\ndata: {{a: {value:?}}}\n"
    )
}

/// A Deployment of one pod that is ready a moment after its start.
pub(crate) fn web(image: &str, env: &str) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: web
          image: {image}
          imagePullPolicy: IfNotPresent
          env: [{{name: DRAIN, value: "0"}}{env}]
          readinessProbe: {{httpGet: {{path: /ready, port: 8080}}, periodSeconds: 1}}
"#
    )
}

/// Documents of one stream.
pub(crate) fn documents(documents: &[&str]) -> String {
    documents.join("\n---\n")
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
