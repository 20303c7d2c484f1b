//! Which colours a swap exchanges, by the records of the release. Pure.

use sortie_cluster::record::{Head, PRIMARY, STAGE, Status, standing};

use super::exchange::{Colored, Exchange, other};
use crate::failure::{Failure, FailureKind};
use crate::rolling::noted;
use crate::shape::{Pair, SERVICES};
use crate::task::Task;

/// What there is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// To begin this one, or to go on with it.
    Swap(Box<Exchange>),
    /// Nothing any more: it has come to its end.
    Over(Box<Exchange>),
    /// Nothing, and why.
    Nothing(String),
}

/// Choose. `looked` is the number of the stage deployment that a swap without an execution was asked for, once the release
/// has been looked at.
///
/// # Errors
/// The records do not say which Services are swapped, or there is no way back to what had the traffic.
pub(super) fn choose(
    heads: &[&Head],
    task: &Task,
    back: bool,
    looked: Option<u64>,
) -> Result<Choice, Failure> {
    let own = heads.iter().rev().filter_map(|head| Exchange::last(head));
    if let Some(own) = own.into_iter().find(|one| one.task == task.id) {
        let choice = if own.over { Choice::Over } else { Choice::Swap };
        return Ok(choice(Box::new(own)));
    }
    if back {
        return back_of(heads, task);
    }
    forward(heads, task, looked)
}

/// The stage deployment that is to get the traffic.
pub(super) fn stage<'a>(heads: &[&'a Head]) -> Option<&'a Head> {
    standing(heads, STAGE).first().copied()
}

fn forward(heads: &[&Head], task: &Task, looked: Option<u64>) -> Result<Choice, Failure> {
    let execution = &task.requested_by.execution;
    let has_traffic = |number: u64| {
        standing(heads, PRIMARY)
            .iter()
            .any(|head| head.number == number)
    };
    if let Some(number) = looked.filter(|number| has_traffic(*number)) {
        let reason = format!("release number {number} has got the traffic meanwhile");
        return Ok(Choice::Nothing(reason));
    }
    let ours = |head: &&Head| execution.is_empty() || head.asked_by.execution == *execution;
    let Some(head) = standing(heads, STAGE).into_iter().find(ours) else {
        let has_ours = standing(heads, PRIMARY).iter().any(ours);
        if !execution.is_empty() && !has_ours {
            not_overwritten(heads, execution)?;
        }
        let reason = if !execution.is_empty() && has_ours {
            "what this execution has deployed has the traffic already"
        } else if execution.is_empty() {
            "nothing stands in the stage of this release"
        } else {
            "this execution has deployed nothing to the stage"
        };
        return Ok(Choice::Nothing(format!("{reason}: nothing to swap")));
    };
    let color = head.side.color.clone().unwrap_or_default();
    let from = other(&color);
    let before = standing(heads, PRIMARY)
        .into_iter()
        .find(|head| head.side.color.as_deref() == Some(from));
    let services: Vec<Pair> = noted(head, SERVICES);
    if services.is_empty() {
        return Err(unknown_services(head.number));
    }
    let from = Colored {
        color: from.to_owned(),
        number: before.map(|head| head.number),
    };
    let number = Some(head.number);
    let to = Colored { color, number };
    let exchange = Exchange::new(task, (from, to), services);
    Ok(Choice::Swap(Box::new(exchange)))
}

/// What the execution has deployed to a colour runs there still, if it has.
fn not_overwritten(heads: &[&Head], execution: &str) -> Result<(), Failure> {
    let mut ended_well = heads.iter().rev().filter(|head| {
        head.side.color.is_some()
            && head.asked_by.execution == execution
            && matches!(head.status, Status::Succeeded | Status::Superseded)
    });
    let Some(own) = ended_well.next() else {
        return Ok(());
    };
    let is_later = |head: &&&Head| head.number > own.number && head.side.color == own.side.color;
    let Some(later) = heads.iter().find(is_later) else {
        return Ok(());
    };
    let (color, number) = (own.side.color.clone().unwrap_or_default(), own.number);
    Err(Failure::new(
        FailureKind::Configuration,
        "SRT-T070",
        format!(
            "release number {number}, which this execution has deployed to {color}, does not run there any more: release number {} was deployed over it",
            later.number
        ),
        "deploy the stage again, then swap: no Service was changed",
    ))
}

fn back_of(heads: &[&Head], task: &Task) -> Result<Choice, Failure> {
    let execution = &task.requested_by.execution;
    let mut swaps = heads.iter().rev().filter_map(|head| Exchange::last(head));
    let Some(done) = swaps.find(|one| one.execution == *execution) else {
        let reason = "this execution has not swapped: nothing to swap back";
        return Ok(Choice::Nothing(reason.to_owned()));
    };
    let to = &done.to.color;
    if done.back || !done.is_swapped() {
        let reason =
            format!("the swap of this execution to {to} is not in force: nothing to swap back");
        return Ok(Choice::Nothing(reason));
    }
    let has_traffic = standing(heads, PRIMARY)
        .iter()
        .any(|head| Some(head.number) == done.to.number);
    if !has_traffic {
        return Err(no_way_back(&format!(
            "{to} has lost the traffic since this execution swapped to it"
        )));
    }
    let from = &done.from;
    let of_color = |head: &&&Head| head.side.color.as_deref() == Some(from.color.as_str());
    let newest = heads.iter().rev().find(of_color).map(|head| head.number);
    if newest != from.number && newest > done.to.number {
        return Err(no_way_back(&format!(
            "{} runs release number {} since, and not what had the traffic before",
            from.color,
            newest.unwrap_or_default()
        )));
    }
    Ok(Choice::Swap(Box::new(done.reversed(task))))
}

fn unknown_services(number: u64) -> Failure {
    Failure::new(
        FailureKind::Unknown,
        "SRT-T060",
        format!(
            "the record of release number {number} does not say which Services a swap exchanges"
        ),
        "deploy the stage again by a blue-green deployment, then swap",
    )
}

fn no_way_back(text: &str) -> Failure {
    Failure::new(
        FailureKind::Unknown,
        "SRT-T069",
        format!("the swap cannot be undone: {text}"),
        "look at what runs in both colours, then swap or deploy by hand: nothing was changed",
    )
}

#[cfg(test)]
#[path = "choice_tests.rs"]
mod tests;
