//! What the heads of a release say together.

use std::collections::{BTreeSet, HashSet};

use sortie_manifest::ObjectId;

use super::head::{Head, Owner, Status};
use super::part::PartId;
use super::records::Stored;
use super::tracked::Tracked;
use super::unreadable::Unreadable;

/// All records of one release, the oldest first.
#[derive(Debug, Default)]
pub struct History {
    stored: Vec<Stored>,
    unreadable: Vec<Unreadable>,
}

/// What stands in a colour with this role, of these heads, which are the oldest first; the newest of these first. Whatever
/// was begun in a colour later has overwritten what stood there, however that ended.
pub fn standing<'a>(heads: &[&'a Head], role: &str) -> Vec<&'a Head> {
    let mut seen: Vec<&str> = Vec::new();
    let mut found = Vec::new();
    for head in heads.iter().rev() {
        let Some(color) = head.side.color.as_deref() else {
            continue;
        };
        if seen.contains(&color) {
            continue;
        }
        seen.push(color);
        if head.is_standing() && head.side.role.as_deref() == Some(role) {
            found.push(*head);
        }
    }
    found
}

/// What a collection would remove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collection {
    /// Release numbers whose heads go.
    pub numbers: Vec<u64>,
    /// Parts that no kept head names.
    pub parts: Vec<PartId>,
}

impl History {
    /// A history of these records, in any order.
    pub fn new(mut stored: Vec<Stored>, mut unreadable: Vec<Unreadable>) -> Self {
        stored.sort_by_key(|stored| stored.head.number);
        unreadable.sort_by_key(|unreadable| unreadable.number);
        Self { stored, unreadable }
    }

    /// The records that can be read, the oldest first.
    pub fn records(&self) -> &[Stored] {
        &self.stored
    }

    /// The records that cannot be read, the oldest first.
    pub fn unreadable(&self) -> &[Unreadable] {
        &self.unreadable
    }

    /// The same, for the one who can do nothing without them.
    pub fn into_unreadable(self) -> Vec<Unreadable> {
        self.unreadable
    }

    /// Whether there is no record at all, neither one that can be read nor another.
    pub fn is_empty(&self) -> bool {
        self.stored.is_empty() && self.unreadable.is_empty()
    }

    /// The record with this number.
    pub fn number(&self, number: u64) -> Option<&Stored> {
        self.stored
            .iter()
            .find(|stored| stored.head.number == number)
    }

    /// The newest record that can be read.
    pub fn newest(&self) -> Option<&Stored> {
        self.stored.last()
    }

    /// The number that the next release gets: above all, those of records that cannot be read among them.
    pub fn next_number(&self) -> u64 {
        self.numbers()
            .last()
            .map_or(1, |newest| newest.saturating_add(1))
    }

    /// The numbers of all records.
    fn numbers(&self) -> BTreeSet<u64> {
        let unreadable = self.unreadable.iter().filter_map(|record| record.number);
        let readable = self.heads().map(|head| head.number);
        readable.chain(unreadable).collect()
    }

    fn is_newer(&self, number: u64) -> bool {
        let mut records = self.unreadable.iter();
        records.any(|record| record.number == Some(number) && record.is_newer())
    }

    /// The version of the record with this number.
    pub(super) fn version(&self, number: u64) -> Option<&str> {
        let unreadable = || {
            let mut records = self.unreadable.iter();
            let record = records.find(|record| record.number == Some(number));
            record.map(|record| record.version.as_str())
        };
        let readable = self.number(number).map(|stored| stored.version.as_str());
        readable.or_else(unreadable)
    }

    /// The newest record that succeeded, of those older than `before` when that is given.
    pub fn last_good(&self, before: Option<u64>) -> Option<&Stored> {
        let older = |stored: &&Stored| before.is_none_or(|before| stored.head.number < before);
        self.stored
            .iter()
            .rev()
            .filter(older)
            .find(|stored| stored.head.is_good())
    }

    /// Whether no record has ever succeeded, on whatever side.
    pub fn is_first(&self) -> bool {
        let succeeded = |head: &Head| matches!(head.status, Status::Succeeded | Status::Superseded);
        !self.heads().any(succeeded)
    }

