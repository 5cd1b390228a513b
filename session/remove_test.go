package session

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/astridfs/astridfs/session/store"
	"github.com/astridfs/astridfs/vfs"
)

// TestRemoveHolds: what came into a session after somebody saw that it is empty
// is not removed with it.
func TestRemoveHolds(t *testing.T) {
	ctx := t.Context()
	st, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ws := t.TempDir()
	if err := os.WriteFile(filepath.Join(ws, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	newSession := func(name string) *store.Session {
		disk, _, err := Ensure(ctx, st, Spec{Name: name, Workspace: ws})
		if err != nil {
			t.Fatal(err)
		}
		return disk
	}
	changed, keeps := newSession("changed"), newSession("keeps")

	lock, err := changed.Lock("test")
	if err != nil {
		t.Fatal(err)
	}
	tr, err := openTree(ctx, changed, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = tr.fs().Unlink(ctx, vfs.RootID, "file")
	if err := errors.Join(err, tr.close(), lock.Unlock()); err != nil {
		t.Fatal(err)
	}
	home, _, err := keeps.PrincipalDirs("default")
	if err == nil {
		err = os.WriteFile(filepath.Join(home, "note"), nil, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}

	for _, c := range []struct {
		disk *store.Session
		opt  RemoveOptions
		held bool
	}{
		{changed, RemoveOptions{}, true},
		{changed, RemoveOptions{Unchanged: true}, true},
		{changed, RemoveOptions{Unchanged: true, Force: true}, true},
		{changed, RemoveOptions{Force: true}, false},
		{keeps, RemoveOptions{Unchanged: true}, true},
		{keeps, RemoveOptions{Unchanged: true, Force: true}, false},
	} {
		err := Remove(ctx, st, c.disk, c.opt)
		if errors.Is(err, ErrHolds) != c.held || err != nil && !c.held {
			t.Errorf("remove %s with %+v: %v", c.disk.File.Name, c.opt, err)
		}
		if _, err := os.Stat(c.disk.Dir); (err == nil) != c.held {
			t.Errorf("after removing %s with %+v: %v", c.disk.File.Name, c.opt, err)
		}
	}
}
