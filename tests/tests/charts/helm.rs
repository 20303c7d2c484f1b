//! helm as a user calls it.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use sortie_testkit::environment::{repository, tool};

/// The delegate's chart.
pub(crate) const DELEGATE: &str = "sortie-delegate";
/// The control plane's chart.
pub(crate) const SERVER: &str = "sortie-server";

/// Runs `program` of the built tools with `input` and returns what it printed, or what it said when it failed.
pub(crate) fn run(program: &str, arguments: &[&str], input: &str) -> Result<String, String> {
    let mut child = Command::new(tool(program).unwrap())
        .args(arguments)
        .current_dir(repository())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A program that has seen enough closes its input.
    stdin.write_all(input.as_bytes()).ok();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    match output.status.success() {
        true => Ok(stdout),
        false => Err(stdout + &stderr),
    }
}

/// The text that `chart` renders for the release `demo` in `namespace`.
pub(crate) fn template(chart: &str, namespace: &str, values: &str) -> Result<String, String> {
    let chart = format!("helm/{chart}");
    run(
        "helm",
        &["template", "demo", &chart, "-n", namespace, "-f", "-"],
        values,
    )
}

/// The objects that `chart` renders.
pub(crate) fn objects(chart: &str, namespace: &str, values: &str) -> Vec<Value> {
    let text =
        template(chart, namespace, values).unwrap_or_else(|error| panic!("{values}: {error}"));
    parse(&text)
}

/// The documents of a YAML stream.
pub(crate) fn parse(text: &str) -> Vec<Value> {
    let documents: Vec<Option<Value>> = serde_saphyr::from_multiple(text).unwrap();
    documents.into_iter().flatten().collect()
}

/// The only object of `kind`.
#[track_caller]
pub(crate) fn only<'a>(objects: &'a [Value], kind: &'a str) -> &'a Value {
    let found: Vec<_> = of_kind(objects, kind).collect();
    assert_eq!(found.len(), 1, "objects of kind {kind}");
    found[0]
}

/// The objects of `kind`.
pub(crate) fn of_kind<'a>(objects: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| object["kind"] == kind)
}

/// The container of the one Deployment that runs the program; one that runs hooks may be beside it.
#[track_caller]
pub(crate) fn container(objects: &[Value]) -> &Value {
    let containers = &only(objects, "Deployment")["spec"]["template"]["spec"]["containers"];
    let beside = &containers.as_array().unwrap()[1..];
    assert!(beside.iter().all(|beside| beside["name"] == "runner"));
    &containers[0]
}

/// kubectl with `input`.
pub(crate) fn kubectl(
    kubeconfig: &Path,
    arguments: &[&str],
    input: &str,
) -> Result<String, String> {
    let kubeconfig = kubeconfig.display().to_string();
    let arguments = [&["--kubeconfig", &kubeconfig], arguments].concat();
    run("kubectl", &arguments, input)
}
