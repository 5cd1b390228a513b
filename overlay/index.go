package overlay

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// hardLinks keeps lower hard links one file after a copy-up. The upper inode
// has, beside its names in the upper layer, one in the index directory that is
// made from the identity of the lower inode; a lookup of a lower file with
// several links looks there first. Names are the kernel's own (the hexadecimal
// form of the file handle that overlayfs encodes), so that a kernel mount with
// index=on finds them too. Where the host tells no file handle or filesystem
// UUID, a name of ours made of inode number and birth time stands in Work/links
// instead.
//
// Work/links also holds, for a lower file that was not copied up or is no more,
// how many of its names the upper layer hides ('L'), or does not hide ('S').
type hardLinks struct {
	used  atomic.Bool // there are, or were, entries
	index *at.Dir
	links *at.Dir
	uuids [][]byte // of the filesystem of each lower layer; nil where unknown
}

const (
	ownIndexPrefix = "f-"
	countPrefix    = "n-"
	fsUUIDRequest  = 0x80111500 // FS_IOC_GETFSUUID
	ovlMagic       = 0xfb
	fbHeader       = 5 + 16 // bytes before the handle proper, see kernelHandle
)

// init finds out about the layers and what an earlier run left.
func (h *hardLinks) init(fs *FS) error {
	var err error
	if h.index, err = fs.dirOf(fs.ly.index); err != nil {
		return err
	}
	if h.links, err = fs.dirOf(fs.ly.links); err != nil {
		return err
	}
	for _, fd := range [...]int{fs.ly.index, fs.ly.links} {
		err := at.ReadDir(fd, 0, func(e vfs.DirEntry) bool {
			if e.Name != "." && e.Name != ".." {
				h.used.Store(true)
			}
			return !h.used.Load()
		})
		if err != nil {
			return err
		}
	}
	h.uuids = make([][]byte, len(fs.ly.lowers))
	for i, path := range fs.opt.Lower {
		h.uuids[i] = fsUUID(path)
	}
	return nil
}

func (h *hardLinks) drop() {
	for _, d := range [...]*at.Dir{h.index, h.links} {
		if d != nil {
			d.Drop()
		}
	}
}

// dirOf makes a Dir of an open directory that keeps its own descriptor.
func (fs *FS) dirOf(fd int) (*at.Dir, error) {
	nfd, err := at.Open(fd, ".", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	d, err := fs.ly.dirs.Root(nfd)
	if err != nil {
		unix.Close(nfd)
	}
	return d, err
}

// fsUUID returns the UUID of the filesystem that path is on, zero if it has
// none, or nil if the kernel does not tell.
func fsUUID(path string) []byte {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	var arg struct {
		len  uint8
		uuid [16]byte
	}
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), fsUUIDRequest, uintptr(unsafe.Pointer(&arg)))
	switch {
	case e == 0 && arg.len == 16:
		return arg.uuid[:]
	case e == syscall.ENOTTY && kernelAtLeast(6, 9):
		return make([]byte, 16) // the call is there, the UUID is not
	}
	return nil
}

// kernelAtLeast tells whether the running kernel is of that version or later.
func kernelAtLeast(major, minor int) bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	var a, b int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &a, &b); err != nil {
		return false
	}
	return a > major || a == major && b >= minor
}

// nameOf returns the index name of the lower file name in l, which dirfd is.
func (fs *FS) indexName(l *ldir, dirfd int, name string, a *vfs.Attr, id at.Ident) string {
	if fb := fs.kernelHandle(l, dirfd, name, id); fb != nil {
		return hex.EncodeToString(fb)
	}
	return fmt.Sprintf("%s%d-%x-%x.%x", ownIndexPrefix, l.layer, id.Ino, a.Btime.Sec, a.Btime.Nsec)
}

