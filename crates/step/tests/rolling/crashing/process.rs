//! A process that carries out one step, and that may be killed or stopped at a write: this test program itself.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sortie_step::task::{
    Action, Amount, Owner, Prune, Release, RollingDeploy, RollingRollback, Target, Task, Uninstall,
};
use sortie_step::{Limits, Outcome};

use super::act::Act;
use super::colors::Coloring;
use super::variable;
use crate::canarying::canary;
use crate::coloring::blue_green;
use crate::progressing::progressive;
use crate::world::{Log, RELEASE, World, connect, plain};

/// Variable with the [`Order`] for [`one_step`].
const ORDER: &str = "SORTIE_TEST_ORDER";

/// What a process is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) kubeconfig: String,
    pub(crate) task: String,
    pub(crate) namespace: String,
    pub(crate) deed: Deed,
    /// Records that are kept.
    pub(crate) history: usize,
    /// Where the outcome is written.
    pub(crate) outcome: String,
}

/// What is done with the release.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Deed {
    /// Deploy these documents, pruning and taking over what is there.
    Deploy(String),
    /// Run one pod of them beside the release.
    Canary(String),
    /// Let their canary have this percentage of the pods.
    Progressive(String, u32),
    /// Take the progressive canary back.
    ProgressiveBack,
    /// The same, with a share of the requests.
    RoutedCanary(String),
    /// Remove the canary.
    CanaryDelete,
    /// Deploy them in the colour without traffic.
    BlueGreen(String),
    /// Roll back to a number; without it, to the last good one.
    Rollback(Option<u64>),
    /// Remove the release.
    Uninstall,
    /// Do what follows a blue-green deployment.
    Color(Coloring),
    /// Carry out a step without a release number.
    Act(Act),
}

impl Order {
    /// An order for the release of a test; the outcome is written into `folder`.
    pub(crate) fn of(world: &World, deed: Deed, folder: &Path) -> Self {
        Self {
            kubeconfig: world.cluster.kubeconfig().display().to_string(),
            task: uuid::Uuid::new_v4().to_string(),
            namespace: world.namespace.name().to_owned(),
            deed,
            history: 5,
            outcome: folder.join("outcome").display().to_string(),
        }
    }
}

impl Deed {
    pub(crate) fn action(self) -> Action {
        let all = |yaml: &str| RollingDeploy {
            prune: Some(Prune::default()),
            adopt: true,
            ..plain(yaml)
        };
        match self {
            Self::Deploy(yaml) => Action::RollingDeploy(all(&yaml)),
            Self::Canary(yaml) => canary(all(&yaml), Amount::Count(1)),
            Self::Progressive(yaml, percent) => progressive(all(&yaml), percent),
            Self::ProgressiveBack => Action::ProgressiveRollback,
            Self::RoutedCanary(yaml) => {
                let routing = Some(crate::following::testers_and_shares());
                let deploy = RollingDeploy {
                    routing,
                    ..all(&yaml)
                };
                canary(deploy, Amount::Count(1))
            }
            Self::CanaryDelete => Action::CanaryDelete,
            Self::BlueGreen(yaml) => blue_green(all(&yaml)),
            Self::Rollback(number) => Action::RollingRollback(RollingRollback {
                target: number.map_or(Target::LastGood, Target::Number),
                delete_storage: false,
            }),
            Self::Uninstall => Action::Uninstall(Uninstall::default()),
            Self::Color(coloring) => coloring.task().action,
            Self::Act(act) => act.action(),
        }
    }

    fn task(self) -> Task {
        match self {
            Self::Color(coloring) => coloring.task(),
            Self::Act(act) => act.task(),
            other => crate::world::task(other.action()),
        }
    }
}

/// How a process differs from others that have the same order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Nature {
    /// As it calls itself.
    pub(crate) holder: String,
    /// Counts the holders of its task.
    pub(crate) epoch: u64,
    /// By how many seconds its clock is wrong.
    pub(crate) skew: i64,
}

impl Default for Nature {
    fn default() -> Self {
        Self {
            holder: "test".to_owned(),
            epoch: 1,
            skew: 0,
        }
    }
}

