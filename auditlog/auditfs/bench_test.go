package auditfs_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/auditlog"
	"github.com/astridfs/astridfs/auditlog/auditfs"
	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/hostfs"
)

// BenchmarkAudit measures operations of a capsule and of a process that uses the
// mount at each level, beside the same without a layer.
func BenchmarkAudit(b *testing.B) {
	for _, level := range []auditfs.Level{auditfs.Off, auditfs.Mutations, auditfs.Opens, auditfs.Full} {
		ws := b.TempDir()
		if err := os.WriteFile(filepath.Join(ws, "file"), []byte("x"), 0o644); err != nil {
			b.Fatal(err)
		}
		host, err := hostfs.Open(ws, hostfs.Options{})
		if err != nil {
			b.Fatal(err)
		}
		var fs vfs.FS = host
		var log *auditlog.Log
		var rec *auditfs.Recorder
		if level != auditfs.Off {
			if log, err = auditlog.Open(b.TempDir(), auditlog.Options{Session: "s"}); err != nil {
				b.Fatal(err)
			}
			rec = auditfs.NewRecorder(log, level)
			fs = auditfs.New(host, "workspace", rec)
		}
		capsule := asCapsule()
		process := vfs.WithCaller(b.Context(), &vfs.Caller{PID: uint32(os.Getpid())})
		file, err := fs.Lookup(capsule, vfs.RootID, "file")
		if err != nil {
			b.Fatal(err)
		}
		for _, c := range []struct {
			name string
			op   func() error
		}{
			{"lookup", func() error {
				e, err := fs.Lookup(capsule, vfs.RootID, "file")
				if err == nil {
					fs.Forget(e.Node, 1)
				}
				return err
			}},
			{"open", func() error {
				h, err := fs.Open(capsule, file.Node, unix.O_RDONLY)
				if err == nil {
					err = h.Close()
				}
				return err
			}},
			{"chmod", func() error {
				_, err := fs.SetAttr(capsule, file.Node, nil, vfs.SetAttr{Valid: vfs.SetMode, Mode: 0o644})
				return err
			}},
			{"chmod by a process", func() error {
				_, err := fs.SetAttr(process, file.Node, nil, vfs.SetAttr{Valid: vfs.SetMode, Mode: 0o644})
				return err
			}},
		} {
			b.Run(c.name+"/"+level.String(), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := c.op(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		fs.Forget(file.Node, 1)
		if log != nil {
			rec.Close()
			if err := log.Close(); err != nil {
				b.Fatal(err)
			}
		}
		if err := host.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
