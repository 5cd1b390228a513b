package fsapi_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/astridfs/astridfs/capsulehost/fsapi"
	"github.com/astridfs/astridfs/vfs"
)

// Every errno has its case, and only those that are named have another than
// unknown.
func TestCodeOfErrno(t *testing.T) {
	want := map[syscall.Errno]fsapi.Code{
		syscall.ENOENT: fsapi.NotFound,
		syscall.EACCES: fsapi.Access, syscall.EPERM: fsapi.Access, syscall.EROFS: fsapi.Access,
		syscall.EISDIR: fsapi.IsDirectory, syscall.ENOTDIR: fsapi.NotDirectory,
		syscall.ENOTEMPTY: fsapi.NotEmpty, syscall.EEXIST: fsapi.AlreadyExists,
		syscall.EXDEV: fsapi.CrossVFS, syscall.EFBIG: fsapi.TooLarge,
		syscall.EMFILE: fsapi.Quota, syscall.ENFILE: fsapi.Quota, syscall.ENOSPC: fsapi.Quota, syscall.EDQUOT: fsapi.Quota,
		syscall.EINVAL: fsapi.InvalidPath, syscall.ENAMETOOLONG: fsapi.InvalidPath,
		syscall.EILSEQ: fsapi.InvalidPath, syscall.ELOOP: fsapi.InvalidPath,
		syscall.EAGAIN: fsapi.WouldBlock, syscall.EBADF: fsapi.Closed,
	}
	leaks := regexp.MustCompile(`[/\\]|0x|[0-9a-f]{8}-|:\d`)
	for errno := syscall.Errno(1); errno < 5000; errno++ {
		code, text := fsapi.CodeOf(fmt.Errorf("of /host/path: %w", errno))
		expected, named := want[errno]
		if !named {
			expected = fsapi.Unknown
		}
		if code != expected || (text != "") != (code == fsapi.Unknown) {
			t.Errorf("%d: %v %q, want %v", errno, code, text, expected)
		}
		if leaks.MatchString(strings.NewReplacer("input/output", "", "I/O", "").Replace(text)) {
			t.Errorf("%d: the text is %q", errno, text)
		}
	}
}

func TestCodeOfKinds(t *testing.T) {
	for _, c := range []struct {
		err  error
		code fsapi.Code
		text string
	}{
		{vfs.ErrCapability, fsapi.CapabilityDenied, ""},
		{vfs.ErrEscape, fsapi.BoundaryEscape, ""},
		{vfs.ErrHidden, fsapi.Access, ""},
		{&vfs.WalkError{Path: "a", Err: vfs.ErrEscape}, fsapi.BoundaryEscape, ""},
		{errors.Join(syscall.ENOSPC, syscall.EIO), fsapi.Quota, ""},
		{errors.New("open /secret/6ba7b810-9dad-11d1-80b4-00c04fd430c8 at 10.0.0.1"), fsapi.Unknown, "input/output error"},
		{context.Canceled, fsapi.Unknown, "interrupted system call"},
		{syscall.Errno(0), fsapi.Unknown, "unknown error"},
	} {
		if code, text := fsapi.CodeOf(c.err); code != c.code || text != c.text {
			t.Errorf("%v: %v %q", c.err, code, text)
		}
	}
	names := "not-found access capability-denied boundary-escape invalid-path would-block is-directory not-directory " +
		"not-empty too-large quota cross-vfs already-exists closed unknown"
	for i, name := range strings.Fields(names) {
		if got := fsapi.Code(i).String(); got != name {
			t.Errorf("case %d is %q", i, got)
		}
	}
}
