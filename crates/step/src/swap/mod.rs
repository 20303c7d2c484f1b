//! The swap: the Services of a blue-green release exchange their colours, all of them or none.
//!
//! The planner of `sortie_strategy` decides by what watches show. Its state is in the record of the stage deployment before
//! anything is done, so that whoever runs the task again goes on from there; what another task left half-way is undone by
//! the next one that holds the release.

mod choice;
mod exchange;
mod ground;
mod sight;
mod traffic;

use serde_json::{Value, json};
use sortie_cluster::clock;
use sortie_cluster::record::{Head, PRIMARY, STAGE, Status, Stored};
use sortie_strategy::swap::{self, Phase};

use crate::failure::Failure;
use crate::locked::{self, Locked};
use crate::report::Unit;
use crate::rolling::close_interrupted;
use crate::run::Run;
use crate::scaling;
use crate::task::SwapServices;
use crate::units::Ended;
use choice::{Choice, choose};
use exchange::Exchange;
use traffic::Driver;

pub(crate) use ground::{check, nobody, pods, workloads};
pub(crate) use sight::{SERVICE_NAME, is_ready, of_color};

/// Swap, or swap back. The outputs name Services and colours, and say whether anything was swapped.
pub(crate) async fn run(run: &Run<'_>, options: SwapServices) -> Result<Value, Ended> {
    run.units.enter(Unit::Initialize);
    let look = async { Ok(locked::look(run).await?) };
    let look = run
        .bounds
        .run(std::future::pending(), Box::pin(look))
        .await?;
    let heads: Vec<&Head> = look.history.heads().collect();
    let looked = choice::stage(&heads).map(|head| head.number);
    if !is_open(&heads) {
        match choose(&heads, run.task, options.back, None)? {
            Choice::Swap(_) => {}
            Choice::Over(exchange) => {
                Locked::free(run, Unit::Initialize, look).await;
                return Ok(exchange.told(&run.task.release)?);
            }
            Choice::Nothing(reason) => return Ok(nothing(run, &reason)),
        }
    }
    let acquire = async { Ok(Locked::acquire(run, Unit::Initialize, look).await?) };
    let acquire = run.bounds.run(std::future::pending(), Box::pin(acquire));
    let mut locked = acquire.await?;
    let result = under_lease(run, options, &mut locked, looked).await;
    locked.release(run).await;
    result
}

fn nothing(run: &Run<'_>, reason: &str) -> Value {
    run.info(Unit::Initialize, reason);
    let name = &run.task.release.name;
    json!({"releaseName": name, "swapped": false, "reason": reason})
}

/// Whether something was begun that is not over: an exchange, or a deployment.
fn is_open(heads: &[&Head]) -> bool {
    heads.iter().any(|head| {
        let exchange = Exchange::last(head);
        head.status == Status::InProgress || exchange.is_some_and(|one| !one.over)
    })
}

async fn under_lease(
    run: &Run<'_>,
    options: SwapServices,
    locked: &mut Locked,
    looked: Option<u64>,
) -> Result<Value, Ended> {
    if close_interrupted(run, locked).await? {
        locked.history = locked::history(&locked.records, run.task).await?;
    }
    undo_interrupted(run, locked).await?;
    let looked = looked.filter(|_| run.task.requested_by.execution.is_empty());
    let heads: Vec<&Head> = locked.history.heads().collect();
    let mut exchange = match choose(&heads, run.task, options.back, looked)? {
        Choice::Swap(exchange) => *exchange,
        Choice::Over(exchange) => return Ok(exchange.told(&run.task.release)?),
        Choice::Nothing(reason) => return Ok(nothing(run, &reason)),
    };
    let carrier = carrier(locked, &exchange)?;
    let is_begun = Exchange::last(&carrier.head).as_ref() == Some(&exchange);
    let needs = if is_begun && exchange.state.phase != Phase::Waiting {
        // It has begun to write: what it needed was there.
        Vec::new()
    } else {
        match Box::pin(needs(run, locked, &exchange)).await? {
            Needs::Pods(needs) => needs,
            Needs::Nobody(reason) => return Ok(nothing(run, &reason)),
        }
    };
    run.units.enter(Unit::SwapServices);
    if is_begun {
        run.info(
            Unit::SwapServices,
            "the swap was interrupted, and is carried on",
        );
    } else {
        exchange.state = swap::State::new(clock::now());
    }
    let plan = exchange.plan(options, &needs);
    let mut driver = Driver::new(run, locked, carrier, exchange, plan);
    let driven = Box::pin(driver.run());
    run.bounds.run_writes(locked.lost(), driven).await?;
    let (mut carrier, mut exchange, ended) = driver.end();
    record(run, locked, &mut carrier, &mut exchange).await?;
    if let Some(ended) = ended {
        return Err(ended);
    }
    run.units.enter(Unit::WrapUp);
    let told = exchange.told(&run.task.release)?;
    let text = format!(
        "{} has the traffic, {} has none",
        exchange.to.color, exchange.from.color
    );
    run.info(Unit::WrapUp, text);
    Ok(told)
}

/// The record that has the journal of an exchange.
fn carrier(locked: &Locked, exchange: &Exchange) -> Result<Stored, Failure> {
    let number = exchange.carrier().unwrap_or_default();
    let stored = locked.history.number(number).cloned();
    stored.ok_or_else(|| crate::rolling::gone(number))
}

