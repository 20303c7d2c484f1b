//! What a deployment writes of the objects that it renders: the whole release, or copies of its workloads that run beside
//! the originals.

mod apart;
mod blue_green;
mod budgets;
mod canary;
mod copies;
mod neighbours;
mod progressive;
mod services;
mod size;
mod taken;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};
use sortie_cluster::apply::{Change, Planned};
use sortie_cluster::record::{Head, History, Side};
use sortie_manifest::versioning::Versioned;
use sortie_manifest::{Object, ObjectId};

use crate::failure::{Failure, FailureKind};
use crate::hooks;
use crate::plan::{self, Prepared};
use crate::report::Unit;
use crate::run::Run;
use crate::single::traffic;
use crate::task::{Amount, RollingDeploy, Strategy};

pub(crate) use neighbours::check as check_neighbours;
pub(crate) use services::{Pair, keep_color};

/// Under this name the copies are noted when a record is opened.
pub(crate) const COPIES: &str = "copies";
/// Under this name it is noted what the outputs say of the shape.
pub(crate) const OUTPUTS: &str = "outputs";
/// Under this name the pairs of Services are noted.
pub(crate) const SERVICES: &str = "services";
/// Under this name the hash of the set as it was rendered is noted, whatever the shape made of it.
pub(crate) const RENDERED: &str = "rendered";

/// Objects named one by one; more are counted.
const NAMED: usize = 20;

/// How a set is deployed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// In place of what the release was.
    Whole,
    /// A few pods of it beside what the release is.
    Canary(Amount),
    /// A share of the pods that there are for both.
    Progressive {
        /// In percent.
        percent: u32,
        /// Of the set of the canary that stands, whatever sources say.
        is_recorded: bool,
    },
    /// In place of what the release was, by its canary that has all pods.
    Promotion,
    /// All of it in the colour that gets no traffic.
    BlueGreen {
        /// Nothing is done when it is what gets the traffic already.
        skip_unchanged: bool,
    },
}

impl From<Strategy> for Shape {
    fn from(strategy: Strategy) -> Self {
        match strategy {
            Strategy::Rolling => Self::Whole,
            Strategy::Canary(amount) => Self::Canary(amount),
            Strategy::Progressive(percent) => Self::Progressive {
                percent,
                is_recorded: false,
            },
            Strategy::BlueGreen => Self::BlueGreen {
                skip_unchanged: false,
            },
        }
    }
}

/// What becomes of a set.
pub(crate) enum Wanted {
    /// It is deployed.
    Deploy(Box<Shaped>),
    /// It is there already; what the outputs say of it.
    Skip(Value),
}

/// A set that is ready to be tried out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shaped {
    /// The objects: versioned, labelled, ordered. Those that are not written are judged all the same, so that what the
    /// API server would refuse later it refuses now.
    pub(crate) objects: Vec<Object>,
    /// What versioning renamed.
    pub(crate) versioned: Versioned,
    /// What is worth a line.
    pub(crate) notes: Vec<String>,
    /// Which side of the release it is.
    pub(crate) side: Side,
    /// What is written of them.
    pub(crate) written: Written,
    /// Workloads whose numbers of pods are not the manifest's affair.
    pub(crate) steered: Arc<[ObjectId]>,
    /// What is written under names that nobody has chosen.
    made_up: Vec<ObjectId>,
    /// What is left of the release from before it had colours, and has no traffic any more: pruning deletes it.
    pub(crate) former: Vec<ObjectId>,
    /// What is noted when the record is opened, by the names above.
    pub(crate) noted: Map<String, Value>,
}

/// What is written of a set.
#[derive(Clone, Debug, Default)]
pub(crate) enum Written {
    /// Everything.
    #[default]
    All,
    /// Everything but the originals of the copies.
    Beside {
        /// The copies.
        copies: BTreeSet<ObjectId>,
        /// Of what they are copies.
        originals: BTreeSet<ObjectId>,
        /// What is there already stays as it is, but for the copies.
        only_missing: bool,
    },
}

impl Shape {
    /// Shape a rendered set for the next release number.
    ///
    /// # Errors
    /// The set does not suit the shape, a hook's annotation cannot be understood, or the cluster cannot be asked.
    pub(crate) async fn of(
        self,
        run: &Run<'_>,
        options: &RollingDeploy,
        history: &History,
        mut objects: Vec<Object>,
    ) -> Result<Wanted, Failure> {
        let release = &run.task.release;
        if self.is_steered() && options.routing.is_some() {
            return Err(steered());
        }
        if !matches!(self, Self::BlueGreen { .. }) {
            uncolored(run, history)?;
        }
        if !self.is_steered() {
            canary::has_room(history)?;
        }
        let place = (history.next_number(), self.is_first(history));
        let copied = match self {
            Self::Whole => None,
            Self::Canary(amount) => {
                Some(canary::shape(run, &objects, amount, options.routing.is_some()).await?)
            }
            Self::Promotion => Some(progressive::promotion(run, history)?),
            Self::Progressive {
                percent,
                is_recorded,
            } => {
                let share = (percent, is_recorded);
                match progressive::shape(run, history, &objects, share).await? {
                    Wanted::Deploy(shaped) => Some(*shaped),
                    skip @ Wanted::Skip(_) => return Ok(skip),
                }
            }
            Self::BlueGreen { skip_unchanged } => {
                match blue_green::shape(run, history, &mut objects, skip_unchanged).await? {
                    Wanted::Deploy(shaped) => Some(*shaped),
                    skip @ Wanted::Skip(_) => return Ok(skip),
                }
            }
        };
        // The set is known by what was rendered, so this comes last.
        Box::pin(traffic::keep(run, history, &mut objects)).await?;
        let Prepared {
            mut objects,
            versioned,
            left_out,
        } = plan::prepare(objects, release, options.versioning, place)?;
        let mut shaped = copied.unwrap_or_default();
        if !options.adopt {
            taken::check(run, std::mem::take(&mut shaped.made_up)).await?;
        }
        if shaped.side.is_canary() {
            // What is to run once the release is there waits for the release.
            objects.retain(|object| !hooks::is_after(object));
        }
        shaped.notes.extend(left_out);
        if matches!(self, Self::Whole) {
            shaped.notes.extend(beside(history));
        }
        shaped.versioned = versioned;
        shaped.objects.extend(objects);
        sortie_manifest::order::sort(&mut shaped.objects);
        Ok(Wanted::Deploy(Box::new(shaped)))
    }

