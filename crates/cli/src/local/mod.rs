//! Verbs that work straight on a cluster, with the same steps, records and leases as a delegate.

pub(crate) mod deploy;
mod follow;
pub(crate) mod history;
pub(crate) mod rollback;
mod said;
pub(crate) mod status;

use sortie_cluster::record::{RecordError, Records, Release};
use sortie_cluster::{Access, Cause, Cluster, ConnectError, Options};

use crate::args::{ClusterArgs, ReleaseArgs};
use crate::exit::{Exit, Explain, Result};

/// Connects; the namespace is the given one, else that of the context. A cluster that is away is told at once: later
/// requests are patient.
pub(crate) async fn connect(args: &ClusterArgs) -> Result<(Cluster, String)> {
    let ClusterArgs {
        kubeconfig,
        kube_context,
        namespace,
    } = args;
    let access = Access::Kubeconfig {
        path: kubeconfig.clone(),
        context: kube_context.clone(),
    };
    let cluster = Cluster::connect(&access, Options::default()).await?;
    if let Err(error) = cluster.reachable().await
        && error.exit() == Exit::Unreachable
    {
        return Err(error.into());
    }
    let namespace = namespace
        .clone()
        .unwrap_or_else(|| cluster.default_namespace().to_owned());
    Ok((cluster, namespace))
}

/// The records of the release that the arguments name.
async fn records(args: &ReleaseArgs) -> Result<(Cluster, Records)> {
    let (cluster, namespace) = connect(&args.cluster).await?;
    let release = Release::new(namespace, args.release.as_str())?;
    let records = Records::new(cluster.clone(), release);
    Ok((cluster, records))
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
            Cause::Unauthorized { .. } | Cause::Forbidden { .. } | Cause::Denied { .. } => {
                Exit::NotAllowed
            }
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
