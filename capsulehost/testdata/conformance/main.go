//go:build wasip1

// Conformance walks every call of astrid:fs@1.0.0 and the error cases that a
// guest can bring about by itself, on the tree that package
// capsulehost/conformance prepares. It answers the action "conformance" with a
// line of JSON for each case.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	fs "github.com/astridfs/astridfs/sdk/go/astridfs"
	"github.com/astridfs/astridfs/sdk/go/astridfs/hook"
)

var lines strings.Builder

// is records a case: what a call was and what it came to.
func is(name, want, got string) {
	line, _ := json.Marshal(struct { // of strings alone: it cannot fail
		Case string `json:"case"`
		Want string `json:"want"`
		Got  string `json:"got"`
	}{name, want, got})
	lines.Write(append(line, '\n'))
}

// code is an error's case in the interface, "ok" for none.
func code(err error) string {
	var e *fs.Error
	switch {
	case err == nil:
		return "ok"
	case !errors.As(err, &e):
		return "error of the guest: " + err.Error()
	case e.Code == fs.Unknown:
		return "unknown(" + e.Text + ")"
	}
	return e.Code.String()
}

func fails(name, want string, err error) { is(name, want, code(err)) }

// value is v, or the error's case.
func value(v any, err error) string {
	if err != nil {
		return code(err)
	}
	return fmt.Sprint(v)
}

func text(b []byte, err error) string { return value(string(b), err) }

func main() {}

func init() {
	hook.Handle(func(action string, payload []byte) hook.Result {
		if action != "conformance" {
			return hook.Result{Action: "unknown-action"}
		}
		lines.Reset()
		paths()
		reading()
		writing()
		handles()
		positions()
		directories()
		links()
		moving()
		copying()
		removing()
		limits()
		return hook.Text("done", lines.String())
	})
}

func exists(path string) string { return value(fs.Exists(path)) }

func paths() {
	for _, p := range []string{"fixture/hello.txt", "/fixture/hello.txt", "workspace://fixture/hello.txt", "cwd://fixture/hello.txt",
		"workspace:///fixture//hello.txt", "fixture/./dir/../hello.txt", "fixture/dirlink/../hello.txt"} {
		is("exists "+p, "true", exists(p))
	}
	is("exists missing", "false", exists("fixture/missing"))
	is("exists missing parent", "false", exists("fixture/missing/x"))
	is("exists below a file", "not-directory", exists("fixture/hello.txt/x"))
	is("exists dangling", "false", exists("fixture/dangling"))
	is("exists root", "true", exists("tmp://"))
	is("exists root denied", "capability-denied", exists("workspace://"))
	is("exists tmp", "true", exists("/tmp"))
	is("exists home", "true", exists("home://"))
	is("unknown scheme", "invalid-path", exists("file://etc/passwd"))
	is("empty scheme", "invalid-path", exists("://x"))
	is("NUL", "invalid-path", exists("fixture/a\x00b"))
	is("control character", "invalid-path", exists("fixture/a\nb"))
	is("C1 control character", "invalid-path", exists("fixture/a\u0085b"))
	is("not UTF-8", "invalid-path", exists("fixture/\xff"))
	is("not NFC", "invalid-path", exists("fixture/e\u0301"))
	is("NFC", "false", exists("fixture/\u00e9"))
	is("4096 bytes", "false", exists("fixture/"+strings.Repeat("a/", 2044)))
	is("4097 bytes", "invalid-path", exists("fixture/"+strings.Repeat("a/", 2044)+"a"))
	is("name of 255 bytes", "false", exists("fixture/"+strings.Repeat("a", 255)))
	is("name of 256 bytes", "invalid-path", exists("fixture/"+strings.Repeat("a", 256)))
	is("loop", "invalid-path", exists("fixture/loop"))
	is("escape by ..", "boundary-escape", exists("../x"))
	is("escape by .. behind a directory", "boundary-escape", exists("fixture/../../x"))
	is("escape by .. in tmp", "boundary-escape", exists("/tmp/../x"))
	is("escape by a link", "boundary-escape", exists("fixture/out"))
	is("escape through a link", "boundary-escape", exists("fixture/out/x"))
	is("escape by an absolute link", "boundary-escape", exists("fixture/abs"))
	is("denied, there", "capability-denied", exists("secret/key"))
	is("denied, missing", "capability-denied", exists("secret/missing"))
	is("denied, missing parent", "capability-denied", exists("secret/missing/x"))
	is("denied through a link", "capability-denied", exists("fixture/tosecret"))
	is("write denied, read granted", "capability-denied", code(fs.WriteFile("readonly/new", nil)))
	is("read granted, write denied", "ok", text(fs.ReadFile("readonly/file")))
}

