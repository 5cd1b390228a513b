package vfstest_test

import (
	"context"
	"os"
	"os/exec"
	"path"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/hostfs"
	"github.com/astridfs/astridfs/vfs/vfstest"
)

// faulty is a filesystem with one fault: those of its functions that are set.
type faulty struct {
	vfs.FS
	lookup   func(ctx context.Context, parent vfs.NodeID, name string) (vfs.Entry, error)
	forget   func(n vfs.NodeID, k uint64)
	getAttr  func(ctx context.Context, n vfs.NodeID, h vfs.Handle) (vfs.Attr, error)
	setAttr  func(ctx context.Context, n vfs.NodeID, h vfs.Handle, in vfs.SetAttr) (vfs.Attr, error)
	open     func(ctx context.Context, n vfs.NodeID, flags int) (vfs.Handle, error)
	mkdir    func(ctx context.Context, parent vfs.NodeID, name string, mode uint32) (vfs.Entry, error)
	symlink  func(ctx context.Context, parent vfs.NodeID, name, target string) (vfs.Entry, error)
	unlink   func(ctx context.Context, parent vfs.NodeID, name string) error
	rename   func(ctx context.Context, op vfs.NodeID, on string, np vfs.NodeID, nn string, flags vfs.RenameFlags) error
	setXattr func(ctx context.Context, n vfs.NodeID, name string, value []byte, flags int) error
	getXattr func(ctx context.Context, n vfs.NodeID, name string, dest []byte) (int, error)
	openDir  func(ctx context.Context, n vfs.NodeID) (vfs.DirHandle, error)
	watch    func(inv vfs.Invalidator) func()
}

func (f *faulty) Lookup(ctx context.Context, parent vfs.NodeID, name string) (vfs.Entry, error) {
	if f.lookup != nil {
		return f.lookup(ctx, parent, name)
	}
	return f.FS.Lookup(ctx, parent, name)
}

func (f *faulty) Forget(n vfs.NodeID, k uint64) {
	if f.forget != nil {
		f.forget(n, k)
		return
	}
	f.FS.Forget(n, k)
}

func (f *faulty) GetAttr(ctx context.Context, n vfs.NodeID, h vfs.Handle) (vfs.Attr, error) {
	if f.getAttr != nil {
		return f.getAttr(ctx, n, h)
	}
	return f.FS.GetAttr(ctx, n, h)
}

func (f *faulty) SetAttr(ctx context.Context, n vfs.NodeID, h vfs.Handle, in vfs.SetAttr) (vfs.Attr, error) {
	if f.setAttr != nil {
		return f.setAttr(ctx, n, h, in)
	}
	return f.FS.SetAttr(ctx, n, h, in)
}

func (f *faulty) Open(ctx context.Context, n vfs.NodeID, flags int) (vfs.Handle, error) {
	if f.open != nil {
		return f.open(ctx, n, flags)
	}
	return f.FS.Open(ctx, n, flags)
}

func (f *faulty) Mkdir(ctx context.Context, parent vfs.NodeID, name string, mode uint32) (vfs.Entry, error) {
	if f.mkdir != nil {
		return f.mkdir(ctx, parent, name, mode)
	}
	return f.FS.Mkdir(ctx, parent, name, mode)
}

func (f *faulty) Symlink(ctx context.Context, parent vfs.NodeID, name, target string) (vfs.Entry, error) {
	if f.symlink != nil {
		return f.symlink(ctx, parent, name, target)
	}
	return f.FS.Symlink(ctx, parent, name, target)
}

func (f *faulty) Unlink(ctx context.Context, parent vfs.NodeID, name string) error {
	if f.unlink != nil {
		return f.unlink(ctx, parent, name)
	}
	return f.FS.Unlink(ctx, parent, name)
}

func (f *faulty) Rename(ctx context.Context, op vfs.NodeID, on string, np vfs.NodeID, nn string, flags vfs.RenameFlags) error {
	if f.rename != nil {
		return f.rename(ctx, op, on, np, nn, flags)
	}
	return f.FS.Rename(ctx, op, on, np, nn, flags)
}

func (f *faulty) SetXattr(ctx context.Context, n vfs.NodeID, name string, value []byte, flags int) error {
	if f.setXattr != nil {
		return f.setXattr(ctx, n, name, value, flags)
	}
	return f.FS.SetXattr(ctx, n, name, value, flags)
}

func (f *faulty) GetXattr(ctx context.Context, n vfs.NodeID, name string, dest []byte) (int, error) {
	if f.getXattr != nil {
		return f.getXattr(ctx, n, name, dest)
	}
	return f.FS.GetXattr(ctx, n, name, dest)
}

func (f *faulty) OpenDir(ctx context.Context, n vfs.NodeID) (vfs.DirHandle, error) {
	if f.openDir != nil {
		return f.openDir(ctx, n)
	}
	return f.FS.OpenDir(ctx, n)
}

