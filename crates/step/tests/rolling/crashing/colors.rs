//! What follows a blue-green deployment, as a process carries it out.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sortie_step::task::{Action, StageScaleDown, StageScaleUp, SwapServices, Task};

use crate::coloring::SERVICE;
use crate::swapping::SCALER;
use crate::world::{World, documents};

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Coloring {
    /// Version 2 gets the traffic.
    Swap,
    /// The colours change places, for nobody in particular.
    LocalSwap,
    /// Version 1, which was scaled down, gets it back.
    SwapBack,
    /// Version 2, which has none, loses its pods.
    Down,
    /// It gets them back.
    Up,
}

impl Coloring {
    /// The task, of the execution that has deployed version 2.
    pub(crate) fn task(self) -> Task {
        let action = match self {
            Self::Swap | Self::LocalSwap => Action::SwapServices(swap(false)),
            Self::SwapBack => Action::SwapServices(swap(true)),
            Self::Down => Action::StageScaleDown(StageScaleDown::default()),
            Self::Up => Action::StageScaleUp(StageScaleUp::default()),
        };
        let mut task = crate::world::task(action);
        if self != Self::LocalSwap {
            "e2".clone_into(&mut task.requested_by.execution);
        }
        task
    }

    /// The world before its story.
    pub(crate) async fn prepare(self, world: &World) {
        world.stage(&set(1), "e1").await.outputs();
        world.swap(swap(false), "e1").await.outputs();
        world.stage(&set(2), "e2").await.outputs();
        match self {
            Self::Swap | Self::LocalSwap | Self::Down => {}
            Self::Up => {
                world.scale_down("e2").await.outputs();
            }
            Self::SwapBack => {
                world.swap(swap(false), "e2").await.outputs();
                world.scale_down("e2").await.outputs();
            }
        }
    }
}

const fn swap(back: bool) -> SwapServices {
    SwapServices {
        settle: Duration::from_secs(1),
        patience: Duration::from_secs(60),
        back,
    }
}

/// Three pods behind a Service, with an autoscaler that finds no metrics.
fn set(number: u32) -> String {
    let web = format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 3
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{{name: web, image: 'example.com/web:{number}'}}]
"#
    );
    documents(&[&web, SERVICE, SCALER])
}
