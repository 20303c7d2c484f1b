//! The admin port, over real HTTP.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::net::SocketAddr;

use sortie_cluster::{Access, Cluster, Options};
use sortie_delegate::admin::{self, Admin};
use sortie_delegate::link::Standing;
use sortie_delegate::metrics::Metrics;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

async fn ask(address: SocketAddr, request: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let text = format!(
        "{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (
        head.split(' ').nth(1).unwrap().parse().unwrap(),
        body.to_owned(),
    )
}

/// A cluster whose API server does not answer.
async fn absent_cluster() -> Cluster {
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let config = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": format!("http://{free}")}}],
        "users": [{"name": "x", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config.to_string()).unwrap();
    let access = Access::Kubeconfig {
        path: Some(file.path().to_owned()),
        context: None,
    };
    Cluster::connect(&access, Options::default()).await.unwrap()
}

#[tokio::test]
async fn probes_say_what_is_missing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (_, registry) = Metrics::registered();
    let (sender, standing) = watch::channel(Standing::default());
    let cluster = absent_cluster().await;
    let admin = Admin {
        standing,
        cluster,
        registry,
    };
    let stop = CancellationToken::new();
    let mut serving = JoinSet::new();
    serving.spawn(admin::serve(listener, admin, stop.clone()));

    assert_eq!(ask(address, "GET /live", "").await.0, 200);
    let (status, text) = ask(address, "GET /ready", "").await;
    assert_eq!(
        (status, text.trim()),
        (503, "no session with the control plane")
    );

    let trouble = Some(("SRT-D029", "no token".to_owned()));
    sender.send_replace(Standing {
        is_up: false,
        trouble,
    });
    let (status, text) = ask(address, "GET /ready", "").await;
    assert_eq!(status, 503);
    assert!(text.contains("SRT-D029: no token"), "{text}");

    sender.send_replace(Standing {
        is_up: true,
        trouble: None,
    });
    let (status, text) = ask(address, "GET /ready", "").await;
    assert_eq!(
        (status, text.trim()),
        (503, "the Kubernetes API server does not answer")
    );

    let (status, text) = ask(address, "GET /metrics", "").await;
    assert_eq!(status, 200);
    assert!(
        text.contains("sortie_delegate_session_up 0") && text.contains("# EOF"),
        "{text}"
    );

    // It changes nothing, whoever asks: scripts of services come over loopback too.
    assert_eq!(ask(address, "PUT /log-level", "debug").await.0, 404);
    for path in ["/live", "/ready", "/metrics"] {
        for method in ["PUT", "POST", "DELETE"] {
            let (status, _) = ask(address, &format!("{method} {path}"), "debug").await;
            assert_eq!(status, 405, "{method} {path}");
        }
    }

    stop.cancel();
    serving.join_next().await.unwrap().unwrap().unwrap();
}
