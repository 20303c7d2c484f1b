use sortie_cluster::{Access, Cluster, LogRequest, Options, Resource};

use crate::fixture::Fixture;

#[tokio::test]
async fn the_server_tells_its_version_and_its_kinds() {
    let fixture = Fixture::new("reading").await;
    fixture.cluster.reachable().await.unwrap();
    assert!(
        fixture
            .cluster
            .server_version()
            .await
            .unwrap()
            .starts_with("v1.")
    );
    let deployments = fixture
        .cluster
        .resolve("apps", "v1", "Deployment")
        .await
        .unwrap();
    assert!(deployments.namespaced && deployments.supports("patch"));
    let preferred = fixture
        .cluster
        .resolve_preferred("autoscaling", "HorizontalPodAutoscaler")
        .await;
    assert_eq!(preferred.unwrap().version, "v2");
    // The resources that are taken for granted are as the server serves them.
    for resource in [
        Resource::pods(),
        Resource::events(),
        Resource::secrets(),
        Resource::namespaces(),
        Resource::leases(),
    ] {
        let served = fixture
            .cluster
            .resolve(&resource.group, &resource.version, &resource.kind)
            .await
            .unwrap();
        assert_eq!(
            (&served.plural, served.namespaced),
            (&resource.plural, resource.namespaced)
        );
    }
    fixture.finish().await;
}

#[tokio::test]
async fn a_missing_pods_log_is_not_found() {
    let fixture = Fixture::new("logs").await;
    let request = LogRequest {
        namespace: fixture.ns().to_owned(),
        pod: "nobody".into(),
        container: Some("a b".into()),
        previous: true,
        lines: 10,
        bytes: 1000,
    };
    let error = fixture.cluster.logs(&request).await.unwrap_err();
    assert!(error.is_not_found(), "{error}");
    fixture.finish().await;
}

#[tokio::test]
async fn an_unreachable_server_is_told_at_once_from_a_bad_kubeconfig() {
    let fixture = Fixture::new("unreachable").await;
    let file = fixture.kubeconfig_with(|config| {
        config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1".into();
    });
    let access = |context: Option<&str>| Access::Kubeconfig {
        path: Some(file.path().to_owned()),
        context: context.map(str::to_owned),
    };
    let cluster = Cluster::connect(&access(None), Options::default())
        .await
        .unwrap();
    let error = cluster.reachable().await.unwrap_err();
    assert_eq!(error.code(), "SRT-C019", "{error}");
    let error = Cluster::connect(&access(Some("nowhere")), Options::default())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "SRT-C001");
    assert!(
        Cluster::connect(&Access::InCluster, Options::default())
            .await
            .is_err()
    );
    fixture.finish().await;
}
