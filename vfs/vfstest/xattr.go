package vfstest

import (
	"fmt"
	"sort"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

// xattr returns the value of an attribute that has to be there.
func (e *env) xattr(n vfs.NodeID, name string) string {
	e.Helper()
	size, err := e.fs.GetXattr(e.ctx, n, name, nil)
	e.ok(err)
	buf := make([]byte, size+1)
	got, err := e.fs.GetXattr(e.ctx, n, name, buf)
	e.ok(err)
	if got != size {
		e.Fatalf("%s has %d bytes, then %d", name, size, got)
	}
	return string(buf[:got])
}

// xattrs returns the names of the user attributes, sorted.
func (e *env) xattrs(n vfs.NodeID) []string {
	e.Helper()
	size, err := e.fs.ListXattr(e.ctx, n, nil)
	e.ok(err)
	buf := make([]byte, size)
	if size > 0 { // an empty dest would only ask for the length
		size, err = e.fs.ListXattr(e.ctx, n, buf)
		e.ok(err)
	}
	var names []string
	for name := range strings.SplitSeq(string(buf[:size]), "\x00") {
		if strings.HasPrefix(name, "user.") {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

func xattrCases() []testCase {
	return []testCase{
		{"Xattr", Tree{file("f", "x"), dir("d")}, func(e *env) {
			for _, path := range []string{"f", "d"} {
				n := e.at(path).Node
				if e.lacks(UserXattrs) {
					e.want(e.fs.SetXattr(e.ctx, n, "user.a", []byte("1"), 0), syscall.EOPNOTSUPP)
					continue
				}
				xattrOf(e, n)
			}
		}},
		{"Xattr/Kept", Tree{file("f", "0123")}, func(e *env) {
			if e.lacks(UserXattrs) {
				return // Xattr has checked what is promised then
			}
			f := e.at("f").Node
			e.ok(e.fs.SetXattr(e.ctx, f, "user.a", []byte("1"), 0))
			e.writeAt(e.open(f, unix.O_RDWR), "x", 0)
			e.ok(e.fs.Rename(e.ctx, vfs.RootID, "f", vfs.RootID, "g", 0))
			e.setAttr(f, nil, vfs.SetAttr{Valid: vfs.SetMode, Mode: 0600})
			if v := e.xattr(e.at("g").Node, "user.a"); v != "1" {
				e.Errorf("the value is %q", v)
			}
			e.ok(e.fs.Unlink(e.ctx, vfs.RootID, "g"))
			e.ok(e.fs.SetXattr(e.ctx, f, "user.b", []byte("2"), 0))
			if got := e.xattrs(f); fmt.Sprint(got) != "[user.a user.b]" {
				e.Errorf("listed %v", got)
			}
		}},
		{"Xattr/OtherTypes", Tree{symlink("s", "f"), file("f", "x"), {Path: "p", Mode: unix.S_IFIFO | 0600}}, func(e *env) {
			// The kernel keeps user attributes to files and directories.
			for _, path := range []string{"s", "p"} {
				n := e.at(path).Node
				e.want(e.fs.SetXattr(e.ctx, n, "user.a", []byte("1"), 0), syscall.EPERM, syscall.EOPNOTSUPP)
				_, err := e.fs.GetXattr(e.ctx, n, "user.a", nil)
				e.want(err, syscall.EPERM, syscall.ENODATA, syscall.EOPNOTSUPP)
				if got := e.xattrs(n); len(got) != 0 {
					e.Errorf("%s lists %v", path, got)
				}
			}
			if e.lacks(UserXattrs) {
				return
			}
			if got := e.xattrs(e.at("f").Node); len(got) != 0 {
				e.Errorf("the link's target has %v", got)
			}
		}},
		{"Xattr/Before", Tree{{Path: "f", Data: "x", Xattrs: map[string]string{"user.a": "1", "user.b": ""}}}, func(e *env) {
			f := e.at("f").Node
			if e.xattr(f, "user.a") != "1" || e.xattr(f, "user.b") != "" {
				e.Error("the values are others")
			}
			e.ok(e.fs.RemoveXattr(e.ctx, f, "user.a"))
			e.ok(e.fs.SetXattr(e.ctx, f, "user.c", []byte("3"), 0))
			if got := e.xattrs(f); fmt.Sprint(got) != "[user.b user.c]" {
				e.Errorf("listed %v", got)
			}
			e.contents(f, "x")
		}},
	}
}

func xattrOf(e *env, n vfs.NodeID) {
	e.Helper()
	_, err := e.fs.GetXattr(e.ctx, n, "user.a", nil)
	e.want(err, syscall.ENODATA)
	e.want(e.fs.RemoveXattr(e.ctx, n, "user.a"), syscall.ENODATA)
	e.want(e.fs.SetXattr(e.ctx, n, "user.a", []byte("1"), unix.XATTR_REPLACE), syscall.ENODATA)
	if got := e.xattrs(n); len(got) != 0 {
		e.Errorf("listed %v", got)
	}
	e.ok(e.fs.SetXattr(e.ctx, n, "user.a", []byte("one"), unix.XATTR_CREATE))
	e.want(e.fs.SetXattr(e.ctx, n, "user.a", []byte("2"), unix.XATTR_CREATE), syscall.EEXIST)
	if v := e.xattr(n, "user.a"); v != "one" {
		e.Errorf("the value is %q", v)
	}
	e.ok(e.fs.SetXattr(e.ctx, n, "user.a", []byte("\x00\xff"), unix.XATTR_REPLACE))
	e.ok(e.fs.SetXattr(e.ctx, n, "user.b", nil, 0))
	e.ok(e.fs.SetXattr(e.ctx, n, "user.long", []byte(strings.Repeat("v", 2000)), 0))
	for name, want := range map[string]string{"user.a": "\x00\xff", "user.b": "", "user.long": strings.Repeat("v", 2000)} {
		if v := e.xattr(n, name); v != want {
			e.Errorf("%s is %q", name, clip(v))
		}
	}
	if got := e.xattrs(n); fmt.Sprint(got) != "[user.a user.b user.long]" {
		e.Errorf("listed %v", got)
	}
	_, err = e.fs.GetXattr(e.ctx, n, "user.long", make([]byte, 5))
	e.want(err, syscall.ERANGE)
	_, err = e.fs.ListXattr(e.ctx, n, make([]byte, 5))
	e.want(err, syscall.ERANGE)
	e.want(e.fs.SetXattr(e.ctx, n, "user.a", nil, 77), syscall.EINVAL)
	e.want(e.fs.SetXattr(e.ctx, n, "user."+strings.Repeat("n", 300), nil, 0), syscall.ERANGE)
	e.want(e.fs.SetXattr(e.ctx, n, "user.a", make([]byte, 1<<17), 0), syscall.E2BIG, syscall.ENOSPC)
	e.want(e.fs.SetXattr(e.ctx, n, "nonsense", nil, 0), syscall.EOPNOTSUPP)
	e.ok(e.fs.RemoveXattr(e.ctx, n, "user.a"))
	_, err = e.fs.GetXattr(e.ctx, n, "user.a", nil)
	e.want(err, syscall.ENODATA)
	if got := e.xattrs(n); fmt.Sprint(got) != "[user.b user.long]" {
		e.Errorf("listed %v", got)
	}
}
