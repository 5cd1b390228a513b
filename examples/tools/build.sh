#!/bin/sh
# Makes a .capsule of the JavaScript beside it, with one of two engines:
#   NODE_MODULES=DIR build.sh OUT.capsule [spidermonkey|quickjs]
# It needs, from npm, @bytecodealliance/componentize-js or componentize-qjs in DIR.
set -eu
mkdir -p "$(dirname "$1")"
out=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
modules=$(cd "${NODE_MODULES:-node_modules}" && pwd)
cd "$(dirname "$0")"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cp -r Capsule.toml tools.js wit "$tmp"
ln -s "$modules" "$tmp/node_modules"
cd "$tmp"
case ${2:-spidermonkey} in
spidermonkey)
  cat >build.mjs <<'END'
import { writeFile } from 'node:fs/promises';
import { componentize } from '@bytecodealliance/componentize-js';
const { component } = await componentize({
  sourcePath: 'tools.js', witPath: 'wit', worldName: 'tools',
  disableFeatures: ['stdio', 'random', 'clocks', 'http', 'fetch-event'],
});
await writeFile('tools.wasm', component);
END
  node build.mjs
  ;;
quickjs) node node_modules/componentize-qjs/cli.mjs --sync --wit wit --world tools --js tools.js --output tools.wasm ;;
*)
  echo "no engine is called $2" >&2
  exit 2
  ;;
esac
tar -czf "$out" Capsule.toml tools.wasm wit
