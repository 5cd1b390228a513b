package overlay

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// TestNamesOfOneFile: what it costs to list, compare and commit a file with many
// names grows with their number, not with its square, and contents are compared
// once. Counted are the entries of the layers that are looked at, the records of
// the base log, and calls that read or write.
func TestNamesOfOneFile(t *testing.T) {
	cost := func(names int) map[string]int64 {
		l := newLabIn(t, fastDir(t))
		for i := range names {
			if i == 0 {
				l.seed("d/0=old")
			} else {
				l.seed(fmt.Sprintf("d/%d==d/0", i))
			}
		}
		var looks atomic.Int64
		l.opt.looked = func() { looks.Add(1) }
		l.open()
		out := map[string]int64{}
		count := func(what string, fn func()) {
			looks.Store(0)
			before := calls(t)
			fn()
			out[what], out[what+", calls"] = looks.Load(), calls(t)-before
		}
		l.must(l.write("d/0", "new"))
		want := l.view()
		count("status", func() { l.status(ChangesOptions{Expand: true}) })
		count("status again", func() { l.status(ChangesOptions{Expand: true}) })
		count("dry run", func() { l.commit(CommitOptions{Paths: []string{"d/1"}, DryRun: true}) })
		count("commit", func() { l.commit(CommitOptions{Paths: []string{"d/1"}}) })
		_, err := readBase(l.fs.log.fd, l.fs.log.length(), func(*baseRecord) { out["records"]++ })
		l.must(err)
		l.committed(want)
		return out
	}
	few, many := cost(100), cost(200)
	for what, n := range few {
		if m := many[what]; m > 2*n+50 {
			t.Errorf("%s: %d for 100 names, %d for 200", what, n, m)
		}
	}
	if again := "status again, calls"; many[again] > few[again]+20 {
		t.Errorf("%s: %d for 100 names, %d for 200: contents are compared again and again", again, few[again], many[again])
	}
}

// calls returns how many system calls of this process have read or written.
func calls(t *testing.T) int64 {
	t.Helper()
	data, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Fatal(err)
	}
	var reads, writes int64
	if _, err := fmt.Sscanf(string(data), "rchar: %d\nwchar: %d\nsyscr: %d\nsyscw: %d", new(int64), new(int64), &reads, &writes); err != nil {
		t.Fatal(err)
	}
	return reads + writes
}

// TestCommitOtherNames: what is done to a file of the workspace by one name is
// nobody else's change to the file under its others.
func TestCommitOtherNames(t *testing.T) {
	// A further name of a file of which another one was deleted.
	l := newLab(t).seed("a=1", "x==a").open()
	l.must(l.rm("x"))
	l.must(l.link("a", "b"))
	want := l.view()
	l.commit(CommitOptions{})
	l.committed(want)

	// Of three names the view has two others now, one of which has the
	// contents that the file has: it is another file all the same.
	l = newLab(t).seed("a=1", "b==a", "c==a").open()
	for _, name := range []string{"a", "b"} {
		l.must(l.rm(name))
	}
	l.must(l.write("a", "new"))
	l.must(l.write("b", "1"))
	l.must(l.chmod("b", 0o600))
	want = l.view()
	l.commit(CommitOptions{})
	l.committed(want)
}

// TestCrashOfNames kills a commit of files with several names, some of them
// hidden, at every step: what it has done by then is nobody's change.
func TestCrashOfNames(t *testing.T) {
	cases := []struct {
		name string
		seed []string
		do   func(l *lab) error
	}{
		{"replaced and deleted", []string{"a=1", "b==a", "c==a", "d/", "d/x==a"}, func(l *lab) error {
			for _, err := range []error{l.rm("a"), l.write("a", "other"), l.rm("b"), l.rm("d/x"), l.rmdir("d"), l.write("d", "file")} {
				if err != nil {
					return err
				}
			}
			return nil
		}},
		{"attributes", []string{"a=1", "b==a", "x==a"}, func(l *lab) error {
			if err := l.rm("x"); err != nil {
				return err
			}
			return l.chmod("a", 0o640)
		}},
		{"linked", []string{"a=1", "x==a"}, func(l *lab) error {
			if err := l.rm("x"); err != nil {
				return err
			}
			return l.link("a", "b")
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for n := 0; ; n++ {
				l := newLabIn(t, fastDir(t)).seed(c.seed...).open()
				l.must(c.do(l))
				want := l.view()
				at := l.crashAt(n, l.commitAll)
				if at == "" {
					return
				}
				l.open()
				for c, err := range l.fs.Changes(l.ctx, ChangesOptions{}) {
					if l.must(err); c.Conflict != NoConflict {
						t.Errorf("killed at %d, %s: %q %s", n, at, c.Path, c.Conflict)
					}
				}
				if err := l.commitAll(); err != nil {
					t.Fatalf("killed at %d, %s: %v", n, at, err)
				}
				l.committedAs(want, tree.timeless)
				if t.Failed() {
					t.Fatalf("killed at %d, %s", n, at)
				}
			}
		})
	}
}

// TestTouchedByOthers: after a commit that was cut short, what others did to the
// file since is their change still.
func TestTouchedByOthers(t *testing.T) {
	seed := []string{"a=1", "b==a", "c==a"}
	for n := 0; ; n++ {
		l := newLabIn(t, fastDir(t)).seed(seed...).open()
		l.must(l.rm("a"))
		l.must(l.write("a", "other"))
		l.must(l.rm("b"))
		at := l.crashAt(n, l.commitAll)
		if at == "" {
			t.Fatal("not killed where a name was taken")
		}
		if at != "commit.touched" {
			continue
		}
		l.must(os.WriteFile(l.host("c"), []byte("2"), 0o644))
		l.must(unix.UtimesNanoAt(unix.AT_FDCWD, l.host("c"), []unix.Timespec{{Sec: 5}, {Sec: 5}}, 0))
		l.open()
		l.wantStatus(ChangesOptions{}, "D b ! changed in the workspace")
		return
	}
}
