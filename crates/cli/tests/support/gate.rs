//! A gate in front of an API server, which a test can close: what has been sent gets no answer then.

use std::path::Path;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Passes every connection on until it is closed.
pub struct Gate {
    kubeconfig: String,
    open: watch::Sender<bool>,
    _connections: JoinSet<()>,
}

impl Gate {
    /// In front of the cluster of a kubeconfig.
    pub async fn before(kubeconfig: &Path) -> Self {
        let tool = sortie_testkit::environment::tool("kubectl").unwrap();
        let shown = tokio::process::Command::new(tool)
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(["config", "view", "--raw", "--minify", "-o", "json"])
            .output()
            .await
            .unwrap();
        let mut config: Value = serde_json::from_slice(&shown.stdout).unwrap();
        let cluster = &mut config["clusters"][0]["cluster"];
        let server = cluster["server"].as_str().unwrap();
        let address = server.strip_prefix("https://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = listener.local_addr().unwrap().to_string();
        let (host, _) = address.rsplit_once(':').unwrap();
        cluster["server"] = format!("https://{ours}").into();
        // The certificate is for the server's own name.
        cluster["tls-server-name"] = host.into();
        let (open, is_open) = watch::channel(true);
        let mut connections = JoinSet::new();
        connections.spawn(async move {
            let mut all = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(&address).await.unwrap();
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                all.spawn(pass(near_read, far_write, is_open.clone()));
                all.spawn(pass(far_read, near_write, is_open.clone()));
            }
        });
        Self {
            kubeconfig: config.to_string(),
            open,
            _connections: connections,
        }
    }

    /// A kubeconfig that leads through the gate.
    pub fn kubeconfig(&self) -> &str {
        &self.kubeconfig
    }

    /// Nothing passes any more.
    pub fn close(&self) {
        self.open.send_replace(false);
    }
}

async fn pass(
    mut from: impl tokio::io::AsyncRead + Unpin,
    mut to: impl tokio::io::AsyncWrite + Unpin,
    mut open: watch::Receiver<bool>,
) {
    let mut bytes = [0_u8; 16 << 10];
    while let Ok(count) = from.read(&mut bytes).await {
        if open.wait_for(|open| *open).await.is_err() {
            return;
        }
        if count == 0 || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
