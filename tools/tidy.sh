#!/usr/bin/env bash
# clang-tidy over the sources of a build directory. Usage: tools/tidy.sh BUILD_DIR [FILE…]
# Without files: those that differ from the main branch's last commit, or all with ALL=1.
set -euo pipefail
build=$1
shift
files=("$@")
if [ ${#files[@]} -eq 0 ]; then
    if [ -n "${ALL:-}" ]; then
        mapfile -t files < <(git ls-files 'src/*.cpp')
    else
        mapfile -t files < <({ git diff --name-only HEAD~1 -- 'src/*.cpp'; git ls-files -o --exclude-standard 'src/*.cpp'; } | sort -u)
    fi
fi
[ ${#files[@]} -gt 0 ] || { echo "tidy: nothing to check"; exit 0; }
# The compile commands are GCC's; what only GCC knows is taken out. Clang cannot read GCC's precompiled header: it reads the text.
database=$(realpath "$build")/tidy
mkdir -p "$database"
cp "$build/CMakeFiles/axo_pch.dir/cmake_pch.hxx" "$database/pch.hxx"
sed -e "s#-include [^ ]*cmake_pch[^ ]*#-include $database/pch.hxx#g" -e 's/-fpch-preprocess//g' -e 's/-Winvalid-pch//g' -e 's/-Wno-restrict//g' \
    "$build/compile_commands.json" >"$database/compile_commands.json"
printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -n 1 clang-tidy-19 --quiet -p "$database" 2> >(grep -v 'warnings generated\|Suppressed' >&2)
