package auditfs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/auditlog"
	"github.com/astridfs/astridfs/auditlog/auditfs"
	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/hostfs"
	"github.com/astridfs/astridfs/vfs/vfstest"
)

var levels = []auditfs.Level{auditfs.Mutations, auditfs.Opens, auditfs.Full}

// rig is a directory of the host, a filesystem above it that refuses some names,
// and the layer on top with its log.
type rig struct {
	*testing.T
	fs  *auditfs.FS
	rec *auditfs.Recorder
	log *auditlog.Log
	dir string // of the log
}

// errRule is a refusal that package vfs does not know.
var errRule = fmt.Errorf("a rule: %w", syscall.EACCES)

// refusing is a filesystem that refuses what is called by a kind of refusal.
type refusing struct{ vfs.FS }

func refusal(name string) error {
	switch {
	case strings.HasPrefix(name, "hidden"):
		return vfs.ErrHidden
	case strings.HasPrefix(name, "ungranted"):
		return vfs.ErrCapability
	case strings.HasPrefix(name, "ruled"):
		return errRule
	case strings.HasPrefix(name, "plain"):
		return syscall.EACCES
	}
	return nil
}

func (r refusing) Lookup(ctx context.Context, parent vfs.NodeID, name string) (vfs.Entry, error) {
	if err := refusal(name); err != nil {
		return vfs.Entry{}, err
	}
	return r.FS.Lookup(ctx, parent, name)
}

func (r refusing) Create(ctx context.Context, parent vfs.NodeID, name string, flags int, mode uint32) (vfs.Entry, vfs.Handle, error) {
	if err := refusal(name); err != nil {
		return vfs.Entry{}, nil, err
	}
	return r.FS.Create(ctx, parent, name, flags, mode)
}

