package overlay

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/vfstest"
)

// player does random things to a lab.
type player struct {
	*lab
	r   *rand.Rand
	log []string
}

// paths returns all paths of the view.
func (p *player) paths() []string {
	var out []string
	var walk func(path string)
	walk = func(path string) {
		for _, name := range p.list(path) {
			sub := joinPath(path, name)
			out = append(out, sub)
			err := p.node(sub, func(n vfs.NodeID) error {
				a, err := p.fs.GetAttr(p.ctx, n, nil)
				if err == nil && a.IsDir() {
					walk(sub)
				}
				return err
			})
			p.must(err)
		}
	}
	walk("")
	return out
}

func (p *player) pick(from []string) string {
	if len(from) == 0 {
		return "a"
	}
	return from[p.r.IntN(len(from))]
}

// fresh returns a path that may or may not be there.
func (p *player) fresh(have []string) string {
	name := string("abcde"[p.r.IntN(5)])
	if p.r.IntN(3) == 0 {
		return name
	}
	return joinPath(p.pick(have), name)
}

// play does n things; most fail, which is fine.
func (p *player) play(n int) {
	for range n {
		have := p.paths()
		a, b := p.pick(have), p.fresh(have)
		var what string
		var err error
		switch p.r.IntN(16) {
		case 0, 1:
			what, err = "write "+b, p.write(b, strings.Repeat("x", p.r.IntN(30)))
		case 2, 3:
			what, err = "write "+a, p.write(a, fmt.Sprint("data ", p.r.IntN(4)))
		case 4:
			what, err = "mkdir "+b, p.mkdir(b)
		case 5:
			what, err = "rm "+a, p.rm(a)
		case 6:
			what, err = "rm -r "+a, p.rmAll(a)
		case 7, 8, 9:
			what, err = "mv "+a+" "+b, p.mv(a, b)
		case 10:
			c := p.pick(have)
			what, err = "swap "+a+" "+c, p.rename(a, c, vfs.Exchange)
		case 11:
			what, err = "ln "+a+" "+b, p.link(a, b)
		case 12:
			what, err = "ln -s "+b, p.symlink(fmt.Sprint("to", p.r.IntN(3)), b)
		case 13:
			what, err = "chmod "+a, p.chmod(a, []uint32{0o700, 0o755, 0o744, 0o2755}[p.r.IntN(4)])
		case 14:
			what, err = "setfattr "+a, p.setxattr(a, "user.k", fmt.Sprint(p.r.IntN(3)))
		case 15:
			what, err = "touch "+a, p.setattr(a, vfs.SetAttr{Valid: vfs.SetMtime, Mtime: vfs.Timespec{Sec: int64(p.r.IntN(1000))}})
		}
		if err == nil {
			p.log = append(p.log, what)
		}
	}
}

// newPlayer makes a workspace with some of everything.
func newPlayer(t testing.TB, seed uint64) *player {
	l := newLab(t).seed("a/b/c=1", "a/b/d=2", "a/c=3", "b/a/e/d=4", "b/c=5", "b/d==b/c", "c=6", "d/", "d/a==c", "e->a", "b/e/a=7", "b/e/b/c=8")
	return &player{lab: l.open(), r: rand.New(rand.NewPCG(seed, 7))}
}

// commit is lab.commit that tells what led to a failure.
func (p *player) commit(opt CommitOptions) {
	p.t.Helper()
	opt.NoSync = true
	r, err := p.fs.Commit(p.ctx, opt)
	if err != nil {
		p.t.Errorf("commit: %v", err)
	}
	for _, n := range r.Left {
		p.t.Errorf("left: %q: %s", n.Path, n.Reason)
	}
	p.check()
}

func (p *player) check() {
	p.t.Helper()
	if p.t.Failed() {
		p.t.Fatalf("after\n\t%s", strings.Join(p.log, "\n\t"))
	}
}

