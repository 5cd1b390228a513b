package hostfs_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/hostfs"
	"github.com/astridfs/astridfs/vfs/vfstest"
)

var ctx = context.Background()

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func lookup(t *testing.T, fs vfs.FS, path string) vfs.Entry {
	t.Helper()
	target, err := vfs.Walk(ctx, fs, vfs.RootID, path, 0)
	if err != nil || !target.Exists() {
		t.Fatalf("%s: %v", path, err)
	}
	if target.Parent != 0 && target.Parent != vfs.RootID {
		fs.Forget(target.Parent, 1)
	}
	return target.Entry
}

func write(t *testing.T, path, data string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(data), 0644))
}

func wantErrno(t *testing.T, what string, err error, want ...syscall.Errno) {
	t.Helper()
	got := vfs.Errno(err)
	for _, w := range want {
		if got == w {
			return
		}
	}
	t.Errorf("%s: %v, want %v", what, err, want)
}

func TestOpenErrors(t *testing.T) {
	vfstest.CheckLeaks(t)
	dir := t.TempDir()
	write(t, dir+"/f", "")
	for path, want := range map[string]error{dir + "/none": fs.ErrNotExist, dir + "/f": syscall.ENOTDIR, "": fs.ErrNotExist} {
		if _, err := hostfs.Open(path, hostfs.Options{}); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", path, err, want)
		}
	}
	must(t, os.Symlink(dir, dir+"/s"))
	open(t, dir+"/s", hostfs.Options{}) // the path itself is its caller's affair
}

// TestReplacedByTheHost has another process put other files in the place of
// nodes that are known.
func TestReplacedByTheHost(t *testing.T) {
	vfstest.CheckLeaks(t)
	dir, out := t.TempDir(), t.TempDir()
	write(t, out+"/victim", "victim")
	for _, with := range []string{"symlink", "file", "directory", "fifo", "nothing"} {
		t.Run(with, func(t *testing.T) {
			root := dir + "/" + with
			must(t, os.Mkdir(root, 0755))
			write(t, root+"/f", "mine")
			h := open(t, root, hostfs.Options{})
			n := lookup(t, h, "f").Node
			must(t, os.Rename(root+"/f", root+"/elsewhere"))
			switch with {
			case "symlink":
				must(t, os.Symlink(out+"/victim", root+"/f"))
			case "file":
				write(t, root+"/f", "other")
			case "directory":
				must(t, os.Mkdir(root+"/f", 0755))
			case "fifo":
				must(t, unix.Mkfifo(root+"/f", 0644))
			}
			_, err := h.Open(ctx, n, unix.O_RDWR|unix.O_TRUNC)
			wantErrno(t, "Open", err, syscall.ESTALE)
			_, err = h.GetAttr(ctx, n, nil)
			wantErrno(t, "GetAttr", err, syscall.ESTALE)
			_, err = h.SetAttr(ctx, n, nil, vfs.SetAttr{Valid: vfs.SetMode | vfs.SetSize, Mode: 0})
			wantErrno(t, "SetAttr", err, syscall.ESTALE)
			wantErrno(t, "SetXattr", h.SetXattr(ctx, n, "user.a", nil, 0), syscall.ESTALE)
			_, err = h.Link(ctx, n, vfs.RootID, "l")
			wantErrno(t, "Link", err, syscall.ESTALE)
			// A lookup tells what is there, and finds the old one at its new name.
			if again := lookup(t, h, "elsewhere"); again.Node != n {
				t.Errorf("found under its new name, it is node %d, was %d", again.Node, n)
			}
			if a, err := h.GetAttr(ctx, n, nil); err != nil || a.Size != 4 {
				t.Errorf("GetAttr: %+v, %v", a, err)
			}
			if with != "nothing" {
				if e := lookup(t, h, "f"); e.Node == n {
					t.Error("the other file is the same node")
				}
			}
		})
	}
	b, err := os.ReadFile(out + "/victim")
	if err != nil || string(b) != "victim" {
		t.Errorf("the file outside holds %q, %v", b, err)
	}
}

