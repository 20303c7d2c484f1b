//! Carries out what [`super::state`] decides.

use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::guard::{Guard, Lost, Standing};
use super::state::{Action, Event, Machine, Purpose, Seen, State, Terms};
use crate::clock::{self, Boottime};
use crate::connect::Cluster;
use crate::error::{Cause, Error};
use crate::fault::Point;
use crate::request::Call;
use crate::resource::Resource;
use crate::watch::{Selection, Watched};

/// How soon a request that failed is followed by the next.
const PACE: Duration = Duration::from_secs(1);

/// Bounds of what a Lease in the cluster may say about its duration.
const DURATIONS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// Who wants which Lease.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// What others see while they wait: who and what holds it. Made unique by a random suffix.
    pub holder: String,
    /// Highest fence in the release's records; ours will be above it.
    pub floor: u32,
    /// How long it lasts without renewal.
    pub terms: Terms,
}

/// A Lease as it was at one moment. Taken in the same version, nobody has held it since.
#[derive(Clone, Debug)]
pub struct Glance {
    seen: Seen,
    uid: Option<String>,
}

/// What a claimant is waiting for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The present holder, as it calls itself.
    pub holder: String,
    /// Number of its taking, which is in the records that it writes.
    pub fence: u32,
}

/// A held Lease, renewed in the background until [released](Self::release) or dropped. Dropped, it
/// is not given back and runs out.
#[derive(Debug)]
pub struct Held {
    guard: Guard,
    done: CancellationToken,
    renewal: JoinSet<()>,
    undisturbed: bool,
}

/// Looks at a Lease without claiming it, once. `None`: it cannot be read, there is none, or somebody holds it.
pub async fn glance(cluster: &Cluster, namespace: &str, name: &str) -> Option<Glance> {
    let path = Resource::leases().path(Some(namespace), Some(name));
    let mut call = Call::read("read", format!("Lease/{namespace}/{name}"), path);
    call.patient = false;
    let lease = cluster.fetch(&call).await.ok()?;
    let seen = read_lease(&lease);
    let uid = uid_of(&lease);
    seen.holder.is_none().then_some(Glance { seen, uid })
}

/// Takes the Lease, waiting for its present holder as long as need be; the caller sets the time
/// limit by dropping the future. `waiting` is called whenever it turns out who holds it.
pub async fn acquire(
    cluster: &Cluster,
    claim: Claim,
    waiting: impl FnMut(&Waiting),
) -> Result<Held, Error> {
    acquire_since(cluster, claim, None, waiting).await
}

/// As [`acquire`], for one who has looked at it before: it is taken as it was then if it still is, and read again if not.
pub async fn acquire_since(
    cluster: &Cluster,
    claim: Claim,
    glance: Option<Glance>,
    mut waiting: impl FnMut(&Waiting),
) -> Result<Held, Error> {
    let mut driver = Driver::new(cluster.clone(), claim);
    let mut action = driver.machine.start();
    let mut announced = None;
    let mut undisturbed = false;
    if let Some(Glance { seen, uid }) = glance {
        undisturbed = true;
        driver.uid = uid;
        action = driver
            .machine
            .step(Event::Read(Some(seen)), clock::boottime());
    }
    loop {
        let event = match &action {
            Action::Wait { until } => {
                if let State::Waiting { seen, .. } = driver.machine.state() {
                    let holder = display_name(seen.holder.as_deref().unwrap_or_default());
                    let now = Waiting {
                        holder,
                        fence: seen.transitions,
                    };
                    if announced.as_ref() != Some(&now) {
                        waiting(&now);
                        announced = Some(now);
                    }
                }
                driver.wait_for_change(*until).await?
            }
            action => driver.perform(action).await?,
        };
        // Whatever else came before the taking, somebody else may have come with it.
        undisturbed &= matches!(event, Event::Written { .. });
        action = driver.machine.step(event, clock::boottime());
        if let State::Held {
            renewed,
            transitions,
            ..
        } = driver.machine.state()
        {
            let (renewed, fence) = (*renewed, *transitions);
            return Ok(driver.hold(renewed, fence, action, undisturbed));
        }
    }
}

impl Held {
    /// What to check writes against.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Number of this taking: larger than that of every earlier holder.
    pub fn fence(&self) -> u32 {
        self.guard.fence()
    }

    /// Whether nobody else has held it since the [`Glance`] at it: what only holders write is as it was then.
    pub const fn is_undisturbed(&self) -> bool {
        self.undisturbed
    }

    /// Gives the Lease back, so that the next claimant need not wait. Call it when no write is
    /// under way any more; from here on the guard permits none.
    pub async fn release(mut self) {
        self.done.cancel();
        while self.renewal.join_next().await.is_some() {}
    }
}

struct Driver {
    cluster: Cluster,
    claim: Claim,
    /// `claim.holder` with the suffix that makes it unique.
    me: String,
    machine: Machine,
    watched: Option<Watched>,
    /// When the write was sent that made us the holder; for people.
    acquired: Option<Timestamp>,
    /// UID of the Lease as last seen. The API server makes a Lease that is updated after its deletion, version or not:
    /// only this tells it that another was meant.
    uid: Option<String>,
}

