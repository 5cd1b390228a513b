// Package fshost is the edge at which components call astrid:fs@1.0.0. It
// converts values; what the calls do is package fsapi's, as for core modules.
package fshost

import (
	"context"

	"github.com/astridfs/astridfs/capsulehost/component"
	"github.com/astridfs/astridfs/capsulehost/component/abi"
	"github.com/astridfs/astridfs/capsulehost/fsapi"
	"github.com/astridfs/astridfs/capsulehost/guest"
	"github.com/astridfs/astridfs/capsulehost/view"
)

// Name is the interface's name.
const Name = "astrid:fs/host@1.0.0"

// Instance is the interface as one component has it. The caller closes FS when
// the component is gone.
type Instance struct {
	FS    *fsapi.FS
	Slots *view.Slots // taken for each call

	stat statValue
}

// With returns a context with which a component finds its instance. It is for
// component.Program.Instantiate and component.Instance.Call.
func With(ctx context.Context, in *Instance) context.Context {
	return guest.With(ctx, in)
}

func from(ctx context.Context) *Instance {
	return guest.MustFrom[Instance](ctx, Name)
}

// Types of the interface as component.HostFunc writes them.
const (
	errorCode = "variant { not-found, access, capability-denied, boundary-escape, invalid-path, would-block, " +
		"is-directory, not-directory, not-empty, too-large, quota, cross-vfs, already-exists, closed, unknown(string) }"
	fileType = "enum { type-unknown, regular, directory, symlink, block-device, character-device, fifo, socket }"
	openMode = "enum { read, write, append, read-write }"
	datetime = "record { seconds: s64, nanoseconds: u32 }"
	fileStat = "record { size: u64, kind: " + fileType + ", mode: u32, modified: option<" + datetime +
		">, created: option<" + datetime + ">, accessed: option<" + datetime + "> }"
	self = "borrow<file-handle>"
)

// call is a call under way.
type call struct {
	*component.Call
	in *Instance
}

func (c call) path(i int) string { return c.Args[i].Text() }

func (c call) handle() uint32 { return uint32(c.Args[0].Num) }

// function makes a function with these parameters whose result is a result of
// this type or the interface's error-code.
func function(params, result string, do func(c call) (abi.Value, error)) component.HostFunc {
	return component.HostFunc{
		Type: "func(" + params + ") -> result<" + result + ", " + errorCode + ">",
		Call: func(cc *component.Call) abi.Value {
			in := from(cc.Ctx)
			if err := in.Slots.Enter(cc.Ctx); err != nil {
				return failed(err)
			}
			defer in.Slots.Leave()
			v, err := do(call{cc, in})
			if err != nil {
				return failed(err)
			}
			return cc.Case(0, v)
		},
	}
}

func failed(err error) abi.Value {
	code, text := fsapi.CodeOf(err)
	if code == fsapi.Unknown {
		return abi.Err(abi.Case(uint64(code), abi.String(text)))
	}
	return abi.Err(abi.Value{Num: uint64(code)})
}

// Interface returns the interface for a component.Set.
func Interface() *component.Interface {
	return &component.Interface{
		Name: Name,
		// The error of a delayed write was the guest's to ask for by a sync.
		Drops: map[string]func(context.Context, uint32){
			"file-handle": func(ctx context.Context, rep uint32) { _ = from(ctx).FS.Drop(rep) },
		},
		Funcs: map[string]component.HostFunc{
			"fs-open":           function("string, "+openMode, "file-handle", open),
			"fs-exists":         function("string", "bool", exists),
			"fs-mkdir":          onPath((*fsapi.FS).Mkdir),
			"fs-mkdir-all":      onPath((*fsapi.FS).MkdirAll),
			"fs-readdir":        function("string", "list<string>", readdir),
			"fs-stat":           function("string", fileStat, stat(true)),
			"fs-stat-symlink":   function("string", fileStat, stat(false)),
			"fs-unlink":         onPath((*fsapi.FS).Unlink),
			"read-file":         function("string", "list<u8>", readFile),
			"write-file":        onData((*fsapi.FS).WriteFile),
			"fs-append":         onData((*fsapi.FS).Append),
			"fs-copy":           onPaths((*fsapi.FS).Copy),
			"fs-rename":         onPaths((*fsapi.FS).Rename),
			"fs-remove-dir-all": function("string", "u64", removeAll),
			"fs-canonicalize":   toPath((*fsapi.FS).Canonicalize),
			"fs-read-link":      toPath((*fsapi.FS).ReadLink),
			"fs-hard-link":      onPaths((*fsapi.FS).HardLink),

			"[method]file-handle.read-at":   function(self+", u64, u32", "list<u8>", readAt),
			"[method]file-handle.write-at":  function(self+", u64, list<u8>", "u32", writeAt),
			"[method]file-handle.sync-data": function(self, "_", syncFile(true)),
			"[method]file-handle.sync-all":  function(self, "_", syncFile(false)),
			"[method]file-handle.stat":      function(self, fileStat, handleStat),
			"[method]file-handle.set-len":   function(self+", u64", "_", setLen),
		},
	}
}

