package auditlog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func sample(t *testing.T) (string, *Log) {
	t.Helper()
	dir := t.TempDir()
	now := time.Unix(1000, 0)
	l, err := Open(dir, Options{Session: "s", Now: func() time.Time { now = now.Add(time.Second); return now }})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []Record{
		{Actor: Actor{Capsule: "lint", Principal: "ann"}, Op: "open", Path: "workspace://src/a.go", Outcome: Allowed},
		{Actor: Actor{Capsule: "lint", Principal: "ann"}, Op: "open", Path: "workspace://.env", Outcome: Denied, Error: "EACCES"},
		{Actor: Actor{UID: 7, PID: 9, Program: "vim"}, Op: "rename", Path: "workspace://src/b.go", To: "workspace://docs/b.go", Outcome: Allowed},
		{Actor: Actor{UID: 7, PID: 9, Program: "vim"}, Op: "unlink", Path: "workspace://src-old/x", Outcome: Failed, Error: "ENOENT"},
	} {
		if err := l.Append(r, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	return dir, l
}

func TestFilter(t *testing.T) {
	dir, l := sample(t)
	defer l.Close()
	var renamed time.Time
	if err := Read(context.Background(), dir, Filter{Ops: []string{"rename"}}, func(r Record) error { renamed = r.Time; return nil }); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		f    Filter
		want []string
	}{
		{"path and below", Filter{Path: "workspace://src"}, []string{"open workspace://src/a.go", "rename workspace://src/b.go"}},
		{"target of a rename", Filter{Path: "workspace://docs/"}, []string{"rename workspace://src/b.go"}},
		{"pattern", Filter{Path: "workspace://*/*.go"}, []string{"open workspace://src/a.go", "rename workspace://src/b.go"}},
		{"operation", Filter{Ops: []string{"unlink", "rename"}}, []string{"rename workspace://src/b.go", "unlink workspace://src-old/x"}},
		{"actor", Filter{Actor: "ann"}, []string{"open workspace://src/a.go", "open workspace://.env"}},
		{"program", Filter{Actor: "vim", Outcome: Failed}, []string{"unlink workspace://src-old/x"}},
		{"denied", Filter{Outcome: Denied}, []string{"open workspace://.env"}},
		{"time", Filter{Path: "workspace://", Since: renamed, Until: renamed.Add(1)}, []string{"rename workspace://src/b.go"}},
	} {
		if err := c.f.Validate(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		var got []string
		if err := Read(context.Background(), dir, c.f, func(r Record) error { got = append(got, r.Op+" "+r.Path); return nil }); err != nil {
			t.Fatal(err)
		}
		if len(got) != len(c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%s: %q, want %q", c.name, got, c.want)
			}
		}
	}
	for _, f := range []Filter{{Path: "a[", Ops: nil}, {Outcome: "maybe"}} {
		if f.Validate() == nil {
			t.Errorf("%+v is accepted", f)
		}
	}
}

func TestFollowSeesWhatComes(t *testing.T) {
	dir, l := sample(t)
	defer l.Close()
	rep, err := Verify(context.Background(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	seen := make(chan Record, 10)
	done := make(chan error, 1)
	go func() {
		done <- Follow(ctx, dir, Filter{Ops: []string{"mkdir"}}, rep.Records, func(r Record) error { seen <- r; return nil })
	}()
	for _, p := range []string{"workspace://one", "workspace://two"} {
		if err := l.Append(Record{Op: "mkdir", Path: p, Outcome: Allowed}, true); err != nil {
			t.Fatal(err)
		}
		select {
		case r := <-seen:
			if r.Path != p {
				t.Errorf("followed %q, want %q", r.Path, p)
			}
		case err := <-done:
			t.Fatalf("following ends before %q: %v", p, err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestFollowAcrossFiles follows a log whose files are short, and is told all of
// it once; and then of what is done to it.
func TestFollowAcrossFiles(t *testing.T) {
	for name, c := range map[string]struct {
		rotate int64
		tamper func(last string) error
		kind   Damage
	}{
		"cut": {0, func(last string) error { return os.Truncate(last, 1) }, Truncated},
		"gap": {2000, func(last string) error {
			return os.WriteFile(filepath.Join(filepath.Dir(last), fileName(1<<40)), lineOf(1<<40), 0o600)
		}, Missing},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l, err := Open(dir, Options{Session: "s", Rotate: c.rotate})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			const n = 200
			seen := make(chan uint64, n)
			done := make(chan error, 1)
			go func() {
				done <- Follow(ctx, dir, Filter{Ops: []string{"mkdir"}}, 0, func(r Record) error { seen <- r.Written; return nil })
			}()
			for i := range uint64(n) {
				if err := l.Append(Record{Op: "mkdir", Written: i + 1, Outcome: Allowed}, false); err != nil {
					t.Fatal(err)
				}
				if i%20 == 0 {
					time.Sleep(groupDelay) // so that there are several groups
				}
			}
			for i := range uint64(n) {
				select {
				case got := <-seen:
					if got != i+1 {
						t.Fatalf("record %d is told as number %d", got, i+1)
					}
				case err := <-done:
					t.Fatalf("it ends before record %d: %v", i+1, err)
				}
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			names, err := files(dir)
			if err != nil || len(names) < 2 && c.rotate != 0 {
				t.Fatalf("files %v, %v", names, err)
			}
			if err := c.tamper(filepath.Join(dir, names[len(names)-1])); err != nil {
				t.Fatal(err)
			}
			var broken *BrokenError
			if err := <-done; !errors.As(err, &broken) || broken.Kind != c.kind || broken.Seq == 0 {
				t.Errorf("it ends with %v", err)
			}
		})
	}
}

// lineOf is a whole record with a number.
func lineOf(seq uint64) []byte {
	r := Record{Seq: seq, Session: "s", Op: "mkdir", Outcome: Allowed}
	b, _ := r.appendLine(nil)
	return b
}

func TestTail(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 300, 4000)
	ctx := context.Background()
	var all, denied []uint64
	err := Read(ctx, dir, Filter{}, func(r Record) error {
		all = append(all, r.Seq)
		if r.Outcome == Denied {
			denied = append(denied, r.Seq)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, 10, 100, 10000, math.MaxInt} {
		for _, c := range []struct {
			filter Filter
			want   []uint64
		}{{Filter{}, all}, {Filter{Outcome: Denied}, denied}, {Filter{Actor: "nobody"}, nil}} {
			list, last, err := Tail(ctx, dir, c.filter, n)
			var got []uint64
			for _, r := range list {
				got = append(got, r.Seq)
			}
			if want := c.want[max(len(c.want)-n, 0):]; err != nil || !slices.Equal(got, want) || last != all[len(all)-1] {
				t.Errorf("the last %d of %+v: %v of %d, %v; want %v", n, c.filter, got, last, err, want)
			}
		}
	}
}

func TestExports(t *testing.T) {
	dir, l := sample(t)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := WriteJSONL(context.Background(), dir, Filter{}, &out); err != nil {
		t.Fatal(err)
	}
	names, err := files(dir)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, names[0]))
	if err != nil || !bytes.Equal(raw, out.Bytes()) {
		t.Errorf("the export differs from the log (%v)", err)
	}
	out.Reset()
	if err := WriteOTel(context.Background(), dir, Filter{Outcome: Denied}, &out); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		ResourceLogs []struct {
			ScopeLogs []struct {
				LogRecords []struct {
					TimeUnixNano   string
					SeverityNumber int
					Body           struct{ StringValue string }
					Attributes     []struct {
						Key   string
						Value struct{ StringValue string }
					}
				}
			}
		}
	}
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	rec := doc.ResourceLogs[0].ScopeLogs[0].LogRecords
	if len(rec) != 1 || rec[0].SeverityNumber != 13 || rec[0].TimeUnixNano == "" || rec[0].Body.StringValue != "open workspace://.env" {
		t.Fatalf("%s", out.Bytes())
	}
	got := map[string]string{}
	for _, a := range rec[0].Attributes {
		got[a.Key] = a.Value.StringValue
	}
	if got["file.path"] != "workspace://.env" || got["user.id"] != "0" {
		t.Errorf("no path or user in %s", out.Bytes())
	}
}
