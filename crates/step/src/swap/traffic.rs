//! The planner's loop: look, decide, note, and write one Service after the other.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use sortie_cluster::clock::Course;
use sortie_cluster::record::Stored;
use sortie_cluster::{Error, Resource};
use sortie_manifest::ObjectId;
use sortie_strategy::invariant;
use sortie_strategy::swap::{self, Phase, Plan, Seen, Select};

use super::exchange::Exchange;
use super::sight::Sight;
use crate::failure::{Failure, chain};
use crate::locked::Locked;
use crate::protection::text;
use crate::remove::is_final;
use crate::report::Unit;
use crate::run::Run;
use crate::units::Ended;

/// How long nothing may be seen before a look all the same.
const AT_MOST: Duration = Duration::from_secs(30);

/// An exchange under way.
pub(super) struct Driver<'a> {
    run: &'a Run<'a>,
    locked: &'a Locked,
    carrier: Stored,
    exchange: Exchange,
    plan: Plan,
    /// Why it ends although the planner has come to a good end, or before.
    ended: Option<Ended>,
}

impl<'a> Driver<'a> {
    pub(super) const fn new(
        run: &'a Run<'a>,
        locked: &'a Locked,
        carrier: Stored,
        exchange: Exchange,
        plan: Plan,
    ) -> Self {
        Self {
            run,
            locked,
            carrier,
            exchange,
            plan,
            ended: None,
        }
    }

    /// The record with the journal, how the exchange ended, and why it was stopped if it was.
    pub(super) fn end(self) -> (Stored, Exchange, Option<Ended>) {
        (self.carrier, self.exchange, self.ended)
    }

    /// Go on until the planner's end.
    ///
    /// # Errors
    /// The record or a Service cannot be written in a state that somebody has to carry on, or another holder is to go on.
    pub(super) async fn run(&mut self) -> Result<(), Ended> {
        let cluster = &self.run.env.cluster;
        let failed = |error: Error| Failure::cluster(&error);
        let services = cluster.resolve("", "v1", "Service").await.map_err(failed)?;
        let mut sight = Sight::open(cluster, &self.exchange).await.map_err(failed)?;
        let course = Course::begin();
        loop {
            let seen = sight.look(&self.plan);
            let now = course.now();
            let decision = swap::decide(&self.plan, self.exchange.state.clone(), &seen, now);
            self.enter(decision.state).await?;
            if self.exchange.state.is_end() {
                return Ok(());
            }
            let mut written = false;
            for select in decision.actions {
                written |= self.select(&services, &select, &seen, now).await?;
            }
            if !written {
                self.wait(&mut sight, decision.wake, &course).await?;
            }
        }
    }

    /// Note a new state before anything is done in it, and tell it.
    async fn enter(&mut self, state: swap::State) -> Result<(), Failure> {
        let is_noted = Exchange::last(&self.carrier.head);
        let is_new = state.phase != self.exchange.state.phase;
        self.exchange.state = state;
        if self.exchange.state.is_end() || is_noted.as_ref() == Some(&self.exchange) {
            // The end is noted with the roles.
            return Ok(());
        }
        self.exchange.note(&mut self.carrier.head);
        self.carrier.head.task_epoch = self.carrier.head.task_epoch.max(self.run.task.epoch);
        self.locked.update(&mut self.carrier).await?;
        if is_new || self.exchange.state.phase == Phase::Waiting {
            self.tell();
        }
        Ok(())
    }

    fn tell(&self) {
        let (from, to) = (&self.exchange.from.color, &self.exchange.to.color);
        let line = match &self.exchange.state.phase {
            Phase::Waiting => format!("waiting for ready pods of {to}"),
            Phase::Swapping => format!("{to} is ready: the Services change from {from} to it"),
            Phase::Checking => format!("waiting for the endpoints to be pods of {to} alone"),
            Phase::Settling => format!(
                "{to} has the traffic; for {} s clients may still be on their way to {from}",
                self.plan.settle.as_secs()
            ),
            Phase::Undoing(why) => {
                let text = format!("the Services go back to {from}: {why}");
                return self.run.warn(Unit::SwapServices, text);
            }
            _ => return,
        };
        self.run.bounds.pending().set(line.clone());
        self.run.info(Unit::SwapServices, line);
    }

