//go:build wasip1

package main

import (
	"errors"
	"fmt"
	"path"
	"strings"

	fs "github.com/astridfs/astridfs/sdk/go/astridfs"
)

// maxFile is the size of the largest file that is read: what read-file gives.
const maxFile = 10 << 20

// walk calls visit for each regular file below a path whose name glob matches,
// in the order of names. Symbolic links are not followed, and version control's
// own files not looked at. What cannot be read is told of in the returned notes
// and passed over.
func walk(start, glob string, visit func(name string, s fs.FileStat) error) (notes string, err error) {
	if _, err := path.Match(glob, ""); err != nil {
		return "", fmt.Errorf("the glob %q: %w", glob, err)
	}
	root, err := fs.Canonicalize(start)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	skip := func(err error) error {
		var e *fs.Error
		if errors.As(err, &e) && (e.Code == fs.CapabilityDenied || e.Code == fs.Access || e.Code == fs.TooLarge || e.Code == fs.NotFound) {
			fmt.Fprintf(&out, "passed over: %v\n", err)
			return nil
		}
		return err
	}
	todo := []string{root}
	for len(todo) > 0 {
		name := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		s, err := fs.Lstat(name)
		if err == nil && s.Kind == fs.TypeDirectory {
			var names []string
			names, err = fs.ReadDir(name)
			for i := len(names) - 1; i >= 0; i-- {
				if names[i] != ".git" {
					todo = append(todo, join(name, names[i]))
				}
			}
		} else if err == nil && s.Kind == fs.TypeRegular && matches(glob, name) {
			err = visit(name, s)
		}
		if err = skip(err); err != nil {
			return out.String(), err
		}
	}
	return out.String(), nil
}

func join(dir, name string) string {
	if strings.HasSuffix(dir, "/") {
		return dir + name
	}
	return dir + "/" + name
}

func matches(glob, name string) bool {
	ok, _ := path.Match(glob, path.Base(name)) // walk has looked at the glob
	return ok || glob == ""
}

// text reads a file if it is text; binary files and those that are too long are
// not.
func text(name string, s fs.FileStat) (data string, ok bool, err error) {
	if s.Size > maxFile {
		return "", false, nil
	}
	b, err := fs.ReadFile(name)
	if err != nil {
		return "", false, err
	}
	data = string(b)
	return data, !strings.Contains(data[:min(len(data), 8000)], "\x00"), nil
}

// short is a name as a person would write it.
func short(name string) string { return strings.TrimPrefix(name, "workspace://") }
