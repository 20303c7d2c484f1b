//! The scope a request is about: `?org=…&project=…`, both `default` unless said; `?scope=account`
//! or `?scope=org` for what lives above a project.

use serde::{Deserialize, Serialize};
use sortie_store::Scope;
use utoipa::{IntoParams, ToSchema};

use crate::problem::{Code, Problem};

/// The organisation and the project that are used when a request names none.
pub(super) const DEFAULT: &str = "default";

/// Which level of scope.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// The whole server.
    Account,
    /// An organisation.
    Org,
    /// A project.
    #[default]
    Project,
}

/// The scope parameters of a request.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct ScopeQuery {
    /// Organisation; `default` unless said.
    pub org: Option<String>,
    /// Project; `default` unless said.
    pub project: Option<String>,
    /// Level, when it is not a project.
    pub scope: Option<Level>,
}

impl ScopeQuery {
    /// The scope the request is about.
    pub(super) fn resolve(&self) -> Result<Scope, Problem> {
        let org = || self.org.as_deref().unwrap_or(DEFAULT);
        let scope = match self.scope.unwrap_or_default() {
            Level::Account => Scope::default(),
            Level::Org => Scope {
                org: Some(org().to_owned()),
                project: None,
            },
            Level::Project => Scope::project(org(), self.project.as_deref().unwrap_or(DEFAULT)),
        };
        for identifier in [&scope.org, &scope.project].into_iter().flatten() {
            check_identifier(identifier)?;
        }
        Ok(scope)
    }
}

/// Refuses what cannot be an identifier.
pub(super) fn check_identifier(text: &str) -> Result<(), Problem> {
    let mut bytes = text.bytes();
    let valid = text.len() <= 128
        && bytes
            .next()
            .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$'));
    if valid {
        return Ok(());
    }
    let shown: String = text.chars().take(64).collect();
    Err(
        Problem::new(Code::Malformed, format!("`{shown}` is no identifier")).hint(
            "identifiers are letters, digits and `_`, at most 128, and do not start with a digit",
        ),
    )
}

/// A scope for people.
#[must_use]
pub fn describe(scope: &Scope) -> String {
    match (&scope.org, &scope.project) {
        (Some(org), Some(project)) => format!("project {org}/{project}"),
        (Some(org), None) => format!("organisation {org}"),
        _ => "the account".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_checked() {
        for good in ["a", "_x", "A9_$", &"a".repeat(128)] {
            assert!(check_identifier(good).is_ok(), "{good}");
        }
        for bad in ["", "9a", "a-b", "a/b", "a b", "ä", "..", &"a".repeat(129)] {
            assert!(check_identifier(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_default_scope_is_a_project() {
        let scope = ScopeQuery::default().resolve().unwrap();
        assert_eq!(scope, Scope::project("default", "default"));
        let account = ScopeQuery {
            scope: Some(Level::Account),
            ..ScopeQuery::default()
        };
        assert_eq!(account.resolve().unwrap(), Scope::default());
        let org = ScopeQuery {
            scope: Some(Level::Org),
            org: Some("acme".to_owned()),
            project: None,
        };
        assert_eq!(org.resolve().unwrap().org.as_deref(), Some("acme"));
    }
}