    /// The newest record that [stands](standing) in a colour with this role.
    pub fn standing(&self, role: &str) -> Option<&Stored> {
        let heads: Vec<&Head> = self.heads().collect();
        self.number(standing(&heads, role).first()?.number)
    }

    /// Whether the release has two colours, whatever became of them: what was deployed last, canaries aside, came in one.
    pub fn is_of_colors(&self) -> bool {
        let newest = self.heads().rev().find(|head| !head.side.is_canary());
        newest.is_some_and(|head| head.side.color.is_some())
    }

    /// The highest fence of all records: what a new holder's must be above.
    pub fn fence(&self) -> u32 {
        self.stored
            .iter()
            .map(|stored| stored.head.fence)
            .max()
            .unwrap_or(0)
    }

    /// Whose release it is when that is somebody other than `asking`.
    pub fn another_owner(&self, asking: &Owner) -> Option<&Owner> {
        let owner = &self.newest()?.head.owner;
        (!owner.matches(asking)).then_some(owner)
    }

    /// The records that the success of a head supersedes: earlier successes on its side.
    pub fn superseded_by<'a>(&'a self, head: &'a Head) -> impl Iterator<Item = &'a Stored> {
        self.stored
            .iter()
            .filter(move |Stored { head: earlier, .. }| {
                earlier.number < head.number
                    && earlier.status == Status::Succeeded
                    && head.side.takes_place_of(&earlier.side)
            })
    }

    /// Where the objects with this hash are recorded, when all of it is among these parts.
    pub fn parts_of(&self, manifest_hash: &str, present: &[PartId]) -> Option<&[PartId]> {
        let same = |head: &&Head| {
            !manifest_hash.is_empty()
                && head.manifest_hash == manifest_hash
                && !head.parts.is_empty()
                && head.parts.iter().all(|part| present.contains(part))
        };
        Some(&self.heads().rev().find(same)?.parts)
    }

    /// Whether the record may be the only one that tells what a canary or a colour runs, however it ended.
    fn may_run_beside(&self, head: &Head) -> bool {
        let mut later = self.heads().filter(|later| later.number > head.number);
        if head.is_standing() {
            return true;
        }
        if !head.is_canary_left() {
            let color = &head.side.color;
            return color.is_some() && !later.any(|later| later.side.color == *color);
        }
        let later = later.filter(|later| later.is_canary_left());
        let tracked: HashSet<&ObjectId> = later
            .flat_map(|later| later.inventory.iter().map(|of| &of.id))
            .collect();
        let is_tracked = |of: &Tracked| tracked.contains(&of.id);
        !head.inventory.iter().all(is_tracked)
    }

    /// What to remove so that the newest `depth` records stay, and with them always the last good
    /// one, everything newer than it, what may run beside it, and every part that a kept record names: all
    /// parts while one that stays cannot be read. `parts` are all that the release has.
    pub fn collection(&self, depth: usize, parts: &[PartId]) -> Collection {
        let all = self.numbers();
        let cut = all.len().saturating_sub(depth.max(1));
        // Where none that can be read is good, one that is damaged may be, once it is repaired.
        let good = self.last_good(None).map(|good| good.head.number);
        let damaged = || self.unreadable.iter().filter_map(|record| record.number);
        let needed_from = good.or_else(|| damaged().min());
        // It tells whose release it is.
        let newest = self.newest().map(|newest| newest.head.number);
        let goes = |number: &u64| {
            let is_open = |Stored { head, .. }: &Stored| {
                head.status == Status::InProgress || self.may_run_beside(head)
            };
            needed_from.is_none_or(|needed| *number < needed)
                && newest != Some(*number)
                && !self.number(*number).is_some_and(is_open)
                && !self.is_newer(*number)
        };
        let numbers: Vec<u64> = all.into_iter().take(cut).filter(goes).collect();
        let stays = |record: &Unreadable| {
            record
                .number
                .is_none_or(|number| !numbers.contains(&number))
        };
        if self.unreadable.iter().any(stays) {
            let parts = Vec::new();
            return Collection { numbers, parts };
        }
        let named: BTreeSet<&PartId> = self
            .stored
            .iter()
            .filter(|stored| !numbers.contains(&stored.head.number))
            .flat_map(Stored::all_parts)
            .collect();
        let parts = parts
            .iter()
            .filter(|part| !named.contains(part))
            .cloned()
            .collect();
        Collection { numbers, parts }
    }

