#!/usr/bin/env bash
# bench.sh NAME [ARGUMENT...]: measure with release builds, print a table, write target/bench/NAME.json.
#
#   link   memory of the idle delegate and server, time from queue to acceptance and from readiness to the reported end, sizes
#   apply  sortie deploy beside kubectl, helm and a bare client: times, memory, requests; sizes=10,100 and tools=sortie,floor
#          measure a part of it
#   rollout  canary and blue-green deployments beside Argo Rollouts: times, requests, memory; sizes=10 and repeats=1 measure a part
#   strategy  the planner of the progressive canary in its simulated world: steps, decisions in a second, broken invariants
#   weights  share of 20,000 requests through a gateway beside the weight of its route, and how soon a weight is in force
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
name=${1:-}
[ -f "tests/src/bin/bench-$name.rs" ] || [ -d "tests/src/bin/bench-$name" ] || { sed -n '2,9s/^# \?//p' "$0" >&2; exit 2; }
shift
case $name in
  strategy | weights) ;;
  apply) cargo build --release --locked --bin sortie ;;
  rollout)
    tests/cluster/build-tools.sh argo-rollouts crds-argo-rollouts
    cargo build --release --locked --bin sortie --bin sortie-server --bin sortie-delegate
    ;;
  *)
    cargo build --release --locked --bin sortie --bin sortie-server --bin sortie-delegate --bin sortie-sample
    # The images too, of these programs.
    export PROFILE=release PREBUILT=1
    ;;
esac
exec cargo run --release --locked --quiet -p sortie-tests --bin "bench-$name" -- "$@"
