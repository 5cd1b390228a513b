package vfstest_test

import (
	"testing"

	"github.com/astridfs/astridfs/vfs/vfstest"
)

// TestBareDirectory calibrates RunPath: the host itself passes it.
func TestBareDirectory(t *testing.T) {
	t.Run("Empty", func(t *testing.T) {
		vfstest.RunPath(t, vfstest.PathConfig{Dir: func(t *testing.T) string { return t.TempDir() }})
	})
	t.Run("Seeded", func(t *testing.T) {
		vfstest.RunPath(t, vfstest.PathConfig{Seed: func(t *testing.T, build func(dir string)) string {
			dir := t.TempDir()
			build(dir)
			return dir
		}})
	})
}