// kernelHandle returns what kernel overlayfs stores as the origin of a copy of
// the file: version 0, magic, length, flags 0 (little-endian), handle type,
// filesystem UUID, handle. It is nil where that is not known.
func (fs *FS) kernelHandle(l *ldir, dirfd int, name string, id at.Ident) []byte {
	uuid := fs.hard.uuids[l.layer]
	if uuid == nil || !littleEndian() || id.Dev != fs.ly.lowers[l.layer].at.Ident().Dev {
		return nil
	}
	h, _, err := unix.NameToHandleAt(dirfd, name, 0)
	if err != nil {
		return nil
	}
	fid := h.Bytes()
	if fbHeader+len(fid) > vfs.NameMax/2 || h.Type() < 0 || h.Type() > 0xff {
		return nil
	}
	fb := make([]byte, 0, fbHeader+len(fid))
	fb = append(fb, 0, ovlMagic, byte(fbHeader+len(fid)), 0, byte(h.Type()))
	fb = append(fb, uuid...)
	return append(fb, fid...)
}

func littleEndian() bool {
	x := uint16(1)
	return *(*byte)(unsafe.Pointer(&x)) == 1
}

// home returns the directory that holds the index name idx.
func (h *hardLinks) home(idx string) *at.Dir {
	if strings.HasPrefix(idx, ownIndexPrefix) {
		return h.links
	}
	return h.index
}

// homeFD is home's descriptor, which stays open.
func (fs *FS) homeFD(idx string) int {
	if strings.HasPrefix(idx, ownIndexPrefix) {
		return fs.ly.links
	}
	return fs.ly.index
}

// indexed is what the work directory knows of a lower file with several links.
type indexed struct {
	name string   // in the index
	up   bool     // an upper inode stands for it
	attr vfs.Attr // of that inode
	id   at.Ident
	adj  int32 // nlink shown less the real inode's: the upper's if up
}

// findIndexed looks a lower file up. l is its directory, dirfd the same open.
func (fs *FS) findIndexed(l *ldir, dirfd int, name string, a *vfs.Attr, id at.Ident) (indexed, error) {
	if !fs.hard.used.Load() {
		return indexed{}, nil
	}
	x := indexed{name: fs.indexName(l, dirfd, name, a, id)}
	home := fs.homeFD(x.name)
	up, uid, err := at.Stat(home, x.name)
	switch {
	case err == nil && up.Type() == a.Type():
		x.up, x.attr, x.id = true, up, uid
		x.adj, err = fs.readNlink(home, x.name, up.Nlink, a.Nlink)
		return x, err
	case err != nil && err != syscall.ENOENT:
		return indexed{}, err
	}
	x.adj, err = fs.readNlink(fs.ly.links, countPrefix+x.name, 0, a.Nlink)
	x.adj -= int32(a.Nlink)
	if err == syscall.ENOENT || x.adj > 0 {
		x.adj, err = 0, nil
	}
	return x, err
}

// readNlink returns by how much the link count shown differs from the upper
// inode's. The mark is the kernel's: 'U' and the difference to the upper
// inode's count, or 'L' and the difference to the lower inode's; or, in
// Work/links, 'S' and the count itself.
func (fs *FS) readNlink(dirfd int, name string, upper, lower uint32) (int32, error) {
	var buf [markValueMax]byte
	n, err := fs.ly.getXattr(dirfd, name, markNlink, buf[:])
	if err != nil {
		if absent(err) {
			return int32(lower) - int32(upper), nil
		}
		return 0, err
	}
	v := string(buf[:n])
	if len(v) < 2 {
		return -1, nil
	}
	d, err := strconv.ParseInt(v[1:], 10, 32)
	switch {
	case err != nil:
		return -1, nil // unreadable: the index's own link is not shown
	case v[0] == 'U':
		return int32(d), nil
	case v[0] == 'L':
		return int32(lower) + int32(d) - int32(upper), nil
	case v[0] == 'S':
		return int32(d) - int32(upper), nil
	}
	return -1, nil
}

func nlinkMark(base byte, d int32) string { return fmt.Sprintf("%c%+d", base, d) }

// setNlinkLocked records n's link count on disk; n.mu is held exclusively.
func (fs *FS) setNlinkLocked(n *node) error {
	if n.idx == "" {
		return nil
	}
	n.changed.Store(true)
	if n.up {
		return fs.ly.set(fs.homeFD(n.idx), n.idx, markNlink, nlinkMark('U', n.nlAdj))
	}
	return fs.countNames(n.idx, 'L', n.nlAdj)
}

