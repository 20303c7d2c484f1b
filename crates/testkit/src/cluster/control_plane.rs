//! etcd, kube-apiserver, kube-controller-manager and kube-scheduler as plain processes.

use std::{net::IpAddr, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Api, Client};
use tokio::time::sleep;

use super::{
    audit, network,
    pki::{Authority, Subject, write_service_account_keys},
    process::{Launcher, ProcessId},
    state::State,
};
use crate::environment::tool;

/// Bound on the API server's start on a busy machine; a quiet one needs 4 s.
const API_SERVER_TIMEOUT: Duration = Duration::from_secs(120);

/// Starts the control plane and returns when the API server is ready and the controllers work. `authority` is the
/// cluster's own; `kubeconfig` in `dir` is the administrator's afterwards.
pub(crate) async fn start(state: &State, dir: &Path, authority: &Authority) -> Result<Client> {
    write_certificates(state, dir, authority)?;
    let launcher = Launcher {
        dir,
        netns: state.number.map(network::control_namespace),
    };
    start_etcd(state, &launcher)?;
    let api_server = start_api_server(state, &launcher)?;
    let client = super::connect(&dir.join("kubeconfig")).await?;
    wait_ready(&client, api_server, dir).await?;
    // Only now: the controller manager exits for good when it comes before the bootstrap of the RBAC rules, which
    // readiness covers.
    start_controller_manager(state, &launcher)?;
    start_scheduler(state, &launcher)?;
    Ok(client)
}

/// Until the controllers have given the namespace `default` its service account: before, no pod is admitted.
pub(crate) async fn wait_controllers(client: &Client) -> Result<()> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    super::wait_for(accounts, "default", Duration::from_secs(120), |account| {
        account.is_some()
    })
    .await
    .context("wait for the controller manager's first work")?;
    Ok(())
}

fn write_certificates(state: &State, dir: &Path, authority: &Authority) -> Result<()> {
    let pki = dir.join("pki");
    authority.write(&pki, "ca")?;
    let front_proxy = Authority::new("front-proxy-ca")?;
    front_proxy.write(&pki, "front-proxy-ca")?;
    let localhost = IpAddr::from([127, 0, 0, 1]);
    let server = Subject {
        user: "kube-apiserver",
        names: &[
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ],
        addresses: &[
            localhost,
            state.address().into(),
            state.service_address(1).into(),
        ],
        group: None,
    };
    authority.issue(&server)?.write(&pki, "apiserver")?;
    let masters = Some("system:masters");
    let kubelet_client = Subject {
        group: masters,
        user: "kube-apiserver-kubelet-client",
        ..Subject::default()
    };
    authority
        .issue(&kubelet_client)?
        .write(&pki, "kubelet-client")?;
    let proxy_client = Subject {
        user: "front-proxy-client",
        ..Subject::default()
    };
    front_proxy
        .issue(&proxy_client)?
        .write(&pki, "front-proxy-client")?;
    write_service_account_keys(&pki)?;
    let url = state.server();
    let local = |user| Subject {
        user,
        names: &["localhost"],
        ..Subject::default()
    };
    for (name, subject) in [
        (
            "controller-manager",
            local("system:kube-controller-manager"),
        ),
        ("scheduler", local("system:kube-scheduler")),
    ] {
        authority.issue(&subject)?.write(&pki, name)?;
        authority.write_kubeconfig(&dir.join(format!("{name}.kubeconfig")), &url, &subject)?;
    }
    let admin = Subject {
        group: masters,
        user: "admin",
        ..Subject::default()
    };
    authority.write_kubeconfig(&dir.join("kubeconfig"), &url, &admin)
}

fn start_etcd(state: &State, launcher: &Launcher<'_>) -> Result<ProcessId> {
    let client = format!("http://127.0.0.1:{}", state.ports.etcd);
    let peer = format!("http://127.0.0.1:{}", state.ports.etcd_peer);
    let arguments = [
        "--name=e".to_owned(),
        format!("--data-dir={}", launcher.dir.join("etcd").display()),
        format!("--unsafe-no-fsync={}", !state.settings.durable),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=e={peer}"),
        "--log-level=warn".to_owned(),
        "--quota-backend-bytes=4294967296".to_owned(),
    ];
    launcher.start("etcd", &tool("etcd")?, arguments)
}

