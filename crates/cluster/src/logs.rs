//! The last words of containers.

use crate::connect::Cluster;
use crate::error::Error;
use crate::request::Call;
use crate::resource::{Resource, escape};

/// Which container's output to read.
#[derive(Clone, Debug)]
pub struct LogRequest {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Name of the container; may be left out when the pod has one only.
    pub container: Option<String>,
    /// Whether to read the output of the container's previous run, the one that crashed.
    pub previous: bool,
    /// How many lines, from the end.
    pub lines: u32,
    /// Upper limit in bytes.
    pub bytes: u32,
}

impl Cluster {
    /// The last lines of a container's output, oldest first. What is not UTF-8 is replaced.
    pub async fn logs(&self, request: &LogRequest) -> Result<Vec<String>, Error> {
        let mut path = Resource::pods().path(Some(&request.namespace), Some(&request.pod));
        let LogRequest {
            lines,
            bytes,
            previous,
            ..
        } = request;
        // limitBytes counts from the front of the answer, so it only guards against a flood.
        path.push_str(&format!(
            "/log?tailLines={lines}&limitBytes={bytes}&previous={previous}"
        ));
        if let Some(container) = &request.container {
            path.push_str("&container=");
            path.push_str(&escape(container));
        }
        let target = format!("Pod/{}/{}", request.namespace, request.pod);
        let mut call = Call::read("read the log of", target, path);
        call.accept = "*/*";
        call.patient = false;
        let answer = self.send(&call).await?;
        Ok(String::from_utf8_lossy(&answer.body)
            .lines()
            .map(str::to_owned)
            .collect())
    }
}
