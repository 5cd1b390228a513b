package vfstest

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

func (e *env) setAttr(n vfs.NodeID, h vfs.Handle, in vfs.SetAttr) vfs.Attr {
	e.Helper()
	a, err := e.fs.SetAttr(e.ctx, n, h, in)
	if err != nil {
		e.Fatalf("SetAttr %+v: %v (%s)", in, err, errName(err))
	}
	if b := e.attr(n); a.Mode != b.Mode || a.Size != b.Size || a.UID != b.UID || a.GID != b.GID || a.Mtime != b.Mtime || a.Nlink != b.Nlink {
		e.Fatalf("SetAttr returned %+v, GetAttr %+v", a, b)
	}
	return a
}

func attrCases() []testCase {
	return []testCase{
		{"Attr/Types", Tree{
			file("f", "hello"), dir("d"), symlink("s", "target"), {Path: "p", Mode: unix.S_IFIFO | 0640}, {Path: "k", Mode: unix.S_IFSOCK | 0600},
		}, func(e *env) {
			for name, mode := range map[string]uint32{
				"f": unix.S_IFREG | 0644, "d": unix.S_IFDIR | 0755, "s": unix.S_IFLNK | 0777, "p": unix.S_IFIFO | 0640, "k": unix.S_IFSOCK | 0600,
			} {
				ent := e.at(name)
				a := e.attr(ent.Node)
				if a.Mode != mode || ent.Attr.Mode != mode {
					e.Errorf("mode of %s is %o, %o; want %o", name, ent.Attr.Mode, a.Mode, mode)
				}
				if a.Ino == 0 || a.Ino != ent.Attr.Ino {
					e.Errorf("inode number of %s is %d, then %d", name, ent.Attr.Ino, a.Ino)
				}
				if a.Nlink < 1 || name != "d" && a.Nlink != 1 {
					e.Errorf("link count of %s is %d", name, a.Nlink)
				}
				if a.Mtime.IsZero() || a.Ctime.IsZero() || a.Atime.IsZero() || a.Blksize == 0 {
					e.Errorf("attributes of %s are not all there: %+v", name, a)
				}
			}
			if a := e.attr(e.at("f").Node); a.Size != 5 || a.Rdev != 0 {
				e.Errorf("file has size %d, device %d", a.Size, a.Rdev)
			}
			if a := e.attr(e.at("s").Node); a.Size != 6 {
				e.Errorf("symbolic link has size %d", a.Size)
			}
		}},
		{"SetAttr/Mode", Tree{file("f", "x"), dir("d"), symlink("s", "f"), {Path: "p", Mode: unix.S_IFIFO | 0600}}, func(e *env) {
			for _, name := range []string{"f", "d", "p"} {
				ent := e.at(name)
				typ := ent.Attr.Type()
				for _, mode := range []uint32{0, 0700, 0777, 04755, 01777, 02775, 0644} {
					// Type bits in Mode are ignored.
					a := e.setAttr(ent.Node, nil, vfs.SetAttr{Valid: vfs.SetMode, Mode: mode | unix.S_IFSOCK})
					if a.Mode != typ|mode {
						e.Errorf("mode of %s is %o, want %o", name, a.Mode, typ|mode)
					}
				}
			}
			_, err := e.fs.SetAttr(e.ctx, e.at("s").Node, nil, vfs.SetAttr{Valid: vfs.SetMode, Mode: 0600})
			e.want(err, syscall.EOPNOTSUPP)
			if a := e.attr(e.at("f").Node); a.Mode != unix.S_IFREG|0644 {
				e.Errorf("the link's target has mode %o", a.Mode)
			}
			e.contents(e.at("f").Node, "x")
		}},
		{"SetAttr/Size", Tree{file("f", "0123456789"), dir("d"), symlink("s", "f"), {Path: "p", Mode: unix.S_IFIFO | 0600}}, func(e *env) {
			f := e.at("f").Node
			e.setAttr(f, nil, vfs.SetAttr{Valid: vfs.SetSize, Size: 4})
			e.contents(f, "0123")
			e.setAttr(f, nil, vfs.SetAttr{Valid: vfs.SetSize, Size: 8})
			e.contents(f, "0123\x00\x00\x00\x00")
			e.setAttr(f, nil, vfs.SetAttr{Valid: vfs.SetSize, Size: 0})
			e.contents(f, "")
			size := func(n vfs.NodeID, size int64, errnos ...syscall.Errno) {
				e.Helper()
				_, err := e.fs.SetAttr(e.ctx, n, nil, vfs.SetAttr{Valid: vfs.SetSize, Size: size})
				e.want(err, errnos...)
			}
			size(f, -1, syscall.EINVAL)
			size(f, 1<<62, syscall.EFBIG, 0) // a host may have no limit below that
			size(e.at("d").Node, 0, syscall.EISDIR)
			size(e.at("s").Node, 0, syscall.EINVAL)
			size(e.at("p").Node, 0, syscall.EINVAL)
		}},
		{"SetAttr/SizeByHandle", Tree{file("f", "0123456789")}, func(e *env) {
			f := e.at("f").Node
			r, w := e.open(f, unix.O_RDONLY), e.open(f, unix.O_WRONLY)
			e.setAttr(f, w, vfs.SetAttr{Valid: vfs.SetSize, Size: 3})
			e.readAt(r, 0, "012")
			_, err := e.fs.SetAttr(e.ctx, f, r, vfs.SetAttr{Valid: vfs.SetSize, Size: 1})
			e.want(err, syscall.EBADF, syscall.EINVAL)
			e.readAt(r, 0, "012")
			e.ok(e.fs.Unlink(e.ctx, vfs.RootID, "f"))
			e.setAttr(f, w, vfs.SetAttr{Valid: vfs.SetSize, Size: 1})
			e.setAttr(f, r, vfs.SetAttr{Valid: vfs.SetMode, Mode: 0600})
			e.readAt(r, 0, "0")
		}},
		{"SetAttr/Nothing", Tree{file("f", "x")}, func(e *env) {
			f := e.at("f")
			if a := e.setAttr(f.Node, nil, vfs.SetAttr{Mode: 0, Size: 0, UID: 77}); a.Mode != f.Attr.Mode || a.Size != 1 || a.UID != f.Attr.UID {
				e.Errorf("attributes became %+v", a)
			}
		}},
		{"SetAttr/Together", Tree{file("f", "0123456789")}, func(e *env) {
			f := e.at("f")
			mt := vfs.Timespec{Sec: 1_000_000_000, Nsec: 5}
			in := vfs.SetAttr{
				Valid: vfs.SetMode | vfs.SetSize | vfs.SetMtime | vfs.SetUID | vfs.SetGID,
				Mode:  04711, Size: 2, Mtime: mt, UID: f.Attr.UID, GID: f.Attr.GID,
			}
			a := e.setAttr(f.Node, nil, in)
			if a.Mode != unix.S_IFREG|04711 || a.Size != 2 || a.Mtime != mt {
				e.Errorf("attributes became %+v", a)
			}
		}},
		{"SetAttr/ChangesCtime", Tree{file("f", "x")}, func(e *env) {
			f := e.at("f").Node
			before := e.attr(f)
			time.Sleep(20 * time.Millisecond)
			a := e.setAttr(f, nil, vfs.SetAttr{Valid: vfs.SetMode, Mode: 0600})
			if !a.Ctime.Time().After(before.Ctime.Time()) || a.Mtime != before.Mtime {
				e.Errorf("ctime %v to %v, mtime %v to %v", before.Ctime, a.Ctime, before.Mtime, a.Mtime)
			}
		}},
		{"StatFS", Tree{dir("d"), file("d/f", "x")}, func(e *env) {
			for _, path := range []string{"", "d", "d/f"} {
				st, err := e.fs.StatFS(e.ctx, e.at(path).Node)
				e.ok(err)
				if st.Blocks == 0 || st.Bfree > st.Blocks || st.Bsize == 0 || st.Frsize == 0 || st.NameLen != 255 {
					e.Errorf("StatFS of %q: %+v", path, st)
				}
			}
		}},
	}
}

