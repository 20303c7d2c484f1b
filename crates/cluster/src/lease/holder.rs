//! Who holds a Lease, for people who ask.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::driver::{display_name, read_lease};
use crate::connect::Cluster;
use crate::error::Error;
use crate::resource::Resource;

/// The present holder of a Lease. Its times are those of the holder's clock: for people, never for decisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Who and what it is, as it calls itself.
    pub name: String,
    /// When it took the Lease.
    pub acquired_at: Option<Timestamp>,
    /// When it last renewed it.
    pub renewed_at: Option<Timestamp>,
    /// How long it may go on without renewing.
    pub lasts: Duration,
}

impl Holder {
    /// Who holds the Lease of this name; `None` when nobody does. A holder that was killed is named until another takes
    /// the Lease.
    ///
    /// # Errors
    /// The Lease cannot be read.
    pub async fn of(
        cluster: &Cluster,
        namespace: &str,
        lease: &str,
    ) -> Result<Option<Self>, Error> {
        let found = cluster
            .get(&Resource::leases(), Some(namespace), lease)
            .await?;
        Ok(found.as_ref().and_then(Self::read))
    }

    fn read(lease: &Value) -> Option<Self> {
        let seen = read_lease(lease);
        let time = |pointer: &str| lease.pointer(pointer)?.as_str()?.parse().ok();
        Some(Self {
            name: display_name(&seen.holder?),
            acquired_at: time("/spec/acquireTime"),
            renewed_at: time("/spec/renewTime"),
            lasts: seen.duration,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_lease_that_was_given_back_has_no_holder() {
        for (holder, expected) in [
            (
                json!("ann@laptop/0123456789abcdef0123456789abcdef"),
                Some("ann@laptop"),
            ),
            (json!(""), None),
            (json!(null), None),
        ] {
            let lease = json!({"spec": {
                "holderIdentity": holder, "leaseDurationSeconds": 15,
                "acquireTime": "2026-01-02T03:04:05.000000Z", "renewTime": "soon",
            }});
            let found = Holder::read(&lease);
            assert_eq!(found.as_ref().map(|holder| holder.name.as_str()), expected);
            if let Some(found) = found {
                assert_eq!(found.acquired_at.unwrap().as_second(), 1_767_323_045);
                assert_eq!((found.renewed_at, found.lasts.as_secs()), (None, 15));
            }
        }
    }
}
