package hostfs

import (
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// Options of [Open]. The zero value is good.
type Options struct {
	// Dirs is how many directory descriptors are kept open at most, apart from
	// those in use; 0 means 256.
	Dirs int
	// Pins is how many nameless files and removed directories are kept
	// reachable at most by a descriptor each; 0 means 1024.
	Pins int
	// Idle is how many nodes without a reference are remembered, about; 0 means
	// 4096.
	Idle int
	// Stage is a directory outside of the root, made if it is not there, that no
	// other filesystem and no other process uses: with it, Replace puts files in
	// the place of others, and Open removes what was left half done. Empty:
	// Replace answers EOPNOTSUPP.
	Stage string
	// Kept is told of each file of somebody else's that a replacement left
	// without its name, at once and by every later Open. It may be nil.
	Kept func(Kept)

	step  func(string) // told of the points where a crash is tested
	apart bool         // a test's: Stage is taken to be on another mount
	plain bool         // a test's: names are taken not to be exchangeable
}

// FS is a directory of the host. See the package comment.
type FS struct {
	vfs.Watchers

	dirs       *at.Cache
	root       *node
	table      table
	privileged bool // files are made for the caller's uid and gid
	maxPins    int64
	pins       atomic.Int64 // nodes with a pin
	stage      *stage       // immutable; nil without
	births     sync.Map     // uint64 device -> bool: birth times tell inodes apart
	homeDev    uint64       // the root's, on which most of the tree is
	homeBorn   bool         // births of homeDev

	// tree is held exclusively while a directory gets another name, on the host
	// and in its node, and shared to read the way from a node to the root.
	tree sync.RWMutex
}

var _ vfs.FS = (*FS)(nil)

// Open opens the directory at path, which may be any path of the host, as the
// root of a filesystem.
//
// Errnos: ENOENT, ENOTDIR, EACCES and others of open(2).
func Open(path string, opt Options) (*FS, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	fs := &FS{
		dirs:       at.NewCache(orDefault(opt.Dirs, 256)),
		privileged: os.Geteuid() == 0,
		maxPins:    int64(orDefault(opt.Pins, 1024)),
	}
	fs.table.init(orDefault(opt.Idle, 4096))
	a, id, err := at.Stat(fd, "")
	if err != nil {
		unix.Close(fd)
		return nil, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	dir, err := fs.dirs.Root(fd)
	if err != nil {
		unix.Close(fd)
		return nil, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	fs.homeBorn = fs.bornApart(id.Dev, fd)
	fs.homeDev = id.Dev
	if opt.Stage != "" {
		if err := fs.openStage(path, fd, &opt); err != nil {
			dir.Drop()
			return nil, err
		}
	}
	fs.root = fs.table.addRoot(id, &a, dir)
	return fs, nil
}

func orDefault(n, def int) int {
	if n > 0 {
		return n
	}
	return def
}

// Close closes every descriptor that the filesystem holds, handles apart. The
// caller makes sure that no operation is under way; those that come later
// answer ESTALE.
func (fs *FS) Close() error {
	for _, n := range fs.table.drain() {
		fs.destroy(n)
	}
	if fs.stage != nil {
		return fs.stage.close()
	}
	return nil
}

// bornApart tells whether birth times tell an inode of device dev from a later
// one with its number. fd is a descriptor on that device, or on the one above
// where dev is the root of another mount.
func (fs *FS) bornApart(dev uint64, fd int) bool {
	if dev == fs.homeDev {
		return fs.homeBorn
	}
	if v, ok := fs.births.Load(dev); ok {
		return v.(bool)
	}
	_, id, err := at.Stat(fd, "")
	if err != nil || id.Dev != dev {
		return false // a mount point: not known before it is entered
	}
	st, err := at.StatFS(fd)
	if err != nil {
		return false
	}
	good := false
	switch int64(st.Type) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, unix.TMPFS_MAGIC:
		good = true
	}
	fs.births.Store(dev, good)
	return good
}

// node returns the node with that id.
func (fs *FS) node(id vfs.NodeID) (*node, error) {
	if id == vfs.RootID {
		return fs.root, nil
	}
	if n := fs.table.get(id); n != nil {
		return n, nil
	}
	return nil, syscall.ESTALE
}

// dirNode returns the node with that id, which must be a directory.
func (fs *FS) dirNode(id vfs.NodeID) (*node, error) {
	n, err := fs.node(id)
	if err != nil {
		return nil, err
	}
	if n.dir == nil {
		return nil, syscall.ENOTDIR
	}
	return n, nil
}

// place checks name and returns the directory node it is to be in.
func (fs *FS) place(parent vfs.NodeID, name string) (*node, error) {
	if err := vfs.CheckName(name); err != nil {
		return nil, err
	}
	return fs.dirNode(parent)
}
