//! Everything that a script has started.

use std::fs;
use std::io;

use rustix::process::{Pid, Signal, getpid, kill_process};

/// Kill all processes below this one. This process is their reaper: whoever loses its parent becomes a child of it, so
/// nobody gets out of the tree. New ones may have come meanwhile.
pub(crate) fn kill_all() {
    // Without a list nobody is killed, and the caller gives up after a while.
    for pid in below(getpid()).unwrap_or_default() {
        // It may be gone already.
        kill_process(pid, Signal::KILL).ok();
    }
}

/// The processes below `top`.
fn below(top: Pid) -> io::Result<Vec<Pid>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok());
        let Some(pid) = pid.and_then(Pid::from_raw) else {
            continue;
        };
        // Gone between the list and the look.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        all.extend(parent(&stat).map(|parent| (pid, parent)));
    }
    let mut found = vec![top];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        next += 1;
        let children = all.iter().filter(|(_, of)| *of == parent);
        let new: Vec<Pid> = children
            .map(|(pid, _)| *pid)
            .filter(|pid| !found.contains(pid))
            .collect();
        found.extend(new);
    }
    found.remove(0);
    Ok(found)
}

/// The parent by `/proc/PID/stat`, see proc(5). The name of the program, which may hold anything, is in brackets.
fn parent(stat: &str) -> Option<Pid> {
    let (_, rest) = stat.rsplit_once(')')?;
    Pid::from_raw(rest.split_whitespace().nth(1)?.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_behind_any_name() {
        for (stat, expected) in [
            ("7 (bash) S 3 7 7 0", Some(3)),
            ("7 (a) b) S 1 (x) S 4 7", Some(4)),
            ("7 (kthreadd) S 0 0 0", None),
            ("7 (bash", None),
            ("", None),
        ] {
            assert_eq!(parent(stat), expected.and_then(Pid::from_raw), "{stat}");
        }
    }

    #[test]
    fn a_child_is_below_its_parent() {
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&child);
        assert!(below(getpid()).unwrap().contains(&pid));
        assert!(below(pid).unwrap().is_empty());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!below(getpid()).unwrap().contains(&pid));
    }
}
