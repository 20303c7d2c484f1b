//! `sortie delegate install`: the join token goes straight into a Secret of the cluster; helm gets only its name.

use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use sortie_cluster::apply::Scope;
use sortie_cluster::lease::Guard;
use sortie_cluster::{Cluster, Resource};
use sortie_delegate::identity::JoinToken;
use sortie_manifest::{Object, Origin};
use sortie_render::tools::{Search, ToolError, find_helm};

use super::delegates::NewToken;
use super::{Remote, delegates};
use crate::args::{DelegateInstall, Output};
use crate::exit::{Exit, Explain, Failure, Result};
use crate::local::connect;
use crate::{Surroundings, duration, print};

/// Life of the join token: long enough for the pod to come up, the image pulled.
const LIFE: std::time::Duration = std::time::Duration::from_secs(duration::HOUR);

impl Explain for ToolError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn code(&self) -> &'static str {
        self.code()
    }

    fn hint(&self) -> Option<String> {
        Some("install helm 4, or leave --run out and run the printed command elsewhere".to_owned())
    }
}

/// Make the token and its Secret, then print the helm command or run it.
pub(crate) async fn run(args: &DelegateInstall, around: &Surroundings) -> Result {
    check(args)?;
    let remote = Remote::connect(around, &args.scope)?;
    let (cluster, namespace) = connect(&args.cluster).await?;
    let has_name = |(_, is_revoked): &(String, bool)| !is_revoked;
    if delegates::of_name(&remote, &args.name)
        .await?
        .iter()
        .any(has_name)
    {
        print::note(&format!(
            "there is a delegate {0} already. Where this is its own installation, it goes on; another one is refused under the name, unless they serve different projects: choose another name, or `sortie delegate revoke {0}` first",
            args.name
        ));
    }
    // What can fail without leaving anything behind comes first.
    let helm = match args.run {
        true => Some(find_helm(None, &Search::from_environment()).await?),
        false => None,
    };
    let label = format!("install of delegate {}", args.name);
    let wanted = NewToken {
        level: args.level,
        // Whoever gets hold of the token cannot take another delegate's place with it.
        name: Some(&args.name),
        label: &label,
        uses: 1,
        life: LIFE,
    };
    let token = delegates::make_token(&remote, wanted).await?;
    let secret = format!("{}-join", args.name);
    ensure_namespace(&cluster, &namespace).await?;
    let former = former_token(&cluster, &namespace, &secret).await?;
    let data = json!({ "token": STANDARD.encode(token.token.expose_secret()) });
    apply(&cluster, &namespace, &json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": { "name": secret, "labels": { "app.kubernetes.io/name": "sortie-delegate", "app.kubernetes.io/instance": args.name } },
        "data": data,
    }))
    .await?;
    if let Some(former) = former {
        delegates::replace_token(&remote, &former).await?;
    }
    print::note(&format!(
        "secret/{secret} in namespace {namespace} holds a join token, good for one delegate until {}",
        print::time(token.expires_at)
    ));
    let command = arguments(args, &namespace, &secret);
    match helm {
        None => printed(&command, &secret, &namespace, around.output),
        Some(helm) => helm_run(&helm.path, &command, args, &namespace, around.output).await?,
    }
    Ok(Exit::Done)
}

fn check(args: &DelegateInstall) -> Result<()> {
    let is_label = |name: &str| {
        (1..=53).contains(&name.len())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && !name.ends_with('-')
    };
    if !is_label(&args.name) {
        return Err(Failure::usage(
            "the delegate's name must be a Helm release name: up to 53 lower-case letters, digits and `-`",
        ));
    }
    if args.cluster.server.address.is_some() || args.cluster.server.impersonate.is_some() {
        return Err(Failure::usage(
            "helm installs the delegate, and reads a kubeconfig: name one in place of --server or --as",
        ));
    }
    let host = args.agent.strip_prefix("https://").unwrap_or_default();
    if host.is_empty() || host.contains(['/', '@', ',', '{', ' ']) {
        return Err(Failure::usage(
            "--agent must be of the form https://HOST:PORT",
        ));
    }
    if let Some(bad) = args.target_namespaces.iter().find(|name| !is_label(name)) {
        return Err(Failure::usage(format!("`{bad}` is no name of a namespace")));
    }
    Ok(())
}

