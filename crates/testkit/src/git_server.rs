//! A git server as in the field: `git http-backend` behind nginx and fcgiwrap, TLS by a test CA, basic auth.

use std::{
    fs::OpenOptions,
    io::Write as _,
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::OpenOptionsExt as _,
    path::{Component, Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use rand::RngExt as _;
use tempfile::TempDir;

use crate::cluster::{
    Cluster, blocking,
    journal::{Entry, Journal},
    network,
    pki::{Authority, Subject},
    process::{ProcessId, run_command, start_detached, wait_until},
};

/// Branch of new repositories.
const MAIN: &str = "main";

/// A running git server, stopped when dropped.
#[derive(Debug)]
pub struct GitServer {
    url: String,
    ca_pem: String,
    username: String,
    password: String,
    dir: TempDir,
    processes: Vec<ProcessId>,
}

/// Where it listens, and who takes care of it when its test is killed.
#[derive(Debug)]
struct Place {
    address: Ipv4Addr,
    netns: Option<String>,
    journal: Option<Journal>,
}

impl GitServer {
    /// Listens on the cluster's bridge: this machine, the nodes and the pods reach it under the same address.
    pub async fn start(cluster: &Cluster) -> Result<Self> {
        let (Some(number), Some(dir)) = (cluster.number(), cluster.dir()) else {
            bail!(
                "pods of the cluster {} would not reach a git server of this machine",
                cluster.name()
            );
        };
        let address = network::bridge_address(number);
        let netns = Some(network::control_namespace(number));
        let journal = Some(Journal::of(dir));
        blocking(move || {
            launch(&Place {
                address,
                netns,
                journal,
            })
        })
        .await
    }

    /// Listens on 127.0.0.1, for tests without a cluster.
    pub async fn local() -> Result<Self> {
        let address = Ipv4Addr::LOCALHOST;
        blocking(move || {
            launch(&Place {
                address,
                netns: None,
                journal: None,
            })
        })
        .await
    }

    /// `https://ADDRESS:PORT`, without a path.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The certificate of the CA that a client has to trust.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Who may read and write.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The password, new for each server.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// URL of a repository that asks for user and password.
    pub fn repo_url(&self, name: &str) -> String {
        format!("{}/git/{name}.git", self.url)
    }

    /// URL of the same repository for everybody.
    pub fn anonymous_url(&self, name: &str) -> String {
        format!("{}/public/{name}.git", self.url)
    }

    /// A new repository with one commit of `files` (path, content) on the branch `main`; returns the commit's id.
    pub async fn create_repo(&self, name: &str, files: &[(&str, &str)]) -> Result<String> {
        let repository = self.repository(name)?;
        ensure!(
            !repository.bare.exists(),
            "the repository {name} exists already"
        );
        let files = owned(files);
        blocking(move || {
            repository.create()?;
            repository.commit(MAIN, &files)
        })
        .await
    }

    /// One more commit on `main`: `files` are written, the others stay. Returns the commit's id.
    pub async fn push(&self, name: &str, files: &[(&str, &str)]) -> Result<String> {
        self.push_to(name, MAIN, files).await
    }

    /// One more commit on `branch`, which begins at `main` when it is new.
    pub async fn push_to(
        &self,
        name: &str,
        branch: &str,
        files: &[(&str, &str)],
    ) -> Result<String> {
        let (repository, branch) = (self.repository(name)?, branch.to_owned());
        let files = owned(files);
        blocking(move || repository.commit(&branch, &files)).await
    }

    /// Tags the head of `main`.
    pub async fn tag(&self, name: &str, tag: &str) -> Result<()> {
        let (repository, tag) = (self.repository(name)?, tag.to_owned());
        blocking(move || {
            repository
                .git(&repository.bare, &["tag", &tag, MAIN])
                .map(drop)
        })
        .await
    }

    fn repository(&self, name: &str) -> Result<Repository> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        ensure!(
            !name.is_empty() && name.chars().all(is_plain),
            "{name:?} is no repository name"
        );
        let root = self.dir.path();
        Ok(Repository {
            bare: root.join("repositories").join(format!("{name}.git")),
            work: root.join("work").join(name),
        })
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        for process in &self.processes {
            process.stop(Duration::from_secs(1));
        }
    }
}

fn owned(files: &[(&str, &str)]) -> Vec<(String, String)> {
    files
        .iter()
        .map(|(path, content)| ((*path).to_owned(), (*content).to_owned()))
        .collect()
}

/// One repository: the served bare one and the checkout that commits are made in.
#[derive(Debug)]
struct Repository {
    bare: PathBuf,
    work: PathBuf,
}

impl Repository {
    fn create(&self) -> Result<()> {
        for dir in [&self.bare, &self.work] {
            std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
        }
        self.git(&self.bare, &["init", "-q", "--bare", "-b", MAIN])?;
        // As the large hosts do: any commit can be fetched, also without its files.
        for setting in ["uploadpack.allowAnySHA1InWant", "uploadpack.allowFilter"] {
            self.git(&self.bare, &["config", setting, "true"])?;
        }
        self.git(&self.work, &["init", "-q", "-b", MAIN])?;
        let bare = self.bare.display().to_string();
        self.git(&self.work, &["remote", "add", "origin", &bare])?;
        Ok(())
    }

    fn commit(&self, branch: &str, files: &[(String, String)]) -> Result<String> {
        // Somebody may have pushed over HTTP meanwhile.
        self.git(&self.work, &["fetch", "-q", "origin"])?;
        let exists = |name: &str| {
            let remote = format!("refs/remotes/origin/{name}");
            self.git(&self.work, &["rev-parse", "-q", "--verify", &remote])
                .is_ok()
        };
        if exists(branch) {
            let remote = format!("origin/{branch}");
            self.git(&self.work, &["checkout", "-q", "-f", "-B", branch, &remote])?;
        } else if exists(MAIN) {
            let remote = format!("origin/{MAIN}");
            self.git(
                &self.work,
                &["checkout", "-q", "-f", "--no-track", "-b", branch, &remote],
            )?;
        }
        for (path, content) in files {
            self.write(path, content)?;
        }
        self.git(&self.work, &["add", "-A"])?;
        self.git(
            &self.work,
            &["commit", "-q", "--allow-empty", "-m", "Change by a test"],
        )?;
        let target = format!("HEAD:refs/heads/{branch}");
        self.git(&self.work, &["push", "-q", "origin", &target])?;
        Ok(self
            .git(&self.work, &["rev-parse", "HEAD"])?
            .trim()
            .to_owned())
    }

    fn write(&self, path: &str, content: &str) -> Result<()> {
        let is_inside = Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        ensure!(is_inside, "{path} is no path inside a repository");
        let path = self.work.join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)
                .with_context(|| format!("make {}", parent.display()))?;
        }
        std::fs::write(&path, content).with_context(|| format!("write {}", path.display()))
    }

    fn git(&self, dir: &Path, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("git");
        command.arg("-C").arg(dir).args(arguments);
        for variable in ["GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"] {
            command.env(variable, "/dev/null");
        }
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "Test");
            command.env(format!("GIT_{role}_EMAIL"), "test@example.com");
        }
        for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
            command.env_remove(variable);
        }
        run_command(&mut command)
    }
}

