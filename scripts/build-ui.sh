#!/usr/bin/env bash
# Builds the page of ui/ into a folder that axoneme-relay serves; does nothing, quickly, when nothing has changed.
# Usage: scripts/build-ui.sh [--output DIR] [--check]   DIR: build/ui; --check: types too
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
output=$root/build/ui check=
while [ $# -gt 0 ]; do
    case $1 in
        --output) output=$(realpath -m "$2"); shift ;;
        --check) check=1 ;;
        *) sed -n '2,3s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
    shift
done
cd "$root/ui"
digest() { cat "$@" | sha256sum | cut -d ' ' -f 1; }

packages=$(digest package.json package-lock.json)
if [ "$(cat node_modules/.axoneme 2>/dev/null)" != "$packages" ]; then
    # Scripts of packages are not run: none that this page needs has any to run. A registry may be slow for a moment.
    for attempt in 1 2 3; do
        npm ci --ignore-scripts --no-audit --no-fund --prefer-offline --loglevel=error && break
        [ $attempt -lt 3 ] || { echo "build-ui: npm ci failed" >&2; exit 1; }
        sleep 5
    done
    echo "$packages" >node_modules/.axoneme
fi
[ -z "$check" ] || node_modules/.bin/tsc --noEmit

mapfile -t sources < <(find src public -type f ! -name '*.test.ts' | LC_ALL=C sort)
state=$(digest package-lock.json vite.config.ts index.html "${sources[@]}")
if [ "$(cat "$output/.built" 2>/dev/null)" = "$state" ]; then exit 0; fi
AXONEME_UI_OUT=$output node_modules/.bin/vite build --logLevel warn
echo "$state" >"$output/.built"
