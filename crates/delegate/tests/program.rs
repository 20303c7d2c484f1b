//! The program as it is started: settings, exit codes, and what it shows.
#![allow(missing_docs, clippy::unwrap_used)]

use std::process::{Command, Output};

fn delegate(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sortie-delegate"));
    command.args(arguments).env_clear().output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn flags_win_over_the_environment_and_the_environment_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("delegate.yaml");
    let settings =
        "server: https://file:1\nname: edge\ncapacity: 3\ntags: [linux]\nlog: {level: debug}\n";
    std::fs::write(&path, settings).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_sortie-delegate"))
        .args([
            "--config",
            path.to_str().unwrap(),
            "--print-config",
            "--capacity",
            "5",
        ])
        .env_clear()
        .env("SORTIE_DELEGATE_CAPACITY", "4")
        .env("SORTIE_DELEGATE_SERVER", "https://environment:2")
        .env("https_proxy", "http://user:hunter22@proxy:3128")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    for line in [
        "server: https://environment:2",
        "name: edge",
        "tags: edge, linux",
        "capacity: 5",
        "identity Secret: default/edge-identity",
        "log: debug (Human)",
        "HTTPS proxy: set",
        "drain: 50 s",
    ] {
        assert!(
            shown.lines().any(|shown| shown == line),
            "{line} is not in\n{shown}"
        );
    }
    assert!(!shown.contains("hunter22"), "{shown}");
}

#[test]
fn wrong_settings_end_with_64_and_a_code() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("delegate.yaml");
    std::fs::write(&path, "server: https://a:1\nname: edge\ncapacitty: 3\n").unwrap();
    let settings = path.to_str().unwrap();
    let complete = ["--server", "https://a:1", "--name", "edge"];
    for (arguments, code, part) in [
        (vec![], "SRT-D003", "SORTIE_DELEGATE_SERVER"),
        (vec!["--server", "https://a:1"], "SRT-D003", "--name"),
        (vec!["--config", "/nowhere"], "SRT-D001", "/nowhere"),
        (vec!["--config", settings], "SRT-D002", "capacitty"),
        (
            [&complete[..], &["--log-level", "a=b=c"]].concat(),
            "SRT-D004",
            "a=b=c",
        ),
    ] {
        let output = delegate(&arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {error}");
        assert!(
            error.contains(code) && error.contains(part),
            "{arguments:?}: {error}"
        );
    }
}

#[test]
fn a_start_that_fails_ends_with_1_and_a_code() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("kubeconfig");
    let complete = ["--server", "https://a:1", "--name", "edge"];
    let arguments = [&complete[..], &["--kubeconfig", missing.to_str().unwrap()]].concat();
    let output = delegate(&arguments);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("SRT-C001"),
        "{}",
        text(&output.stderr)
    );
}
