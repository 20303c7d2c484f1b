//! What is going on when a process dies.

use std::sync::Arc;

use sortie_cluster::fault::Point;
use sortie_step::Outcome;
use sortie_step::task::{Action, Amount};
use tokio_util::sync::CancellationToken;

use super::act::Act;
use super::colors::Coloring;
use super::observer::Sharing;
use super::process::Deed;
use crate::canarying::canary;
use crate::coloring::{SERVICE, blue_green};
use crate::progressing::progressive;
use crate::world::{Log, World, config, documents, plain};

/// A step to carry out, and the world that it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Story {
    /// The first release, in a namespace that the set brings.
    First,
    /// Version 1 is replaced by version 2, and what only version 1 had is pruned.
    Second,
    /// Version 2 did not get ready and is undone.
    Undo,
    /// Version 1 is chosen though version 2 is good.
    Choose,
    /// Jobs run before and after everything else, a second time.
    Hooks,
    /// A definition, objects of its kind and waves of others.
    Waves,
    /// What kubectl has applied is taken over.
    Adopt,
    /// One pod of version 2 beside version 1.
    Canary,
    /// The canary of version 2 goes.
    CanaryDelete,
    /// A router gives the canary of version 2 its share, by a route that is made and one that somebody wrote.
    RoutedCanary,
    /// It loses its share, and goes.
    RoutedCanaryDelete,
    /// Version 2 gets its share of the pods.
    Progressive,
    /// It gets all of them, and becomes the release.
    Promotion,
    /// It gives them back, and goes.
    ProgressiveBack,
    /// Version 2 in the colour without traffic.
    BlueGreen,
    /// Version 2 gets the traffic, or loses its pods, and all that back.
    Color(Coloring),
    /// A release goes with everything it owns.
    Uninstall,
    /// A workload gets more pods.
    Scale,
    /// A workload gets one more container.
    Patch,
    /// Objects come beside any release.
    Apply,
    /// A workload goes back to its former revision.
    GoBack,
    /// Requests are routed by weights and conditions.
    Route,
    /// What an execution has patched and applied is undone.
    UndoChanges,
}

impl Story {
    pub(crate) const ALL: [Self; 26] = [
        Self::First,
        Self::Second,
        Self::Undo,
        Self::Choose,
        Self::Hooks,
        Self::Waves,
        Self::Adopt,
        Self::Canary,
        Self::CanaryDelete,
        Self::RoutedCanary,
        Self::RoutedCanaryDelete,
        Self::Progressive,
        Self::Promotion,
        Self::ProgressiveBack,
        Self::BlueGreen,
        Self::Color(Coloring::Swap),
        Self::Color(Coloring::SwapBack),
        Self::Color(Coloring::Down),
        Self::Color(Coloring::Up),
        Self::Uninstall,
        Self::Scale,
        Self::Patch,
        Self::Apply,
        Self::GoBack,
        Self::Route,
        Self::UndoChanges,
    ];