// TestRemovedByTheHost has a file removed and another one made, which most
// likely gets its inode number.
func TestRemovedByTheHost(t *testing.T) {
	vfstest.CheckLeaks(t)
	dir := t.TempDir()
	h := open(t, dir, hostfs.Options{})
	reused := 0
	for range 20 {
		write(t, dir+"/f", "old")
		old := lookup(t, h, "f")
		must(t, os.Remove(dir+"/f"))
		waitTick(t, dir, old.Attr.Btime)
		write(t, dir+"/f", "newer")
		again := lookup(t, h, "f")
		if again.Attr.Ino == old.Attr.Ino {
			reused++
		}
		if again.Node == old.Node {
			t.Fatalf("a new file is the removed one's node: %+v, %+v", old, again)
		}
		_, err := h.GetAttr(ctx, old.Node, nil)
		wantErrno(t, "GetAttr of the removed", err, syscall.ESTALE)
		_, err = h.Open(ctx, old.Node, unix.O_RDWR)
		wantErrno(t, "Open of the removed", err, syscall.ESTALE)
		h.Forget(old.Node, 1)
		h.Forget(again.Node, 1)
		must(t, os.Remove(dir+"/f"))
	}
	t.Logf("%d of 20 inode numbers were reused", reused)
}

// waitTick waits until the host's clock for files has moved on from ts.
func waitTick(t *testing.T, dir string, ts vfs.Timespec) {
	t.Helper()
	for range 10000 {
		write(t, dir+"/tick", "")
		var st unix.Stat_t
		must(t, unix.Stat(dir+"/tick", &st))
		if st.Ctim.Sec != ts.Sec || st.Ctim.Nsec != int64(ts.Nsec) {
			return
		}
	}
	t.Fatal("the clock stands still")
}

// TestRenamedByTheHost has directories renamed underneath.
func TestRenamedByTheHost(t *testing.T) {
	vfstest.CheckLeaks(t)
	dir := t.TempDir()
	must(t, os.MkdirAll(dir+"/a/b/c", 0755))
	must(t, os.Mkdir(dir+"/x", 0755))
	write(t, dir+"/a/b/c/f", "data")
	h := open(t, dir, hostfs.Options{Dirs: 2})
	b, f := lookup(t, h, "a/b").Node, lookup(t, h, "a/b/c/f").Node
	must(t, os.Rename(dir+"/a/b", dir+"/x/b2"))
	for range 10 { // evicts the open descriptors
		lookup(t, h, "x")
		lookup(t, h, "a")
	}
	if got := lookup(t, h, "x/b2").Node; got != b {
		t.Errorf("the directory is node %d, was %d", got, b)
	}
	if p, err := h.Path(ctx, f); err != nil || p != "x/b2/c/f" {
		t.Errorf("Path: %q, %v", p, err)
	}
	if _, err := h.GetAttr(ctx, f, nil); err != nil {
		t.Errorf("GetAttr: %v", err)
	}
	// A directory and one above it change places.
	must(t, os.Rename(dir+"/x/b2/c", dir+"/c"))
	must(t, os.Rename(dir+"/x", dir+"/c/x"))
	lookup(t, h, "c")
	if p, err := h.Path(ctx, lookup(t, h, "c/x/b2").Node); err != nil || p != "c/x/b2" {
		t.Errorf("Path: %q, %v", p, err)
	}
	if p, err := h.Path(ctx, f); err != nil || p != "c/f" {
		t.Errorf("Path: %q, %v", p, err)
	}
}

