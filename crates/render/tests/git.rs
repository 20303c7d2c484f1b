//! Fetching from a real git server over TLS with basic auth.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use secrecy::SecretString;
use sortie_render::Workspace;
use sortie_render::git::{
    Credentials, Error, FetchLimits, FetchedFiles, GitSource, Network, Reference, fetch,
};
use sortie_render::tools::{Search, Tool, find_git};
use sortie_testkit::GitServer;

struct Bench {
    server: GitServer,
    git: Tool,
    folder: tempfile::TempDir,
    ca: PathBuf,
    workspace: Workspace,
}

impl Bench {
    async fn start() -> Self {
        let server = GitServer::local().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, server.ca_pem()).unwrap();
        let git = find_git(None, &Search::from_environment()).await.unwrap();
        let workspace = Workspace::create_in(folder.path()).unwrap();
        Self {
            server,
            git,
            folder,
            ca,
            workspace,
        }
    }

    fn source(&self, repository: &str, reference: Reference, paths: &[&str]) -> GitSource {
        GitSource {
            url: self.server.repo_url(repository),
            reference,
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            credentials: Some(Credentials {
                username: self.server.username().to_owned(),
                password: SecretString::from(self.server.password().to_owned()),
            }),
            ca_file: Some(self.ca.clone()),
            network: Network::default(),
        }
    }

    async fn fetch(&self, source: &GitSource) -> Result<FetchedFiles, Error> {
        self.fetch_within(source, &FetchLimits::default()).await
    }

    async fn fetch_within(
        &self,
        source: &GitSource,
        limits: &FetchLimits,
    ) -> Result<FetchedFiles, Error> {
        let result = fetch(source, &self.git, &self.workspace, limits).await;
        let left: Vec<_> = std::fs::read_dir(self.workspace.path()).unwrap().collect();
        assert!(left.is_empty(), "left behind: {left:?}");
        if let Err(error) = &result {
            let text = format!("{error} {error:?} {source:?}");
            assert!(
                !text.contains(self.server.password()),
                "the password is shown: {text}"
            );
            assert!(!error.help().is_empty());
        }
        result
    }

    /// Commits whatever `change` does to a clone, and pushes it.
    fn push(&self, repository: &str, change: impl FnOnce(&Path)) {
        let clone = self.folder.path().join("clone");
        let address = self.server.repo_url(repository).replacen(
            "https://",
            &format!(
                "https://{}:{}@",
                self.server.username(),
                self.server.password()
            ),
            1,
        );
        let git = |folder: &Path, arguments: &[&str]| {
            let done = Command::new("git")
                .current_dir(folder)
                .env("GIT_SSL_CAINFO", &self.ca)
                .env("GIT_CONFIG_GLOBAL", "/dev/null")
                .args(["-c", "user.name=t", "-c", "user.email=t@example.com"])
                .args(arguments)
                .output()
                .unwrap();
            assert!(
                done.status.success(),
                "{arguments:?}: {}",
                String::from_utf8_lossy(&done.stderr)
            );
        };
        git(self.folder.path(), &["clone", "-q", &address, "clone"]);
        change(&clone);
        git(&clone, &["add", "-A"]);
        git(&clone, &["commit", "-q", "-m", "x"]);
        git(&clone, &["push", "-q", "origin", "HEAD"]);
        std::fs::remove_dir_all(clone).unwrap();
    }
}

fn main_branch() -> Reference {
    Reference::Branch("main".to_owned())
}

fn paths(fetched: &FetchedFiles) -> Vec<&str> {
    fetched
        .files
        .iter()
        .map(|file| file.path.as_str())
        .collect()
}

