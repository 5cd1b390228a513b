package auditlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// fill makes a log of n records in dir and closes it.
func fill(t testing.TB, dir string, n int, rotate int64) {
	t.Helper()
	l, err := Open(dir, Options{Session: "s", Rotate: rotate})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		r := Record{Actor: Actor{Capsule: "c", Principal: "p"}, Op: "open", Path: fmt.Sprintf("workspace://dir/%d \xff%%\"", i), Outcome: Allowed}
		if i%7 == 0 {
			r.Outcome, r.Error = Denied, "EACCES"
		}
		if err := l.Append(r, i%50 == 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestWholeLogVerifies(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 500, 20<<10)
	fill(t, dir, 300, 20<<10) // opened again: the chain goes on
	rep, err := Verify(context.Background(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if rep.Files < 3 || rep.Checkpoints < 2 || rep.Records < 802 || rep.Signed != rep.Records-1 || rep.Torn != 0 {
		t.Errorf("report %+v", rep)
	}
	if _, err := Verify(context.Background(), dir, rep.Key); err != nil {
		t.Error(err)
	}
	if st, err := os.Stat(filepath.Join(dir, keyFile)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", st.Mode(), err)
	}
}

// content returns all lines of a log made by fill with one file.
func content(t *testing.T, dir string) (path string, lines [][]byte) {
	t.Helper()
	names, err := files(dir)
	if err != nil || len(names) != 1 {
		t.Fatalf("%v, %v", names, err)
	}
	path = filepath.Join(dir, names[0])
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, bytes.SplitAfter(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
}

func TestTamperingIsFound(t *testing.T) {
	const at = 40 // index of the line that is tampered with: record 41
	for _, c := range []struct {
		name   string
		tamper func(t *testing.T, dir string, lines [][]byte) [][]byte
		seq    uint64
		kind   Damage
	}{
		{"changed", func(_ *testing.T, _ string, l [][]byte) [][]byte {
			l[at] = bytes.Replace(l[at], []byte("dir"), []byte("djr"), 1)
			return l
		}, at + 1, Changed},
		{"changed with its hash", func(t *testing.T, _ string, l [][]byte) [][]byte {
			r, err := ParseRecord(l[at])
			if err != nil {
				t.Fatal(err)
			}
			r.Path = "workspace://innocent"
			l[at], _ = r.appendLine(nil)
			return l
		}, at + 2, Changed},
		{"missing", func(_ *testing.T, _ string, l [][]byte) [][]byte { return append(l[:at:at], l[at+1:]...) }, at + 1, Missing},
		{"doubled", func(_ *testing.T, _ string, l [][]byte) [][]byte {
			return append(l[:at+1:at+1], l[at:]...)
		}, at + 2, Reordered},
		{"swapped", func(_ *testing.T, _ string, l [][]byte) [][]byte { l[at], l[at+1] = l[at+1], l[at]; return l }, at + 1, Reordered},
		{"end cut off", func(_ *testing.T, _ string, l [][]byte) [][]byte { return l[:at] }, at + 1, Truncated},
		{"emptied", func(_ *testing.T, _ string, _ [][]byte) [][]byte { return nil }, 1, Truncated},
		{"foreign", func(t *testing.T, _ string, l [][]byte) [][]byte {
			other := t.TempDir()
			fill(t, other, 100, 0)
			_, lines := content(t, other)
			return lines
		}, 1, Foreign},
		{"garbage", func(_ *testing.T, _ string, l [][]byte) [][]byte { l[at] = []byte("garbage\n"); return l }, at + 1, Changed},
		{"not canonical", func(_ *testing.T, _ string, l [][]byte) [][]byte {
			l[at] = append([]byte(" "), l[at]...)
			return l
		}, at + 1, Changed},
		{"head taken away", func(t *testing.T, dir string, l [][]byte) [][]byte {
			if err := os.Remove(filepath.Join(dir, headFile)); err != nil {
				t.Fatal(err)
			}
			return l[:at]
		}, at + 1, Truncated},
		{"of another session", func(t *testing.T, dir string, l [][]byte) [][]byte {
			r, err := ParseRecord(l[at])
			if err != nil {
				t.Fatal(err)
			}
			r.Session = "other"
			l[at], _ = r.appendLine(nil)
			return l
		}, at + 1, Foreign},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			fill(t, dir, 100, 0)
			rep, err := Verify(context.Background(), dir, nil)
			if err != nil {
				t.Fatal(err)
			}
			path, lines := content(t, dir)
			if err := os.WriteFile(path, bytes.Join(c.tamper(t, dir, lines), nil), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err = Verify(context.Background(), dir, rep.Key)
			var broken *BrokenError
			if !errors.As(err, &broken) || broken.Seq != c.seq || broken.Kind != c.kind {
				t.Errorf("Verify: %v; want record %d, %s", err, c.seq, c.kind)
			}
		})
	}
}

// TestCutAtEveryByte: whatever a crash leaves of the last records, the log
// opens again with every whole record, and goes on.
func TestCutAtEveryByte(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 2, 0)
	path, lines := content(t, dir)
	key, err := os.ReadFile(filepath.Join(dir, keyFile))
	if err != nil {
		t.Fatal(err)
	}
	priv, err := ReadKey(filepath.Join(dir, keyFile))
	if err != nil {
		t.Fatal(err)
	}
	whole := bytes.Join(lines, nil)
	// recover has the log end at cut, and tells what is wrong after it was opened.
	recover := func(at string, cut int) error {
		// The head is the one that is made before the first record.
		if err := errors.Join(os.Mkdir(at, 0o700), writeHead(filepath.Join(at, headFile), head{}, priv),
			os.WriteFile(filepath.Join(at, keyFile), key, 0o600),
			os.WriteFile(filepath.Join(at, filepath.Base(path)), whole[:cut], 0o600)); err != nil {
			return err
		}
		kept := bytes.Count(whole[:cut], []byte("\n"))
		rep, err := Verify(t.Context(), at, nil)
		if err != nil || rep.Records != uint64(kept) {
			return fmt.Errorf("before opening: %+v, %w", rep, err)
		}
		l, err := Open(at, Options{Session: "s"})
		if err != nil {
			return err
		}
		if err := l.Close(); err != nil {
			return err
		}
		rep, err = Verify(t.Context(), at, nil)
		if err != nil || rep.Records != uint64(kept)+2 || rep.Torn != 0 {
			return fmt.Errorf("after opening: %+v, %w; kept %d", rep, err, kept)
		}
		return os.RemoveAll(at)
	}
	base := t.TempDir()
	var wg sync.WaitGroup
	for worker := range 16 { // most of the time is waiting for the disk
		wg.Go(func() {
			for cut := worker; cut <= len(whole); cut += 16 {
				if err := recover(filepath.Join(base, fmt.Sprint(cut)), cut); err != nil {
					t.Errorf("cut at %d: %v", cut, err)
				}
			}
		})
	}
	wg.Wait()
}

// TestCutBehindHead: a log that ends before what was signed is refused.
func TestCutBehindHead(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 20, 0)
	path, lines := content(t, dir)
	if err := os.WriteFile(path, bytes.Join(lines[:10], nil), 0o600); err != nil {
		t.Fatal(err)
	}
	var broken *BrokenError
	if _, err := Open(dir, Options{Session: "s"}); !errors.As(err, &broken) || broken.Seq != 11 {
		t.Errorf("Open: %v", err)
	}
}

// TestTamperedWhileOpen: what is done to the file of an open log is noticed by
// the next record that is made durable, which nothing goes on after.
func TestTamperedWhileOpen(t *testing.T) {
	for name, c := range map[string]struct {
		tamper func(path string) error
		kind   Damage
	}{
		"removed":  {os.Remove, Truncated},
		"renamed":  {func(path string) error { return os.Rename(path, path+".old") }, Truncated},
		"replaced": {func(path string) error { return errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o600)) }, Truncated},
		"cut":      {func(path string) error { return os.Truncate(path, 10) }, Truncated},
		"longer": {func(path string) error {
			st, err := os.Stat(path)
			return errors.Join(err, os.Truncate(path, st.Size()+1))
		}, Changed},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l, err := Open(dir, Options{Session: "s"})
			if err != nil {
				t.Fatal(err)
			}
			r := Record{Op: "open", Outcome: Denied}
			if err := l.Append(r, true); err != nil {
				t.Fatal(err)
			}
			if err := c.tamper(filepath.Join(dir, fileName(1))); err != nil {
				t.Fatal(err)
			}
			var broken *BrokenError
			if err := l.Append(r, true); !errors.As(err, &broken) || broken.Kind != c.kind || broken.Seq != 1 {
				t.Errorf("a durable record: %v", err)
			}
			if err := l.Append(r, false); !errors.As(err, &broken) || !errors.As(l.Err(), &broken) {
				t.Errorf("the next one: %v", err)
			}
			if err := l.Close(); !errors.As(err, &broken) {
				t.Errorf("closing it: %v", err)
			}
		})
		// Where nothing is refused, the next checkpoint notices it.
		t.Run(name+", at a checkpoint", func(t *testing.T) {
			dir, l := flushed(t)
			if err := c.tamper(filepath.Join(dir, fileName(1))); err != nil {
				t.Fatal(err)
			}
			var broken *BrokenError
			if err := l.Append(Record{Op: "open", Outcome: Allowed}, false); err != nil {
				t.Error(err)
			}
			if err := l.Close(); !errors.As(err, &broken) || broken.Kind != c.kind {
				t.Errorf("closing it: %v", err)
			}
		})
	}
}

