// tidy is the capsule of "astridfs demo": it changes a few files of the
// workspace by astrid:fs, and tries to reach what it was not granted.
//
// Build: build.sh in this directory.

#include "astridfs.h"
#include "astridfs_freestanding.h"

__attribute__((import_module("wasi_snapshot_preview1"), import_name("fd_write")))
uint32_t fd_write(uint32_t fd, const void *iov, uint32_t n, uint32_t *written);

static size_t length(const char *s) {
	size_t n = 0;
	while (s[n])
		n++;
	return n;
}

#define TEXT(s) s, sizeof s - 1

static void say(const char *s) {
	struct {
		const char *data;
		size_t len;
	} iov = {s, length(s)};
	uint32_t written;
	fd_write(1, &iov, 1, &written);
}

// outcome says how a call went.
static void outcome(const char *what, const fs_result *r) {
	static const char *const errors[] = {
		"not-found", "access", "capability-denied", "boundary-escape", "invalid-path",
		"would-block", "is-directory", "not-directory", "not-empty", "too-large",
		"quota", "cross-vfs", "already-exists", "closed", "unknown",
	};
	say("  tidy: ");
	say(what);
	say(": ");
	if (!r->tag)
		say("done");
	else if (r->ok.err.code < sizeof errors / sizeof *errors)
		say(errors[r->ok.err.code]);
	else
		say("an unknown error");
	say("\n");
}

__attribute__((export_name("run"))) void run(void) {
	fs_result r;
	fs_write_file(TEXT("workspace://src/greet.go"),
		TEXT("package main\n\nfunc greeting(name string) string { return \"hello, \" + name }\n"), &r);
	outcome("write src/greet.go", &r);
	fs_append(TEXT("notes/ideas.txt"), TEXT("greet by name (done)\n"), &r);
	outcome("append to notes/ideas.txt", &r);
	fs_unlink(TEXT("notes/old.txt"), &r);
	outcome("remove notes/old.txt", &r);
	fs_read_file(TEXT("workspace://../../etc/passwd"), &r);
	outcome("read workspace://../../etc/passwd", &r);
	fs_read_file(TEXT("home://.ssh/id_ed25519"), &r);
	outcome("read home://.ssh/id_ed25519", &r);
}
