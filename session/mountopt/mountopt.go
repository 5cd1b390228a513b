// Package mountopt reads the options of `mount -t fuse.astridfs`: those of
// fuse-overlayfs and of the kernel's overlayfs, in mount(8)'s form. Each option
// that is known is taken, needs nothing done, or is refused with the reason. The
// package is pure: it looks at no file.
package mountopt

import (
	"slices"
	"strings"

	"github.com/astridfs/astridfs/session/fault"
)

// Options are what a mount of layers is to be.
type Options struct {
	Lower       []string // the topmost first
	Upper, Work string   // both empty: a read-only mount

	ReadOnly              bool
	AllowOther            bool // let other users in
	NoSuid, NoDev, NoExec bool
	NoAtime               bool
	Remount               bool // only change the flags above, ReadOnly to NoAtime, of what is mounted
	UserXattr             bool // marks in the "user." namespace also as root

	Source string // what the mount table shows, if fsname= was given
}

// Parse reads options that are separated by commas. In a value a backslash takes
// away the meaning of the character behind it (a comma, a backslash and, in
// lowerdir, a colon), as with the kernel's overlayfs; between double quotes a
// comma is none, as with mount(8). Of an option that is given twice the last
// counts. With sloppy, options that are not known are left out; otherwise each
// is a fault of kind Usage, as is everything that makes no sense.
//
// With "remount" among them, all that is no flag is left out, as the kernel's
// overlayfs does: mount(8) gives what the mount table shows, too.
func Parse(text string, sloppy bool) (Options, error) {
	var o Options
	items := split(text, ',')
	remount := slices.Contains(items, "remount")
	for _, item := range items {
		if item == "" {
			continue
		}
		name, value, given := strings.Cut(item, "=")
		r, known := rules[name]
		switch {
		case remount && (r.take == nil || r.valued):
		case !known && (strings.HasPrefix(name, "x-") || strings.HasPrefix(name, "X-")):
		case !known && sloppy:
		case !known:
			return o, fault.New(fault.Usage, next, "unknown option %q", name)
		case r.refused != "" && !(given && slices.Contains(r.values, value)):
			return o, fault.New(fault.Usage, r.instead, "option %q: %s", item, r.refused)
		case r.take == nil:
		case r.valued && value == "":
			return o, fault.New(fault.Usage, next, "option %q needs a value", name)
		case !r.valued && given:
			return o, fault.New(fault.Usage, next, "option %q takes no value", name)
		default:
			if err := r.take(&o, unquote(value)); err != nil {
				return o, err
			}
		}
	}
	return o, o.check()
}

const next = "give lowerdir=A:B and, for a mount that can be written, upperdir=C,workdir=D"

func (o *Options) check() error {
	switch {
	case o.Remount:
		return nil
	case len(o.Lower) == 0:
		return fault.New(fault.Usage, next, "option \"lowerdir\" is missing")
	case o.Upper == "" && o.Work != "":
		return fault.New(fault.Usage, next, "option \"workdir\" without \"upperdir\"")
	case o.Upper != "" && o.Work == "":
		return fault.New(fault.Usage, "name an empty directory of the same filesystem as the upper one", "option \"upperdir\" without \"workdir\"")
	}
	if o.Upper == "" {
		o.ReadOnly = true
	}
	return nil
}

// rule is what becomes of an option. Without take and refused it needs nothing
// done: it asks for what is so anyway, or is for others.
type rule struct {
	take   func(o *Options, value string) error
	valued bool // needs a value

	refused, instead string   // why, and what to do
	values           []string // those that ask for nothing and so are not refused
}

func flag(set func(o *Options)) rule {
	return rule{take: func(o *Options, _ string) error { set(o); return nil }}
}

func value(take func(o *Options, v string) error) rule { return rule{take: take, valued: true} }

func refused(why, instead string, except ...string) rule {
	return rule{refused: why, instead: instead, values: except}
}

