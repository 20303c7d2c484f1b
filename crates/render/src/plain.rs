//! Which files of a source are manifests.

use sortie_manifest::annotations;

use crate::source::SourceFile;

/// A file of a source that is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The file.
    pub path: String,
    /// Why.
    pub reason: Reason,
}

/// Why a file is not deployed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its name ends neither in `.yaml` nor in `.yml`, and nobody has named it.
    NotYaml,
    /// It is named `values.yaml`: values are not manifests.
    Values,
    /// Its first line carries the skip marker.
    Marked,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotYaml => "not a .yaml or .yml file",
            Self::Values => "a values file is not a manifest",
            Self::Marked => "marked to be skipped in deployments",
        })
    }
}

/// Splits files into manifests, in their order, and what is left out. Files with the skip marker
/// are kept when `honour_marker` is false, as the step that applies single files does.
pub fn manifests(files: Vec<SourceFile>, honour_marker: bool) -> (Vec<SourceFile>, Vec<LeftOut>) {
    let mut kept = Vec::new();
    let mut left_out = Vec::new();
    for file in files {
        match reason(&file, honour_marker) {
            None => kept.push(file),
            Some(reason) => left_out.push(LeftOut {
                path: file.path,
                reason,
            }),
        }
    }
    (kept, left_out)
}

fn reason(file: &SourceFile, honour_marker: bool) -> Option<Reason> {
    let name = file.name().to_lowercase();
    if !(file.is_named || name.ends_with(".yaml") || name.ends_with(".yml")) {
        return Some(Reason::NotYaml);
    }
    if matches!(name.as_str(), "values.yaml" | "values.yml") {
        return Some(Reason::Values);
    }
    let marked = honour_marker && file.text().is_some_and(annotations::skips_file);
    marked.then_some(Reason::Marked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_file_that_is_named_the_extension_does_not_count() {
        let files = ["a.json", "b.txt", "values.yaml"].map(|path| SourceFile::new(path, "{}"));
        let listed = manifests(files.to_vec(), true);
        assert_eq!((listed.0.len(), listed.1.len()), (0, 3));
        let (kept, left_out) = manifests(files.map(SourceFile::named).to_vec(), true);
        let kept: Vec<_> = kept.iter().map(SourceFile::name).collect();
        assert_eq!(kept, ["a.json", "b.txt"]);
        assert_eq!(left_out[0].reason, Reason::Values);
    }

    #[test]
    fn only_yaml_files_without_the_marker_are_manifests() {
        let files = || {
            [
                ("a.yaml", "a"),
                ("b/c.YML", "c"),
                ("README.md", "r"),
                ("b/values.yaml", "v"),
                ("skip.yaml", "# harness.io/skip-file-for-deploy\nkind: X"),
                ("yaml", "x"),
            ]
            .map(|(path, text)| SourceFile::new(path, text))
            .to_vec()
        };
        let paths = |files: &[SourceFile]| {
            files
                .iter()
                .map(|file| file.path.clone())
                .collect::<Vec<_>>()
        };
        let (kept, left_out) = manifests(files(), true);
        assert_eq!(paths(&kept), ["a.yaml", "b/c.YML"]);
        let reasons: Vec<_> = left_out
            .iter()
            .map(|left| (left.path.as_str(), left.reason))
            .collect();
        assert_eq!(
            reasons,
            [
                ("README.md", Reason::NotYaml),
                ("b/values.yaml", Reason::Values),
                ("skip.yaml", Reason::Marked),
                ("yaml", Reason::NotYaml),
            ]
        );
        assert_eq!(
            paths(&manifests(files(), false).0),
            ["a.yaml", "b/c.YML", "skip.yaml"]
        );
    }
}