    /// The records in which a task with this shape may have its own. What follows a progressive canary is another's than
    /// the canary's, of the same task.
    pub(crate) fn own(self, history: &History) -> impl DoubleEndedIterator<Item = &Head> {
        let is_meant = move |head: &&Head| !matches!(self, Self::Promotion) || head.side.is_whole();
        history.heads().filter(is_meant)
    }

    /// Whether pods and weights move in turns, so that routes follow a plan of their own.
    pub(crate) const fn is_steered(self) -> bool {
        matches!(self, Self::Progressive { .. } | Self::Promotion)
    }

    /// Whether later steps go on with the set of this one.
    pub(crate) const fn is_gone_on_with(self) -> bool {
        matches!(self, Self::Progressive { .. })
    }

    /// Whether its set is in the record of a canary, so that nothing is fetched.
    pub(crate) const fn is_recorded(self) -> bool {
        matches!(
            self,
            Self::Promotion
                | Self::Progressive {
                    is_recorded: true,
                    ..
                }
        )
    }

    /// Whether it begins a step. The hooks of a service run then; a promotion is the second half of one.
    pub(crate) const fn is_beginning(self) -> bool {
        !matches!(self, Self::Promotion)
    }

    /// Whether nothing of the kind has succeeded before. A canary does not count: what is to run once after a first
    /// deployment runs after the one that follows it.
    pub(crate) fn is_first(self, history: &History) -> bool {
        match self {
            Self::BlueGreen { .. } => history.is_first(),
            _ => history.last_good(None).is_none(),
        }
    }
}

/// The routes of a progressive canary follow its pods.
fn steered() -> Failure {
    Failure::new(
        FailureKind::Configuration,
        "SRT-T092",
        "a progressive canary takes no trafficRouting: the weights of routes that lead to both sides follow its pods",
        "leave trafficRouting out; make the route by K8sTrafficRouting before the first step, with both Services in the set",
    )
}

/// That a canary runs on beside a release that is deployed as a whole.
fn beside(history: &History) -> Option<String> {
    let canary = history.heads().rev().find(|head| head.is_canary_left())?;
    Some(format!(
        "the canary of number {} runs on beside it, until it is deleted",
        canary.number
    ))
}

/// A set without colours would let the Services of a release with two select the pods of both.
fn uncolored(run: &Run<'_>, history: &History) -> Result<(), Failure> {
    let mut heads = history.heads();
    let colored = heads.find(|head| head.side.color.is_some());
    let Some(head) = colored.filter(|_| history.is_of_colors()) else {
        return Ok(());
    };
    let name = &run.task.release.name;
    Err(Failure::new(
        FailureKind::Configuration,
        "SRT-T058",
        format!(
            "release {name} has two colours since number {}, and only a blue-green deployment keeps them apart",
            head.number
        ),
        "deploy it blue-green, or uninstall it first",
    ))
}

impl Written {
    /// What is written of a set that the API server accepts; what stays as it is is told.
    pub(crate) fn of(&self, run: &Run<'_>, unit: Unit, planned: Vec<Planned>) -> Vec<Planned> {
        let Self::Beside {
            copies,
            originals,
            only_missing,
        } = self
        else {
            return planned;
        };
        let (written, left): (Vec<_>, Vec<_>) = planned.into_iter().partition(|planned| {
            let id = &planned.target.id;
            let is_missing = matches!(planned.change(), Some(Change::Created) | None);
            let is_more = is_missing || !only_missing;
            copies.contains(id) || (is_more && !originals.contains(id))
        });
        let waiting = left.iter().filter(|planned| {
            planned.change() != Some(Change::Unchanged) && !originals.contains(&planned.target.id)
        });
        let waiting: Vec<String> = waiting
            .map(|planned| planned.target.id.to_string())
            .collect();
        if waiting.len() > NAMED {
            let text = format!("{} objects stay as they are for now", waiting.len());
            run.info(unit, text);
        } else {
            for id in waiting {
                run.info(unit, format!("{id} stays as it is for now"));
            }
        }
        written
    }
}
