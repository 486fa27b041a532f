#!/usr/bin/env bash
# Builds the image of agent, operator, relay, CNI plugin and CLI: a tar that is both an OCI layout and what `docker save` writes.
# No network, no container tools: our programs, the shared objects that they need, iptables, CA certificates. No shell.
#
# Usage: deploy/image/build.sh [--bin DIR] [--output FILE] [--name NAME:TAG]
#   ctr -n k8s.io images import FILE      docker load -i FILE      skopeo copy oci-archive:FILE docker://…
#
# The same programs and packages give the same bytes: files are sorted, without owners and with the time of the last commit.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
bin=$root/build/release/bin output=$root/build/axoneme-image.tar name=
while [ $# -gt 0 ]; do
    case $1 in
        --bin) bin=$2 ;;
        --output) output=$2 ;;
        --name) name=$2 ;;
        *) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
    shift 2
done
version=$(sed -n 's/^appVersion: //p' "$root/deploy/helm/axoneme/Chart.yaml")
name=${name:-docker.io/library/axoneme:$version}
epoch=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || echo 0)}
created=$(date -u -d "@$epoch" +%Y-%m-%dT%H:%M:%SZ)
arch=$(dpkg --print-architecture)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
files=$work/root layout=$work/layout
mkdir -p "$files" "$layout/blobs/sha256" "$(dirname "$output")"
export LC_ALL=C TZ=UTC
umask 022