// TestRandomCommits changes, commits parts, changes again: a commit never
// changes the view, and the last one makes the workspace the same.
func TestRandomCommits(t *testing.T) {
	for seed := range uint64(randomRounds(t, 40)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			p := newPlayer(t, seed)
			for range 3 {
				p.play(12)
				p.partial()
			}
			want := p.view()
			p.log = append(p.log, "commit")
			p.commit(CommitOptions{})
			p.committed(want)
			p.check()
		})
	}
}

// partial commits one random path, live or after reopening.
func (p *player) partial() {
	p.t.Helper()
	want := p.view()
	path := p.pick(p.paths())
	if st := p.status(ChangesOptions{}); len(st) > 0 && p.r.IntN(2) == 0 {
		path = strings.Fields(p.pick(st))[1]
	}
	p.log = append(p.log, "commit "+path)
	p.commit(CommitOptions{Paths: []string{path}})
	if d := diffTrees(want, p.view()); d != "" {
		p.t.Errorf("the view before and after differ\n%s", d)
	}
	p.wantStatus(ChangesOptions{Paths: []string{path}})
	if p.r.IntN(2) == 0 {
		p.log = append(p.log, "reopen")
		p.reopen()
		if d := diffTrees(want, p.view()); d != "" {
			p.t.Errorf("the view before and after reopening differ\n%s", d)
		}
	}
	p.check()
}

// TestRandomDiscards discards parts, which brings back what the workspace has
// or leaves things as they are, and then all.
func TestRandomDiscards(t *testing.T) {
	for seed := range uint64(randomRounds(t, 40)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			p := newPlayer(t, seed)
			host := hostTree(t, p.host())
			for range 3 {
				p.play(12)
				st := p.status(ChangesOptions{})
				if len(st) == 0 {
					continue
				}
				path := strings.Fields(p.pick(st))[1]
				p.log = append(p.log, "discard "+path)
				p.discard(path)
				before := p.view()
				p.reopen()
				if d := diffTrees(before, p.view()); d != "" {
					p.t.Errorf("the view before and after reopening differ\n%s", d)
				}
				p.check()
			}
			p.discard()
			p.discarded(host)
			p.check()
		})
	}
}

// TestRandomKernel has kernel overlayfs read what a partial commit or discard
// left in the layers: it shows the same.
func TestRandomKernel(t *testing.T) {
	if os.Geteuid() != 0 {
		vfstest.Skip(t, vfstest.KernelOverlay)
	}
	for seed := range uint64(randomRounds(t, 10)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			p := newPlayer(t, seed+1000)
			p.play(20)
			p.partial()
			p.play(5)
			if st := p.status(ChangesOptions{}); len(st) > 0 {
				p.discard(strings.Fields(p.pick(st))[1])
			}
			want := p.view()
			// Without its index, the kernel knows the names of the upper layer.
			p.must(p.fs.nameIndexed(p.ctx, false))
			p.must(p.fs.Close())
			p.fs = nil
			mnt := p.dir + "/mnt"
			p.must(unix.Mkdir(mnt, 0o755))
			opt := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s,redirect_dir=on,index=off", p.host(), p.opt.Upper, p.opt.Work)
			p.must(unix.Mount("overlay", mnt, "overlay", 0, opt))
			got := hostTree(t, mnt)
			p.must(unix.Unmount(mnt, 0))
			if d := diffTrees(want.plain(), got.plain()); d != "" {
				p.t.Errorf("ours and the kernel's view differ\n%s", d)
			}
			p.check()
		})
	}
}

// plain leaves out of a tree which names are one file: without its index, the
// kernel does not keep lower links together.
func (t tree) plain() tree {
	out := tree{}
	for name, s := range t {
		out[name], _, _ = strings.Cut(s, " links ")
	}
	return out
}

// timeless leaves the times of directories out of a tree.
func (t tree) timeless() tree {
	out := tree{}
	for name, s := range t {
		if strings.HasPrefix(s, "04") {
			s = s[:strings.LastIndexByte(s, ' ')]
		}
		out[name] = s
	}
	return out
}

