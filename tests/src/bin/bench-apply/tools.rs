//! The programs that are measured, each under an account of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::{Api, PostParams};
use kube::config::Kubeconfig;
use serde_json::{Value, json};
use sortie_testkit::{Cluster, environment};

use crate::processes;

/// Namespace of the accounts.
const ACCOUNTS: &str = "bench-accounts";
const HOURS: u64 = 6;

/// What applies a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    Floor,
    FloorSingle,
    Sortie,
    KubectlServerSide,
    Kubectl,
    Helm,
}

/// An account with a kubeconfig.
pub(crate) struct Account {
    pub(crate) user: String,
    pub(crate) token: String,
    pub(crate) kubeconfig: PathBuf,
}

/// How a program ended.
pub(crate) struct Ended {
    /// Whether it succeeded.
    pub(crate) good: bool,
    /// When the whole set was healthy, as far as the program knows.
    pub(crate) at: Timestamp,
    /// Largest resident memory, in MiB.
    pub(crate) memory: f64,
    /// Processor time, in seconds.
    pub(crate) processor: f64,
    /// The last lines that it wrote.
    pub(crate) words: String,
}

impl Tool {
    pub(crate) const ALL: [Self; 6] = [
        Self::Floor,
        Self::FloorSingle,
        Self::Sortie,
        Self::KubectlServerSide,
        Self::Kubectl,
        Self::Helm,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::FloorSingle => "floor-single",
            Self::Sortie => "sortie",
            Self::KubectlServerSide => "kubectl-ssa",
            Self::Kubectl => "kubectl",
            Self::Helm => "helm",
        }
    }

    /// The commands that bring a set in `folder` to life and wait until it is healthy.
    fn commands(self, folder: &Path, namespace: &str) -> Result<Vec<Vec<String>>> {
        let tool =
            |name: &str| -> Result<String> { Ok(environment::tool(name)?.display().to_string()) };
        let file = folder.join("set.yaml").display().to_string();
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let line = |program: String, rest: String| [vec![program], words(&rest)].concat();
        let rollout = format!(
            "-n {namespace} rollout status deployment -l app.kubernetes.io/part-of=bench --timeout 20m"
        );
        Ok(match self {
            Self::Floor | Self::FloorSingle => Vec::new(),
            Self::Sortie => {
                let rest = format!("deploy {file} -n {namespace} --release bench --timeout 20m");
                vec![line(sortie()?.display().to_string(), rest)]
            }
            Self::KubectlServerSide => {
                let apply = format!("-n {namespace} apply --server-side -f {file}");
                vec![
                    line(tool("kubectl")?, apply),
                    line(tool("kubectl")?, rollout),
                ]
            }
            Self::Kubectl => {
                let apply = format!("-n {namespace} apply -f {file}");
                vec![
                    line(tool("kubectl")?, apply),
                    line(tool("kubectl")?, rollout),
                ]
            }
            Self::Helm => {
                let chart = folder.join("chart").display().to_string();
                let rest =
                    format!("upgrade bench {chart} --install --wait --timeout 20m -n {namespace}");
                vec![line(tool("helm")?, rest)]
            }
        })
    }

    /// Writes what the tool reads.
    pub(crate) fn prepare(self, folder: &Path, set: &str) -> Result<()> {
        std::fs::write(folder.join("set.yaml"), set).context("write the set")?;
        if self == Self::Helm {
            let templates = folder.join("chart/templates");
            std::fs::create_dir_all(&templates).context("make the chart")?;
            std::fs::write(templates.join("set.yaml"), set).context("write the chart")?;
            let chart = "apiVersion: v2\nname: bench\nversion: 1.0.0\n";
            std::fs::write(folder.join("chart/Chart.yaml"), chart).context("write the chart")?;
        }
        Ok(())
    }

    /// Runs it to its end.
    pub(crate) async fn run(
        self,
        folder: &Path,
        namespace: &str,
        account: &Account,
    ) -> Result<Ended> {
        let mut ended = Ended {
            good: true,
            at: Timestamp::UNIX_EPOCH,
            memory: 0.0,
            processor: 0.0,
            words: String::new(),
        };
        for command in self.commands(folder, namespace)? {
            let (program, arguments) = command.split_first().context("a program")?;
            let (code, used, words) = run(program, arguments, account).await?;
            // What only waits is not what is measured.
            if ended.memory == 0.0 {
                (ended.memory, ended.processor) = used;
            }
            ended.words = words;
            ended.good &= code == Some(0);
            if !ended.good {
                break;
            }
        }
        ended.at = now();
        Ok(ended)
    }
}

