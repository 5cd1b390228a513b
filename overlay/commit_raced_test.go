package overlay

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCommitRaced: what a host program puts in the place of an entry, or into a
// directory, at the very moment in which a commit replaces it is not lost, and the
// view's change stays in the overlay.
func TestCommitRaced(t *testing.T) {
	temp := func(l *lab) string { // of the entry that was exchanged or put aside
		list, err := filepath.Glob(l.host(tempPrefix + "*"))
		l.must(err)
		if len(list) != 1 {
			t.Fatalf("there are %q", list)
		}
		return list[0]
	}
	put := func(l *lab, path, data string) {
		l.must(os.WriteFile(l.host("theirs.new"), []byte(data), 0o644))
		l.must(os.Rename(l.host("theirs.new"), l.host(path)))
	}
	change := func(l *lab) error { return l.write("f", "mine") }
	fileOverDir := func(l *lab) error {
		return all(func() error { return l.rmAll("d") }, func() error { return l.write("d", "mine") })
	}
	dirOverDir := func(l *lab) error {
		return all(func() error { return l.rmAll("d") }, func() error { return l.mv("e", "d") })
	}
	dirOverFile := func(l *lab) error {
		return all(func() error { return l.rm("f") }, func() error { return l.mkdir("f") }, func() error { return l.write("f/mine", "mine") })
	}
	cases := []struct {
		name string
		do   func(l *lab) error
		at   map[string]func(l *lab) // what the host does at a step
		want map[string]string       // files of the workspace afterwards, by contents
		kept string                  // contents of what has another name
	}{
		{"a file over a file", change, map[string]func(*lab){
			"replacing": func(l *lab) { put(l, "f", "theirs") },
		}, map[string]string{"f": "theirs"}, ""},
		{"written to", change, map[string]func(*lab){
			"replacing": func(l *lab) { l.must(os.WriteFile(l.host("f"), []byte("theirs"), 0)) },
		}, map[string]string{"f": "theirs"}, ""},
		{"and removed again", change, map[string]func(*lab){
			"replacing": func(l *lab) { put(l, "f", "theirs") },
			"exchanged": func(l *lab) { l.must(os.Remove(l.host("f"))) },
		}, map[string]string{"f": "theirs"}, ""},
		{"and another one", change, map[string]func(*lab){
			"replacing": func(l *lab) { put(l, "f", "theirs") },
			"exchanged": func(l *lab) { put(l, "f", "later") },
		}, map[string]string{"f": "theirs"}, "later"},
		{"a directory over a file", dirOverFile, map[string]func(*lab){
			"replacing": func(l *lab) { put(l, "f", "theirs") },
		}, map[string]string{"f": "theirs"}, ""},
		{"a file over a directory", fileOverDir, map[string]func(*lab){
			"replacing": func(l *lab) { l.seed("d/sub/theirs=1") },
		}, map[string]string{"d/sub/theirs": "1"}, ""},
		{"a file over a directory, late", fileOverDir, map[string]func(*lab){
			"exchanged": func(l *lab) {
				l.must(os.WriteFile(temp(l)+"/sub/theirs", []byte("1"), 0o644))
				l.must(os.WriteFile(temp(l)+"/x", []byte("changed"), 0o644))
			},
		}, map[string]string{"d/sub/theirs": "1", "d/x": "changed"}, ""},
		{"a directory over a directory", dirOverDir, map[string]func(*lab){
			"aside": func(l *lab) { l.must(os.WriteFile(temp(l)+"/sub/theirs", []byte("1"), 0o644)) },
		}, map[string]string{"d/sub/theirs": "1"}, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t).seed("f=old", "d/x=1", "d/sub/y=2", "e/z=3")
			done := map[string]bool{}
			l.opt.step = func(step string) {
				step = strings.TrimPrefix(step, "commit.")
				if do := c.at[step]; do != nil && !done[step] {
					done[step] = true
					do(l)
				}
			}
			l.open()
			l.must(c.do(l))
			view := l.view()
			old, err := os.Open(l.host("f")) // or else the host gives its number to another file, which would show it
			l.must(err)
			defer old.Close()
			r, err := l.fs.Commit(l.ctx, CommitOptions{NoSync: true})
			if err != nil || len(r.Left) == 0 || len(done) != len(c.at) {
				t.Fatalf("%+v, %v; the host did %v", r, err, done)
			}
			check := func() {
				t.Helper()
				for path, want := range c.want {
					if got, err := os.ReadFile(l.host(path)); err != nil || string(got) != want {
						t.Errorf("%s has %q, %v", path, got, err)
					}
				}
				if d := diffTrees(view, l.view().without(tempPrefix)); d != "" {
					t.Errorf("the view before and after differ\n%s", d)
				}
			}
			check()
			if c.kept != "" {
				why := r.Left[0].Reason
				_, name, _ := strings.Cut(strings.TrimSuffix(why, " now"), tempPrefix)
				if got, err := os.ReadFile(l.host(tempPrefix + name)); err != nil || string(got) != c.kept {
					t.Errorf("by %q it has %q, %v", why, got, err)
				}
			}
			l.reopen()
			check()
			if !l.conflicts() {
				t.Error("nothing is in conflict")
			}
			l.commit(CommitOptions{Force: true})
			l.wantStatus(ChangesOptions{})
		})
	}
}

// without leaves entries out whose names begin with prefix.
func (t tree) without(prefix string) tree {
	out := tree{}
	for name, s := range t {
		if !strings.HasPrefix(name, prefix) {
			out[name] = s
		}
	}
	return out
}
