package wasip1

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// specErrnos are the names in preview1's own order.
const specErrnos = `success 2big acces addrinuse addrnotavail afnosupport again already badf badmsg busy canceled child
connaborted connrefused connreset deadlk destaddrreq dom dquot exist fault fbig hostunreach idrm ilseq inprogress intr
inval io isconn isdir loop mfile mlink msgsize multihop nametoolong netdown netreset netunreach nfile nobufs nodev noent
noexec nolck nolink nomem nomsg noprotoopt nospc nosys notconn notdir notempty notrecoverable notsock notsup notty nxio
overflow ownerdead perm pipe proto protonosupport prototype range rofs spipe srch stale timedout txtbsy xdev notcapable`

// TestErrnoTotal holds the table against the names: each Linux errno is the one
// of preview1 that is called the same, and EIO where none is.
func TestErrnoTotal(t *testing.T) {
	number := map[string]Errno{}
	for i, name := range strings.Fields(specErrnos) {
		number[name] = Errno(i)
	}
	equal(t, "numbers", len(number), int(ENOTCAPABLE)+1)
	seen := map[Errno]bool{}
	for e := syscall.Errno(1); e < 4096; e++ {
		name := strings.ToLower(strings.TrimPrefix(unix.ErrnoName(e), "E"))
		if name == "opnotsupp" {
			name = "notsup" // one number in Linux
		}
		want, ok := number[name]
		if !ok {
			want = EIO
		}
		equal(t, fmt.Sprintf("errno %d (%s)", int(e), name), fromSys(e), want)
		seen[want] = true
	}
	for name, n := range number {
		if !seen[n] && name != "success" && name != "notcapable" {
			t.Errorf("nothing becomes %s", name)
		}
	}
}

func TestErrnoOf(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Errno
	}{
		{nil, Success},
		{vfs.ErrEscape, EPERM},
		{&vfs.WalkError{Err: vfs.ErrEscape}, EPERM},
		{vfs.ErrCapability, EACCES},
		{vfs.ErrHidden, EACCES},
		{&os.PathError{Err: syscall.ENOSPC}, ENOSPC},
		{context.Canceled, EINTR},
		{context.DeadlineExceeded, EINTR},
		{errors.New("something else"), EIO},
	} {
		equal(t, fmt.Sprint(c.err), errnoOf(c.err), c.want)
	}
}
