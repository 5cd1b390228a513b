package fusefs

import (
	"context"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/astridfs/astridfs/vfs"
)

// request is the context of one call. It is allocated anew for each: a layer
// below may hold on to a context, so it is never reused.
type request struct {
	cancel <-chan struct{}
	caller vfs.Caller

	// changes is the notifier's count when the request began; see fresh.
	changes uint64
}

var _ context.Context = (*request)(nil)

func (r *rawFS) request(cancel <-chan struct{}, h *fuse.InHeader) *request {
	r.stats.requests.Add(1)
	return &request{
		cancel: cancel, changes: r.notify.changes.Load(),
		caller: vfs.Caller{UID: h.Uid, GID: h.Gid, PID: h.Pid, Origin: r.notify},
	}
}

// fresh tells whether nobody else changed anything since q began, so that its
// answer may be kept. Where it gives the kernel a reference, that is counted
// first: a change that this does not see will find it (notify.go).
func (r *rawFS) fresh(q *request) bool { return r.notify.changes.Load() == q.changes }

// Deadline implements context.Context: a request has none.
func (*request) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done is closed when the calling process was interrupted.
func (q *request) Done() <-chan struct{} { return q.cancel }

// Err tells whether Done is closed.
func (q *request) Err() error {
	select {
	case <-q.cancel:
		return context.Canceled
	default:
		return nil
	}
}

// Value knows one key, the caller's.
func (q *request) Value(key any) any {
	if key == vfs.CallerKey() {
		return &q.caller
	}
	return nil
}

// status is the errno of err as the kernel takes it. ENOSYS is never passed on:
// to the kernel it means that the whole mount lacks the operation, for good.
func status(err error) fuse.Status {
	if err == nil {
		return fuse.OK
	}
	switch e := vfs.Errno(err); e {
	case 0:
		return fuse.EIO
	case syscall.ENOSYS:
		return fuse.Status(syscall.EOPNOTSUPP)
	default:
		return fuse.Status(e)
	}
}
