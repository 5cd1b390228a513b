package fusefs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const devFuse = "/dev/fuse"

const devHint = "let users open it (as root: chmod 666 /dev/fuse); in a container, pass it in (--device /dev/fuse --cap-add SYS_ADMIN)"

// mountDirect mounts by mount(2) and returns the descriptor of the connection.
func mountDirect(path string, opt *Options) (int, error) {
	fd, err := unix.Open(devFuse, unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch err {
	case nil:
	case syscall.ENOENT, syscall.ENXIO, syscall.ENODEV:
		return -1, noDevice(path, err)
	case syscall.EACCES, syscall.EPERM:
		return -1, &MountError{Path: path, Kind: ErrDevicePermission, Err: err, Hint: devHint}
	default:
		return -1, &MountError{Path: path, Err: fmt.Errorf("open %s: %w", devFuse, err)}
	}
	data := fmt.Sprintf("fd=%d,rootmode=%o,user_id=%d,group_id=%d,default_permissions,max_read=%d",
		fd, unix.S_IFDIR, os.Geteuid(), os.Getegid(), maxWrite)
	if opt.AllowOther {
		data += ",allow_other"
	}
	err = unix.Mount(opt.FSName, path, fsType, mountFlags(opt), data)
	if err == nil {
		return fd, nil
	}
	closeErr := unix.Close(fd)
	switch err {
	case syscall.EPERM, syscall.EACCES:
		return -1, &MountError{Path: path, Kind: ErrPermission, Err: errors.Join(err, closeErr), Hint: "mounting directly needs CAP_SYS_ADMIN"}
	case syscall.ENODEV:
		return -1, noDevice(path, err)
	}
	return -1, &MountError{Path: path, Err: errors.Join(fmt.Errorf("mount: %w", err), closeErr)}
}

func mountFlags(opt *Options) (flags uintptr) {
	for _, f := range [...]struct {
		set  bool
		flag uintptr
	}{
		{opt.NoSuid, unix.MS_NOSUID}, {opt.NoDev, unix.MS_NODEV}, {opt.NoExec, unix.MS_NOEXEC}, {opt.ReadOnly, unix.MS_RDONLY},
		{opt.NoAtime, unix.MS_NOATIME},
	} {
		if f.set {
			flags |= f.flag
		}
	}
	return flags
}

// Remount gives the mount at mountpoint the flags of opt: ReadOnly, NoSuid, NoDev,
// NoExec and NoAtime; nothing else of it counts. It needs CAP_SYS_ADMIN, and no
// file open for writing where the mount is to be read-only.
func Remount(mountpoint string, opt Options) error {
	path, err := resolve(mountpoint)
	if err != nil {
		return &MountError{Path: mountpoint, Err: err}
	}
	m, ok, err := mountAt(path)
	switch {
	case err != nil:
		return &MountError{Path: mountpoint, Err: err}
	case !ok || m.Type != fsType:
		return &MountError{Path: mountpoint, Kind: ErrNotMounted, Hint: "mount it first"}
	}
	switch err := unix.Mount(m.Source, path, fsType, unix.MS_REMOUNT|mountFlags(&opt), ""); err {
	case nil:
		return nil
	case syscall.EPERM, syscall.EACCES:
		return &MountError{Path: mountpoint, Kind: ErrPermission, Err: err, Hint: "remounting needs root"}
	case syscall.EBUSY:
		return &MountError{Path: mountpoint, Kind: ErrBusy, Err: err, Hint: "close what is open for writing there (fuser -vm shows it)"}
	default:
		return &MountError{Path: mountpoint, Err: fmt.Errorf("remount: %w", err)}
	}
}

func noDevice(path string, err error) error {
	return &MountError{Path: path, Kind: ErrNoDevice, Err: err, Hint: "load the kernel module (modprobe fuse), or in a container pass the device in (--device /dev/fuse)"}
}

// fusermount returns the helper that mounts and unmounts for ordinary users.
func fusermount(path string) (string, error) {
	for _, name := range [...]string{"fusermount3", "/bin/fusermount3", "/usr/bin/fusermount3"} {
		if bin, err := exec.LookPath(name); err == nil {
			return bin, nil
		}
	}
	return "", &MountError{Path: path, Kind: ErrNoFusermount, Hint: "install it (apt install fuse3)"}
}

// mountHelper mounts by fusermount3, which hands the descriptor of the
// connection back over a socket.
func mountHelper(path string, opt *Options) (int, error) {
	if _, err := os.Stat(devFuse); err != nil {
		return -1, noDevice(path, err)
	}
	bin, err := fusermount(path)
	if err != nil {
		return -1, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socketpair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "fusermount"), os.NewFile(uintptr(pair[1]), "fusermount")
	defer ours.Close()
	defer theirs.Close()

	var stderr bytes.Buffer
	cmd := exec.Command(bin, "-o", helperOptions(opt), "--", path)
	cmd.Env = append(os.Environ(), "_FUSE_COMMFD=3", "LC_ALL=C")
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return -1, helperError(path, strings.TrimSpace(stderr.String()), err)
	}
	return receive(int(ours.Fd()))
}