func reading() {
	is("read-file", "hello\n", text(fs.ReadFile("fixture/hello.txt")))
	is("read-file through a link", "hello\n", text(fs.ReadFile("fixture/link")))
	is("read-file missing", "not-found", text(fs.ReadFile("fixture/missing")))
	is("read-file of a directory", "is-directory", text(fs.ReadFile("fixture/dir")))
	is("read-file below a file", "not-directory", text(fs.ReadFile("fixture/hello.txt/x")))
	is("read-file of a file with a slash", "not-directory", text(fs.ReadFile("fixture/hello.txt/")))
	is("read-file of a fifo", "unknown(no such device or address)", text(fs.ReadFile("fixture/fifo")))
	is("read-file empty", "", text(fs.ReadFile("fixture/empty")))
	b, err := fs.ReadFile("fixture/big10")
	is("read-file of 10 MiB", "10485760", value(len(b), err))
	b, err = fs.ReadFile("fixture/big10plus")
	is("read-file of 10 MiB and a byte", "too-large", value(len(b), err))

	s, err := fs.Stat("fixture/hello.txt")
	is("stat", "6 1 100640", value(fmt.Sprintf("%d %d %o", s.Size, s.Kind, s.Mode), err))
	is("stat modified", "1000000000.123456789", value(fmt.Sprintf("%d.%09d", s.Modified.Unix(), s.Modified.Nanosecond()), err))
	is("stat accessed", "true", value(!s.Accessed.IsZero(), err))
	is("stat kinds", "2 1 3 6", kinds("fixture/dir", "fixture/link", "fixture/dangling", "fixture/fifo"))
	s, err = fs.Lstat("fixture/link")
	is("stat-symlink", "9 3 120777", value(fmt.Sprintf("%d %d %o", s.Size, s.Kind, s.Mode), err))
	_, err = fs.Stat("fixture/missing")
	fails("stat missing", "not-found", err)
	_, err = fs.Stat("fixture/dangling")
	fails("stat dangling", "not-found", err)
	_, err = fs.Lstat("fixture/missing")
	fails("stat-symlink missing", "not-found", err)
	is("canonicalize", "workspace://fixture/hello.txt", value(fs.Canonicalize("/fixture/dirlink/../link")))
	is("canonicalize home", "home://", value(fs.Canonicalize("home://.")))
	is("canonicalize tmp", "tmp://", value(fs.Canonicalize("/tmp/")))
	is("canonicalize missing", "not-found", value(fs.Canonicalize("fixture/missing")))
	is("canonicalize outside", "boundary-escape", value(fs.Canonicalize("fixture/out")))
}

func kinds(dir, file, link, fifo string) string {
	var out []string
	for _, p := range []string{dir, file} {
		s, err := fs.Stat(p)
		out = append(out, value(s.Kind, err))
	}
	for _, p := range []string{link, fifo} {
		s, err := fs.Lstat(p)
		out = append(out, value(s.Kind, err))
	}
	return strings.Join(out, " ")
}

