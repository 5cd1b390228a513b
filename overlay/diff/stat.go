package diff

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// NameStatus writes one line for a change: its letter, a tab, and its path;
// for a rename the letter R and "old", tab, "new".
func NameStatus(w io.Writer, status byte, from, path string) error {
	if from != "" && status == 'R' {
		_, err := fmt.Fprintf(w, "R\t%s\t%s\n", Quote(from), Quote(path))
		return err
	}
	_, err := fmt.Fprintf(w, "%c\t%s\n", status, Quote(path))
	return err
}

// DefaultWidth is how many columns WriteStat takes where it is told 0.
const DefaultWidth = 80

// WriteStat writes the --stat form: a line for each file with a bar of its
// added and deleted lines, scaled to width columns, and a line of totals.
func WriteStat(w io.Writer, stats []Stat, width int) error {
	if width <= 0 {
		width = DefaultWidth
	}
	names := make([]string, len(stats))
	nameWidth, most, binary := 0, 0, false
	for i := range stats {
		s := &stats[i]
		names[i] = Quote(s.Path)
		if s.From != "" && s.Status == 'R' {
			names[i] = renamed(s.From, s.Path)
		}
		nameWidth = max(nameWidth, utf8.RuneCountInString(names[i]))
		most = max(most, s.Added+s.Deleted)
		binary = binary || s.Binary || s.TooLarge
	}
	digits := len(fmt.Sprint(most))
	if binary {
		digits = max(digits, len("Bin"))
	}
	// One space, the name, " | ", the number, a space, and at least ten for
	// the bar; a name that leaves less is cut at its head.
	const least = 10
	fixed := len(" ") + len(" | ") + digits + len(" ")
	nameWidth = min(nameWidth, max(width-fixed-least, least))
	bar := max(width-fixed-nameWidth, least)

	bw := bufio.NewWriter(w)
	added, deleted := 0, 0
	for i := range stats {
		s := &stats[i]
		added, deleted = added+s.Added, deleted+s.Deleted
		name := elide(names[i], nameWidth)
		pad := strings.Repeat(" ", nameWidth-utf8.RuneCountInString(name))
		if s.Binary || s.TooLarge {
			fmt.Fprintf(bw, " %s%s | %*s %d -> %d bytes\n", name, pad, digits, "Bin", s.OldSize, s.NewSize)
			continue
		}
		fmt.Fprintf(bw, " %s%s | %*d%s\n", name, pad, digits, s.Added+s.Deleted, bars(s.Added, s.Deleted, most, bar))
	}
	if len(stats) > 0 {
		fmt.Fprintf(bw, " %d file%s changed", len(stats), plural(len(stats)))
		if added > 0 || deleted == 0 {
			fmt.Fprintf(bw, ", %d insertion%s(+)", added, plural(added))
		}
		if deleted > 0 || added == 0 {
			fmt.Fprintf(bw, ", %d deletion%s(-)", deleted, plural(deleted))
		}
		bw.WriteByte('\n')
	}
	return bw.Flush()
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

// bars draws plus and minus signs in proportion, at least one of each that is
// not zero.
func bars(added, deleted, most, width int) string {
	if most > width {
		scale := func(n int) int {
			if n == 0 {
				return 0
			}
			return 1 + n*(width-2)/most
		}
		added, deleted = scale(added), scale(deleted)
	}
	if added+deleted == 0 {
		return ""
	}
	return " " + strings.Repeat("+", added) + strings.Repeat("-", deleted)
}

// elide cuts name at its head, to width columns.
func elide(name string, width int) string {
	const dots = "..."
	n := utf8.RuneCountInString(name)
	if n <= width {
		return name
	}
	for n > width-len(dots) {
		_, size := utf8.DecodeRuneInString(name)
		name = name[size:]
		n--
	}
	return dots + name
}

// renamed writes two paths as one, what they share outside braces:
// "src/{old => new}/main.go".
func renamed(from, to string) string {
	if Quote(from) != from || Quote(to) != to {
		return Quote(from) + " => " + Quote(to)
	}
	head := 0
	for i := 0; i < len(from) && i < len(to) && from[i] == to[i]; i++ {
		if from[i] == '/' {
			head = i + 1
		}
	}
	// The common tail begins at a slash, which may be the one that ends the
	// common head.
	tail := 0
	for i := 1; i <= len(from) && i <= len(to) && from[len(from)-i] == to[len(to)-i]; i++ {
		if len(from)-i < max(head-1, 0) || len(to)-i < max(head-1, 0) {
			break
		}
		if from[len(from)-i] == '/' {
			tail = i
		}
	}
	if head == 0 && tail == 0 {
		return from + " => " + to
	}
	mid := func(s string) string { return s[head:max(len(s)-tail, head)] }
	return from[:head] + "{" + mid(from) + " => " + mid(to) + "}" + from[len(from)-tail:]
}
