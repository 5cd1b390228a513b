package diff_test

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
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
