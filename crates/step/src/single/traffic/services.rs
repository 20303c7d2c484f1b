//! Which Services of a release the words `stable`, `stage` and `canary` stand for. Pure.

use sortie_manifest::Object;
use sortie_manifest::annotations::{self, PRIMARY_SERVICE, STAGE_SERVICE};
use sortie_strategy::routing::Services;

/// What the release's Services are to a route. Where the one that clients use is not clear, no word means anything.
pub(crate) fn of_release(services: &[Object]) -> Services {
    let beside = |suffix: &str, service: &Object| {
        let base = service.name().strip_suffix(suffix);
        base.filter(|base| services.iter().any(|one| one.name() == *base))
            .is_some()
    };
    let is_new = |service: &&Object| {
        annotations::is_set(service, STAGE_SERVICE)
            || beside("-stage", service)
            || beside("-canary", service)
    };
    let is_primary = |service: &&Object| annotations::is_set(service, PRIMARY_SERVICE);
    let mut stable: Vec<&Object> = services.iter().filter(is_primary).collect();
    if stable.is_empty() {
        stable = services.iter().filter(|one| !is_new(one)).collect();
    }
    let [stable] = stable[..] else {
        return Services::default();
    };
    let named = |suffix: &str| {
        let name = format!("{}{suffix}", stable.name());
        services.iter().find(|one| one.name() == name)
    };
    let annotated = |service: &&Object| annotations::is_set(service, STAGE_SERVICE);
    let stage = named("-stage").or_else(|| services.iter().find(annotated));
    let name = |service: &Object| service.name().to_owned();
    Services {
        stable: Some(name(stable)),
        stage: stage.map(name),
        canary: named("-canary").map(name),
        ports: services
            .iter()
            .filter_map(|service| Some((name(service), first_port(service)?)))
            .collect(),
        ..Services::default()
    }
}

/// The first port of a Service.
pub(super) fn first_port(service: &Object) -> Option<u16> {
    let port = service.value().get("spec")?.get("ports")?.get(0)?;
    u16::try_from(port.get("port")?.as_u64()?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::adoption::object_of;

    fn service(name: &str, annotation: Option<&str>) -> Object {
        let annotations = annotation.map(|key| json!({key: "true"}));
        object_of(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "annotations": annotations.unwrap_or_else(|| json!({}))},
            "spec": {"ports": [{"port": 80}, {"port": 81}]},
        }))
        .unwrap()
    }

    #[test]
    fn words_stand_for_the_services_of_the_release() {
        let plain = |name: &str| service(name, None);
        let primary = |name: &str| service(name, Some("harness.io/primary-service"));
        let stage = |name: &str| service(name, Some("sortie.dev/stage-service"));
        for (services, expected) in [
            (vec![plain("web")], [Some("web"), None, None]),
            (
                vec![plain("web-stage"), plain("web"), plain("web-canary")],
                [Some("web"), Some("web-stage"), Some("web-canary")],
            ),
            (
                vec![plain("web"), stage("new")],
                [Some("web"), Some("new"), Some("new")],
            ),
            (
                vec![plain("a"), primary("web"), plain("web-canary")],
                [Some("web"), Some("web-canary"), Some("web-canary")],
            ),
            // One whose name only ends like that.
            (vec![plain("on-stage")], [Some("on-stage"), None, None]),
            (vec![plain("a"), plain("b")], [None, None, None]),
            (Vec::new(), [None, None, None]),
        ] {
            let found = of_release(&services);
            let words = ["stable", "stage", "canary"].map(|word| found.named(word));
            assert_eq!(words, expected, "{services:?}");
            if let Some(stable) = &found.stable {
                assert_eq!(found.ports[stable], 80);
            }
        }
    }
}
