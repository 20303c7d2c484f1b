//! A release under its lease: who else wants it waits, and its records are at hand.

use std::time::Duration;

use sortie_cluster::lease::{self, Claim, Glance, Guard, Held, Terms, Waiting};
use sortie_cluster::record::{
    Asker, Head, History, Owner, PartId, RecordError, Records, Release, Stored,
};
use sortie_cluster::{Cause, clock};

use crate::configuration;
use crate::failure::{Failure, FailureKind, chain};
use crate::report::Unit;
use crate::run::Run;
use crate::task::Task;

/// The right to change a release, with its history as it was when the right was won.
#[derive(Debug)]
pub(crate) struct Locked {
    held: Held,
    lease: Duration,
    pub(crate) records: Records,
    pub(crate) history: History,
}

/// What a step has seen of its release before it may write.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) records: Records,
    pub(crate) history: History,
    /// The Lease as it was before the history was read, when nobody held it.
    glance: Option<Glance>,
}

/// The records of the task's release.
pub(crate) fn records(run: &Run<'_>) -> Result<Records, Failure> {
    let release = Release::new(&run.task.release.namespace, &run.task.release.name);
    let release = release.map_err(|error| record_failure(&error))?;
    Ok(Records::new(run.env.cluster.clone(), release))
}

/// The first look of a step at its release, before it may write: whether its namespace may be worked on, and what is recorded.
///
/// # Errors
/// The policy does not allow the namespace, or as [`history`].
pub(crate) async fn look(run: &Run<'_>) -> Result<Look, Failure> {
    run.check_namespace()?;
    let records = records(run)?;
    run.bounds
        .pending()
        .set("the API server did not show the release's records");
    let release = records.release();
    let (namespace, lease) = (release.namespace(), release.lease_name());
    // The Lease first: who takes it later as it was then knows that the history has not changed since.
    let glance = lease::glance(&run.env.cluster, namespace, &lease).await;
    let history = history(&records, run.task).await?;
    Ok(Look {
        records,
        history,
        glance,
    })
}

/// The history of the task's release.
///
/// # Errors
/// It cannot be read, or the release belongs to somebody else, or a later version of Sortie works on it. A record that is
/// damaged is no hindrance: it is in the history as one that cannot be read.
pub(crate) async fn history(records: &Records, task: &Task) -> Result<History, Failure> {
    let history = records.history().await;
    let history = history.map_err(|error| record_failure(&error))?;
    if let Some(newer) = history.unreadable().iter().find(|record| record.is_newer()) {
        return Err(record_failure(&newer.why));
    }
    match history.another_owner(&owner(task)) {
        None => Ok(history),
        Some(other) => {
            let error = RecordError::AnotherOwner {
                release: records.release().clone(),
                owner: other.clone(),
            };
            Err(record_failure(&error))
        }
    }
}

/// Who holds a release, for one who waits. A container that was killed and started again has its old name: what waits for
/// its Lease to run out would seem to wait for itself.
fn named<'a>(
    waiting: &Waiting,
    me: &str,
    task: &str,
    mut heads: impl Iterator<Item = &'a Head>,
) -> String {
    let Waiting { holder, fence } = waiting;
    let by = heads
        .find(|head| head.fence == *fence)
        .map(|head| &head.asked_by);
    match by {
        Some(by) if by.task == task && holder == me => {
            format!("an earlier process of {holder}, which was at work on this task")
        }
        Some(by) if by.task != task && !by.execution.is_empty() => {
            format!("{holder} at work on execution {}", by.execution)
        }
        None if holder == me => format!("another task or an earlier process of {holder}"),
        _ => holder.clone(),
    }
}

impl Locked {
    /// Wait for the release's lease, and read its history again if anybody may have changed it since the look.
    pub(crate) async fn acquire(run: &Run<'_>, unit: Unit, look: Look) -> Result<Self, Failure> {
        let Look {
            records,
            history: before,
            glance,
        } = look;
        let release = records.release().clone();
        let lease = run.env.limits.lease;
        let claim = Claim {
            namespace: release.namespace().to_owned(),
            name: release.lease_name(),
            holder: run.env.holder.clone(),
            floor: before.fence(),
            terms: Terms::new(lease),
        };
        run.bounds
            .pending()
            .set(format!("the lease of release {release}"));
        let waiting = |waiting: &Waiting| {
            let holder = named(waiting, &run.env.holder, &run.task.id, before.heads());
            run.info(
                unit,
                format!("waiting for {holder}, which holds release {release}"),
            );
            run.bounds
                .pending()
                .set(format!("{holder} holds release {release}"));
        };
        let held = lease::acquire_since(&run.env.cluster, claim, glance, waiting).await;
        let held = held.map_err(|error| Failure::cluster(&error))?;
        run.bounds
            .pending()
            .set(format!("the records of release {release}"));
        let history = if held.is_undisturbed() {
            before
        } else {
            drop(before);
            history(&records, run.task).await?
        };
        Ok(Self {
            held,
            lease,
            records,
            history,
        })
    }

    /// Name the records that cannot be read, once it is clear that none of them is needed.
    pub(crate) fn warn_of_unreadable(&self, run: &Run<'_>, unit: Unit) {
        for record in self.history.unreadable() {
            let (why, advice) = (&record.why, record.why.advice());
            run.warn(unit, format!("{why}; going on without it. {advice}"));
        }
    }

    /// What every write is checked against.
    pub(crate) fn guard(&self) -> &Guard {
        self.held.guard()
    }

