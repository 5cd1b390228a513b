// probe is a command whose first argument says what it does:
//
//	cat        copies standard input to standard output
//	say TEXT   prints TEXT, and "err" on standard error
//	env        prints the environment, a variable in a line
//	exit N     exits with N
//	trap       traps
//	loop       never ends
//	write PATH TEXT, read PATH, rename FROM TO    by astrid:fs; a failure exits
//	           with 10 + its error-code
//
// Build: build.sh in this directory.

#include "astridfs.h"
#include "astridfs_freestanding.h"

#define WASI(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(name)))

WASI("fd_write") uint32_t fd_write(uint32_t fd, const void *iov, uint32_t n, uint32_t *written);
WASI("fd_read") uint32_t fd_read(uint32_t fd, const void *iov, uint32_t n, uint32_t *got);
WASI("args_sizes_get") uint32_t args_sizes_get(uint32_t *n, uint32_t *size);
WASI("args_get") uint32_t args_get(char **argv, char *buf);
WASI("environ_sizes_get") uint32_t environ_sizes_get(uint32_t *n, uint32_t *size);
WASI("environ_get") uint32_t environ_get(char **envp, char *buf);
WASI("proc_exit") __attribute__((noreturn)) void proc_exit(uint32_t code);

static uint32_t length(const char *s) {
	uint32_t n = 0;
	while (s[n])
		n++;
	return n;
}

static int same(const char *a, const char *b) {
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

static void put(uint32_t fd, const void *data, uint32_t len) {
	struct {
		const void *data;
		uint32_t len;
	} iov = {data, len};
	uint32_t written;
	if (fd_write(fd, &iov, 1, &written))
		proc_exit(9);
}

static void line(uint32_t fd, const char *s) {
	put(fd, s, length(s));
	put(fd, "\n", 1);
}

static char *argv[64], *envp[64], strings[32 << 10], vars[32 << 10], block[4096];

__attribute__((export_name("_start"))) void start(void) {
	uint32_t n, size;
	if (args_sizes_get(&n, &size) || n < 2 || n > 64 || size > sizeof strings || args_get(argv, strings))
		proc_exit(8);
	const char *what = argv[1];
	fs_result r;
	if (same(what, "cat")) {
		for (;;) {
			struct {
				void *data;
				uint32_t len;
			} iov = {block, sizeof block};
			uint32_t got;
			if (fd_read(0, &iov, 1, &got))
				proc_exit(7);
			if (!got)
				return;
			put(1, block, got);
		}
	}
	if (same(what, "say") && n > 2) {
		line(1, argv[2]);
		line(2, "err");
	} else if (same(what, "env")) {
		if (environ_sizes_get(&n, &size) || n > 64 || size > sizeof vars || environ_get(envp, vars))
			proc_exit(6);
		for (uint32_t i = 0; i < n; i++)
			line(1, envp[i]);
	} else if (same(what, "exit") && n > 2) {
		uint32_t code = 0;
		for (const char *p = argv[2]; *p; p++)
			code = code * 10 + (uint32_t)(*p - '0');
		proc_exit(code);
	} else if (same(what, "trap")) {
		__builtin_trap();
	} else if (same(what, "loop")) {
		for (volatile uint32_t i = 0;; i++)
			;
	} else if (same(what, "write") && n > 3) {
		fs_write_file(argv[2], length(argv[2]), argv[3], length(argv[3]), &r);
		if (r.tag)
			proc_exit(10 + r.ok.err.code);
	} else if (same(what, "rename") && n > 3) {
		fs_rename(argv[2], length(argv[2]), argv[3], length(argv[3]), &r);
		if (r.tag)
			proc_exit(10 + r.ok.err.code);
	} else if (same(what, "read") && n > 2) {
		fs_read_file(argv[2], length(argv[2]), &r);
		if (r.tag)
			proc_exit(10 + r.ok.err.code);
		put(1, r.ok.bytes.ptr, r.ok.bytes.len);
	} else {
		proc_exit(5);
	}
}
