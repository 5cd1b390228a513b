package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A socket's address holds 108 bytes, and a state directory may lie deeper than
// that. So the directory is opened and named by its descriptor.
func viaDir(dir, name string, f func(addr string) error) error {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(fd)
	return f(fmt.Sprintf("/proc/self/fd/%d/%s", fd, name))
}

// Listen makes the socket called name in dir, in place of one that a killed
// owner left. The caller owns the session, so that no other listens there; dir
// is its own and closed to others, so that nobody connects before the mode is
// set. Closing the listener leaves the socket, which Remove removes.
func Listen(dir, name string) (*net.UnixListener, error) {
	path := filepath.Join(dir, name)
	if err := Remove(dir, name); err != nil {
		return nil, err
	}
	var l *net.UnixListener
	err := viaDir(dir, name, func(addr string) (err error) {
		l, err = net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: addr})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Remove removes the socket called name in dir, if it is there.
func Remove(dir, name string) error {
	err := os.Remove(filepath.Join(dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// Dial connects to the socket called name in dir.
func Dial(ctx context.Context, dir, name string) (*net.UnixConn, error) {
	var c net.Conn
	err := viaDir(dir, name, func(addr string) (err error) {
		var d net.Dialer
		c, err = d.DialContext(ctx, "unix", addr)
		return err
	})
	if err != nil {
		return nil, err
	}
	return c.(*net.UnixConn), nil
}

// Peer returns the user id and the number of the process at the other end, as
// the kernel knows them.
func Peer(c *net.UnixConn) (uid, pid uint32, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var cred *unix.Ucred
	var cerr error
	err = raw.Control(func(fd uintptr) {
		cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err != nil {
		return 0, 0, err
	}
	if cerr != nil {
		return 0, 0, os.NewSyscallError("getsockopt", cerr)
	}
	return cred.Uid, uint32(cred.Pid), nil
}
