package overlay

import (
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDeeperThanDescriptors: an overlay opens though its layers hold trees deeper
// than the process may have files open, and removes what is left of one.
func TestDeeperThanDescriptors(t *testing.T) {
	const depth = 1500
	l := newLab(t)
	deep := func(top string) {
		l.must(os.MkdirAll(top, 0o755))
		fd, err := unix.Open(top, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		l.must(err)
		for range depth {
			l.must(unix.Mkdirat(fd, "d", 0o755))
			l.must(unix.Mkdirat(fd, "e", 0o500))
			next, err := unix.Openat(fd, "d", unix.O_RDONLY|unix.O_DIRECTORY, 0)
			l.must(err)
			l.must(unix.Close(fd))
			fd = next
		}
		l.must(unix.Close(fd))
	}
	deep(l.dir + "/work/work/left")
	deep(l.dir + "/upper/kept")
	l.must(os.MkdirAll(l.dir+"/work/inos", 0o700))
	l.must(os.WriteFile(l.dir+"/work/inos/12345", nil, 0o600))

	var old unix.Rlimit
	l.must(unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	used, err := os.ReadDir("/proc/self/fd")
	l.must(err)
	limit := old
	limit.Cur = 400
	for _, e := range used {
		n, err := strconv.ParseUint(e.Name(), 10, 64)
		l.must(err)
		limit.Cur = max(limit.Cur, n+400) // beside what other tests hold
	}
	l.must(unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	defer func() { l.must(unix.Setrlimit(unix.RLIMIT_NOFILE, &old)) }()
	l.open()
	for _, dir := range []string{"/work/work", "/work/inos"} {
		if list, err := os.ReadDir(l.dir + dir); err != nil || len(list) != 0 {
			t.Errorf("%s has %v, %v", dir, list, err)
		}
	}
	if _, err := l.fs.Discard(l.ctx, nil); err != nil {
		t.Error(err)
	}
	l.upperEmpty()
	if list, err := os.ReadDir(l.dir + "/work/work"); err != nil || len(list) != 0 {
		t.Errorf("of what was discarded there is %v, %v", list, err)
	}
}
