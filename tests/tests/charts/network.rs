//! The NetworkPolicies, rule by rule. The node's network of the tests does not enforce them; what is checked is what
//! they say (and, in `admission`, that the API server takes them).

use serde_json::{Value, json};

use crate::helm::{DELEGATE, SERVER, objects, of_kind, only};

/// DNS, also on the port behind OpenShift's Service.
fn dns() -> Value {
    json!({"ports": [
        {"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"},
        {"port": 5353, "protocol": "UDP"}, {"port": 5353, "protocol": "TCP"},
    ]})
}

fn policy(chart: &str, values: &str) -> Value {
    let objects = objects(chart, "ns", values);
    let spec = only(&objects, "NetworkPolicy")["spec"].clone();
    let deployment = only(&objects, "Deployment");
    // It selects the pods of the Deployment and no others.
    assert_eq!(spec["podSelector"], deployment["spec"]["selector"]);
    assert_eq!(spec["policyTypes"], json!(["Ingress", "Egress"]));
    spec
}

#[test]
fn the_delegate_is_reached_by_nobody_and_reaches_the_listed_networks() {
    let spec = policy(DELEGATE, "");
    assert_eq!(spec["ingress"], json!([]));
    let anywhere =
        json!({"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}, {"ipBlock": {"cidr": "::/0"}}]});
    assert_eq!(spec["egress"], json!([dns(), anywhere]));

    let spec = policy(
        DELEGATE,
        "networkPolicy: {egressCIDRs: [10.0.0.0/8, 192.0.2.7/32], metricsFrom: [{namespaceSelector: {matchLabels: {name: monitoring}}}]}",
    );
    let from = json!([{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]);
    let ports = json!([{"port": "admin", "protocol": "TCP"}]);
    assert_eq!(spec["ingress"], json!([{"from": from, "ports": ports}]));
    let listed =
        json!({"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}, {"ipBlock": {"cidr": "192.0.2.7/32"}}]});
    assert_eq!(spec["egress"], json!([dns(), listed]));
}

#[test]
fn the_server_is_reached_on_its_two_ports_and_reaches_nobody() {
    let spec = policy(SERVER, "");
    let port = |name: &str| json!({"ports": [{"port": name, "protocol": "TCP"}]});
    assert_eq!(spec["ingress"], json!([port("web"), port("agent")]));
    assert_eq!(spec["egress"], json!([dns()]));

    let spec = policy(
        SERVER,
        "networkPolicy: {webFrom: [{podSelector: {matchLabels: {app: proxy}}}], agentFrom: [{ipBlock: {cidr: 10.0.0.0/8}}]}",
    );
    let web = json!({"ports": [{"port": "web", "protocol": "TCP"}], "from": [{"podSelector": {"matchLabels": {"app": "proxy"}}}]});
    let agent = json!({"ports": [{"port": "agent", "protocol": "TCP"}], "from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]});
    assert_eq!(spec["ingress"], json!([web, agent]));
}

#[test]
fn policies_can_be_left_to_others() {
    for chart in [SERVER, DELEGATE] {
        let objects = objects(chart, "ns", "networkPolicy: {enabled: false}");
        assert_eq!(of_kind(&objects, "NetworkPolicy").count(), 0);
    }
}
