package auditlog

import (
	"context"
	"errors"
	"path"
	"strconv"
	"strings"
	"time"
)

// Filter chooses records. Zero fields choose all.
type Filter struct {
	// Path is a scheme path: a record is chosen if its Path or To is that path
	// or lies below it. With one of "*?[" in it, it is a pattern as path.Match
	// has it instead, matched against the whole path.
	Path string
	// Ops are the operations chosen.
	Ops []string
	// Actor is chosen if it equals the capsule, principal, program or pid.
	Actor string
	// Outcome chooses by outcome.
	Outcome Outcome
	// Since and Until bound the time: from Since on, before Until.
	Since, Until time.Time
}

// Validate answers an error for a filter that can't be meant: a broken pattern
// or an unknown outcome.
func (f *Filter) Validate() error {
	if _, err := path.Match(f.Path, ""); err != nil {
		return errors.New("path pattern " + f.Path + ": " + err.Error())
	}
	switch f.Outcome {
	case "", Allowed, Denied, Failed:
		return nil
	}
	return errors.New("unknown outcome " + string(f.Outcome) + ": want ok, denied or failed")
}

// Match tells whether f chooses r.
func (f *Filter) Match(r *Record) bool {
	switch {
	case f.Outcome != "" && r.Outcome != f.Outcome:
	case !f.Since.IsZero() && r.Time.Before(f.Since):
	case !f.Until.IsZero() && !r.Time.Before(f.Until):
	case f.Actor != "" && f.Actor != r.Actor.Capsule && f.Actor != r.Actor.Principal && f.Actor != r.Actor.Program &&
		(r.Actor.PID == 0 || f.Actor != strconv.FormatUint(uint64(r.Actor.PID), 10)):
	case f.Path != "" && !f.matchPath(r.Path) && !f.matchPath(r.To):
	default:
		return len(f.Ops) == 0 || contains(f.Ops, r.Op)
	}
	return false
}

func (f *Filter) matchPath(p string) bool {
	if p == "" {
		return false
	}
	if strings.ContainsAny(f.Path, "*?[") {
		ok, _ := path.Match(f.Path, p) // Validate has seen the pattern
		return ok
	}
	rest, ok := strings.CutPrefix(p, f.Path)
	return ok && (rest == "" || rest[0] == '/' || strings.HasSuffix(f.Path, "/"))
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// Read calls fn for each record in dir that filter chooses, oldest first, until
// fn answers an error, which Read returns. It checks each record by itself; the
// chain is for Verify. A torn last line is passed over.
func Read(ctx context.Context, dir string, filter Filter, fn func(Record) error) error {
	return scan(ctx, dir, func(l line) error {
		if l.torn {
			return nil
		}
		return emit(l, &filter, fn)
	})
}

func emit(l line, filter *Filter, fn func(Record) error) error {
	r, err := l.parse()
	if err != nil {
		return err
	}
	if !filter.Match(&r) {
		return nil
	}
	return fn(r)
}
