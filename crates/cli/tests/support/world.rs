//! A namespace of the cluster that tests share, and someone who works in it.

use sortie_testkit::{Cluster, TestNamespace};

use super::{Ended, Person};

pub struct World {
    pub cluster: Cluster,
    pub namespace: TestNamespace,
    pub me: Person,
}

/// The sample application as a Deployment.
pub fn web(replicas: u32, image: &str) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: {replicas}
  selector:
    matchLabels: {{app: web}}
  template:
    metadata:
      labels: {{app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: {image}
          imagePullPolicy: IfNotPresent
          readinessProbe:
            httpGet: {{path: /ready, port: 8080}}
            periodSeconds: 1
"#
    )
}

impl World {
    /// `me` with the cluster's kubeconfig.
    pub async fn of(test: &str, me: Person) -> Self {
        let cluster = Cluster::shared().await.unwrap();
        let namespace = cluster.namespace(test).await.unwrap();
        let me = me.with("KUBECONFIG", cluster.kubeconfig().to_str().unwrap());
        Self {
            cluster,
            namespace,
            me,
        }
    }

    /// Runs a verb on the release of this test.
    pub async fn on(&self, verb: &[&str]) -> Ended {
        self.me.sortie(&[verb, &self.release()].concat()).await
    }

    /// What names the release of this test.
    pub fn release(&self) -> [&str; 4] {
        ["-n", self.namespace.name(), "--release", "shop"]
    }

    pub async fn kubectl(&self, args: &[&str]) -> String {
        let output =
            tokio::process::Command::new(sortie_testkit::environment::tool("kubectl").unwrap())
                .arg("--kubeconfig")
                .arg(self.cluster.kubeconfig())
                .args(["-n", self.namespace.name()])
                .args(args)
                .output()
                .await
                .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}
