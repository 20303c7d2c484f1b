//! The Services of a blue-green deployment: each primary one with the stage one that reaches the other colour. Pure.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sortie_manifest::annotations::{self, PRIMARY_SERVICE, STAGE_SERVICE};
use sortie_manifest::{Object, ObjectId, labels};

use super::apart::selector_of;
use super::copies;
use crate::failure::{Failure, FailureKind};

/// The two colours; a first deployment gets the first.
const COLORS: [&str; 2] = ["blue", "green"];

/// A pair of Services.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pair {
    /// Their namespace.
    pub(crate) namespace: String,
    /// Name of the one that gets the traffic.
    pub(crate) primary: String,
    /// Name of the other.
    pub(crate) stage: String,
    /// The key of their selectors that has the colour.
    pub(crate) key: String,
}

/// Which colour gets the traffic, and which the new version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Colors {
    pub(super) primary: &'static str,
    pub(super) stage: &'static str,
}

/// The Services of a set that get the traffic, each with the one of the set that is for the stage.
///
/// # Errors
/// There is none, or which one is not clear.
pub(super) fn find(objects: &[Object]) -> Result<Vec<(&Object, Option<&Object>)>, Failure> {
    let services = || {
        let is_service = |object: &&Object| (object.group(), object.kind()) == ("", "Service");
        objects.iter().filter(is_service)
    };
    let is = |annotation| move |object: &&Object| annotations::is_set(object, annotation);
    let stages: Vec<&Object> = services().filter(is(STAGE_SERVICE)).collect();
    let mut primaries: Vec<&Object> = services().filter(is(PRIMARY_SERVICE)).collect();
    if primaries.is_empty() {
        primaries = services().filter(|one| !is(STAGE_SERVICE)(one)).collect();
        if primaries.len() != 1 {
            return Err(unclear(&primaries));
        }
    }
    let is_bare = |service: &&&Object| selector_of(service).is_none_or(Map::is_empty);
    if let Some(bare) = primaries.iter().chain(&stages).find(is_bare) {
        return Err(selectorless(bare));
    }
    if let ([primary], [stage]) = (primaries.as_slice(), stages.as_slice()) {
        return Ok(vec![(*primary, Some(*stage))]);
    }
    let pairs: Vec<_> = primaries
        .iter()
        .map(|primary| {
            let name = stage_name(primary.name());
            let same_place =
                |stage: &&&Object| stage.name() == name && stage.namespace() == primary.namespace();
            (*primary, stages.iter().find(same_place).copied())
        })
        .collect();
    let paired = pairs.iter().filter(|(_, stage)| stage.is_some()).count();
    if paired < stages.len() {
        return Err(unpaired(&stages));
    }
    Ok(pairs)
}

fn selectorless(service: &Object) -> Failure {
    Failure::new(
        FailureKind::Configuration,
        "SRT-T055",
        format!(
            "{} selects no pods: a colour alone would select those of everything",
            service.id()
        ),
        "let its selector name the labels of the workload's pods",
    )
}

fn stage_name(primary: &str) -> String {
    format!("{primary}-stage")
}

fn unclear(services: &[&Object]) -> Failure {
    let (text, hint) = match services {
        [] => (
            "the set has no Service that gets the traffic".to_owned(),
            "add the Service by which clients reach the workload".to_owned(),
        ),
        several => {
            let names: Vec<&str> = several.iter().map(|service| service.name()).collect();
            (
                format!(
                    "which Service gets the traffic is not clear: {}",
                    names.join(", ")
                ),
                format!(
                    "annotate it with {}: \"true\", and one that is for the stage with {}: \"true\"",
                    PRIMARY_SERVICE.name(),
                    STAGE_SERVICE.name()
                ),
            )
        }
    };
    Failure::new(FailureKind::Configuration, "SRT-T055", text, hint)
}

fn unpaired(stages: &[&Object]) -> Failure {
    let names: Vec<&str> = stages.iter().map(|service| service.name()).collect();
    Failure::new(
        FailureKind::Configuration,
        "SRT-T055",
        format!(
            "the Services for the stage do not pair with those that get the traffic: {}",
            names.join(", ")
        ),
        "name each after its partner: web-stage for web, in the same namespace",
    )
}

