package tests

import (
	"fmt"
	"strings"
)

// escapeCase is an act of the corpus and what has to come of it, by front:
// astrid:fs (core modules and components alike), WASI, the mount.
type escapeCase struct {
	category string
	act
	fs, wasi, mount string
}

// outcome is what the three fronts answer. An answer that ends in "…" is the
// beginning of one.
type outcome struct{ fs, wasi, mount string }

// The outcomes that many cases share.
var (
	hidden   = outcome{"access", "EACCES", "EACCES"}
	escapes  = outcome{"boundary-escape", "EPERM", "EXDEV"}
	absent   = outcome{"not-found", "ENOENT", "ENOENT"}
	fine     = outcome{"ok…", "ok…", "ok…"}
	notADir  = outcome{"not-directory", "ENOTDIR", "ENOTDIR"}
	tooLong  = outcome{"invalid-path", "ENAMETOOLONG", "ENAMETOOLONG"}
	looping  = outcome{"invalid-path", "ELOOP", "ELOOP"}
	notEmpty = outcome{"not-empty", "ENOTEMPTY", "ENOTEMPTY"}
)

// corpus collects cases.
type corpus struct {
	list []escapeCase
	made int // names that cases make, each its own
}

func (c *corpus) add(category string, x act, want outcome) {
	c.list = append(c.list, escapeCase{category, x, want.fs, want.wasi, want.mount})
}

// each adds a case for each operation on each path.
func (c *corpus) each(category, ops string, want outcome, paths ...string) {
	for _, p := range paths {
		for _, op := range []byte(ops) {
			w := want
			if op == 'e' && (want == hidden || want == absent) {
				w.fs = "ok \x00" // it does not exist
			}
			c.add(category, act{op: op, a: p}, w)
		}
	}
}

// fresh is a name that no other case uses.
func (c *corpus) fresh() string {
	c.made++
	return fmt.Sprintf("made/new%d", c.made)
}

// pairs adds the operations of two paths, with each path as either.
func (c *corpus) pairs(category string, want outcome, paths ...string) {
	for _, p := range paths {
		for _, op := range []byte("nhc") {
			c.add(category, act{op, p, c.fresh()}, want)
			c.add(category, act{op, "pub/ok.txt", p}, want)
		}
	}
}

const (
	allOps    = "rwaeslmMuRk0123p" // of one path
	following = "rwaes0123p"       // those that follow a link at its end
)

// escapeCases is the corpus. See escapeTree for what is there. Devices and mounts
// are root's to make.
func escapeCases(root bool) []escapeCase {
	c := &corpus{}
	c.dots()
	c.slashes()
	c.links()
	c.hardLinks()
	c.renames()
	c.proc()
	c.names()
	c.lengths()
	c.special()
	if root {
		c.mounts()
	}
	// Last, for a capsule's call removes what it can before it fails.
	c.each("renames", "R", notEmpty, "made/in", "made/loose", "anchored/deep", "pub")
	return c.list
}

// dots: ".." and "." in all spellings.
func (c *corpus) dots() {
	const cat = "dot-dot"
	c.each(cat, allOps, hidden, ".env", "pub/../.env", "pub/sub/../../.env")
	c.each(cat, "rwae0u", hidden, "./.env", ".//.env", "pub//..//.env", "pub/./.././.env", "secrets/../.env")
	c.pairs(cat, hidden, ".env", "pub/../.env", "secrets/inner.txt")
	c.each(cat, "rweslmu01p", escapes, "../outside/secret.txt", "pub/../../outside/secret.txt", "pub/sub/../../../outside/secret.txt",
		"./../outside/secret.txt", ".//..//outside/secret.txt", "../../../../../../../../etc/passwd", "../ws/.env", "../ws/pub/ok.txt",
		"pub/../../ws/pub/ok.txt", "../"+strings.Repeat("../", 300)+"etc/passwd")
	c.each(cat, "sd", escapes, "..", "../", "../.", "pub/../..", "pub/sub/../../..")
	c.pairs(cat, escapes, "../outside/new", "pub/../../outside/new")
	// Not a file's name: there is no way back through a file, or through nothing.
	c.each(cat, "r0s", notADir, "pub/ok.txt/../ok.txt", "pub/ok.txt/../../.env")
	c.each(cat, "r0s", absent, "none/../pub/ok.txt", "none/../.env", "pub/none/../../../outside/secret.txt")
	// What only looks like dots.
	for _, p := range []string{"%2e%2e/outside/secret.txt", "..%2foutside%2fsecret.txt", "..\\outside\\secret.txt", "\u2025/outside/secret.txt",
		"\uff0e\uff0e/outside/secret.txt", ".../outside/secret.txt", ".. /outside/secret.txt", " ../outside/secret.txt", "..;/outside/secret.txt",
		"\u2024\u2024/outside/secret.txt", "..\u2215outside/secret.txt", "pub/..\u2044.env", ".\u200b./outside/secret.txt"} {
		c.each(cat, "re", absent, p)
	}
}