copied=()
# Copies files to their own paths, and the shared objects that they need.
take() {
    local needed
    mapfile -t needed < <(ldd "$@" 2>/dev/null | sed -n 's/^\t\(.* => \)\{0,1\}\(\/[^ ]*\) (.*/\2/p' | sort -u)
    cp -L --parents -t "$files" "$@" "${needed[@]}"
    mapfile -t -O ${#copied[@]} copied < <(readlink -f "$@" "${needed[@]}")
}
# The same for our programs, whose paths in the image are others.
take_as() {
    local needed
    install -D -m 0755 "$1" "$files$2"
    mapfile -t needed < <(ldd "$1" 2>/dev/null | sed -n 's/^\t\(.* => \)\{0,1\}\(\/[^ ]*\) (.*/\2/p')
    [ ${#needed[@]} -eq 0 ] || take "${needed[@]}"
}
link() { mkdir -p "$files$(dirname "$2")"; ln -s "$1" "$files$2"; }

for program in axoneme axoneme-agent axoneme-operator axoneme-relay axoneme-traffic; do take_as "$bin/$program" "/usr/bin/$program"; done
take_as "$bin/axoneme-cni" /opt/cni/bin/cilium-cni
# The relay's page, where the relay looks for it: beside bin/. A build without it (UI=0) makes an image without it.
if [ -d "$bin/../share/axoneme/ui" ]; then
    mkdir -p "$files/usr/share/axoneme"
    cp -r "$bin/../share/axoneme/ui" "$files/usr/share/axoneme/ui"
    rm -f "$files/usr/share/axoneme/ui/.built"
fi
link axoneme /usr/bin/cilium
link axoneme /usr/bin/cilium-dbg
link axoneme /usr/bin/hubble
link axoneme-relay /usr/bin/hubble-relay
link axoneme-agent /usr/bin/cilium-agent
link axoneme-operator /usr/bin/cilium-operator
# Both kinds of iptables: the agent takes the one that the node uses (src/features/nat/netfilter.cpp).
for kind in nft legacy; do
    take "/usr/sbin/xtables-$kind-multi"
    for tool in iptables ip6tables; do
        for action in save restore; do link "xtables-$kind-multi" "/usr/sbin/$tool-$kind-$action"; done
    done
done
take /usr/lib/*-linux-gnu/xtables/lib{xt,ipt,ip6t}_*.so
take /etc/ssl/certs/ca-certificates.crt
mkdir -p "$files/etc" "$files/tmp" "$files/run" "$files/var" "$files/proc" "$files/sys" "$files/dev"
ln -s ../run "$files/var/run"
chmod 1777 "$files/tmp"
printf 'root:x:0:0:root:/:/\n' >"$files/etc/passwd"
printf 'root:x:0:\n' >"$files/etc/group"
printf 'hosts: files dns\n' >"$files/etc/nsswitch.conf"
find "$files/usr/bin" "$files/opt" -type f -exec strip --strip-all {} +

# Whose code it is: ours, and the licences of the packages that files were taken from.
install -D -m 0644 -t "$files/usr/share/doc/axoneme" "$root/LICENSE" "$root"/LICENSES/*
# Packages know some files by /lib, some by /usr/lib.
for package in $(printf '%s\n' "${copied[@]}" "${copied[@]#/usr}" | sort -u | xargs dpkg -S 2>/dev/null | sed 's/:.*//' | sort -u); do
    install -D -m 0644 "/usr/share/doc/$package/copyright" "$files/usr/share/doc/$package/copyright"
done

# Puts a file among the blobs; prints its digest.
blob() {
    local digest
    digest=$(sha256sum "$1" | cut -d' ' -f1)
    mv "$1" "$layout/blobs/sha256/$digest"
    echo "$digest"
}
size_of() { stat -c %s "$layout/blobs/sha256/$1"; }
archive() { tar --sort=name --format=gnu --mtime="@$epoch" --owner=0 --group=0 --numeric-owner -C "$1" -cf - "${@:2}"; }

archive "$files" . >"$work/layer.tar"
uncompressed=$(sha256sum "$work/layer.tar" | cut -d' ' -f1)
gzip -n -9 <"$work/layer.tar" >"$work/layer.tar.gz"
layer=$(blob "$work/layer.tar.gz")
cat >"$work/config.json" <<JSON
{"architecture":"$arch","os":"linux","created":"$created",
 "config":{"Env":["PATH=/usr/sbin:/usr/bin"],"Cmd":["/usr/bin/cilium-agent"],"WorkingDir":"/",
  "Labels":{"org.opencontainers.image.title":"axoneme","org.opencontainers.image.version":"$version",
   "org.opencontainers.image.licenses":"Apache-2.0 AND (GPL-2.0-only OR BSD-2-Clause)"}},
 "rootfs":{"type":"layers","diff_ids":["sha256:$uncompressed"]},
 "history":[{"created":"$created","created_by":"deploy/image/build.sh"}]}
JSON
config=$(blob "$work/config.json")
types=application/vnd.oci.image
cat >"$work/manifest.json" <<JSON
{"schemaVersion":2,"mediaType":"$types.manifest.v1+json",
 "config":{"mediaType":"$types.config.v1+json","digest":"sha256:$config","size":$(size_of "$config")},
 "layers":[{"mediaType":"$types.layer.v1.tar+gzip","digest":"sha256:$layer","size":$(size_of "$layer")}]}
JSON
manifest=$(blob "$work/manifest.json")
cat >"$layout/index.json" <<JSON
{"schemaVersion":2,"manifests":[{"mediaType":"$types.manifest.v1+json","digest":"sha256:$manifest",
 "size":$(size_of "$manifest"),"platform":{"architecture":"$arch","os":"linux"},
 "annotations":{"io.containerd.image.name":"$name","org.opencontainers.image.ref.name":"${name##*:}"}}]}
JSON
echo '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
# For `docker load`.
echo "[{\"Config\":\"blobs/sha256/$config\",\"RepoTags\":[\"$name\"],\"Layers\":[\"blobs/sha256/$layer\"]}]" >"$layout/manifest.json"
archive "$layout" blobs index.json manifest.json oci-layout >"$output"

mib() { awk -v bytes="$1" 'BEGIN { printf "%.1f MiB", bytes / 1048576 }'; }
echo "$output: $name sha256:$manifest"
echo "compressed $(mib "$(size_of "$layer")"), unpacked $(mib "$(stat -c %s "$work/layer.tar")")"
