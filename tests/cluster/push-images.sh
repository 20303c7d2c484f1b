#!/usr/bin/env bash
# push-images.sh NAME...: build images and push them to $IMAGE_PREFIX, for a cluster that is not on this machine.
#
# Output: one reference a line, $IMAGE_PREFIX/sortie-NAME:TAG, in the order of the names (those of build-images.sh).
# Log in with `buildah login` before. A prefix that begins with http:// is a registry without TLS.
set -euo pipefail
: "${IMAGE_PREFIX:?set IMAGE_PREFIX to where images are pushed, for example registry.example.com/team}"
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE=${SORTIE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sortie}
case $IMAGE_PREFIX in http://*) TLS=false ;; *) TLS=true ;; esac
PREFIX=${IMAGE_PREFIX#http*://}

buildah() {
  command buildah --root "$CACHE/buildah/storage" --runroot "$CACHE/buildah/run" --storage-driver vfs "$@"
}

"$HERE/build-images.sh" "$@"
exec 9>"$CACHE/images/.lock"; flock 9
for name in "$@"; do
  local_ref=$(cat "$CACHE/images/$name.ref")
  target=${PREFIX%/}/${local_ref##*/}
  buildah pull -q "docker-archive:$CACHE/images/$name.tar" >/dev/null
  buildah push -q --tls-verify="$TLS" "$local_ref" "docker://$target"
  buildah rmi "$local_ref" >/dev/null
  echo "$target"
done
