//! Manifests and values from a private Git repository, and secrets on their way: from a pipe through the control plane and
//! the delegate to Git and into the cluster, and nowhere else.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Secret};
use kube::Api;
use kube::api::ListParams;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use sortie_testkit::{Cluster, GitServer, TrafficProbe};
use sortie_tests::rollout::{Images, deployments, run};
use sortie_tests::{Example, Finished, Product, ProductOptions};

/// What must not be seen anywhere but in the cluster's Secret.
const LOGIN: &str = "correct-horse-battery-7291";

const CONFIGMAP: &str = include_str!("../../examples/hello/files/manifests/configmap.yaml");
const DEPLOYMENT: &str = include_str!("../../examples/hello/files/manifests/deployment.yaml");
const SERVICE: &str = include_str!("../../examples/hello/files/manifests/service.yaml");

/// Goes before the readiness probe, at the end of `env`.
const PASSWORD: &str = "            - name: PASSWORD
              valueFrom:
                secretKeyRef:
                  name: login
                  key: password
          readinessProbe:";

/// Where the example's greeting comes from.
const GREETING: &str = "                configMapKeyRef:
                  name: hello
                  key: GREETING
";
const LEAK: &str = "                secretKeyRef:
                  name: login
                  key: password
";

const SECRET: &str = "\
apiVersion: v1
kind: Secret
metadata:
  name: login
stringData:
  password: {{ .Values.password | quote }}
";

/// The store of `service.yaml` in the example, and what stands here in its place.
const MANIFESTS: &str = "                type: Harness
                spec:
                  files:
                    - /hello/manifests   # a folder: every file below it
";
const VALUES: &str = "                type: Harness
                spec:
                  files:
                    - /hello/values.yaml
";

/// Which of the two forms of connectors: of any Git server, or of one of the large hosts.
#[derive(Clone, Copy, Debug)]
enum Provider {
    Git,
    Github,
}

impl Provider {
    /// What stands in a service for these paths of the branch `main`.
    fn store(self, path: &str) -> String {
        format!(
            "                type: {self:?}
                spec:
                  connectorRef: repositories
                  repoName: hello.git
                  gitFetchType: Branch
                  branch: main
                  paths:
                    - {path}
"
        )
    }

    fn connector(self, git: &GitServer) -> String {
        let (url, username) = (git.url(), git.username());
        let spec = match self {
            Self::Git => format!(
                "    connectionType: Account
    type: Http
    spec:
      username: {username}
      passwordRef: git_password
"
            ),
            Self::Github => format!(
                "    type: Account
    authentication:
      type: Http
      spec:
        type: UsernameToken
        spec:
          username: {username}
          tokenRef: git_password
"
            ),
        };
        let head = "connector:\n  name: repositories\n  identifier: repositories\n";
        format!("{head}  type: {self:?}\n  spec:\n    url: {url}/git\n{spec}")
    }
}

/// The product, a Git server that it trusts, and the example's service from there.
struct World {
    git: GitServer,
    product: Product,
    images: Images,
    example: Example,
    folder: tempfile::TempDir,
}

impl World {
    async fn start(test: &str, provider: Provider) -> Result<(Self, String)> {
        let git = GitServer::start(&Cluster::shared().await?).await?;
        let deployment = deployment(GREETING)?;
        let files = [
            ("k8s/configmap.yaml", CONFIGMAP),
            ("k8s/deployment.yaml", &deployment),
            ("k8s/service.yaml", SERVICE),
            ("k8s/secret.yaml", SECRET),
            ("values/demo.yaml", &values("blue")),
        ];
        let commit = git.create_repo("hello", &files).await?;
        let options = ProductOptions {
            extra_ca: Some(git.ca_pem().to_owned()),
            ..ProductOptions::default()
        };
        let product = Product::start_with(test, options).await?;
        let images = Images::load(product.cluster()).await?;
        let example = Example::new(product.namespace(), product.namespace())?;
        // Nothing of the application is in the file store.
        std::fs::remove_file(example.path().join("files.yaml"))?;
        std::fs::write(example.path().join("git.yaml"), provider.connector(&git))?;
        example.edit("service.yaml", MANIFESTS, &provider.store("k8s"))?;
        example.edit("service.yaml", VALUES, &provider.store("values/demo.yaml"))?;
        let folder = tempfile::tempdir()?;
        let world = Self {
            git,
            product,
            images,
            example,
            folder,
        };
        world
            .set_secret("git_password", world.git.password())
            .await?;
        world.set_secret("login", LOGIN).await?;
        world.apply().await?;
        Ok((world, commit))
    }

