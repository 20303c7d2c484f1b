//! What a kubeconfig says, for those who do without one.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Runs kubectl as the kubeconfig's user.
pub fn kubectl(kubeconfig: &Path, arguments: &[&str]) -> String {
    let program = sortie_testkit::environment::tool("kubectl").unwrap();
    let mut command = std::process::Command::new(program);
    let output = command
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(arguments)
        .output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Address of the API server.
pub fn server(kubeconfig: &Path) -> String {
    of_cluster(kubeconfig, "server")
}

/// Certificate authority of the API server, PEM.
pub fn authority(kubeconfig: &Path) -> String {
    let authority = STANDARD.decode(of_cluster(kubeconfig, "certificate-authority-data"));
    String::from_utf8(authority.unwrap()).unwrap()
}

fn of_cluster(kubeconfig: &Path, field: &str) -> String {
    let path = format!("jsonpath={{.clusters[0].cluster.{field}}}");
    kubectl(kubeconfig, &["config", "view", "--raw", "-o", &path])
}
