//! An exchange of colours as the record has it: what is exchanged, how far it is, and what is told of it. Pure.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sortie_cluster::clock;
use sortie_cluster::record::Head;
use sortie_strategy::swap::{self, Phase, State};

use crate::failure::{Failure, FailureKind};
use crate::shape::Pair;
use crate::task::{Release, SwapServices, Task};

/// The unit under which it is journalled.
const JOURNAL: &str = "Swap";

/// An exchange that was begun. The last one that a record's journal has says how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Exchange {
    /// The task that began it.
    pub(super) task: String,
    /// Its execution; empty for a local one.
    #[serde(default)]
    pub(super) execution: String,
    /// Whether it undoes an earlier one.
    #[serde(default)]
    pub(super) back: bool,
    /// The colour that had the traffic, and the release number that it runs, where one is recorded.
    pub(super) from: Colored,
    /// The colour that gets it.
    pub(super) to: Colored,
    /// The Services.
    pub(super) services: Vec<Pair>,
    /// How far it is.
    pub(super) state: State,
    /// Whether the records say who has the traffic since, or that nothing has changed.
    #[serde(default)]
    pub(super) over: bool,
}

/// A colour with what it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Colored {
    pub(super) color: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) number: Option<u64>,
}

impl Exchange {
    /// One that begins now.
    pub(super) fn new(task: &Task, (from, to): (Colored, Colored), services: Vec<Pair>) -> Self {
        Self {
            task: task.id.clone(),
            execution: task.requested_by.execution.clone(),
            back: false,
            from,
            to,
            services,
            state: State::new(clock::now()),
            over: false,
        }
    }

    /// The one that undoes it.
    pub(super) fn reversed(&self, task: &Task) -> Self {
        let colors = (self.to.clone(), self.from.clone());
        Self {
            back: true,
            ..Self::new(task, colors, self.services.clone())
        }
    }

    /// The last one in a record's journal.
    pub(super) fn last(head: &Head) -> Option<Self> {
        let mut entries = head.journal.iter().rev();
        entries.find(|entry| entry.unit == JOURNAL)?.data.read()
    }

    /// Whether it is in force.
    pub(super) fn is_swapped(&self) -> bool {
        self.over && self.state.phase == Phase::Done
    }

    /// Note how far it is.
    pub(super) fn note(&self, head: &mut Head) {
        let (from, to) = (&self.from.color, &self.to.color);
        let over = if self.over { ", recorded" } else { "" };
        let what = format!("{from} to {to}: {}{over}", self.state.phase.name());
        head.note_with(JOURNAL, "", what, self, clock::now());
    }

    /// The number of the record that has its journal: that of the colour that was deployed for the stage.
    pub(super) const fn carrier(&self) -> Option<u64> {
        if self.back {
            self.from.number
        } else {
            self.to.number
        }
    }

    /// What the planner works on. `needs` are the ready pods that each primary Service must find in its new colour.
    pub(super) fn plan(&self, options: SwapServices, needs: &[u32]) -> swap::Plan {
        let (from, to) = (&self.from.color, &self.to.color);
        let one = |service: &str, (from, to): (&String, &String), needs| swap::Exchange {
            service: format!("Service {service}"),
            from: from.clone(),
            to: to.clone(),
            needs,
        };
        let pairs = || self.services.iter();
        let needs = needs.iter().copied().chain(std::iter::repeat(1));
        let primaries = pairs()
            .zip(needs)
            .map(|(pair, needs)| one(&pair.primary, (from, to), needs.max(1)));
        let stages = pairs().map(|pair| one(&pair.stage, (to, from), 0));
        swap::Plan {
            exchanges: primaries.chain(stages).collect(),
            // Nobody looks at a colour any more that is left because something is wrong with it.
            settle: if self.back {
                std::time::Duration::ZERO
            } else {
                options.settle
            },
            patience: options.patience,
        }
    }

    /// Name and namespace of the Services in the order of the plan, with the key of the colour in their selectors.
    pub(super) fn services(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        let of = |name: fn(&Pair) -> &str| {
            let one = move |pair| -> (&str, &str, &str) {
                let Pair { namespace, key, .. }: &Pair = pair;
                (namespace, name(pair), key)
            };
            self.services.iter().map(one)
        };
        of(|pair| &pair.primary).chain(of(|pair| &pair.stage))
    }

    /// What comes back of one that has come to its end.
    ///
    /// # Errors
    /// It has not swapped.
    pub(super) fn told(&self, release: &Release) -> Result<Value, Failure> {
        let names = |name: fn(&Pair) -> &str| -> String {
            let names: Vec<&str> = self.services.iter().map(name).collect();
            names.join(",")
        };
        let (from, to) = (&self.from.color, &self.to.color);
        let colors = |(name, before, after): (&str, &str, &str)| json!({"name": name, "colorBefore": before, "colorAfter": after});
        let primaries = self
            .services
            .iter()
            .map(|pair| colors((&pair.primary, from, to)));
        let stages = self
            .services
            .iter()
            .map(|pair| colors((&pair.stage, to, from)));
        let services: Vec<Value> = primaries.chain(stages).collect();
        match &self.state.phase {
            Phase::Done => Ok(json!({
                "releaseName": release.name,
                "namespace": release.namespace,
                "releaseNumber": self.to.number,
                "swapped": true,
                "primaryServiceName": names(|pair| &pair.primary),
                "stageServiceName": names(|pair| &pair.stage),
                "primaryColor": to,
                "stageColor": from,
                "services": services,
            })),
            Phase::Undone(why) => Err(Failure::new(
                FailureKind::Unknown,
                "SRT-T065",
                format!("the swap to {to} was undone, {from} has the traffic as before: {why}"),
                "look at the pods and Services of the stage, then run the step again",
            )),
            Phase::Stranded(why) => Err(Failure::new(
                FailureKind::Unknown,
                "SRT-T068",
                format!(
                    "{to} keeps the traffic although the swap should be undone, because {from} has no ready pod: {why}"
                ),
                format!("bring pods of {from} up and swap back, or mend {to} and swap again"),
            )),
            Phase::Failed(why) => Err(Failure::new(
                FailureKind::Unknown,
                "SRT-T062",
                format!("nothing was swapped, {from} has the traffic as before: {why}"),
                format!("look at the pods of {to}, then run the step again"),
            )),
            Phase::Refused(why) => Err(Failure::new(
                FailureKind::Configuration,
                "SRT-T061",
                format!("nothing was swapped: {why}"),
                format!(
                    "let the primary Service select {from} and the other {to}, as it was before somebody changed them, or deploy the stage again"
                ),
            )),
            open => Err(Failure::new(
                FailureKind::Unknown,
                "SRT-T065",
                format!("the swap to {to} was left half-way, {}", open.name()),
                "run the step again",
            )),
        }
    }
}

/// The other of two colours.
pub(super) fn other(color: &str) -> &'static str {
    if color == "blue" { "green" } else { "blue" }
}
