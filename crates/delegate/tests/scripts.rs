//! Scripts in a real runner, over the real socket.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use secrecy::SecretString;
use sortie_delegate::runner::Runner;
use sortie_render::SourceFile;
use sortie_runner::script::Place;
use sortie_runner::service;
use sortie_step::scripts::{Heard, Script, ScriptError, Scripts as _};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Tells this program that it is the runner of a test: the folder.
const FOLDER: &str = "SORTIE_TEST_RUNNER";

/// Whatever takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Is the runner when a test has started this process for it.
#[test]
fn runner() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        return;
    };
    service::protect().unwrap();
    let place = Place {
        work: folder.join("work"),
        also_clear: Vec::new(),
        shell: "/bin/bash".into(),
        kubeconfig: Some("/etc/kubeconfig".into()),
    };
    service::serve(&folder.join("socket"), &place).unwrap();
}

struct World {
    folder: TempDir,
    runner: Arc<Runner>,
    stop: CancellationToken,
    host: JoinSet<()>,
    process: Option<Child>,
}

impl World {
    fn without_runner(patience: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("work")).unwrap();
        let (runner, host) = Runner::patient(folder.path().join("socket"), patience);
        let stop = CancellationToken::new();
        let mut hosts = JoinSet::new();
        hosts.spawn(host.serve(stop.clone()));
        Self {
            folder,
            runner: Arc::new(runner),
            stop,
            host: hosts,
            process: None,
        }
    }

    fn start() -> Self {
        let mut world = Self::without_runner(PATIENCE);
        world.start_runner();
        world
    }

    fn start_runner(&mut self) {
        let process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "runner"])
            .env(FOLDER, self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        self.process = Some(process.unwrap());
    }

    fn kill_runner(&mut self) {
        let process = self.process.as_mut().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    async fn run(
        &self,
        text: &str,
        files: &[(&str, &str)],
    ) -> (Result<Vec<SourceFile>, ScriptError>, Vec<String>) {
        run(&self.runner, text, files).await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill().ok();
            process.wait().ok();
        }
    }
}

fn script(text: &str, files: &[(&str, &str)]) -> Script {
    Script {
        text: SecretString::from(text),
        files: files
            .iter()
            .map(|(path, text)| SourceFile::new(*path, *text))
            .collect(),
        variables: vec![("WORKLOADS_LIST", "Deployment/web".to_owned())],
        limit: Duration::from_secs(600),
    }
}

/// Run a script; what it wrote, and `?` with what it waited for.
async fn run(
    runner: &Runner,
    text: &str,
    files: &[(&str, &str)],
) -> (Result<Vec<SourceFile>, ScriptError>, Vec<String>) {
    let lines = Mutex::new(Vec::new());
    let hear = |heard: Heard<'_>| {
        let line = match heard {
            Heard::Line(line) => line.to_owned(),
            Heard::Waiting(why) => format!("? {why}"),
        };
        lines.lock().unwrap().push(line);
    };
    let running = runner.run(script(text, files), &hear);
    let left = tokio::time::timeout(PATIENCE, running)
        .await
        .expect("an end in time");
    (left, lines.into_inner().unwrap())
}

fn is_alive(pid: &str) -> bool {
    Path::new("/proc").join(pid).join("cwd").exists()
}

/// Lines without what was waited for.
fn said(lines: &[String]) -> Vec<&str> {
    let lines = lines.iter().map(String::as_str);
    lines.filter(|line| !line.starts_with('?')).collect()
}

#[tokio::test]
async fn a_script_gets_files_and_its_files_come_back() {
    let world = World::start();
    let text = "cat a/b; echo $WORKLOADS_LIST $KUBECONFIG $HARNESS_KUBE_CONFIG_PATH; echo changed > a/b; echo new > c";
    let (left, lines) = world.run(text, &[("a/b", "given\n"), ("d", "")]).await;
    assert_eq!(
        said(&lines),
        ["given", "Deployment/web /etc/kubeconfig /etc/kubeconfig"]
    );
    let left = left.unwrap();
    let left: Vec<_> = left
        .iter()
        .map(|file| (file.path.as_str(), file.text().unwrap()))
        .collect();
    assert_eq!(left, [("a/b", "changed\n"), ("c", "new\n"), ("d", "")]);
    for (text, error) in [
        ("exit 3", ScriptError::Exit { code: 3 }),
        ("kill -9 $$", ScriptError::Signal { signal: 9 }),
    ] {
        assert_eq!(world.run(text, &[]).await.0.unwrap_err(), error);
    }
    let (left, _) = world.run("ln -s /etc/passwd x", &[]).await;
    let error = left.unwrap_err();
    assert!(
        matches!(&error, ScriptError::Files { reason } if reason.contains("symbolic link")),
        "{error}"
    );
    let (left, lines) = world.run("echo ran", &[("../a", "")]).await;
    assert!(
        matches!(left, Err(ScriptError::NotStarted { .. })),
        "{left:?}"
    );
    assert!(said(&lines).is_empty());
}

