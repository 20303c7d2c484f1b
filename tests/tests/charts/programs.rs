//! The programs take the settings that the charts write for them.

use std::process::Command;

use crate::helm::{DELEGATE, SERVER, objects, only};
use crate::rendering::MATRIX;

/// The settings in force, as `program` prints them when it is given the file of the chart.
fn print_config(program: &str, settings: &str) -> String {
    // target/debug/deps/TEST -> target/debug/NAME, which `make test` builds.
    let own = std::env::current_exe().unwrap();
    let program = own.parent().unwrap().parent().unwrap().join(program);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), settings).unwrap();
    let mut command = Command::new(&program);
    command
        .arg("--config")
        .arg(file.path())
        .arg("--print-config");
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{settings}\n{errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_server_takes_its_settings() {
    for (chart, values) in MATRIX.iter().filter(|(chart, _)| *chart == SERVER) {
        let objects = objects(chart, "ns", values);
        let settings = only(&objects, "ConfigMap")["data"]["server.yaml"]
            .as_str()
            .unwrap();
        let printed = print_config("sortie-server", settings);
        let address = |text: &str| {
            let settings: serde_json::Value = serde_saphyr::from_str(text).unwrap();
            settings["agent"]["address"].as_str().map(str::to_owned)
        };
        assert_eq!(address(&printed), address(settings), "{printed}");
    }
}

#[test]
fn the_delegate_takes_its_settings() {
    for (chart, values) in MATRIX.iter().filter(|(chart, _)| *chart == DELEGATE) {
        let objects = objects(chart, "ns", values);
        let settings = only(&objects, "ConfigMap")["data"]["delegate.yaml"]
            .as_str()
            .unwrap();
        let printed = print_config("sortie-delegate", settings);
        assert!(
            printed.contains("demo-sortie-delegate-identity"),
            "{printed}"
        );
    }
}
