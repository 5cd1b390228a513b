package diff_test

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/overlay/diff"
)

// file is a file of a test's tree; link is set for a symbolic link.
type file struct {
	data string
	exec bool
	link bool
}

func (f file) side() *diff.Side {
	s := &diff.Side{Mode: unix.S_IFREG | 0o644, Size: int64(len(f.data)), Data: strings.NewReader(f.data)}
	switch {
	case f.link:
		s.Mode = unix.S_IFLNK | 0o777
	case f.exec:
		s.Mode = unix.S_IFREG | 0o755
	}
	return s
}

type tree map[string]file

func (t tree) write(tb testing.TB, dir string) {
	tb.Helper()
	for name, f := range t {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			tb.Fatal(err)
		}
		var err error
		if f.link {
			err = os.Symlink(f.data, path)
		} else {
			mode := fs.FileMode(0o644)
			if f.exec {
				mode = 0o755
			}
			err = os.WriteFile(path, []byte(f.data), mode)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
}

func readTree(tb testing.TB, dir string) tree {
	tb.Helper()
	out := tree{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if d.Name() == ".git" {
				return fs.SkipDir
			}
			return nil
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if d.Type()&fs.ModeSymlink != 0 {
			to, err := os.Readlink(path)
			out[name] = file{data: to, link: true}
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		st, err := d.Info()
		out[name] = file{data: string(data), exec: st.Mode()&0o100 != 0}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// changes pairs two trees; moved maps a new path to its old one.
func changes(old, new tree, moved map[string]string) []diff.File {
	var out []diff.File
	gone := map[string]bool{}
	for _, from := range moved {
		gone[from] = true
	}
	for name, f := range new {
		c := diff.File{Path: name, New: f.side()}
		if from := moved[name]; from != "" {
			c.From, c.Old = from, old[from].side()
		} else if o, ok := old[name]; ok {
			if o == f {
				continue
			}
			c.Old = o.side()
		}
		out = append(out, c)
	}
	for name, f := range old {
		if _, ok := new[name]; !ok && !gone[name] {
			out = append(out, diff.File{Path: name, Old: f.side()})
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Path < out[j].Path })
	return out
}

func patch(tb testing.TB, opt diff.Options, files []diff.File) string {
	tb.Helper()
	var b bytes.Buffer
	for _, f := range files {
		if _, err := opt.Write(&b, f); err != nil {
			tb.Fatalf("%q: %v", f.Path, err)
		}
	}
	return b.String()
}

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

func TestTooLarge(t *testing.T) {
	big := func(c byte) *diff.Side {
		return &diff.Side{Mode: unix.S_IFREG | 0o644, Size: 1 << 40, Data: endless(c)}
	}
	opt := diff.Options{Context: 3, Limit: 1000}
	var b bytes.Buffer
	st, err := opt.Write(&b, diff.File{Path: "x", Old: big('a'), New: big('b')})
	if err != nil || !st.TooLarge {
		t.Fatalf("%+v, %v", st, err)
	}
	if want := "# x: above the limit of 1000 bytes, not compared\ndiff --git a/x b/x\nBinary files a/x and b/x differ\n"; b.String() != want {
		t.Errorf("got %q", b.String())
	}
	dir := t.TempDir()
	tree{"x": {data: "old"}}.write(t, dir)
	if _, err := git(t, dir, b.String(), "apply", "-"); err == nil {
		t.Error("git apply took a patch without contents")
	}
	// Behind a hunk, the remark is no part of it.
	p := patch(t, diff.Defaults(), []diff.File{{Path: "a", Old: file{data: "1\n"}.side(), New: file{data: "2\n"}.side()}}) +
		"# remark\n" +
		patch(t, diff.Defaults(), []diff.File{{Path: "b", New: file{data: "2\n"}.side()}})
	tree{"a": {data: "1\n"}}.write(t, dir)
	mustGit(t, dir, p, "apply", "-")
}

type endless byte

func (e endless) ReadAt(p []byte, _ int64) (int, error) {
	for i := range p {
		p[i] = byte(e)
	}
	return len(p), nil
}

func TestShorterThanSaid(t *testing.T) {
	s := file{data: "abc"}.side()
	s.Size = 10
	if _, err := diff.Defaults().Write(io.Discard, diff.File{Path: "x", New: s}); err != diff.ErrChanged {
		t.Errorf("got %v", err)
	}
}

// TestManyChanges: scattered changes in a file of repeated lines are found one
// by one, which the bare search does not do.
func TestManyChanges(t *testing.T) {
	var a, b strings.Builder
	for i := range 5000 {
		line := fmt.Sprintf("line %d\n", i%1700)
		a.WriteString(line)
		if i%20 == 7 {
			b.WriteString("changed ")
		}
		b.WriteString(line)
	}
	st, err := diff.Options{Context: 3, Discard: true}.Write(nil, diff.File{Path: "x", Old: file{data: a.String()}.side(), New: file{data: b.String()}.side()})
	if err != nil || st.Added > 300 || st.Deleted > 300 {
		t.Errorf("%+v, %v", st, err)
	}
}

func TestStat(t *testing.T) {
	var b bytes.Buffer
	err := diff.WriteStat(&b, []diff.Stat{
		{Path: "a.go", Status: 'M', Added: 3, Deleted: 1},
		{Path: "src/new/x.go", From: "src/old/x.go", Status: 'R', Added: 100, Deleted: 100},
		{Path: "pic", Status: 'A', Binary: true, NewSize: 77},
		{Path: "gone", Status: 'D', Deleted: 1},
	}, 60)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(b.String(), "\n") {
		if len(line) > 60 {
			t.Errorf("line %d has %d columns: %q", i, len(line), line)
		}
	}
	for _, part := range []string{" src/{old => new}/x.go | 200 +", "| Bin 0 -> 77 bytes\n", " 4 files changed, 103 insertions(+), 102 deletions(-)\n"} {
		if !strings.Contains(b.String(), part) {
			t.Errorf("%q is not in\n%s", part, b.String())
		}
	}
}

func TestNameStatus(t *testing.T) {
	var b bytes.Buffer
	for _, c := range []struct {
		status     byte
		from, path string
	}{{'A', "", "x y"}, {'R', "a", "b\n"}, {'M', "a/f", "b/f"}} {
		if err := diff.NameStatus(&b, c.status, c.from, c.path); err != nil {
			t.Fatal(err)
		}
	}
	if want := "A\tx y\nR\ta\t\"b\\n\"\nM\tb/f\n"; b.String() != want {
		t.Errorf("got %q", b.String())
	}
}

func FuzzPatch(f *testing.F) {
	f.Add("a\nb\nc\n", "a\nc\n")
	f.Add("", "x")
	f.Fuzz(func(t *testing.T, old, new string) {
		if strings.IndexByte(old, 0) >= 0 || strings.IndexByte(new, 0) >= 0 {
			return
		}
		p := patch(t, diff.Defaults(), []diff.File{{Path: "f", Old: file{data: old}.side(), New: file{data: new}.side()}})
		if got := apply(t, old, p); got != new {
			t.Errorf("%q and the patch give %q, want %q\n%s", old, got, new, p)
		}
	})
}

// apply is a patch(1) for one file that insists on every line.
func apply(t *testing.T, old, p string) string {
	t.Helper()
	if old == "" && p == "" {
		return ""
	}
	_, body, _ := strings.Cut(p, "\n@@ ")
	if body == "" {
		return old
	}
	src := strings.SplitAfter(old, "\n")
	var out strings.Builder
	at := 0
	for _, h := range strings.Split("\n@@ "+body, "\n@@ ")[1:] {
		head, lines, _ := strings.Cut(h, "\n")
		var from, n int
		if _, err := fmt.Sscanf(head, "-%d,%d", &from, &n); err != nil {
			n = 1
			if _, err := fmt.Sscanf(head, "-%d", &from); err != nil {
				t.Fatalf("header %q", head)
			}
		}
		if n > 0 {
			from--
		}
		for ; at < from; at++ {
			out.WriteString(src[at])
		}
		ls := strings.SplitAfter(lines, "\n")
		for i, l := range ls {
			if l == "" || l[0] == '\\' {
				continue
			}
			text := l[1:]
			if !strings.HasSuffix(text, "\n") {
				text += "\n" // cut off with the split of the hunks
			}
			if i+1 < len(ls) && strings.HasPrefix(ls[i+1], "\\") {
				text = strings.TrimSuffix(text, "\n")
			}
			if l[0] != '+' {
				if src[at] != text {
					t.Fatalf("line %d is %q, the patch has %q", at, src[at], text)
				}
				at++
			}
			if l[0] != '-' {
				out.WriteString(text)
			}
		}
	}
	for ; at < len(src); at++ {
		out.WriteString(src[at])
	}
	return out.String()
}
