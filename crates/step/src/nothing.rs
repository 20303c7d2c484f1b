//! What is told of sources in which there is no object. Pure.

use sortie_render::SourceFile;
use sortie_render::plain::LeftOut;

use crate::failure::{Failure, FailureKind};

/// Files that are named; more are counted.
const NAMED: usize = 3;

/// Why a manifest file holds no object.
#[derive(Clone, Debug)]
pub(crate) struct Barren {
    path: String,
    why: &'static str,
}

impl Barren {
    /// A manifest as fetched, in case nothing comes out of it.
    pub(crate) fn of(file: &SourceFile) -> Self {
        let text = String::from_utf8_lossy(&file.content);
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let first = lines.clone().next();
        let why = match first {
            None => "is empty",
            Some(_) if lines.all(|line| line.starts_with('#') || line == "---") => {
                "holds only comments"
            }
            Some(_) => "is empty once it is rendered",
        };
        Self {
            path: file.path.clone(),
            why,
        }
    }
}

/// The failure of a deployment of nothing, by what was read and what was left out.
pub(crate) fn nothing(read: &[Barren], left_out: &[LeftOut]) -> Failure {
    let read = read
        .iter()
        .map(|file| format!("{} {}", file.path, file.why));
    let left_out = left_out
        .iter()
        .map(|file| format!("{} is left out: {}", file.path, file.reason));
    let mut files: Vec<String> = read.chain(left_out).collect();
    let more = files.len().saturating_sub(NAMED);
    files.truncate(NAMED);
    if more > 0 {
        files.push(format!("{more} more"));
    }
    let mut text = "there is no Kubernetes object to deploy".to_owned();
    if !files.is_empty() {
        text.push_str(": ");
        text.push_str(&files.join(", "));
    }
    Failure::new(
        FailureKind::Configuration,
        "SRT-T011",
        text,
        "check the paths of the manifest, the values that its templates ask for, and that its files are not all marked to be skipped",
    )
}

#[cfg(test)]
mod tests {
    use sortie_render::plain::manifests;

    use super::*;

    #[test]
    fn each_file_is_told_with_its_reason() {
        for (files, expected) in [
            (vec![], "there is no Kubernetes object to deploy"),
            (
                vec![("a.yaml", " \n")],
                "there is no Kubernetes object to deploy: a.yaml is empty",
            ),
            (
                vec![("a.yaml", "# one\n---\n  # two\n"), ("README.md", "x")],
                "there is no Kubernetes object to deploy: a.yaml holds only comments, README.md is left out: not a .yaml or .yml file",
            ),
            (
                vec![
                    ("a.yaml", "{{ if .Values.on }}\na: b\n{{ end }}"),
                    ("b.yaml", ""),
                    ("c.yaml", ""),
                    ("d.yaml", ""),
                    ("e.yaml", ""),
                ],
                "there is no Kubernetes object to deploy: a.yaml is empty once it is rendered, b.yaml is empty, c.yaml is empty, 2 more",
            ),
        ] {
            let files = files
                .into_iter()
                .map(|(path, text)| SourceFile::new(path, text));
            let (read, left_out) = manifests(files.collect(), true);
            let read: Vec<Barren> = read.iter().map(Barren::of).collect();
            let failure = nothing(&read, &left_out);
            assert_eq!(
                (failure.code.as_str(), failure.message.as_str()),
                ("SRT-T011", expected)
            );
        }
    }
}
