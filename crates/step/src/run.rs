//! A step under way: what it was asked, what it works with, and whom it tells.

use std::sync::Arc;

use sortie_health::ClusterRules;
use sortie_manifest::{Object, labels};
use tokio::sync::OnceCell;

use crate::bounds::Bounds;
use crate::environment::Environment;
use crate::failure::{Failure, FailureKind};
use crate::health_rules;
use crate::policy::{Forbidden, Project};
use crate::report::{Level, Masked, Sink as _, Unit};
use crate::task::Task;
use crate::units::Units;

/// One step under way.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) task: &'a Task,
    pub(crate) env: &'a Environment,
    pub(crate) sink: &'a Masked,
    pub(crate) units: Units<'a>,
    pub(crate) bounds: Bounds<'a>,
    /// Rules for the health of all objects of a kind, once they are read.
    pub(crate) rules: OnceCell<Arc<ClusterRules>>,
}

impl Run<'_> {
    /// One line for people.
    pub(crate) fn info(&self, unit: Unit, text: impl AsRef<str>) {
        self.sink.log(unit, Level::Info, text.as_ref());
    }

    /// One line about what a person should look at.
    pub(crate) fn warn(&self, unit: Unit, text: impl AsRef<str>) {
        self.sink.log(unit, Level::Warning, text.as_ref());
    }

    /// The value of the release's label.
    pub(crate) fn release_id(&self) -> String {
        labels::release_id(&self.task.release.namespace, &self.task.release.name)
    }

    /// Rules for the health of all objects of a kind.
    pub(crate) async fn rules(&self) -> Result<Arc<ClusterRules>, Failure> {
        let read = || Box::pin(health_rules::of_run(self));
        self.rules.get_or_try_init(read).await.cloned()
    }

    /// Whether the cluster's owner allows the release's namespace.
    pub(crate) fn check_namespace(&self) -> Result<(), Failure> {
        let namespace = &self.task.release.namespace;
        let checked = self.env.policy.check_namespace(self.project(), namespace);
        checked.map_err(|error| forbidden(&error))
    }

    /// Whether the cluster's owner allows every object.
    pub(crate) fn check_objects(&self, objects: &[Object]) -> Result<(), Failure> {
        let namespace = &self.task.release.namespace;
        let checked = self
            .env
            .policy
            .check_objects(self.project(), namespace, objects);
        checked.map_err(|error| forbidden(&error))
    }

    fn project(&self) -> Project<'_> {
        Project {
            organisation: &self.task.requested_by.organisation,
            project: &self.task.requested_by.project,
        }
    }
}

fn forbidden(error: &Forbidden) -> Failure {
    let hint = "ask the cluster's owner to change the policy, or deploy elsewhere";
    Failure::new(
        FailureKind::Authorization,
        "SRT-T012",
        error.to_string(),
        hint,
    )
}
