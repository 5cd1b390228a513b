//go:build wasip1

package astridfs

import (
	"encoding/binary"
	"io"
	"io/fs"
	"runtime"
	"time"
)

// FileType is the interface's file-type.
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

// FileStat describes a file. A time that is not known is zero.
type FileStat struct {
	Size                        uint64
	Kind                        FileType
	Mode                        uint32 // type and permission bits, as st_mode
	Modified, Created, Accessed time.Time
}

func (r *resultStat) stat() FileStat {
	return FileStat{
		Size: r.size, Kind: FileType(r.kind), Mode: r.mode,
		Modified: r.modified.time(), Created: r.created.time(), Accessed: r.accessed.time(),
	}
}

func (t optionTime) time() time.Time {
	if t.tag == 0 {
		return time.Time{}
	}
	return time.Unix(t.seconds, int64(t.nanos))
}

// Exists tells whether something is at path, symbolic links followed.
func Exists(path string) (bool, error) {
	ret := new(result)
	fsExists(path, ret)
	return ret.tag == 0 && uint8(ret.a) != 0, ret.err("fs-exists", path)
}

// Mkdir makes one directory, whose parent must exist.
func Mkdir(path string) error {
	ret := new(result)
	fsMkdir(path, ret)
	return ret.err("fs-mkdir", path)
}

// MkdirAll makes a directory and the parents that it lacks.
func MkdirAll(path string) error {
	ret := new(result)
	fsMkdirAll(path, ret)
	return ret.err("fs-mkdir-all", path)
}

// ReadDir lists the names in a directory, sorted.
func ReadDir(path string) ([]string, error) {
	ret := new(result)
	fsReaddir(path, ret)
	if err := ret.err("fs-readdir", path); err != nil {
		return nil, err
	}
	n := ret.b
	list := take(ret.a, 8*n)
	names := make([]string, n)
	for i := range names {
		at := list[8*i:]
		names[i] = string(take(binary.LittleEndian.Uint32(at), binary.LittleEndian.Uint32(at[4:])))
	}
	return names, nil
}

// Stat describes what path leads to.
func Stat(path string) (FileStat, error) {
	ret := new(resultStat)
	fsStat(path, ret)
	if err := ret.err("fs-stat", path); err != nil {
		return FileStat{}, err
	}
	return ret.stat(), nil
}

// Lstat is Stat without following a last symbolic link.
func Lstat(path string) (FileStat, error) {
	ret := new(resultStat)
	fsStatSymlink(path, ret)
	if err := ret.err("fs-stat-symlink", path); err != nil {
		return FileStat{}, err
	}
	return ret.stat(), nil
}

// Unlink removes a name that is no directory.
func Unlink(path string) error {
	ret := new(result)
	fsUnlink(path, ret)
	return ret.err("fs-unlink", path)
}

// ReadFile reads a whole file, of up to 10 MiB.
func ReadFile(path string) ([]byte, error) {
	ret := new(result)
	readFile(path, ret)
	if err := ret.err("read-file", path); err != nil {
		return nil, err
	}
	return take(ret.a, ret.b), nil
}

// WriteFile makes data, of up to 10 MiB, the contents of a file, in one step.
func WriteFile(path string, data []byte) error {
	ret := new(result)
	writeFile(path, pointer(data), uint32(len(data)), ret)
	runtime.KeepAlive(data)
	return ret.err("write-file", path)
}

// Append writes data, of up to 10 MiB, at the end of a file.
func Append(path string, data []byte) error {
	ret := new(result)
	fsAppend(path, pointer(data), uint32(len(data)), ret)
	runtime.KeepAlive(data)
	return ret.err("fs-append", path)
}

// Copy copies a regular file with its permission bits, in the host.
func Copy(src, dst string) error {
	ret := new(result)
	fsCopy(src, dst, ret)
	return ret.err("fs-copy", src)
}

// Rename moves src to dst, within one scheme.
func Rename(src, dst string) error {
	ret := new(result)
	fsRename(src, dst, ret)
	return ret.err("fs-rename", src)
}

// RemoveDirAll removes a directory with everything below it and returns how
// many entries that were.
func RemoveDirAll(path string) (uint64, error) {
	ret := new(result64)
	fsRemoveDirAll(path, ret)
	if err := ret.err("fs-remove-dir-all", path); err != nil {
		return 0, err
	}
	return ret.v, nil
}

