package tests

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// What nobody may read. Each text is in files of one kind alone.
const (
	hiddenText  = "TEXT-OF-A-HIDDEN-FILE"
	outsideText = "TEXT-FROM-OUTSIDE"
)

// escapeTree makes the workspace of the corpus, and a directory beside it.
func escapeTree(t *testing.T, b *box) {
	t.Helper()
	outside := filepath.Join(b.dir, "outside")
	write(t, filepath.Join(outside, "secret.txt"), outsideText)
	file := func(path, text string) { write(t, filepath.Join(b.ws, path), text) }
	file(".astridignore", ".env\n*.key\nsecrets/\nsecrets\n/anchored/deep/hidden.txt\nh?x\n\u00e9.hid\n")
	for _, p := range []string{".env", "a.key", "secrets/inner.txt", "pub/secrets/x", "anchored/deep/hidden.txt", "loose/a.key", "loose/in/b.key",
		"nested/own.txt", "nested/sub/own.txt", "\u00e9.hid", "special/suid.key", "pub/sub/inner.key"} {
		file(p, hiddenText)
	}
	for _, p := range []string{"pub/ok.txt", "pub/sub/x", "anchored/deep/open.txt", "loose/in/open.txt", "nested/sub/open", "special/suid", "links/mvtarget"} {
		file(p, "fine")
	}
	file("nested/.astridignore", "own.txt\n")
	file("anchored/.astridignore", "# nothing\n")
	for c := 1; c < 256; c++ {
		if c != '/' {
			file("bytes/h"+string([]byte{byte(c)})+"x", hiddenText)
		}
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	do(os.Mkdir(filepath.Join(b.ws, "made"), 0o755))
	for name, target := range map[string]string{
		"env": "../.env", "env2": "env", "back": "..", "secrets": "../secrets", "out": "../../outside/secret.txt", "out2": "out",
		"absolute": filepath.Join(outside, "secret.txt"), "outdir": outside, "root": "/", "up": "../..", "loop": "loop", "ping": "pong", "pong": "ping",
		"dangling": "nowhere", "good": "../pub/ok.txt", "mv": "../../outside", "fd": "/proc/self/fd", "cwd": "/proc/self/cwd", "procroot": "/proc/self/root",
		"exe": "/proc/self/exe", "stdin": "/dev/stdin", "init": "/proc/1/root", "hard": "../pub/hard",
	} {
		do(os.Symlink(target, filepath.Join(b.ws, "links", name)))
	}
	do(os.Link(filepath.Join(b.ws, ".env"), filepath.Join(b.ws, "pub/hard")))
	do(os.Link(filepath.Join(b.ws, ".astridignore"), filepath.Join(b.ws, "pub/hardrules")))
	for _, name := range []string{"fifo", "fifo.key"} {
		do(unix.Mkfifo(filepath.Join(b.ws, "special", name), 0o666))
	}
	do(unix.Mknod(filepath.Join(b.ws, "special/socket.key"), unix.S_IFSOCK|0o666, 0))
	do(os.Chmod(filepath.Join(b.ws, "special/suid"), 0o755|os.ModeSetuid))
}

// TestEscapes runs the corpus through every front, each in a session of its
// own. Each act has to end as the corpus says; none may read what is hidden or
// outside, or name a path of the host; and none may change either, nor may a
// commit of what they did change.
func TestEscapes(t *testing.T) {
	root := os.Geteuid() == 0
	cases := escapeCases(root)
	if len(cases) < 300 {
		t.Errorf("only %d cases", len(cases))
	}
	if !root {
		t.Log("without devices and mounts, which are root's to make")
	}
	acts := make([]act, len(cases))
	for i := range cases {
		acts[i] = cases[i].act
	}
	for _, f := range fronts(t) {
		for _, mode := range []string{"overlay", "worktree", "host"} {
			t.Run(f.name+"/"+mode, func(t *testing.T) {
				b := newBox(t)
				if mode == "worktree" {
					escapeWorktree(t, b)
				}
				escapeTree(t, b)
				if root {
					escapeMounts(t, b)
				}
				before := unreachable(t, b)
				if mode == "worktree" {
					b.waitHidden(".env")
				} else {
					b.mount("--mode", mode)
				}
				got := f.do(t, b, acts)
				for i, c := range cases {
					c.check(t, b, f.name, got[i])
				}
				for _, name := range []string{"special/suid", "made/suid"} {
					if f.name == "mount" && root {
						break // root keeps the bit when he writes, here as anywhere
					}
					st, err := os.Stat(filepath.Join(b.mnt, name))
					if err != nil || st.Mode()&os.ModeSetuid != 0 {
						t.Errorf("%s, after it was written: %v, %v", name, st.Mode(), err)
					}
				}
				after := unreachable(t, b)
				if mode != "overlay" {
					after = moved(after)
				}
				sameTree(t, "hidden and outside files", after, before)
				if mode == "host" {
					return
				}
				for _, row := range b.status() {
					if strings.Contains(row, "outside") || strings.Contains(row, ".env") || strings.Contains(row, ".key") || strings.Contains(row, "secrets") {
						t.Errorf("status lists %q", row)
					}
				}
				if mode == "worktree" {
					b.run("commit", b.session, "-m", "what the corpus did")
					if found := sh(t, b.ws, "git grep --text --files-with-matches -e '"+hiddenText+"' -e '"+outsideText+"' HEAD || [ $? = 1 ]"); found != "" {
						t.Errorf("git's commit holds hidden text: %s", found)
					}
					if got := sh(t, b.ws, "git show HEAD:.astridignore"); !strings.HasPrefix(got, ".env\n") {
						t.Errorf("git's commit has %q for the ignore file", got)
					}
					return
				}
				b.run("commit", b.session)
				sameTree(t, "hidden and outside files after the commit", moved(unreachable(t, b)), before)
			})
		}
	}
}

// escapeWorktree mounts a session of mode worktree and has b.ws be its worktree,
// which the corpus fills afterwards: git could not hold all of that.
func escapeWorktree(t *testing.T, b *box) {
	t.Helper()
	sh(t, b.ws, "git init -q . && git -c user.name=x -c user.email=x@example.org commit -q --allow-empty -m start")
	b.mount("--mode", "worktree")
	b.ws = strings.TrimSpace(sh(t, b.ws, "git worktree list --porcelain | sed -n 's/^worktree //p' | tail -n 1"))
}

// waitHidden waits until a rule that has just come is heeded for path.
func (b *box) waitHidden(path string) {
	b.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Lstat(filepath.Join(b.mnt, path)); errors.Is(err, unix.EACCES) {
			return
		} else if time.Now().After(end) {
			b.t.Fatalf("%s is not hidden: %v", path, err)
		}
	}
}

