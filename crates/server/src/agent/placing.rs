//! Finds delegates for what is queued, ends what waited too long, and notices who has been away too long.

use std::sync::Arc;
use std::time::Duration;

use sortie_link::selection::select;
use sortie_link::task::Event;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Runtime;
use super::book::{self, Queued};
use super::error::chain;
use crate::clock;

/// How often to look without being woken.
const PERIOD: Duration = Duration::from_secs(1);

/// How often to note that connected delegates are there.
const SEEN_PERIOD: Duration = Duration::from_secs(60);

/// Looks until `stop`.
pub(super) async fn run(runtime: Arc<Runtime>, stop: CancellationToken) {
    let mut seen_at = Instant::now();
    loop {
        place(&runtime).await;
        forget(&runtime).await;
        if seen_at.elapsed() >= SEEN_PERIOD {
            seen_at = Instant::now();
            note_seen(&runtime).await;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = runtime.core.place.notified() => {}
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

async fn place(runtime: &Runtime) {
    let core = &runtime.core;
    let now = clock::now();
    for queued in core.book.queued().await {
        let id = queued.requirement.task.clone();
        let event = if queued.deadline <= now {
            Some(Event::Expired)
        } else {
            choose(runtime, &queued)
                .await
                .map(|holder| Event::Offer { holder })
        };
        if let Some(event) = event
            && let Err(error) = runtime.apply(&id, &event, None).await
        {
            tracing::error!(task = %id, error = chain(&error), "could not store an offer");
        }
    }
}

async fn choose(runtime: &Runtime, queued: &Queued) -> Option<sortie_link::Holder> {
    let core = &runtime.core;
    let loads = core.book.loads().await;
    let mut candidates = core.registry.candidates(&loads);
    for candidate in &mut candidates {
        candidate.refused = queued.refused.get(&candidate.holder).cloned();
    }
    let selection = select(&queued.requirement, &candidates);
    let id = &queued.requirement.task;
    if selection.chosen.is_none() {
        let text = match selection.reasons.as_slice() {
            [] => "no delegate is connected".to_owned(),
            reasons => book::told(reasons),
        };
        if core.book.explain(id, selection.reasons).await {
            tracing::info!(task = %id, reasons = text, "no delegate for a task yet");
            if let Err(error) = runtime.events.waiting(id.as_str(), &text).await {
                tracing::warn!(task = %id, error = chain(&error), "could not show why a task waits");
            }
        }
    }
    selection.chosen
}

async fn forget(runtime: &Runtime) {
    let core = &runtime.core;
    for gone in core.registry.take_away(core.options.task_lease) {
        for (id, holder) in core.book.held_by_instance(&gone).await {
            tracing::warn!(task = %id, %holder, "the holder of a task has been away too long");
            if let Err(error) = runtime.apply(&id, &Event::Away { holder }, None).await {
                tracing::error!(task = %id, error = chain(&error), "could not take a task back");
            }
        }
    }
}

async fn note_seen(runtime: &Runtime) {
    let core = &runtime.core;
    for delegate in core.registry.connected_delegates() {
        if let Err(error) = core
            .store
            .delegate_seen(delegate.as_str(), clock::now())
            .await
        {
            tracing::warn!(
                error = chain(&error),
                "could not note that a delegate was seen"
            );
            return;
        }
    }
}