// rules has every option that is known. It is never changed.
var rules = map[string]rule{
	"lowerdir":  value(func(o *Options, v string) error { o.Lower = nil; return o.addLower(v) }),
	"lowerdir+": value(func(o *Options, v string) error { o.Lower = append(o.Lower, unescape(v)); return nil }),
	"upperdir":  value(func(o *Options, v string) error { o.Upper = unescape(v); return nil }),
	"workdir":   value(func(o *Options, v string) error { o.Work = unescape(v); return nil }),
	"fsname":    value(func(o *Options, v string) error { o.Source = unescape(v); return nil }),

	"allow_other": flag(func(o *Options) { o.AllowOther = true }),
	"userxattr":   flag(func(o *Options) { o.UserXattr = true }),
	"ro":          flag(func(o *Options) { o.ReadOnly = true }),
	"rw":          flag(func(o *Options) { o.ReadOnly = false }),
	"suid":        flag(func(o *Options) { o.NoSuid = false }),
	"nosuid":      flag(func(o *Options) { o.NoSuid = true }),
	"dev":         flag(func(o *Options) { o.NoDev = false }),
	"nodev":       flag(func(o *Options) { o.NoDev = true }),
	"exec":        flag(func(o *Options) { o.NoExec = false }),
	"noexec":      flag(func(o *Options) { o.NoExec = true }),
	"atime":       flag(func(o *Options) { o.NoAtime = false }),
	"noatime":     flag(func(o *Options) { o.NoAtime = true }),
	"remount":     flag(func(o *Options) { o.Remount = true }),

	// For mount(8), systemd and fsck.
	"defaults": {}, "auto": {}, "noauto": {}, "nofail": {}, "_netdev": {}, "comment": {}, "helper": {}, "uhelper": {},
	"user": {}, "users": {}, "nouser": {}, "owner": {}, "noowner": {}, "group": {}, "nogroup": {}, "silent": {}, "loud": {},
	// So anyway: times of access are kept as where the layers are, permissions are checked,
	// writes are not held back, nothing that lies under a name is forgotten.
	"relatime": {}, "norelatime": {}, "nostrictatime": {}, "diratime": {}, "nodiratime": {},
	"lazytime": {}, "nolazytime": {}, "async": {}, "default_permissions": {}, "static_nlink": {}, "nomand": {}, "noiversion": {},
	// More is kept than they ask for: fsync is passed on.
	"volatile": {}, "fsync": {},
	// About the inside of fuse-overlayfs's server and of libfuse's.
	"threaded": {}, "clone_fd": {}, "max_idle_threads": {}, "max_threads": {}, "nonempty": {}, "big_writes": {},

	"redirect_dir": refused("renamed directories are always redirected", "leave it out, or use redirect_dir=on", "on"),
	"index":        refused("there is no index directory; hard links stay one file without", "leave it out", "off"),
	"metacopy":     refused("contents are always copied up", "leave it out", "off"),
	"nfs_export":   refused("the mount cannot be exported", "leave it out", "off"),
	"verity":       refused("the layers' contents are not verified", "leave it out", "off"),
	"uuid":         refused("the mount has no identity of its own", "leave it out", "off", "null", "auto"),
	"xino":         refused("inode numbers are always constant", "leave it out, or use xino=on", "on", "auto"),

	"uidmapping":        refused(asOnDisk, idmapped),
	"gidmapping":        refused(asOnDisk, idmapped),
	"squash_to_root":    refused(asOnDisk, idmapped),
	"squash_to_uid":     refused(asOnDisk, idmapped),
	"squash_to_gid":     refused(asOnDisk, idmapped),
	"xattr_permissions": refused("modes and owners are those of the files, not of an attribute", "leave it out", "0"),
	"disable_xattrs":    refused("extended attributes are always there", "leave it out", "0"),
	"noxattrs":          refused("extended attributes are always there", "leave it out", "0"),
	"noacl":             refused("ACLs are checked by the kernel and cannot be switched off", "leave it out"),
	"timeout":           refused("how long the kernel may keep an answer is decided for each", "leave it out"),
	"writeback":         refused("what was written must be seen at once by all", "leave it out", "0"),
	"plugins":           refused("there are no plugins", "leave it out"),
	"context":           refused("labels are those of the files", "leave it out"),
	"fscontext":         refused("labels are those of the files", "leave it out"),
	"defcontext":        refused("labels are those of the files", "leave it out"),
	"rootcontext":       refused("labels are those of the files", "leave it out"),
	"datadir+":          refused("layers of data alone are not supported", "name it in lowerdir if it may be seen"),
	"allow_root":        refused("the kernel knows all other users or none", "use allow_other"),
	"auto_unmount":      refused("a mount whose server was killed stays until it is unmounted", "end it with umount, or the server with SIGTERM"),
	"bind":              refused("a mount of layers is none of other mounts", "use mount --bind"),
	"strictatime":       refused("what is read from the kernel's cache leaves no access time", "leave it out; times are kept as the layers' filesystem is mounted"),
	"sync":              refused("the mount has no mode in which each write is flushed", "leave it out; programs have fsync and O_SYNC"),
	"dirsync":           refused("the mount has no mode in which each change is flushed", "leave it out; programs have fsync"),
	"mand":              refused("Linux has no mandatory locks any more", "leave it out"),
	"subtype":           refused("the type is always fuse.astridfs", "leave it out", "astridfs"),
}

const (
	asOnDisk = "owners are shown as the layers have them"
	idmapped = "map them below, by an idmapped mount of the layers (mount -o X-mount.idmap=…)"
)

func (o *Options) addLower(v string) error {
	for _, dir := range split(v, ':') {
		if dir == "" {
			return fault.New(fault.Usage, "put a backslash before a colon that belongs to a name; layers of data alone (::) are not supported",
				"option \"lowerdir\": an empty name in %q", v)
		}
		o.Lower = append(o.Lower, unescape(dir))
	}
	return nil
}

// split cuts s at each sep that is neither behind a backslash nor, if it is a
// comma, between double quotes.
func split(s string, sep byte) []string {
	var list []string
	start, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\':
			i++
		case s[i] == '"' && sep == ',':
			quoted = !quoted
		case s[i] == sep && !quoted:
			list, start = append(list, s[start:i]), i+1
		}
	}
	return append(list, s[start:])
}

// unquote takes away the quotes that mount(8) wants around a value with commas.
func unquote(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' && !strings.HasSuffix(s, `\"`) {
		return s[1 : len(s)-1]
	}
	return s
}

// unescape drops each backslash that is before another character.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
