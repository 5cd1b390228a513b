package capsulehost

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/astridfs/astridfs/capsulehost/corefs"
	"github.com/astridfs/astridfs/capsulehost/wasip1"
	"github.com/astridfs/astridfs/capsulehost/wasmbin"
)

// Kind says how a binary is run.
type Kind string

// The kinds of binary.
const (
	// Command has a main, "_start", which runs once.
	Command Kind = "command"
	// Reactor is set up by "_initialize" and then called by its exports.
	Reactor Kind = "reactor"
	// Library has neither; its exports can be called as they are.
	Library Kind = "library"
	// Component is a Component Model binary.
	Component Kind = "component"
)

// Info is what a binary says of itself. Its JSON is part of what the command
// line promises.
type Info struct {
	Kind   Kind   `json:"kind"`
	Name   string `json:"name,omitempty"` // from the name section
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"` // bytes

	Imports    []Import    `json:"imports"`
	Exports    []Export    `json:"exports"`
	Interfaces []Interface `json:"interfaces"`
	// Entries are the exports that this host can call.
	Entries []string `json:"entries"`
	// Capabilities are what its imports let it ask for: "fs_read", "fs_write".
	// What it is granted is not in the binary.
	Capabilities []string `json:"capabilities"`

	// MemoryPages is the memory that it starts with, MemoryMax what it grows to
	// at most by its own account, in pages of 64 KiB; MemoryMax is 0 where it
	// sets no bound.
	MemoryPages uint64   `json:"memory_pages"`
	MemoryMax   uint64   `json:"memory_max,omitempty"`
	Producers   []string `json:"producers,omitempty"`

	// WIT is what a component imports and exports, in the manner of WIT.
	WIT string `json:"wit,omitempty"`

	paths map[Entry][]string // of a component: where its entries are
}

// Import is something that a binary needs.
type Import struct {
	Module string `json:"module"`
	Name   string `json:"name"`
	Kind   string `json:"kind"`
	Type   string `json:"type,omitempty"` // of a function
}

// Export is something that a binary offers.
type Export struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
	Type string `json:"type,omitempty"` // of a function
}

// Interface is a module that a binary imports from.
type Interface struct {
	Name string `json:"name"`
	// Imports is how many things it imports; Provided, whether this host
	// provides them all by name.
	Imports  int  `json:"imports"`
	Provided bool `json:"provided"`
	// Denied says that a component may import it, and each call is answered that
	// it is denied.
	Denied bool `json:"denied,omitempty"`
}

// Inspect reads what a binary says of itself and runs nothing of it. Code and
// data are not looked at.
//
// Errors: *FormatError.
func Inspect(wasm []byte) (Info, error) {
	info := newInfo(sha256.Sum256(wasm), int64(len(wasm)))
	if wasmbin.LayerOf(wasm) == wasmbin.Component {
		if _, err := inspectComponent(wasm, &info); err != nil {
			return Info{}, err
		}
		return info, nil
	}
	if err := inspectCore(wasm, &info); err != nil {
		return Info{}, err
	}
	return info, nil
}

// inspectCore fills in what a core module says of itself.
func inspectCore(wasm []byte, info *Info) error {
	m, err := wasmbin.Decode(wasm)
	if err != nil {
		return err
	}
	info.Name, info.Producers, info.Kind = m.Name, m.Producers, kindOf(m)
	memories := m.Memories
	for _, im := range m.Imports {
		i := Import{Module: im.Module, Name: im.Name, Kind: im.Kind.String()}
		if im.Kind == wasmbin.Func {
			i.Type = im.Type.String()
		}
		if im.Kind == wasmbin.Memory {
			memories = append(memories, im.Memory)
		}
		info.Imports = append(info.Imports, i)
	}
	for _, ex := range m.Exports {
		e := Export{Name: ex.Name, Kind: ex.Kind.String()}
		if ex.Kind == wasmbin.Func {
			e.Type = ex.Type.String()
			if slices.Contains(entries(), Entry(ex.Name)) {
				info.Entries = append(info.Entries, ex.Name)
			}
		}
		info.Exports = append(info.Exports, e)
	}
	for _, l := range memories {
		info.MemoryPages += l.Min
		info.MemoryMax += l.Max
	}
	info.Interfaces, info.Capabilities = interfaces(info.Imports)
	return nil
}

// newInfo is what is known of a binary without looking into it.
func newInfo(sum [sha256.Size]byte, size int64) Info {
	return Info{
		SHA256:       hex.EncodeToString(sum[:]),
		Size:         size,
		Imports:      []Import{},
		Exports:      []Export{},
		Interfaces:   []Interface{},
		Entries:      []string{},
		Capabilities: []string{},
	}
}

func kindOf(m *wasmbin.Module) Kind {
	if _, ok := m.Export("_start", wasmbin.Func); ok {
		return Command
	}
	if _, ok := m.Export("_initialize", wasmbin.Func); ok {
		return Reactor
	}
	return Library
}

// interfaces groups imports by module, in the order of their first one, and
// says which capabilities they have a use for.
func interfaces(imports []Import) ([]Interface, []string) {
	known := map[string]bool{}
	for _, f := range corefs.Functions() {
		known[f.Name] = true
	}
	list := []Interface{}
	var read, write bool
	for _, im := range imports {
		i := slices.IndexFunc(list, func(l Interface) bool { return l.Name == im.Module })
		if i < 0 {
			i = len(list)
			list = append(list, Interface{Name: im.Module, Provided: true})
		}
		list[i].Imports++
		provided := im.Kind == wasmbin.Func.String()
		switch im.Module {
		case corefs.ModuleName:
			provided = provided && known[im.Name]
			r, w := needs(im.Name)
			read, write = read || r, write || w
		case wasip1.ModuleName:
			if strings.HasPrefix(im.Name, "path_") {
				read, write = true, true
			}
		default:
			provided = false
		}
		list[i].Provided = list[i].Provided && provided
	}
	return list, capabilities(read, write)
}

func capabilities(read, write bool) []string {
	caps := []string{}
	if read {
		caps = append(caps, "fs_read")
	}
	if write {
		caps = append(caps, "fs_write")
	}
	return caps
}

// needs tells which capabilities a function of astrid:fs asks for.
func needs(function string) (read, write bool) {
	switch function {
	case "fs-open", "fs-copy":
		return true, true
	case "fs-mkdir", "fs-mkdir-all", "fs-unlink", "write-file", "fs-append", "fs-rename", "fs-remove-dir-all", "fs-hard-link":
		return false, true
	case "fs-exists", "fs-readdir", "fs-stat", "fs-stat-symlink", "read-file", "fs-canonicalize", "fs-read-link":
		return true, false
	}
	return false, false
}
