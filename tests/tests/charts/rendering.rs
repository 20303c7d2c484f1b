//! What the charts render, over a matrix of values.

use serde_json::{Value, json};

use crate::helm::{DELEGATE, SERVER, container, objects, of_kind, only, run};

/// Every value of the delegate, set to something else than its default.
const DELEGATE_EVERYTHING: &str = r#"
existingSecret: join
server: https://sortie.example.com:8443
tags: [linux, eu.west]
replicas: 3
capacity: 4
image: {repository: registry.example.com/team/delegate, digest: "sha256:0000000000000000000000000000000000000000000000000000000000000000", pullPolicy: Always, pullSecrets: [{name: registry}]}
rbac: {preset: namespaces, namespaces: [default, kube-public]}
policy: {projects: {"*": {namespaces: [default]}, acme/web: {namespaces: [kube-public], kinds: [Deployment, Service], registries: [registry.example.com/team]}}}
serviceAccount: {annotations: {"example.com/role": deployer}}
log: {format: human, level: "info,sortie_delegate=debug"}
proxy: {existingSecret: proxy, noProxy: "10.0.0.1,git.example.com"}
extraCaConfigMap: roots
resources: {requests: {cpu: 0.1, memory: 32Mi}, limits: {memory: 1Gi}}
podSecurityContext: {runAsUser: 1000, runAsGroup: 1000, fsGroup: 1000, fsGroupChangePolicy: OnRootMismatch, supplementalGroups: [2000]}
scratch: {sizeLimit: 2Gi}
terminationGracePeriodSeconds: 120
pdb: {maxUnavailable: 2}
networkPolicy: {egressCIDRs: [10.0.0.0/8], metricsFrom: [{namespaceSelector: {}}]}
nodeSelector: {kubernetes.io/os: linux}
tolerations: [{key: spot, operator: Exists}]
affinity: {podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app.kubernetes.io/instance: demo}}}}]}}
topologySpreadConstraints: [{maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app.kubernetes.io/instance: demo}}}]
priorityClassName: system-cluster-critical
extraLabels: {team: platform}
podLabels: {cost: "7"}
podAnnotations: {example.com/scrape: "true"}
extraEnv: [{name: SORTIE_DELEGATE_CAPACITY, value: "5"}, {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]
extraVolumes: [{name: keys, emptyDir: {}}]
extraVolumeMounts: [{name: keys, mountPath: /keys, readOnly: true}]
runner: {enabled: true, image: {repository: registry.example.com/team/runner, tag: "7", digest: "sha256:0000000000000000000000000000000000000000000000000000000000000000", pullPolicy: Always}, securityContext: {runAsUser: 2000, runAsGroup: 2000}, kubeconfigSecret: hooks, resources: {requests: {cpu: 0.1, memory: 8Mi}, limits: {memory: 1Gi}}, work: {sizeLimit: 1Gi}}
"#;

/// Every value of the server, set to something else than its default.
const SERVER_EVERYTHING: &str = r#"
existingSecret: master
image: {repository: registry.example.com/team/server, tag: 1.2.3, pullPolicy: Always, pullSecrets: [{name: registry}]}
persistence: {storageClass: local, accessMode: ReadWriteOncePod, size: 1Gi}
web: {port: 8081}
agent: {port: 9443, service: {type: LoadBalancer, annotations: {example.com/scheme: internal}}}
log: {format: human, level: debug}
certificates: {lifetime: 1h30m}
taskLease: 30s
retention: {executions: 30d, runs: 5, tasks: 1h}
resources: {requests: {cpu: 0.1, memory: 32Mi}, limits: {memory: 1Gi}}
podSecurityContext: {runAsUser: 1000, runAsGroup: 1000, fsGroup: 1000}
pdb: {maxUnavailable: 0}
networkPolicy: {webFrom: [{podSelector: {}}], agentFrom: [{ipBlock: {cidr: 10.0.0.0/8}}]}
serviceAccount: {annotations: {"example.com/role": none}}
nodeSelector: {kubernetes.io/os: linux}
tolerations: [{key: spot, operator: Exists}]
affinity: {nodeAffinity: {}}
priorityClassName: system-cluster-critical
extraLabels: {team: platform}
podLabels: {cost: "7"}
podAnnotations: {example.com/scrape: "true"}
extraEnv: [{name: SORTIE_LOG_LEVEL, value: info}]
extraVolumes: [{name: keys, emptyDir: {}}]
extraVolumeMounts: [{name: keys, mountPath: /keys, readOnly: true}]
"#;

/// Values that set everything.
pub(crate) fn everything(chart: &str) -> &'static str {
    match chart {
        DELEGATE => DELEGATE_EVERYTHING,
        _ => SERVER_EVERYTHING,
    }
}