func TestKeyReadableByOthersIsRefused(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 1, 0)
	path := filepath.Join(dir, keyFile)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{Session: "s"}); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("Open: %v", err)
	}
}

func FuzzParseRecord(f *testing.F) {
	r := Record{Seq: 3, Time: time.Unix(1, 2), Session: "s", Actor: Actor{UID: 1, PID: 2, Program: "p"}, Op: "rename", Path: "a\xff%", To: "b\n", Written: 7, Outcome: Failed, Error: "ENOENT"}
	line, _ := r.appendLine(nil)
	f.Add(line)
	r.To, r.Actor.Capsule, r.Outcome, r.Key, r.Signature = "", "c", Allowed, "k", "s"
	line, _ = r.appendLine(nil)
	f.Add(line)
	f.Add([]byte(`{"v":1}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := ParseRecord(line)
		if err != nil {
			return
		}
		var fast Record
		if parseFast(bytes.TrimSuffix(line, []byte("\n")), &fast) && fast != r {
			t.Fatalf("%q read fast is %+v, and %+v", line, fast, r)
		}
		again, h := r.appendLine(nil)
		if !bytes.Equal(bytes.TrimSuffix(again, []byte("\n")), bytes.TrimSuffix(line, []byte("\n"))) || h != r.Hash {
			t.Fatalf("%q prints as %q", line, again)
		}
	})
}

func FuzzEscapePath(f *testing.F) {
	f.Add("a%b\xff\u00e9\n")
	f.Fuzz(func(t *testing.T, s string) {
		e := EscapePath(s)
		got, err := UnescapePath(e)
		if err != nil || got != s {
			t.Fatalf("%q -> %q -> %q, %v", s, e, got, err)
		}
		if strings.ContainsFunc(e, func(r rune) bool { return r < 0x20 || r == 0xfffd && !strings.ContainsRune(s, 0xfffd) }) {
			t.Fatalf("%q holds what should be escaped", e)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	l, err := Open(b.TempDir(), Options{Session: "s"})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Append(Record{Actor: Actor{Capsule: "c"}, Op: "stat", Path: "workspace://src/main.go", Outcome: Allowed}, false); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVerify verifies a log of a million records.
func BenchmarkVerify(b *testing.B) {
	const records = 1_000_000
	dir := b.TempDir()
	l, err := Open(dir, Options{Session: "s"})
	if err != nil {
		b.Fatal(err)
	}
	for i := range records {
		if err := l.Append(Record{Actor: Actor{UID: 1000, PID: 4711, Program: "cc1"}, Op: "open", Path: fmt.Sprintf("workspace://src/dir/file%d.go", i), Flags: "read", Outcome: Allowed}, false); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		rep, err := Verify(b.Context(), dir, nil)
		if err != nil || rep.Records < records {
			b.Fatal(rep, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Seconds())/float64(b.N), "s/million")
}
