use proptest::prelude::*;
use serde_json::json;

use super::*;

fn slack(surge: u32, unavailable: u32) -> Slack {
    Slack::of(Amount::Count(surge), Amount::Count(unavailable), u32::MAX)
}

#[test]
fn amounts_are_read_as_the_api_writes_them() {
    for (value, amount) in [
        (json!(3), Some(Amount::Count(3))),
        (json!("25%"), Some(Amount::Percent(25))),
        (json!("100%"), Some(Amount::Percent(100))),
        (json!("3"), None),
        (json!("%"), None),
        (json!("+3%"), None),
        (json!(-1), None),
        (json!("99999999999%"), None),
        (json!(1.5), None),
        (json!(null), None),
    ] {
        assert_eq!(Amount::parse(&value), amount, "{value}");
    }
}

#[test]
fn surge_is_rounded_up_and_unavailable_down() {
    use Amount::{Count, Percent};
    for (surge, unavailable, replicas, expected) in [
        (Percent(25), Percent(25), 10, (3, 2)),
        (Percent(25), Percent(25), 1, (1, 0)),
        (Percent(1), Percent(1), 1, (1, 0)),
        (Count(0), Percent(25), 3, (0, 1)),
        (Count(0), Count(0), 3, (0, 1)),
        (Count(0), Count(0), 0, (0, 0)),
        (Count(2), Count(9), 4, (2, 4)),
        (Percent(200), Count(0), 3, (6, 0)),
    ] {
        let slack = Slack::of(surge, unavailable, replicas);
        assert_eq!(
            (slack.surge, slack.unavailable),
            expected,
            "{surge:?} {unavailable:?} of {replicas}"
        );
    }
}

/// Rows: replicas, surge, and the canary/stable pairs for the weights of the first line.
const PAIRS: &str = "
n surge    1   5   10  20  25  33  50  66  75  90  99  100
1 0        0/1 0/1 0/1 0/1 0/1 0/1 1/0 1/0 1/0 1/0 1/0 1/0
2 0        1/1 1/1 1/1 1/1 1/1 1/1 1/1 1/1 1/1 1/1 1/1 2/0
3 0        1/2 1/2 1/2 1/2 1/2 1/2 2/1 2/1 2/1 2/1 2/1 3/0
5 0        1/4 1/4 1/4 1/4 1/4 2/3 3/2 3/2 4/1 4/1 4/1 5/0
10 0       1/9 1/9 1/9 2/8 3/7 3/7 5/5 7/3 8/2 9/1 9/1 10/0
1 1        1/1 1/1 1/1 1/1 1/1 1/1 1/1 1/1 1/1 1/1 1/1 1/0
3 1        1/3 1/3 1/3 1/3 1/3 1/2 2/2 2/1 3/1 3/1 3/1 3/0
5 2        1/5 1/5 1/5 1/4 1/4 2/4 3/3 4/2 4/1 5/1 5/1 5/0
10 3       1/10 1/10 1/9 2/8 3/8 3/7 5/5 7/4 8/3 9/1 10/1 10/0
";

#[test]
fn the_nearest_pair_is_chosen() {
    let mut lines = PAIRS.trim().lines();
    let weights: Vec<u32> = lines
        .next()
        .unwrap()
        .split_whitespace()
        .skip(2)
        .map(|w| w.parse().unwrap())
        .collect();
    for line in lines {
        let mut words = line.split_whitespace();
        let replicas: u32 = words.next().unwrap().parse().unwrap();
        let surge: u32 = words.next().unwrap().parse().unwrap();
        for (weight, expected) in weights.iter().zip(words) {
            let found = pair(replicas, *weight, slack(surge, 0));
            assert_eq!(
                format!("{}/{}", found.canary, found.stable),
                expected,
                "{replicas} pods, surge {surge}, {weight} %"
            );
        }
    }
    assert_eq!(pair(0, 50, slack(1, 0)), Pair::default());
    assert_eq!(
        pair(7, 0, slack(1, 0)),
        Pair {
            canary: 0,
            stable: 7
        }
    );
}

/// What `maxSurge` and `maxUnavailable` may say: numbers around those of the pods, and shares.
fn amount() -> impl Strategy<Value = Amount> {
    prop_oneof![
        (0_u32..=2).prop_map(Amount::Count),
        (0_u32..=220).prop_map(Amount::Count),
        (0_u32..=100).prop_map(Amount::Percent),
    ]
}

