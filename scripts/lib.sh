# Shared by the scripts beside it: where things are, and installing what is missing.
# Source it; it changes to the project's root.

cd "$(dirname "${BASH_SOURCE[0]}")/.."
ROOT=$PWD
CACHE=$ROOT/.cache

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# as_root COMMAND…: runs it as root, through sudo for an ordinary user.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
    die "this needs root, and there is no sudo: $*"
  fi
}

# need COMMAND=PACKAGE…: installs the Debian packages whose commands are missing.
need() {
  local missing=() pair
  for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || die "please install: ${missing[*]}"
  printf 'installing %s\n' "${missing[*]}" >&2
  install_packages "${missing[@]}"
}

# install_packages PACKAGE…: installs them with apt-get, fetching the lists first.
install_packages() {
  as_root apt-get update -qq >/dev/null || die "apt-get update failed"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null ||
    die "apt-get could not install: $*"
}

# need_clang: installs the compiler for guests in C, with and without WASI.
need_clang() {
  need clang-19=clang-19 wasm-ld-19=lld-19
  [ -e /usr/lib/llvm-19/lib/clang/19/lib/wasi/libclang_rt.builtins-wasm32.a ] || install_packages libclang-rt-19-dev-wasm32
  [ -e /usr/lib/wasm32-wasi/libc.a ] || install_packages wasi-libc
  [ -e /usr/include/stdlib.h ] || install_packages libc6-dev
}

command -v go >/dev/null || die "Go is not installed: see https://go.dev/doc/install"
need git=git fusermount3=fuse3

# build: makes bin/astridfs.
build() {
  CGO_ENABLED=0 go build -trimpath -o "$ROOT/bin/astridfs" ./cmd/astridfs
}
