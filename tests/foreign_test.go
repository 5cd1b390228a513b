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
// namespace, as of a container, which knows none of the others.
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
	for name, run := range map[string][]string{
		"ordinary user":  {"bash"},
		"user namespace": {"unshare", "--map-root-user", "bash"},
	} {
		t.Run(name, func(t *testing.T) {
			const user, other = 65534, 4711
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
			cmd.SysProcAttr = &unix.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		})
	}
}
