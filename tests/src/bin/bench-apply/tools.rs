//! The programs that are measured, each under an account of its own.

use std::path::Path;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use sortie_testkit::environment;
use sortie_tests::account::Account;
use sortie_tests::{measured, program};

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
                vec![line(program("sortie")?.display().to_string(), rest)]
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
            let (name, arguments) = command.split_first().context("a program")?;
            let one = measured::run(name, arguments, &account.kubeconfig).await?;
            // What only waits is not what is measured.
            if ended.memory == 0.0 {
                (ended.memory, ended.processor) = (one.memory, one.processor);
            }
            ended.words = one.words;
            ended.good &= one.code == Some(0);
            if !ended.good {
                break;
            }
        }
        ended.at = now();
        Ok(ended)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "to compare with the audit log's times"
)]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
