//! Blue-green deployments: the colour without traffic, and the Services of both.

use serde_json::{Value, json};
use sortie_step::task::{Action, BlueGreenDeploy, Prune, RollingDeploy};

use crate::world::{Told, World, config, documents, plain, web};

pub(crate) fn blue_green(deploy: RollingDeploy) -> Action {
    Action::BlueGreenDeploy(BlueGreenDeploy {
        deploy,
        skip_unchanged: true,
    })
}

pub(crate) const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
";

impl World {
    async fn blue_green(&self, deploy: RollingDeploy) -> Told {
        self.run(&self.task(blue_green(deploy))).await
    }

    /// The colour that a Service selects.
    async fn selects(&self, service: &str) -> Value {
        let service = self.get("v1/Service", service).await.unwrap();
        let selector = service.pointer("/spec/selector").unwrap();
        selector["sortie.dev/color"].clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_comes_in_the_colour_without_traffic() {
    let world = World::new("blue_green").await;
    let v1 = world.cluster.image("sample-v1").await.unwrap();
    let v2 = world.cluster.image("sample-v2").await.unwrap();
    let set = |image: &str, greeting: &str| {
        let config = config("web", greeting).replace(
            "  annotations: {sortie.dev/skip-versioning: \"true\"}\n",
            "",
        );
        let web = web(
            image,
            ", {name: GREETING, valueFrom: {configMapKeyRef: {name: web, key: a}}}",
        );
        documents(&[&web, SERVICE, &config])
    };
    let first = world.blue_green(plain(&set(&v1, "hello"))).await;
    let outputs = first.outputs();
    for (key, expected) in [
        ("primaryServiceName", json!("web")),
        ("stageServiceName", json!("web-stage")),
        ("primaryColor", json!("green")),
        ("stageColor", json!("blue")),
        ("stageDeploymentSkipped", json!(false)),
        ("releaseNumber", json!(1)),
    ] {
        assert_eq!(outputs[key], expected, "{key}");
    }
    assert_eq!(
        (world.selects("web").await, world.selects("web-stage").await),
        (json!("green"), json!("blue"))
    );
    let copy = world.get("apps/v1/Deployment", "web-blue").await.unwrap();
    assert_eq!(
        copy.pointer("/spec/selector/matchLabels").unwrap(),
        &json!({"app": "web", "sortie.dev/color": "blue"})
    );
    let env = copy.pointer("/spec/template/spec/containers/0/env/1/valueFrom/configMapKeyRef/name");
    assert_eq!(env.unwrap(), "web-blue");
    assert!(world.get("apps/v1/Deployment", "web").await.is_none());
    let head = world.heads().await.pop().unwrap();
    assert_eq!(
        (head.side.color.as_deref(), head.side.role.as_deref()),
        (Some("blue"), Some("stage"))
    );

    // Blue has the traffic; the next one is green, and the first stays as it is.
    let give = |service: &str, color: &str| {
        let patch = json!({"spec": {"selector": {"sortie.dev/color": color}}}).to_string();
        (service.to_owned(), patch)
    };
    for (service, patch) in [give("web", "blue"), give("web-stage", "green")] {
        world
            .kubectl(&["patch", "service", &service, "-p", &patch], "")
            .await;
    }
    let second = world.blue_green(plain(&set(&v2, "good day"))).await;
    assert_eq!(second.outputs()["stageColor"], "green");
    assert_eq!(
        (world.selects("web").await, world.selects("web-stage").await),
        (json!("blue"), json!("green"))
    );
    let still = world.get("apps/v1/Deployment", "web-blue").await.unwrap();
    assert_eq!(
        still.pointer("/metadata/generation"),
        copy.pointer("/metadata/generation")
    );
    assert_eq!(
        world.statuses().await,
        ["Succeeded", "Succeeded"],
        "both stand"
    );
    // Without colours the Services would reach both.
    let rolled = world.deploy(plain(&set(&v2, "good day"))).await;
    assert_eq!(rolled.failure().code, "SRT-T058");
    assert_eq!(world.selects("web").await, json!("blue"));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_stage_has_no_more_is_pruned() {
    let world = World::new("blue_green_prune").await;
    let v1 = world.cluster.image("sample-v1").await.unwrap();
    let worker = web(&v1, "").replace("web", "worker");
    let prune = |set: &str| RollingDeploy {
        prune: Some(Prune::default()),
        ..plain(set)
    };
    let both = documents(&[&web(&v1, ""), &worker, SERVICE]);
    world.blue_green(prune(&both)).await.outputs();
    assert!(
        world
            .get("apps/v1/Deployment", "worker-blue")
            .await
            .is_some()
    );
    let told = world
        .blue_green(prune(&documents(&[&web(&v1, ""), SERVICE])))
        .await;
    let pruned = told.outputs()["prunedResourceIds"].to_string();
    assert!(pruned.contains("worker-blue"), "{pruned}");
    assert!(
        world
            .get("apps/v1/Deployment", "worker-blue")
            .await
            .is_none()
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_are_not_clear_are_refused_before_the_first_write() {
    let world = World::new("blue_green_refused").await;
    let app = web("registry.invalid/web:1", "");
    let other = SERVICE.replace("name: web}", "name: other}");
    for (set, code) in [
        (app.clone(), "SRT-T055"),
        (documents(&[&app, SERVICE, &other]), "SRT-T055"),
        (SERVICE.to_owned(), "SRT-T050"),
    ] {
        let told = world.blue_green(plain(&set)).await;
        assert_eq!(told.failure().code, code, "{:?}", told.failure());
    }
    world.assert_untouched(&[("v1/Service", "web")]).await;
    world.given(SERVICE).await;
    let told = world.blue_green(plain(&documents(&[&app, SERVICE]))).await;
    assert_eq!(told.failure().code, "SRT-T056", "{:?}", told.failure());
    world.finish().await;
}
