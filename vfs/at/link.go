package at

import "golang.org/x/sys/unix"

// Link makes newname in newdirfd a further name of oldname in olddirfd, which
// is not followed if it is a symbolic link.
func Link(olddirfd int, oldname string, newdirfd int, newname string) error {
	return Retry(func() error { return unix.Linkat(olddirfd, oldname, newdirfd, newname, 0) })
}