/// Values worth rendering; what holds of every rendering is checked on all of them.
pub(crate) const MATRIX: &[(&str, &str)] = &[
    (DELEGATE, ""),
    (DELEGATE, DELEGATE_EVERYTHING),
    (
        DELEGATE,
        "existingSecret: join\nrbac: {namespaces: [default]}",
    ),
    (DELEGATE, "rbac: {preset: view, namespaces: [default]}"),
    (DELEGATE, "rbac: {preset: cluster}"),
    (DELEGATE, "runner: {enabled: true}"),
    (
        DELEGATE,
        "rbac: {preset: none}\nserviceAccount: {name: own}",
    ),
    (
        DELEGATE,
        "pdb: {enabled: false}\nnetworkPolicy: {enabled: false}\nproxy: {https: 'http://proxy:3128'}",
    ),
    (DELEGATE, ASSIGNED_USER),
    (SERVER, ""),
    (SERVER, SERVER_EVERYTHING),
    (
        SERVER,
        "persistence: {enabled: false}\nagent: {service: {type: NodePort}}",
    ),
    (
        SERVER,
        "persistence: {existingClaim: data}\npdb: {enabled: false}\nnetworkPolicy: {enabled: false}",
    ),
    (SERVER, ASSIGNED_USER),
];

/// As on a platform that assigns user and groups.
pub(crate) const ASSIGNED_USER: &str =
    "podSecurityContext: {runAsUser: null, runAsGroup: null, fsGroup: null}";

#[test]
fn every_rendering_keeps_the_rules_of_the_house() {
    for (chart, values) in MATRIX {
        let objects = objects(chart, "ns", values);
        let clue = format!("{chart} {values}");
        assert_eq!(
            of_kind(&objects, "Secret").count(),
            0,
            "no Secret is rendered: {clue}"
        );
        for object in &objects {
            let labels = &object["metadata"]["labels"];
            assert_eq!(labels["app.kubernetes.io/name"], *chart, "{clue}");
            assert_eq!(labels["app.kubernetes.io/instance"], "demo", "{clue}");
            if values.contains("extraLabels") {
                assert_eq!(labels["team"], "platform", "{clue}");
            }
            check_rules(object, values.contains("preset: cluster"), &clue);
        }
        let pod = &only(&objects, "Deployment")["spec"]["template"]["spec"];
        assert_eq!(pod["automountServiceAccountToken"], false, "{clue}");
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{clue}");
        assert_eq!(
            pod["securityContext"]["seccompProfile"],
            json!({"type": "RuntimeDefault"}),
            "{clue}"
        );
        let container = container(&objects);
        let context = json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}});
        assert_eq!(container["securityContext"], context, "{clue}");
        for wanted in [
            "/resources/requests/cpu",
            "/resources/requests/memory",
            "/resources/limits/memory",
            "/readinessProbe",
            "/livenessProbe",
            "/startupProbe",
        ] {
            assert!(container.pointer(wanted).is_some(), "{wanted}: {clue}");
        }
        let arguments = container["args"].to_string();
        assert!(
            !arguments.contains("token"),
            "no secret in arguments: {clue}"
        );
        for account in of_kind(&objects, "ServiceAccount") {
            assert_eq!(account["automountServiceAccountToken"], false, "{clue}");
        }
    }
}

