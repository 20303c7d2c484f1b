//! A namespace per test, deleted at its end.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::{
    Api, Client,
    api::{DeleteParams, ObjectMeta, PostParams},
};
use rand::RngExt as _;

use crate::{
    cluster::{Cluster, connect},
    diagnostics, wait_for,
};

/// What a test wants of its namespace.
#[derive(Debug, Clone, Copy, Default)]
pub struct NamespaceOptions {
    /// Enforce the `restricted` Pod Security Standard.
    pub restricted: bool,
}

/// A namespace of one test. [`TestNamespace::finish`] deletes it and reports a failure to; dropping it does the same
/// as well as it can. When the test panics, logs and events are collected first and the place is printed.
pub struct TestNamespace {
    name: String,
    client: Client,
    kubeconfig: PathBuf,
    cluster_dir: Option<PathBuf>,
    finished: bool,
}

impl Cluster {
    /// A new namespace whose name begins with the test's.
    pub async fn namespace(&self, test_name: &str) -> Result<TestNamespace> {
        self.namespace_with(test_name, NamespaceOptions::default())
            .await
    }

    /// A new namespace with options. Pods can be created in it when this returns.
    pub async fn namespace_with(
        &self,
        test_name: &str,
        options: NamespaceOptions,
    ) -> Result<TestNamespace> {
        let NamespaceOptions { restricted } = options;
        let client = self.client().await?;
        let name = unique_name(test_name);
        let mut labels = BTreeMap::from([("sortie.dev/testkit".to_owned(), "true".to_owned())]);
        if restricted {
            for mode in ["enforce", "warn"] {
                let label = format!("pod-security.kubernetes.io/{mode}");
                labels.insert(label, "restricted".to_owned());
            }
        }
        let metadata = ObjectMeta {
            name: Some(name.clone()),
            labels: Some(labels),
            ..ObjectMeta::default()
        };
        let namespace = Namespace {
            metadata,
            ..Namespace::default()
        };
        Api::<Namespace>::all(client.clone())
            .create(&PostParams::default(), &namespace)
            .await
            .with_context(|| format!("create the namespace {name}"))?;
        let created = TestNamespace {
            name: name.clone(),
            client: client.clone(),
            kubeconfig: self.kubeconfig().to_owned(),
            cluster_dir: self.dir().map(ToOwned::to_owned),
            finished: false,
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(client, &name);
        wait_for(accounts, "default", Duration::from_secs(60), |account| {
            account.is_some()
        })
        .await?;
        Ok(created)
    }
}

impl TestNamespace {
    /// Its name in the cluster.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The administrator's client, bound to the runtime that made the namespace.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Asks for its deletion; the controller manager empties it while other tests go on.
    pub async fn finish(mut self) -> Result<()> {
        self.finished = true;
        delete(&self.client, &self.name).await
    }

    /// Saves logs of the pods and the control plane, events and objects, and returns the folder.
    pub fn collect_diagnostics(&self) -> Result<PathBuf> {
        diagnostics::collect(&self.name, &self.kubeconfig, self.cluster_dir.as_deref())
    }
}

impl std::fmt::Debug for TestNamespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestNamespace")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Drop for TestNamespace {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        if std::thread::panicking() {
            match self.collect_diagnostics() {
                Ok(folder) => crate::report(&format!("logs and events: {}", folder.display())),
                Err(error) => crate::report(&format!("logs and events were not saved: {error:#}")),
            }
        }
        // The test's runtime may be gone or blocked by this very drop.
        let (name, kubeconfig) = (self.name.clone(), self.kubeconfig.clone());
        let worker = std::thread::spawn(move || -> Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async { delete(&connect(&kubeconfig).await?, &name).await })
        });
        match worker.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => crate::report(&format!("{error:#}")),
            Err(_) => crate::report(&format!("the namespace {} was not deleted", self.name)),
        }
    }
}

async fn delete(client: &Client, name: &str) -> Result<()> {
    Api::<Namespace>::all(client.clone())
        .delete(name, &DeleteParams::background())
        .await
        .with_context(|| format!("delete the namespace {name}"))?;
    Ok(())
}

/// `a_test::of_something` becomes `a-test-of-something-x7k2p`: a DNS label of at most 50 characters.
fn unique_name(test_name: &str) -> String {
    let mut base: String = test_name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect();
    while base.contains("--") {
        base = base.replace("--", "-");
    }
    base.truncate(44);
    let mut random = rand::rng();
    let suffix: String = (0..5)
        .map(|_| char::from(b"bcdfghjklmnpqrstvwxz2456789"[random.random_range(0..27)]))
        .collect();
    let base = base.trim_matches('-');
    let base = if base.is_empty() { "test" } else { base };
    format!("{base}-{suffix}")
}

#[cfg(test)]
mod tests {
    use super::unique_name;

    #[test]
    fn names_are_dns_labels() {
        for test in ["a::b__c", "UPPER", "", "---", "ümlaut", &"x".repeat(300)] {
            let name = unique_name(test);
            assert!(name.len() <= 50, "{name}");
            assert!(!name.starts_with('-') && !name.ends_with('-'), "{name}");
            let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(name.chars().all(valid), "{name}");
        }
        assert_ne!(unique_name("same"), unique_name("same"));
    }
}
