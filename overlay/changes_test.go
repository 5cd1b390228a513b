package overlay

import (
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// scenario is a change of a workspace and what the change set says of it.
type scenario struct {
	name   string
	seed   []string
	do     func(l *lab) error
	status []string
	expand []string // with Expand; status if nil
}

// all does things in turn.
func all(errs ...func() error) error {
	for _, f := range errs {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

func scenarios() []scenario {
	list := everyScenario()
	if os.Geteuid() != 0 {
		// Only root may give a file away.
		list = slices.DeleteFunc(list, func(s scenario) bool { return s.name == "owner" })
	}
	return list
}

func everyScenario() []scenario {
	return []scenario{
		{name: "nothing", seed: []string{"a=1"}, do: func(l *lab) error { _, err := l.read("a"); return err }},
		{name: "add", seed: []string{"a=1"}, do: func(l *lab) error { return l.write("b", "x") }, status: []string{"A b"}},
		{name: "modify", seed: []string{"d/a=1"}, do: func(l *lab) error { return l.write("d/a", "22") }, status: []string{"M d/a (content)"}},
		{name: "same size", seed: []string{"a=1"}, do: func(l *lab) error { return l.write("a", "2") }, status: []string{"M a (content)"}},
		{name: "written the same", seed: []string{"a=1"}, do: func(l *lab) error { return l.write("a", "1") }},
		{name: "delete", seed: []string{"a=1", "b=2"}, do: func(l *lab) error { return l.rm("a") }, status: []string{"D a"}},
		{name: "mode", seed: []string{"a=1"}, do: func(l *lab) error { return l.chmod("a", 0o755) }, status: []string{"M a (mode)"}},
		{name: "owner", seed: []string{"a=1"}, do: func(l *lab) error {
			return l.setattr("a", vfs.SetAttr{Valid: vfs.SetUID | vfs.SetGID, UID: 12, GID: 34})
		}, status: []string{"M a (owner)"}},
		{name: "xattr", seed: []string{"a=1"}, do: func(l *lab) error { return l.setxattr("a", "user.k", "v") }, status: []string{"M a (xattrs)"}},
		{name: "times", seed: []string{"a=1"}, do: func(l *lab) error {
			return l.setattr("a", vfs.SetAttr{Valid: vfs.SetMtime, Mtime: vfs.Timespec{Sec: 5, Nsec: 7}})
		}},
		{name: "new directory", do: func(l *lab) error {
			return all(func() error { return l.mkdir("d") }, func() error { return l.mkdir("d/e") }, func() error { return l.write("d/e/f", "1") })
		}, status: []string{"A d", "A d/e", "A d/e/f"}},
		{name: "order", do: func(l *lab) error {
			return all(func() error { return l.mkdir("a") }, func() error { return l.write("a/b", "1") }, func() error { return l.write("a.txt", "1") })
		}, status: []string{"A a", "A a/b", "A a.txt"}},
		{name: "deleted directory", seed: []string{"d/a=1", "d/e/b=2"}, do: func(l *lab) error { return l.rmAll("d") },
			status: []string{"D d"}, expand: []string{"D d", "D d/a", "D d/e", "D d/e/b"}},
		{name: "replaced directory", seed: []string{"d/a=1", "d/b=2", "d/c=3"}, do: func(l *lab) error {
			return all(func() error { return l.rmAll("d") }, func() error { return l.mkdir("d") }, func() error { return l.write("d/b", "x") },
				func() error { return l.write("d/c", "3") }, func() error { return l.write("d/n", "3") })
		}, status: []string{"D d/a", "M d/b (content)", "A d/n"}},
		{name: "file to directory", seed: []string{"a=1"}, do: func(l *lab) error {
			return all(func() error { return l.rm("a") }, func() error { return l.mkdir("a") }, func() error { return l.write("a/b", "x") })
		}, status: []string{"T a", "A a/b"}},
		{name: "directory to file", seed: []string{"a/b=1", "a/c/d=1"}, do: func(l *lab) error {
			return all(func() error { return l.rmAll("a") }, func() error { return l.write("a", "x") })
		}, status: []string{"T a"}, expand: []string{"D a/b", "D a/c", "D a/c/d", "T a"}},
		{name: "file to link", seed: []string{"a=1"}, do: func(l *lab) error {
			return all(func() error { return l.rm("a") }, func() error { return l.symlink("b", "a") })
		}, status: []string{"T a"}},
		{name: "link elsewhere", seed: []string{"a->b"}, do: func(l *lab) error {
			return all(func() error { return l.rm("a") }, func() error { return l.symlink("c", "a") })
		}, status: []string{"M a (content)"}},
		{name: "fifo", do: func(l *lab) error { return l.mkfifo("p") }, status: []string{"A p"}},
		{name: "moved file", seed: []string{"a=1"}, do: func(l *lab) error { return l.mv("a", "b") }, status: []string{"R b <- a"}},
		{name: "moved and edited", seed: []string{"a=1", "d/"}, do: func(l *lab) error {
			return all(func() error { return l.mv("a", "d/b") }, func() error { return l.write("d/b", "zz") })
		}, status: []string{"R d/b <- a (content)"}},
		{name: "saved by rename", seed: []string{"a=1"}, do: func(l *lab) error {
			return all(func() error { return l.write(".a.swp", "2") }, func() error { return l.mv(".a.swp", "a") })
		}, status: []string{"M a (content)"}},
		{name: "renamed directory", seed: []string{"d/a=1", "d/e/b=2"}, do: func(l *lab) error { return l.mv("d", "n") },
			status: []string{"R n <- d"}, expand: []string{"R n <- d", "R n/a <- d/a", "R n/e <- d/e", "R n/e/b <- d/e/b"}},
		{name: "renamed and edited inside", seed: []string{"d/a=1", "d/b=2", "d/c=3"}, do: func(l *lab) error {
			return all(func() error { return l.mv("d", "n") }, func() error { return l.write("n/a", "x") },
				func() error { return l.rm("n/b") }, func() error { return l.write("n/z", "x") })
		}, status: []string{"R n <- d", "M n/a <- d/a (content)", "D n/b <- d/b", "A n/z"},
			expand: []string{"R n <- d", "R n/a <- d/a (content)", "D n/b <- d/b", "R n/c <- d/c", "A n/z"}},
		{name: "edited inside, then renamed", seed: []string{"d/a=1", "d/b=2"}, do: func(l *lab) error {
			return all(func() error { return l.write("d/a", "x") }, func() error { return l.mv("d", "n") })
		}, status: []string{"R n <- d", "M n/a <- d/a (content)"}},
		{name: "renamed back", seed: []string{"d/a=1"}, do: func(l *lab) error {
			return all(func() error { return l.mv("d", "n") }, func() error { return l.mv("n", "d") })
		}},
		{name: "old name used again", seed: []string{"d/a=1"}, do: func(l *lab) error {
			return all(func() error { return l.mv("d", "n") }, func() error { return l.mkdir("d") }, func() error { return l.write("d/a", "x") })
		}, status: []string{"A d", "A d/a", "R n <- d"}},
		{name: "moved into itself anew", seed: []string{"d/a=1"}, do: func(l *lab) error {
			return all(func() error { return l.mv("d", "t") }, func() error { return l.mkdir("d") }, func() error { return l.mv("t", "d/t") })
		}, status: []string{"A d", "R d/t <- d"}},
		{name: "swapped", seed: []string{"a/x=1", "b/y=2"}, do: func(l *lab) error { return l.rename("a", "b", vfs.Exchange) },
			status: []string{"R a <- b", "R b <- a"}},
		{name: "rotated", seed: []string{"a/x=1", "b/y=2", "c/z=3"}, do: func(l *lab) error {
			return all(func() error { return l.mv("a", "t") }, func() error { return l.mv("b", "a") }, func() error { return l.mv("c", "b") }, func() error { return l.mv("t", "c") })
		}, status: []string{"R a <- b", "R b <- c", "R c <- a"}},
		{name: "out of a renamed one", seed: []string{"d/a=1", "d/s/b=2"}, do: func(l *lab) error {
			return all(func() error { return l.mv("d", "n") }, func() error { return l.mv("n/s", "m") })
		}, status: []string{"R m <- d/s", "R n <- d"}},
		{name: "out of a deleted one", seed: []string{"d/a=1", "d/s/b=2"}, do: func(l *lab) error {
			return all(func() error { return l.mv("d/s", "m") }, func() error { return l.rmAll("d") })
		}, status: []string{"D d", "R m <- d/s"}, expand: []string{"D d", "D d/a", "R m <- d/s", "R m/b <- d/s/b"}},
		{name: "into another's place", seed: []string{"d/a=1", "n/b=2"}, do: func(l *lab) error {
			return all(func() error { return l.rmAll("n") }, func() error { return l.mv("d", "n") })
		}, status: []string{"D n", "R n <- d"}},
		{name: "kept in a replaced one", seed: []string{"d/a=1", "d/s/b=2"}, do: func(l *lab) error {
			return all(func() error { return l.mv("d/s", "t") }, func() error { return l.rmAll("d") }, func() error { return l.mkdir("d") }, func() error { return l.mv("t", "d/s") })
		}, status: []string{"D d/a"}},
		{name: "parent and child change places", seed: []string{"p/c/x=1"}, do: func(l *lab) error {
			return all(func() error { return l.mv("p/c", "t") }, func() error { return l.mv("p", "t/p") }, func() error { return l.mv("t", "c") })
		}, status: []string{"R c <- p/c", "R c/p <- p"}},
		{name: "link to new", do: func(l *lab) error {
			return all(func() error { return l.write("a", "1") }, func() error { return l.link("a", "b") })
		}, status: []string{"A a", "A b"}},
		{name: "link to old", seed: []string{"z=1"}, do: func(l *lab) error { return l.link("z", "b") }, status: []string{"A b"}},
		{name: "linked below, written", seed: []string{"a=1", "d/", "d/b==a"}, do: func(l *lab) error { return l.write("a", "22") }, status: []string{"M a (content)"}},
		{name: "linked below, one removed", seed: []string{"a=1", "b==a", "c==a"}, do: func(l *lab) error { return l.rm("b") }, status: []string{"D b"}},
		{name: "linked below, one replaced", seed: []string{"a=1", "b==a"}, do: func(l *lab) error {
			return all(func() error { return l.rm("b") }, func() error { return l.write("b", "1") })
		}},
		{name: "odd names", seed: []string{"x\n\xff=1"}, do: func(l *lab) error {
			return all(func() error { return l.write("x\n\xff", "22") }, func() error { return l.write("\x01 ", "1") })
		}, status: []string{"A \x01 ", "M x\n\xff (content)"}},
		{name: "directory attributes", seed: []string{"d/a=1"}, do: func(l *lab) error {
			return all(func() error { return l.chmod("d", 0o700) }, func() error { return l.setxattr("d", "user.k", "v") })
		}, status: []string{"M d (mode,xattrs)"}},
		{name: "setuid and large", seed: []string{"a=1"}, do: func(l *lab) error {
			return all(func() error { return l.write("a", strings.Repeat("0123456789", 100_000)) }, func() error { return l.chmod("a", 0o4755) })
		}, status: []string{"M a (content,mode)"}},
	}
}

func TestChanges(t *testing.T) {
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			l := newLab(t).seed(s.seed...).open()
			l.must(s.do(l))
			l.wantStatus(ChangesOptions{}, s.status...)
			expand := s.expand
			if expand != nil {
				l.wantStatus(ChangesOptions{Expand: true}, expand...)
			}
			l.reopen()
			l.wantStatus(ChangesOptions{}, s.status...)
		})
	}
}

