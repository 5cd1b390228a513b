package boundary_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/boundary"
	"github.com/astridfs/astridfs/boundary/ignore"
	"github.com/astridfs/astridfs/vfs"
)

// recorder is a front end's cache: it notes what it is told.
type recorder struct {
	mu      sync.Mutex
	entries map[string]bool // "node name"
	nodes   map[vfs.NodeID]bool
}

func newRecorder() *recorder {
	return &recorder{entries: map[string]bool{}, nodes: map[vfs.NodeID]bool{}}
}

func (r *recorder) EntryChanged(_ context.Context, parent vfs.NodeID, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries[fmt.Sprintf("%d %s", parent, name)] = true
}

func (r *recorder) NodeChanged(_ context.Context, node vfs.NodeID, data bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.nodes[node] = r.nodes[node] || data
}

func (r *recorder) hasEntry(parent vfs.NodeID, name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.entries[fmt.Sprintf("%d %s", parent, name)]
}

func (r *recorder) hasNode(node vfs.NodeID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.nodes[node]
}

// TestReload has edits of the host take effect at the next use, for what is
// held as well, and has watchers told.
func TestReload(t *testing.T) {
	each(t, map[string]string{
		".astridignore": "old\n", "old": "", "new": "", "d/new": "text", "d/link": "-> x", "dir/deep/file": "", "sub/x": "", "sub/y/z": "",
	}, lazily, func(v *view) {
		rec := newRecorder()
		defer v.fs.Watch(rec)()
		file, link, dir, deep := v.node("d/new"), v.node("d/link"), v.node("d"), v.node("dir/deep")
		sub, y := v.node("sub"), v.node("sub/y")
		h, err := v.fs.Open(v.ctx, file, unix.O_RDONLY)
		if err != nil {
			v.Fatal(err)
		}
		defer h.Close()
		open, err := v.fs.OpenDir(v.ctx, dir)
		if err != nil {
			v.Fatal(err)
		}
		defer open.Close()
		openDeep, err := v.fs.OpenDir(v.ctx, deep)
		if err != nil {
			v.Fatal(err)
		}
		defer openDeep.Close()
		v.want("old", v.stat("old"), vfs.ErrHidden)

		v.edit(".astridignore", "new\nlink\n/dir/\n")
		v.want("old", v.stat("old"), nil)
		v.want("new", v.stat("new"), vfs.ErrHidden)
		for what, err := range v.nodeUses(file) {
			v.want(what+" of a file that is hidden now", err, vfs.ErrHidden)
		}
		_, err = v.fs.Readlink(v.ctx, link)
		v.want("Readlink", err, vfs.ErrHidden)
		for what, err := range v.nodeUses(deep) {
			v.want(what+" of a directory", err, vfs.ErrHidden)
		}
		_, err = v.fs.Lookup(v.ctx, deep, "file")
		v.want("Lookup in it", err, vfs.ErrHidden)
		_, _, err = v.fs.Tmpfile(v.ctx, deep, unix.O_RDWR, 0o600)
		v.want("Tmpfile in it", err, vfs.ErrHidden)
		if got := v.listing(open); got != "" && got != ". .." {
			v.Errorf("an open directory lists %q", got)
		}
		v.want("an open directory that is hidden", openDeep.ReadDir(v.ctx, 0, func(vfs.DirEntry) bool { return true }), vfs.ErrHidden)
		v.want("the link of an open file", v.kept(v.fs.Link(v.ctx, file, vfs.RootID, "other")), vfs.ErrHidden)
		if n, err := h.ReadAt(v.ctx, make([]byte, 10), 0); n != 4 || err != nil {
			v.Errorf("a file that was open: %d, %v", n, err)
		}
		v.soon("watchers are told", func() bool {
			return rec.hasEntry(vfs.RootID, "old") && rec.hasEntry(vfs.RootID, "new") && rec.hasEntry(dir, "new") && rec.hasEntry(dir, "link") &&
				rec.hasEntry(vfs.RootID, "dir") && rec.hasEntry(deep, "file") &&
				rec.hasNode(vfs.RootID) && rec.hasNode(dir) && rec.hasNode(file) && rec.hasNode(deep)
		})

		// A file that is new, in a directory above one that is used.
		v.edit("sub/.astridignore", "z\n")
		_, err = v.fs.Lookup(v.ctx, y, "z")
		v.want("below a new file", err, vfs.ErrHidden)
		v.soon("watchers are told", func() bool { return rec.hasEntry(y, "z") && !rec.hasEntry(sub, "x") })

		// The file goes.
		if err := os.Remove(filepath.Join(v.host, ".astridignore")); err != nil {
			v.Fatal(err)
		}
		// Over an overlay, which is told of the host's edits, the file may have
		// been read again already.
		stale, err := v.b.Stale(v.ctx)
		if err != nil || !stale && !v.ov {
			v.Errorf("Stale: %v, %v", stale, err)
		}
		if err := v.b.Reload(v.ctx); err != nil {
			v.Fatal(err)
		}
		v.want("new", v.stat("new"), nil)
		if !rec.hasEntry(vfs.RootID, "old") || !rec.hasEntry(deep, "file") {
			v.Error("Reload did not tell")
		}
		stale, err = v.b.Stale(v.ctx)
		if err != nil || stale {
			v.Errorf("Stale after Reload: %v, %v", stale, err)
		}
	})
}

