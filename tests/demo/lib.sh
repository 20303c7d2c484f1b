# shared by demo.sh and demo-clean.sh; sourced
export SORTIE_CACHE=${SORTIE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sortie}
SYSTEM=${SYSTEM:-sortie-demo-system}
TARGET=${TARGET:-sortie-demo}
CLUSTER_NAME=demo
STATE=$SORTIE_CACHE/demo
export SORTIE_CONFIG_DIR=$STATE/config
OWN_CLUSTER=${KUBECONFIG:+no}; OWN_CLUSTER=${OWN_CLUSTER:-yes}
BACKGROUND=()
trap 'for pid in "${BACKGROUND[@]}"; do kill "$pid" 2>/dev/null || true; done' EXIT

bold() { if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then printf '\033[1m%s\033[0m\n' "$*"; else printf '%s\n' "$*"; fi; }
step() { echo; bold "== $* (at $SECONDS s)"; }
say() { printf '   %s\n' "$*"; }
run() { printf '   $ %s\n' "$*"; "$@"; }
fail() { printf 'demo: %s\n' "$*" >&2; exit 1; }
target_dir() { echo "${CARGO_TARGET_DIR:-$PWD/target}"; }

# Within two seconds: what is missing on this machine, and how long the whole will take.
preflight() {
  local purposes=(build)
  [ "$OWN_CLUSTER" = no ] || purposes+=(node)
  tests/check-tools.sh "${purposes[@]}" || exit 1
  if [ "$OWN_CLUSTER" = yes ]; then
    [ "$(id -u)" -eq 0 ] || fail "an own cluster needs root (namespaces, mounts); run as root, or set KUBECONFIG and IMAGE_PREFIX"
    say "cluster: an own one on this machine"
  else
    [ -n "${IMAGE_PREFIX:-}" ] || fail "KUBECONFIG is set, so IMAGE_PREFIX must say where images can be pushed to, such as registry.example.com/me"
    say "cluster: the one of KUBECONFIG=$KUBECONFIG; only the namespaces $SYSTEM and $TARGET are touched"
  fi
  if [ -x "$SORTIE_CACHE/bin/kubelet" ] && [ -x "$(target_dir)/debug/sortie" ]; then
    say "time to expect: about 2 minutes (tools and programs are built already; more if sources have changed since)"
  else
    say "time to expect: about 15 minutes the first time on 2 cores (Kubernetes itself is built), 2 minutes after that"
  fi
  mkdir -p "$STATE" "$SORTIE_CONFIG_DIR"
}

prepare_cluster() {
  if [ "$OWN_CLUSTER" = no ]; then
    tests/cluster/build-tools.sh helm kubectl kustomize
    return
  fi
  # All but the gateway, which only tests have.
  tests/cluster/build-tools.sh helm kustomize kubectl etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy coredns pause
  sortie-cluster up --name "$CLUSTER_NAME" | sed 's/^/   /'
  KUBECONFIG=$(sortie-cluster kubeconfig --name "$CLUSTER_NAME")
  export KUBECONFIG
}

prepare_images() {
  local made reference names=(server delegate sample-v1 sample-v2 sample-v3)
  if [ "$OWN_CLUSTER" = yes ]; then
    made=$(sortie-cluster load-image --name "$CLUSTER_NAME" "${names[@]}") || fail "the images were not loaded into the node"
  else
    made=$(sortie-cluster images --push "$IMAGE_PREFIX" "${names[@]}") || fail "the images were not pushed to $IMAGE_PREFIX"
  fi
  for reference in $made; do
    case $reference in
      *sortie-server:*) SERVER_IMAGE=$reference ;;
      *sortie-delegate:*) DELEGATE_IMAGE=$reference ;;
      *sortie-sample:v1) SAMPLE_REPOSITORY=${reference%:v1} ;;
    esac
  done
  say "images: $SERVER_IMAGE $DELEGATE_IMAGE $SAMPLE_REPOSITORY:{v1,v2,v3}"
}