/// A pair depends on the surge by whether there is any: all that there are.
#[test]
fn every_pair_keeps_the_rules() {
    for (replicas, surge) in (0..=200).flat_map(|replicas| [(replicas, 0), (replicas, 1)]) {
        let mut before = pair(replicas, 0, slack(surge, 1));
        for percent in 1..=100 {
            let pair = pair(replicas, percent, slack(surge, 1));
            let what = format!("{replicas} pods, {percent} %, surge {surge}: {pair:?}");
            assert!(
                pair.canary >= before.canary && pair.stable <= before.stable,
                "{what}"
            );
            assert!(
                (replicas..=replicas + surge).contains(&pair.total()),
                "{what}"
            );
            if percent < 100 && replicas >= 2 {
                assert!(pair.canary >= 1 && pair.stable >= 1, "{what}");
            }
            before = pair;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn both_sides_have_a_pod_between_1_and_99_percent(
        replicas in 0_u32..=200,
        percent in 0_u32..=100,
        surge in amount(),
        unavailable in amount(),
    ) {
        let slack = Slack::of(surge, unavailable, replicas);
        let pair = pair(replicas, percent, slack);
        prop_assert!(pair.total() >= replicas && pair.total() <= replicas + slack.surge, "{pair:?}");
        if (1..100).contains(&percent) && (replicas >= 2 || replicas == 1 && slack.surge > 0) {
            prop_assert!(pair.canary >= 1 && pair.stable >= 1, "{pair:?}");
        }
        let whole = [(0, (0, replicas)), (100, (replicas, 0))];
        if let Some((_, goal)) = whole.iter().find(|(end, _)| *end == percent) {
            prop_assert_eq!((pair.canary, pair.stable), *goal);
        }
    }

    #[test]
    fn a_higher_weight_never_means_fewer_canaries(
        replicas in 0_u32..=200,
        percents in (0_u32..=100, 0_u32..=100),
        surge in amount(),
        unavailable in amount(),
    ) {
        let slack = Slack::of(surge, unavailable, replicas);
        let (low, high) = (percents.0.min(percents.1), percents.0.max(percents.1));
        let (lower, higher) = (pair(replicas, low, slack), pair(replicas, high, slack));
        prop_assert!(higher.canary >= lower.canary && higher.stable <= lower.stable, "{lower:?} {higher:?}");
    }

    #[test]
    fn no_pair_is_nearer(replicas in 2_u32..=60, percent in 1_u32..=99, surge in 0_u32..=1) {
        let slack = slack(surge, 1);
        let chosen = pair(replicas, percent, slack);
        let off = |pair: Pair| (f64::from(pair.canary) * 100.0 / f64::from(pair.total()) - f64::from(percent)).abs();
        for total in replicas..=replicas + surge {
            for canary in 1..total {
                let other = Pair { canary, stable: total - canary };
                prop_assert!(off(chosen) <= off(other) + 1e-9, "{chosen:?} {other:?}");
            }
        }
    }

    #[test]
    fn what_a_side_needs_it_carries(replicas in 1_u32..=200, weight in 0_u32..=100) {
        prop_assert!(carried(replicas, needed(replicas, weight)) >= weight);
        let ready = needed(replicas, weight);
        prop_assert!(needed(replicas, carried(replicas, ready)) <= ready);
    }

    /// Pods come and become available in any order; some take long. The bounds hold all the way, and the goal is reached.
    #[test]
    fn the_goal_is_reached_within_the_bounds(
        replicas in 1_u32..=40,
        percents in prop::collection::vec(0_u32..=100, 1..5),
        surge in amount(),
        unavailable in amount(),
        luck in prop::collection::vec(any::<u8>(), 64),
    ) {
        let slack = Slack::of(surge, unavailable, replicas);
        let full = Side { wanted: replicas, pods: replicas, ready: replicas, available: replicas };
        let mut sides = Sides { canary: Side::default(), stable: full };
        let mut luck = luck.into_iter().cycle();
        for percent in percents {
            let goal = pair(replicas, percent, slack);
            let mut ticks = 0;
            while sides.wanted() != goal || !sides.canary.is_settled() || !sides.stable.is_settled() {
                let asked = next(sides, goal, Pair::default(), replicas, slack);
                for (side, asked) in [(&mut sides.canary, asked.canary), (&mut sides.stable, asked.stable)] {
                    side.wanted = asked;
                    let chance = u32::from(luck.next().unwrap());
                    // A controller removes what is not available first, and makes what lacks.
                    side.pods = if side.pods > asked { asked } else { side.pods + (asked - side.pods).min(chance % 4) };
                    side.available = side.available.min(side.pods);
                    side.available += (side.pods - side.available).min(chance / 64);
                    side.ready = side.ready.clamp(side.available, side.pods);
                    side.ready += (side.pods - side.ready).min(chance / 16 % 4);
                }
                let (pods, available) = (sides.canary.pods + sides.stable.pods, sides.canary.available + sides.stable.available);
                prop_assert!(pods <= replicas + slack.surge, "{sides:?}");
                prop_assert!(available >= replicas - slack.unavailable, "{sides:?} of {replicas} {slack:?}");
                ticks += 1;
                prop_assert!(ticks < 5_000, "stuck at {sides:?} on the way to {goal:?}");
            }
        }
    }
}

#[test]
fn a_ready_pod_that_no_request_reaches_yet_is_not_given_up() {
    let full = Side {
        wanted: 4,
        pods: 4,
        ready: 4,
        available: 0,
    };
    let sides = Sides {
        canary: Side::default(),
        stable: full,
    };
    let goal = Pair {
        canary: 4,
        stable: 0,
    };
    let slack = Slack {
        surge: 1,
        unavailable: 0,
    };
    let asked = next(sides, goal, Pair::default(), 4, slack);
    assert_eq!((asked.canary, asked.stable), (1, 4));
}
