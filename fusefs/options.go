package fusefs

import "time"

// Logger takes what an operator should see: a panic in a call, a notification
// that the kernel refused. A [log.Logger] is one, and so is a logrus logger. It
// must be safe for concurrent use.
type Logger interface {
	Printf(format string, args ...any)
}

// Options of [Mount]. The zero value is usable.
type Options struct {
	// FSName is the source that mount(8) and df(1) show, and by which
	// [FindMounts] finds the mount again; "astridfs" if empty.
	FSName string

	// AllowOther lets other users than the mounting one in, held by permission
	// bits and ACLs. Without it even root is kept out of an ordinary user's
	// mount. An ordinary user needs user_allow_other in /etc/fuse.conf.
	AllowOther bool

	// ReadOnly makes every change answer EROFS, and reading leave access times as
	// they are. With Remountable it is the kernel alone that refuses changes, until
	// root remounts.
	ReadOnly, Remountable bool

	// NoSuid, NoDev and NoExec take away the meaning of setuid bits, device
	// nodes and execute permission. A mount of root has none of them by
	// default, like kernel overlayfs; a mount of an ordinary user always has
	// NoSuid and NoDev.
	NoSuid, NoDev, NoExec bool

	// NoAtime keeps access times as they are when files are read, except of files
	// that are open for writing with passthrough at the time.
	NoAtime bool

	// Over lets the mount hide what is at its mountpoint, as mount(2) does: files,
	// or another mount that is alive.
	Over bool

	// VolatileTimeout is how long the kernel may keep what the filesystem calls
	// volatile; one second if zero, not at all if negative.
	VolatileTimeout time.Duration

	// NoPassthrough keeps every read and write going through this process. It
	// must be set where the same filesystem is mounted twice: what the kernel
	// writes directly through one mount is not told to the other.
	NoPassthrough bool

	// MaxNodes is how many nodes the kernel may know before it is asked to
	// forget some that are not in use, which bounds the memory of both sides;
	// 262,144 if zero. It takes Linux 6.18; before, only a shortage of memory
	// makes the kernel forget.
	MaxNodes int

	// Log takes messages; nil drops them.
	Log Logger

	// Debug logs every request and reply.
	Debug bool
}

// longTimeout is the lifetime of what is told when it changes. It is finite so
// that a notification lost to a fault does no harm forever.
const longTimeout = time.Hour

const (
	defaultFSName  = "astridfs"
	subtype        = "astridfs"
	defaultTimeout = time.Second
	defaultNodes   = 1 << 18
)

func (o *Options) setDefaults() {
	if o.FSName == "" {
		o.FSName = defaultFSName
	}
	if o.MaxNodes <= 0 {
		o.MaxNodes = defaultNodes
	}
	switch {
	case o.VolatileTimeout == 0:
		o.VolatileTimeout = defaultTimeout
	case o.VolatileTimeout < 0:
		o.VolatileTimeout = 0
	}
	if o.Log == nil {
		o.Log = discard{}
	}
}

type discard struct{}

func (discard) Printf(string, ...any) {}

// logWriter gives a Logger to go-fuse, which wants a log.Logger.
type logWriter struct{ log Logger }

// Write implements io.Writer.
func (w logWriter) Write(p []byte) (int, error) {
	w.log.Printf("fuse: %s", trimNewline(p))
	return len(p), nil
}

func trimNewline(p []byte) []byte {
	for len(p) > 0 && p[len(p)-1] == '\n' {
		p = p[:len(p)-1]
	}
	return p
}
