package overlay

import (
	"context"

	"golang.org/x/sys/unix"
)

// finishRecords has the log know what an interrupted commit did to the workspace
// and did not come to note: or else it would be taken for somebody else's doing
// once the view changes again.
func (fs *FS) finishRecords() error {
	tree, err := fs.log.load()
	if err != nil {
		return err
	}
	for i := range fs.log.todo {
		if r := &fs.log.todo[i]; r.kind == baseDeleting {
			if err := fs.forgetDeleted(tree, r.path); err != nil {
				return err
			}
		}
	}
	s, err := fs.survey(context.Background())
	if err != nil {
		return err
	}
	root, err := fs.rootPlace()
	if err != nil {
		return err
	}
	return fs.acceptPlaced(s, tree, root)
}

// forgetDeleted clears what is recorded at and below path where the workspace
// has nothing any more.
func (fs *FS) forgetDeleted(tree *baseTree, path string) error {
	known := tree.find(path)
	if known == nil {
		return nil
	}
	low, err := fs.coverAt(path)
	if err != nil {
		return err
	}
	return fs.forgetGone(known, path, &low)
}

// forgetGone is forgetDeleted given what is known of path, and what the
// workspace has there.
func (fs *FS) forgetGone(known *baseNode, path string, low *cover) error {
	if !low.exists() {
		return fs.log.clear(path, true)
	}
	for name, sub := range known.sub {
		var c cover
		if low.isDir() {
			var err error
			if c, err = fs.cover(low.lowers, name); err != nil {
				return err
			}
		}
		if err := fs.forgetGone(sub, joinPath(path, name), &c); err != nil {
			return err
		}
	}
	return nil
}

// acceptPlaced notes of each entry of the upper directory p, and below, whose
// place in the workspace has the same by now, that this is what it diverged
// from: of a file all but times, of a directory that it is one, or its
// attributes. s is of now.
func (fs *FS) acceptPlaced(s *survey, tree *baseTree, p *place) error {
	return fs.upperEntries(p, func(o *object) error {
		if o.white {
			return nil
		}
		s.settle(o)
		if err := fs.acceptEntry(tree, o); err != nil && !vanished(err) {
			return err
		}
		if !o.attr.IsDir() {
			return nil
		}
		return fs.acceptPlaced(s, tree, p.enter(o))
	})
}

func (fs *FS) acceptEntry(tree *baseTree, o *object) error {
	if o.hidden || o.opaque || !o.low.exists() || o.low.attr.Type() != o.attr.Type() {
		return nil
	}
	now, known := fs.log.printOf(&o.low.attr, o.low.id), tree.get(o.origin)
	if known != nil && *known == now {
		return nil
	}
	if !o.attr.IsDir() || known != nil && known.mode&unix.S_IFMT == unix.S_IFDIR {
		diff, err := differences(context.Background(), o.low.location(), &o.low.attr, o.loc, &o.attr)
		if o.attr.IsDir() {
			diff &^= Content
		}
		if err != nil || diff&^Times != 0 {
			return err
		}
	}
	return fs.log.append(baseRecord{kind: baseSet, path: o.origin, print: now})
}