func (f *faulty) Watch(inv vfs.Invalidator) func() {
	if f.watch != nil {
		return f.watch(inv)
	}
	return f.FS.Watch(inv)
}

// faultyHandle is a handle whose functions that are set have a fault.
type faultyHandle struct {
	vfs.Handle
	readAt  func(ctx context.Context, p []byte, off int64) (int, error)
	writeAt func(ctx context.Context, p []byte, off int64) (int, error)
	close   func() error
}

func (h *faultyHandle) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if h.readAt != nil {
		return h.readAt(ctx, p, off)
	}
	return h.Handle.ReadAt(ctx, p, off)
}

func (h *faultyHandle) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	if h.writeAt != nil {
		return h.writeAt(ctx, p, off)
	}
	return h.Handle.WriteAt(ctx, p, off)
}

func (h *faultyHandle) Close() error {
	if h.close != nil {
		return h.close()
	}
	return h.Handle.Close()
}

type faultyDir struct {
	vfs.DirHandle
	readDir func(ctx context.Context, off uint64, fn func(vfs.DirEntry) bool) error
}

func (d *faultyDir) ReadDir(ctx context.Context, off uint64, fn func(vfs.DirEntry) bool) error {
	return d.readDir(ctx, off, fn)
}

// deaf passes on only some of what it is told.
type deaf struct {
	vfs.Invalidator
	noEntries, noNodes, noData bool
}

func (d *deaf) EntryChanged(ctx context.Context, parent vfs.NodeID, name string) {
	if !d.noEntries {
		d.Invalidator.EntryChanged(ctx, parent, name)
	}
}

func (d *deaf) NodeChanged(ctx context.Context, n vfs.NodeID, data bool) {
	if !d.noNodes {
		d.Invalidator.NodeChanged(ctx, n, data && !d.noData)
	}
}

// fault is a fault and the case that has to find it.
type fault struct {
	name  string
	found string
	make  func(f *faulty)
}

// onOpen has every opened handle go through wrap.
func onOpen(f *faulty, wrap func(n vfs.NodeID, flags int, h vfs.Handle) vfs.Handle) {
	f.open = func(ctx context.Context, n vfs.NodeID, flags int) (vfs.Handle, error) {
		h, err := f.FS.Open(ctx, n, flags)
		if err != nil {
			return nil, err
		}
		return wrap(n, flags, h), nil
	}
}