    /// The writes that happen in it.
    pub(crate) const fn points(self) -> &'static [Point] {
        use Point::{
            Apply, ChangesDelete, ChangesWrite, Delete, HeadCreate, HeadDelete, HeadUpdate,
            LeaseCreate, LeaseDelete, LeaseRelease, LeaseRenew, LeaseTake, NamespaceCreate,
            PartCreate, PartDelete, Patch,
        };
        match self {
            Self::First => &[
                NamespaceCreate,
                LeaseCreate,
                LeaseRenew,
                LeaseRelease,
                PartCreate,
                HeadCreate,
                HeadUpdate,
                Apply,
            ],
            Self::Second | Self::Hooks => &[
                LeaseTake,
                LeaseRenew,
                LeaseRelease,
                PartCreate,
                HeadCreate,
                HeadUpdate,
                HeadDelete,
                PartDelete,
                Apply,
                Delete,
            ],
            // A rollback may be over before its lease is renewed.
            Self::Undo => &[
                LeaseTake,
                LeaseRelease,
                PartCreate,
                HeadUpdate,
                Apply,
                Delete,
            ],
            Self::Choose => &[
                LeaseTake,
                LeaseRelease,
                PartCreate,
                HeadCreate,
                HeadUpdate,
                HeadDelete,
                PartDelete,
                Apply,
                Delete,
            ],
            Self::Waves => &[
                LeaseCreate,
                LeaseRelease,
                PartCreate,
                HeadCreate,
                HeadUpdate,
                Apply,
            ],
            Self::Adopt => &[
                LeaseCreate,
                LeaseRelease,
                PartCreate,
                HeadCreate,
                HeadUpdate,
                Apply,
                Patch,
            ],
            Self::Canary | Self::BlueGreen => &[
                LeaseTake,
                LeaseRenew,
                LeaseRelease,
                PartCreate,
                HeadCreate,
                HeadUpdate,
                Apply,
            ],
            Self::CanaryDelete => &[LeaseTake, LeaseRelease, HeadUpdate, Delete],
            Self::RoutedCanary => &[
                LeaseTake,
                LeaseRenew,
                LeaseRelease,
                PartCreate,
                HeadCreate,
                HeadUpdate,
                ChangesWrite,
                Apply,
                Patch,
            ],
            Self::RoutedCanaryDelete => &[LeaseTake, LeaseRelease, HeadUpdate, Patch, Delete],
            Self::Progressive => &[
                LeaseTake,
                LeaseRenew,
                LeaseRelease,
                PartCreate,
                HeadCreate,
                HeadUpdate,
                Apply,
                Patch,
            ],
            Self::Promotion => &[
                LeaseTake,
                LeaseRenew,
                LeaseRelease,
                PartCreate,
                HeadCreate,
                HeadUpdate,
                HeadDelete,
                PartDelete,
                Apply,
                Patch,
                Delete,
            ],
            Self::ProgressiveBack => &[LeaseTake, LeaseRelease, HeadUpdate, Patch, Delete],
            Self::Color(Coloring::Swap | Coloring::LocalSwap) => {
                &[LeaseTake, LeaseRelease, HeadUpdate, Patch]
            }
            Self::Color(Coloring::SwapBack | Coloring::Up) => {
                &[LeaseTake, LeaseRelease, HeadUpdate, Apply, Patch]
            }
            Self::Color(Coloring::Down) => &[
                LeaseTake,
                LeaseRelease,
                PartCreate,
                HeadUpdate,
                Delete,
                Patch,
            ],
            Self::Uninstall => &[
                LeaseTake,
                LeaseRelease,
                LeaseDelete,
                HeadUpdate,
                HeadDelete,
                PartDelete,
                ChangesDelete,
                Delete,
            ],
            Self::Scale | Self::Patch | Self::GoBack => {
                &[LeaseTake, LeaseRelease, ChangesWrite, Patch]
            }
            Self::Apply | Self::Route => &[LeaseCreate, LeaseRelease, ChangesWrite, Apply, Patch],
            Self::UndoChanges => &[LeaseTake, LeaseRelease, ChangesWrite, Patch, Delete],
        }
    }

    /// Numbers and states of the records at its end.
    pub(crate) const fn records(self) -> &'static [(u64, &'static str)] {
        match self {
            Self::First | Self::Waves | Self::Adopt => &[(1, "Succeeded")],
            Self::Second | Self::Hooks => &[(2, "Succeeded")],
            Self::Undo => &[(1, "Succeeded"), (2, "Failed")],
            Self::Choose => &[(3, "Succeeded")],
            Self::Canary
            | Self::RoutedCanary
            | Self::Progressive
            | Self::BlueGreen
            | Self::Color(_) => &[(1, "Succeeded"), (2, "Succeeded")],
            Self::Promotion => &[(4, "Succeeded")],
            Self::CanaryDelete | Self::RoutedCanaryDelete | Self::ProgressiveBack => {
                &[(1, "Succeeded"), (2, "Superseded")]
            }
            Self::Scale | Self::Patch => &[(1, "Succeeded")],
            Self::GoBack => &[(2, "Succeeded")],
            Self::Uninstall | Self::Apply | Self::Route | Self::UndoChanges => &[],
        }
    }

    /// The namespace of the release.
    pub(crate) fn namespace(self, world: &World) -> String {
        let name = world.namespace.name();
        match self {
            Self::First => format!("{name}-own"),
            _ => name.to_owned(),
        }
    }

    /// The world before the step.
    pub(crate) async fn prepare(self, world: &World) {
        match self {
            Self::First | Self::Waves => {}
            Self::Progressive => {
                world.deploy(plain(&shared(1))).await.outputs();
            }
            Self::Promotion | Self::ProgressiveBack => {
                world.deploy(plain(&shared(1))).await.outputs();
                let half = progressive(plain(&shared(2)), 50);
                world.run(&world.task(half)).await.outputs();
            }
            Self::Second | Self::Canary | Self::Scale | Self::Patch => {
                world.deploy(plain(&version(1))).await.outputs();
            }
            Self::Uninstall => {
                world.deploy(plain(&version(1))).await.outputs();
                Act::Patch.carry_out(world).await;
            }
            Self::Color(coloring) => coloring.prepare(world).await,
            Self::Apply => Act::prepare(world).await,
            Self::Route => Act::prepare_routes(world).await,
            Self::GoBack => {
                world.deploy(plain(&version(1))).await.outputs();
                world.deploy(plain(&version(2))).await.outputs();
            }
            Self::UndoChanges => {
                Act::prepare(world).await;
                world.given(&version(1)).await;
                for act in [Act::Patch, Act::Apply] {
                    act.carry_out(world).await;
                }
            }
            Self::Hooks => {
                world.deploy(plain(&hooks(1))).await.outputs();
            }
            Self::Undo => {
                world.deploy(plain(&version(1))).await.outputs();
                stuck(world).await;
            }
            Self::Choose => {
                world.deploy(plain(&version(1))).await.outputs();
                // Both records are kept.
                let mut env = world.env(Arc::new(Log::default()));
                env.limits.history = 5;
                let task = world.task(Action::RollingDeploy(plain(&version(2))));
                let outcome = sortie_step::run(&task, &env).await;
                assert!(matches!(outcome, Outcome::Succeeded { .. }), "{outcome:?}");
            }
            Self::RoutedCanary => {
                world.deploy(plain(&version(1))).await.outputs();
                Act::prepare_routes(world).await;
            }
            Self::RoutedCanaryDelete => {
                world.deploy(plain(&version(1))).await.outputs();
                Act::prepare_routes(world).await;
                let canary = Deed::RoutedCanary(version(2)).action();
                world.run(&world.task(canary)).await.outputs();
            }
            Self::CanaryDelete => {
                world.deploy(plain(&version(1))).await.outputs();
                let canary = canary(plain(&version(2)), Amount::Count(1));
                world.run(&world.task(canary)).await.outputs();
            }
            Self::BlueGreen => {
                let first = blue_green(plain(&version(1)));
                world.run(&world.task(first)).await.outputs();
                for (service, color) in [("web", "blue"), ("web-stage", "green")] {
                    let patch =
                        format!(r#"{{"spec": {{"selector": {{"sortie.dev/color": "{color}"}}}}}}"#);
                    world
                        .kubectl(&["patch", "service", service, "-p", &patch], "")
                        .await;
                }
            }
            Self::Adopt => {
                world.given(&version(1)).await;
                world
                    .kubectl(
                        &["rollout", "status", "deployment/web", "--timeout=60s"],
                        "",
                    )
                    .await;
            }
        }
    }

    /// The step, on the release of this namespace.
    pub(crate) fn deed(self, namespace: &str) -> Deed {
        match self {
            Self::Undo => Deed::Rollback(None),
            Self::Choose => Deed::Rollback(Some(1)),
            Self::Uninstall => Deed::Uninstall,
            Self::First => {
                let own =
                    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n");
                Deed::Deploy(documents(&[&version(2), &own]))
            }
            Self::Second => Deed::Deploy(version(2)),
            Self::Adopt => Deed::Deploy(version(1)),
            Self::Hooks => Deed::Deploy(hooks(2)),
            Self::Waves => Deed::Deploy(waves(namespace)),
            Self::Canary => Deed::Canary(version(2)),
            Self::RoutedCanary => Deed::RoutedCanary(version(2)),
            Self::CanaryDelete | Self::RoutedCanaryDelete => Deed::CanaryDelete,
            Self::Progressive => Deed::Progressive(shared(2), 50),
            Self::Promotion => Deed::Progressive(shared(2), 100),
            Self::ProgressiveBack => Deed::ProgressiveBack,
            Self::BlueGreen => Deed::BlueGreen(version(2)),
            Self::Color(coloring) => Deed::Color(coloring),
            Self::Scale => Deed::Act(Act::Scale),
            Self::Patch => Deed::Act(Act::Patch),
            Self::Apply => Deed::Act(Act::Apply),
            Self::Route => Deed::Act(Act::Route),
            Self::GoBack => Deed::Act(Act::GoBack),
            Self::UndoChanges => Deed::Act(Act::Undo),
        }
    }

    /// What its workload shares with a canary while it is told.
    pub(crate) const fn sharing(self) -> Option<Sharing> {
        let percent = match self {
            Self::Progressive => 50,
            Self::Promotion => 100,
            Self::ProgressiveBack => 0,
            _ => return None,
        };
        Some(Sharing {
            pods: SHARED,
            percent,
        })
    }

    /// Removes what it has left outside the test's namespace.
    pub(crate) async fn clean(self, world: &World, namespace: &str) {
        let (kind, name) = match self {
            Self::First => ("namespace", namespace.to_owned()),
            Self::Waves => ("crd", format!("widgets.{namespace}.example.com")),
            _ => return,
        };
        world
            .kubectl(
                &["delete", kind, &name, "--wait=false", "--ignore-not-found"],
                "",
            )
            .await;
    }
}

