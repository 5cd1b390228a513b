package auditfs

import (
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// openFlags returns what matters of the flags of an open.
func openFlags(flags int) string {
	s := "read"
	switch flags & unix.O_ACCMODE {
	case unix.O_WRONLY:
		s = "write"
	case unix.O_RDWR:
		s = "read,write"
	}
	if flags&unix.O_APPEND != 0 {
		s += ",append"
	}
	if flags&unix.O_TRUNC != 0 {
		s += ",truncate"
	}
	return s
}

// setFlags returns the attributes that are set, with the values of those that
// decide about access.
func setFlags(in *vfs.SetAttr) string {
	var b []byte
	add := func(bit vfs.SetMask, name string, value uint64, base int) {
		if in.Valid&bit == 0 {
			return
		}
		if len(b) > 0 {
			b = append(b, ',')
		}
		b = append(b, name...)
		if base != 0 {
			b = strconv.AppendUint(append(b, '='), value, base)
		}
	}
	add(vfs.SetMode, "mode", uint64(in.Mode&0o7777), 8)
	add(vfs.SetUID, "uid", uint64(in.UID), 10)
	add(vfs.SetGID, "gid", uint64(in.GID), 10)
	add(vfs.SetSize, "size", uint64(max(in.Size, 0)), 10)
	add(vfs.SetAtime|vfs.SetAtimeNow, "atime", 0, 0)
	add(vfs.SetMtime|vfs.SetMtimeNow, "mtime", 0, 0)
	return string(b)
}

// typeFlag names the type of a node that is made.
func typeFlag(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFIFO:
		return "fifo"
	case unix.S_IFSOCK:
		return "socket"
	case unix.S_IFCHR:
		return "character device"
	case unix.S_IFBLK:
		return "block device"
	}
	return "file"
}
