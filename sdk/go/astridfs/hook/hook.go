//go:build wasip1

// Package hook answers actions: importing it makes a capsule export
// astrid-hook-trigger. Build with -buildmode=c-shared.
package hook

import (
	"encoding/binary"

	"github.com/astridfs/astridfs/sdk/go/astridfs"
)

// Result is the interface's capsule-result. Data is nil for none.
type Result struct {
	Action string
	Data   *string
}

// Func answers an action.
type Func func(action string, payload []byte) Result

var handler Func

// Handle sets the function that answers actions. Call it once, from a package's
// initialisation.
func Handle(f Func) { handler = f }

// Text returns a result with data.
func Text(action, data string) Result { return Result{Action: action, Data: &data} }

//go:wasmexport astrid-hook-trigger
func trigger(action, actionLen, payload, payloadLen uint32) uint32 {
	name := string(astridfs.Take(action, actionLen))
	res := handler(name, astridfs.Take(payload, payloadLen))
	ptr, rec := astridfs.Alloc(20)
	put(rec, res.Action)
	if res.Data != nil {
		rec[8] = 1
		put(rec[12:], *res.Data)
	}
	return ptr
}

// put stores the pointer and length of a copy of s, which stays until post.
func put(at []byte, s string) {
	ptr, data := astridfs.Alloc(uint32(len(s)))
	copy(data, s)
	binary.LittleEndian.PutUint32(at, ptr)
	binary.LittleEndian.PutUint32(at[4:], uint32(len(s)))
}

//go:wasmexport cabi_post_astrid-hook-trigger
func post(ptr uint32) {
	rec := astridfs.Take(ptr, 20)
	free(rec)
	if rec[8] == 1 {
		free(rec[12:])
	}
}

func free(at []byte) {
	astridfs.Take(binary.LittleEndian.Uint32(at), binary.LittleEndian.Uint32(at[4:]))
}
