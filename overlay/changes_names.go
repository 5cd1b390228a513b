package overlay

import (
	"context"
	"strconv"
	"strings"
	"syscall"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// A lower file with several names, once copied up, shows under all of them: by
// its entries in the upper layer, and by the index under the names that only
// the lower layer has. A walk of the upper layer does not see the latter, and a
// commit that takes names from the lower file would lose them, since a lower
// file with one name is not looked up in the index. So such names are given to
// the upper layer before a commit or discard, and an expanded change set; before
// any other only where the upper layer has none at all.

// nameCopies is nameIndexed for who does not hold FS.changing.
func (fs *FS) nameCopies(ctx context.Context, orphans bool) error {
	if !fs.hard.used.Load() {
		return nil
	}
	fs.changing.Lock()
	defer fs.changing.Unlock()
	return fs.nameIndexed(ctx, orphans)
}

// nameIndexed gives copies all the names in the upper layer that the view shows
// by the index alone; with orphans set, only those that have none there.
func (fs *FS) nameIndexed(ctx context.Context, orphans bool) error {
	if !fs.hard.used.Load() {
		return nil
	}
	want, err := fs.hiddenNames(orphans)
	if err != nil || len(want) == 0 {
		return err
	}
	thaw, err := fs.freeze(ctx)
	if err != nil {
		return err
	}
	defer thaw()
	s, err := fs.survey(ctx)
	if err != nil {
		return err
	}
	root := cover{lowers: fs.ly.lowers}
	return fs.lowerTree(ctx, &root, func(path string, f *cover) error {
		if f.isDir() || f.attr.Nlink < 2 || !want[fs.devs.ino(f.id)] {
			return nil
		}
		return fs.nameUpper(ctx, s.viewOf(path), f.id)
	})
}

// hiddenNames returns the numbers of the copies that the view may show under
// names of the lower layers alone.
func (fs *FS) hiddenNames(orphans bool) (map[uint64]bool, error) {
	want := make(map[uint64]bool)
	for _, fd := range [...]int{fs.ly.index, fs.ly.links} {
		var names []string
		err := at.ReadDir(fd, 0, func(e vfs.DirEntry) bool {
			if e.Name != "." && e.Name != ".." && !strings.HasPrefix(e.Name, countPrefix) {
				names = append(names, e.Name)
			}
			return true
		})
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			a, _, err := at.Stat(fd, name)
			if err == syscall.ENOENT {
				continue
			}
			if err != nil {
				return nil, err
			}
			if a.IsDir() || isWhiteout(&a) {
				continue // the kernel's
			}
			// What is shown beyond the links that are there: names of the
			// lower layer, less the index entry itself.
			adj, err := fs.readNlink(fd, name, a.Nlink, a.Nlink)
			var ino uint64
			if err == nil {
				ino, err = fs.ly.ino(fd, name)
			}
			if err == syscall.ENOENT || err == nil && a.Nlink > 1 && (orphans || adj < 0) {
				continue
			}
			if err != nil {
				return nil, err
			}
			want[ino] = true
		}
	}
	return want, nil
}

