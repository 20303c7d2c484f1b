//! The program as it is started: settings, exit codes, what it shows, and its log.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

fn server(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sortie-server"));
    command.env_clear().current_dir(folder);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}

/// Standard error of a start that is refused with 2 and that made nothing.
fn refused(folder: &Path, output: &Output) -> String {
    let shown = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{shown}");
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    assert!(is_empty(folder), "something was made: {shown}");
    shown
}

#[test]
fn wrong_settings_end_with_2_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let path = elsewhere.path().join("server.yaml");
    std::fs::write(&path, "web: {address: nowhere}\n").unwrap();
    let output = server(folder.path())
        .arg("--config")
        .arg(&path)
        .args(["--agent-address", "9443"])
        .env("SORTIE_TASK_LEASE", "soon")
        .output()
        .unwrap();
    let shown = refused(folder.path(), &output);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 3, "{shown}");
    for (line, parts) in lines.iter().zip([
        [
            "SRT-S132",
            "web.address",
            "the settings file",
            "`nowhere`",
            "127.0.0.1:8080",
        ],
        [
            "",
            "agent.address",
            "the flag --agent-address",
            "`9443`",
            "127.0.0.1:8080",
        ],
        [
            "",
            "taskLease",
            "the environment variable SORTIE_TASK_LEASE",
            "`soon`",
            "90s",
        ],
    ]) {
        for part in parts {
            assert!(line.contains(part), "{part} is not in {line}");
        }
    }

    for (arguments, code) in [
        (vec!["--config", "/nowhere.yaml"], "SRT-S130"),
        (vec!["--master-key-file", "/nowhere.key"], "SRT-S132"),
        (vec!["--log-level", "inof"], "SRT-S132"),
        (vec!["--nonsense"], "unexpected argument"),
        (vec!["--agent-hostname", "a"], "unexpected argument"),
        (vec!["nonsense"], "unrecognized subcommand"),
        (vec!["token", "create"], "--admin"),
        (vec!["token", "create", "--admin", "--days", "0"], "--days"),
        (
            vec!["token", "create", "--admin", "--label", " "],
            "--label",
        ),
    ] {
        let output = server(folder.path()).args(&arguments).output().unwrap();
        let shown = refused(folder.path(), &output);
        assert!(shown.contains(code), "{arguments:?}: {shown}");
    }
    std::fs::write(&path, "webb: {}\n").unwrap();
    let output = server(folder.path()).env("SORTIE_CONFIG", &path).output();
    let shown = refused(folder.path(), &output.unwrap());
    assert!(
        shown.contains("SRT-S131") && shown.contains("webb"),
        "{shown}"
    );
}

#[test]
fn help_version_and_settings_end_well() {
    let folder = tempfile::tempdir().unwrap();
    for (argument, expected) in [
        ("--help", "SORTIE_DATA_DIR"),
        ("--version", env!("CARGO_PKG_VERSION")),
        ("--print-config", "\"taskLease\": \"2m\""),
    ] {
        let output = server(folder.path()).arg(argument).output().unwrap();
        assert!(output.status.success(), "{argument}");
        let shown = text(&output.stdout);
        assert!(shown.contains(expected), "{argument}: {shown}");
    }
    assert!(is_empty(folder.path()));
}

/// A running program, ended when dropped.
struct Running {
    child: Child,
    token: String,
    address: String,
}

impl Running {
    fn start(folder: &Path, host: &str) -> Self {
        let mut child = Self::spawn(folder, host);
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let token = line
            .split_whitespace()
            .find(|word| word.starts_with("sortie_"));
        let token = token.unwrap().to_owned();
        Self::serving(child, token)
    }

    /// On a folder that was used before: no token is shown.
    fn restart(folder: &Path, host: &str) -> Self {
        Self::serving(Self::spawn(folder, host), String::new())
    }

    fn spawn(folder: &Path, host: &str) -> Child {
        server(folder)
            .args(["--web-address", &format!("{host}:0")])
            .args(["--agent-address", "127.0.0.1:0", "--log-format", "json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn serving(mut child: Child, token: String) -> Self {
        let mut line = String::new();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let address = loop {
            line.clear();
            assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "it ended");
            let event: serde_json::Value = serde_json::from_str(&line).unwrap();
            if let Some(web) = event["web"].as_str() {
                break web.to_owned();
            }
        };
        Self {
            child,
            token,
            address,
        }
    }

    async fn level(&self, address: &str, token: Option<&str>, level: &str) -> (u16, String) {
        let client = reqwest::Client::builder()
            .timeout(PATIENCE)
            .build()
            .unwrap();
        let request = client
            .put(format!("http://{address}/log-level"))
            .body(level.to_owned());
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

#[tokio::test]
async fn a_lost_admin_token_is_made_anew_while_the_server_runs_and_while_it_does_not() {
    let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let data = data.to_str().unwrap();
    let create = |more: &[&str]| {
        server(folder.path())
            .args(["token", "create", "--admin"])
            .args(more)
            .output()
            .unwrap()
    };
    let refused = create(&["--data-dir", data]);
    let shown = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{shown}");
    assert!(
        shown.contains("SRT-S127") && shown.contains(data),
        "{shown}"
    );
    assert!(is_empty(folder.path()), "nothing is made");

    let running = Running::start(folder.path(), "127.0.0.1");
    let made = |output: Output| {
        let (token, note) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{note}");
        let token = token.strip_suffix('\n').unwrap().to_owned();
        assert!(
            token.starts_with("sortie_") && !token.contains('\n'),
            "alone, to be piped"
        );
        assert!(!note.contains(&token), "{note}");
        (token, note)
    };
    let (first, note) = made(create(&[]));
    assert!(note.contains("until it is revoked"), "{note}");
    let (second, note) = made(create(&["--label", "lost", "--days", "1"]));
    assert!(!note.contains("revoked"), "{note}");
    drop(running);
    // Its own log and its first token are gone by now.
    let (third, _) = made(create(&["--data-dir", "sortie-data"]));
    let again = Running::restart(folder.path(), "127.0.0.1");
    for token in [&first, &second, &third] {
        let (status, body) = again.level(&again.address, Some(token), "debug").await;
        assert_eq!(status, 204, "{body}");
    }
}

/// An address of this machine that is not loopback, when it has one. Sends nothing.
fn outer_address() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.254:9").ok()?;
    let found = socket.local_addr().ok()?.ip();
    (!found.is_loopback() && !found.is_unspecified()).then_some(found)
}

#[tokio::test]
#[allow(
    clippy::disallowed_methods,
    reason = "a plain client is what callers have"
)]
async fn the_log_level_is_changed_over_loopback_with_a_token_alone() {
    let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(folder.path(), "0.0.0.0");
    let port = server.address.rsplit(':').next().unwrap();
    let inner = format!("127.0.0.1:{port}");
    let token = Some(server.token.as_str());
    assert_eq!(server.level(&inner, token, "debug\n").await.0, 204);
    let (status, body) = server.level(&inner, token, "loud").await;
    assert!(status == 400 && body.contains("SRT-S004"), "{body}");
    let (status, body) = server.level(&inner, None, "debug").await;
    assert!(status == 401 && body.contains("SRT-S001"), "{body}");
    if let Some(host) = outer_address() {
        let outer = format!("{host}:{port}");
        let (status, body) = server.level(&outer, token, "debug").await;
        assert!(status == 403 && body.contains("SRT-S014"), "{body}");
        assert!(body.contains("kubectl port-forward"), "{body}");
    }
}
