#!/usr/bin/env bash
# Builds the guests of the tests from their sources.
set -euo pipefail
cd "$(dirname "$0")"
clang=${CLANG:-clang-19}
for g in probe hook; do
	"$clang" --target=wasm32 -Oz -Wall -Wextra -Werror -I../../../../sdk/c -nostdlib -fno-builtin -Wl,--no-entry -Wl,--strip-all -Wl,-z,stack-size=16384 -o $g.wasm $g.c
done