#[tokio::test]
async fn branches_tags_and_commits_are_fetched() {
    let bench = Bench::start().await;
    let first = bench
        .server
        .create_repo(
            "app",
            &[
                ("k8s/web.yaml", "v: 1\n"),
                ("k8s/sub/db.yaml", "d: 1\n"),
                ("README.md", "r"),
            ],
        )
        .await
        .unwrap();
    bench.server.tag("app", "v1.0").await.unwrap();
    let second = bench
        .server
        .push("app", &[("k8s/web.yaml", "v: 2\n")])
        .await
        .unwrap();
    bench
        .server
        .push_to("app", "feature/x", &[("k8s/web.yaml", "v: 3\n")])
        .await
        .unwrap();

    let table = [
        (main_branch(), Some(&second), "v: 2\n"),
        (Reference::Tag("v1.0".to_owned()), Some(&first), "v: 1\n"),
        (Reference::Commit(first.clone()), Some(&first), "v: 1\n"),
        (Reference::Branch("feature/x".to_owned()), None, "v: 3\n"),
    ];
    for (reference, commit, content) in table {
        let fetched = bench
            .fetch(&bench.source("app", reference.clone(), &["k8s/web.yaml"]))
            .await
            .unwrap();
        assert_eq!(paths(&fetched), ["k8s/web.yaml"]);
        assert_eq!(fetched.files[0].text(), Some(content), "{reference}");
        assert!(
            commit.is_none_or(|commit| *commit == fetched.commit),
            "{reference}"
        );
    }

    let fetched = bench
        .fetch(&bench.source(
            "app",
            main_branch(),
            &["/k8s/", "k8s/web.yaml", "./README.md"],
        ))
        .await
        .unwrap();
    assert_eq!(
        paths(&fetched),
        ["k8s/sub/db.yaml", "k8s/web.yaml", "README.md"]
    );
    let fetched = bench
        .fetch(&bench.source("app", main_branch(), &[]))
        .await
        .unwrap();
    assert_eq!(fetched.files.len(), 3);

    let mut anonymous = bench.source("app", main_branch(), &["README.md"]);
    anonymous.credentials = None;
    anonymous.url = bench.server.anonymous_url("app");
    assert_eq!(
        bench.fetch(&anonymous).await.unwrap().files[0].text(),
        Some("r")
    );
}

#[tokio::test]
async fn each_fault_has_its_own_error() {
    let bench = Bench::start().await;
    bench
        .server
        .create_repo("app", &[("a.yaml", "a: 1\n")])
        .await
        .unwrap();
    let good = bench.source("app", main_branch(), &["a.yaml"]);

    let mut wrong = good.clone();
    wrong.credentials = Some(Credentials {
        username: "deployer".to_owned(),
        password: SecretString::from("wrong-password"),
    });
    assert_eq!(bench.fetch(&wrong).await.unwrap_err().code(), "SRT-R012");
    wrong.credentials = None;
    let error = bench.fetch(&wrong).await.unwrap_err();
    assert_eq!(error.code(), "SRT-R012");
    assert!(error.to_string().ends_with("none were given"), "{error}");

    let mut source = bench.source("nowhere", main_branch(), &[]);
    assert_eq!(bench.fetch(&source).await.unwrap_err().code(), "SRT-R013");
    for reference in [
        Reference::Branch("nowhere".to_owned()),
        Reference::Tag("main".to_owned()),
        Reference::Commit("0123456789012345678901234567890123456789".to_owned()),
    ] {
        source = bench.source("app", reference.clone(), &[]);
        assert_eq!(
            bench.fetch(&source).await.unwrap_err().code(),
            "SRT-R014",
            "{reference}"
        );
    }
    let error = bench
        .fetch(&bench.source("app", main_branch(), &["a.yaml", "A.yaml"]))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "SRT-R015");
    assert!(error.to_string().contains("\"A.yaml\""), "{error}");

    source = good.clone();
    source.ca_file = None;
    let error = bench.fetch(&source).await.unwrap_err();
    assert_eq!(
        (error.code(), error.is_transient()),
        ("SRT-R016", false),
        "{error}"
    );
    source = good.clone();
    source.url = "https://nowhere.invalid/x.git".to_owned();
    let error = bench.fetch(&source).await.unwrap_err();
    assert_eq!(
        (error.code(), error.is_transient()),
        ("SRT-R017", true),
        "{error}"
    );
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    source.url = format!("https://{closed}/x.git");
    assert_eq!(bench.fetch(&source).await.unwrap_err().code(), "SRT-R018");
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let bench = Bench::start().await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut source = bench.source("x", main_branch(), &[]);
    source.url = format!("http://{}/x.git", silent.local_addr().unwrap());
    // With the shortest, the limits of git and of the whole fetch pass together: either may be noticed first.
    for time in [1, 1, 1, 1, 500] {
        let limits = FetchLimits {
            time: Duration::from_millis(time),
            ..FetchLimits::default()
        };
        let error = bench.fetch_within(&source, &limits).await.unwrap_err();
        assert_eq!(
            (error.code(), error.is_transient()),
            ("SRT-R004", true),
            "{error}"
        );
    }
}

