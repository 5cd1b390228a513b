/* Makes the call that its action names as often as its payload says (8 bytes,
 * little endian), on the tree that the benchmark makes. */
#include "astridfs.h"
#include "astridfs_freestanding.h"

static char *base; /* of the heap */

typedef struct { fs_string action; uint8_t some; fs_string data; } capsule_result;
static capsule_result answer;
static char block[4096];

static int same(const char *a, size_t n, const char *b, size_t m) {
	if (n != m) return 0;
	for (size_t i = 0; i < n; i++)
		if (a[i] != b[i]) return 0;
	return 1;
}

#define S(lit) (lit), sizeof(lit) - 1
#define EACH(name, call, failed) \
	if (same(action, n, S(name))) \
		for (uint64_t i = 0; i < times; i++) { \
			call; \
			if (failed) __builtin_trap(); \
			fs_heap = base; \
		}

__attribute__((export_name("astrid-hook-trigger")))
capsule_result *trigger(const char *action, size_t n, const uint8_t *payload, size_t m) {
	uint64_t times = 0;
	for (size_t i = 0; i < m; i++) times |= (uint64_t)payload[i] << (8 * i);
	base = fs_heap;
	fs_result r;
	fs_result_stat s;
	uint32_t h = 0;
	if (same(action, n, S("write-at"))) {
		fs_open(S("dir/out"), FS_WRITE, &r);
		h = r.ok.n;
	}
	if (same(action, n, S("read-at"))) {
		fs_open(S("dir/10M"), FS_READ, &r);
		h = r.ok.n;
	}
	EACH("fs-exists", fs_exists(S("dir/1K"), &r), r.tag || !r.ok.b)
	EACH("fs-stat", fs_stat_path(S("dir/1K"), &s), s.tag)
	EACH("read-file 1K", fs_read_file(S("dir/1K"), &r), r.tag || r.ok.bytes.len != 1024)
	EACH("read-file 10M", fs_read_file(S("dir/10M"), &r), r.tag || r.ok.bytes.len != 10 << 20)
	EACH("read-at", fs_read_at(h, (i & 1023) * 4096, 4096, &r), r.tag || r.ok.bytes.len != 4096)
	EACH("write-at", fs_write_at(h, (i & 1023) * 4096, block, 4096, &r), r.tag || r.ok.n != 4096)
	EACH("write-file 1K", fs_write_file(S("dir/new"), block, 1024, &r), r.tag)
	EACH("fs-readdir 4096", fs_readdir(S("many"), &r), r.tag || r.ok.names.len != 4096)
	answer = (capsule_result){{"done", 4}, 0, {0, 0}};
	return &answer;
}