// Canonicalize returns the scheme path that path leads to.
func Canonicalize(path string) (string, error) {
	ret := new(result)
	fsCanonicalize(path, ret)
	return ret.text("fs-canonicalize", path)
}

// ReadLink returns where a symbolic link leads, as a scheme path.
func ReadLink(path string) (string, error) {
	ret := new(result)
	fsReadLink(path, ret)
	return ret.text("fs-read-link", path)
}

func (r *result) text(op, path string) (string, error) {
	if err := r.err(op, path); err != nil {
		return "", err
	}
	return string(take(r.a, r.b)), nil
}

// HardLink makes link a further name of src, within one scheme.
func HardLink(src, link string) error {
	ret := new(result)
	fsHardLink(src, link, ret)
	return ret.err("fs-hard-link", src)
}

// OpenMode is the interface's open-mode.
type OpenMode uint32

// The cases of open-mode.
const (
	Read      OpenMode = iota // must exist
	Write                     // create or truncate
	AppendTo                  // create; every write goes to the end
	ReadWrite                 // must exist, is not truncated
)

// chunk is the most that a positional call moves, in bytes.
const chunk = 1 << 20

// File is an open file. At most 16 are open at a time.
type File struct{ id uint32 }

var (
	_ io.ReaderAt = (*File)(nil)
	_ io.WriterAt = (*File)(nil)
	_ io.Closer   = (*File)(nil)
)

// Open opens a regular file.
func Open(path string, mode OpenMode) (*File, error) {
	ret := new(result)
	fsOpen(path, uint32(mode), ret)
	if err := ret.err("fs-open", path); err != nil {
		return nil, err
	}
	return &File{ret.a}, nil
}

// Handle returns a file with the host's handle id, live or not.
func Handle(id uint32) *File { return &File{id} }

// ID returns the host's handle.
func (f *File) ID() uint32 { return f.id }

// Read is one call of read-at: up to n bytes at off, none at the end.
func (f *File) Read(off uint64, n uint32) ([]byte, error) {
	ret := new(result)
	handleReadAt(f.id, off, n, ret)
	if err := ret.err("read-at", ""); err != nil {
		return nil, err
	}
	return take(ret.a, ret.b), nil
}

// Write is one call of write-at; it returns how many bytes were written.
func (f *File) Write(off uint64, p []byte) (int, error) {
	ret := new(result)
	handleWriteAt(f.id, off, pointer(p), uint32(len(p)), ret)
	runtime.KeepAlive(p)
	if err := ret.err("write-at", ""); err != nil {
		return 0, err
	}
	return int(ret.a), nil
}

// ReadAt implements io.ReaderAt, by as many calls as it takes.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fs.ErrInvalid
	}
	for n := 0; n < len(p); {
		b, err := f.Read(uint64(off)+uint64(n), uint32(min(len(p)-n, chunk)))
		if err != nil {
			return n, err
		}
		if len(b) == 0 {
			return n, io.EOF
		}
		n += copy(p[n:], b)
	}
	return len(p), nil
}

// WriteAt implements io.WriterAt, by as many calls as it takes. A file that was
// opened to append is written at its end, whatever off is.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fs.ErrInvalid
	}
	for n := 0; n < len(p); {
		m, err := f.Write(uint64(off)+uint64(n), p[n:min(len(p), n+chunk)])
		if err != nil {
			return n, err
		}
		n += m
	}
	return len(p), nil
}

// SyncData writes the file's contents to stable storage.
func (f *File) SyncData() error {
	ret := new(result)
	handleSyncData(f.id, ret)
	return ret.err("sync-data", "")
}

// Sync writes the file's contents and metadata to stable storage.
func (f *File) Sync() error {
	ret := new(result)
	handleSyncAll(f.id, ret)
	return ret.err("sync-all", "")
}

// Stat describes the open file.
func (f *File) Stat() (FileStat, error) {
	ret := new(resultStat)
	handleStat(f.id, ret)
	if err := ret.err("stat", ""); err != nil {
		return FileStat{}, err
	}
	return ret.stat(), nil
}

// Truncate makes the file size bytes long.
func (f *File) Truncate(size uint64) error {
	ret := new(result)
	handleSetLen(f.id, size, ret)
	return ret.err("set-len", "")
}

// Close gives the handle back. The interface reports no error for it; Sync
// before it does.
func (f *File) Close() error {
	handleDrop(f.id)
	return nil
}
