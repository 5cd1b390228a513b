package session

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/session/fault"
	"github.com/astridfs/astridfs/session/store"
)

// The states of a check.
const (
	CheckOK      = "ok"
	CheckLimited = "limited" // it works, but slower or not in every way
	CheckMissing = "missing" // sessions or mounts do not work without it
)

// Check is one thing that astridfs wants of a machine.
type Check struct {
	Name   string `json:"name"`
	State  string `json:"state"`
	Detail string `json:"detail"`
	Next   string `json:"next,omitempty"` // what to do, where it is not ok
}

// Doctor looks at everything that astridfs wants of this machine. It leaves the
// machine as it is, apart from making the state directory.
func Doctor(st *store.Store) []Check {
	return []Check{
		checkKernel(), checkOpenat2(), checkProc(), checkDevice(), checkHelper(), checkAllowOther(),
		checkPassthrough(), checkState(st), checkSpace(st), checkFiles(), checkGit(),
	}
}

// CheckFUSE tells whether this machine can mount at all.
func CheckFUSE() error {
	for _, c := range []Check{checkDevice(), checkHelper()} {
		if c.State == CheckMissing {
			return errors.New(c.Detail)
		}
	}
	return nil
}

// kernel returns the version of the running kernel.
func kernel() (major, minor int, release string) {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return 0, 0, "unknown"
	}
	release = unix.ByteSliceToString(u.Release[:])
	fmt.Sscanf(release, "%d.%d", &major, &minor) // zeros if it is none
	return major, minor, release
}

func atLeast(major, minor int) bool {
	a, b, _ := kernel()
	return a > major || a == major && b >= minor
}

func checkKernel() Check {
	_, _, release := kernel()
	c := Check{Name: "kernel", State: CheckOK, Detail: "Linux " + release}
	if !atLeast(5, 8) {
		c.State, c.Next = CheckMissing, "use Linux 5.8 or newer"
	}
	return c
}

func checkOpenat2() Check {
	c := Check{Name: "openat2", State: CheckOK, Detail: "paths are confined by the kernel"}
	fd, err := unix.Openat2(unix.AT_FDCWD, "/", &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS})
	switch err {
	case nil:
		unix.Close(fd)
	case unix.EXDEV: // "/" leads out of the current directory, as it should
	default:
		c.State, c.Detail, c.Next = CheckMissing, "openat2: "+err.Error(), "use Linux 5.6 or newer; in a container, a seccomp profile that allows openat2"
	}
	return c
}

func checkProc() Check {
	if _, err := os.Stat("/proc/self/mountinfo"); err != nil {
		return Check{Name: "/proc", State: CheckMissing, Detail: err.Error(), Next: "mount it: mount -t proc proc /proc"}
	}
	return Check{Name: "/proc", State: CheckOK, Detail: "mounted"}
}

func checkDevice() Check {
	c := Check{Name: "/dev/fuse", State: CheckOK, Detail: "can be opened"}
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err == nil {
		f.Close()
		if os.Geteuid() == 0 && !maySysAdmin() {
			c.State, c.Detail = CheckMissing, "can be opened, but without the capability CAP_SYS_ADMIN root mounts nothing"
			c.Next = "in a container: --cap-add SYS_ADMIN. Without it everything but mount works"
		}
		return c
	}
	c.State, c.Detail = CheckMissing, err.Error()
	c.Next = "load the module: modprobe fuse; in a container, pass it in: --device /dev/fuse --cap-add SYS_ADMIN. Without it everything but mount works"
	if errors.Is(err, fs.ErrPermission) {
		c.Next = "let this user open it: chmod 666 /dev/fuse, or the fuse group"
	}
	return c
}

// maySysAdmin tells whether this process has CAP_SYS_ADMIN, as root mostly has, and
// seldom in a container.
func maySysAdmin() bool {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	err := unix.Capget(&head, &data[0])
	return err == nil && data[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0
}

func checkHelper() Check {
	c := Check{Name: "fusermount3", State: CheckOK}
	path, err := exec.LookPath("fusermount3")
	switch {
	case err == nil:
		c.Detail = path
	case os.Geteuid() == 0:
		c.Detail = "not found, and not needed: root mounts directly"
	default:
		c.State, c.Detail, c.Next = CheckMissing, "not found, and this user cannot mount without it", "install it: apt install fuse3"
	}
	return c
}

func checkAllowOther() Check {
	c := Check{Name: "allow-other", State: CheckOK, Detail: "mount --allow-other is permitted"}
	if os.Geteuid() == 0 {
		return c
	}
	f, err := os.Open("/etc/fuse.conf")
	if err == nil {
		defer f.Close()
		for sc := bufio.NewScanner(f); sc.Scan(); {
			if strings.TrimSpace(sc.Text()) == "user_allow_other" {
				return c
			}
		}
	}
	c.State, c.Detail, c.Next = CheckLimited, "only this user can see a mount", "for --allow-other, put user_allow_other in /etc/fuse.conf"
	return c
}

func checkPassthrough() Check {
	c := Check{Name: "passthrough", State: CheckOK, Detail: "the kernel reads and writes new files directly"}
	switch {
	case !atLeast(6, 9):
		c.State, c.Detail, c.Next = CheckLimited, "this kernel has none: large files are slower", "use Linux 6.9 or newer"
	case os.Geteuid() != 0 || !maySysAdmin():
		c.State, c.Detail, c.Next = CheckLimited, "only root with CAP_SYS_ADMIN gets it: large files are slower", "mount as root, if that matters"
	}
	return c
}

func checkState(st *store.Store) Check {
	c := Check{Name: "state directory", State: CheckOK, Detail: st.Dir() + " holds extended attributes and whiteouts"}
	if _, err := st.Probe(); err != nil {
		f := fault.Of(err)
		c.State, c.Detail, c.Next = CheckMissing, f.What, f.Next
	}
	return c
}

func checkSpace(st *store.Store) Check {
	c := Check{Name: "free space", State: CheckOK}
	free, err := st.Space()
	c.Detail = fmt.Sprintf("%d MiB in the state directory", free>>20)
	switch {
	case err != nil:
		c.State, c.Detail = CheckLimited, err.Error()
	case free < 256<<20:
		c.State, c.Next = CheckLimited, "make room, or use another state directory: --state-dir"
	}
	return c
}

func checkFiles() Check {
	const want = 4096
	var l unix.Rlimit
	c := Check{Name: "open files", State: CheckOK}
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		c.State, c.Detail = CheckLimited, err.Error()
		return c
	}
	c.Detail = fmt.Sprintf("up to %d", l.Max)
	if l.Max < want {
		c.State, c.Next = CheckLimited, fmt.Sprintf("raise the hard limit to %d or more: ulimit -Hn, limits.conf, LimitNOFILE=", want)
	}
	return c
}

func checkGit() Check {
	path, err := exec.LookPath("git")
	if err != nil {
		return Check{Name: "git", State: CheckLimited, Detail: "not found: no sessions of mode worktree", Next: "install it: apt install git"}
	}
	return Check{Name: "git", State: CheckOK, Detail: path}
}
