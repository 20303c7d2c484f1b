//! The way back: no request goes to the new side any more, before its pods go.

use serde_json::Value;

use super::error::RoutingError;
use super::existing::{leading, names, of};
use super::kind::{self, RouteKind};
use super::request::Services;

/// A route that leads to the new side.
#[derive(Clone, Debug, PartialEq)]
pub struct Retreat {
    /// The object without requests for the new side.
    pub object: Value,
    /// Whether some requests went there.
    pub had_traffic: bool,
    /// How many rules still lead to it: somebody wrote them, and they lead nowhere else.
    pub left: usize,
}

/// The object with the requests for the new side (`canary` or `stage`) going to the stable Service. What other backends get
/// stays as it is. A rule that a step wrote names the new side no more, unless its Service stays; one that somebody wrote
/// keeps it, with the weight 0. `None`: the object does not lead there.
///
/// A router may forget a Service that no rule names before it has taken the rules: whoever is on the way then gets an error.
/// So a Service that goes is first left as if it stayed.
///
/// # Errors
/// The object is not as its kind says.
pub fn retreat(
    object: &Value,
    services: &Services,
    new: &str,
    service_stays: bool,
) -> Result<Option<Retreat>, RoutingError> {
    let kind = of(object)?;
    let mut object = object.clone();
    let namespace = kind::namespace(&object).to_owned();
    let ours = match kind.list() {
        Some(_) => leading(&object)?,
        None => names(&object)?.len(),
    };
    let mut found = (
        false,
        Retreat {
            object: Value::Null,
            had_traffic: false,
            left: 0,
        },
    );
    for (index, rule) in kind.rules_mut(&mut object).into_iter().enumerate() {
        let is_ours = index < ours;
        let Some(list) = kind.backend_list_mut(rule) else {
            continue;
        };
        let side = Side {
            kind,
            services,
            namespace: &namespace,
            new,
        };
        match side.leave(list, is_ours, service_stays) {
            Left::NotThere => continue,
            Left::Done { had_traffic } => found.1.had_traffic |= had_traffic,
            Left::Stays => found.1.left += 1,
        }
        found.0 = true;
    }
    let (is_there, mut retreat) = found;
    retreat.object = object;
    Ok(is_there.then_some(retreat))
}

/// What a route becomes on the way from `now` to `then`, where that names a Service no more: `then`, with that Service at
/// the weight 0. `None`: it may become `then` at once.
pub fn easing(now: &Value, then: &Value) -> Option<Value> {
    let kind = RouteKind::of(then)?;
    if !matches!(kind, RouteKind::HttpRoute | RouteKind::GrpcRoute) {
        return None;
    }
    let namespace = kind::namespace(now).to_owned();
    let backends = |object: &Value| -> Vec<(String, Value)> {
        let mut object = object.clone();
        let rules = kind.rules_mut(&mut object).into_iter();
        let all = rules.flat_map(|rule| kind.backends_mut(rule).to_vec());
        let named =
            |backend: Value| Some((kind.service(&backend, &namespace)?.to_owned(), backend));
        all.filter_map(named).collect()
    };
    let kept = backends(then);
    let mut forgotten = backends(now);
    forgotten.retain(|(name, _)| !kept.iter().any(|(kept, _)| kept == name));
    forgotten.sort_by(|(one, _), (other, _)| one.cmp(other));
    forgotten.dedup_by(|(one, _), (other, _)| one == other);
    if forgotten.is_empty() {
        return None;
    }
    let mut eased = then.clone();
    let last = kind.rules_mut(&mut eased).pop()?;
    let list = kind.backend_list_mut(last)?;
    for (_, mut backend) in forgotten {
        backend["weight"] = 0.into();
        list.push(backend);
    }
    Some(eased)
}

/// What became of a rule.
enum Left {
    NotThere,
    Done { had_traffic: bool },
    Stays,
}

struct Side<'a> {
    kind: RouteKind,
    services: &'a Services,
    namespace: &'a str,
    new: &'a str,
}

