// Package serve runs a mount in a process of its own, for tests: a program must
// not use a mount that it serves. The test binary starts itself again; the
// child mounts and takes commands on its standard input, by which the test acts
// on the filesystem beside the mount, as a capsule would.
package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/fusefs"
	"github.com/astridfs/astridfs/vfs"
)

// Env is the variable that makes a test binary a child; it holds a Config.
const Env = "FUSEFS_TEST_SERVE"

// Config says what a child serves.
type Config struct {
	FS         string   // name of a maker
	Dirs       []string // what the maker stands on
	Mountpoint string
	Second     string // a second mountpoint of the same filesystem, or empty
	Options    fusefs.Options
}

// Request is a command on the filesystem beside the mount.
type Request struct {
	Op          string
	Path, Path2 string
	Data        []byte
	Off         int64
	Size        int64
}

// Reply is what came of it. Errno is 0 if all went well.
type Reply struct {
	Errno syscall.Errno
	Error string
	Data  []byte
	Attr  vfs.Attr
	Names []string
	Stats fusefs.Stats
	FDs   int
}

// Maker opens a filesystem on dirs.
type Maker func(dirs []string) (fs vfs.FS, close func() error, err error)

// Child serves as Env says and does not return; without Env it does nothing.
func Child(makers map[string]Maker) {
	text := os.Getenv(Env)
	if text == "" {
		return
	}
	syscall.Umask(0)
	// What ends the test, a signal to its process group or a pipe without a
	// reader, must not end the child before it has unmounted.
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE)
	if err := child(text, makers); err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func child(text string, makers map[string]Maker) error {
	var c Config
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	enc, dec := json.NewEncoder(os.Stdout), json.NewDecoder(os.Stdin)
	fs, done, err := makers[c.FS](c.Dirs)
	if err != nil {
		return err
	}
	c.Options.Log = log.New(os.Stderr, "", log.Lmicroseconds)
	s := &session{fs: fs}
	for _, m := range []string{c.Mountpoint, c.Second} {
		if m == "" {
			continue
		}
		srv, err := fusefs.Mount(fs, m, c.Options)
		if err != nil {
			return errors.Join(enc.Encode(replyOf(Reply{}, err)), done())
		}
		s.mounts = append(s.mounts, srv)
	}
	if err := enc.Encode(Reply{}); err != nil {
		return err
	}
	for {
		var q Request
		if err := dec.Decode(&q); err != nil {
			if !errors.Is(err, io.EOF) {
				fmt.Fprintln(os.Stderr, "child:", err)
			}
			break
		}
		if err := enc.Encode(s.do(&q)); err != nil {
			break // the test is dead
		}
	}
	// The test is over or dead: leave nothing behind.
	var errs []error
	for _, m := range s.mounts {
		err := m.Unmount()
		// A mount namespace that another test made meanwhile may hold a copy,
		// which keeps the connection up. When that is cut, the kernel gives back
		// no nodes.
		cut := err == nil && !ended(m, time.Second)
		switch {
		case err != nil:
			errs = append(errs, err, m.UnmountLazy(), m.Abort(), m.Wait(context.Background()))
		case cut:
			errs = append(errs, m.Abort(), m.Wait(context.Background()))
		}
		if st := m.Stats(); st.Panics > 0 || st.Handles > 0 || st.Nodes > 0 && !cut {
			errs = append(errs, fmt.Errorf("left behind: %+v", st))
		}
	}
	return errors.Join(append(errs, done())...)
}

// ended tells whether a mount ends within that time.
func ended(m *fusefs.Server, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	return m.Wait(ctx) == nil
}

func replyOf(r Reply, err error) Reply {
	if err != nil {
		r.Errno, r.Error = vfs.Errno(err), err.Error()
	}
	return r
}

type session struct {
	fs     vfs.FS
	mounts []*fusefs.Server
}

