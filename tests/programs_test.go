package tests

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// programs has third-party programs do their jobs twice: compiled to wasip1 and
// run on a mounted session, and natively on a copy of the workspace.
type programs struct {
	t      *testing.T
	b      *box
	guests string // where scripts/guests/build puts them
	copy   string
}

func newPrograms(t *testing.T, b *box, names ...string) *programs {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	sh(t, root, "scripts/guests/build "+strings.Join(names, " "))
	p := &programs{t: t, b: b, guests: filepath.Join(root, ".cache/guests"), copy: filepath.Join(b.dir, "native")}
	sh(t, b.dir, "cp -a ws native")
	b.mount()
	return p
}

// both runs a program on both sides and compares exit code and output.
func (p *programs) both(stdin string, args ...string) string {
	p.t.Helper()
	guest := exec.Command(binary, append([]string{"run", "--session", p.b.session, filepath.Join(p.guests, args[0]+".wasm")}, args[1:]...)...)
	guest.Env = append(guest.Environ(), "ASTRIDFS_STATE_DIR="+p.b.state)
	native := exec.Command(filepath.Join(p.guests, args[0]), args[1:]...)
	native.Dir = p.copy
	var outs, errs [2]bytes.Buffer
	for i, cmd := range []*exec.Cmd{guest, native} {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &outs[i], &errs[i]
		if err := cmd.Run(); cmd.ProcessState == nil {
			p.t.Fatalf("%q: %v", args, err)
		}
	}
	g, n := guest.ProcessState.ExitCode(), native.ProcessState.ExitCode()
	if g != n || outs[0].String() != outs[1].String() {
		p.t.Fatalf("%q:\non the session: exit %d, %q\n%s\nnatively: exit %d, %q\n%s", args, g, outs[0].String(), errs[0].String(), n, outs[1].String(), errs[1].String())
	}
	return outs[0].String()
}

// compare holds the mount against the native copy: names, types, contents.
// Permission bits are left out, because Go's wasip1 has none, and the named
// files, which hold times or inode numbers.
func (p *programs) compare(but ...string) {
	p.t.Helper()
	trees := [2]map[string]string{shape(p.t, p.b.mnt), shape(p.t, p.copy)}
	for _, tree := range trees {
		for path, line := range tree {
			f := strings.Fields(line)
			tree[path] = f[0][:len(f[0])-4] + " " + strings.Join(f[2:], " ")
		}
		for _, path := range but {
			delete(tree, path)
		}
	}
	sameTree(p.t, "the session's tree", trees[0], trees[1])
}

// TestThirdPartyPrograms runs unmodified programs on a session as a user would,
// and git on what they leave in the mount.
func TestThirdPartyPrograms(t *testing.T) {
	b := newBox(t)
	goroot := strings.TrimSpace(sh(t, ".", "go env GOROOT"))
	sh(t, b.ws, `cp -a "$R/src/strings" "$R/src/sort" . && sed -i 's/^\t/    /' sort/*.go
		printf 'if true;then\n      echo  hi\nfi\n' > a.sh
		printf 'import {x} from "./b"; console.log(x)\n' > main.ts; printf 'export const x: number = 2 ** 3\n' > b.ts
		for i in $(seq 500); do echo "line $i of the text"; done > text`, "R="+goroot)
	before := manifest(t, b.ws)
	p := newPrograms(t, b, "gofmt", "shfmt", "esbuild", "gitclient", "cp", "mv", "rm", "tar", "grep", "lua", "sqlite")

	if list := p.both("", "gofmt", "-l", "sort"); !strings.Contains(list, "sort/sort.go") {
		t.Errorf("gofmt -l: %q", list)
	}
	p.both("", "gofmt", "-w", "sort")
	p.both("", "shfmt", "-w", "a.sh")
	p.both("", "esbuild", "main.ts", "--bundle", "--outfile=out/main.js", "--log-level=error")
	p.both("", "cp", "-r", "strings", "copied")
	p.both("", "mv", "copied", "moved")
	if n := strings.Count(p.both("", "grep", "-r", "-n", "func ", "moved"), "\n"); n < 100 {
		t.Errorf("grep found %d lines", n)
	}
	p.both("", "tar", "-c", "-f", "all.tar", "moved")
	p.both("", "rm", "-r", "moved")
	p.both("", "tar", "-x", "-f", "all.tar", ".")
	p.both("", "rm", "all.tar")
	p.both("", "lua", "-e", `local n = 0; for line in io.lines("text") do n = n + #line end; local f = io.open("sum", "w"); f:write(n); f:close(); print(n)`)
	p.both("", "sqlite", "rows.db", `create table r(a integer primary key, b text);
		with recursive n(x) as (select 1 union all select x + 1 from n where x < 100000) insert into r select x, 'row ' || x from n;
		delete from r where a % 7 = 0; vacuum;`)
	if out := p.both("", "sqlite", "rows.db", "select count(*), sum(length(b)) from r; pragma integrity_check"); !strings.Contains(out, "ok") {
		t.Errorf("sqlite: %q", out)
	}
	p.compare()

	p.both("", "gitclient", "init")
	p.both("", "gitclient", "add", ".")
	p.both("", "gitclient", "commit", "first", "1700000000")
	log := p.both("", "gitclient", "log")
	if status := p.both("", "gitclient", "status"); status != "" {
		t.Errorf("go-git's status: %q", status)
	}
	git := sh(t, b.mnt, `git -c safe.directory='*' fsck --full --strict --no-dangling 2>&1; git -c safe.directory='*' log --format='%H %T %at %s'`)
	if !strings.HasSuffix(git, log) || strings.Contains(git, "error") {
		t.Errorf("git says %q, go-git's log is %q", git, log)
	}
	sameTree(t, "the workspace", manifest(t, b.ws), before)
	view := shape(t, b.mnt)
	b.run("commit", b.session)
	sameTree(t, "the workspace after the commit", shape(t, b.ws), view)
	sh(t, b.ws, `git -c safe.directory='*' fsck --full --strict --no-dangling`)
}
