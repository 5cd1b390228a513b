// Package boundary keeps what .astridignore files and deny rules hide out of a
// filesystem. [FS] is a layer that both front ends stand on, in every mode of a
// session; package ignore has the rules themselves.
//
// # What is hidden
//
// A path that the rules hide answers [vfs.ErrHidden] (EACCES) to every use,
// creation too, whether something is there or not; what asks for existence only
// takes that answer for "no". Listings leave it out. A directory that holds
// hidden entries is not empty: removing it is ENOTEMPTY.
//
// A rule that ends in a slash hides directories and nothing else, and "!*/"
// makes only directories visible. Whether such a name is hidden depends on what
// is there, and the answer must not tell: unless something is there that may be
// seen, the name is hidden, and nothing can be made or renamed under it.
//
// # Renames
//
// Rules apply to present paths, so a rename could bring a hidden entry to where
// no rule hides it. Looking for such entries would take a walk of the directory
// that could race with changes, and its answer would tell that they exist. So
// the rules alone decide: a rename is refused unless they say the same of
// whatever could be below the old name and below the new one. They do wherever
// only rules without a slash apply; a rule with one matters to the directories
// that it names. A directory is refused with ErrHidden. For anything else, which
// has nothing below, the refusal is EXDEV, upon which programs copy: whether a
// name is a directory may change before the rename is carried out.
//
// # Identity
//
// A file with several names is hidden under all of them if it is under one.
// Which files these are takes a walk, of the listings of the whole tree and the
// attributes of what is hidden, and is found out when a file with more than one
// link is first met, and again after rules changed, or when the host may have
// made a link (the file changed after the last walk), though never for more than
// a twentieth of the time. A link that the host makes meanwhile is noticed that
// much later. Listings leave out what has been found so. Names of a file in
// directories that this process may not read are not found; those directories
// are reported.
//
// # Ignore files
//
// Nothing called .astridignore can be made, changed, linked, renamed or removed
// through the view ([ErrIgnoreFile], EACCES), and no file that has such a name
// can be changed under another. Directories that hold one can be renamed: their
// rules go with them.
//
// The rules are read from the filesystem below, a directory's when it is first
// used. One that can't be read or compiled, or is no regular file, hides all of
// its directory, and is reported. An answer rests on files that have been
// looked at within [Options].Revalidate; when one has changed, the new rules
// apply at once, and watchers are told of every entry that came to be hidden or
// visible. Open files can be read and written on: they were visible when they
// were opened. While there is no rule at all, what was found visible is not
// looked at again before something is looked up in a directory whose file is new,
// or the filesystem below tells of that file.
//
// # What is not hidden
//
// The attributes of a directory that holds hidden entries (times, size, link
// count), and the space that they take. What the host mounts at a second place.
// Other spellings of a hidden name, where the host's directory takes them for
// the same (casefold, vfat): rules are of bytes.
// What a process of the host moves while a program works in it, until the next
// look.
package boundary
