package wasip1_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The tests here run programs of others, unchanged, on a view, and compare what
// they did with the same programs run natively on a copy.

// unindented takes the indentation of every third line away.
func unindented(_, text string) string {
	lines := strings.SplitAfter(text, "\n")
	for i := range lines {
		if i%3 == 0 {
			lines[i] = strings.TrimLeft(lines[i], "\t ")
		}
	}
	return strings.Join(lines, "")
}

// goSource is a directory of Go's own source.
func goSource(t *testing.T, pkg string) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	must(t, err)
	return filepath.Join(strings.TrimSpace(string(out)), "src", filepath.FromSlash(pkg))
}

func TestGofmt(t *testing.T) {
	src := goSource(t, "text")
	fill := func(t *testing.T, dir string) {
		copyTree(t, src, dir, unindented)
		files(t, dir, "broken/a.go", "package broken\nfunc {\n")
	}
	beds(t, fill, func(b *bed) {
		if list := b.both("gofmt", "-l", "."); strings.Count(list, "\n") < 15 {
			t.Errorf("gofmt found only %q to format", list)
		}
		b.both("gofmt", "-d", "-s", ".")
		b.bothWith("package p\nfunc  f( ) {}\n", "gofmt")
		b.both("gofmt", "-w", ".")
		b.compare()
	})
}

func TestShfmt(t *testing.T) {
	fill := func(t *testing.T, dir string) {
		copyTree(t, root+"/scripts", dir, unindented)
		files(t, dir,
			"sub/a.sh", "if true;then\n      echo  hi\nfi\nf(){ cat <<X\n a\nX\n}\n",
			"sub/.editorconfig", "root=true\n[*.sh]\nindent_style = space\nindent_size = 3\n",
			"sub/broken.sh", "if true; then\n")
	}
	beds(t, fill, func(b *bed) {
		b.both("shfmt", "-f", ".")
		b.both("shfmt", "-d", ".")
		b.both("shfmt", "-l", "-w", ".")
		b.both("shfmt", "--to-json", "sub/a.sh")
		b.compare()
	})
}

func TestEsbuild(t *testing.T) {
	fill := func(t *testing.T, dir string) {
		files(t, dir,
			"tsconfig.json", `{"compilerOptions": {"jsx": "transform", "jsxFactory": "h", "baseUrl": ".", "paths": {"@lib/*": ["src/lib/*"]}}}`,
			"package.json", `{"name": "demo", "sideEffects": false}`,
			"src/main.tsx", `import { area } from "@lib/shapes"; import { h } from "tiny-h"; import data from "./data.json";
import "./style.css"; export const view = (n: number) => <p title={data.title}>{area(n)}</p>; import("./late").then(m => m.default());`,
			"src/lib/shapes.ts", "export enum Kind { A, B }\nexport function area(x: number): number { return x ** 2 }\nexport const unused = () => Kind.A\n",
			"src/late.js", "export default () => console.log('later', import.meta)\n",
			"src/data.json", `{"title": "Ünïcode"}`,
			"src/style.css", "@import './more.css';\np { color: red; & a { color: blue } }\n",
			"src/more.css", "body { background: url(./dot.svg) }\n",
			"src/dot.svg", "<svg xmlns='http://www.w3.org/2000/svg'/>",
			"src/broken.ts", "export const = 1\n",
			"node_modules/tiny-h/package.json", `{"name": "tiny-h", "module": "index.mjs", "main": "index.cjs"}`,
			"node_modules/tiny-h/index.mjs", "export const h = (t, p, ...c) => ({ t, p, c })\n",
			"node_modules/tiny-h/index.cjs", "exports.h = null\n")
	}
	beds(t, fill, func(b *bed) {
		b.both("esbuild", "src/main.tsx", "--bundle", "--outdir=out", "--splitting", "--format=esm", "--minify", "--sourcemap",
			"--loader:.svg=file", "--metafile=meta.json", "--log-level=error")
		b.both("esbuild", "src/main.tsx", "--bundle", "--outfile=es6/main.js", "--target=es2016", "--format=iife",
			"--loader:.svg=dataurl", "--log-level=error", "--supported:dynamic-import=true")
		b.both("esbuild", "src/broken.ts", "--bundle", "--outdir=none", "--log-level=error")
		b.compare()
	})
}

