//! The files that a set of objects is made of.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sortie_manifest::{Limits, yaml};
use sortie_render::SourceFile;
use sortie_render::plain::{self, LeftOut};
use sortie_step::task::{RollingDeploy, Source, Versioning};

use crate::args::{self, WithArgs};
use crate::exit::{Failure, Result};
use crate::files::{self, Folders};
use crate::print;
use crate::style::harmless;

/// Bytes of all manifests, and of all values; what is read of them is bounded again by whoever parses it.
pub(super) const MOST: u64 = 64 << 20;

/// Options with manifests, values and context; everything else as by default.
pub(super) fn read(paths: &[PathBuf], with: &WithArgs) -> Result<RollingDeploy> {
    let WithArgs {
        values,
        context,
        versioning,
    } = with;
    let manifests = manifests(paths, values)?;
    let values = files::read(values, Folders::Flat, MOST)?;
    let values = values
        .into_iter()
        .map(|file| Source::Inline(vec![source(file)]));
    Ok(RollingDeploy {
        manifests: vec![Source::Inline(manifests)],
        values: values.collect(),
        versioning: self::versioning(*versioning),
        context: context.as_deref().map_or(Ok(json!({})), self::context)?,
        ..RollingDeploy::default()
    })
}

/// What the names of ConfigMaps and Secrets end in.
const fn versioning(versioning: args::Versioning) -> Versioning {
    match versioning {
        args::Versioning::Content => Versioning::ContentHash,
        args::Versioning::Release => Versioning::ReleaseNumber,
        args::Versioning::Off => Versioning::Off,
    }
}

/// What expressions may name: a map.
fn context(path: &Path) -> Result<Value> {
    let files = files::read(&[path.to_owned()], Folders::Flat, MOST)?;
    let Some(file) = files.into_iter().next() else {
        return Ok(json!({}));
    };
    let documents = yaml::documents(&file.name, &file.data, &Limits::default())?;
    let mut values = documents
        .into_iter()
        .map(|document| document.value)
        .filter(|value| !value.is_null());
    match (values.next(), values.next()) {
        (None, _) => Ok(json!({})),
        (Some(value @ Value::Object(_)), None) => Ok(value),
        _ => Err(Failure::usage(format!(
            "{} is not one map of names to values",
            file.name
        ))),
    }
}

/// The manifest files; a folder's values files that were named as such are none. What else is none is told.
fn manifests(paths: &[PathBuf], values: &[PathBuf]) -> Result<Vec<SourceFile>> {
    let canonical = |path: &PathBuf| std::fs::canonicalize(path).ok();
    let values: HashSet<PathBuf> = values.iter().filter_map(canonical).collect();
    let (mut all, mut named, mut seen) = (Vec::new(), HashSet::new(), HashSet::new());
    for path in paths {
        let listed = if path.as_os_str() == "-" {
            vec![path.clone()]
        } else {
            files::list(path, Folders::Recursive)?
        };
        if listed.as_slice() == std::slice::from_ref(path) {
            named.extend(canonical(path));
        }
        // One that is named beside its folder is one file.
        all.extend(listed.into_iter().filter(|path| {
            canonical(path).is_none_or(|path| !values.contains(&path) && seen.insert(path))
        }));
    }
    let read = files::read(&all, Folders::Flat, MOST)?;
    let read = read.into_iter().map(|file| {
        let is_named =
            canonical(&PathBuf::from(&file.name)).is_some_and(|path| named.contains(&path));
        let manifest = manifest(file);
        if is_named { manifest.named() } else { manifest }
    });
    let (manifests, left_out) = plain::manifests(read.collect(), true);
    for LeftOut { path, reason } in left_out {
        print::note(&harmless(&format!("{path} left out: {reason}")));
    }
    if manifests.is_empty() {
        return Err(Failure::usage(
            "there is no manifest among the files that were named",
        ));
    }
    Ok(manifests)
}

/// What comes from stdin has no name that says that it is a manifest.
fn manifest(file: files::File) -> SourceFile {
    if file.name == "-" {
        return SourceFile::new("stdin.yaml", file.data);
    }
    source(file)
}

fn source(file: files::File) -> SourceFile {
    SourceFile::new(file.name, file.data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn values_files_below_a_folder_are_no_manifests() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("manifests")).unwrap();
        for name in ["values.yaml", "manifests/web.yaml", "README.md"] {
            std::fs::write(folder.path().join(name), "a: 1").unwrap();
        }
        std::fs::write(folder.path().join("more.json"), "{}").unwrap();
        let values = [folder.path().join("manifests/../values.yaml")];
        let found = manifests(&[folder.path().to_owned()], &values).unwrap();
        let names: Vec<_> = found.iter().map(SourceFile::name).collect();
        assert_eq!(names, ["web.yaml"]);
        let alone = manifests(&[folder.path().join("values.yaml")], &values).unwrap_err();
        assert_eq!(alone.exit, Exit::Usage);
        let named = manifests(&[folder.path().join("more.json")], &values).unwrap();
        assert_eq!(named[0].name(), "more.json");
        let both = [folder.path(), &folder.path().join("more.json")].map(Path::to_owned);
        let both = manifests(&both, &values).unwrap();
        let names: Vec<_> = both.iter().map(SourceFile::name).collect();
        assert_eq!(names, ["web.yaml", "more.json"]);
    }
}
