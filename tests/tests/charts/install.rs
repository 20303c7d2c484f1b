//! Control plane and delegate as a user installs them: by real helm, as pods, under restricted Pod Security.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use sortie_testkit::environment::tool;
use sortie_testkit::{Cluster, NamespaceOptions, TestNamespace};
use tempfile::TempDir;

use crate::helm::{DELEGATE, SERVER, kubectl, objects, of_kind, run};
use crate::rights::judge_user;

/// Two replicas, which start at the same time: one makes the identity, the other waits for it.
const REPLICAS: u32 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn both_charts_install_under_restricted_pod_security_and_the_delegate_connects() {
    let mut stack = Stack::new("charts").await;
    let server = stack.cluster.image("server").await.unwrap();
    stack.install(SERVER, &image(&server, "persistence: {size: 64Mi}"));
    stack.login();
    stack.store_join_token();
    let image_ = stack.cluster.image("delegate").await.unwrap();
    let values = format!(
        "existingSecret: join\nreplicas: {REPLICAS}\nserver: https://demo-sortie-server.{}.svc:8443\nrbac: {{namespaces: [{}]}}\n",
        stack.home.name(),
        stack.target.name(),
    );
    let values = image(&image_, &values);
    // Ready means: session established and API server reachable.
    stack.install(DELEGATE, &values);
    assert!(stack.sortie(&["get", "delegate"], "").contains("demo"));

    // The token is used up; the identity brings replaced pods back.
    stack.kubectl(&["delete", "secret", "join"], "");
    stack.kubectl(
        &[
            "delete",
            "pod",
            "-l",
            "app.kubernetes.io/name=sortie-delegate",
        ],
        "",
    );
    stack.wait_ready();

    // Without the identity the delegate is a stranger: its former self is revoked, and a new token is needed; somebody who holds the lease is waited for.
    stack.kubectl(
        &["scale", "deployment/demo-sortie-delegate", "--replicas=0"],
        "",
    );
    stack.kubectl(&["delete", "secret", "demo-sortie-delegate-identity"], "");
    let held = json!({"spec": {"holderIdentity": "somebody", "leaseDurationSeconds": 3, "renewTime": "2026-01-01T00:00:00.000000Z"}});
    let lease = [
        "patch",
        "lease",
        "demo-sortie-delegate-identity",
        "--type=merge",
        "-p",
        &held.to_string(),
    ];
    stack.kubectl(&lease, "");
    stack.sortie(&["delegate", "revoke", "demo"], "");
    stack.store_join_token();
    stack.kubectl(
        &[
            "scale",
            "deployment/demo-sortie-delegate",
            &format!("--replicas={REPLICAS}"),
        ],
        "",
    );
    stack.wait_ready();

    // The rights on the identity are what that took.
    let rendered = objects(DELEGATE, stack.home.name(), &values);
    let role = of_kind(&rendered, "Role")
        .find(|role| role["metadata"]["name"] == "demo-sortie-delegate-identity")
        .unwrap();
    let user = format!(
        "system:serviceaccount:{}:demo-sortie-delegate",
        stack.home.name()
    );
    judge_user(&stack.cluster, &user, role["rules"].as_array().unwrap()).await;
    stack.finish().await;
}

/// Values that name `reference` as the image.
pub(crate) fn image(reference: &str, values: &str) -> String {
    let (repository, tag) = reference.rsplit_once(':').unwrap();
    format!("image: {{repository: {repository}, tag: '{tag}'}}\n{values}\n")
}

/// Namespaces for both charts, and the command line with its way to the control plane.
pub(crate) struct Stack {
    pub(crate) cluster: Cluster,
    pub(crate) home: TestNamespace,
    pub(crate) target: TestNamespace,
    folder: TempDir,
    forward: Option<Forward>,
}

impl Stack {
    pub(crate) async fn new(name: &str) -> Self {
        let cluster = Cluster::shared().await.unwrap();
        let restricted = NamespaceOptions { restricted: true };
        let home = cluster
            .namespace_with(&format!("{name}_install"), restricted)
            .await
            .unwrap();
        let target = cluster
            .namespace_with(&format!("{name}_deploy"), restricted)
            .await
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self {
            cluster,
            home,
            target,
            folder,
            forward: None,
        }
    }