    /// A head for the next release number, not written yet.
    pub(crate) fn next_head(&self, task: &Task) -> Head {
        let number = self.history.next_number();
        let mut head = Head::new(self.records.release(), number, clock::now());
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

    /// Give the release back that a killed holder of this task may have kept, after its end was recorded. Nobody depends on
    /// it: whoever holds the release now is not waited for longer than a dead holder's lease lasts.
    pub(crate) async fn free(run: &Run<'_>, unit: Unit, look: Look) {
        let free = async {
            if let Ok(locked) = Self::acquire(run, unit, look).await {
                locked.release(run).await;
            }
        };
        drop(tokio::time::timeout(run.env.limits.lease * 2, free).await);
    }

    /// Mark what `head` has taken the place of, and remove records and versioned configuration that are not needed any
    /// more. Marks are for people and leftovers harm nobody, so failing to is no failure of the step.
    pub(crate) async fn tidy(&self, run: &Run<'_>, head: Option<&Head>) {
        // In a colour it was done before the first write.
        if let Some(head) = head.filter(|head| head.side.color.is_none()) {
            self.supersede(run, Unit::WrapUp, head).await;
        }
        if let Err(error) = self.collect(run).await {
            let text = format!("old records stay for now: {}", chain(&error));
            run.warn(Unit::WrapUp, text);
        }
    }

    /// Mark what a head in a colour overwrites, before it writes there: whatever becomes of it, that runs no more.
    pub(crate) async fn overwrite(&self, run: &Run<'_>, head: &Head) {
        if head.side.color.is_some() {
            self.supersede(run, Unit::Prepare, head).await;
        }
    }

    async fn supersede(&self, run: &Run<'_>, unit: Unit, head: &Head) {
        let superseded = self.records.supersede(&self.history, head, self.guard());
        if let Err(error) = superseded.await {
            let text = format!("earlier releases are not marked: {}", chain(&error));
            run.warn(unit, text);
        }
    }

    async fn collect(&self, run: &Run<'_>) -> Result<(), RecordError> {
        let survey = self.records.survey(run.env.limits.history).await?;
        let collected = self.records.collect(&survey, self.guard());
        let superfluous = configuration::superfluous(run, &survey);
        let (collected, superfluous) = futures::join!(collected, superfluous);
        collected?;
        configuration::remove(run, self, superfluous).await;
        Ok(())
    }

    /// The parts of the release that are there; none where that is not known.
    pub(crate) async fn parts(&self) -> Vec<PartId> {
        if self.history.records().is_empty() {
            return Vec::new();
        }
        self.records.parts().await.unwrap_or_default()
    }

    /// Give the lease back; a lease that cannot be given back in time runs out. One of a release that has no record, such
    /// as after a first deployment that was refused, and no changes noted, is deleted: nothing else is left of it.
    pub(crate) async fn release(self, run: &Run<'_>) {
        let (records, lease, was_empty) = (self.records, self.lease, self.history.is_empty());
        drop(tokio::time::timeout(lease, self.held.release()).await);
        if was_empty {
            let forgetting = async {
                let changes = records.changes("").await;
                if changes.is_ok_and(|changes| !changes.is_stored())
                    && records.history().await.is_ok_and(|now| now.is_empty())
                {
                    // One that stays harms nobody.
                    drop(delete_lease(run, records.release()).await);
                }
            };
            drop(tokio::time::timeout(lease, forgetting).await);
        }
    }

    /// Give the lease back and delete it: the release is no more. One that another task takes meanwhile stays.
    pub(crate) async fn remove(self, run: &Run<'_>) {
        drop(tokio::time::timeout(self.lease, self.held.release()).await);
        if let Err(error) = delete_lease(run, self.records.release()).await {
            run.warn(Unit::WrapUp, chain(&error));
        }
    }

    /// Resolves when the release is not ours any more.
    pub(crate) async fn lost(&self) -> Failure {
        let source = self.guard().lost().await;
        let target = format!("release {}", self.records.release());
        let error = sortie_cluster::Error::new("go on with", target, Cause::LeaseLost { source });
        Failure::cluster(&error)
    }
}

async fn delete_lease(run: &Run<'_>, release: &Release) -> Result<bool, sortie_cluster::Error> {
    let (namespace, name) = (release.namespace(), release.lease_name());
    lease::remove(&run.env.cluster, namespace, &name).await
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

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn who_is_waited_for_is_never_oneself() {
        let release = Release::new("shop", "web").unwrap();
        let heads: Vec<Head> = [(1, "t1", "e1"), (2, "t2", "e2"), (3, "t3", "")]
            .into_iter()
            .map(|(fence, task, execution)| {
                let mut head = Head::new(&release, u64::from(fence), Timestamp::UNIX_EPOCH);
                head.fence = fence;
                head.asked_by.task = task.to_owned();
                head.asked_by.execution = execution.to_owned();
                head
            })
            .collect();
        for (holder, fence, expected) in [
            (
                "me",
                2,
                "an earlier process of me, which was at work on this task",
            ),
            ("me", 1, "me at work on execution e1"),
            // It has not opened a record yet.
            ("me", 9, "another task or an earlier process of me"),
            ("ann", 9, "ann"),
            ("ann", 1, "ann at work on execution e1"),
            ("ann", 2, "ann"),
            ("ann", 3, "ann"),
        ] {
            let waiting = Waiting {
                holder: holder.to_owned(),
                fence,
            };
            assert_eq!(named(&waiting, "me", "t2", heads.iter()), expected);
        }
    }
}