func writing() {
	fails("write-file new", "ok", fs.WriteFile("work/new", []byte("one")))
	is("write-file new, read", "one", text(fs.ReadFile("work/new")))
	s, err := fs.Stat("work/new")
	is("write-file new, mode", "100644", value(fmt.Sprintf("%o", s.Mode), err))
	fails("write-file over", "ok", fs.WriteFile("work/new", []byte("other")))
	is("write-file over, read", "other", text(fs.ReadFile("work/new")))
	fails("write-file empty", "ok", fs.WriteFile("work/new", nil))
	is("write-file empty, read", "", text(fs.ReadFile("work/new")))
	fails("write-file through a link", "ok", fs.WriteFile("work/tofile", []byte("x")))
	is("write-file through a link, read", "x", text(fs.ReadFile("work/file")))
	s, err = fs.Stat("work/file")
	is("write-file keeps the mode", "100600", value(fmt.Sprintf("%o", s.Mode), err))
	fails("write-file to a directory", "is-directory", fs.WriteFile("fixture/dir", nil))
	fails("write-file with a slash", "is-directory", fs.WriteFile("work/dir/", nil))
	fails("write-file without a parent", "not-found", fs.WriteFile("work/missing/x", nil))
	fails("write-file below a file", "not-directory", fs.WriteFile("work/file/x", nil))
	fails("write-file to a fifo", "unknown(no such device or address)", fs.WriteFile("fixture/fifo", nil))
	big := make([]byte, 10<<20+1)
	fails("write-file of 10 MiB", "ok", fs.WriteFile("work/big", big[:10<<20]))
	fails("write-file of 10 MiB and a byte", "too-large", fs.WriteFile("work/big", big))
	fails("append of 10 MiB and a byte", "too-large", fs.Append("work/big2", big))
	is("append too large makes nothing", "false", exists("work/big2"))
	fails("append new", "ok", fs.Append("work/log", []byte("a")))
	fails("append", "ok", fs.Append("work/log", []byte("bc")))
	is("append, read", "abc", text(fs.ReadFile("work/log")))
	fails("append to a directory", "is-directory", fs.Append("fixture/dir", nil))
	fails("append without a parent", "not-found", fs.Append("work/missing/x", nil))
}

func open(path string, mode fs.OpenMode) string {
	f, err := fs.Open(path, mode)
	if err == nil {
		f.Close()
	}
	return code(err)
}

func handles() {
	is("open read missing", "not-found", open("work/missing", fs.Read))
	is("open read-write missing", "not-found", open("work/missing", fs.ReadWrite))
	is("open write missing", "ok", open("work/opened", fs.Write))
	is("open append missing", "ok", open("work/opened2", fs.AppendTo))
	is("open of a directory", "is-directory", open("fixture/dir", fs.Read))
	is("open to write of a directory", "is-directory", open("fixture/dir", fs.Write))
	is("open of a fifo", "unknown(no such device or address)", open("fixture/fifo", fs.Read))
	is("open denied", "capability-denied", open("secret/key", fs.Read))
	is("open to write denied", "capability-denied", open("readonly/file", fs.ReadWrite))
	is("open to append denied", "capability-denied", open("readonly/file", fs.AppendTo))
	var files []*fs.File
	for range 16 {
		f, err := fs.Open("fixture/hello.txt", fs.Read)
		if err != nil {
			is("open 16", "ok", code(err))
			return
		}
		files = append(files, f)
	}
	is("open 17th", "quota", open("fixture/hello.txt", fs.Read))
	is("open 17th to write makes nothing", "quota", open("work/seventeen", fs.Write))
	is("open 17th made nothing", "false", exists("work/seventeen"))
	stale := files[3]
	stale.Close()
	is("open after a close", "ok", open("fixture/hello.txt", fs.Read))
	_, err := stale.Read(0, 1)
	fails("read-at closed", "closed", err)
	f, err := fs.Open("fixture/hello.txt", fs.Read)
	fails("open 16th again", "ok", err)
	_, err = stale.Read(0, 1)
	fails("read-at closed, its place taken", "closed", err)
	_, err = stale.Write(0, []byte("x"))
	fails("write-at closed", "closed", err)
	fails("sync-data closed", "closed", stale.SyncData())
	fails("sync-all closed", "closed", stale.Sync())
	_, err = stale.Stat()
	fails("handle stat closed", "closed", err)
	fails("set-len closed", "closed", stale.Truncate(0))
	fails("drop closed", "ok", stale.Close())
	f.Close()
	for i, f := range files {
		if i != 3 {
			f.Close()
		}
	}
	_, err = fs.Handle(0).Read(0, 1)
	fails("read-at handle 0", "closed", err)
	_, err = fs.Handle(0xffffffff).Read(0, 1)
	fails("read-at handle -1", "closed", err)
}