// nodeUses is every use of a node.
func (v *view) nodeUses(n vfs.NodeID) map[string]error {
	m := map[string]error{}
	_, m["GetAttr"] = v.fs.GetAttr(v.ctx, n, nil)
	_, m["SetAttr"] = v.fs.SetAttr(v.ctx, n, nil, vfs.SetAttr{Valid: vfs.SetMtimeNow})
	_, m["Open"] = v.fs.Open(v.ctx, n, unix.O_RDONLY)
	_, m["OpenDir"] = v.fs.OpenDir(v.ctx, n)
	if m["OpenDir"] == syscall.ENOTDIR {
		delete(m, "OpenDir")
	}
	_, m["GetXattr"] = v.fs.GetXattr(v.ctx, n, "user.x", nil)
	_, m["ListXattr"] = v.fs.ListXattr(v.ctx, n, nil)
	m["SetXattr"] = v.fs.SetXattr(v.ctx, n, "user.x", []byte("y"), 0)
	m["RemoveXattr"] = v.fs.RemoveXattr(v.ctx, n, "user.x")
	_, m["StatFS"] = v.fs.StatFS(v.ctx, n)
	m["Replace"] = v.fs.Replace(v.ctx, n, nil)
	return m
}

// TestNoticesByItself has edits noticed without a word, in the time that was
// asked for, whatever way an editor takes.
func TestNoticesByItself(t *testing.T) {
	each(t, map[string]string{".astridignore": "a\n", "a": "", "b": ""}, boundary.Options{Revalidate: time.Millisecond}, func(v *view) {
		file := filepath.Join(v.host, ".astridignore")
		for i, write := range []func(text string) error{
			func(text string) error { return os.WriteFile(file, []byte(text), 0o644) },
			func(text string) error {
				if err := os.WriteFile(file+"~", []byte(text), 0o644); err != nil {
					return err
				}
				return os.Rename(file+"~", file)
			},
			func(text string) error {
				if err := os.Remove(file); err != nil {
					return err
				}
				return os.WriteFile(file, []byte(text), 0o644)
			},
		} {
			for _, c := range [][2]string{{"a", "b"}, {"b", "a"}} { // of one size
				if err := write(c[0] + "\n"); err != nil {
					v.Fatal(err)
				}
				v.soon(fmt.Sprintf("way %d, %s", i, c[0]), func() bool {
					return errors.Is(v.stat(c[0]), vfs.ErrHidden) && v.stat(c[1]) == nil
				})
			}
		}
	})
}

