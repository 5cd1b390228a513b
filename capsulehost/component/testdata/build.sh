#!/bin/sh
# Rebuilds the components beside this script. It needs clang-19 and lld-19 of
# Debian, and jco from npm (@bytecodealliance/jco, with an override that keeps
# @bytecodealliance/preview2-shim at 0.25.0), whose path is $JCO.
set -eu
cd "$(dirname "$0")"
jco=${JCO:-jco}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# The cases that are left out are those in which a component is trapped: text
# that is not UTF-8, and handles that are not live.
sed -E -e '/EXISTS\("not UTF-8"/d' -e '/(ENDS|GIVES)\(".*(closed|handle 0|handle -1)/d' \
	-e '/^\tfs_drop\(h\[3\]\);$/{N;/drop closed/d;}' \
	../../testdata/conformance_c/conformance.c >"$tmp/conformance.c"
${CLANG:-clang-19} --target=wasm32 -Oz -Wall -Wextra -Werror -Wno-unused-function \
	-ffreestanding -fno-builtin -nostdlib -I ../../../sdk/c \
	-Wl,--no-entry,--strip-all -o "$tmp/core.wasm" "$tmp/conformance.c"
"$jco" embed --wit wit -n capsule -o "$tmp/embedded.wasm" "$tmp/core.wasm"
"$jco" new -o conformance.wasm "$tmp/embedded.wasm"

"$jco" embed --dummy --wit types.wit -n types -o "$tmp/dummy.wasm"
"$jco" new -o types.wasm "$tmp/dummy.wasm"

for wat in wat/*.wat; do
	"$jco" parse -o "${wat%.wat}.wasm" "$wat"
done