// nameUpper gives the copy of the lower file id an entry at path, if the view
// shows it there by the index. Everything is frozen.
func (fs *FS) nameUpper(ctx context.Context, path string, id at.Ident) error {
	t, err := vfs.Walk(ctx, fs, vfs.RootID, path, 0)
	if e := vfs.Errno(err); e == syscall.ENOENT || e == syscall.ENOTDIR {
		return nil // the view has something else there
	}
	if err != nil {
		return err
	}
	defer t.Release()
	if !t.Exists() {
		return nil
	}
	p, err := fs.dirNode(t.Parent)
	if err != nil {
		return err
	}
	defer fs.put(p)
	n, err := fs.node(t.Entry.Node)
	if err != nil {
		return err
	}
	defer fs.put(n)
	if n.isDir() {
		return nil
	}
	p.d.mu.RLock()
	low, _, now, err := fs.lowerEntry(p, t.Name)
	p.d.mu.RUnlock()
	if err != nil || low == nil || now != id {
		return err
	}
	if err := fs.copyUp(ctx, p, wholeFile); err != nil {
		return err
	}
	defer lockDirs(p)()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.idx == "" || !n.up || fs.nameInUpperLocked(n, p, t.Name) {
		return nil
	}
	low, a, now, err := fs.lowerEntry(p, t.Name)
	if err == nil && low != nil {
		err = fs.diverge(low, t.Name, a, now)
	}
	if err != nil {
		return err
	}
	err = keepTimes(p.d.upper.Load(), func(fd int) error {
		if err := fs.makeImpure(p, fd); err != nil {
			return err
		}
		return fs.linkUpLocked(n, fd, t.Name)
	})
	if err != nil {
		return err
	}
	if l := n.findLinkLocked(p, t.Name); l != nil {
		l.inUpper = true
	}
	fs.step("commit.named upper")
	return nil
}

// nameBack notes that a name of the lower file low, in the directory fd, that
// the upper layer had removed shows again. Nodes in memory learn of it by a refresh.
func (fs *FS) nameBack(low *cover, fd int) error {
	if low.attr.Nlink < 2 || !fs.hard.used.Load() {
		return nil
	}
	idx := fs.indexName(low.in, fd, low.name, &low.attr, low.id)
	err := fs.addNlink(fs.homeFD(idx), idx, 'U')
	if err == nil {
		err = fs.addNlink(fs.ly.links, countPrefix+idx, 'L')
	}
	if err == nil {
		err = fs.addNlink(fs.ly.links, countPrefix+idx, 'S')
	}
	return err
}

// nameGoes notes how many names of the lower file low, in the directory fd, show,
// in a way that does not depend on whether the workspace has lost those yet which
// it is about to lose, and the view has lost before. forget is called when it has.
// Nodes in memory learn of it by a refresh.
func (fs *FS) nameGoes(low *cover, fd int) (forget func(), err error) {
	forget = func() {}
	if low.attr.Nlink < 2 || !fs.hard.used.Load() {
		return forget, nil
	}
	name := countPrefix + fs.indexName(low.in, fd, low.name, &low.attr, low.id)
	if low.attr.Nlink == 2 { // it has one name then
		forget = func() { at.Unlink(fs.ly.links, name, 0) }
	}
	var buf [markValueMax]byte
	v, ok, err := fs.ly.get(fs.ly.links, name, markNlink, buf[:])
	if err == syscall.ENOENT {
		err = nil
	}
	if err != nil || !ok || v == "" || v[0] != 'L' {
		return forget, err
	}
	n, err := strconv.ParseInt(v[1:], 10, 32)
	if err != nil {
		return forget, nil // unreadable, so not counted with
	}
	return forget, fs.ly.set(fs.ly.links, name, markNlink, nlinkMark('S', int32(low.attr.Nlink)+int32(n)))
}

// addNlink adds one to the link count recorded in the work directory for a copy
// (base 'U') or a lower file ('L', 'S'), if there is such a record.
func (fs *FS) addNlink(dirfd int, name string, base byte) error {
	var buf [markValueMax]byte
	v, ok, err := fs.ly.get(dirfd, name, markNlink, buf[:])
	if err == syscall.ENOENT {
		return nil
	}
	if err != nil || !ok || v == "" || v[0] != base {
		return err
	}
	n, err := strconv.ParseInt(v[1:], 10, 32)
	if base == 'L' && (err != nil || n >= -1) {
		return at.Unlink(dirfd, name, 0) // none is removed any more
	}
	if err != nil {
		return nil // unreadable, so not counted with
	}
	return fs.ly.set(dirfd, name, markNlink, nlinkMark(base, int32(n)+1))
}
