package vfstest

import (
	"context"
	"sort"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// env is what a case works with: the filesystem, and helpers that fail the test
// where something that has to work does not.
type env struct {
	*testing.T
	cfg  *Config
	fs   vfs.FS // counted
	bare vfs.FS // as New returned it
	ctx  context.Context

	refs    []vfs.NodeID
	handles map[vfs.Handle]bool // those that are open
}

func (e *env) lacks(f Feature) bool { return e.cfg.Lacks[f] != "" }

// finish gives back what the case still holds.
func (e *env) finish() {
	for h := range e.handles {
		if err := h.Close(); err != nil {
			e.Errorf("Close: %v", err)
		}
	}
	e.forgetAll()
}

func (e *env) forgetAll() {
	for _, n := range e.refs {
		e.fs.Forget(n, 1)
	}
	e.refs = nil
}

// keep has the reference given back at the end.
func (e *env) keep(ent vfs.Entry) vfs.Entry {
	e.refs = append(e.refs, ent.Node)
	return ent
}

// entry returns what an operation made, which has to work.
func (e *env) entry(ent vfs.Entry, err error) vfs.Entry {
	e.Helper()
	if err != nil {
		e.Fatalf("unexpected error: %v (%s)", err, errName(err))
	}
	if ent.Node == 0 {
		e.Fatal("entry without a node")
	}
	return e.keep(ent)
}

// at looks up a path, "" being the root, without following symbolic links.
func (e *env) at(path string) vfs.Entry {
	e.Helper()
	ent := vfs.Entry{Node: vfs.RootID}
	if path == "" {
		ent.Attr = e.attr(vfs.RootID)
		return ent
	}
	for _, name := range strings.Split(path, "/") {
		next, err := e.fs.Lookup(e.ctx, ent.Node, name)
		if err != nil {
			e.Fatalf("Lookup %q of %q: %v (%s)", name, path, err, errName(err))
		}
		ent = e.keep(next)
	}
	return ent
}

// missing checks that there is nothing at path.
func (e *env) missing(path string) {
	e.Helper()
	i := strings.LastIndexByte(path, '/')
	_, err := e.fs.Lookup(e.ctx, e.parentOf(path), path[i+1:])
	e.want(err, syscall.ENOENT)
}

func (e *env) attr(n vfs.NodeID) vfs.Attr {
	e.Helper()
	a, err := e.fs.GetAttr(e.ctx, n, nil)
	if err != nil {
		e.Fatalf("GetAttr: %v (%s)", err, errName(err))
	}
	return a
}

func (e *env) open(n vfs.NodeID, flags int) vfs.Handle {
	e.Helper()
	h, err := e.fs.Open(e.ctx, n, flags)
	if err != nil {
		e.Fatalf("Open with %#o: %v (%s)", flags, err, errName(err))
	}
	e.handles[h] = true
	return h
}

func (e *env) close(h vfs.Handle) {
	e.Helper()
	delete(e.handles, h)
	e.ok(h.Close())
}

func (e *env) create(parent vfs.NodeID, name string, flags int, mode uint32) (vfs.Entry, vfs.Handle) {
	e.Helper()
	ent, h, err := e.fs.Create(e.ctx, parent, name, flags, mode)
	if err != nil {
		e.Fatalf("Create %q: %v (%s)", name, err, errName(err))
	}
	e.handles[h] = true
	return e.keep(ent), h
}

func (e *env) mkdir(parent vfs.NodeID, name string) vfs.Entry {
	e.Helper()
	return e.entry(e.fs.Mkdir(e.ctx, parent, name, 0755))
}

// touch makes an empty file.
func (e *env) touch(parent vfs.NodeID, name string) vfs.Entry {
	e.Helper()
	ent, h := e.create(parent, name, unix.O_RDWR, 0644)
	e.close(h)
	return ent
}

func (e *env) writeAt(h vfs.Handle, s string, off int64) {
	e.Helper()
	n, err := h.WriteAt(e.ctx, []byte(s), off)
	if err != nil || n != len(s) {
		e.Fatalf("WriteAt: %d, %v; want %d", n, err, len(s))
	}
}

// readAt checks what is at off of h, as far as it goes.
func (e *env) readAt(h vfs.Handle, off int64, want string) {
	e.Helper()
	buf := make([]byte, len(want)+16)
	n, err := h.ReadAt(e.ctx, buf, off)
	if err != nil {
		e.Fatalf("ReadAt: %v (%s)", err, errName(err))
	}
	if got := string(buf[:n]); got != want {
		e.Fatalf("read %q at %d, want %q", clip(got), off, clip(want))
	}
}

// contents checks the whole of a file.
func (e *env) contents(n vfs.NodeID, want string) {
	e.Helper()
	h := e.open(n, unix.O_RDONLY)
	defer e.close(h)
	e.readAt(h, 0, want)
	if a := e.attr(n); a.Size != int64(len(want)) {
		e.Fatalf("size is %d, want %d", a.Size, len(want))
	}
}

// ok checks that an operation worked.
func (e *env) ok(err error) {
	e.Helper()
	if err != nil {
		e.Fatalf("unexpected error: %v (%s)", err, errName(err))
	}
}

// want checks for one of some errnos.
func (e *env) want(err error, errnos ...syscall.Errno) {
	e.Helper()
	got := vfs.Errno(err)
	for _, w := range errnos {
		if got == w {
			return
		}
	}
	var names []string
	for _, w := range errnos {
		names = append(names, errName(w))
	}
	e.Fatalf("got %s (%v), want %s", errName(err), err, strings.Join(names, " or "))
}

// wantEntry checks that an operation that returns an entry failed.
func (e *env) wantEntry(ent vfs.Entry, err error, errnos ...syscall.Errno) {
	e.Helper()
	if err == nil {
		e.keep(ent)
	}
	e.want(err, errnos...)
}

func errName(err error) string {
	if err == nil {
		return "no error"
	}
	if n := unix.ErrnoName(vfs.Errno(err)); n != "" {
		return n
	}
	return err.Error()
}

func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}

