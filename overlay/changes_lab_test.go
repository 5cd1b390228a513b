package overlay

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// lab is an overlay on a workspace, with the operations of a person on it.
type lab struct {
	t   testing.TB
	ctx context.Context
	dir string
	opt Options
	fs  *FS

	besides func(step string) // what somebody does beside a commit that is killed
}

func newLab(t testing.TB) *lab {
	t.Helper()
	return newLabIn(t, t.TempDir())
}

// fastDir returns a directory in memory where there is one, for tests that make
// hundreds of overlays.
func fastDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "overlay")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func newLabIn(t testing.TB, dir string) *lab {
	t.Helper()
	unix.Umask(0)
	l := &lab{t: t, ctx: context.Background(), dir: dir}
	for _, name := range []string{"ws", "upper", "work", "state"} {
		l.must(os.Mkdir(filepath.Join(l.dir, name), 0o755))
	}
	l.opt = Options{Lower: []string{l.host()}, Upper: l.dir + "/upper", Work: l.dir + "/work", State: l.dir + "/state"}
	t.Cleanup(func() {
		if l.fs != nil {
			l.must(l.fs.Close())
		}
	})
	return l
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) host(path ...string) string {
	return filepath.Join(append([]string{l.dir, "ws"}, path...)...)
}

// seed makes files in the workspace: "dir/" is a directory, "name=data" a file,
// "name->target" a symbolic link, "name==other" a hard link.
func (l *lab) seed(specs ...string) *lab {
	l.t.Helper()
	for _, s := range specs {
		switch {
		case strings.HasSuffix(s, "/"):
			l.must(os.MkdirAll(l.host(s), 0o755))
		case strings.Contains(s, "->"):
			name, target, _ := strings.Cut(s, "->")
			l.must(os.Symlink(target, l.host(name)))
		case strings.Contains(s, "=="):
			name, other, _ := strings.Cut(s, "==")
			l.must(os.Link(l.host(other), l.host(name)))
		default:
			name, data, _ := strings.Cut(s, "=")
			l.must(os.MkdirAll(filepath.Dir(l.host(name)), 0o755))
			l.must(os.WriteFile(l.host(name), []byte(data), 0o644))
		}
	}
	return l
}

func (l *lab) open() *lab {
	l.t.Helper()
	fs, err := Open(l.ctx, l.opt)
	l.must(err)
	l.fs = fs
	return l
}

func (l *lab) reopen() {
	l.t.Helper()
	if l.fs != nil {
		l.must(l.fs.Close())
	}
	l.open()
}

// parent calls fn with the directory that holds path, and the name there.
func (l *lab) parent(path string, fn func(dir vfs.NodeID, name string) error) error {
	dir, name := filepath.Split(path)
	return l.node(strings.TrimSuffix(dir, "/"), func(n vfs.NodeID) error { return fn(n, name) })
}

func (l *lab) node(path string, fn func(vfs.NodeID) error) error {
	t, err := vfs.Walk(l.ctx, l.fs, vfs.RootID, path, 0)
	if err != nil {
		return err
	}
	defer t.Release()
	if !t.Exists() {
		return syscall.ENOENT
	}
	return fn(t.Entry.Node)
}

func (l *lab) write(path, data string) error {
	return l.parent(path, func(dir vfs.NodeID, name string) error {
		e, h, err := l.fs.Create(l.ctx, dir, name, unix.O_RDWR, 0o644)
		if err == syscall.EEXIST {
			if e, err = l.fs.Lookup(l.ctx, dir, name); err == nil {
				h, err = l.fs.Open(l.ctx, e.Node, unix.O_RDWR|unix.O_TRUNC)
				l.fs.Forget(e.Node, 1)
			}
		} else if err == nil {
			l.fs.Forget(e.Node, 1)
		}
		if err != nil {
			return err
		}
		_, err = h.WriteAt(l.ctx, []byte(data), 0)
		if cerr := h.Close(); err == nil {
			err = cerr
		}
		return err
	})
}

func (l *lab) mkdir(path string) error {
	return l.parent(path, func(dir vfs.NodeID, name string) error {
		e, err := l.fs.Mkdir(l.ctx, dir, name, 0o755)
		if err == nil {
			l.fs.Forget(e.Node, 1)
		}
		return err
	})
}

func (l *lab) symlink(target, path string) error {
	return l.parent(path, func(dir vfs.NodeID, name string) error {
		e, err := l.fs.Symlink(l.ctx, dir, name, target)
		if err == nil {
			l.fs.Forget(e.Node, 1)
		}
		return err
	})
}

