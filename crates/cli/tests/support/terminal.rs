//! A terminal of a test: the program runs on it as a person would run it, and what the person sees can be read.

use std::ffi::OsStr;
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::{PATIENCE, Person};

/// A program on a terminal.
pub struct Terminal {
    child: Child,
    master: OwnedFd,
    screen: Arc<Mutex<vt100::Parser>>,
    changes: watch::Receiver<u64>,
}

/// How it ended.
#[derive(Debug)]
pub struct Left {
    pub code: i32,
    /// What stands on the terminal.
    pub screen: String,
    /// Whether the cursor can be seen.
    pub cursor: bool,
    /// Whether it shows what is typed.
    pub echo: bool,
}

impl Left {
    /// It ended with this code, and left a terminal where the cursor and what is typed can be seen.
    #[track_caller]
    pub fn ended(&self, code: i32) {
        let left = (self.code, self.cursor, self.echo);
        assert_eq!(left, (code, true, true), "{}", self.screen);
    }

    #[track_caller]
    pub fn says(&self, text: &str) {
        assert!(self.screen.contains(text), "{}", self.screen);
    }
}

impl Terminal {
    /// Runs the program with this terminal as its own: keys become signals.
    pub fn start(me: &Person, arguments: &[&str], size: (u16, u16)) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let (columns, rows) = size;
        set_size(&master, columns, rows);
        let name = ptsname(&master, Vec::new()).unwrap();
        let end = || -> Stdio {
            let path = OsStr::from_bytes(name.to_bytes());
            let mut options = std::fs::OpenOptions::new();
            options.read(true).write(true).open(path).unwrap().into()
        };
        let program = me.command(arguments);
        let program = program.as_std();
        let variables = program.get_envs();
        let child = Command::new("setsid")
            .args(["--ctty", "--wait"])
            .arg(program.get_program())
            .args(program.get_args())
            .current_dir(me.path())
            .env_clear()
            .envs(variables.filter_map(|(name, value)| Some((name, value?))))
            .env("TERM", "xterm-256color")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let screen = Arc::new(Mutex::new(parser(columns, rows)));
        let (changed, changes) = watch::channel(0);
        let (reader, shown) = (master.try_clone().unwrap(), Arc::clone(&screen));
        std::thread::spawn(move || {
            let mut bytes = [0_u8; 4096];
            // It ends with an error when nobody has the terminal open any more.
            while let Ok(count) = rustix::io::read(&reader, &mut bytes) {
                if count == 0 {
                    break;
                }
                shown.lock().unwrap().process(&bytes[..count]);
                changed.send_modify(|number| *number += 1);
            }
        });
        Self {
            child,
            master,
            screen,
            changes,
        }
    }

    /// What can be seen.
    pub fn seen(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// Waits until what can be seen is as wished.
    pub async fn until(&mut self, wish: impl Fn(&str) -> bool) -> String {
        let screen = Arc::clone(&self.screen);
        let look = || screen.lock().unwrap().screen().contents();
        let waiting = async {
            loop {
                self.changes.borrow_and_update();
                let seen = look();
                if wish(&seen) || self.changes.changed().await.is_err() {
                    return seen;
                }
            }
        };
        let seen = tokio::time::timeout(PATIENCE, waiting).await;
        let seen = seen.unwrap_or_else(|_| panic!("in time; seen:\n{}", look()));
        assert!(wish(&seen), "it ended; seen:\n{seen}");
        seen
    }

    /// Whether it shows what is typed.
    pub fn echoes(&self) -> bool {
        let modes = tcgetattr(&self.master).unwrap().local_modes;
        modes.contains(LocalModes::ECHO)
    }

    /// Types.
    pub fn types(&self, keys: &str) {
        rustix::io::write(&self.master, keys.as_bytes()).unwrap();
    }

    /// The system asks the program to end.
    pub fn terminate(&self) {
        self.send(rustix::process::Signal::TERM);
    }

    /// Sends a signal to the program alone.
    pub fn send(&self, signal: rustix::process::Signal) {
        let id = self.child.id().unwrap().try_into().unwrap();
        let process = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(process, signal).unwrap();
    }

    /// The window gets another size.
    pub fn resize(&self, columns: u16, rows: u16) {
        let mut screen = self.screen.lock().unwrap();
        screen.screen_mut().set_size(some(rows), some(columns));
        set_size(&self.master, columns, rows);
    }

    /// Waits for the end, and for the last that it has to say.
    pub async fn left(mut self) -> Left {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = ended.unwrap_or_else(|_| panic!("an end; seen:\n{}", self.seen()));
        let silent = async { while self.changes.changed().await.is_ok() {} };
        drop(tokio::time::timeout(Duration::from_secs(5), silent).await);
        let parser = self.screen.lock().unwrap();
        Left {
            code: status.unwrap().code().unwrap_or(-1),
            screen: parser.screen().contents(),
            echo: self.echoes(),
            cursor: !parser.screen().hide_cursor(),
        }
    }
}

fn parser(columns: u16, rows: u16) -> vt100::Parser {
    vt100::Parser::new(some(rows), some(columns), 0)
}

fn some(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}

fn set_size(master: &OwnedFd, columns: u16, rows: u16) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(master, size).unwrap();
}