// TestTurnedInsideOut has the host turn two directories inside out and looks
// them up in the order in which one seems to lie below itself.
func TestTurnedInsideOut(t *testing.T) {
	vfstest.CheckLeaks(t)
	dir := t.TempDir()
	must(t, os.MkdirAll(dir+"/a/b", 0755))
	h := open(t, dir, hostfs.Options{})
	a, b := lookup(t, h, "a").Node, lookup(t, h, "a/b").Node
	_, err := h.Lookup(ctx, b, "none") // has it open from now on
	wantErrno(t, "Lookup", err, syscall.ENOENT)
	must(t, os.Rename(dir+"/a/b", dir+"/b"))
	must(t, os.Rename(dir+"/a", dir+"/b/a"))
	// By b's id, not by its name: the table still has b below a.
	_, err = h.Lookup(ctx, b, "a")
	wantErrno(t, "Lookup", err, syscall.ELOOP)
	if got := lookup(t, h, "b").Node; got != b {
		t.Errorf("b is node %d, was %d", got, b)
	}
	if got := lookup(t, h, "b/a").Node; got != a {
		t.Errorf("a is node %d, was %d", got, a)
	}
	if p, err := h.Path(ctx, a); err != nil || p != "b/a" {
		t.Errorf("Path: %q, %v", p, err)
	}
}

// TestLoopByMount has the root bound to a directory below itself.
func TestLoopByMount(t *testing.T) {
	if !vfstest.WithMounts(t) {
		return
	}
	dir := t.TempDir()
	must(t, os.MkdirAll(dir+"/a/b", 0755))
	must(t, unix.Mount(dir, dir+"/a/b", "", unix.MS_BIND, ""))
	t.Cleanup(func() { unix.Unmount(dir+"/a/b", unix.MNT_DETACH) })
	h := open(t, dir, hostfs.Options{})
	a := lookup(t, h, "a").Node
	_, err := h.Lookup(ctx, a, "b")
	wantErrno(t, "Lookup of the root below itself", err, syscall.ELOOP)
	if p, err := h.Path(ctx, a); err != nil || p != "a" {
		t.Errorf("Path: %q, %v", p, err)
	}
	// To remove the mount point is the host's to refuse.
	wantErrno(t, "Rmdir", h.Rmdir(ctx, a, "b"), syscall.EBUSY)
}

// TestNoEscapeByRace has the host swap a directory for a symbolic link that leads
// out, over and over, while every operation is tried.
func TestNoEscapeByRace(t *testing.T) {
	vfstest.CheckLeaks(t)
	dir, out := t.TempDir(), t.TempDir()
	must(t, os.Mkdir(out+"/sub", 0755))
	write(t, out+"/f", "SECRET")
	must(t, os.Mkdir(dir+"/d", 0755))
	must(t, os.Mkdir(dir+"/d/sub", 0755))
	write(t, dir+"/d/f", "inside")
	write(t, dir+"/file", "inside")
	must(t, os.Symlink(out, dir+"/evil"))
	must(t, os.Symlink(out+"/f", dir+"/evilfile"))
	before := snapshot(t, out)
	h := open(t, dir, hostfs.Options{Dirs: 2, Idle: 1})

	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				unix.Renameat2(unix.AT_FDCWD, dir+"/d", unix.AT_FDCWD, dir+"/evil", unix.RENAME_EXCHANGE)
				unix.Renameat2(unix.AT_FDCWD, dir+"/file", unix.AT_FDCWD, dir+"/evilfile", unix.RENAME_EXCHANGE)
			}
		}
	})
	for i := range 400 {
		for _, name := range []string{"d", "evil", "file", "evilfile"} {
			e, err := h.Lookup(ctx, vfs.RootID, name)
			if err != nil {
				continue
			}
			tryAll(t, h, e.Node, i)
			h.Forget(e.Node, 1)
		}
	}
	close(done)
	wg.Wait()
	if after := snapshot(t, out); after != before {
		t.Errorf("outside, what was\n%s\nis now\n%s", before, after)
	}
}