impl Side<'_> {
    fn is(&self, backend: &Value, word: &str) -> bool {
        let Self { kind, services, .. } = self;
        kind.leads_to(backend, word, services, self.namespace)
    }

    fn leave(&self, list: &mut Vec<Value>, is_ours: bool, service_stays: bool) -> Left {
        let there: Vec<usize> = (0..list.len())
            .filter(|at| self.is(&list[*at], self.new))
            .collect();
        let Some(first) = there.first().copied() else {
            return Left::NotThere;
        };
        let is_alone = list.len() == 1;
        let weight = |backend: &Value| self.kind.weight(backend).unwrap_or(0);
        let moved: u32 = there.iter().map(|at| weight(&list[*at])).sum();
        // A single one gets everything, whatever its weight.
        let had_traffic = moved > 0 || is_alone;
        let stable = list.iter().position(|one| self.is(one, "stable"));
        let Some(stable) = stable else {
            return match (is_ours, had_traffic) {
                (true, _) if service_stays => {
                    let mut turned = list[first].clone();
                    self.kind.turn_to_stable(&mut turned, self.services);
                    turned["weight"] = if is_alone { 100 } else { moved }.into();
                    for at in there {
                        list[at]["weight"] = 0.into();
                    }
                    list.insert(first, turned);
                    Left::Done { had_traffic }
                }
                (true, _) => {
                    self.kind.turn_to_stable(&mut list[first], self.services);
                    if !is_alone {
                        list[first]["weight"] = moved.into();
                    }
                    remove(list, &there[1..]);
                    Left::Done { had_traffic }
                }
                (false, true) => Left::Stays,
                (false, false) => Left::Done { had_traffic },
            };
        };
        if moved > 0 {
            list[stable]["weight"] = (weight(&list[stable]).saturating_add(moved)).into();
        }
        if is_ours && !service_stays {
            remove(list, &there);
        } else if moved > 0 {
            for at in there {
                list[at]["weight"] = 0.into();
            }
        }
        Left::Done { had_traffic }
    }
}

