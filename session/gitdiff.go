package session

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// diff tells what changed. Git's own idea of paths is that one names also what
// is below it, and a file can have become a directory with something hidden in
// it: so the patch is of an index without that, and git is not asked path by
// path.
func (t *gitTree) diff(ctx context.Context, req DiffRequest, s *sieve, sink DiffSink) error {
	l, err := t.look(ctx, req.Paths, false)
	if err != nil {
		return err
	}
	var left StepResult
	list, err := through(s, l.list, &left)
	if err != nil {
		return err
	}
	g := l.show
	if len(left.Left) > 0 {
		var end func()
		if g, end, err = t.headIndex(ctx, g, list); err != nil {
			return err
		}
		defer end()
		if list, err = t.changes(ctx, g, req.Paths); err != nil {
			return err
		}
	}
	args := []string{"diff", "--cached", "-M", "--no-color", "--no-ext-diff", "--no-textconv", "--no-relative", "-O/dev/null",
		"--submodule=short", "--src-prefix=a/", "--dst-prefix=b/", "-z", "--numstat", "HEAD"}
	out, err := g.output(ctx, append(args, pathspec(req.Paths)...)...)
	if err != nil {
		return err
	}
	files, err := counted(list, string(out))
	if err != nil {
		return err
	}
	if req.StatOnly {
		for _, f := range files {
			if err := sink.File(f); err != nil {
				return err
			}
		}
		return nil
	}
	args = append(args[:len(args)-3], "HEAD")
	patch, w := io.Pipe()
	ended := make(chan struct{}) // after which nobody uses the index any more
	go func() {
		defer close(ended)
		w.CloseWithError(g.run(ctx, nil, w, append(args, pathspec(req.Paths)...)...))
	}()
	err = splitPatch(patch, files, sink)
	patch.Close() // ends git, if it has more to say
	<-ended
	return err
}

// counted returns the listed changes with the numbers of lines that git diff
// --numstat -z prints for them.
func counted(list []gitChange, numstat string) ([]DiffFile, error) {
	wrong := errors.New("git diff: --numstat does not fit --raw")
	var files []DiffFile
	for _, c := range list {
		f := DiffFile{Change: c.Change, NewSize: c.Size}
		line, rest, ok := strings.Cut(numstat, "\x00")
		fields := strings.SplitN(line, "\t", 3)
		if !ok || len(fields) != 3 {
			return nil, wrong
		}
		numstat = rest
		name := fields[2]
		if name == "" { // of a rename: both names follow
			if _, rest, ok = strings.Cut(numstat, "\x00"); ok {
				name, numstat, ok = strings.Cut(rest, "\x00")
			}
		}
		if !ok || name != string(c.Path) {
			return nil, wrong
		}
		if f.Binary = fields[0] == "-"; !f.Binary {
			var err, err2 error
			f.Added, err = strconv.Atoi(fields[0])
			f.Deleted, err2 = strconv.Atoi(fields[1])
			if err = errors.Join(err, err2); err != nil {
				return nil, fmt.Errorf("git diff --numstat: %w", err)
			}
		}
		files = append(files, f)
	}
	return files, nil
}

// splitPatch writes the patch of the files to sink, and tells of each one after
// its part. A line of contents never begins as a part does.
func splitPatch(patch io.Reader, files []DiffFile, sink DiffSink) error {
	r := bufio.NewReaderSize(patch, 1<<16)
	done, parts := 0, 0 // files told of; parts of the next one that have begun
	for begin := true; ; {
		chunk, err := r.ReadSlice('\n')
		if begin && bytes.HasPrefix(chunk, []byte("diff --git ")) {
			of := 1
			if done < len(files) && files[done].Status == "T" {
				of = 2 // what goes and what comes
			}
			if parts == of {
				if err := sink.File(files[done]); err != nil {
					return err
				}
				done, parts = done+1, 0
			}
			if parts++; done == len(files) {
				return errors.New("git diff: a patch of more files than were listed")
			}
		}
		begin = err == nil
		if len(chunk) > 0 {
			if _, err := sink.Write(chunk); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			for _, f := range files[done:] {
				if err := sink.File(f); err != nil {
					return err
				}
			}
			return nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}
