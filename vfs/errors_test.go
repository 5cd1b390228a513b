package vfs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/astridfs/astridfs/vfs"
)

func TestErrno(t *testing.T) {
	for _, c := range []struct {
		err  error
		want syscall.Errno
	}{
		{nil, 0},
		{syscall.ENOENT, syscall.ENOENT},
		{fmt.Errorf("deep: %w", fmt.Errorf("deeper: %w", syscall.EXDEV)), syscall.EXDEV},
		{&os.PathError{Op: "open", Path: "x", Err: syscall.EMFILE}, syscall.EMFILE},
		{errors.Join(errors.New("first"), syscall.ENOSPC), syscall.ENOSPC},
		{vfs.ErrCapability, syscall.EACCES},
		{vfs.ErrEscape, syscall.EACCES},
		{fmt.Errorf("at /x: %w", vfs.ErrHidden), syscall.EACCES},
		{&vfs.WalkError{Path: "x", Err: vfs.ErrEscape}, syscall.EACCES},
		{&vfs.WalkError{Path: "x", Err: syscall.ELOOP}, syscall.ELOOP},
		{context.Canceled, syscall.EINTR},
		{fmt.Errorf("waiting: %w", context.DeadlineExceeded), syscall.EINTR},
		{errors.New("something"), syscall.EIO},
	} {
		if got := vfs.Errno(c.err); got != c.want {
			t.Errorf("Errno(%v) is %v, want %v", c.err, got, c.want)
		}
	}
	kinds := []error{vfs.ErrCapability, vfs.ErrEscape, vfs.ErrHidden}
	for i, a := range kinds {
		for k, b := range kinds {
			if errors.Is(fmt.Errorf("x: %w", a), b) != (i == k) {
				t.Errorf("%v is taken for %v", a, b)
			}
		}
		if !errors.Is(a, syscall.EACCES) || errors.Is(syscall.EACCES, a) {
			t.Errorf("%v does not go with EACCES", a)
		}
	}
}

func TestCheckName(t *testing.T) {
	for name, want := range map[string]syscall.Errno{
		"a": 0, "...": 0, " ": 0, "\xff": 0, strings.Repeat("n", 255): 0, "a\\b": 0,
		"": syscall.EINVAL, ".": syscall.EINVAL, "..": syscall.EINVAL, "a/b": syscall.EINVAL, "a\x00": syscall.EINVAL,
		strings.Repeat("n", 256): syscall.ENAMETOOLONG,
	} {
		if got := vfs.Errno(vfs.CheckName(name)); got != want {
			t.Errorf("CheckName(%.20q) is %v, want %v", name, got, want)
		}
	}
}

func TestTimespec(t *testing.T) {
	for _, ts := range []vfs.Timespec{{}, {Sec: 1, Nsec: 999_999_999}, {Sec: -1, Nsec: 1}, {Sec: 1 << 33}, {Sec: -1 << 33, Nsec: 5}} {
		if got := vfs.TimespecOf(ts.Time()); got != ts {
			t.Errorf("%v becomes %v", ts, got)
		}
	}
	if ts := vfs.TimespecOf(time.Unix(0, -1)); ts != (vfs.Timespec{Sec: -1, Nsec: 999_999_999}) {
		t.Errorf("a nanosecond before the epoch is %v", ts)
	}
}

func TestCaller(t *testing.T) {
	ctx := context.Background()
	if c := vfs.CallerFrom(ctx); c.UID != uint32(os.Geteuid()) || c.GID != uint32(os.Getegid()) || c.Origin != nil {
		t.Errorf("without a caller: %+v", c)
	}
	want := &vfs.Caller{UID: 7, Capsule: "x"}
	if c := vfs.CallerFrom(vfs.WithCaller(ctx, want)); c != want {
		t.Errorf("got %+v", c)
	}
	if c := vfs.CallerFrom(context.WithValue(ctx, vfs.CallerKey(), want)); c != want {
		t.Errorf("by the key: %+v", c)
	}
}
