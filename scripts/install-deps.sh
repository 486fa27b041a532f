#!/usr/bin/env bash
# Installs the Debian packages of scripts/packages.txt; does nothing, quickly, when all are there.
# Usage: scripts/install-deps.sh [--check]   --check only names what is missing (exit status 1)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

wanted=()
while IFS=: read -r package command; do
    [ -n "${command// /}" ] && command -v "${command// /}" >/dev/null || wanted+=("$package")
done < <(sed -e 's/#.*//' -e 's/[[:space:]]*$//' -e '/^$/d' "$here/packages.txt")

missing_packages() {
    # dpkg-query fails when one name is unknown and still prints the others.
    dpkg-query -W -f='${Package} ${db:Status-Status}\n' "${wanted[@]}" 2>/dev/null |
        awk '$2 == "installed" { print $1 }' | sort -u |
        comm -23 <(printf '%s\n' "${wanted[@]}" | sort -u) -
}

if ! command -v dpkg-query >/dev/null; then
    echo "install-deps: no dpkg here; install the equivalents of $here/packages.txt by hand" >&2
    exit 1
fi
mapfile -t missing < <(missing_packages)
if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi
if [ "${1:-}" = --check ]; then
    printf '%s\n' "${missing[@]}"
    exit 1
fi
sudo=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "install-deps: installing ${missing[*]} needs root, and there is no sudo" >&2; exit 1; }
    sudo=(sudo)
fi
echo "install-deps: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
install=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=300)
# The package lists may be absent (a fresh image) or too old for the mirror: refresh them only then.
if ! "${install[@]}" "${missing[@]}"; then
    "${sudo[@]}" apt-get update
    "${install[@]}" "${missing[@]}"
fi
mapfile -t missing < <(missing_packages)
if [ ${#missing[@]} -ne 0 ]; then
    echo "install-deps: still missing: ${missing[*]}" >&2
    exit 1
fi