// check holds an answer against the case.
func (c *escapeCase) check(t *testing.T, b *box, front, got string) {
	t.Helper()
	want := c.answer(front)
	if start, ok := strings.CutSuffix(want, "…"); got != want && !(ok && strings.HasPrefix(got, start)) {
		t.Errorf("%s: %s: got %.200q, want %q", c.category, c.act, got, want)
	}
	noSecret(t, fmt.Sprint(c.act), got)
	if c.op != 'k' {
		// What a link of the workspace says is the workspace's text.
		noHostPath(t, b, fmt.Sprint(c.act), got)
	}
}

// answer is what a front has to say to the case.
func (c *escapeCase) answer(front string) string {
	switch {
	case front == "wasi":
		return c.wasi
	case front == "mount":
		return c.mount
	case front == "component" && !utf8.ValidString(c.a+c.b):
		return trapped
	}
	return c.fs
}

// unreachable describes all that no front may reach, by its paths.
func unreachable(t *testing.T, b *box) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for path, line := range manifest(t, filepath.Join(b.dir, "outside")) {
		all["outside/"+path] = line
	}
	for path, line := range manifest(t, b.ws) {
		base := filepath.Base(path)
		if base == ".env" || base == ".astridignore" || strings.HasSuffix(base, ".key") || strings.Contains(path, "secrets") || base == "own.txt" ||
			base == "hidden.txt" || base == "hard" || strings.HasPrefix(path, "bytes/") || strings.HasSuffix(base, ".hid") {
			all["ws/"+path] = line
		}
	}
	return all
}

// moved gives what went along with a renamed directory its old path.
func moved(tree map[string]string) map[string]string {
	back := make(map[string]string)
	for path, line := range tree {
		for _, r := range [][2]string{{"ws/made/loose/", "ws/loose/"}, {"ws/made/in/", "ws/loose/in/"}, {"ws/made/nested/", "ws/nested/"}, {"ws/anchored/deep2/", "ws/pub/sub/"}} {
			if rest, ok := strings.CutPrefix(path, r[0]); ok {
				path = r[1] + rest
				break
			}
		}
		back[path] = line
	}
	return back
}

// noSecret fails the test if somebody came to know what he must not.
func noSecret(t *testing.T, what, text string) {
	t.Helper()
	for _, secret := range []string{hiddenText, outsideText, "root:x:0"} {
		if strings.Contains(text, secret) {
			t.Errorf("%s: the answer holds %q", what, secret)
		}
	}
}

// noHostPath fails the test if an answer names a place of the host.
func noHostPath(t *testing.T, b *box, what, text string) {
	t.Helper()
	for _, path := range []string{b.dir, b.state, "/proc/", "/layers/upper"} {
		if strings.Contains(text, path) {
			t.Errorf("%s: the answer holds %q: %.300q", what, path, text)
		}
	}
}

// escapeMounts has the host mount things into the workspace: the directory
// outside, bound, and a filesystem of its own; and makes device nodes.
func escapeMounts(t *testing.T, b *box) {
	t.Helper()
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"bound", "other"} {
		do(os.Mkdir(filepath.Join(b.ws, name), 0o755))
	}
	bind := filepath.Join(b.dir, "bind")
	write(t, filepath.Join(bind, "in.txt"), "fine")
	write(t, filepath.Join(bind, ".env"), hiddenText)
	do(unix.Mount(bind, filepath.Join(b.ws, "bound"), "", unix.MS_BIND, ""))
	do(unix.Mount("tmpfs", filepath.Join(b.ws, "other"), "tmpfs", 0, "size=1m"))
	t.Cleanup(func() {
		for _, name := range []string{"bound", "other"} {
			if err := unix.Unmount(filepath.Join(b.ws, name), unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		}
	})
	write(t, filepath.Join(b.ws, "other/in.txt"), "fine")
	write(t, filepath.Join(b.ws, "other/secrets/x"), hiddenText)
	do(os.Symlink("../../outside/secret.txt", filepath.Join(b.ws, "other/out")))
	do(unix.Mknod(filepath.Join(b.ws, "special/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	do(unix.Mknod(filepath.Join(b.ws, "special/disk"), unix.S_IFBLK|0o666, int(unix.Mkdev(7, 200))))
	do(unix.Mknod(filepath.Join(b.ws, "special/null.key"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
}
