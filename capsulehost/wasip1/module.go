package wasip1

import (
	"context"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	caller "github.com/astridfs/astridfs/capsulehost/guest"
)

// ModuleName is the module that guests import the calls from.
const ModuleName = "wasi_snapshot_preview1"

// call is one call of a guest: what it does it with, its memory and parameters,
// and the calls are its methods. It is passed by value, which costs no
// allocation.
type call struct {
	Ops
	mem  memory
	args []uint64
}

// u32 is parameter i as an i32. The upper half of the stack's slot is not part
// of it.
func (c call) u32(i int) uint32 { return uint32(c.args[i]) }

// u64 is parameter i as an i64.
func (c call) u64(i int) uint64 { return c.args[i] }

// export is one call as guests import it.
type export struct {
	name   string
	params string // one letter each: i for i32, I for i64
	fn     func(call) Errno
}

// exports lists the calls in preview1's order, proc_exit apart, which returns
// nothing.
func exports() []export {
	return []export{
		{"args_get", "ii", call.argsGet},
		{"args_sizes_get", "ii", call.argsSizesGet},
		{"environ_get", "ii", call.environGet},
		{"environ_sizes_get", "ii", call.environSizesGet},
		{"clock_res_get", "ii", call.clockResGet},
		{"clock_time_get", "iIi", call.clockTimeGet},
		{"fd_advise", "iIIi", call.fdAdvise},
		{"fd_allocate", "iII", call.fdAllocate},
		{"fd_close", "i", call.fdClose},
		{"fd_datasync", "i", call.fdDatasync},
		{"fd_fdstat_get", "ii", call.fdFdstatGet},
		{"fd_fdstat_set_flags", "ii", call.fdFdstatSetFlags},
		{"fd_fdstat_set_rights", "iII", call.fdFdstatSetRights},
		{"fd_filestat_get", "ii", call.fdFilestatGet},
		{"fd_filestat_set_size", "iI", call.fdFilestatSetSize},
		{"fd_filestat_set_times", "iIIi", call.fdFilestatSetTimes},
		{"fd_pread", "iiiIi", call.fdPread},
		{"fd_prestat_get", "ii", call.fdPrestatGet},
		{"fd_prestat_dir_name", "iii", call.fdPrestatDirName},
		{"fd_pwrite", "iiiIi", call.fdPwrite},
		{"fd_read", "iiii", call.fdRead},
		{"fd_readdir", "iiiIi", call.fdReaddir},
		{"fd_renumber", "ii", call.fdRenumber},
		{"fd_seek", "iIii", call.fdSeek},
		{"fd_sync", "i", call.fdSync},
		{"fd_tell", "ii", call.fdTell},
		{"fd_write", "iiii", call.fdWrite},
		{"path_create_directory", "iii", call.pathCreateDirectory},
		{"path_filestat_get", "iiiii", call.pathFilestatGet},
		{"path_filestat_set_times", "iiiiIIi", call.pathFilestatSetTimes},
		{"path_link", "iiiiiii", call.pathLink},
		{"path_open", "iiiiiIIii", call.pathOpen},
		{"path_readlink", "iiiiii", call.pathReadlink},
		{"path_remove_directory", "iii", call.pathRemoveDirectory},
		{"path_rename", "iiiiii", call.pathRename},
		{"path_symlink", "iiiii", call.pathSymlink},
		{"path_unlink_file", "iii", call.pathUnlinkFile},
		{"poll_oneoff", "iiii", call.pollOneoff},
		{"proc_raise", "i", call.procRaise},
		{"sched_yield", "", call.schedYield},
		{"random_get", "ii", call.randomGet},
		{"sock_accept", "iii", call.sock},
		{"sock_recv", "iiiiii", call.sock},
		{"sock_send", "iiiii", call.sock},
		{"sock_shutdown", "ii", call.sock},
	}
}

// Export adds the calls to a host module, which is to be named [ModuleName]. A
// guest whose context carries no instance gets ENOSYS from each.
func Export(b wazero.HostModuleBuilder) wazero.HostModuleBuilder {
	i32 := []api.ValueType{api.ValueTypeI32}
	for _, e := range exports() {
		params := make([]api.ValueType, len(e.params))
		for i := range params {
			params[i] = api.ValueTypeI32
			if e.params[i] == 'I' {
				params[i] = api.ValueTypeI64
			}
		}
		b = b.NewFunctionBuilder().WithName(e.name).
			WithGoModuleFunction(hostFunc(e.fn, takesSlot(e.name)), params, i32).Export(e.name)
	}
	return b.NewFunctionBuilder().WithName("proc_exit").
		WithGoModuleFunction(api.GoModuleFunc(procExit), i32, nil).Export("proc_exit")
}

// Instantiate adds the host module to rt. Closing the runtime closes it too.
func Instantiate(ctx context.Context, rt wazero.Runtime) (api.Closer, error) {
	return Export(rt.NewHostModuleBuilder(ModuleName)).Instantiate(ctx)
}

// slotUse is whether a call counts as one under way in the host.
type slotUse uint8

const (
	slotNever slotUse = iota
	slotAlways
	slotFiles // unless its descriptor is a stream, on which it may wait for long
)

// takesSlot tells it of a call: those that reach a filesystem do.
func takesSlot(name string) slotUse {
	if strings.HasPrefix(name, "path_") {
		return slotAlways
	}
	switch strings.TrimPrefix(name, "fd_") {
	case "allocate", "datasync", "filestat_get", "filestat_set_size", "filestat_set_times", "pread", "pwrite",
		"read", "readdir", "sync", "write", "close":
		return slotFiles
	}
	return slotNever
}

// run does the call, with a slot if it needs one.
func (c call) run(fn func(call) Errno, use slotUse) Errno {
	if use == slotNever || c.slots == nil || use == slotFiles && c.table.isStream(c.u32(0)) {
		return fn(c)
	}
	if err := c.slots.Enter(c.ctx); err != nil {
		return errnoOf(err)
	}
	defer c.slots.Leave()
	return fn(c)
}

func hostFunc(fn func(call) Errno, use slotUse) api.GoModuleFunc {
	return func(ctx context.Context, mod api.Module, stack []uint64) {
		in := instanceFrom(ctx)
		if in == nil {
			stack[0] = uint64(ENOSYS)
			return
		}
		c := call{Ops: Ops{ctx: ctx, Instance: in}, mem: memoryOf(mod), args: stack}
		errno := c.run(fn, use)
		if errno == EINTR {
			caller.Over(ctx)
		}
		stack[0] = uint64(errno)
	}
}
