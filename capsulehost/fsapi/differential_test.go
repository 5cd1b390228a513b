package fsapi_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/capsulehost/fsapi"
	"github.com/astridfs/astridfs/capsulehost/view"
)

// pair is the interface on one directory, and the system calls on another that
// holds the same.
type pair struct {
	t    *testing.T
	f    *fsapi.FS
	dir  string // of f
	bare string
}

func (p *pair) path(name string) string { return filepath.Join(p.bare, name) }

// An operation gives a result as text, by the interface and by system calls.
type operation struct {
	name string
	api  func(p *pair, a, b string) (string, error)
	sys  func(p *pair, a, b string) (string, error)
}

func none(err error) (string, error) { return "", err }

func statText(s fsapi.Stat) string { return fmt.Sprintf("%d %d %o", s.Size, s.Kind, s.Mode) }

func sysStat(path string, flags int) (string, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, flags, unix.STATX_BASIC_STATS, &st); err != nil {
		return "", err
	}
	kind := map[uint16]fsapi.FileType{unix.S_IFREG: fsapi.TypeRegular, unix.S_IFDIR: fsapi.TypeDirectory, unix.S_IFLNK: fsapi.TypeSymlink}
	return fmt.Sprintf("%d %d %o", st.Size, kind[st.Mode&unix.S_IFMT], st.Mode), nil
}