// TestGit works on a repository by go-git, whose results git itself checks.
func TestGit(t *testing.T) {
	fill := func(t *testing.T, dir string) {
		copyTree(t, root+"/vfs", dir, asIs)
		must(t, os.Symlink("doc.go", filepath.Join(dir, "link")))
		files(t, dir, ".gitignore", "*.tmp\n", "scratch.tmp", "no\n")
	}
	beds(t, fill, func(b *bed) {
		b.both("gitclient", "init")
		b.both("gitclient", "status")
		b.both("gitclient", "add", ".")
		first := strings.TrimSpace(b.both("gitclient", "commit", "first", "1700000000"))
		if st := b.both("gitclient", "status"); st != "" {
			t.Errorf("status after the commit: %s", st)
		}
		// A change by others, then one more commit.
		b.bothWith("", "rm", "walk.go")
		b.both("mv", "doc.go", "renamed.go")
		b.both("gitclient", "status")
		b.both("gitclient", "add", ".")
		b.both("gitclient", "commit", "second", "1700000100")
		log := b.both("gitclient", "log")

		dir := b.export()
		git := func(args ...string) string {
			t.Helper()
			out, err := exec.Command("git", append([]string{"-C", dir, "-c", "safe.directory=*"}, args...)...).CombinedOutput()
			if err != nil {
				t.Errorf("git %v: %v\n%s", args, err, out)
			}
			return string(out)
		}
		if out := git("fsck", "--full", "--strict", "--no-dangling"); strings.Contains(out, "error") {
			t.Errorf("git fsck: %s", out)
		}
		if out := git("status", "--porcelain"); out != "" {
			t.Errorf("git status: %s", out)
		}
		if out := git("log", "--format=%H %T %at %s"); out != log {
			t.Errorf("git log:\n%s\ngo-git's:\n%s", out, log)
		}
		if out := git("ls-tree", "-r", "--name-only", first); !strings.Contains(out, "walk.go\n") || strings.Contains(out, "scratch.tmp") {
			t.Errorf("the first commit holds %s", out)
		}
		// The index holds inode numbers and times.
		b.compare(".git/index")
	})
}

// TestCoreutils moves a tree about with u-root's programs.
func TestCoreutils(t *testing.T) {
	fill := func(t *testing.T, dir string) {
		copyTree(t, goSource(t, "net/http"), filepath.Join(dir, "src"), asIs)
		must(t, os.Symlink("server.go", filepath.Join(dir, "src", "link")))
		must(t, os.Symlink("httptest", filepath.Join(dir, "src", "dirlink")))
	}
	beds(t, fill, func(b *bed) {
		b.both("cp", "-r", "-P", "src", "copy")
		b.compare()
		if out := b.both("grep", "-r", "-n", "ServeHTTP", "copy"); strings.Count(out, "\n") < 50 {
			t.Errorf("grep found only %q", out)
		}
		b.bothWith("one\ntwo\nthree\n", "grep", "-v", "two")
		b.both("grep", "-q", "no such text in there", "copy/server.go")
		b.both("mv", "copy", "moved")
		b.both("mv", "moved/server.go", "moved/client.go", "moved/httptest")
		b.compare()
		b.both("tar", "-c", "-f", "all.tar", "moved")
		list := b.both("tar", "-t", "-f", "all.tar")
		out, err := exec.Command("tar", "-t", "-f", filepath.Join(b.export(), "all.tar")).Output()
		if err != nil || strings.Count(string(out), "\n") < 100 {
			t.Errorf("tar of the host on the guest's archive: %v, %s", err, out)
		}
		if strings.Count(list, "\n") < 100 {
			t.Errorf("tar lists %s", list)
		}
		b.both("rm", "-r", "moved", "src")
		b.both("rm", "nothing")
		b.both("tar", "-x", "-f", "all.tar", ".")
		b.compare("all.tar")
		b.both("rm", "-r", "-f", "moved", "all.tar", "nothing")
		b.compare()
	})
}