/// Wildcards in the preset `cluster` alone; Secrets and Leases of the own namespace by name.
fn check_rules(object: &Value, wildcards: bool, clue: &str) {
    let Some(rules) = object["rules"].as_array() else {
        return;
    };
    let own = object["metadata"]["namespace"] == "ns";
    for rule in rules {
        let text = rule.to_string();
        assert!(wildcards || !text.contains('*'), "{text}: {clue}");
        let creates = rule["verbs"] == json!(["create"]);
        assert!(
            !own || creates || rule["resourceNames"].is_array(),
            "{text}: {clue}"
        );
    }
    let cluster_wide = object["kind"] == "ClusterRole";
    assert_eq!(cluster_wide, cluster_wide && wildcards, "{clue}");
}

#[test]
fn the_delegate_gets_the_api_token_in_its_container_alone_and_the_join_token_as_a_file() {
    let objects = objects(DELEGATE, "ns", "existingSecret: join");
    let pod = &only(&objects, "Deployment")["spec"]["template"]["spec"];
    let volumes = pod["volumes"].as_array().unwrap();
    let volume = |name: &str| {
        volumes
            .iter()
            .find(|volume| volume["name"] == name)
            .unwrap()
    };
    let token = &volume("api-token")["projected"]["sources"][0]["serviceAccountToken"];
    assert_eq!(token["path"], "token");
    assert_eq!(volume("join")["secret"]["secretName"], "join");
    assert_eq!(volume("join")["secret"]["optional"], true);
    let config = only(&objects, "ConfigMap")["data"]["delegate.yaml"]
        .as_str()
        .unwrap();
    let config: Value = serde_saphyr::from_str(config).unwrap();
    assert_eq!(
        config["identity"]["joinTokenFile"],
        "/etc/sortie/join/token"
    );
    assert_eq!(
        config["policy"]["namespaces"],
        json!([]),
        "without a list, nowhere"
    );
}

#[test]
fn the_runner_has_nothing_of_the_delegate() {
    let values = "runner: {enabled: true}\nexistingSecret: join\nextraCaConfigMap: roots\nproxy: {existingSecret: proxy}";
    let objects_ = objects(DELEGATE, "ns", values);
    let pod = &only(&objects_, "Deployment")["spec"]["template"]["spec"];
    assert!(pod["shareProcessNamespace"].is_null());
    let containers = pod["containers"].as_array().unwrap();
    let [delegate, runner] = containers.as_slice() else {
        panic!("{containers:?}");
    };
    assert_eq!(runner["name"], "runner");
    assert!(runner["env"].is_null() && runner["envFrom"].is_null());
    assert!(runner["ports"].is_null());
    let mounts = |container: &Value| container["volumeMounts"].as_array().unwrap().clone();
    let names = |container: &Value| -> Vec<Value> {
        mounts(container)
            .iter()
            .map(|mount| mount["name"].clone())
            .collect()
    };
    assert_eq!(
        names(runner),
        ["runner-socket", "runner-work", "runner-tmp"]
    );
    assert_eq!(mounts(runner)[0]["readOnly"], true);
    let shared: Vec<_> = names(delegate)
        .into_iter()
        .filter(|name| names(runner).contains(name))
        .collect();
    assert_eq!(shared, ["runner-socket"]);
    // What changes the running delegate lies where scripts have no way to.
    let control = mounts(delegate)
        .into_iter()
        .find(|mount| mount["name"] == "control");
    assert_eq!(control.unwrap()["mountPath"], "/run/sortie-delegate");
    let context = json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}, "runAsUser": 65533, "runAsGroup": 65533});
    assert_eq!(runner["securityContext"], context);
    assert_eq!(pod["securityContext"]["runAsUser"], 65532);
    let config = only(&objects_, "ConfigMap")["data"]["delegate.yaml"]
        .as_str()
        .unwrap();
    assert!(
        config.contains("runnerSocket: /run/sortie/runner.sock"),
        "{config}"
    );
    assert!(
        config.contains("controlSocket: /run/sortie-delegate/control.sock"),
        "{config}"
    );
    // By default there is none.
    let plain = objects(DELEGATE, "ns", "");
    container(&plain);
    assert!(
        !plain
            .iter()
            .any(|object| object.to_string().contains("runner"))
    );
}