func positions() {
	_ = fs.WriteFile("work/pos", []byte("0123456789"))
	r, err := fs.Open("work/pos", fs.Read)
	fails("open read", "ok", err)
	is("read-at", "345", text(r.Read(3, 3)))
	is("read-at to the end", "89", text(r.Read(8, 10)))
	is("read-at the end", "", text(r.Read(10, 10)))
	is("read-at behind the end", "", text(r.Read(1<<62, 10)))
	is("read-at at the last offset", "", text(r.Read(1<<64-1, 10)))
	is("read-at of nothing", "", text(r.Read(0, 0)))
	is("read-at of 1 MiB", "0123456789", text(r.Read(0, 1<<20)))
	is("read-at of 1 MiB and a byte", "too-large", text(r.Read(0, 1<<20+1)))
	_, err = r.Write(0, []byte("x"))
	fails("write-at of a read handle", "access", err)
	fails("set-len of a read handle", "access", r.Truncate(0))
	fails("sync-data of a read handle", "ok", r.SyncData())

	w, err := fs.Open("work/pos2", fs.Write)
	fails("open write", "ok", err)
	is("write-at", "5", value(w.Write(0, []byte("abcde"))))
	is("write-at inside", "1", value(w.Write(2, []byte("X"))))
	is("write-at behind the end", "1", value(w.Write(8, []byte("Z"))))
	is("write-at of nothing", "0", value(w.Write(0, nil)))
	_, err = w.Read(0, 1)
	fails("read-at of a write handle", "access", err)
	is("write-at, read", "abXde\x00\x00\x00Z", text(fs.ReadFile("work/pos2")))
	mib := make([]byte, 1<<20+1)
	is("write-at of 1 MiB", "1048576", value(w.Write(0, mib[:1<<20])))
	is("write-at of 1 MiB and a byte", "too-large", value(w.Write(0, mib)))
	is("write-at at the last offset", "too-large", value(w.Write(1<<64-1, []byte("x"))))
	fails("set-len", "ok", w.Truncate(3))
	s, err := w.Stat()
	is("handle stat", "3 1 100644", value(fmt.Sprintf("%d %d %o", s.Size, s.Kind, s.Mode), err))
	fails("set-len to the last length", "too-large", w.Truncate(1<<64-1))
	fails("sync-data", "ok", w.SyncData())
	fails("sync-all", "ok", w.Sync())
	fails("open-unlinked: unlink", "ok", fs.Unlink("work/pos2"))
	is("open-unlinked: write-at", "1", value(w.Write(0, []byte("y"))))
	s, err = w.Stat()
	is("open-unlinked: stat", "3", value(s.Size, err))
	fails("drop", "ok", w.Close())
	is("open to write truncates", "ok", open("work/pos", fs.Write))
	is("read-at after another truncated", "", text(r.Read(0, 4)))
	r.Close()

	a, err := fs.Open("work/app", fs.AppendTo)
	fails("open append", "ok", err)
	is("write-at to append", "2", value(a.Write(100, []byte("ab"))))
	_ = fs.Append("work/app", []byte("cd"))
	is("write-at to append again", "2", value(a.Write(1<<64-1, []byte("ef"))))
	_, err = a.Read(0, 1)
	fails("read-at of an append handle", "access", err)
	a.Close()
	is("append handle, read", "abcdef", text(fs.ReadFile("work/app")))
	rw, err := fs.Open("work/app", fs.ReadWrite)
	fails("open read-write", "ok", err)
	is("read-write keeps the contents", "abcdef", text(rw.Read(0, 10)))
	is("read-write writes", "1", value(rw.Write(1, []byte("X"))))
	is("read-write reads it", "aXcdef", text(rw.Read(0, 10)))
	rw.Close()
}

