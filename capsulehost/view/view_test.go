package view_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/astridfs/astridfs/capsulehost/view"
	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/hostfs"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		path   string
		scheme view.Scheme
		rest   string
	}{
		{"", view.Workspace, ""},
		{"p", view.Workspace, "p"},
		{"/p/../q//", view.Workspace, "/p/../q//"},
		{"workspace://", view.Workspace, ""},
		{"workspace://p", view.Workspace, "p"},
		{"cwd://p", view.Workspace, "p"},
		{"home://p", view.Home, "p"},
		{"tmp://p", view.Tmp, "p"},
		{"/tmp", view.Tmp, ""},
		{"/tmp/", view.Tmp, "/"},
		{"/tmp/p", view.Tmp, "/p"},
		{"/tmpp", view.Workspace, "/tmpp"},
		{"tmp", view.Workspace, "tmp"},
		{"tmp/p", view.Workspace, "tmp/p"},
		{"a/b://c", view.Workspace, "a/b://c"},
		{"a:b", view.Workspace, "a:b"},
		{"tmp:/p", view.Workspace, "tmp:/p"},
		{"workspace://tmp://x", view.Workspace, "tmp://x"},
		{"é", view.Workspace, "é"},
		{strings.Repeat("a", 4096), view.Workspace, strings.Repeat("a", 4096)},
	} {
		s, rest, err := view.Parse(c.path)
		if s != c.scheme || rest != c.rest || err != nil {
			t.Errorf("%q: %v %q %v", c.path, s, rest, err)
		}
	}
	for _, path := range []string{
		"://", "file://x", "Workspace://x", "TMP://", " tmp://x", "\x00", "a\x00", "a\x7f", "a\tb", "\u0085", "a\u009f",
		"\xff", "a\xed\xa0\x80", "e\u0301", "home://\n", strings.Repeat("a", 4097), strings.Repeat("é", 2049),
	} {
		if s, rest, err := view.Parse(path); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%q: %v %q %v", path, s, rest, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "cwd://a/../b", "/tmp/x", "file://", "e\u0301", "\xff", "a\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		s, rest, err := view.Parse(path)
		if err != nil {
			return
		}
		if !utf8.ValidString(rest) || strings.IndexByte(rest, 0) >= 0 || !strings.HasSuffix(path, rest) {
			t.Errorf("%q gave %q", path, rest)
		}
		// The canonical form means the same.
		s2, rest2, err := view.Parse(view.Format(s, rest))
		if len(path) < 4000 && (s2 != s || rest2 != rest || err != nil) {
			t.Errorf("%q gave %v %q, and that %v %q %v", path, s, rest, s2, rest2, err)
		}
	})
}

func (g *gate) Passes(_, path string) bool {
	return path == "" || path == g.prefix || strings.HasPrefix(path, g.prefix+"/")
}

// gate grants what has a prefix, and records what it was asked.
type gate struct {
	prefix string
	asked  []string
}

