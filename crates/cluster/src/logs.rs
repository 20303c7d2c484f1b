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
    /// The last lines of a container's output, oldest first. What is not UTF-8 is replaced. Where there is more before the
    /// first or after the last, it may be cut anywhere, and has "…" there.
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
        Ok(lines_of(&answer.body, request))
    }
}

fn lines_of(body: &[u8], request: &LogRequest) -> Vec<String> {
    let text = String::from_utf8_lossy(body);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let is_after = body.len() >= request.bytes as usize;
    if let Some(last) = lines.last_mut().filter(|_| is_after) {
        last.truncate(last.trim_end_matches('\u{fffd}').len());
        last.push('…');
    }
    // A line that was written in parts is counted as so many.
    let is_before = is_after || lines.len() >= request.lines as usize;
    let is_cut = |line: &&mut String| is_before && !line.trim().is_empty();
    if let Some(first) = lines.first_mut().filter(is_cut) {
        let shown = first.trim_start_matches('\u{fffd}');
        *first = format!("…{shown}");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_may_be_cut_say_so() {
        let request = LogRequest {
            namespace: "shop".to_owned(),
            pod: "web".to_owned(),
            container: None,
            previous: false,
            lines: 3,
            bytes: 12,
        };
        for (body, expected) in [
            (&b"a\nb\n"[..], vec!["a", "b"]),
            (b"a\nb\nc\n", vec!["…a", "b", "c"]),
            (b"abcdef\nghijk", vec!["…abcdef", "ghijk…"]),
            // In the middle of a character.
            (b"\xa4bcdef\nghij\xc3", vec!["…bcdef", "ghij…"]),
            (b"", vec![]),
        ] {
            assert_eq!(lines_of(body, &request), expected);
        }
    }
}
