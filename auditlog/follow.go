package auditlog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"
)

// Tail returns the last n records that filter chooses, oldest first, and the
// number of the last record of all. It reads no more files than that takes.
func Tail(ctx context.Context, dir string, filter Filter, n int) (list []Record, last uint64, err error) {
	names, err := files(dir)
	if err != nil {
		return nil, 0, fmt.Errorf("audit log: %w", err)
	}
	for i := len(names) - 1; i >= 0 && (last == 0 || len(list) < n); i-- {
		var own []Record
		at := position{name: names[i]}
		err := at.scan(ctx, dir, i == len(names)-1, func(l line) error {
			if l.torn {
				return nil
			}
			r, err := l.parse()
			if err != nil {
				return err
			}
			last = max(last, r.Seq)
			if n == 0 || !filter.Match(&r) {
				return nil
			}
			if own = append(own, r); len(own)/2 >= n {
				own = append(own[:0], own[len(own)-n:]...)
			}
			return nil
		})
		if err != nil {
			return nil, 0, err
		}
		list = append(own, list...)
	}
	return slices.Clone(list[max(len(list)-n, 0):]), last, nil
}

// followEvery is how often Follow looks for new records.
const followEvery = 100 * time.Millisecond

// Follow calls fn for each record that is appended from now on and that filter
// chooses, until ctx ends; then it returns nil. skip tells how many records
// there are already, as Read or Verify counted them. What it has read it does
// not read again.
//
// Errors: *BrokenError, for a line that is no record, and where records are gone.
func Follow(ctx context.Context, dir string, filter Filter, skip uint64, fn func(Record) error) error {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	next := skip + 1
	var at position
	for {
		err := at.follow(ctx, dir, next, func(l line) error {
			if l.torn {
				return nil // still being written
			}
			r, err := l.parse()
			switch {
			case err != nil:
				return err
			case r.Seq < next:
				return nil
			case r.Seq > next:
				return &BrokenError{File: l.file, Line: l.number, Seq: next, Kind: Missing, Why: fmt.Sprintf("record %d stands in its place", r.Seq)}
			}
			next++
			if !filter.Match(&r) {
				return nil
			}
			return fn(r)
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) && ctx.Err() == nil {
			var broken *BrokenError
			if errors.As(err, &broken) && broken.Seq == 0 {
				broken.Seq = next
			}
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// follow calls fn for each line from p on, at first from the file that holds the
// record seq, and a line that is not finished.
func (p *position) follow(ctx context.Context, dir string, seq uint64, fn func(line) error) error {
	// A file that is not the last one now is written to no more.
	names, err := files(dir)
	if err != nil {
		return err
	}
	if p.name == "" {
		for _, name := range names {
			if p.name == "" || name <= fileName(seq) {
				p.name = name
			}
		}
	}
	for i, name := range names {
		switch {
		case name < p.name:
			continue
		case name > p.name:
			*p = position{name: name}
		}
		if err := p.scan(ctx, dir, i == len(names)-1, fn); err != nil {
			return err
		}
	}
	return nil
}