#[tokio::test]
async fn sizes_are_limited() {
    let bench = Bench::start().await;
    // Text that does not compress away.
    let noise: String = (0..400_000_u64)
        .map(|n| {
            char::from(
                b'a' + u8::try_from(
                    (n.wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(n * n)
                        >> 33)
                        % 26,
                )
                .unwrap(),
            )
        })
        .collect();
    bench
        .server
        .create_repo(
            "big",
            &[
                ("a.yaml", "a: 1\n"),
                ("b.yaml", "b: 1\n"),
                ("noise", &noise),
            ],
        )
        .await
        .unwrap();
    let source = bench.source("big", main_branch(), &[]);
    let usual = FetchLimits::default();
    for limits in [
        FetchLimits {
            bytes: 1000,
            ..usual
        },
        FetchLimits { files: 2, ..usual },
        FetchLimits {
            repository: 20_000,
            ..usual
        },
    ] {
        let error = bench.fetch_within(&source, &limits).await.unwrap_err();
        assert_eq!(error.code(), "SRT-R020", "{limits:?}: {error}");
    }
    let narrow = bench.source("big", main_branch(), &["a.yaml", "b.yaml"]);
    let limits = FetchLimits {
        bytes: 10,
        files: 2,
        ..usual
    };
    assert_eq!(
        bench
            .fetch_within(&narrow, &limits)
            .await
            .unwrap()
            .files
            .len(),
        2
    );
}

#[tokio::test]
async fn nothing_of_a_repository_takes_effect() {
    let bench = Bench::start().await;
    bench
        .server
        .create_repo(
            "evil",
            &[
                ("safe/a.yaml", "a: $Id$\r\n"),
                (
                    "lfs/big.yaml",
                    "version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
                ),
            ],
        )
        .await
        .unwrap();
    let mark = bench.folder.path().join("mark");
    bench.push("evil", |clone| {
        std::fs::create_dir(clone.join("links")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", clone.join("links/a.yaml")).unwrap();
        std::os::unix::fs::symlink("/etc", clone.join("outside")).unwrap();
        let attributes = format!("* filter=evil ident\n[attr]x\n# {}\n", mark.display());
        std::fs::write(clone.join("safe/.gitattributes"), attributes).unwrap();
        std::fs::write(
            clone.join(".gitmodules"),
            "[submodule \"x\"]\n\tpath = x\n\turl = file:///etc\n",
        )
        .unwrap();
        std::fs::write(clone.join("safe/wild[*].yaml"), "w: 1\n").unwrap();
    });
    let fetched = bench
        .fetch(&bench.source("evil", main_branch(), &["safe/a.yaml"]))
        .await
        .unwrap();
    assert_eq!(fetched.files[0].text(), Some("a: $Id$\r\n"));
    let fetched = bench
        .fetch(&bench.source("evil", main_branch(), &["safe/wild[*].yaml"]))
        .await
        .unwrap();
    assert_eq!(paths(&fetched), ["safe/wild[*].yaml"]);
    for (path, code) in [
        ("links", "SRT-R021"),
        ("outside", "SRT-R021"),
        ("outside/passwd", "SRT-R015"),
        ("lfs", "SRT-R022"),
        ("safe/*.yaml", "SRT-R015"),
        (":(glob)**", "SRT-R015"),
    ] {
        let error = bench
            .fetch(&bench.source("evil", main_branch(), &[path]))
            .await
            .unwrap_err();
        assert_eq!(error.code(), code, "{path}: {error}");
    }
    assert!(!mark.exists());
}

#[tokio::test]
async fn a_dropped_fetch_leaves_no_process_behind() {
    let bench = Bench::start().await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut source = bench.source("x", main_branch(), &[]);
    source.url = format!("http://{}/x.git", silent.local_addr().unwrap());
    let limits = FetchLimits {
        time: Duration::from_secs(600),
        ..FetchLimits::default()
    };
    let fetching = fetch(&source, &bench.git, &bench.workspace, &limits);
    let mut connection = tokio::select! {
        _ = fetching => panic!("the server never answers"),
        accepted = silent.accept() => accepted.unwrap().0,
    };
    // The other end closes only when git's helper process is gone.
    let mut rest = Vec::new();
    let end = tokio::io::AsyncReadExt::read_to_end(&mut connection, &mut rest);
    tokio::time::timeout(Duration::from_secs(30), end)
        .await
        .unwrap()
        .ok();
    assert_eq!(
        std::fs::read_dir(bench.workspace.path()).unwrap().count(),
        0
    );
}
