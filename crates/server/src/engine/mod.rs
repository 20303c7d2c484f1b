//! Drives executions: feeds what happens to the workflow engine, stores what it answers, and only
//! then acts.
//!
//! Every state is stored together with the event that led to it before any action is performed.
//! Actions are idempotent under their (node, attempt), so after a crash it is enough to load the
//! unfinished executions and perform what is outstanding ([`Engine::resume`]).

mod compile;
mod fault;
mod handout;
mod inputs;
mod library;
mod listen;
mod locks;
mod parameters;
mod resolve;
mod roots;
mod steps;
mod surroundings;
mod timers;
mod view;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use jiff::Timestamp;
use serde_json::Value;
use sortie_model::Kind;
use sortie_store::{Advance, EntityKey, Execution, NewExecution, Scope, Store};
use sortie_workflow::{Action, Event, EventRecord, Plan, State};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use view::{ExecutionSummary, ExecutionView, NodeView, ResourceView, StepProgress, UnitView};

use self::locks::Locks;
use self::timers::Timers;
use crate::clock;
use crate::hub::Hub;
use crate::metrics::{Metrics, StatusLabel};
use crate::problem::{Code, Problem, chain};
use crate::sealing::AtRest;
use crate::tasks::Dispatcher;

/// Drives executions. A cheap handle.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    keys: Arc<dyn AtRest>,
    hub: Arc<Hub>,
    metrics: Arc<Metrics>,
    dispatcher: OnceLock<Arc<dyn Dispatcher>>,
    locks: Locks,
    timers: Timers,
    progress: Mutex<BTreeMap<String, StepProgress>>,
    tracker: TaskTracker,
    stopping: CancellationToken,
}

/// A request to run a pipeline.
#[derive(Debug, Clone)]
pub struct Run {
    /// Scope of the pipeline.
    pub scope: Scope,
    /// Identifier of the pipeline.
    pub pipeline: String,
    /// Values for its variables.
    pub variables: BTreeMap<String, Value>,
    /// Who asks.
    pub by: String,
}

/// An execution with its parsed plan and state.
struct Loaded {
    execution: Execution,
    plan: Plan,
    state: State,
}

impl Engine {
    /// An engine that does nothing until [`Engine::resume`].
    pub fn new(
        store: Arc<dyn Store>,
        keys: Arc<dyn AtRest>,
        hub: Arc<Hub>,
        metrics: Arc<Metrics>,
        stopping: CancellationToken,
    ) -> Self {
        Self(Arc::new(Inner {
            store,
            keys,
            hub,
            metrics,
            dispatcher: OnceLock::new(),
            locks: Locks::default(),
            timers: Timers::default(),
            progress: Mutex::default(),
            tracker: TaskTracker::new(),
            stopping,
        }))
    }

    /// Hands tasks to this dispatcher from now on and carries every unfinished execution on.
    pub async fn resume(&self, dispatcher: Arc<dyn Dispatcher>) -> sortie_store::Result<()> {
        // A second dispatcher would be a mistake of the wiring; the first one stays.
        let _first_wins = self.0.dispatcher.set(dispatcher);
        for id in self.0.store.unfinished_executions().await? {
            let loaded = match self.load(&id).await {
                Ok(Some(loaded)) => loaded,
                Ok(None) => continue,
                Err(error @ sortie_store::Error::Unreadable { .. }) => {
                    // One damaged execution must not keep the server from starting.
                    tracing::error!(execution = id, error = %chain(&error), "execution not carried on");
                    continue;
                }
                Err(error) => return Err(error),
            };
            let actions = sortie_workflow::outstanding(&loaded.plan, &loaded.state);
            self.0.metrics.executions_running.inc();
            tracing::info!(
                execution = id,
                outstanding = actions.len(),
                "execution carried on"
            );
            self.perform(&id, actions);
        }
        Ok(())
    }

    /// Ends the driver: what is under way is left as stored and carried on at the next start.
    pub async fn stop(&self) {
        self.0.timers.clear_all();
        self.0.tracker.close();
        self.0.tracker.wait().await;
    }

