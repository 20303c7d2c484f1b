//! A release under its lease: who else wants it waits, and its records are at hand.

use sortie_cluster::lease::{self, Claim, Guard, Held, Terms, Waiting};
use sortie_cluster::record::{Asker, Head, History, Owner, RecordError, Records, Release, Stored};
use sortie_cluster::{Cause, clock};

use crate::environment::Environment;
use crate::failure::{Failure, FailureKind, chain};
use crate::report::{Level, Unit};
use crate::task::Task;

/// The right to change a release, with its history.
#[derive(Debug)]
pub(crate) struct Locked {
    held: Held,
    pub(crate) records: Records,
    pub(crate) history: History,
}

impl Locked {
    /// Wait for the release's lease and read its history.
    pub(crate) async fn acquire(task: &Task, env: &Environment) -> Result<Self, Failure> {
        let release = Release::new(&task.release.namespace, &task.release.name)
            .map_err(|error| record_failure(&error))?;
        let records = Records::new(env.cluster.clone(), release.clone());
        let before = records
            .history()
            .await
            .map_err(|error| record_failure(&error))?;
        check_owner(task, &release, &before)?;
        let claim = Claim {
            namespace: release.namespace().to_owned(),
            name: release.lease_name(),
            holder: env.holder.clone(),
            floor: before.fence(),
            terms: Terms::new(env.limits.lease),
        };
        let waiting = |waiting: &Waiting| {
            let text = format!(
                "waiting for {}, which holds release {release}",
                waiting.holder
            );
            env.sink.log(Unit::Initialize, Level::Info, &text);
        };
        let held = lease::acquire(&env.cluster, claim, waiting).await;
        let held = held.map_err(|error| Failure::cluster(&error))?;
        let history = records
            .history()
            .await
            .map_err(|error| record_failure(&error))?;
        check_owner(task, &release, &history)?;
        Ok(Self {
            held,
            records,
            history,
        })
    }

    /// What every write is checked against.
    pub(crate) fn guard(&self) -> &Guard {
        self.held.guard()
    }

    /// A head for the next release number, not written yet.
    pub(crate) fn next_head(&self, task: &Task) -> Head {
        let mut head = Head::new(
            self.records.release(),
            self.history.next_number(),
            clock::now(),
        );
        head.owner = owner(task);
        head.asked_by = Asker {
            project: match task.requested_by.organisation.as_str() {
                "" => String::new(),
                organisation => format!("{organisation}/{}", task.requested_by.project),
            },
            user: task.requested_by.user.clone(),
            execution: task.requested_by.execution.clone(),
            task: task.id.clone(),
        };
        head.task_epoch = task.epoch;
        head
    }

    /// Write a changed head.
    pub(crate) async fn update(&self, stored: &mut Stored) -> Result<(), Failure> {
        let updated = self.records.update(stored, self.guard()).await;
        updated.map_err(|error| record_failure(&error))
    }

    /// Remove records that are not needed any more. Their presence harms nobody, so failing to is no failure of the step.
    pub(crate) async fn collect(&self, env: &Environment) {
        if let Err(error) = self.records.collect(env.limits.history, self.guard()).await {
            let text = format!("old records stay for now: {}", chain(&error));
            env.sink.log(Unit::WrapUp, Level::Warning, &text);
        }
    }

    /// Give the lease back.
    pub(crate) async fn release(self) {
        self.held.release().await;
    }

    /// Resolves when the release is not ours any more.
    pub(crate) async fn lost(&self) -> Failure {
        let source = self.guard().lost().await;
        let target = format!("release {}", self.records.release());
        let error = sortie_cluster::Error::new("go on with", target, Cause::LeaseLost { source });
        Failure::cluster(&error)
    }
}

fn check_owner(task: &Task, release: &Release, history: &History) -> Result<(), Failure> {
    match history.another_owner(&owner(task)) {
        None => Ok(()),
        Some(other) => {
            let error = RecordError::AnotherOwner {
                release: release.clone(),
                owner: other.clone(),
            };
            Err(record_failure(&error))
        }
    }
}

fn owner(task: &Task) -> Owner {
    let crate::task::Owner {
        service,
        environment,
        infrastructure,
    } = task.release.owner.clone();
    Owner {
        service,
        environment,
        infrastructure,
    }
}

/// A failure about the records of a release.
pub(crate) fn record_failure(error: &RecordError) -> Failure {
    if let RecordError::Cluster(error) = error {
        return Failure::cluster(error);
    }
    let kind = match error {
        RecordError::InvalidName { .. } => FailureKind::Configuration,
        RecordError::AnotherOwner { .. } => FailureKind::Authorization,
        _ => FailureKind::Unknown,
    };
    Failure::new(kind, error.code(), chain(error), error.advice())
}
