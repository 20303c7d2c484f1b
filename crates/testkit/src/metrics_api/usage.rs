//! What pods use, as tests set it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

/// CPU in thousandths of a core, memory in bytes; None where nothing was set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) cpu: Option<u64>,
    pub(super) memory: Option<u64>,
}

/// Usages by namespace and prefix of the pod's name, shared by the test and its server.
#[derive(Debug, Clone, Default)]
pub(super) struct Usages(Arc<Mutex<BTreeMap<(String, String), Usage>>>);

impl Usages {
    pub(super) fn set(&self, namespace: &str, pod_prefix: &str, change: impl FnOnce(&mut Usage)) {
        let mut usages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (namespace.to_owned(), pod_prefix.to_owned());
        change(usages.entry(key).or_default());
    }

    /// None for a pod that does not run or that nothing was set for.
    pub(super) fn of(&self, pod: &Pod) -> Option<Usage> {
        let phase = pod.status.as_ref()?.phase.as_deref()?;
        if phase != "Running" || pod.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let (namespace, name) = (pod.namespace()?, pod.name_any());
        let usages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut matching: Vec<_> = usages
            .iter()
            .filter(|((of, prefix), _)| *of == namespace && name.starts_with(prefix.as_str()))
            .map(|((_, prefix), usage)| (prefix.len(), *usage))
            .collect();
        matching.sort_by_key(|(length, _)| *length);
        let usage = matching
            .into_iter()
            .fold(Usage::default(), |shorter, (_, longer)| Usage {
                cpu: longer.cpu.or(shorter.cpu),
                memory: longer.memory.or(shorter.memory),
            });
        (usage != Usage::default()).then_some(usage)
    }
}

/// `total` in `parts` that differ by at most one.
pub(super) fn divide(total: u64, parts: u64) -> impl Iterator<Item = u64> {
    let parts = parts.max(1);
    (0..parts).map(move |part| total / parts + u64::from(part < total % parts))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(namespace: &str, name: &str, phase: &str) -> Pod {
        let value =
            json!({"metadata": {"namespace": namespace, "name": name}, "status": {"phase": phase}});
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_longest_prefix_counts_for_each_resource() {
        let usages = Usages::default();
        usages.set("a", "web-", |usage| usage.cpu = Some(10));
        usages.set("a", "", |usage| usage.memory = Some(7));
        usages.set("a", "web-1", |usage| usage.cpu = Some(20));
        let said = |name| {
            usages
                .of(&pod("a", name, "Running"))
                .map(|usage| (usage.cpu, usage.memory))
        };
        assert_eq!(said("web-0"), Some((Some(10), Some(7))));
        assert_eq!(said("web-12"), Some((Some(20), Some(7))));
        assert_eq!(said("db-0"), Some((None, Some(7))));
        assert_eq!(usages.of(&pod("b", "web-0", "Running")), None);
        assert_eq!(usages.of(&pod("a", "web-0", "Pending")), None);
    }

    #[test]
    fn nothing_is_lost_by_dividing() {
        assert_eq!(divide(10, 3).collect::<Vec<_>>(), [4, 3, 3]);
        assert_eq!(divide(0, 2).collect::<Vec<_>>(), [0, 0]);
        assert_eq!(divide(5, 0).sum::<u64>(), 5);
    }
}
