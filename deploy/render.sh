#!/usr/bin/env bash
# render.sh [--check]: render the charts into deploy/*.yaml for those without Helm; --check fails when they differ from what is committed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH=${SORTIE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sortie}/bin:$PATH
out=deploy
if [ "${1:-}" = --check ]; then out=$(mktemp -d); trap 'rm -rf "$out"' EXIT; fi

render() { # NAME CHART NOTE VALUES...
  local name=$1 chart=$2 note=$3; shift 3
  {
    echo "# Rendered by deploy/render.sh from helm/$chart; edit the chart, not this file."
    echo "# $note"
    helm template "$name" "helm/$chart" --namespace sortie "$@"
  } >"$out/$chart.yaml"
}
render sortie-server sortie-server "It goes into the namespace sortie: kubectl create namespace sortie"
render delegate sortie-delegate "It goes into the namespace sortie, needs the join token there (Secret sortie-join, key token) and may deploy to the namespace default alone." \
  --set existingSecret=sortie-join --set 'rbac.namespaces={default}'

if [ "$out" != deploy ]; then
  for file in sortie-server sortie-delegate; do
    diff -u "deploy/$file.yaml" "$out/$file.yaml" || { echo "deploy/$file.yaml is not what the chart renders: run deploy/render.sh" >&2; exit 1; }
  done
fi
