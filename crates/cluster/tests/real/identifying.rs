//! Who we are to a real API server, by every kind of credentials.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};
use sortie_cluster::access::{Credential, Impersonation, Interaction, Plugin, Server, Trust};
use sortie_cluster::{Access, Cluster, Error, Options};

use crate::fixture::{Fixture, config_map, objects};
use crate::parties::{Scripted, Tunnels, answer, socks};

/// The API server of the tests by its address.
pub fn server(kubeconfig: &Path, credential: Credential) -> Server {
    use base64::Engine as _;
    let config = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
    let cluster = config.clusters[0].cluster.as_ref().unwrap();
    let authority = cluster.certificate_authority_data.as_ref().unwrap();
    let authority = base64::engine::general_purpose::STANDARD.decode(authority);
    Server {
        address: cluster.server.clone().unwrap(),
        trust: Trust::Authorities(authority.unwrap()),
        certificate_name: None,
        proxy: None,
        namespace: Some("shop".into()),
        credential,
    }
}

pub async fn connect(server: Server) -> Cluster {
    Cluster::connect(&Access::Server(Box::new(server)), Options::default())
        .await
        .unwrap()
}

/// What becomes of an apply by somebody without rights: the API server's sentence names them.
pub async fn refused(cluster: &Cluster, namespace: &str) -> Error {
    let set = objects(namespace, &config_map("a", "v"));
    let targets = cluster.locate(set, namespace).await.unwrap();
    let scope = sortie_cluster::apply::Scope {
        release: "r".into(),
        ..Default::default()
    };
    cluster.plan(targets, &scope).await.unwrap_err().remove(0)
}

pub async fn is_user(cluster: &Cluster, namespace: &str, user: &str) {
    let error = refused(cluster, namespace).await;
    assert_eq!(error.code(), "SRT-C003", "{error}");
    assert!(
        error.to_string().contains(&format!("{user:?} cannot")),
        "{error}"
    );
}

async fn make_account(fixture: &Fixture, name: &str) -> String {
    let ns = fixture.ns();
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
    let path = format!("/api/v1/namespaces/{ns}/serviceaccounts");
    let post = http::Method::POST;
    fixture
        .send(post, &path, "application/json", &account)
        .await;
    fixture.token_of(name).await
}

fn account(fixture: &Fixture, name: &str) -> String {
    format!("system:serviceaccount:{}:{name}", fixture.ns())
}

#[tokio::test]
async fn a_token_and_whom_it_acts_as() {
    let fixture = Fixture::new("token").await;
    let token = make_account(&fixture, "ann").await;
    let server = server(fixture.kubeconfig(), Credential::Token(token.into()));
    let cluster = connect(server).await;
    assert_eq!(cluster.default_namespace(), "shop");
    is_user(&cluster, fixture.ns(), &account(&fixture, "ann")).await;

    let options = Options {
        impersonate: Some(Impersonation {
            user: "carol".into(),
            groups: vec!["system:authenticated".into()],
        }),
        ..Options::default()
    };
    let cluster = fixture.another(options).await;
    is_user(&cluster, fixture.ns(), "carol").await;
    let file = fixture.kubeconfig_with(|config| {
        config["users"][0]["user"]["as"] = "dave".into();
        config["users"][0]["user"]["as-groups"] = json!(["system:authenticated"]);
    });
    let cluster = crate::fixture::connect(file.path(), Options::default()).await;
    is_user(&cluster, fixture.ns(), "dave").await;
    fixture.finish().await;
}

#[tokio::test]
async fn a_token_file_is_read_again_when_its_token_is_refused() {
    let fixture = Fixture::new("tokenfile").await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let ann = make_account(&fixture, "ann").await;
    std::fs::write(file.path(), "of-yesterday").unwrap();
    let credential = Credential::TokenFile(file.path().to_owned());
    let cluster = connect(server(fixture.kubeconfig(), credential)).await;
    let error = cluster.server_version().await.unwrap_err();
    assert_eq!(error.code(), "SRT-C002", "{error}");
    // As `kubectl create token > FILE` leaves it.
    std::fs::write(file.path(), format!("{ann}\n")).unwrap();
    is_user(&cluster, fixture.ns(), &account(&fixture, "ann")).await;
    std::fs::remove_file(file.path()).unwrap();
    // The one that was read goes on.
    is_user(&cluster, fixture.ns(), &account(&fixture, "ann")).await;
    fixture.finish().await;
}