func helperOptions(opt *Options) string {
	l := []string{"fsname=" + escapeOption(opt.FSName), "subtype=" + subtype, "default_permissions", fmt.Sprintf("max_read=%d", maxWrite)}
	for _, o := range [...]struct {
		set  bool
		name string
	}{{opt.AllowOther, "allow_other"}, {opt.ReadOnly, "ro"}, {opt.NoExec, "noexec"}, {opt.NoAtime, "noatime"}, {true, "nosuid"}, {true, "nodev"}} {
		if o.set {
			l = append(l, o.name)
		}
	}
	return strings.Join(l, ",")
}

func escapeOption(s string) string {
	return strings.NewReplacer(`\`, `\\`, `,`, `\,`).Replace(s)
}

// helperError gives fusermount3's message a kind. It has one exit code for all,
// so the text decides how a failure is called, and nothing else.
func helperError(path, text string, err error) error {
	e := &MountError{Path: path, Err: err}
	if text != "" {
		e.Err = errors.New(text)
	}
	switch {
	case strings.Contains(text, "allow_other"):
		e.Kind, e.Hint = ErrAllowOther, "put a line user_allow_other into /etc/fuse.conf"
	case strings.Contains(text, devFuse):
		e.Kind, e.Hint = ErrDevicePermission, devHint
	case strings.Contains(text, "ermission denied"), strings.Contains(text, "not permitted"):
		e.Kind, e.Hint = ErrPermission, "the mountpoint must be yours and writable, and fusermount3 setuid root"
	case strings.Contains(text, "busy"):
		e.Kind, e.Hint = ErrBusy, "close what is open there (fuser -vm shows it), or unmount lazily"
	}
	return e
}

// receive takes one descriptor from a socket.
func receive(sock int) (int, error) {
	buf, oob := make([]byte, 16), make([]byte, unix.CmsgSpace(4))
	var n int
	var err error
	for {
		_, n, _, _, err = unix.Recvmsg(sock, buf, oob, unix.MSG_CMSG_CLOEXEC)
		if err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		return -1, fmt.Errorf("fusermount3: %w", err)
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil {
		return -1, fmt.Errorf("fusermount3: %w", err)
	}
	for i := range msgs {
		fds, err := unix.ParseUnixRights(&msgs[i])
		if err == nil && len(fds) == 1 {
			return fds[0], nil
		}
	}
	return -1, errors.New("fusermount3 handed over no connection")
}

// unmount takes away what is mounted at path, which is resolved; lazy also if it
// is in use.
func unmount(path string, lazy bool) error {
	flags := unix.UMOUNT_NOFOLLOW
	if lazy {
		flags |= unix.MNT_DETACH
	}
	err := unix.Unmount(path, flags)
	if err == syscall.EPERM {
		return unmountHelper(path, lazy)
	}
	switch err {
	case nil:
		return nil
	case syscall.EBUSY:
		return &MountError{Path: path, Kind: ErrBusy, Err: err, Hint: "close what is open there (fuser -vm shows it), or unmount lazily"}
	case syscall.EINVAL, syscall.ENOENT:
		return &MountError{Path: path, Kind: ErrNotMounted, Err: err}
	}
	return &MountError{Path: path, Err: fmt.Errorf("umount: %w", err)}
}

func unmountHelper(path string, lazy bool) error {
	bin, err := fusermount(path)
	if err != nil {
		return err
	}
	args := []string{"-u"}
	if lazy {
		args = append(args, "-z")
	}
	cmd := exec.Command(bin, append(args, "--", path)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	if _, ok, mErr := mountAt(path); mErr == nil && !ok {
		return &MountError{Path: path, Kind: ErrNotMounted}
	}
	return helperError(path, strings.TrimSpace(string(out)), err)
}