func directories() {
	fails("mkdir", "ok", fs.Mkdir("work/d"))
	s, err := fs.Stat("work/d")
	is("mkdir, mode", "40755", value(fmt.Sprintf("%o", s.Mode), err))
	fails("mkdir again", "already-exists", fs.Mkdir("work/d"))
	fails("mkdir with a slash", "ok", fs.Mkdir("work/d2/"))
	fails("mkdir over a file", "already-exists", fs.Mkdir("work/file"))
	fails("mkdir over a dangling link", "already-exists", fs.Mkdir("fixture/dangling"))
	fails("mkdir of the root", "already-exists", fs.Mkdir("tmp://"))
	fails("mkdir without a parent", "not-found", fs.Mkdir("work/missing/x"))
	fails("mkdir below a file", "not-directory", fs.Mkdir("work/file/x"))
	fails("mkdir denied", "capability-denied", fs.Mkdir("secret/d"))
	fails("mkdir-all", "ok", fs.MkdirAll("work/a/b/c/d"))
	fails("mkdir-all again", "ok", fs.MkdirAll("work/a/b/c/d/"))
	is("mkdir-all, made", "true", exists("work/a/b/c/d"))
	fails("mkdir-all with ..", "ok", fs.MkdirAll("work/a/x/../y/./z"))
	is("mkdir-all with .., made", "true true", exists("work/a/x")+" "+exists("work/a/y/z"))
	fails("mkdir-all over a file", "not-directory", fs.MkdirAll("work/file"))
	fails("mkdir-all below a file", "not-directory", fs.MkdirAll("work/file/x/y"))
	fails("mkdir-all of the root", "ok", fs.MkdirAll("tmp://"))
	fails("mkdir-all denied", "capability-denied", fs.MkdirAll("secret/x/y"))
	fails("mkdir-all outside", "boundary-escape", fs.MkdirAll("fixture/out/x"))
	is("readdir", "c", list("work/a/b"))
	is("readdir sorted", "a | ~ é", strings.ReplaceAll(list("fixture/names"), ",", " "))
	is("readdir of a file", "not-directory", list("fixture/hello.txt"))
	is("readdir missing", "not-found", list("fixture/missing"))
	is("readdir through a link", "inner.txt,up", list("fixture/dirlink"))
	is("readdir denied", "capability-denied", list("secret"))
	is("readdir empty", "", list("work/d"))
	names, err := fs.ReadDir("fixture/many")
	is("readdir of 4096", "4096", value(len(names), err))
	names, err = fs.ReadDir("fixture/toomany")
	is("readdir of 4097", "too-large", value(len(names), err))
}

func list(path string) string {
	names, err := fs.ReadDir(path)
	return value(strings.Join(names, ","), err)
}

func links() {
	is("read-link", "workspace://fixture/hello.txt", value(fs.ReadLink("fixture/link")))
	is("read-link with ..", "workspace://fixture/hello.txt", value(fs.ReadLink("fixture/dir/up")))
	is("read-link dangling", "workspace://fixture/nowhere", value(fs.ReadLink("fixture/dangling")))
	is("read-link outside", "boundary-escape", value(fs.ReadLink("fixture/out")))
	is("read-link absolute", "boundary-escape", value(fs.ReadLink("fixture/abs")))
	is("read-link of a file", "invalid-path", value(fs.ReadLink("fixture/hello.txt")))
	is("read-link missing", "not-found", value(fs.ReadLink("fixture/missing")))
	_ = fs.WriteFile("work/l1", []byte("linked"))
	fails("hard-link", "ok", fs.HardLink("work/l1", "work/l2"))
	_ = fs.WriteFile("work/l1", []byte("changed"))
	is("hard-link is the same file", "changed", text(fs.ReadFile("work/l2")))
	fails("hard-link over", "already-exists", fs.HardLink("work/l1", "work/l2"))
	fails("hard-link missing", "not-found", fs.HardLink("work/missing", "work/l3"))
	fails("hard-link without a parent", "not-found", fs.HardLink("work/l1", "work/missing/x"))
	fails("hard-link of a directory", "access", fs.HardLink("work/d", "work/l3"))
	fails("hard-link across schemes", "cross-vfs", fs.HardLink("work/l1", "tmp://l3"))
	fails("hard-link denied", "capability-denied", fs.HardLink("readonly/file", "work/l3"))
	fails("hard-link to a denied place", "capability-denied", fs.HardLink("work/l1", "secret/l3"))
}

