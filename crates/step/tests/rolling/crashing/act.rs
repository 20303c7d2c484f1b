//! Steps without a release number, as a process carries them out.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sortie_step::task::{
    Action, Amount, Apply, Patch, PatchKind, Resources, Rollout, RolloutCommand, Scale, Task,
};
use sortie_strategy::routing::Routing;
use sortie_testkit::Crds;

use crate::applying::set;
use crate::scaling::in_execution;
use crate::world::{World, config, documents, inline};

/// The execution that all of them belong to.
const EXECUTION: &str = "e1";

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Act {
    /// Three times as many pods: done twice, they would be nine times as many.
    Scale,
    /// An addition to a list: done twice, it would be there twice.
    Patch,
    /// A new object, a changed one, and one that is as it should be.
    Apply,
    /// The revision before the present one: done twice, it would be the present one.
    GoBack,
    /// A new route with its conditions, and another one that has other weights.
    Route,
    /// All of it is undone.
    Undo,
}

impl Act {
    pub(crate) fn action(self) -> Action {
        match self {
            Self::Scale => Action::Scale(Scale {
                workload: "Deployment/web".to_owned(),
                to: Amount::Percent(300),
                skip_steady_state_check: false,
            }),
            Self::Patch => Action::Patch(Patch {
                workload: "Deployment/web".to_owned(),
                kind: PatchKind::Json,
                content: inline(&[("patch.yaml", ADDITION)]),
                context: Value::Null,
                change_cause: true,
                skip_steady_state_check: false,
            }),
            Self::Apply => Action::Apply(Apply {
                set: set(&documents(&[
                    &config("beside", "1"),
                    &config("changed", "2"),
                    &config("same", "1"),
                ])),
                skip_steady_state_check: false,
            }),
            Self::GoBack => Action::Rollout(Rollout {
                command: RolloutCommand::Undo { to_revision: None },
                resources: Resources::Names(vec!["Deployment/web".to_owned()]),
            }),
            Self::Route => Action::TrafficRouting(Routing::Config(crate::routing::mesh())),
            // What the rollback itself does comes after that, and waits for it.
            Self::Undo => Action::Scale(Scale {
                workload: "Deployment/web".to_owned(),
                to: Amount::Count(1),
                skip_steady_state_check: false,
            }),
        }
    }

    /// The task, of its execution.
    pub(crate) fn task(self) -> Task {
        let mut task = in_execution(crate::world::task(self.action()), EXECUTION);
        task.undo_changes = self == Self::Undo;
        task
    }

    /// The same in a world before its story.
    pub(crate) async fn carry_out(self, world: &World) {
        let mut task = self.task();
        world
            .namespace
            .name()
            .clone_into(&mut task.release.namespace);
        world.run(&task).await.outputs();
    }

    /// What [`Act::Route`] finds.
    pub(crate) async fn prepare_routes(world: &World) {
        world.cluster.install_crds(Crds::Smi).await.unwrap();
        world.given(SPLIT).await;
    }

    /// What [`Act::Apply`] finds.
    pub(crate) async fn prepare(world: &World) {
        let yaml = documents(&[&config("changed", "1"), &config("same", "1")]);
        world.given(&yaml).await;
    }
}

const ADDITION: &str = "- {op: add, path: /spec/template/spec/containers/-, value: {name: more, image: 'example.com/more:1'}}";

const SPLIT: &str = "apiVersion: split.smi-spec.io/v1alpha4\nkind: TrafficSplit\nmetadata: {name: shop-all}\nspec: {service: web, backends: [{service: web, weight: 100}, {service: web-canary, weight: 0}]}\n";
