//! Whom an identity provider vouches for, by the command line, on an API server that trusts the provider.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use sortie_testkit::{Cluster, IdentityProvider, Kind};
use support::kubeconfig::{self, kubectl};
use support::{Ended, PATIENCE, Person};
use tokio::time::Instant;

struct World {
    provider: IdentityProvider,
    cluster: Cluster,
    me: Person,
}

impl World {
    /// Without any kubeconfig; whom the provider calls `erin` may do everything in namespace default.
    async fn new() -> Self {
        let provider = IdentityProvider::start().await.unwrap();
        let cluster = Box::pin(Cluster::start_with(Kind::Kwok, provider.trusted()));
        let cluster = cluster.await.unwrap();
        let binding = "create rolebinding erin --clusterrole=cluster-admin --user=oidc:erin";
        let binding: Vec<&str> = binding.split(' ').collect();
        kubectl(cluster.kubeconfig(), &binding);
        let me = Person::new();
        me.file("ca.pem", &kubeconfig::authority(cluster.kubeconfig()));
        me.file("issuer.pem", &provider.authority);
        me.file("secret", "s+cret\n");
        me.file("refresh", "first\n");
        me.file("password", "p&ss\n");
        me.file(
            "one.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\n",
        );
        Self {
            provider,
            cluster,
            me,
        }
    }

    async fn sortie(&self, verb: &[&str], grant: &[&str]) -> Ended {
        let server = kubeconfig::server(self.cluster.kubeconfig());
        let who = [
            "-n",
            "default",
            "--release",
            "shop",
            "--server",
            &server,
            "--certificate-authority",
            "ca.pem",
            "--oidc-issuer-url",
            &self.provider.address,
            "--oidc-certificate-authority",
            "issuer.pem",
            "--oidc-client-id",
            "sortie",
            "--oidc-client-secret-file",
            "secret",
        ];
        self.me.sortie(&[verb, &who, grant].concat()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_an_issuer_deploy_and_what_it_refuses_is_told() {
    let world = World::new().await;
    let password = [
        "--username",
        "erin",
        "--password-file",
        "password",
        "--oidc-scope",
        "email",
    ];
    // The API server looks for the issuer some time after its start.
    let begun = Instant::now();
    let ended = loop {
        let ended = world.sortie(&["deploy", "one.yaml"], &password).await;
        if ended.code != 5 || begun.elapsed() > PATIENCE {
            break ended;
        }
        assert!(ended.stderr.contains("SRT-C002"), "{ended:?}");
    };
    assert!(ended.ok().stdout.contains("number 1 runs"));

    // A refresh token is good for one use: the issuer replaces it, and a program that ends forgets the next.
    let refresh = ["--oidc-refresh-token-file", "refresh"];
    world.me.file("refresh", &world.provider.refresh_token());
    let shown = world.sortie(&["status", "-o", "json"], &refresh).await;
    assert_eq!(shown.ok().json()["status"], "Succeeded");
    let asked = world.provider.asked();
    assert!(asked.last().unwrap().contains("grant_type=refresh_token"));

    let again = world.sortie(&["status"], &refresh).await;
    world.me.file("password", "hunter22");
    let wrong = world.sortie(&["status"], &password).await;
    for ended in [again, wrong] {
        assert_eq!(ended.code, 5, "{ended:?}");
        for said in ["SRT-C027", "invalid_grant log in again"] {
            assert!(ended.stderr.contains(said), "{ended:?}");
        }
        for secret in ["s+cret", "hunter22", "next-", "first"] {
            assert!(!ended.stderr.contains(secret), "{ended:?}");
        }
    }
}