func TestChangesOfPaths(t *testing.T) {
	l := newLab(t).seed("d/a=1", "d/b=1", "da=1", "m/x=1").open()
	for _, p := range []string{"d/a", "d/b", "da"} {
		l.must(l.write(p, "22"))
	}
	l.must(l.mv("m", "n"))
	l.wantStatus(ChangesOptions{Paths: []string{"d"}}, "M d/a (content)", "M d/b (content)")
	l.wantStatus(ChangesOptions{Paths: []string{"/d//b/"}}, "M d/b (content)")
	l.wantStatus(ChangesOptions{Paths: []string{"m"}}, "R n <- m")
	l.wantStatus(ChangesOptions{Paths: []string{"n", "da"}}, "M da (content)", "R n <- m")
	l.wantStatus(ChangesOptions{Paths: []string{"nothing"}})
	l.wantStatus(ChangesOptions{Paths: []string{"."}}, "M d/a (content)", "M d/b (content)", "M da (content)", "R n <- m")
	for _, bad := range []string{"..", "a/../b", "a\x00", strings.Repeat("x", 300)} {
		for _, err := range l.fs.Changes(l.ctx, ChangesOptions{Paths: []string{bad}}) {
			if err == nil {
				t.Errorf("%q is taken for a path", bad)
			}
		}
	}
}