impl Driver {
    fn new(cluster: Cluster, claim: Claim) -> Self {
        let me = format!("{}/{}", claim.holder, uuid::Uuid::new_v4().simple());
        let machine = Machine::new(me.clone(), claim.terms, claim.floor);
        Self {
            cluster,
            claim,
            me,
            machine,
            watched: None,
            acquired: None,
            uid: None,
        }
    }

    /// Keeps renewing in the background.
    fn hold(
        mut self,
        renewed: Boottime,
        fence: u32,
        mut action: Action,
        undisturbed: bool,
    ) -> Held {
        self.watched = None;
        let (sender, receiver) = watch::channel(Standing::Renewed(renewed));
        let guard = Guard::new(fence, self.claim.terms, receiver);
        let done = CancellationToken::new();
        let stop = done.clone();
        let mut renewal = JoinSet::new();
        renewal.spawn(async move {
            loop {
                action = self.next(action, &sender, &stop).await;
                let standing = match self.machine.state() {
                    State::Held { renewed, .. } => Standing::Renewed(*renewed),
                    State::Lost { holder } => Standing::Lost(Lost::Taken {
                        holder: display_name(holder),
                    }),
                    _ => Standing::Lost(Lost::Released),
                };
                sender.send_replace(standing);
                if action == Action::Stop {
                    return;
                }
            }
        });
        Held {
            guard,
            done,
            renewal,
            undisturbed,
        }
    }

    /// One action of a holder, and the decision that follows from it.
    async fn next(
        &mut self,
        action: Action,
        sender: &watch::Sender<Standing>,
        stop: &CancellationToken,
    ) -> Action {
        let releasing = matches!(self.machine.state(), State::Releasing { .. });
        let event = match action {
            _ if stop.is_cancelled() && !releasing => {
                sender.send_replace(Standing::Lost(Lost::Released));
                Event::Release
            }
            Action::Wait { until } => {
                let rest = until.since(clock::boottime());
                tokio::select! {
                    () = stop.cancelled(), if !releasing => Event::Tick,
                    () = tokio::time::sleep(rest) => Event::Tick,
                }
            }
            Action::Stop => return Action::Stop,
            action => match self.perform(&action).await {
                Ok(event) => event,
                // A holder that is refused (say, a right was withdrawn) runs out of its lease.
                Err(error) => {
                    tracing::warn!(%error, lease = %self.claim.name, "a request for the lease was refused");
                    if releasing {
                        return Action::Stop;
                    }
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(PACE) => {}
                    }
                    Event::Failed
                }
            },
        };
        self.machine.step(event, clock::boottime())
    }

    /// Sends what `action` asks for. Refusals that time does not heal are errors.
    async fn perform(&mut self, action: &Action) -> Result<Event, Error> {
        if let Action::Create { .. }
        | Action::Update {
            purpose: Purpose::Take,
            ..
        } = action
        {
            self.acquired = Some(clock::now());
        }
        let result = match action {
            Action::Read => self.read().await.map(Event::Read),
            Action::Create { transitions } => self.create(*transitions).await,
            Action::Update {
                version,
                transitions,
                purpose,
            } => self.update(version, *transitions, *purpose).await,
            Action::Wait { .. } | Action::Stop => Ok(Event::Tick),
        };
        match result {
            Ok(event) => Ok(event),
            Err(error) => match error.cause() {
                Cause::Conflict { .. } | Cause::AlreadyExists => Ok(Event::Refused),
                // Somebody deleted it under our hands: reading finds out.
                Cause::NotFound => Ok(Event::Refused),
                Cause::Busy { .. } | Cause::Unreachable { .. } | Cause::TimedOut { .. } => {
                    tracing::debug!(%error, lease = %self.claim.name, "lease request failed");
                    tokio::time::sleep(PACE).await;
                    Ok(Event::Failed)
                }
                _ => Err(error),
            },
        }
    }

    /// Waits for a change of the Lease that somebody else holds.
    async fn wait_for_change(&mut self, until: Boottime) -> Result<Event, Error> {
        if !matches!(self.machine.state(), State::Waiting { .. }) {
            tokio::time::sleep(until.since(clock::boottime())).await;
            return Ok(Event::Tick);
        }
        let watched = match &mut self.watched {
            Some(watched) => watched,
            none => {
                let leases = Selection::of(Resource::leases(), &self.claim.namespace);
                none.insert(self.cluster.watch(leases.named(&self.claim.name)).await?)
            }
        };
        let State::Waiting { seen, .. } = self.machine.state() else {
            return Ok(Event::Tick);
        };
        let name = &self.claim.name;
        let changed = watched.until(|view| {
            let lease = view.objects.get(name);
            let now = lease.map(|lease| read_lease(lease));
            (now.as_ref() != Some(seen)).then(|| (now, lease.and_then(|lease| uid_of(lease))))
        });
        tokio::select! {
            (now, uid) = changed => {
                self.uid = uid;
                Ok(Event::Read(now))
            }
            () = tokio::time::sleep(until.since(clock::boottime())) => Ok(Event::Tick),
        }
    }

    fn target(&self) -> String {
        format!("Lease/{}/{}", self.claim.namespace, self.claim.name)
    }

    fn path(&self, name: Option<&str>) -> String {
        Resource::leases().path(Some(&self.claim.namespace), name)
    }

    async fn read(&mut self) -> Result<Option<Seen>, Error> {
        let mut call = Call::read("read", self.target(), self.path(Some(&self.claim.name)));
        call.patient = false;
        call.time_limit = Some(self.claim.terms.renewal());
        match self.cluster.fetch(&call).await {
            Ok(lease) => {
                self.uid = uid_of(&lease);
                Ok(Some(read_lease(&lease)))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn create(&mut self, transitions: u32) -> Result<Event, Error> {
        let lease = self.lease(None, transitions, Some(&self.me));
        self.write((Method::POST, self.path(None)), Point::LeaseCreate, &lease)
            .await
    }

    async fn update(
        &mut self,
        version: &str,
        transitions: u32,
        purpose: Purpose,
    ) -> Result<Event, Error> {
        let (point, holder) = match purpose {
            Purpose::Take => (Point::LeaseTake, Some(self.me.as_str())),
            Purpose::Renew => (Point::LeaseRenew, Some(self.me.as_str())),
            Purpose::Release => (Point::LeaseRelease, None),
        };
        let lease = self.lease(Some(version), transitions, holder);
        self.write(
            (Method::PUT, self.path(Some(&self.claim.name))),
            point,
            &lease,
        )
        .await
    }

    /// Sends the Lease once: the machine counts from this moment, so nothing here may retry.
    async fn write(
        &mut self,
        place: (Method, String),
        point: Point,
        lease: &Value,
    ) -> Result<Event, Error> {
        let guard = Guard::unfenced();
        let mut call = Call::write("write", self.target(), place, (point, &guard)).body(lease)?;
        call.patient = false;
        call.time_limit = Some(self.claim.terms.duration() / 3);
        let lease = self.cluster.fetch(&call).await?;
        self.uid = uid_of(&lease);
        Ok(Event::Written {
            version: read_lease(&lease).version,
        })
    }

    fn lease(&self, version: Option<&str>, transitions: u32, holder: Option<&str>) -> Value {
        let now = format!("{:.6}", clock::now());
        let mut lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": self.claim.name,
                "namespace": self.claim.namespace,
                "labels": {"app.kubernetes.io/managed-by": "sortie"},
            },
            "spec": {
                "leaseDurationSeconds": self.claim.terms.duration().as_secs().max(1),
                "leaseTransitions": transitions,
                "renewTime": now,
            },
        });
        if let Some(version) = version {
            lease["metadata"]["resourceVersion"] = version.into();
            if let Some(uid) = &self.uid {
                lease["metadata"]["uid"] = uid.as_str().into();
            }
        }
        if let Some(holder) = holder {
            lease["spec"]["holderIdentity"] = holder.into();
            if let Some(acquired) = self.acquired {
                lease["spec"]["acquireTime"] = format!("{acquired:.6}").into();
            }
        }
        lease
    }
}

