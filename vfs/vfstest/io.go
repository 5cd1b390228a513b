package vfstest

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

func ioCases() []testCase {
	return []testCase{
		{"IO/ReadWrite", Tree{file("f", "0123456789")}, func(e *env) {
			h := e.open(e.at("f").Node, unix.O_RDWR)
			buf := make([]byte, 4)
			for _, c := range []struct {
				off  int64
				want string
			}{{0, "0123"}, {6, "6789"}, {8, "89"}, {10, ""}, {1000, ""}, {1 << 40, ""}} {
				n, err := h.ReadAt(e.ctx, buf, c.off)
				if err != nil || string(buf[:n]) != c.want {
					e.Errorf("read at %d: %q, %v; want %q", c.off, buf[:n], err, c.want)
				}
			}
			n, err := h.ReadAt(e.ctx, nil, 0)
			if n != 0 || err != nil {
				e.Errorf("empty read: %d, %v", n, err)
			}
			e.writeAt(h, "", 3)
			e.writeAt(h, "", 1000)
			e.readAt(h, 0, "0123456789")
			e.writeAt(h, "ab", 9)
			e.writeAt(h, "z", 13)
			e.readAt(h, 0, "012345678ab\x00\x00z")
			_, err = h.ReadAt(e.ctx, buf, -1)
			e.want(err, syscall.EINVAL)
			_, err = h.WriteAt(e.ctx, buf, -1)
			e.want(err, syscall.EINVAL)
			e.readAt(h, 0, "012345678ab\x00\x00z")
		}},
		{"IO/Large", nil, func(e *env) {
			ent, h := e.create(vfs.RootID, "f", unix.O_RDWR, 0644)
			data := make([]byte, 3<<20+7)
			for i := range data {
				data[i] = byte(i * 7 >> 3)
			}
			n, err := h.WriteAt(e.ctx, data, 5)
			if err != nil || n != len(data) {
				e.Fatalf("WriteAt: %d, %v", n, err)
			}
			got := make([]byte, len(data)+100)
			n, err = h.ReadAt(e.ctx, got, 5)
			if err != nil || n != len(data) || !bytes.Equal(got[:n], data) {
				e.Fatalf("read %d bytes, %v; want the %d written", n, err, len(data))
			}
			if a := e.attr(ent.Node); a.Size != int64(len(data))+5 || a.Blocks == 0 {
				e.Errorf("attributes are %+v", a)
			}
		}},
		{"IO/BehindTheLimit", Tree{file("f", "x")}, func(e *env) {
			h := e.open(e.at("f").Node, unix.O_RDWR)
			if _, err := h.WriteAt(e.ctx, []byte("y"), 1<<62); err == nil {
				e.readAt(h, 1<<62, "y") // tmpfs has no limit below that
				return
			} else {
				e.want(err, syscall.EFBIG)
			}
			e.readAt(h, 0, "x")
		}},
		{"IO/SeenByOthers", Tree{file("f", "0123")}, func(e *env) {
			f := e.at("f").Node
			early := e.open(f, unix.O_RDONLY) // before the file's first change
			e.readAt(early, 0, "0123")
			w1, w2 := e.open(f, unix.O_RDWR), e.open(f, unix.O_WRONLY)
			e.writeAt(w1, "A", 0)
			e.readAt(early, 0, "A123")
			e.writeAt(w2, "B", 1)
			e.readAt(early, 0, "AB23")
			e.readAt(w1, 0, "AB23")
			e.setAttr(f, nil, vfs.SetAttr{Valid: vfs.SetSize, Size: 2})
			e.readAt(early, 0, "AB")
			e.ok(e.fs.Rename(e.ctx, vfs.RootID, "f", vfs.RootID, "g", 0))
			e.writeAt(w2, "C", 2)
			e.readAt(early, 0, "ABC")
			e.contents(e.at("g").Node, "ABC")
			e.ok(e.fs.Unlink(e.ctx, vfs.RootID, "g"))
			e.writeAt(w1, "D", 3)
			e.readAt(early, 0, "ABCD")
		}},
		{"IO/Append", Tree{file("f", "01")}, func(e *env) {
			f := e.at("f").Node
			h := e.open(f, unix.O_RDWR|unix.O_APPEND)
			e.writeAt(h, "23", 0)
			e.writeAt(h, "45", 1000)
			e.readAt(h, 0, "012345")
			e.setAttr(f, nil, vfs.SetAttr{Valid: vfs.SetSize, Size: 1})
			e.writeAt(h, "x", 0)
			e.readAt(h, 0, "0x")
			_, c := e.create(vfs.RootID, "new", unix.O_RDWR|unix.O_APPEND, 0644)
			e.writeAt(c, "a", 7)
			e.writeAt(c, "b", 7)
			e.readAt(c, 0, "ab")
		}},
		{"IO/AppendByMany", Tree{file("f", "")}, appendByMany},
		{"IO/Sync", Tree{file("f", "x"), dir("d")}, func(e *env) {
			h := e.open(e.at("f").Node, unix.O_RDWR|unix.O_SYNC)
			e.writeAt(h, "y", 0)
			e.ok(h.Sync(e.ctx, false))
			e.ok(h.Sync(e.ctx, true))
			d := e.openDir(e.at("d").Node)
			e.ok(d.Sync(e.ctx))
			e.ok(d.Close())
		}},
		{"IO/Passthrough", Tree{file("f", "0123")}, func(e *env) {
			f := e.at("f").Node
			h := e.open(f, unix.O_RDWR)
			p, _ := h.(vfs.Passthrough)
			if p == nil {
				return // nothing is promised
			}
			fd, ok := p.PassthroughFD()
			if !ok {
				return
			}
			// The kernel writes to the file itself; every other handle reads it.
			if _, err := unix.Pwrite(fd, []byte("K"), 0); err != nil {
				e.Fatal(err)
			}
			e.contents(f, "K123")
			e.writeAt(e.open(f, unix.O_WRONLY), "L", 1)
			buf := make([]byte, 4)
			if _, err := unix.Pread(fd, buf, 0); err != nil || string(buf) != "KL23" {
				e.Fatalf("by the descriptor: %q, %v", buf, err)
			}
		}},
	}
}

