package boundary_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/boundary"
	"github.com/astridfs/astridfs/vfs"
)

// TestNoRaceReveals has guests shuffle files, directories and links as they
// may, to get at secrets that every rule set hides, while the host changes the
// rules. Nobody reads a secret, lists one, or puts something in its place.
func TestNoRaceReveals(t *testing.T) {
	tree := map[string]string{".astridignore": "secret*\n", "e/.astridignore": "/x/secret*\n/f/**/secret*\n"}
	for _, d := range []string{"a", "b", "c/d", "e/x", "e/f/g"} {
		tree[d+"/secret"] = "SECRET"
		tree[d+"/secretdir/in"] = "SECRET"
		tree[d+"/file"] = "open"
	}
	// Each hides every secret where it may come to be. Those that forbid the
	// renames of a name find it in several places.
	ruleSets := []string{
		"secret*\n", "secret\nsecretdir/\n", "**/secret*\n", "/**/secret*\n", "secret*\n/a/other\n/c/**/y\n", "sec*t\n**/secretdir/**\n!secretly\nsecretdir\n",
	}
	each(t, tree, boundary.Options{Revalidate: time.Millisecond}, func(v *view) {
		rec := newRecorder()
		defer v.fs.Watch(rec)()
		var stop atomic.Bool
		var done atomic.Int64
		var hosts, guests sync.WaitGroup
		hosts.Go(func() {
			for i := 0; !stop.Load(); i++ {
				file := filepath.Join(v.host, ".astridignore")
				if err := os.WriteFile(file+".new", []byte(ruleSets[i%len(ruleSets)]), 0o644); err != nil {
					v.Error(err)
				}
				if err := os.Rename(file+".new", file); err != nil {
					v.Error(err)
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
		for g := range 4 {
			guests.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(g), 7))
				for range 600 {
					v.guest(rnd, &done)
				}
			})
		}
		guests.Wait()
		stop.Store(true)
		hosts.Wait()
		n := 0
		for path, text := range v.tree() {
			if base := filepath.Base(path); base == "secret" || base == "in" {
				n++
				if text != "----------SECRET" {
					v.Errorf("%s holds %q", path, text)
				}
			}
		}
		if done.Load() < 100 {
			v.Errorf("only %d operations were done", done.Load())
		}
		if n != 10 {
			v.Errorf("%d secrets are left of 10", n)
		}
	})
}

// guest does one thing at random.
func (v *view) guest(rnd *rand.Rand, done *atomic.Int64) {
	a, from, ok1 := v.anyPlace(rnd)
	defer a.Release()
	b, to, ok2 := v.anyPlace(rnd)
	defer b.Release()
	if !ok1 || !ok2 {
		return
	}
	var err error
	d1, d2 := a.Entry.Node, b.Entry.Node
	var used []string
	switch rnd.IntN(8) {
	case 0, 1, 2:
		used = []string{from, to}
		err = v.fs.Rename(v.ctx, d1, from, d2, to, vfs.RenameFlags(rnd.IntN(3)))
	case 3:
		used = []string{to}
		err = v.kept(v.fs.Mkdir(v.ctx, d1, to, 0o755))
	case 4:
		used = []string{to}
		err = v.kept(v.fs.Symlink(v.ctx, d1, to, "../"+from))
	case 5:
		used = []string{from, to}
		var e vfs.Entry
		if e, err = v.fs.Lookup(v.ctx, d1, from); err == nil {
			err = v.kept(v.fs.Link(v.ctx, e.Node, d2, to))
			v.fs.Forget(e.Node, 1)
		}
	case 6:
		used = []string{from}
		err = v.fs.Unlink(v.ctx, d1, from)
	default:
		v.browse(d1)
		return
	}
	if err == nil {
		done.Add(1)
	}
	if err == nil && (slices.Contains(used, "secret") || slices.Contains(used, "secretdir")) {
		v.Errorf("done: %q in %q, %q", used, a.Path, b.Path)
	}
}

// anyPlace goes down from the root by directories that it finds, and returns the
// last of them and a name, of what is there or not.
func (v *view) anyPlace(rnd *rand.Rand) (t vfs.Target, name string, ok bool) {
	path := ""
	for {
		var err error
		if t, err = vfs.Walk(v.ctx, v.fs, vfs.RootID, path, vfs.Follow); err != nil || !t.Entry.Attr.IsDir() {
			return t, "", false
		}
		names := []string{"secret", "secretdir", "file", "n1", "n2", "a", "e"}
		dirs := []string{}
		if h, err := v.fs.OpenDir(v.ctx, t.Entry.Node); err == nil {
			err = h.ReadDir(v.ctx, 0, func(de vfs.DirEntry) bool {
				if de.Name[0] != '.' {
					names = append(names, de.Name, de.Name)
					if de.Type == unix.S_IFDIR || de.Type == unix.S_IFLNK {
						dirs = append(dirs, de.Name)
					}
				}
				return true
			})
			h.Close()
			if err != nil {
				return t, "", false
			}
		}
		if len(dirs) == 0 || rnd.IntN(3) == 0 || strings.Count(path, "/") > 5 {
			return t, names[rnd.IntN(len(names))], true
		}
		t.Release()
		path += "/" + dirs[rnd.IntN(len(dirs))]
	}
}

// browse lists a directory and reads its files.
func (v *view) browse(dir vfs.NodeID) {
	h, err := v.fs.OpenDir(v.ctx, dir)
	if err != nil {
		return
	}
	defer h.Close()
	err = h.ReadDirPlus(v.ctx, 0, func(de vfs.DirEntry, e vfs.Entry) bool {
		if strings.HasPrefix(de.Name, "secret") {
			v.Errorf("%q is listed", de.Name)
		}
		if e.Node != 0 {
			v.readsNoSecret(e)
			v.fs.Forget(e.Node, 1)
		}
		return true
	})
	switch {
	case err == nil, errors.Is(err, vfs.ErrHidden), errors.Is(err, unix.ENOENT), errors.Is(err, unix.ESTALE):
	default:
		v.Errorf("ReadDirPlus: %v", err)
	}
}

func (v *view) readsNoSecret(e vfs.Entry) {
	if !e.Attr.IsRegular() {
		return
	}
	h, err := v.fs.Open(v.ctx, e.Node, unix.O_RDONLY)
	if err != nil {
		return
	}
	defer h.Close()
	buf := make([]byte, 20)
	if n, _ := h.ReadAt(v.ctx, buf, 0); strings.Contains(string(buf[:n]), "SECRET") {
		v.Error("a secret was read")
	}
}
