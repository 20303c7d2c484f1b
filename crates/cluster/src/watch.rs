//! Watches: what a selection of objects looks like now, without polling.
//!
//! There is one watch per selection and connection, shared by everybody who asks for it and ended
//! when the last one drops it. It survives restarts of the API server and lists again when its
//! position is too old (410). Objects are kept without `metadata.managedFields`.

use std::collections::{BTreeMap, HashMap};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures::{FutureExt as _, Stream, StreamExt as _};
use kube::api::{Api, DynamicObject};
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::connect::Cluster;
use crate::error::Error;
use crate::named;
use crate::record;
use crate::resource::{Resource, escape};
use crate::status::Status;

/// Which objects to watch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Selection {
    /// Their kind.
    pub resource: Resource,
    /// Their namespace; `None` for cluster-scoped kinds and for all namespaces.
    pub namespace: Option<String>,
    /// Label selector, such as `app=web`.
    pub labels: Option<String>,
    /// Field selector, such as `metadata.name=web`.
    pub fields: Option<String>,
    /// Whether metadata is all that is needed.
    pub metadata_only: bool,
}

/// The selected objects at one moment.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// By name; by `namespace/name` when the selection spans namespaces.
    pub objects: Arc<BTreeMap<String, Arc<Value>>>,
    /// Why the view may be out of date at the moment, such as an API server that is away.
    pub trouble: Option<Arc<str>>,
    /// Whether the first complete list has arrived.
    listed: bool,
    /// The refusal that prevented the first list.
    refused: Option<Arc<Status>>,
}

/// A view that keeps itself up to date. Dropping the last handle ends the watch.
#[derive(Debug)]
pub struct Watched {
    receiver: watch::Receiver<View>,
    shared: Arc<Shared>,
}

/// The running watches of one connection.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    running: Mutex<HashMap<Selection, Weak<Shared>>>,
}

#[derive(Debug)]
struct Shared {
    receiver: watch::Receiver<View>,
    /// Aborts the watch when dropped.
    _task: JoinSet<()>,
}

impl Selection {
    /// All objects of `resource` in `namespace`, which cluster-scoped kinds do not use.
    pub fn of(resource: Resource, namespace: &str) -> Self {
        let namespace = resource.namespaced.then(|| namespace.to_owned());
        Self {
            resource,
            namespace,
            labels: None,
            fields: None,
            metadata_only: false,
        }
    }

    /// Only those that match a label selector.
    #[must_use]
    pub fn labelled(mut self, selector: impl Into<String>) -> Self {
        self.labels = Some(selector.into());
        self
    }

    /// Only those that match a field selector.
    #[must_use]
    pub fn where_fields(mut self, selector: impl Into<String>) -> Self {
        self.fields = Some(selector.into());
        self
    }

    /// Only the one with this name.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        self.where_fields(format!("metadata.name={name}"))
    }

    /// Without our own records, which are large, where it is one of Secrets.
    #[must_use]
    pub(crate) fn without_records(self) -> Self {
        let Resource { group, kind, .. } = &self.resource;
        if group.is_empty() && kind == "Secret" {
            self.where_fields(record::no_records())
        } else {
            self
        }
    }

    /// The only name that can be selected, if there is just one.
    fn single_name(&self) -> Option<&str> {
        let name = self.fields.as_deref()?.strip_prefix("metadata.name=")?;
        (self.labels.is_none() && !name.contains([',', '=', '!'])).then_some(name)
    }

    /// Path and query of its list.
    pub(crate) fn path(&self) -> String {
        let mut path = self.resource.path(self.namespace.as_deref(), None);
        let selectors = [
            ("labelSelector", &self.labels),
            ("fieldSelector", &self.fields),
        ];
        for (key, selector) in selectors {
            if let Some(selector) = selector {
                path.push(if path.contains('?') { '&' } else { '?' });
                path.push_str(&format!("{key}={}", escape(selector)));
            }
        }
        path
    }

    fn key(&self, object: &Value) -> Option<String> {
        let name = object.pointer("/metadata/name")?.as_str()?;
        let namespace = object
            .pointer("/metadata/namespace")
            .and_then(Value::as_str);
        Some(match (&self.namespace, namespace) {
            (None, Some(namespace)) => format!("{namespace}/{name}"),
            _ => name.to_owned(),
        })
    }
}

