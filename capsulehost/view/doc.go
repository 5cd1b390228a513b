// Package view is what one capsule sees of a session: three trees, each under
// a scheme of its own, and the gate in front of them. Every front end for
// guests (the astrid:fs calls, WASI) turns a guest's path into a node here, so
// there is one parser, one walk and one check.
//
// # Paths
//
// A path is "workspace://p" or its alias "cwd://p", "home://p", "tmp://p",
// "/tmp" or "/tmp/p" (the same as tmp://p), or bare: "p" and "/p" are
// workspace paths. The part behind the scheme is resolved by [vfs.Walk]
// component by component; it is never cleaned as a string.
//
// # Order of the checks
//
// A path is parsed, the scheme looked up, the walk done, and then the gate is
// asked about the resolved path, whether the walk succeeded or failed. Only
// after that is anything answered: what a capsule was not granted is
// [vfs.ErrCapability] whether it exists or not. That holds as well for the
// directories that a ".." of the path leads out of: each must be granted, for
// anything, or lie above what is.
package view
