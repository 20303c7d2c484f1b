//! What a step says while it runs, on its way to whoever shows it.

use std::collections::HashMap;

use jiff::Timestamp;
use sortie_manifest::ObjectId;
use sortie_step::report::{Level, ObjectRow, Sink, Unit, UnitStatus};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::client::wire;
use crate::clock;

/// One thing that a step said.
#[derive(Debug)]
pub(super) enum Said {
    /// A unit changed its status.
    Unit(Unit, UnitStatus, Timestamp),
    /// A line of a unit's log.
    Log(Unit, Level, String),
    /// An object changed.
    Object(Unit, ObjectRow),
}

/// A sink that passes everything on at once; what is slow to show waits in memory.
#[derive(Debug)]
pub(super) struct Teller(UnboundedSender<Said>);

/// The sink for a step, and where what it says comes out.
pub(super) fn channel() -> (Teller, UnboundedReceiver<Said>) {
    let (sender, receiver) = unbounded_channel();
    (Teller(sender), receiver)
}

impl Teller {
    fn tell(&self, said: Said) {
        // Nobody listens any more: the view has ended before the step.
        drop(self.0.send(said));
    }
}

impl Sink for Teller {
    fn unit(&self, unit: Unit, status: UnitStatus) {
        self.tell(Said::Unit(unit, status, clock::now()));
    }

    fn log(&self, unit: Unit, level: Level, text: &str) {
        self.tell(Said::Log(unit, level, text.to_owned()));
    }

    fn object(&self, unit: Unit, row: ObjectRow) {
        self.tell(Said::Object(unit, row));
    }
}

/// The word for a unit's status, as a control plane says it.
pub(super) const fn status_word(status: UnitStatus) -> &'static str {
    match status {
        UnitStatus::Running => "RUNNING",
        UnitStatus::Succeeded => "SUCCEEDED",
        UnitStatus::Failed => "FAILED",
        UnitStatus::Aborted => "ABORTED",
    }
}

/// The word for a level, as a control plane says it.
pub(super) const fn level_word(level: Level) -> &'static str {
    match level {
        Level::Info => "info",
        Level::Warning => "warn",
        Level::Error => "error",
    }
}

/// What is known of a step by what it has said.
#[derive(Debug)]
pub(super) struct Picture {
    /// The step, as it is shown.
    pub(super) node: wire::Node,
    /// Where each object stands among the resources of the node.
    places: HashMap<ObjectId, usize>,
}

impl Picture {
    pub(super) fn new(node: wire::Node) -> Self {
        Self {
            node,
            places: HashMap::new(),
        }
    }

    /// Takes in what was said.
    pub(super) fn note(&mut self, said: &Said, now: Timestamp) {
        match said {
            Said::Unit(unit, status, at) => self.unit(*unit, *status, *at),
            Said::Object(_, row) => self.object(row, now),
            Said::Log(..) => {}
        }
    }

    fn unit(&mut self, unit: Unit, status: UnitStatus, at: Timestamp) {
        let units = &mut self.node.units;
        let place = units.iter().position(|known| known.name == unit.name());
        let place = place.unwrap_or_else(|| {
            units.push(wire::Unit {
                name: unit.name().to_owned(),
                ..wire::Unit::default()
            });
            units.len() - 1
        });
        let Some(known) = units.get_mut(place) else {
            return;
        };
        status_word(status).clone_into(&mut known.status);
        if status == UnitStatus::Running {
            known.started_at.get_or_insert(at);
        } else {
            known.ended_at = Some(at);
        }
    }

    fn object(&mut self, row: &ObjectRow, now: Timestamp) {
        let ObjectRow {
            id,
            change,
            health,
            message,
        } = row;
        let resources = &mut self.node.resources;
        let place = *self.places.entry(id.clone()).or_insert(resources.len());
        // How long it takes counts from the first word about it.
        let since = resources.get(place).and_then(|known| known.since);
        let new = wire::Resource {
            kind: id.kind.clone(),
            namespace: id.namespace.clone().unwrap_or_default(),
            name: id.name.clone(),
            health: health.as_str().to_owned(),
            message: message.clone(),
            change: change.as_str().to_owned(),
            since: since.or(Some(now)),
        };
        match resources.get_mut(place) {
            Some(known) => *known = new,
            None => resources.push(new),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sortie_health::Status;
    use sortie_manifest::ObjectId;
    use sortie_step::report::Change;

    fn row(group: &str, name: &str, health: Status) -> Said {
        let row = ObjectRow {
            id: ObjectId {
                group: group.to_owned(),
                kind: "Service".to_owned(),
                namespace: Some("shop".to_owned()),
                name: name.to_owned(),
            },
            change: Change::Created,
            health,
            message: String::new(),
        };
        Said::Object(Unit::WaitForSteadyState, row)
    }

    #[test]
    fn rows_of_one_object_replace_each_other() {
        let mut picture = Picture::new(wire::Node::default());
        for (second, group, name, health) in [
            (1, "", "web", Status::Progressing),
            (2, "", "db", Status::Progressing),
            (3, "serving.knative.dev", "web", Status::Degraded),
            (4, "", "web", Status::Healthy),
        ] {
            let at = Timestamp::from_second(second).unwrap();
            picture.note(&row(group, name, health), at);
        }
        let shown = picture.node.resources.iter();
        let shown = shown.map(|r| (&*r.name, &*r.health, r.since.unwrap().as_second()));
        assert_eq!(
            shown.collect::<Vec<_>>(),
            [
                ("web", "Healthy", 1),
                ("db", "Progressing", 2),
                ("web", "Degraded", 3)
            ]
        );
    }

    #[test]
    fn of_many_objects_each_keeps_its_row() {
        const MANY: usize = 100_000;
        let mut picture = Picture::new(wire::Node::default());
        for health in [Status::Progressing, Status::Healthy] {
            for number in 0..MANY {
                let said = row("", &number.to_string(), health);
                picture.note(&said, Timestamp::UNIX_EPOCH);
            }
        }
        let rows = &picture.node.resources;
        assert_eq!(rows.len(), MANY);
        let mut numbered = rows.iter().enumerate();
        assert!(
            numbered.all(|(place, row)| row.name == place.to_string() && row.health == "Healthy")
        );
    }

    #[test]
    fn a_unit_keeps_its_beginning() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut picture = Picture::new(wire::Node::default());
        for (status, second) in [
            (UnitStatus::Running, 1),
            (UnitStatus::Running, 2),
            (UnitStatus::Failed, 5),
        ] {
            let said = Said::Unit(Unit::Apply, status, at(second));
            picture.note(&said, at(second));
        }
        let units = picture.node.units;
        assert_eq!(units.len(), 1);
        assert_eq!(units[0].status, "FAILED");
        assert_eq!(
            (units[0].started_at, units[0].ended_at),
            (Some(at(1)), Some(at(5)))
        );
    }
}
