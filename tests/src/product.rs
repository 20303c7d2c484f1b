//! Control plane, delegate and command line as processes on this machine, working on the shared real cluster.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sortie_testkit::{Cluster, TestNamespace};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::examples::Example;
use crate::process::{self, Finished, Program};
use crate::proxy::Proxy;

/// How long a program may take to come up.
const START: Duration = Duration::from_secs(60);

/// How a [`Product`] differs from the usual one.
#[derive(Clone, Debug, Default)]
pub struct ProductOptions {
    /// Life of delegates' certificates, such as `5s`; the server's default when absent.
    pub certificate_lifetime: Option<String>,
    /// How long a delegate lets its tasks finish when it is told to stop, such as `1`; the delegate's default when absent.
    pub drain_seconds: Option<u64>,
    /// How long a delegate may be away before its tasks are offered again.
    pub task_lease: Option<String>,
    /// More of the delegate's policy, as YAML lines below `policy:`.
    pub policy: Option<String>,
    /// Certificate of a CA that the delegate trusts beside the system's, as PEM.
    pub extra_ca: Option<String>,
}

/// A control plane with one delegate, each a process that a test may kill and start again.
#[derive(Debug)]
pub struct Product {
    options: ProductOptions,
    cluster: Arc<Cluster>,
    namespace: TestNamespace,
    folder: TempDir,
    web: SocketAddr,
    agent: SocketAddr,
    link: Proxy,
    server: Option<Program>,
    delegate: Option<Program>,
    token: String,
}

impl Product {
    /// Start a control plane and a delegate named like the test's namespace, which is what it may deploy to.
    ///
    /// # Errors
    /// Something does not come up; the error holds its output.
    pub async fn start(test: &str) -> Result<Self> {
        Self::start_with(test, ProductOptions::default()).await
    }

    /// As [`Product::start`], with options.
    ///
    /// # Errors
    /// As [`Product::start`].
    pub async fn start_with(test: &str, options: ProductOptions) -> Result<Self> {
        Self::on(Arc::new(Cluster::shared().await?), test, options).await
    }

    /// As [`Product::start_with`], on a cluster of the caller's choice.
    ///
    /// # Errors
    /// As [`Product::start`].
    pub async fn on(cluster: Arc<Cluster>, test: &str, options: ProductOptions) -> Result<Self> {
        let namespace = cluster.namespace(test).await?;
        let folder = tempfile::tempdir().context("a folder for the product")?;
        let [web, agent] = free_addresses()?;
        let link = Proxy::start(agent).await?;
        let (server, delegate, token) = (None, None, String::new());
        let mut product = Self {
            options,
            cluster,
            namespace,
            folder,
            web,
            agent,
            link,
            server,
            delegate,
            token,
        };
        product.start_server().await?;
        product.join().await?;
        product.start_delegate().await?;
        Ok(product)
    }

