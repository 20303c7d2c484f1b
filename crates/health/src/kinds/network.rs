//! Service, Ingress and EndpointSlice.

use serde_json::Value;

use super::Facts;
use crate::read::{list, text};
use crate::verdict::Verdict;

pub(super) fn service(object: &Value, facts: &Facts) -> Verdict {
    let kind = text(object, "/spec/type").unwrap_or("ClusterIP");
    if kind == "ExternalName" {
        let name = text(object, "/spec/externalName").unwrap_or("?");
        return Verdict::healthy(format!("stands for {name}"));
    }
    let Some(address) = text(object, "/spec/clusterIP") else {
        return Verdict::progressing("has no cluster address yet");
    };
    let mut message = if address == "None" {
        "headless".to_owned()
    } else {
        format!("cluster address {address}")
    };
    if kind == "LoadBalancer" {
        match published(object) {
            Some(outside) => message = format!("{message}, outside address {outside}"),
            None if facts.load_balancer_address_wanted => {
                return Verdict::progressing("waits for an address from the load balancer");
            }
            None => message.push_str(", no outside address yet"),
        }
    }
    if facts.pods_selected == Some(0) && object.pointer("/spec/selector").is_some() {
        message.push_str("; warning: its selector matches no pod of this release");
    }
    Verdict::healthy(message)
}

pub(super) fn ingress(object: &Value, facts: &Facts) -> Verdict {
    match published(object) {
        Some(address) => Verdict::healthy(format!("address {address}")),
        None if facts.ingress_address_wanted => {
            Verdict::progressing("waits for an address from its controller")
        }
        None => Verdict::healthy("no address published"),
    }
}

/// An EndpointSlice has no status: it is as its controller made it. An endpoint whose readiness is not known counts as
/// ready, as the API says.
pub(super) fn slice(object: &Value) -> Verdict {
    let endpoints = list(object, "/endpoints");
    let ready = endpoints
        .iter()
        .filter(|endpoint| endpoint.pointer("/conditions/ready") != Some(&Value::Bool(false)))
        .count();
    Verdict::healthy(match endpoints.len() {
        0 => "has no endpoints".to_owned(),
        total => format!(
            "{ready} of {total} endpoint{} ready",
            if total == 1 { " is" } else { "s are" }
        ),
    })
}

/// First address of `status.loadBalancer`, or of `spec.externalIPs`.
fn published(object: &Value) -> Option<&str> {
    list(object, "/status/loadBalancer/ingress")
        .iter()
        .find_map(|entry| text(entry, "/ip").or_else(|| text(entry, "/hostname")))
        .or_else(|| {
            list(object, "/spec/externalIPs")
                .first()
                .and_then(Value::as_str)
        })
}

/// Does the Service's selector match a pod (or pod template) with these `labels`? A Service without selector
/// selects nothing.
#[must_use]
pub fn selects(service: &Value, labels: &Value) -> bool {
    match service.pointer("/spec/selector").and_then(Value::as_object) {
        Some(selector) if !selector.is_empty() => selector
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value)),
        _ => false,
    }
}
