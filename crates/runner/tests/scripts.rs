//! The program with real scripts, as the delegate drives it.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use sortie_runner::frame::{self, End, File, LENGTH, Order, Report, Script, VERSION};
use tempfile::TempDir;

/// The user of the runner where the tests are root.
const NOBODY: u32 = 65_534;

/// One runner is started at a time.
static STARTING: Mutex<()> = Mutex::new(());

/// A runner and its delegate.
struct World {
    folder: TempDir,
    listener: UnixListener,
    child: Child,
    stream: UnixStream,
}

/// What came of a script.
#[derive(Debug)]
struct Told {
    lines: Vec<String>,
    files: Vec<File>,
    end: End,
}

impl Told {
    #[track_caller]
    fn well(self) -> Self {
        assert_eq!(self.end, End::Exit { code: 0 }, "{:?}", self.lines);
        self
    }
}

impl World {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
        for name in ["work", "also"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            std::fs::write(folder.path().join(name).join("old"), "of a runner before").unwrap();
        }
        std::fs::write(folder.path().join("log"), "of a runner before").unwrap();
        // Root may look into everything: as in the pod, the runner is somebody else.
        let is_root = rustix::process::geteuid().is_root();
        let program = folder.path().join("sortie-runner");
        // A process that is started while the copy is open for writing keeps it open: then nobody can run it.
        let starting = STARTING.lock();
        std::fs::copy(env!("CARGO_BIN_EXE_sortie-runner"), &program).unwrap();
        let mut command = Command::new(program);
        if is_root {
            let mut paths = vec![folder.path().to_owned()];
            for name in ["socket", "work", "work/old", "also", "also/old", "log"] {
                paths.push(folder.path().join(name));
            }
            for path in paths {
                std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
            }
            command.uid(NOBODY).gid(NOBODY);
        }
        let child = command
            .arg("--socket")
            .arg(folder.path().join("socket"))
            .arg("--work")
            .arg(folder.path().join("work"))
            .arg("--clear")
            .arg(folder.path().join("also"))
            .arg("--clear")
            .arg(folder.path().join("log"))
            .env("SECRET_OF_THE_RUNNER", "hunter2")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        drop(starting);
        let stream = accepted(&listener);
        let mut world = Self {
            folder,
            listener,
            child,
            stream,
        };
        assert_eq!(world.next(), Report::Ready { version: VERSION });
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn send(&mut self, order: &Order) {
        self.stream.write_all(&order.encode()).unwrap();
    }

    fn next(&mut self) -> Report {
        let mut head = [0; LENGTH];
        self.stream.read_exact(&mut head).unwrap();
        let mut body = vec![0; frame::length(head).unwrap()];
        self.stream.read_exact(&mut body).unwrap();
        Report::decode(&body).unwrap()
    }

    fn begin(&mut self, text: &str, files: &[(&str, &str)]) {
        self.begin_within(text, files, 600);
    }

    fn begin_within(&mut self, text: &str, files: &[(&str, &str)], seconds: u64) {
        let script = Script {
            text: text.to_owned(),
            variables: vec![("WORKLOADS_LIST".to_owned(), "Deployment/web".to_owned())],
            seconds,
        };
        self.send(&Order::Script(script));
        for (path, content) in files {
            self.send(&Order::File(File {
                path: (*path).to_owned(),
                content: content.as_bytes().to_vec(),
            }));
        }
        self.send(&Order::Begin);
    }

    /// Until the end of the script.
    fn told(&mut self) -> Told {
        let (mut lines, mut files) = (Vec::new(), Vec::new());
        loop {
            match self.next() {
                Report::Begun => {}
                Report::Line(line) => lines.push(line),
                Report::File(file) => files.push(file),
                Report::Ended(end) => return Told { lines, files, end },
                Report::Ready { .. } => panic!("in the middle of a script"),
            }
        }
    }

    /// Until the script has written this line.
    fn wait_for(&mut self, text: &str) {
        loop {
            if let Report::Line(line) = self.next()
                && line == text
            {
                return;
            }
        }
    }