const wordsLua = `
local names = {}
for name in io.lines("names.txt") do names[#names + 1] = name end
local count, total = {}, 0
for _, name in ipairs(names) do
  local ok, err = pcall(function()
    local f = assert(io.open(name))
    for line in f:lines() do
      for word in line:gmatch("%a+") do count[word] = (count[word] or 0) + 1; total = total + 1 end
    end
    f:close()
  end)
  if not ok then print((err:gsub("^.-:%d+: ", ""))) end
end
local words = coroutine.wrap(function()
  local sorted = {}
  for w in pairs(count) do sorted[#sorted + 1] = w end
  table.sort(sorted, function(a, b) return count[a] > count[b] or count[a] == count[b] and a < b end)
  for i, w in ipairs(sorted) do coroutine.yield(i, w) end
end)
local out = assert(io.open("counts.txt", "w"))
for i, w in words do out:write(string.format("%6d %s\n", count[w], w)) end
print(total, out:seek("cur"), out:seek("set", 7))
out:write("!"); out:close()
local both = assert(io.open("both.txt", "w+b")); both:write(("abc"):rep(10000)); both:seek("set", 29997); print(both:read("a")); both:close()
local log = assert(io.open("both.txt", "a")); log:write("appended"); log:close()
print(os.rename("counts.txt", "sub/counts.txt"), os.remove("names.txt"))
print(pcall(error, { 1 }) == false, select("#", pcall(error)))
error("the end", 0)
`

func TestLua(t *testing.T) {
	fill := func(t *testing.T, dir string) {
		copyTree(t, goSource(t, "sort"), dir, asIs)
		list, err := filepath.Glob(filepath.Join(dir, "*.go"))
		must(t, err)
		var names strings.Builder
		for _, f := range list {
			fmt.Fprintln(&names, filepath.Base(f))
		}
		files(t, dir, "names.txt", names.String()+"missing\n", "words.lua", wordsLua, "sub/x", "")
	}
	beds(t, fill, func(b *bed) {
		if out := b.both("lua", "words.lua"); !strings.Contains(out, "No such file") {
			t.Errorf("the missing file was not told of: %s", out)
		}
		b.bothWith("print(io.read('n', 'l', 'a'))\n", "lua", "-")
		b.bothWith("12 rest\nmore\nlines", "lua", "-e", "print(io.read('n', 'l', 'a'))")
		b.compare()
	})
}

const rowsSQL = `
.bail on
create table row(id integer primary key, name text not null, value real, body blob);
create index row_name on row(name);
begin;
with recursive n(x) as (select 1 union all select x + 1 from n where x < 100000)
  insert into row select x, 'name ' || ((x * 7919) % 100003), x / 7.0, zeroblob(x % 64) from n;
commit;
select count(*), sum(value), max(length(body)) from row;
update row set name = name || '!' where id % 10 = 0;
delete from row where id % 17 = 0;
savepoint s; delete from row; rollback to s; release s;
select name, value from row where name like 'name 999%' order by name limit 5;
pragma journal_mode = truncate;
insert into row(name) values ('Grüße');
pragma journal_mode = persist;
insert into row(name) select name || '2' from row where id < 1000;
create temp table sorted as select * from row order by value desc, name;
select count(*) from sorted;
vacuum;
pragma integrity_check;
select sqlite_version() like '3.%', count(*) from row;
attach 'second.db' as two;
create table two.copy as select id, name from row where id < 50000;
select count(*) from two.copy;
.output dump.txt
select * from copy order by id limit 20;
.output
`

func TestSQLite(t *testing.T) {
	fill := func(t *testing.T, dir string) { files(t, dir, "rows.sql", rowsSQL) }
	beds(t, fill, func(b *bed) {
		b.both("sqlite", "rows.db", ".read rows.sql")
		b.bothWith("select max(id) from row;\ninsert into row(name) values('x');\n", "sqlite", "rows.db")
		b.both("sqlite", "-csv", "rows.db", "select id, name from row order by id desc limit 100")
		if out := b.both("sqlite", "rows.db", "pragma integrity_check"); out != "ok\n" {
			t.Errorf("integrity_check: %s", out)
		}
		b.both("sqlite", "rows.db", "insert into nothing values (1)")
		b.compare()
	})
}
