package fusefs_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/fusefs/internal/serve"
)

// posixCase is a case of what POSIX and Linux promise a program, beyond
// vfstest's. It starts from what build makes, and runs on an overlay twice: with
// that made through the mount, and lying in the lower layer.
type posixCase struct {
	name  string
	root  bool // takes the rights of root
	build func(p *place)
	run   func(p *place)
}

// place is a directory to work in.
type place struct {
	*testing.T
	dir string
}

func (p *place) at(rel string) string { return filepath.Join(p.dir, rel) }

func (p *place) ok(err error) {
	p.Helper()
	if err != nil {
		p.Fatalf("unexpected error: %v", err)
	}
}

func (p *place) want(what string, err error, errnos ...syscall.Errno) {
	p.Helper()
	for _, e := range errnos {
		if errors.Is(err, e) || e == 0 && err == nil {
			return
		}
	}
	p.Errorf("%s: got %v, want %v", what, err, errnos)
}

func (p *place) write(rel, data string, mode os.FileMode) {
	p.Helper()
	p.ok(os.WriteFile(p.at(rel), []byte(data), 0o600))
	p.ok(unix.Chmod(p.at(rel), uint32(mode)))
}

func (p *place) mkdir(rel string, mode uint32) {
	p.Helper()
	p.ok(os.Mkdir(p.at(rel), 0o755))
	p.ok(unix.Chmod(p.at(rel), mode))
}

func (p *place) open(rel string, flags int) *os.File {
	p.Helper()
	f, err := os.OpenFile(p.at(rel), flags, 0o644)
	p.ok(err)
	p.Cleanup(func() { f.Close() })
	return f
}

func (p *place) stat(rel string) unix.Statx_t {
	p.Helper()
	var st unix.Statx_t
	p.ok(unix.Statx(unix.AT_FDCWD, p.at(rel), unix.AT_SYMLINK_NOFOLLOW, unix.STATX_ALL, &st))
	return st
}

// as runs f on a thread of its own as another user: uid and groups, of which the
// first is the user's own.
func (p *place) as(uid int, groups []uint32, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends
		for _, call := range [][4]uintptr{
			{unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(&groups[0]))},
			{unix.SYS_SETRESGID, uintptr(groups[0]), uintptr(groups[0]), uintptr(groups[0])},
			{unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)},
		} {
			if _, _, e := syscall.RawSyscall(call[0], call[1], call[2], call[3]); e != 0 {
				done <- fmt.Errorf("becoming another user: %w", e)
				return
			}
		}
		done <- f()
	}()
	return <-done
}

func TestPosixCases(t *testing.T) {
	var cases []posixCase
	for _, c := range slices.Concat(posixRightsCases(), posixFileCases(), posixDirCases()) {
		if !c.root || os.Geteuid() == 0 {
			cases = append(cases, c)
		}
	}
	for _, from := range []string{"upper", "lower"} {
		t.Run(from, func(t *testing.T) {
			base := t.TempDir()
			reachable(t, base)
			var dirs []string
			for _, name := range []string{"upper", "work", "state", "lower"} {
				dirs = append(dirs, mkdir(t, base, name))
			}
			build := func(t *testing.T, c *posixCase, root string) {
				p := &place{t, mkdir(t, root, c.name)}
				if c.build != nil {
					c.build(p)
				}
			}
			if from == "lower" {
				for i := range cases {
					build(t, &cases[i], lowerOf(dirs))
				}
			}
			c := serve.Config{FS: "overlay static", Dirs: dirs, Mountpoint: mkdir(t, base, "mnt")}
			// Root serves other users, too.
			c.Options.AllowOther = os.Geteuid() == 0
			m := serve.Start(t, c)
			for i := range cases {
				t.Run(cases[i].name, func(t *testing.T) {
					if from == "upper" {
						build(t, &cases[i], m.Mountpoint)
					}
					cases[i].run(&place{t, filepath.Join(m.Mountpoint, cases[i].name)})
				})
			}
		})
	}
}

const aclAccess, aclDefault = "system.posix_acl_access", "system.posix_acl_default"

