package fsapi

import (
	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// Bounds that the interface fixes.
const (
	// MaxHandles is how many file handles a guest may hold open.
	MaxHandles = 16
	// MaxFile is the most that read-file returns and that write-file and
	// fs-append take, in bytes.
	MaxFile = 10 << 20
	// MaxChunk is the most that read-at and write-at move in a call, in bytes.
	MaxChunk = 1 << 20
	// MaxNames is the most entries that fs-readdir lists.
	MaxNames = 4096
)

// Permission bits of what a guest makes. A guest has no umask.
const (
	fileMode = 0o644
	dirMode  = 0o755
)

// OpenMode is the interface's enum open-mode.
type OpenMode uint8

// The cases of open-mode.
const (
	ModeRead      OpenMode = iota // must exist
	ModeWrite                     // create or truncate
	ModeAppend                    // create; every write goes to the end
	ModeReadWrite                 // must exist, is not truncated
)

// Valid tells whether m is a case of the enum.
func (m OpenMode) Valid() bool { return m <= ModeReadWrite }

func (m OpenMode) reads() bool  { return m == ModeRead || m == ModeReadWrite }
func (m OpenMode) writes() bool { return m != ModeRead }

// FileType is the interface's enum file-type.
type FileType uint8

// The cases of file-type.
const (
	TypeUnknown FileType = iota
	TypeRegular
	TypeDirectory
	TypeSymlink
	TypeBlockDevice
	TypeCharacterDevice
	TypeFifo
	TypeSocket
)

// Datetime is the interface's record datetime and whether the option that
// holds it is some.
type Datetime struct {
	Known       bool
	Seconds     int64
	Nanoseconds uint32
}

// Stat is the interface's record file-stat.
type Stat struct {
	Size                        uint64 // bytes
	Kind                        FileType
	Mode                        uint32 // type and permission bits, as st_mode
	Modified, Created, Accessed Datetime
}

func statOf(a *vfs.Attr) Stat {
	return Stat{
		Size:     uint64(max(a.Size, 0)),
		Kind:     typeOf(a.Type()),
		Mode:     a.Mode,
		Modified: known(a.Mtime),
		Created:  Datetime{Known: !a.Btime.IsZero(), Seconds: a.Btime.Sec, Nanoseconds: a.Btime.Nsec},
		Accessed: known(a.Atime),
	}
}

func known(t vfs.Timespec) Datetime {
	return Datetime{Known: true, Seconds: t.Sec, Nanoseconds: t.Nsec}
}

func typeOf(mode uint32) FileType {
	switch mode {
	case unix.S_IFREG:
		return TypeRegular
	case unix.S_IFDIR:
		return TypeDirectory
	case unix.S_IFLNK:
		return TypeSymlink
	case unix.S_IFBLK:
		return TypeBlockDevice
	case unix.S_IFCHR:
		return TypeCharacterDevice
	case unix.S_IFIFO:
		return TypeFifo
	case unix.S_IFSOCK:
		return TypeSocket
	}
	return TypeUnknown
}

// Buffer is memory of the guest that a result is put into.
type Buffer interface {
	// Resize makes the buffer n bytes long and keeps what it held. The slice is
	// the guest's own memory: it is valid until the next call of Resize or of
	// anything else that can run code of the guest.
	Resize(n int) ([]byte, error)
}