/// What a swap finds in the new colour.
enum Needs {
    /// So many ready pods for each primary Service.
    Pods(Vec<u32>),
    /// There never was anything: why nothing is done.
    Nobody(String),
}

/// How many pods the new colour must have for each Service. One that was scaled down meanwhile gets its pods back before
/// anything goes back to it.
async fn needs(run: &Run<'_>, locked: &mut Locked, exchange: &Exchange) -> Result<Needs, Ended> {
    let look = || async { Ok(ground::look(run, exchange).await?) };
    let mut found = run.bounds.run(locked.lost(), Box::pin(look())).await?;
    let color = &exchange.to.color;
    let is_empty = |found: &[ground::Ground]| found.iter().any(|one| one.wanted == Some(0));
    if exchange.back && exchange.to.number.is_none() && found.iter().any(|one| one.wanted.is_none())
    {
        let reason = format!(
            "{color} has never run anything of this release: the traffic stays with {}",
            exchange.from.color
        );
        return Ok(Needs::Nobody(reason));
    }
    let is_scaled_down = |number: u64| {
        let head = locked.history.number(number).map(|stored| &stored.head);
        is_empty(&found) || head.is_some_and(scaling::is_scaled_down)
    };
    let former = exchange.to.number.filter(|_| exchange.back);
    if let Some(number) = former.filter(|number| is_scaled_down(*number)) {
        let text = format!("{color} was scaled down since: its pods come back first");
        run.warn(Unit::Initialize, text);
        Box::pin(scaling::bring_back(run, locked, number)).await?;
        found = run.bounds.run(locked.lost(), Box::pin(look())).await?;
    }
    let mut needs = Vec::new();
    for ground::Ground {
        service,
        wanted,
        before,
    } in found
    {
        match wanted {
            None => return Err(ground::nobody(&service, color).into()),
            Some(0) => return Err(ground::empty(&service, color).into()),
            Some(wanted) => {
                if wanted < before {
                    let from = &exchange.from.color;
                    let text = format!(
                        "{service}: all that {before} pods of {from} get comes to {wanted} of {color}"
                    );
                    run.warn(Unit::Initialize, text);
                }
                needs.push(wanted);
            }
        }
    }
    Ok(Needs::Pods(needs))
}

/// Write down who has the traffic since. The record with the journal is the last, so that whoever is killed before does it
/// again.
async fn record(
    run: &Run<'_>,
    locked: &Locked,
    carrier: &mut Stored,
    exchange: &mut Exchange,
) -> Result<(), Failure> {
    if !exchange.state.is_end() {
        return Ok(());
    }
    let has_swapped = matches!(exchange.state.phase, Phase::Done | Phase::Stranded(_));
    for (colored, role) in [(&exchange.from, STAGE), (&exchange.to, PRIMARY)] {
        let Some(number) = colored.number.filter(|_| has_swapped) else {
            continue;
        };
        if number == carrier.head.number {
            carrier.head.side.role = Some(role.to_owned());
        } else if let Some(other) = locked.history.number(number)
            && other.head.side.role.as_deref() != Some(role)
        {
            let mut other = other.clone();
            other.head.side.role = Some(role.to_owned());
            locked.update(&mut other).await?;
        }
    }
    exchange.over = true;
    exchange.note(&mut carrier.head);
    carrier.head.task_epoch = carrier.head.task_epoch.max(run.task.epoch);
    locked.update(carrier).await
}

/// Bring exchanges that other tasks have begun and will not carry on to their end: what only settles is done, everything
/// else goes back.
///
/// # Errors
/// The cluster cannot be asked, or it is time to stop.
pub(crate) async fn undo_interrupted(run: &Run<'_>, locked: &mut Locked) -> Result<(), Ended> {
    let records = locked.history.records().iter();
    let open: Vec<(Stored, Exchange)> = records
        .filter_map(|stored| {
            let last = Exchange::last(&stored.head)?;
            (!last.over && last.task != run.task.id).then(|| (stored.clone(), last))
        })
        .collect();
    let any = !open.is_empty();
    for (mut carrier, mut exchange) in open {
        let (from, to) = (&exchange.from.color, &exchange.to.color);
        let text = format!(
            "a swap from {from} to {to} was interrupted earlier, {}",
            exchange.state.phase.name()
        );
        run.warn(Unit::Initialize, text);
        let patience = run.env.limits.lease;
        let options = SwapServices {
            settle: std::time::Duration::ZERO,
            patience,
            back: false,
        };
        let plan = exchange.plan(options, &[]);
        let why = "it was interrupted, and not taken up again";
        exchange.state = swap::stop(&plan, exchange.state, why, clock::now());
        if !exchange.state.is_end() {
            let mut driver = Driver::new(run, locked, carrier, exchange, plan);
            let driven = Box::pin(driver.run());
            run.bounds.run_writes(locked.lost(), driven).await?;
            let (left, ended, stopped) = driver.end();
            if let Some(stopped) = stopped {
                return Err(stopped);
            }
            (carrier, exchange) = (left, ended);
        }
        record(run, locked, &mut carrier, &mut exchange).await?;
    }
    if any {
        locked.history = locked::history(&locked.records, run.task).await?;
    }
    Ok(())
}
