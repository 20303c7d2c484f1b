#!/usr/bin/env bash
# demo.sh: the main job from end to end. Brings a real Kubernetes up (or uses $KUBECONFIG), installs control plane and delegate by their
# charts, applies examples/hello and runs its pipeline for v1, v2 and a broken v3. Ends with exit 0 when everything went as it should.
#
#   KUBECONFIG    use this cluster instead of an own one; then IMAGE_PREFIX is needed
#   IMAGE_PREFIX  repository prefix that the images are pushed to and pulled from, such as registry.example.com/me
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tests/demo/lib.sh

preflight

step "Build the programs and their images"
# Whoever watches sees what is compiled; it may take minutes.
quiet=(); [ -t 2 ] || quiet=(--quiet)
cargo build "${quiet[@]}" --locked --workspace --bins
export PREBUILT=1
PATH=$(target_dir)/debug:$SORTIE_CACHE/bin:$PATH
prepare_cluster
say "cluster: $(kubectl version -o json 2>/dev/null | jq -r .serverVersion.gitVersion), $(kubectl get nodes --no-headers | wc -l) node(s)"
prepare_images

step "Install the control plane by its chart (namespace $SYSTEM)"
make_namespace "$SYSTEM"
make_namespace "$TARGET"
helm upgrade --install sortie-server helm/sortie-server -n "$SYSTEM" --wait --timeout 3m \
  --set "image.repository=${SERVER_IMAGE%:*},image.tag=${SERVER_IMAGE##*:},persistence.size=1Gi" >/dev/null
run kubectl -n "$SYSTEM" get pods
forward_web
login

step "Install the delegate by its chart; it may deploy to $TARGET only"
if ! kubectl -n "$SYSTEM" get deployment demo-sortie-delegate >/dev/null 2>&1 || ! helm -n "$SYSTEM" status demo >/dev/null 2>&1; then
  run sortie delegate install demo -n "$SYSTEM" --agent "https://sortie-server.$SYSTEM.svc:8443" --target-namespace "$TARGET" \
    --image "$DELEGATE_IMAGE" --run
else
  helm upgrade demo helm/sortie-delegate -n "$SYSTEM" --reuse-values --wait --set "image.repository=${DELEGATE_IMAGE%:*},image.tag=${DELEGATE_IMAGE##*:}" >/dev/null
fi
kubectl -n "$SYSTEM" rollout status deployment/demo-sortie-delegate --timeout=2m
run sortie get delegate

step "Apply the example: connector, service, environment, infrastructure, pipeline"
if [ "$TARGET" = sortie-demo ]; then
  run sortie apply -f examples/hello
else
  rm -rf "$STATE/hello" && cp -r examples/hello "$STATE/hello"
  sed -i "s/^    namespace: sortie-demo$/    namespace: $TARGET/" "$STATE/hello/infrastructure.yaml"
  run sortie apply -f "$STATE/hello"
fi

step "Version 1"
run sortie run hello --set version=v1 --set "image=$SAMPLE_REPOSITORY" --follow

step "Version 2, while a client asks the Service without a pause"
start_traffic
run sortie run hello --set version=v2 --set "image=$SAMPLE_REPOSITORY" --follow
stop_traffic

step "Version 3 is broken: it must be explained and rolled back"
code=0
run sortie run hello --set version=v3 --set "image=$SAMPLE_REPOSITORY" --follow || code=$?
[ "$code" -eq 1 ] || fail "the pipeline with the broken version ended with exit code $code instead of 1"

step "What Kubernetes has now"
run kubectl -n "$TARGET" get deployments,services,pods -o wide
running=$(kubectl -n "$TARGET" get deployment hello -o jsonpath='{.spec.template.spec.containers[0].image} {.status.readyReplicas}/{.spec.replicas}')
say "running: $running"
case $running in *:v2\ 3/3) ;; *) fail "version 2 is not what runs after the rollback" ;; esac

step "Where to go next"
next_steps

echo
say "Done in $SECONDS s."