impl Watched {
    /// The present view.
    pub fn view(&self) -> View {
        self.receiver.borrow().clone()
    }

    /// Whether both handles are fed by the same watch.
    pub fn shares_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Waits until the view differs from the one last looked at by this handle.
    pub async fn changed(&mut self) -> View {
        if self.receiver.changed().await.is_err() {
            // The task ends only with its last handle, and we are one.
            std::future::pending::<()>().await;
        }
        self.receiver.borrow_and_update().clone()
    }

    /// Waits until `found` finds what it looks for, in the present view or a later one.
    pub async fn until<T>(&mut self, mut found: impl FnMut(&View) -> Option<T>) -> T {
        let mut view = self.receiver.borrow_and_update().clone();
        loop {
            if let Some(result) = found(&view) {
                return result;
            }
            view = self.changed().await;
        }
    }
}

/// Resolves when one of several views differs from the one last looked at by its handle.
pub async fn any_changed<'a>(watches: impl IntoIterator<Item = &'a mut Watched>) {
    let changes = watches
        .into_iter()
        .map(|one| one.changed().map(drop).boxed());
    let changes: Vec<_> = changes.collect();
    if changes.is_empty() {
        std::future::pending::<()>().await;
    }
    drop(futures::future::select_all(changes).await);
}

impl Clone for Watched {
    fn clone(&self) -> Self {
        Self {
            receiver: self.receiver.clone(),
            shared: Arc::clone(&self.shared),
        }
    }
}

impl Cluster {
    /// Watches a selection of objects. Returns once the first complete list is there; an API
    /// server that refuses it is an error, one that is away for the moment is waited for.
    pub async fn watch(&self, selection: Selection) -> Result<Watched, Error> {
        let target = describe(&selection);
        let shared = self.shared_watch(selection);
        let mut receiver = shared.receiver.clone();
        let first = receiver
            .wait_for(|view| view.listed || view.refused.is_some())
            .await;
        let refused = first.ok().and_then(|view| view.refused.clone());
        if let Some(status) = refused {
            return Err(Error::new(
                "watch",
                target,
                Status::clone(&status).into_cause(),
            ));
        }
        Ok(Watched { receiver, shared })
    }

    fn shared_watch(&self, selection: Selection) -> Arc<Shared> {
        let running = &self.inner.watches.running;
        let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
        let usable = |shared: &Arc<Shared>| shared.receiver.borrow().refused.is_none();
        if let Some(shared) = running
            .get(&selection)
            .and_then(Weak::upgrade)
            .filter(usable)
        {
            return shared;
        }
        running.retain(|_, shared| shared.strong_count() > 0);
        let (sender, receiver) = watch::channel(View::default());
        let mut task = JoinSet::new();
        let client = self.inner.client.clone();
        task.spawn(follow(client, selection.clone(), sender));
        let shared = Arc::new(Shared {
            receiver,
            _task: task,
        });
        running.insert(selection, Arc::downgrade(&shared));
        shared
    }
}

async fn follow(client: kube::Client, selection: Selection, sender: watch::Sender<View>) {
    let api_resource = selection.resource.api_resource();
    let config = watcher::Config {
        label_selector: selection.labels.clone(),
        field_selector: selection.fields.clone(),
        ..watcher::Config::default()
    };
    if selection.metadata_only {
        let api: Api<PartialObjectMeta<DynamicObject>> = match &selection.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &api_resource),
            None => Api::all_with(client, &api_resource),
        };
        keep_up(events(api, config, &selection), &selection, &sender).await;
    } else {
        let api: Api<DynamicObject> = match &selection.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &api_resource),
            None => Api::all_with(client, &api_resource),
        };
        keep_up(events(api, config, &selection), &selection, &sender).await;
    }
}

/// The events of a selection. That of one name needs no right to list.
fn events<K>(
    api: Api<K>,
    config: watcher::Config,
    selection: &Selection,
) -> impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + use<K>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    match selection.single_name() {
        Some(name) => named::watch(api, name.to_owned())
            .default_backoff()
            .left_stream(),
        None => watcher::watcher(api, config)
            .default_backoff()
            .right_stream(),
    }
}