func (l *lab) mkfifo(path string) error {
	return l.parent(path, func(dir vfs.NodeID, name string) error {
		e, err := l.fs.Mknod(l.ctx, dir, name, unix.S_IFIFO|0o640, 0)
		if err == nil {
			l.fs.Forget(e.Node, 1)
		}
		return err
	})
}

func (l *lab) link(old, path string) error {
	return l.node(old, func(n vfs.NodeID) error {
		return l.parent(path, func(dir vfs.NodeID, name string) error {
			e, err := l.fs.Link(l.ctx, n, dir, name)
			if err == nil {
				l.fs.Forget(e.Node, 1)
			}
			return err
		})
	})
}

func (l *lab) rm(path string) error {
	return l.parent(path, func(dir vfs.NodeID, name string) error { return l.fs.Unlink(l.ctx, dir, name) })
}

func (l *lab) rmdir(path string) error {
	return l.parent(path, func(dir vfs.NodeID, name string) error { return l.fs.Rmdir(l.ctx, dir, name) })
}

// rmAll is rm -r.
func (l *lab) rmAll(path string) error {
	err := l.rm(path)
	if err != syscall.EISDIR {
		return err
	}
	for _, name := range l.list(path) {
		if err := l.rmAll(joinPath(path, name)); err != nil {
			return err
		}
	}
	return l.rmdir(path)
}

func (l *lab) mv(from, to string) error { return l.rename(from, to, 0) }

func (l *lab) rename(from, to string, flags vfs.RenameFlags) error {
	return l.parent(from, func(a vfs.NodeID, x string) error {
		return l.parent(to, func(b vfs.NodeID, y string) error { return l.fs.Rename(l.ctx, a, x, b, y, flags) })
	})
}

func (l *lab) setattr(path string, in vfs.SetAttr) error {
	return l.node(path, func(n vfs.NodeID) error {
		_, err := l.fs.SetAttr(l.ctx, n, nil, in)
		return err
	})
}

func (l *lab) chmod(path string, mode uint32) error {
	return l.setattr(path, vfs.SetAttr{Valid: vfs.SetMode, Mode: mode})
}

func (l *lab) setxattr(path, name, value string) error {
	return l.node(path, func(n vfs.NodeID) error { return l.fs.SetXattr(l.ctx, n, name, []byte(value), 0) })
}

func (l *lab) list(path string) []string {
	l.t.Helper()
	var names []string
	l.must(l.node(path, func(n vfs.NodeID) error {
		d, err := l.fs.OpenDir(l.ctx, n)
		if err != nil {
			return err
		}
		defer d.Close()
		return d.ReadDir(l.ctx, 0, func(e vfs.DirEntry) bool {
			if e.Name != "." && e.Name != ".." {
				names = append(names, e.Name)
			}
			return true
		})
	}))
	sort.Strings(names)
	return names
}

func (l *lab) read(path string) (string, error) {
	var out bytes.Buffer
	err := l.node(path, func(n vfs.NodeID) error {
		h, err := l.fs.Open(l.ctx, n, unix.O_RDONLY)
		if err != nil {
			return err
		}
		defer h.Close()
		buf := make([]byte, 64<<10)
		for off := int64(0); ; {
			k, err := h.ReadAt(l.ctx, buf, off)
			if err != nil || k == 0 {
				return err
			}
			out.Write(buf[:k])
			off += int64(k)
		}
	})
	return out.String(), err
}

// status returns the change set in short form.
func (l *lab) status(opt ChangesOptions) []string {
	l.t.Helper()
	var out []string
	for c, err := range l.fs.Changes(l.ctx, opt) {
		l.must(err)
		s := c.Kind.String() + " " + c.Path
		if c.From != "" {
			s += " <- " + c.From
		}
		if w := c.Changed &^ Times; w != 0 {
			s += " (" + w.String() + ")"
		}
		if c.Conflict != NoConflict {
			s += " ! " + c.Conflict.String()
		}
		out = append(out, s)
	}
	return out
}

func (l *lab) wantStatus(opt ChangesOptions, want ...string) {
	l.t.Helper()
	if got := l.status(opt); strings.Join(got, "\n") != strings.Join(want, "\n") {
		l.t.Errorf("the changes are\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// upperEmpty fails if the upper layer holds anything.
func (l *lab) upperEmpty() {
	l.t.Helper()
	left := hostTree(l.t, l.opt.Upper)
	for name, what := range left {
		l.t.Errorf("the upper layer still has %q %s", name, what)
	}
	if names, err := os.ReadDir(l.opt.Work + "/index"); err == nil && len(names) > 0 {
		l.t.Errorf("the index still has %d entries", len(names))
	}
}