func timeCases() []testCase {
	return []testCase{
		{"Times/Set", Tree{file("f", "x"), dir("d"), symlink("s", "f"), {Path: "p", Mode: unix.S_IFIFO | 0600}}, func(e *env) {
			for _, name := range []string{"f", "d", "s", "p"} {
				n := e.at(name).Node
				for _, ts := range []vfs.Timespec{{Sec: 0, Nsec: 0}, {Sec: 1, Nsec: 999_999_999}, {Sec: -1, Nsec: 1}, {Sec: -1_000_000, Nsec: 0}, {Sec: 4_000_000_000, Nsec: 123_456_789}} {
					other := vfs.Timespec{Sec: 12345, Nsec: 6789}
					a := e.setAttr(n, nil, vfs.SetAttr{Valid: vfs.SetAtime | vfs.SetMtime, Atime: other, Mtime: ts})
					if a.Mtime != ts || a.Atime != other {
						e.Errorf("%s: times are %v %v, want %v %v", name, a.Atime, a.Mtime, other, ts)
					}
					a = e.setAttr(n, nil, vfs.SetAttr{Valid: vfs.SetAtime, Atime: ts})
					if a.Mtime != ts || a.Atime != ts {
						e.Errorf("%s: times are %v %v, want both %v", name, a.Atime, a.Mtime, ts)
					}
				}
				_, err := e.fs.SetAttr(e.ctx, n, nil, vfs.SetAttr{Valid: vfs.SetMtime, Mtime: vfs.Timespec{Sec: 1, Nsec: 1_000_000_000}})
				e.want(err, syscall.EINVAL)
			}
		}},
		{"Times/Now", Tree{{Path: "f", Data: "x", Mtime: vfs.Timespec{Sec: 1000}}}, func(e *env) {
			f := e.at("f").Node
			if a := e.attr(f); a.Mtime != (vfs.Timespec{Sec: 1000}) {
				e.Fatalf("mtime is %v", a.Mtime)
			}
			// The kernel's clock for files lags behind by up to a tick.
			start := time.Now().Add(-time.Second)
			a := e.setAttr(f, nil, vfs.SetAttr{Valid: vfs.SetMtimeNow})
			if a.Mtime.Time().Before(start) || a.Atime.Time().After(start) {
				e.Errorf("times are %v %v", a.Atime, a.Mtime)
			}
			a = e.setAttr(f, nil, vfs.SetAttr{Valid: vfs.SetAtimeNow | vfs.SetMtime, Mtime: vfs.Timespec{Sec: 7}})
			if a.Atime.Time().Before(start) || a.Mtime != (vfs.Timespec{Sec: 7}) {
				e.Errorf("times are %v %v", a.Atime, a.Mtime)
			}
		}},
		{"Times/ByHandle", Tree{file("f", "x")}, func(e *env) {
			f := e.at("f").Node
			h := e.open(f, unix.O_RDONLY)
			e.ok(e.fs.Unlink(e.ctx, vfs.RootID, "f"))
			if a := e.setAttr(f, h, vfs.SetAttr{Valid: vfs.SetMtime, Mtime: vfs.Timespec{Sec: 9}}); a.Mtime.Sec != 9 {
				e.Errorf("mtime is %v", a.Mtime)
			}
		}},
		{"Times/Modified", Tree{
			{Path: "f", Data: "x", Mtime: vfs.Timespec{Sec: 1000}}, {Path: "d", Mode: unix.S_IFDIR | 0755, Mtime: vfs.Timespec{Sec: 1000}},
		}, func(e *env) {
			start := time.Now().Add(-time.Second)
			fresh := func(what string, n vfs.NodeID, want bool) {
				e.Helper()
				if got := e.attr(n).Mtime.Time().After(start); got != want {
					e.Errorf("after %s the mtime is %v", what, e.attr(n).Mtime)
				}
			}
			old := func(n vfs.NodeID) {
				e.setAttr(n, nil, vfs.SetAttr{Valid: vfs.SetMtime, Mtime: vfs.Timespec{Sec: 1000}})
			}
			f, d := e.at("f").Node, e.at("d").Node
			h := e.open(f, unix.O_RDWR)
			e.readAt(h, 0, "x")
			fresh("opening and reading", f, false)
			e.setAttr(f, nil, vfs.SetAttr{Valid: vfs.SetMode, Mode: 0600})
			fresh("a chmod", f, false)
			e.writeAt(h, "y", 0)
			fresh("a write", f, true)
			old(f)
			e.setAttr(f, h, vfs.SetAttr{Valid: vfs.SetSize, Size: 0})
			fresh("a truncation", f, true)
			e.names(d)
			fresh("a listing", d, false)
			for _, s := range []struct {
				what string
				f    func()
			}{
				{"Create", func() { e.touch(d, "n") }},
				{"Rename", func() { e.ok(e.fs.Rename(e.ctx, d, "n", d, "m", 0)) }},
				{"Link", func() { e.entry(e.fs.Link(e.ctx, f, d, "l")) }},
				{"Unlink", func() { e.ok(e.fs.Unlink(e.ctx, d, "m")) }},
				{"Mkdir", func() { e.mkdir(d, "s") }},
				{"Rmdir", func() { e.ok(e.fs.Rmdir(e.ctx, d, "s")) }},
			} {
				old(d)
				s.f()
				fresh(s.what, d, true)
			}
		}},
	}
}
