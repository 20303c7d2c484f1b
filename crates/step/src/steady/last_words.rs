//! The end of a failing container's log.

use sortie_cluster::{Cluster, LogRequest};
use sortie_health::diagnosis::{Cause, Logs};

/// Log lines of a failing container that are looked at.
const LINES: u32 = 10;
/// Bytes of them.
const BYTES: u32 = 16 * 1024;

/// The last lines of the container that a cause is about, oldest first; empty when there are none to be had.
pub(crate) async fn last_words(cluster: &Cluster, cause: &Cause) -> Vec<String> {
    let (Some(logs), Some(pod), Some(namespace)) =
        (cause.logs, &cause.pod, &cause.object.namespace)
    else {
        return Vec::new();
    };
    let mut request = LogRequest {
        namespace: namespace.clone(),
        pod: pod.clone(),
        container: cause.container.clone(),
        previous: logs == Logs::Previous,
        lines: LINES,
        bytes: BYTES,
    };
    let lines = cluster.logs(&request).await.unwrap_or_default();
    if !lines.is_empty() {
        return lines;
    }
    // The container may have moved on to its next run in between.
    request.previous = !request.previous;
    cluster.logs(&request).await.unwrap_or_default()
}
