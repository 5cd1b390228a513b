package vfstest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// The cases here use e.fs directly: e's own helpers are for one goroutine.

const (
	workers = 8
	rounds  = 150
)

// allowed fails the test unless err is nil or one of the errnos.
func (e *env) allowed(what string, err error, errnos ...syscall.Errno) bool {
	got := vfs.Errno(err)
	for _, w := range errnos {
		if got == w {
			return false
		}
	}
	if err != nil {
		e.Errorf("%s: %s (%v)", what, errName(err), err)
		return false
	}
	return true
}

// together runs f in goroutines and waits for them.
func together(f func(worker int)) {
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() { f(w) })
	}
	wg.Wait()
}

func concurrentCases() []testCase {
	var names Tree
	for i := range 6 {
		names = append(names, file(fmt.Sprintf("f%d", i), fmt.Sprintf("f%d", i)))
	}
	return []testCase{
		{"Concurrent/OneCreatorWins", nil, func(e *env) {
			for round := range rounds {
				var won atomic.Int32
				name := fmt.Sprintf("f%d", round)
				together(func(w int) {
					var ent vfs.Entry
					var h vfs.Handle
					var err error
					switch w % 4 {
					case 0:
						ent, err = e.fs.Mkdir(e.ctx, vfs.RootID, name, 0755)
					case 1:
						ent, err = e.fs.Symlink(e.ctx, vfs.RootID, name, "t")
					default:
						ent, h, err = e.fs.Create(e.ctx, vfs.RootID, name, unix.O_RDWR, 0644)
					}
					if e.allowed("create", err, syscall.EEXIST) {
						won.Add(1)
						e.fs.Forget(ent.Node, 1)
						if h != nil {
							h.Close()
						}
					}
				})
				if won.Load() != 1 {
					e.Fatalf("%d made %s", won.Load(), name)
				}
			}
		}},
		{"Concurrent/OneRemoverWins", names, func(e *env) {
			for i := range 6 {
				var won atomic.Int32
				together(func(int) {
					if e.allowed("Unlink", e.fs.Unlink(e.ctx, vfs.RootID, fmt.Sprintf("f%d", i)), syscall.ENOENT) {
						won.Add(1)
					}
				})
				if won.Load() != 1 {
					e.Fatalf("%d removed it", won.Load())
				}
			}
		}},
		{"Concurrent/RenameIsAtomic", Tree{file("a", "aaaa"), file("b", "bbbb"), dir("d")}, renameIsAtomic},
		{"Concurrent/ReachedWhileRenamed", Tree{dir("d"), dir("e"), file("d/f", "x"), dir("d/s"), file("d/s/g", "y")}, reachedWhileRenamed},
		{"Concurrent/Churn", Tree{dir("d0"), dir("d1"), dir("d0/s"), file("d0/n0", "n0"), file("d1/n1", "n1"), file("d0/s/n2", "n2")}, churn},
		{"Concurrent/TmpfileWhileClosed", nil, func(e *env) {
			if e.lacks(Tmpfile) {
				return // Tmpfile has checked what is promised then
			}
			// The node stays good while its handles go.
			for i := range rounds {
				ent, h := e.tmpfile(vfs.RootID, "abc")
				second := e.open(ent.Node, unix.O_RDONLY)
				delete(e.handles, h)
				delete(e.handles, second)
				var wg sync.WaitGroup
				wg.Go(func() { e.allowed("Close", h.Close()) })
				wg.Go(func() { e.allowed("Close", second.Close()) })
				wg.Go(func() {
					a, err := e.fs.GetAttr(e.ctx, ent.Node, nil)
					if e.allowed("GetAttr", err) && a.Size != 3 {
						e.Errorf("its size is %d", a.Size)
					}
				})
				wg.Go(func() {
					if _, err := e.fs.Link(e.ctx, ent.Node, vfs.RootID, fmt.Sprint("f", i)); e.allowed("Link", err) {
						e.fs.Forget(ent.Node, 1)
					}
				})
				wg.Wait()
				e.contents(e.at(fmt.Sprint("f", i)).Node, "abc")
			}
		}},
		{"Concurrent/FirstWrite", Tree{file("f", strings.Repeat("0", 8*rounds))}, func(e *env) {
			// Many writers make the file's first change at once, to bytes of
			// their own, through handles of their own; none may be lost.
			f := e.at("f").Node
			together(func(w int) {
				h, err := e.fs.Open(e.ctx, f, unix.O_RDWR)
				if !e.allowed("Open", err) {
					return
				}
				for i := range rounds {
					_, err := h.WriteAt(e.ctx, []byte{byte('a' + w)}, int64(i*8+w))
					e.allowed("WriteAt", err)
				}
				e.allowed("Close", h.Close())
			})
			e.contents(f, strings.Repeat("abcdefgh", rounds))
		}},
		{"Concurrent/Cancelled", Tree{file("f", "0123")}, func(e *env) {
			// A cancelled operation is done or not done, nothing between.
			ctx, cancel := context.WithCancel(e.ctx)
			cancel()
			f := e.at("f").Node
			_, err := e.fs.SetAttr(ctx, f, nil, vfs.SetAttr{Valid: vfs.SetSize, Size: 2})
			if e.allowed("SetAttr", err, syscall.EINTR) {
				e.contents(f, "01")
			} else {
				e.contents(f, "0123")
			}
			err = e.fs.Rename(ctx, vfs.RootID, "f", vfs.RootID, "g", 0)
			if e.allowed("Rename", err, syscall.EINTR) {
				e.names(vfs.RootID, "g")
			} else {
				e.names(vfs.RootID, "f")
			}
		}},
	}
}