fn remove(list: &mut Vec<Value>, places: &[usize]) {
    for at in places.iter().rev() {
        list.remove(*at);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn services() -> Services {
        Services {
            stable: Some("web".to_owned()),
            canary: Some("web-canary".to_owned()),
            ..Services::default()
        }
    }

    fn backend(name: &str, weight: u32) -> Value {
        json!({"name": name, "port": 80, "weight": weight})
    }

    fn route(ours: &str, rules: Value) -> Value {
        let mut route = json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": "web", "namespace": "shop", "annotations": {"sortie.dev/routes": ours}},
            "spec": {},
        });
        route["spec"]["rules"] = rules;
        route
    }

    fn rules(object: &Value) -> &Value {
        &object["spec"]["rules"]
    }

    #[test]
    fn what_a_step_wrote_names_the_canary_no_more() {
        let live = route(
            r#"["testers", "all", "mixed"]"#,
            json!([
                {"matches": [{"path": {"value": "/a"}}], "backendRefs": [backend("web-canary", 100)]},
                {"backendRefs": [backend("web", 80), backend("web-canary", 20)]},
                {"backendRefs": [backend("third", 50), backend("web-canary", 50)]},
                {"backendRefs": [backend("web", 1)]},
            ]),
        );
        let found = retreat(&live, &services(), "canary", false)
            .unwrap()
            .unwrap();
        assert!(found.had_traffic);
        assert_eq!(found.left, 0);
        assert_eq!(
            rules(&found.object),
            &json!([
                {"matches": [{"path": {"value": "/a"}}], "backendRefs": [backend("web", 100)]},
                {"backendRefs": [backend("web", 100)]},
                {"backendRefs": [backend("third", 50), backend("web", 50)]},
                {"backendRefs": [backend("web", 1)]},
            ])
        );
        assert_eq!(
            retreat(&found.object, &services(), "canary", false),
            Ok(None)
        );
    }

    #[test]
    fn a_service_that_stays_stays_in_its_rules() {
        let live = route(
            r#"["all"]"#,
            json!([{"backendRefs": [backend("web", 80), backend("web-canary", 20)]}]),
        );
        let found = retreat(&live, &services(), "canary", true)
            .unwrap()
            .unwrap();
        let expected = json!([{"backendRefs": [backend("web", 100), backend("web-canary", 0)]}]);
        assert_eq!(rules(&found.object), &expected);
        let again = retreat(&found.object, &services(), "canary", true)
            .unwrap()
            .unwrap();
        assert!(!again.had_traffic);
        assert_eq!(again.object, found.object);
    }

    #[test]
    fn a_rule_for_a_service_that_stays_gets_the_stable_one_beside_it() {
        let live = route(
            r#"["testers"]"#,
            json!([{"backendRefs": [backend("web-canary", 100)]}]),
        );
        let found = retreat(&live, &services(), "canary", true)
            .unwrap()
            .unwrap();
        let expected = json!([{"backendRefs": [backend("web", 100), backend("web-canary", 0)]}]);
        assert_eq!(rules(&found.object), &expected);
        let then = retreat(&found.object, &services(), "canary", false)
            .unwrap()
            .unwrap();
        assert!(!then.had_traffic);
        assert_eq!(
            rules(&then.object),
            &json!([{"backendRefs": [backend("web", 100)]}])
        );
    }

    #[test]
    fn a_service_is_forgotten_by_a_route_after_it_has_no_requests() {
        let now = route(
            "[]",
            json!([{"backendRefs": [backend("web", 80), backend("web-canary", 20)]}]),
        );
        let before = route(
            "[]",
            json!([{"backendRefs": [backend("third", 1)]}, {"backendRefs": [backend("web", 1)]}]),
        );
        let eased = easing(&now, &before).unwrap();
        assert_eq!(
            rules(&eased),
            &json!([
                {"backendRefs": [backend("third", 1)]},
                {"backendRefs": [backend("web", 1), backend("web-canary", 0)]},
            ])
        );
        assert_eq!(easing(&eased, &before).as_ref(), Some(&eased));
        let all = route(
            "[]",
            json!([{"backendRefs": [backend("web", 1), backend("web-canary", 9)]}]),
        );
        assert_eq!(easing(&now, &all), None);
    }

    #[test]
    fn what_somebody_wrote_keeps_its_backends() {
        let live = route(
            "[]",
            json!([
                {"backendRefs": [backend("web", 3), backend("web-canary", 1), backend("third", 4)]},
                {"backendRefs": [backend("web-canary", 1)]},
                {"backendRefs": [backend("third", 1), backend("web-canary", 1)]},
            ]),
        );
        let found = retreat(&live, &services(), "canary", false)
            .unwrap()
            .unwrap();
        assert_eq!(found.left, 2);
        assert_eq!(
            rules(&found.object)[0],
            json!({"backendRefs": [backend("web", 4), backend("web-canary", 0), backend("third", 4)]})
        );
        assert_eq!(rules(&found.object)[1], rules(&live)[1]);
        assert_eq!(rules(&found.object)[2], rules(&live)[2]);
    }

    #[test]
    fn subsets_and_splits_go_back_alike() {
        let subset = |name: &str, weight: u32| json!({"destination": {"host": "web", "subset": name}, "weight": weight});
        let mesh = json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": {"name": "web", "namespace": "shop", "annotations": {"sortie.dev/routes": r#"["testers"]"#}},
            "spec": {"http": [
                {"route": [{"destination": {"host": "web", "subset": "canary"}}]},
                {"route": [subset("stable", 90), subset("canary", 10)]},
            ]},
        });
        let found = retreat(&mesh, &services(), "canary", false)
            .unwrap()
            .unwrap();
        let http = &found.object["spec"]["http"];
        assert_eq!(
            http[0]["route"],
            json!([{"destination": {"host": "web", "subset": "stable"}}])
        );
        assert_eq!(
            http[1]["route"],
            json!([subset("stable", 100), subset("canary", 0)])
        );
        let split = json!({
            "apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit",
            "metadata": {"name": "web", "namespace": "shop", "annotations": {"sortie.dev/routes": r#"["all"]"#}},
            "spec": {"service": "web", "backends": [{"service": "web", "weight": 80}, {"service": "web-canary", "weight": 20}]},
        });
        let found = retreat(&split, &services(), "canary", false)
            .unwrap()
            .unwrap();
        assert_eq!(
            found.object["spec"]["backends"],
            json!([{"service": "web", "weight": 100}])
        );
        let elsewhere = route("[]", json!([{"backendRefs": [backend("web", 1)]}]));
        assert_eq!(retreat(&elsewhere, &services(), "canary", false), Ok(None));
    }
}
