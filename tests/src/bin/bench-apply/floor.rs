//! The floor: a bare HTTP/2 client that sends the same requests and does nothing else.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::ConfigExt as _;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;

/// As many requests at once as the product has.
const CONCURRENCY: usize = 16;

/// A connection as an account with a token.
pub(crate) struct Floor {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    server: String,
    token: String,
}

impl Floor {
    pub(crate) async fn connect(kubeconfig: &Path, token: &str) -> Result<Self> {
        let file = Kubeconfig::read_from(kubeconfig)?;
        let config =
            kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let https = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(config.rustls_client_config()?)
            .https_only()
            .enable_http2()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .http2_only(true)
            .http2_adaptive_window(true)
            .build(https);
        let server = config.cluster_url.to_string();
        let server = server.trim_end_matches('/').to_owned();
        let token = token.to_owned();
        Ok(Self {
            client,
            server,
            token,
        })
    }

    /// Sends an apply patch of each object, several at a time.
    pub(crate) async fn apply(
        &self,
        objects: &[Value],
        namespace: &str,
        query: &str,
    ) -> Result<()> {
        let requests = objects
            .iter()
            .map(|object| self.patch(object, namespace, query));
        let requests: Vec<_> = requests.collect();
        let mut answers = stream::iter(requests).buffer_unordered(CONCURRENCY);
        while let Some(answer) = answers.next().await {
            answer?;
        }
        Ok(())
    }

    async fn patch(&self, object: &Value, namespace: &str, query: &str) -> Result<()> {
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let version = text("/apiVersion");
        let root = if version.contains('/') { "apis" } else { "api" };
        let plural = format!("{}s", text("/kind").to_lowercase());
        let name = text("/metadata/name");
        let uri: Uri = format!(
            "{}/{root}/{version}/namespaces/{namespace}/{plural}/{name}?fieldManager=floor&fieldValidation=Strict&{query}",
            self.server
        )
        .parse()
        .context("make an address")?;
        let request = Request::patch(uri)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/apply-patch+yaml")
            .body(Full::new(Bytes::from(object.to_string())))?;
        let answer = self.client.request(request).await.context("ask")?;
        let status = answer.status();
        answer
            .into_body()
            .collect()
            .await
            .context("read an answer")?;
        ensure!(status.is_success(), "{plural}/{name}: {status}");
        Ok(())
    }
}