// appendByMany has many writers append lines at once: none may be torn or lost.
func appendByMany(e *env) {
	const writers, lines = 8, 100
	f := e.at("f").Node
	var wg sync.WaitGroup
	for w := range writers {
		h := e.open(f, unix.O_WRONLY|unix.O_APPEND)
		wg.Go(func() {
			for i := range lines {
				line := fmt.Sprintf("%d %d %s\n", w, i, strings.Repeat("x", i))
				if n, err := h.WriteAt(e.ctx, []byte(line), 0); err != nil || n != len(line) {
					e.Errorf("WriteAt: %d, %v", n, err)
					return
				}
			}
		})
	}
	wg.Wait()
	size := e.attr(f).Size
	buf := make([]byte, size)
	if n, err := e.open(f, unix.O_RDONLY).ReadAt(e.ctx, buf, 0); err != nil || int64(n) != size {
		e.Fatalf("ReadAt: %d, %v", n, err)
	}
	next := [writers]int{}
	for line := range strings.Lines(string(buf)) {
		var w, i int
		var x string
		fmt.Sscanf(line, "%d %d %s", &w, &i, &x)
		if len(x) != i || strings.Trim(x, "x") != "" || i != next[w] {
			e.Fatalf("line %q, want line %d of that writer", clip(line), next[w])
		}
		next[w]++
	}
	for w, n := range next {
		if n != lines {
			e.Errorf("writer %d has %d lines", w, n)
		}
	}
}

