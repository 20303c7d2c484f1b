//! The right to write, as every single request is checked against it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::state::Terms;
use crate::clock::{self, Boottime};

/// The right to write to one release. Cheap to clone; checked before every request.
#[derive(Clone, Debug)]
pub struct Guard {
    lease: Option<Arc<Lease>>,
}

#[derive(Debug)]
struct Lease {
    fence: u32,
    terms: Terms,
    standing: watch::Receiver<Standing>,
}

/// How a held Lease stands.
#[derive(Clone, Debug)]
pub(super) enum Standing {
    /// The last renewal that succeeded was sent then.
    Renewed(Boottime),
    /// It is not ours any more.
    Lost(Lost),
}

/// How the right to write ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Lost {
    /// Somebody else took the Lease.
    #[error("{holder} has taken the lease over")]
    Taken {
        /// The new holder, as the Lease names it.
        holder: String,
    },
    /// It could not be renewed in time and still cannot.
    #[error("the lease could not be renewed for {} s", .after.as_secs())]
    NotRenewed {
        /// How long.
        after: Duration,
    },
    /// We gave it back ourselves.
    #[error("the lease has been given back")]
    Released,
}

impl Guard {
    /// The right to write where no release is concerned, such as the delegate's own identity.
    pub const fn unfenced() -> Self {
        Self { lease: None }
    }

    pub(super) fn new(fence: u32, terms: Terms, standing: watch::Receiver<Standing>) -> Self {
        Self {
            lease: Some(Arc::new(Lease {
                fence,
                terms,
                standing,
            })),
        }
    }

    /// The fence: what every record written under this right carries. 0 when unfenced.
    pub fn fence(&self) -> u32 {
        self.lease.as_ref().map_or(0, |lease| lease.fence)
    }

    /// Whether a request may be sent now, and within what time it must end (`None`: no limit).
    ///
    /// This is the last act before a request is sent.
    pub fn check(&self) -> Result<Option<Duration>, Lost> {
        let Some(lease) = &self.lease else {
            return Ok(None);
        };
        let standing = lease.standing.borrow();
        let renewed = match &*standing {
            Standing::Renewed(renewed) => *renewed,
            Standing::Lost(lost) => return Err(lost.clone()),
        };
        let age = clock::boottime().since(renewed);
        match lease.terms.left_to_write(age) {
            Some(left) => Ok(Some(left)),
            None => Err(Lost::NotRenewed { after: age }),
        }
    }

    /// As [`check`](Self::check), but a Lease that is merely overdue gets one more duration to be
    /// renewed: after an outage of the API server its renewal and our write come back together.
    pub(crate) async fn permit(&self) -> Result<Option<Duration>, Lost> {
        let lost = match self.check() {
            Err(lost @ Lost::NotRenewed { .. }) => lost,
            decided => return decided,
        };
        let Some(lease) = &self.lease else {
            return Ok(None);
        };
        let mut standing = lease.standing.clone();
        let renewal = async {
            while standing.changed().await.is_ok() {
                match self.check() {
                    Err(Lost::NotRenewed { .. }) => {}
                    decided => return decided,
                }
            }
            self.check()
        };
        tokio::time::timeout(lease.terms.duration(), renewal)
            .await
            .unwrap_or(Err(lost))
    }

    /// Resolves when the right to write is lost for good; never for an unfenced one.
    pub async fn lost(&self) -> Lost {
        let Some(lease) = &self.lease else {
            return std::future::pending().await;
        };
        let mut standing = lease.standing.clone();
        let ended = standing
            .wait_for(|standing| matches!(standing, Standing::Lost(_)))
            .await;
        match ended.as_deref() {
            Ok(Standing::Lost(lost)) => lost.clone(),
            _ => Lost::Released,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(renewed: Boottime) -> (watch::Sender<Standing>, Guard) {
        let (sender, receiver) = watch::channel(Standing::Renewed(renewed));
        (
            sender,
            Guard::new(7, Terms::new(Duration::from_secs(15)), receiver),
        )
    }

    #[test]
    fn a_fresh_lease_permits_until_its_end() {
        let (_sender, guard) = guard(clock::boottime());
        let left = guard.check().unwrap().unwrap();
        assert!(
            left > Duration::from_secs(14) && left <= Duration::from_secs(15),
            "{left:?}"
        );
        assert_eq!(guard.fence(), 7);
        assert_eq!(Guard::unfenced().check(), Ok(None));
    }

    #[test]
    fn an_overdue_lease_permits_nothing() {
        let now = clock::boottime();
        let (_sender, guard) = guard(Boottime::new(
            now.since(Boottime::new(Duration::from_secs(10))),
        ));
        assert!(matches!(guard.check(), Err(Lost::NotRenewed { .. })));
    }

    #[tokio::test]
    async fn an_overdue_lease_that_is_renewed_permits_again() {
        let (sender, guard) = guard(Boottime::new(Duration::ZERO));
        let renew = async {
            tokio::task::yield_now().await;
            sender.send(Standing::Renewed(clock::boottime())).unwrap();
        };
        let (permitted, ()) = tokio::join!(guard.permit(), renew);
        assert!(permitted.is_ok(), "{permitted:?}");
    }

    #[tokio::test]
    async fn a_lost_lease_never_comes_back() {
        let (sender, guard) = guard(clock::boottime());
        let lost = Lost::Taken { holder: "b".into() };
        sender.send(Standing::Lost(lost.clone())).unwrap();
        assert_eq!(guard.check(), Err(lost.clone()));
        assert_eq!(guard.permit().await, Err(lost.clone()));
        assert_eq!(guard.lost().await, lost);
    }
}
