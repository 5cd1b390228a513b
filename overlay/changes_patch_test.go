package overlay

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/astridfs/astridfs/overlay/diff"
)

// patch is the git patch of the whole change set.
func (l *lab) patch() string {
	l.t.Helper()
	var out bytes.Buffer
	if _, err := l.fs.Patch(l.ctx, &out, nil, diff.Defaults()); err != nil {
		l.t.Fatal(err)
	}
	return out.String()
}

// gitTree leaves of a tree what git knows: files with their execute bit, and
// symbolic links.
func gitTree(t tree) tree {
	out := tree{}
	for name, s := range t {
		mode, rest, _ := strings.Cut(s, " ")
		content := strings.Fields(rest)[1]
		switch {
		case strings.HasPrefix(mode, "12"):
			out[name] = "link " + content
		case strings.HasPrefix(mode, "10"):
			out[name] = fmt.Sprint("file ", (mode[3]-'0')&1 != 0, content)
		}
	}
	return out
}

// applied applies the patch to a copy of the workspace and compares that with
// the view.
func (l *lab) applied() {
	l.t.Helper()
	p := l.patch()
	copied := l.t.TempDir()
	if out, err := exec.Command("cp", "-a", l.host()+"/.", copied).CombinedOutput(); err != nil {
		l.t.Fatalf("%v: %s", err, out)
	}
	if p != "" {
		cmd := exec.Command("git", "apply", "--whitespace=nowarn", "-")
		cmd.Dir, cmd.Stdin = copied, strings.NewReader(p)
		cmd.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES=/")
		if out, err := cmd.CombinedOutput(); err != nil {
			l.t.Fatalf("git apply: %v: %s\n%s", err, out, p)
		}
	}
	if d := diffTrees(gitTree(l.view()), gitTree(hostTree(l.t, copied))); d != "" {
		l.t.Errorf("the view and the patched copy differ\n%s\n%s", d, p)
	}
}

func TestPatch(t *testing.T) {
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			l := newLab(t).seed(s.seed...).open()
			l.must(s.do(l))
			l.applied()
		})
	}
}

func TestRandomPatches(t *testing.T) {
	for seed := range uint64(randomRounds(t, 40)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			p := newPlayer(t, seed+2000)
			p.r = rand.New(rand.NewPCG(seed, 3))
			p.play(15)
			p.applied()
			p.check()
		})
	}
}
