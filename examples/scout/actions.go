//go:build wasip1

package main

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	fs "github.com/astridfs/astridfs/sdk/go/astridfs"
)

// list names the files with their sizes.
func list(r request) (string, error) {
	var out strings.Builder
	notes, err := walk(r.Path, r.Glob, func(name string, s fs.FileStat) error {
		fmt.Fprintf(&out, "%10d  %s  %s\n", s.Size, s.Modified.UTC().Format("2006-01-02 15:04"), short(name))
		return nil
	})
	return out.String() + notes, err
}

// grep shows the lines that match the pattern.
func grep(r request) (string, error) {
	re, err := regexp.Compile(r.Pattern)
	if err != nil || r.Pattern == "" {
		return "", fmt.Errorf("the pattern %q is no regular expression to look for: %w", r.Pattern, orUsage(err))
	}
	var out strings.Builder
	found := 0
	notes, err := walk(r.Path, r.Glob, func(name string, s fs.FileStat) error {
		data, ok, err := text(name, s)
		if !ok {
			return err
		}
		line := 0
		for l := range strings.Lines(data) {
			line++
			if re.MatchString(l) {
				fmt.Fprintf(&out, "%s:%d:%s\n", short(name), line, strings.TrimRight(l, "\r\n"))
				found++
			}
		}
		return nil
	})
	fmt.Fprintf(&out, "%s found\n", count(found, "line"))
	return out.String() + notes, err
}

// replace changes what matches the pattern. Each file is rewritten in one step,
// so that a capsule that is stopped leaves none half done.
func replace(r request) (string, error) {
	re, err := regexp.Compile(r.Pattern)
	if err != nil || r.Pattern == "" {
		return "", fmt.Errorf("the pattern %q is no regular expression to look for: %w", r.Pattern, orUsage(err))
	}
	var out strings.Builder
	files, places := 0, 0
	notes, err := walk(r.Path, r.Glob, func(name string, s fs.FileStat) error {
		data, ok, err := text(name, s)
		if !ok {
			return err
		}
		n := len(re.FindAllStringIndex(data, -1))
		if n == 0 {
			return nil
		}
		if err := fs.WriteFile(name, []byte(re.ReplaceAllString(data, r.With))); err != nil {
			return err
		}
		fmt.Fprintf(&out, "%s: %d\n", short(name), n)
		files, places = files+1, places+n
		return nil
	})
	fmt.Fprintf(&out, "%s in %s changed\n", count(places, "place"), count(files, "file"))
	return out.String() + notes, err
}

func orUsage(err error) error {
	if err == nil {
		return errUsage
	}
	return err
}

// kind is what the report says of files with one extension.
type kind struct {
	ext          string
	files, lines int
	bytes        uint64
}

// report counts files, lines and bytes by extension and writes them as a table.
func report(r request) (string, error) {
	if r.Output == "" {
		r.Output = "workspace://REPORT.md"
	}
	kinds := map[string]*kind{}
	total := kind{ext: "all"}
	notes, err := walk(r.Path, r.Glob, func(name string, s fs.FileStat) error {
		data, ok, err := text(name, s)
		if err != nil {
			return err
		}
		ext := cmp.Or(path.Ext(name), "none")
		if !ok {
			ext = "not text"
		}
		k := kinds[ext]
		if k == nil {
			k = &kind{ext: ext}
			kinds[ext] = k
		}
		for _, k := range []*kind{k, &total} {
			k.files++
			k.bytes += s.Size
			if ok {
				k.lines += strings.Count(data, "\n")
			}
		}
		return nil
	})
	if err != nil {
		return notes, err
	}
	rows := make([]*kind, 0, len(kinds)+1)
	for _, k := range kinds {
		rows = append(rows, k)
	}
	slices.SortFunc(rows, func(a, b *kind) int {
		return cmp.Or(cmp.Compare(b.bytes, a.bytes), cmp.Compare(a.ext, b.ext))
	})
	var out strings.Builder
	fmt.Fprintf(&out, "# Report on %s\n\n| kind | files | lines | bytes |\n|---|---:|---:|---:|\n", r.Path)
	for _, k := range append(rows, &total) {
		fmt.Fprintf(&out, "| %s | %d | %d | %d |\n", k.ext, k.files, k.lines, k.bytes)
	}
	if err := fs.WriteFile(r.Output, []byte(out.String())); err != nil {
		return notes, err
	}
	return fmt.Sprintf("%s, %s, %d bytes; the report is %s\n", count(total.files, "file"), count(total.lines, "line"), total.bytes, short(r.Output)) + notes, nil
}

// count says how many there are of something.
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
