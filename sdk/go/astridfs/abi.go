//go:build wasip1

package astridfs

import (
	"structs"
	"unsafe"
)

// What the host stores, by the canonical ABI: a tag, and behind it the value or
// an error-code. Addresses are 32 bits wide; they are no Go pointers until
// taken from the allocator's list.
type (
	// result is result<_, error-code>, and with a payload of up to 8 bytes.
	result struct {
		_   structs.HostLayout
		tag uint8
		a   uint32 // a bool, handle, number, pointer, or the error's case
		b   uint32 // a length, or the pointer of the error's text
		c   uint32 // the length of the error's text
	}
	// result64 is result<u64, error-code>.
	result64 struct {
		_   structs.HostLayout
		tag uint8
		v   uint64
		c   uint64
	}
	// resultStat is result<file-stat, error-code>.
	resultStat struct {
		_                           structs.HostLayout
		tag                         uint8
		size                        uint64
		kind                        uint8
		mode                        uint32
		modified, created, accessed optionTime
	}
	optionTime struct {
		_       structs.HostLayout
		tag     uint8
		seconds int64
		nanos   uint32
	}
)

//go:wasmimport astrid:fs/host@1.0.0 fs-open
func fsOpen(path string, mode uint32, ret *result)

//go:wasmimport astrid:fs/host@1.0.0 fs-exists
func fsExists(path string, ret *result)

//go:wasmimport astrid:fs/host@1.0.0 fs-mkdir
func fsMkdir(path string, ret *result)

//go:wasmimport astrid:fs/host@1.0.0 fs-mkdir-all
func fsMkdirAll(path string, ret *result)

//go:wasmimport astrid:fs/host@1.0.0 fs-readdir
func fsReaddir(path string, ret *result)

//go:wasmimport astrid:fs/host@1.0.0 fs-stat
func fsStat(path string, ret *resultStat)

//go:wasmimport astrid:fs/host@1.0.0 fs-stat-symlink
func fsStatSymlink(path string, ret *resultStat)

//go:wasmimport astrid:fs/host@1.0.0 fs-unlink
func fsUnlink(path string, ret *result)

//go:wasmimport astrid:fs/host@1.0.0 read-file
func readFile(path string, ret *result)

//go:wasmimport astrid:fs/host@1.0.0 write-file
func writeFile(path string, data unsafe.Pointer, n uint32, ret *result)

//go:wasmimport astrid:fs/host@1.0.0 fs-append
func fsAppend(path string, data unsafe.Pointer, n uint32, ret *result)

//go:wasmimport astrid:fs/host@1.0.0 fs-copy
func fsCopy(src, dst string, ret *result)

//go:wasmimport astrid:fs/host@1.0.0 fs-rename
func fsRename(src, dst string, ret *result)

//go:wasmimport astrid:fs/host@1.0.0 fs-remove-dir-all
func fsRemoveDirAll(path string, ret *result64)

//go:wasmimport astrid:fs/host@1.0.0 fs-canonicalize
func fsCanonicalize(path string, ret *result)

//go:wasmimport astrid:fs/host@1.0.0 fs-read-link
func fsReadLink(path string, ret *result)

//go:wasmimport astrid:fs/host@1.0.0 fs-hard-link
func fsHardLink(src, link string, ret *result)

//go:wasmimport astrid:fs/host@1.0.0 [method]file-handle.read-at
func handleReadAt(self uint32, off uint64, n uint32, ret *result)

//go:wasmimport astrid:fs/host@1.0.0 [method]file-handle.write-at
func handleWriteAt(self uint32, off uint64, data unsafe.Pointer, n uint32, ret *result)

//go:wasmimport astrid:fs/host@1.0.0 [method]file-handle.sync-data
func handleSyncData(self uint32, ret *result)

//go:wasmimport astrid:fs/host@1.0.0 [method]file-handle.sync-all
func handleSyncAll(self uint32, ret *result)

//go:wasmimport astrid:fs/host@1.0.0 [method]file-handle.stat
func handleStat(self uint32, ret *resultStat)

//go:wasmimport astrid:fs/host@1.0.0 [method]file-handle.set-len
func handleSetLen(self uint32, size uint64, ret *result)

//go:wasmimport astrid:fs/host@1.0.0 [resource-drop]file-handle
func handleDrop(self uint32)

// err makes a Go error of a result, nil for success.
func (r *result) err(op, path string) error {
	if r.tag == 0 {
		return nil
	}
	return newError(op, path, Code(r.a), r.b, r.c)
}

func (r *result64) err(op, path string) error {
	if r.tag == 0 {
		return nil
	}
	return newError(op, path, Code(uint8(r.v)), uint32(r.v>>32), uint32(r.c))
}

func (r *resultStat) err(op, path string) error {
	if r.tag == 0 {
		return nil
	}
	// The error-code lies where the stat would: its case at the size, its text's
	// pointer behind that, the length at the kind.
	length := *(*uint32)(unsafe.Pointer(&r.kind))
	return newError(op, path, Code(uint8(r.size)), uint32(r.size>>32), length)
}

func newError(op, path string, code Code, ptr, n uint32) error {
	e := &Error{Op: op, Path: path, Code: code}
	if code == Unknown {
		e.Text = string(take(ptr, n))
	}
	return e
}

// pointer is that of a slice's bytes, which the caller keeps alive.
func pointer(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }
