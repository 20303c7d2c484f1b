//! The delegate instances this process knows: connected ones, and those that may come back.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sortie_link::selection::Candidate;
use sortie_link::{DelegateId, Hello, Holder, InstanceId, ServerControl};
use sortie_store::DelegateRecord;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::session::Message;
use crate::delegates::SessionView;

/// An instance.
#[derive(Debug)]
struct Instance {
    holder: Holder,
    session: UnboundedSender<Message>,
    /// Present while connected.
    connected: Option<Connected>,
    away_since: Instant,
}

/// What is known of a connected instance.
#[derive(Debug, Clone)]
struct Connected {
    name: String,
    organisation: String,
    project: String,
    version: String,
    task_types: Vec<String>,
    tags: Vec<String>,
    capacity: u32,
    sealing_key: Vec<u8>,
    is_draining: bool,
    since: jiff::Timestamp,
}

type Key = (DelegateId, InstanceId);

/// The instances. Never locked across an await.
#[derive(Debug, Default)]
pub(super) struct Registry {
    instances: Mutex<HashMap<Key, Instance>>,
    /// Cancelled when the delegate is revoked.
    revocations: Mutex<HashMap<DelegateId, CancellationToken>>,
}

impl Registry {
    /// The session of this boot. Another boot's session, if any, is replaced and gets [`Message::Cut`]; `make` makes the
    /// new one.
    pub(super) fn session(
        &self,
        holder: &Holder,
        make: impl FnOnce() -> UnboundedSender<Message>,
    ) -> UnboundedSender<Message> {
        let mut instances = self.lock();
        let key = key(holder);
        if let Some(known) = instances.get(&key)
            && known.holder == *holder
            && !known.session.is_closed()
        {
            return known.session.clone();
        }
        let session = make();
        let instance = Instance {
            holder: holder.clone(),
            session: session.clone(),
            connected: None,
            away_since: Instant::now(),
        };
        if let Some(old) = instances.insert(key, instance) {
            // Closed already when it is gone.
            let _gone = old.session.send(Message::Cut);
        }
        session
    }

    /// The instance said hello; `tags` are the selectors it answers to. Returns false when another boot took its place meanwhile.
    pub(super) fn attached(
        &self,
        hello: &Hello,
        record: &DelegateRecord,
        tags: Vec<String>,
        now: jiff::Timestamp,
    ) -> bool {
        let holder = hello.holder();
        let mut instances = self.lock();
        let Some(instance) = instances.get_mut(&key(&holder)) else {
            return false;
        };
        if instance.holder != holder {
            return false;
        }
        instance.connected = Some(Connected {
            name: record.name.clone(),
            organisation: record.scope.org.clone().unwrap_or_default(),
            project: record.scope.project.clone().unwrap_or_default(),
            version: hello.software_version.clone(),
            task_types: hello.task_types.clone(),
            tags,
            capacity: hello.capacity,
            sealing_key: hello.sealing_key.clone(),
            is_draining: false,
            since: now,
        });
        true
    }

    /// The instance has no stream any more.
    pub(super) fn detached(&self, holder: &Holder) {
        if let Some(instance) = self.lock().get_mut(&key(holder))
            && instance.holder == *holder
        {
            instance.connected = None;
            instance.away_since = Instant::now();
        }
    }

    /// The instance takes no new tasks.
    pub(super) fn draining(&self, holder: &Holder) {
        if let Some(instance) = self.lock().get_mut(&key(holder))
            && instance.holder == *holder
            && let Some(connected) = &mut instance.connected
        {
            connected.is_draining = true;
        }
    }

    /// Says something on an instance's control lane, now or when it is back. A boot that is gone hears nothing.
    pub(super) fn command(&self, holder: &Holder, body: ServerControl) {
        if let Some(instance) = self.lock().get(&key(holder))
            && instance.holder == *holder
        {
            let _gone = instance.session.send(Message::Command(body));
        }
    }

    /// Says something to all sessions.
    pub(super) fn broadcast(&self, message: impl Fn() -> Message) {
        for instance in self.lock().values() {
            let _gone = instance.session.send(message());
        }
    }

    /// The key to seal secrets to.
    pub(super) fn sealing_key(&self, holder: &Holder) -> Option<Vec<u8>> {
        let instances = self.lock();
        let instance = instances
            .get(&key(holder))
            .filter(|i| i.holder == *holder)?;
        Some(instance.connected.as_ref()?.sealing_key.clone()).filter(|key| !key.is_empty())
    }

    /// Connected instances, with the number of tasks each holds.
    pub(super) fn candidates(&self, loads: &HashMap<Holder, u32>) -> Vec<Candidate> {
        let instances = self.lock();
        instances
            .values()
            .filter_map(|instance| {
                let connected = instance.connected.as_ref()?;
                Some(Candidate {
                    holder: instance.holder.clone(),
                    name: connected.name.clone(),
                    organisation: connected.organisation.clone(),
                    project: connected.project.clone(),
                    task_types: connected.task_types.clone(),
                    tags: connected.tags.clone(),
                    capacity: connected.capacity,
                    load: loads.get(&instance.holder).copied().unwrap_or_default(),
                    is_draining: connected.is_draining,
                    refused: None,
                })
            })
            .collect()
    }

    /// Connected instances of a delegate, as people see them.
    pub(super) fn sessions(
        &self,
        delegate: &str,
        loads: &HashMap<Holder, u32>,
    ) -> Vec<SessionView> {
        let instances = self.lock();
        let mut sessions: Vec<_> = instances
            .values()
            .filter(|instance| instance.holder.delegate.as_str() == delegate)
            .filter_map(|instance| {
                let connected = instance.connected.as_ref()?;
                Some(SessionView {
                    instance: instance.holder.instance.to_string(),
                    version: connected.version.clone(),
                    tags: connected.tags.clone(),
                    capacity: connected.capacity,
                    running: loads.get(&instance.holder).copied().unwrap_or_default(),
                    connected_at: connected.since,
                })
            })
            .collect();
        sessions.sort_by(|a, b| a.instance.cmp(&b.instance));
        sessions
    }

    /// The name of a delegate that has a connected instance.
    pub(super) fn name(&self, delegate: &str) -> Option<String> {
        let instances = self.lock();
        let mut of = instances
            .values()
            .filter(|instance| instance.holder.delegate.as_str() == delegate);
        of.find_map(|instance| Some(instance.connected.as_ref()?.name.clone()))
    }

    /// Ids of the delegates that have a connected instance.
    pub(super) fn connected_delegates(&self) -> Vec<DelegateId> {
        let instances = self.lock();
        let mut ids: Vec<_> = instances
            .values()
            .filter(|instance| instance.connected.is_some())
            .map(|instance| instance.holder.delegate.clone())
            .collect();
        ids.sort();
        ids.dedup();
        ids
    }

    /// Makes sure that a holder read from the store is known, as away since now, so that its lease runs.
    pub(super) fn expect(&self, holder: &Holder, make: impl FnOnce() -> UnboundedSender<Message>) {
        self.session(holder, make);
    }

    /// Instances that have been away for at least `lease`. They are forgotten.
    pub(super) fn take_away(&self, lease: Duration) -> Vec<Holder> {
        let now = Instant::now();
        let mut instances = self.lock();
        let gone: Vec<_> = instances
            .iter()
            .filter(|(_, i)| i.connected.is_none() && now.duration_since(i.away_since) >= lease)
            .map(|(key, instance)| (key.clone(), instance.holder.clone()))
            .collect();
        for (key, _) in &gone {
            instances.remove(key);
        }
        gone.into_iter().map(|(_, holder)| holder).collect()
    }

    /// Forgets all instances: their sessions end.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    /// Cancelled when the delegate is revoked. To be taken before its record is read.
    pub(super) fn revocation(&self, delegate: &DelegateId) -> CancellationToken {
        let mut revocations = self
            .revocations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        revocations.entry(delegate.clone()).or_default().clone()
    }

    /// Cuts all streams of a delegate.
    pub(super) fn revoke(&self, delegate: &DelegateId) {
        let mut revocations = self
            .revocations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = revocations.remove(delegate) {
            token.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Instance>> {
        self.instances
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(holder: &Holder) -> Key {
    (holder.delegate.clone(), holder.instance.clone())
}