fn launch(place: &Place) -> Result<GitServer> {
    const TRIES: u32 = 10;
    let dir = tempfile::Builder::new()
        .prefix("sortie-git-")
        .tempdir()
        .context("make a folder")?;
    for folder in ["repositories", "work", "tmp"] {
        std::fs::create_dir(dir.path().join(folder)).with_context(|| format!("make {folder}"))?;
    }
    let authority = Authority::new("git-test-ca")?;
    let addresses = [
        IpAddr::from(place.address),
        IpAddr::from(Ipv4Addr::LOCALHOST),
    ];
    let subject = Subject {
        user: "git",
        names: &["localhost"],
        addresses: &addresses,
        group: None,
    };
    authority.issue(&subject)?.write(dir.path(), "tls")?;
    let (username, password) = ("deployer".to_owned(), random_word(24));
    write_private(
        &dir.path().join("passwords"),
        &format!("{username}:{{PLAIN}}{password}\n"),
    )?;
    let mut server = GitServer {
        url: String::new(),
        ca_pem: authority.pem().to_owned(),
        username,
        password,
        dir,
        processes: Vec::new(),
    };
    let socket = server.dir.path().join("fcgi.sock");
    let arguments = [
        "-c".to_owned(),
        "4".to_owned(),
        "-s".to_owned(),
        format!("unix:{}", socket.display()),
    ];
    let fcgi = start(place, server.dir.path(), "fcgiwrap", &arguments)?;
    server.processes.push(fcgi);
    ensure!(
        wait_until(Duration::from_secs(20), || socket.exists()
            || !fcgi.is_alive())
            && socket.exists(),
        "fcgiwrap made no socket"
    );
    for _ in 0..TRIES {
        let port = rand::rng().random_range(20_000..32_000);
        if let Some(nginx) = start_nginx(place, server.dir.path(), port)? {
            server.processes.push(nginx);
            server.url = format!("https://{}:{port}", place.address);
            return Ok(server);
        }
    }
    let log = std::fs::read_to_string(server.dir.path().join("nginx.log")).unwrap_or_default();
    bail!("nginx did not start on {}: {}", place.address, log.trim())
}