func moving() {
	_ = fs.WriteFile("work/m1", []byte("moved"))
	fails("rename", "ok", fs.Rename("work/m1", "work/m2"))
	is("rename, old", "false", exists("work/m1"))
	is("rename, new", "moved", text(fs.ReadFile("work/m2")))
	_ = fs.WriteFile("work/m3", []byte("x"))
	fails("rename over", "ok", fs.Rename("work/m2", "work/m3"))
	is("rename over, new", "moved", text(fs.ReadFile("work/m3")))
	fails("rename missing", "not-found", fs.Rename("work/m1", "work/m2"))
	fails("rename without a parent", "not-found", fs.Rename("work/m3", "work/missing/x"))
	fails("rename across schemes", "cross-vfs", fs.Rename("work/m3", "tmp://m3"))
	fails("rename a directory", "ok", fs.Rename("work/d2", "work/d3"))
	fails("rename a file over a directory", "is-directory", fs.Rename("work/m3", "work/d3"))
	fails("rename a directory over a file", "not-directory", fs.Rename("work/d3", "work/m3"))
	fails("rename over a full directory", "not-empty", fs.Rename("work/d3", "work/a"))
	fails("rename into itself", "invalid-path", fs.Rename("work/a", "work/a/b/x"))
	fails("rename denied", "capability-denied", fs.Rename("readonly/file", "work/m4"))
	fails("rename to a denied place", "capability-denied", fs.Rename("work/m3", "secret/m3"))
	fails("rename a missing one to a denied place", "capability-denied", fs.Rename("work/missing/x", "secret/m3"))
	fails("rename the root", "unknown(device or resource busy)", fs.Rename("tmp://", "tmp://root"))
	fails("rename a file with a slash", "not-directory", fs.Rename("work/m3", "work/m5/"))
}

func copying() {
	fails("copy", "ok", fs.Copy("fixture/hello.txt", "work/c1"))
	is("copy, read", "hello\n", text(fs.ReadFile("work/c1")))
	s, err := fs.Stat("work/c1")
	is("copy, mode", "100640", value(fmt.Sprintf("%o", s.Mode), err))
	fails("copy over", "ok", fs.Copy("fixture/hello.txt", "work/file"))
	s, err = fs.Stat("work/file")
	is("copy over, mode", "100640", value(fmt.Sprintf("%o", s.Mode), err))
	fails("copy across schemes", "ok", fs.Copy("fixture/hello.txt", "tmp://c1"))
	is("copy across schemes, read", "hello\n", text(fs.ReadFile("/tmp/c1")))
	fails("copy onto itself", "ok", fs.Copy("work/c1", "work/c1"))
	is("copy onto itself, read", "hello\n", text(fs.ReadFile("work/c1")))
	fails("copy a big file", "ok", fs.Copy("fixture/big10plus", "work/c2"))
	s, err = fs.Stat("work/c2")
	is("copy a big file, size", "10485761", value(s.Size, err))
	fails("copy missing", "not-found", fs.Copy("fixture/missing", "work/c3"))
	fails("copy a directory", "is-directory", fs.Copy("fixture/dir", "work/c3"))
	fails("copy to a directory", "is-directory", fs.Copy("work/c1", "fixture/dir"))
	fails("copy a fifo", "unknown(no such device or address)", fs.Copy("fixture/fifo", "work/c3"))
	fails("copy denied", "capability-denied", fs.Copy("secret/key", "work/c3"))
	fails("copy to a denied place", "capability-denied", fs.Copy("work/c1", "readonly/c3"))
	fails("copy a missing one to a denied place", "capability-denied", fs.Copy("work/missing/x", "readonly/c3"))
}

