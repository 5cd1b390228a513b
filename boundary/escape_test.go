package boundary_test

import (
	"errors"
	"maps"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/boundary"
	"github.com/astridfs/astridfs/vfs"
)

// uses is every way to use a path, each answering its error. "plain" is a file,
// "dir" a directory that is there.
func (v *view) uses(path string) map[string]error {
	open := func(flags int) error {
		t, err := vfs.Walk(v.ctx, v.fs, vfs.RootID, path, 0)
		if err != nil {
			return err
		}
		defer t.Release()
		h, err := v.fs.Open(v.ctx, t.Entry.Node, flags)
		if err == nil {
			h.Close()
		}
		return err
	}
	dir, name := v.at(path)
	m := map[string]error{
		"stat":            v.stat(path),
		"open":            open(unix.O_RDONLY),
		"open to write":   open(unix.O_WRONLY),
		"truncate":        open(unix.O_RDONLY | unix.O_TRUNC),
		"create":          v.create(path),
		"mkdir":           v.mkdir(path),
		"unlink":          v.remove(path),
		"rmdir":           v.rmdir(path),
		"rename a file":   v.rename("plain", path, 0),
		"rename a dir":    v.rename("dir", path, 0),
		"rename away":     v.rename(path, "elsewhere", 0),
		"rename if new":   v.rename("plain", path, vfs.NoReplace),
		"exchange":        v.rename("plain", path, vfs.Exchange),
		"exchange back":   v.rename(path, "plain", vfs.Exchange),
		"rename to self":  v.rename(path, path, 0),
		"link":            v.link("plain", path),
		"below":           v.stat(path + "/x"),
		"out of it again": v.stat(path + "/../plain"),
	}
	_, err := v.fs.Mknod(v.ctx, dir, name, unix.S_IFIFO|0o644, 0)
	m["mknod"] = err
	_, err = v.fs.Symlink(v.ctx, dir, name, "plain")
	m["symlink"] = err
	e, h, err := v.fs.Tmpfile(v.ctx, dir, unix.O_RDWR, 0o600)
	if err != nil {
		v.Fatal(err)
	}
	m["link a tmpfile"] = v.kept(v.fs.Link(v.ctx, e.Node, dir, name))
	h.Close()
	v.fs.Forget(e.Node, 1)
	return m
}

// TestHiddenIsRefused has every use of a hidden path answer the same whether
// something is there or not, and leave the host as it was.
func TestHiddenIsRefused(t *testing.T) {
	rules := strings.Join([]string{
		"*.key", "/anchored", "/dir/sub/secret", "deep/**/x[0-9]", "hidedir/", "!open.key",
		"/white/*", "!/white/*/", "!/white/*.go", "caf\xe9*", " odd \\ ",
	}, "\n")
	tree := map[string]string{
		".astridignore": rules, "plain": "p", "dir/sub/": "", "deep/a/": "", "white/": "", "dir/.astridignore": "inner\n",
		// There; each path below has a twin that is not.
		"a.key": "SECRET", "anchored/in": "SECRET", "dir/sub/secret": "SECRET", "deep/a/x1": "SECRET",
		"hidedir/in": "SECRET", "white/a.c": "SECRET", "dir/inner": "SECRET", "dir/b.key": "-> ../plain", "caf\xe91": "SECRET",
		"deep/a/x3/y/": "",
	}
	paths := []string{
		"a.key", "b.key", "anchored", "dir/sub/secret", "deep/a/x1", "deep/a/x2", "deep/a/x3", "hidedir", "dir/hidedir",
		"white/a.c", "white/b.c", "white/newdir", "dir/inner", "dir/b.key", "dir/c.key", "caf\xe91", "caf\xe92", " odd  ",
	}
	each(t, tree, lazily, func(v *view) {
		before := v.tree()
		for _, path := range paths {
			for use, err := range v.uses(path) {
				if err != vfs.ErrHidden && !isWalkHidden(err) {
					v.Errorf("%q: %s: %v", path, use, err)
				}
			}
		}
		if after := v.tree(); !maps.Equal(before, after) {
			v.Errorf("the host was changed:\n%v\n%v", before, after)
		}
		for _, path := range []string{"open.key", "dir/anchored", "white/a.go", "cafe", "secret"} {
			v.want("create "+path, v.create(path), nil)
			v.want("stat "+path, v.stat(path), nil)
		}
	})
}

