package boundary

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/boundary/ignore"
	"github.com/astridfs/astridfs/vfs"
)

// ownFile is what is known of the ignore file of one directory. It is immutable.
type ownFile struct {
	list  *ignore.List // nil: no file, or no rules in it
	stamp stamp
	err   error // why the file can't be used; list hides everything then
}

// stamp tells whether a file is still what was read; zero if none was there, or
// if it changed too shortly before to tell.
type stamp struct {
	ino          uint64
	size         int64
	mtime, ctime vfs.Timespec
}

// settle is how long after a change the next one surely has another time: more
// than the tick of the host's clock for files.
const settle = 100 * time.Millisecond

func stampOf(a *vfs.Attr) stamp {
	return stamp{ino: a.Ino, size: a.Size, mtime: a.Mtime, ctime: a.Ctime}
}

// after tells whether the file was changed after t.
func (s stamp) after(t vfs.Timespec) bool {
	return s.ctime.Sec > t.Sec || s.ctime.Sec == t.Sec && s.ctime.Nsec > t.Nsec
}

// load reads the ignore file of the directory node, which is at path; known is
// what it was when it was read last, or nil.
//
// Errors: those of Lookup, whereupon nothing else could be found in the
// directory either; EINTR.
func (f *FS) load(ctx context.Context, node vfs.NodeID, path string, known *ownFile) (o *ownFile, err error) {
	for range 16 {
		o, err = f.loadOnce(ctx, node, path, known)
		if err != nil {
			return nil, err
		}
		switch vfs.Errno(o.err) {
		case syscall.ESTALE, syscall.ENOENT: // another file took its place meanwhile
		case syscall.EINTR:
			return nil, o.err
		default:
			return o, nil
		}
	}
	return o, nil
}

func (f *FS) loadOnce(ctx context.Context, node vfs.NodeID, path string, known *ownFile) (*ownFile, error) {
	e, err := f.FS.Lookup(ctx, node, ignore.FileName)
	if vfs.Errno(err) == syscall.ENOENT {
		return &ownFile{}, nil
	}
	if err != nil {
		return nil, err
	}
	file := ignore.FileName
	if path != "" {
		file = path + "/" + ignore.FileName
	}
	defer f.FS.Forget(e.Node, 1)
	st := stampOf(&e.Attr)
	if known != nil && known.err == nil && known.stamp == st {
		return known, nil
	}
	if st.after(vfs.TimespecOf(time.Now().Add(-settle))) {
		st = stamp{ctime: st.ctime}
	}
	text, err := f.read(ctx, &e)
	if err != nil {
		return &ownFile{list: f.closed, stamp: st, err: fmt.Errorf("%s: %w", file, err)}, nil
	}
	list, err := ignore.Parse(file, text)
	if err != nil {
		return &ownFile{list: f.closed, stamp: st, err: err}, nil
	}
	return &ownFile{list: list, stamp: st}, nil
}

// read returns the contents of an ignore file, up to one byte more than it may
// have.
func (f *FS) read(ctx context.Context, e *vfs.Entry) (text []byte, err error) {
	if !e.Attr.IsRegular() {
		return nil, fmt.Errorf("not a regular file: %w", syscall.EINVAL)
	}
	h, err := f.FS.Open(ctx, e.Node, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer func() {
		if cerr := h.Close(); err == nil {
			err = cerr
		}
	}()
	buf := make([]byte, min(max(e.Attr.Size, 0), ignore.MaxFileSize)+1)
	for len(text) <= ignore.MaxFileSize {
		n, err := h.ReadAt(ctx, buf[:min(len(buf), ignore.MaxFileSize+1-len(text))], int64(len(text)))
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
		text = append(text, buf[:n]...)
	}
	return text, nil
}
