//! How much memory git and helm may use: what the container has, less what this process needs itself.
//!
//! The bound is set on each child as `RLIMIT_DATA`, which counts private writable memory. A Go program reserves far more
//! address space than it uses, without the right to write to it; a limit of address space would stop it at its start, this one
//! does not see the reserve. A child that passes the limit fails by itself and says so; one that passes the limit of its
//! container is killed by the kernel, and on cgroup v2 the kubelet lets everything else in the container die with it.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use tokio::sync::{Semaphore, SemaphorePermit};

/// Bytes of a MiB.
pub(crate) const MIB: u64 = 1 << 20;

/// What one engine may use at most, also where memory is not limited.
const MOST: u64 = 1024 * MIB;

/// From here on, more memory makes for more engines at once, too.
const ENOUGH: u64 = 384 * MIB;

/// What this process keeps for itself: a rendered text of the largest size, twice, and the objects made of it.
const RESERVE: u64 = 128 * MIB;

/// Engines that run at once where memory is not limited.
const UNLIMITED_AT_ONCE: usize = 4;

/// How the memory of this process's container is shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Bytes that the container has; `None` when nothing limits it.
    pub container: Option<u64>,
    /// Bytes of private memory of one child process. Never less in a larger container.
    pub each: u64,
    /// Engines that may run at the same time; at least one.
    pub at_once: usize,
}

impl Budget {
    /// Shares out `container` bytes.
    #[must_use]
    pub fn of(container: Option<u64>) -> Self {
        let Some(bytes) = container else {
            return Self {
                container,
                each: MOST,
                at_once: UNLIMITED_AT_ONCE,
            };
        };
        let free = bytes - RESERVE.min(bytes / 4);
        let each = (free / 2).clamp(ENOUGH, MOST).min(free).max(1);
        Self {
            container,
            each,
            at_once: usize::try_from(free / each).unwrap_or(1).max(1),
        }
    }
}

/// The engines of this process: they share its memory, so there is one of this.
#[derive(Debug)]
pub struct Engines {
    budget: Budget,
    turns: Semaphore,
}

/// The right to run one engine, until it is dropped.
#[derive(Debug)]
pub struct Turn<'a> {
    _permit: Option<SemaphorePermit<'a>>,
}

impl Engines {
    /// Engines under a budget.
    #[must_use]
    pub fn new(budget: Budget) -> Self {
        Self {
            budget,
            turns: Semaphore::new(budget.at_once),
        }
    }

    /// Those of this process, under the limit that its container had at the first call.
    pub fn of_this_process() -> &'static Self {
        static ENGINES: LazyLock<Engines> =
            LazyLock::new(|| Engines::new(Budget::of(container_limit())));
        &ENGINES
    }

    /// What each of them may use.
    #[must_use]
    pub const fn budget(&self) -> Budget {
        self.budget
    }

    /// Waits until one more engine fits, first come, first served. `waits` is called when that is not at once.
    pub async fn turn(&self, waits: impl FnOnce(Budget)) -> Turn<'_> {
        if let Ok(permit) = self.turns.try_acquire() {
            return Turn {
                _permit: Some(permit),
            };
        }
        waits(self.budget);
        Turn {
            // Fails only when the semaphore is closed, which nobody does.
            _permit: self.turns.acquire().await.ok(),
        }
    }
}

/// Bytes of memory that the control groups of this process leave it.
fn container_limit() -> Option<u64> {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let groups = read(Path::new("/proc/self/cgroup"))?;
    let mounts = read(Path::new("/proc/self/mountinfo"))?;
    limit(&groups, &mounts, read)
}

/// The smallest limit of the group of a process and of the groups above it, as far as they are mounted.
///
/// `groups` and `mounts` are `/proc/PID/cgroup` and `/proc/PID/mountinfo`, see cgroups(7) and proc(5).
fn limit(groups: &str, mounts: &str, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    groups
        .lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, group) = (parts.next()?, parts.next()?);
            let (kind, file) = match controllers {
                "" => ("cgroup2", "memory.max"),
                names if names.split(',').any(|name| name == "memory") => {
                    ("cgroup", "memory.limit_in_bytes")
                }
                _ => return None,
            };
            let (root, point) = mounts.lines().find_map(|line| mount(line, kind))?;
            // A container sees its own group as the root of the mount, whatever the group is called outside.
            let below = Path::new(group)
                .strip_prefix(root)
                .unwrap_or_else(|_| Path::new(""));
            below
                .ancestors()
                .filter_map(|group| read(&point.join(group).join(file))?.trim().parse().ok())
                .min()
        })
        // Version 1 writes "no limit" as the largest number of whole pages.
        .filter(|bytes| *bytes < 1 << 60)
        .min()
}

/// Root and place of a mount of control groups that have memory.
fn mount(line: &str, kind: &str) -> Option<(PathBuf, PathBuf)> {
    let (left, right) = line.split_once(" - ")?;
    let mut right = right.split(' ');
    let is_kind = right.next() == Some(kind);
    let has_memory = kind == "cgroup2" || right.nth(1)?.split(',').any(|option| option == "memory");
    let mut left = left.split(' ').skip(3).map(unescaped);
    (is_kind && has_memory).then_some((left.next()?.into(), left.next()?.into()))
}

