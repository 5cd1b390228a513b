// Package wasmbin reads what a WebAssembly core module says of itself: imports,
// exports, memory, and who produced it, and bounds what it can do where the
// runtime does not ([Bound], [CapTables], [Interruptible]). It runs no code; what
// it accepts may still be refused by the compiler.
package wasmbin

import (
	"encoding/binary"
	"strings"
)

// Kind is the kind of an import or export.
type Kind uint8

// The kinds, with their numbers in the binary.
const (
	Func Kind = iota
	Table
	Memory
	Global
	Tag
)

// String returns the kind's name in the text format.
func (k Kind) String() string {
	switch k {
	case Func:
		return "func"
	case Table:
		return "table"
	case Memory:
		return "memory"
	case Global:
		return "global"
	case Tag:
		return "tag"
	}
	return "unknown"
}

// ValueType is a value type by its byte in the binary.
type ValueType byte

// The value types of WebAssembly 2.0.
const (
	I32       ValueType = 0x7f
	I64       ValueType = 0x7e
	F32       ValueType = 0x7d
	F64       ValueType = 0x7c
	V128      ValueType = 0x7b
	FuncRef   ValueType = 0x70
	ExternRef ValueType = 0x6f
	ExnRef    ValueType = 0x69
)

// String returns the type's name in the text format.
func (t ValueType) String() string {
	switch t {
	case I32:
		return "i32"
	case I64:
		return "i64"
	case F32:
		return "f32"
	case F64:
		return "f64"
	case V128:
		return "v128"
	case FuncRef:
		return "funcref"
	case ExternRef:
		return "externref"
	case ExnRef:
		return "exnref"
	}
	return "unknown"
}

// FuncType is the type of a function.
type FuncType struct{ Params, Results []ValueType }

// String returns the type as "(i32, i64) -> i32", without the arrow where there
// is no result.
func (t FuncType) String() string {
	s := "(" + join(t.Params) + ")"
	switch len(t.Results) {
	case 0:
		return s
	case 1:
		return s + " -> " + t.Results[0].String()
	}
	return s + " -> (" + join(t.Results) + ")"
}

func join(types []ValueType) string {
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = t.String()
	}
	return strings.Join(names, ", ")
}

// Limits are those of a memory, in pages of 64 KiB. Max counts only if HasMax.
type Limits struct {
	Min, Max       uint64
	HasMax, Shared bool
}

// Import is something that a module needs.
type Import struct {
	Module, Name string
	Kind         Kind
	Type         FuncType // of a function
	Memory       Limits   // of a memory
}

// Export is something that a module offers.
type Export struct {
	Name string
	Kind Kind
	Type FuncType // of a function
}

// Module is what a core module says of itself.
type Module struct {
	Imports  []Import
	Exports  []Export
	Memories []Limits // its own, in order; not the imported ones
	HasStart bool     // it has a start function, which runs at instantiation

	Name      string   // from the name section
	Producers []string // from the producers section: "field: name version"
}

// Layer tells what a binary's header says that it is.
type Layer uint8

// The layers.
const (
	NotWasm Layer = iota
	CoreModule
	Component
	OtherVersion
)

// LayerOf looks at a binary's first eight bytes.
func LayerOf(b []byte) Layer {
	if len(b) < 8 || string(b[:4]) != "\x00asm" {
		return NotWasm
	}
	switch binary.LittleEndian.Uint32(b[4:]) {
	case 1:
		return CoreModule
	case 0x1000d:
		return Component
	}
	return OtherVersion
}

// Export returns the export with this name and kind.
func (m *Module) Export(name string, kind Kind) (Export, bool) {
	for _, e := range m.Exports {
		if e.Name == name && e.Kind == kind {
			return e, true
		}
	}
	return Export{}, false
}
