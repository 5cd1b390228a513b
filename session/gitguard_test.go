package session

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/session/store"
	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/hostfs"
)

// TestGuardHold has what could put a link in git's way wait while the guard is
// held, and nothing else.
func TestGuardHold(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mkdir(filepath.Join(dir, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	host, err := hostfs.Open(dir, hostfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	ctx := context.Background()
	g, err := newGitGuard(ctx, host)
	if err != nil {
		t.Fatal(err)
	}
	file, h, err := g.Create(ctx, vfs.RootID, "file", unix.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	waits := map[string]func(context.Context) error{
		"symlink": func(ctx context.Context) error {
			_, err := g.Symlink(ctx, vfs.RootID, "link", "target")
			return err
		},
		"link": func(ctx context.Context) error {
			_, err := g.Link(ctx, file.Node, vfs.RootID, "hard")
			return err
		},
		"rename": func(ctx context.Context) error { return g.Rename(ctx, vfs.RootID, "d", vfs.RootID, "e", 0) },
		"mknod": func(ctx context.Context) error {
			_, err := g.Mknod(ctx, vfs.RootID, "pipe", unix.S_IFIFO|0o600, 0)
			return err
		},
	}

	release, err := g.hold(ctx)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan string, len(waits))
	for name, do := range waits {
		given, cancel := context.WithCancel(ctx)
		cancel()
		if err := do(given); !errors.Is(err, syscall.EINTR) {
			t.Errorf("%s, given up: %v", name, err)
		}
		go func() {
			if err := do(ctx); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			done <- name
		}()
	}
	if _, err := h.WriteAt(ctx, []byte("x"), 0); err != nil {
		t.Error(err)
	}
	if _, err := g.Mkdir(ctx, vfs.RootID, "made", 0o755); err != nil {
		t.Error(err)
	}
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := g.hold(short); !errors.Is(err, syscall.EINTR) {
		t.Errorf("holding what is held: %v", err)
	}
	select {
	case name := <-done:
		t.Errorf("%s did not wait", name)
	default:
	}
	release()
	for range waits {
		<-done
	}
	if release, err = g.hold(ctx); err != nil {
		t.Fatal(err)
	}
	release()
}

func TestDotGit(t *testing.T) {
	for name, want := range map[string]bool{
		".git": true, ".GIT": true, ".git.": true, ".git . .": true, ".git::$INDEX_ALLOCATION": true, ".git\\x": true, "git~1": true, "GIT~1 ": true, "git~1:x": true,
		"git": false, ".gitx": false, ".git x": false, ".gitignore": false, "git~2": false, "git~1x": false, "x.git": false, ".": false, "": false, "..git": false,
	} {
		if got := isDotGit(name); got != want {
			t.Errorf("isDotGit(%q) = %v", name, got)
		}
	}
}

// files is a DiffSink that keeps each file's patch apart.
type files struct {
	strings.Builder
	list []string
}

func (f *files) File(d DiffFile) error {
	f.list = append(f.list, string(d.Path)+"\n"+f.String())
	f.Reset()
	return nil
}

func TestSplitPatch(t *testing.T) {
	long := "+" + strings.Repeat("diff --git ", 20000) + "\n"
	parts := []string{
		"diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-diff --git x\n" + long,
		"diff --git a/t b/t\ndeleted file mode 100644\ndiff --git a/t b/t\nnew file mode 120000\n",
		"diff --git a/y b/z\nrename from y\nrename to z\n",
	}
	list := []DiffFile{
		{Change: Change{Path: "a", Status: "M"}}, {Change: Change{Path: "t", Status: "T"}}, {Change: Change{Path: "z", From: "y", Status: "R"}},
	}
	var got files
	if err := splitPatch(strings.NewReader(strings.Join(parts, "")), list, &got); err != nil {
		t.Fatal(err)
	}
	for i, f := range list {
		if want := string(f.Path) + "\n" + parts[i]; i >= len(got.list) || got.list[i] != want {
			t.Errorf("file %d is not told with its part of the patch", i)
		}
	}
	if err := splitPatch(strings.NewReader(strings.Join(parts, "")), list[:2], new(files)); err == nil {
		t.Error("a patch of more files than were listed is taken")
	}
	if err := splitPatch(strings.NewReader(""), list, &got); err != nil || len(got.list) != 6 {
		t.Errorf("without a patch %d files are told of, %v", len(got.list), err)
	}
}

func TestCounted(t *testing.T) {
	list := []gitChange{
		{Change: Change{Path: "a\tb\n", Status: "M"}}, {Change: Change{Path: "z", From: store.Path("y"), Status: "R"}}, {Change: Change{Path: "pic", Status: "A"}},
	}
	got, err := counted(list, "1\t2\ta\tb\n\x003\t0\t\x00y\x00z\x00-\t-\tpic\x00")
	if err != nil {
		t.Fatal(err)
	}
	if got[0].Added != 1 || got[0].Deleted != 2 || got[1].Added != 3 || !got[2].Binary || got[1].Binary {
		t.Errorf("%+v", got)
	}
	for _, bad := range []string{"", "1\t2\tother\x00", "1\t2\ta\tb\n\x003\t0\t\x00y\x00", "x\t2\ta\tb\n\x00"} {
		if _, err := counted(list, bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestGitEnv(t *testing.T) {
	got := strings.Join(gitEnv([]string{"PATH=p", "GIT_DIR=d", "GIT_CONFIG=c", "GIT_CONFIG_GLOBAL=g", "GIT_INDEX_FILE=i", "GIT_EXTERNAL_DIFF=e", "GIT_AUTHOR_NAME=n", "GIT_ATTR_SOURCE=s"}), " ")
	if want := "PATH=p GIT_CONFIG_GLOBAL=g GIT_AUTHOR_NAME=n LC_ALL=C GIT_TERMINAL_PROMPT=0"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
