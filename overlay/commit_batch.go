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
	var first error
	for i, o := range files {
		err := errs[i]
		if err == nil && first == nil {
			err = b.c.place(b.p, o, copies[i])
		} else {
			copies[i].discard(b.p)
		}
		switch {
		case first != nil:
		case errors.Is(err, errMeanwhile) || vanished(err):
			b.c.left(o.path, errMeanwhile)
		case err != nil:
			first = pathError(o.path, err)
		default:
			b.done = append(b.done, o)
			b.c.finished(o.path)
		}
	}
	return first
}

// finish flushes, and takes what is done out of the upper layer.
func (b *batch) finish() error {
	err := b.flush()
	if len(b.done) > 0 {
		err = errors.Join(err, b.c.drop(b.p, b.done))
	}
	return err
}
