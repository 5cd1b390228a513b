package tests

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs/vfstest"
)

// helperDir returns a directory with the program under the name by which
// mount(8) calls it.
func helperDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Symlink(binary, filepath.Join(dir, "mount.fuse.astridfs")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// mountScript runs a script as root in a mount namespace of its own, in an empty
// directory, with the helper in /sbin, and returns what it printed.
func mountScript(t *testing.T, script string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		vfstest.Skip(t, vfstest.MountCommand)
	}
	dir, work := helperDir(t), t.TempDir()
	prepare := `
		# Copies of the mounts of tests that run meanwhile would keep those alive.
		grep -E ' - (fuse|overlay)' /proc/self/mountinfo | cut -d' ' -f5 | while read -r m; do command umount -l "$(printf %b "$m")" || true; done
		mount -t tmpfs none "` + work + `"; mkdir "` + work + `"/{sbin,sbinwork,test}
		cp -P "` + dir + `/mount.fuse.astridfs" "` + work + `/sbin/"
		mount -t overlay none -o "lowerdir=$(realpath /sbin),upperdir=` + work + `/sbin,workdir=` + work + `/sbinwork" "$(realpath /sbin)"
		cd "` + work + `/test"
		`
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte(prepare+script), 0o644); err != nil {
		t.Fatal(err)
	}
	return sh(t, "/", "exec unshare --mount --propagation private bash -euo pipefail "+path)
}

func TestMountByMount8(t *testing.T) {
	out := mountScript(t, `
		mkdir top bottom upper work mnt kernel kwork
		echo bottom > bottom/b; echo hidden > bottom/both; echo top > top/both; mkdir bottom/dir; echo x > bottom/dir/x
		opt=lowerdir=top:bottom,upperdir=upper,workdir=work
		for i in 1 2 3; do # the layers are free for the next mount as soon as this one is gone
			mount -t fuse.astridfs -o "$opt" none mnt
			grep -q " $PWD/mnt fuse.astridfs rw,.*default_permissions" /proc/mounts
			test "$(cat mnt/b mnt/both)" = $'bottom\ntop'
			echo $i >> mnt/dir/x; mv mnt/dir mnt/dir2; mv mnt/dir2 mnt/dir
			umount mnt
		done
		mount -t fuse.astridfs -o "$opt" it mnt
		rm mnt/b; mv mnt/dir mnt/moved; ln mnt/both mnt/link
		ls -R mnt > ours; cat mnt/moved/x mnt/link >> ours; stat -c '%n %h %s %Y %a' mnt/moved/x mnt/link >> ours
		umount mnt
		test "$(cat bottom/b bottom/dir/x)" = $'bottom\nx'
		# The kernel's overlay shows the same.
		mount -t overlay -o "lowerdir=top:bottom,upperdir=upper,workdir=kwork,redirect_dir=on" none mnt
		ls -R mnt > theirs; cat mnt/moved/x mnt/link >> theirs; stat -c '%n %h %s %Y %a' mnt/moved/x mnt/link >> theirs
		umount mnt
		diff ours theirs
		# Without an upper layer nothing can be changed.
		mount -t fuse.astridfs -o lowerdir=top:bottom none mnt
		test "$(cat mnt/b mnt/both)" = $'bottom\ntop'
		! touch mnt/new 2> err; grep -q 'Read-only' err
		umount mnt
		mount -t fuse.astridfs -o "ro,$opt" none mnt
		! touch mnt/new 2> err; grep -q 'Read-only' err
		umount mnt
		# Flags can be changed, as far as nobody writes. What begins read-only becomes writable.
		for begin in ro rw; do
			mount -t fuse.astridfs -o "$begin,$opt" none mnt
			mount -o remount,rw mnt; echo $begin > mnt/new
			mount -o remount,ro,nosuid mnt
			grep -q " $PWD/mnt fuse.astridfs ro,nosuid" /proc/mounts
			! rm mnt/new 2> err; grep -q 'Read-only' err
			mount -o remount,rw,suid mnt
			exec 3> mnt/new; ! mount -o remount,ro mnt 2> err; exec 3>&-; grep -q 'in use' err
			rm mnt/new
			umount mnt
		done
		! mount -t fuse.astridfs -o remount,ro none mnt 2> err
		# Reading leaves no trace below, and with noatime or read-only none at all.
		echo c > bottom/c; touch -a -d @1 bottom/c
		mount -t fuse.astridfs -o "$opt" none mnt
		cat mnt/c > /dev/null; test $(stat -c %X bottom/c) = 1
		umount mnt
		mount -t fuse.astridfs -o "noatime,$opt" none mnt
		echo x > mnt/x; touch -a -d @1 mnt/x
		cat mnt/c mnt/x > /dev/null; test "$(stat -c %X bottom/c mnt/x upper/x)" = $'1\n1\n1'
		umount mnt
		mount -t fuse.astridfs -o "ro,$opt" none mnt
		cat mnt/c mnt/x > /dev/null; test "$(stat -c %X bottom/c mnt/x upper/x)" = $'1\n1\n1'
		umount mnt
		rm upper/x
		# Over its own lower layer, and over files.
		mount -t fuse.astridfs -o "$opt" none top
		test "$(cat top/both)" = top; echo changed > top/both
		umount top; test "$(cat top/both)" = top; test "$(cat upper/both)" = changed
		echo done`)
	wantDone(t, out)
}