/// Version 2 begins, does not get ready, and is given up.
async fn stuck(world: &World) {
    let slow = version(2).replace("containers:", "schedulerName: nobody\n      containers:");
    let task = world.task(Action::RollingDeploy(plain(&slow)));
    let log = Arc::new(Log::default());
    let mut env = world.env(log.clone());
    env.cancel = CancellationToken::new();
    let cancel = async {
        log.says("Progressing").await;
        env.cancel.cancel();
    };
    let (outcome, ()) = tokio::join!(sortie_step::run(&task, &env), cancel);
    assert!(matches!(outcome, Outcome::Aborted), "{outcome:?}");
    // Its controller has done what it can.
    let wait = "--for=jsonpath={.status.unavailableReplicas}=1";
    world
        .kubectl(&["wait", wait, "deployment/web", "--timeout=60s"], "")
        .await;
}

/// A ConfigMap whose name follows its content.
fn settings(number: u32) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\ndata: {{a: \"{number}\"}}\n"
    )
}

/// A Deployment that is healthy only after its lease was renewed.
fn web(number: u32) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  minReadySeconds: 1
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: web
          image: example.com/web:{number}
          envFrom: [{{configMapRef: {{name: settings}}}}]
"#
    )
}

/// A ConfigMap that can only change by being replaced.
fn frozen(number: u32) -> String {
    let config = config("frozen", &number.to_string());
    let config = config.replace(
        "annotations: {",
        "annotations: {sortie.dev/replace: \"true\", ",
    );
    format!("{config}immutable: true\n")
}