// TestUnusableFiles has a directory hidden whose ignore file can't be used.
func TestUnusableFiles(t *testing.T) {
	long := strings.Repeat("a", ignore.MaxPattern+1)
	for name, tree := range map[string]map[string]string{
		"a directory":   {"d/.astridignore/": ""},
		"a symlink":     {"d/.astridignore": "-> ../rules", "rules": "x\n"},
		"a long line":   {"d/.astridignore": "x\n" + long},
		"a large file":  {"d/.astridignore": strings.Repeat("#\n", ignore.MaxFileSize)},
		"a broken link": {"d/.astridignore": "-> nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var reported []string
			tree["d/x"], tree["d/e/y"], tree["z"] = "", "", ""
			each(t, tree, boundary.Options{Revalidate: -1, Report: func(err error) {
				mu.Lock()
				defer mu.Unlock()
				reported = append(reported, err.Error())
			}}, func(v *view) {
				for path, want := range map[string]error{"d": nil, "d/x": vfs.ErrHidden, "d/e/y": vfs.ErrHidden, "d/none": vfs.ErrHidden, "z": nil} {
					v.want(path, v.stat(path), want)
				}
				mu.Lock()
				defer mu.Unlock()
				if len(reported) == 0 || !strings.HasPrefix(reported[0], "d/.astridignore") || strings.Contains(reported[0], v.host) {
					v.Errorf("reported: %q", reported)
				}
			})
		})
	}
}

// TestNewRefuses has the errors of New name file and line.
func TestNewRefuses(t *testing.T) {
	each(t, map[string]string{"x": ""}, lazily, func(v *view) {
		_, err := boundary.New(v.b.FS, boundary.Options{Deny: []string{"ok", "a\nb"}})
		if err == nil || !strings.HasPrefix(err.Error(), "--deny:2: ") {
			v.Errorf("a newline in a deny rule: %v", err)
		}
		v.plant(map[string]string{".astridignore": "x\n" + strings.Repeat("a", ignore.MaxPattern+1)})
		_, err = boundary.New(v.b.FS, boundary.Options{})
		if err == nil || !strings.HasPrefix(err.Error(), ".astridignore:2: ") {
			v.Errorf("a long line: %v", err)
		}
	})
}

// TestDenyAndHidden asks about paths, also of what is not there.
func TestDenyAndHidden(t *testing.T) {
	each(t, map[string]string{".astridignore": "!shown\n*.key\n", "d/.astridignore": "inner\n!*.key\n"}, boundary.Options{
		Revalidate: -1, Deny: []string{"/.git", "shown", "!other"},
	}, func(v *view) {
		for path, want := range map[string]bool{
			"": false, ".git": true, ".git/config": true, "d/.git": false, "shown": true, "a.key": true, "d/a.key": false, "d/no/b.key": false,
			"no/such/inner": false, "no/such/x.key": true, "d/inner": true, "d/no/such/inner/x": true, "a.key/x/y": true, ".astridignore": false,
		} {
			got, rule, err := v.b.Hidden(v.ctx, path, false)
			if err != nil || got != want {
				v.Errorf("Hidden(%q) = %v by %v, %v", path, got, rule, err)
			}
			if err := v.stat(path); errors.Is(err, vfs.ErrHidden) != want && !strings.Contains(path, "no/") {
				v.Errorf("stat %q: %v", path, err)
			}
		}
	})
}

// TestWatchersOfBelow are told of changes through the layer.
func TestWatchersOfBelow(t *testing.T) {
	each(t, map[string]string{".astridignore": "x\n"}, lazily, func(v *view) {
		rec := newRecorder()
		stop := v.fs.Watch(rec)
		v.want("create", v.create("a"), nil)
		if !rec.hasEntry(vfs.RootID, "a") {
			v.Error("not told of a new file")
		}
		stop()
		v.want("create", v.create("b"), nil)
		if rec.hasEntry(vfs.RootID, "b") {
			v.Error("told after stop")
		}
	})
}

// TestReloadUnasked has watchers told of an edit of the host though nobody uses
// the filesystem: caches above do not ask again for what they have.
func TestReloadUnasked(t *testing.T) {
	each(t, map[string]string{".astridignore": "old\n", "old": "", "new": "", "d/.astridignore": "x\n", "d/y": ""},
		boundary.Options{Revalidate: 10 * time.Millisecond}, func(v *view) {
			rec := newRecorder()
			defer v.fs.Watch(rec)()
			d := v.node("d/y")
			v.edit(".astridignore", "new\n")
			v.soon("watchers are told", func() bool { return rec.hasEntry(vfs.RootID, "old") && rec.hasEntry(vfs.RootID, "new") })
			v.edit("d/.astridignore", "y\n")
			v.soon("watchers are told", func() bool { return rec.hasNode(d) })
		})
}
