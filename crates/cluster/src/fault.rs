//! Names for every place at which the cluster is written to, so that a test can kill or stop the
//! process before or after any of them.
//!
//! With the feature `fault-injection`, the environment variable `SORTIE_DIE_AT=apply:before` (or
//! `:after`, optionally followed by `:3` for the third time) aborts the process there, as `kill -9`
//! would; `SORTIE_STOP_AT` stops it there, until somebody sends SIGCONT. Without the feature the
//! variables are not read and [`pass`] does nothing.

/// A place at which something outside the process is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Point {
    /// The Lease of a release is made.
    LeaseCreate,
    /// The Lease of a release is taken from nobody or from an expired holder.
    LeaseTake,
    /// The Lease is renewed by its holder.
    LeaseRenew,
    /// The Lease is given back.
    LeaseRelease,
    /// The Lease of a release that is no more is deleted.
    LeaseDelete,
    /// A part of a release record is written.
    PartCreate,
    /// The head of a release record is written for the first time.
    HeadCreate,
    /// The head, with inventory and journal, is updated.
    HeadUpdate,
    /// An old head is removed.
    HeadDelete,
    /// A part that no head names any more is removed.
    PartDelete,
    /// What steps without a release number change is noted.
    ChangesWrite,
    /// The notes of a release that is no more are removed.
    ChangesDelete,
    /// The infrastructure namespace is made.
    NamespaceCreate,
    /// An object is applied.
    Apply,
    /// An object is changed by a JSON patch.
    Patch,
    /// An object is deleted.
    Delete,
    /// The delegate's identity is written for the first time.
    IdentityCreate,
    /// The delegate's certificate is written or replaced.
    IdentityUpdate,
}

/// Which side of the write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Nothing has been sent.
    Before,
    /// The answer has been received and nothing has been done with it.
    After,
}

impl Point {
    /// Every point, for tests that walk through all of them.
    pub const ALL: [Self; 18] = [
        Self::LeaseCreate,
        Self::LeaseTake,
        Self::LeaseRenew,
        Self::LeaseRelease,
        Self::LeaseDelete,
        Self::PartCreate,
        Self::HeadCreate,
        Self::HeadUpdate,
        Self::HeadDelete,
        Self::PartDelete,
        Self::ChangesWrite,
        Self::ChangesDelete,
        Self::NamespaceCreate,
        Self::Apply,
        Self::Patch,
        Self::Delete,
        Self::IdentityCreate,
        Self::IdentityUpdate,
    ];

    /// The name used in `SORTIE_DIE_AT` and in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LeaseCreate => "lease-create",
            Self::LeaseTake => "lease-take",
            Self::LeaseRenew => "lease-renew",
            Self::LeaseRelease => "lease-release",
            Self::LeaseDelete => "lease-delete",
            Self::PartCreate => "part-create",
            Self::HeadCreate => "head-create",
            Self::HeadUpdate => "head-update",
            Self::HeadDelete => "head-delete",
            Self::PartDelete => "part-delete",
            Self::ChangesWrite => "changes-write",
            Self::ChangesDelete => "changes-delete",
            Self::NamespaceCreate => "namespace-create",
            Self::Apply => "apply",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::IdentityCreate => "identity-create",
            Self::IdentityUpdate => "identity-update",
        }
    }
}

/// Called on both sides of every write.
#[cfg(not(feature = "fault-injection"))]
#[inline]
pub(crate) const fn pass(_point: Point, _side: Side) {}

/// Called on both sides of every write; ends or stops the process where a variable says so.
#[cfg(feature = "fault-injection")]
pub(crate) fn pass(point: Point, side: Side) {
    use std::sync::LazyLock;

    static DIE: LazyLock<Option<Order>> = LazyLock::new(|| Order::of_variable("SORTIE_DIE_AT"));
    static STOP: LazyLock<Option<Order>> = LazyLock::new(|| Order::of_variable("SORTIE_STOP_AT"));
    if DIE.as_ref().is_some_and(|order| order.is_due(point, side)) {
        std::process::abort();
    }
    if STOP.as_ref().is_some_and(|order| order.is_due(point, side)) {
        let me = rustix::process::getpid();
        let stopped = rustix::process::kill_process(me, rustix::process::Signal::STOP);
        if let Err(error) = stopped {
            tracing::error!(%error, "could not stop as SORTIE_STOP_AT asks");
        }
        // Another thread may take the signal: until all of them stand still, this one must not send anything.
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// Where and when to die or to stop.
#[cfg(any(test, feature = "fault-injection"))]
#[derive(Debug)]
struct Order {
    point: Point,
    side: Side,
    time: u32,
    passed: std::sync::atomic::AtomicU32,
}

#[cfg(any(test, feature = "fault-injection"))]
impl Order {
    /// Reads `point:side[:time]`.
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(':');
        let name = words.next()?;
        let point = Point::ALL.into_iter().find(|point| point.name() == name)?;
        let side = match words.next()? {
            "before" => Side::Before,
            "after" => Side::After,
            _ => return None,
        };
        let time = words.next().map_or(Some(1), |text| text.parse().ok())?;
        Some(Self {
            point,
            side,
            time,
            passed: std::sync::atomic::AtomicU32::new(0),
        })
    }

    #[cfg(feature = "fault-injection")]
    fn of_variable(name: &str) -> Option<Self> {
        #[expect(
            clippy::disallowed_methods,
            reason = "only test builds have this feature"
        )]
        let text = std::env::var(name).ok()?;
        Self::parse(&text)
    }

    /// Whether this passing is the one; counts it.
    fn is_due(&self, point: Point, side: Side) -> bool {
        use std::sync::atomic::Ordering;
        self.point == point
            && self.side == side
            && self.passed.fetch_add(1, Ordering::SeqCst) + 1 == self.time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_can_be_ordered_by_its_name() {
        for point in Point::ALL {
            let order = Order::parse(&format!("{}:after:3", point.name())).unwrap();
            let mut times = [0; 4].map(|_| order.is_due(point, Side::After));
            assert_eq!(times, [false, false, true, false], "{point:?}");
            times = [0; 4].map(|_| order.is_due(point, Side::Before));
            assert_eq!(times, [false; 4], "{point:?}");
        }
        let names: std::collections::HashSet<_> = Point::ALL.iter().map(|p| p.name()).collect();
        assert_eq!(names.len(), Point::ALL.len());
    }

    #[test]
    fn nonsense_orders_nothing() {
        for text in [
            "",
            "apply",
            "apply:during",
            "nowhere:before",
            "apply:before:x",
        ] {
            assert!(Order::parse(text).is_none(), "{text}");
        }
    }
}