func (s *session) do(q *Request) Reply {
	ctx := vfs.WithCaller(context.Background(), &vfs.Caller{Capsule: "test"})
	var r Reply
	switch q.Op {
	case "stats":
		runtime.GC()
		fds, err := os.ReadDir("/proc/self/fd")
		r.Stats, r.FDs = s.mounts[0].Stats(), len(fds)
		return replyOf(r, err)
	case "unmount":
		return replyOf(r, s.mounts[0].Unmount())
	case "lazy":
		return replyOf(r, s.mounts[0].UnmountLazy())
	case "abort":
		return replyOf(r, s.mounts[0].Abort())
	}
	t, err := vfs.Walk(ctx, s.fs, vfs.RootID, q.Path, 0)
	if err != nil {
		return replyOf(r, err)
	}
	defer t.Release()
	id := t.Entry.Node
	switch q.Op {
	case "stat":
		if id == 0 {
			return replyOf(r, syscall.ENOENT)
		}
		r.Attr, err = s.fs.GetAttr(ctx, id, nil)
	case "read":
		r.Data, err = s.read(ctx, id)
	case "write":
		err = s.write(ctx, &t, q)
	case "mkdir":
		var e vfs.Entry
		if e, err = s.fs.Mkdir(ctx, t.Parent, t.Name, 0o755); err == nil {
			s.fs.Forget(e.Node, 1)
		}
	case "unlink":
		err = s.fs.Unlink(ctx, t.Parent, t.Name)
	case "rmdir":
		err = s.fs.Rmdir(ctx, t.Parent, t.Name)
	case "rename":
		err = s.rename(ctx, &t, q.Path2)
	case "truncate":
		_, err = s.fs.SetAttr(ctx, id, nil, vfs.SetAttr{Valid: vfs.SetSize, Size: q.Size})
	case "chmod":
		_, err = s.fs.SetAttr(ctx, id, nil, vfs.SetAttr{Valid: vfs.SetMode, Mode: uint32(q.Size)})
	case "list":
		r.Names, err = s.list(ctx, id)
	default:
		err = fmt.Errorf("no such command: %q", q.Op)
	}
	return replyOf(r, err)
}

// write writes Data at Off; at the end of the file if Off is negative. A file
// that is not there is made.
func (s *session) write(ctx context.Context, t *vfs.Target, q *Request) error {
	flags := unix.O_WRONLY
	if q.Off < 0 {
		flags |= unix.O_APPEND
	}
	var h vfs.Handle
	var err error
	if t.Exists() {
		h, err = s.fs.Open(ctx, t.Entry.Node, flags)
	} else {
		var e vfs.Entry
		if e, h, err = s.fs.Create(ctx, t.Parent, t.Name, flags, 0o644); err == nil {
			defer s.fs.Forget(e.Node, 1)
		}
	}
	if err != nil {
		return err
	}
	_, err = h.WriteAt(ctx, q.Data, max(q.Off, 0))
	return errors.Join(err, h.Close())
}

func (s *session) read(ctx context.Context, id vfs.NodeID) ([]byte, error) {
	if id == 0 {
		return nil, syscall.ENOENT
	}
	h, err := s.fs.Open(ctx, id, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	var data []byte
	buf := make([]byte, 1<<16)
	for {
		n, err := h.ReadAt(ctx, buf, int64(len(data)))
		if err != nil || n == 0 {
			return data, err
		}
		data = append(data, buf[:n]...)
	}
}

func (s *session) rename(ctx context.Context, from *vfs.Target, path string) error {
	to, err := vfs.Walk(ctx, s.fs, vfs.RootID, path, 0)
	if err != nil {
		return err
	}
	defer to.Release()
	return s.fs.Rename(ctx, from.Parent, from.Name, to.Parent, to.Name, 0)
}

func (s *session) list(ctx context.Context, id vfs.NodeID) ([]string, error) {
	d, err := s.fs.OpenDir(ctx, id)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	var names []string
	err = d.ReadDir(ctx, 0, func(e vfs.DirEntry) bool {
		if e.Name != "." && e.Name != ".." {
			names = append(names, e.Name)
		}
		return true
	})
	return names, err
}