    /// Starts a run of a pipeline.
    pub async fn start(&self, run: &Run) -> Result<Execution, Problem> {
        let key = EntityKey {
            kind: Kind::Pipeline.root_key().to_owned(),
            scope: run.scope.clone(),
            parent: String::new(),
            identifier: run.pipeline.clone(),
        };
        let store = &self.0.store;
        let found = store
            .entity(&key)
            .await
            .map_err(|error| Problem::store("read the pipeline", &error))?;
        let version = found.ok_or_else(|| {
            Problem::not_found(format!(
                "pipeline `{}` in {}",
                run.pipeline,
                crate::web::describe_scope(&run.scope)
            ))
            .hint("store it with `sortie apply -f`, or look at the organisation and the project of the request (`--org`, `--project`)")
        })?;
        let entity = library::read(&version)
            .map_err(|fault| Problem::new(Code::NotRunnable, fault.to_string()))?;
        let plan = compile::compile(&entity, &run.variables)?;
        let now = clock::now();
        let (state, actions) = sortie_workflow::start(&plan, now).map_err(|error| {
            Problem::new(
                Code::NotRunnable,
                format!("pipeline `{}` cannot be run: {error}", run.pipeline),
            )
            .hint(format!("see {}", error.code()))
        })?;
        let new = NewExecution {
            id: uuid::Uuid::now_v7().to_string(),
            scope: run.scope.clone(),
            pipeline: run.pipeline.clone(),
            pipeline_version: version.version,
            plan: json("plan", &plan)?,
            inputs: json("inputs", &run.variables)?,
            state: json("state", &state)?,
            status: status_text(&state),
            events: Vec::new(),
            requested_by: run.by.clone(),
            created_at: now,
        };
        let execution = store
            .create_execution(&new)
            .await
            .map_err(|error| Problem::store("store the execution", &error))?;
        self.0.metrics.executions_started.inc();
        self.0.metrics.executions_running.inc();
        tracing::info!(
            execution = execution.id,
            pipeline = execution.pipeline,
            sequence = execution.sequence,
            by = run.by,
            "execution started"
        );
        self.perform(&execution.id, actions);
        Ok(execution)
    }

    /// Asks to end an execution now, without rollback.
    pub async fn abort(&self, id: &str, by: &str, reason: Option<String>) -> Result<(), Problem> {
        let failed = |error| Problem::store("abort the execution", &error);
        let Some(execution) = self.0.store.execution(id).await.map_err(failed)? else {
            return Err(Problem::not_found(format!("execution `{id}`")));
        };
        if execution.ended_at.is_some() {
            return Err(Problem::new(
                Code::Ended,
                format!("execution `{id}` is over, with status {}", execution.status),
            ));
        }
        let event = Event::AbortRequested {
            by: by.to_owned(),
            reason: reason.map(|reason| listen::one_line(&reason)),
        };
        self.post(id, event).await.map_err(failed)
    }

    /// The whole view of an execution.
    pub async fn view(&self, id: &str) -> Result<Option<ExecutionView>, Problem> {
        let failed = |error| Problem::store("read the execution", &error);
        let Some(loaded) = self.load(id).await.map_err(failed)? else {
            return Ok(None);
        };
        let steps = self.0.store.steps_of_execution(id).await.map_err(failed)?;
        Ok(Some(view::view(
            &loaded.execution,
            &loaded.plan,
            &loaded.state,
            &steps,
        )))
    }