// trySetACL gives user, group and others these permissions, and each of users
// reading and writing.
func (p *place) trySetACL(rel, attr string, user, group, other uint16, users ...uint32) error {
	acl := binary.LittleEndian.AppendUint32(nil, 2) // version
	add := func(tag, perm uint16, id uint32) {
		acl = binary.LittleEndian.AppendUint16(acl, tag)
		acl = binary.LittleEndian.AppendUint16(acl, perm)
		acl = binary.LittleEndian.AppendUint32(acl, id)
	}
	const none = 1<<32 - 1
	add(1, user, none)
	for _, u := range users {
		add(2, 6, u)
	}
	add(4, group, none)
	if len(users) > 0 {
		add(0x10, 6, none)
	}
	add(0x20, other, none)
	return unix.Setxattr(p.at(rel), attr, acl, 0)
}

func (p *place) setACL(rel, attr string, user, group, other uint16, users ...uint32) {
	p.Helper()
	p.ok(p.trySetACL(rel, attr, user, group, other, users...))
}

func (p *place) getACL(rel, attr string) []byte {
	p.Helper()
	acl := make([]byte, 1024)
	n, err := unix.Getxattr(p.at(rel), attr, acl)
	p.ok(err)
	return acl[:n]
}

// reachable lets other users come to a directory for tests.
func reachable(t *testing.T, dir string) {
	t.Helper()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

const (
	alice, bob = 65533, 65534
)

func posixRightsCases() []posixCase {
	return []posixCase{
		{"sticky", true, func(p *place) {
			p.mkdir("d", 0o1777)
			for _, name := range []string{"a", "b", "over"} {
				p.write("d/"+name, name, 0o666)
				p.ok(os.Chown(p.at("d/"+name), alice, alice))
			}
			p.mkdir("d/sub", 0o777)
			p.ok(os.Chown(p.at("d/sub"), alice, alice))
			p.write("d/bobs", "", 0o666)
			p.ok(os.Chown(p.at("d/bobs"), bob, bob))
			p.mkdir("free", 0o777)
		}, func(p *place) {
			byBob := func(f func() error) error { return p.as(bob, []uint32{bob}, f) }
			p.want("unlink", byBob(func() error { return unix.Unlink(p.at("d/a")) }), syscall.EPERM)
			p.want("rmdir", byBob(func() error { return unix.Rmdir(p.at("d/sub")) }), syscall.EPERM)
			p.want("rename", byBob(func() error { return unix.Rename(p.at("d/a"), p.at("free/a")) }), syscall.EPERM)
			p.want("rename over", byBob(func() error { return unix.Rename(p.at("d/bobs"), p.at("d/over")) }), syscall.EPERM)
			p.want("exchange", byBob(func() error {
				return unix.Renameat2(unix.AT_FDCWD, p.at("d/bobs"), unix.AT_FDCWD, p.at("d/over"), unix.RENAME_EXCHANGE)
			}), syscall.EPERM)
			p.want("rename of one's own", byBob(func() error { return unix.Rename(p.at("d/bobs"), p.at("d/bobs2")) }), 0)
			byAlice := func(f func() error) error { return p.as(alice, []uint32{alice}, f) }
			p.want("unlink of one's own", byAlice(func() error { return unix.Unlink(p.at("d/a")) }), 0)
			p.want("rmdir of one's own", byAlice(func() error { return unix.Rmdir(p.at("d/sub")) }), 0)
		}},
		{"setgid", true, func(p *place) {
			p.mkdir("d", 0o2777)
			p.ok(os.Chown(p.at("d"), 0, 77))
			p.write("f", "", 0o755)
			p.ok(os.Chown(p.at("f"), bob, 77))
		}, func(p *place) {
			p.ok(p.as(bob, []uint32{bob}, func() error {
				if err := os.Mkdir(p.at("d/sub"), 0o755); err != nil {
					return err
				}
				if err := os.WriteFile(p.at("d/f"), nil, 0o644); err != nil {
					return err
				}
				return unix.Chmod(p.at("f"), 0o2755)
			}))
			for name, want := range map[string]uint16{"d/sub": unix.S_IFDIR | 0o2755, "d/f": unix.S_IFREG | 0o644, "f": unix.S_IFREG | 0o755} {
				if st := p.stat(name); st.Gid != 77 || st.Uid != bob || st.Mode != want {
					p.Errorf("%s: mode %o, owner %d:%d", name, st.Mode, st.Uid, st.Gid)
				}
			}
			p.ok(p.as(bob, []uint32{bob, 77}, func() error { return unix.Chmod(p.at("f"), 0o2755) }))
			if st := p.stat("f"); st.Mode&0o7777 != 0o2755 {
				p.Errorf("a member of the group set mode %o", st.Mode)
			}
		}},
		{"chown", true, func(p *place) {
			for _, name := range []string{"root", "group", "data", "away"} {
				p.write(name, "", 0o6755)
				p.ok(os.Chown(p.at(name), bob, bob))
				p.ok(unix.Chmod(p.at(name), 0o6755))
			}
			p.write("locked", "", 0o644)
			p.ok(os.Chown(p.at("locked"), bob, bob))
			p.ok(unix.Chmod(p.at("locked"), 0o6644))
			p.mkdir("d", 0o755)
			p.ok(os.Chown(p.at("d"), bob, bob))
			p.ok(unix.Chmod(p.at("d"), 0o6755))
		}, func(p *place) {
			mode := func(name string, want uint16) {
				p.Helper()
				if st := p.stat(name); st.Mode&0o7777 != want {
					p.Errorf("%s has mode %o, want %o", name, st.Mode&0o7777, want)
				}
			}
			p.ok(os.Chown(p.at("root"), alice, 5))
			mode("root", 0o755)
			p.ok(os.Chown(p.at("locked"), 0, -1)) // who may do anything leaves setgid without group execution
			mode("locked", 0o2644)
			byBob := func(f func() error) error { return p.as(bob, []uint32{bob, 77}, f) }
			p.want("to a group of one's own", byBob(func() error { return unix.Chown(p.at("group"), -1, 77) }), 0)
			mode("group", 0o755)
			p.want("to another group", byBob(func() error { return unix.Chown(p.at("away"), -1, 78) }), syscall.EPERM)
			p.want("giving away", byBob(func() error { return unix.Chown(p.at("away"), alice, -1) }), syscall.EPERM)
			mode("away", 0o6755)
			p.want("a directory", byBob(func() error { return unix.Chown(p.at("d"), -1, 77) }), 0)
			mode("d", 0o6755) // directories keep theirs
			if st := p.stat("group"); st.Uid != bob || st.Gid != 77 {
				p.Errorf("group belongs to %d:%d", st.Uid, st.Gid)
			}
		}},
		{"utimensat", true, func(p *place) {
			p.write("writable", "", 0o666)
			p.write("readable", "", 0o644)
			p.write("own", "", 0o400)
			p.ok(os.Chown(p.at("own"), bob, bob))
		}, func(p *place) {
			now := unix.Timespec{Nsec: unix.UTIME_NOW}
			omit := unix.Timespec{Nsec: unix.UTIME_OMIT}
			fixed := unix.Timespec{Sec: 1234567890, Nsec: 123456789}
			for _, c := range []struct {
				file         string
				atime, mtime unix.Timespec
				want         syscall.Errno
			}{
				{"writable", now, now, 0},
				{"writable", fixed, fixed, syscall.EPERM},
				{"writable", now, fixed, syscall.EPERM},
				{"writable", omit, now, syscall.EPERM},
				{"readable", now, now, syscall.EACCES},
				{"readable", fixed, fixed, syscall.EPERM},
				{"readable", omit, omit, 0},
				{"own", now, now, 0},
				{"own", omit, fixed, 0},
				{"own", fixed, omit, 0},
				{"own", unix.Timespec{Nsec: 1e9}, now, syscall.EINVAL},
			} {
				err := p.as(bob, []uint32{bob}, func() error {
					return unix.UtimesNanoAt(unix.AT_FDCWD, p.at(c.file), []unix.Timespec{c.atime, c.mtime}, 0)
				})
				p.want(fmt.Sprintf("%s with %v and %v", c.file, c.atime, c.mtime), err, c.want)
			}
			if st := p.stat("own"); st.Mtime.Sec != fixed.Sec || st.Mtime.Nsec != 123456789 || st.Atime.Nsec != 123456789 {
				p.Errorf("times are %v and %v", st.Atime, st.Mtime)
			}
		}},
		{"accessByOthers", true, func(p *place) {
			p.mkdir("closed", 0o700)
			p.write("closed/f", "", 0o666)
			p.mkdir("list", 0o744)
			p.write("list/f", "", 0o666)
			p.write("secret", "", 0o600)
			p.mkdir("shared", 0o755)
		}, func(p *place) {
			byBob := func(f func() error) error { return p.as(bob, []uint32{bob}, f) }
			open := func(name string, flags int) error {
				return byBob(func() error {
					fd, err := unix.Open(p.at(name), flags, 0o644)
					if err == nil {
						unix.Close(fd)
					}
					return err
				})
			}
			p.want("below a closed directory", open("closed/f", unix.O_RDONLY), syscall.EACCES)
			p.want("below a directory without search", open("list/f", unix.O_RDONLY), syscall.EACCES)
			p.want("a secret", open("secret", unix.O_RDONLY), syscall.EACCES)
			p.want("creating", open("shared/new", unix.O_CREAT|unix.O_WRONLY), syscall.EACCES)
			p.want("chmod of another's", byBob(func() error { return unix.Chmod(p.at("secret"), 0o666) }), syscall.EPERM)
			p.want("removing", byBob(func() error { return unix.Unlink(p.at("secret")) }), syscall.EACCES)
			p.want("truncating", byBob(func() error { return unix.Truncate(p.at("secret"), 0) }), syscall.EACCES)
			p.want("listing", byBob(func() error { _, err := os.ReadDir(p.at("list")); return err }), 0)
			p.want("access", byBob(func() error {
				return unix.Faccessat2(unix.AT_FDCWD, p.at("secret"), unix.R_OK, unix.AT_EACCESS)
			}), syscall.EACCES)
		}},
		{"defaultACL", true, func(p *place) {
			p.mkdir("d", 0o777)
			p.setACL("d", aclDefault, 7, 7, 1)
			p.mkdir("plain", 0o777)
		}, func(p *place) {
			p.ok(p.as(bob, []uint32{bob}, func() error {
				if err := unix.Unshare(unix.CLONE_FS); err != nil { // for a umask of its own
					return err
				}
				unix.Umask(0o722)
				for _, d := range []string{"d/", "plain/"} {
					fd, err := unix.Open(p.at(d), unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o666)
					if err == syscall.EOPNOTSUPP && !p.tmpfiles() {
						fd, err = unix.Open(p.at(d+"tmpfile"), unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o666)
					} else if err == nil {
						err = unix.Linkat(unix.AT_FDCWD, "/proc/thread-self/fd/"+strconv.Itoa(fd), unix.AT_FDCWD, p.at(d+"tmpfile"), unix.AT_SYMLINK_FOLLOW)
					}
					unix.Close(fd)
					err = errors.Join(err, unix.Mkdir(p.at(d+"dir"), 0o777), unix.Mknod(p.at(d+"fifo"), unix.S_IFIFO|0o666, 0))
					if err != nil {
						return err
					}
					if fd, err = unix.Open(p.at(d+"file"), unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o666); err != nil {
						return err
					}
					unix.Close(fd)
				}
				return nil
			}))
			for name, want := range map[string]uint16{
				"d/tmpfile": 0o660, "d/file": 0o660, "d/fifo": 0o660, "d/dir": 0o771,
				"plain/tmpfile": 0o044, "plain/file": 0o044, "plain/fifo": 0o044, "plain/dir": 0o055,
			} {
				if st := p.stat(name); st.Mode&0o7777 != want {
					p.Errorf("%s has mode %o, want %o", name, st.Mode&0o7777, want)
				}
			}
			if got, want := p.getACL("d/dir", aclDefault), p.getACL("d", aclDefault); !bytes.Equal(got, want) {
				p.Errorf("the directory below hands on %x, want %x", got, want)
			}
		}},
		{"accessACL", true, func(p *place) {
			p.write("f", "", 0o2755)
			p.ok(os.Chown(p.at("f"), bob, 77))
			p.ok(unix.Chmod(p.at("f"), 0o2755))
			p.mkdir("d", 0o755)
			p.ok(os.Chown(p.at("d"), bob, 77))
			p.ok(unix.Chmod(p.at("d"), 0o2755))
			p.write("for alice", "", 0o600)
			p.setACL("for alice", aclAccess, 6, 0, 0, alice)
		}, func(p *place) {
			byAlice := func(f func() error) error { return p.as(alice, []uint32{alice}, f) }
			p.want("write by a user of the ACL", byAlice(func() error { return os.WriteFile(p.at("for alice"), []byte("x"), 0) }), 0)
			p.want("write by another", p.as(bob, []uint32{bob}, func() error { return os.WriteFile(p.at("for alice"), []byte("x"), 0) }), syscall.EACCES)
			if st := p.stat("for alice"); st.Mode&0o777 != 0o660 {
				p.Errorf("with the mask, the mode is %o", st.Mode&0o777)
			}
			p.ok(unix.Chmod(p.at("for alice"), 0o640)) // the mask, not the group
			p.want("write that the mask refuses", byAlice(func() error { return os.WriteFile(p.at("for alice"), []byte("x"), 0) }), syscall.EACCES)
			// Setgid falls with an ACL by one who is not of the group, as by chmod.
			for _, name := range []string{"f", "d"} {
				p.ok(p.as(bob, []uint32{bob, 77}, func() error { return p.trySetACL(name, aclAccess, 7, 7, 7) }))
				if st := p.stat(name); st.Mode&0o7777 != 0o2777 {
					p.Errorf("%s: set by one of the group, the mode is %o", name, st.Mode&0o7777)
				}
				p.ok(p.as(bob, []uint32{bob}, func() error { return p.trySetACL(name, aclAccess, 7, 7, 5) }))
				if st := p.stat(name); st.Mode&0o7777 != 0o775 {
					p.Errorf("%s: set by another, the mode is %o", name, st.Mode&0o7777)
				}
			}
		}},
		{"modeAfterWrite", true, func(p *place) {
			for _, name := range []string{"write", "direct", "truncate", "allocate", "copy"} {
				p.write(name, strings.Repeat("x", 8192), 0o755)
				p.ok(os.Chown(p.at(name), bob, bob))
				p.ok(unix.Chmod(p.at(name), 0o6755))
			}
		}, func(p *place) {
			page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
			p.ok(err)
			defer unix.Munmap(page)
			for name, do := range map[string]func(fd int) error{
				"write":    func(fd int) error { _, err := unix.Pwrite(fd, page[:5], 0); return err },
				"direct":   func(fd int) error { _, err := unix.Pwrite(fd, page, 0); return err },
				"truncate": func(fd int) error { return unix.Ftruncate(fd, 1) },
				"allocate": func(fd int) error { return unix.Fallocate(fd, 0, 0, 16384) },
				"copy": func(fd int) error {
					from, to := int64(0), int64(4096)
					_, err := unix.CopyFileRange(fd, &from, fd, &to, 100, 0)
					return err
				},
			} {
				mode := func() uint16 { // and nothing else, which would make the kernel ask
					var st unix.Statx_t
					p.ok(unix.Statx(unix.AT_FDCWD, p.at(name), 0, unix.STATX_MODE, &st))
					return st.Mode & 0o7777
				}
				if got := mode(); got != 0o6755 {
					p.Errorf("%s: before, the mode is %o", name, got)
				}
				flags := unix.O_RDWR
				if name == "direct" {
					flags |= unix.O_DIRECT
				}
				p.ok(p.as(bob, []uint32{bob}, func() error {
					fd, err := unix.Open(p.at(name), flags, 0)
					if err != nil {
						return err
					}
					defer unix.Close(fd)
					return do(fd)
				}))
				if got := mode(); got != 0o755 {
					p.Errorf("%s: the mode is %o", name, got)
				}
			}
			// Without group execution, setgid stays for those of the group.
			for _, group := range []int{bob, 77, 78} {
				p.ok(os.Chown(p.at("write"), alice, group))
				p.ok(unix.Chmod(p.at("write"), 0o6666))
				p.ok(p.as(bob, []uint32{bob, 77}, func() error { return os.WriteFile(p.at("write"), []byte("x"), 0) }))
				want := uint16(0o2666)
				if group == 78 {
					want = 0o666
				}
				if got := p.stat("write").Mode & 0o7777; got != want {
					p.Errorf("of group %d: the mode is %o, want %o", group, got, want)
				}
			}
		}},
		{"linkOfAnothers", true, func(p *place) {
			p.write("f", "", 0o644)
			p.mkdir("d", 0o777)
		}, func(p *place) {
			protected := strings.TrimSpace(string(read(p.T, "/proc/sys/fs/protected_hardlinks"))) == "1"
			want := syscall.Errno(0)
			if protected {
				want = syscall.EPERM
			}
			p.want("link", p.as(bob, []uint32{bob}, func() error { return unix.Link(p.at("f"), p.at("d/l")) }), want)
		}},
	}
}
