package fusefs

import (
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/astridfs/astridfs/vfs"
)

// OpenDir opens a directory. Its listing may come from the kernel's cache of an
// earlier one, if nothing changed it since.
func (r *rawFS) OpenDir(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	ctx, id := r.request(cancel, &in.InHeader), vfs.NodeID(in.NodeId)
	d, err := r.fs.OpenDir(ctx, id)
	if err != nil {
		return status(err)
	}
	n := r.nodes.open(id)
	volatile := n.volatile.Load()
	var a *vfs.Attr
	if volatile {
		if got, err := r.fs.GetAttr(ctx, id, nil); err == nil {
			a = &got
		}
	}
	out.OpenFlags = fuse.FOPEN_CACHE_DIR
	n.mu.Lock()
	if r.keepLocked(n, volatile, a) {
		out.OpenFlags |= fuse.FOPEN_KEEP_CACHE
	}
	n.mu.Unlock()
	out.Fh = r.handles.add(&handle{node: n, dir: d})
	return fuse.OK
}

func (r *rawFS) dir(id uint64) vfs.DirHandle {
	if h := r.handles.get(id); h != nil {
		return h.dir
	}
	return nil
}

// ReadDir lists names.
func (r *rawFS) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	d := r.dir(in.Fh)
	if d == nil {
		return fuse.EBADF
	}
	r.notify.answers.begin()
	defer r.notify.answers.end()
	err := d.ReadDir(r.request(cancel, &in.InHeader), in.Offset, func(e vfs.DirEntry) bool {
		return out.AddDirEntry(fuse.DirEntry{Name: e.Name, Ino: e.Ino, Mode: e.Type, Off: e.Off})
	})
	return listed(err, out)
}

// ReadDirPlus lists names with what a lookup of each would answer.
func (r *rawFS) ReadDirPlus(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	d := r.dir(in.Fh)
	if d == nil {
		return fuse.EBADF
	}
	r.notify.answers.begin()
	defer r.notify.answers.end()
	err := d.ReadDirPlus(r.request(cancel, &in.InHeader), in.Offset, func(de vfs.DirEntry, e vfs.Entry) bool {
		if e.Node != 0 {
			de.Ino, de.Type = e.Attr.Ino, e.Attr.Mode
		}
		eo := out.AddDirLookupEntry(fuse.DirEntry{Name: de.Name, Ino: de.Ino, Mode: de.Type, Off: de.Off})
		if eo == nil {
			return false
		}
		if e.Node != 0 {
			r.entry(&e, eo)
		}
		return true
	})
	return listed(err, out)
}

// listed answers a listing. References went out with the entries that are in
// the reply, so an error that came after them must wait: the kernel asks again
// from there.
func listed(err error, out *fuse.DirEntryList) fuse.Status {
	if len(out.Bytes()) > 0 {
		return fuse.OK
	}
	return status(err)
}

// ReleaseDir is the end of an open directory.
func (r *rawFS) ReleaseDir(in *fuse.ReleaseIn) {
	r.stats.requests.Add(1)
	if h := r.handles.remove(in.Fh); h != nil {
		r.release(h)
	}
}

// FsyncDir makes a directory durable.
func (r *rawFS) FsyncDir(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	d := r.dir(in.Fh)
	if d == nil {
		return fuse.EBADF
	}
	return status(d.Sync(r.request(cancel, &in.InHeader)))
}
