//! What a step says while it runs, on its way to whoever shows it.

use jiff::Timestamp;
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

/// Takes what was said into the picture of the step.
pub(super) fn note(node: &mut wire::Node, said: &Said, now: Timestamp) {
    match said {
        Said::Unit(unit, status, at) => {
            let place = node
                .units
                .iter()
                .position(|known| known.name == unit.name());
            let place = place.unwrap_or_else(|| {
                node.units.push(wire::Unit {
                    name: unit.name().to_owned(),
                    ..wire::Unit::default()
                });
                node.units.len() - 1
            });
            let Some(known) = node.units.get_mut(place) else {
                return;
            };
            status_word(*status).clone_into(&mut known.status);
            if *status == UnitStatus::Running {
                known.started_at.get_or_insert(*at);
            } else {
                known.ended_at = Some(*at);
            }
        }
        Said::Object(_, row) => {
            let ObjectRow {
                id,
                change,
                health,
                message,
            } = row;
            let new = wire::Resource {
                kind: id.kind.clone(),
                namespace: id.namespace.clone().unwrap_or_default(),
                name: id.name.clone(),
                health: health.as_str().to_owned(),
                message: message.clone(),
                change: change.as_str().to_owned(),
                since: Some(now),
            };
            let same = |known: &&mut wire::Resource| {
                (&known.kind, &known.namespace, &known.name)
                    == (&new.kind, &new.namespace, &new.name)
            };
            match node.resources.iter_mut().find(same) {
                // How long it takes counts from the first word about it.
                Some(known) => {
                    let since = known.since.or(new.since);
                    *known = wire::Resource { since, ..new };
                }
                None => node.resources.push(new),
            }
        }
        Said::Log(..) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sortie_health::Status;
    use sortie_manifest::ObjectId;
    use sortie_step::report::Change;

    #[test]
    fn rows_of_one_object_replace_each_other() {
        let row = |name: &str, health| ObjectRow {
            id: ObjectId {
                group: "apps".to_owned(),
                kind: "Deployment".to_owned(),
                namespace: Some("shop".to_owned()),
                name: name.to_owned(),
            },
            change: Change::Created,
            health,
            message: String::new(),
        };
        let mut node = wire::Node::default();
        for (name, health) in [
            ("web", Status::Progressing),
            ("db", Status::Progressing),
            ("web", Status::Healthy),
        ] {
            note(
                &mut node,
                &Said::Object(Unit::WaitForSteadyState, row(name, health)),
                Timestamp::UNIX_EPOCH,
            );
        }
        let shown: Vec<_> = node
            .resources
            .iter()
            .map(|r| (r.name.as_str(), r.health.as_str()))
            .collect();
        assert_eq!(shown, [("web", "Healthy"), ("db", "Progressing")]);
    }

    #[test]
    fn a_unit_keeps_its_beginning() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut node = wire::Node::default();
        for (status, second) in [
            (UnitStatus::Running, 1),
            (UnitStatus::Running, 2),
            (UnitStatus::Failed, 5),
        ] {
            let said = Said::Unit(Unit::Apply, status, at(second));
            note(&mut node, &said, at(second));
        }
        assert_eq!(node.units.len(), 1);
        assert_eq!(node.units[0].status, "FAILED");
        assert_eq!(
            (node.units[0].started_at, node.units[0].ended_at),
            (Some(at(1)), Some(at(5)))
        );
    }
}