fn start_api_server(state: &State, launcher: &Launcher<'_>) -> Result<ProcessId> {
    let pki = launcher.dir.join("pki");
    let file = |name: &str| pki.join(name).display().to_string();
    let address = state.address();
    let services = format!("{}/16", state.service_address(0));
    let mut arguments = vec![
        format!("--etcd-servers=http://127.0.0.1:{}", state.ports.etcd),
        format!("--bind-address={address}"),
        format!("--secure-port={}", state.ports.api_server),
        format!("--tls-cert-file={}", file("apiserver.crt")),
        format!("--tls-private-key-file={}", file("apiserver.key")),
        format!("--client-ca-file={}", file("ca.crt")),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
        format!("--service-account-key-file={}", file("sa.pub")),
        format!("--service-account-signing-key-file={}", file("sa.key")),
        format!("--service-cluster-ip-range={services}"),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        "--allow-privileged=true".to_owned(),
        format!(
            "--kubelet-client-certificate={}",
            file("kubelet-client.crt")
        ),
        format!("--kubelet-client-key={}", file("kubelet-client.key")),
        format!("--kubelet-certificate-authority={}", file("ca.crt")),
        "--kubelet-preferred-address-types=InternalIP,Hostname".to_owned(),
        format!(
            "--requestheader-client-ca-file={}",
            file("front-proxy-ca.crt")
        ),
        "--requestheader-allowed-names=front-proxy-client".to_owned(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
        "--requestheader-group-headers=X-Remote-Group".to_owned(),
        "--requestheader-username-headers=X-Remote-User".to_owned(),
        format!(
            "--proxy-client-cert-file={}",
            file("front-proxy-client.crt")
        ),
        format!("--proxy-client-key-file={}", file("front-proxy-client.key")),
        // Services exist only in the node's network namespace: aggregated APIs are reached at their endpoints.
        "--enable-aggregator-routing=true".to_owned(),
        "--max-requests-inflight=1000".to_owned(),
        "--max-mutating-requests-inflight=500".to_owned(),
    ];
    arguments.extend(audit::arguments(launcher.dir, state.settings.audit)?);
    arguments.push(match state.number {
        Some(_) => format!("--advertise-address={address}"),
        // A loopback address is refused as an endpoint.
        None => "--endpoint-reconciler-type=none".to_owned(),
    });
    arguments.extend(state.settings.api_server.iter().cloned());
    launcher.start("kube-apiserver", &tool("kube-apiserver")?, arguments)
}

/// Starts an API server that has ended again, and returns when it is ready.
pub(super) async fn start_api_server_again(
    state: &State,
    dir: &Path,
    client: &Client,
) -> Result<()> {
    let launcher = Launcher {
        dir,
        netns: state.number.map(network::control_namespace),
    };
    let api_server = start_api_server(state, &launcher)?;
    wait_ready(client, api_server, dir).await
}

async fn wait_ready(client: &Client, process: ProcessId, dir: &Path) -> Result<()> {
    const STEP: Duration = Duration::from_millis(100);
    let log = dir.join("log/kube-apiserver.log");
    let mut last = String::new();
    let wait = async {
        while let Err(error) = super::readyz(client).await {
            ensure!(
                process.is_alive(),
                "kube-apiserver ended, see {}",
                log.display()
            );
            last = format!("{error:#}");
            sleep(STEP).await;
        }
        Ok(())
    };
    let outcome = tokio::time::timeout(API_SERVER_TIMEOUT, wait).await;
    outcome.unwrap_or_else(|_| {
        let seconds = API_SERVER_TIMEOUT.as_secs();
        bail!(
            "kube-apiserver was not ready within {seconds} s ({last}), see {}",
            log.display()
        )
    })
}

fn start_controller_manager(state: &State, launcher: &Launcher<'_>) -> Result<ProcessId> {
    let pki = launcher.dir.join("pki");
    let file = |name: &str| pki.join(name).display().to_string();
    let mut arguments = component_arguments("controller-manager", launcher.dir);
    arguments.extend([
        format!("--secure-port={}", state.ports.controller_manager),
        format!("--root-ca-file={}", file("ca.crt")),
        format!("--service-account-private-key-file={}", file("sa.key")),
        format!("--cluster-signing-cert-file={}", file("ca.crt")),
        format!("--cluster-signing-key-file={}", file("ca.key")),
        "--use-service-account-credentials=true".to_owned(),
        "--allocate-node-cidrs=false".to_owned(),
        // An autoscaler that tests need not wait for.
        "--horizontal-pod-autoscaler-sync-period=2s".to_owned(),
        "--horizontal-pod-autoscaler-initial-readiness-delay=1s".to_owned(),
        "--horizontal-pod-autoscaler-cpu-initialization-period=1s".to_owned(),
        format!(
            "--flex-volume-plugin-dir={}",
            launcher.dir.join("volume-plugins").display()
        ),
    ]);
    launcher.start(
        "kube-controller-manager",
        &tool("kube-controller-manager")?,
        arguments,
    )
}

fn start_scheduler(state: &State, launcher: &Launcher<'_>) -> Result<ProcessId> {
    let mut arguments = component_arguments("scheduler", launcher.dir);
    arguments.push(format!("--secure-port={}", state.ports.scheduler));
    launcher.start("kube-scheduler", &tool("kube-scheduler")?, arguments)
}

/// What both clients of the API server need.
fn component_arguments(name: &str, dir: &Path) -> Vec<String> {
    let kubeconfig = dir.join(format!("{name}.kubeconfig")).display().to_string();
    let pki = dir.join("pki").join(name).display().to_string();
    vec![
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--tls-cert-file={pki}.crt"),
        format!("--tls-private-key-file={pki}.key"),
        "--leader-elect=false".to_owned(),
        "--kube-api-qps=500".to_owned(),
        "--kube-api-burst=1000".to_owned(),
    ]
}
