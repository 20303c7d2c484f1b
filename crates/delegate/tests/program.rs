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
fn wrong_settings_end_with_2_and_a_code() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        format!("--config {}", path.display())
    };
    let unknown = file(
        "unknown.yaml",
        "server: https://a:1\nname: edge\ncapacitty: 3\n",
    );
    let no_ca = file(
        "ca.yaml",
        "server: https://a:1\nname: edge\nextraCaFile: /nowhere/ca.pem\n",
    );
    let with = |more: &str| format!("--server https://a:1 --name edge {more}");
    for (arguments, code, part) in [
        (String::new(), "SRT-D003", "SORTIE_DELEGATE_SERVER"),
        ("--server https://a:1".to_owned(), "SRT-D003", "--name"),
        ("--config /nowhere".to_owned(), "SRT-D001", "/nowhere"),
        (unknown, "SRT-D002", "capacitty"),
        (no_ca, "SRT-D001", "/nowhere/ca.pem"),
        (with("--capacity 0"), "SRT-D006", "`capacity` is `0`"),
        (with("--capacity 1001"), "SRT-D006", "1 to 1000"),
        (with("--drain-seconds 9999"), "SRT-D006", "drainSeconds"),
        (
            "--server https://a:1 --name Edge_1".to_owned(),
            "SRT-D006",
            "Edge_1",
        ),
        (
            "--server http://a:1 --name edge".to_owned(),
            "SRT-D020",
            "http://a:1",
        ),
        (with("--log-level a=b=c"), "SRT-D004", "a=b=c"),
        (with("--nonsense"), "error", "--nonsense"),
        (with("--capacity many"), "error", "many"),
    ] {
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        let output = delegate(&arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(
            error.contains(code) && error.contains(part),
            "{arguments:?}: {error}"
        );
    }
    assert!(delegate(&["--version"]).status.success());
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
