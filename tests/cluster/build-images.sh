#!/usr/bin/env bash
# build-images.sh [NAME...]: build container images without a Docker daemon, as docker archives.
#
# Names: pause coredns sample-v1 sample-v2 sample-v3 delegate runner server (default: all).
# Output: $SORTIE_CACHE/images/NAME.tar, NAME.ref (what a pod says under `image:`) and NAME.key (what it was built of).
# An image is built anew only when its key changed: Dockerfile, base, arguments and the stripped binaries.
# PROFILE=release takes the binaries of `cargo build --release`, otherwise those of the dev profile; PREBUILT=1 takes
# them as they lie in the target folder. BASE_IMAGE=... uses an image of a registry as the base of all, instead of the
# cached Debian bases.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
HERE=$ROOT/tests/cluster
CACHE=${SORTIE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sortie}
IMAGES=$CACHE/images
BIN=$CACHE/bin
PROFILE=${PROFILE:-dev}
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}/$([ "$PROFILE" = dev ] && echo debug || echo "$PROFILE")
ALL=(pause coredns sample-v1 sample-v2 sample-v3 delegate runner server)

# Packages of the bases: libc and the CA roots for all; for the delegate git, ssh (which refuses a user without a name:
# libnss-unknown gives any uid one) and a shell for git's own scripts; for the runner bash and what scripts call.
MINIMAL_PACKAGES=base-files,libc6,libgcc-s1,ca-certificates
RUNNER_PACKAGES=$MINIMAL_PACKAGES,bash,coreutils,sed,grep,findutils
DELEGATE_PACKAGES=$MINIMAL_PACKAGES,git,openssh-client,libnss-unknown,dash

buildah() {
  command buildah --root "$CACHE/buildah/storage" --runroot "$CACHE/buildah/run" --storage-driver vfs "$@"
}

digest() { sha256sum | cut -c1-16; }

# base NAME: makes the base image when it is not in the store, prints its reference.
base() {
  local name=$1 key ref packages
  case $name in
    minimal) packages=$MINIMAL_PACKAGES ;;
    delegate) packages=$DELEGATE_PACKAGES ;;
    runner) packages=$RUNNER_PACKAGES ;;
  esac
  [ -z "${BASE_IMAGE:-}" ] || { echo "$BASE_IMAGE"; return; }
  key=$({ echo "$packages"; declare -f make_rootfs; } | digest)
  ref=localhost/sortie-base-$name:$key
  if ! buildah inspect --type image "$ref" >/dev/null 2>&1; then
    local rootfs=$CACHE/bases/$name-$key.tar
    mkdir -p "$CACHE/bases" "$WORK/base"
    [ -e "$rootfs" ] || make_rootfs "$packages" "$rootfs"
    printf 'FROM scratch\nADD rootfs.tar /\n' >"$WORK/base.Dockerfile"
    cp "$rootfs" "$WORK/base/rootfs.tar"
    buildah bud -q --isolation chroot -t "$ref" -f "$WORK/base.Dockerfile" "$WORK/base" >/dev/null
    forget_old_bases "$name" "$key"
  fi
  echo "$ref"
}

# forget_old_bases NAME KEY: removes the bases NAME of other keys.
forget_old_bases() {
  local name=$1 key=$2 old
  find "$CACHE/bases" -name "$name-*.tar" ! -name "$name-$key.tar" -delete
  for old in $(buildah images --format '{{.Name}}:{{.Tag}}' | grep "^localhost/sortie-base-$name:" || true); do
    [ "$old" = "localhost/sortie-base-$name:$key" ] || buildah rmi "$old" >/dev/null
  done
}

