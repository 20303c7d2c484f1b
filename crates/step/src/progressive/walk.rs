//! The planner's loop: look, decide, note, and write numbers of pods.

use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use serde_json::Value;
use sortie_cluster::apply::{Applied, Change};
use sortie_cluster::clock::Course;
use sortie_cluster::record::Stored;
use sortie_cluster::watch::any_changed;
use sortie_cluster::{Error, Resource, clock};
use sortie_manifest::ObjectId;
use sortie_strategy::invariant;
use sortie_strategy::progressive::{self, Action, Observation, Phase, Plan, State};
use sortie_strategy::replicas::Pair;

use super::progress::{self, Both, Progress};
use super::scaler::{Scaler, Scalers, hold};
use super::sight::{Look, Sight, Written};
use crate::adoption::object_of;
use crate::failure::{Failure, FailureKind};
use crate::locked::Locked;
use crate::report::Unit;
use crate::run::Run;
use crate::scaling::{Live, set_replicas};
use crate::single::traffic::{self, Leaving, Router, Sides};
use crate::steady::{self, Awaited, facts};
use crate::units::Ended;

/// How long nothing may be seen before a look all the same.
const AT_MOST: Duration = Duration::from_secs(30);

/// How long a router may take to accept weights.
const PATIENCE: Duration = Duration::from_secs(120);

/// Somebody who waits until what grows is healthy.
type Judging<'a> = BoxFuture<'a, Result<(), Ended>>;

/// A walk to a share.
pub(super) struct Walk<'a> {
    run: &'a Run<'a>,
    locked: &'a Locked,
    workloads: Vec<Both>,
    plan: Plan,
    state: State,
    written: Written,
    /// Whether somebody has begun this walk before, and may have been interrupted anywhere.
    is_resumed: bool,
    /// Whether no rule leads to the canary, or to the stable side, as it was looked at for what is about to be done.
    cleared: (bool, bool),
}

