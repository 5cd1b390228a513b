// Package component reads, links and runs Component Model binaries on wazero,
// which itself knows core modules only.
//
// [Decode] answers what a binary imports and exports and validates it; see
// package binary for the bounds. The canonical ABI is in package abi.
package component
