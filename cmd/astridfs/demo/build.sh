#!/usr/bin/env bash
# Builds tidy.wasm, the capsule of "astridfs demo", from its source.
set -euo pipefail
cd "$(dirname "$0")"
clang=${CLANG:-clang-19}
"$clang" --target=wasm32 -Oz -Wall -Wextra -Werror -I../../../sdk/c -nostdlib -fno-builtin -Wl,--no-entry -Wl,--strip-all -Wl,-z,stack-size=16384 -o tidy.wasm tidy.c
