package overlay

import (
	"errors"
	"strconv"
	"strings"
	"syscall"

	"github.com/astridfs/astridfs/vfs"
	"github.com/astridfs/astridfs/vfs/at"
)

// linkGroup is an upper file with several names, of which some are committed.
type linkGroup struct {
	attr    vfs.Attr             // of the upper file when it was copied
	hosts   map[uint64]*linkHost // by mount of the workspace, as no file has names on two
	members []member
}

// linkHost is what a group is on one mount of the workspace.
type linkHost struct {
	at    location // a name that the workspace has for it
	id    at.Ident // what that is
	first string   // the path of the view that was copied for it, if any
}

// member is a committed name of a group, which leaves the upper layer together
// with the others.
type member struct {
	p *place
	o *object
}

// linkedFile makes one name of an upper file with several, so that the
// workspace has one file as well, on each of its mounts.
func (c *commit) linkedFile(p *place, o *object) error {
	g := c.links[o.id]
	if g == nil {
		g = &linkGroup{attr: o.attr, hosts: make(map[uint64]*linkHost)}
	} else if !unchanged(&g.attr, o.id, &o.attr, o.id) {
		return errMeanwhile
	}
	mount, err := mountOf(location{dir: p.lowers[0].at})
	if err != nil {
		return err
	}
	h := g.hosts[mount]
	if h == nil {
		if h, err = c.represent(p, o, mount); err != nil {
			return err
		}
		g.hosts[mount], c.links[o.id] = h, g
	}
	if h.first != o.path && (!o.low.exists() || o.low.id != h.id) {
		if err := c.linkTo(h, p, o); err != nil {
			return err
		}
		c.step("linked")
	}
	g.members = append(g.members, member{p, o})
	return nil
}

// represent finds the workspace's file for o's group on a mount, which o is on:
// one that has the right contents already under a name of the group, or a new
// copy.
func (c *commit) represent(p *place, o *object, mount uint64) (*linkHost, error) {
	unlike := make(map[at.Ident]bool) // files whose contents are others
	for _, path := range c.survey.groups[o.id] {
		m := o
		if path != o.path {
			if !c.choice.has(path) {
				continue
			}
			var err error
			if m, err = c.fs.lookPath(path); vanished(err) {
				continue
			} else if err != nil {
				return nil, err
			}
		}
		if m.id != o.id || !m.low.exists() || unlike[m.low.id] {
			continue
		}
		on, err := mountOf(m.low.location())
		if vanished(err) || err == nil && on != mount {
			continue
		}
		kept := false
		if err == nil {
			var diff What
			kept, diff, err = c.keep(m)
			unlike[m.low.id] = diff&Content != 0
		}
		if err != nil {
			return nil, err
		}
		if kept {
			return &linkHost{at: m.low.location(), id: m.low.id}, nil
		}
	}
	if err := c.replace(p, o); err != nil {
		return nil, err
	}
	h := &linkHost{at: location{p.lowers[0].at, o.name}, first: o.path}
	_, id, err := h.at.stat()
	h.id = id
	return h, err
}

// linkTo makes o's name in the workspace a name of the group's file.
func (c *commit) linkTo(h *linkHost, p *place, o *object) error {
	if !c.opt.Force && o.low.exists() && c.walk.conflict(o, Content) != NoConflict {
		return errMeanwhile
	}
	err := h.at.use(func(hfd int, hname string) error {
		return c.touch(hfd, hname, h.id, nil, func(int) error {
			return location{p.lowers[0].at, o.name}.use(func(fd int, _ string) error {
				t, err := c.temp(p, fd)
				if err != nil {
					return err
				}
				s := staged{fd: -1}
				defer s.close(fd)
				if err := at.Link(hfd, hname, fd, t); err != nil {
					return err
				}
				s.name = t
				if _, id, err := at.Stat(fd, t); err != nil || id != h.id {
					return errors.Join(errMeanwhile, err)
				}
				return c.put(p, o, fd, &s)
			})
		})
	})
	if err != nil {
		return err
	}
	return c.settled(o.path, location{p.lowers[0].at, o.name})
}

// lookPath returns the upper object at a path of the view. ENOENT.
func (fs *FS) lookPath(path string) (*object, error) {
	_, o, err := fs.lookParent(path)
	return o, err
}

// lookParent returns the upper object at a path of the view, and its directory.
// ENOENT.
func (fs *FS) lookParent(path string) (*place, *object, error) {
	p, err := fs.rootPlace()
	if err != nil {
		return nil, nil, err
	}
	for {
		name, rest, more := strings.Cut(path, "/")
		o, err := fs.look(p, name)
		if err != nil || !more {
			return p, o, err
		}
		if !o.attr.IsDir() {
			return nil, nil, syscall.ENOENT
		}
		p, path = p.enter(o), rest
	}
}

