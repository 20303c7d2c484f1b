//! What the charts' values may be.

use std::fs;

use serde_json::Value;
use sortie_testkit::environment::repository;

use crate::helm::{DELEGATE, SERVER, run, template};

/// Values that must be refused, and where the message must point.
const REFUSED: &[(&str, &str, &str)] = &[
    (SERVER, "replicas: 2", "/replicas"),
    (SERVER, "replicas: 0", "/replicas"),
    (SERVER, "replica: 1", "'replica' not allowed"),
    (SERVER, "persistence: {size: lots}", "/persistence/size"),
    (
        SERVER,
        "persistence: {enabled: 'yes'}",
        "/persistence/enabled",
    ),
    (
        SERVER,
        "persistence: {accessMode: ReadWriteMany}",
        "/persistence/accessMode",
    ),
    (SERVER, "web: {port: 80}", "/web/port"),
    (SERVER, "agent: {port: 65536}", "/agent/port"),
    (
        SERVER,
        "agent: {service: {type: ExternalName}}",
        "/agent/service/type",
    ),
    (
        SERVER,
        "agent: {hostnames: [sortie.example.com]}",
        "'hostnames' not allowed",
    ),
    (SERVER, "masterKey: c2VjcmV0", "'masterKey' not allowed"),
    (SERVER, "existingSecret: {name: a}", "/existingSecret"),
    (SERVER, "taskLease: soon", "/taskLease"),
    (
        SERVER,
        "retention: {executions: 3 months}",
        "/retention/executions",
    ),
    (SERVER, "retention: {runs: 0}", "/retention/runs"),
    (
        SERVER,
        "certificates: {lifetime: '24'}",
        "/certificates/lifetime",
    ),
    (SERVER, "log: {format: xml}", "/log/format"),
    (SERVER, "image: {digest: 'sha256:short'}", "/image/digest"),
    (
        SERVER,
        "podSecurityContext: {runAsUser: 0}",
        "/podSecurityContext/runAsUser",
    ),
    (
        SERVER,
        "podSecurityContext: {runAsNonRoot: false}",
        "'runAsNonRoot' not allowed",
    ),
    (
        SERVER,
        "securityContext: {privileged: true}",
        "'securityContext' not allowed",
    ),
    (
        SERVER,
        "networkPolicy: {webFrom: [{cidr: 10.0.0.0/8}]}",
        "/networkPolicy/webFrom/0",
    ),
    (DELEGATE, "replicas: 0", "/replicas"),
    (DELEGATE, "replicas: two", "/replicas"),
    (DELEGATE, "capacity: 0", "/capacity"),
    (DELEGATE, "server: http://example.com:8443", "/server"),
    (DELEGATE, "server: https://user:word@example.com", "/server"),
    (DELEGATE, "token: abc", "'token' not allowed"),
    (DELEGATE, "joinToken: abc", "'joinToken' not allowed"),
    (DELEGATE, "existingSecret: My_Secret", "/existingSecret"),
    (DELEGATE, "rbac: {preset: admin}", "/rbac/preset"),
    (DELEGATE, "rbac: {namespaces: shop}", "/rbac/namespaces"),
    (DELEGATE, "rbac: {namespaces: ['*']}", "/rbac/namespaces/0"),
    (DELEGATE, "rbac: {namespaces: [a, a]}", "/rbac/namespaces"),
    (DELEGATE, "rbac: {rules: []}", "'rules' not allowed"),
    (
        DELEGATE,
        "policy: {projects: {web: {}}}",
        "invalid propertyName 'web'",
    ),
    (
        DELEGATE,
        "policy: {projects: {'*': {namespace: [a]}}}",
        "/policy/projects",
    ),
    (
        DELEGATE,
        "policy: {projects: {'*': {kinds: [pods]}}}",
        "/policy/projects/*/kinds/0",
    ),
    (
        DELEGATE,
        "proxy: {https: 'http://user:word@proxy:3128'}",
        "/proxy/https",
    ),
    (
        DELEGATE,
        "proxy: {https: 'http://proxy:3128', existingSecret: proxy}",
        "/proxy",
    ),
    (
        DELEGATE,
        "podSecurityContext: {runAsUser: 0}",
        "/podSecurityContext/runAsUser",
    ),
    (
        DELEGATE,
        "podSecurityContext: {seccompProfile: {type: Unconfined}}",
        "'seccompProfile' not allowed",
    ),
    (
        DELEGATE,
        "networkPolicy: {egressCIDRs: [anywhere]}",
        "/networkPolicy/egressCIDRs/0",
    ),
    (
        DELEGATE,
        "networkPolicy: {egressCIDRs: []}",
        "/networkPolicy/egressCIDRs",
    ),
    (DELEGATE, "scratch: {sizeLimit: big}", "/scratch/sizeLimit"),
    (
        DELEGATE,
        "resources: {requests: {memory: much}}",
        "/resources/requests/memory",
    ),
    (DELEGATE, "pdb: {maxUnavailable: 0}", "/pdb/maxUnavailable"),
    (DELEGATE, "extraEnv: [{value: a}]", "/extraEnv/0"),
    (DELEGATE, "extraEnv: {A: b}", "/extraEnv"),
    (DELEGATE, "tags: ['a b']", "/tags/0"),
    (DELEGATE, "podLabels: {a: 1}", "/podLabels/a"),
];

#[test]
fn bad_values_are_refused_where_they_are() {
    for (chart, values, place) in REFUSED {
        let message = template(chart, "ns", values)
            .map(drop)
            .expect_err(&format!("{chart} takes {values}"));
        assert!(message.contains(place), "{chart} {values}: {message}");
    }
}

#[test]
fn charts_lint_as_they_are_and_with_every_value_set() {
    run(
        "helm",
        &[
            "lint",
            "--strict",
            "helm/sortie-server",
            "helm/sortie-delegate",
        ],
        "",
    )
    .unwrap();
    for chart in [SERVER, DELEGATE] {
        let folder = format!("helm/{chart}");
        let values = crate::rendering::everything(chart);
        run("helm", &["lint", "--strict", &folder, "-f", "-"], values).unwrap();
    }
}

/// Every default has a schema, every schema property is strict or says what it is.
#[test]
fn every_value_has_a_default_and_a_description() {
    for chart in [SERVER, DELEGATE] {
        let folder = repository().join("helm").join(chart);
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        let schema: Value = serde_json::from_str(&read("values.schema.json")).unwrap();
        let values: Value = serde_saphyr::from_str(&read("values.yaml")).unwrap();
        assert_eq!(schema["additionalProperties"], false, "{chart}");
        let properties = schema["properties"].as_object().unwrap();
        for (name, property) in properties {
            assert!(property["description"].is_string(), "{chart} {name}");
            assert!(
                name == "global" || values.get(name).is_some(),
                "{chart} {name} has no default"
            );
            for (inner, property) in property["properties"].as_object().into_iter().flatten() {
                let kind = &property["type"];
                assert!(
                    name == "affinity" || property["description"].is_string(),
                    "{chart} {name}.{inner} ({kind})"
                );
            }
        }
        for name in values.as_object().unwrap().keys() {
            assert!(
                properties.contains_key(name),
                "{chart} {name} is not in the schema"
            );
        }
        assert_eq!(
            values.as_object().unwrap().keys().next().unwrap(),
            "existingSecret",
            "what a user needs first comes first"
        );
    }
}

#[test]
fn raw_manifests_are_what_the_charts_render() {
    let script = repository().join("deploy/render.sh");
    let output = std::process::Command::new(script)
        .arg("--check")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
