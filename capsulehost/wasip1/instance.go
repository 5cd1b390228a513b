package wasip1

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/astridfs/astridfs/capsulehost/view"
	"github.com/astridfs/astridfs/vfs"
)

// DefaultMaxFiles is how many descriptors a guest may have open where its
// [Config] does not say.
const DefaultMaxFiles = 1024

// FirstPreopen is the first descriptor that is no stream.
const FirstPreopen = 3

// Preopen is a directory that a guest finds open when it starts.
type Preopen struct {
	// Name is what the guest finds it by.
	Name string
	// Scheme is the tree whose root it is; zero is the directory of the other
	// preopens, as "/" is by default.
	Scheme view.Scheme
}

// Config is what a guest is given. The streams stay the caller's. They are used
// without copying: a Write must not keep its argument, and must return when the
// guest is to be stopped. A Read may go on after the instance is closed, until
// the reader returns.
type Config struct {
	// Args are the arguments, the program's name first; Env the environment,
	// each "NAME=value". Neither may hold a NUL.
	Args, Env []string

	// Stdin, Stdout and Stderr are descriptors 0, 1 and 2. A nil Stdin is at
	// its end, a nil Stdout or Stderr takes everything and keeps nothing.
	Stdin          io.Reader
	Stdout, Stderr io.Writer

	// View is what the guest sees of the session.
	View *view.View

	// Preopens replaces the preopened directories that the package comment
	// names, if it is not nil.
	Preopens []Preopen

	// MaxFiles bounds how many descriptors are open at a time, the streams and
	// the preopened directories included; 0 is DefaultMaxFiles.
	MaxFiles int

	// Rand is where random_get takes its bytes; nil is the system's.
	Rand io.Reader

	// Slots bounds the calls on files that are under way in the host at a time,
	// of all guests that share it; one that gets none in time answers EAGAIN.
	// nil sets no bound.
	Slots *view.Slots
}

// Instance is the state of one guest: what it was given and what it has open.
type Instance struct {
	args, env [][]byte
	view      *view.View
	rand      io.Reader
	slots     *view.Slots
	start     time.Time
	table     table
	gather    gatherPool
	root      []Preopen // what the directory of preopens holds
	preopened []string  // names of descriptors, from FirstPreopen on
}

// New makes the state for one guest. The caller closes it when the guest is
// gone.
//
// Errors: an argument or a variable with a NUL, more preopens than MaxFiles
// allows.
func New(c Config) (*Instance, error) {
	in := &Instance{view: c.View, rand: c.Rand, slots: c.Slots, start: time.Now()}
	if in.view == nil {
		in.view = &view.View{}
	}
	if in.rand == nil {
		in.rand = rand.Reader
	}
	var err error
	if in.args, err = terminated("argument", c.Args); err != nil {
		return nil, err
	}
	if in.env, err = terminated("environment variable", c.Env); err != nil {
		return nil, err
	}
	in.table.max = c.MaxFiles
	if in.table.max == 0 {
		in.table.max = DefaultMaxFiles
	}
	descs := []*desc{
		{kind: kindStream, stream: newInput(c.Stdin), base: stdinRights},
		{kind: kindStream, stream: newOutput(c.Stdout), base: stdoutRights},
		{kind: kindStream, stream: newOutput(c.Stderr), base: stdoutRights},
	}
	preopens := c.Preopens
	if preopens == nil {
		preopens = in.standardPreopens()
	}
	for _, p := range preopens {
		in.preopened = append(in.preopened, p.Name)
		d := &desc{kind: kindDir, preopen: p.Name, named: true, scheme: p.Scheme, base: dirRights, inherit: allRights}
		if p.Scheme == 0 {
			d.kind = kindRoot
		} else {
			fs, err := in.view.FS(p.Scheme)
			if err != nil {
				return nil, fmt.Errorf("preopening %q: %w", p.Name, err)
			}
			d.node = newRef(fs, vfs.RootID)
			if name := strings.TrimPrefix(p.Name, "/"); name != "" && name != p.Name {
				in.root = append(in.root, Preopen{Name: name, Scheme: p.Scheme})
			}
		}
		descs = append(descs, d)
	}
	for _, d := range descs {
		if _, errno := in.table.add(d); errno != Success {
			return nil, fmt.Errorf("%d descriptors are too few for %d preopened directories", in.table.max, len(preopens))
		}
	}
	return in, nil
}

// standardPreopens are those of the package comment, without the trees that the
// view lacks.
func (in *Instance) standardPreopens() []Preopen {
	var l []Preopen
	for _, p := range []Preopen{
		{"/workspace", view.Workspace},
		{"/home", view.Home},
		{"/tmp", view.Tmp},
		{"/", 0},
		{".", view.Workspace},
	} {
		if p.Scheme != 0 {
			if _, err := in.view.FS(p.Scheme); err != nil {
				continue
			}
		}
		l = append(l, p)
	}
	return l
}

// Close closes everything that the guest has open. It may be called more than
// once; after it every descriptor is EBADF. The error is the first one of a
// write that had been delayed.
func (in *Instance) Close() error { return in.table.close() }

// Environ is env with PWD=/workspace added if it sets no PWD: Go's programs
// take their working directory from it.
func Environ(env []string) []string {
	for _, e := range env {
		if strings.HasPrefix(e, "PWD=") {
			return env
		}
	}
	return append(env[:len(env):len(env)], "PWD=/workspace")
}

// terminated returns the strings with a NUL behind each.
func terminated(what string, l []string) ([][]byte, error) {
	out := make([][]byte, len(l))
	for i, s := range l {
		if strings.IndexByte(s, 0) >= 0 {
			return nil, fmt.Errorf("%s %d holds a NUL", what, i)
		}
		out[i] = append([]byte(s), 0)
	}
	return out, nil
}

type instanceKey struct{}

// With returns a context with which a guest finds its instance. It is for the
// calls into the guest, its instantiation included.
func With(ctx context.Context, in *Instance) context.Context {
	return context.WithValue(ctx, instanceKey{}, in)
}

// instanceFrom returns the instance that ctx carries, or nil.
func instanceFrom(ctx context.Context) *Instance {
	in, _ := ctx.Value(instanceKey{}).(*Instance)
	return in
}
