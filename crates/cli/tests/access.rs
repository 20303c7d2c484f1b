//! Clusters that are named by address and credentials, on the real cluster that tests share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use sortie_testkit::Cluster;
use support::kubeconfig::{self, kubectl};
use support::{Ended, Person};

const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\n";

struct World {
    namespace: sortie_testkit::TestNamespace,
    server: String,
    me: Person,
}

impl World {
    /// Without any kubeconfig; `ca.pem` and `token` (of an account that may do everything in the namespace) are there.
    async fn new(test: &str) -> Self {
        let cluster = Cluster::shared().await.unwrap();
        let namespace = cluster.namespace(test).await.unwrap();
        let config = cluster.kubeconfig();
        let me = Person::new();
        me.file("ca.pem", &kubeconfig::authority(config));
        me.file("one.yaml", CONFIG);
        let ns = namespace.name();
        kubectl(config, &["-n", ns, "create", "serviceaccount", "ann"]);
        let subject = format!("--serviceaccount={ns}:ann");
        let binding = [
            "create",
            "rolebinding",
            "ann",
            "--clusterrole=cluster-admin",
            &subject,
        ];
        kubectl(config, &[&["-n", ns], &binding[..]].concat());
        let token = kubectl(config, &["-n", ns, "create", "token", "ann"]);
        me.file("token", &token);
        Self {
            server: kubeconfig::server(config),
            namespace,
            me,
        }
    }

    async fn deploy(&self, how: &[&str]) -> Ended {
        let ns = self.namespace.name();
        let what = [
            "deploy",
            "one.yaml",
            "-n",
            ns,
            "--release",
            "shop",
            "--server",
            &self.server,
        ];
        self.me.sortie(&[&what, how].concat()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_named_by_its_address_and_a_token() {
    let world = World::new("cli_access").await;
    let trust = ["--certificate-authority", "ca.pem"];
    let token = ["--token-file", "token"];
    world.deploy(&[trust, token].concat()).await.ok();
    world
        .deploy(&["--insecure-skip-tls-verify", "--token-file", "token"])
        .await
        .ok();

    // What is asked of the API server can be seen, and nothing that is secret.
    let ended = world.deploy(&[&trust[..], &token, &["-vv"]].concat()).await;
    let ended = ended.ok();
    let path = format!("path=\"/api/v1/namespaces/{}/", world.namespace.name());
    let requests: Vec<&str> = ended.stderr.lines().collect();
    let asks = |line: &&str| {
        let parts = ["API request", "method=GET", "status=200", "ms=", &path];
        parts.iter().all(|part| line.contains(part))
    };
    assert!(requests.iter().any(asks), "{ended:?}");
    let secret = std::fs::read_to_string(world.me.path().join("token")).unwrap();
    assert!(!ended.stderr.contains(secret.trim()), "{ended:?}");
    assert!(!ended.stdout.contains("API request"), "{ended:?}");

    // Nobody vouches for its certificate.
    let ended = world.deploy(&token).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(
        ended.stderr.contains("SRT-C019") && ended.stderr.contains("certificate"),
        "{ended:?}"
    );

    world.me.file("token", "of-yesterday");
    let ended = world.deploy(&[trust, token].concat()).await;
    assert_eq!(ended.code, 5, "{ended:?}");
    assert!(ended.stderr.contains("SRT-C002"), "{ended:?}");
    assert!(!ended.stderr.contains("of-yesterday"), "{ended:?}");

    let ended = world
        .deploy(&[&trust[..], &["--token-file", "nowhere"]].concat())
        .await;
    assert_eq!(ended.code, 5, "{ended:?}");
    assert!(
        ended.stderr.contains("SRT-C025") && ended.stderr.contains("nowhere"),
        "{ended:?}"
    );
    world.namespace.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_of_the_environment_is_used_but_for_its_exceptions() {
    let mut world = World::new("cli_proxy").await;
    let me = ["--certificate-authority", "ca.pem", "--token-file", "token"];
    // Nobody listens there.
    world.me = world
        .me
        .with("HTTPS_PROXY", "http://ann:hunter22@127.0.0.1:1");
    let ended = world.deploy(&me).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(
        ended.stderr.contains("through the proxy 127.0.0.1"),
        "{ended:?}"
    );
    assert!(!ended.stderr.contains("hunter22"), "{ended:?}");
    let host = world.server.trim_start_matches("https://");
    let host = host.split(':').next().unwrap().to_owned();
    world.me = world.me.with("NO_PROXY", &format!("example.com,{host}"));
    world.deploy(&me).await.ok();
    world.namespace.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_act_as_another_does() {
    let world = World::new("cli_as").await;
    let me = ["--certificate-authority", "ca.pem", "--token-file", "token"];
    let ended = world.deploy(&[&me[..], &["--as", "bob"]].concat()).await;
    assert_eq!(ended.code, 5, "{ended:?}");
    assert!(ended.stderr.contains("cannot impersonate"), "{ended:?}");
    world.namespace.finish().await.unwrap();
}

/// A key as OpenSSL encrypts it, with the passphrase `opens`.
#[tokio::test]
async fn an_encrypted_client_key_is_opened_by_the_passphrase_of_a_file() {
    let me = Person::new();
    me.file("client.pem", include_str!("samples/client.pem"));
    me.file("client.key", include_str!("samples/client.key"));
    me.file("right", "opens\n");
    me.file("wrong", "hunter22\n");
    // Nobody listens there: whoever has credentials comes so far.
    let how = "status --release shop --server https://127.0.0.1:1 --insecure-skip-tls-verify --client-certificate client.pem --client-key client.key";
    let how: Vec<&str> = how.split(' ').collect();
    for (passphrase, code, said) in [
        (Some("right"), 3, "SRT-C019"),
        (
            Some("wrong"),
            2,
            "the passphrase does not open the client key",
        ),
        (Some("none"), 2, "cannot read none"),
        (None, 2, "--client-key-passphrase-file"),
    ] {
        let passphrase = passphrase.map(|file| ["--client-key-passphrase-file", file]);
        let passphrase = passphrase.as_ref().map_or(&[][..], |both| &both[..]);
        let ended = me.sortie(&[&how, passphrase].concat()).await;
        assert_eq!(ended.code, code, "{ended:?}");
        assert!(ended.stderr.contains(said), "{ended:?}");
        assert!(!ended.stderr.contains("hunter22"), "{ended:?}");
    }
}

#[tokio::test]
async fn arguments_that_do_not_go_together_are_refused() {
    let me = Person::new();
    me.file("one.yaml", CONFIG);
    for arguments in [
        &["--token-file", "token"][..],
        &["--server", "https://a", "--kubeconfig", "b"],
        &["--server", "https://a", "--client-certificate", "b"],
        &["--server", "https://a", "--client-key-passphrase-file", "b"],
        &["--server", "https://a", "--username", "b"],
        &[
            "--server",
            "https://a",
            "--token-file",
            "b",
            "--username",
            "c",
            "--password-file",
            "d",
        ],
        &[
            "--server",
            "https://a",
            "--insecure-skip-tls-verify",
            "--certificate-authority",
            "b",
        ],
        &[
            "--server",
            "https://a",
            "--oidc-issuer-url",
            "https://b",
            "--oidc-client-id",
            "c",
        ],
        &["--server", "not an address"],
        &["--server", "https://user:hunter22@a"],
        &["--as-group", "b"],
    ] {
        let what = ["deploy", "one.yaml", "--release", "shop"];
        let ended = me.sortie(&[&what, arguments].concat()).await;
        assert_eq!(ended.code, 2, "{arguments:?} {ended:?}");
    }
}