/// The colours, by what the live primary Services select; where none is live yet the first deployment is blue.
///
/// # Errors
/// A live Service selects no colour or an unknown one, or two select different ones.
pub(super) fn colors(live: &[(ObjectId, Option<Object>)]) -> Result<Colors, Failure> {
    let mut found: Option<(&ObjectId, &'static str)> = None;
    for (id, service) in live {
        let Some(service) = service else { continue };
        let selected = labels::selected_color(service).map(|(_, color)| color);
        let color = COLORS.into_iter().find(|color| Some(*color) == selected);
        let Some(color) = color else {
            return Err(colorless(id, selected));
        };
        match found {
            Some((first, other)) if other != color => {
                return Err(torn(&format!(
                    "{first} selects {other} and {id} selects {color}"
                )));
            }
            _ => found = Some((id, color)),
        }
    }
    let [first, second] = COLORS;
    let (primary, stage) = match found {
        Some((_, color)) if color == first => (first, second),
        _ => (second, first),
    };
    Ok(Colors { primary, stage })
}

fn colorless(service: &ObjectId, selected: Option<&str>) -> Failure {
    let what = match selected {
        None => "selects no colour".to_owned(),
        Some(color) => format!("selects the colour {color:?}, which is neither blue nor green"),
    };
    Failure::new(
        FailureKind::Configuration,
        "SRT-T056",
        format!("{service} is live and {what}: it would reach the pods of both colours at once"),
        format!(
            "let its selector name the colour of the pods that have the traffic: deploy the workload once more with {key}: green among the labels of its pods, then add {key}: green to the selector; or delete the Service and the workload if they may be away for a moment. What ran before goes by pruning, with the first deployment after the swap",
            key = labels::COLOR
        ),
    )
}

/// Services that do not agree, as after half of a swap.
pub(super) fn torn(what: &str) -> Failure {
    Failure::new(
        FailureKind::Configuration,
        "SRT-T057",
        format!("the Services of the release do not agree about the colours: {what}"),
        "let them agree first: run the swap step again, or set the colour in the selector of the one that is wrong",
    )
}

/// The pair as it is written: the primary keeps its colour, the stage gets the other. A key that is live stays.
pub(super) fn pair(
    primary: &Object,
    stage: Option<&Object>,
    live: Option<&Object>,
    colors: &Colors,
) -> Result<(Pair, Object, Object), Failure> {
    let key = live
        .or(Some(primary))
        .and_then(labels::selected_color)
        .map_or(labels::COLOR, |(key, _)| key);
    let mut first = primary.clone();
    select(&mut first, key, colors.primary);
    let mut second = match stage {
        Some(stage) => stage.clone(),
        None => twin(primary, &stage_name(primary.name()))?,
    };
    select(&mut second, key, colors.stage);
    let pair = Pair {
        namespace: primary.namespace().unwrap_or_default().to_owned(),
        primary: first.name().to_owned(),
        stage: second.name().to_owned(),
        key: key.to_owned(),
    };
    Ok((pair, first, second))
}

/// A Service like the primary one for use inside the cluster.
pub(super) fn twin(primary: &Object, name: &str) -> Result<Object, Failure> {
    let mut twin = primary.clone();
    let named = twin.set_name(name);
    let edited = named.and_then(|()| twin.edit(inner));
    edited.map_err(|error| copies::too_long(primary, &error))?;
    Ok(twin)
}

/// Take from a Service what there can be only once, and what leads into it from outside.
fn inner(service: &mut Value) {
    if let Some(metadata) = service.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.shift_remove("annotations");
    }
    let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    if spec.get("clusterIP").and_then(Value::as_str) != Some("None") {
        spec.shift_remove("clusterIP");
        spec.shift_remove("clusterIPs");
    }
    let outer = |key: &str| {
        key.starts_with("loadBalancer")
            || key.starts_with("external")
            || matches!(key, "healthCheckNodePort" | "allocateLoadBalancerNodePorts")
    };
    spec.retain(|key, _| !outer(key));
    if let Some(kind @ ("LoadBalancer" | "NodePort")) = spec.get("type").and_then(Value::as_str) {
        tracing::debug!(
            kind,
            "the Service of the new side is for use inside the cluster"
        );
        spec.insert("type".to_owned(), "ClusterIP".into());
    }
    let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten() {
        if let Some(port) = port.as_object_mut() {
            port.shift_remove("nodePort");
        }
    }
}

/// Let a Service go on selecting the colour that it selects live: only a swap changes it. Which one, where there is one.
pub(crate) fn keep_color(service: &mut Object, live: &Object) -> Option<String> {
    if (service.group(), service.kind()) != ("", "Service") {
        return None;
    }
    let (key, color) = labels::selected_color(live)?;
    select(service, key, color);
    Some(color.to_owned())
}

