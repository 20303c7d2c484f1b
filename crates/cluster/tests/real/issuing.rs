//! ID tokens of an OpenID Connect issuer that a real API server trusts.

use sortie_cluster::access::{Credential, Grant, Oidc, Trust};
use sortie_cluster::{Access, Cluster, Options};
use sortie_testkit::{IdentityProvider, Kind};

use crate::identifying::{connect, is_user, server};

#[tokio::test]
async fn id_tokens_are_renewed_before_they_expire_and_when_they_are_refused() {
    let provider = IdentityProvider::start().await.unwrap();
    let own = Box::pin(sortie_testkit::Cluster::start_with(
        Kind::Kwok,
        provider.trusted(),
    ));
    let own = own.await.unwrap();
    let oidc = Oidc {
        issuer: provider.address.clone(),
        trust: Trust::Authorities(provider.authority.clone().into_bytes()),
        client_id: "sortie".into(),
        client_secret: Some("s+cret".into()),
        scopes: vec!["email".into()],
        id_token: None,
        grant: Some(Grant::Refresh("first".into())),
    };
    let with = async |oidc: Oidc| {
        connect(server(own.kubeconfig(), Credential::Oidc(Box::new(oidc)))).await
    };

    // The API server looks for the issuer some time after its start.
    let cluster = with(oidc.clone()).await;
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    while let Err(error) = cluster.server_version().await {
        assert_eq!(error.code(), "SRT-C002", "{error}");
        assert!(tokio::time::Instant::now() < deadline, "{error}");
    }
    is_user(&cluster, "default", "oidc:erin").await;
    let asked = provider.asked().len();
    is_user(&cluster, "default", "oidc:erin").await;
    assert_eq!(provider.asked().len(), asked, "a valid token is kept");

    // One that lives for no time is traded at each request, each time for the newest refresh token.
    provider.give_for(0);
    let grant = Grant::Password {
        user: "erin".into(),
        password: "p&ss".into(),
    };
    let short = with(Oidc {
        grant: Some(grant.clone()),
        ..oidc.clone()
    });
    let short = short.await;
    let error = short.server_version().await.unwrap_err();
    assert_eq!(error.code(), "SRT-C002", "{error}");
    provider.give_for(3600);
    is_user(&short, "default", "oidc:erin").await;

    // A kubeconfig's token of yesterday, and its refresh token that another has used.
    let stale = "e30.eyJleHAiOjF9.c2ln";
    let file = tempfile::NamedTempFile::new().unwrap();
    let config = kube::config::Kubeconfig::read_from(own.kubeconfig()).unwrap();
    let mut config = serde_json::to_value(config).unwrap();
    config["users"][0]["user"] = serde_json::json!({"auth-provider": {"name": "oidc", "config": {
        "idp-issuer-url": provider.address, "client-id": "sortie", "client-secret": "s+cret",
        "idp-certificate-authority": provider.authority_file(), "id-token": stale, "refresh-token": "used",
    }}});
    std::fs::write(file.path(), config.to_string()).unwrap();
    let access = Access::Kubeconfig {
        path: Some(file.path().to_owned()),
        context: None,
    };
    let cluster = Cluster::connect(&access, Options::default()).await.unwrap();
    let error = cluster.reachable().await.unwrap_err();
    assert_eq!(error.code(), "SRT-C027", "{error}");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        source.ends_with("(status 400): invalid_grant log in again"),
        "{source}"
    );
    assert!(!format!("{error:?}").contains("s+cret"), "{error:?}");

    // An issuer whose certificate nobody vouches for.
    let strange = with(Oidc {
        trust: Trust::System,
        grant: Some(grant),
        ..oidc
    });
    let error = strange.await.reachable().await.unwrap_err();
    assert_eq!(error.code(), "SRT-C027", "{error}");
}
