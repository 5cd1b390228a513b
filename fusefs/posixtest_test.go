package fusefs_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"

	"github.com/astridfs/astridfs/fusefs/internal/serve"
)

// skips are the cases of posixtest that are not run, with the reason. They fail
// on a bare directory, too: TestPosixCalibration.
var skips = map[string]string{
	"FcntlFlockLocksFile": "wants two fcntl locks of one process to conflict, which POSIX has them not do",
}

func runPosix(t *testing.T, in string, skip map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(posixtest.All)) {
		if skip[name] != "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(in, name)
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			posixtest.All[name](t, dir)
		})
	}
}

func TestPosix(t *testing.T) {
	if dir := os.Getenv(bareVariable); dir != "" {
		runPosix(t, dir, nil)
		return
	}
	for _, fs := range []string{"hostfs", "stable", "overlay"} {
		for _, pass := range []bool{true, false} {
			name := fs
			if !pass {
				if os.Geteuid() != 0 {
					continue // there is none to go without
				}
				name += " without passthrough"
			}
			t.Run(name, func(t *testing.T) {
				c := serve.Config{FS: fs, Dirs: overlayDirs(t)}
				c.Options.NoPassthrough = !pass
				runPosix(t, serve.Start(t, c).Mountpoint, skips)
			})
		}
	}
}

// bareVariable has the test binary run TestPosix in that directory, and on no
// mount.
const bareVariable = "FUSEFS_TEST_BARE"

// What is not run on the mount fails on a bare directory, too. The test runs
// itself, since a failure is what it looks for.
func TestPosixCalibration(t *testing.T) {
	for name := range skips {
		cmd := exec.Command(os.Args[0], "-test.run=^TestPosix$/^"+name+"$", "-test.v")
		cmd.Env = append(os.Environ(), bareVariable+"="+t.TempDir())
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "    --- FAIL: TestPosix/"+name+" ") {
			t.Errorf("%s can pass: %v\n%s", name, err, out)
		}
	}
}