#[tokio::test]
async fn credentials_that_cannot_be_used_are_told_before_any_request() {
    let fixture = Fixture::new("unusable").await;
    let connect = async |credential: Credential| {
        let server = server(fixture.kubeconfig(), credential);
        let cluster = Cluster::connect(&Access::Server(Box::new(server)), Options::default()).await;
        let error = cluster.unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(!error.advice().is_empty());
        (error.code(), source)
    };
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::default();
    let certificate = params.self_signed(&key).unwrap().pem().into_bytes();
    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let encrypted = encrypted(&other, "opens");
    for (certificate, key, passphrase, said) in [
        (
            certificate.clone(),
            other,
            None,
            "the key is not the certificate's",
        ),
        (
            certificate.clone(),
            encrypted.clone(),
            None,
            "there is no passphrase for it",
        ),
        (
            certificate.clone(),
            encrypted.clone(),
            Some("hunter22"),
            "the passphrase does not open the client key",
        ),
        (
            certificate.clone(),
            encrypted,
            Some("opens"),
            "the key is not the certificate's",
        ),
        (
            certificate.clone(),
            "hunter22".to_owned(),
            None,
            "no private key",
        ),
        (
            b"hunter22".to_vec(),
            key.serialize_pem(),
            None,
            "no certificate",
        ),
    ] {
        let credential = Credential::Certificate {
            certificate,
            key: key.into(),
            passphrase: passphrase.map(Into::into),
        };
        let shown = format!("{credential:?}");
        assert!(!shown.contains("PRIVATE") && !shown.contains("hunter22"));
        let (code, text) = connect(credential).await;
        assert_eq!(code, "SRT-C025", "{text}");
        assert!(text.contains(said) && !text.contains("hunter22"), "{text}");
    }
    let (code, text) = connect(Credential::Token("hunter22\u{1}".into())).await;
    assert!(code == "SRT-C025" && !text.contains("hunter22"), "{text}");
    let missing = Credential::TokenFile("/nowhere/token".into());
    let cluster = self::connect(server(fixture.kubeconfig(), missing)).await;
    let error = cluster.reachable().await.unwrap_err();
    assert_eq!(error.code(), "SRT-C025", "{error}");
    let file = fixture.kubeconfig_with(|config| {
        config["users"][0]["user"] = json!({"auth-provider": {"name": "gcp", "config": {}}});
    });
    let access = Access::Kubeconfig {
        path: Some(file.path().to_owned()),
        context: None,
    };
    let error = Cluster::connect(&access, Options::default())
        .await
        .unwrap_err();
    assert!(error.advice().contains("gke-gcloud-auth-plugin"), "{error}");
    fixture.finish().await;
}

/// A client certificate for `user`, made by the cluster's authority, that begins `from` days from now.
fn certificate(
    authority: &(std::path::PathBuf, std::path::PathBuf),
    user: &str,
    valid: bool,
) -> (String, String) {
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let key = rcgen::KeyPair::from_pem(&read(&authority.1)).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(&read(&authority.0), key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, user);
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    if !valid {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 2);
    }
    let certificate = params.signed_by(&key, &issuer).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// The same key, encrypted as `openssl pkcs8 -topk8` does.
fn encrypted(key: &str, passphrase: &str) -> String {
    use base64::Engine as _;
    use pkcs8::pkcs5::pbes2::Parameters;
    let plain = rcgen::KeyPair::from_pem(key).unwrap().serialize_der();
    let parameters =
        Parameters::generate_pbkdf2_sha256_aes256cbc(2048, b"eight by", [7; 16]).unwrap();
    let encrypted = pkcs8::PrivateKeyInfoRef::try_from(&plain[..])
        .unwrap()
        .encrypt_with_params(parameters, passphrase)
        .unwrap();
    let base64 = base64::engine::general_purpose::STANDARD.encode(encrypted.as_bytes());
    format!(
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\n{base64}\n-----END ENCRYPTED PRIVATE KEY-----\n"
    )
}