// tryAll does everything to n. The errors are the race's; what was read must not
// be the secret.
func tryAll(t *testing.T, h *hostfs.FS, n vfs.NodeID, i int) {
	read := func(m vfs.NodeID) {
		if f, err := h.Open(ctx, m, unix.O_RDWR|unix.O_TRUNC*(i%2)); err == nil {
			buf := make([]byte, 100)
			if k, _ := f.ReadAt(ctx, buf, 0); strings.Contains(string(buf[:k]), "SECRET") {
				t.Error("read what is outside")
			}
			f.WriteAt(ctx, []byte("inside"), 0)
			f.Close()
		}
	}
	read(n)
	h.SetAttr(ctx, n, nil, vfs.SetAttr{Valid: vfs.SetMtimeNow})
	h.SetXattr(ctx, n, "user.x", []byte("1"), 0)
	if e, err := h.Lookup(ctx, n, "f"); err == nil {
		read(e.Node)
		h.Forget(e.Node, 1)
	}
	name := fmt.Sprint("made", i)
	if e, f, err := h.Create(ctx, n, name, unix.O_RDWR, 0644); err == nil {
		f.Close()
		h.Forget(e.Node, 1)
	}
	h.Rename(ctx, n, name, n, name+"r", 0)
	h.Unlink(ctx, n, name+"r")
	if e, err := h.Mkdir(ctx, n, name, 0755); err == nil {
		h.Forget(e.Node, 1)
	}
	h.Rmdir(ctx, n, name)
	if d, err := h.OpenDir(ctx, n); err == nil {
		d.ReadDir(ctx, 0, func(vfs.DirEntry) bool { return true })
		d.Close()
	}
}

// snapshot describes what is below dir.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %o %d %v %v\n", path, st.Mode, st.Size, st.Mtim, st.Ctim)
		if d.Type().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, "%q\n", data)
		}
		return nil
	}))
	return b.String()
}

// TestDefaultACLDecides checks that a mode is not widened past a directory's
// default ACL when the umask's bits are given back.
func TestDefaultACLDecides(t *testing.T) {
	dir := t.TempDir()
	acl := binary.LittleEndian.AppendUint32(nil, 2) // version
	for _, e := range []struct{ tag, perm uint16 }{{1, 7}, {4, 5}, {0x20, 0}} {
		acl = binary.LittleEndian.AppendUint16(acl, e.tag)
		acl = binary.LittleEndian.AppendUint16(acl, e.perm)
		acl = binary.LittleEndian.AppendUint32(acl, 0xffffffff)
	}
	if err := unix.Setxattr(dir, "system.posix_acl_default", acl, 0); err != nil {
		if !errors.Is(err, unix.EOPNOTSUPP) {
			t.Fatal(err)
		}
		vfstest.Skip(t, vfstest.NoACL)
	}
	h := open(t, dir, hostfs.Options{})
	e, f, err := h.Create(ctx, vfs.RootID, "f", unix.O_RDWR, 0666)
	must(t, err)
	must(t, f.Close())
	if e.Attr.Mode != unix.S_IFREG|0640 {
		t.Errorf("the file has mode %o", e.Attr.Mode)
	}
	e, err = h.Mkdir(ctx, vfs.RootID, "d", 0777)
	must(t, err)
	if e.Attr.Mode != unix.S_IFDIR|0750 {
		t.Errorf("the directory has mode %o", e.Attr.Mode)
	}
}

func TestAfterClose(t *testing.T) {
	vfstest.CheckLeaks(t)
	dir := t.TempDir()
	must(t, os.Mkdir(dir+"/d", 0755))
	write(t, dir+"/d/f", "x")
	h, err := hostfs.Open(dir, hostfs.Options{})
	must(t, err)
	n := lookup(t, h, "d/f").Node
	must(t, h.Unlink(ctx, lookup(t, h, "d").Node, "f")) // leaves a pin
	must(t, h.Close())
	_, err = h.Lookup(ctx, vfs.RootID, "d")
	wantErrno(t, "Lookup", err, syscall.ESTALE)
	_, err = h.GetAttr(ctx, n, nil)
	wantErrno(t, "GetAttr", err, syscall.ESTALE)
	_, err = h.Mkdir(ctx, vfs.RootID, "x", 0755)
	wantErrno(t, "Mkdir", err, syscall.ESTALE)
	h.Forget(n, 1)
	must(t, h.Close())
}
