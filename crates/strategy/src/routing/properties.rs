use proptest::prelude::*;

use super::tests::{
    SMI, config, gateway, header, istio, one, route, services, to, weights, written,
};
use super::*;
use crate::invariant;

proptest! {
    #[test]
    fn an_edit_keeps_shares_and_everything_else(
        pair in (0_u32..=200, 0_u32..=200),
        foreign in prop::collection::vec(0_u32..=300, 0..3),
        percent in 0_u32..=100,
        again in 0_u32..=100,
    ) {
        let mut backends = vec![("web", Some(pair.0)), ("web-canary", Some(pair.1))];
        backends.extend(["x", "y", "z"].into_iter().zip(foreign.iter().map(|weight| Some(*weight))));
        let live = written(&backends);
        let has_others = foreign.iter().any(|weight| *weight > 0);
        match split(&live, &services(), percent) {
            Err(error) => {
                prop_assert!(has_others, "{error}");
                prop_assert!(matches!(error, RoutingError::Coarse { .. }), "{error}");
                // A whole of two hundredths at least can always be split to a point.
                prop_assert!(pair.0 + pair.1 < 100, "{error}");
            }
            Ok(edited) => {
                let now = weights(&edited, "/spec/rules/1", "backendRefs");
                let whole = if has_others { u64::from(pair.0 + pair.1) } else { 100 };
                prop_assert_eq!(now[0] + now[1], whole);
                if !has_others {
                    let shares: Vec<u32> = now[..2].iter().map(|one| u32::try_from(*one).unwrap()).collect();
                    prop_assert_eq!(invariant::weights(&shares), Ok(()));
                }
                prop_assert_eq!(now[1] == 0, percent == 0);
                prop_assert_eq!(now[0] == 0, percent == 100);
                let share = canary_share(&edited, &services()).unwrap();
                prop_assert!(share.abs_diff(percent) <= 1);
                // Idempotent, and whatever comes between is forgotten.
                prop_assert_eq!(&split(&edited, &services(), percent).unwrap(), &edited);
                if let Ok(between) = split(&edited, &services(), again) {
                    prop_assert_eq!(&split(&between, &services(), percent).unwrap(), &edited);
                }
                // Everything but the two weights is as it was.
                let mut expected = live.clone();
                for index in 0..2 {
                    expected["spec"]["rules"][1]["backendRefs"][index]["weight"] = now[index].into();
                }
                prop_assert_eq!(edited.to_string(), expected.to_string());
            }
        }
    }

    #[test]
    fn a_configuration_is_idempotent_and_can_be_taken_back(
        given in prop::collection::vec(0_u32..=100, 2),
        with_rule in any::<bool>(),
        kind in 0_usize..3,
        others in 0_u32..=50,
    ) {
        prop_assume!(given.iter().any(|weight| *weight > 0));
        let rules = if with_rule { vec![header(How::Exact, "x", "1")] } else { Vec::new() };
        let shares = vec![to("stable", given[0]), to("canary", given[1])];
        let asked = config([gateway(), istio(), SMI][kind].clone(), vec![route("r", rules, shares)]);
        let made = configured(&asked, &services(), "default", &[]).unwrap();
        prop_assert_eq!(&configured(&asked, &services(), "default", &made).unwrap(), &made);
        let split = made.iter().find(|one| RouteKind::of(one).is_some()).unwrap();
        let (rules, backends) = [("/spec/rules/0", "backendRefs"), ("/spec/http/0", "route"), ("/spec", "backends")][kind];
        let now = weights(split, rules, backends);
        prop_assert_eq!(now.iter().sum::<u64>(), 100);
        // In what somebody wrote, a rule is put before the others or weights change.
        let live = written(&[("web", Some(100)), ("web-canary", Some(0)), ("other", Some(others))]);
        let edited = one(&config(gateway(), asked.routes), std::slice::from_ref(&live));
        let back = without_added(&edited).unwrap();
        if with_rule {
            prop_assert_eq!(back.to_string(), live.to_string());
        } else {
            prop_assert_eq!(super::split(&back, &services(), 0).unwrap().to_string(), live.to_string());
        }
    }
}