// settledBase reads what is recorded anew, once every change that is under way is
// over.
func (c *commit) settledBase() error {
	if !c.frozen {
		thaw, err := c.fs.freeze(c.lasting())
		if err != nil {
			return err
		}
		thaw()
	}
	return c.reloadBase()
}

// reloadBase reads what is recorded anew.
func (c *commit) reloadBase() error {
	tree, err := c.fs.log.load()
	if err == nil {
		c.base, c.walk.base, c.walk.inodes = tree, tree, nil
	}
	return err
}

// touch calls fn with an O_PATH descriptor of the workspace's file id, which it
// gives what to says or takes from, or adds to, the names of; to is nil where it
// is the names alone. name in the directory fd must be a name of it. What is
// recorded of the file, under whatever name, follows.
func (c *commit) touch(fd int, name string, id at.Ident, to *vfs.Attr, fn func(fd int) error) error {
	return useFile(fd, name, id, func(fd int) error {
		a, _, err := at.Stat(fd, "")
		if err == nil {
			err = c.announce(&a, id, to)
		}
		if err != nil {
			return err
		}
		old := c.fs.log.printOf(&a, id)
		err = fn(fd)
		c.step("touched")
		// What came before an error is the commit's doing as well.
		a, _, serr := at.Stat(fd, "")
		if serr == nil {
			serr = c.follow(old, c.fs.log.printOf(&a, id))
		}
		if err == nil {
			err = serr
		}
		return err
	})
}

// announce notes that the commit is about to touch a file of the workspace, for
// the next Open to find out what it made of it if that is cut short. Once is
// enough where nothing but the change time is to change.
func (c *commit) announce(a *vfs.Attr, id at.Ident, to *vfs.Attr) error {
	if to == nil && c.announced[id] {
		return nil
	}
	r := baseRecord{kind: baseTouching, print: c.fs.log.printOf(a, id)}
	if r.now = r.print; to != nil {
		r.now.mode, r.now.uid, r.now.gid, r.now.mtime = to.Mode, to.UID, to.GID, to.Mtime
	} else {
		c.announced[id] = true
	}
	return c.fs.log.append(r)
}

// follow notes what the commit made of a file.
func (c *commit) follow(old, now fingerprint) error {
	if old == now {
		return nil
	}
	return c.note(baseRecord{kind: baseTouched, print: old, now: now})
}

// namesLeft looks for a name that the workspace still has of each of the files,
// in tree, and calls fn with what is recorded of the file and what it is now.
func (fs *FS) namesLeft(tree *baseTree, files map[*fingerprint]bool, fn func(old, now fingerprint) error) error {
	if len(files) == 0 {
		return nil
	}
	var found [][2]fingerprint
	err := tree.each(func(path string, p *fingerprint) error {
		if !files[p] {
			return nil
		}
		f, err := fs.coverAt(path)
		if vanished(err) || err == syscall.ENOTDIR {
			return nil
		}
		if err != nil {
			return err
		}
		if !f.exists() {
			return nil
		}
		if now := fs.log.printOf(&f.attr, f.id); now.ino == p.ino && now.dev == p.dev {
			found = append(found, [2]fingerprint{*p, now})
			delete(files, p)
		}
		return nil
	})
	for _, f := range found {
		if err == nil {
			err = fn(f[0], f[1])
		}
	}
	return err
}

// unlink removes name in the directory fd of the workspace, a name of the lower
// file low, whose number is not given to another one then if an upper file shows it.
func (c *commit) unlink(low *cover, fd int, name string) error {
	ino := c.fs.devs.ino(low.id)
	kept := low.attr.Nlink < 2 && len(c.survey.strangers[ino]) > 0 && c.fs.inos.keep(c.fs, fd, name, ino)
	err := at.Unlink(fd, name, 0)
	if err != nil && kept {
		c.fs.inos.release(c.fs, ino) // or the file would have two names
	}
	return err
}

// keep reserves the number of a lower file that goes and that an upper file
// elsewhere shows, so that the host does not give it to another; until the next
// Open that finds it shown no more. It cannot where the workspace is on another
// filesystem than the upper layer.
func (r *reservedInos) keep(fs *FS, fd int, name string, ino uint64) bool {
	if at.Link(fd, name, fs.ly.inos, strconv.FormatUint(ino, 10)) != nil {
		return false
	}
	r.mu.Lock()
	r.set[ino] = struct{}{}
	r.mu.Unlock()
	return true
}
