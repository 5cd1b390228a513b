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
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestConcurrentAppend(t *testing.T) {
	dir := t.TempDir()
	l, err := Open(dir, Options{Session: "s", Rotate: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := range 200 {
				if err := l.Append(Record{Op: "stat", Path: fmt.Sprintf("workspace://%d/%d", g, i), Outcome: Allowed}, i%40 == 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := l.Flush(); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	rep, err := Verify(context.Background(), dir, l.PublicKey())
	if err != nil || rep.Records < 16*200 {
		t.Fatalf("%+v, %v", rep, err)
	}
}

// TestDurableIsOnDisk: when a durable Append returns, the record is in the file.
func TestDurableIsOnDisk(t *testing.T) {
	dir := t.TempDir()
	l, err := Open(dir, Options{Session: "s"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for i := range 20 {
		path := fmt.Sprintf("workspace://secret-%d", i)
		if err := l.Append(Record{Op: "open", Path: path, Outcome: Denied, Error: "EACCES"}, true); err != nil {
			t.Fatal(err)
		}
		names, err := files(dir)
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(dir, names[len(names)-1]))
		if err != nil || !bytes.Contains(data, []byte(`"`+path+`"`)) {
			t.Fatalf("%s is not in the file when Append returns (%v)", path, err)
		}
	}
}

// flushed opens a log, all of which is on the disk.
func flushed(t *testing.T) (dir string, l *Log) {
	t.Helper()
	dir = t.TempDir()
	l, err := Open(dir, Options{Session: "s"})
	if err == nil {
		err = l.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir, l
}

// use has the log write to another file than its own, and returns what it wrote to.
func (l *Log) use(f *os.File) *os.File {
	l.mu.Lock() // the writer waits for records and does not touch its file
	defer l.mu.Unlock()
	old := l.file
	l.file = f
	return old
}

// fillDisk has l find the disk full until room is called.
func fillDisk(t *testing.T, l *Log) (room func()) {
	t.Helper()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	own := l.use(full)
	t.Cleanup(func() {
		full.Close()
		own.Close()
	})
	return func() { l.use(own) }
}

// TestRoomAgain: a log for which there was no room goes on as soon as there is,
// with what was accepted before and without what was not.
func TestRoomAgain(t *testing.T) {
	dir, l := flushed(t)
	room := fillDisk(t, l)
	if err := l.Append(Record{Op: "open", Path: "workspace://accepted", Outcome: Allowed}, false); err != nil {
		t.Fatal(err)
	}
	if err := l.Flush(); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("Flush on a full disk: %v", err)
	}
	for range 3 {
		if err := l.Append(Record{Op: "open", Path: "workspace://refused", Outcome: Allowed}, false); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("Append on a full disk: %v", err)
		}
		if err := l.Err(); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("Err on a full disk: %v", err)
		}
	}
	room()
	if err := l.Err(); err != nil {
		t.Errorf("Err when there is room again: %v", err)
	}
	if err := l.Append(Record{Op: "open", Path: "workspace://later", Outcome: Denied}, true); err != nil {
		t.Errorf("Append when there is room again: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	rep, err := Verify(t.Context(), dir, l.PublicKey())
	if err != nil || rep.Records != 4 || rep.Torn != 0 { // start, two opens, a checkpoint
		t.Errorf("%+v, %v", rep, err)
	}
	_, lines := content(t, dir)
	text := string(bytes.Join(lines, nil))
	if !strings.Contains(text, "//accepted") || !strings.Contains(text, "//later") || strings.Contains(text, "//refused") {
		t.Errorf("the log holds\n%s", text)
	}
}

// TestNoRoomForCheckpoint has room end between what a checkpoint was due for and
// the checkpoint, which has its number by then: no number is missing afterwards.
func TestNoRoomForCheckpoint(t *testing.T) {
	dir := t.TempDir()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	var l *Log
	var own *os.File
	var asked atomic.Int32 // of the clock, since meanwhile is set
	var meanwhile atomic.Pointer[func()]
	now := func() time.Time {
		do := meanwhile.Load()
		if do == nil {
			return time.Unix(1, 0)
		}
		if asked.Add(1) == 2 { // first for the record's time, then by the writer
			(*do)()
		}
		return time.Unix(1000, 0)
	}
	if l, err = Open(dir, Options{Session: "s", Now: now}); err != nil {
		t.Fatal(err)
	}
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	add := func(what string) error {
		return l.Append(Record{Op: "open", Path: "workspace://" + what, Outcome: Allowed}, false)
	}
	late := make(chan error, 1)
	do := func() {
		late <- add("late")
		own = l.use(full)
	}
	meanwhile.Store(&do)
	if err := errors.Join(add("early"), <-late); err != nil {
		t.Fatal(err)
	}
	if err := l.Flush(); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("Flush on a full disk: %v", err)
	}
	l.use(own)
	if err := l.Err(); err != nil {
		t.Errorf("Err when there is room again: %v", err)
	}
	if err := errors.Join(add("last"), l.Close()); err != nil {
		t.Error(err)
	}
	if rep, err := Verify(t.Context(), dir, l.PublicKey()); err != nil || rep.Torn != 0 {
		t.Errorf("%+v, %v", rep, err)
	}
	_, lines := content(t, dir)
	for _, what := range []string{"early", "late", "last"} {
		if n := strings.Count(string(bytes.Join(lines, nil)), "//"+what); n != 1 {
			t.Errorf("%s is recorded %d times", what, n)
		}
	}
}

// TestUnwritableLogStopsEverything: while a record cannot be written, nothing
// is accepted.
func TestUnwritableLogStopsEverything(t *testing.T) {
	_, l := flushed(t)
	fillDisk(t, l)
	if err := l.Append(Record{Op: "open", Outcome: Denied}, true); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("durable Append on a full disk: %v", err)
	}
	if err := l.Append(Record{Op: "open", Outcome: Allowed}, false); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the next Append: %v", err)
	}
	if err := l.Close(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Close: %v", err)
	}
}