func newRig(t *testing.T, ws string, level auditfs.Level, opt auditlog.Options) *rig {
	t.Helper()
	r := &rig{T: t, dir: filepath.Join(t.TempDir(), "log")}
	host, err := hostfs.Open(ws, hostfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	opt.Session = "s"
	if r.log, err = auditlog.Open(r.dir, opt); err != nil {
		t.Fatal(err)
	}
	r.rec = auditfs.NewRecorder(r.log, level, errRule)
	r.fs = auditfs.New(refusing{host}, "workspace", r.rec)
	t.Cleanup(func() {
		r.rec.Close()
		r.log.Close()
		if err := host.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func TestConformance(t *testing.T) {
	for _, level := range []auditfs.Level{auditfs.Mutations, auditfs.Full} {
		t.Run(level.String(), func(t *testing.T) {
			vfstest.Run(t, vfstest.Config{
				Seed: func(t *testing.T, build func(dir string)) vfs.FS {
					dir := t.TempDir()
					build(dir)
					return newRig(t, dir, level, auditlog.Options{}).fs
				},
				Lacks: map[vfstest.Feature]string{
					vfstest.Replace: "the host can't replace a file's contents in one step and keep its inode",
				},
			})
		})
	}
}

// records returns what the log has, one line each: OP FLAGS PATH [TO] OUTCOME
// [ERROR] [rN] [wN].
func (r *rig) records() []string {
	r.Helper()
	if err := r.log.Flush(); err != nil {
		r.Fatal(err)
	}
	var lines []string
	err := auditlog.Read(context.Background(), r.dir, auditlog.Filter{}, func(rec auditlog.Record) error {
		if rec.Op == auditlog.OpStart || rec.Op == auditlog.OpCheckpoint {
			return nil
		}
		f := []string{rec.Op}
		for _, s := range []string{rec.Flags, rec.Path, rec.To, string(rec.Outcome), rec.Error} {
			if s != "" {
				f = append(f, s)
			}
		}
		if rec.Read > 0 {
			f = append(f, fmt.Sprintf("r%d", rec.Read))
		}
		if rec.Written > 0 {
			f = append(f, fmt.Sprintf("w%d", rec.Written))
		}
		if rec.Actor != (auditlog.Actor{Capsule: "c", Principal: "p", UID: 7}) {
			r.Errorf("%s: by %+v", f, rec.Actor)
		}
		lines = append(lines, strings.Join(f, " "))
		return nil
	})
	if err != nil {
		r.Fatal(err)
	}
	return lines
}

func (r *rig) want(lines ...string) {
	r.Helper()
	got := strings.Join(r.records(), "\n")
	if want := strings.Join(lines, "\n"); got != want {
		r.Errorf("recorded:\n%s\nwant:\n%s", got, want)
	}
}

func asCapsule() context.Context {
	return vfs.WithCaller(context.Background(), &vfs.Caller{Capsule: "c", Principal: "p", UID: 7})
}

// script is one of each call, all of which succeed but those on names that are
// refused or missing.
func (r *rig) script() {
	r.Helper()
	ctx, fs := asCapsule(), r.fs
	must := func(err error) {
		r.Helper()
		if err != nil {
			r.Fatal(err)
		}
	}
	dir, err := fs.Lookup(ctx, vfs.RootID, "dir")
	must(err)
	_, err = fs.Lookup(ctx, dir.Node, "missing")
	if !errors.Is(err, syscall.ENOENT) {
		r.Fatal(err)
	}
	e, h, err := fs.Create(ctx, dir.Node, "new", unix.O_RDWR, 0o644)
	must(err)
	_, err = h.WriteAt(ctx, []byte("12345"), 0)
	must(err)
	_, err = h.ReadAt(ctx, make([]byte, 3), 0)
	must(err)
	must(fs.Rename(ctx, dir.Node, "new", dir.Node, "renamed", vfs.NoReplace))
	must(h.Close())
	h, err = fs.Open(ctx, e.Node, unix.O_RDONLY)
	must(err)
	_, err = h.ReadAt(ctx, make([]byte, 2), 0)
	must(err)
	must(h.Close())
	_, err = fs.SetAttr(ctx, e.Node, nil, vfs.SetAttr{Valid: vfs.SetMode | vfs.SetSize, Mode: 0o600, Size: 2})
	must(err)
	_, err = fs.Symlink(ctx, vfs.RootID, "link", "dir/renamed")
	must(err)
	if _, err = fs.Mkdir(ctx, vfs.RootID, "dir", 0o755); !errors.Is(err, syscall.EEXIST) {
		r.Fatal(err)
	}
	d, err := fs.OpenDir(ctx, dir.Node)
	must(err)
	must(d.Close())
	must(fs.Unlink(ctx, dir.Node, "renamed"))
	fs.Forget(e.Node, 1)
}

func TestWhatIsRecorded(t *testing.T) {
	for _, c := range []struct {
		level auditfs.Level
		want  []string
	}{
		{auditfs.Mutations, []string{
			"create read,write workspace://dir/new ok",
			"rename noreplace workspace://dir/new workspace://dir/renamed ok",
			"close workspace://dir/renamed ok r3 w5",
			"setattr mode=600,size=2 workspace://dir/renamed ok",
			"symlink workspace://link dir/renamed ok",
			"mkdir workspace://dir failed EEXIST",
			"unlink workspace://dir/renamed ok",
		}},
		{auditfs.Opens, []string{
			"create read,write workspace://dir/new ok",
			"rename noreplace workspace://dir/new workspace://dir/renamed ok",
			"close workspace://dir/renamed ok r3 w5",
			"open read workspace://dir/renamed ok",
			"close workspace://dir/renamed ok r2",
			"setattr mode=600,size=2 workspace://dir/renamed ok",
			"symlink workspace://link dir/renamed ok",
			"mkdir workspace://dir failed EEXIST",
			"list workspace://dir ok",
			"unlink workspace://dir/renamed ok",
		}},
		{auditfs.Full, []string{
			"lookup workspace://dir ok",
			"lookup workspace://dir/missing failed ENOENT",
			"create read,write workspace://dir/new ok",
			"rename noreplace workspace://dir/new workspace://dir/renamed ok",
			"close workspace://dir/renamed ok r3 w5",
			"open read workspace://dir/renamed ok",
			"close workspace://dir/renamed ok r2",
			"setattr mode=600,size=2 workspace://dir/renamed ok",
			"symlink workspace://link dir/renamed ok",
			"mkdir workspace://dir failed EEXIST",
			"list workspace://dir ok",
			"unlink workspace://dir/renamed ok",
		}},
	} {
		t.Run(c.level.String(), func(t *testing.T) {
			ws := t.TempDir()
			if err := os.Mkdir(filepath.Join(ws, "dir"), 0o755); err != nil {
				t.Fatal(err)
			}
			r := newRig(t, ws, c.level, auditlog.Options{})
			r.script()
			r.want(c.want...)
		})
	}
}

// TestRefusalsAreDurable: a refusal is in the log's file when the caller has its
// answer, at every level, and what the host answers is no refusal.
func TestRefusalsAreDurable(t *testing.T) {
	for _, level := range levels {
		t.Run(level.String(), func(t *testing.T) {
			r := newRig(t, t.TempDir(), level, auditlog.Options{})
			for _, c := range []struct {
				name string
				err  error
				kind string
			}{{"hidden", vfs.ErrHidden, "hidden"}, {"ungranted", vfs.ErrCapability, "capability"}, {"ruled", errRule, "EACCES"}} {
				if _, err := r.fs.Lookup(asCapsule(), vfs.RootID, c.name); !errors.Is(err, c.err) {
					t.Errorf("lookup of %s: %v", c.name, err)
				}
				if _, _, err := r.fs.Create(asCapsule(), vfs.RootID, c.name, unix.O_WRONLY, 0o644); !errors.Is(err, c.err) {
					t.Errorf("create of %s: %v", c.name, err)
				}
				for _, op := range []string{"lookup", "create"} {
					found := 0
					// Without a flush: what is not there now was not durable.
					err := auditlog.Read(t.Context(), r.dir, auditlog.Filter{Ops: []string{op}, Path: "workspace://" + c.name}, func(rec auditlog.Record) error {
						if rec.Outcome != auditlog.Denied || rec.Error != c.kind {
							t.Errorf("%s of %s: %s %s", op, c.name, rec.Outcome, rec.Error)
						}
						found++
						return nil
					})
					if err != nil || found != 1 {
						t.Errorf("%s of %s: %d records, %v", op, c.name, found, err)
					}
				}
			}
			if err := r.rec.Refused(asCapsule(), "workspace://../x", vfs.Read|vfs.Write, vfs.ErrEscape); err != vfs.ErrEscape {
				t.Error(err)
			}
			got := r.records()
			if want := "access read,write workspace://../x denied escape"; got[len(got)-1] != want {
				t.Errorf("%q, want %q", got[len(got)-1], want)
			}
			if _, _, err := r.fs.Create(asCapsule(), vfs.RootID, "plain", unix.O_WRONLY, 0o644); err != syscall.EACCES {
				t.Error(err)
			}
			got = r.records()
			if want := "create write workspace://plain failed EACCES"; got[len(got)-1] != want {
				t.Errorf("%q, want %q", got[len(got)-1], want)
			}
		})
	}
}

// TestLimited: what a limited recorder takes no more of is not done, and a record
// says so; another recorder of the same log goes on.
func TestLimited(t *testing.T) {
	ws := t.TempDir()
	if err := os.WriteFile(filepath.Join(ws, "old"), []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, ws, auditfs.Opens, auditlog.Options{})
	own := r.rec.Limited(3)
	fs := auditfs.New(r.fs.FS, "workspace", own)
	ctx := asCapsule()
	old, err := fs.Lookup(ctx, vfs.RootID, "old")
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Forget(old.Node, 1)
	h, err := fs.Open(ctx, old.Node, unix.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.WriteAt(ctx, []byte("new"), 0); err != nil {
		t.Error(err)
	}
	if err := fs.Unlink(ctx, vfs.RootID, "none"); err != syscall.ENOENT {
		t.Errorf("removing what is not there: %v", err)
	}
	if _, err := fs.Lookup(ctx, vfs.RootID, "hidden"); !errors.Is(err, vfs.ErrHidden) {
		t.Errorf("the last refusal: %v", err)
	}
	_, lerr := fs.Lookup(ctx, vfs.RootID, "hidden")
	_, oerr := fs.Open(ctx, old.Node, unix.O_RDONLY)
	_, derr := fs.OpenDir(ctx, vfs.RootID)
	_, merr := fs.Mkdir(ctx, vfs.RootID, "d", 0o755)
	_, werr := h.WriteAt(ctx, []byte("more"), 0)
	for what, err := range map[string]error{
		"a refusal": lerr, "open": oerr, "list": derr, "mkdir": merr, "write": werr, "unlink": fs.Unlink(ctx, vfs.RootID, "old"),
		"an event": own.Append(auditlog.Record{Op: "publish", Outcome: auditlog.Allowed}, false),
		"a path":   own.Refused(ctx, "workspace://../x", vfs.Read, vfs.ErrEscape),
	} {
		if !errors.Is(err, auditfs.ErrSpent) || vfs.Errno(err) != syscall.EDQUOT {
			t.Errorf("%s: %v, want EDQUOT", what, err)
		}
	}
	if _, err := fs.Lookup(ctx, vfs.RootID, "old"); err != nil {
		t.Errorf("what needs no record: %v", err)
	} else {
		fs.Forget(old.Node, 1)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if _, err := r.fs.Mkdir(ctx, vfs.RootID, "other", 0o755); err != nil {
		t.Errorf("by another recorder: %v", err)
	}
	if got, err := os.ReadFile(filepath.Join(ws, "old")); string(got) != "new" {
		t.Errorf("the file holds %q, %v", got, err)
	}
	got := r.records()
	want := []string{"open read,write workspace://old ok", "unlink workspace://none failed ENOENT", "lookup workspace://hidden denied hidden",
		"quota denied EDQUOT", "close workspace://old ok", "mkdir workspace://other ok"}
	for i, w := range want {
		have := got[len(got)-len(want)+i]
		if strings.Join(strings.Fields(have), " ") != w && !strings.HasPrefix(have, "close") {
			t.Errorf("record %d is %q, want %q", i, have, w)
		}
	}
}

// TestUnwritableLog: where no record can be written, nothing that would have one
// is done, and nothing that needs none is hindered.
func TestUnwritableLog(t *testing.T) {
	ws := t.TempDir()
	for _, name := range []string{"old", "other"} {
		if err := os.WriteFile(filepath.Join(ws, name), []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r := newRig(t, ws, auditfs.Mutations, auditlog.Options{Rotate: 1})
	ctx := asCapsule()
	old, err := r.fs.Lookup(ctx, vfs.RootID, "old")
	if err != nil {
		t.Fatal(err)
	}
	defer r.fs.Forget(old.Node, 1)
	writer, err := r.fs.Open(ctx, old.Node, unix.O_WRONLY)
	if err != nil {
		t.Fatal(err)
	}
	// The next batch begins a file of its own, for which there is no directory.
	if err := r.log.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(r.dir); err != nil {
		t.Fatal(err)
	}
	if _, err := r.fs.Lookup(ctx, vfs.RootID, "hidden"); vfs.Errno(err) != syscall.EIO {
		t.Errorf("a refusal that cannot be recorded: %v", err)
	}
	for what, err := range map[string]error{
		"unlink": r.fs.Unlink(ctx, vfs.RootID, "other"),
		"write":  func() error { _, err := writer.WriteAt(ctx, []byte("new"), 0); return err }(),
		"mkdir":  func() error { _, err := r.fs.Mkdir(ctx, vfs.RootID, "d", 0o755); return err }(),
		"create": func() error { _, _, err := r.fs.Create(ctx, vfs.RootID, "f", unix.O_WRONLY, 0o644); return err }(),
		"open":   func() error { _, err := r.fs.Open(ctx, old.Node, unix.O_RDWR); return err }(),
	} {
		if vfs.Errno(err) != syscall.EIO {
			t.Errorf("%s: %v, want EIO", what, err)
		}
	}
	if err := writer.Close(); err != nil {
		t.Error(err)
	}
	if data, err := os.ReadFile(filepath.Join(ws, "old")); err != nil || string(data) != "old" {
		t.Errorf("old holds %q, %v", data, err)
	}
	if names, err := os.ReadDir(ws); err != nil || len(names) != 2 {
		t.Errorf("the directory has %v, %v", names, err)
	}
	h, err := r.fs.Open(ctx, old.Node, unix.O_RDONLY)
	if err != nil {
		t.Fatalf("reading is not recorded: %v", err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

// TestProgram: a process that uses the mount is named as it is called now.
func TestProgram(t *testing.T) {
	r := newRig(t, t.TempDir(), auditfs.Mutations, auditlog.Options{})
	self := uint32(os.Getpid())
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", self))
	if err != nil {
		t.Fatal(err)
	}
	const none = 1 << 30 // above what pid_max can be
	for i, c := range []*vfs.Caller{{UID: 3, PID: self}, {UID: 3, PID: self}, {UID: 4, PID: none}} {
		if _, err := r.fs.Mkdir(vfs.WithCaller(t.Context(), c), vfs.RootID, fmt.Sprint(i), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.log.Flush(); err != nil {
		t.Fatal(err)
	}
	name := strings.TrimSpace(string(comm))
	var got []auditlog.Actor
	err = auditlog.Read(t.Context(), r.dir, auditlog.Filter{Ops: []string{"mkdir"}}, func(rec auditlog.Record) error {
		got = append(got, rec.Actor)
		return nil
	})
	want := []auditlog.Actor{{UID: 3, PID: self, Program: name}, {UID: 3, PID: self, Program: name}, {UID: 4, PID: none}}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
}

func TestLevels(t *testing.T) {
	for _, s := range []string{"off", "mutations", "opens", "full"} {
		if l, err := auditfs.ParseLevel(s); err != nil || l.String() != s {
			t.Errorf("%s: %v, %v", s, l, err)
		}
	}
	if _, err := auditfs.ParseLevel("all"); err == nil {
		t.Error("all is a level")
	}
}