// randomRounds is how many seeds a random test runs with, n by default;
// ASTRIDFS_RANDOM_ROUNDS sets another number.
func randomRounds(t testing.TB, n int) int {
	if s := os.Getenv("ASTRIDFS_RANDOM_ROUNDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if testing.Short() {
		return max(n/10, 1)
	}
	return n
}

// crashAt runs fn and stops it dead at the n-th step of a commit or discard: it
// stands still there for ever, so that nothing is cleaned up, and its
// descriptors are closed, as if the process were killed. It returns the name of
// that step, or "" if fn came to its end.
func (l *lab) crashAt(n int, fn func() error) string {
	l.t.Helper()
	dead, done := make(chan string), make(chan error)
	fs := l.fs
	fs.opt.step = func(name string) {
		if l.besides != nil {
			l.besides(name)
		}
		if !strings.HasPrefix(name, "commit.") && !strings.HasPrefix(name, "discard.") {
			return
		}
		if n--; n < 0 {
			dead <- name
			select {}
		}
	}
	go func() { done <- fn() }()
	select {
	case err := <-done:
		l.must(err)
		fs.opt.step = nil
		return ""
	case at := <-dead:
		fs.log.close()
		fs.hard.drop()
		fs.ly.drop()
		closeFD(fs.workFD)
		l.fs = nil
		return at
	}
}

func (l *lab) commitAll() error {
	_, err := l.fs.Commit(l.ctx, CommitOptions{NoSync: true})
	return err
}

func (l *lab) discardAll() error {
	_, err := l.fs.Discard(l.ctx, nil)
	return err
}

// TestCrash kills a commit at every step, then opens the overlay anew: the view
// is what it was, and another commit finishes.
func TestCrash(t *testing.T) {
	steps := map[string]bool{}
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			for n := 0; ; n++ {
				l := newLabIn(t, fastDir(t)).seed(s.seed...).open()
				l.must(s.do(l))
				want := l.view()
				at := l.crashAt(n, l.commitAll)
				if at == "" {
					break
				}
				steps[at] = true
				l.open()
				// A directory's time may be that of the moment.
				if d := diffTrees(want.timeless(), l.view().timeless()); d != "" {
					t.Errorf("killed at %d, %s: the view before and after differ\n%s", n, at, d)
				}
				if err := l.commitAll(); err != nil {
					t.Fatalf("killed at %d, %s: %v", n, at, err)
				}
				l.committedAs(want, tree.timeless)
				if t.Failed() {
					t.Fatalf("killed at %d, %s", n, at)
				}
			}
		})
	}
	for _, name := range []string{"staged", "named", "placed", "synced", "dropped", "directory dropped", "deleted", "revealed",
		"move announced", "moved", "redirected", "stage hidden", "evacuated", "aside", "exchanged", "expanded", "linked", "unindexed", "attributes", "touched"} {
		if !steps["commit."+name] {
			t.Errorf("no commit was killed at %q", name)
		}
	}
}

// TestCrashThenDiscard kills a commit at every step and then discards what is
// left: the view is what the workspace is.
func TestCrashThenDiscard(t *testing.T) {
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			for n := 0; ; n++ {
				l := newLabIn(t, fastDir(t)).seed(s.seed...).open()
				l.must(s.do(l))
				at := l.crashAt(n, l.commitAll)
				if at == "" {
					break
				}
				l.open()
				l.discard()
				l.discarded(hostTree(t, l.host()))
				if t.Failed() {
					t.Fatalf("killed at %d, %s", n, at)
				}
			}
		})
	}
}

// TestCrashDiscard kills a discard at every step: nothing of the workspace
// changes, and another discard finishes.
func TestCrashDiscard(t *testing.T) {
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			for n := 0; ; n++ {
				l := newLabIn(t, fastDir(t)).seed(s.seed...).open()
				host := hostTree(t, l.host())
				l.must(s.do(l))
				at := l.crashAt(n, l.discardAll)
				if at == "" {
					break
				}
				l.open()
				l.discard()
				l.discarded(host)
				if t.Failed() {
					t.Fatalf("killed at %d, %s", n, at)
				}
			}
		})
	}
}