// slashes: at ends, in rows, and before.
func (c *corpus) slashes() {
	const cat = "slashes"
	c.each(cat, "rse0muR", hidden, ".env/", ".env//", ".env/.", ".env/..", ".env/x", "secrets/", "secrets", "secrets/.", "secrets/inner.txt", "secrets/none", "pub/../secrets/")
	c.each(cat, "d", hidden, "secrets", "secrets/", "pub/secrets", "pub/../secrets/.")
	c.each(cat, "rs0", notADir, "pub/ok.txt/", "pub/ok.txt/.", "pub/ok.txt/x")
}

// links: symbolic ones, to what is hidden and to what is outside.
func (c *corpus) links() {
	const cat = "symlinks"
	c.each(cat, following, hidden, "links/env", "links/env2", "links/back/.env", "links/secrets/inner.txt", "links/back/links/back/.env")
	c.each(cat, "d", hidden, "links/secrets")
	c.each(cat, "rweslu01", hidden, "links/secrets/inner.txt", "links/secrets/none")
	c.each(cat, "rwaes0123", escapes, "links/out", "links/out2", "links/absolute", "links/outdir/secret.txt", "links/root/etc/passwd", "links/up/outside/secret.txt")
	c.each(cat, "slmu1", escapes, "links/outdir/new", "links/root/new", "links/up/new")
	c.each(cat, "rs0w", looping, "links/loop", "links/loop/x", "links/ping")
	c.each(cat, "rs0", absent, "links/dangling")
	c.each(cat, "r", fine, "links/good", "links/back/pub/ok.txt")
	c.each(cat, "k", outcome{"boundary-escape", "ok…", "ok…"}, "links/absolute", "links/outdir", "links/root", "links/out", "links/up", "links/fd")
	// The links themselves can be moved and removed: that is no way out.
	c.add(cat, act{'n', "links/mv", "made/moved-link"}, fine)
	c.each(cat, "rs", escapes, "made/moved-link")
	c.each(cat, "u", fine, "made/moved-link")
}

// hardLinks: the same file under an allowed name.
func (c *corpus) hardLinks() {
	const cat = "hard links"
	c.each(cat, allOps[:8], hidden, "pub/hard")
	c.each(cat, "0123k", hidden, "pub/hard")
	c.each(cat, "r0123", hidden, "links/hard")
	c.pairs(cat, hidden, "pub/hard")
	c.add(cat, act{'h', ".astridignore", "made/rules"}, hidden)
	c.add(cat, act{'n', ".astridignore", "made/rules"}, hidden)
	c.each(cat, "wau123", hidden, ".astridignore", "pub/../.astridignore", "anchored/.astridignore")
	c.each(cat, "wmM1", hidden, "pub/.astridignore", "pub/sub/.astridignore")
	c.add(cat, act{'n', "pub/ok.txt", "pub/.astridignore"}, hidden)
	c.add(cat, act{'h', "pub/ok.txt", "pub/.astridignore"}, hidden)
	c.add(cat, act{'c', "pub/ok.txt", "pub/.astridignore"}, hidden)
	c.each(cat, "w", hidden, "pub/hardrules")
	c.each(cat, "r", fine, ".astridignore", "pub/hardrules")
}

// renames: of what is above something hidden, with rules that are anchored and
// rules that are not.
func (c *corpus) renames() {
	const cat = "renames"
	c.add(cat, act{'n', "anchored", "made/elsewhere"}, hidden)
	c.add(cat, act{'n', "anchored/deep", "made/elsewhere"}, hidden)
	c.add(cat, act{'n', "anchored/deep", "pub/deep"}, hidden)
	c.add(cat, act{'n', "pub/sub", "anchored/deep2"}, fine)
	c.each(cat, "rwes", hidden, "anchored/deep/hidden.txt")
	c.each(cat, "r", fine, "anchored/deep/open.txt")
	// The rule goes with what it hides.
	c.add(cat, act{'n', "loose", "made/loose"}, fine)
	c.each(cat, "rwes0k", hidden, "made/loose/a.key", "made/loose/in/b.key", "made/loose/none.key")
	c.each(cat, "r", fine, "made/loose/in/open.txt")
	c.add(cat, act{'n', "made/loose/in", "made/in"}, fine)
	c.each(cat, "rweu0", hidden, "made/in/b.key")
	c.add(cat, act{'n', "made/in/open.txt", "made/in/open.key"}, hidden)
	c.add(cat, act{'n', "made/in", "made/in.key"}, hidden)
	c.add(cat, act{'n', "nested", "made/nested"}, fine)
	c.each(cat, "rwe", hidden, "made/nested/own.txt", "made/nested/sub/own.txt")
	c.add(cat, act{'h', "made/in/open.txt", "secrets/open.txt"}, hidden)
	c.add(cat, act{'c', "made/in/open.txt", "secrets/open.txt"}, hidden)
}

