#!/usr/bin/env bash
# render.sh [--check]: render the charts into deploy/*.yaml for those without Helm; --check fails when they differ from what is committed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH=${SORTIE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sortie}/bin:$PATH
out=deploy
if [ "${1:-}" = --check ]; then out=$(mktemp -d); trap 'rm -rf "$out"' EXIT; fi

render() { # NAME CHART VALUES...
  local name=$1 chart=$2; shift 2
  {
    echo "# Rendered by deploy/render.sh from helm/$chart; edit the chart, not this file."
    helm template "$name" "helm/$chart" --namespace sortie "$@"
  } >"$out/$chart.yaml"
}
render sortie-server sortie-server
render delegate sortie-delegate --set existingSecret=sortie-join --set 'rbac.namespaces={default}'

if [ "$out" != deploy ]; then
  for file in sortie-server sortie-delegate; do
    diff -u "deploy/$file.yaml" "$out/$file.yaml" || { echo "deploy/$file.yaml is not what the chart renders: run deploy/render.sh" >&2; exit 1; }
  done
fi