impl<'a> Walk<'a> {
    /// A walk that begins anew, or where the record says that it is.
    pub(super) fn new(
        (run, locked): (&'a Run<'a>, &'a Locked),
        stored: &Stored,
        progress: &Progress,
    ) -> Self {
        let plan = Plan {
            to: progress.percent,
            settle: run.env.limits.settle,
            patience: PATIENCE,
        };
        Self {
            run,
            locked,
            workloads: progress.workloads.clone(),
            state: progress::state(&stored.head, plan.to)
                .and_then(|state| state.resumed(clock::now()))
                .unwrap_or_default(),
            plan,
            written: Written::new(),
            is_resumed: progress::state(&stored.head, progress.percent).is_some(),
            cleared: (false, false),
        }
    }

    /// Go on until the share is reached.
    ///
    /// # Errors
    /// A pod of a growing side cannot start, a workload is gone, the record or a workload cannot be written, or it is time
    /// to stop.
    pub(super) async fn go(&mut self, stored: &mut Stored) -> Result<(), Ended> {
        let cluster = &self.run.env.cluster;
        let failed = |error: Error| Failure::cluster(&error);
        let sight = Sight::open(cluster, &self.workloads);
        let mut sight = self
            .guarded(async { Ok(sight.await.map_err(failed)?) })
            .await?;
        let copies = self.workloads.iter().map(|both| both.copy.clone());
        let copies = copies.collect();
        let open = async {
            let sides = Sides::of_copies(self.run, copies).await?;
            let router = Router::open(self.run, &sides).await?;
            Ok((sides, router))
        };
        let (sides, mut router) = self.guarded(open).await?;
        let course = Course::begin();
        let mut scalers = Scalers::of(self.run, self.locked, &self.workloads);
        let (mut judging, mut judged) = (None, None);
        loop {
            self.run.bounds.check()?;
            let seen = self.look(&sight, router.as_ref())?;
            let now = course.now();
            let decision = progressive::decide(&self.plan, self.state.clone(), &seen, now);
            self.enter(stored, decision.state).await?;
            match &self.state.phase {
                Phase::Shifting => {}
                Phase::Done => return scalers.share(self.plan.to, &seen.workloads).await,
                Phase::Failed(why) => return Err(stopped(why).into()),
            }
            if self.clear(&sides, &seen, &decision.actions).await? {
                continue;
            }
            let mut grown = Vec::new();
            let is_still = decision.actions.is_empty();
            if !is_still {
                scalers.hold(&seen.workloads).await?;
            }
            for action in decision.actions {
                let decided = (&self.plan, &self.state);
                debug_assert_eq!(invariant::permitted(decided, (&seen, now), &action), Ok(()));
                if let (Action::Weigh { canary }, Some(router)) = (&action, &mut router) {
                    self.weigh(router, *canary).await?;
                }
                if let Action::Scale { workload, to } = action {
                    let sides = seen.workloads[workload].sides.wanted();
                    let both = self.workloads[workload].clone();
                    self.tell(&both, (sides, to));
                    for (id, before, after) in [
                        (&both.object, sides.stable, to.stable),
                        (&both.copy, sides.canary, to.canary),
                    ] {
                        if before != after {
                            let scaler = both.scaler.as_ref().filter(|_| *id == both.object);
                            let live = self.scale((id, scaler), after).await?;
                            grown.extend((after > before).then_some(live));
                        }
                    }
                }
            }
            if !is_still {
                judging = None;
                self.guarded(self.judge(grown)).await?;
                continue;
            }
            // One that is waited for may break at any time. Who judged it whole may have looked earlier than we.
            let is_known = judged.as_ref() == Some(&seen.workloads) && self.is_grown(&seen);
            if judging.is_none() && !is_known {
                let growing = self.growing(&seen).await?;
                judging = (!growing.is_empty()).then(|| self.judge(growing));
                judged = Some(seen.workloads);
            }
            let watching = (&mut sight, router.as_mut(), &mut judging);
            self.wait(watching, decision.wake, &course).await?;
        }
    }

    /// Before a side has no pods any more, no rule leads there, not even one that was made a moment ago. Whether that was seen
    /// to now, so that everything is to be looked at anew.
    async fn clear(
        &mut self,
        sides: &Sides,
        seen: &Observation,
        actions: &[Action],
    ) -> Result<bool, Ended> {
        let empties = |pods: fn(Pair) -> u32| {
            actions.iter().any(|action| match action {
                Action::Scale { workload, to } => {
                    let now = seen.workloads[*workload].sides.wanted();
                    pods(*to) == 0 && pods(now) > 0
                }
                Action::Weigh { .. } => false,
            })
        };
        let leaving = (empties(|pair| pair.canary), empties(|pair| pair.stable));
        if std::mem::take(&mut self.cleared) == leaving {
            return Ok(false);
        }
        let (run, locked) = (self.run, self.locked);
        if leaving.1 {
            let check = async { Ok(sides.check_stable(run, &[], Leaving::Stable).await?) };
            self.guarded(check).await?;
        }
        if leaving.0 {
            Box::pin(traffic::empty(run, locked, sides, self.is_resumed)).await?;
            run.units.enter(Unit::WaitForSteadyState);
        }
        self.cleared = leaving;
        Ok(leaving != (false, false))
    }

    /// Ask the router for this percentage for the canary.
    async fn weigh(&self, router: &mut Router, canary: u32) -> Result<(), Ended> {
        let text = format!("the router gives the canary {canary} % of the requests");
        self.run.info(Unit::WaitForSteadyState, text);
        let ask = async { Ok(router.ask(self.run, self.locked, canary).await?) };
        let bounds = &self.run.bounds;
        bounds.run_writes(self.locked.lost(), Box::pin(ask)).await
    }

    async fn guarded<T>(&self, work: impl Future<Output = Result<T, Ended>>) -> Result<T, Ended> {
        let bounds = &self.run.bounds;
        bounds.run(self.locked.lost(), Box::pin(work)).await
    }

    fn look(&self, sight: &Sight, router: Option<&Router>) -> Result<Observation, Failure> {
        let looks = sight.look(&self.workloads, &self.written);
        let mut workloads = Vec::new();
        for (Look { workload, is_there }, both) in looks.into_iter().zip(&self.workloads) {
            if !is_there {
                return Err(gone(&both.object));
            }
            workloads.push(workload);
        }
        Ok(Observation {
            workloads,
            route: router.map(Router::look).transpose()?.flatten(),
        })
    }

    /// Note a new state before anything is done in it.
    async fn enter(&mut self, stored: &mut Stored, state: State) -> Result<(), Failure> {
        self.state = state;
        let to = self.plan.to;
        if progress::state(&stored.head, to).as_ref() == Some(&self.state) {
            return Ok(());
        }
        let head = &mut stored.head;
        progress::note(head, (to, &self.state));
        head.task_epoch = head.task_epoch.max(self.run.task.epoch);
        self.locked.update(stored).await
    }

    fn tell(&self, both: &Both, (from, to): (Pair, Pair)) {
        let mut lines = Vec::new();
        for (id, before, after) in [
            (&both.object, from.stable, to.stable),
            (&both.copy, from.canary, to.canary),
        ] {
            if before != after {
                let pods = if after == 1 { "pod" } else { "pods" };
                lines.push(format!("{id}: {after} {pods} instead of {before}"));
            }
        }
        for line in &lines {
            self.run.info(Unit::WaitForSteadyState, line);
        }
        self.run.bounds.pending().replace(lines);
    }

    /// Write the number of pods of one side.
    async fn scale(
        &mut self,
        (id, scaler): (&ObjectId, Option<&Scaler>),
        replicas: u32,
    ) -> Result<(Resource, Applied), Ended> {
        let Some(live) = self.find(id).await? else {
            return Err(gone(id).into());
        };
        let write = async {
            if let Some(scaler) = scaler {
                let held = hold(self.run, self.locked, scaler, replicas).await;
                held.map_err(|error| Failure::cluster(&error))?;
            }
            let applied = set_replicas(self.run, self.locked, &live, replicas).await;
            Ok(applied.map_err(|error| Failure::cluster(&error))?)
        };
        let bounds = &self.run.bounds;
        let write = bounds.run_writes(self.locked.lost(), Box::pin(write));
        let applied = write.await?.ok_or_else(|| gone(id))?;
        let generation = applied.object.pointer("/metadata/generation");
        if let Some(generation) = generation.and_then(Value::as_u64) {
            self.written.insert(id.clone(), (generation, replicas));
        }
        Ok((live.resource, applied))
    }

    async fn find(&self, id: &ObjectId) -> Result<Option<Live>, Ended> {
        let found = async {
            let found = self.run.env.cluster.find(id).await;
            Ok(found.map_err(|error| Failure::cluster(&error))?)
        };
        let found = self.guarded(found).await?;
        Ok(found.and_then(|(resource, live)| {
            Some(Live {
                id: id.clone(),
                resource,
                object: object_of(live)?,
            })
        }))
    }

    /// Whether all pods of the sides that grow are available.
    fn is_grown(&self, seen: &Observation) -> bool {
        seen.workloads.iter().all(|one| {
            let side = match self.plan.to {
                0 => one.sides.stable,
                _ => one.sides.canary,
            };
            side.available >= side.wanted
        })
    }

    /// The sides that grow on the way, as they are: one that was interrupted may have a broken pod already.
    async fn growing(&self, seen: &Observation) -> Result<Vec<(Resource, Applied)>, Ended> {
        let back = self.plan.to == 0;
        let mut growing = Vec::new();
        for (both, one) in self.workloads.iter().zip(&seen.workloads) {
            let (id, side) = match back {
                true => (&both.object, one.sides.stable),
                false => (&both.copy, one.sides.canary),
            };
            if side.is_settled() {
                continue;
            }
            if let Some(live) = self.find(id).await? {
                let applied = Applied {
                    id: id.clone(),
                    object: std::sync::Arc::new(live.object.into_value()),
                    change: Change::Configured,
                    conflicts: Vec::new(),
                };
                growing.push((live.resource, applied));
            }
        }
        Ok(growing)
    }

    /// Wait until these are healthy, with all that explains why they are not.
    fn judge(&self, grown: Vec<(Resource, Applied)>) -> Judging<'a> {
        let (run, locked) = (self.run, self.locked);
        Box::pin(async move {
            if grown.is_empty() {
                return Ok(());
            }
            let set = facts::Set::default().with_rules(run.rules().await?);
            let awaited = grown.into_iter();
            let awaited = awaited.map(|(resource, applied)| Awaited::of(applied, resource, &set));
            let awaited: Vec<Awaited> = awaited.collect();
            steady::wait(run, locked.guard(), awaited).await
        })
    }

