#!/usr/bin/env bash
# check-tools.sh build|node|tests...: name what this machine lacks for building, for a node of its own, or for the tests; exit 1 if
# anything. Says at once what would else be noticed after minutes of building.
set -euo pipefail

# What is looked for, and the Debian package that brings it (empty: no package of Debian).
declare -A package=(
  [cargo]='' [go]='' [jq]=jq [curl]=curl [strip]=binutils [cc]=gcc [buildah]=buildah [mmdebstrap]=mmdebstrap [gzip]=gzip [flock]=util-linux
  [python3]=python3
  [containerd]=containerd [ctr]=containerd [runc]=runc [/usr/lib/cni/bridge]=containernetworking-plugins [nft]=nftables
  [iptables]=iptables [conntrack]=conntrack [ip]=iproute2 [nsenter]=util-linux
  [git]=git [nginx]=nginx-light [fcgiwrap]=fcgiwrap [docker-registry]=docker-registry [openssl]=openssl
)
declare -A wanted=(
  [build]='cargo go jq curl cc strip buildah mmdebstrap flock python3'
  [node]='containerd ctr runc /usr/lib/cni/bridge nft iptables conntrack ip nsenter'
  [tests]='git nginx fcgiwrap docker-registry openssl gzip'
)

missing=() packages=()
for purpose in "$@"; do
  for tool in ${wanted[$purpose]}; do
    command -v "$tool" >/dev/null || [ -x "$tool" ] || [ -x "/usr/sbin/$tool" ] || [ -x "/sbin/$tool" ] || {
      missing+=("$tool")
      [ -z "${package[$tool]}" ] || packages+=("${package[$tool]}")
    }
  done
done
[ ${#missing[@]} -gt 0 ] || exit 0
printf 'missing on this machine: %s\n' "${missing[*]}" >&2
[ ${#packages[@]} -eq 0 ] || printf 'on Debian: apt-get install %s\n' "$(printf '%s\n' "${packages[@]}" | sort -u | xargs)" >&2
exit 1
