//! Our tool: the program as a person calls it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use sortie_testkit::Cluster;
use sortie_tests::account::{Account, clear_namespace};
use sortie_tests::{measured, program};
use tokio::time::Instant;

use crate::{Strategy, pods};

/// A release in a namespace of its own.
pub(crate) struct Workload<'a> {
    account: &'a Account,
    file: PathBuf,
    namespace: String,
    strategy: Strategy,
    size: u32,
}

impl<'a> Workload<'a> {
    /// Version 0, complete.
    pub(crate) async fn create(
        account: &'a Account,
        folder: &Path,
        namespace: &str,
        (strategy, size): (Strategy, u32),
    ) -> Result<Self> {
        let workload = Self {
            account,
            file: folder.join(format!("{namespace}.yaml")),
            namespace: namespace.to_owned(),
            strategy,
            size,
        };
        workload.version(0)?;
        let first: &[&str] = match strategy {
            Strategy::Canary => &["deploy FILE"],
            Strategy::BlueGreen => &["deploy FILE --strategy blue-green", "swap --settle 0s"],
        };
        workload.run(first).await?;
        Ok(workload)
    }

    /// Seconds from the first call for another version until it has replaced the former one, and the largest memory of the
    /// program in MiB.
    pub(crate) async fn deploy(&self, number: u32) -> Result<(f64, f64)> {
        self.version(number)?;
        let verbs: &[&str] = match self.strategy {
            Strategy::Canary => &["deploy FILE --strategy canary --canary 10%", "promote FILE"],
            Strategy::BlueGreen => &[
                "deploy FILE --strategy blue-green",
                "swap --settle 0s",
                "cancel --previous",
            ],
        };
        let begun = Instant::now();
        let memory = self.run(verbs).await?;
        Ok((begun.elapsed().as_secs_f64(), memory))
    }

    /// Runs verbs one after the other; the largest memory of them.
    async fn run(&self, verbs: &[&str]) -> Result<f64> {
        let file = self.file.display().to_string();
        let program = program("sortie")?.display().to_string();
        let mut memory = 0.0_f64;
        for verb in verbs {
            let verb = format!("{verb} -n {} --release web", self.namespace);
            let words = verb.split(' ');
            let words = words.map(|word| if word == "FILE" { &file } else { word });
            let words: Vec<String> = words.map(str::to_owned).collect();
            let ended = measured::run(&program, &words, &self.account.kubeconfig).await?;
            ensure!(ended.code == Some(0), "sortie {verb}: {}", ended.words);
            memory = memory.max(ended.memory);
        }
        Ok(memory)
    }

    fn version(&self, number: u32) -> Result<()> {
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}});
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
            "replicas": self.size,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}},
            "template": pods(number),
        }});
        let set = format!("{service}\n---\n{deployment}\n");
        std::fs::write(&self.file, set).context("write the set")
    }

    pub(crate) async fn clear(self, cluster: &Cluster) -> Result<()> {
        clear_namespace(cluster, &self.namespace).await
    }
}
