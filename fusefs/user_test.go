package fusefs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/fusefs/internal/serve"
	"github.com/astridfs/astridfs/vfs/vfstest"
)

// userTests are the tests that an ordinary user runs again, who mounts by
// fusermount3, marks in the "user." namespace and has no passthrough.
var userTests = []string{
	"TestOrdinaryUser", "TestPosixCases", "TestIdentityStays", "TestLowerFileIsNeverWrittenOverlay",
	"TestConformanceOverlayLower", "TestPosix", "TestRenameLowerDirectory", "TestModesOfOneFile", "TestSharedMapping",
}

// userQuick of them are run with the race detector and on one processor, too.
const userQuick = 4

// TestAsOrdinaryUser has the test binary run again as an ordinary user, if root
// runs it.
func TestAsOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		return // all tests are run by one
	}
	dir, err := os.MkdirTemp("", "fusefs-user-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	tmp, bin := mkdir(t, dir, "tmp"), filepath.Join(dir, "test")
	if err := os.WriteFile(bin, read(t, "/proc/self/exe"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(tmp, bob, bob); err != nil {
		t.Fatal(err)
	}
	reachable(t, dir)
	vfstest.LetUsersMount(t)
	tests := userTests
	if raceEnabled || runtime.GOMAXPROCS(0) == 1 {
		tests = tests[:userQuick] // the others are run without, elsewhere
	}
	cmd := exec.Command(bin, "-test.v", "-test.run=^("+strings.Join(tests, "|")+")$")
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp, "HOME="+tmp)
	cmd.Dir = tmp
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: bob, Gid: bob}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, name := range tests {
		if !strings.Contains(string(out), "\n--- PASS: "+name+" ") {
			t.Errorf("%s did not pass", name)
		}
	}
}

// What an ordinary user's overlay leaves in its layers.
func TestOrdinaryUser(t *testing.T) {
	if os.Geteuid() == 0 {
		return // TestAsOrdinaryUser runs it
	}
	dirs := overlayDirs(t)
	project(t, lowerOf(dirs), true)
	m := serve.Start(t, serve.Config{FS: "overlay static", Dirs: dirs})
	work(t, m.Mountpoint)
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(dirs[0], "d/gone"), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != 0 || int(st.Uid) != os.Geteuid() {
		t.Errorf("the whiteout is %+v, %v", st, err)
	}
	value := make([]byte, 100)
	n, err := unix.Getxattr(filepath.Join(dirs[0], "d/moved"), "user.overlay.redirect", value)
	if err != nil || string(value[:n]) != "/a" {
		t.Errorf("the moved directory is redirected to %q, %v", value[:max(n, 0)], err)
	}
	if st := m.Must(serve.Request{Op: "stats"}).Stats; st.Passthrough != 0 {
		t.Errorf("%d files were passed through", st.Passthrough)
	}
	info := string(read(t, "/proc/self/mountinfo"))
	for line := range strings.Lines(info) {
		if f := strings.Fields(line); len(f) > 5 && f[4] == m.Mountpoint && !strings.HasPrefix(f[5], "rw,nosuid,nodev") {
			t.Errorf("mounted with %s", f[5])
		}
	}
	// Another's file cannot be opened without a trace, but opened it can be.
	bin, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := serve.Config{FS: "hostfs", Dirs: []string{filepath.Dir(bin)}}
	c.Options.ReadOnly = true
	f, err := os.Open(filepath.Join(serve.Start(t, c).Mountpoint, filepath.Base(bin)))
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}
