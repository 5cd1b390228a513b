// tidy is the capsule of "astridfs demo": it changes a few files of the
// workspace by astrid:fs, and tries to reach what it was not granted.
//
// Build: build.sh in this directory.

typedef unsigned char u8;
typedef unsigned int u32;

#define FS(name) __attribute__((import_module("astrid:fs/host@1.0.0"), import_name(name)))

FS("fs-unlink") void fs_unlink(const char *path, u32 len, void *ret);
FS("fs-rename") void fs_rename(const char *src, u32 srclen, const char *dst, u32 dstlen, void *ret);
FS("fs-append") void fs_append(const char *path, u32 len, const void *data, u32 datalen, void *ret);
FS("write-file") void write_file(const char *path, u32 len, const void *data, u32 datalen, void *ret);
FS("read-file") void read_file(const char *path, u32 len, void *ret);

__attribute__((import_module("wasi_snapshot_preview1"), import_name("fd_write")))
u32 fd_write(u32 fd, const void *iov, u32 n, u32 *written);

// What the host returns by list it allocates here; nothing is ever freed, and
// what does not fit traps.
static u8 heap[64 << 10] __attribute__((aligned(8)));
static u32 used;

__attribute__((export_name("cabi_realloc")))
void *cabi_realloc(void *old, u32 oldsize, u32 align, u32 size) {
	(void)old;
	(void)oldsize;
	used = (used + align - 1) & ~(align - 1);
	if (size > sizeof heap - used)
		__builtin_trap();
	void *p = heap + used;
	used += size;
	return p;
}

// A result<list, error-code>: tag, then the list, or the error's case.
struct result {
	u8 failed, pad[3];
	union {
		struct {
			u8 *data;
			u32 len;
		} list;
		u8 error;
	};
	u32 more[1];
};

static u32 length(const char *s) {
	u32 n = 0;
	while (s[n])
		n++;
	return n;
}

#define TEXT(s) s, sizeof s - 1

static void say(const char *s) {
	struct {
		const char *data;
		u32 len;
	} iov = {s, length(s)};
	u32 written;
	fd_write(1, &iov, 1, &written);
}

// outcome says how a call went.
static void outcome(const char *what, const struct result *r) {
	static const char *const errors[] = {
		"not-found", "access", "capability-denied", "boundary-escape", "invalid-path",
		"would-block", "is-directory", "not-directory", "not-empty", "too-large",
		"quota", "cross-vfs", "already-exists", "closed", "unknown",
	};
	say("  tidy: ");
	say(what);
	say(": ");
	if (!r->failed)
		say("done");
	else if (r->error < sizeof errors / sizeof *errors)
		say(errors[r->error]);
	else
		say("an unknown error");
	say("\n");
}

__attribute__((export_name("run"))) void run(void) {
	struct result r;
	write_file(TEXT("workspace://src/greet.go"),
		TEXT("package main\n\nfunc greeting(name string) string { return \"hello, \" + name }\n"), &r);
	outcome("write src/greet.go", &r);
	fs_append(TEXT("notes/ideas.txt"), TEXT("greet by name (done)\n"), &r);
	outcome("append to notes/ideas.txt", &r);
	fs_unlink(TEXT("notes/old.txt"), &r);
	outcome("remove notes/old.txt", &r);
	read_file(TEXT("workspace://../../etc/passwd"), &r);
	outcome("read workspace://../../etc/passwd", &r);
	read_file(TEXT("home://.ssh/id_ed25519"), &r);
	outcome("read home://.ssh/id_ed25519", &r);
}
