// Package astridfs lets a capsule written in Go call the interface
// astrid:fs@1.0.0. Build the capsule with GOOS=wasip1 GOARCH=wasm, and with
// -buildmode=c-shared if it is to answer actions (package hook).
//
// A path is "workspace://p", "cwd://p", "home://p", "tmp://p", "/tmp/p" or bare
// (a workspace path), in UTF-8's normal form NFC. Errors are of type [*Error];
// errors.Is knows fs.ErrNotExist, fs.ErrExist, fs.ErrPermission and
// fs.ErrClosed among them.
//
// The package's functions may be called from any goroutine. The one call at a
// time that a guest makes is the runtime's doing: it has one thread.
package astridfs