    /// `helm install demo` into the home namespace; waits until it is ready.
    pub(crate) fn install(&self, chart: &str, values: &str) {
        let said = self.helm(&["install"], chart, values);
        assert!(said.contains("NOTES:"), "{said}");
    }

    /// `helm upgrade demo` in the home namespace; waits until it is ready.
    pub(crate) fn upgrade(&self, chart: &str, values: &str) {
        self.helm(&["upgrade"], chart, values);
    }

    fn helm(&self, verb: &[&str], chart: &str, values: &str) -> String {
        let kubeconfig = self.cluster.kubeconfig().display().to_string();
        let (folder, release) = (format!("helm/{chart}"), self.release(chart));
        let words = [
            release,
            &folder,
            "--kubeconfig",
            &kubeconfig,
            "-n",
            self.home.name(),
            "--wait",
            "--timeout",
            "3m",
            "-f",
            "-",
        ];
        let words = [verb, &words].concat();
        run("helm", &words, values).unwrap_or_else(|error| panic!("{chart}: {error}"))
    }

    fn release(&self, chart: &str) -> &'static str {
        // Two releases of one namespace: names differ, the objects' names are as the tests expect.
        if chart == SERVER {
            "demo-sortie-server"
        } else {
            "demo"
        }
    }

    pub(crate) fn kubectl(&self, words: &[&str], input: &str) -> String {
        let words = [&["-n", self.home.name()], words].concat();
        kubectl(self.cluster.kubeconfig(), &words, input).unwrap()
    }

    /// The command line against this control plane, over a port-forward of its own.
    pub(crate) fn sortie(&self, words: &[&str], input: &str) -> String {
        let (code, stdout, errors) = self.try_sortie(words, input);
        assert_eq!(code, Some(0), "sortie {words:?}: {stdout}\n{errors}");
        stdout
    }

    /// The same, whatever comes of it: exit code, output and errors.
    pub(crate) fn try_sortie(&self, words: &[&str], input: &str) -> (Option<i32>, String, String) {
        // target/debug/deps/TEST -> target/debug/sortie, which `make test` builds.
        let own = std::env::current_exe().unwrap();
        let program: PathBuf = own.parent().unwrap().parent().unwrap().join("sortie");
        let mut child = Command::new(program)
            .args(words)
            .env("SORTIE_CONFIG_DIR", self.folder.path())
            .env_remove("KUBECONFIG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    }

    /// Until every replica of the delegate is ready.
    pub(crate) fn wait_ready(&self) {
        let deployment = "deployment/demo-sortie-delegate";
        self.kubectl(&["rollout", "status", deployment, "--timeout=2m"], "");
    }

    /// Logs in with an admin token made beside the running server, as when the log with the first one is gone.
    pub(crate) fn login(&mut self) {
        let made = [
            "exec",
            "deployment/demo-sortie-server",
            "--",
            "sortie-server",
            "token",
            "create",
            "--admin",
        ];
        let token = self.kubectl(&made, "");
        let forward = Forward::start(&self.cluster, self.home.name());
        let address = format!("http://127.0.0.1:{}", forward.port);
        self.forward = Some(forward);
        self.sortie(&["login", &address], &token);
    }

    /// The Secret that the delegate's chart asks for.
    pub(crate) fn store_join_token(&self) {
        let made = self.sortie(&["delegate", "token", "create", "-o", "json"], "");
        let made: Value = serde_json::from_str(&made).unwrap();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "join"}, "stringData": {"token": made["token"]},
        });
        self.kubectl(&["create", "-f", "-"], &secret.to_string());
    }

    pub(crate) async fn finish(self) {
        drop(self.forward);
        self.home.finish().await.unwrap();
        self.target.finish().await.unwrap();
    }
}

/// `kubectl port-forward` to the web listener, ended when dropped.
struct Forward {
    child: Child,
    port: u16,
}

impl Forward {
    fn start(cluster: &Cluster, namespace: &str) -> Self {
        let mut child = Command::new(tool("kubectl").unwrap())
            .arg("--kubeconfig")
            .arg(cluster.kubeconfig())
            .args([
                "-n",
                namespace,
                "port-forward",
                "service/demo-sortie-server",
                ":8080",
            ])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let port = line.strip_prefix("Forwarding from 127.0.0.1:").unwrap();
        let port = port.split(' ').next().unwrap().parse().unwrap();
        // The rest is not worth reading, but the pipe must stay open.
        child.stdout = Some(stdout.into_inner());
        Self { child, port }
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
