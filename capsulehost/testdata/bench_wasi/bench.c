/* The work of ../bench/bench.c by WASI preview1, as directly as WASI lets it.
 * Descriptor 3 is the workspace. */
#include <stddef.h>
#include <stdint.h>

#define WASI(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(name)))
WASI("path_filestat_get") int path_filestat_get(int fd, int flags, const char *p, size_t n, void *stat);
WASI("path_open") int path_open(int fd, int follow, const char *p, size_t n, int oflags, uint64_t base, uint64_t inherit, int fdflags, int *out);
WASI("fd_read") int fd_read(int fd, const void *iov, size_t n, size_t *got);
WASI("fd_pread") int fd_pread(int fd, const void *iov, size_t n, uint64_t off, size_t *got);
WASI("fd_pwrite") int fd_pwrite(int fd, const void *iov, size_t n, uint64_t off, size_t *put);
WASI("fd_write") int fd_write(int fd, const void *iov, size_t n, size_t *put);
WASI("fd_readdir") int fd_readdir(int fd, void *buf, size_t n, uint64_t cookie, size_t *used);
WASI("fd_close") int fd_close(int fd);

/* Rights (pread and pwrite need that to seek), and flags of path_open. */
enum { READ = 1 << 1 | 1 << 2, WRITE = 1 << 6 | 1 << 2, READDIR = 1 << 14, CREAT = 1, DIRECTORY = 2, TRUNC = 8 };

typedef struct { void *p; size_t n; } iovec;
static char big[(10 << 20) + 1], list[64 << 10];
static uint8_t stat[64];

static int open(const char *p, size_t n, int oflags, uint64_t rights) {
	int fd;
	if (path_open(3, 1, p, n, oflags, rights, 0, 0, &fd)) __builtin_trap();
	return fd;
}

#define S(lit) (lit), sizeof(lit) - 1

static size_t read_file(const char *p, size_t n) {
	int fd = open(p, n, 0, READ);
	size_t have = 0, got;
	do {
		iovec v = {big + have, sizeof big - have};
		if (fd_read(fd, &v, 1, &got)) __builtin_trap();
		have += got;
	} while (got && have < sizeof big);
	fd_close(fd);
	return have;
}

static size_t read_dir(const char *p, size_t n) {
	int fd = open(p, n, DIRECTORY, READDIR);
	uint64_t cookie = 0;
	size_t entries = 0, used;
	do {
		if (fd_readdir(fd, list, sizeof list, cookie, &used)) __builtin_trap();
		for (size_t at = 0; at + 24 <= used;) {
			uint64_t next;
			uint32_t len;
			__builtin_memcpy(&next, list + at, 8);
			__builtin_memcpy(&len, list + at + 16, 4);
			if (at + 24 + len > used) break;
			at += 24 + len;
			cookie = next;
			entries++;
		}
	} while (used == sizeof list);
	fd_close(fd);
	return entries;
}

/* what: the number of the workload, in the order of bench.c's. */
__attribute__((export_name("bench")))
void bench(int what, uint64_t times) {
	int fd = -1;
	size_t n;
	if (what == 4) fd = open(S("dir/10M"), 0, READ);
	if (what == 5) fd = open(S("dir/out"), CREAT | TRUNC, WRITE);
	for (uint64_t i = 0; i < times; i++) {
		iovec block = {big, 4096}, small = {big, 1024};
		switch (what) {
		case 0:
		case 1: if (path_filestat_get(3, 1, S("dir/1K"), stat)) __builtin_trap(); break;
		case 2: if (read_file(S("dir/1K")) != 1024) __builtin_trap(); break;
		case 3: if (read_file(S("dir/10M")) != 10 << 20) __builtin_trap(); break;
		case 4: if (fd_pread(fd, &block, 1, (i & 1023) * 4096, &n) || n != 4096) __builtin_trap(); break;
		case 5: if (fd_pwrite(fd, &block, 1, (i & 1023) * 4096, &n) || n != 4096) __builtin_trap(); break;
		case 6: {
			int out = open(S("dir/new"), CREAT | TRUNC, WRITE);
			if (fd_write(out, &small, 1, &n)) __builtin_trap();
			fd_close(out);
			break;
		}
		case 7: if (read_dir(S("many")) < 4096) __builtin_trap(); break;
		}
	}
	if (fd >= 0) fd_close(fd);
}
