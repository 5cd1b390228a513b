package boundary_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/boundary"
	"github.com/astridfs/astridfs/overlay"
	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/hostfs"
	"github.com/astridfs/astridfs/vfs/vfstest"
)

// view is a boundary over a directory of the host, used by paths.
type view struct {
	*testing.T
	ctx  context.Context
	fs   vfs.FS // the boundary, counted
	b    *boundary.FS
	host string // the directory
	ov   bool   // an overlay lies between
}

// lazily is how the tests want ignore files looked at: when they say so.
var lazily = boundary.Options{Revalidate: -1}

// each runs a test over hostfs and over overlay, on a tree of files. A name
// that ends in a slash is a directory, a content "-> x" a symbolic link, "== x"
// a hard link.
func each(t *testing.T, tree map[string]string, opt boundary.Options, run func(v *view)) {
	for _, kind := range []string{"hostfs", "overlay"} {
		t.Run(kind, func(t *testing.T) {
			unix.Umask(0)
			v := &view{T: t, ctx: context.Background(), host: t.TempDir(), ov: kind == "overlay"}
			v.plant(tree)
			below := v.below(kind)
			counter := vfstest.NewCounter(below)
			o := opt
			if o.Report == nil {
				o.Report = func(err error) { t.Errorf("reported: %v", err) }
			}
			b, err := boundary.New(counter, o)
			if err != nil {
				t.Fatal(err)
			}
			v.b, v.fs = b, b
			t.Cleanup(func() {
				if err := b.Close(); err != nil {
					t.Error(err)
				}
				if held := counter.Held(); len(held) > 0 {
					t.Errorf("references that nobody gave back: %v", held)
				}
			})
			run(v)
		})
	}
}

func (v *view) below(kind string) vfs.FS {
	var fs interface {
		vfs.FS
		Close() error
	}
	var err error
	if kind == "hostfs" {
		fs, err = hostfs.Open(v.host, hostfs.Options{})
	} else {
		dir := v.TempDir()
		for _, d := range []string{"upper", "work"} {
			if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
				v.Fatal(err)
			}
		}
		fs, err = overlay.Open(v.ctx, overlay.Options{Lower: []string{v.host}, Upper: dir + "/upper", Work: dir + "/work"})
	}
	if err != nil {
		v.Fatal(err)
	}
	v.Cleanup(func() {
		if err := fs.Close(); err != nil {
			v.Error(err)
		}
	})
	return fs
}

// plant makes files in the host's directory, those of a name before its links.
func (v *view) plant(tree map[string]string) {
	v.Helper()
	names := make([]string, 0, len(tree))
	for name := range tree {
		names = append(names, name)
	}
	sort.Slice(names, func(i, j int) bool {
		li, lj := strings.HasPrefix(tree[names[i]], "== "), strings.HasPrefix(tree[names[j]], "== ")
		return li != lj && lj || li == lj && names[i] < names[j]
	})
	for _, name := range names {
		path := filepath.Join(v.host, name)
		text := tree[name]
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		switch {
		case err != nil:
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(path, 0o755)
		case strings.HasPrefix(text, "-> "):
			err = os.Symlink(text[3:], path)
		case strings.HasPrefix(text, "== "):
			err = os.Link(filepath.Join(v.host, text[3:]), path)
		default:
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			v.Fatal(err)
		}
	}
}

// tree returns what is on the host, with contents.
func (v *view) tree() map[string]string {
	v.Helper()
	m := map[string]string{}
	err := filepath.WalkDir(v.host, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, v.host)
		m[name] = d.Type().String()
		if d.Type().IsRegular() {
			b, err := os.ReadFile(path)
			m[name] += string(b)
			return err
		}
		return nil
	})
	if err != nil {
		v.Fatal(err)
	}
	return m
}

// walk resolves a path as a capsule's is; the target is released at the end of
// the test.
func (v *view) walk(path string, flags vfs.WalkFlags) (vfs.Target, error) {
	t, err := vfs.Walk(v.ctx, v.fs, vfs.RootID, path, flags)
	if err == nil {
		v.Cleanup(t.Release)
	}
	return t, err
}

// node returns the node at path, which must be there.
func (v *view) node(path string) vfs.NodeID {
	v.Helper()
	t, err := v.walk(path, 0)
	if err != nil || !t.Exists() {
		v.Fatalf("%s: %v", path, err)
	}
	return t.Entry.Node
}