    /// The heads, the oldest first.
    pub fn heads(&self) -> impl DoubleEndedIterator<Item = &Head> {
        self.stored.iter().map(|stored| &stored.head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{CANARY_DELETED, PRIMARY, RecordError, Release, STAGE, Side};
    use jiff::Timestamp;
    use proptest::prelude::*;

    fn stored(number: u64, status: Status) -> Stored {
        let release = Release::new("shop", "web").unwrap();
        let mut head = Head::new(&release, number, Timestamp::UNIX_EPOCH);
        head.status = status;
        head.fence = u32::try_from(number).unwrap();
        head.parts = vec![PartId::of("r", &number.to_be_bytes())];
        Stored::for_test(head)
    }

    fn history(statuses: &[Status]) -> History {
        let numbered = statuses
            .iter()
            .zip(1..)
            .map(|(status, number)| stored(number, *status));
        History::new(numbered.collect(), Vec::new())
    }

    /// The same; where there is no status, the record is damaged.
    fn with_damage(statuses: &[Option<Status>]) -> History {
        let numbered = || statuses.iter().zip(1..);
        let readable = numbered().filter_map(|(status, number)| Some(stored(number, (*status)?)));
        let damaged = numbered().filter(|(status, _)| status.is_none());
        let damaged = damaged.map(|(_, number)| damaged_one(number));
        History::new(readable.collect(), damaged.collect())
    }

    fn damaged_one(number: u64) -> Unreadable {
        let release = Release::new("shop", "web").unwrap();
        let secret = release.head_name(number);
        let what = "cut".to_owned();
        Unreadable::new(
            &release,
            &serde_json::json!({"metadata": {"name": secret, "resourceVersion": "5"}}),
            RecordError::Damaged { secret, what },
        )
    }

    #[test]
    fn a_damaged_record_keeps_its_number() {
        use Status::{Failed, Succeeded};
        for (statuses, next, newest) in [
            (vec![None], 2, None),
            (vec![Some(Succeeded), None], 3, Some(1)),
            (vec![None, Some(Failed)], 3, Some(2)),
        ] {
            let history = with_damage(&statuses);
            let found = history.newest().map(|stored| stored.head.number);
            assert_eq!(
                (history.next_number(), found),
                (next, newest),
                "{statuses:?}"
            );
            assert_eq!(history.unreadable().len(), 1);
        }
    }

    #[test]
    fn a_new_release_begins_at_one() {
        let none = History::default();
        assert_eq!((none.next_number(), none.fence()), (1, 0));
        assert!(none.last_good(None).is_none());
        assert!(none.another_owner(&Owner::default()).is_none());
    }

    #[test]
    fn the_last_good_record_is_older_than_the_failed_one() {
        use Status::{Failed, InProgress, Succeeded, Superseded};
        let history = history(&[Superseded, Succeeded, Failed, InProgress]);
        assert_eq!(history.next_number(), 5);
        assert_eq!(history.last_good(None).unwrap().head.number, 2);
        assert_eq!(history.last_good(Some(2)).unwrap().head.number, 1);
        assert!(history.last_good(Some(1)).is_none());
        assert_eq!(
            history
                .superseded_by(&history.number(4).unwrap().head)
                .map(|s| s.head.number)
                .collect::<Vec<_>>(),
            [2]
        );
    }

    #[test]
    fn a_canary_and_a_colour_stand_beside_the_release() {
        let sided = |number, status, side| {
            let mut stored = stored(number, status);
            stored.head.side = side;
            stored
        };
        let color = |color: &str| Side {
            color: Some(color.to_owned()),
            ..Side::default()
        };
        let succeeded = Status::Succeeded;
        let all = vec![
            sided(1, succeeded, Side::default()),
            sided(2, succeeded, Side::canary()),
            sided(3, succeeded, color("blue")),
            sided(4, succeeded, color("green")),
            sided(5, Status::Superseded, Side::canary()),
            sided(6, Status::InProgress, Side::canary()),
            sided(7, Status::InProgress, color("blue")),
            sided(8, succeeded, Side::default()),
        ];
        let history = History::new(all, Vec::new());
        assert_eq!(history.last_good(Some(8)).unwrap().head.number, 1);
        for (number, superseded) in [(6, vec![2]), (7, vec![3]), (8, vec![1]), (4, vec![])] {
            let head = &history.number(number).unwrap().head;
            let found: Vec<u64> = history
                .superseded_by(head)
                .map(|stored| stored.head.number)
                .collect();
            assert_eq!(found, superseded, "{number}");
        }
        // What stands stays, however long ago it came.
        assert_eq!(history.collection(1, &[]).numbers, [1, 5]);
    }

    #[test]
    fn whatever_is_begun_in_a_colour_overwrites_what_stood_there() {
        use Status::{Failed, InProgress, Succeeded, Superseded};
        let of = |number, status, color: &str, role: &str| {
            let mut stored = stored(number, status);
            if !color.is_empty() {
                stored.head.side = Side {
                    track: None,
                    color: Some(color.to_owned()),
                    role: Some(role.to_owned()),
                };
            }
            stored
        };
        let two = || {
            vec![
                of(1, Succeeded, "blue", PRIMARY),
                of(2, Succeeded, "green", STAGE),
            ]
        };
        for (later, stage, is_of_colors) in [
            (None, Some(2), true),
            (Some(of(3, Failed, "green", STAGE)), None, true),
            (Some(of(3, InProgress, "green", STAGE)), None, true),
            (Some(of(3, Superseded, "green", STAGE)), None, true),
            (Some(of(3, Succeeded, "green", STAGE)), Some(3), true),
            (Some(of(3, Failed, "blue", PRIMARY)), Some(2), true),
            (Some(of(3, Failed, "", "")), Some(2), false),
        ] {
            let mut all = two();
            all.extend(later);
            let history = History::new(all, Vec::new());
            let found = history.standing(STAGE).map(|stored| stored.head.number);
            assert_eq!((found, history.is_of_colors()), (stage, is_of_colors));
        }
        let first = vec![of(1, Failed, "blue", STAGE)];
        assert!(History::new(first, Vec::new()).is_of_colors());
        assert!(!History::default().is_of_colors());
    }

    #[test]
    fn what_may_run_beside_the_release_is_never_forgotten() {
        use Status::{Failed, Succeeded, Superseded};
        let canary = |number, status, workloads: &[&str]| {
            let mut stored = stored(number, status);
            stored.head.side = Side::canary();
            for name in workloads {
                let id = ObjectId {
                    group: "apps".to_owned(),
                    kind: "Deployment".to_owned(),
                    namespace: Some("shop".to_owned()),
                    name: (*name).to_owned(),
                };
                stored.head.track(id, None);
            }
            stored
        };
        let deleted = |mut stored: Stored| {
            let (unit, what) = CANARY_DELETED;
            stored.head.note(unit, "", what, Timestamp::UNIX_EPOCH);
            stored
        };
        let color = |number, status, color: &str| {
            let mut stored = stored(number, status);
            stored.head.side.color = Some(color.to_owned());
            stored.head.side.role = Some(STAGE.to_owned());
            stored
        };
        let (one, two) = (["web"].as_slice(), ["web", "api"].as_slice());
        for (beside, forgotten) in [
            (vec![canary(1, Failed, one)], vec![]),
            (vec![deleted(canary(1, Failed, one))], vec![1]),
            (
                vec![canary(1, Superseded, two), canary(2, Failed, one)],
                vec![],
            ),
            (
                vec![canary(1, Superseded, one), canary(2, Failed, two)],
                vec![1],
            ),
            (
                vec![canary(1, Superseded, two), deleted(canary(2, Failed, two))],
                vec![2],
            ),
            (vec![color(1, Failed, "blue")], vec![]),
            (
                vec![color(1, Failed, "blue"), color(2, Failed, "green")],
                vec![],
            ),
            (
                vec![color(1, Superseded, "blue"), color(2, Failed, "blue")],
                vec![1],
            ),
        ] {
            let mut all = beside;
            all.extend([8, 9].map(|number| stored(number, Succeeded)));
            let history = History::new(all, Vec::new());
            let gone = history.collection(1, &[]).numbers;
            let gone: Vec<u64> = gone.into_iter().filter(|number| *number != 8).collect();
            assert_eq!(gone, forgotten);
        }
    }

    #[test]
    fn equal_objects_are_found_as_long_as_all_their_parts_are_there() {
        let mut records = [1, 2, 3].map(|number| stored(number, Status::Succeeded));
        let [one, two, three] = &mut records;
        one.head.manifest_hash = "h".into();
        two.head.manifest_hash = "h".into();
        three.head.manifest_hash = "other".into();
        let parts = [1, 2].map(|number: u64| PartId::of("r", &number.to_be_bytes()));
        let history = History::new(records.into(), Vec::new());
        assert_eq!(history.parts_of("h", &parts), Some(&parts[1..]));
        assert_eq!(history.parts_of("h", &parts[..1]), Some(&parts[..1]));
        assert_eq!(history.parts_of("h", &[]), None);
        assert_eq!(history.parts_of("unknown", &parts), None);
        let mut unsaid = stored(1, Status::Failed);
        unsaid.head.manifest_hash = String::new();
        let history = History::new(vec![unsaid], Vec::new());
        assert_eq!(history.parts_of("", &parts), None);
    }

    #[test]
    fn another_owner_is_noticed() {
        let mut first = stored(1, Status::Succeeded);
        first.head.owner.service = "web".into();
        let history = History::new(vec![first], Vec::new());
        let api = Owner {
            service: "api".into(),
            ..Owner::default()
        };
        assert_eq!(history.another_owner(&api).unwrap().service, "web");
    }

    fn statuses() -> impl Strategy<Value = Vec<Option<Status>>> {
        use Status::{Failed, InProgress, Succeeded, Superseded};
        let one = prop_oneof![
            Just(None),
            Just(Some(Failed)),
            Just(Some(InProgress)),
            Just(Some(Succeeded)),
            Just(Some(Superseded))
        ];
        proptest::collection::vec(one, 0..20)
    }

    proptest! {
        #[test]
        fn collection_keeps_what_may_still_be_needed(statuses in statuses(), depth in 0usize..8) {
            let history = with_damage(&statuses);
            let orphan = PartId::of("r", b"orphan");
            let mut parts: Vec<PartId> = history.records().iter().flat_map(Stored::all_parts).cloned().collect();
            parts.push(orphan.clone());
            let collection = history.collection(depth, &parts);
            let damaged: Vec<u64> = history.unreadable().iter().filter_map(|record| record.number).collect();
            // Whether a damaged record that stays needs a part is not known.
            let all_known = damaged.iter().all(|number| collection.numbers.contains(number));
            prop_assert_eq!(collection.parts.contains(&orphan), all_known);
            for number in damaged.iter().filter(|number| collection.numbers.contains(number)) {
                prop_assert!(history.last_good(None).is_some_and(|good| good.head.number > *number));
                prop_assert_eq!(history.version(*number), Some("5"));
            }
            let kept: Vec<&Stored> = history.records().iter().filter(|s| !collection.numbers.contains(&s.head.number)).collect();
            for stored in &kept {
                prop_assert!(stored.all_parts().all(|part| !collection.parts.contains(part)));
            }
            if let Some(good) = history.last_good(None) {
                prop_assert!(kept.iter().any(|s| s.head.number == good.head.number));
            }
            if let Some(newest) = history.newest() {
                prop_assert!(kept.iter().any(|s| s.head.number == newest.head.number));
            }
            if history.last_good(None).is_none() && let Some(first) = damaged.iter().min() {
                prop_assert!(collection.numbers.iter().all(|number| number < first));
            }
            for stored in history.records() {
                if stored.head.status == Status::InProgress {
                    prop_assert!(!collection.numbers.contains(&stored.head.number));
                }
            }
            let count = u64::try_from(statuses.len()).unwrap();
            let newest_numbers: Vec<u64> = (1..=count).rev().take(depth).collect();
            prop_assert!(newest_numbers.iter().all(|n| !collection.numbers.contains(n)));
        }
    }
}
