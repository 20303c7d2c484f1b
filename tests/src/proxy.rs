//! A TCP proxy that can be cut, for links that break.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Forwards connections on loopback to another address until it is cut.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    up: watch::Sender<bool>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    /// Listen on a free port and forward to `target`.
    ///
    /// # Errors
    /// No port can be bound.
    pub async fn start(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .context("bind the proxy")?;
        let address = listener.local_addr().context("the proxy's address")?;
        let (up, watched) = watch::channel(true);
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((inbound, _)) = listener.accept().await {
                // A cut link refuses by closing at once.
                if *watched.borrow() {
                    connections.spawn(forward(inbound, target, watched.clone()));
                }
            }
        });
        Ok(Self {
            address,
            up,
            _accepting: accepting,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Break every connection and refuse new ones.
    pub fn cut(&self) {
        self.up.send_replace(false);
    }

    /// Let connections through again.
    pub fn mend(&self) {
        self.up.send_replace(true);
    }
}

async fn forward(mut inbound: TcpStream, target: SocketAddr, mut up: watch::Receiver<bool>) {
    let Ok(mut outbound) = TcpStream::connect(target).await else {
        return;
    };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut inbound, &mut outbound) => {}
        _ = up.wait_for(|up| !up) => {}
    }
}