pub(super) fn read_lease(lease: &Value) -> Seen {
    let text = |pointer: &str| lease.pointer(pointer).and_then(Value::as_str);
    let number = |pointer: &str| lease.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let duration = Duration::from_secs(number("/spec/leaseDurationSeconds"));
    Seen {
        version: text("/metadata/resourceVersion")
            .unwrap_or_default()
            .to_owned(),
        holder: text("/spec/holderIdentity")
            .filter(|name| !name.is_empty())
            .map(str::to_owned),
        duration: duration.clamp(DURATIONS.0, DURATIONS.1),
        transitions: u32::try_from(number("/spec/leaseTransitions")).unwrap_or(u32::MAX),
    }
}

fn uid_of(lease: &Value) -> Option<String> {
    let uid = lease.pointer("/metadata/uid").and_then(Value::as_str);
    uid.map(str::to_owned)
}

/// The holder's name without the suffix that made it unique.
pub(super) fn display_name(holder: &str) -> String {
    match holder.rsplit_once('/') {
        Some((name, suffix)) if suffix.len() == 32 => name.to_owned(),
        _ => holder.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_of_another_program_is_read_with_bounds() {
        let lease = json!({
            "metadata": {"resourceVersion": "7"},
            "spec": {"holderIdentity": "", "leaseDurationSeconds": 2_000_000_000, "leaseTransitions": 3},
        });
        let seen = read_lease(&lease);
        assert_eq!(seen.holder, None);
        assert_eq!(seen.duration, DURATIONS.1);
        assert_eq!(seen.transitions, 3);
        assert_eq!(read_lease(&json!({})).duration, DURATIONS.0);
    }

    #[test]
    fn people_see_names_without_the_random_suffix() {
        assert_eq!(
            display_name(&format!("ann@laptop/{}", "0".repeat(32))),
            "ann@laptop"
        );
        assert_eq!(display_name("controller/a"), "controller/a");
    }
}