func onPath(do func(*fsapi.FS, context.Context, string) error) component.HostFunc {
	return function("string", "_", func(c call) (abi.Value, error) {
		return abi.Value{}, do(c.in.FS, c.Ctx, c.path(0))
	})
}

func onPaths(do func(fs *fsapi.FS, ctx context.Context, src, dst string) error) component.HostFunc {
	return function("string, string", "_", func(c call) (abi.Value, error) {
		return abi.Value{}, do(c.in.FS, c.Ctx, c.path(0), c.path(1))
	})
}

func onData(do func(*fsapi.FS, context.Context, string, []byte) error) component.HostFunc {
	return function("string, list<u8>", "_", func(c call) (abi.Value, error) {
		return abi.Value{}, do(c.in.FS, c.Ctx, c.path(0), c.Args[1].Bytes())
	})
}

func toPath(do func(*fsapi.FS, context.Context, string) (string, error)) component.HostFunc {
	return function("string", "string", func(c call) (abi.Value, error) {
		s, err := do(c.in.FS, c.Ctx, c.path(0))
		return abi.String(s), err
	})
}

func open(c call) (abi.Value, error) {
	id, err := c.in.FS.Open(c.Ctx, c.path(0), fsapi.OpenMode(c.Args[1].Num))
	return abi.Value{Num: uint64(id)}, err
}

func exists(c call) (abi.Value, error) {
	ok, err := c.in.FS.Exists(c.Ctx, c.path(0))
	return abi.Bool(ok), err
}

func readdir(c call) (abi.Value, error) {
	names, err := c.in.FS.ReadDir(c.Ctx, c.path(0))
	list := make([]abi.Value, len(names))
	for i := range names {
		list[i] = abi.Value{Ref: &names[i]} // without an allocation
	}
	return abi.Tuple(list...), err
}

func stat(follow bool) func(call) (abi.Value, error) {
	return func(c call) (abi.Value, error) {
		s, err := c.in.FS.Stat(c.Ctx, c.path(0), follow)
		return c.in.stat.value(s), err
	}
}

func handleStat(c call) (abi.Value, error) {
	s, err := c.in.FS.StatHandle(c.Ctx, c.handle())
	return c.in.stat.value(s), err
}

// statValue is a file-stat that is made once for a component and then filled in,
// so that a call allocates nothing. It is good until the next call.
type statValue struct {
	whole  abi.Value
	fields []abi.Value    // of whole
	times  [3][]abi.Value // the fields of the datetimes
}

func (v *statValue) value(s fsapi.Stat) abi.Value {
	if v.fields == nil {
		v.fields = make([]abi.Value, 6)
		v.whole = abi.Tuple(v.fields...)
		for i := range v.times {
			v.times[i] = make([]abi.Value, 2)
			v.fields[3+i] = abi.Some(abi.Tuple(v.times[i]...))
		}
	}
	v.fields[0].Num, v.fields[1].Num, v.fields[2].Num = s.Size, uint64(s.Kind), uint64(s.Mode)
	for i, t := range [...]fsapi.Datetime{s.Modified, s.Created, s.Accessed} {
		v.fields[3+i].Num = abi.Bool(t.Known).Num // some or none
		v.times[i][0].Num, v.times[i][1].Num = uint64(t.Seconds), uint64(t.Nanoseconds)
	}
	return v.whole
}

func readFile(c call) (abi.Value, error) {
	dst := c.List()
	err := c.in.FS.ReadFile(c.Ctx, c.path(0), dst)
	return dst.Value(), err
}

func removeAll(c call) (abi.Value, error) {
	n, err := c.in.FS.RemoveDirAll(c.Ctx, c.path(0))
	return abi.Value{Num: n}, err
}

func readAt(c call) (abi.Value, error) {
	dst := c.List()
	err := c.in.FS.ReadAt(c.Ctx, c.handle(), c.Args[1].Num, uint32(c.Args[2].Num), dst)
	return dst.Value(), err
}

func writeAt(c call) (abi.Value, error) {
	n, err := c.in.FS.WriteAt(c.Ctx, c.handle(), c.Args[1].Num, c.Args[2].Bytes())
	return abi.Value{Num: uint64(n)}, err
}

func syncFile(dataOnly bool) func(call) (abi.Value, error) {
	return func(c call) (abi.Value, error) {
		return abi.Value{}, c.in.FS.Sync(c.Ctx, c.handle(), dataOnly)
	}
}

func setLen(c call) (abi.Value, error) {
	return abi.Value{}, c.in.FS.SetLen(c.Ctx, c.handle(), c.Args[1].Num)
}
