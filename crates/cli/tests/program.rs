//! The program without a control plane and without a cluster.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::json;
use support::{Person, hello};

const BROKEN: &str = "service:\n  name: web\n  identifer: web\n  serviceDefinition: 3\n";

#[tokio::test]
async fn validate_reports_in_the_documented_form() {
    let me = Person::new();
    me.file("broken.yaml", BROKEN);
    let ended = me.sortie(&["validate", "broken.yaml", "-o", "json"]).await;
    assert_eq!(ended.code, 1);
    let report = ended.json();
    let keys = |value: &serde_json::Value| -> Vec<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(keys(&report), ["files", "entities", "errors", "warnings"]);
    assert_eq!(report["files"], 1);
    let findings: Vec<_> = ["errors", "warnings"]
        .iter()
        .flat_map(|kind| report[kind].as_array().unwrap())
        .collect();
    assert!(!findings.is_empty());
    for finding in findings {
        assert_eq!(
            keys(finding),
            ["file", "line", "column", "path", "code", "message"]
        );
        assert_eq!(finding["file"], "broken.yaml");
        assert!(finding["line"].as_u64().unwrap() >= 1);
    }
    let codes: Vec<_> = report["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["code"])
        .collect();
    assert!(codes.contains(&&json!("SRT-E012")), "{codes:?}");
    assert!(
        report["warnings"][0]["message"]
            .as_str()
            .unwrap()
            .contains("identifier")
    );
}

#[tokio::test]
async fn validate_reads_a_folder_flat_and_finds_the_example_sound() {
    let me = Person::new();
    let hello = hello();
    let ended = me
        .sortie(&[
            "validate",
            hello.to_str().unwrap(),
            "--strict",
            "-o",
            "json",
        ])
        .await
        .ok();
    assert_eq!(ended.json()["errors"], json!([]));
    // Below it lie Go templates, which are no entities.
    let ended = me
        .sortie(&["validate", "-R", hello.to_str().unwrap()])
        .await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.stdout.contains("files/manifests/deployment.yaml:"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn validate_takes_hostile_files() {
    let me = Person::new();
    let deep = format!("service: {}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e]\nservice: [*f,*f,*f,*f,*f,*f,*f,*f]\n";
    let huge = "a".repeat(5 << 20);
    for (name, text) in [
        ("deep.yaml", deep.as_str()),
        ("bomb.yaml", bomb),
        ("huge.yaml", &huge),
    ] {
        me.file(name, text);
        let ended = me.sortie(&["validate", name]).await;
        assert_eq!(ended.code, 1, "{name}: {ended:?}");
        assert!(
            ended.stdout.contains(&format!("error: {name}:")),
            "{name}: {ended:?}"
        );
    }
    std::fs::write(me.path().join("bytes.yaml"), [0xff, 0xfe, 0x00]).unwrap();
    assert_eq!(me.sortie(&["validate", "bytes.yaml"]).await.code, 1);
}

#[tokio::test]
async fn validate_reads_stdin() {
    let me = Person::new();
    let ended = me.sortie_with(&["validate", "-"], BROKEN).await;
    assert_eq!(ended.code, 1);
    assert!(ended.stdout.contains("error: -:"), "{ended:?}");
}

#[tokio::test]
async fn validate_notices_files_without_documents() {
    let me = Person::new();
    for (name, text) in [
        ("empty.yaml", ""),
        ("comments.yaml", "# nothing\n---\n# here\n"),
        ("-", "\n"),
    ] {
        if name != "-" {
            me.file(name, text);
        }
        let ended = me.sortie_with(&["validate", name], text).await.ok();
        let warning = format!("warning: {name}:1:1: SRT-Z014 no documents in {name}");
        assert_eq!(ended.stdout.lines().next(), Some(warning.as_str()));
        let ended = me
            .sortie_with(&["validate", name, "--strict", "-o", "json"], text)
            .await;
        assert_eq!(ended.code, 1, "{ended:?}");
        assert_eq!(ended.json()["errors"][0]["code"], "SRT-Z014");
    }
}

#[tokio::test]
async fn validate_ends_on_input_without_end() {
    let me = Person::new();
    let ended = me.sortie(&["validate", "/dev/zero"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stdout.contains("SRT-E001"), "{ended:?}");
}

#[tokio::test]
async fn apply_reads_no_more_than_a_control_plane_takes() {
    let me = Person::new()
        .with("SORTIE_SERVER", "http://127.0.0.1:1")
        .with("SORTIE_TOKEN", "sortie_none");
    let large = me.file("large.yaml", &"# nothing\n".repeat(300_000));
    let large = large.to_str().unwrap();
    for (files, told) in [
        (&["/dev/zero"][..], "/dev/zero is larger than 4 MiB"),
        (&[large, large], "are larger than 4 MiB together"),
    ] {
        let files = files.iter().flat_map(|file| ["-f", *file]);
        let arguments: Vec<&str> = std::iter::once("apply").chain(files).collect();
        let ended = me.sortie(&arguments).await;
        assert_eq!(ended.code, 2, "before anything is sent: {ended:?}");
        assert!(ended.stderr.contains(told), "{ended:?}");
    }
}

#[tokio::test]
async fn exit_codes_tell_what_happened() {
    let me = Person::new();
    me.file(
        "entity.yaml",
        "environment:\n  name: a\n  identifier: a\n  type: Production\n",
    );
    std::fs::create_dir(me.path().join("empty")).unwrap();
    let table: &[(&[&str], i32, &str)] = &[
        (&[], 2, "Usage"),
        (&["--help"], 0, ""),
        (&["--version"], 0, ""),
        (&["fly"], 2, "unrecognized"),
        (&["delegate"], 2, "Usage"),
        (&["get", "pipelines", "-o", "xml"], 2, "xml"),
        (&["get", "executions", "--limit", "0"], 2, "--limit"),
        (&["validate"], 2, "PATH"),
        (&["validate", "none.yaml"], 4, "cannot read none.yaml"),
        (&["validate", "empty"], 2, "-R"),
        (&["validate", "entity.yaml"], 0, ""),
        (&["run", "hello", "--set", "version"], 2, "NAME=VALUE"),
        (
            &["deploy", "x.yaml", "--release", "web", "--timeout", "0s"],
            2,
            "at least one second",
        ),
        (&["get", "pipelines"], 2, "sortie login"),
        (
            &["delegate", "token", "create", "--expires-in", "90m"],
            2,
            "whole hours",
        ),
        (
            &[
                "deploy",
                "entity.yaml",
                "--release",
                "web",
                "--kubeconfig",
                "none",
            ],
            2,
            "SRT-C001",
        ),
        (&["login", "ftp://x"], 2, "token"),
    ];
    for (arguments, code, words) in table {
        let ended = me.sortie(arguments).await;
        assert_eq!(ended.code, *code, "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(words), "{arguments:?}: {ended:?}");
    }
}

#[tokio::test]
async fn where_nobody_answers_the_exit_code_is_3() {
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let me = Person::new()
        .with("SORTIE_SERVER", &format!("http://{free}"))
        .with("SORTIE_TOKEN", "sortie_a_hunter2");
    for arguments in [
        &["get", "pipelines"][..],
        &["watch", "x"],
        &["logs", "x"],
        &["run", "x"],
    ] {
        let ended = me.sortie(arguments).await;
        assert_eq!(ended.code, 3, "{arguments:?}: {ended:?}");
        assert!(
            ended.stderr.contains("no answer from the control plane"),
            "{ended:?}"
        );
        assert!(ended.stderr.contains("SRT-Z006"), "{ended:?}");
        assert!(!ended.stderr.contains("hunter2"), "{ended:?}");
    }
    let ended = me.sortie(&["get", "pipelines", "-o", "json"]).await;
    let error: serde_json::Value = serde_json::from_str(&ended.stderr).unwrap();
    assert_eq!(error["error"]["code"], "SRT-Z006");
    assert_eq!(error["error"]["exit"], 3);
    assert_eq!(ended.stdout, "");
}

#[tokio::test]
async fn a_completion_script_knows_the_verbs() {
    let me = Person::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = me.sortie(&["completion", shell]).await.ok().stdout;
        assert!(script.contains("rollback"), "{shell}");
    }
}

#[test]
fn every_code_of_ours_has_its_page() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = vec![folder.join("src")];
    let mut codes = std::collections::BTreeSet::new();
    while let Some(path) = sources.pop() {
        if path.is_dir() {
            sources.extend(
                std::fs::read_dir(path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
            continue;
        }
        let text = std::fs::read_to_string(path).unwrap();
        codes.extend(
            text.match_indices("SRT-Z")
                .map(|(at, _)| text[at..at + 8].to_owned()),
        );
    }
    assert!(codes.len() >= 9, "{codes:?}");
    for code in codes {
        let page = folder.join("../../docs/errors").join(format!("{code}.md"));
        let text = std::fs::read_to_string(&page).unwrap_or_else(|_| panic!("{code} has no page"));
        assert!(text.starts_with(&format!("# {code}")), "{code}");
    }
}

#[tokio::test]
async fn a_result_that_cannot_be_written_is_a_failure() {
    let me = Person::new();
    me.file(
        "set.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config}\n",
    );
    let to = |arguments: &[&str], stdout: std::process::Stdio| {
        let child = me.command(arguments).stdout(stdout).spawn().unwrap();
        child.wait_with_output()
    };
    let json = ["render", "set.yaml", "-o", "json"];
    for verb in [
        &["render", "set.yaml"][..],
        &json,
        &["--help"],
        &["--version"],
    ] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
        let ended = to(verb, full.unwrap().into()).await.unwrap();
        let told = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{verb:?}: {told}");
        assert!(
            told.contains("No space left") && told.contains("SRT-Z017"),
            "{verb:?}: {told}"
        );
        // A reader that went away is no failure.
        let (reader, gone) = std::io::pipe().unwrap();
        drop(reader);
        let ended = to(verb, gone.into()).await.unwrap();
        let told = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(
            (ended.status.code(), told.as_str()),
            (Some(0), ""),
            "{verb:?}"
        );
    }
}

#[tokio::test]
async fn names_are_checked_before_anybody_is_asked() {
    let me = Person::new();
    me.file("set.yaml", "");
    let bad = ["../../x", "a/b", "", "a%2fb", "Bad Ns"];
    for verb in [
        &["status"][..],
        &["history"],
        &["deploy", "set.yaml"],
        &["diff", "set.yaml"],
        &["rollback"],
        &["uninstall", "--yes"],
        &["health"],
        &["render", "set.yaml"],
    ] {
        for bad in bad {
            let (namespace, release) = (format!("--namespace={bad}"), format!("--release={bad}"));
            for named in [[&namespace, "--release=web"], ["-n=shop", &release]] {
                let ended = me.sortie(&[verb, &named].concat()).await;
                assert_eq!(ended.code, 2, "{verb:?} {named:?}: {ended:?}");
                let told = "lower-case letters, digits";
                assert!(ended.stderr.contains(told), "{verb:?} {named:?}: {ended:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_object_is_told_with_what_to_do() {
    let me = Person::new();
    me.file("bad.yaml", "apiVersion: v1\nmetadata: {name: a}\n");
    let ended = me.sortie(&["health", "-f", "bad.yaml"]).await;
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("bad.yaml:1"), "{ended:?}");
    assert!(ended.stderr.contains("hint: "), "{ended:?}");
}