// closed tells whether done was closed.
func closed(done chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// renameIsAtomic replaces a name over and over while others look it up: it is
// never missing, and holds one of the two contents, whole.
func renameIsAtomic(e *env) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for !closed(done) {
				ent, err := e.fs.Lookup(e.ctx, vfs.RootID, "a")
				if !e.allowed("Lookup", err) {
					return
				}
				h, err := e.fs.Open(e.ctx, ent.Node, unix.O_RDONLY)
				if e.allowed("Open", err) {
					buf := make([]byte, 8)
					n, err := h.ReadAt(e.ctx, buf, 0)
					if e.allowed("ReadAt", err) && string(buf[:n]) != "aaaa" && string(buf[:n]) != "bbbb" {
						e.Errorf("read %q", buf[:n])
					}
					e.allowed("Close", h.Close())
				}
				a, err := e.fs.GetAttr(e.ctx, ent.Node, nil)
				if e.allowed("GetAttr", err) && a.Size != 4 {
					e.Errorf("size is %d", a.Size)
				}
				e.fs.Forget(ent.Node, 1)
			}
		})
	}
	for i := range rounds {
		ent, h, err := e.fs.Create(e.ctx, vfs.RootID, "tmp", unix.O_WRONLY, 0644)
		if !e.allowed("Create", err) {
			break
		}
		_, err = h.WriteAt(e.ctx, []byte(strings.Repeat(string("ab"[i%2]), 4)), 0)
		e.allowed("WriteAt", err)
		e.allowed("Close", h.Close())
		e.fs.Forget(ent.Node, 1)
		e.allowed("Rename", e.fs.Rename(e.ctx, vfs.RootID, "tmp", vfs.RootID, "a", 0))
		e.allowed("Exchange", e.fs.Rename(e.ctx, vfs.RootID, "a", vfs.RootID, "b", vfs.Exchange))
	}
	close(done)
	wg.Wait()
}

// reachedWhileRenamed uses nodes by id while they and the directories above get
// other names: that must never show.
func reachedWhileRenamed(e *env) {
	f, g, d, dir2 := e.at("d/f").Node, e.at("d/s/g").Node, e.at("d").Node, e.at("e").Node
	done := make(chan struct{})
	var wg sync.WaitGroup
	for _, n := range []vfs.NodeID{f, g} {
		for range 2 {
			wg.Go(func() {
				for once := true; once || !closed(done); once = false {
					_, err := e.fs.GetAttr(e.ctx, n, nil)
					e.allowed("GetAttr", err)
					_, err = e.fs.SetAttr(e.ctx, n, nil, vfs.SetAttr{Valid: vfs.SetMtimeNow})
					e.allowed("SetAttr", err)
					h, err := e.fs.Open(e.ctx, n, unix.O_RDWR)
					if e.allowed("Open", err) {
						_, err = h.WriteAt(e.ctx, []byte("z"), 0)
						e.allowed("WriteAt", err)
						e.allowed("Close", h.Close())
					}
					if _, err = e.fs.Path(e.ctx, n); err != nil {
						e.Errorf("Path: %v", err)
					}
				}
			})
		}
	}
	for range rounds {
		e.allowed("Rename", e.fs.Rename(e.ctx, d, "f", d, "f2", 0))
		e.allowed("Rename", e.fs.Rename(e.ctx, d, "f2", dir2, "f", 0))
		e.allowed("Rename", e.fs.Rename(e.ctx, dir2, "f", d, "f", 0))
		e.allowed("Rename", e.fs.Rename(e.ctx, vfs.RootID, "d", dir2, "d", 0))
		e.allowed("Rename", e.fs.Rename(e.ctx, dir2, "d", vfs.RootID, "d", 0))
		e.allowed("Rename", e.fs.Rename(e.ctx, d, "s", dir2, "s", 0))
		e.allowed("Rename", e.fs.Rename(e.ctx, dir2, "s", d, "s", 0))
	}
	close(done)
	wg.Wait()
	e.contents(f, "z")
	e.contents(g, "z")
}

