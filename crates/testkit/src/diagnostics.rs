//! What a failed test leaves for its reader: objects, events and pod logs of its namespace, and the control plane's
//! logs. Secrets are not among them.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

use crate::{clock, environment};

/// The end of a process log is what matters.
const LOG_TAIL: u64 = 2 * 1024 * 1024;

/// Saves everything to `$SORTIE_CACHE/failures/NAMESPACE-TIME` and returns that folder. Blocks the thread.
pub(crate) fn collect(
    namespace: &str,
    kubeconfig: &Path,
    cluster: Option<&Path>,
) -> Result<PathBuf> {
    let time = clock::now().strftime("%Y%m%dT%H%M%SZ");
    let folder = environment::cache_dir()?
        .join("failures")
        .join(format!("{namespace}-{time}"));
    std::fs::create_dir_all(folder.join("pods")).context("make the folder for the failure")?;
    let kubectl = Kubectl {
        program: environment::tool("kubectl")?,
        kubeconfig,
        namespace,
    };
    let kinds = "all,configmaps,persistentvolumeclaims,leases";
    kubectl.save(&folder.join("objects.yaml"), &["get", kinds, "-o", "yaml"])?;
    kubectl.save(
        &folder.join("events.txt"),
        &["get", "events", "--sort-by=.lastTimestamp", "-o", "wide"],
    )?;
    kubectl.save(&folder.join("pods.txt"), &["describe", "pods"])?;
    for pod in kubectl.read(&["get", "pods", "-o", "name"]).lines() {
        let name = pod.rsplit('/').next().unwrap_or(pod);
        let logs = [
            "logs",
            pod,
            "--all-containers",
            "--prefix",
            "--timestamps",
            "--tail=5000",
        ];
        kubectl.save(&folder.join(format!("pods/{name}.log")), &logs)?;
        let previous = [&logs[..], &["--previous"]].concat();
        kubectl.save(&folder.join(format!("pods/{name}.previous.log")), &previous)?;
    }
    if let Some(cluster) = cluster {
        copy_logs(&cluster.join("log"), &folder.join("cluster"))?;
    }
    Ok(folder)
}

struct Kubectl<'a> {
    program: PathBuf,
    kubeconfig: &'a Path,
    namespace: &'a str,
}

impl Kubectl<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--kubeconfig").arg(self.kubeconfig);
        command
            .args(["--namespace", self.namespace, "--request-timeout=20s"])
            .args(arguments);
        command.stdin(Stdio::null());
        command
    }

    /// Output and errors alike: why something is missing belongs into the file.
    fn save(&self, path: &Path, arguments: &[&str]) -> Result<()> {
        let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
        let errors = file.try_clone().context("share a file")?;
        let mut command = self.command(arguments);
        command
            .stdout(file)
            .stderr(errors)
            .status()
            .context("start kubectl")?;
        Ok(())
    }

    fn read(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output();
        output
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default()
    }
}

fn copy_logs(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("make {}", to.display()))?;
    for entry in std::fs::read_dir(from).with_context(|| format!("list {}", from.display()))? {
        let entry = entry.context("list the cluster's logs")?;
        let mut source = File::open(entry.path()).context("open a log")?;
        let length = source.metadata().context("look at a log")?.len();
        source
            .seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL)))
            .context("seek in a log")?;
        let mut target = File::create(to.join(entry.file_name())).context("create a log's copy")?;
        std::io::copy(&mut source.take(LOG_TAIL), &mut target).context("copy a log")?;
    }
    Ok(())
}
