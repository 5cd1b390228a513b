package tests

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Who may not give files away changes, in a session, what others own and let
// anybody change, and commits it: an ordinary user, and root of a user
// namespace, or of a container that may not.
func TestFilesOfOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		return // it makes the files of others
	}
	program, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	guest, err := os.ReadFile(probe)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		user int
		run  []string
	}{
		"ordinary user":          {65534, []string{"bash"}},
		"user namespace":         {65534, []string{"unshare", "--map-root-user", "bash"}},
		"root without CAP_CHOWN": {0, []string{"setpriv", "--bounding-set=-chown", "bash"}},
	} {
		t.Run(name, func(t *testing.T) {
			const other = 4711
			user, run := c.user, c.run
			dir, err := os.MkdirTemp("", "astridfs-user-")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := os.RemoveAll(dir); err != nil {
					t.Error(err)
				}
			})
			in := func(p string) string { return filepath.Join(dir, p) }
			err = errors.Join(
				os.Chmod(dir, 0o755), os.Chown(dir, user, user), os.WriteFile(in("astridfs"), program, 0o755), os.WriteFile(in("probe.wasm"), guest, 0o644),
				os.MkdirAll(in("ws/dir"), 0o755), os.WriteFile(in("ws/f"), []byte("old"), 0o644), os.WriteFile(in("ws/dir/x"), []byte("x"), 0o644),
				os.Chown(in("ws"), user, user),
				// Its own, but for the group.
				os.WriteFile(in("ws/own"), []byte("old"), 0o644), os.Chown(in("ws/own"), user, other),
				os.Chown(in("ws/f"), other, other), os.Chmod(in("ws/f"), 0o666), os.Chown(in("ws/dir"), other, other), os.Chmod(in("ws/dir"), 0o777),
				os.Chown(in("ws/dir/x"), other, other),
			)
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(run[0], append(run[1:], "-euo", "pipefail", "-c", `
				run() { ./astridfs run --session s --workspace ws "$@"; }
				run ./probe.wasm write own new
				run ./probe.wasm write f new
				run ./probe.wasm write dir/new new
				run ./probe.wasm rename dir moved
				./astridfs status s
				./astridfs commit s
				test "$(./astridfs status s 2>&1)" = "session s: no changes"
				test "$(cat ws/own ws/f ws/moved/new ws/moved/x)" = newnewnewx
				test ! -e ws/dir`)...)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "HOME="+dir, "TMPDIR="+dir, "ASTRIDFS_STATE_DIR="+in("state"))
			cmd.SysProcAttr = &unix.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(user), Gid: uint32(user)}}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		})
	}
}
