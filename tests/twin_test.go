package tests

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// native does the operations of the capsule "live" by system calls below a
// directory, and answers in the words of astrid:fs.
type native struct{ root string }

// codeOf is the interface's error case for an errno, as its documentation has
// the table.
func codeOf(err error) string {
	var errno syscall.Errno
	if err == nil {
		return "ok"
	}
	if !errors.As(err, &errno) {
		return "error: " + err.Error()
	}
	switch errno {
	case syscall.ENOENT:
		return "not-found"
	case syscall.EACCES, syscall.EPERM, syscall.EROFS:
		return "access"
	case syscall.EISDIR:
		return "is-directory"
	case syscall.ENOTDIR:
		return "not-directory"
	case syscall.ENOTEMPTY:
		return "not-empty"
	case syscall.EEXIST:
		return "already-exists"
	case syscall.EXDEV:
		return "cross-vfs"
	case syscall.EINVAL, syscall.ENAMETOOLONG, syscall.ELOOP:
		return "invalid-path"
	}
	return "errno " + errno.Error()
}

func answer(s string, err error) string {
	if err != nil {
		return codeOf(err)
	}
	return s
}

func (n native) do(op string, args ...string) string {
	path := n.root + "/" + args[0] // not cleaned: ".." is for the kernel
	second := ""
	if len(args) > 1 {
		second = n.root + "/" + args[1]
	}
	switch op {
	case "write":
		return codeOf(os.WriteFile(path, []byte(args[1]), 0o644))
	case "append":
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
		if err == nil {
			_, err = f.WriteString(args[1])
			err = errors.Join(err, f.Close())
		}
		return codeOf(err)
	case "read":
		data, err := os.ReadFile(path)
		return answer(string(data), err)
	case "exists":
		_, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return "false"
		}
		return answer("true", err)
	case "stat", "lstat":
		var st syscall.Stat_t
		call := syscall.Stat
		if op == "lstat" {
			call = syscall.Lstat
		}
		err := call(path, &st)
		return answer(fmt.Sprintf("%o", st.Mode), err)
	case "list":
		entries, err := os.ReadDir(path)
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		sort.Strings(names)
		return answer(strings.Join(names, "/"), err)
	case "unlink":
		return codeOf(syscall.Unlink(path))
	case "rename":
		return codeOf(syscall.Rename(path, second))
	case "mkdir":
		return codeOf(syscall.Mkdir(path, 0o755))
	case "mkdirall":
		missing := n.missing(args[0])
		err := os.MkdirAll(path, 0o755)
		if errors.Is(err, syscall.EEXIST) { // a file is in the way
			err = syscall.ENOTDIR
		}
		if err != nil && missing != "" {
			// Behind a ".." the way went elsewhere. The interface sees that before
			// it makes anything.
			err = errors.Join(err, os.Remove(missing))
		}
		return codeOf(err)
	case "removeall":
		return n.removeAll(path)
	case "copy":
		return codeOf(copyFile(path, second))
	case "link":
		// fs-hard-link follows no last link, as link(2).
		return codeOf(syscall.Link(path, second))
	}
	return "unknown operation " + op
}

func (n native) removeAll(path string) string {
	st, err := os.Lstat(path)
	if err != nil {
		return codeOf(err)
	}
	if !st.IsDir() {
		return codeOf(syscall.ENOTDIR)
	}
	count := 0
	err = filepath.WalkDir(path, func(string, fs.DirEntry, error) error { count++; return nil })
	if err == nil {
		err = os.RemoveAll(path)
	}
	return answer(strconv.Itoa(count), err)
}

// missing returns the first directory on the way to path that is not there; "" if
// all are.
func (n native) missing(path string) string {
	prefix := n.root
	for name := range strings.SplitSeq(path, "/") {
		prefix += "/" + name
		if _, err := os.Lstat(prefix); errors.Is(err, fs.ErrNotExist) {
			return prefix
		}
	}
	return ""
}

