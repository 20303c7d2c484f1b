//! Verbs that work straight on a cluster, with the same steps, records and leases as a delegate.

mod access;
pub(crate) mod cancel;
pub(crate) mod deploy;
pub(crate) mod diff;
mod follow;
pub(crate) mod health;
pub(crate) mod history;
mod objects;
pub(crate) mod promote;
pub(crate) mod render;
pub(crate) mod rollback;
mod said;
mod set;
mod sides;
pub(crate) mod status;
pub(crate) mod swap;
pub(crate) mod uninstall;
pub(crate) mod view;

use serde_json::Value;
use sortie_cluster::record::{History, RecordError, Records, Release};
use sortie_cluster::{Cause, Cluster, ConnectError, Options, Retry};

use crate::args::{ClusterArgs, ReleaseArgs};
use crate::exit::{Exit, Explain, Failure, Result};
use crate::names;

/// Connects; the namespace is the given one, else that of the context. A cluster that is away is told at once: later
/// requests are patient.
pub(crate) async fn connect(args: &ClusterArgs) -> Result<(Cluster, String)> {
    let options = Options {
        impersonate: access::impersonation(&args.server),
        ..Options::default()
    };
    let cluster = Cluster::connect(&access::access(args)?, options).await?;
    if let Err(error) = cluster.reachable().await
        && is_hopeless(&error)
    {
        return Err(error.into());
    }
    let namespace = match &args.namespace {
        Some(namespace) => namespace.clone(),
        None => names::namespace(cluster.default_namespace()).map_err(|rule| {
            Failure::usage(format!("the context's namespace cannot be one: {rule}"))
                .hint("name another one with --namespace")
        })?,
    };
    Ok((cluster, namespace))
}

/// Whether every other request would end in the same way. That somebody may not ask how the API server is means nothing.
fn is_hopeless(error: &sortie_cluster::Error) -> bool {
    let nobody = matches!(
        error.cause(),
        Cause::Unauthorized { .. } | Cause::NoCredentials { .. }
    );
    nobody || error.exit() == Exit::Unreachable
}

/// The records of the release that the arguments name.
async fn records(args: &ReleaseArgs) -> Result<(Cluster, Records)> {
    let (cluster, namespace) = connect(&args.cluster).await?;
    let release = Release::new(namespace, args.release.as_str())?;
    let records = Records::new(cluster.clone(), release);
    Ok((cluster, records))
}

/// As [`records`], with all of them; a release without any was never deployed.
async fn deployed(args: &ReleaseArgs) -> Result<(Cluster, Records, History)> {
    let (cluster, records) = records(args).await?;
    let history = records.history().await?;
    if history.is_empty() {
        return Err(history::nothing(records.release()));
    }
    Ok((cluster, records, history))
}

/// A number among the outputs of a step; 0 where there is none.
fn number(outputs: &Value, key: &str) -> u64 {
    outputs.get(key).and_then(Value::as_u64).unwrap_or_default()
}

/// A text among the outputs of a step; empty where there is none.
fn text<'a>(outputs: &'a Value, key: &str) -> &'a str {
    outputs.get(key).and_then(Value::as_str).unwrap_or_default()
}

impl Explain for ConnectError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn code(&self) -> &'static str {
        self.code()
    }

    fn hint(&self) -> Option<String> {
        Some(self.advice().to_owned())
    }
}

impl Explain for sortie_cluster::Error {
    fn exit(&self) -> Exit {
        match self.cause() {
            Cause::NoCredentials { .. } if self.retry() == Retry::Later => Exit::Unreachable,
            Cause::Unauthorized { .. }
            | Cause::NoCredentials { .. }
            | Cause::Forbidden { .. }
            | Cause::Denied { .. } => Exit::NotAllowed,
            Cause::Unreachable { .. } | Cause::TimedOut { .. } | Cause::Busy { .. } => {
                Exit::Unreachable
            }
            Cause::NotFound | Cause::NamespaceMissing { .. } => Exit::NotFound,
            Cause::Conflict { .. }
            | Cause::AlreadyExists
            | Cause::AnotherRelease { .. }
            | Cause::LeaseLost { .. } => Exit::Conflict,
            _ => Exit::Failed,
        }
    }

    fn code(&self) -> &'static str {
        self.code()
    }

    fn hint(&self) -> Option<String> {
        Some(self.advice().to_owned())
    }
}

impl Explain for sortie_manifest::ParseError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn code(&self) -> &'static str {
        self.code()
    }

    fn hint(&self) -> Option<String> {
        Some("correct the file at that place".to_owned())
    }
}

impl Explain for RecordError {
    fn exit(&self) -> Exit {
        match self {
            Self::InvalidName { .. } => Exit::Usage,
            Self::AnotherOwner { .. } | Self::TakenOver { .. } => Exit::Conflict,
            Self::Cluster(error) => error.exit(),
            _ => Exit::Failed,
        }
    }

    fn code(&self) -> &'static str {
        self.code()
    }

    fn hint(&self) -> Option<String> {
        Some(self.advice().to_owned())
    }
}