    async fn apply(&self) -> Result<()> {
        let folder = self.example.path().display().to_string();
        self.product.sortie(&["apply", "-f", &folder]).await?;
        Ok(())
    }

    /// Store a secret whose value comes through a pipe; the file has none.
    async fn set_secret(&self, identifier: &str, value: &str) -> Result<()> {
        let file = self.folder.path().join(format!("{identifier}.yaml"));
        let text = format!(
            "secret:\n  name: {identifier}\n  identifier: {identifier}\n  type: SecretText\n  spec:\n    secretManagerIdentifier: harnessSecretManager\n    valueType: Inline\n"
        );
        std::fs::write(&file, text)?;
        let file = file.display().to_string();
        let arguments = ["apply", "-f", &file, "--secret-value-stdin"];
        let applied = self.product.try_sortie(&arguments, Some(value)).await?;
        let said = said(&applied);
        ensure!(applied.code == Some(0), "{said}");
        ensure!(!said.contains(value), "apply shows the value:\n{said}");
        Ok(())
    }

    async fn run(&self) -> Result<Finished> {
        run(&self.product, &self.images, "v1").await
    }

    async fn deploy(&self) -> Result<String> {
        let ended = self.run().await?;
        let said = said(&ended);
        ensure!(ended.code == Some(0), "{said}");
        Ok(said)
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(
            self.product.test_namespace().client(),
            self.product.namespace(),
        )
    }

    async fn list<K>(&self) -> Result<Vec<K>>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        Ok(self.api().list(&ListParams::default()).await?.items)
    }

    /// Run a verb that answers JSON.
    async fn json(&self, arguments: &[&str]) -> Result<Value> {
        let arguments = [arguments, &["-o", "json"]].concat();
        let answered = self.product.sortie(&arguments).await?;
        serde_json::from_str(&answered.stdout).context("JSON")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_is_deployed_and_secrets_stay_secret() -> Result<()> {
    let (mut world, blue) = World::start("e2e-git", Provider::Git).await?;
    let mut output = world.deploy().await?;
    let (address, port) = world
        .product
        .cluster()
        .service(world.product.namespace(), "hello")
        .await?;
    let mut probe = TrafficProbe::start(world.product.cluster(), address, port)?;
    answers(&mut probe, "blue").await?;

    let files = [("values/demo.yaml", values("green"))];
    let files = files.each_ref().map(|(path, text)| (*path, text.as_str()));
    world.git.push("hello", &files).await?;
    output.push_str(&world.deploy().await?);
    answers(&mut probe, "green").await?;
    let deployed = probe.stop().await?;
    assert_eq!(deployed.failed, 0, "{deployed:?}");

    // The application writes the password to its log, and crashes: the last words are told without it.
    let leaking = deployment(LEAK)?;
    let files = [("k8s/deployment.yaml", leaking.as_str())];
    world.git.push("hello", &files).await?;
    let crashed = run(&world.product, &world.images, "v3").await?;
    let crashed = (crashed.code, said(&crashed));
    assert_eq!(crashed.0, Some(1), "{}", crashed.1);
    let words = "sortie-sample **************: cannot open /data/settings.toml";
    assert!(crashed.1.contains(words), "{}", crashed.1);
    output.push_str(&crashed.1);

    // A fixed commit stays what it is, whatever the branch says.
    let fixed = format!("commitId: {blue}");
    world.example.edit("service.yaml", "branch: main", &fixed)?;
    let (branch, commit) = ("gitFetchType: Branch", "gitFetchType: Commit");
    world.example.edit("service.yaml", branch, commit)?;
    world.apply().await?;
    output.push_str(&world.deploy().await?);
    let mut probe = TrafficProbe::start(world.product.cluster(), address, port)?;
    answers(&mut probe, "blue").await?;
    probe.stop().await?;

    arrived(&world).await?;
    nowhere_else(&mut world, output).await?;
    world.product.finish().await
}

/// One way to break the source, and what the error says.
struct Breakage {
    name: &'static str,
    from: &'static str,
    to: &'static str,
    says: &'static [&'static str],
}