#[test]
fn a_proxy_with_credentials_comes_from_a_secret_and_spares_the_cluster() {
    let environment = |values: &str| container(&objects(DELEGATE, "ns", values))["env"].clone();
    let find = |environment: &Value, name: &str| {
        environment
            .as_array()
            .unwrap()
            .iter()
            .find(|it| it["name"] == name)
            .cloned()
    };
    assert_eq!(find(&environment(""), "HTTPS_PROXY"), None);
    assert_eq!(find(&environment(""), "NO_PROXY"), None);
    let plain = environment("proxy: {https: 'http://proxy:3128'}");
    assert_eq!(
        find(&plain, "HTTPS_PROXY").unwrap()["value"],
        "http://proxy:3128"
    );
    assert_eq!(
        find(&plain, "NO_PROXY").unwrap()["value"],
        ".svc,.cluster.local"
    );
    let secret = environment("proxy: {existingSecret: proxy, noProxy: git.example.com}");
    let source = json!({"secretKeyRef": {"name": "proxy", "key": "https"}});
    assert_eq!(find(&secret, "HTTPS_PROXY").unwrap()["valueFrom"], source);
    assert_eq!(
        find(&secret, "NO_PROXY").unwrap()["value"],
        "git.example.com,.svc,.cluster.local"
    );
}

#[test]
fn the_server_keeps_its_data_and_never_runs_twice() {
    let objects_ = objects(SERVER, "ns", "");
    let spec = &only(&objects_, "Deployment")["spec"];
    assert_eq!(
        (&spec["replicas"], &spec["strategy"]),
        (&json!(1), &json!({"type": "Recreate"}))
    );
    let claim = only(&objects_, "PersistentVolumeClaim");
    assert_eq!(
        claim["metadata"]["annotations"]["helm.sh/resource-policy"],
        "keep"
    );
    let services: Vec<_> = of_kind(&objects_, "Service").collect();
    assert_eq!(services.len(), 1);

    let objects_ = objects(SERVER, "ns", "agent: {service: {type: LoadBalancer}}");
    let exposed: Vec<_> = of_kind(&objects_, "Service")
        .filter(|service| service["spec"]["type"] == "LoadBalancer")
        .collect();
    assert_eq!(exposed.len(), 1);
    let ports: Vec<_> = exposed[0]["spec"]["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|port| port["name"].clone())
        .collect();
    assert_eq!(
        ports,
        [json!("agent")],
        "the web listener has no TLS and is never exposed"
    );
}

#[test]
fn notes_say_what_the_delegate_may_do_and_how_to_see_that_it_works() {
    let notes = |chart: &str, values: &str| {
        let folder = format!("helm/{chart}");
        let words = [
            "install",
            "demo",
            &folder,
            "-n",
            "ns",
            "--dry-run=client",
            "-f",
            "-",
        ];
        let text = run("helm", &words, values).unwrap();
        text.split_once("NOTES:").unwrap().1.to_owned()
    };
    let cases = [
        (DELEGATE, "", "connects, and may deploy nowhere"),
        (DELEGATE, "", "No existingSecret is set"),
        (
            DELEGATE,
            "",
            "rollout status deployment/demo-sortie-delegate",
        ),
        (
            DELEGATE,
            "rbac: {namespaces: [shop, blog]}",
            "may deploy in shop, blog and nowhere else",
        ),
        (
            DELEGATE,
            "rbac: {namespaces: [ns]}",
            "who deploys there can read its identity",
        ),
        (
            DELEGATE,
            "rbac: {preset: view, namespaces: [shop]}",
            "may read (not deploy) in shop",
        ),
        (DELEGATE, "rbac: {preset: cluster}", "may change everything"),
        (
            DELEGATE,
            "rbac: {preset: none}",
            "bind roles to the service account demo-sortie-delegate",
        ),
        (SERVER, "", "rollout status deployment/demo-sortie-server"),
        (
            SERVER,
            "persistence: {enabled: false}",
            "everything is lost when the pod goes",
        ),
    ];
    for (chart, values, wanted) in cases {
        let text = notes(chart, values);
        assert!(text.contains(wanted), "{chart} {values}: {text}");
    }
}
