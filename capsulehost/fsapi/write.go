package fsapi

import (
	"context"
	"errors"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/capsulehost/view"
	"github.com/astridfs/astridfs/vfs"
)

// WriteFile makes data the contents of a file, which it creates if it is not
// there, in one step: a failure leaves the old contents, or no file.
//
// Errnos: EFBIG (data is over MaxFile), EISDIR, ENXIO (a fifo, socket or
// device), EDQUOT, ENOSPC.
func (f *FS) WriteFile(ctx context.Context, path string, data []byte) error {
	return f.put(ctx, path, len(data), func(t *view.Target) error {
		size := int64(len(data))
		return f.deliver(ctx, t, fileMode, source{
			size: size,
			fill: func(ctx context.Context, h vfs.Handle, _ bool) (int64, error) {
				_, err := h.WriteAt(ctx, data, 0)
				return size, err
			},
		})
	})
}

// Append writes data at the end of a file, which it creates if it is not there.
// Appends never overwrite each other.
//
// Errnos: as WriteFile.
func (f *FS) Append(ctx context.Context, path string, data []byte) error {
	_, h, err := f.open(ctx, path, vfs.Write, opening{
		flags:  unix.O_WRONLY | unix.O_APPEND,
		create: true,
		size:   len(data),
		count:  true,
	})
	if err != nil {
		return err
	}
	n, err := h.WriteAt(ctx, data, 0)
	f.view.Quota.GiveBytes(uint64(len(data) - n))
	return errors.Join(err, h.Close())
}

// put resolves the path of a file that is to get new contents and calls do,
// again as long as others change the place meanwhile. size is that of the
// contents, where the guest gave them.
func (f *FS) put(ctx context.Context, path string, size int, do func(*view.Target) error) error {
	for range races {
		t, err := f.view.Resolve(ctx, path, vfs.Follow, vfs.Write)
		if err != nil {
			return err
		}
		if err = f.openable(&t.Target, opening{create: true, size: size}); err == nil {
			err = do(&t)
		}
		existed := t.Exists()
		t.Release()
		if !again(existed, err) {
			return err
		}
	}
	return syscall.EAGAIN
}

// A source is the new contents of a file.
type source struct {
	size  int64 // bytes, as far as known beforehand
	chmod bool  // a file that is there gets the permission bits of a new one, too

	// fill writes the contents to h and returns how long they are. In a fresh
	// file everything that is not written is zeros.
	fill func(ctx context.Context, h vfs.Handle, fresh bool) (int64, error)
}

// deliver puts new contents at t: into a nameless file first, which then gets
// the name or replaces what the file there holds, or, in its place, the file.
// The contents count against the quota if that succeeds.
//
// Errnos: EEXIST if t was free and is no more.
func (f *FS) deliver(ctx context.Context, t *view.Target, mode uint32, src source) (err error) {
	if err := f.view.Quota.TakeBytes(uint64(src.size)); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.view.Quota.GiveBytes(uint64(src.size))
		}
	}()
	e, tmp, err := t.FS.Tmpfile(ctx, t.Parent, unix.O_RDWR, mode)
	if errors.Is(err, syscall.EOPNOTSUPP) || t.Exists() && err == syscall.EACCES {
		return f.deliverPlain(ctx, t, mode, src) // a directory that is not to be written to, too
	}
	if err != nil {
		return err
	}
	defer t.FS.Forget(e.Node, 1)
	defer func() { err = errors.Join(err, tmp.Close()) }()
	if err := setBits(ctx, t.FS, &e, tmp, mode); err != nil {
		return err
	}
	size, err := src.fill(ctx, tmp, true)
	if err != nil {
		return err
	}
	if !t.Exists() {
		return f.link(ctx, t, e.Node)
	}
	err = t.FS.Replace(ctx, t.Entry.Node, tmp)
	if errors.Is(err, syscall.EOPNOTSUPP) {
		// From the nameless file, which is whole: whatever could fail or wait
		// where the contents come from has not, and nothing was lost by then.
		src.size, src.fill = size, func(ctx context.Context, h vfs.Handle, _ bool) (int64, error) {
			return size, copyData(ctx, tmp, h, size, false)
		}
		return f.overwrite(ctx, t, mode, src)
	}
	if err != nil || !src.chmod {
		return err
	}
	// Its place may have been taken, instead of its contents.
	if a, err := t.FS.GetAttr(ctx, t.Entry.Node, nil); err == nil && a.Nlink == 0 {
		return chmod(ctx, t, e.Node, tmp, mode)
	}
	return chmod(ctx, t, t.Entry.Node, nil, mode)
}

// chmod gives node, which holds what t held or is to hold, the permission bits
// mode.
func chmod(ctx context.Context, t *view.Target, node vfs.NodeID, h vfs.Handle, mode uint32) error {
	if t.Entry.Attr.Mode&0o777 == mode {
		return nil
	}
	_, err := t.FS.SetAttr(ctx, node, h, vfs.SetAttr{Valid: vfs.SetMode, Mode: t.Entry.Attr.Mode&0o1000 | mode})
	return err
}

// deliverPlain is deliver on a filesystem without nameless files. A new file
// that could not be written whole is removed again.
func (f *FS) deliverPlain(ctx context.Context, t *view.Target, mode uint32, src source) error {
	if t.Exists() {
		return f.overwrite(ctx, t, mode, src)
	}
	if err := f.view.Quota.TakeFile(); err != nil {
		return err
	}
	e, h, err := t.FS.Create(ctx, t.Parent, t.Name, unix.O_RDWR, mode)
	if err != nil {
		f.view.Quota.GiveFile()
		return err
	}
	defer t.FS.Forget(e.Node, 1)
	if err = setBits(ctx, t.FS, &e, h, mode); err == nil {
		_, err = src.fill(ctx, h, true)
	}
	if err = errors.Join(err, h.Close()); err != nil {
		f.view.Quota.GiveFile()
		err = errors.Join(err, t.FS.Unlink(ctx, t.Parent, t.Name))
	}
	return err
}

// overwrite writes new contents over those of an existing file where it cannot
// be done in one step. Space is taken beforehand, so that running out of it,
// the likely failure, comes before the first byte is lost; after that, it goes on
// to the end though the caller gives up.
func (f *FS) overwrite(ctx context.Context, t *view.Target, mode uint32, src source) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	h, err := t.FS.Open(ctx, t.Entry.Node, unix.O_RDWR)
	if err != nil {
		return err
	}
	if src.size > 0 {
		err = h.Allocate(ctx, unix.FALLOC_FL_KEEP_SIZE, 0, src.size)
		if errors.Is(err, syscall.EOPNOTSUPP) {
			err = nil
		}
	}
	var size int64
	if err == nil {
		size, err = src.fill(ctx, h, false)
	}
	if err == nil {
		_, err = t.FS.SetAttr(ctx, t.Entry.Node, h, vfs.SetAttr{Valid: vfs.SetSize, Size: size})
	}
	if err == nil && src.chmod {
		err = chmod(ctx, t, t.Entry.Node, h, mode)
	}
	return errors.Join(err, h.Close())
}
