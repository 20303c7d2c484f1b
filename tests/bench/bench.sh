#!/usr/bin/env bash
# bench.sh NAME [ARGUMENT...]: measure with release builds, print a table, write target/bench/NAME.json.
#
#   link   memory of the idle delegate and server, time from queue to acceptance and from readiness to the reported end, sizes
#   apply  sortie deploy beside kubectl, helm and a bare client: times, memory, requests; sizes=10,100 and tools=sortie,floor
#          measure a part of it
#   weights  share of 20,000 requests through a gateway beside the weight of its route, and how soon a weight is in force
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
name=${1:-}
[ -f "tests/src/bin/bench-$name.rs" ] || [ -d "tests/src/bin/bench-$name" ] || { sed -n '2,7s/^# \?//p' "$0" >&2; exit 2; }
shift
if [ "$name" = apply ]; then
  cargo build --release --locked --bin sortie
elif [ "$name" != weights ]; then
  cargo build --release --locked --bin sortie --bin sortie-server --bin sortie-delegate --bin sortie-sample
  # The images too, of these programs.
  export PROFILE=release PREBUILT=1
fi
exec cargo run --release --locked --quiet -p sortie-tests --bin "bench-$name" -- "$@"
