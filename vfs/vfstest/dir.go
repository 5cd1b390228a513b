package vfstest

import (
	"fmt"
	"sort"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/vfs"
)

func dirCases() []testCase {
	return []testCase{
		{"Mkdir", Tree{dir("d"), file("f", ""), symlink("s", "d")}, func(e *env) {
			for _, mode := range []uint32{0755, 0700, 0777, 01777} {
				ent := e.entry(e.fs.Mkdir(e.ctx, vfs.RootID, "new", mode))
				if ent.Attr.Mode != unix.S_IFDIR|mode {
					e.Errorf("made with mode %o: %o", mode, ent.Attr.Mode)
				}
				e.names(ent.Node)
				if e.at("new").Node != ent.Node {
					e.Error("looked up, it is another node")
				}
				e.ok(e.fs.Rmdir(e.ctx, vfs.RootID, "new"))
			}
			for _, name := range []string{"d", "f", "s"} {
				ent, err := e.fs.Mkdir(e.ctx, vfs.RootID, name, 0755)
				e.wantEntry(ent, err, syscall.EEXIST)
			}
			ent, err := e.fs.Mkdir(e.ctx, e.at("f").Node, "x", 0755)
			e.wantEntry(ent, err, syscall.ENOTDIR)
		}},
		{"Rmdir", Tree{dir("d"), dir("d/sub"), file("d/f", ""), file("f", ""), symlink("s", "d"), dir("empty")}, func(e *env) {
			d := e.at("d").Node
			e.want(e.fs.Rmdir(e.ctx, vfs.RootID, "none"), syscall.ENOENT)
			e.want(e.fs.Rmdir(e.ctx, vfs.RootID, "f"), syscall.ENOTDIR)
			e.want(e.fs.Rmdir(e.ctx, vfs.RootID, "s"), syscall.ENOTDIR)
			e.want(e.fs.Rmdir(e.ctx, vfs.RootID, "d"), syscall.ENOTEMPTY)
			e.want(e.fs.Rmdir(e.ctx, e.at("f").Node, "x"), syscall.ENOTDIR)
			e.want(e.fs.Unlink(e.ctx, vfs.RootID, "d"), syscall.EISDIR)
			e.want(e.fs.Unlink(e.ctx, vfs.RootID, "empty"), syscall.EISDIR)
			e.ok(e.fs.Rmdir(e.ctx, vfs.RootID, "empty"))
			e.missing("empty")
			e.ok(e.fs.Rmdir(e.ctx, d, "sub"))
			e.want(e.fs.Rmdir(e.ctx, vfs.RootID, "d"), syscall.ENOTEMPTY)
			e.ok(e.fs.Unlink(e.ctx, d, "f"))
			e.ok(e.fs.Rmdir(e.ctx, vfs.RootID, "d"))
			e.names(vfs.RootID, "f", "s")
		}},
		{"Rmdir/MadeAgain", Tree{dir("d"), file("d/old", "x")}, func(e *env) {
			old := e.at("d")
			e.ok(e.fs.Unlink(e.ctx, old.Node, "old"))
			e.ok(e.fs.Rmdir(e.ctx, vfs.RootID, "d"))
			again := e.mkdir(vfs.RootID, "d")
			if again.Node == old.Node {
				e.Error("the new directory is the old node")
			}
			e.names(again.Node) // nothing of the old one shows through
			e.missing("d/old")
			e.touch(again.Node, "new")
			e.names(again.Node, "new")
			e.removed(old.Node)
		}},
	}
}

// manyTree is a directory with n files.
func manyTree(n int) (Tree, []string) {
	tr, names := Tree{dir("d")}, []string(nil)
	for i := range n {
		name := fmt.Sprintf("file-%05d", i)
		tr, names = append(tr, Object{Path: "d/" + name}), append(names, name)
	}
	return tr, names
}

