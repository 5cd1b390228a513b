package wasihost

import (
	"strings"

	"github.com/astridfs/astridfs/capsulehost/wasip1"
)

// codeNames are the cases of filesystem's error-code, in its order.
var codeNames = [...]string{
	"access", "would-block", "already", "bad-descriptor", "busy", "deadlock", "quota", "exist", "file-too-large",
	"illegal-byte-sequence", "in-progress", "interrupted", "invalid", "io", "is-directory", "loop", "too-many-links",
	"message-size", "name-too-long", "no-device", "no-entry", "no-lock", "insufficient-memory", "insufficient-space",
	"not-directory", "not-empty", "not-recoverable", "unsupported", "no-tty", "no-such-device", "overflow",
	"not-permitted", "pipe", "read-only", "invalid-seek", "text-file-busy", "cross-device",
}

var errorCode = "enum { " + strings.Join(codeNames[:], ", ") + " }"

// codeOf is the one table from error numbers to error-code, by the number of the
// case. It is total: what 0.2 has no name for is io.
func codeOf(e wasip1.Errno) uint64 {
	switch e {
	case wasip1.EACCES:
		return 0
	case wasip1.EAGAIN:
		return 1
	case wasip1.EALREADY:
		return 2
	case wasip1.EBADF:
		return 3
	case wasip1.EBUSY:
		return 4
	case wasip1.EDEADLK:
		return 5
	case wasip1.EDQUOT, wasip1.EMFILE, wasip1.ENFILE:
		return 6
	case wasip1.EEXIST:
		return 7
	case wasip1.EFBIG:
		return 8
	case wasip1.EILSEQ:
		return 9
	case wasip1.EINPROGRESS:
		return 10
	case wasip1.EINTR:
		return 11
	case wasip1.EINVAL:
		return 12
	case wasip1.EISDIR:
		return 14
	case wasip1.ELOOP:
		return 15
	case wasip1.EMLINK:
		return 16
	case wasip1.EMSGSIZE:
		return 17
	case wasip1.ENAMETOOLONG:
		return 18
	case wasip1.ENODEV:
		return 19
	case wasip1.ENOENT:
		return 20
	case wasip1.ENOLCK:
		return 21
	case wasip1.ENOMEM:
		return 22
	case wasip1.ENOSPC:
		return 23
	case wasip1.ENOTDIR:
		return 24
	case wasip1.ENOTEMPTY:
		return 25
	case wasip1.ENOTRECOVERABLE:
		return 26
	case wasip1.ENOTSUP, wasip1.ENOSYS:
		return 27
	case wasip1.ENOTTY:
		return 28
	case wasip1.ENXIO:
		return 29
	case wasip1.EOVERFLOW:
		return 30
	case wasip1.EPERM, wasip1.ENOTCAPABLE:
		return 31
	case wasip1.EPIPE:
		return 32
	case wasip1.EROFS:
		return 33
	case wasip1.ESPIPE:
		return 34
	case wasip1.ETXTBSY:
		return 35
	case wasip1.EXDEV:
		return 36
	}
	return 13
}
