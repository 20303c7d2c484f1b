//! The way back: no request goes to the new side any more, before its pods go.

use serde_json::Value;

use super::error::RoutingError;
use super::existing::{find, leading, names, of};
use super::kind::{self, RouteKind};
use super::reach::Arrival;
use super::request::Services;

/// A route that leads to the new side.
#[derive(Clone, Debug, PartialEq)]
pub struct Retreat {
    /// The object without requests for the new side.
    pub object: Value,
    /// Whether some requests went there.
    pub had_traffic: bool,
    /// The rules that still lead to it: somebody wrote them, and they lead to nobody who could take these requests.
    pub left: Vec<String>,
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
            left: Vec::new(),
        },
    );
    for (index, rule) in kind.rules_mut(&mut object).into_iter().enumerate() {
        let is_ours = index < ours;
        let name = kind::rule_name(rule, index);
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
            Left::Stays => found.1.left.push(name),
        }
        found.0 = true;
    }
    let (is_there, mut retreat) = found;
    retreat.object = object;
    Ok(is_there.then_some(retreat))
}

/// The rules by which requests arrive at pods of the stable side alone: they would lead to nobody without these pods. Where
/// weights are still to move, not those that lead to the new side (`canary` or `stage`) as well.
///
/// # Errors
/// The object is not as its kind says.
pub fn bound_to_stable(
    object: &Value,
    services: &Services,
    new: &str,
    weights_move: bool,
) -> Result<Vec<String>, RoutingError> {
    let kind = of(object)?;
    let mut object = object.clone();
    let namespace = kind::namespace(&object).to_owned();
    let mut bound = Vec::new();
    for (index, rule) in kind.rules_mut(&mut object).into_iter().enumerate() {
        let name = kind::rule_name(rule, index);
        let backends = kind.backends_mut(rule);
        let is_alone = backends.len() == 1;
        let is_bound = |backend: &Value| {
            let target = kind.target(backend, &namespace);
            let arrival =
                target.and_then(|(service, subset)| services.reach.arrival(service, subset));
            arrival == Some(Arrival::Stable) && (is_alone || kind.weight(backend) != Some(0))
        };
        let sides = ["stable", new];
        let is_steered =
            weights_move && find(kind, backends, &sides, services, &namespace).is_some();
        if !is_steered && backends.iter().any(is_bound) {
            bound.push(name);
        }
    }
    Ok(bound)
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
            let done = Left::Done { had_traffic };
            let mut turned = list[first].clone();
            let can_turn = self
                .kind
                .turn_to_stable(&mut turned, self.services, self.namespace);
            if !is_ours || !can_turn {
                return if had_traffic { Left::Stays } else { done };
            }
            if !is_alone || service_stays {
                turned["weight"] = if is_alone { 100 } else { moved }.into();
            }
            if service_stays {
                for at in there {
                    list[at]["weight"] = 0.into();
                }
                list.insert(first, turned);
            } else {
                list[first] = turned;
                remove(list, &there[1..]);
            }
            return done;
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
        assert!(found.left.is_empty());
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
        assert_eq!(found.left, ["rule 2", "rule 3"]);
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

    fn labels(value: &Value) -> [crate::routing::Labels; 1] {
        [value.as_object().cloned().unwrap()]
    }

    /// The Service `web` has the pods of both sides, and `testers` those of the canary; subsets go by the track.
    fn reaching() -> Services {
        let service = |name: &str, selector: Value| json!({"metadata": {"name": name}, "spec": {"selector": selector}});
        let services = [
            service("web", json!({"app": "web"})),
            service("testers", json!({"track": "canary"})),
            service("v1", json!({"track": "stable"})),
        ];
        let subset = |name: &str, track: &str| json!({"name": name, "labels": {"track": track}});
        let subsets = json!([subset("one", "stable"), subset("two", "canary")]);
        let rules = [json!({"spec": {"host": "web", "subsets": subsets}})];
        let stable = labels(&json!({"app": "web", "track": "stable"}));
        let new = labels(&json!({"app": "web", "track": "canary"}));
        Services {
            stable: Some("web".to_owned()),
            reach: crate::routing::Reach::of((&services, &rules), "shop", (&stable, &new)),
            ..Services::default()
        }
    }

    fn mesh(http: &Value) -> Value {
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": {"name": "web", "namespace": "shop"}, "spec": {"http": http},
        })
    }

    #[test]
    fn whatever_leads_to_the_pods_of_a_side_leads_to_the_side() {
        let subset = |host: &str, subset: &str, weight: u32| json!({"destination": {"host": host, "subset": subset}, "weight": weight});
        let live = mesh(&json!([
            {"route": [subset("web.shop.svc.cluster.local", "one", 90), subset("web", "two", 10)]},
            {"route": [{"destination": {"host": "web"}, "weight": 50}, {"destination": {"host": "testers"}, "weight": 50}]},
            // Another application's subset of that name.
            {"route": [subset("api", "canary", 100)]},
        ]));
        let found = retreat(&live, &reaching(), "canary", false)
            .unwrap()
            .unwrap();
        assert!(found.had_traffic && found.left.is_empty());
        let weights = |rule: usize| -> Vec<u64> {
            let route = found.object["spec"]["http"][rule]["route"]
                .as_array()
                .unwrap();
            route
                .iter()
                .map(|one| one["weight"].as_u64().unwrap())
                .collect()
        };
        assert_eq!((weights(0), weights(1)), (vec![100, 0], vec![100, 0]));
        assert_eq!(found.object["spec"]["http"][2], live["spec"]["http"][2]);
    }

    #[test]
    fn a_rule_of_a_step_turns_to_what_is_stable_of_its_host() {
        let mut live = mesh(
            &json!([{"name": "testers", "route": [{"destination": {"host": "web", "subset": "two"}}]}]),
        );
        let alone = retreat(&live, &reaching(), "canary", false)
            .unwrap()
            .unwrap();
        assert_eq!(alone.left, ["rule testers"], "somebody wrote it");
        live["metadata"]["annotations"] = json!({"sortie.dev/routes": r#"["testers"]"#});
        let found = retreat(&live, &reaching(), "canary", false)
            .unwrap()
            .unwrap();
        assert!(found.left.is_empty() && found.had_traffic);
        let turned = json!([{"destination": {"host": "web", "subset": "one"}}]);
        assert_eq!(found.object["spec"]["http"][0]["route"], turned);
    }

    #[test]
    fn what_no_weight_moves_is_bound_to_the_stable_side() {
        let live = route(
            "[]",
            json!([
                {"backendRefs": [backend("v1", 90), backend("testers", 10)]},
                {"name": "static", "backendRefs": [backend("v1", 1)]},
                {"backendRefs": [backend("web", 1)]},
                {"backendRefs": [backend("v1", 0), backend("other", 1)]},
                {"backendRefs": [backend("v1", 5), backend("other", 5)]},
            ]),
        );
        let mut services = reaching();
        assert_eq!(
            bound_to_stable(&live, &services, "canary", true),
            Ok(vec!["rule static".to_owned(), "rule 5".to_owned()])
        );
        let now = bound_to_stable(&live, &services, "canary", false).unwrap();
        assert_eq!(now, ["rule 1", "rule static", "rule 5"]);
        services.reach = crate::routing::Reach::default();
        let unknown = bound_to_stable(&live, &services, "canary", false);
        assert_eq!(unknown, Ok(Vec::new()));
    }
}
