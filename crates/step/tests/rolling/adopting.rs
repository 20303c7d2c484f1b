//! Taking over what kubectl, helm and Harness have deployed: its pods go on, and the report says whose it was.

use std::path::Path;

use serde_json::Value;
use sortie_manifest::{Limits, Object};
use sortie_step::report::Change;
use sortie_step::task::{Action, RollingDeploy, Target, Versioning};

use crate::world::{RELEASE, Told, World, documents, inline, plain, web};

const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {a: \"1\"}\n";
const SECRET: &str =
    "apiVersion: v1\nkind: Secret\nmetadata: {name: web}\nstringData: {b: \"2\"}\n";
const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n";

/// The sample application with a ConfigMap and a Secret that its pods read.
fn app(image: &str) -> String {
    let read = ", {name: B, valueFrom: {secretKeyRef: {name: web, key: b}}}";
    let web = web(image, read);
    let web = web.replace(
        "          env:",
        "          envFrom: [{configMapRef: {name: web}}]\n          env:",
    );
    documents(&[CONFIG, SECRET, SERVICE, &web])
}

/// UIDs of all pods and ReplicaSets, once the Deployment is there.
async fn running(world: &World) -> String {
    let waited = ["rollout", "status", "deployment/web", "--timeout=90s"];
    world.kubectl(&waited, "").await;
    let uids = [
        "get",
        "pods,replicasets",
        "-o",
        "jsonpath={.items[*].metadata.uid}",
    ];
    world.kubectl(&uids, "").await
}

fn from(told: &Told, object: &str) -> String {
    let all = told.outputs()["takenOver"].as_array().unwrap();
    let one = all
        .iter()
        .find(|one| one["object"].as_str().unwrap().starts_with(object));
    let one = one.unwrap_or_else(|| panic!("{object}: {all:?}"));
    one["from"].as_str().unwrap().to_owned()
}

async fn configuration_of(world: &World) -> Value {
    let web = world.get("apps/v1/Deployment", "web").await.unwrap();
    web.pointer("/spec/template/spec/containers/0/envFrom/0/configMapRef/name")
        .unwrap()
        .clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kubectl_has_applied_is_taken_over_without_a_restart() {
    let world = World::new("adopt_kubectl").await;
    let image = world.cluster.image("sample-v1").await.unwrap();
    let other = world.cluster.image("sample-v2").await.unwrap();
    // What a Job's pods are can never change.
    let job = format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: once}}\nspec: {{suspend: true, template: {{metadata: {{labels: {{app: once}}}}, spec: {{restartPolicy: Never, containers: [{{name: a, image: {image}}}]}}}}}}\n"
    );
    let set = |image: &str| documents(&[&app(image), &job]);
    world.given(&set(&image)).await;
    let before = running(&world).await;

    let tried = RollingDeploy {
        dry_run: true,
        ..plain(&set(&image))
    };
    let tried = world.deploy(tried).await;
    let rows = tried.outputs()["dryRun"].as_array().unwrap();
    assert!(
        rows.iter().all(|row| row["takenOverFrom"] == "kubectl"),
        "{rows:?}"
    );
    assert_eq!(running(&world).await, before);

    // A comparison shows the names that a deployment would use.
    let compared = world.task(Action::Diff(plain(&set(&image)).into()));
    let compared = world.run(&compared).await;
    let names = compared.outputs()["objects"].as_array().unwrap();
    assert!(
        !names.is_empty() && names.iter().all(|one| !one.to_string().contains("web-")),
        "{names:?}"
    );

    let told = world.deploy(plain(&set(&image))).await;
    for object in ["ConfigMap", "Secret", "Service", "Deployment", "Job"] {
        let name = if object == "Job" { "once" } else { "web" };
        let row = told.rows.iter().find(|row| row.id.kind == object).unwrap();
        assert_eq!(
            (row.change, row.id.name.as_str()),
            (Change::Configured, name)
        );
        assert_eq!(from(&told, object), "kubectl");
    }
    assert!(
        told.said("web: taken over from kubectl; its pods stay as they are"),
        "{:?}",
        told.lines
    );
    assert_eq!(running(&world).await, before, "nothing restarts");
    let address = [
        "get",
        "pods",
        "-l",
        "app=web",
        "-o",
        "jsonpath={.items[*].status.podIP}",
    ];
    let address = world.kubectl(&address, "").await;
    assert_eq!(told.outputs()["podIps"], serde_json::json!([address]));

    // So it stays, until something else of the pods changes.
    let again = world.deploy(plain(&set(&image))).await;
    assert_eq!(again.change("Deployment"), Change::Unchanged);
    assert_eq!(again.outputs().get("takenOver"), None);
    assert_eq!(running(&world).await, before);
    world.deploy(plain(&set(&other))).await.outputs();
    let web = world.get("apps/v1/Deployment", "web").await.unwrap();
    let label = &web["spec"]["template"]["metadata"]["labels"]["sortie.dev/release"];
    assert!(label.is_string(), "{web}");
    assert_ne!(running(&world).await, before);
    assert_eq!(
        configuration_of(&world).await,
        "web",
        "its content is the same"
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kubectl_has_set_and_the_manifest_does_not_name_is_told() {
    let world = World::new("adopt_set").await;
    let set = documents(&[CONFIG, SERVICE]);
    world.given(&set).await;
    let patch = r#"{"spec": {"publishNotReadyAddresses": true}}"#;
    world
        .kubectl(&["patch", "service", "web", "--patch", patch], "")
        .await;
    let named =
        "kubectl-patch has set .spec.publishNotReadyAddresses, which the manifest does not name";
    let compared = world.task(Action::Diff(plain(&set).into()));
    let compared = world.run(&compared).await;
    let objects = compared.outputs()["objects"].to_string();
    assert!(objects.contains(named), "{objects}");
    let told = world.deploy(plain(&set)).await;
    assert!(told.said(named), "{:?}", told.lines);
    let service = world.get("v1/Service", "web").await.unwrap();
    assert_eq!(service["spec"]["publishNotReadyAddresses"], true);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn configuration_that_stays_behind_under_its_bare_name_is_told() {
    let world = World::new("adopt_left").await;
    let image = world.cluster.image("sample-v1").await.unwrap();
    let unread = CONFIG.replace("name: web", "name: unread");
    let kept = unread.replace(
        "{name: unread}",
        "{name: kept, annotations: {sortie.dev/skip-versioning: \"true\"}}",
    );
    let set = |a: &str| documents(&[&app(&image).replace("a: \"1\"", a), &unread, &kept]);
    world.given(&set("a: \"1\"")).await;
    running(&world).await;

    let changed = set("a: \"2\"");
    let tried = RollingDeploy {
        dry_run: true,
        ..plain(&changed)
    };
    let tried = world.deploy(tried).await;
    let told = world.deploy(plain(&changed)).await;
    let namespace = world.namespace.name();
    // The Secret has the content that pods read, and `kept` is not versioned.
    let left: Vec<String> = ["web", "unread"]
        .iter()
        .map(|name| format!("ConfigMap/{namespace}/{name}"))
        .collect();
    let named = told.outputs()["leftBehind"].as_array().unwrap();
    let mut named: Vec<&str> = named.iter().map(|one| one.as_str().unwrap()).collect();
    named.sort_by_key(|name| name.contains("unread"));
    assert_eq!(named, left);
    for name in ["web", "unread"] {
        let line = format!("ConfigMap/{namespace}/{name} stays as it is");
        let how = format!("(kubectl delete configmap {name} --namespace {namespace})");
        for told in [&tried, &told] {
            assert!(told.said(&line) && told.said(&how), "{:?}", told.lines);
        }
    }
    let again = world.deploy(plain(&changed)).await;
    assert_eq!(again.outputs().get("leftBehind"), None);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_release_had_is_taken_over_only_when_asked_and_without_a_restart() {
    let world = World::new("adopt_release").await;
    let image = world.cluster.image("sample-v1").await.unwrap();
    world.deploy(plain(&app(&image))).await.outputs();
    let before = running(&world).await;
    let other = |adopt: bool| {
        let options = RollingDeploy {
            adopt,
            ..plain(&app(&image))
        };
        let mut task = world.task(Action::RollingDeploy(options));
        task.release.name = "other".to_owned();
        task
    };
    let refused = world.run(&other(false)).await;
    assert_eq!(refused.failure().code, "SRT-C015");
    let told = world.run(&other(true)).await;
    let former = format!("release {}/{RELEASE}", world.namespace.name());
    assert_eq!(from(&told, "Deployment"), former);
    assert_eq!(running(&world).await, before, "nothing restarts");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_content_has_a_name_of_its_own_and_a_rollback_finds_the_old_one() {
    let world = World::new("adopt_content").await;
    let image = world.cluster.image("sample-v1").await.unwrap();
    world.given(&app(&image)).await;
    running(&world).await;
    world.deploy(plain(&app(&image))).await.outputs();
    assert_eq!(configuration_of(&world).await, "web");

    let changed = app(&image).replace("a: \"1\"", "a: \"3\"");
    world.deploy(plain(&changed)).await.outputs();
    let name = configuration_of(&world).await;
    assert!(name.as_str().unwrap().starts_with("web-"), "{name}");
    // The pods of before may still read it.
    let kept = world.get("v1/ConfigMap", "web").await.unwrap();
    assert_eq!(kept["data"]["a"], "1");
    world.rollback(Target::Number(1)).await.outputs();
    assert_eq!(configuration_of(&world).await, "web");
    world.finish().await;
}

async fn helm(world: &World, args: &[&str]) -> String {
    let tool = sortie_testkit::environment::tool("helm").unwrap();
    let output = tokio::process::Command::new(tool)
        .args([
            "--kubeconfig",
            &world.cluster.kubeconfig().display().to_string(),
        ])
        .args(["--namespace", world.namespace.name()])
        .args(args)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "helm {args:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn chart(folder: &Path, app: &str) -> String {
    std::fs::create_dir(folder.join("templates")).unwrap();
    std::fs::write(
        folder.join("Chart.yaml"),
        "apiVersion: v2\nname: web\nversion: 1.0.0\n",
    )
    .unwrap();
    let labelled = app.replace(
        "metadata: {name: web}",
        "metadata: {name: web, labels: {app.kubernetes.io/managed-by: {{ .Release.Service }}}}",
    );
    std::fs::write(folder.join("templates/all.yaml"), labelled).unwrap();
    folder.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_helm_release_is_taken_over_without_a_restart() {
    let world = World::new("adopt_helm").await;
    let image = world.cluster.image("sample-v1").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let unread = CONFIG.replace("name: web", "name: unread");
    let chart = chart(folder.path(), &documents(&[&app(&image), &unread]));
    helm(&world, &["install", "demo", &chart]).await;
    let before = running(&world).await;
    let rendered = helm(&world, &["template", "demo", &chart]).await;

    let told = world.deploy(plain(&rendered)).await;
    let helms = format!("helm release {}/demo", world.namespace.name());
    for object in ["ConfigMap", "Secret", "Service", "Deployment"] {
        assert_eq!(from(&told, object), helms);
    }
    assert!(
        told.said("`helm uninstall` would delete"),
        "{:?}",
        told.lines
    );
    // Configuration that no pod reads is deployed under a name of its own; what helm had made of it stays, and is named.
    let left = format!("ConfigMap/{}/unread", world.namespace.name());
    assert_eq!(told.outputs()["leftBehind"], serde_json::json!([left]));
    assert_eq!(running(&world).await, before, "nothing restarts");
    let web = world.get("apps/v1/Deployment", "web").await.unwrap();
    let annotations = &web["metadata"]["annotations"];
    assert_eq!(annotations.get("meta.helm.sh/release-name"), None, "{web}");
    let again = world.deploy(plain(&rendered)).await;
    assert_eq!(again.change("Deployment"), Change::Unchanged);
    assert_eq!(running(&world).await, before);
    world.finish().await;
}

/// What Harness leaves of its release `shop-web`, number 4: labels on pods and, after a canary, in selectors, the number
/// in the names of configuration, and a record.
fn left_by_harness(app: &str, records: &[u64]) -> String {
    let parsed = sortie_manifest::parse("app.yaml", app.as_bytes(), &Limits::default()).unwrap();
    let mut left: Vec<String> = parsed
        .into_iter()
        .map(|object| {
            let mut value = Object::into_value(object);
            if value["kind"] == "ConfigMap" || value["kind"] == "Secret" {
                value["metadata"]["name"] = "web-4".into();
            }
            if value["kind"] == "Deployment" {
                let track = "harness.io/track";
                let spec = &mut value["spec"];
                spec["selector"]["matchLabels"][track] = "stable".into();
                let labels = &mut spec["template"]["metadata"]["labels"];
                labels[track] = "stable".into();
                labels["harness.io/release-name"] = "shop-web".into();
                let container = &mut spec["template"]["spec"]["containers"][0];
                container["envFrom"][0]["configMapRef"]["name"] = "web-4".into();
                container["env"][1]["valueFrom"]["secretKeyRef"]["name"] = "web-4".into();
            }
            value.to_string()
        })
        .collect();
    for number in records {
        left.push(format!(
            "apiVersion: v1\nkind: Secret\ntype: harness.io/release/v2\nmetadata: {{name: harness.release.shop-web.{number}, labels: {{owner: harness, release: shop-web, release-number: \"{number}\", status: Succeeded}}}}\nstringData: {{release: none}}\n"
        ));
    }
    left.join("\n---\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_of_harness_is_taken_over_without_a_restart() {
    for versioning in [Versioning::ContentHash, Versioning::ReleaseNumber] {
        let world = World::new("adopt_harness").await;
        let image = world.cluster.image("sample-v1").await.unwrap();
        let other = world.cluster.image("sample-v2").await.unwrap();
        // Older ones have their history in one ConfigMap that is theirs alone.
        let records: &[u64] = match versioning {
            Versioning::ContentHash => &[3, 4],
            _ => &[],
        };
        world.given(&left_by_harness(&app(&image), records)).await;
        let before = running(&world).await;
        let deploy = |image: &str| RollingDeploy {
            manifests: inline(&[("app.yaml", &app(image))]),
            versioning,
            ..RollingDeploy::default()
        };

        let told = world.deploy(deploy(&image)).await;
        for object in ["ConfigMap", "Secret", "Service", "Deployment"] {
            assert_eq!(from(&told, object), "Harness release shop-web number 4");
        }
        assert_eq!(running(&world).await, before, "nothing restarts");
        assert_eq!(configuration_of(&world).await, "web-4");

        // A selector never changes, whatever changes besides.
        world.deploy(deploy(&other)).await.outputs();
        let web = world.get("apps/v1/Deployment", "web").await.unwrap();
        assert_eq!(
            web["spec"]["selector"]["matchLabels"]["harness.io/track"],
            "stable"
        );
        assert_eq!(web["status"]["availableReplicas"], 1);
        assert_ne!(running(&world).await, before);
        let name = configuration_of(&world).await;
        let expected = match versioning {
            Versioning::ReleaseNumber => "web-2",
            _ => "web-4",
        };
        assert_eq!(name, expected, "{versioning:?}");
        world.finish().await;
    }
}
