//! Join tokens: `sortie-join.ID.SECRET.CA`.
//!
//! `ID` names the token, `SECRET` is 256 random bits of which the store knows only the SHA-256, `CA` is the SHA-256 of
//! the authority's certificate, so that a delegate's first contact is with the right server.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::Error;

const PREFIX: &str = "sortie-join";

/// A token just made.
pub(super) struct Minted {
    /// Public part.
    pub id: String,
    /// SHA-256 of the secret part.
    pub hash: Vec<u8>,
    /// The whole token.
    pub token: Zeroizing<String>,
}

/// Makes a token.
pub(super) fn mint(fingerprint: &[u8; 32]) -> Result<Minted, Error> {
    let random = SystemRandom::new();
    let mut id = [0; 9];
    let mut secret = Zeroizing::new([0; 32]);
    random.fill(&mut id).map_err(|_| Error::Random)?;
    random
        .fill(secret.as_mut_slice())
        .map_err(|_| Error::Random)?;
    let id = URL_SAFE_NO_PAD.encode(id);
    let encoded = Zeroizing::new(URL_SAFE_NO_PAD.encode(secret.as_slice()));
    let authority = URL_SAFE_NO_PAD.encode(fingerprint);
    Ok(Minted {
        token: Zeroizing::new(format!("{PREFIX}.{id}.{}.{authority}", encoded.as_str())),
        hash: hash(secret.as_slice()),
        id,
    })
}

/// The public part and the hash of the secret part, if the text has the form of a token.
pub(super) fn parse(token: &str) -> Option<(String, Vec<u8>)> {
    if token.len() > 256 {
        return None;
    }
    let mut parts = token.trim().split('.');
    let (prefix, id, secret, authority) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if prefix != PREFIX || parts.next().is_some() {
        return None;
    }
    let secret = Zeroizing::new(URL_SAFE_NO_PAD.decode(secret).ok()?);
    let authority = URL_SAFE_NO_PAD.decode(authority).ok()?;
    (secret.len() == 32 && authority.len() == 32).then(|| (id.to_owned(), hash(&secret)))
}

/// Whether two hashes are equal, in constant time.
pub(super) fn is_equal(stored: &[u8], given: &[u8]) -> bool {
    verify_slices_are_equal(stored, given).is_ok()
}

fn hash(secret: &[u8]) -> Vec<u8> {
    digest(&SHA256, secret).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back() {
        let minted = mint(&[9; 32]).unwrap();
        let (id, hash) = parse(&format!("{}\n", minted.token.as_str())).unwrap();
        assert_eq!(id, minted.id);
        assert!(is_equal(&hash, &minted.hash));
        let other = mint(&[9; 32]).unwrap();
        assert!(!is_equal(&other.hash, &minted.hash));
        assert_ne!(other.id, minted.id);
    }

    #[test]
    fn other_texts_are_no_tokens() {
        let minted = mint(&[9; 32]).unwrap();
        let token = minted.token.as_str();
        for text in [
            "",
            "sortie-join",
            "sortie-join.a.b.c",
            &token.replace("sortie-join", "sortie"),
            &format!("{token}.x"),
            &token[..token.len() - 2],
            &"x".repeat(10_000),
        ] {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
