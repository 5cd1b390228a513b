#!/bin/sh
# Rebuilds the components beside this script. It needs clang-19 and lld-19 of
# Debian, and jco from npm (@bytecodealliance/jco, with an override that keeps
# @bytecodealliance/preview2-shim at 0.25.0), whose path is $JCO.
set -eu
cd "$(dirname "$0")"
jco=${JCO:-jco}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

${CLANG:-clang-19} --target=wasm32 -Oz -Wall -Wextra -Werror -Wno-unused-function \
	-ffreestanding -fno-builtin -nostdlib -I ../../../sdk/c \
	-Wl,--no-entry,--strip-all -o "$tmp/core.wasm" ../../testdata/conformance_c/conformance.c
"$jco" embed --wit wit -n capsule -o "$tmp/embedded.wasm" "$tmp/core.wasm"
"$jco" new -o conformance.wasm "$tmp/embedded.wasm"

"$jco" embed --dummy --wit types.wit -n types -o "$tmp/dummy.wasm"
"$jco" new -o types.wasm "$tmp/dummy.wasm"

for wat in wat/*.wat; do
	"$jco" parse -o "${wat%.wat}.wasm" "$wat"
done
