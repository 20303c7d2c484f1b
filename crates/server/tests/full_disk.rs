//! A disk that takes no more, and does again later: with a limit on the size of files, which the
//! system applies to the running program as it would a full disk.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

/// `sortie-server` as a program of its own, ended when dropped.
struct Program {
    child: Child,
    client: Client,
    token: String,
    web: String,
    log: BufReader<std::process::ChildStderr>,
}

impl Program {
    fn start(folder: &std::path::Path) -> Self {
        // A write beyond the limit is to be an error, and not the end of the program.
        let mut child = Command::new("sh")
            .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
            .arg(env!("CARGO_BIN_EXE_sortie-server"))
            .args(["--web-address", "127.0.0.1:0", "--log-format", "json"])
            .args(["--agent-address", "127.0.0.1:0", "--data-dir"])
            .arg(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let mut words = line.split_whitespace();
        let token = words.find(|word| word.starts_with("sortie_")).unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut program = Self {
            child,
            client: support::client(),
            token: token.to_owned(),
            web: String::new(),
            log,
        };
        let serving = program.logged("control plane is serving");
        program.web = format!("http://{}", serving["web"].as_str().unwrap());
        program
    }

    /// Reads the log up to a line with this message.
    fn logged(&mut self, message: &str) -> Value {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.log.read_line(&mut line).unwrap(), 0, "it ended");
            let event: Value = serde_json::from_str(&line).unwrap();
            if event["message"] == message {
                return event;
            }
        }
    }

    /// Largest size of files from now on, in bytes, or `unlimited`.
    fn limit(&self, bytes: &str) {
        let status = Command::new("prlimit")
            .args(["--pid", &self.child.id().to_string()])
            .arg(format!("--fsize={bytes}:"))
            .status()
            .unwrap();
        assert!(status.success());
    }

    async fn call(&self, request: RequestBuilder) -> (u16, String) {
        let response = request.bearer_auth(&self.token).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// Asks until the answer has this status; an answer holds for a second.
    async fn ready(&self, status: u16) -> String {
        let asking = async {
            loop {
                let request = self.client.get(format!("{}/readyz", self.web));
                let (found, body) = self.call(request).await;
                if found == status {
                    return body;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(support::PATIENCE, asking)
            .await
            .unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_the_disk_is_full() {
    let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let mut server = Program::start(folder.path());
    let api = format!("{}/api/v1", server.web);
    server.ready(200).await;
    let documents = support::hello().replace("timeout: 5m", "timeout: 2s");
    let put = server.client.put(format!("{api}/entities")).body(documents);
    assert_eq!(server.call(put).await.0, 200);
    let run = server.client.post(format!("{api}/executions"));
    let (status, started) = server.call(run.json(&json!({"pipeline": "hello"}))).await;
    assert_eq!(status, 201, "{started}");
    let started: Value = serde_json::from_str(&started).unwrap();
    let id = started["id"].as_str().unwrap();

    server.limit("4096");
    let body = server.ready(503).await;
    assert!(body.contains("SRT-S013"), "{body}");
    // The step's time is over meanwhile, which cannot be stored.
    server.logged("trying again");
    let another = server.client.post(format!("{api}/executions"));
    let (status, body) = server
        .call(another.json(&json!({"pipeline": "hello"})))
        .await;
    assert!(
        status == 500 && body.contains("SRT-S007"),
        "{status}: {body}"
    );

    server.limit("unlimited");
    server.ready(200).await;
    // Ends when the execution has.
    let events = server.client.get(format!("{api}/executions/{id}/events"));
    let followed = server.call(events).await.1;
    assert!(followed.contains("\"EXPIRED\""), "{followed}");
    let (_, list) = server
        .call(server.client.get(format!("{api}/executions")))
        .await;
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list:#}");
}