func isWalkHidden(err error) bool {
	var we *vfs.WalkError
	return errors.As(err, &we) && we.Err == vfs.ErrHidden
}

// TestListings has hidden entries left out of both kinds of listing.
func TestListings(t *testing.T) {
	each(t, map[string]string{
		".astridignore": "*.key\nbuild/\n/d/hide\n", "a": "", "b.key": "", "build/x": "", "d/build": "", "d/hide": "", "d/show": "",
		"e/.astridignore": "*\n!*/\n", "e/file": "", "e/sub/file": "", "f/.astridignore": "/g/**\n", "f/g/h": "", "f/i": "",
		"l/x": "", "l/y.key": "== l/x", "l/z": "",
	}, lazily, func(v *view) {
		v.want("stat", v.stat("l/x"), vfs.ErrHidden) // so that its other name is known
		for path, want := range map[string]string{
			"":      ".astridignore a d e f l",
			"d":     "build show",
			"e":     "sub",
			"e/sub": "",
			"f":     ".astridignore g i",
			"f/g":   "",
			"l":     "z", // x is another name of y.key
		} {
			if path == "" {
				h, err := v.fs.OpenDir(v.ctx, vfs.RootID)
				if err != nil {
					v.Fatal(err)
				}
				if got := v.listing(h); got != want {
					v.Errorf("the root: %q, want %q", got, want)
				}
				h.Close()
				continue
			}
			if got := strings.TrimPrefix(v.list(path), ". .."); got != want {
				v.Errorf("%s: %q, want %q", path, got, want)
			}
		}
	})
}

// TestTypes has names whose fate depends on their type hidden unless what is
// there may be seen.
func TestTypes(t *testing.T) {
	each(t, map[string]string{
		".astridignore": "build/\n/w/*\n!/w/*/\n", "file/build": "text", "dir/build/x": "", "none/": "", "w/file": "", "w/dir/y": "", "plain": "",
	}, lazily, func(v *view) {
		v.want("a file that only a directory rule names", v.stat("file/build"), nil)
		v.want("a directory it names", v.stat("dir/build"), vfs.ErrHidden)
		v.want("nothing there", v.stat("none/build"), vfs.ErrHidden)
		v.want("create", v.create("none/build"), vfs.ErrHidden)
		v.want("rename over", v.rename("plain", "file/build", 0), vfs.ErrHidden)
		v.want("rename away", v.rename("file/build", "file/other", 0), vfs.ErrHidden)
		v.want("rmdir", v.rmdir("file/build"), syscall.ENOTDIR)
		v.want("unlink", v.remove("file/build"), nil)
		v.want("gone", v.stat("file/build"), vfs.ErrHidden)
		v.want("a directory where files are hidden", v.stat("w/dir"), nil)
		v.want("a file there", v.stat("w/file"), vfs.ErrHidden)
		v.want("nothing there", v.mkdir("w/new"), vfs.ErrHidden)
		v.want("unlink a directory", v.remove("w/dir"), syscall.EISDIR)
		v.want("unlink what is below", v.remove("w/dir/y"), nil)
		v.want("rmdir", v.rmdir("w/dir"), nil)
	})
}

// TestRenamesOfParents has the rules alone decide, not what is there.
func TestRenamesOfParents(t *testing.T) {
	const denied, cross = syscall.EACCES, syscall.EXDEV
	for _, c := range []struct {
		from, to string
		want     error
	}{
		{"anchored", "other", denied},            // holds what is hidden
		{"empty", "other2", denied},              // could
		{"dir", "anchored2", denied},             // would come to
		{"dir", "sub/anchored", nil},             // another directory of that name
		{"a/b", "a/c", denied},                   // /a/*/key lies below both, but a/b/** below one
		{"a/d", "a/e", nil},                      // the same below both
		{"a/d", "d", denied},                     // not below a
		{"loose", "loose2", nil},                 // what *.key hides stays hidden
		{"nested/in", "nested/in2", nil},         // the same file above both
		{"nested/in", "in", denied},              // leaves it
		{"dir", "nested/dir", denied},            // comes below it
		{"nested", "nested2", nil},               // it goes along
		{"twin1/x", "twin2/x", nil},              // two files that say the same
		{"plain", "nested/plain", cross},         // a file has nothing below, but might become a directory
		{"plain", "sub/plain", nil},              //
		{"plain", "anchored2", cross},            //
		{"nowhere", "anchored2", syscall.ENOENT}, //
	} {
		each(t, map[string]string{
			".astridignore":   "*.key\n/anchored/secret\n/empty/secret\n/anchored2/secret\n/a/*/key\n/a/b/**\n",
			"anchored/secret": "SECRET", "anchored/open": "", "empty/": "", "dir/secret": "", "sub/": "", "a/b/": "", "a/d/key": "SECRET",
			"loose/x.key": "SECRET", "loose/open": "", "nested/.astridignore": "in3\n", "nested/in/in3": "SECRET", "plain": "",
			"twin1/.astridignore": "t\n", "twin2/.astridignore": "t\n", "twin1/x/t": "SECRET", "twin2/y": "",
		}, lazily, func(v *view) {
			v.want(c.from+" to "+c.to, v.rename(c.from, c.to, 0), c.want)
			if c.want == nil {
				v.want("exchange back", v.rename(c.to, c.from, vfs.NoReplace), nil)
			}
			for _, p := range []string{"anchored/secret", "loose/x.key", "nested/in/in3", "a/d/key", "twin1/x/t"} {
				v.want(p+" after "+c.from+" to "+c.to, v.stat(p), vfs.ErrHidden)
			}
		})
	}
}

