package ignore_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/astridfs/astridfs/boundary/ignore"
)

// git judges paths by .gitignore files, as git check-ignore does.
type git struct {
	t   testing.TB
	dir string // the scratch directory: the repository, and the work trees
	n   int    // work trees made
}

func newGit(t testing.TB) *git {
	g := &git{t: t, dir: scratch(t)}
	g.run(nil, "init", "-q", "--bare", filepath.Join(g.dir, "repo"))
	return g
}

// scratch is a new directory, in memory where there is such a place: the trees
// are of many small files.
func scratch(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "ignore")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func (g *git) run(stdin []byte, args ...string) []byte {
	g.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = g.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + g.dir, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_COUNT=2", "GIT_CONFIG_KEY_0=core.ignoreCase", "GIT_CONFIG_VALUE_0=false",
		"GIT_CONFIG_KEY_1=core.excludesFile", "GIT_CONFIG_VALUE_1=/dev/null"}
	cmd.Stdin = bytes.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	// check-ignore exits 1 where nothing is ignored.
	if ee, ok := err.(*exec.ExitError); err != nil && !(ok && ee.ExitCode() == 1) {
		g.t.Fatalf("git %q: %v\n%s", args, err, stderr.Bytes())
	}
	if stderr.Len() > 0 {
		g.t.Fatalf("git %q: %s", args, stderr.Bytes())
	}
	return out
}

// checkIgnore judges the paths of sets, which lie in the work tree each under
// its prefix: "" for a set that has the work tree to itself.
func (g *git) checkIgnore(sets map[string]ruleSet) map[string]string {
	g.t.Helper()
	g.n++
	root := filepath.Join(g.dir, "tree"+strconv.Itoa(g.n))
	var stdin bytes.Buffer
	count := 0
	for prefix, rs := range sets {
		mkdir(g.t, filepath.Join(root, prefix))
		for path, isDir := range rs.isDir {
			if isDir {
				mkdir(g.t, root+"/"+prefix+path)
			}
		}
		for dir, text := range rs.files {
			mkdir(g.t, root+"/"+prefix+dir)
			if dir != "" {
				dir += "/"
			}
			if err := os.WriteFile(root+"/"+prefix+dir+".gitignore", text, 0o644); err != nil {
				g.t.Fatal(err)
			}
		}
		for _, p := range rs.paths {
			stdin.WriteString(prefix + p + "\x00")
			count++
		}
	}
	out := g.run(stdin.Bytes(), "-C", root, "--git-dir="+g.dir+"/repo", "--work-tree="+root,
		"check-ignore", "--no-index", "-v", "-n", "-z", "--stdin")
	fields := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	if len(fields) != 4*count {
		g.t.Fatalf("git answered %d fields for %d paths", len(fields), count)
	}
	rules := make(map[string]string)
	for ; len(fields) > 0; fields = fields[4:] {
		rule := ""
		if fields[0] != "" {
			rule = fields[0] + ":" + fields[1] + ": " + fields[2]
		}
		rules[fields[3]] = rule
	}
	if err := os.RemoveAll(root); err != nil {
		g.t.Fatal(err)
	}
	return rules
}

func mkdir(t testing.TB, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

// compare judges the paths of sets here and with git and reports differences.
func (g *git) compare(sets map[string]ruleSet) (cases, hidden int) {
	g.t.Helper()
	want := g.checkIgnore(sets)
	for prefix, rs := range sets {
		set, err := ignore.Compile(rs.files, nil)
		if err != nil {
			g.t.Fatal(err)
		}
		for _, p := range rs.paths {
			cases++
			isHidden, rule := set.Match(p, rs.isDir[p])
			if isHidden {
				hidden++
			}
			got := ""
			if rule != nil {
				// git calls the file by its name and place in the work tree.
				file := prefix + strings.TrimSuffix(rule.File, ignore.FileName) + ".gitignore"
				got = fmt.Sprintf("%s:%d: %s", file, rule.Line, rule.Pattern)
				if isHidden == rule.Negated {
					g.t.Errorf("%q: hidden %v by %q", p, isHidden, got)
				}
			}
			if got != want[prefix+p] {
				g.t.Errorf("path %q (directory: %v)\n got %q\nwant %q\nfiles %q", p, rs.isDir[p], got, want[prefix+p], rs.files)
			}
			if h, r := incremental(set, p, rs.isDir[p]); h != isHidden || r != rule {
				g.t.Errorf("path %q: directory by directory %v by %v, as a whole %v by %v\nfiles %q", p, h, r, isHidden, rule, rs.files)
			}
		}
	}
	return cases, hidden
}

// incremental is Set.Match by entering each directory.
func incremental(set *ignore.Set, path string, isDir bool) (bool, *ignore.Rule) {
	d := set.Root()
	for i := range len(path) {
		if path[i] == '/' {
			start := strings.LastIndexByte(path[:i], '/') + 1
			d = d.Enter(path[start:i], set.List(path[:i]))
		}
	}
	return d.Match(path[strings.LastIndexByte(path, '/')+1:], isDir)
}

// TestAgreesWithGit compares generated rule sets and paths with git's own
// verdicts, rule by rule: 10,000 sets from a seed that stays, and as many as a
// short time allows from one that is new each time.
func TestAgreesWithGit(t *testing.T) {
	const batch, paths = 250, 12
	g := newGit(t)
	run := func(gen gen) (cases, hidden int) {
		sets := map[string]ruleSet{}
		for i := range batch {
			sets["s"+strconv.Itoa(i)+"/"] = gen.set(paths)
		}
		return g.compare(sets)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("the new seed is %d", seed)
	fixed, fresh := newGen(1), newGen(seed)
	if s := os.Getenv("IGNORE_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		fresh = newGen(n)
	}
	cases, hidden := 0, 0
	for range 10_000 / batch {
		c, h := run(fixed)
		if cases, hidden = cases+c, hidden+h; t.Failed() {
			t.FailNow()
		}
	}
	end := time.Now().Add(3 * time.Second)
	if testing.Short() {
		end = time.Now()
	}
	for time.Now().Before(end) {
		c, h := run(fresh)
		if cases, hidden = cases+c, hidden+h; t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("%d cases, %d of them hidden", cases, hidden)
	if cases < 50_000 || hidden < cases/10 {
		t.Errorf("only %d cases, %d hidden: the generator is too tame", cases, hidden)
	}
}

// TestAgreesWithGitAtTheTop has the rules at the root of the work tree, where
// git takes another way than below it.
func TestAgreesWithGitAtTheTop(t *testing.T) {
	g := newGit(t)
	gen := newGen(2)
	for range 60 {
		rs := gen.set(40)
		// At the top git would take a leading colon for its own.
		rs.paths = slices.DeleteFunc(rs.paths, func(p string) bool { return p[0] == ':' })
		g.compare(map[string]ruleSet{"": rs})
	}
}

// TestClassesAgreeWithGit asks of every byte whether it is in every class.
func TestClassesAgreeWithGit(t *testing.T) {
	g := newGit(t)
	sets := map[string]ruleSet{}
	for i, class := range []string{"alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "xdigit"} {
		rs := ruleSet{files: map[string][]byte{"": []byte("x[[:" + class + ":]]\ny[![:" + class + ":]]\n")}}
		for c := 1; c < 256; c++ {
			if c != '/' {
				rs.paths = append(rs.paths, "x"+string([]byte{byte(c)}), "y"+string([]byte{byte(c)}))
			}
		}
		sets["s"+strconv.Itoa(i)+"/"] = rs
	}
	g.compare(sets)
}
