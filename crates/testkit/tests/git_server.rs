//! The git server is a real one: clone, push, refuse.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    path::Path,
    process::{Command, Output},
};

use sortie_testkit::GitServer;

fn git(server: &GitServer, dir: &Path, arguments: &[&str]) -> Output {
    let ca = dir.join("ca.pem");
    std::fs::write(&ca, server.ca_pem()).unwrap();
    let mut command = Command::new("git");
    command.current_dir(dir).args(arguments);
    command
        .env("GIT_SSL_CAINFO", ca)
        .env("GIT_TERMINAL_PROMPT", "0");
    command
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("HOME", dir);
    for role in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{role}_NAME"), "T")
            .env(format!("GIT_{role}_EMAIL"), "t@example.com");
    }
    command.output().unwrap()
}

fn with_credentials(server: &GitServer, url: &str) -> String {
    let credentials = format!("https://{}:{}@", server.username(), server.password());
    url.replace("https://", &credentials)
}

#[tokio::test]
async fn clone_and_push_need_the_password() {
    let server = GitServer::local().await.unwrap();
    let first = server
        .create_repo("app", &[("deploy/web.yaml", "a: 1\n")])
        .await
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let url = server.repo_url("app");

    let refused = git(&server, dir.path(), &["clone", "-q", &url, "no"]);
    assert!(!refused.status.success());
    let wrong = url.replace("https://", "https://deployer:wrong@");
    let refused = git(&server, dir.path(), &["clone", "-q", &wrong, "no"]);
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("Authentication failed"),
        "{refused:?}"
    );

    let right = with_credentials(&server, &url);
    let cloned = git(&server, dir.path(), &["clone", "-q", &right, "app"]);
    assert!(cloned.status.success(), "{cloned:?}");
    let text = std::fs::read_to_string(dir.path().join("app/deploy/web.yaml")).unwrap();
    assert_eq!(text, "a: 1\n");

    let app = dir.path().join("app");
    std::fs::write(app.join("more.txt"), "more").unwrap();
    for arguments in [
        &["add", "-A"][..],
        &["commit", "-q", "-m", "more"],
        &["push", "-q"],
    ] {
        let output = git(&server, &app, arguments);
        assert!(output.status.success(), "{output:?}");
    }
    let third = server
        .push("app", &[("deploy/web.yaml", "a: 2\n")])
        .await
        .unwrap();
    assert_ne!(first, third);
    let pulled = git(&server, &app, &["pull", "-q"]);
    assert!(pulled.status.success(), "{pulled:?}");
    assert_eq!(
        std::fs::read_to_string(app.join("deploy/web.yaml")).unwrap(),
        "a: 2\n"
    );
    assert!(app.join("more.txt").exists(), "a pushed commit was lost");
}

#[tokio::test]
async fn branches_tags_and_single_commits_can_be_fetched_by_anybody() {
    let server = GitServer::local().await.unwrap();
    let first = server
        .create_repo("app", &[("version", "1")])
        .await
        .unwrap();
    server.tag("app", "v1").await.unwrap();
    server.push("app", &[("version", "2")]).await.unwrap();
    let other = server
        .push_to("app", "release/3", &[("version", "3")])
        .await
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let url = server.anonymous_url("app");

    let listed = git(&server, dir.path(), &["ls-remote", &url]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(
        listed.contains(&format!("{first}\trefs/tags/v1")),
        "{listed}"
    );
    assert!(
        listed.contains(&format!("{other}\trefs/heads/release/3")),
        "{listed}"
    );
    for arguments in [
        &["init", "-q"][..],
        &["fetch", "-q", "--depth=1", &url, &first],
    ] {
        let output = git(&server, dir.path(), arguments);
        assert!(output.status.success(), "{output:?}");
    }
    let shown = git(&server, dir.path(), &["show", "FETCH_HEAD:version"]);
    assert_eq!(shown.stdout, b"1");
    let pushed = git(
        &server,
        dir.path(),
        &["push", "-q", &url, "FETCH_HEAD:refs/heads/evil"],
    );
    assert!(!pushed.status.success());
}

#[tokio::test]
async fn another_authority_is_not_trusted_and_nothing_runs_afterwards() {
    let (server, other) = tokio::join!(GitServer::local(), GitServer::local());
    let (server, other) = (server.unwrap(), other.unwrap());
    server.create_repo("app", &[("a", "b")]).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let url = server.anonymous_url("app");
    let refused = git(&other, dir.path(), &["ls-remote", &url]);
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("certificate"),
        "{refused:?}"
    );
    drop(server);
    let gone = git(&other, dir.path(), &["ls-remote", &url]);
    assert!(
        String::from_utf8_lossy(&gone.stderr).contains("connect to server"),
        "{gone:?}"
    );
}
