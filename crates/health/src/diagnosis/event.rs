//! Events, of `v1` and of `events.k8s.io/v1`, sorted by the object they are about.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::Value;

use super::cause::EventSeen;
use crate::line::{self, MESSAGE_LIMIT, NAME_LIMIT};
use crate::read::{int, text, time};

/// Reasons of warnings that say less than the state of the container, which is told anyway.
const NOISE: [&str; 3] = ["BackOff", "Unhealthy", "InspectFailed"];

/// One event.
#[derive(Clone, Copy)]
pub(crate) struct Event<'a>(&'a Value);

impl<'a> Event<'a> {
    pub(crate) fn reason(self) -> &'a str {
        text(self.0, "/reason").unwrap_or("")
    }

    pub(crate) fn message(self) -> &'a str {
        text(self.0, "/message")
            .or_else(|| text(self.0, "/note"))
            .unwrap_or("")
    }

    /// When it last happened.
    pub(crate) fn last(self) -> Timestamp {
        [
            "/series/lastObservedTime",
            "/lastTimestamp",
            "/deprecatedLastTimestamp",
            "/eventTime",
            "/firstTimestamp",
        ]
        .into_iter()
        .chain(["/metadata/creationTimestamp"])
        .filter_map(|pointer| time(self.0, pointer))
        .max()
        .unwrap_or(Timestamp::MIN)
    }

    /// When it first happened.
    pub(crate) fn first(self) -> Timestamp {
        let times = ["/firstTimestamp", "/deprecatedFirstTimestamp", "/eventTime"];
        let times = times.iter().filter_map(|pointer| time(self.0, pointer));
        times.min().unwrap_or_else(|| self.last())
    }

    fn is_telling_warning(self) -> bool {
        text(self.0, "/type") == Some("Warning") && !NOISE.contains(&self.reason())
    }

    /// As evidence of a cause.
    fn seen(self) -> EventSeen {
        let times = ["/count", "/series/count", "/deprecatedCount"]
            .into_iter()
            .filter_map(|pointer| int(self.0, pointer))
            .max();
        let last = self.last();
        EventSeen {
            reason: line::one_line(self.reason(), NAME_LIMIT),
            message: line::one_line(self.message(), MESSAGE_LIMIT),
            times: times.unwrap_or(1).max(1).unsigned_abs(),
            last: (last > Timestamp::MIN).then_some(last),
        }
    }

    /// Is the event about that container of its pod? Events of the whole pod are about each.
    pub(crate) fn is_about(self, container: &str) -> bool {
        let path = text(self.0, "/involvedObject/fieldPath")
            .or_else(|| text(self.0, "/regarding/fieldPath"));
        path.is_none_or(|path| {
            path.split_once('{')
                .is_none_or(|(_, name)| name.trim_end_matches('}') == container)
        })
    }
}

/// Events by the UID of their object.
pub(crate) struct Events<'a>(HashMap<&'a str, Vec<Event<'a>>>);

impl<'a> Events<'a> {
    pub(crate) fn index(events: &[&'a Value]) -> Self {
        let mut index: HashMap<&str, Vec<Event<'_>>> = HashMap::new();
        for &event in events {
            let uid = text(event, "/involvedObject/uid").or_else(|| text(event, "/regarding/uid"));
            if let Some(uid) = uid {
                index.entry(uid).or_default().push(Event(event));
            }
        }
        Self(index)
    }

    pub(crate) fn of(&self, uid: &str) -> impl Iterator<Item = Event<'a>> + Clone {
        self.0
            .get(uid)
            .map_or(&[][..], Vec::as_slice)
            .iter()
            .copied()
    }

    /// The latest warning about the object, or about one container of the pod that it is, that tells more than its state.
    pub(crate) fn warning(&self, uid: &str, container: Option<&str>) -> Option<EventSeen> {
        self.of(uid)
            .filter(|event| event.is_telling_warning())
            .filter(|event| container.is_none_or(|container| event.is_about(container)))
            .max_by_key(|event| event.last())
            .map(Event::seen)
    }

    /// The latest event of the object with one of the reasons.
    pub(crate) fn latest(&self, uid: &str, reasons: &[&str]) -> Option<Event<'a>> {
        self.of(uid)
            .filter(|event| reasons.contains(&event.reason()))
            .max_by_key(|event| event.last())
    }
}
