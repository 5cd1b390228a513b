package overlay_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// op is one operation, which tells its outcome in words.
type op struct {
	what string
	do   func(s *state) string
}

// state is a subject and its open files.
type state struct {
	subject
	files [4]file
	tmp   [4]bool // without a name, and never had one
}

// keep has f be open file i.
func (s *state) keep(i int, f file, tmp bool) {
	if s.files[i] != nil {
		s.files[i].close()
	}
	s.files[i], s.tmp[i] = f, tmp
}

func outcome(err error) string {
	var e syscall.Errno
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &e):
		return unix.ErrnoName(e)
	}
	return err.Error()
}

var opNames = []string{"a", "b", "c", "d"}

func randomPath(r *rand.Rand) string {
	n := 1 + r.IntN(3)
	parts := make([]string, n)
	for i := range parts {
		parts[i] = opNames[r.IntN(len(opNames))]
	}
	return path.Join(parts...)
}

// randomOp makes one operation, a different outcome of which would tell two
// subjects apart.
func randomOp(r *rand.Rand) op {
	p, q := randomPath(r), randomPath(r)
	data := fmt.Sprintf("<%d>", r.IntN(1000))
	off := int64(r.IntN(12))
	i := r.IntN(4)
	simple := func(what string, f func(s *state) error) op {
		return op{what, func(s *state) string { return outcome(f(s)) }}
	}
	switch k := r.IntN(114); {
	case k >= 112:
		return simple(fmt.Sprintf("ftruncate %d %d", i, off), func(s *state) error {
			if s.files[i] == nil {
				return nil
			}
			return s.files[i].ftruncate(off)
		})
	case k >= 110:
		return simple(fmt.Sprintf("tmpfile %d %s", i, p), func(s *state) error {
			f, err := s.tmpfile(p)
			if err == nil {
				s.keep(i, f, true)
				_, err = f.pwrite([]byte(data), 0)
			}
			return err
		})
	case k >= 107:
		return simple(fmt.Sprintf("name %d %s", i, p), func(s *state) error {
			if s.files[i] == nil || !s.tmp[i] {
				return nil
			}
			err := s.linkFile(s.files[i], p)
			s.tmp[i] = err != nil
			return err
		})
	case k >= 103:
		mode := []uint32{0, unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_KEEP_SIZE | unix.FALLOC_FL_PUNCH_HOLE, unix.FALLOC_FL_ZERO_RANGE,
			unix.FALLOC_FL_ZERO_RANGE | unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_COLLAPSE_RANGE, unix.FALLOC_FL_INSERT_RANGE, 1 << 30}[r.IntN(8)]
		size := int64(r.IntN(9))
		return simple(fmt.Sprintf("fallocate %d %#x %d %d", i, mode, off, size), func(s *state) error {
			if s.files[i] == nil {
				return nil
			}
			return s.files[i].fallocate(mode, off, size)
		})
	case k >= 100:
		j, to := r.IntN(4), int64(r.IntN(12))
		return op{fmt.Sprintf("copy %d %d to %d %d", i, off, j, to), func(s *state) string {
			if s.files[i] == nil || s.files[j] == nil {
				return "none"
			}
			n, err := s.files[i].copyTo(s.files[j], off, to, 6)
			return outcome(err) + fmt.Sprint(max(n, 0))
		}}
	case k < 10:
		return simple("create "+p, func(s *state) error {
			f, err := s.open(p, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o640)
			if err == nil {
				f.pwrite([]byte(data), 0)
				err = f.close()
			}
			return err
		})
	case k < 18:
		flags := []int{unix.O_WRONLY, unix.O_RDWR, unix.O_WRONLY | unix.O_TRUNC, unix.O_WRONLY | unix.O_APPEND}[i]
		return simple(fmt.Sprintf("write %s %#x", p, flags), func(s *state) error {
			if a, err := s.lstat(p); err != nil || !a.IsRegular() {
				return err
			}
			f, err := s.open(p, flags, 0)
			if err == nil {
				_, err = f.pwrite([]byte(data), off)
				f.close()
			}
			return err
		})
	case k < 25:
		return simple("mkdir "+p, func(s *state) error { return s.mkdir(p, 0o750) })
	case k < 31:
		return simple("rmdir "+p, func(s *state) error { return s.rmdir(p) })
	case k < 39:
		return simple("unlink "+p, func(s *state) error { return s.unlink(p) })
	case k < 53:
		flags := []uint{0, 0, 0, 0, unix.RENAME_NOREPLACE, unix.RENAME_EXCHANGE}[r.IntN(6)]
		return simple(fmt.Sprintf("rename %s %s %d", p, q, flags), func(s *state) error {
			err := s.rename(p, q, flags)
			if err == syscall.ENOTEMPTY {
				// The kernel may have changed the times of the parents before it
				// found out.
				t := vfs.Timespec{Sec: 77}
				in := vfs.SetAttr{Valid: vfs.SetAtime | vfs.SetMtime, Atime: t, Mtime: t}
				s.setattr(path.Dir(p), in)
				s.setattr(path.Dir(q), in)
			}
			return err
		})
	case k < 58:
		return simple("link "+p+" "+q, func(s *state) error {
			if a, err := s.lstat(p); err == nil && a.IsDir() {
				return nil // the order of errors is the caller's
			}
			return s.link(p, q)
		})
	case k < 61:
		return simple("symlink "+p, func(s *state) error { return s.symlink(data, p) })
	case k < 63:
		return simple("mknod "+p, func(s *state) error { return s.mknod(p, unix.S_IFIFO|0o600, 0) })
	case k < 67:
		mode := uint32(r.IntN(0o1000)) | 0o700 // an ordinary user has to get in
		return simple("chmod "+p, func(s *state) error {
			if a, err := s.lstat(p); err != nil || a.IsSymlink() {
				return err
			}
			return s.setattr(p, vfs.SetAttr{Valid: vfs.SetMode, Mode: mode})
		})
	case k < 70:
		id := uint32(r.IntN(5))
		return simple("chown "+p, func(s *state) error {
			return s.setattr(p, vfs.SetAttr{Valid: vfs.SetUID | vfs.SetGID, UID: id, GID: id})
		})
	case k < 73:
		t := vfs.Timespec{Sec: int64(r.IntN(1000)), Nsec: 5}
		return simple("utimes "+p, func(s *state) error {
			return s.setattr(p, vfs.SetAttr{Valid: vfs.SetAtime | vfs.SetMtime, Atime: t, Mtime: t})
		})
	case k < 76:
		return simple("truncate "+p, func(s *state) error {
			if a, err := s.lstat(p); err != nil || !a.IsRegular() {
				return err
			}
			return s.setattr(p, vfs.SetAttr{Valid: vfs.SetSize, Size: off})
		})
	case k < 79:
		return simple("setxattr "+p, func(s *state) error { return s.setxattr(p, "user.x", data, r2flags(i)) })
	case k < 81:
		return simple("removexattr "+p, func(s *state) error { return s.removexattr(p, "user.x") })
	case k < 84:
		return op{"list " + p, func(s *state) string {
			l, err := s.list(p)
			return outcome(err) + fmt.Sprint(len(l))
		}}
	case k < 89:
		flags := []int{unix.O_RDONLY, unix.O_RDWR, unix.O_RDWR | unix.O_TRUNC, unix.O_RDWR | unix.O_APPEND}[r.IntN(4)]
		return simple(fmt.Sprintf("hold %d %s %d", i, p, flags), func(s *state) error {
			if a, err := s.lstat(p); err != nil || !a.IsRegular() {
				return err
			}
			f, err := s.open(p, flags, 0)
			if err == nil {
				s.keep(i, f, false)
			}
			return err
		})
	case k < 94:
		return op{fmt.Sprintf("pwrite %d", i), func(s *state) string {
			if s.files[i] == nil {
				return "none"
			}
			n, err := s.files[i].pwrite([]byte(data), off)
			return outcome(err) + fmt.Sprint(max(n, 0))
		}}
	default:
		return op{fmt.Sprintf("pread %d", i), func(s *state) string {
			if s.files[i] == nil {
				return "none"
			}
			buf := make([]byte, 64)
			n, err := s.files[i].pread(buf, 0)
			a, serr := s.files[i].fstat()
			// Not Nlink: the kernel shows that of the lower inode, 1, for a lower
			// file that was unlinked while it was open.
			return fmt.Sprintf("%s %q %s %d %o", outcome(err), buf[:max(n, 0)], outcome(serr), a.Size, a.Mode)
		}}
	}
}

func r2flags(i int) int { return []int{0, 0, unix.XATTR_CREATE, unix.XATTR_REPLACE}[i] }