    /// The cluster it works on.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The namespace that the delegate lives in and deploys to; also the delegate's name.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.namespace.name()
    }

    /// The namespace, for its client.
    #[must_use]
    pub fn test_namespace(&self) -> &TestNamespace {
        &self.namespace
    }

    /// The control plane's data folder.
    #[must_use]
    pub fn data_folder(&self) -> PathBuf {
        self.path("server")
    }

    /// The way from the delegate to the control plane, to be cut.
    #[must_use]
    pub fn link(&self) -> &Proxy {
        &self.link
    }

    /// The running control plane.
    ///
    /// # Errors
    /// It was killed and not started again.
    pub fn server(&mut self) -> Result<&mut Program> {
        self.server.as_mut().context("the server is not running")
    }

    /// The running delegate.
    ///
    /// # Errors
    /// It was killed and not started again.
    pub fn delegate(&mut self) -> Result<&mut Program> {
        self.delegate
            .as_mut()
            .context("the delegate is not running")
    }

    /// Kill the control plane as `kill -9` does.
    ///
    /// # Errors
    /// It is not running.
    pub async fn kill_server(&mut self) -> Result<String> {
        self.server
            .take()
            .context("the server is not running")?
            .kill()
            .await
    }

    /// Ask the delegate to stop, as the end of its pod does, and wait until it has.
    ///
    /// # Errors
    /// It is not running, or does not end.
    pub async fn stop_delegate(&mut self) -> Result<String> {
        let delegate = self
            .delegate
            .take()
            .context("the delegate is not running")?;
        Ok(delegate.terminate(START).await?.1)
    }

    /// Kill the delegate as `kill -9` does.
    ///
    /// # Errors
    /// It is not running.
    pub async fn kill_delegate(&mut self) -> Result<String> {
        self.delegate
            .take()
            .context("the delegate is not running")?
            .kill()
            .await
    }

    /// Start the control plane on its data folder; the first start shows the admin token.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn start_server(&mut self) -> Result<()> {
        let mut environment = vec![
            ("SORTIE_DATA_DIR", self.path("server").display().to_string()),
            ("SORTIE_WEB_ADDRESS", self.web.to_string()),
            ("SORTIE_AGENT_ADDRESS", self.agent.to_string()),
        ];
        if let Some(lifetime) = &self.options.certificate_lifetime {
            environment.push(("SORTIE_CERTIFICATE_LIFETIME", lifetime.clone()));
        }
        if let Some(lease) = &self.options.task_lease {
            environment.push(("SORTIE_TASK_LEASE", lease.clone()));
        }
        let mut server = Program::start("sortie-server", &[], &environment)?;
        if self.token.is_empty() {
            let line = server.line(START, |line| line.contains("sortie_")).await?;
            let token = line
                .split_whitespace()
                .find(|word| word.starts_with("sortie_"));
            self.token = token.context("no token in the line")?.to_owned();
        }
        server
            .line(START, |line| line.contains("listening for delegates"))
            .await?;
        self.server = Some(server);
        Ok(())
    }

    /// Make a join token for the delegate's first start.
    async fn join(&self) -> Result<()> {
        let token = self.join_token().await?;
        std::fs::write(self.path("join-token"), token).context("write the join token")
    }

    /// Make a join token that is good for one delegate.
    ///
    /// # Errors
    /// It is not made.
    pub async fn join_token(&self) -> Result<String> {
        let verb = ["delegate", "token", "create", "-o", "json"];
        let made = self.sortie(&verb).await?;
        let made: serde_json::Value =
            serde_json::from_str(&made.stdout).context("the token as JSON")?;
        Ok(made["token"].as_str().context("no token")?.to_owned())
    }

    /// Remove the join token's file; from here on only the identity counts.
    ///
    /// # Errors
    /// It is not there.
    pub fn forget_join_token(&self) -> Result<()> {
        std::fs::remove_file(self.path("join-token")).context("remove the join token")
    }

    /// Start the delegate; it goes on with the identity that it has, or joins.
    ///
    /// # Errors
    /// It does not get a session.
    pub async fn start_delegate(&mut self) -> Result<()> {
        let mut delegate = self.spawn_delegate("a")?;
        delegate.line(START, is_connected).await?;
        self.delegate = Some(delegate);
        Ok(())
    }

    /// Start one more process of the delegate, under its own instance name; it is not waited for.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn_delegate(&self, instance: &str) -> Result<Program> {
        self.spawn(instance, self.namespace(), &self.path("join-token"))
    }

    /// Start a process of another delegate, which has no identity yet; without `token`, with the one used before.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn_stranger(&self, name: &str, token: Option<&str>) -> Result<Program> {
        let mut file = self.path("join-token");
        if let Some(token) = token {
            file = self.path(&format!("join-token-{name}"));
            std::fs::write(&file, token).context("write the join token")?;
        }
        self.spawn(name, &format!("{}-{name}", self.namespace()), &file)
    }

    fn spawn(&self, instance: &str, name: &str, token: &Path) -> Result<Program> {
        let namespace = self.namespace();
        let policy = self.options.policy.as_deref().unwrap_or_default();
        let mut extra_ca = String::new();
        if let Some(pem) = &self.options.extra_ca {
            let file = self.path("extra-ca.pem");
            std::fs::write(&file, pem).context("write the CA's certificate")?;
            extra_ca = format!("extraCaFile: {}\n", file.display());
        }
        let drain = self.options.drain_seconds;
        let drain = drain.map_or_else(String::new, |drain| format!("drainSeconds: {drain}\n"));
        let config = format!(
            "{extra_ca}{drain}server: https://{}\nname: {name}\nidentity:\n  secret: {name}-identity\n  joinTokenFile: {}\nadminAddress: 127.0.0.1:0\npolicy:\n  namespaces: [{namespace}]\n{policy}",
            self.link.address(),
            token.display(),
        );
        let file = self.path(&format!("delegate-{instance}.yaml"));
        std::fs::write(&file, config).context("write the delegate's settings")?;
        let environment = [
            ("SORTIE_DELEGATE_CONFIG", file.display().to_string()),
            (
                "SORTIE_DELEGATE_KUBECONFIG",
                self.cluster.kubeconfig().display().to_string(),
            ),
            ("POD_NAMESPACE", namespace.to_owned()),
            ("POD_NAME", format!("{namespace}-{instance}")),
            ("POD_UID", format!("{namespace}-{instance}")),
        ];
        Program::start("sortie-delegate", &[], &environment)
    }

    /// Run the command line against this control plane and expect exit code 0.
    ///
    /// # Errors
    /// It ends otherwise; the error holds its output.
    pub async fn sortie(&self, arguments: &[&str]) -> Result<Finished> {
        let finished = self.try_sortie(arguments, None).await?;
        ensure!(
            finished.code == Some(0),
            "sortie {arguments:?} ended with {:?}\n{}\n{}",
            finished.code,
            finished.stdout,
            finished.stderr
        );
        Ok(finished)
    }

    /// Run the command line, whatever comes of it.
    ///
    /// # Errors
    /// It cannot be started or takes longer than five minutes.
    pub async fn try_sortie(&self, arguments: &[&str], stdin: Option<&str>) -> Result<Finished> {
        let environment = self.cli_environment();
        process::run(
            "sortie",
            arguments,
            &environment,
            stdin,
            Duration::from_secs(300),
        )
        .await
    }

    /// Start a verb that goes on for a while, such as `run --follow`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_sortie(&self, arguments: &[&str]) -> Result<Program> {
        let arguments: Vec<String> = arguments
            .iter()
            .map(|argument| (*argument).to_owned())
            .collect();
        Program::start("sortie", &arguments, &self.cli_environment())
    }

    /// The value of one of the control plane's metrics; 0 before it was first counted.
    ///
    /// # Errors
    /// The control plane does not answer.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let mut stream = TcpStream::connect(self.web).await?;
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: sortie\r\nConnection: close\r\n\r\n")
            .await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        ensure!(text.starts_with("HTTP/1.1 200"), "no metrics: {text}");
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(Ok(0.0), |value| value.parse().context("a number"))
    }

    /// Store the example, fitted to this product.
    ///
    /// # Errors
    /// It is not accepted.
    pub async fn apply_example(&self) -> Result<Example> {
        let example = Example::new(self.namespace(), self.namespace())?;
        let folder = example.path().display().to_string();
        self.sortie(&["apply", "-f", &folder]).await?;
        Ok(example)
    }

    /// Stop everything and delete the namespace.
    ///
    /// # Errors
    /// The namespace does not go.
    pub async fn finish(mut self) -> Result<()> {
        if let Some(delegate) = self.delegate.take() {
            delegate.terminate(START).await?;
        }
        if let Some(server) = self.server.take() {
            server.terminate(START).await?;
        }
        self.namespace.finish().await
    }

    fn cli_environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("SORTIE_SERVER", format!("http://{}", self.web)),
            ("SORTIE_TOKEN", self.token.clone()),
            ("SORTIE_CONFIG_DIR", self.path("cli").display().to_string()),
            (
                "KUBECONFIG",
                self.cluster.kubeconfig().display().to_string(),
            ),
            ("NO_COLOR", "1".to_owned()),
        ]
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(self.folder.path()).join(name)
    }
}

/// Whether a line of the delegate's log says that it has a session.
fn is_connected(line: &str) -> bool {
    line.contains("connected") && !line.contains("disconnected")
}

/// Two free addresses on loopback, the same over restarts of a program. Held both at once, or they could be one.
fn free_addresses() -> Result<[SocketAddr; 2]> {
    let bind = || TcpListener::bind(("127.0.0.1", 0)).context("find a free port");
    let (one, other) = (bind()?, bind()?);
    Ok([one.local_addr()?, other.local_addr()?])
}
