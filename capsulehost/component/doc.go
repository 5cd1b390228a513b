// Package component reads, links and runs Component Model binaries on wazero,
// which itself knows core modules only.
//
// [Decode] answers what a binary imports and exports and validates it; see
// package binary for the bounds. [Compile] checks the imports against what the
// host provides, a [Set], and compiles the core modules. [Program.Instantiate]
// makes an instance: it goes through the component's definitions, instantiates
// core modules and nested components, and makes functions of one from the
// others by the canonical ABI, which is package abi.
//
// # How core modules are linked
//
// The runtime resolves imports by names, components link by index. Each core
// module is therefore instantiated with a resolver of its own, which answers for
// a name what the component gives under it. An instance that is gathered from
// parts of several is a small module, made here, that imports and exports them;
// the canonical definitions of a component are the functions of one host module.
// Both are compiled with the program's first instance, for all.
//
// # Memory, allocator and state
//
// A lowered function uses the memory and realloc of its canonical options, never
// the module that the runtime passes to it: that may be a shim. Which instance it
// belongs to it finds by the context of the call, which only an [Instance] makes.
//
// # Traps
//
// A guest that does wrong ends with an error, and its instance answers nothing
// more. Nothing of one instance is seen by another.
package component