# Only namespaces that the demo made itself are used, and later removed.
make_namespace() {
  if kubectl get namespace "$1" >/dev/null 2>&1; then
    [ "$(kubectl get namespace "$1" -o jsonpath='{.metadata.labels.sortie\.dev/demo}')" = true ] ||
      fail "namespace $1 exists and was not made by the demo; delete it, or set SYSTEM and TARGET to other names"
    return
  fi
  kubectl create namespace "$1" >/dev/null
  kubectl label namespace "$1" pod-security.kubernetes.io/enforce=restricted sortie.dev/demo=true >/dev/null
}

# A port of the control plane on loopback, for as long as the demo runs.
forward_web() {
  local log=$STATE/port-forward.log
  : >"$log"
  kubectl -n "$SYSTEM" port-forward service/sortie-server :8080 >"$log" 2>&1 &
  BACKGROUND+=($!)
  for _ in $(seq 100); do
    WEB_PORT=$(sed -n 's/^Forwarding from 127.0.0.1:\([0-9]*\) .*/\1/p' "$log")
    [ -n "$WEB_PORT" ] && return 0
    read -rt 0.1 <> <(:) || :
  done
  fail "kubectl port-forward did not start: $(cat "$log")"
}

# The demo makes its own admin token, so that it needs no log that a restart takes away, and keeps it beside its state.
login() {
  # Another cluster, or the same one made anew, has another token.
  local cluster
  cluster=$(kubectl get namespace "$SYSTEM" -o jsonpath='{.metadata.uid}')
  if [ ! -s "$STATE/token" ] || [ "$(cat "$STATE/cluster" 2>/dev/null)" != "$cluster" ]; then
    echo "$cluster" >"$STATE/cluster"
    (umask 077 && kubectl -n "$SYSTEM" exec deployment/sortie-server -- sortie-server token create --admin --label demo --days 30 >"$STATE/token") ||
      { rm -f "$STATE/token"; fail "the control plane made no admin token"; }
  fi
  sortie login "http://127.0.0.1:$WEB_PORT" <"$STATE/token"
}

# A client inside the cluster that opens one connection per request, until it is told to stop.
start_traffic() {
  sortie-cluster traffic --name "$CLUSTER_NAME" --namespace "$TARGET" --service hello --stop-file "$STATE/traffic.stop" --report "$STATE/traffic.json" &
  TRAFFIC=$!
  BACKGROUND+=("$TRAFFIC")
}

stop_traffic() {
  touch "$STATE/traffic.stop"
  wait "$TRAFFIC" || fail "the traffic client failed"
  rm -f "$STATE/traffic.stop"
  say "requests: $(jq -c . "$STATE/traffic.json")"
  [ "$(jq .failed "$STATE/traffic.json")" -eq 0 ] || fail "requests failed during the rollout"
}

# Lines that work as they stand, in another shell.
next_steps() {
  local kubectl
  kubectl=$(command -v kubectl)
  say "the control plane, for as long as this runs in one terminal:"
  printf '  KUBECONFIG=%q %q -n %q port-forward service/sortie-server 8080\n' "$KUBECONFIG" "$kubectl" "$SYSTEM"
  say "in another terminal, in this folder:"
  printf '  export PATH=%q:%q:$PATH\n' "$(target_dir)/debug" "$SORTIE_CACHE/bin"
  printf '  export KUBECONFIG=%q SORTIE_CONFIG_DIR=%q\n' "$KUBECONFIG" "$SORTIE_CONFIG_DIR"
  printf '  sortie login http://127.0.0.1:8080 <%q\n' "$STATE/token"
  local history="sortie history -n $TARGET --release hello"
  HINT_WIDTH=${#history}
  hint "sortie get executions" "what ran, and why one failed"
  hint "sortie logs hello --step rolling" "what the broken version's step said"
  hint "$history" "the releases, straight from the cluster"
  hint "less examples/hello/pipeline.yaml" "the pipeline you saw"
  hint "make demo-clean" "remove all of it"
}
hint() { printf '  %-*s   %s\n' "$HINT_WIDTH" "$1" "$2"; }
