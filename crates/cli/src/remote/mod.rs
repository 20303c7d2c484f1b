//! Verbs that talk to a control plane.

pub(crate) mod apply;
mod bundle;
pub(crate) mod delegates;

pub(crate) mod executions;
pub(crate) mod get;
pub(crate) mod install;
pub(crate) mod login;
pub(crate) mod logs;
mod reference;
mod secret_value;
pub(crate) mod watch;

use crate::Surroundings;
use crate::args::{Level, ScopeArgs};
use crate::client::Client;
use crate::exit::{Exit, Explain, Failure};
use crate::settings::Settings;

/// A control plane, and the organisation and project to work in.
#[derive(Debug)]
pub(crate) struct Remote {
    /// The connection.
    pub(crate) client: Client,
    org: Option<String>,
    project: Option<String>,
}

/// It is not known where to, or as whom.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotLoggedIn {
    #[error("no control plane is known")]
    NoServer,
    #[error("there is no token for the control plane at {server}")]
    NoToken { server: String },
}

impl Explain for NotLoggedIn {
    fn exit(&self) -> Exit {
        match self {
            Self::NoServer => Exit::Usage,
            Self::NoToken { .. } => Exit::NotAllowed,
        }
    }

    fn code(&self) -> &'static str {
        "SRT-Z003"
    }

    fn hint(&self) -> Option<String> {
        Some("run `sortie login URL`, or set SORTIE_SERVER and SORTIE_TOKEN".to_owned())
    }
}

impl Remote {
    /// The control plane of the settings. Sends nothing.
    pub(crate) fn connect(around: &Surroundings, scope: &ScopeArgs) -> Result<Self, Failure> {
        let remote = Self::of(Settings::load(&around.environment)?)?;
        Ok(Self {
            org: scope.org.clone().or(remote.org),
            project: scope.project.clone().or(remote.project),
            ..remote
        })
    }

    /// The control plane of these settings. Sends nothing.
    pub(crate) fn of(settings: Settings) -> Result<Self, Failure> {
        let server = settings.server.ok_or(NotLoggedIn::NoServer)?;
        let token = settings.token.ok_or_else(|| NotLoggedIn::NoToken {
            server: server.clone(),
        })?;
        let client = Client::new(&server, &token, settings.ca_file.as_deref())?;
        Ok(Self {
            client,
            org: settings.org,
            project: settings.project,
        })
    }

    /// The parameters that name the scope; what is not known the server takes as `default`.
    pub(crate) fn scope(&self, level: Level) -> Vec<(&'static str, String)> {
        let org = self.org.clone().map(|org| ("org", org));
        let project = self.project.clone().map(|project| ("project", project));
        match level {
            Level::Account => vec![("scope", "account".to_owned())],
            Level::Org => std::iter::once(("scope", "org".to_owned()))
                .chain(org)
                .collect(),
            Level::Project => org.into_iter().chain(project).collect(),
        }
    }
}