# make_rootfs PACKAGES OUT: the files of Debian packages and what they depend on, without package manager, perl,
# documentation (licences stay) and translations. Nothing is configured: CA bundle and users are written here.
make_rootfs() {
  local packages=$1 out=$2 root=$WORK/rootfs
  echo "making the base $(basename "$out" .tar) with mmdebstrap" >&2
  rm -rf "$root"
  # Hooks do not run for this variant: the rest is done to the folder.
  mmdebstrap --quiet --variant=extract --include="$packages" --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
    --format=directory bookworm "$root" >&2
  mkdir -p "$root/etc/ssl/certs"
  cat "$root"/usr/share/ca-certificates/mozilla/*.crt >"$root/etc/ssl/certs/ca-certificates.crt"
  printf '%s\n' root:x:0:0:root:/root:/sbin/nologin nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin \
    sortie:x:65532:65532:sortie:/tmp:/sbin/nologin >"$root/etc/passwd"
  printf '%s\n' root:x:0: nogroup:x:65534: sortie:x:65532: >"$root/etc/group"
  printf 'passwd: files unknown\ngroup: files\nhosts: files dns\n' >"$root/etc/nsswitch.conf"
  find "$root/usr/share/doc" -type f ! -name copyright -delete
  (cd "$root/usr/share" && rm -rf man locale info perl perl5 bash-completion)
  (cd "$root/usr/lib/x86_64-linux-gnu" && rm -rf perl perl-base gconv)
  (cd "$root/usr/bin" && rm -f perl* dpkg* apt* cpan* debconf*)
  rm -rf "$root"/var/lib/apt "$root"/var/lib/dpkg/info "$root"/var/cache/* "$root"/var/log/* "$root"/dev/* \
    "$root/etc/resolv.conf" "$root/etc/hostname" "$root/etc/apt"
  tar -C "$root" --sort=name --numeric-owner --mtime=@0 -cf "$out.new" .
  rm -rf "$root"
  mv "$out.new" "$out"
}

# The context of an image: its Dockerfile and what that copies. Debug information stays outside.
context() {
  local name=$1 dir=$2
  mkdir -p "$dir"
  case $name in
    pause | coredns)
      cp "$HERE/$name/Dockerfile" "$dir/Dockerfile"; cp "$BIN/$name" "$dir/$name" ;;
    sample-*)
      cp "$ROOT/deploy/sample.Dockerfile" "$dir/Dockerfile"; strip -o "$dir/sortie-sample" "$TARGET/sortie-sample" ;;
    delegate)
      cp "$ROOT/deploy/delegate.Dockerfile" "$dir/Dockerfile"; strip -o "$dir/sortie-delegate" "$TARGET/sortie-delegate"
      cp "$BIN/helm" "$BIN/kustomize" "$dir/" ;;
    runner)
      cp "$ROOT/deploy/runner.Dockerfile" "$dir/Dockerfile"; strip -o "$dir/sortie-runner" "$TARGET/sortie-runner" ;;
    server)
      cp "$ROOT/deploy/server.Dockerfile" "$dir/Dockerfile"; strip -o "$dir/sortie-server" "$TARGET/sortie-server" ;;
  esac
}

# Build arguments of an image, one a line.
arguments() {
  case $1 in
    sample-v3) echo VERSION=v3; echo CRASH=1 ;;
    sample-*) echo "VERSION=${1#sample-}" ;;
  esac
  case $1 in
    sample-* | server) echo "BASE=$(base minimal)" ;;
    delegate) echo "BASE=$(base delegate)" ;;
    runner) echo "BASE=$(base runner)" ;;
  esac
}

# The sample's tags are its versions; the content is the tag of the others, so that a new build is a new image.
reference() {
  case $1 in
    pause | coredns) echo "registry.local/$1:1" ;;
    sample-*) echo "docker.io/library/sortie-sample:${1#sample-}" ;;
    *) echo "docker.io/library/sortie-$1:$2" ;;
  esac
}

image() {
  local name=$1 dir=$WORK/$1 key ref argument build=()
  context "$name" "$dir"
  arguments "$name" >"$WORK/$name.arguments"
  key=$({ cat "$WORK/$name.arguments"; cd "$dir"; sha256sum -- *; } | digest)
  ref=$(reference "$name" "$key")
  [ -e "$IMAGES/$name.tar" ] && [ "$(cat "$IMAGES/$name.key" 2>/dev/null)" = "$key" ] && return
  while read -r argument; do build+=(--build-arg "$argument"); done <"$WORK/$name.arguments"
  # Times of the epoch: the same content gives the same layers.
  buildah bud -q --isolation chroot --timestamp 0 "${build[@]}" -t "$ref" -f "$dir/Dockerfile" "$dir" >/dev/null
  rm -f "$IMAGES/$name.new"
  buildah push -q "$ref" "docker-archive:$IMAGES/$name.new:$ref"
  buildah rmi "$ref" >/dev/null # the archive is what counts; only bases stay in the store
  rm -f "$IMAGES/$name.key"
  mv "$IMAGES/$name.new" "$IMAGES/$name.tar"
  echo "$ref" >"$IMAGES/$name.ref"
  echo "$key" >"$IMAGES/$name.key"
  echo "built    $ref, $(du -m --apparent-size "$IMAGES/$name.tar" | cut -f1) MB" >&2
}

names=("$@"); [ ${#names[@]} -gt 0 ] || names=("${ALL[@]}")
programs=()
for name in "${names[@]}"; do
  case $name in
    pause | coredns) ;;
    sample-v[123]) programs+=(--bin sortie-sample) ;;
    delegate | runner | server) programs+=(--bin "sortie-$name") ;;
    *) echo "unknown image $name; one of: ${ALL[*]}" >&2; exit 2 ;;
  esac
done
if [ ${#programs[@]} -gt 0 ] && [ "${PREBUILT:-0}" = 0 ]; then
  (cd "$ROOT" && cargo build --quiet --profile "$PROFILE" "${programs[@]}")
fi
mkdir -p "$IMAGES" "$CACHE/buildah"
exec 9>"$IMAGES/.lock"; flock 9
WORK=$(mktemp -d "$CACHE/buildah/context.XXXXXX"); trap 'rm -rf "$WORK"' EXIT
for name in "${names[@]}"; do image "$name"; done