#[tokio::test]
async fn one_script_at_a_time_and_the_other_hears_why() {
    let world = World::start();
    let pipe = world.folder.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let first = {
        let (runner, text) = (
            Arc::clone(&world.runner),
            format!("echo begun; cat {}", pipe.display()),
        );
        let (tell, begun) = tokio::sync::oneshot::channel();
        let tell = Mutex::new(Some(tell));
        let mut running = JoinSet::new();
        running.spawn(async move {
            let hear = |heard: Heard<'_>| {
                if let Heard::Line("begun") = heard {
                    tell.lock().unwrap().take().unwrap().send(()).unwrap();
                }
            };
            runner.run(script(&text, &[]), &hear).await.unwrap();
        });
        begun.await.unwrap();
        running
    };
    let waiting = Arc::new(tokio::sync::Notify::new());
    let second = {
        let (runner, waiting) = (Arc::clone(&world.runner), Arc::clone(&waiting));
        let mut running = JoinSet::new();
        running.spawn(async move {
            let hear = |heard: Heard<'_>| {
                if let Heard::Waiting(why) = heard {
                    assert!(why.contains("one script at a time"), "{why}");
                    waiting.notify_one();
                }
            };
            runner.run(script("true", &[]), &hear).await.unwrap();
        });
        running
    };
    waiting.notified().await;
    // The first one goes on with what it reads.
    std::fs::write(&pipe, "x").unwrap();
    first.join_all().await;
    second.join_all().await;
}

#[tokio::test]
async fn who_stops_listening_ends_the_script() {
    let world = World::start();
    let (tell, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let hear = move |line: Heard<'_>| {
        if let Heard::Line(line) = line {
            tell.send(line.to_owned()).unwrap();
        }
    };
    let pid = {
        let running = world.runner.run(script("echo $$; sleep 1000", &[]), &hear);
        tokio::pin!(running);
        tokio::select! {
            ended = &mut running => panic!("{ended:?}"),
            pid = heard.recv() => pid.unwrap(),
        }
    };
    // The next one begins when the last one is gone.
    world.run("true", &[]).await.0.unwrap();
    assert!(!is_alive(&pid));
}

#[tokio::test]
async fn without_a_runner_nobody_waits_for_ever() {
    let patience = Duration::from_millis(200);
    let mut world = World::without_runner(patience);
    let (left, lines) = world.run("true", &[]).await;
    assert_eq!(left.unwrap_err(), ScriptError::NoRunner { after: patience });
    assert_eq!(lines, ["? no runner is connected yet"]);
    // A script that waits is run as soon as there is one.
    let (runner, host) = Runner::patient(world.folder.path().join("socket"), PATIENCE);
    world.stop.cancel();
    while world.host.join_next().await.is_some() {}
    world.host.spawn(host.serve(CancellationToken::new()));
    world.runner = Arc::new(runner);
    world.start_runner();
    world.run("true", &[]).await.0.unwrap();
}

#[tokio::test]
async fn a_runner_that_is_killed_takes_the_script_with_it_and_another_one_comes() {
    let mut world = World::start();
    let (tell, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let running = {
        let runner = Arc::clone(&world.runner);
        let mut running = JoinSet::new();
        running.spawn(async move {
            let hear = move |heard: Heard<'_>| {
                if let Heard::Line(line) = heard {
                    tell.send(line.to_owned()).unwrap();
                }
            };
            runner
                .run(script("echo begun; read < <(sleep 1000)", &[]), &hear)
                .await
        });
        running
    };
    heard.recv().await.unwrap();
    world.kill_runner();
    let ended = running.join_all().await;
    assert_eq!(ended, [Err(ScriptError::Lost)]);
    world.start_runner();
    world.run("true", &[]).await.0.unwrap();
}

#[tokio::test]
async fn the_socket_is_there_for_one_runner_alone() {
    let world = World::start();
    let socket = world.folder.path().join("socket");
    world.run("true", &[]).await.0.unwrap();
    assert!(!socket.exists(), "nobody else can connect");
    // Neither can a script, which has the runner's user.
    let (_, lines) = world
        .run(
            &format!(
                "ls -l /proc/$$/fd | grep -c socket; ls {}",
                socket.display()
            ),
            &[],
        )
        .await;
    assert_eq!(said(&lines)[0], "0", "{lines:?}");
    let other = World::without_runner(PATIENCE);
    let socket = other.folder.path().join("socket");
    let listening = async {
        while !socket.exists() {
            tokio::task::yield_now().await;
        }
        while socket.metadata().unwrap().permissions().mode() & 0o777 != 0o660 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, listening).await.unwrap();
}

#[tokio::test]
async fn the_runner_ends_with_the_delegate() {
    let mut world = World::start();
    world.run("true", &[]).await.0.unwrap();
    world.stop.cancel();
    while world.host.join_next().await.is_some() {}
    let mut process = world.process.take().unwrap();
    assert!(process.wait().unwrap().success());
}
