package vfs

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// NodeID names a node of one open filesystem. Zero is no node.
type NodeID uint64

// RootID is the root directory of every filesystem.
const RootID NodeID = 1

// NameMax is the length of the longest name, in bytes.
const NameMax = 255

// PathMax is the length of the longest symbolic link target, in bytes.
const PathMax = 4095

// CheckName tells whether name can be an entry of a directory. It answers
// EINVAL for an empty name, ".", ".." and a name that holds '/' or NUL, and
// ENAMETOOLONG for one of more than NameMax bytes.
func CheckName(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return syscall.EINVAL
	case len(name) > NameMax:
		return syscall.ENAMETOOLONG
	}
	for i := range len(name) {
		if c := name[i]; c == '/' || c == 0 {
			return syscall.EINVAL
		}
	}
	return nil
}

// Timespec is a point in time: seconds since the epoch, which may be negative,
// and nanoseconds within that second, 0 to 999,999,999.
type Timespec struct {
	Sec  int64
	Nsec uint32
}

// Time returns t as a time.Time.
func (t Timespec) Time() time.Time { return time.Unix(t.Sec, int64(t.Nsec)) }

// IsZero tells whether t is the zero value, which stands for "not known" where
// a field says so.
func (t Timespec) IsZero() bool { return t == Timespec{} }

// TimespecOf returns t as a Timespec.
func TimespecOf(t time.Time) Timespec {
	return Timespec{Sec: t.Unix(), Nsec: uint32(t.Nanosecond())}
}

// Attr is what stat(2) tells of a node.
type Attr struct {
	Ino     uint64 // inode number: the same across copy-up, rename and reopening
	Size    int64  // bytes
	Blocks  int64  // 512-byte units
	Blksize uint32 // bytes
	Mode    uint32 // type and permission bits, as st_mode
	Nlink   uint32 // 0 for a node without a name
	UID     uint32
	GID     uint32
	Rdev    uint64 // device number as unix.Mkdev makes it; 0 where it means nothing
	Atime   Timespec
	Mtime   Timespec
	Ctime   Timespec
	Btime   Timespec // birth; zero where the host's filesystem has none

	// Volatile says that the attributes or the contents may change without an
	// Invalidator being told, because others write to what is underneath.
	Volatile bool
}

// Type returns the file type bits (unix.S_IFREG, …) of a's mode.
func (a *Attr) Type() uint32 { return a.Mode & unix.S_IFMT }

// IsDir tells whether a is of a directory.
func (a *Attr) IsDir() bool { return a.Type() == unix.S_IFDIR }

// IsRegular tells whether a is of a regular file.
func (a *Attr) IsRegular() bool { return a.Type() == unix.S_IFREG }

// IsSymlink tells whether a is of a symbolic link.
func (a *Attr) IsSymlink() bool { return a.Type() == unix.S_IFLNK }

// Entry is what a name stands for.
type Entry struct {
	Node NodeID // the caller holds one reference
	Attr Attr

	// Volatile says that the name may come to mean something else without an
	// Invalidator being told. It is set as well where a lookup answers ENOENT:
	// only a negative answer that is not volatile may be cached for long.
	Volatile bool
}

// SetAttr is a change of attributes. Only the fields named in Valid count, and
// they take effect together or not at all as far as the host allows.
type SetAttr struct {
	Valid SetMask
	Mode  uint32 // permission bits with setuid, setgid and sticky; type bits are ignored
	UID   uint32
	GID   uint32
	Size  int64 // bytes
	Atime Timespec
	Mtime Timespec
}

// SetMask names fields of SetAttr.
type SetMask uint32

// The fields of SetAttr. SetAtimeNow and SetMtimeNow set the present time of
// the host's clock and take no value.
const (
	SetMode SetMask = 1 << iota
	SetUID
	SetGID
	SetSize
	SetAtime
	SetMtime
	SetAtimeNow
	SetMtimeNow
)

// DirEntry is one entry of a listing.
type DirEntry struct {
	Name string
	Ino  uint64
	Type uint32 // file type bits of a mode; 0 where it is not known without a stat
	Off  uint64 // cookie: reading from it continues after this entry
}

// StatFS is what statfs(2) tells of a filesystem. Sizes are in units of Frsize
// bytes.
type StatFS struct {
	Blocks, Bfree, Bavail uint64
	Files, Ffree          uint64
	Bsize, Frsize         uint32
	NameLen               uint32
}

// RenameFlags of [FS.Rename], with the values of renameat2(2).
type RenameFlags uint32

// NoReplace makes a rename onto an existing name fail with EEXIST; Exchange
// swaps two existing names.
const (
	NoReplace RenameFlags = unix.RENAME_NOREPLACE
	Exchange  RenameFlags = unix.RENAME_EXCHANGE
)