/// The product, as it was built beside this program.
pub(crate) fn sortie() -> Result<PathBuf> {
    let own = std::env::current_exe().context("where is this program?")?;
    let sortie = own.with_file_name("sortie");
    ensure!(sortie.exists(), "{} is not built", sortie.display());
    Ok(sortie)
}

#[expect(
    clippy::disallowed_methods,
    reason = "to compare with the audit log's times"
)]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// Exit code, peak of memory and processor time, and the last words.
async fn run(
    program: &str,
    arguments: &[String],
    account: &Account,
) -> Result<(Option<i32>, (f64, f64), String)> {
    let output = tempfile::NamedTempFile::new().context("make a file")?;
    let file = || output.reopen().context("open the output");
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .env("KUBECONFIG", &account.kubeconfig)
        .stdin(Stdio::null())
        .stdout(file()?)
        .stderr(file()?)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {program}"))?;
    let id = child.id().unwrap_or_default();
    let (mut peak, mut processor) = (0.0_f64, 0.0);
    let status = loop {
        let tick = Duration::from_millis(2);
        match tokio::time::timeout(tick, child.wait()).await {
            Ok(status) => break status.context("wait for it")?,
            Err(_) => {
                peak = peak.max(high_water(id).unwrap_or_default());
                processor = processes::seconds(id).unwrap_or(processor);
            }
        }
    };
    let text = std::fs::read_to_string(output.path()).unwrap_or_default();
    let skip = text.lines().count().saturating_sub(3);
    let words: Vec<&str> = text.lines().skip(skip).collect();
    Ok((
        status.code(),
        (peak, processor),
        words.join(" | ").chars().take(400).collect(),
    ))
}

/// Largest resident memory so far, in MiB.
fn high_water(process: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib / 1024.0)
}

/// An account that may do everything.
pub(crate) async fn account(cluster: &Cluster, name: &str, folder: &Path) -> Result<Account> {
    let client = cluster.client().await?;
    namespace(cluster, ACCOUNTS).await?;
    let params = PostParams::default();
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), ACCOUNTS);
    let account = serde_json::from_value(json!({"metadata": {"name": name}}))?;
    accounts
        .create(&params, &account)
        .await
        .context("create an account")?;
    let bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
    let binding = json!({"metadata": {"name": format!("bench-{name}")},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": ACCOUNTS}]});
    let binding = serde_json::from_value(binding)?;
    bindings
        .create(&params, &binding)
        .await
        .context("bind an account")?;
    let path = format!("/api/v1/namespaces/{ACCOUNTS}/serviceaccounts/{name}/token");
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"expirationSeconds": HOURS * 3600}});
    let request = http::Request::post(path).header("content-type", "application/json");
    let answer: Value = client
        .request(request.body(body.to_string().into_bytes())?)
        .await?;
    let token = answer
        .pointer("/status/token")
        .and_then(Value::as_str)
        .context("a token")?;
    let mut config = serde_json::to_value(Kubeconfig::read_from(cluster.kubeconfig())?)?;
    let Some(user) = config.pointer_mut("/users/0/user") else {
        bail!("the kubeconfig has no user");
    };
    *user = json!({"token": token});
    let kubeconfig = folder.join(format!("{name}.kubeconfig"));
    std::fs::write(&kubeconfig, config.to_string()).context("write a kubeconfig")?;
    Ok(Account {
        user: format!("system:serviceaccount:{ACCOUNTS}:{name}"),
        token: token.to_owned(),
        kubeconfig,
    })
}

/// Makes a namespace, if need be.
pub(crate) async fn namespace(cluster: &Cluster, name: &str) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(cluster.client().await?);
    let namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
    match namespaces.create(&PostParams::default(), &namespace).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(error).context("create a namespace"),
    }
}
