//! The program as people run it: a process with its own settings folder.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

pub mod gate;
pub mod kubeconfig;
pub mod terminal;
pub mod world;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// Longest wait for anything in a test.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Someone with a settings folder of their own.
pub struct Person {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

/// How the program ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub fn json(&self) -> Value {
        serde_json::from_str(self.stdout.trim()).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn lines(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }
}

impl Person {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            variables: Vec::new(),
        }
    }

    /// Someone with the tools that tests have: helm, kubectl.
    pub fn with_tools() -> Self {
        let tools = sortie_testkit::environment::cache_dir()
            .unwrap()
            .join("bin");
        Self::new().with("PATH", tools.to_str().unwrap())
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file and names it.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sortie"));
        command
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("HOME", self.path())
            .env("USER", "tester")
            .env("SORTIE_CONFIG_DIR", self.path().join("config"))
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    pub async fn sortie(&self, arguments: &[&str]) -> Ended {
        self.sortie_with(arguments, "").await
    }

    pub async fn sortie_with(&self, arguments: &[&str], stdin: &str) -> Ended {
        let mut child = self.command(arguments).spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        // A program that does not read its stdin may be gone already.
        let _gone = pipe.write_all(stdin.as_bytes()).await;
        drop(pipe);
        let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
        let output = output.expect("the program ends in time").unwrap();
        Ended {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// The program while it runs.
pub struct Following {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    pub seen: Vec<String>,
}

impl Following {
    pub fn start(me: &Person, arguments: &[&str]) -> Self {
        let mut child = me.command(arguments).spawn().unwrap();
        drop(child.stdin.take());
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            child,
            lines,
            seen: Vec::new(),
        }
    }

    /// Ctrl-C.
    pub fn interrupt(&self) {
        let id = self.child.id().unwrap().try_into().unwrap();
        let process = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    }

    /// Reads on until a line holds this text.
    pub async fn until(&mut self, text: &str) {
        while !self.seen.last().is_some_and(|line| line.contains(text)) {
            let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("{text:?} in time; seen {:#?}", self.seen));
            let line = line.unwrap();
            self.seen
                .push(line.unwrap_or_else(|| panic!("{text:?}; seen {:#?}", self.seen)));
        }
    }

    pub async fn ended(mut self) -> (Ended, Vec<String>) {
        while let Some(line) = tokio::time::timeout(PATIENCE, self.lines.next_line())
            .await
            .unwrap()
            .unwrap()
        {
            self.seen.push(line);
        }
        let output = tokio::time::timeout(PATIENCE, self.child.wait_with_output())
            .await
            .unwrap()
            .unwrap();
        let ended = Ended {
            code: output.status.code().unwrap_or(-1),
            stdout: self.seen.join("\n"),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        (ended, self.seen)
    }
}

/// The hello example.
pub fn hello() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/hello")
        .canonicalize()
        .unwrap()
}
