package vfstest

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Reason is why a test does not run for somebody who is not root. These are all
// there are.
type Reason string

// The reasons.
const (
	NoNamespace   Reason = "this machine lets an ordinary user have no mount namespace"
	KernelOverlay Reason = "the kernel's overlay with redirects and trusted marks is root's to mount; what others have, in a namespace, is another filesystem"
	MountCommand  Reason = "mount(8) and fstab with layers named by hand are root's"
	NoFuse        Reason = "this machine lets an ordinary user mount nothing by fusermount3"
	NoFusectl     Reason = "this machine has no fusectl, and only root mounts it"
	OtherUser     Reason = "only root can be another user"
	NoACL         Reason = "the filesystem of temporary files has no access control lists"
)

// Skip skips t.
func Skip(t testing.TB, why Reason) {
	t.Helper()
	t.Skip(string(why))
}

// UsersMount tells whether this process, an ordinary user's, can mount by
// fusermount3.
func UsersMount() bool {
	_, err := exec.LookPath("fusermount3")
	return err == nil && unix.Access("/dev/fuse", unix.R_OK|unix.W_OK) == nil
}

// LetUsersMount lets ordinary users open /dev/fuse until the test, which root runs,
// ends. Tests of other packages that do the same wait for it.
func LetUsersMount(t *testing.T) {
	t.Helper()
	dev, err := os.Open("/dev/fuse")
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(dev.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	fi, err := dev.Stat()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Chmod("/dev/fuse", fi.Mode().Perm()); err != nil {
			t.Error(err)
		}
		dev.Close() // and with it the lock
	})
	if err := os.Chmod("/dev/fuse", 0o666); err != nil {
		t.Fatal(err)
	}
}

// WithMounts tells whether this process may mount filesystems of the kernel, as
// root's may. For anybody else it has the test, as whose first step it is called,
// run by a process that counts as root in a user and a mount namespace of its own.
// That is all of it then, and the caller returns.
func WithMounts(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() == 0 {
		return true
	}
	var names []string
	for name := range strings.SplitSeq(t.Name(), "/") {
		names = append(names, "^"+regexp.QuoteMeta(name)+"$")
	}
	cmd := exec.Command("/proc/self/exe", "-test.run="+strings.Join(names, "/"), "-test.v", "-test.count=1", "-test.timeout=10m")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil && (errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EINVAL)) {
		Skip(t, NoNamespace)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()+" ") {
		t.Errorf("in a namespace: %v\n%s", err, out)
	}
	return false
}