func TestConflicts(t *testing.T) {
	for _, c := range []struct {
		name   string
		seed   []string
		do     func(l *lab) error
		host   func(l *lab) error
		status []string
	}{
		{"changed", []string{"a=1"}, func(l *lab) error { return l.write("a", "22") },
			func(l *lab) error { return os.WriteFile(l.host("a"), []byte("333"), 0o644) }, []string{"M a (content) ! changed in the workspace"}},
		{"same change", []string{"a=1"}, func(l *lab) error { return l.write("a", "22") },
			func(l *lab) error { return os.WriteFile(l.host("a"), []byte("22"), 0o644) }, nil},
		{"removed", []string{"a=1"}, func(l *lab) error { return l.write("a", "22") },
			func(l *lab) error { return os.Remove(l.host("a")) }, []string{"A a ! removed in the workspace"}},
		{"appeared", nil, func(l *lab) error { return l.write("a", "22") },
			func(l *lab) error { return os.WriteFile(l.host("a"), []byte("3"), 0o644) }, []string{"M a (content) ! appeared in the workspace"}},
		{"both made a directory", nil, func(l *lab) error {
			return all(func() error { return l.mkdir("d") }, func() error { return l.write("d/x", "1") })
		},
			func(l *lab) error { return os.Mkdir(l.host("d"), 0o755) }, []string{"A d/x"}},
		{"deleted, changed", []string{"a=1"}, func(l *lab) error { return l.rm("a") },
			func(l *lab) error { return os.WriteFile(l.host("a"), []byte("333"), 0o644) }, []string{"D a ! changed in the workspace"}},
		{"deleted, removed", []string{"a=1"}, func(l *lab) error { return l.rm("a") },
			func(l *lab) error { return os.Remove(l.host("a")) }, nil},
		{"deleted directory, file added", []string{"d/a=1"}, func(l *lab) error { return l.rmAll("d") },
			func(l *lab) error { return os.WriteFile(l.host("d/n"), []byte("333"), 0o644) }, []string{"D d ! changed in the workspace"}},
		{"mode here, mode there", []string{"a=1"}, func(l *lab) error { return l.chmod("a", 0o600) },
			func(l *lab) error { return os.Chmod(l.host("a"), 0o755) }, []string{"M a (mode) ! changed in the workspace"}},
		{"mode here, times there", []string{"a=1"}, func(l *lab) error { return l.chmod("a", 0o600) },
			func(l *lab) error { return unix.Utimes(l.host("a"), []unix.Timeval{{Sec: 1}, {Sec: 2}}) }, []string{"M a (mode)"}},
		{"another file beside", []string{"d/a=1"}, func(l *lab) error { return l.write("d/a", "22") },
			func(l *lab) error { return os.WriteFile(l.host("d/b"), []byte("333"), 0o644) }, []string{"M d/a (content)"}},
		{"type", []string{"a=1"}, func(l *lab) error { return l.write("a", "22") },
			func(l *lab) error {
				return all(func() error { return os.Remove(l.host("a")) }, func() error { return os.Mkdir(l.host("a"), 0o755) })
			}, []string{"T a ! changed in the workspace"}},
		{"inside a renamed directory", []string{"d/a=1"}, func(l *lab) error {
			return all(func() error { return l.mv("d", "n") }, func() error { return l.write("n/a", "22") })
		}, func(l *lab) error { return os.WriteFile(l.host("d/a"), []byte("333"), 0o644) },
			[]string{"R n <- d", "M n/a <- d/a (content) ! changed in the workspace"}},
		{"where something is renamed to", []string{"d/a=1"}, func(l *lab) error { return l.mv("d", "n") },
			func(l *lab) error { return os.WriteFile(l.host("n"), nil, 0o644) }, []string{"D n ! appeared in the workspace", "R n <- d"}},
		{"moved file changed", []string{"a=1"}, func(l *lab) error { return l.mv("a", "b") },
			func(l *lab) error { return os.WriteFile(l.host("a"), []byte("333"), 0o644) }, []string{"R b <- a (content) ! changed in the workspace"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t).seed(c.seed...).open()
			l.must(c.do(l))
			l.must(c.host(l))
			l.wantStatus(ChangesOptions{}, c.status...)
			conflict := strings.Contains(strings.Join(c.status, "\n"), "!")
			before := hostTree(t, l.host())
			_, err := l.fs.Commit(l.ctx, CommitOptions{NoSync: true})
			if _, ok := err.(*ConflictError); ok != conflict {
				t.Fatalf("commit answers %v", err)
			}
			if conflict {
				if d := diffTrees(before, hostTree(t, l.host())); d != "" {
					t.Errorf("a refused commit changed\n%s", d)
				}
				want := l.view()
				if _, err := l.fs.Commit(l.ctx, CommitOptions{NoSync: true, Force: true}); err != nil {
					t.Fatal(err)
				}
				if d := diffTrees(want, hostTree(t, l.host())); d != "" {
					t.Errorf("view and workspace differ\n%s", d)
				}
			}
			l.wantStatus(ChangesOptions{})
			l.upperEmpty()
		})
	}
}

// TestChangesHoldNothing: a change set, for which names of files are looked for
// that are not there any more, leaves no reference to a directory.
func TestChangesHoldNothing(t *testing.T) {
	l := newLab(t).seed("h1=1", "d/", "d/h2==h1", "d/h3==h1").open()
	l.must(l.write("h1", "changed"))
	l.must(l.rm("d/h2"))
	l.status(ChangesOptions{Expand: true})
	l.fs.nodes.each(l.fs.put, func(n *node) {
		if k := n.lookups.Load(); k > 0 {
			t.Errorf("%d references to a node of type %o are left", k, n.typ)
		}
	})
}
