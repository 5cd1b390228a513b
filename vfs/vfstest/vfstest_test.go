package vfstest_test

import (
	"testing"

	"github.com/astridfs/astridfs/vfs/vfstest"
)

// TestBareDirectory calibrates RunPath: the host itself passes it.
func TestBareDirectory(t *testing.T) {
	vfstest.RunPath(t, vfstest.PathConfig{Dir: func(t *testing.T) string { return t.TempDir() }})
}
