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

// codes has, for each error number that 0.2 has a name for, the number of the
// case in codeNames.
var codes = [...]uint8{
	wasip1.EACCES:          0,  // access
	wasip1.EAGAIN:          1,  // would-block
	wasip1.EALREADY:        2,  // already
	wasip1.EBADF:           3,  // bad-descriptor
	wasip1.EBUSY:           4,  // busy
	wasip1.EDEADLK:         5,  // deadlock
	wasip1.EDQUOT:          6,  // quota
	wasip1.EMFILE:          6,  // quota
	wasip1.ENFILE:          6,  // quota
	wasip1.EEXIST:          7,  // exist
	wasip1.EFBIG:           8,  // file-too-large
	wasip1.EILSEQ:          9,  // illegal-byte-sequence
	wasip1.EINPROGRESS:     10, // in-progress
	wasip1.EINTR:           11, // interrupted
	wasip1.EINVAL:          12, // invalid
	wasip1.EISDIR:          14, // is-directory
	wasip1.ELOOP:           15, // loop
	wasip1.EMLINK:          16, // too-many-links
	wasip1.EMSGSIZE:        17, // message-size
	wasip1.ENAMETOOLONG:    18, // name-too-long
	wasip1.ENODEV:          19, // no-device
	wasip1.ENOENT:          20, // no-entry
	wasip1.ENOLCK:          21, // no-lock
	wasip1.ENOMEM:          22, // insufficient-memory
	wasip1.ENOSPC:          23, // insufficient-space
	wasip1.ENOTDIR:         24, // not-directory
	wasip1.ENOTEMPTY:       25, // not-empty
	wasip1.ENOTRECOVERABLE: 26, // not-recoverable
	wasip1.ENOTSUP:         27, // unsupported
	wasip1.ENOSYS:          27, // unsupported
	wasip1.ENOTTY:          28, // no-tty
	wasip1.ENXIO:           29, // no-such-device
	wasip1.EOVERFLOW:       30, // overflow
	wasip1.EPERM:           31, // not-permitted
	wasip1.ENOTCAPABLE:     31, // not-permitted
	wasip1.EPIPE:           32, // pipe
	wasip1.EROFS:           33, // read-only
	wasip1.ESPIPE:          34, // invalid-seek
	wasip1.ETXTBSY:         35, // text-file-busy
	wasip1.EXDEV:           36, // cross-device
}

// ioCode is the case for every error number that 0.2 has no name for.
const ioCode = 13

// codeOf is the number of the case for an error number. It is total.
func codeOf(e wasip1.Errno) uint64 {
	if int(e) < len(codes) && (codes[e] != 0 || e == wasip1.EACCES) {
		return uint64(codes[e])
	}
	return ioCode
}