func wantDone(t *testing.T, out string) {
	t.Helper()
	if !strings.HasSuffix(out, "done\n") {
		t.Errorf("the script ended early:\n%s", out)
	}
}

// Names with all that separates options, by mount(8) and from fstab.
func TestMountHelperNames(t *testing.T) {
	out := mountScript(t, `
		mkdir 'low,er:1\x' 'low er2' 'up,per:\' 'work "q"' 'm n,t'
		echo 1 > 'low,er:1\x/one'; echo 2 > 'low er2/two'
		mount -t fuse.astridfs none 'm n,t' -o 'lowerdir=low\,er\:1\\x:low er2,upperdir=up\,per:\\,workdir=work \"q\"'
		test "$(cat 'm n,t/one' 'm n,t/two')" = $'1\n2'
		echo new > 'm n,t/new'; umount 'm n,t'; cat 'up,per:\/new' > /dev/null

		mkdir mnt; mv 'up,per:\' 'up per'; mv 'work "q"' 'work'
		echo "layers $PWD/mnt fuse.astridfs noauto,nofail,user,x-systemd.idle-timeout=1min,noatime,allow_other,lowerdir=$PWD/low\\,er\\:1\\\\x:$PWD/low\\040er2,upperdir=$PWD/up\\040per,workdir=$PWD/work 0 0" > fstab
		mount --fstab fstab "$PWD/mnt"
		test "$(cat mnt/one mnt/two mnt/new)" = $'1\n2\nnew'
		grep "^layers $PWD/mnt fuse.astridfs" /proc/mounts | grep -q 'nosuid,nodev,noexec.*allow_other' # user means those
		umount mnt
		echo done`)
	wantDone(t, out)
}

// helper runs the helper itself and returns what it said and its exit code.
func helper(t *testing.T, dir string, args ...string) (string, int) {
	t.Helper()
	cmd := exec.Command(filepath.Join(helperDir(t), "mount.fuse.astridfs"), args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func layerDirs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"l", "u", "w", "m", "l/in", "other"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, "l/f"), "lower\n")
	t.Cleanup(func() {
		if m := filepath.Join(dir, "m"); mounted(m) {
			unix.Unmount(m, unix.MNT_DETACH) // what a failed case left
		}
	})
	return dir
}

func TestMountHelperExitCodes(t *testing.T) {
	const layers = "lowerdir=l,upperdir=u,workdir=w"
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"help":                     {[]string{"--help"}, 0, "lowerdir"},
		"nothing":                  {nil, 1, "directory"},
		"one argument":             {[]string{"none"}, 1, "directory"},
		"no layers":                {[]string{"none", "m"}, 1, `"lowerdir"`},
		"unknown option":           {[]string{"none", "m", "-o", layers + ",frobnicate"}, 1, `"frobnicate"`},
		"unknown flag":             {[]string{"none", "m", "-x"}, 1, "-x"},
		"option without its value": {[]string{"none", "m", "-o"}, 1, "-o"},
		"refused option":           {[]string{"none", "m", "-o", layers + ",uidmapping=0:1:1"}, 1, `"uidmapping=0:1:1"`},
		"a session's source":       {[]string{"astridfs:x:y", "m", "-o", layers}, 1, "session"},
		"another type":             {[]string{"none", "m", "-t", "ext4", "-o", layers}, 1, `"ext4"`},
		"no such layer":            {[]string{"none", "m", "-o", "lowerdir=none,upperdir=u,workdir=w"}, 32, "none does not exist"},
		"a layer that is a file":   {[]string{"none", "m", "-o", "lowerdir=l/f,upperdir=u,workdir=w"}, 32, "not a directory"},
		"no such mountpoint":       {[]string{"none", "x", "-o", layers}, 32, "x does not exist"},
		"mountpoint in a layer":    {[]string{"none", "l/in", "-o", layers}, 32, "in the layer"},
		"layers that overlap":      {[]string{"none", "m", "-o", "lowerdir=l:l/in,upperdir=u,workdir=w"}, 32, "overlap"},
		"work is not empty":        {[]string{"none", "m", "-o", "lowerdir=other,upperdir=u,workdir=l"}, 32, "work directory"},
		"fake":                     {[]string{"none", "m", "-f", "-o", layers}, 0, ""},
		"fake, but wrong":          {[]string{"none", "m", "-f", "-o", "lowerdir=none,upperdir=u,workdir=w"}, 32, "none"},
		"sloppy":                   {[]string{"none", "m", "-sf", "-o", layers + ",frobnicate"}, 0, ""},
		"joined and apart":         {[]string{"-fno", layers, "-tfuse.astridfs", "--", "none", "m"}, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := layerDirs(t)
			out, code := helper(t, dir, c.args...)
			if code != c.code || !strings.Contains(out, c.says) || c.says == "" && out != "" {
				t.Errorf("exit %d, want %d\n%s", code, c.code, out)
			}
			if mounted(filepath.Join(dir, "m")) {
				t.Error("something is mounted")
			}
			if left, err := os.ReadDir(filepath.Join(dir, "u")); err != nil || len(left) != 0 {
				t.Errorf("the upper layer holds %v, %v", left, err)
			}
		})
	}
}

