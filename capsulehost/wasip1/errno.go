package wasip1

import (
	"errors"
	"syscall"

	"github.com/astridfs/astridfs/vfs"
)

// Errno is preview1's error number, which every call returns.
type Errno uint16

// The error numbers, in preview1's order.
const (
	Success Errno = iota
	E2BIG
	EACCES
	EADDRINUSE
	EADDRNOTAVAIL
	EAFNOSUPPORT
	EAGAIN
	EALREADY
	EBADF
	EBADMSG
	EBUSY
	ECANCELED
	ECHILD
	ECONNABORTED
	ECONNREFUSED
	ECONNRESET
	EDEADLK
	EDESTADDRREQ
	EDOM
	EDQUOT
	EEXIST
	EFAULT
	EFBIG
	EHOSTUNREACH
	EIDRM
	EILSEQ
	EINPROGRESS
	EINTR
	EINVAL
	EIO
	EISCONN
	EISDIR
	ELOOP
	EMFILE
	EMLINK
	EMSGSIZE
	EMULTIHOP
	ENAMETOOLONG
	ENETDOWN
	ENETRESET
	ENETUNREACH
	ENFILE
	ENOBUFS
	ENODEV
	ENOENT
	ENOEXEC
	ENOLCK
	ENOLINK
	ENOMEM
	ENOMSG
	ENOPROTOOPT
	ENOSPC
	ENOSYS
	ENOTCONN
	ENOTDIR
	ENOTEMPTY
	ENOTRECOVERABLE
	ENOTSOCK
	ENOTSUP
	ENOTTY
	ENXIO
	EOVERFLOW
	EOWNERDEAD
	EPERM
	EPIPE
	EPROTO
	EPROTONOSUPPORT
	EPROTOTYPE
	ERANGE
	EROFS
	ESPIPE
	ESRCH
	ESTALE
	ETIMEDOUT
	ETXTBSY
	EXDEV
	ENOTCAPABLE
)

// errnoOf is what a guest is told of an error of the filesystem. It is total:
// what preview1 has no number for is EIO.
func errnoOf(err error) Errno {
	switch {
	case err == nil:
		return Success
	case errors.Is(err, vfs.ErrEscape):
		return EPERM
	}
	return fromSys(vfs.Errno(err))
}

// fromSys is preview1's number for a Linux errno.
func fromSys(e syscall.Errno) Errno {
	switch e {
	case 0:
		return Success
	case syscall.E2BIG:
		return E2BIG
	case syscall.EACCES:
		return EACCES
	case syscall.EADDRINUSE:
		return EADDRINUSE
	case syscall.EADDRNOTAVAIL:
		return EADDRNOTAVAIL
	case syscall.EAFNOSUPPORT:
		return EAFNOSUPPORT
	case syscall.EAGAIN: // EWOULDBLOCK too
		return EAGAIN
	case syscall.EALREADY:
		return EALREADY
	case syscall.EBADF:
		return EBADF
	case syscall.EBADMSG:
		return EBADMSG
	case syscall.EBUSY:
		return EBUSY
	case syscall.ECANCELED:
		return ECANCELED
	case syscall.ECHILD:
		return ECHILD
	case syscall.ECONNABORTED:
		return ECONNABORTED
	case syscall.ECONNREFUSED:
		return ECONNREFUSED
	case syscall.ECONNRESET:
		return ECONNRESET
	case syscall.EDEADLK:
		return EDEADLK
	case syscall.EDESTADDRREQ:
		return EDESTADDRREQ
	case syscall.EDOM:
		return EDOM
	case syscall.EDQUOT:
		return EDQUOT
	case syscall.EEXIST:
		return EEXIST
	case syscall.EFAULT:
		return EFAULT
	case syscall.EFBIG:
		return EFBIG
	case syscall.EHOSTUNREACH:
		return EHOSTUNREACH
	case syscall.EIDRM:
		return EIDRM
	case syscall.EILSEQ:
		return EILSEQ
	case syscall.EINPROGRESS:
		return EINPROGRESS
	case syscall.EINTR:
		return EINTR
	case syscall.EINVAL:
		return EINVAL
	case syscall.EISCONN:
		return EISCONN
	case syscall.EISDIR:
		return EISDIR
	case syscall.ELOOP:
		return ELOOP
	case syscall.EMFILE:
		return EMFILE
	case syscall.EMLINK:
		return EMLINK
	case syscall.EMSGSIZE:
		return EMSGSIZE
	case syscall.EMULTIHOP:
		return EMULTIHOP
	case syscall.ENAMETOOLONG:
		return ENAMETOOLONG
	case syscall.ENETDOWN:
		return ENETDOWN
	case syscall.ENETRESET:
		return ENETRESET
	case syscall.ENETUNREACH:
		return ENETUNREACH
	case syscall.ENFILE:
		return ENFILE
	case syscall.ENOBUFS:
		return ENOBUFS
	case syscall.ENODEV:
		return ENODEV
	case syscall.ENOENT:
		return ENOENT
	case syscall.ENOEXEC:
		return ENOEXEC
	case syscall.ENOLCK:
		return ENOLCK
	case syscall.ENOLINK:
		return ENOLINK
	case syscall.ENOMEM:
		return ENOMEM
	case syscall.ENOMSG:
		return ENOMSG
	case syscall.ENOPROTOOPT:
		return ENOPROTOOPT
	case syscall.ENOSPC:
		return ENOSPC
	case syscall.ENOSYS:
		return ENOSYS
	case syscall.ENOTCONN:
		return ENOTCONN
	case syscall.ENOTDIR:
		return ENOTDIR
	case syscall.ENOTEMPTY:
		return ENOTEMPTY
	case syscall.ENOTRECOVERABLE:
		return ENOTRECOVERABLE
	case syscall.ENOTSOCK:
		return ENOTSOCK
	case syscall.ENOTSUP: // EOPNOTSUPP too
		return ENOTSUP
	case syscall.ENOTTY:
		return ENOTTY
	case syscall.ENXIO:
		return ENXIO
	case syscall.EOVERFLOW:
		return EOVERFLOW
	case syscall.EOWNERDEAD:
		return EOWNERDEAD
	case syscall.EPERM:
		return EPERM
	case syscall.EPIPE:
		return EPIPE
	case syscall.EPROTO:
		return EPROTO
	case syscall.EPROTONOSUPPORT:
		return EPROTONOSUPPORT
	case syscall.EPROTOTYPE:
		return EPROTOTYPE
	case syscall.ERANGE:
		return ERANGE
	case syscall.EROFS:
		return EROFS
	case syscall.ESPIPE:
		return ESPIPE
	case syscall.ESRCH:
		return ESRCH
	case syscall.ESTALE:
		return ESTALE
	case syscall.ETIMEDOUT:
		return ETIMEDOUT
	case syscall.ETXTBSY:
		return ETXTBSY
	case syscall.EXDEV:
		return EXDEV
	}
	return EIO
}
