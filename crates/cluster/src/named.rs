//! The watch of one object by its name, with the rights that RBAC can give for a name: `get` and
//! `watch`. A list, with which watches usually begin, is not needed.

use std::fmt::Debug;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _, stream};
use kube::ResourceExt as _;
use kube::api::{Api, GetParams, WatchEvent, WatchParams};
use kube::runtime::watcher::{Error, Event};
use serde::de::DeserializeOwned;

/// Where the watch stands.
enum State<K> {
    /// Nothing is known, or the position is too old.
    Start,
    /// These are to be handed out before the watch goes on from a version.
    Report(Vec<Event<K>>, String),
    /// A watch is to be opened from a version; empty: from what is there now.
    Open(String),
    /// Events come from here.
    Follow(BoxStream<'static, kube::Result<WatchEvent<K>>>, String),
}

/// The same events as a watch of a list with at most one object. Errors are followed by another
/// attempt, whose pace the caller sets.
pub(crate) fn watch<K>(api: Api<K>, name: String) -> impl Stream<Item = Result<Event<K>, Error>>
where
    K: kube::Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    stream::unfold(
        (api, name, State::Start),
        |(api, name, mut state)| async move {
            loop {
                let (event, next) = step(&api, &name, state).await;
                state = next;
                if let Some(event) = event {
                    return Some((event, (api, name, state)));
                }
            }
        },
    )
}

async fn step<K>(
    api: &Api<K>,
    name: &str,
    state: State<K>,
) -> (Option<Result<Event<K>, Error>>, State<K>)
where
    K: kube::Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    match state {
        State::Start => match api.get_with(name, &GetParams::default()).await {
            Ok(object) => {
                let version = object.resource_version().unwrap_or_default();
                // Handed out from the end.
                let events = vec![Event::InitDone, Event::InitApply(object)];
                (Some(Ok(Event::Init)), State::Report(events, version))
            }
            Err(kube::Error::Api(status)) if status.code == 404 => {
                let events = vec![Event::InitDone];
                (Some(Ok(Event::Init)), State::Report(events, String::new()))
            }
            Err(error) => (Some(Err(Error::InitialListFailed(error))), State::Start),
        },
        State::Report(mut events, version) => match events.pop() {
            Some(event) => (Some(Ok(event)), State::Report(events, version)),
            None => (None, State::Open(version)),
        },
        State::Open(version) => {
            let params = WatchParams::default().fields(&format!("metadata.name={name}"));
            match api.watch(&params, &version).await {
                Ok(stream) => (None, State::Follow(stream.boxed(), version)),
                Err(error) if is_gone(&error) => (None, State::Start),
                Err(error) => (
                    Some(Err(Error::WatchStartFailed(error))),
                    State::Open(version),
                ),
            }
        }
        State::Follow(mut stream, version) => match stream.next().await {
            Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                let version = object.resource_version().unwrap_or_default();
                (
                    Some(Ok(Event::Apply(object))),
                    State::Follow(stream, version),
                )
            }
            Some(Ok(WatchEvent::Deleted(object))) => {
                let version = object.resource_version().unwrap_or_default();
                (
                    Some(Ok(Event::Delete(object))),
                    State::Follow(stream, version),
                )
            }
            Some(Ok(WatchEvent::Bookmark(bookmark))) => (
                None,
                State::Follow(stream, bookmark.metadata.resource_version),
            ),
            Some(Ok(WatchEvent::Error(status))) => {
                let next = if status.code == 410 {
                    State::Start
                } else {
                    State::Open(version)
                };
                (Some(Err(Error::WatchError(status))), next)
            }
            Some(Err(error)) => (Some(Err(Error::WatchFailed(error))), State::Open(version)),
            // The server ends each watch after a while.
            None => (None, State::Open(version)),
        },
    }
}

fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 410)
}