// stat tells whether path can be looked up: nil, ENOENT, ErrHidden.
func (v *view) stat(path string) error {
	t, err := vfs.Walk(v.ctx, v.fs, vfs.RootID, path, vfs.Follow)
	if err != nil {
		return err
	}
	defer t.Release()
	if !t.Exists() {
		return syscall.ENOENT
	}
	_, err = v.fs.GetAttr(v.ctx, t.Entry.Node, nil)
	return err
}

// read returns the contents of the file at path.
func (v *view) read(path string) (string, error) {
	t, err := vfs.Walk(v.ctx, v.fs, vfs.RootID, path, vfs.Follow)
	if err != nil {
		return "", err
	}
	defer t.Release()
	if !t.Exists() {
		return "", syscall.ENOENT
	}
	h, err := v.fs.Open(v.ctx, t.Entry.Node, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer h.Close()
	buf := make([]byte, 100)
	n, err := h.ReadAt(v.ctx, buf, 0)
	return string(buf[:n]), err
}

// at splits a path whose directory must be there.
func (v *view) at(path string) (vfs.NodeID, string) {
	v.Helper()
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return vfs.RootID, path
	}
	return v.node(path[:i]), path[i+1:]
}

// kept gives the references of an entry back.
func (v *view) kept(e vfs.Entry, err error) error {
	if err == nil {
		v.fs.Forget(e.Node, 1)
	}
	return err
}

func (v *view) create(path string) error {
	dir, name := v.at(path)
	e, h, err := v.fs.Create(v.ctx, dir, name, unix.O_RDWR, 0o644)
	if err == nil {
		err = h.Close()
		v.fs.Forget(e.Node, 1)
	}
	return err
}

func (v *view) mkdir(path string) error {
	dir, name := v.at(path)
	return v.kept(v.fs.Mkdir(v.ctx, dir, name, 0o755))
}

func (v *view) rename(from, to string, flags vfs.RenameFlags) error {
	d1, n1 := v.at(from)
	d2, n2 := v.at(to)
	return v.fs.Rename(v.ctx, d1, n1, d2, n2, flags)
}

func (v *view) remove(path string) error {
	dir, name := v.at(path)
	return v.fs.Unlink(v.ctx, dir, name)
}

func (v *view) rmdir(path string) error {
	dir, name := v.at(path)
	return v.fs.Rmdir(v.ctx, dir, name)
}

func (v *view) link(from, to string) error {
	dir, name := v.at(to)
	return v.kept(v.fs.Link(v.ctx, v.node(from), dir, name))
}

// list returns the names of a directory, by both kinds of listing.
func (v *view) list(path string) string {
	v.Helper()
	h, err := v.fs.OpenDir(v.ctx, v.node(path))
	if err != nil {
		return err.Error()
	}
	defer h.Close()
	return v.listing(h)
}

func (v *view) listing(h vfs.DirHandle) string {
	v.Helper()
	var plain, plus []string
	err := h.ReadDir(v.ctx, 0, func(de vfs.DirEntry) bool {
		plain = append(plain, de.Name)
		return true
	})
	if err != nil {
		return err.Error()
	}
	// One entry at a time, as a small buffer has it.
	for off, more := uint64(0), true; more; {
		more = false
		if err := h.ReadDirPlus(v.ctx, off, func(de vfs.DirEntry, e vfs.Entry) bool {
			if more {
				return false
			}
			more, off = true, de.Off
			plus = append(plus, de.Name)
			if e.Node != 0 {
				v.fs.Forget(e.Node, 1)
			}
			return true
		}); err != nil {
			v.Error(err)
		}
	}
	sort.Strings(plain)
	sort.Strings(plus)
	if a, b := strings.Join(plain, " "), strings.Join(plus, " "); a != b {
		v.Errorf("ReadDir lists %q, ReadDirPlus %q", a, b)
	}
	return strings.TrimPrefix(strings.Join(plain, " "), ". .. ")
}

// edit changes a file of the host so that its times tell, and has it looked at.
func (v *view) edit(name, text string) {
	v.Helper()
	v.plant(map[string]string{name: text})
	v.b.Expire()
}

func (v *view) want(what string, err, want error) {
	v.Helper()
	if !errors.Is(err, want) {
		v.Errorf("%s: %v, want %v", what, err, want)
	}
}

// soon waits until cond holds.
func (v *view) soon(what string, cond func() bool) {
	v.Helper()
	for end := time.Now().Add(time.Minute); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			v.Fatalf("not in time: %s", what)
		}
	}
}
