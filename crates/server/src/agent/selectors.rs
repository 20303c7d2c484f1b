//! The selectors that a connected instance answers to: its delegate's name, and the tags it says it has, but for the
//! names of other delegates. What is meant for a delegate by its name goes to no other.

use sortie_store::{DelegateRecord, Scope};

/// `tags` is what the instance said, `all` are all delegates that are known.
pub(super) fn answered(
    tags: &[String],
    delegate: &DelegateRecord,
    all: &[DelegateRecord],
) -> Vec<String> {
    let is_anothers = |tag: &str| {
        all.iter().any(|other| {
            other.name == tag
                && other.id != delegate.id
                && other.revoked_at.is_none()
                && overlap(&other.scope, &delegate.scope)
        })
    };
    let mut answered: Vec<String> = tags
        .iter()
        .filter(|tag| !is_anothers(tag))
        .cloned()
        .collect();
    if !answered.contains(&delegate.name) {
        answered.push(delegate.name.clone());
    }
    answered
}

/// Whether some task is in both scopes.
fn overlap(one: &Scope, other: &Scope) -> bool {
    let meet = |one: &Option<String>, other: &Option<String>| match (one, other) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    };
    meet(&one.org, &other.org) && meet(&one.project, &other.project)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn delegate(id: &str, name: &str, scope: Scope) -> DelegateRecord {
        DelegateRecord {
            id: id.to_owned(),
            name: name.to_owned(),
            scope,
            created_at: Timestamp::UNIX_EPOCH,
            seen_at: None,
            certificate_ends_at: None,
            revoked_at: None,
        }
    }

    #[test]
    fn a_tag_that_is_the_name_of_another_delegate_does_not_count() {
        let shop = || Scope::project("acme", "shop");
        let edge = delegate("1", "edge", shop());
        let revoked = DelegateRecord {
            revoked_at: Some(Timestamp::UNIX_EPOCH),
            ..delegate("2", "old", shop())
        };
        let all = [
            edge.clone(),
            revoked,
            delegate("3", "prod", shop()),
            delegate("4", "core", Scope::default()),
            delegate("5", "bank", Scope::project("acme", "bank")),
        ];
        for (said, want) in [
            (&[][..], &["edge"][..]),
            (&["eu", "edge"], &["eu", "edge"]),
            (&["prod", "eu", "core"], &["eu", "edge"]),
            (&["old", "bank"], &["old", "bank", "edge"]),
        ] {
            let said: Vec<String> = said.iter().map(|&tag| tag.to_owned()).collect();
            assert_eq!(answered(&said, &edge, &all), want, "{said:?}");
        }
    }
}
