//! What must hold at the end, whatever happened.

use std::collections::BTreeSet;

use sortie_link::TaskRef;
use sortie_link::task::{Ending, Recovery};

use super::World;

impl World {
    pub(crate) fn check(&self) {
        self.store.check_delivered_once();
        for once in self.store.of(Recovery::Once) {
            let starts = self.starts.iter().filter(|task| task.id == once).count();
            assert!(
                starts <= 1,
                "{once} may run once and was started {starts} times"
            );
        }
        let distinct: BTreeSet<_> = self.starts.iter().collect();
        assert_eq!(
            distinct.len(),
            self.starts.len(),
            "an epoch was started twice"
        );
    }

    pub(crate) fn check_each_ran_exactly_once(&self) {
        for (id, ending) in self.store.endings() {
            assert_eq!(ending, Ending::Succeeded, "{id}");
            assert_eq!(
                self.starts.iter().filter(|task| task.id == id).count(),
                1,
                "{id}"
            );
        }
    }

    /// Nothing was lost: a task is started once, and once more for each time that it was handed back.
    pub(crate) fn check_starts_follow_hand_backs(&self) {
        for (id, ending) in self.store.endings() {
            let of = |all: &[TaskRef]| all.iter().filter(|task| task.id == id).count();
            let (starts, backs) = (of(&self.starts), of(&self.hand_backs));
            match ending {
                Ending::Succeeded => assert_eq!(starts, backs + 1, "{id}"),
                Ending::Lost => assert_eq!((starts, backs), (1, 1), "{id}"),
                other => panic!("{id} ended as {other:?}"),
            }
        }
    }
}
