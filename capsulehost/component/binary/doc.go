// Package binary decodes and validates Component Model binaries. It runs
// nothing of them.
//
// # What comes out
//
// [Decode] answers a [Component]: its imports and exports with their types, and
// its definitions in the order in which an instance is made of them. Types are
// resolved: no index is left in them, and two resource types are the same if
// and only if their *[Resource] is.
//
// # Bounds
//
// What is decoded was written by someone else. Nothing is allocated because a
// count says so, only for what was read; nesting is bounded, and so is the work
// that types which multiply may cause. Every error says at which byte it was
// found and what should have been there.
//
// # What is not supported
//
// The parts of the Component Model that its specification gates: async
// functions and built-ins, streams, futures, error contexts, threads, values
// and start functions, maps, and memories of 64 bits. A binary that has one is
// refused with an error that names it.
package binary