/// The application in one of its versions.
pub(crate) fn version(number: u32) -> String {
    let (settings, web, frozen) = (settings(number), web(number), frozen(number));
    let value = config("a", &number.to_string());
    let other = config(if number == 1 { "old" } else { "extra" }, "1");
    documents(&[&value, &other, &frozen, &settings, &web, SERVICE])
}

/// Pods that both sides of a progressive canary have together.
const SHARED: u32 = 2;

/// The same with pods to share, of which one more may be there and none may be missing.
fn shared(number: u32) -> String {
    let spec = format!(
        "replicas: {SHARED}\n  strategy: {{rollingUpdate: {{maxSurge: 1, maxUnavailable: 0}}}}\n  minReadySeconds"
    );
    version(number).replace("minReadySeconds", &spec)
}

/// Jobs around one object.
fn hooks(number: u32) -> String {
    let job = |name: &str, annotation: &str| {
        format!(
            "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}, annotations: {{{annotation}}}}}\nspec:\n  backoffLimit: 0\n  template:\n    spec:\n      restartPolicy: Never\n      containers: [{{name: it, image: 'example.com/job:1'}}]\n"
        )
    };
    let before = job("before", "sortie.dev/hook: pre-deploy");
    let after = job(
        "after",
        "helm.sh/hook: 'post-install,post-upgrade', helm.sh/hook-delete-policy: hook-succeeded",
    );
    let value = config("a", &number.to_string());
    documents(&[&before, &value, &after])
}

/// A definition, an object of its kind that comes after another object.
fn waves(namespace: &str) -> String {
    let group = format!("{namespace}.example.com");
    let definition = format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: widgets.{group}}}\nspec:\n  group: {group}\n  scope: Namespaced\n  names: {{plural: widgets, singular: widget, kind: Widget}}\n  versions:\n    - name: v1\n      served: true\n      storage: true\n      schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}\n"
    );
    let widget = format!(
        "apiVersion: {group}/v1\nkind: Widget\nmetadata: {{name: one, annotations: {{sortie.dev/wave: \"1\"}}}}\nspec: {{size: 1}}\n"
    );
    let late =
        config("late", "1").replace("annotations: {", "annotations: {sortie.dev/wave: \"2\", ");
    documents(&[&definition, &widget, &config("a", "1"), &late])
}
