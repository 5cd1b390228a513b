// Package capsulehost runs capsules: untrusted WebAssembly programs that see a
// session through a [view.View] and nothing else of the host.
//
// # Model
//
// A [Host] is a compiler and what guests may import; a process needs one. A
// [Module] is a compiled binary. Each [Host.Run] makes an instance of its own,
// with memory, handles and limits of its own, calls one export of it and takes
// everything down again. A module may run any number of times at once: nothing
// is shared between instances but the code.
//
// # What a guest may import
//
// A core module: the interface astrid:fs@1.0.0 ([corefs]) and WASI preview1
// ([wasip1]), both on the view of its run. A component (package component): the
// same astrid:fs, and WASI 0.2 on what preview1 is (package wasihost); sys, kv
// and ipc of Astrid (package astridhost). Other interfaces of Astrid, and WASI's
// sockets and http, link, and each call of them is answered that it is denied.
// Anything else is refused when it is compiled.
//
// # What a guest can do to the host
//
// A guest that traps, loops, runs out of memory or is cancelled ends with a
// [TrapError], and its handles are closed before Run returns. A pointer or
// length that lies outside of its memory traps it. Its memory is reserved up to
// its limit when it starts, so that it never moves, and given back to the
// system when it ends.
//
// What a binary can do to the compiler, taking hours or all memory or having it
// panic, it does to a process that has nothing else to do, and that ends at its
// limits: see [CompileLimits]. Tests, and who trusts their guests, compile where
// they are.
//
// # Concurrency
//
// Every method of Host and Module may be called from any goroutine. There is no
// lock that running guests share, except the slots that bound how many host
// calls are under way.
package capsulehost