// list returns the names in a directory, "." and ".." apart, sorted.
func (e *env) list(n vfs.NodeID) []string {
	e.Helper()
	d := e.openDir(n)
	var names []string
	e.ok(d.ReadDir(e.ctx, 0, func(de vfs.DirEntry) bool {
		if de.Name != "." && de.Name != ".." {
			names = append(names, de.Name)
		}
		return true
	}))
	e.ok(d.Close())
	sort.Strings(names)
	return names
}

func (e *env) openDir(n vfs.NodeID) vfs.DirHandle {
	e.Helper()
	d, err := e.fs.OpenDir(e.ctx, n)
	if err != nil {
		e.Fatalf("OpenDir: %v (%s)", err, errName(err))
	}
	return d
}

// names checks what is in a directory.
func (e *env) names(n vfs.NodeID, want ...string) {
	e.Helper()
	sort.Strings(want)
	if got := e.list(n); strings.Join(got, "\x00") != strings.Join(want, "\x00") {
		e.Fatalf("the directory has %q, want %q", got, want)
	}
}

// removed checks that nothing is listed in a directory that was removed; Linux
// says ENOENT to the listing of one.
func (e *env) removed(n vfs.NodeID) {
	e.Helper()
	d := e.openDir(n)
	e.noEntries(d)
	e.ok(d.Close())
}

func (e *env) noEntries(d vfs.DirHandle) {
	e.Helper()
	err := d.ReadDir(e.ctx, 0, func(de vfs.DirEntry) bool {
		if de.Name != "." && de.Name != ".." {
			e.Errorf("a removed directory lists %q", de.Name)
		}
		return true
	})
	e.want(err, 0, syscall.ENOENT)
}
