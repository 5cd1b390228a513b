package overlay_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/overlay"
	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/vfstest"
)

// dump describes everything below the root of a subject, in a form that two
// subjects with the same history share: inode numbers become the first path
// that has them, and times that lie in the present "now". Link counts of
// directories are left out: they are 1 for a merged one, and which directories
// are merged when a file with several names was copied up depends on the name
// that it was reached by, which a node does not tell.
func dump(t *testing.T, s subject, opts ...string) map[string]string {
	t.Helper()
	out := map[string]string{}
	first := map[uint64]string{}
	var walk func(p string)
	walk = func(p string) {
		a, err := s.lstat(p)
		if err != nil {
			t.Errorf("lstat %q: %v", p, err)
			return
		}
		var b strings.Builder
		fmt.Fprintf(&b, "%o %d:%d", a.Mode, a.UID, a.GID)
		if p != "." && !(a.IsDir() && slices.Contains(opts, "nodirtimes")) {
			if m := a.Mtime; m.Sec > 1e9 {
				b.WriteString(" now")
			} else {
				fmt.Fprintf(&b, " %d.%d", m.Sec, m.Nsec)
			}
		}
		if !a.IsDir() {
			if _, ok := first[a.Ino]; !ok {
				first[a.Ino] = p
			}
			fmt.Fprintf(&b, " is %s", first[a.Ino])
			if !slices.Contains(opts, "nolinks") {
				fmt.Fprintf(&b, " of %d", a.Nlink)
			}
			fmt.Fprintf(&b, " size %d", a.Size)
		}
		switch a.Type() {
		case unix.S_IFREG:
			f, err := s.open(p, unix.O_RDONLY, 0)
			if err != nil {
				t.Errorf("open %q: %v", p, err)
				break
			}
			buf := make([]byte, 1<<12)
			n, err := f.pread(buf, 0)
			fmt.Fprintf(&b, " %q %v", buf[:max(n, 0)], err)
			f.close()
		case unix.S_IFLNK:
			target, err := s.readlink(p)
			fmt.Fprintf(&b, " -> %q %v", target, err)
		}
		x, err := s.xattrs(p)
		if err != nil {
			t.Errorf("xattrs of %q: %v", p, err)
		}
		if len(x) > 0 {
			fmt.Fprintf(&b, " %q", x)
		}
		out[p] = b.String()
		if !a.IsDir() {
			return
		}
		list, err := s.list(p)
		if err != nil {
			t.Errorf("list %q: %v", p, err)
		}
		seen := map[string]bool{}
		sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
		for _, e := range list {
			if seen[e.Name] {
				t.Errorf("%q is listed twice in %q", e.Name, p)
			}
			seen[e.Name] = true
			if e.Name == "." || e.Name == ".." {
				continue
			}
			q := path.Join(p, e.Name)
			c, err := s.lstat(q)
			if err != nil {
				t.Errorf("%q is listed, lstat: %v", q, err)
				continue
			}
			if _, ours := s.(view); ours && (e.Ino != c.Ino || e.Type != c.Type()) {
				t.Errorf("%q is listed with inode %d type %o, has %d %o", q, e.Ino, e.Type, c.Ino, c.Type())
			}
			walk(q)
		}
	}
	walk(".")
	return out
}

// differences compares two dumps line by line.
func differences(a, b map[string]string) string { return strings.Join(overlay.Differences(a, b), "\n") }

