package overlay

import (
	"errors"
	"sync"
)

// syncBatch is how many copies are made durable at once, which costs the host
// little more than one.
const syncBatch = 32

// batch gathers the files of one directory of the workspace: copies that are to
// be made durable and get their names, and what the workspace has by now.
type batch struct {
	c      *commit
	p      *place
	files  []*object
	copies []*staged // of files
	done   []*object // what leaves the upper layer
}

func (b *batch) add(o *object, s *staged) error {
	b.files, b.copies = append(b.files, o), append(b.copies, s)
	if len(b.files) < syncBatch {
		return nil
	}
	return b.flush()
}

// flush gives the copies their names.
func (b *batch) flush() error {
	files, copies := b.files, b.copies
	b.files, b.copies = nil, nil
	errs := make([]error, len(copies))
	var wg sync.WaitGroup
	for i, s := range copies {
		if b.c.opt.NoSync || s.fd < 0 {
			continue
		}
		wg.Go(func() { errs[i] = b.c.syncStaged(s) })
	}
	wg.Wait()
	named := b.nameNew(files, copies, errs)
	var first error
	for i, o := range files {
		err := errs[i]
		switch {
		case named[i]:
			err = b.c.placed(b.p, o, copies[i])
		case err == nil && first == nil:
			err = b.c.place(b.p, o, copies[i])
		default:
			copies[i].discard(b.p)
		}
		switch {
		case errors.Is(err, errMeanwhile) || vanished(err):
			b.c.left(o.path, meanwhile(err))
		case err != nil && first == nil:
			first = pathError(o.path, err)
		case err == nil && (named[i] || first == nil):
			b.done = append(b.done, o)
			b.c.finished(o.path)
		}
	}
	return first
}

// nameNew gives the copies their names that stand for nothing in the workspace,
// with everything frozen once, and tells which have one now. errs says which are
// not to get one, and is told of more.
func (b *batch) nameNew(files []*object, copies []*staged, errs []error) (named []bool) {
	named = make([]bool, len(files))
	var fresh []int
	for i, o := range files {
		if errs[i] == nil && !o.low.exists() {
			fresh = append(fresh, i)
		}
	}
	if len(fresh) == 0 {
		return named
	}
	thaw, err := b.c.fs.freeze(b.c.lasting())
	if err == nil {
		defer thaw()
		err = location{dir: b.p.lowers[0].at}.use(func(fd int, _ string) error {
			for _, i := range fresh {
				errs[i] = b.c.nameNew(files[i], fd, copies[i])
				named[i] = errs[i] == nil
			}
			return nil
		})
	}
	if err != nil {
		for _, i := range fresh {
			errs[i] = err
		}
	}
	return named
}

// finish flushes, and takes what is done out of the upper layer.
func (b *batch) finish() error {
	err := b.flush()
	if len(b.done) > 0 {
		err = errors.Join(err, b.c.drop(b.p, b.done))
	}
	return err
}
