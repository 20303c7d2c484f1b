//! Scripts in a real runner, over the real socket.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use secrecy::SecretString;
use sortie_delegate::runner::{Limits, Runner};
use sortie_render::SourceFile;
use sortie_runner::frame::{End, File, LENGTH, MAX_FILES, Order, Report, VERSION, length};
use sortie_runner::script::Place;
use sortie_runner::service;
use sortie_step::scripts::{Heard, Script, ScriptError, Scripts as _};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
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
    fn without_runner(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("work")).unwrap();
        let (runner, host) = Runner::within(folder.path().join("socket"), limits);
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
        let mut world = Self::without_runner(patient());
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

    /// The delegate ends without a word, and another process takes its place.
    async fn replace_delegate(&mut self, limits: Limits) {
        self.host.shutdown().await;
        let (runner, host) = Runner::within(self.folder.path().join("socket"), limits);
        self.host.spawn(host.serve(self.stop.clone()));
        self.runner = Arc::new(runner);
    }

    /// Connect as soon as somebody listens.
    async fn connect(&self) -> UnixStream {
        let socket = self.folder.path().join("socket");
        let connecting = async {
            loop {
                match UnixStream::connect(&socket).await {
                    Ok(stream) => return stream,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, connecting).await.unwrap()
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

fn patient() -> Limits {
    Limits {
        patience: PATIENCE,
        ..Limits::default()
    }
}

/// A runner that follows no rules.
struct Hostile(UnixStream);

impl Hostile {
    /// Connected, and greeted.
    async fn to(world: &World) -> Self {
        let mut hostile = Self(world.connect().await);
        hostile.say(&Report::Ready { version: VERSION }).await;
        hostile
    }

    /// As far as the delegate listens.
    async fn say(&mut self, report: &Report) {
        self.0.write_all(&report.encode()).await.ok();
    }

    async fn order(&mut self) -> Order {
        let mut head = [0; LENGTH];
        self.0.read_exact(&mut head).await.unwrap();
        let mut body = vec![0; length(head).unwrap()];
        self.0.read_exact(&mut body).await.unwrap();
        Order::decode(&body).unwrap()
    }

    /// Take a script and say that it has begun.
    async fn begin(&mut self) {
        while self.order().await != Order::Begin {}
        self.say(&Report::Begun).await;
    }

    /// Until the delegate hangs up.
    async fn end(mut self) {
        let ending = async { while self.0.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {} };
        tokio::time::timeout(PATIENCE, ending).await.unwrap();
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
    let mut world = World::without_runner(Limits {
        patience,
        ..Limits::default()
    });
    let (left, lines) = world.run("true", &[]).await;
    assert_eq!(left.unwrap_err(), ScriptError::NoRunner { after: patience });
    assert_eq!(lines, ["? no runner is connected yet"]);
    // A script that waits is run as soon as there is one.
    world.replace_delegate(patient()).await;
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
    let other = World::without_runner(patient());
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

#[tokio::test]
async fn nobody_dials_in_the_place_of_a_runner_that_may_still_have_a_script() {
    // Longer than after a runner that has ended.
    let settle = Duration::from_millis(1_300);
    let limits = Limits {
        settle,
        ..patient()
    };
    let mut world = World::without_runner(limits);
    // In a new folder there was no runner before.
    let begin = tokio::time::Instant::now();
    let mut hostile = Hostile::to(&world).await;
    assert!(begin.elapsed() < PATIENCE);
    // This side lets go: whoever it was may live on.
    hostile.say(&Report::Begun).await;
    let begin = tokio::time::Instant::now();
    hostile.end().await;
    drop(world.connect().await);
    assert!(begin.elapsed() >= settle, "{:?}", begin.elapsed());
    // So may the runner of a delegate that was killed.
    let begin = tokio::time::Instant::now();
    world.replace_delegate(limits).await;
    drop(world.connect().await);
    assert!(begin.elapsed() >= settle, "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_runner_that_keeps_no_bounds_is_left() {
    let settle = Duration::ZERO;
    let world = World::without_runner(Limits {
        settle,
        ..patient()
    });
    let file = |name: String| {
        Report::File(File {
            path: name,
            content: Vec::new(),
        })
    };
    let wide = Report::Line("x".repeat(64 * 1024));
    let files = (0..=MAX_FILES).map(|number| file(number.to_string()));
    let files: Vec<Report> = files.collect();
    let twice = vec![file("a".to_owned()), file("a".to_owned())];
    let cases = [
        (files, "SRT-T085"),
        (twice, "SRT-T085"),
        (vec![wide; 300], "SRT-T084"),
        (vec![Report::Line("x".repeat(1024 * 1024))], "SRT-T084"),
        (vec![Report::Begun], "SRT-T084"),
    ];
    for (number, (reports, code)) in cases.into_iter().enumerate() {
        let hostile = async {
            let mut hostile = Hostile::to(&world).await;
            hostile.begin().await;
            for report in &reports {
                hostile.say(report).await;
            }
            // Too late: it is not listened to any more.
            hostile.say(&Report::Ended(End::Exit { code: 0 })).await;
            hostile.end().await;
        };
        let ((left, _), ()) = tokio::join!(world.run("true", &[]), hostile);
        let error = left.unwrap_err();
        assert_eq!(error.code(), code, "{number}: {error}");
    }
}

#[tokio::test]
async fn a_runner_that_takes_nothing_is_not_waited_for() {
    let world = World::without_runner(Limits {
        hand_over: Duration::from_millis(50),
        settle: Duration::ZERO,
        ..patient()
    });
    // More than a socket holds.
    let large = "x".repeat(8 * 1024 * 1024);
    let hostile = async {
        let mut held = Vec::new();
        for _ in 0..3 {
            let mut hostile = Hostile::to(&world).await;
            // A script is on its way.
            hostile.0.read_exact(&mut [0; LENGTH]).await.unwrap();
            held.push(hostile);
        }
        held
    };
    let files = [("large", large.as_str())];
    let ((left, _), _held) = tokio::join!(world.run("true", &files), hostile);
    let error = left.unwrap_err();
    assert!(
        matches!(&error, ScriptError::NotStarted { reason } if reason.contains("3 runners")),
        "{error}"
    );
}