// TestRenamedRulesGoAlong has hidden entries stay hidden below a directory that
// may be renamed.
func TestRenamedRulesGoAlong(t *testing.T) {
	each(t, map[string]string{
		".astridignore": "*.key\n", "d/.astridignore": "/e/secret\n", "d/e/secret": "SECRET", "d/e/x.key": "SECRET", "d/e/open": "open",
	}, lazily, func(v *view) {
		v.node("d/e") // known before
		v.want("rename", v.rename("d", "r", 0), nil)
		for path, want := range map[string]error{"r/e/secret": vfs.ErrHidden, "r/e/x.key": vfs.ErrHidden, "r/e/open": nil, "d": syscall.ENOENT} {
			v.want(path, v.stat(path), want)
			v.b.Expire()
			v.want(path+" anew", v.stat(path), want)
		}
		v.want("its files", v.rename("r/e", "r/f", 0), vfs.ErrHidden)
		v.want("a new directory of the old name", v.mkdir("d"), nil)
		v.want("which has no rules", v.create("d/secret"), nil)
	})
}

// TestRemovingParents has a directory with hidden entries never empty.
func TestRemovingParents(t *testing.T) {
	each(t, map[string]string{".astridignore": "*.key\n", "d/x.key": "SECRET", "e/": ""}, lazily, func(v *view) {
		v.want("rmdir", v.rmdir("d"), syscall.ENOTEMPTY)
		v.want("rename over", v.rename("e", "d", 0), syscall.ENOTEMPTY)
		v.want("rmdir of an empty one", v.rmdir("e"), nil)
	})
}

// TestHardLinks has a file hidden under all names if it is under one.
func TestHardLinks(t *testing.T) {
	each(t, map[string]string{
		".astridignore": "*.key\nvault/\n", "sub/.astridignore": "inner\n", "plain": "",
		"a.key": "SECRET", "name": "== a.key",
		"vault/deep/x": "SECRET", "sub/other": "== vault/deep/x",
		"sub/inner": "SECRET", "third": "== sub/inner",
		"one": "open", "two": "== one",
	}, boundary.Options{Revalidate: -1}, func(v *view) {
		for _, path := range []string{"name", "sub/other", "third"} {
			_, err := v.read(path)
			v.want(path, err, vfs.ErrHidden)
			v.want("stat "+path, v.stat(path), vfs.ErrHidden)
		}
		text, err := v.read("two")
		if err != nil || text != "open" {
			v.Errorf("a file with two visible names: %q, %v", text, err)
		}
		v.want("link", v.link("two", "new"), nil)
		v.want("the new link", v.stat("new"), nil)
		// The host makes a link to a hidden file: found after new rules at the latest.
		v.plant(map[string]string{"late.key": "SECRET"})
		v.plant(map[string]string{"late": "== late.key"})
		v.soon("a link that the host made is found", func() bool { return errors.Is(v.stat("late"), vfs.ErrHidden) })
		v.plant(map[string]string{"later.key": "SECRET"})
		v.plant(map[string]string{"later": "== later.key"})
		if err := v.b.Reload(v.ctx); err != nil {
			v.Fatal(err)
		}
		v.want("a link of the host", v.stat("later"), vfs.ErrHidden)
		v.want("it itself", v.remove("late"), nil) // the name is not hidden
	})
}