    /// Applies an event: stores the state it leads to, then acts. An event that changes nothing is
    /// not stored.
    async fn post(&self, id: &str, event: Event) -> sortie_store::Result<()> {
        let lock = self.0.locks.of(id);
        let _one_at_a_time = lock.lock().await;
        loop {
            let Some(loaded) = self.load(id).await? else {
                return Ok(());
            };
            if loaded.execution.ended_at.is_some() {
                return Ok(());
            }
            let now = clock::now();
            let applied = sortie_workflow::apply(&loaded.plan, &loaded.state, &event, now);
            let (state, actions) = match applied {
                Ok(applied) => applied,
                Err(rejected) => {
                    tracing::warn!(execution = id, error = %rejected, "event not applied");
                    return Ok(());
                }
            };
            if state == loaded.state {
                return Ok(());
            }
            let advance = advance(&state, event.clone(), now)?;
            let version = loaded.execution.version;
            match self
                .0
                .store
                .advance_execution(id, version, &advance, now)
                .await
            {
                Ok(_) => {
                    self.perform(id, actions);
                    return Ok(());
                }
                Err(sortie_store::Error::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Performs actions. Each may be performed again after a restart.
    fn perform(&self, id: &str, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::StartStep {
                    node,
                    attempt,
                    deadline,
                } => self.start_step(id, node, attempt, deadline),
                Action::CancelStep { node, attempt, .. } => self.cancel_step(id, &node, attempt),
                Action::SetTimer { timer, at } => {
                    let (engine, execution) = (self.clone(), id.to_owned());
                    let event = Event::TimerFired {
                        timer: timer.clone(),
                    };
                    let fire = async move { engine.post_until_stored(&execution, event).await };
                    self.0
                        .timers
                        .set(&self.0.tracker, &self.0.stopping, id, timer, at, fire);
                }
                Action::ClearTimer { timer } => self.0.timers.clear(id, &timer),
                Action::Changed { node, status } => {
                    tracing::info!(execution = id, node = %node, ?status, "status changed");
                }
                Action::Finish { status } => {
                    let status = text_of(&status);
                    tracing::info!(execution = id, status, "execution ended");
                    self.0.timers.clear_execution(id);
                    self.0.metrics.executions_running.dec();
                    self.0
                        .metrics
                        .executions_ended
                        .get_or_create(&StatusLabel { status })
                        .inc();
                }
                // The engine may learn new orders before this driver does.
                other => tracing::error!(execution = id, ?other, "unknown action"),
            }
        }
        self.0.hub.state_changed(id);
    }

    /// Applies an event, again and again until the store takes it or the server stops.
    async fn post_until_stored(&self, id: &str, event: Event) {
        let engine = self;
        self.0
            .until_done("store an event", || async {
                engine.post(id, event.clone()).await
            })
            .await;
    }

    async fn load(&self, id: &str) -> sortie_store::Result<Option<Loaded>> {
        let Some(execution) = self.0.store.execution(id).await? else {
            return Ok(None);
        };
        let unreadable = |error: serde_json::Error| sortie_store::Error::Unreadable {
            what: "execution",
            detail: format!("{id}: {error}"),
        };
        let plan = serde_json::from_str(&execution.plan).map_err(unreadable)?;
        let state = serde_json::from_str(&execution.state).map_err(unreadable)?;
        Ok(Some(Loaded {
            execution,
            plan,
            state,
        }))
    }
}

impl Inner {
    /// Repeats an operation until it succeeds, fails for good, or the server stops.
    async fn until_done<F, O>(&self, operation: &str, mut attempt: F)
    where
        F: FnMut() -> O,
        O: Future<Output = sortie_store::Result<()>>,
    {
        let mut pause = std::time::Duration::from_millis(100);
        loop {
            let Err(error) = attempt().await else { return };
            if !error.is_transient() {
                tracing::error!(operation, error = %chain(&error), "given up");
                return;
            }
            tracing::warn!(operation, error = %chain(&error), ?pause, "trying again");
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(std::time::Duration::from_secs(10));
        }
    }

    fn progress(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, StepProgress>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Engine").finish_non_exhaustive()
    }
}

fn advance(state: &State, event: Event, now: Timestamp) -> sortie_store::Result<Advance> {
    let record = EventRecord {
        format: sortie_workflow::FORMAT,
        at: now,
        event,
    };
    let unwritable = |error: serde_json::Error| sortie_store::Error::Unreadable {
        what: "event",
        detail: error.to_string(),
    };
    let (message, code) = state.cause();
    Ok(Advance {
        events: vec![serde_json::to_string(&record).map_err(unwritable)?],
        state: serde_json::to_string(state).map_err(unwritable)?,
        status: status_text(state),
        message: message.map(str::to_owned),
        code: code.map(str::to_owned),
        ended: state.status().is_final(),
    })
}

fn status_text(state: &State) -> String {
    text_of(&state.status())
}

/// A status as it is stored and shown, e.g. `SUCCEEDED`.
fn text_of(status: &sortie_workflow::Status) -> String {
    match serde_json::to_value(status) {
        Ok(Value::String(text)) => text,
        _ => format!("{status:?}"),
    }
}

fn json(what: &str, value: &impl serde::Serialize) -> Result<String, Problem> {
    serde_json::to_string(value)
        .map_err(|error| Problem::internal(&format!("write the {what}"), &error))
}