func readdirCases() []testCase {
	many, manyNames := manyTree(300)
	huge, hugeNames := manyTree(10_000)
	return []testCase{
		{"ReadDir/Entries", Tree{dir("d"), file("d/f", "x"), dir("d/sub"), symlink("d/s", "t"), {Path: "d/p", Mode: unix.S_IFIFO | 0600}}, func(e *env) {
			types := map[string]uint32{".": unix.S_IFDIR, "..": unix.S_IFDIR, "f": unix.S_IFREG, "sub": unix.S_IFDIR, "s": unix.S_IFLNK, "p": unix.S_IFIFO}
			d := e.openDir(e.at("d").Node)
			defer d.Close()
			seen := map[string]bool{}
			offs := map[uint64]string{}
			e.ok(d.ReadDir(e.ctx, 0, func(de vfs.DirEntry) bool {
				if seen[de.Name] {
					e.Errorf("%q is listed twice", de.Name)
				}
				seen[de.Name] = true
				want, known := types[de.Name]
				if !known || de.Type != 0 && de.Type != want {
					e.Errorf("%q has type %o", de.Name, de.Type)
				}
				if other, twice := offs[de.Off]; twice || de.Off == 0 {
					e.Errorf("%q and %q have cookie %d", de.Name, other, de.Off)
				}
				offs[de.Off] = de.Name
				if de.Name != ".." && de.Ino != 0 {
					path := "d"
					if de.Name != "." {
						path += "/" + de.Name
					}
					if a := e.at(path); a.Attr.Ino != de.Ino {
						e.Errorf("%q has inode %d, listed as %d", de.Name, a.Attr.Ino, de.Ino)
					}
				}
				return true
			}))
			if len(seen) != len(types) {
				e.Errorf("listed %v", seen)
			}
		}},
		{"ReadDir/Cookies", many, func(e *env) {
			d := e.openDir(e.at("d").Node)
			defer d.Close()
			all := readAll(e, d, 0)
			if got := listed(all); fmt.Sprint(got) != fmt.Sprint(manyNames) {
				e.Fatalf("listed %d entries: %v", len(got), got)
			}
			for _, i := range []int{0, 1, 7, 150, len(all) - 2, len(all) - 1} {
				rest := readAll(e, d, all[i].Off)
				if len(rest) != len(all)-i-1 {
					e.Fatalf("after entry %d of %d come %d", i, len(all), len(rest))
				}
				for k, de := range rest {
					if de != all[i+1+k] {
						e.Fatalf("from a cookie, entry %d is %+v, was %+v", k, de, all[i+1+k])
					}
				}
			}
			// In pieces: an entry that fn refuses counts as not read.
			for _, step := range []int{1, 2, 33} {
				var got []vfs.DirEntry
				off := uint64(0)
				for more := true; more; {
					more = false
					n := 0
					e.ok(d.ReadDir(e.ctx, off, func(de vfs.DirEntry) bool {
						if n == step {
							more = true
							return false
						}
						n++
						got, off = append(got, de), de.Off
						return true
					}))
				}
				if fmt.Sprint(got) != fmt.Sprint(all) {
					e.Fatalf("in pieces of %d, %d entries were listed", step, len(got))
				}
			}
		}},
		{"ReadDir/Rewind", many, func(e *env) {
			n := e.at("d").Node
			d := e.openDir(n)
			defer d.Close()
			readAll(e, d, 0)
			e.touch(n, "added")
			e.ok(e.fs.Unlink(e.ctx, n, "file-00007"))
			e.ok(e.fs.Rename(e.ctx, n, "file-00008", n, "renamed", 0))
			want := append([]string{"added", "renamed"}, manyNames...)
			want = remove(want, "file-00007", "file-00008")
			sort.Strings(want)
			if got := listed(readAll(e, d, 0)); fmt.Sprint(got) != fmt.Sprint(want) {
				e.Errorf("after changes, listed %v", got)
			}
			if got := listed(readAll(e, d, 0)); fmt.Sprint(got) != fmt.Sprint(want) {
				e.Errorf("a second time, listed %v", got)
			}
		}},
		{"ReadDir/ChangesMeanwhile", many, func(e *env) {
			n := e.at("d").Node
			d := e.openDir(n)
			defer d.Close()
			times := map[string]int{}
			off, i := uint64(0), 0
			for more := true; more; {
				more = false
				k := 0
				e.ok(d.ReadDir(e.ctx, off, func(de vfs.DirEntry) bool {
					if k++; k > 10 {
						more = true
						return false
					}
					times[de.Name]++
					off = de.Off
					return true
				}))
				e.touch(n, fmt.Sprintf("new-%d", i))
				if i%2 == 0 {
					e.ok(e.fs.Unlink(e.ctx, n, fmt.Sprintf("file-%05d", i)))
				}
				i++
			}
			for j, name := range manyNames {
				if there := j >= i || j%2 == 1; there && times[name] != 1 || times[name] > 1 {
					e.Errorf("%s was listed %d times", name, times[name])
				}
			}
		}},
		{"ReadDir/CookieOfAnotherHandle", many, func(e *env) {
			// A front end may forget the handle of a listing and go on with a new
			// one. What was listed goes meanwhile, as with rm -r, then other
			// things come, which makes of a lower directory a merged one.
			n := e.at("d").Node
			off, left, seen := uint64(0), map[string]bool{}, map[string]int{}
			for _, name := range manyNames {
				left[name] = true
			}
			for i := 0; ; i++ {
				d := e.openDir(n)
				var piece []string
				e.ok(d.ReadDir(e.ctx, off, func(de vfs.DirEntry) bool {
					if len(piece) == 25 {
						return false
					}
					piece, off = append(piece, de.Name), de.Off
					return true
				}))
				e.ok(d.Close())
				if len(piece) == 0 {
					break
				}
				for _, name := range piece {
					if seen[name]++; left[name] && i != 1 {
						e.ok(e.fs.Unlink(e.ctx, n, name))
						delete(left, name)
					}
				}
				if i > 2 {
					e.touch(n, fmt.Sprintf("new-%d", i))
				}
			}
			for _, name := range manyNames {
				if seen[name] != 1 {
					e.Errorf("%s was listed %d times", name, seen[name])
				}
			}
		}},
		{"ReadDir/RemoveWhileListing", many, func(e *env) {
			// What rm -r does: list a piece, remove what was listed, go on.
			n := e.at("d").Node
			d := e.openDir(n)
			defer d.Close()
			off := uint64(0)
			for range 1000 {
				var piece []string
				e.ok(d.ReadDir(e.ctx, off, func(de vfs.DirEntry) bool {
					if len(piece) == 20 {
						return false
					}
					piece, off = append(piece, de.Name), de.Off
					return true
				}))
				if len(piece) == 0 {
					break
				}
				for _, name := range piece {
					if name != "." && name != ".." {
						e.ok(e.fs.Unlink(e.ctx, n, name))
					}
				}
			}
			e.ok(e.fs.Rmdir(e.ctx, vfs.RootID, "d"))
		}},
		{"ReadDir/Plus", Tree{dir("d"), file("d/f", "x"), dir("d/sub"), symlink("d/s", "t"), {Path: "d/h", LinkTo: "d/f"}}, func(e *env) {
			d := e.openDir(e.at("d").Node)
			defer d.Close()
			var names []string
			e.ok(d.ReadDirPlus(e.ctx, 0, func(de vfs.DirEntry, ent vfs.Entry) bool {
				names = append(names, de.Name)
				if de.Name == "." || de.Name == ".." {
					if ent.Node != 0 {
						e.Errorf("%q comes with node %d", de.Name, ent.Node)
					}
					return true
				}
				e.keep(ent)
				if want := e.at("d/" + de.Name); ent.Node != want.Node || ent.Attr.Mode != want.Attr.Mode || ent.Attr.Ino != want.Attr.Ino || ent.Attr.Size != want.Attr.Size {
					e.Errorf("%q comes with %+v, Lookup has %+v", de.Name, ent, want)
				}
				return true
			}))
			sort.Strings(names)
			if fmt.Sprint(names) != "[. .. f h s sub]" {
				e.Errorf("listed %v", names)
			}
			// The one that is refused holds no reference.
			e.ok(d.ReadDirPlus(e.ctx, 0, func(vfs.DirEntry, vfs.Entry) bool { return false }))
		}},
		{"ReadDir/Removed", Tree{dir("d"), file("d/f", "")}, func(e *env) {
			n := e.at("d").Node
			d := e.openDir(n)
			defer d.Close()
			e.ok(e.fs.Unlink(e.ctx, n, "f"))
			e.ok(e.fs.Rmdir(e.ctx, vfs.RootID, "d"))
			e.noEntries(d)
			e.ok(d.Sync(e.ctx))
		}},
		{"ReadDir/TenThousand", huge, func(e *env) {
			n := e.at("d").Node
			d := e.openDir(n)
			defer d.Close()
			if got := listed(readAll(e, d, 0)); fmt.Sprint(got) != fmt.Sprint(hugeNames) {
				e.Fatalf("listed %d entries", len(got))
			}
			count := 0
			e.ok(d.ReadDirPlus(e.ctx, 0, func(de vfs.DirEntry, ent vfs.Entry) bool {
				if ent.Node != 0 {
					count++
					e.fs.Forget(ent.Node, 1)
				}
				return true
			}))
			if count != len(hugeNames) {
				e.Errorf("listed %d nodes", count)
			}
		}},
	}
}

func readAll(e *env, d vfs.DirHandle, off uint64) []vfs.DirEntry {
	e.Helper()
	var all []vfs.DirEntry
	e.ok(d.ReadDir(e.ctx, off, func(de vfs.DirEntry) bool {
		all = append(all, de)
		return true
	}))
	return all
}

// listed returns the names, "." and ".." apart, sorted.
func listed(des []vfs.DirEntry) []string {
	var names []string
	for _, de := range des {
		if de.Name != "." && de.Name != ".." {
			names = append(names, de.Name)
		}
	}
	sort.Strings(names)
	return names
}

func remove(names []string, gone ...string) []string {
	var left []string
	for _, n := range names {
		keep := true
		for _, g := range gone {
			keep = keep && n != g
		}
		if keep {
			left = append(left, n)
		}
	}
	return left
}