    /// Wait for something to be seen. A request to stop, and the deadline, change the state instead.
    async fn wait(
        &mut self,
        sight: &mut Sight,
        wake: Option<Timestamp>,
        course: &Course,
    ) -> Result<(), Ended> {
        let now = course.now();
        let until =
            wake.map(|wake| Duration::try_from(wake.duration_since(now)).unwrap_or_default());
        let at_most = until.map_or(AT_MOST, |until| until.min(AT_MOST));
        if self.ended.is_some() {
            // Watches may still have to show what was written.
            sight.changed(at_most).await;
            return Ok(());
        }
        let ended = tokio::select! {
            biased;
            ended = self.run.bounds.stopped() => ended,
            () = sight.changed(at_most) => return Ok(()),
        };
        let why = match &ended {
            Ended::HandedOver => return Err(ended),
            Ended::Aborted => "stopped on request".to_owned(),
            Ended::Failed(failure) => failure.message.clone(),
        };
        self.give_up(ended, &why, course.now());
        Ok(())
    }

    fn give_up(&mut self, ended: Ended, why: &str, now: Timestamp) {
        self.exchange.state = swap::stop(&self.plan, self.exchange.state.clone(), why, now);
        self.ended = Some(ended);
        self.tell();
    }

    /// Let a Service select its new colour if it still selects the old one. Says whether it was written.
    async fn select(
        &mut self,
        services: &Resource,
        select: &Select,
        seen: &[Seen],
        now: Timestamp,
    ) -> Result<bool, Ended> {
        let exchange = self.plan.exchanges.get(select.exchange);
        let Some((exchange, seen)) = exchange.zip(seen.get(select.exchange)) else {
            return Ok(false);
        };
        debug_assert_eq!(invariant::never_deserted(exchange, seen, select), Ok(()));
        match self.write(services, select).await {
            Ok(written) => Ok(written),
            Err(error) if is_final(&error) => Err(Failure::cluster(&error).into()),
            Err(error) if matches!(self.exchange.state.phase, Phase::Swapping) => {
                let failure = Failure::cluster(&error);
                self.give_up(failure.into(), &chain(&error), now);
                Ok(true)
            }
            Err(error) => Err(Failure::cluster(&error).into()),
        }
    }

    async fn write(&self, services: &Resource, select: &Select) -> Result<bool, Error> {
        let cluster = &self.run.env.cluster;
        let Some((namespace, name, key)) = self.exchange.services().nth(select.exchange) else {
            return Ok(false);
        };
        let Some(live) = cluster.get(services, Some(namespace), name).await? else {
            return Ok(false);
        };
        let selected = live.pointer("/spec/selector").and_then(|all| all.get(key));
        if selected.and_then(Value::as_str) != Some(&select.from) {
            return Ok(false);
        }
        let id = ObjectId {
            group: String::new(),
            kind: "Service".to_owned(),
            namespace: Some(namespace.to_owned()),
            name: name.to_owned(),
        };
        let path = format!(
            "/spec/selector/{}",
            key.replace('~', "~0").replace('/', "~1")
        );
        let operations = json!([
            {"op": "test", "path": "/metadata/resourceVersion", "value": text(&live, "/metadata/resourceVersion")},
            {"op": "test", "path": path, "value": select.from},
            {"op": "replace", "path": path, "value": select.to},
        ]);
        match cluster
            .patch(services, &id, &operations, self.locked.guard())
            .await
        {
            Ok(_) => {
                let text = format!("{id} selects {} instead of {}", select.to, select.from);
                self.run.info(Unit::SwapServices, text);
                Ok(true)
            }
            // Somebody else has written it: what it is now is looked at again.
            Err(error) if error.is_conflict() => Ok(true),
            Err(error) => Err(error),
        }
    }
}