/// Feeds the view from the events of a watch. Events that are ready together become one change.
async fn keep_up<K: serde::Serialize>(
    stream: impl Stream<Item = Result<watcher::Event<K>, watcher::Error>>,
    selection: &Selection,
    sender: &watch::Sender<View>,
) {
    let mut stream = pin!(stream);
    let mut listing = BTreeMap::new();
    while let Some(first) = stream.next().await {
        let mut batch = vec![first];
        while let Some(Some(more)) = stream.next().now_or_never() {
            batch.push(more);
            if batch.len() >= 256 {
                break;
            }
        }
        sender.send_if_modified(|view| {
            let mut modified = false;
            for event in batch {
                modified |= take_in(view, &mut listing, event, selection);
            }
            modified
        });
    }
}

/// Takes one event into the view; says whether that changed it.
fn take_in<K: serde::Serialize>(
    view: &mut View,
    listing: &mut BTreeMap<String, Arc<Value>>,
    event: Result<watcher::Event<K>, watcher::Error>,
    selection: &Selection,
) -> bool {
    match event {
        Ok(watcher::Event::Init) => listing.clear(),
        Ok(watcher::Event::InitApply(object)) => {
            if let Some((key, object)) = keep(&object, selection) {
                listing.insert(key, object);
            }
        }
        Ok(watcher::Event::InitDone) => {
            view.objects = Arc::new(std::mem::take(listing));
            view.listed = true;
            view.trouble = None;
            return true;
        }
        Ok(watcher::Event::Apply(object)) => {
            view.trouble = None;
            if let Some((key, object)) = keep(&object, selection) {
                Arc::make_mut(&mut view.objects).insert(key, object);
                return true;
            }
        }
        Ok(watcher::Event::Delete(object)) => {
            view.trouble = None;
            if let Some((key, _)) = keep(&object, selection) {
                return Arc::make_mut(&mut view.objects).remove(&key).is_some();
            }
        }
        Err(error) => {
            let cause = explain(&error);
            tracing::debug!(what = %describe(selection), cause = ?cause, "watch interrupted");
            if let (false, Some(status)) = (view.listed, refusal(&error)) {
                view.refused = Some(Arc::new(status));
                return true;
            }
            // A watch ends by itself every few minutes; only a failing restart is worth telling.
            if !matches!(
                error,
                watcher::Error::WatchError(_) | watcher::Error::WatchFailed(_)
            ) {
                view.trouble = Some(Arc::from(cause));
                return true;
            }
        }
    }
    false
}

/// The object as it is kept: with its type, without bookkeeping that nobody reads.
fn keep<K: serde::Serialize>(object: &K, selection: &Selection) -> Option<(String, Arc<Value>)> {
    let mut value = serde_json::to_value(object).ok()?;
    let key = selection.key(&value)?;
    let fields = value.as_object_mut()?;
    fields.insert(
        "apiVersion".to_owned(),
        selection.resource.api_version().into(),
    );
    fields.insert("kind".to_owned(), selection.resource.kind.clone().into());
    if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
        {
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
    Some((key, Arc::new(value)))
}

/// The server's answer when it is one that trying again will not change.
fn refusal(error: &watcher::Error) -> Option<Status> {
    let (watcher::Error::InitialListFailed(kube::Error::Api(status))
    | watcher::Error::WatchStartFailed(kube::Error::Api(status))) = error
    else {
        return None;
    };
    let status = Status {
        code: status.code,
        reason: status.reason.clone(),
        message: status.message.clone(),
        ..Status::default()
    };
    let lasting = matches!(status.code, 400 | 401 | 403 | 404 | 405 | 422);
    (lasting && !status.is_transient()).then_some(status)
}

/// The innermost reason, without repeating the chain above it.
fn explain(error: &watcher::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn describe(selection: &Selection) -> String {
    let mut text = selection.resource.plural.clone();
    if let Some(namespace) = &selection.namespace {
        text = format!("{text} in namespace {namespace}");
    }
    for selector in [&selection.labels, &selection.fields].into_iter().flatten() {
        text = format!("{text} with {selector}");
    }
    text
}