func removing() {
	fails("unlink", "ok", fs.Unlink("work/c1"))
	fails("unlink again", "not-found", fs.Unlink("work/c1"))
	fails("unlink a directory", "is-directory", fs.Unlink("work/d"))
	fails("unlink the root", "is-directory", fs.Unlink("tmp://"))
	fails("unlink below a file", "not-directory", fs.Unlink("work/file/x"))
	fails("unlink denied", "capability-denied", fs.Unlink("readonly/file"))
	fails("unlink a link", "ok", fs.Unlink("work/tofile"))
	is("unlink a link leaves the file", "true", exists("work/file"))
	is("remove-dir-all", "7", value(fs.RemoveDirAll("work/a")))
	is("remove-dir-all, gone", "false", exists("work/a"))
	is("remove-dir-all again", "not-found", value(fs.RemoveDirAll("work/a")))
	is("remove-dir-all of a file", "not-directory", value(fs.RemoveDirAll("work/file")))
	is("remove-dir-all of a link", "not-directory", value(fs.RemoveDirAll("work/todir")))
	is("remove-dir-all of a link with a slash", "not-directory", value(fs.RemoveDirAll("work/todir/")))
	is("remove-dir-all with links", "3", value(fs.RemoveDirAll("work/withlinks")))
	is("remove-dir-all did not follow", "inner.txt,up", list("fixture/dir"))
	is("remove-dir-all of the root", "unknown(device or resource busy)", value(fs.RemoveDirAll("home://")))
	is("remove-dir-all denied", "capability-denied", value(fs.RemoveDirAll("readonly")))
}

// limits uses up the write quota, so it comes last.
func limits() {
	piece := bytes.Repeat([]byte("q"), 1<<20)
	var err error
	for range 200 {
		if err = fs.WriteFile("tmp://quota", piece); err != nil {
			break
		}
	}
	fails("write-file over the quota", "quota", err)
	is("write-file over the quota leaves the old", "1048576", value(size("tmp://quota")))
	for n := len(piece) / 2; n > 0; n /= 2 { // use up what is left, to the byte
		for fs.WriteFile("tmp://quota", piece[:n]) == nil {
		}
	}
	fails("write-file of a byte, quota used up", "quota", fs.WriteFile("tmp://quota", piece[:1]))
	fails("write-file of nothing, quota used up", "ok", fs.WriteFile("tmp://quota", nil))
	fails("append, quota used up", "quota", fs.Append("tmp://quota", piece[:1]))
	fails("copy, quota used up", "quota", fs.Copy("fixture/hello.txt", "tmp://quota"))
	f, err := fs.Open("tmp://quota", fs.ReadWrite)
	fails("open, quota used up", "ok", err)
	_, err = f.Write(0, piece[:1])
	fails("write-at, quota used up", "quota", err)
	fails("set-len, quota used up", "quota", f.Truncate(1))
	f.Close()
	is("read, quota used up", "hello\n", text(fs.ReadFile("fixture/hello.txt")))
	_ = fs.Mkdir("tmp://files")
	for i := 0; i < 100_000; i++ {
		if err = fs.WriteFile("tmp://files/"+strconv.Itoa(i), nil); err != nil {
			break
		}
	}
	fails("write-file over the file quota", "quota", err)
	fails("open over the file quota", "quota", func() error { _, err := fs.Open("tmp://f", fs.Write); return err }())
	fails("mkdir over the file quota", "quota", fs.Mkdir("tmp://d"))
	fails("mkdir-all over the file quota", "quota", fs.MkdirAll("tmp://d/e"))
	fails("hard-link over the file quota", "quota", fs.HardLink("tmp://files/0", "tmp://l"))
	fails("unlink, file quota used up", "ok", fs.Unlink("tmp://files/0"))
	fails("mkdir after an unlink", "ok", fs.Mkdir("tmp://d"))
	fails("mkdir after it", "quota", fs.Mkdir("tmp://e"))
}

func size(path string) (uint64, error) {
	s, err := fs.Stat(path)
	return s.Size, err
}
