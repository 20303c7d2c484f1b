//! The program as it is started: settings, exit codes, and what it shows.
#![allow(missing_docs, clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

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

/// A delegate that reaches neither its control plane nor its cluster, and goes on trying.
struct Running {
    process: Child,
    log: BufReader<ChildStdout>,
}

impl Running {
    fn start(folder: &Path, socket: &Path) -> Self {
        let kubeconfig = folder.join("kubeconfig");
        let text = "{apiVersion: v1, kind: Config, current-context: x, clusters: [{name: x, cluster: {server: 'http://127.0.0.1:9'}}], \
                    users: [{name: x, user: {}}], contexts: [{name: x, context: {cluster: x, user: x}}]}";
        std::fs::write(&kubeconfig, text).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_sortie-delegate"))
            .args(["--server", "https://127.0.0.1:9", "--name", "edge"])
            .args(["--log-format", "json", "--admin-address", "127.0.0.1:0"])
            .args(["--kubeconfig", kubeconfig.to_str().unwrap()])
            .args(["--control-socket", socket.to_str().unwrap()])
            .env_clear()
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(process.stdout.take().unwrap());
        Self { process, log }
    }

    /// The first line from here on that has `part`.
    fn line(&mut self, part: &str) -> serde_json::Value {
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            let read = self.log.read_line(&mut line).unwrap();
            assert_ne!(read, 0, "the log ends without {part}");
        }
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

#[test]
fn the_log_level_is_changed_over_the_control_socket_alone() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("control.sock");
    // As a process that was killed leaves it.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let mut running = Running::start(folder.path(), &socket);
    let admin = running.line("delegate started")["admin"].clone();
    let mode = socket.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let set = |socket: &Path, filter: &str| {
        delegate(&[
            "--server",
            "https://a:1",
            "--name",
            "edge",
            "--control-socket",
            socket.to_str().unwrap(),
            "--set-log-level",
            filter,
        ])
    };
    // As a script of a service may try: it is in the pod's network, and not in its folder.
    let mut stream = TcpStream::connect(admin.as_str().unwrap()).unwrap();
    let request =
        "PUT /log-level HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\ntrace";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");

    let output = set(&socket, "debug");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(running.line("log level changed")["filter"], "debug");
    // What came before it was not told.
    running.line("DEBUG");

    let absent = folder.path().join("absent.sock");
    for (socket, filter, expected) in [
        (&socket, "a=b=c", "SRT-D004: `a=b=c` is not a log filter"),
        (&socket, &"x".repeat(2_000), "more than 1024 bytes"),
        (&absent, "debug", "no delegate answers"),
    ] {
        let output = set(socket, filter);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(
            error.contains("SRT-D008") && error.contains(expected),
            "{error}"
        );
    }
    let nowhere = [
        "--server",
        "https://a:1",
        "--name",
        "edge",
        "--set-log-level",
        "debug",
    ];
    let output = delegate(&nowhere);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("controlSocket"));
}
