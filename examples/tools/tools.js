// Tools on a project's files. Each action takes JSON and answers JSON; the
// history of what was called is kept in the capsule's store.
import * as fs from 'astrid:fs/host@1.0.0';
import * as kv from 'astrid:kv/host@1.0.0';
import * as sys from 'astrid:sys/host@1.0.0';
import * as ipc from 'astrid:ipc/host@1.0.0';

// Not every engine has TextDecoder.
const decode = globalThis.TextDecoder
  ? (b) => new TextDecoder('utf-8', { fatal: true }).decode(b)
  : (b) => decodeURIComponent(Array.from(b, (c) => '%' + c.toString(16).padStart(2, '0')).join(''));
const bytes = globalThis.TextEncoder
  ? (text) => new TextEncoder().encode(text)
  : (text) => Uint8Array.from(unescape(encodeURIComponent(text)), (c) => c.charCodeAt(0));
const text = (path) => decode(fs.readFile(path));
const join = (dir, name) => (dir === '' ? name : `${dir}/${name}`);

// files goes through the regular files below a directory, sorted.
function* files(dir) {
  for (const name of fs.fsReaddir(dir)) {
    const path = join(dir, name);
    const { kind } = fs.fsStatSymlink(path);
    if (kind === 'directory') yield* files(path);
    else if (kind === 'regular') yield path;
  }
}

function grep({ pattern, path = '' }) {
  const matches = [];
  for (const file of files(path)) {
    let lines;
    try {
      lines = text(file).split('\n');
    } catch {
      continue; // not text
    }
    lines.forEach((line, i) => {
      if (line.includes(pattern)) matches.push({ file, line: i + 1, text: line });
    });
  }
  return { matches };
}

function replace({ pattern, replacement, path = '' }) {
  const changed = [];
  for (const { file } of grep({ pattern, path }).matches) {
    if (changed.includes(file)) continue;
    fs.writeFile(file, bytes(text(file).replaceAll(pattern, replacement)));
    changed.push(file);
  }
  return { changed };
}

function write({ path, content }) {
  const dir = path.lastIndexOf('/');
  if (dir > 0) fs.fsMkdirAll(path.slice(0, dir));
  fs.writeFile(path, bytes(content));
  return { size: Number(fs.fsStat(path).size) };
}

function list({ path = '' }) {
  return {
    entries: fs.fsReaddir(path).map((name) => {
      const { kind, size } = fs.fsStatSymlink(join(path, name));
      return { name, kind, size: Number(size) };
    }),
  };
}

function remove({ path }) {
  if (fs.fsStatSymlink(path).kind === 'directory') return { removed: Number(fs.fsRemoveDirAll(path)) };
  fs.fsUnlink(path);
  return { removed: 1 };
}

function move({ from, to }) {
  fs.fsRename(from, to);
  return { path: fs.fsCanonicalize(to) };
}

// remember keeps the name of a tool that was called; another run of the capsule
// may do the same at this moment.
function remember(tool) {
  for (;;) {
    const old = kv.kvGet('history');
    const calls = old ? JSON.parse(decode(old)) : [];
    calls.push(tool);
    try {
      return kv.kvCas('history', old, bytes(JSON.stringify(calls)));
    } catch (e) {
      if (e.payload?.tag !== 'cas-mismatch') throw e;
    }
  }
}

const tools = {
  read: ({ path }) => ({ content: text(path) }),
  write,
  list,
  grep,
  replace,
  move,
  delete: remove,
  history: () => ({ calls: JSON.parse(decode(kv.kvGet('history') ?? bytes('[]'))) }),
};

export function astridHookTrigger(action, payload) {
  const tool = action.replace(/^tool_execute_/, '');
  let answer;
  try {
    if (!Object.hasOwn(tools, tool)) throw new Error(`no tool ${tool}`);
    answer = tools[tool](JSON.parse(payload.length ? decode(payload) : '{}'));
    if (tool !== 'history') remember(tool);
  } catch (e) {
    answer = { error: e.payload?.tag ?? e.message ?? String(e) };
    sys.log('warn', `${tool}: ${answer.error}`);
  }
  const data = JSON.stringify(answer);
  ipc.publish(`tool.v1.execute.${tool}.result`, data);
  return { action: 'continue', data };
}