/// What helm is told. No secret is among it.
fn arguments(args: &DelegateInstall, namespace: &str, secret: &str) -> Vec<String> {
    let mut words: Vec<String> = [
        "upgrade",
        "--install",
        &args.name,
        &args.chart,
        "--namespace",
        namespace,
    ]
    .map(str::to_owned)
    .to_vec();
    if let Some(context) = &args.cluster.kube_context {
        words.extend(["--kube-context".to_owned(), context.clone()]);
    }
    if let Some(file) = &args.cluster.kubeconfig {
        words.extend(["--kubeconfig".to_owned(), file.display().to_string()]);
    }
    let mut set = |key: &str, value: &str| {
        words.extend(["--set-string".to_owned(), format!("{key}={value}")])
    };
    set("server", &args.agent);
    set("existingSecret", secret);
    for (place, name) in args.target_namespaces.iter().enumerate() {
        set(&format!("rbac.namespaces[{place}]"), name);
    }
    if let Some(image) = &args.image {
        let (repository, tag) = split_image(image);
        set("image.repository", repository);
        if let Some(tag) = tag {
            set("image.tag", tag);
        }
    }
    words.extend([
        "--wait".to_owned(),
        "--timeout".to_owned(),
        format!("{}s", args.timeout.as_secs()),
    ]);
    words
}

/// Repository and tag; a `:` before the last `/` belongs to a port.
fn split_image(image: &str) -> (&str, Option<&str>) {
    match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (image, None),
    }
}

fn printed(command: &[String], secret: &str, namespace: &str, output: Output) {
    match output {
        Output::Json => print::json(&json!({
            "secret": secret, "namespace": namespace,
            "command": std::iter::once("helm").chain(command.iter().map(String::as_str)).collect::<Vec<_>>(),
        })),
        Output::Text => print::line(&format!(
            "helm {}",
            command
                .iter()
                .map(|word| quoted(word))
                .collect::<Vec<_>>()
                .join(" ")
        )),
    }
}

/// A word as a shell takes it whole.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

async fn helm_run(
    helm: &std::path::Path,
    command: &[String],
    args: &DelegateInstall,
    namespace: &str,
    output: Output,
) -> Result<()> {
    let failed = |reason: String| Failure {
        code: Some("SRT-Z010".to_owned()),
        ..Failure::new(
            Exit::Failed,
            format!("helm could not install delegate {}: {reason}", args.name),
        )
        .hint(format!(
            "kubectl -n {namespace} get pods,events shows more; the same command can be run again"
        ))
    };
    let mut child = tokio::process::Command::new(helm)
        .args(command)
        .stdin(Stdio::null())
        // What helm says is about the installation, not its result.
        .stdout(Stdio::from(std::io::stderr()))
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let status = child
        .wait()
        .await
        .map_err(|error| failed(error.to_string()))?;
    if !status.success() {
        return Err(failed(status.to_string()));
    }
    match output {
        Output::Json => print::json(
            &json!({ "delegate": args.name, "namespace": namespace, "outcome": "installed" }),
        ),
        Output::Text => print::line(&format!(
            "delegate {} is installed in namespace {namespace}",
            args.name
        )),
    }
    Ok(())
}

/// The public part of the join token that an earlier installation left.
async fn former_token(cluster: &Cluster, namespace: &str, secret: &str) -> Result<Option<String>> {
    let found = cluster
        .get(&Resource::secrets(), Some(namespace), secret)
        .await?;
    let token = found
        .and_then(|found| STANDARD.decode(found["data"]["token"].as_str()?).ok())
        .and_then(|token| String::from_utf8(token).ok())
        .map(SecretString::from);
    Ok(token.and_then(|token| {
        let parsed = JoinToken::parse(token.expose_secret()).ok()?;
        Some(parsed.id)
    }))
}

async fn ensure_namespace(cluster: &Cluster, namespace: &str) -> Result<()> {
    if cluster
        .get(&Resource::namespaces(), None, namespace)
        .await?
        .is_some()
    {
        return Ok(());
    }
    apply(
        cluster,
        namespace,
        &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
    )
    .await
}

/// One object of ours, outside any release.
async fn apply(cluster: &Cluster, namespace: &str, object: &Value) -> Result<()> {
    let origin = Origin::outside("-");
    let object = Object::from_value(object.clone(), origin)
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    let targets = cluster
        .locate(vec![object], namespace)
        .await
        .map_err(first)?;
    let planned = cluster
        .plan(targets, &Scope::default())
        .await
        .map_err(first)?;
    for object in &planned {
        cluster.apply(object, &Guard::unfenced()).await?;
    }
    Ok(())
}

/// The first of several errors; there is only one object.
fn first(errors: Vec<sortie_cluster::Error>) -> Failure {
    match errors.into_iter().next() {
        Some(error) => error.into(),
        None => Failure::new(Exit::Failed, "the cluster refused without a reason"),
    }
}