func nodeCases() []testCase {
	return []testCase{
		{"Node/UnlinkedOpen", Tree{file("f", "0123"), file("g", "gg")}, func(e *env) {
			ent := e.at("f")
			h := e.open(ent.Node, unix.O_RDWR)
			e.ok(e.fs.Unlink(e.ctx, vfs.RootID, "f"))
			a := e.attr(ent.Node)
			if a.Nlink != 0 || a.Size != 4 || a.Ino != ent.Attr.Ino {
				e.Errorf("attributes are %+v, were %+v", a, ent.Attr)
			}
			e.writeAt(h, "ab", 0)
			e.readAt(h, 0, "ab23")
			other, _ := e.create(vfs.RootID, "f", unix.O_RDWR, 0644)
			if other.Node == ent.Node || other.Attr.Ino == ent.Attr.Ino {
				e.Error("a new file of that name is the removed one")
			}
			e.readAt(h, 0, "ab23")
			e.setAttr(ent.Node, nil, vfs.SetAttr{Valid: vfs.SetMode, Mode: 0600})
			e.setAttr(ent.Node, nil, vfs.SetAttr{Valid: vfs.SetSize, Size: 1})
			e.readAt(h, 0, "a")
			link, err := e.fs.Link(e.ctx, ent.Node, vfs.RootID, "back")
			e.wantEntry(link, err, syscall.ENOENT)
			got, err := e.fs.GetAttr(e.ctx, ent.Node, h)
			if err != nil || got.Nlink != 0 || got.Size != 1 {
				e.Errorf("by its handle: %+v, %v", got, err)
			}
		}},
		{"Node/UnlinkedReferenced", Tree{file("f", "0123"), dir("d"), symlink("s", "t"), {Path: "p", Mode: unix.S_IFIFO | 0600}}, func(e *env) {
			// Held by a reference alone, as a kernel holds an O_PATH descriptor.
			f, d, s, p := e.at("f").Node, e.at("d").Node, e.at("s").Node, e.at("p").Node
			for _, name := range []string{"f", "s", "p"} {
				e.ok(e.fs.Unlink(e.ctx, vfs.RootID, name))
			}
			e.ok(e.fs.Rmdir(e.ctx, vfs.RootID, "d"))
			for _, n := range []vfs.NodeID{f, d, s, p} {
				if a := e.attr(n); a.Nlink != 0 {
					e.Errorf("link count is %d: %+v", a.Nlink, a)
				}
			}
			e.removed(d)
			if target, err := e.fs.Readlink(e.ctx, s); err != nil || target != "t" {
				e.Errorf("Readlink: %q, %v", target, err)
			}
			h := e.open(f, unix.O_RDWR)
			e.readAt(h, 0, "0123")
			e.close(h)
			e.setAttr(f, nil, vfs.SetAttr{Valid: vfs.SetMtime, Mtime: vfs.Timespec{Sec: 5}})
			e.contents(f, "0123")
		}},
		{"Node/HandleClosedBeforeForget", nil, func(e *env) {
			ent, h := e.create(vfs.RootID, "f", unix.O_RDWR, 0644)
			e.writeAt(h, "x", 0)
			e.ok(e.fs.Unlink(e.ctx, vfs.RootID, "f"))
			e.close(h)
			e.contents(ent.Node, "x")
		}},
		{"Node/ForgottenBeforeHandleClosed", Tree{file("f", "x")}, func(e *env) {
			ent := e.at("f")
			h := e.open(ent.Node, unix.O_RDWR)
			e.forgetAll()
			e.readAt(h, 0, "x")
			if a := e.attr(h.Node()); a.Size != 1 {
				e.Errorf("attributes are %+v", a)
			}
			e.ok(e.fs.Unlink(e.ctx, vfs.RootID, "f"))
			if a, err := e.fs.GetAttr(e.ctx, h.Node(), h); err != nil || a.Nlink != 0 {
				e.Errorf("attributes are %+v, %v", a, err)
			}
			e.writeAt(h, "y", 1)
			e.readAt(h, 0, "xy")
		}},
		{"Node/HardLinks", Tree{file("a", "0123"), dir("d"), {Path: "d/b", LinkTo: "a"}, {Path: "c", LinkTo: "a"}}, func(e *env) {
			a, b, c := e.at("a"), e.at("d/b"), e.at("c")
			if a.Node != b.Node || a.Node != c.Node || a.Attr.Ino != b.Attr.Ino {
				e.Fatalf("names of one file are nodes %d, %d, %d", a.Node, b.Node, c.Node)
			}
			if n := e.attr(a.Node).Nlink; n != 3 {
				e.Fatalf("link count is %d, want 3", n)
			}
			h := e.open(b.Node, unix.O_RDWR)
			e.writeAt(h, "X", 0)
			e.ok(e.fs.Unlink(e.ctx, vfs.RootID, "a"))
			if again := e.at("c"); again.Node != b.Node || again.Attr.Nlink != 2 || again.Attr.Ino != a.Attr.Ino {
				e.Errorf("the last name is now %+v", again)
			}
			e.contents(c.Node, "X123")
			e.ok(e.fs.Unlink(e.ctx, e.at("d").Node, "b"))
			e.writeAt(h, "Y", 1)
			e.contents(e.at("c").Node, "XY23")
			if n := e.attr(a.Node).Nlink; n != 1 {
				e.Errorf("link count is %d, want 1", n)
			}
		}},
		{"Node/IdStaysThroughChange", Tree{dir("d"), file("d/f", "0123"), file("g", "x")}, func(e *env) {
			f, d := e.at("d/f"), e.at("d")
			same := func(path string, want vfs.Entry) {
				e.Helper()
				if got := e.at(path); got.Node != want.Node || got.Attr.Ino != want.Attr.Ino {
					e.Fatalf("%s is node %d (inode %d), was %d (%d)", path, got.Node, got.Attr.Ino, want.Node, want.Attr.Ino)
				}
				if a := e.attr(want.Node); a.Ino != want.Attr.Ino {
					e.Fatalf("%s has inode %d, had %d", path, a.Ino, want.Attr.Ino)
				}
			}
			h := e.open(f.Node, unix.O_RDWR)
			e.writeAt(h, "A", 0)
			same("d/f", f)
			e.setAttr(f.Node, nil, vfs.SetAttr{Valid: vfs.SetMode, Mode: 0600})
			same("d/f", f)
			e.ok(e.fs.Rename(e.ctx, d.Node, "f", d.Node, "g", 0))
			same("d/g", f)
			e.ok(e.fs.Rename(e.ctx, vfs.RootID, "d", vfs.RootID, "e", 0))
			same("e", d)
			same("e/g", f)
			e.setAttr(d.Node, nil, vfs.SetAttr{Valid: vfs.SetMode, Mode: 0700})
			same("e", d)
			e.ok(e.fs.Rename(e.ctx, d.Node, "g", vfs.RootID, "g", 0))
			same("g", f)
			e.contents(f.Node, "A123")
		}},
	}
}
