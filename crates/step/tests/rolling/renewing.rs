//! Progressive canaries of sets that are rendered otherwise each time, by hooks that run once for each step.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sortie_render::SourceFile;
use sortie_step::scripts::{Heard, Script, ScriptError, Scripts};
use sortie_step::task::{Action, HookAction, HookTime, ProgressiveDeploy, ServiceHook};

use crate::progressing::progressive;
use crate::scaling::replicas;
use crate::world::{Log, Told, World, plain, web};

/// Where a value comes that nobody has had before.
const UNIQUE: &str = "UNIQUE";

/// Runs scripts of one word: its name, and `UNIQUE` in the files gets a value.
#[derive(Debug, Default)]
struct Words {
    ran: Mutex<Vec<String>>,
}

#[async_trait]
impl Scripts for Words {
    async fn run(
        &self,
        script: Script,
        _: &(dyn for<'a> Fn(Heard<'a>) + Send + Sync),
    ) -> Result<Vec<SourceFile>, ScriptError> {
        let word = script.text.expose_secret().to_owned();
        self.ran.lock().unwrap().push(word);
        let value = uuid::Uuid::new_v4().to_string();
        let renewed = |file: SourceFile| {
            let text = String::from_utf8(file.content).unwrap();
            SourceFile {
                content: text.replace(UNIQUE, &value).into_bytes(),
                ..file
            }
        };
        Ok(script.files.into_iter().map(renewed).collect())
    }
}

fn hook(word: &str, time: HookTime, action: HookAction) -> ServiceHook {
    ServiceHook {
        id: word.to_owned(),
        time,
        actions: vec![action],
        script: word.to_owned(),
    }
}

/// A world whose steps have hooks at both points that count here.
struct Hooked {
    world: World,
    words: Arc<Words>,
}

impl Hooked {
    async fn step(&self, action: Action, execution: &str) -> Told {
        let mut task = self.world.task_of(action, execution);
        task.hooks = vec![
            hook("render", HookTime::After, HookAction::TemplateManifest),
            hook("wait", HookTime::Before, HookAction::SteadyStateCheck),
            hook("smoke", HookTime::After, HookAction::SteadyStateCheck),
        ];
        let scripts: Arc<dyn Scripts> = self.words.clone();
        self.world
            .run_scripted(&task, Some(scripts), Arc::new(Log::default()))
            .await
    }

    /// What has run since it was asked last.
    fn ran(&self) -> Vec<String> {
        std::mem::take(&mut *self.words.ran.lock().unwrap())
    }

    /// The value of the pods of a Deployment.
    async fn value(&self, name: &str) -> Value {
        let live = self.world.get("apps/v1/Deployment", name).await.unwrap();
        live.pointer("/spec/template/spec/containers/0/env/1/value")
            .cloned()
            .unwrap_or_default()
    }
}

const EACH: [&str; 3] = ["render", "wait", "smoke"];

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_is_rendered_otherwise_each_time_becomes_the_release() {
    let hooked = Hooked {
        world: World::new("progressive_renewed").await,
        words: Arc::default(),
    };
    let world = &hooked.world;
    let image = world.cluster.image("sample-v1").await.unwrap();
    let set = web(&image, &format!(", {{name: V, value: {UNIQUE}}}"))
        .replace("spec:\n  selector", "spec:\n  replicas: 2\n  selector");
    let share = |percent| progressive(plain(&set), percent);

    // The first deployment is what all steps of its execution ask for.
    hooked.step(share(50), "e1").await.outputs();
    assert_eq!(hooked.ran(), EACH);
    let told = hooked.step(share(100), "e1").await;
    assert_eq!(told.outputs()["canaryWorkloadDeployed"], false);
    let first = hooked.value("web").await;

    // Of one execution, every step goes on with what the first one has rendered.
    hooked.ran();
    hooked.step(share(50), "e2").await.outputs();
    assert_eq!(hooked.ran(), EACH);
    let second = hooked.value("web-canary").await;
    assert_ne!(first, second);
    let told = hooked.step(share(100), "e2").await;
    told.outputs();
    assert!(
        told.said("rendered otherwise than for number 2"),
        "{:?}",
        told.lines
    );
    assert_eq!(
        hooked.ran(),
        EACH,
        "once for a step, and not again for the release"
    );
    let order = |text: &str| {
        told.lines
            .iter()
            .rposition(|(.., line)| line.contains(text))
    };
    assert!(
        order("web-canary: 2 pods") < order("hook smoke"),
        "{:?}",
        told.lines
    );
    assert_eq!(hooked.value("web").await, second);
    assert!(
        world
            .get("apps/v1/Deployment", "web-canary")
            .await
            .is_none()
    );

    // Of another execution it is another set; and one step can go all the way.
    let told = hooked.step(share(100), "e3").await;
    assert_eq!(told.outputs()["releaseNumber"], json!(6));
    assert_eq!(hooked.ran(), EACH);
    let third = hooked.value("web").await;
    assert_ne!(second, third);
    assert_eq!(replicas(world, "web").await, 2);

    // Without sources there must be a canary.
    let recorded = |percent| {
        Action::ProgressiveDeploy(ProgressiveDeploy {
            deploy: plain(""),
            percent,
            is_recorded: true,
        })
    };
    let told = hooked.step(recorded(100), "e4").await;
    assert_eq!(told.failure().code, "SRT-T116");
    hooked.step(share(50), "e4").await.outputs();
    let fourth = hooked.value("web-canary").await;
    hooked.ran();
    hooked.step(recorded(100), "e5").await.outputs();
    assert_eq!(hooked.value("web").await, fourth);
    hooked.world.finish().await;
}
