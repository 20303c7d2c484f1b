//! What to do with the identity that is there, if any.

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;

use crate::identity::{Identity, JoinToken};

/// The next step on the way to a certificate that works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing: use it.
    Use,
    /// Enrol; where there is no key yet, make one first.
    Enrol,
    /// Renew; when it is not needed, the present certificate still works.
    Renew { is_needed: bool },
    /// Nothing can be done without a join token.
    NoToken,
}

/// Decides by what is stored, the token at hand, and the time.
pub(super) fn decide(
    identity: Option<&Identity>,
    token: Option<&JoinToken>,
    now: Timestamp,
    is_doubted: bool,
) -> Step {
    let Some(enrolment) = identity.and_then(|identity| identity.enrolment.as_ref()) else {
        return if token.is_some() {
            Step::Enrol
        } else {
            Step::NoToken
        };
    };
    // A token that was not used before, of an authority we do not know: another control plane.
    let is_other_server = token.is_some_and(|token| {
        token.id != enrolment.token
            && !enrolment
                .authorities
                .iter()
                .any(|authority| digest(&SHA256, authority).as_ref() == token.authority)
    });
    if is_other_server {
        Step::Enrol
    } else if is_doubted || now >= enrolment.not_after {
        Step::Renew { is_needed: true }
    } else if now >= enrolment.renew_at {
        Step::Renew { is_needed: false }
    } else {
        Step::Use
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use rustls::pki_types::CertificateDer;

    use super::*;
    use crate::identity::{Enrolment, PrivateKey};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn token(id: &str, authority: &[u8]) -> JoinToken {
        let hash = URL_SAFE_NO_PAD.encode(digest(&SHA256, authority));
        JoinToken::parse(&format!("sortie-join.{id}.c2VjcmV0.{hash}")).unwrap()
    }

    #[test]
    fn every_state_leads_to_a_certificate_or_to_a_clear_end() {
        let key = PrivateKey::generate().unwrap();
        let enrolment = Enrolment {
            delegate: "d".into(),
            chain: vec![CertificateDer::from(vec![1])],
            authorities: vec![CertificateDer::from(vec![2])],
            not_after: at(300),
            renew_at: at(200),
            token: "used".into(),
        };
        let bare = Identity {
            key: key.clone(),
            enrolment: None,
        };
        let full = Identity {
            key,
            enrolment: Some(enrolment),
        };
        let used = token("used", &[2]);
        let second = token("second", &[2]);
        let rotated = token("used", &[9]);
        let elsewhere = token("other", &[9]);
        let renew = |is_needed| Step::Renew { is_needed };
        let cases = [
            (None, None, 100, false, Step::NoToken),
            (None, Some(&used), 100, false, Step::Enrol),
            (Some(&bare), None, 100, false, Step::NoToken),
            (Some(&bare), Some(&used), 100, false, Step::Enrol),
            (Some(&full), None, 199, false, Step::Use),
            (Some(&full), Some(&used), 199, false, Step::Use),
            (Some(&full), Some(&second), 199, false, Step::Use),
            // The token's authority is an old one of the same control plane.
            (Some(&full), Some(&rotated), 199, false, Step::Use),
            (Some(&full), Some(&elsewhere), 199, false, Step::Enrol),
            (Some(&full), Some(&elsewhere), 999, true, Step::Enrol),
            (Some(&full), None, 200, false, renew(false)),
            (Some(&full), None, 299, false, renew(false)),
            (Some(&full), None, 300, false, renew(true)),
            (Some(&full), Some(&used), 99_999_999, false, renew(true)),
            (Some(&full), None, 100, true, renew(true)),
        ];
        for (identity, token, now, is_doubted, want) in cases {
            let step = decide(identity, token, at(now), is_doubted);
            assert_eq!(step, want, "{token:?} at {now}, doubted: {is_doubted}");
        }
    }
}
