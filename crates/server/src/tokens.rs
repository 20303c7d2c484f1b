//! API tokens: `sortie_<id>_<secret>`. The id finds the record, the secret (256 random bits) is
//! compared by its SHA-256 in constant time; only the hash is kept.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use sortie_store::{ApiToken, User};
use zeroize::Zeroizing;

const PREFIX: &str = "sortie_";
const ID_BYTES: usize = 9;
const SECRET_BYTES: usize = 32;

/// A new token: what is shown once, and what is stored.
pub struct Minted {
    /// The whole token.
    pub token: Zeroizing<String>,
    /// Its public part.
    pub id: String,
    /// SHA-256 of its secret part.
    pub hash: Vec<u8>,
}

/// The system's random source failed.
#[derive(Debug, thiserror::Error)]
#[error("could not get random bytes from the system")]
pub struct RandomError;

/// Makes a token.
pub fn mint() -> Result<Minted, RandomError> {
    let random = SystemRandom::new();
    let mut id = [0_u8; ID_BYTES];
    let mut secret = Zeroizing::new([0_u8; SECRET_BYTES]);
    random.fill(&mut id).map_err(|_| RandomError)?;
    random.fill(secret.as_mut()).map_err(|_| RandomError)?;
    // The id must not hold the separator.
    let id = URL_SAFE_NO_PAD.encode(id).replace('_', ".");
    let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(secret.as_ref()));
    let token = Zeroizing::new(format!("{PREFIX}{id}_{}", secret.as_str()));
    Ok(Minted {
        hash: hash(&secret),
        token,
        id,
    })
}

/// Splits a token from outside into id and hash of its secret; `None` when it is none.
#[must_use]
pub fn parse(token: &str) -> Option<(&str, Vec<u8>)> {
    let (id, secret) = token.strip_prefix(PREFIX)?.split_once('_')?;
    let plausible = !id.is_empty() && id.len() <= 64 && secret.len() <= 128;
    plausible.then(|| (id, hash(secret)))
}

/// Whether a stored token has this hash and is valid at this time.
#[must_use]
pub fn is_valid(stored: &ApiToken, hash: &[u8], now: Timestamp) -> bool {
    let equal = aws_lc_rs::constant_time::verify_slices_are_equal(&stored.hash, hash).is_ok();
    equal && stored.revoked_at.is_none() && stored.expires_at.is_none_or(|end| now < end)
}

/// Whether a text can say what a token is for.
#[must_use]
pub fn is_label(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= 128 && !text.chars().any(char::is_control)
}

/// The record of a new token.
#[must_use]
pub fn record(minted: &Minted, user: &User, label: &str, now: Timestamp) -> ApiToken {
    ApiToken {
        id: minted.id.clone(),
        user_id: user.id.clone(),
        hash: minted.hash.clone(),
        label: label.to_owned(),
        created_at: now,
        expires_at: None,
        revoked_at: None,
    }
}

fn hash(secret: &str) -> Vec<u8> {
    digest(&SHA256, secret.as_bytes()).as_ref().to_vec()
}

impl std::fmt::Debug for Minted {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Minted")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(minted: &Minted) -> ApiToken {
        let user = User {
            id: "u".to_owned(),
            name: "admin".to_owned(),
            role: "admin".to_owned(),
            created_at: Timestamp::UNIX_EPOCH,
        };
        record(minted, &user, "test", Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_minted_token_is_recognised_and_no_other() {
        for _ in 0..200 {
            let minted = mint().unwrap();
            let (id, hash) = parse(&minted.token).unwrap();
            assert_eq!(id, minted.id);
            let stored = stored(&minted);
            assert!(is_valid(&stored, &hash, Timestamp::UNIX_EPOCH));
            let (_, other) = parse(&format!("{}x", minted.token.as_str())).unwrap();
            assert!(!is_valid(&stored, &other, Timestamp::UNIX_EPOCH));
            assert!(!format!("{minted:?}").contains(minted.token.as_str()));
        }
    }

    #[test]
    fn an_expired_or_revoked_token_is_refused() {
        let minted = mint().unwrap();
        let end = Timestamp::from_second(100).unwrap();
        let expiring = ApiToken {
            expires_at: Some(end),
            ..stored(&minted)
        };
        let before = Timestamp::from_second(99).unwrap();
        assert!(is_valid(&expiring, &minted.hash, before));
        assert!(!is_valid(&expiring, &minted.hash, end));
        let revoked = ApiToken {
            revoked_at: Some(before),
            ..stored(&minted)
        };
        assert!(!is_valid(&revoked, &minted.hash, before));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let long = format!("sortie_{}_x", "a".repeat(65));
        for text in [
            "",
            "sortie",
            "sortie_",
            "sortie_a",
            "sortie__b",
            "other_a_b",
            &long,
        ] {
            assert!(parse(text).is_none(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_token_or_none(text in "(sortie_)?[\\PC_]{0,200}") {
            if let Some((id, hash)) = parse(&text) {
                proptest::prop_assert!(!id.is_empty() && hash.len() == 32);
            }
        }
    }
}
