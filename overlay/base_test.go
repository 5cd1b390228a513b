package overlay

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

func openTestBase(t *testing.T, dir string) *baseLog {
	t.Helper()
	l, err := tryOpenBase(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.close() })
	return l
}

func tryOpenBase(t *testing.T, dir string) (*baseLog, error) {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	return openBase(fd, 0, at.Ident{Dev: 7, Ino: 2})
}

func baseMap(t *testing.T, l *baseLog) map[string]fingerprint {
	t.Helper()
	tree, err := l.load()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]fingerprint{}
	if err := tree.each(func(path string, p *fingerprint) error { out[path] = *p; return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

// checkSizes has the log record the files want, by path, with these sizes.
func (l *baseLog) checkSizes(t *testing.T, want map[string]int64) {
	t.Helper()
	got := map[string]int64{}
	for path, p := range baseMap(t, l) {
		got[path] = p.size
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func sizedAttr(n int64) vfs.Attr {
	return vfs.Attr{Mode: unix.S_IFREG | 0o644, UID: 1, GID: 2, Size: n, Mtime: vfs.Timespec{Sec: -5, Nsec: 6}, Ctime: vfs.Timespec{Sec: 7, Nsec: 8}}
}

func (l *baseLog) mustRecord(t *testing.T, path string, size int64) {
	t.Helper()
	if err := l.record(0, path, sizedAttr(size), at.Ident{Dev: 7, Ino: 9}); err != nil {
		t.Fatal(err)
	}
}

func TestBaseRecords(t *testing.T) {
	dir := t.TempDir()
	l := openTestBase(t, dir)
	odd := "d/\n\xff\x01 x"
	l.mustRecord(t, odd, 1)
	l.mustRecord(t, odd, 2) // the first counts
	l.mustRecord(t, "d", 3)
	l.mustRecord(t, "d/e/f", 4)
	l.mustRecord(t, "", 5)
	if err := l.record(1, "other layer", sizedAttr(1), at.Ident{}); err != nil {
		t.Fatal(err)
	}
	if err := l.record(0, "elsewhere", sizedAttr(6), at.Ident{Dev: 8, Ino: 9}); err != nil {
		t.Fatal(err)
	}
	l.checkSizes(t, map[string]int64{odd: 1, "d": 3, "d/e/f": 4, "": 5, "elsewhere": 6})
	m := baseMap(t, l)
	a := sizedAttr(1)
	if want := (fingerprint{mode: a.Mode, uid: 1, gid: 2, size: 1, mtime: a.Mtime, ctime: a.Ctime, ino: 9}); m[odd] != want {
		t.Errorf("got %+v, want %+v", m[odd], want)
	}
	if m["elsewhere"].dev != 8 {
		t.Errorf("got %+v", m["elsewhere"])
	}

	l.close()
	l = openTestBase(t, dir)
	for _, f := range []func() error{
		func() error { return l.clear("d", false) },
		func() error { return l.move("d", "n/m") },
		func() error { return l.clear("n/m/e", true) },
		func() error { return l.clear("never", true) },
		func() error { return l.move("never/x", "y") },
	} {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
	l.checkSizes(t, map[string]int64{"n/m" + odd[1:]: 1, "": 5, "elsewhere": 6})
	b := sizedAttr(99)
	if err := l.set("elsewhere", &b, at.Ident{Dev: 7, Ino: 1}); err != nil {
		t.Fatal(err)
	}
	l.mustRecord(t, "d/e", 10)
	l.checkSizes(t, map[string]int64{"n/m" + odd[1:]: 1, "": 5, "elsewhere": 99, "d/e": 10})
	if err := l.record(0, strings.Repeat("x/", baseMaxPath), sizedAttr(0), at.Ident{}); err != syscall.ENAMETOOLONG {
		t.Errorf("got %v", err)
	}
}

// TestBaseTorn cuts a log at every byte: what was whole is kept, and what is
// appended afterwards too.
func TestBaseTorn(t *testing.T) {
	dir := t.TempDir()
	l := openTestBase(t, dir)
	ends := []int64{l.size}
	for i := range 4 {
		l.mustRecord(t, fmt.Sprint(i, "\n"), int64(i))
		ends = append(ends, l.size)
	}
	whole, err := os.ReadFile(filepath.Join(dir, baseName))
	if err != nil {
		t.Fatal(err)
	}
	d := t.TempDir()
	for n := range len(whole) + 1 {
		for _, tail := range []string{"", "\x00\x00\x00", strings.Repeat("\x00", 200)} {
			if err := os.Remove(filepath.Join(d, baseName)); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(d, baseName), append(whole[:n:n], tail...), 0o600); err != nil {
				t.Fatal(err)
			}
			l, err := tryOpenBase(t, d)
			if err != nil {
				// Zeros within a record that was whole are damage, and so is
				// a log whose first bytes are wrong.
				if tail != "" {
					continue
				}
				t.Fatalf("cut at %d: %v", n, err)
			}
			want := 0
			for want+1 < len(ends) && ends[want+1] <= int64(n) {
				want++
			}
			if got := len(baseMap(t, l)); got != want {
				t.Fatalf("cut at %d: %d records, want %d", n, got, want)
			}
			l.mustRecord(t, "after", 1)
			l.close()
			l = openTestBase(t, d)
			if got := len(baseMap(t, l)); got != want+1 {
				t.Fatalf("cut at %d: %d records after one more, want %d", n, got, want+1)
			}
			l.close()
		}
	}
}

func TestBaseDamage(t *testing.T) {
	dir := t.TempDir()
	l := openTestBase(t, dir)
	first := l.size
	l.mustRecord(t, "a", 1)
	l.mustRecord(t, "b", 1)
	path := filepath.Join(dir, baseName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, off := range []int64{0, first, first + 4, first + 8, first + baseHeaderLen, first + baseHeaderLen + 30} {
		bad := bytes.Clone(whole)
		bad[off] ^= 0x40
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := tryOpenBase(t, dir); !errors.Is(err, errBaseDamaged) {
			t.Errorf("byte %d: %v", off, err)
		}
	}
}

func TestBaseCompacts(t *testing.T) {
	dir := t.TempDir()
	l := openTestBase(t, dir)
	for i := range 2000 {
		l.mustRecord(t, fmt.Sprint("dir/", i%10), int64(i))
	}
	l.mustRecord(t, strings.Repeat("long/", 20_000)+"x", 1) // more than a buffer
	before := l.size
	want := baseMap(t, l)
	l.close()
	l = openTestBase(t, dir)
	if l.size >= before {
		t.Errorf("%d bytes, before %d", l.size, before)
	}
	if got := baseMap(t, l); !reflect.DeepEqual(got, want) {
		t.Error("compaction changed what is recorded")
	}
	l.mustRecord(t, "more", 1)
	l.close()
	l = openTestBase(t, dir)
	if got := baseMap(t, l); len(got) != len(want)+1 {
		t.Errorf("%d records", len(got))
	}
}

func TestBaseConcurrent(t *testing.T) {
	l := openTestBase(t, t.TempDir())
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range 200 {
				if err := l.record(0, fmt.Sprint(w, "/", i), sizedAttr(1), at.Ident{}); err != nil {
					t.Error(err)
				}
				if i%50 == 0 {
					if _, err := l.load(); err != nil {
						t.Error(err)
					}
				}
			}
		}()
	}
	wg.Wait()
	if got := len(baseMap(t, l)); got != 1600 {
		t.Errorf("%d records", got)
	}
}

// TestBaseTouched: what is done to a file is one record for all its names, before
// and after which they may be recorded, and moved.
func TestBaseTouched(t *testing.T) {
	l := openTestBase(t, t.TempDir())
	print := func(size int64) fingerprint {
		a := sizedAttr(size)
		return l.printOf(&a, at.Ident{Dev: 7, Ino: 9})
	}
	touched := func(old, now int64) {
		t.Helper()
		if err := l.append(baseRecord{kind: baseTouched, print: print(old), now: print(now)}); err != nil {
			t.Fatal(err)
		}
	}
	for path, size := range map[string]int64{"a": 1, "d/b": 1, "d/c": 1, "other": 5} {
		l.mustRecord(t, path, size)
	}
	touched(1, 2)
	l.checkSizes(t, map[string]int64{"a": 2, "d/b": 2, "d/c": 2, "other": 5})
	l.mustRecord(t, "seen before", 1) // and told later
	l.mustRecord(t, "seen after", 3)  // and told before
	if err := l.move("d", "e"); err != nil {
		t.Fatal(err)
	}
	touched(2, 3)
	touched(7, 8) // nothing is known of it
	l.checkSizes(t, map[string]int64{"a": 3, "e/b": 3, "e/c": 3, "seen before": 3, "seen after": 3, "other": 5})
	if err := l.clear("a", false); err != nil {
		t.Fatal(err)
	}
	a := sizedAttr(6)
	if err := l.set("e/b", &a, at.Ident{Dev: 7, Ino: 9}); err != nil {
		t.Fatal(err)
	}
	touched(3, 4)
	want := map[string]int64{"e/b": 6, "e/c": 4, "seen before": 4, "seen after": 4, "other": 5}
	l.checkSizes(t, want)
	tree, err := l.load()
	if err != nil {
		t.Fatal(err)
	}
	// Who finds out in between finds the same.
	tree.index()
	for path, size := range want {
		if p := tree.get(path); p == nil || p.size != size {
			t.Errorf("%s: %+v", path, p)
		}
	}
}

// TestBaseFixture reads a log as version 1 wrote it: the format is a promise.
func TestBaseFixture(t *testing.T) {
	var b []byte
	b = append(b, baseMagic...)
	p := fingerprint{mode: unix.S_IFREG | 0o640, uid: 1000, gid: 1001, size: 1 << 40, mtime: vfs.Timespec{Sec: -1, Nsec: 999_999_999}, ctime: vfs.Timespec{Sec: 1 << 33, Nsec: 1}, ino: 1<<63 + 5, dev: 0x801}
	for _, r := range []baseRecord{
		{kind: baseFirst, path: "a/b", print: p},
		{kind: baseSet, path: "\xff", print: fingerprint{}},
		{kind: baseClear, path: "c"},
		{kind: baseClearTree, path: ""},
		{kind: baseMove, path: "x/y", to: "z"},
		{kind: baseMoving, path: "", to: "n/m", print: fingerprint{ino: 1<<63 + 1, dev: 2}},
		{kind: baseTemp, path: "d", to: "t\n"},
		{kind: baseDone},
		{kind: baseDrop, path: "f", print: p},
		{kind: baseTouching, print: p, now: fingerprint{mode: unix.S_IFREG | 0o600, ctime: vfs.Timespec{Sec: 1, Nsec: 2}}},
		{kind: baseTouched, print: fingerprint{ino: 3}, now: p},
		{kind: baseDeleting, path: "g/h"},
		{kind: baseBegun},
	} {
		b = appendBase(b, &r)
	}
	want, err := os.ReadFile("testdata/base-1.hex")
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.Dump(b); got != string(want) {
		t.Errorf("got\n%s", got)
	}
}

func FuzzBase(f *testing.F) {
	for _, r := range []baseRecord{
		{kind: baseFirst, path: "a/b", print: fingerprint{size: 5}},
		{kind: baseClearTree, path: ""},
		{kind: baseMove, path: "x/y", to: "x/y/z"},
		{kind: baseMoving, path: "x/y", to: "z", print: fingerprint{ino: 3}},
		{kind: baseTemp, path: "x/y", to: "z"},
		{kind: baseDone},
		{kind: baseTouched, print: fingerprint{ino: 3}, now: fingerprint{ino: 3, size: 1}},
	} {
		f.Add(appendBase(nil, &r))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		tree := &baseTree{}
		for rest := b; len(rest) > 0; {
			r, size, err := parseBase(rest, true)
			if err != nil {
				return
			}
			if size <= 0 || size > len(rest) {
				t.Fatalf("size %d of %d", size, len(rest))
			}
			if again := appendBase(nil, &r); !bytes.Equal(again, rest[:size]) {
				t.Fatalf("printed again it is %x, was %x", again, rest[:size])
			}
			tree.apply(&r)
			rest = rest[size:]
		}
	})
}
