package fusefs_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/fusefs/internal/serve"
)

// handleFID asks for a handle that need not be good for opening (AT_HANDLE_FID).
const handleFID = 0x200

// A handle of a file (name_to_handle_at) is good for opening as long as the file
// is there, which no filesystem here can promise. So the kernel gives none but
// such as tell files apart (for fanotify), and none opens anything: least of all
// one of an earlier mount, in which the same number stood for another file.
func TestHandlesOfFiles(t *testing.T) {
	c := serve.Config{FS: "overlay", Dirs: overlayDirs(t)}
	p := &place{t, lowerOf(c.Dirs)}
	p.write("first", "first", 0o644)
	p.write("other", "other", 0o644)

	var handles []unix.FileHandle
	for _, name := range []string{"first", "other"} {
		t.Run(name, func(t *testing.T) {
			m := serve.Start(t, c)
			path := filepath.Join(m.Mountpoint, name)
			if _, _, err := unix.NameToHandleAt(unix.AT_FDCWD, path, 0); !errors.Is(err, syscall.EOPNOTSUPP) {
				t.Errorf("a handle for opening: %v", err)
			}
			h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, path, handleFID)
			if err != nil {
				t.Fatal(err)
			}
			for _, old := range handles {
				if old.Type() == h.Type() && bytes.Equal(old.Bytes(), h.Bytes()) {
					t.Error("two files of two mounts have one handle")
				}
			}
			handles = append(handles, h)
			d, err := os.Open(m.Mountpoint)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			for _, h := range handles {
				fd, err := unix.OpenByHandleAt(int(d.Fd()), h, unix.O_RDONLY)
				if err == nil {
					b := make([]byte, 16)
					n, err := unix.Read(fd, b)
					t.Errorf("a handle opened a file that holds %q, %v", b[:max(n, 0)], err)
					unix.Close(fd)
				} else if !errors.Is(err, syscall.ESTALE) {
					t.Errorf("opening by a handle: %v", err)
				}
			}
		})
	}
}
