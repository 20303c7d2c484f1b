#!/usr/bin/env bash
# bench.sh NAME: measure with release builds, print a table, write target/bench/NAME.json.
#
#   link   memory of the idle delegate and server, time from queue to acceptance and from readiness to the reported end, sizes
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
name=${1:-}
[ -f "tests/src/bin/bench-$name.rs" ] || { sed -n '2,5s/^# \?//p' "$0" >&2; exit 2; }
cargo build --release --locked --bin sortie --bin sortie-server --bin sortie-delegate --bin sortie-sample
# The images too, of these programs.
export PROFILE=release PREBUILT=1
exec cargo run --release --locked --quiet -p sortie-tests --bin "bench-$name"