func faults() []fault {
	return []fault{
		{"O_TRUNC needs write access", "Open/Truncate", func(f *faulty) {
			f.open = func(ctx context.Context, n vfs.NodeID, flags int) (vfs.Handle, error) {
				if flags&unix.O_ACCMODE == unix.O_RDONLY {
					flags &^= unix.O_TRUNC
				}
				return f.FS.Open(ctx, n, flags)
			}
		}},
		{"every handle can write", "Open/AccessModes", func(f *faulty) {
			f.open = func(ctx context.Context, n vfs.NodeID, flags int) (vfs.Handle, error) {
				return f.FS.Open(ctx, n, flags&^unix.O_ACCMODE|unix.O_RDWR)
			}
		}},
		{"a handle reads what was there when it was opened", "IO/SeenByOthers", func(f *faulty) {
			onOpen(f, func(_ vfs.NodeID, flags int, h vfs.Handle) vfs.Handle {
				old := make([]byte, 100)
				n, _ := h.ReadAt(context.Background(), old, 0)
				return &faultyHandle{Handle: h, readAt: func(_ context.Context, p []byte, off int64) (int, error) {
					return copy(p, old[min(off, int64(n)):n]), nil
				}}
			})
		}},
		{"appending is a stat and a write", "IO/AppendByMany", func(f *faulty) {
			f.open = func(ctx context.Context, n vfs.NodeID, flags int) (vfs.Handle, error) {
				h, err := f.FS.Open(ctx, n, flags&^unix.O_APPEND)
				if err != nil || flags&unix.O_APPEND == 0 {
					return h, err
				}
				return &faultyHandle{Handle: h, writeAt: func(ctx context.Context, p []byte, _ int64) (int, error) {
					a, err := f.FS.GetAttr(ctx, n, nil)
					if err != nil {
						return 0, err
					}
					time.Sleep(10 * time.Microsecond) // others have their turn
					return h.WriteAt(ctx, p, a.Size)
				}}, nil
			}
		}},
		{"a write behind the end leaves no hole", "IO/ReadWrite", func(f *faulty) {
			onOpen(f, func(n vfs.NodeID, _ int, h vfs.Handle) vfs.Handle {
				return &faultyHandle{Handle: h, writeAt: func(ctx context.Context, p []byte, off int64) (int, error) {
					if a, err := f.FS.GetAttr(ctx, n, nil); err == nil {
						off = min(off, a.Size)
					}
					return h.WriteAt(ctx, p, off)
				}}
			})
		}},
		{"a handle leaks a descriptor", "Open/AccessModes", func(f *faulty) {
			onOpen(f, func(_ vfs.NodeID, _ int, h vfs.Handle) vfs.Handle {
				return &faultyHandle{Handle: h, close: func() error { return nil }}
			})
		}},
		{"NoReplace is ignored", "Rename/Matrix/NoReplace/SameDir", func(f *faulty) {
			f.rename = func(ctx context.Context, op vfs.NodeID, on string, np vfs.NodeID, nn string, flags vfs.RenameFlags) error {
				return f.FS.Rename(ctx, op, on, np, nn, flags&^vfs.NoReplace)
			}
		}},
		{"Exchange loses one of the two", "Rename/Matrix/Exchange/Across", func(f *faulty) {
			f.rename = func(ctx context.Context, op vfs.NodeID, on string, np vfs.NodeID, nn string, flags vfs.RenameFlags) error {
				return f.FS.Rename(ctx, op, on, np, nn, flags&^vfs.Exchange)
			}
		}},
		{"a rename removes its target first", "Concurrent/RenameIsAtomic", func(f *faulty) {
			f.rename = func(ctx context.Context, op vfs.NodeID, on string, np vfs.NodeID, nn string, flags vfs.RenameFlags) error {
				if flags == 0 {
					f.FS.Unlink(ctx, np, nn)
					time.Sleep(10 * time.Microsecond) // others have their turn
				}
				return f.FS.Rename(ctx, op, on, np, nn, flags)
			}
		}},
		{"a rename makes a new node", "Node/IdStaysThroughChange", func(f *faulty) {
			f.rename = func(ctx context.Context, op vfs.NodeID, on string, np vfs.NodeID, nn string, flags vfs.RenameFlags) error {
				e, err := f.FS.Lookup(ctx, op, on)
				if err != nil || !e.Attr.IsRegular() {
					return f.FS.Rename(ctx, op, on, np, nn, flags)
				}
				f.FS.Unlink(ctx, np, nn)
				n, h, err := f.FS.Create(ctx, np, nn, unix.O_RDWR, e.Attr.Mode)
				if err != nil {
					return err
				}
				h.Close()
				f.FS.Forget(n.Node, 1)
				f.FS.Forget(e.Node, 1)
				return f.FS.Unlink(ctx, op, on)
			}
		}},
		{"nothing is ever forgotten", "Node/Forget", func(f *faulty) { f.forget = func(vfs.NodeID, uint64) {} }},
		{"too much is forgotten", "Node/UnlinkedReferenced", func(f *faulty) {
			f.unlink = func(ctx context.Context, parent vfs.NodeID, name string) error {
				e, err := f.FS.Lookup(ctx, parent, name)
				if err == nil {
					f.FS.Forget(e.Node, 100)
				}
				return f.FS.Unlink(ctx, parent, name)
			}
		}},
		{"names are compared without case", "Names/Strange", func(f *faulty) {
			f.mkdir = func(ctx context.Context, parent vfs.NodeID, name string, mode uint32) (vfs.Entry, error) {
				return f.FS.Mkdir(ctx, parent, strings.ToUpper(name), mode)
			}
		}},
		{"link targets are cleaned", "Symlink", func(f *faulty) {
			f.symlink = func(ctx context.Context, parent vfs.NodeID, name, target string) (vfs.Entry, error) {
				if target != "" {
					target = path.Clean(target)
				}
				return f.FS.Symlink(ctx, parent, name, target)
			}
		}},
		{"times have no nanoseconds", "Times/Set", func(f *faulty) {
			f.setAttr = func(ctx context.Context, n vfs.NodeID, h vfs.Handle, in vfs.SetAttr) (vfs.Attr, error) {
				in.Mtime.Nsec = 0
				return f.FS.SetAttr(ctx, n, h, in)
			}
		}},
		{"SetAttr sets what is not asked for", "SetAttr/Nothing", func(f *faulty) {
			f.setAttr = func(ctx context.Context, n vfs.NodeID, h vfs.Handle, in vfs.SetAttr) (vfs.Attr, error) {
				in.Valid |= vfs.SetSize
				return f.FS.SetAttr(ctx, n, h, in)
			}
		}},
		{"an umask is applied again", "Mkdir", func(f *faulty) {
			f.mkdir = func(ctx context.Context, parent vfs.NodeID, name string, mode uint32) (vfs.Entry, error) {
				return f.FS.Mkdir(ctx, parent, name, mode&^022)
			}
		}},
		{"the link count lags behind", "Link/Count", func(f *faulty) {
			f.getAttr = func(ctx context.Context, n vfs.NodeID, h vfs.Handle) (vfs.Attr, error) {
				a, err := f.FS.GetAttr(ctx, n, h)
				if a.Nlink > 2 {
					a.Nlink--
				}
				return a, err
			}
		}},
		{"XATTR_CREATE is ignored", "Xattr", func(f *faulty) {
			f.setXattr = func(ctx context.Context, n vfs.NodeID, name string, value []byte, flags int) error {
				return f.FS.SetXattr(ctx, n, name, value, flags&^unix.XATTR_CREATE)
			}
		}},
		{"a long attribute is cut", "Xattr", func(f *faulty) {
			f.getXattr = func(ctx context.Context, n vfs.NodeID, name string, dest []byte) (int, error) {
				v := make([]byte, 1<<16)
				k, err := f.FS.GetXattr(ctx, n, name, v)
				if err != nil || len(dest) == 0 {
					return k, err
				}
				return copy(dest, v[:k]), nil
			}
		}},
		{"a listing always starts over", "ReadDir/Cookies", func(f *faulty) {
			f.openDir = func(ctx context.Context, n vfs.NodeID) (vfs.DirHandle, error) {
				d, err := f.FS.OpenDir(ctx, n)
				if err != nil {
					return nil, err
				}
				return &faultyDir{d, func(ctx context.Context, _ uint64, fn func(vfs.DirEntry) bool) error {
					return d.ReadDir(ctx, 0, fn)
				}}, nil
			}
		}},
		{"a listing is the one of the opening", "ReadDir/Rewind", func(f *faulty) {
			f.openDir = func(ctx context.Context, n vfs.NodeID) (vfs.DirHandle, error) {
				d, err := f.FS.OpenDir(ctx, n)
				if err != nil {
					return nil, err
				}
				var all []vfs.DirEntry
				d.ReadDir(ctx, 0, func(de vfs.DirEntry) bool { all = append(all, de); return true })
				return &faultyDir{d, func(ctx context.Context, off uint64, fn func(vfs.DirEntry) bool) error {
					for _, de := range all {
						if !fn(de) {
							break
						}
					}
					return nil
				}}, nil
			}
		}},
		{"a missing name is remembered", "Lookup/AppearsAfterMissing", func(f *faulty) {
			missing := map[string]bool{}
			f.lookup = func(ctx context.Context, parent vfs.NodeID, name string) (vfs.Entry, error) {
				if missing[name] {
					return vfs.Entry{}, syscall.ENOENT
				}
				e, err := f.FS.Lookup(ctx, parent, name)
				missing[name] = err != nil
				return e, err
			}
		}},
		{"nobody is told of names", "Watch/Names", func(f *faulty) {
			f.watch = func(inv vfs.Invalidator) func() { return f.FS.Watch(&deaf{Invalidator: inv, noEntries: true}) }
		}},
		{"nobody is told of nodes", "Watch/Contents", func(f *faulty) {
			f.watch = func(inv vfs.Invalidator) func() { return f.FS.Watch(&deaf{Invalidator: inv, noNodes: true}) }
		}},
		{"nobody is told of contents", "Watch/Contents", func(f *faulty) {
			f.watch = func(inv vfs.Invalidator) func() { return f.FS.Watch(&deaf{Invalidator: inv, noData: true}) }
		}},
		{"one is told of one's own changes", "Watch/NotOfOnesOwn", func(f *faulty) {
			f.watch = func(inv vfs.Invalidator) func() { return f.FS.Watch(&deaf{Invalidator: inv}) }
		}},
	}
}

const faultVariable = "VFSTEST_FAULT"

// TestFaultsAreFound makes sure that the suite notices faults: it runs the case
// that has to find each in a process of its own, which has to fail.
func TestFaultsAreFound(t *testing.T) {
	for _, f := range faults() {
		t.Run(f.name, func(t *testing.T) {
			pattern := "^TestWithFault$/^" + strings.ReplaceAll(f.found, "/", "$/^") + "$"
			cmd := exec.Command(os.Args[0], "-test.run", pattern, "-test.v")
			cmd.Env = append(os.Environ(), faultVariable+"="+f.name)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--- FAIL: TestWithFault/"+f.found) {
				t.Errorf("%s does not find it: %v\n%s", f.found, err, out)
			}
		})
	}
}

// TestWithFault runs the suite with the fault that the environment names.
func TestWithFault(t *testing.T) {
	name := os.Getenv(faultVariable)
	for _, f := range faults() {
		if f.name != name {
			continue
		}
		vfstest.Run(t, vfstest.Config{New: func(t *testing.T) vfs.FS {
			host, err := hostfs.Open(t.TempDir(), hostfs.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { host.Close() })
			fs := &faulty{FS: host}
			f.make(fs)
			return fs
		}})
	}
}