func (g *gate) Check(scheme, path string, _ vfs.Access) error {
	g.asked = append(g.asked, scheme+"://"+path)
	if path == g.prefix || strings.HasPrefix(path, g.prefix+"/") {
		return nil
	}
	return vfs.ErrCapability
}

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"ok/sub", "secret"} {
		os.MkdirAll(filepath.Join(dir, d), 0o755)
	}
	os.WriteFile(filepath.Join(dir, "ok/file"), nil, 0o644)
	os.WriteFile(filepath.Join(dir, "secret/file"), nil, 0o644)
	for link, target := range map[string]string{
		"ok/out": "../../x", "ok/abs": "/etc", "ok/secret": "../secret/file", "ok/in": "sub/../file", "in": "ok/file", "secret/back": "../ok/file", "ok/through": "../secret/../ok/file", "ok/loop": "loop",
	} {
		os.Symlink(target, filepath.Join(dir, link))
	}
	fs, err := hostfs.Open(dir, hostfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	g := &gate{prefix: "ok"}
	told := 0
	v := &view.View{Workspace: fs, Gate: g, Refused: func(_ context.Context, path string, _ vfs.Access, err error) error {
		if told++; !strings.Contains(path, "://") {
			t.Errorf("told of %q", path)
		}
		return fmt.Errorf("told: %w", err)
	}}
	ctx := context.Background()
	for _, c := range []struct {
		path  string
		err   error
		full  string
		there bool
	}{
		{"ok/file", nil, "ok/file", true},
		{"ok/sub/../file", nil, "ok/file", true},
		{"ok/in", nil, "ok/file", true},
		{"in", nil, "ok/file", true},
		{"ok", nil, "ok", true},
		{"ok/missing", nil, "ok/missing", false},
		{"ok/missing/x", syscall.ENOENT, "", false},
		{"ok/file/x", syscall.ENOTDIR, "", false},
		{"ok/out", vfs.ErrEscape, "", false},
		{"ok/abs", vfs.ErrEscape, "", false},
		{"ok/loop", syscall.ELOOP, "", false},
		// What is not granted does not show by a way through it either.
		{"secret/../ok/file", vfs.ErrCapability, "", false},
		{"secret/.././ok/file", vfs.ErrCapability, "", false},
		{"missing/../ok/file", vfs.ErrCapability, "", false},
		{"secret/file/../ok/file", vfs.ErrCapability, "", false},
		{"secret/../../x", vfs.ErrCapability, "", false},
		{"missing/../../x", vfs.ErrCapability, "", false},
		{"ok/through", vfs.ErrCapability, "", false},
		{"ok/../ok/file", nil, "ok/file", true},
		{"secret/back", nil, "ok/file", true}, // a link counts by where it leads
		{"../ok", vfs.ErrEscape, "", false},
		{"ok/secret", vfs.ErrCapability, "", false},
		{"secret/file", vfs.ErrCapability, "", false},
		{"secret/missing", vfs.ErrCapability, "", false},
		{"secret/missing/x", vfs.ErrCapability, "", false},
		{"secret/file/x", vfs.ErrCapability, "", false},
		{"secret/" + strings.Repeat("x", 300), vfs.ErrCapability, "", false},
		{"", vfs.ErrCapability, "", false},
		{"tmp://ok", vfs.ErrCapability, "", false},
		{"file://ok", syscall.EINVAL, "", false},
	} {
		told = 0
		tg, err := v.Resolve(ctx, c.path, vfs.Follow, vfs.Read)
		refused := c.err == vfs.ErrEscape || c.err == vfs.ErrCapability
		if refused != (told == 1) || refused && !strings.HasPrefix(err.Error(), "told: ") {
			t.Errorf("%q: told of %d refusals, answered %v", c.path, told, err)
		}
		if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
			t.Errorf("%q: %v, want %v", c.path, err, c.err)
		}
		if err == nil {
			if tg.Full != c.full || tg.Exists() != c.there || tg.String() != "workspace://"+c.full {
				t.Errorf("%q: %q, %v", c.path, tg.Full, tg.Exists())
			}
			tg.Release()
		}
	}

	// From a directory the gate is asked about the path from the root, also
	// after the directory was moved.
	tg, err := v.Resolve(ctx, "ok/sub", 0, vfs.Read)
	if err != nil {
		t.Fatal(err)
	}
	defer tg.Release()
	at := func(path string) error {
		r, err := v.ResolveAt(ctx, view.Workspace, tg.Entry.Node, path, 0, vfs.Write)
		if err == nil {
			r.Release()
		}
		return err
	}
	if err := at("x"); err != nil || g.asked[len(g.asked)-1] != "workspace://ok/sub/x" {
		t.Error(err, g.asked[len(g.asked)-1])
	}
	if err := at("../x"); !errors.Is(err, vfs.ErrEscape) {
		t.Error(err)
	}
	if err := fs.Rename(ctx, tg.Parent, "sub", vfs.RootID, "moved", 0); err != nil {
		t.Fatal(err)
	}
	if err := at("x"); !errors.Is(err, vfs.ErrCapability) || g.asked[len(g.asked)-1] != "workspace://moved/x" {
		t.Error(err, g.asked[len(g.asked)-1])
	}
}

func TestQuota(t *testing.T) {
	q := view.NewQuota(1000, 10)
	var took, made atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if q.TakeBytes(7) == nil {
					took.Add(7)
				}
				if q.TakeFile() == nil {
					made.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if b, n := q.Used(); b != uint64(took.Load()) || b != 994 || n != 10 || made.Load() != 10 {
		t.Errorf("%d bytes, %d names", b, n)
	}
	if err := q.TakeBytes(6); err != nil {
		t.Error(err)
	}
	if err := q.TakeBytes(1); !errors.Is(err, syscall.EDQUOT) {
		t.Error(err)
	}
	if err := q.TakeBytes(math.MaxUint64); !errors.Is(err, syscall.EDQUOT) {
		t.Error(err)
	}
	q.GiveBytes(math.MaxUint64)
	for range 20 {
		q.GiveFile()
	}
	if b, n := q.Used(); b != 0 || n != 0 {
		t.Errorf("%d bytes, %d names", b, n)
	}
	var none *view.Quota
	none.GiveBytes(1)
	none.GiveFile()
	if none.TakeBytes(math.MaxUint64) != nil || none.TakeFile() != nil {
		t.Error("no quota bounds")
	}
}

func TestSlots(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	s := view.NewSlots(1, time.Hour)
	if err := s.Enter(ctx); err != nil {
		t.Fatal(err)
	}
	go cancel()
	if err := s.Enter(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	go s.Leave()
	if err := s.Enter(context.Background()); err != nil {
		t.Error(err)
	}
	var none *view.Slots
	if err := none.Enter(ctx); err != nil {
		t.Error(err)
	}
	none.Leave()
}