// proc: the links of /proc and of /dev, by which a process reaches what is open.
func (c *corpus) proc() {
	const cat = "magic links"
	c.each(cat, "rse0d", escapes, "links/fd", "links/fd/0", "links/cwd", "links/procroot", "links/procroot/etc/passwd", "links/exe", "links/stdin", "links/init")
	c.each(cat, "rse0", absent, "proc/self/fd/0", "proc/self/root/etc/passwd", "dev/fd/0", "proc/self/environ")
}

// names: of every byte, and in other cases and forms.
func (c *corpus) names() {
	const cat = "names"
	for b := 1; b < 256; b++ {
		if b == '/' {
			continue
		}
		name := "bytes/h" + string([]byte{byte(b)}) + "x"
		want := hidden
		if b < 0x20 || b == 0x7f || b >= 0x80 {
			want.fs = "invalid-path"
		}
		if b >= 0x80 {
			want.wasi = "EILSEQ"
		}
		c.each(cat, "r", want, name)
	}
	c.each(cat, "re", outcome{"invalid-path", "EINVAL", "EINVAL"}, "pub/\x00", "pub/ok.txt\x00", ".env\x00")
	c.each(cat, "re", absent, ".ENV", ".Env", "SECRETS/inner.txt", "Secrets/none")
	c.each(cat, "rw0", hidden, "\u00e9.hid")
	c.each(cat, "r", outcome{"invalid-path", "ENOENT", "ENOENT"}, "e\u0301.hid")
	c.each(cat, "re", absent, ".env ", ".env.", ".\u0435nv", ".e\u200bnv", ".env\u00a0", ".env::$DATA")
}

// lengths: names and paths that are too long, and long ones that are not.
func (c *corpus) lengths() {
	const cat = "over-long"
	c.each(cat, "rsewm", tooLong, strings.Repeat("n", 256), "pub/"+strings.Repeat("n", 4000)+"/x")
	c.each(cat, "rs", tooLong, strings.Repeat("pub/../", 1000)+".env", strings.Repeat("./", 2100)+".env")
	c.each(cat, "rsw", hidden, strings.Repeat("pub/../", 500)+".env", strings.Repeat("./", 2000)+".env")
	c.each(cat, "rse", escapes, strings.Repeat("../", 1300)+"etc/passwd")
}

// special: what is no ordinary file.
func (c *corpus) special() {
	const cat = "special files"
	c.each(cat, "sl", fine, "special/fifo", "special/suid")
	c.each(cat, "r", fine, "special/suid")
	c.each(cat, "rse", hidden, "special/fifo.key", "special/socket.key")
	// What is written or copied runs as nobody else.
	c.add(cat, act{'c', "special/suid", "made/suid"}, fine)
	c.each(cat, "w2", fine, "special/suid", "made/suid")
	// Nobody writes there: who waits for it would wait for ever.
	c.each(cat, "0", outcome{"unknown no such device or address", "ENXIO", "ok"}, "special/fifo")
}

// mounts: what the host has mounted in the workspace, and its devices.
func (c *corpus) mounts() {
	const cat = "mounts and devices"
	c.each(cat, "r", fine, "bound/in.txt", "other/in.txt")
	c.each(cat, "rwes0lm", hidden, "bound/.env", "other/secrets/x", "other/new.key", "bound/../.env", "other/../bound/.env")
	c.each(cat, "rse0", escapes, "bound/../../outside/secret.txt", "other/../../outside/secret.txt", "other/out")
	c.each(cat, "rw0123", outcome{"unknown no such device or address", "ENXIO", "EACCES"}, "special/null", "special/disk")
	c.each(cat, "rse0", hidden, "special/null.key")
	c.each(cat, "sl", fine, "special/null", "special/disk")
	c.add(cat, act{'h', "other/in.txt", "other/linked"}, fine)
	c.add(cat, act{'c', "other/in.txt", "made/copied.key"}, hidden)
}
