package overlay

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// tree describes every entry below a root by its path.
type tree map[string]string

// describe makes an entry's description; who numbers the files with several
// names.
func describe(a *vfs.Attr, content, xattrs string, times bool) string {
	s := fmt.Sprintf("%06o %d:%d %s %s", a.Mode, a.UID, a.GID, content, xattrs)
	if times && !a.IsSymlink() {
		s += fmt.Sprintf(" %d.%09d", a.Mtime.Sec, a.Mtime.Nsec)
	}
	return s
}

// groups adds to each description with which other names it is one file.
func (t tree) groups(names map[uint64][]string) {
	for _, g := range names {
		if len(g) < 2 {
			continue
		}
		sort.Strings(g)
		for _, name := range g {
			t[name] += " links " + strings.Join(g, ",")
		}
	}
}

// view describes what the overlay shows.
func (l *lab) view() tree {
	l.t.Helper()
	t, inos := tree{}, map[uint64][]string{}
	counts := map[string]uint32{}
	var walk func(path string)
	walk = func(path string) {
		for _, name := range l.list(path) {
			sub := joinPath(path, name)
			var a vfs.Attr
			var content, xattrs string
			err := l.parent(sub, func(dir vfs.NodeID, name string) error {
				e, err := l.fs.Lookup(l.ctx, dir, name)
				if err != nil {
					return err
				}
				defer l.fs.Forget(e.Node, 1)
				a = e.Attr
				if a.IsSymlink() {
					content, err = l.fs.Readlink(l.ctx, e.Node)
				}
				if err == nil {
					xattrs, err = l.viewXattrs(e.Node)
				}
				return err
			})
			if err == nil && a.IsRegular() {
				content, err = l.read(sub)
				content = digest(content)
			}
			if err != nil {
				l.t.Fatalf("%q: %v", sub, err)
			}
			if !a.IsDir() {
				inos[a.Ino] = append(inos[a.Ino], sub)
				counts[sub] = a.Nlink
			}
			t[sub] = describe(&a, content, xattrs, true)
			if a.IsDir() {
				walk(sub)
			}
		}
	}
	walk("")
	// Two files must never show one number: programs that copy trees would make
	// them one file.
	for _, names := range inos {
		for _, name := range names {
			if int(counts[name]) != len(names) {
				l.t.Errorf("%q has %d names, and shows the number of %q", name, counts[name], names)
			}
		}
	}
	t.groups(inos)
	return t
}

func (l *lab) viewXattrs(n vfs.NodeID) (string, error) {
	buf := make([]byte, 4096)
	k, err := l.fs.ListXattr(l.ctx, n, buf)
	if err != nil {
		return "", err
	}
	var out []string
	for _, name := range strings.Split(string(buf[:k]), "\x00") {
		if name == "" {
			continue
		}
		v := make([]byte, 4096)
		k, err := l.fs.GetXattr(l.ctx, n, name, v)
		if err != nil {
			return "", err
		}
		out = append(out, name+"="+string(v[:k]))
	}
	sort.Strings(out)
	return strings.Join(out, ";"), nil
}

func digest(s string) string {
	if len(s) < 16 {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%x", sha256.Sum256([]byte(s)))
}

// hostTree describes a directory of the host.
func hostTree(t testing.TB, root string) tree {
	t.Helper()
	out, inos := tree{}, map[uint64][]string{}
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		rel := strings.TrimPrefix(path, root+"/")
		a, _, err := at.Stat(unix.AT_FDCWD, path)
		if err != nil {
			return err
		}
		content := ""
		switch a.Type() {
		case unix.S_IFREG:
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			content = digest(string(data))
		case unix.S_IFLNK:
			if content, err = os.Readlink(path); err != nil {
				return err
			}
		}
		fd, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		xs, err := readXattrs(fd, filepath.Base(path))
		if err != nil {
			return err
		}
		var list []string
		for _, x := range xs {
			list = append(list, x.name+"="+string(x.value))
		}
		if !a.IsDir() {
			inos[a.Ino] = append(inos[a.Ino], rel)
		}
		out[rel] = describe(&a, content, strings.Join(list, ";"), true)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	out.groups(inos)
	return out
}

// diffTrees says in what two trees differ, a few lines of it.
func diffTrees(a, b tree) string {
	out := Differences(a, b)
	return strings.Join(out[:min(len(out), 8)], "\n")
}