/// A path of mountinfo, where four characters are written as octal numbers.
fn unescaped(path: &str) -> String {
    [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ]
    .iter()
    .fold(path.to_owned(), |path, (code, character)| {
        path.replace(code, character)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_shared_out_so_that_all_fits() {
        for (container, each, at_once) in [
            (64, 48, 1),
            (128, 96, 1),
            (256, 192, 1),
            (512, 384, 1),
            (896, 384, 2),
            (1024, 448, 2),
            (2048, 960, 2),
            (4096, 1024, 3),
        ] {
            let budget = Budget::of(Some(container * MIB));
            assert_eq!(
                (budget.each / MIB, budget.at_once),
                (each, at_once),
                "{container} MiB"
            );
        }
        let budget = Budget::of(None);
        assert_eq!((budget.each / MIB, budget.at_once), (1024, 4));
    }

    proptest::proptest! {
        #[test]
        fn no_budget_passes_its_container(bytes in 0_u64..1 << 40, more in 0_u64..1 << 40) {
            let budget = Budget::of(Some(bytes));
            assert!(budget.at_once >= 1 && budget.each >= 1);
            assert!(bytes == 0 || budget.each * budget.at_once as u64 <= bytes);
            assert!(Budget::of(Some(bytes + more)).each >= budget.each);
        }
    }

    #[test]
    fn the_limit_is_found_in_both_versions() {
        const V2: &str = "30 23 0:26 / /sys/fs/cgroup ro,nosuid shared:9 - cgroup2 cgroup rw\n";
        const V1: &str = "34 31 0:31 / /c/cpuset rw - cgroup cgroup rw,cpuset\n\
                          35 31 0:32 /pods/a /c/my\\040memory rw - cgroup cgroup rw,memory\n\
                          41 31 0:38 / /c/unified rw - cgroup2 cgroup2 rw\n";
        const POD: &str = "9:cpu,cpuacct:/pods/a\n4:memory:/pods/a/b\n0::/\n";
        type Files = &'static [(&'static str, &'static str)];
        let table: [(&str, &str, Files, Option<u64>); 8] = [
            (
                "0::/\n",
                V2,
                &[("/sys/fs/cgroup/memory.max", "536870912\n")],
                Some(536_870_912),
            ),
            (
                "0::/\n",
                V2,
                &[("/sys/fs/cgroup/memory.max", "max\n")],
                None,
            ),
            // The root has no such file.
            (
                "0::/a/b\n",
                V2,
                &[
                    ("/sys/fs/cgroup/a/memory.max", "7"),
                    ("/sys/fs/cgroup/a/b/memory.max", "max"),
                ],
                Some(7),
            ),
            (
                "0::/a\n",
                V2,
                &[
                    ("/sys/fs/cgroup/a/memory.max", "9"),
                    ("/sys/fs/cgroup/memory.max", "8"),
                ],
                Some(8),
            ),
            (
                POD,
                V1,
                &[
                    ("/c/my memory/memory.limit_in_bytes", "512"),
                    (
                        "/c/my memory/b/memory.limit_in_bytes",
                        "9223372036854771712\n",
                    ),
                ],
                Some(512),
            ),
            (
                POD,
                V1,
                &[(
                    "/c/my memory/memory.limit_in_bytes",
                    "9223372036854771712\n",
                )],
                None,
            ),
            // A group outside of what is mounted: the root of the mount is the container's own.
            (
                "4:memory:/other\n",
                V1,
                &[("/c/my memory/memory.limit_in_bytes", "5")],
                Some(5),
            ),
            ("", "", &[], None),
        ];
        for (groups, mounts, files, expected) in table {
            let read = |path: &Path| {
                let (_, text) = files.iter().find(|(name, _)| Path::new(name) == path)?;
                Some((*text).to_owned())
            };
            assert_eq!(
                limit(groups, mounts, read),
                expected,
                "{groups:?} {files:?}"
            );
        }
    }

    #[tokio::test]
    async fn who_does_not_fit_says_so_and_gets_the_next_turn() {
        let engines = Engines::new(Budget::of(Some(512 * MIB)));
        let first = engines.turn(|_| panic!("one fits")).await;
        let told = std::cell::Cell::new(None);
        let second = engines.turn(|budget| told.set(Some(budget.at_once)));
        tokio::pin!(second);
        assert!(
            polled_once(second.as_mut()).await.is_none(),
            "two at once do not fit"
        );
        assert_eq!(told.get(), Some(1));
        drop(first);
        drop(second.await);
        engines.turn(|_| panic!("it is free again")).await;
    }

    /// The result of a future if it has one already.
    async fn polled_once<T>(mut future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(match future.as_mut().poll(context) {
                std::task::Poll::Ready(value) => Some(value),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }
}