// churn has many goroutines do everything to a few names. Then the tree has to
// be sound: what is listed can be looked up, and all of it can be removed.
func churn(e *env) {
	dirs := []vfs.NodeID{e.at("d0").Node, e.at("d1").Node, e.at("d0/s").Node}
	races := []syscall.Errno{syscall.ENOENT, syscall.EEXIST, syscall.ENOTEMPTY, syscall.EISDIR, syscall.ENOTDIR, syscall.ESTALE, syscall.EINVAL, syscall.ELOOP, syscall.ENXIO, syscall.EPERM}
	together(func(w int) {
		rnd := rand.New(rand.NewPCG(1, uint64(w)))
		name := func() string { return fmt.Sprintf("n%d", rnd.IntN(6)) }
		dir := func() vfs.NodeID { return dirs[rnd.IntN(len(dirs))] }
		for range rounds {
			switch rnd.IntN(9) {
			case 0:
				ent, h, err := e.fs.Create(e.ctx, dir(), name(), unix.O_RDWR, 0644)
				if e.allowed("Create", err, races...) {
					_, err = h.WriteAt(e.ctx, []byte("data"), 0)
					e.allowed("WriteAt", err)
					e.allowed("Close", h.Close())
					e.fs.Forget(ent.Node, 1)
				}
			case 1:
				e.allowed("Unlink", e.fs.Unlink(e.ctx, dir(), name()), races...)
			case 2:
				flags := []vfs.RenameFlags{0, 0, vfs.NoReplace, vfs.Exchange}[rnd.IntN(4)]
				e.allowed("Rename", e.fs.Rename(e.ctx, dir(), name(), dir(), name(), flags), races...)
			case 3:
				ent, err := e.fs.Mkdir(e.ctx, dir(), name(), 0755)
				if e.allowed("Mkdir", err, races...) {
					e.fs.Forget(ent.Node, 1)
				}
			case 4:
				e.allowed("Rmdir", e.fs.Rmdir(e.ctx, dir(), name()), races...)
			case 5, 6:
				ent, err := e.fs.Lookup(e.ctx, dir(), name())
				if !e.allowed("Lookup", err, races...) {
					break
				}
				if ent.Attr.IsRegular() {
					h, err := e.fs.Open(e.ctx, ent.Node, unix.O_RDWR)
					if e.allowed("Open", err, races...) {
						_, err = h.ReadAt(e.ctx, make([]byte, 10), 0)
						e.allowed("ReadAt", err)
						_, err = h.WriteAt(e.ctx, []byte("d"), 0)
						e.allowed("WriteAt", err)
						e.allowed("Close", h.Close())
					}
				}
				_, err = e.fs.GetAttr(e.ctx, ent.Node, nil)
				e.allowed("GetAttr", err) // it is referred to, whatever its names
				if rnd.IntN(2) == 0 {
					l, err := e.fs.Link(e.ctx, ent.Node, dir(), name())
					if e.allowed("Link", err, races...) {
						e.fs.Forget(l.Node, 1)
					}
				}
				e.fs.Forget(ent.Node, 1)
			case 7:
				d, err := e.fs.OpenDir(e.ctx, dir())
				if e.allowed("OpenDir", err, races...) {
					e.allowed("ReadDirPlus", d.ReadDirPlus(e.ctx, 0, func(_ vfs.DirEntry, ent vfs.Entry) bool {
						if ent.Node != 0 {
							e.fs.Forget(ent.Node, 1)
						}
						return true
					}))
					e.allowed("Close", d.Close())
				}
			case 8:
				from, to := rnd.IntN(2), rnd.IntN(2)
				e.allowed("Rename", e.fs.Rename(e.ctx, dirs[from], "s", dirs[to], "s", 0), races...)
			}
		}
	})
	for _, d := range dirs[:2] {
		e.removeAll(d)
	}
	e.ok(e.fs.Rmdir(e.ctx, vfs.RootID, "d0"))
	e.ok(e.fs.Rmdir(e.ctx, vfs.RootID, "d1"))
}

// removeAll empties a directory.
func (e *env) removeAll(n vfs.NodeID) {
	e.Helper()
	for _, name := range e.list(n) {
		ent, err := e.fs.Lookup(e.ctx, n, name)
		e.entry(ent, err)
		if ent.Attr.IsDir() {
			e.removeAll(ent.Node)
			e.ok(e.fs.Rmdir(e.ctx, n, name))
		} else {
			e.ok(e.fs.Unlink(e.ctx, n, name))
		}
	}
}