// countNames records for the lower file whose index name is idx how many of its
// names show: n less than it has (base 'L'), or n ('S').
func (fs *FS) countNames(idx string, base byte, n int32) error {
	fs.hard.used.Store(true)
	name := countPrefix + idx
	fd, err := at.Open(fs.ly.links, name, unix.O_CREAT|unix.O_RDONLY, 0o600)
	if err != nil {
		return err
	}
	unix.Close(fd)
	return fs.ly.set(fs.ly.links, name, markNlink, nlinkMark(base, n))
}

// indexOf returns the index name that an upper file is marked with, or "". The
// kernel's own copies have it as the origin.
func (fs *FS) indexOf(dirfd int, name string) (string, error) {
	var buf [vfs.NameMax + 1]byte
	idx, ok, err := fs.ly.get(dirfd, name, markIndex, buf[:])
	if err == nil && !ok {
		idx, ok, err = fs.ly.get(dirfd, name, markOrigin, buf[:])
		idx = hex.EncodeToString([]byte(idx))
	}
	if err != nil || !ok || vfs.CheckName(idx) != nil {
		return "", err
	}
	return idx, nil
}

// shownIno returns the inode number that an upper object shows: what its mark
// says, or, of a copy that the kernel made, the lower inode's in the handle of
// its origin; own without either.
func (fs *FS) shownIno(dirfd int, name string, own uint64) (uint64, error) {
	if ino, err := fs.ly.ino(dirfd, name); err != nil || ino != 0 {
		return ino, err
	}
	var buf [vfs.NameMax + 1]byte
	fb, ok, err := fs.ly.get(dirfd, name, markOrigin, buf[:])
	if err != nil || !ok {
		return own, err
	}
	const inode32 = 1 // FILEID_INO32_GEN: number, generation
	if len(fb) < fbHeader || fb[1] != ovlMagic || fb[3] != 0 || fb[4] != inode32 {
		return own, nil
	}
	var ino uint64
	switch id := []byte(fb[fbHeader:]); len(id) {
	case 8:
		ino = uint64(binary.LittleEndian.Uint32(id))
	case 12: // tmpfs has its own under the same type: generation, number
		ino = binary.LittleEndian.Uint64(id[4:])
	default:
		return own, nil
	}
	dev := fs.ly.lowers[0].at.Ident().Dev
	for _, l := range fs.ly.lowers {
		if l.at.Ident().Dev != dev {
			return own, nil // it does not say in which layer
		}
	}
	return fs.devs.ino(at.Ident{Dev: dev, Ino: ino}), nil
}

// linkUpLocked gives an indexed upper inode its name in the upper directory
// dirfd, where so far only the lower entry stands for it. n.mu is held.
func (fs *FS) linkUpLocked(n *node, dirfd int, name string) error {
	if err := at.Link(fs.homeFD(n.idx), n.idx, dirfd, name); err != nil {
		return err
	}
	n.nlAdj--
	return fs.setNlinkLocked(n)
}

// unindex forgets the copy that stands for all names of a lower file; name in
// dirfd is one name of that copy, and nothing happens for any other file. A
// discard or commit calls it before it removes that name from the upper layer,
// or else the other names, and this one again, would still mean the copy.
//
// From here on the lower file shows again, under as many of the names that the
// upper layer has as own tells, given what the index has, which counts with
// names outside of the layer. Negative: it is not known to be there any more.
func (fs *FS) unindex(dirfd int, name string, own func(idx string, up *vfs.Attr) (int, error)) error {
	idx, err := fs.indexOf(dirfd, name)
	if err != nil || idx == "" {
		return err
	}
	_, want, err := at.Stat(dirfd, name)
	if err != nil {
		return err
	}
	home := fs.homeFD(idx)
	up, got, err := at.Stat(home, idx)
	if err == syscall.ENOENT || err == nil && got != want {
		return nil
	}
	if err != nil {
		return err
	}
	k, err := own(idx, &up)
	if err != nil {
		return err
	}
	if k >= 0 {
		adj, err := fs.readNlink(home, idx, up.Nlink, up.Nlink)
		if err != nil {
			return err
		}
		// The index's own link apart, adj is the number of names that are not in
		// the upper layer and show.
		if err := fs.countNames(idx, 'S', int32(k)+max(adj+1, 0)); err != nil {
			return err
		}
	}
	return at.Unlink(home, idx, 0)
}