    /// Wait for something to be seen, or for somebody who judges meanwhile to fail.
    ///
    /// # Errors
    /// What is judged is broken for good.
    async fn wait(
        &self,
        (sight, router, judging): (&mut Sight, Option<&mut Router>, &mut Option<Judging<'a>>),
        wake: Option<Timestamp>,
        course: &Course,
    ) -> Result<(), Ended> {
        let now = course.now();
        let until =
            wake.map(|wake| Duration::try_from(wake.duration_since(now)).unwrap_or_default());
        let at_most = until.map_or(AT_MOST, |until| until.min(AT_MOST));
        self.guarded(async {
            let routed = async {
                match router {
                    Some(router) => any_changed(router.watches()).await,
                    None => std::future::pending().await,
                }
            };
            let seen = async {
                tokio::select! {
                    () = sight.changed(at_most) => {}
                    () = routed => {}
                }
            };
            let mut seen = std::pin::pin!(seen);
            if let Some(told) = judging.as_mut() {
                tokio::select! {
                    () = &mut seen => return Ok(()),
                    told = told => told?,
                }
                *judging = None;
            }
            seen.await;
            Ok(())
        })
        .await
    }
}

fn gone(id: &ObjectId) -> Failure {
    Failure::new(
        FailureKind::Unknown,
        "SRT-T113",
        format!("{id} was deleted while its pods were exchanged"),
        "bring the release back by a rollback to its number, which makes the workload again; then remove the canary",
    )
}

fn stopped(why: &str) -> Failure {
    Failure::new(
        FailureKind::Unknown,
        "SRT-T114",
        format!("the exchange of pods has stopped where it was: {why}"),
        "look at the router, then run the step again or roll back",
    )
}