// The layers of a live mount are nobody else's; SIGTERM to a server in the
// foreground ends it, and leaves nothing.
func TestMountHelperForeground(t *testing.T) {
	dir := layerDirs(t)
	mnt := filepath.Join(dir, "m")
	cmd := exec.Command(filepath.Join(helperDir(t), "mount.fuse.astridfs"), "none", "m", "--foreground", "-v", "-o", "lowerdir=l,upperdir=u,workdir=w")
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 200)
	n, _ := stdout.Read(line) // says so once it is mounted
	if !strings.Contains(string(line[:n]), "none mounted on m") {
		t.Fatalf("it says %q, %s", line[:n], &stderr)
	}
	write(t, filepath.Join(mnt, "f"), "upper\n")
	if got := read(t, filepath.Join(mnt, "f")) + read(t, filepath.Join(dir, "l/f")); got != "upper\nlower\n" {
		t.Errorf("got %q", got)
	}
	// A signal to a command that waits for the layers ends that.
	second := exec.Command(cmd.Path, "none", "m", "-o", "lowerdir=l,upperdir=u,workdir=w")
	second.Dir = dir
	if err := second.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // not relied on: before it waits, the signal does the same or kills
	if err := second.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := second.Wait(); err == nil {
		t.Error("the layers were mounted twice")
	}
	if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, &stderr)
	}
	if mounted(mnt) {
		t.Error("the mount is still there")
	}
}

// An ordinary user mounts a session and layers alone by fusermount3, with marks
// in the "user." namespace, and unmounts.
func TestMountsOfAnOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		return // every other test is one
	}
	const user = 65534
	dir, err := os.MkdirTemp("", "astridfs-user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, m := range []string{"m1", "m2"} {
			if mounted(filepath.Join(dir, m)) {
				t.Errorf("%s is still mounted", m)
				unix.Unmount(filepath.Join(dir, m), unix.MNT_DETACH)
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chown(dir, user, user)); err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"astridfs", "mount.fuse.astridfs"} {
		if err := os.WriteFile(filepath.Join(dir, name), program, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	vfstest.LetUsersMount(t)
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", `
		mkdir -p low/dir up work ws/dir m1 m2
		echo old | tee low/f low/dir/f low/gone ws/f ws/dir/f > /dev/null
		./mount.fuse.astridfs none m1 -o lowerdir=low,upperdir=up,workdir=work
		./astridfs mount --session s ws m2
		for m in m1 m2; do
			grep " $PWD/$m fuse.astridfs rw,nosuid,nodev" /proc/mounts > /dev/null
			echo new >> $m/f; mv $m/dir $m/moved; test "$(cat $m/f $m/moved/f)" = $'old\nnew\nold'
		done
		rm m1/gone
		test "$(stat -c '%F %t:%T' up/gone)" = 'character special file 0:0'
		getfattr --only-values -n user.overlay.redirect up/moved | grep -qx /dir
		test "$(cat low/f ws/f)" = $'old\nold'
		./astridfs status s | grep -q moved
		fusermount3 -u m1
		./astridfs unmount m2
		./astridfs commit s > /dev/null
		test "$(cat ws/f ws/moved/f)" = $'old\nnew\nold'
		! ./mount.fuse.astridfs none m1 -o lowerdir=low,allow_other 2> err || { fusermount3 -u m1; grep -qx user_allow_other /etc/fuse.conf; }`)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "TMPDIR="+dir, "ASTRIDFS_STATE_DIR="+filepath.Join(dir, "state"))
	cmd.SysProcAttr = &unix.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