const BREAKAGES: [Breakage; 4] = [
    Breakage {
        name: "a branch that does not exist",
        from: "branch: main",
        to: "branch: nope",
        says: &["SRT-R014", "nope", "check the name"],
    },
    Breakage {
        name: "a folder that does not exist",
        from: "- k8s",
        to: "- nowhere",
        says: &["SRT-R015", "nowhere", "correct the path"],
    },
    Breakage {
        name: "a values file that does not exist",
        from: "- values/demo.yaml",
        to: "- values/staging.yaml",
        says: &["SRT-R015", "values/staging.yaml", "correct the path"],
    },
    Breakage {
        name: "a commit that does not exist",
        from: "gitFetchType: Branch\n                  branch: main",
        to: "gitFetchType: Commit\n                  commitId: 0123456789abcdef0123456789abcdef01234567",
        says: &["SRT-R014", "0123456789abcdef", "check the name"],
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_cannot_be_fetched_is_explained_and_nothing_is_written() -> Result<()> {
    let (world, _) = World::start("e2e-git-failures", Provider::Github).await?;
    for breakage in &BREAKAGES {
        let Breakage {
            name,
            from,
            to,
            says,
        } = breakage;
        world
            .example
            .edit("service.yaml", from, to)
            .context(*name)?;
        world.apply().await?;
        refused(&world, name, says).await?;
        world
            .example
            .edit("service.yaml", to, from)
            .context(*name)?;
    }
    world.apply().await?;
    let wrong = "not-the-password-4410";
    world.set_secret("git_password", wrong).await?;
    let says = ["SRT-R012", "refused the credentials", "check the user name"];
    let said = refused(&world, "a wrong password", &says).await?;
    assert!(!said.contains(wrong), "{said}");

    // With the right one, the same run ends well.
    world
        .set_secret("git_password", world.git.password())
        .await?;
    world.deploy().await?;
    let written = written(&world).await?.join(" ");
    for name in ["hello", "hello-", "login-", "sortie.release.hello.1"] {
        assert!(written.contains(name), "{name} is not among {written}");
    }
    world.product.finish().await
}

/// The run fails with these words, and there is neither object nor release.
async fn refused(world: &World, name: &str, says: &[&str]) -> Result<String> {
    let ended = world.run().await?;
    let said = said(&ended);
    assert_eq!(ended.code, Some(1), "{name}:\n{said}");
    for word in says {
        assert!(said.contains(word), "{name}: {word:?} is not in\n{said}");
    }
    assert!(!said.contains(world.git.password()), "{name}:\n{said}");
    assert!(!said.contains(LOGIN), "{name}:\n{said}");
    let written = written(world).await?;
    assert!(written.is_empty(), "{name}: {written:?}");
    Ok(said)
}

/// Names of what a deployment writes: objects of the application, and records of releases.
async fn written(world: &World) -> Result<Vec<String>> {
    let deployed = deployments(&world.product)
        .list(&ListParams::default())
        .await?;
    let deployed = deployed.items.into_iter().map(|object| object.metadata);
    let maps = world.list::<ConfigMap>().await?;
    let secrets = world.list::<Secret>().await?;
    let objects = deployed
        .chain(maps.into_iter().map(|object| object.metadata))
        .chain(secrets.into_iter().map(|object| object.metadata));
    let names = objects.filter_map(|metadata| metadata.name);
    let ours = names.filter(|name| {
        let begins = |prefix: &&str| name.starts_with(*prefix);
        ["hello", "login", "sortie.release."].iter().any(begins)
    });
    Ok(ours.collect())
}

/// The Secret that the pods use holds the value.
async fn arrived(world: &World) -> Result<()> {
    let deployment = deployments(&world.product).get("hello").await?;
    let deployment = serde_json::to_value(deployment)?;
    let name =
        deployment.pointer("/spec/template/spec/containers/0/env/1/valueFrom/secretKeyRef/name");
    let name = name.and_then(Value::as_str).context("no Secret in use")?;
    let secret: Secret = world.api().get(name).await?;
    let data = secret.data.unwrap_or_default();
    let value = data.get("password").context("no password in the Secret")?;
    assert_eq!(value.0, LOGIN.as_bytes());
    Ok(())
}

/// Neither the value nor the Git password is in anything that people read, nor in clear on the control plane's disk.
async fn nowhere_else(world: &mut World, output: String) -> Result<()> {
    let mut seen = vec![("the output of the runs".to_owned(), output)];
    let list = world.json(&["get", "execution"]).await?;
    let runs = list["items"].as_array().context("no executions")?.clone();
    assert_eq!(runs.len(), 4, "{list}");
    for run in &runs {
        let id = run["id"].as_str().context("no id")?;
        let log = world.product.sortie(&["logs", id]).await?;
        assert!(log.stdout.contains("Apply"), "the log is not empty");
        seen.push((format!("the log of {id}"), said(&log)));
        let view = world.json(&["get", "execution", id]).await?;
        seen.push((format!("execution {id}"), view.to_string()));
    }
    for identifier in ["git_password", "login"] {
        let secret = world.json(&["get", "secret", identifier]).await?;
        seen.push((format!("secret {identifier}"), secret.to_string()));
    }
    seen.push((
        "ConfigMaps".to_owned(),
        text(&world.list::<ConfigMap>().await?)?,
    ));
    seen.push(("Events".to_owned(), text(&world.list::<Event>().await?)?));
    let deployed = deployments(&world.product)
        .list(&ListParams::default())
        .await?;
    seen.push(("Deployments".to_owned(), text(&deployed.items)?));
    seen.push((
        "the server's log".to_owned(),
        world.product.server()?.output(),
    ));
    seen.push((
        "the delegate's log".to_owned(),
        world.product.delegate()?.output(),
    ));
    let files = files_below(&world.product.data_folder())?;
    assert!(
        holds(&files, "repositories")?.is_some(),
        "where is the connector?"
    );
    let secrets = [LOGIN, world.git.password()];
    let encoded = secrets.map(|value| serde_json::to_value(ByteString(value.into())));
    let encoded: Vec<Value> = encoded.into_iter().collect::<Result<_, _>>()?;
    for value in secrets
        .into_iter()
        .chain(encoded.iter().filter_map(Value::as_str))
    {
        for (place, text) in &seen {
            assert!(!text.contains(value), "{value} is in {place}:\n{text}");
        }
        let found = holds(&files, value)?;
        assert!(found.is_none(), "{value} is in {found:?}");
    }
    Ok(())
}

async fn answers(probe: &mut TrafficProbe, word: &str) -> Result<()> {
    probe
        .wait_for(Duration::from_secs(30), |report| report.count(word) >= 20)
        .await?;
    Ok(())
}

fn said(finished: &Finished) -> String {
    format!("{}\n{}", finished.stdout, finished.stderr)
}

fn text(objects: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string(objects)?)
}

/// The first file that holds `value`.
fn holds<'a>(files: &'a [PathBuf], value: &str) -> Result<Option<&'a PathBuf>> {
    for file in files {
        let bytes = std::fs::read(file)?;
        if bytes
            .windows(value.len())
            .any(|window| window == value.as_bytes())
        {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

/// The example's Deployment: it answers `answer`, and has the password.
fn deployment(answer: &str) -> Result<String> {
    let parts = ["- name: GREETING\n", GREETING, "          readinessProbe:"];
    for part in parts {
        ensure!(DEPLOYMENT.contains(part), "the example has no {part:?}");
    }
    Ok(DEPLOYMENT
        // The application answers what its VERSION says.
        .replace("- name: GREETING\n", "- name: VERSION\n")
        .replace(GREETING, answer)
        .replace("          readinessProbe:", PASSWORD))
}

fn values(greeting: &str) -> String {
    format!(
        "image: <+artifacts.primary.image>\nreplicas: 2\ngreeting: {greeting}\npassword: <+secrets.getValue(\"login\")>\n"
    )
}