async fn authority() -> Option<(std::path::PathBuf, std::path::PathBuf)> {
    let shared = sortie_testkit::Cluster::shared().await.unwrap();
    let authority = shared.client_authority();
    if authority.is_none() {
        eprintln!("the authority of the cluster of KUBECONFIG is not ours: no client certificates");
    }
    authority
}

#[tokio::test]
async fn a_client_certificate() {
    let fixture = Fixture::new("certificate").await;
    if let Some(authority) = authority().await {
        let (certificate, key) = certificate(&authority, "carol", true);
        for (key, passphrase) in [(encrypted(&key, "opens"), Some("opens")), (key, None)] {
            let credential = Credential::Certificate {
                certificate: certificate.clone().into_bytes(),
                key: key.into(),
                passphrase: passphrase.map(Into::into),
            };
            let cluster = connect(server(fixture.kubeconfig(), credential)).await;
            is_user(&cluster, fixture.ns(), "carol").await;
        }
    }
    fixture.finish().await;
}

/// A plugin that prints the next of its files at each call, the last again and again.
fn plugin(folder: &Path, answers: &[Value]) -> Plugin {
    for (number, status) in answers.iter().enumerate() {
        let answer = json!({"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "status": status});
        std::fs::write(folder.join(number.to_string()), answer.to_string()).unwrap();
    }
    let last = answers.len() - 1;
    let program = folder.join("plugin");
    let text = format!(
        "#!/bin/sh\ncd \"$(dirname \"$0\")\"\nn=$(cat calls 2>/dev/null | wc -l)\necho call >> calls\necho \"$KUBERNETES_EXEC_INFO\" > told\n[ $n -le {last} ] || n={last}\ncat $n\n"
    );
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    Plugin {
        command: program.to_str().unwrap().to_owned(),
        api_version: "client.authentication.k8s.io/v1".into(),
        interaction: Interaction::Never,
        ..Plugin::default()
    }
}

fn calls(folder: &Path) -> usize {
    let calls = std::fs::read_to_string(folder.join("calls")).unwrap_or_default();
    calls.lines().count()
}

#[tokio::test]
async fn a_plugin_is_asked_again_when_its_token_is_over_or_refused() {
    let fixture = Fixture::new("plugin").await;
    let folder = tempfile::tempdir().unwrap();
    let ann = make_account(&fixture, "ann").await;
    let ends = |token: &str, year: u16| json!({"token": token, "expirationTimestamp": format!("{year}-01-01T00:00:00Z")});
    let answers = [
        ends(&ann, 2020),
        ends(&ann, 2020),
        ends("unknown", 2090),
        json!({"token": ann}),
    ];
    let plugin = plugin(folder.path(), &answers);
    // As a kubeconfig has it, with the cluster's facts.
    let file = fixture.kubeconfig_with(|config| {
        config["users"][0]["user"] = json!({"exec": {
            "apiVersion": plugin.api_version, "command": plugin.command, "interactiveMode": "Never",
            "provideClusterInfo": true, "args": ["get-token"], "env": [{"name": "A", "value": "b"}],
        }});
    });
    let cluster = crate::fixture::connect(file.path(), Options::default()).await;
    assert_eq!(calls(folder.path()), 0, "a connection sends nothing");
    for call in 1..=2 {
        cluster.reachable().await.unwrap();
        assert_eq!(
            calls(folder.path()),
            call,
            "what is over is asked for again"
        );
    }
    // Reads of all kinds are refused, and share the one renewal.
    let resource = sortie_cluster::Resource::pods();
    let pods = sortie_cluster::watch::Selection::of(resource, fixture.ns());
    let watch = cluster.watch(pods);
    let reads = futures::future::join_all((0..8).map(|_| refused(&cluster, fixture.ns())));
    let (watch, reads) = tokio::join!(watch, reads);
    assert_eq!(watch.unwrap_err().code(), "SRT-C003");
    for error in reads {
        let text = error.to_string();
        assert!(text.contains(&account(&fixture, "ann")), "{text}");
    }
    assert_eq!(calls(folder.path()), 4);
    let told = std::fs::read_to_string(folder.path().join("told")).unwrap();
    assert!(
        told.contains(cluster.server().trim_end_matches('/')),
        "{told}"
    );
    fixture.finish().await;
}

#[tokio::test]
async fn a_plugins_next_certificate_is_shown_on_new_connections() {
    let fixture = Fixture::new("plugincert").await;
    if let Some(authority) = authority().await {
        let folder = tempfile::tempdir().unwrap();
        let status = |user: &str, valid: bool| {
            let (certificate, key) = certificate(&authority, user, valid);
            json!({"clientCertificateData": certificate, "clientKeyData": key})
        };
        let answers = [status("carol", true), status("dave", true)];
        let mut first = answers[0].clone();
        first["expirationTimestamp"] = "2020-01-01T00:00:00Z".into();
        let plugin = plugin(
            folder.path(),
            &[status("nobody", false), first, answers[1].clone()],
        );
        let credential = Credential::Plugin(Box::new(plugin));
        let cluster = connect(server(fixture.kubeconfig(), credential)).await;
        // The first has ended and is refused; carol's is over at once, dave's stays.
        cluster.reachable().await.unwrap();
        is_user(&cluster, fixture.ns(), "dave").await;
        assert_eq!(calls(folder.path()), 3);
    }
    fixture.finish().await;
}

#[tokio::test]
async fn user_and_password_go_to_a_server_that_takes_them() {
    let ready = answer("200 OK", "", "ok");
    let scripted = Scripted::saying(vec![ready]).await;
    let server = Server {
        address: scripted.address.clone(),
        trust: Trust::System,
        certificate_name: None,
        proxy: None,
        namespace: None,
        credential: Credential::Password {
            user: "ann".into(),
            password: "hunter22".into(),
        },
    };
    assert!(!format!("{server:?}").contains("hunter22"));
    let cluster = connect(server).await;
    cluster.reachable().await.unwrap();
    let heard = scripted.heard().remove(0);
    assert!(
        heard.contains("authorization: Basic YW5uOmh1bnRlcjIy"),
        "{heard}"
    );
}

#[tokio::test]
async fn a_proxy_of_the_kubeconfig_is_used_and_its_password_not_shown() {
    let fixture = Fixture::new("proxy").await;
    let proxy = Tunnels::start().await;
    let through = |credentials: &str| {
        let url = format!("http://{credentials}127.0.0.1:{}", proxy.port);
        fixture.kubeconfig_with(|config| {
            config["clusters"][0]["cluster"]["proxy-url"] = url.into();
        })
    };
    let impatient = Options {
        patience: std::time::Duration::ZERO,
        ..Options::default()
    };
    let file = through("ann:hunter22@");
    let cluster = crate::fixture::connect(file.path(), impatient.clone()).await;
    cluster.reachable().await.unwrap();
    let server: http::Uri = cluster.server().parse().unwrap();
    assert_eq!(proxy.asked(), [server.authority().unwrap().to_string()]);

    let (port, _serving) = socks().await;
    let file = fixture.kubeconfig_with(|config| {
        config["clusters"][0]["cluster"]["proxy-url"] = format!("socks5://127.0.0.1:{port}").into();
    });
    let cluster = crate::fixture::connect(file.path(), impatient.clone()).await;
    cluster.reachable().await.unwrap();

    let file = through("ann:swordfish@");
    let cluster = crate::fixture::connect(file.path(), impatient.clone()).await;
    let error = cluster.reachable().await.unwrap_err();
    assert_eq!(error.code(), "SRT-C019", "{error}");
    let mut text = String::new();
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = cause {
        text = format!("{text} {error} {error:?}");
        cause = error.source();
    }
    assert!(text.contains("through the proxy 127.0.0.1"), "{text}");
    assert!(!text.contains("swordfish"), "{text}");

    let file = fixture.kubeconfig_with(|config| {
        config["clusters"][0]["cluster"]["proxy-url"] = "https://ann:swordfish@127.0.0.1:1".into();
    });
    let access = Access::Kubeconfig {
        path: Some(file.path().to_owned()),
        context: None,
    };
    let error = Cluster::connect(&access, impatient).await.unwrap_err();
    assert_eq!(error.code(), "SRT-C001");
    assert!(
        !format!("{error} {error:?}").contains("swordfish"),
        "{error:?}"
    );
    fixture.finish().await;
}