// TestSymlinks has what a link leads to judged where it is.
func TestSymlinks(t *testing.T) {
	each(t, map[string]string{
		".astridignore": "*.key\nvault/\n", "a.key": "SECRET", "vault/x": "SECRET", "d/": "",
		"file": "-> a.key", "dangling": "-> none.key", "dir": "-> vault", "d/up": "-> ../vault/x", "chain": "-> file", "d/dot": "-> ./../d/../a.key",
	}, lazily, func(v *view) {
		for _, path := range []string{"file", "dangling", "dir", "dir/x", "d/up", "chain", "d/dot", "d/../a.key", "d//..//vault/x", "./vault"} {
			v.want(path, v.stat(path), vfs.ErrHidden)
		}
		link, err := v.fs.Readlink(v.ctx, v.node("file"))
		if err != nil || link != "a.key" {
			v.Errorf("Readlink: %q, %v", link, err)
		}
		dir, name := v.at("d/new")
		v.want("a new link", v.kept(v.fs.Symlink(v.ctx, dir, name, "../a.key")), nil)
		v.want("through it", v.stat("d/new"), vfs.ErrHidden)
	})
}

// TestIgnoreFiles has them readable, and nothing else.
func TestIgnoreFiles(t *testing.T) {
	each(t, map[string]string{
		".astridignore": "*.key\n", "d/.astridignore": "x\n", "alias": "== d/.astridignore", "plain": "", "dir/": "", "empty/": "",
	}, lazily, func(v *view) {
		before := v.tree()
		for _, path := range []string{".astridignore", "d/.astridignore", "alias"} {
			text, err := v.read(path)
			if err != nil || text == "" {
				v.Errorf("%s: %q, %v", path, text, err)
			}
			n := v.node(path)
			for _, flags := range []int{unix.O_WRONLY, unix.O_RDWR, unix.O_RDONLY | unix.O_TRUNC, unix.O_WRONLY | unix.O_APPEND} {
				h, err := v.fs.Open(v.ctx, n, flags)
				if err == nil {
					h.Close()
				}
				v.want("open "+path, err, boundary.ErrIgnoreFile)
			}
			h, err := v.fs.Open(v.ctx, n, unix.O_RDONLY)
			if err != nil {
				v.Fatal(err)
			}
			for _, in := range []vfs.SetAttr{{Valid: vfs.SetMode}, {Valid: vfs.SetSize}, {Valid: vfs.SetMtimeNow}, {Valid: vfs.SetUID}} {
				_, err := v.fs.SetAttr(v.ctx, n, nil, in)
				v.want("SetAttr", err, boundary.ErrIgnoreFile)
				_, err = v.fs.SetAttr(v.ctx, n, h, in)
				v.want("SetAttr of a handle", err, boundary.ErrIgnoreFile)
			}
			h.Close()
			v.want("SetXattr", v.fs.SetXattr(v.ctx, n, "user.x", []byte("y"), 0), boundary.ErrIgnoreFile)
			v.want("RemoveXattr", v.fs.RemoveXattr(v.ctx, n, "user.x"), boundary.ErrIgnoreFile)
			v.want("link of "+path, v.link(path, "another"), boundary.ErrIgnoreFile)
			e, h, err := v.fs.Tmpfile(v.ctx, vfs.RootID, unix.O_RDWR, 0o600)
			if err != nil {
				v.Fatal(err)
			}
			v.want("Replace", v.fs.Replace(v.ctx, n, h), boundary.ErrIgnoreFile)
			h.Close()
			v.fs.Forget(e.Node, 1)
		}
		for _, path := range []string{".astridignore", "d/.astridignore", "empty/.astridignore"} {
			for use, err := range v.uses(path) {
				reads := use == "stat" || use == "open" || use == "below" || use == "out of it again"
				if reads || strings.HasPrefix(path, "empty") && (strings.HasPrefix(use, "open") || use == "truncate") {
					continue
				}
				v.want(use+" "+path, err, boundary.ErrIgnoreFile)
			}
		}
		v.want("rmdir", v.rmdir("d"), syscall.ENOTEMPTY)
		v.want("rename over", v.rename("dir", "d", 0), syscall.ENOTEMPTY)
		if after := v.tree(); !maps.Equal(before, after) {
			v.Errorf("the host was changed:\n%v\n%v", before, after)
		}
	})
}