/// None when the port is taken. nginx writes its pid file after it has bound.
fn start_nginx(place: &Place, dir: &Path, port: u16) -> Result<Option<ProcessId>> {
    let config = dir.join("nginx.conf");
    std::fs::write(&config, nginx_config(place.address, port, dir)).context("write nginx.conf")?;
    let error_log = dir.join("nginx.log").display().to_string();
    let arguments = [
        "-c".to_owned(),
        config.display().to_string(),
        "-e".to_owned(),
        error_log,
    ];
    let process = start(place, dir, "nginx", &arguments)?;
    let pid_file = dir.join("nginx.pid");
    wait_until(Duration::from_secs(20), || {
        pid_file.exists() || !process.is_alive()
    });
    if process.is_alive() && pid_file.exists() {
        return Ok(Some(process));
    }
    process.stop(Duration::from_secs(1));
    Ok(None)
}

fn start(place: &Place, dir: &Path, program: &str, arguments: &[String]) -> Result<ProcessId> {
    let log = dir.join(format!("{program}.out"));
    let id = start_detached(
        &log,
        place.netns.as_deref(),
        dir,
        Path::new(program),
        arguments,
    )?;
    if let Some(journal) = &place.journal {
        journal.record(&Entry::Process {
            name: format!("test-{program}"),
            id,
        })?;
    }
    Ok(id)
}

fn nginx_config(address: Ipv4Addr, port: u16, dir: &Path) -> String {
    let dir = dir.display();
    let backend = format!(
        "fastcgi_pass unix:{dir}/fcgi.sock;
      fastcgi_param SCRIPT_FILENAME /usr/lib/git-core/git-http-backend;
      fastcgi_param GIT_PROJECT_ROOT {dir}/repositories;
      fastcgi_param GIT_HTTP_EXPORT_ALL 1;
      fastcgi_param GIT_CONFIG_GLOBAL /dev/null;
      fastcgi_param HOME {dir};
      fastcgi_param PATH_INFO $1;
      fastcgi_param QUERY_STRING $query_string;
      fastcgi_param REQUEST_METHOD $request_method;
      fastcgi_param CONTENT_TYPE $content_type;
      fastcgi_param CONTENT_LENGTH $content_length;
      fastcgi_param HTTP_CONTENT_ENCODING $http_content_encoding;
      fastcgi_param HTTP_GIT_PROTOCOL $http_git_protocol;
      fastcgi_param GIT_PROTOCOL $http_git_protocol;"
    );
    format!(
        "daemon off;
master_process off;
pid {dir}/nginx.pid;
events {{ worker_connections 256; }}
http {{
  access_log {dir}/access.log;
  client_max_body_size 64m;
  client_body_temp_path {dir}/tmp/body;
  proxy_temp_path {dir}/tmp/proxy;
  fastcgi_temp_path {dir}/tmp/fastcgi;
  uwsgi_temp_path {dir}/tmp/uwsgi;
  scgi_temp_path {dir}/tmp/scgi;
  server {{
    listen {address}:{port} ssl;
    ssl_certificate {dir}/tls.crt;
    ssl_certificate_key {dir}/tls.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    location ~ ^/git(/.*)$ {{
      auth_basic git;
      auth_basic_user_file {dir}/passwords;
      {backend}
      fastcgi_param REMOTE_USER $remote_user;
    }}
    # git refuses pushes of unknown users by itself
    location ~ ^/public(/.*)$ {{
      {backend}
    }}
  }}
}}
"
    )
}

fn random_word(length: usize) -> String {
    const LETTERS: &[u8] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = rand::rng();
    (0..length)
        .map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())]))
        .collect()
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    let file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("write {}", path.display()))
}