/// Where a process ends or stands still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    Nowhere,
    Die(String),
    Stop(String),
}

/// A short lease, so that a killed holder is not waited for long.
pub(crate) fn limits(history: usize) -> Limits {
    Limits {
        lease: Duration::from_secs(3),
        history,
        settle: Duration::from_secs(1),
        ..Limits::default()
    }
}

/// Runs one step when a test has started this process for it.
#[tokio::test(flavor = "multi_thread")]
async fn one_step() {
    let Some(handed) = variable(ORDER) else {
        return;
    };
    let (order, nature): (Order, Nature) = serde_json::from_str(&handed).unwrap();
    let api = connect(Path::new(&order.kubeconfig)).await;
    let mut env = crate::world::environment(api, limits(order.history), Arc::new(Log::default()));
    env.holder = nature.holder;
    let task = Task {
        id: order.task,
        epoch: nature.epoch,
        release: Release {
            namespace: order.namespace,
            name: RELEASE.to_owned(),
            owner: Owner::default(),
        },
        ..order.deed.task()
    };
    let told = match sortie_step::run(&task, &env).await {
        Outcome::Succeeded { outputs } => outputs,
        other => Value::String(format!("{other:?}")),
    };
    std::fs::write(order.outcome, told.to_string()).unwrap();
}

/// A running one.
pub(crate) struct Process {
    child: tokio::process::Child,
    outcome: PathBuf,
    said: PathBuf,
}

impl Process {
    pub(crate) fn start(order: &Order, nature: &Nature, halt: &Halt) -> Self {
        let outcome = PathBuf::from(&order.outcome);
        let said = outcome.with_extension("log");
        let log = std::fs::File::create(&said).unwrap();
        let mut command = tokio::process::Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "crashing::process::one_step", "--nocapture"])
            .env(ORDER, serde_json::to_string(&(order, nature)).unwrap())
            .env("SORTIE_CLOCK_SKEW", nature.skew.to_string())
            .stdout(Stdio::from(log.try_clone().unwrap()))
            .stderr(Stdio::from(log))
            .kill_on_drop(true);
        match halt {
            Halt::Nowhere => {}
            Halt::Die(place) => drop(command.env("SORTIE_DIE_AT", place)),
            Halt::Stop(place) => drop(command.env("SORTIE_STOP_AT", place)),
        }
        Self {
            child: command.spawn().unwrap(),
            outcome,
            said,
        }
    }

    fn pid(&self) -> Pid {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok());
        Pid::from_raw(pid.unwrap()).unwrap()
    }

    /// Waits until it stands still; false when it ends first.
    pub(crate) async fn stands_still(&self) -> bool {
        let pid = self.pid();
        let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let wait = move || waitid(WaitId::Pid(pid), options).unwrap().unwrap();
        tokio::task::spawn_blocking(wait).await.unwrap().stopped()
    }

    /// Whether it ends within the time.
    pub(crate) async fn ends_within(&mut self, time: Duration) -> bool {
        let ended = tokio::time::timeout(time, self.child.wait()).await;
        ended.is_ok()
    }

    /// Stops it wherever it is.
    pub(crate) fn stop(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
    }

    /// Lets one that stands still go on.
    pub(crate) fn go_on(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    /// What it told at its end; `None` when it died.
    pub(crate) async fn end(mut self) -> Option<Value> {
        let status = self.child.wait().await.unwrap();
        let said = read(&self.said);
        println!("{said}");
        if status.signal().is_some() {
            return None;
        }
        assert!(status.success(), "{said}");
        Some(serde_json::from_str(&read(&self.outcome)).unwrap())
    }
}

/// Lets another process carry the order out, which dies at the place; says whether it did, and else what it told.
pub(crate) async fn run_until(order: &Order, place: Option<String>) -> Result<Value, ()> {
    let halt = place.map_or(Halt::Nowhere, Halt::Die);
    Process::start(order, &Nature::default(), &halt)
        .end()
        .await
        .ok_or(())
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}