    fn run(&mut self, text: &str, files: &[(&str, &str)]) -> Told {
        self.begin(text, files);
        self.told()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn accepted(listener: &UnixListener) -> UnixStream {
    listener.accept().unwrap().0
}

fn is_alive(pid: &str) -> bool {
    Path::new("/proc").join(pid.trim()).join("cwd").exists()
}

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[test]
fn a_script_gets_its_files_and_nothing_of_the_runner() {
    let mut world = World::start();
    assert_eq!(
        entries(&world.path("work")) + entries(&world.path("also")),
        0
    );
    assert_eq!(std::fs::read(world.path("log")).unwrap(), b"");
    let told = world
        .run(
            "env | sort; pwd; ls -a; cat a/b.yaml; echo \"to error\" >&2; echo $# $0",
            &[("a/b.yaml", "kind: X\n"), ("c", "")],
        )
        .well();
    let work = world.path("work").canonicalize().unwrap();
    let run = work.join("run").display().to_string();
    let expected = [
        format!("HOME={run}/home"),
        "LANG=C.UTF-8".to_owned(),
        format!("MANIFEST_FILES_DIRECTORY={run}/manifests"),
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        format!("PWD={run}/manifests"),
        "SHLVL=1".to_owned(),
        format!("TMPDIR={run}/tmp"),
        "WORKLOADS_LIST=Deployment/web".to_owned(),
        "_=/usr/bin/env".to_owned(),
        format!("{run}/manifests"),
        ".".to_owned(),
        "..".to_owned(),
        "a".to_owned(),
        "c".to_owned(),
        "kind: X".to_owned(),
        "to error".to_owned(),
        format!("0 {run}/hook.sh"),
    ];
    assert_eq!(told.lines, expected);
    let paths: Vec<_> = told.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["a/b.yaml", "c"]);
    assert_eq!(entries(&work), 0);
}

#[test]
fn nothing_of_a_script_is_there_for_the_next() {
    let mut world = World::start();
    let also = world.path("also").display().to_string();
    let script = format!(
        "mkdir -p $HOME/.config $TMPDIR/x; echo secret | tee $HOME/.bashrc $TMPDIR/x/y ../here {also}/there; \
         ln -s /etc link-of-home; rm link-of-home; chmod 000 $HOME/.config"
    );
    world.run(&script, &[("own.yaml", "a: 1\n")]).well();
    let told = world
        .run(&format!("find .. {also} -mindepth 1 | sort"), &[])
        .well();
    assert_eq!(
        told.lines,
        [
            "../home".to_owned(),
            "../hook.sh".to_owned(),
            "../manifests".to_owned(),
            "../tmp".to_owned(),
        ]
    );
}

#[test]
fn what_a_script_leaves_running_ends_with_it() {
    let mut world = World::start();
    let script = "setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo $!\n\
                  (trap '' TERM HUP INT; setsid bash -c 'trap \"\" TERM HUP; echo $$; while :; do sleep 1000; done' & ) \n\
                  sleep 1000 & echo $!\nwait -n 2>/dev/null & true";
    let told = world.run(script, &[]).well();
    let pids: Vec<_> = told
        .lines
        .iter()
        .filter(|line| line.parse::<u32>().is_ok())
        .collect();
    assert!(pids.len() >= 2, "{:?}", told.lines);
    for pid in pids {
        assert!(!is_alive(pid), "{pid} is still there");
    }
}

#[test]
fn the_end_is_told_with_its_code_or_signal() {
    let mut world = World::start();
    let told = world.run("echo one; exit 3", &[("a", "b")]);
    assert_eq!(told.end, End::Exit { code: 3 });
    assert_eq!(
        (told.lines.as_slice(), told.files.len()),
        (&["one".to_owned()][..], 0)
    );
    let told = world.run("kill -SEGV $$", &[]);
    assert_eq!(told.end, End::Signal { signal: 11 });
    let told = world.run("true", &[]);
    assert_eq!(told.end, End::Exit { code: 0 });
}

#[test]
fn a_script_ends_on_request_and_at_its_limit_with_all_that_it_started() {
    let mut world = World::start();
    let script = "sleep 1000 & echo $! > \"$TMPDIR/pid\"; cat \"$TMPDIR/pid\"; echo ready; wait";
    world.begin(script, &[]);
    assert_eq!(world.next(), Report::Begun);
    let Report::Line(pid) = world.next() else {
        panic!("no line");
    };
    world.wait_for("ready");
    assert!(is_alive(&pid));
    world.send(&Order::Cancel);
    assert_eq!(world.told().end, End::Canceled);
    assert!(!is_alive(&pid));
    // An order that comes too late concerns nobody.
    world.send(&Order::Cancel);
    world.begin_within("trap '' TERM; sleep 1000", &[], 1);
    assert_eq!(world.told().end, End::TimeLimit);
    world.run("true", &[]).well();
}

#[test]
fn the_runner_cannot_be_looked_into() {
    let mut world = World::start();
    let pid = world.child.id();
    let script = format!(
        "cat /proc/{pid}/environ; cat /proc/{pid}/maps; ls /proc/{pid}/fd; readlink /proc/{pid}/cwd || echo no link; \
         readlink /proc/$$/fd/* | grep -c socket: ; true"
    );
    let told = world.run(&script, &[]).well();
    let said = told.lines.join("\n");
    assert_eq!(said.matches("Permission denied").count(), 3, "{said}");
    // Nor does a script inherit the way to the delegate.
    assert!(said.ends_with("no link\n0"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn what_cannot_be_taken_back_is_told() {
    let mut world = World::start();
    let told = world.run("ln -s /etc/passwd a.yaml", &[]);
    let End::NotTaken { reason } = told.end else {
        panic!("{told:?}");
    };
    assert!(reason.starts_with("a.yaml is a symbolic link"), "{reason}");
    let told = world.run("cd ..; rm -r manifests; ln -s /etc manifests", &[]);
    assert!(matches!(told.end, End::NotTaken { .. }), "{told:?}");
    assert!(told.files.is_empty());
    let told = world.run(
        "cd /; mv \"$HOME/..\" \"$HOME/../../other\" 2>/dev/null; rm -rf \"$HOME\"",
        &[],
    );
    assert!(matches!(told.end, End::Exit { .. } | End::NotTaken { .. }));
    world.run("true", &[]).well();
    assert_eq!(entries(&world.path("work")), 0);
}

#[test]
fn two_files_of_one_name_stop_the_script_before_it_begins() {
    let mut world = World::start();
    let told = world.run("echo ran", &[("a", "1"), ("a", "2")]);
    assert!(matches!(told.end, End::NotStarted { .. }), "{told:?}");
    assert!(told.lines.is_empty());
}

#[test]
fn a_delegate_that_is_gone_takes_its_script_with_it_and_the_next_is_served() {
    let mut world = World::start();
    world.begin("echo $$; sleep 1000", &[]);
    assert_eq!(world.next(), Report::Begun);
    let Report::Line(pid) = world.next() else {
        panic!("no line");
    };
    world.stream.shutdown(std::net::Shutdown::Both).unwrap();
    // Ready comes after everything is cleared.
    world.stream = accepted(&world.listener);
    assert_eq!(world.next(), Report::Ready { version: VERSION });
    assert!(!is_alive(&pid));
    assert_eq!(entries(&world.path("work")), 0);
    world.run("true", &[]).well();
}

#[test]
fn a_delegate_that_ends_takes_the_runner_with_it() {
    let mut world = World::start();
    world.begin("echo begun; sleep 1000", &[]);
    world.wait_for("begun");
    world.send(&Order::Stop);
    assert!(world.child.wait().unwrap().success());
}

#[test]
fn much_output_is_bounded_and_blocks_nobody() {
    let mut world = World::start();
    let told = world
        .run("for i in $(seq 30000); do echo line $i; done", &[])
        .well();
    assert!(told.lines.len() <= 10_001, "{}", told.lines.len());
    assert_eq!(
        told.lines.last().unwrap(),
        "… (20000 more lines are not shown)"
    );
}
