package fsapi

import (
	"context"
	"errors"
	"math"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/capsulehost/view"
	"github.com/astridfs/astridfs/vfs"
)

// A handle is a slot of the table. Its id holds the slot's number in the low
// bits and a generation above them, so that the id of a closed handle does not
// come to mean a later one.
type handle struct {
	file vfs.Handle // nil: the slot is free
	fs   vfs.FS
	mode OpenMode
	gen  uint32
}

const (
	slotBits = 4
	maxGen   = math.MaxInt32 >> slotBits
)

// Compile-time proof that the slot's number fits its bits.
var _ [1<<slotBits - MaxHandles]struct{}

// free returns the number of a free slot, or EMFILE.
func (f *FS) free() (int, error) {
	for i := range f.handles {
		if f.handles[i].file == nil {
			return i, nil
		}
	}
	return 0, syscall.EMFILE
}

// get returns the live handle with this id, or EBADF.
func (f *FS) get(id uint32) (*handle, error) {
	h := &f.handles[id&(1<<slotBits-1)]
	if h.file == nil || h.gen != id>>slotBits {
		return nil, syscall.EBADF
	}
	return h, nil
}

// Open opens a regular file and returns the id of its handle, which is never
// zero. ModeRead needs read access, the others write access.
//
// Errnos: EMFILE (16 are open), EISDIR, ENXIO (a fifo, socket or device),
// EDQUOT.
func (f *FS) Open(ctx context.Context, path string, mode OpenMode) (uint32, error) {
	if !mode.Valid() {
		return 0, syscall.EINVAL
	}
	want := vfs.Write
	if mode == ModeRead {
		want = vfs.Read
	}
	o := opening{flags: openFlags(mode), create: mode == ModeWrite || mode == ModeAppend, handles: true}
	fs, file, err := f.open(ctx, path, want, o)
	if err != nil {
		return 0, err
	}
	i, err := f.free()
	if err != nil { // open has looked: only a second call at a time gets here
		return 0, errors.Join(err, file.Close())
	}
	h := &f.handles[i]
	if h.gen++; h.gen > maxGen {
		h.gen = 1
	}
	h.file, h.fs, h.mode = file, fs, mode
	return h.gen<<slotBits | uint32(i), nil
}

func openFlags(mode OpenMode) int {
	switch mode {
	case ModeWrite:
		return unix.O_WRONLY | unix.O_TRUNC
	case ModeAppend:
		return unix.O_WRONLY | unix.O_APPEND
	case ModeReadWrite:
		return unix.O_RDWR
	}
	return unix.O_RDONLY
}

// opening says how open opens.
type opening struct {
	flags   int
	create  bool // make a file where none is
	handles bool // the result takes a slot, so one must be free
	size    int  // bytes of a whole file that are to be written
	count   bool // those count against the quota, unless opening fails
}

// open walks to a regular file and opens it, or makes it. The caller closes the
// handle.
func (f *FS) open(ctx context.Context, path string, want vfs.Access, o opening) (vfs.FS, vfs.Handle, error) {
	for range races {
		t, err := f.view.Resolve(ctx, path, vfs.Follow, want)
		if err != nil {
			return nil, nil, err
		}
		var h vfs.Handle
		if err = f.openable(&t.Target, o); err == nil {
			h, err = f.openAt(ctx, &t, o)
		}
		existed := t.Exists()
		t.Release()
		if err == nil {
			return t.FS, h, nil
		}
		if !again(existed, err) {
			return nil, nil, err
		}
	}
	return nil, nil, syscall.EAGAIN
}

// openAt opens what is at t, or makes it.
func (f *FS) openAt(ctx context.Context, t *view.Target, o opening) (h vfs.Handle, err error) {
	if o.count {
		if err := f.view.Quota.TakeBytes(uint64(o.size)); err != nil {
			return nil, err
		}
		defer func() {
			if err != nil {
				f.view.Quota.GiveBytes(uint64(o.size))
			}
		}()
	}
	if t.Exists() {
		return t.FS.Open(ctx, t.Entry.Node, o.flags)
	}
	return f.create(ctx, t.FS, t.Parent, t.Name, o.flags&^unix.O_TRUNC)
}

// again tells whether a call failed because another changed the place between
// its walk and its effect: made a file where none was, or replaced it on the
// host.
func again(existed bool, err error) bool {
	return !existed && errors.Is(err, syscall.EEXIST) || existed && errors.Is(err, syscall.ESTALE)
}

// openable tells whether open may go on to its effect.
func (f *FS) openable(t *vfs.Target, o opening) error {
	switch {
	case !t.Exists() && !o.create:
		return syscall.ENOENT
	case !t.Exists() && t.MustBeDir, t.Exists() && t.Entry.Attr.IsDir():
		return syscall.EISDIR
	case t.Exists() && !t.Entry.Attr.IsRegular():
		return syscall.ENXIO
	case o.size > MaxFile:
		return syscall.EFBIG
	}
	if o.handles {
		_, err := f.free()
		return err
	}
	return nil
}

// create makes a regular file and counts its name. An existing name is EEXIST.
func (f *FS) create(ctx context.Context, fs vfs.FS, parent vfs.NodeID, name string, flags int) (vfs.Handle, error) {
	if err := f.view.Quota.TakeFile(); err != nil {
		return nil, err
	}
	e, h, err := fs.Create(ctx, parent, name, flags, fileMode)
	if err != nil {
		f.view.Quota.GiveFile()
		return nil, err
	}
	defer fs.Forget(e.Node, 1) // the handle holds the node
	if err := setBits(ctx, fs, &e, h, fileMode); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// Drop closes a handle. Its error is EBADF for an id that is not live, or that
// of a delayed write.
func (f *FS) Drop(id uint32) error {
	h, err := f.get(id)
	if err != nil {
		return err
	}
	file := h.file
	h.file, h.fs = nil, nil
	return file.Close()
}

// OpenHandles returns how many handles the guest holds.
func (f *FS) OpenHandles() int {
	n := 0
	for i := range f.handles {
		if f.handles[i].file != nil {
			n++
		}
	}
	return n
}

// Close closes every handle that the guest left open.
func (f *FS) Close() error {
	var errs []error
	for i := range f.handles {
		if file := f.handles[i].file; file != nil {
			f.handles[i].file, f.handles[i].fs = nil, nil
			errs = append(errs, file.Close())
		}
	}
	return errors.Join(errs...)
}
