//! The entities under `examples/` are right, complete, and hold the files that they say they hold.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};

use sortie_model::{EntitySpec, Limits, Parsed, missing_references, parse};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

/// Entities of a folder, without the folders in it.
fn folder(path: &Path) -> Vec<Parsed> {
    let mut files: Vec<_> = std::fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no entities in {}", path.display());
    let read = |path: &PathBuf| {
        parse(
            &path.display().to_string(),
            &std::fs::read(path).unwrap(),
            &Limits::default(),
        )
    };
    files.iter().map(read).collect()
}

#[test]
fn every_example_is_valid_complete_and_can_be_run() {
    for entry in std::fs::read_dir(root()).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_dir() {
            continue;
        }
        let files = folder(&path);
        let problems: Vec<_> = files.iter().flat_map(|file| &file.problems).collect();
        assert!(problems.is_empty(), "{problems:#?}");
        let missing = missing_references(&files);
        assert!(missing.is_empty(), "{missing:#?}");
        for entity in files.iter().flat_map(|file| &file.entities) {
            assert!(
                entity.unsupported().is_empty(),
                "{:#?}",
                entity.unsupported()
            );
        }
    }
}

#[test]
fn files_of_the_file_store_are_those_of_the_folder() {
    let folder_path = root().join("hello");
    let mut names = Vec::new();
    for entity in folder(&folder_path)
        .into_iter()
        .flat_map(|file| file.entities)
    {
        let EntitySpec::File(file) = entity.spec else {
            continue;
        };
        let below = file.path.strip_prefix("/hello/").unwrap();
        let original = std::fs::read_to_string(folder_path.join("files").join(below)).unwrap();
        assert_eq!(file.content.value, original, "{below}");
        names.push(below.to_owned());
    }
    names.sort();
    let expected = [
        "manifests/configmap.yaml",
        "manifests/deployment.yaml",
        "manifests/service.yaml",
        "values.yaml",
    ];
    assert_eq!(names, expected);
}
