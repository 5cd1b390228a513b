package fusefs_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/fusefs/internal/serve"
	"github.com/astridfs/astridfs/vfs"
)

// The passthrough trap with everybody at once: lower files that are open in
// every way (read, mapped, for writing without a write, directly) while others
// write them for the first time. What a write that has returned wrote, every
// later read sees; the lower files' bytes stay.
func TestPassthroughTrapAtOnce(t *testing.T) {
	for _, fs := range []string{"overlay", "overlay static"} {
		t.Run(fs, func(t *testing.T) {
			dirs := overlayDirs(t)
			old := bytes.Repeat([]byte{0}, 3*4096)
			const files = 16
			for i := range files {
				if err := os.WriteFile(filepath.Join(lowerOf(dirs), strconv.Itoa(i)), old, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			m := serve.Start(t, serve.Config{FS: fs, Dirs: dirs})
			for i := range files {
				path := filepath.Join(m.Mountpoint, strconv.Itoa(i))
				// Without readers that stay, writers come to passthrough.
				trapFile(t, path, len(old), i%2 == 0)
				wantBytes(t, "lower file", read(t, filepath.Join(lowerOf(dirs), strconv.Itoa(i))), old)
				got := read(t, path)
				if got[0] != trapWrites || got[4096] != trapWrites {
					t.Fatalf("file %d: %d and %d are the last of %d writes", i, got[0], got[4096], trapWrites)
				}
			}
		})
	}
}

const trapWrites = 40 // of each writer; a byte, so that no read is torn

// trapFile has two writers count, each in a page of its own, and readers look.
func trapFile(t *testing.T, path string, size int, stay bool) {
	t.Helper()
	var done [2]atomic.Int32 // by each writer
	var ended atomic.Bool
	// look tells whether what get reads is as new as what was written before.
	look := func(how string, get func(off int64) (byte, error)) bool {
		for w := range done {
			least := done[w].Load()
			got, err := get(int64(w) * 4096)
			if err != nil || int32(got) < least {
				t.Errorf("%s: read %d after %d was written, %v", how, got, least, err)
				return false
			}
		}
		return true
	}
	var readers, writers sync.WaitGroup
	watch := func(how string, get func(off int64) (byte, error)) {
		readers.Go(func() {
			for !ended.Load() && look(how, get) {
			}
			look(how+", at last", get)
		})
	}
	at := func(f *os.File) func(int64) (byte, error) {
		return func(off int64) (byte, error) {
			var one [1]byte
			_, err := f.ReadAt(one[:], off)
			return one[0], err
		}
	}
	if stay {
		f := (&place{t, ""}).open(path, os.O_RDONLY)
		shared, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := unix.Munmap(shared); err != nil {
				t.Error(err)
			}
			f.Close()
		}()
		watch("open since before", at(f))
		page := make([]atomic.Pointer[byte], len(done))
		for w := range done {
			page[w].Store(&shared[w*4096])
		}
		watch("mapped since before", func(off int64) (byte, error) { return *page[off/4096].Load(), nil })
		idle := (&place{t, ""}).open(path, os.O_RDWR)
		defer idle.Close()
		watch("open for writing since before", at(idle))
	}
	watch("opened now", func(off int64) (byte, error) {
		f, err := os.Open(path)
		if err != nil {
			return 0, err
		}
		defer f.Close()
		return at(f)(off)
	})
	for w := range done {
		writers.Go(func() {
			var f *os.File
			for i := 1; i <= trapWrites; i++ {
				var err error
				if f == nil {
					f, err = os.OpenFile(path, []int{os.O_WRONLY, os.O_RDWR}[i%2], 0)
				}
				if err == nil {
					_, err = f.WriteAt([]byte{byte(i)}, int64(w)*4096)
				}
				if err != nil {
					t.Errorf("write %d: %v", i, err)
					return
				}
				done[w].Store(int32(i))
				if i%5 == 0 {
					f.Close()
					f = nil
				}
			}
		})
	}
	writers.Wait()
	ended.Store(true)
	readers.Wait()
}

// quota is a filesystem whose user has used up what they may.
type quota struct{ stable }

type quotaHandle struct{ vfs.Handle }

func (quota) Create(context.Context, vfs.NodeID, string, int, uint32) (vfs.Entry, vfs.Handle, error) {
	return vfs.Entry{}, nil, syscall.EDQUOT
}

func (quota) Mkdir(context.Context, vfs.NodeID, string, uint32) (vfs.Entry, error) {
	return vfs.Entry{}, syscall.EDQUOT
}

func (quota) Symlink(context.Context, vfs.NodeID, string, string) (vfs.Entry, error) {
	return vfs.Entry{}, fmt.Errorf("symlink: %w", syscall.EDQUOT)
}

func (q quota) Open(ctx context.Context, id vfs.NodeID, flags int) (vfs.Handle, error) {
	h, err := q.stable.Open(ctx, id, flags)
	return quotaHandle{h}, err
}

func (quotaHandle) WriteAt(context.Context, []byte, int64) (int, error) { return 0, syscall.EDQUOT }

func (quotaHandle) Allocate(context.Context, uint32, int64, int64) error { return syscall.EDQUOT }

func makeQuota(dirs []string) (vfs.FS, func() error, error) {
	fs, done, err := makeHost(dirs)
	return quota{stable{fs}}, done, err
}

// EDQUOT reaches the program that meets it. (A filesystem with real quotas is
// nothing that every machine can make, and root has none.)
func TestQuota(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("there"), 0o644); err != nil {
		t.Fatal(err)
	}
	m := serve.Start(t, serve.Config{FS: "quota", Dirs: []string{dir}})
	p := &place{t, m.Mountpoint}
	f := p.open("f", os.O_RDWR)
	_, err := f.Write([]byte("more"))
	p.want("write", err, syscall.EDQUOT)
	p.want("fallocate", unix.Fallocate(int(f.Fd()), 0, 0, 1<<20), syscall.EDQUOT)
	p.want("create", os.WriteFile(p.at("new"), nil, 0o644), syscall.EDQUOT)
	p.want("mkdir", os.Mkdir(p.at("dir"), 0o755), syscall.EDQUOT)
	p.want("symlink", os.Symlink("f", p.at("link")), syscall.EDQUOT)
	wantBytes(t, "the file", read(t, p.at("f")), []byte("there"))
}
