package overlay

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// The directories in Work. "work" and "index" are the kernel's own, so that it
// can mount the same layers with the same work directory.
const (
	scratchDir = "work"
	indexDir   = "index"
	linksDir   = "links"
	inosDir    = "inos"
)

// openWork prepares the work directory and tries what the overlay needs of it.
func (fs *FS) openWork() (err error) {
	ly := &fs.ly
	ly.scratch, ly.index, ly.links, ly.inos = -1, -1, -1, -1
	if err := fs.checkWork(); err != nil {
		return fmt.Errorf("%s: %w", fs.opt.Work, err)
	}
	if err := fs.clearScratch(); err != nil {
		return fmt.Errorf("%s: %w", fs.opt.Work, err)
	}
	open := func(name string) (int, error) {
		if err := at.Mkdir(fs.workFD, name, 0o700); err != nil && err != syscall.EEXIST {
			return -1, fmt.Errorf("%s/%s: %w", fs.opt.Work, name, err)
		}
		fd, err := at.Open(fs.workFD, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			return -1, fmt.Errorf("%s/%s: %w", fs.opt.Work, name, err)
		}
		return fd, nil
	}
	if ly.scratch, err = open(scratchDir); err != nil {
		return err
	}
	if err := fs.probe(); err != nil {
		return fmt.Errorf("%s: %w", fs.opt.Work, err)
	}
	if fs.parking, err = fs.dirOf(ly.scratch); err != nil {
		return err
	}
	if ly.index, err = open(indexDir); err != nil {
		return err
	}
	if ly.links, err = open(linksDir); err != nil {
		return err
	}
	if ly.inos, err = open(inosDir); err != nil {
		return err
	}
	if err := fs.hard.init(fs); err != nil {
		return err
	}
	return fs.inos.init(fs)
}

// checkWork makes sure that nothing is in the work directory but what an
// overlay puts there, before anything in it is removed.
func (fs *FS) checkWork() error {
	var foreign string
	err := at.ReadDir(fs.workFD, 0, func(e vfs.DirEntry) bool {
		switch e.Name {
		case ".", "..", scratchDir, indexDir, linksDir, inosDir:
			return true
		}
		foreign = e.Name
		return false
	})
	if err == nil && foreign != "" {
		err = fmt.Errorf("%w: %q", ErrForeignWork, foreign)
	}
	return err
}

// clearScratch removes what a crash left in the making.
func (fs *FS) clearScratch() error {
	fd, err := at.Open(fs.workFD, scratchDir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err == syscall.ENOENT {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return clearDir(fd)
}

// probe finds out what the filesystem of upper and work can do.
func (fs *FS) probe() error {
	ly := &fs.ly
	const a, b = "probe-a", "probe-b"
	defer func() {
		removeTree(ly.scratch, a, true)
		removeTree(ly.scratch, b, true)
	}()
	// A file and not a directory, which takes a block: what is on a full disk
	// must be within reach, to make room there.
	if err := at.Mknod(ly.scratch, a, unix.S_IFREG|0o600, 0); err != nil {
		return err
	}
	ly.privileged = unix.Geteuid() == 0
	ly.allUsers = ly.privileged && mayChown() && !inUserNamespace()
	var err error
	for _, ns := range []string{nsTrusted, nsUser} {
		if ns == nsTrusted && fs.opt.UserXattr {
			continue
		}
		ly.marks = marks{ns: ns}
		if !ly.privileged {
			ly.marks.modes = &fs.modes
		}
		if err = ly.setOpaque(ly.scratch, a); err == nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoXattr, err)
	}
	if err := at.Mknod(ly.scratch, b, whiteoutMode, 0); err != nil {
		return fmt.Errorf("%w: %w", ErrNoWhiteout, err)
	}
	if err := at.Rename(ly.scratch, a, ly.scratch, b, unix.RENAME_EXCHANGE); err != nil {
		return fmt.Errorf("%w: %w", ErrNoRename, err)
	}
	if err := at.Unlink(ly.scratch, a, 0); err != nil {
		return err
	}
	if err := at.Rename(ly.scratch, b, ly.scratch, a, unix.RENAME_WHITEOUT); err != nil {
		return fmt.Errorf("%w: %w", ErrNoRename, err)
	}
	fd, err := at.Open(ly.scratch, ".", unix.O_TMPFILE|unix.O_RDWR, 0o600)
	ly.tmpfile = err == nil
	closeFD(max(fd, -1))
	return nil
}

// mayChown tells whether this process has CAP_CHOWN, which a container may lack.
// Where that cannot be found out it has.
func mayChown() bool {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	err := unix.Capget(&head, &data[0])
	return err != nil || data[0].Effective&(1<<unix.CAP_CHOWN) != 0
}

// inUserNamespace tells whether this process knows some users only. Where that
// cannot be found out it knows all.
func inUserNamespace() bool {
	text, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && !slices.Equal(strings.Fields(string(text)), []string{"0", "0", "4294967295"})
}

// drop closes the descriptors.
func (ly *layers) drop() {
	ly.dirs.Clear()
	if ly.upper != nil {
		ly.upper.Drop()
	}
	for _, l := range ly.lowers {
		l.at.Drop()
	}
	if ly.ns != "" { // openWork came as far as to set them
		for _, fd := range [...]int{ly.scratch, ly.index, ly.links, ly.inos} {
			closeFD(fd)
		}
	}
}

// tmpName returns a name in the scratch directory that nobody else uses.
func (fs *FS) tmpName() string {
	return "#" + strconv.FormatUint(fs.nextTmp.Add(1), 16)
}

// whiteouts hands out whiteouts as further links of one inode, so that a
// deletion costs no inode.
type whiteouts struct {
	mu   sync.Mutex
	name string // of one in scratch; "" before the first
}

// make links a whiteout as name in dirfd.
func (w *whiteouts) make(fs *FS, dirfd int, name string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.name != "" {
		err := at.Link(fs.ly.scratch, w.name, dirfd, name)
		// EMLINK: it has all the names it can have. ENOENT, EPERM: somebody
		// cleared the work directory, or may not link devices.
		if err != syscall.EMLINK && err != syscall.ENOENT && err != syscall.EPERM {
			return err
		}
		at.Unlink(fs.ly.scratch, w.name, 0)
		w.name = ""
	}
	next := fs.tmpName()
	if err := at.Mknod(fs.ly.scratch, next, whiteoutMode, 0); err != nil {
		return err
	}
	err := at.Link(fs.ly.scratch, next, dirfd, name)
	if err == nil {
		w.name = next
		return nil
	}
	at.Unlink(fs.ly.scratch, next, 0)
	if err == syscall.EPERM || err == syscall.EMLINK || err == syscall.EOPNOTSUPP {
		return at.Mknod(dirfd, name, whiteoutMode, 0)
	}
	return err
}

// whiteoutTmp makes a whiteout in scratch and returns its name.
func (fs *FS) whiteoutTmp() (string, error) {
	name := fs.tmpName()
	err := fs.white.make(fs, fs.ly.scratch, name)
	fs.step("whiteout.made")
	return name, err
}

// discard removes an object from scratch that is not needed any more. What
// cannot be removed now is at the next Open.
func (fs *FS) discard(name string) {
	removeTree(fs.ly.scratch, name, true)
}
