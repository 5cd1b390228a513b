package overlay

import (
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/vfstest"
)

// mounted puts another filesystem at other/ of the workspace, and another
// directory of its own filesystem at bound/.
func (l *lab) mounted() *lab {
	l.t.Helper()
	l.seed("other/", "bound/")
	l.must(os.Mkdir(l.dir+"/apart", 0o755))
	l.must(os.WriteFile(l.dir+"/apart/in", []byte("1"), 0o644))
	l.must(unix.Mount("tmpfs", l.host("other"), "tmpfs", 0, "size=1m"))
	l.t.Cleanup(func() { l.must(unix.Unmount(l.host("other"), unix.MNT_DETACH)) })
	l.must(unix.Mount(l.dir+"/apart", l.host("bound"), "", unix.MS_BIND, ""))
	l.t.Cleanup(func() { l.must(unix.Unmount(l.host("bound"), unix.MNT_DETACH)) })
	return l
}

// TestMountsInTheWorkspace: what the workspace could not do with the filesystems
// mounted in it, the view refuses as well, so that it can be committed.
func TestMountsInTheWorkspace(t *testing.T) {
	if !vfstest.WithMounts(t) {
		return
	}
	l := newLab(t).mounted().seed("d/sub/f=1", "other/od/q=1", "bound/b/f=1").open()
	refuses := func(what string, err error, want syscall.Errno) {
		t.Helper()
		if err != want {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	l.must(l.mkdir("new"))
	l.must(l.mv("d", "new/d"))
	for _, pair := range [][2]string{{"new/d", "other/d"}, {"other/od", "od"}, {"bound/b", "b"}, {"new/d", "bound/d"}, {"new", "other/new"}, {"other/od", "new/od"}} {
		refuses("rename "+pair[0]+" to "+pair[1], l.mv(pair[0], pair[1]), syscall.EXDEV)
	}
	refuses("exchange", l.rename("other/od", "new/d", vfs.Exchange), syscall.EXDEV)
	refuses("rename of a mount point", l.mv("other", "elsewhere"), syscall.EBUSY)
	refuses("rename of a bind mount", l.mv("bound", "elsewhere"), syscall.EBUSY)
	refuses("exchange of a mount point", l.rename("new", "bound", vfs.Exchange), syscall.EBUSY)
	l.must(l.rmAll("bound/b"))
	l.must(l.rm("bound/in"))
	refuses("rmdir of a mount point", l.rmdir("bound"), syscall.EBUSY)
	refuses("rename onto a mount point", l.mv("new", "bound"), syscall.EBUSY)
	l.must(l.mv("new/d", "d2"))
	l.must(l.mv("other/od", "other/moved"))
	l.must(l.mv("other/moved/q", "q"))
	l.must(l.mv("new", "new2"))
	want := l.view()
	l.commit(CommitOptions{})
	l.committed(want)
	if _, err := os.Stat(l.host("other/moved")); err != nil {
		t.Error(err)
	}
}

// TestCommitLinksBetweenFilesystems: the view is one filesystem where the
// workspace is several, so a file of it can have names in each. Committed, it
// is one file in each.
func TestCommitLinksBetweenFilesystems(t *testing.T) {
	if !vfstest.WithMounts(t) {
		return
	}
	l := newLab(t).mounted().seed("one=1", "other/there=2").open()
	l.must(l.write("both", "new"))
	for _, pair := range [][2]string{
		{"both", "both2"}, {"both", "other/both"}, {"both", "other/both2"}, {"both", "bound/both"},
		{"one", "other/one"}, {"other/there", "there"},
	} {
		l.must(l.link(pair[0], pair[1]))
	}
	l.commit(CommitOptions{})
	l.upperEmpty()
	ino := func(path string) (id [2]uint64) {
		t.Helper()
		var st unix.Stat_t
		l.must(unix.Lstat(l.host(path), &st))
		return [2]uint64{st.Dev, st.Ino}
	}
	for path, want := range map[string]string{
		"both": "new", "both2": "new", "other/both": "new", "other/both2": "new", "bound/both": "new",
		"one": "1", "other/one": "1", "other/there": "2", "there": "2",
	} {
		if got := l.hostRead(path); got != want {
			t.Errorf("%s is %q in the workspace, want %q", path, got, want)
		}
		if got, err := l.read(path); err != nil || got != want {
			t.Errorf("%s is %q, %v in the view, want %q", path, got, err, want)
		}
	}
	if ino("both") != ino("both2") || ino("other/both") != ino("other/both2") || ino("both") == ino("other/both") {
		t.Error("names on one filesystem are not one file")
	}
	// They are files of their own now.
	l.must(l.write("other/both", "changed"))
	for path, want := range map[string]string{"both": "new", "other/both2": "changed"} {
		if got, err := l.read(path); err != nil || got != want {
			t.Errorf("%s is %q, %v, want %q", path, got, err, want)
		}
	}
	l.reopen()
	l.commit(CommitOptions{})
	l.upperEmpty()
}
