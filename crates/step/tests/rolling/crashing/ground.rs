//! A cluster of these tests' own, whose audit log holds every write with what it did, and two accounts to tell apart.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Weak};

use serde_json::{Value, json};
use sortie_testkit::{Audit, Cluster, Kind};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Mutex;

/// Whose process it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    First,
    Second,
}

impl Who {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Second => "second",
        }
    }

    /// As the audit log names it.
    pub(crate) fn user(self) -> String {
        format!("system:serviceaccount:default:{}", self.name())
    }
}

/// Fake nodes, whose pods are ready and whose Jobs are complete a moment after their start.
pub(crate) struct Ground {
    pub(crate) cluster: Arc<Cluster>,
    folder: tempfile::TempDir,
}

const ACCOUNTS: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: first, namespace: default}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: second, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: processes}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects:
  - {kind: ServiceAccount, name: first, namespace: default}
  - {kind: ServiceAccount, name: second, namespace: default}
";

impl Ground {
    /// The one of this program, taken down with its last user.
    pub(crate) async fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Ground>> = Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(ground) = shared.upgrade() {
            return ground;
        }
        let ground = Arc::new(Self::start().await);
        *shared = Arc::downgrade(&ground);
        ground
    }

    async fn start() -> Self {
        let cluster = Cluster::start_audited(Kind::Kwok, Audit::Effects).await;
        let ground = Self {
            cluster: Arc::new(cluster.unwrap()),
            folder: tempfile::tempdir().unwrap(),
        };
        ground.kubectl(&["apply", "-f", "-"], ACCOUNTS).await;
        let admin = ground
            .kubectl(&["config", "view", "--raw", "-o", "json"], "")
            .await;
        for who in [Who::First, Who::Second] {
            let token = ground
                .kubectl(&["create", "token", who.name(), "--duration=24h"], "")
                .await;
            let mut config: Value = serde_json::from_str(&admin).unwrap();
            config["users"][0]["user"] = json!({"token": token.trim()});
            std::fs::write(ground.kubeconfig(who), config.to_string()).unwrap();
        }
        ground
    }

    pub(crate) fn kubeconfig(&self, who: Who) -> PathBuf {
        self.folder.path().join(who.name())
    }

    /// A new file, for what a process tells.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join(uuid::Uuid::new_v4().to_string())
    }

    async fn kubectl(&self, args: &[&str], input: &str) -> String {
        let tool = sortie_testkit::environment::tool("kubectl").unwrap();
        let mut child = tokio::process::Command::new(tool)
            .arg("--kubeconfig")
            .arg(self.cluster.kubeconfig())
            .args(["--namespace", "default"])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).await.unwrap();
        drop(stdin);
        let output = child.wait_with_output().await.unwrap();
        assert!(output.status.success(), "kubectl {args:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}
