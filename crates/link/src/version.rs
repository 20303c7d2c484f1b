//! Protocol versions: each side speaks the newest and the one before.

use crate::Error;

/// The newest version this code speaks.
pub const VERSION: u32 = 1;

/// The oldest version this code speaks: one before [`VERSION`], or the first.
pub const VERSION_MIN: u32 = 1;

/// Chooses the highest version both sides speak.
///
/// # Errors
///
/// [`Error::NoCommonVersion`] when the ranges do not meet or the peer's is upside down.
pub fn negotiate(peer_min: u32, peer_max: u32) -> Result<u32, Error> {
    let version = VERSION.min(peer_max);
    if peer_min <= peer_max && version >= VERSION_MIN && version >= peer_min {
        Ok(version)
    } else {
        Err(Error::NoCommonVersion { peer_min, peer_max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_meet_at_the_highest_common_version() {
        for (min, max, want) in [
            (VERSION, VERSION, Some(VERSION)),
            (0, VERSION, Some(VERSION)),
            (VERSION, VERSION + 1, Some(VERSION)),
            (VERSION + 1, VERSION + 2, None),
            (0, 0, None),
            (VERSION + 1, VERSION, None),
        ] {
            assert_eq!(negotiate(min, max).ok(), want, "{min}..={max}");
        }
    }
}
