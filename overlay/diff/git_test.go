package diff_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/astridfs/astridfs/overlay/diff"
)

func git(tb testing.TB, dir string, stdin string, args ...string) (string, error) {
	tb.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("git %v: %w: %s", args, err, errOut.String())
	}
	return out.String(), nil
}

func mustGit(tb testing.TB, dir, stdin string, args ...string) string {
	tb.Helper()
	out, err := git(tb, dir, stdin, args...)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func TestSameAsGit(t *testing.T) {
	lines := func(n int, edit func(int) string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(edit(i))
		}
		return b.String()
	}
	plain := func(i int) string { return fmt.Sprintf("func line%d() {\n", i) }
	for name, c := range map[string]struct {
		old, new file
		rename   bool
		odd      string // the file's name, where it is not "f"
	}{
		"one line":        {old: file{data: "a\nb\nc\n"}, new: file{data: "a\nB\nc\n"}},
		"far apart":       {old: file{data: lines(60, plain)}, new: file{data: strings.Replace(strings.Replace(lines(60, plain), "line7(", "x(", 1), "line50(", "y(", 1)}},
		"contexts touch":  {old: file{data: lines(60, plain)}, new: file{data: strings.Replace(strings.Replace(lines(60, plain), "line20(", "x(", 1), "line27(", "y(", 1)}},
		"contexts apart":  {old: file{data: lines(60, plain)}, new: file{data: strings.Replace(strings.Replace(lines(60, plain), "line20(", "x(", 1), "line28(", "y(", 1)}},
		"no newline":      {old: file{data: "a\nb"}, new: file{data: "a\nb\n"}},
		"newline lost":    {old: file{data: "a\nb\n"}, new: file{data: "a\nb"}},
		"both without":    {old: file{data: "a"}, new: file{data: "b"}},
		"to empty":        {old: file{data: "a\nb\n"}, new: file{}},
		"from empty":      {old: file{}, new: file{data: "a\n"}},
		"executable":      {old: file{data: "a\n"}, new: file{data: "a\n", exec: true}},
		"both":            {old: file{data: "a\n"}, new: file{data: "b\n", exec: true}},
		"link":            {old: file{data: "x", link: true}, new: file{data: "y", link: true}},
		"type":            {old: file{data: "a\n"}, new: file{data: "y", link: true}},
		"binary":          {old: file{data: "a\x00"}, new: file{data: "b\x00"}},
		"nul late":        {old: file{data: strings.Repeat("a", 7999) + "\x00\n"}, new: file{data: strings.Repeat("b", 7999) + "\x00\n"}},
		"nul too late":    {old: file{data: strings.Repeat("a", 8000) + "\x00\n"}, new: file{data: strings.Repeat("b", 8000) + "\x00\n"}},
		"crlf":            {old: file{data: "a\r\nb\r\n"}, new: file{data: "a\nb\r\n"}},
		"pure rename":     {old: file{data: "a\nb\nc\nd\n"}, new: file{data: "a\nb\nc\nd\n"}, rename: true},
		"space":           {old: file{data: "a\n"}, new: file{data: "b\n"}, odd: "a name"},
		"quotes and tabs": {old: file{data: "a\n"}, new: file{data: "b\n"}, odd: "a\"\t\\\n\x01\x7fé \xff"},
		"umlaut":          {old: file{data: "a\n"}, new: file{data: "b\n"}, odd: "dé/ü"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := "f"
			if c.odd != "" {
				path = c.odd
			}
			to, moved := path, map[string]string{}
			if c.rename {
				to = "d/g"
				moved[to] = path
			}
			old, new := tree{path: c.old}, tree{to: c.new}
			old.write(t, dir)
			mustGit(t, dir, "", "init", "-q")
			mustGit(t, dir, "", "add", "-A")
			mustGit(t, dir, "", "commit", "-qm", "x")
			if err := os.RemoveAll(filepath.Join(dir, path)); err != nil {
				t.Fatal(err)
			}
			new.write(t, dir)
			mustGit(t, dir, "", "add", "-A")
			want := mustGit(t, dir, "", "diff", "--cached", "--abbrev=10", "-M", "HEAD")
			if got := patch(t, diff.Defaults(), changes(old, new, moved)); got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func TestAddDeleteSameAsGit(t *testing.T) {
	for _, f := range []file{{}, {data: "x\ny"}, {data: "x\n", exec: true}, {data: "to", link: true}, {data: "\x00"}} {
		for _, added := range []bool{true, false} {
			dir := t.TempDir()
			tree{"keep": {}}.write(t, dir)
			if !added {
				tree{"f": f}.write(t, dir)
			}
			mustGit(t, dir, "", "init", "-q")
			mustGit(t, dir, "", "add", "-A")
			mustGit(t, dir, "", "commit", "-qm", "x")
			c := diff.File{Path: "f", New: f.side()}
			if added {
				tree{"f": f}.write(t, dir)
			} else {
				c = diff.File{Path: "f", Old: f.side()}
				if err := os.Remove(filepath.Join(dir, "f")); err != nil {
					t.Fatal(err)
				}
			}
			mustGit(t, dir, "", "add", "-A")
			want := mustGit(t, dir, "", "diff", "--cached", "--abbrev=10", "HEAD")
			if got := patch(t, diff.Defaults(), []diff.File{c}); got != want {
				t.Errorf("added %v %+v: got:\n%s\nwant:\n%s", added, f, got, want)
			}
		}
	}
}

// randomText has lines from a small alphabet, so that many are equal.
func randomText(r *rand.Rand, lines int) string {
	var b strings.Builder
	for i := range lines {
		switch r.IntN(4) {
		case 0:
			b.WriteString("}\n")
		case 1:
			fmt.Fprintf(&b, "\tcall(%d)\n", r.IntN(20))
		case 2:
			fmt.Fprintf(&b, "func unique%d_%d()\r\n", i, r.IntN(1000))
		default:
			b.WriteString("\n")
		}
	}
	s := b.String()
	if len(s) > 0 && r.IntN(3) == 0 {
		s = s[:len(s)-1]
	}
	return s
}

func mutate(r *rand.Rand, s string) string {
	lines := strings.SplitAfter(s, "\n")
	for range 1 + r.IntN(5) {
		i := r.IntN(len(lines) + 1)
		j := min(i+r.IntN(4), len(lines))
		with := strings.SplitAfter(randomText(r, r.IntN(4)), "\n")
		lines = append(append(append([]string{}, lines[:i]...), with...), lines[j:]...)
	}
	return strings.Join(lines, "")
}

func randomName(r *rand.Rand) string {
	alphabet := []string{"a", "b", ".c", "d e", "\"", "\\", "\t", "é", "\xff", "-", "=>", "\n", "\x7f", "{", "'"}
	part := func() string {
		s := ""
		for range 1 + r.IntN(4) {
			s += alphabet[r.IntN(len(alphabet))]
		}
		return fmt.Sprintf("%s%d", s, r.IntN(1000))
	}
	name := part()
	for range r.IntN(3) {
		name = "dir" + part() + "/" + name // no file has such a name
	}
	return name
}

func randomFile(r *rand.Rand) file {
	switch r.IntN(6) {
	case 0:
		return file{data: fmt.Sprintf("target %d", r.IntN(9)), link: true}
	case 1:
		return file{}
	}
	return file{data: randomText(r, r.IntN(60)), exec: r.IntN(4) == 0}
}

func TestGitApplyTakesIt(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 1))
		old, new, moved := tree{}, tree{}, map[string]string{}
		for range 25 {
			old[randomName(r)] = randomFile(r)
		}
		for name, f := range old {
			switch r.IntN(7) {
			case 0: // deleted
			case 1:
				to := randomName(r)
				if _, ok := old[to]; ok || f.link {
					continue
				}
				if r.IntN(2) == 0 {
					f.data = mutate(r, f.data)
				}
				moved[to], new[to] = name, f
			case 2:
				f.exec = !f.exec && !f.link
				new[name] = f
			case 3:
				new[name] = randomFile(r)
			default:
				if !f.link {
					f.data = mutate(r, f.data)
				}
				new[name] = f
			}
		}
		for range 5 {
			if name := randomName(r); new[name] == (file{}) {
				new[name] = randomFile(r)
			}
		}
		opt := diff.Options{Context: r.IntN(5)}
		if opt.Context == 0 {
			opt.Context = 3
		}
		p := patch(t, opt, changes(old, new, moved))
		dir := t.TempDir()
		old.write(t, dir)
		if _, err := git(t, dir, p, "apply", "-"); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, p)
		}
		got := readTree(t, dir)
		for name, f := range new {
			if got[name] != f {
				t.Fatalf("seed %d: %q is %+v, want %+v\n%s", seed, name, got[name], f, p)
			}
			delete(got, name)
		}
		if len(got) > 0 {
			t.Fatalf("seed %d: left over %v", seed, got)
		}
	}
}
