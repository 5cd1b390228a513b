// Package ignore decides which paths a set of .astridignore rules hides. The
// rules are those of gitignore(5), exactly as git applies them with
// core.ignoreCase off. The package does no I/O, and what it compiles is
// immutable.
//
// # Rules
//
// Each directory may have an ignore file. A path is judged by the last rule
// that matches in the deepest file with a rule that matches; a rule that begins
// with "!" makes it visible. What lies below a hidden directory is hidden,
// whatever rules say of it, and ignore files there count for nothing.
//
// Deny rules are the same language, anchored at the root. They only add: a path
// is hidden if the files hide it or the deny rules do, so that a "!" among them
// takes back a deny rule and never a rule of a file.
//
// # Facts of git that a reading of gitignore(5) does not give
//
// A line ends at a NUL byte. One carriage return at the end of a line
// belongs to the line's end, also in the last line without a newline. A leading
// UTF-8 byte order mark is skipped. Trailing spaces go unless the last of them
// is escaped; tabs stay. A trailing backslash, an unclosed bracket and an unknown
// [:class:] make a rule that never matches. A class is of bytes; [:space:] is
// tab, newline, carriage return and space. "**" spans directories if a slash or
// the rule's first wildcard comes before it, and a slash or the end after: in
// "/a/b**/c" it does, and matches a/bc, in "/a/?b**/c" it does not.
//
// # Cost
//
// [Dir] is the state of matching in one directory. A rule with a slash is
// advanced as directories are entered, so that judging an entry looks at its
// name alone. Names without wildcards, with one leading or one trailing "*" are
// found in hash tables, whatever their number; the cost of other rules is
// linear in how many of them can still match there.
package ignore