// dangles tells whether path leads over a symbolic link to nothing, or in a loop.
func (n native) dangles(path string) bool {
	prefix := n.root
	for name := range strings.SplitSeq(path, "/") {
		prefix += "/" + name
		if _, err := os.Lstat(prefix); err != nil {
			return false
		}
		if _, err := os.Stat(prefix); err != nil {
			return true
		}
	}
	return false
}

func copyFile(src, dst string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return err
	}
	if st.IsDir() {
		return syscall.EISDIR
	}
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Chmod(st.Mode().Perm()), out.Close())
}

// TestCapsuleEqualsMount runs random operations through a capsule on one
// session and by system calls on the mount of another, over equal workspaces:
// every answer and the trees at the end are the same. The capsule's session is
// of each mode in turn, mounted and not.
func TestCapsuleEqualsMount(t *testing.T) {
	wasm := buildGuest(t, "live")
	fill := func(t *testing.T, ws string) {
		for i := range 6 {
			write(t, filepath.Join(ws, fmt.Sprintf("d%d", i%2), fmt.Sprintf("f%d", i)), fmt.Sprintf("lower %d\n", i))
		}
		write(t, filepath.Join(ws, "d0/sub/f9"), "deep\n")
		for link, target := range map[string]string{"link": "d0/f0", "dirlink": "d1", "dangling": "none", "loop": "loop"} {
			if err := os.Symlink(target, filepath.Join(ws, link)); err != nil {
				t.Fatal(err)
			}
		}
		sh(t, ws, "git init -q -b main && git add -A && git commit -q -m base",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@a", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@a")
	}
	for _, mode := range []string{"overlay", "worktree", "host"} {
		for _, mounted := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/mounted=%v", mode, mounted), func(t *testing.T) {
				a, b := newBox(t), newBox(t)
				fill(t, a.ws)
				fill(t, b.ws)
				b.mount()
				a.mount("--mode", mode)
				if !mounted {
					a.unmount()
				}
				g := startGuest(t, a, wasm)
				twins(t, g, native{b.mnt}, 1500, uint64(len(mode)))
				if !mounted {
					g.finish()
					a.mount("--mode", mode)
				}
				sameTree(t, "the capsule's tree", shape(t, a.mnt), shape(t, b.mnt))
			})
		}
	}
}

// shape is manifest without times, and without what git keeps.
func shape(t *testing.T, root string) map[string]string {
	t.Helper()
	m := manifest(t, root)
	for p, line := range m {
		if p == ".git" || strings.HasPrefix(p, ".git/") {
			delete(m, p)
			continue
		}
		if f := strings.Fields(line); len(f) == 5 { // mode owner size time hash
			m[p] = strings.Join([]string{f[0], f[1], f[2], f[4]}, " ")
		}
	}
	return m
}

// twins does n random operations on both sides and compares the answers.
func twins(t *testing.T, g *guest, n native, count int, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 7))
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	path := func() string {
		p := pick("", "d0/", "d1/", "d0/sub/", "new/", "dirlink/", "link/", "none/") + pick("f0", "f1", "f2", "f3", "f9", "x", "y", "sub", "new", "link")
		switch r.IntN(12) {
		case 0:
			return pick("dangling", "loop", "dirlink", "d0", "d1", "new")
		case 1:
			return pick("d0/../", "d0/sub/../", "./") + pick("f1", "d1/f1", "x")
		}
		return p
	}
	for i := range count {
		op := pick("write", "write", "append", "read", "exists", "stat", "lstat", "list", "unlink", "rename", "rename", "mkdir", "mkdirall", "removeall", "copy", "link")
		args := []string{path()}
		switch op {
		case "write", "append":
			args = append(args, strings.Repeat("w", r.IntN(50))+strconv.Itoa(i))
		case "rename", "copy", "link":
			args = append(args, path())
		}
		if op == "mkdirall" && n.dangles(args[0]) {
			continue // the interface makes the directory that the link names, mkdir -p refuses
		}
		want := n.do(op, args...)
		got := g.do(op, args...)
		if got != want {
			t.Fatalf("operation %d: %s %q: the capsule says %q, the mount %q", i, op, args, got, want)
		}
	}
}
