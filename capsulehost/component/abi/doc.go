// Package abi is the canonical ABI of the Component Model: it converts values
// of a component's types to and from the core values and linear memory of a
// guest, and keeps the tables of handles that guests know resources by.
//
// A type is compiled once, into a [Plan] or, for a function, a [Func]; its
// layout is not computed again when a value passes.
//
// # Traps
//
// What a guest does wrong is a *guest.Fault that the conversion panics with, as
// every host function does: a pointer outside of its memory or not aligned, a
// number of no case, a char that is none, text that is not of its encoding, a
// handle that it does not hold.
//
// # Floats
//
// A NaN is lifted as the canonical one. Within a list of floats the bits pass as
// they are, which the specification leaves free.
//
// # Bounds
//
// A guest can describe values that are much larger than its memory, by pointing
// to the same bytes again and again. What the values of one call take in the
// host is therefore counted, and a guest that needs more than [Context.Budget]
// is trapped.
package abi