func operations() []operation {
	return []operation{
		{"exists", func(p *pair, a, _ string) (string, error) {
			there, err := p.f.Exists(ctx, a)
			return fmt.Sprint(there), err
		}, func(p *pair, a, _ string) (string, error) {
			_, err := os.Stat(p.path(a))
			if errors.Is(err, syscall.ENOENT) {
				return "false", nil
			}
			return fmt.Sprint(err == nil), err
		}},
		{"mkdir", func(p *pair, a, _ string) (string, error) { return none(p.f.Mkdir(ctx, a)) },
			func(p *pair, a, _ string) (string, error) { return none(unix.Mkdir(p.path(a), 0o755)) }},
		{"stat", func(p *pair, a, _ string) (string, error) {
			s, err := p.f.Stat(ctx, a, true)
			return statText(s), err
		}, func(p *pair, a, _ string) (string, error) { return sysStat(p.path(a), 0) }},
		{"stat-symlink", func(p *pair, a, _ string) (string, error) {
			s, err := p.f.Stat(ctx, a, false)
			return statText(s), err
		}, func(p *pair, a, _ string) (string, error) { return sysStat(p.path(a), unix.AT_SYMLINK_NOFOLLOW) }},
		{"readdir", func(p *pair, a, _ string) (string, error) {
			names, err := p.f.ReadDir(ctx, a)
			return strings.Join(names, " "), err
		}, func(p *pair, a, _ string) (string, error) {
			f, err := os.OpenFile(p.path(a), unix.O_DIRECTORY, 0)
			if err != nil {
				return "", err
			}
			defer f.Close()
			names, err := f.Readdirnames(-1)
			slices.Sort(names)
			return strings.Join(names, " "), err
		}},
		{"unlink", func(p *pair, a, _ string) (string, error) { return none(p.f.Unlink(ctx, a)) },
			func(p *pair, a, _ string) (string, error) { return none(unix.Unlink(p.path(a))) }},
		{"read-file", func(p *pair, a, _ string) (string, error) {
			b := &buffer{}
			err := p.f.ReadFile(ctx, a, b)
			return string(b.b), err
		}, func(p *pair, a, _ string) (string, error) {
			b, err := os.ReadFile(p.path(a))
			return string(b), err
		}},
		{"write-file", func(p *pair, a, b string) (string, error) { return none(p.f.WriteFile(ctx, a, []byte(b))) },
			func(p *pair, a, b string) (string, error) { return none(os.WriteFile(p.path(a), []byte(b), 0o644)) }},
		{"append", func(p *pair, a, b string) (string, error) { return none(p.f.Append(ctx, a, []byte(b))) },
			func(p *pair, a, b string) (string, error) {
				f, err := os.OpenFile(p.path(a), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
				if err != nil {
					return "", err
				}
				_, err = f.WriteString(b)
				return "", errors.Join(err, f.Close())
			}},
		{"rename", func(p *pair, a, b string) (string, error) { return none(p.f.Rename(ctx, a, b)) },
			func(p *pair, a, b string) (string, error) { return none(unix.Rename(p.path(a), p.path(b))) }},
		{"hard-link", func(p *pair, a, b string) (string, error) { return none(p.f.HardLink(ctx, a, b)) },
			func(p *pair, a, b string) (string, error) { return none(unix.Link(p.path(a), p.path(b))) }},
		{"read-link", func(p *pair, a, _ string) (string, error) { _, err := p.f.ReadLink(ctx, a); return none(err) },
			func(p *pair, a, _ string) (string, error) {
				_, err := unix.Readlink(p.path(a), make([]byte, 100))
				return none(err)
			}},
		{"canonicalize", func(p *pair, a, _ string) (string, error) {
			s, err := p.f.Canonicalize(ctx, a)
			return strings.TrimPrefix(s, "workspace://"), err
		}, func(p *pair, a, _ string) (string, error) {
			// The kernel's own walk says what it is.
			fd, err := unix.Open(p.path(a), unix.O_PATH, 0)
			if err != nil {
				return "", err
			}
			defer unix.Close(fd)
			s, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
			return strings.TrimPrefix(strings.TrimPrefix(s, p.bare), "/"), err
		}},
		{"open-write", func(p *pair, a, _ string) (string, error) {
			id, err := p.f.Open(ctx, a, fsapi.ModeWrite)
			if err == nil {
				err = p.f.Drop(id)
			}
			return none(err)
		}, func(p *pair, a, _ string) (string, error) {
			f, err := os.OpenFile(p.path(a), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
			if err == nil {
				err = f.Close()
			}
			return none(err)
		}},
	}
}

// Random operations give the same results and the same tree as the system calls
// that they stand for.
func TestDifferential(t *testing.T) {
	names := []string{"a", "b", "dir", "dir/a", "dir/b", "dir/sub", "dir/sub/a", "link", "dlink", "dlink/a", "up/b", "dangling", "loop", "loop/x"}
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			f, dir := newFS(t, view.View{})
			p := &pair{t: t, f: f, dir: dir, bare: t.TempDir()}
			for _, d := range []string{p.dir, p.bare} {
				os.Symlink("a", filepath.Join(d, "link"))
				os.Symlink("dir", filepath.Join(d, "dlink"))
				os.Symlink("dir/sub/../../dir", filepath.Join(d, "up"))
				os.Symlink("nowhere", filepath.Join(d, "dangling"))
				os.Symlink("loop", filepath.Join(d, "loop"))
			}
			rnd := rand.New(rand.NewPCG(seed, 1))
			all := operations()
			for step := range 3000 {
				op := all[rnd.IntN(len(all))]
				a, b := names[rnd.IntN(len(names))], names[rnd.IntN(len(names))]
				got, gotErr := op.api(p, a, b)
				want, wantErr := op.sys(p, a, b)
				if result(got, gotErr) != result(want, wantErr) {
					t.Fatalf("step %d: %s %s %s: %s, and the system says %s", step, op.name, a, b, result(got, gotErr), result(want, wantErr))
				}
			}
			if got, want := tree(t, p.dir), tree(t, p.bare); got != want {
				t.Errorf("the trees differ:\n%s\nand\n%s", got, want)
			}
		})
	}
}

func result(s string, err error) string {
	if err == nil {
		return "ok " + s
	}
	code, _ := fsapi.CodeOf(err)
	return code.String()
}

// tree describes everything below a directory.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		if rel == "." {
			return nil
		}
		fmt.Fprintf(&b, "%s %o %d", rel, st.Mode, st.Nlink)
		if d.Type().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %q", data)
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
