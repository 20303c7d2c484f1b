#!/usr/bin/env bash
# demo-clean.sh: remove what demo.sh made: its own cluster, or in the user's cluster the two namespaces.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tests/demo/lib.sh
if [ "$OWN_CLUSTER" = yes ]; then
  cargo run --quiet --locked --bin sortie-cluster -- down --name "$CLUSTER_NAME"
else
  PATH=$SORTIE_CACHE/bin:$PATH
  for namespace in "$SYSTEM" "$TARGET"; do
    kubectl delete namespace -l sortie.dev/demo=true --field-selector "metadata.name=$namespace" --ignore-not-found
  done
fi
rm -rf "$STATE"
