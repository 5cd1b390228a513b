package fusefs_test

import "github.com/astridfs/astridfs/vfs"

func makeCow(dirs []string) (vfs.FS, func() error, error) { return makeHost(dirs) }
