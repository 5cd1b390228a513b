package overlay_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/overlay"
	"github.com/astridfs/astridfs/vfs"
)

// benchOverlay opens an overlay over a lower directory "d" of n files in
// directories of 100.
func benchOverlay(b *testing.B, n int) *overlay.FS {
	b.Helper()
	unix.Umask(0)
	dir := b.TempDir()
	opt := overlay.Options{Lower: []string{dir + "/lower"}, Upper: dir + "/upper", Work: dir + "/work"}
	for _, d := range []string{opt.Lower[0], opt.Upper, opt.Work, dir + "/lower/d"} {
		if err := os.Mkdir(d, 0o755); err != nil {
			b.Fatal(err)
		}
	}
	for i := range n {
		p := filepath.Join(dir, "lower/d", fmt.Sprint(i/100), fmt.Sprint(i))
		os.MkdirAll(filepath.Dir(p), 0o755)
		if err := os.WriteFile(p, nil, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	fs, err := overlay.Open(bg, opt)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { fs.Close() })
	return fs
}

func lookup(b testing.TB, fs vfs.FS, parent vfs.NodeID, name string) vfs.NodeID {
	b.Helper()
	e, err := fs.Lookup(bg, parent, name)
	if err != nil {
		b.Fatal(err)
	}
	return e.Node
}

func BenchmarkLookupKnown(b *testing.B) {
	fs := benchOverlay(b, 1)
	d := lookup(b, fs, lookup(b, fs, vfs.RootID, "d"), "0")
	f := lookup(b, fs, d, "0")
	b.ReportAllocs()
	for b.Loop() {
		lookup(b, fs, d, "0")
		fs.Forget(f, 1)
	}
}

func BenchmarkLookupKnownParallel(b *testing.B) {
	fs := benchOverlay(b, 1)
	d := lookup(b, fs, lookup(b, fs, vfs.RootID, "d"), "0")
	f := lookup(b, fs, d, "0")
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			lookup(b, fs, d, "0")
			fs.Forget(f, 1)
		}
	})
}

// BenchmarkStat is what a lookup costs at the least.
func BenchmarkStat(b *testing.B) {
	dir := b.TempDir()
	if err := os.WriteFile(dir+"/f", nil, 0o600); err != nil {
		b.Fatal(err)
	}
	fd, err := unix.Open(dir, unix.O_PATH, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(fd)
	var st unix.Statx_t
	for b.Loop() {
		if err := unix.Statx(fd, "f", unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS, &st); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCreateUnlink(b *testing.B) {
	fs := benchOverlay(b, 1)
	e, err := fs.Mkdir(bg, vfs.RootID, "new", 0o755)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		f, h, err := fs.Create(bg, e.Node, "f", unix.O_RDWR, 0o644)
		if err != nil {
			b.Fatal(err)
		}
		h.Close()
		if err := fs.Unlink(bg, e.Node, "f"); err != nil {
			b.Fatal(err)
		}
		fs.Forget(f.Node, 1)
	}
}

func benchmarkReadDir(b *testing.B, merged, plus bool) {
	fs := benchOverlay(b, 10000)
	d := lookup(b, fs, vfs.RootID, "d")
	for i := range 10000 {
		_, h, err := fs.Create(bg, d, fmt.Sprintf("file%d", i), unix.O_RDWR, 0o644)
		if err != nil {
			b.Fatal(err)
		}
		h.Close()
	}
	if !merged {
		e, err := fs.Mkdir(bg, vfs.RootID, "pure", 0o755)
		if err != nil {
			b.Fatal(err)
		}
		for i := range 10000 {
			if err := fs.Rename(bg, d, fmt.Sprintf("file%d", i), e.Node, fmt.Sprint(i), 0); err != nil {
				b.Fatal(err)
			}
		}
		d = e.Node
	}
	b.ResetTimer()
	for b.Loop() {
		h, err := fs.OpenDir(bg, d)
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		if plus {
			h.ReadDirPlus(bg, 0, func(_ vfs.DirEntry, e vfs.Entry) bool { n++; fs.Forget(e.Node, 1); return true })
		} else {
			h.ReadDir(bg, 0, func(vfs.DirEntry) bool { n++; return true })
		}
		h.Close()
		if n < 10000 {
			b.Fatal(n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10000, "ns/entry")
}

func BenchmarkReadDir10k(b *testing.B)           { benchmarkReadDir(b, false, false) }
func BenchmarkReadDirMerged10k(b *testing.B)     { benchmarkReadDir(b, true, false) }
func BenchmarkReadDirPlus10k(b *testing.B)       { benchmarkReadDir(b, false, true) }
func BenchmarkReadDirPlusMerged10k(b *testing.B) { benchmarkReadDir(b, true, true) }

// BenchmarkRenameLowerDir renames a lower directory of 11,500 files to and fro.
func BenchmarkRenameLowerDir(b *testing.B) {
	fs := benchOverlay(b, 11500)
	names := [2]string{"d", "e"}
	for i := 0; b.Loop(); i++ {
		if err := fs.Rename(bg, vfs.RootID, names[i%2], vfs.RootID, names[(i+1)%2], 0); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWrite4K(b *testing.B) {
	fs := benchOverlay(b, 1)
	_, h, err := fs.Create(bg, vfs.RootID, "f", unix.O_RDWR, 0o644)
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	buf := make([]byte, 4096)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := h.WriteAt(bg, buf, int64(i%4096)*4096); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead4K(b *testing.B) {
	fs := benchOverlay(b, 1)
	_, h, err := fs.Create(bg, vfs.RootID, "f", unix.O_RDWR, 0o644)
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	buf := make([]byte, 4096)
	h.WriteAt(bg, buf, 0)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.ReadAt(bg, buf, 0); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCreateUnlinkHost is the same on the host itself.
func BenchmarkCreateUnlinkHost(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		fd, err := unix.Open(dir+"/f", unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o644)
		if err != nil {
			b.Fatal(err)
		}
		unix.Close(fd)
		if err := unix.Unlink(dir + "/f"); err != nil {
			b.Fatal(err)
		}
	}
}
