//! `make bench NAME=strategy`: the planner of the progressive canary in the simulated world, without a cluster.
//!
//! Argument: `sizes=10,100` measures a part.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sortie_strategy::invariant;
use sortie_strategy::progressive::{Observation, Phase, Plan, State, decide};
use sortie_strategy::replicas::Slack;
use sortie_strategy::simulator::{Luck, World};
use sortie_tests::bench::Bench;
use sortie_tests::measured;
use tokio::time::Instant;

/// Pods of the workload.
const SIZES: [u32; 4] = [10, 100, 1_000, 5_000];
/// Shares of the canary, one after the other: at the end its version is the release's, and the pods come back.
const SHARES: [u32; 5] = [10, 30, 60, 100, 0];
/// Runs of each size, each with other chance.
const RUNS: u64 = 20;
/// How late the router may be.
const LAG: Duration = Duration::from_secs(8);
/// Looks at the world in which one share must be reached.
const ROUNDS: u32 = 200_000;

/// One way to 100 %, and back to the originals.
#[derive(Default)]
struct Way {
    decisions: u32,
    actions: usize,
    deciding: Duration,
    violations: u32,
}

fn main() -> Result<()> {
    let mut bench = Bench::new("strategy");
    for size in sizes()? {
        let mut ways = Vec::new();
        for seed in 0..RUNS {
            ways.push(Way::to_the_end(size, seed)?);
        }
        let each = |value: fn(&Way) -> f64| ways.iter().map(value).collect::<Vec<_>>();
        let mut row = |what: &str, values: &[f64], unit, budget| {
            bench.median(&format!("{size} pods: {what}"), values, unit, budget);
        };
        row("decisions", &each(|way| f64::from(way.decisions)), "", None);
        #[expect(clippy::cast_precision_loss, reason = "some thousands of actions")]
        row("actions", &each(|way| way.actions as f64), "", None);
        let rate = each(|way| f64::from(way.decisions) / way.deciding.as_secs_f64());
        row("decisions", &rate, "1/s", None);
        let violations: f64 = each(|way| f64::from(way.violations)).iter().sum();
        row("violations in all runs", &[violations], "", Some(0.0));
        let memory = measured::peak(std::process::id()).context("read the memory")?;
        row("memory of the process", &[memory], "MiB", None);
    }
    bench.report()
}

fn sizes() -> Result<Vec<u32>> {
    let Some(argument) = std::env::args().nth(1) else {
        return Ok(SIZES.to_vec());
    };
    let list = argument.strip_prefix("sizes=").context("sizes=LIST")?;
    let sizes = list.split(',').map(str::parse).collect::<Result<_, _>>();
    sizes.context("sizes are numbers")
}

impl Way {
    fn to_the_end(size: u32, seed: u64) -> Result<Self> {
        let workloads = [(size, Slack::default_of(size))];
        let mut world = World::new(&workloads, Some(LAG), Luck::new(seed));
        let mut way = Self::default();
        for share in SHARES {
            way.go_to(share, &mut world)?;
        }
        Ok(way)
    }

    fn go_to(&mut self, share: u32, world: &mut World) -> Result<()> {
        let plan = Plan {
            to: share,
            settle: Duration::from_secs(10),
            patience: Duration::from_secs(600),
        };
        let mut state = State::new();
        for _ in 0..ROUNDS {
            let seen = world.seen();
            let begun = Instant::now();
            let decision = decide(&plan, state, &seen, world.now);
            self.deciding += begun.elapsed();
            self.decisions += 1;
            self.actions += decision.actions.len();
            state = decision.state;
            for action in &decision.actions {
                world.act(action);
            }
            if state.phase == Phase::Done {
                return Ok(());
            }
            world.tick();
            self.violations += u32::from(!holds(&world.seen(), world.serves()));
        }
        ensure!(false, "{share} % is not reached: {state:?}");
        Ok(())
    }
}

/// Whether all invariants hold, with the percentage that the router serves.
fn holds(seen: &Observation, served: Option<u32>) -> bool {
    let in_use: Vec<u32> = served.into_iter().collect();
    [
        invariant::bounded(seen),
        invariant::served(seen, &in_use),
        invariant::carried(seen, &in_use),
    ]
    .iter()
    .all(Result::is_ok)
}