// seedTree fills a lower directory with a random tree whose times are old.
func seedTree(t *testing.T, r *rand.Rand, dir string, links bool) {
	t.Helper()
	var files []string
	var fill func(p string, depth int)
	fill = func(p string, depth int) {
		for _, name := range opNames {
			q := filepath.Join(p, name)
			var err error
			switch k := r.IntN(10); {
			case k < 4 && depth < 3, k < 7 && depth == 0:
				if err = os.Mkdir(q, 0o755); err == nil {
					fill(q, depth+1)
				}
			case k < 6:
				err = os.WriteFile(q, []byte("lower "+q[len(dir):]), 0o644)
				files = append(files, q)
			case k == 6 && len(files) > 0 && links:
				err = os.Link(files[r.IntN(len(files))], q)
			case k == 7:
				err = os.Symlink("target", q)
			default:
				continue
			}
			if err == nil && r.IntN(5) == 0 && os.Geteuid() == 0 {
				err = unix.Lsetxattr(q, "trusted.y", []byte(name), 0)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	fill(dir, 0)
	n := int64(0)
	err := filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error {
		n++
		ts := []unix.Timespec{{Sec: 1000 + n}, {Sec: 1000 + n, Nsec: n}}
		if err == nil {
			err = unix.UtimesNanoAt(unix.AT_FDCWD, p, ts, unix.AT_SYMLINK_NOFOLLOW)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// kernelMount mounts kernel overlayfs over the layers of opt, with more options
// where extra has some. The mount has no place in the tree of mounts: others who
// unshare theirs meanwhile would hold a copy of it for a while, and the kernel
// lets nobody else mount its layers until the last one is gone (EBUSY).
func kernelMount(t *testing.T, opt overlay.Options, extra ...string) (dir string, unmount func()) {
	t.Helper()
	fsfd, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		t.Fatalf("fsopen: %v", err)
	}
	defer unix.Close(fsfd)
	options := []string{"upperdir=" + opt.Upper, "workdir=" + opt.Work, "redirect_dir=on", "metacopy=off", "xino=off"}
	for _, lower := range opt.Lower {
		options = append(options, "lowerdir+="+lower)
	}
	options = append(options, extra...)
	for _, o := range options {
		key, value, _ := strings.Cut(o, "=")
		if err := unix.FsconfigSetString(fsfd, key, value); err != nil {
			t.Fatalf("kernel overlay, option %s: %v", o, err)
		}
	}
	if err := unix.FsconfigCreate(fsfd); err != nil {
		t.Fatalf("kernel overlay with %s: %v", strings.Join(options, ","), err)
	}
	fd, err := unix.Fsmount(fsfd, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("fsmount: %v", err)
	}
	unmount = sync.OnceFunc(func() {
		if err := unix.Close(fd); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	t.Cleanup(unmount)
	return fmt.Sprintf("/proc/self/fd/%d/.", fd), unmount
}

// differentialOps is how many operations a run of the differential test makes;
// ASTRIDFS_DIFFERENTIAL_OPS sets another number.
const differentialOps = 4000

// TestDifferential does the same random operations on an overlay and on kernel
// overlayfs with equal layers. Outcomes and trees agree after every stretch;
// and each of the two shows the same tree over the layers that the other wrote.
func TestDifferential(t *testing.T) {
	if os.Geteuid() != 0 {
		vfstest.Skip(t, vfstest.KernelOverlay)
	}
	total := differentialOps
	if s := os.Getenv("ASTRIDFS_DIFFERENTIAL_OPS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		total = n
	}
	first := uint64(1)
	if s := os.Getenv("ASTRIDFS_DIFFERENTIAL_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		first = n
	}
	const perSeed = 200
	for seed := first; seed < first+uint64(total/perSeed); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			lowers := 1 + int(seed%2)
			mine, theirs := layers(t, lowers), layers(t, lowers)
			rotated := seed%3 == 0
			for i := range lowers {
				seedTree(t, rand.New(rand.NewPCG(seed, uint64(i))), mine.Lower[i], !rotated)
				seedTree(t, rand.New(rand.NewPCG(seed, uint64(i))), theirs.Lower[i], !rotated)
			}
			if !rotated {
				differential(t, seed, perSeed, mine, theirs)
				return
			}
			// What the two wrote becomes the topmost lower layer of a new one.
			// There are no lower hard links then, of which the kernel might have
			// copied up another name.
			differential(t, seed, perSeed/2, mine, theirs)
			if !t.Failed() {
				differential(t, seed+1000, perSeed/2, rotate(t, mine), rotate(t, theirs))
			}
		})
		if t.Failed() {
			return
		}
	}
}

// rotate returns the layers of an overlay above another one.
func rotate(t *testing.T, old overlay.Options) overlay.Options {
	t.Helper()
	next := layers(t, 0)
	next.Lower = append([]string{old.Upper}, old.Lower...)
	return next
}

func differential(t *testing.T, seed uint64, count int, mine, theirs overlay.Options) {
	every := 20 // operations between two comparisons of the trees
	if os.Getenv("ASTRIDFS_DIFFERENTIAL_SEED") != "" {
		every = 1
	}
	dir, unmount := kernelMount(t, theirs, "index=on")
	fs, err := overlay.Open(bg, mine)
	if err != nil {
		t.Fatal(err)
	}
	a, b := &state{subject: view{fs}}, &state{subject: hostDir(dir)}
	r := rand.New(rand.NewPCG(seed, 99))
	var log []string
	for i := range count {
		o := randomOp(r)
		x, y := o.do(a), o.do(b)
		log = append(log, fmt.Sprintf("%3d %s: %s", i, o.what, y))
		if x != y {
			log = append(log, "here it is "+x, differences(dump(t, a.subject), dump(t, b.subject)))
			t.Fatal(strings.Join(log, "\n"))
		}
		if i%every == every-1 || i == count-1 {
			if d := differences(dump(t, a.subject), dump(t, b.subject)); d != "" {
				t.Fatalf("%s\nthe overlay and the kernel differ after this:\n%s", strings.Join(log, "\n"), d)
			}
		}
		if t.Failed() {
			t.Fatalf("%s", strings.Join(log, "\n"))
		}
	}
	for i := range a.files {
		if a.files[i] != nil {
			a.files[i].close()
			b.files[i].close()
		}
	}
	want, wantNoLinks := dump(t, b.subject), dump(t, b.subject, "nolinks")
	unmount()
	if err := fs.Close(); err != nil {
		t.Fatal(err)
	}

	check := func(what string, got, want map[string]string) {
		t.Helper()
		if d := differences(got, want); d != "" || t.Failed() {
			t.Fatalf("%s\n%s:\n%s", strings.Join(log, "\n"), what, d)
		}
	}
	again := open(t, mine)
	check("the overlay shows something else when it is opened again", dump(t, view{again}), want)
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	// The kernel copies a lower file up when one of its names is removed, for no
	// other place than the copy can hold its link count. That would make the
	// removal of a tree full of links a copy of it; the overlay has another
	// place, and the kernel shows the lower inode's own count.
	kdir, unmount := kernelMount(t, mine, "index=on")
	check("the kernel shows something else over the overlay's layers", dump(t, hostDir(kdir), "nolinks"), wantNoLinks)
	unmount()
	check("the overlay shows something else over the kernel's layers", dump(t, view{open(t, theirs)}), want)
}

// TestNested has kernel overlayfs as the lower layer.
func TestNested(t *testing.T) {
	if os.Geteuid() != 0 {
		vfstest.Skip(t, vfstest.KernelOverlay)
	}
	below, theirs := layers(t, 1), layers(t, 1)
	for _, dir := range []string{below.Lower[0], theirs.Lower[0]} {
		seedTree(t, rand.New(rand.NewPCG(3, 3)), dir, false)
	}
	mnt, _ := kernelMount(t, below)
	s := hostDir(mnt) // something of each of its layers
	for _, d := range []hostDir{s, hostDir(theirs.Lower[0])} {
		for _, p := range []string{"new", "new/sub"} {
			if err := d.mkdir(p, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := d.setattr(p, vfs.SetAttr{Valid: vfs.SetMtime | vfs.SetAtime, Mtime: vfs.Timespec{Sec: 5}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	mine := layers(t, 0)
	mine.Lower = []string{mnt}
	differential(t, 5, 200, mine, theirs)
}