fn select(service: &mut Object, key: &str, color: &str) {
    // Neither name nor kind change, so that it stays an object.
    drop(service.edit(|whole| {
        let spec = whole.get_mut("spec").and_then(Value::as_object_mut);
        let selector = spec.map(|spec| {
            spec.entry("selector")
                .or_insert_with(|| Value::Object(Map::new()))
        });
        if let Some(Value::Object(selector)) = selector {
            selector.insert(key.to_owned(), color.into());
        }
    }));
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sortie_manifest::{Limits, parse};

    use super::*;

    fn set(text: &str) -> Vec<Object> {
        parse("t.yaml", text.as_bytes(), &Limits::default()).unwrap()
    }

    fn service(name: &str, more: &str) -> String {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}{more}}}\nspec: {{selector: {{app: web}}, ports: [{{port: 80, nodePort: 30080}}], type: NodePort, clusterIP: 10.0.0.1}}\n"
        )
    }

    const PRIMARY: &str = ", annotations: {sortie.dev/primary-service: 'true'}";
    const OLDER_STAGE: &str = ", annotations: {harness.io/stage-service: 'true'}";

    #[test]
    fn the_services_of_a_set_are_paired() {
        for (services, expected) in [
            (service("web", ""), Ok(vec![("web", None)])),
            (
                service("web", "") + &service("next", OLDER_STAGE),
                Ok(vec![("web", Some("next"))]),
            ),
            (
                service("web", PRIMARY) + &service("metrics", ""),
                Ok(vec![("web", None)]),
            ),
            (
                service("web", PRIMARY)
                    + &service("api", PRIMARY)
                    + &service("api-stage", OLDER_STAGE),
                Ok(vec![("web", None), ("api", Some("api-stage"))]),
            ),
            (service("web", "") + &service("api", ""), Err("SRT-T055")),
            (
                service("web", PRIMARY) + &service("api", PRIMARY) + &service("next", OLDER_STAGE),
                Err("SRT-T055"),
            ),
            (
                "kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}".to_owned(),
                Err("SRT-T055"),
            ),
        ] {
            let objects = set(&services);
            let found = find(&objects);
            let names = found.as_ref().map(|pairs| {
                let name = |object: &Object| object.name().to_owned();
                let named = |(primary, stage): &(&Object, Option<&Object>)| {
                    (name(primary), stage.map(&name))
                };
                pairs.iter().map(named).collect::<Vec<_>>()
            });
            let expected = expected.map(|pairs| {
                let owned = |(primary, stage): (&str, Option<&str>)| {
                    (primary.to_owned(), stage.map(str::to_owned))
                };
                pairs.into_iter().map(owned).collect::<Vec<_>>()
            });
            match (names, expected) {
                (Ok(names), Ok(expected)) => assert_eq!(names, expected, "{services}"),
                (Err(failure), Err(code)) => assert_eq!(failure.code, code, "{services}"),
                (names, expected) => panic!("{names:?} for {expected:?}: {services}"),
            }
        }
    }

    fn live(selectors: &[Option<Value>]) -> Vec<(ObjectId, Option<Object>)> {
        let service = |(at, selector): (usize, &Option<Value>)| {
            let object = selector.as_ref().map(|selector| {
                let mut object = set(&service(&format!("s{at}"), "")).remove(0);
                let set = |whole: &mut Value| whole["spec"]["selector"] = selector.clone();
                object.edit(set).unwrap();
                object
            });
            let id = set(&service(&format!("s{at}"), "")).remove(0).id();
            (id, object)
        };
        selectors.iter().enumerate().map(service).collect()
    }

    #[test]
    fn the_colours_are_those_of_the_live_services() {
        let blue = Some(json!({"app": "web", "sortie.dev/color": "blue"}));
        let green = Some(json!({"app": "web", "harness.io/color": "green"}));
        let none = Some(json!({"app": "web"}));
        let red = Some(json!({"sortie.dev/color": "red"}));
        for (services, expected) in [
            (vec![None], Ok(("green", "blue"))),
            (vec![blue.clone()], Ok(("blue", "green"))),
            (vec![green.clone(), None], Ok(("green", "blue"))),
            (vec![blue.clone(), blue.clone()], Ok(("blue", "green"))),
            (vec![blue, green], Err("SRT-T057")),
            (vec![none], Err("SRT-T056")),
            (vec![red], Err("SRT-T056")),
        ] {
            let found = colors(&live(&services));
            match (found, expected) {
                (Ok(found), Ok(expected)) => {
                    assert_eq!((found.primary, found.stage), expected, "{services:?}");
                }
                (Err(failure), Err(code)) => assert_eq!(failure.code, code, "{services:?}"),
                (found, expected) => panic!("{found:?} for {expected:?}: {services:?}"),
            }
        }
    }

    #[test]
    fn the_stage_gets_a_service_of_its_own() {
        let primary = set(&service("web", PRIMARY)).remove(0);
        let colors = Colors {
            primary: "green",
            stage: "blue",
        };
        let mut live = set(&service("web", "")).remove(0);
        select(&mut live, "harness.io/color", "green");
        for (live, key) in [
            (None, "sortie.dev/color"),
            (Some(&live), "harness.io/color"),
        ] {
            let (found, first, second) = pair(&primary, None, live, &colors).unwrap();
            assert_eq!(
                (found.primary.as_str(), found.stage.as_str()),
                ("web", "web-stage")
            );
            assert_eq!(first.value()["spec"]["selector"][key], "green");
            let spec = &second.value()["spec"];
            assert_eq!(spec["selector"][key], "blue");
            assert_eq!(spec["type"], "ClusterIP");
            assert_eq!(spec["ports"], json!([{"port": 80}]));
            assert!(
                spec.get("clusterIP").is_none()
                    && second.annotation("sortie.dev/primary-service").is_none()
            );
            assert_eq!(first.value()["spec"]["clusterIP"], "10.0.0.1");
        }
    }
}
