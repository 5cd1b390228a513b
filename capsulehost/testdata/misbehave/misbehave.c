/* A guest that does what its action says, most of it wrong. */
#include "astridfs.h"

void *memcpy(void *restrict dst, const void *restrict src, size_t n) {
	for (size_t i = 0; i < n; i++) ((char *)dst)[i] = ((const char *)src)[i];
	return dst;
}

void *memset(void *dst, int c, size_t n) {
	for (size_t i = 0; i < n; i++) ((char *)dst)[i] = (char)c;
	return dst;
}

__attribute__((import_module("wasi_snapshot_preview1"), import_name("proc_exit"), noreturn)) void proc_exit(uint32_t code);

#define S(lit) (lit), sizeof(lit) - 1

extern char __heap_base;
static char *heap;
static int realloc_does; /* how cabi_realloc misbehaves */
static fs_result inner;
static uint32_t reading;

/* What the host had allocated since the last look. */
static struct { char *p; size_t n; } blocks[64];
static int nblocks;

__attribute__((export_name("cabi_realloc")))
void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
	switch (realloc_does) {
	case 1: __builtin_trap();
	case 2: return (void *)0xfffffff0;
	case 3: align = 1; if (heap) heap = (char *)((uintptr_t)heap | 1); break;
	case 4: for (;;) __asm__ volatile("");
	case 5: { /* calls the host, which calls this again */
		realloc_does = 0;
		fs_result nested;
		fs_read_file(S("file"), &nested);
		inner = nested;
		break;
	}
	case 6: proc_exit(9);
	case 7: __builtin_wasm_memory_grow(0, 16); break; /* a memory that moves would move */
	case 8: fs_canonicalize(S("file"), &inner); break; /* calls the host, which calls this, without end */
	case 9: /* closes what is being read */
		realloc_does = 0;
		fs_drop(reading);
		break;
	case 10: { /* and opens another in its place */
		realloc_does = 0;
		fs_result nested;
		fs_drop(reading);
		fs_open(S("other"), FS_WRITE, &nested);
		break;
	}
	}
	if (!heap) heap = &__heap_base;
	char *p = (char *)(((uintptr_t)heap + align - 1) & ~(uintptr_t)(align - 1));
	size_t end = (size_t)(p + size), have = __builtin_wasm_memory_size(0) * 65536;
	if (end > have && __builtin_wasm_memory_grow(0, (end - have + 65535) / 65536) == (size_t)-1)
		__builtin_trap();
	heap = p + size;
	if (old) memcpy(p, old, old_size < size ? old_size : size);
	if (nblocks < 64) {
		blocks[nblocks].p = p;
		blocks[nblocks++].n = size;
	}
	return p;
}

typedef struct { fs_string action; uint8_t some; fs_string data; } capsule_result;
static capsule_result answer;
static char buf[64];

static capsule_result *number(uint64_t n) {
	char *q = buf + sizeof buf;
	do *--q = (char)('0' + n % 10); while (n /= 10);
	answer = (capsule_result){{"number", 6}, 1, {q, (size_t)(buf + sizeof buf - q)}};
	return &answer;
}

static int same(const char *a, size_t n, const char *b, size_t m) {
	if (n != m) return 0;
	for (size_t i = 0; i < n; i++)
		if (a[i] != b[i]) return 0;
	return 1;
}

static volatile int zero;
static __attribute__((noinline)) int deep(int n) {
	int below = n < 0 ? 0 : deep(n + 1);
	__asm__ volatile("" : "+r"(below)); /* no tail call */
	return below + n;
}

/* Random calls. The arena is where random pointers mostly lead; after a call
 * nothing in it may have changed but the result. */
#define ARENA 4096
static struct { char b[ARENA], past[128]; } store __attribute__((aligned(16)));
#define arena store.b
static char shadow[ARENA];

static uint64_t take(const uint8_t **p, const uint8_t *end, int n) {
	uint64_t v = 0;
	for (int i = 0; i < n; i++)
		v |= (uint64_t)(*p < end ? *(*p)++ : 0) << (8 * i);
	return v;
}

/* A pointer: into the arena, around the end of the memory, or outside. */
static uint32_t pointer(const uint8_t **p, const uint8_t *end) {
	uint32_t v = (uint32_t)take(p, end, 4), have = (uint32_t)__builtin_wasm_memory_size(0) * 65536;
	if (!(v & 0x80000000)) return (uint32_t)(uintptr_t)arena + v % ARENA;
	return v << 1 < have ? have - 128 + v % 256 : v << 1;
}

static void calls(const uint8_t *p, size_t len) {
	const uint8_t *end = p + len;
	size_t n = (size_t)take(&p, end, 2) % ARENA;
	for (size_t i = 0; i < n && p < end; i++) arena[i] = (char)*p++;
	while (p < end) {
		unsigned f = (unsigned)take(&p, end, 1) % 24;
		uint32_t a = pointer(&p, end), b = (uint32_t)take(&p, end, 2), c = pointer(&p, end), d = (uint32_t)take(&p, end, 2);
		uint32_t ret = pointer(&p, end), h = (uint32_t)take(&p, end, 1);
		uint64_t off = take(&p, end, 8);
		if (h & 0x80) h = (uint32_t)off;
		else h = (h & 15) | (h & 0x70) >> 4 << 4;
		if (!(ret & 0x100)) ret &= ~7u;
		memcpy(shadow, arena, ARENA);
		nblocks = 0;
		fs_result *r = (fs_result *)ret;
		char *x = (char *)a, *y = (char *)c;
		switch (f) {
		case 0: fs_open(x, b, d & 3, r); break;
		case 1: fs_exists(x, b, r); break;
		case 2: fs_mkdir(x, b, r); break;
		case 3: fs_mkdir_all(x, b, r); break;
		case 4: fs_readdir(x, b, r); break;
		case 5: fs_stat_path(x, b, (fs_result_stat *)r); break;
		case 6: fs_stat_symlink(x, b, (fs_result_stat *)r); break;
		case 7: fs_unlink(x, b, r); break;
		case 8: fs_read_file(x, b, r); break;
		case 9: fs_write_file(x, b, y, d, r); break;
		case 10: fs_append(x, b, y, d, r); break;
		case 11: fs_copy(x, b, y, d, r); break;
		case 12: fs_rename(x, b, y, d, r); break;
		case 13: fs_remove_dir_all(x, b, (fs_result_u64 *)r); break;
		case 14: fs_canonicalize(x, b, r); break;
		case 15: fs_read_link(x, b, r); break;
		case 16: fs_hard_link(x, b, y, d, r); break;
		case 17: fs_read_at(h, off, d, r); break;
		case 18: fs_write_at(h, off, y, d, r); break;
		case 19: fs_sync_data(h, r); break;
		case 20: fs_sync_all(h, r); break;
		case 21: fs_handle_stat(h, (fs_result_stat *)r); break;
		case 22: fs_set_len(h, off % (1 << 24), r); break;
		case 23: fs_drop(h); break;
		}
		uint32_t size = f == 5 || f == 6 || f == 21 ? 96 : f == 13 ? 24 : f == 23 ? 0 : 16;
		for (uint32_t i = 0; i < ARENA; i++) {
			uint32_t at = (uint32_t)(uintptr_t)arena + i;
			if (arena[i] != shadow[i] && (at < ret || at >= ret + size)) proc_exit(99);
		}
	}
}

static void one_read(int misbehave) {
	realloc_does = misbehave;
	fs_result r;
	fs_read_file(S("file"), &r);
	realloc_does = 0;
}

/* Reads a piece that is long enough to go straight into the list. The code of the error, 100 for none. */
static uint64_t read_at_and(int misbehave) {
	fs_result r;
	fs_open(S("long"), FS_READ, &r);
	reading = r.ok.n;
	realloc_does = misbehave;
	fs_read_at(reading, 0, 1 << 20, &r);
	realloc_does = 0;
	return r.tag ? r.ok.err.code : 100;
}

__attribute__((export_name("astrid-hook-trigger")))
capsule_result *trigger(const char *action, size_t n, const uint8_t *payload, size_t m) {
#define IS(name) same(action, n, S(name))
	fs_result r;
	if (IS("nothing")) return number(0);
	if (IS("unreachable")) __builtin_trap();
	if (IS("divide")) return number((uint64_t)(n / (size_t)zero));
	if (IS("out of bounds")) return number(*(volatile uint32_t *)0xfffffffc);
	if (IS("stack")) return number((uint64_t)deep(0));
	if (IS("loop")) for (;;) __asm__ volatile("");
	if (IS("loop of calls")) for (;;) fs_exists(S("file"), &r);
	if (IS("exit")) proc_exit(7);
	if (IS("exit like a timeout")) proc_exit(0xefffffff);
	if (IS("grow")) {
		while (__builtin_wasm_memory_grow(0, 1) != (size_t)-1);
		return number(__builtin_wasm_memory_size(0));
	}
	if (IS("handles")) {
		for (int i = 0; i < 16; i++) fs_open(S("file"), FS_READ, &r);
		__builtin_trap();
	}
	if (IS("handles and loop")) {
		for (int i = 0; i < 16; i++) fs_open(S("file"), FS_READ, &r);
		for (;;) __asm__ volatile("");
	}
	if (IS("handles and return")) {
		for (int i = 0; i < 16; i++) fs_open(S("file"), FS_READ, &r);
		return number(r.tag);
	}
	if (IS("bad path")) fs_exists((const char *)0xffffff00, 0x200, &r);
	if (IS("bad path length")) fs_exists("x", 0xffffffff, &r);
	if (IS("bad result")) fs_exists(S("file"), (fs_result *)0xfffffff0);
	if (IS("unaligned result")) fs_exists(S("file"), (fs_result *)(buf + 1));
	if (IS("bad data")) fs_write_file(S("bad-data"), (void *)0x7fffffff, 1, &r);
	if (IS("bad result, effect")) fs_mkdir(S("bad-result"), (fs_result *)0xfffffff0);
	if (IS("bad mode")) fs_open(S("file"), 4, &r);
	if (IS("realloc traps")) one_read(1);
	if (IS("realloc outside")) one_read(2);
	if (IS("realloc unaligned")) {
		realloc_does = 3;
		fs_readdir(S(""), &r);
	}
	if (IS("realloc loops")) one_read(4);
	if (IS("realloc exits")) one_read(6);
	if (IS("realloc grows")) {
		realloc_does = 7;
		fs_read_file(S("file"), &r);
		return number((uint64_t)same(r.ok.s.ptr, r.ok.s.len, S("contents")));
	}
	if (IS("realloc calls")) {
		realloc_does = 5;
		fs_read_file(S("file"), &r);
		return number((uint64_t)same(r.ok.s.ptr, r.ok.s.len, inner.ok.s.ptr, inner.ok.s.len));
	}
	if (IS("realloc calls for ever")) one_read(8);
	if (IS("realloc closes")) return number(read_at_and(9));
	if (IS("realloc reopens")) return number(read_at_and(10));
	if (IS("bad answer")) return (capsule_result *)0xfffffff0;
	if (IS("unaligned answer")) return (capsule_result *)(buf + 1);
	if (IS("bad answer's text")) {
		answer = (capsule_result){{(char *)0xfffffff0, 100}, 0, {0, 0}};
		return &answer;
	}
	if (IS("answer not UTF-8")) {
		answer = (capsule_result){{"\xff", 1}, 0, {0, 0}};
		return &answer;
	}
	if (IS("answer's option")) {
		answer = (capsule_result){{"x", 1}, 2, {0, 0}};
		return &answer;
	}
	if (IS("no data")) {
		answer = (capsule_result){{"none", 4}, 0, {0, 0}};
		return &answer;
	}
	if (IS("payload")) {
		answer = (capsule_result){{(char *)action, n}, 1, {(char *)payload, m}};
		return &answer;
	}
	if (IS("exists")) { /* the error-code of fs-exists, 100 for none */
		fs_exists((const char *)payload, m, &r);
		return number(r.tag ? r.ok.err.code : 100);
	}
	if (IS("calls")) {
		calls(payload, m);
		return number(0);
	}
	return number(0);
}

static int ran;
__attribute__((export_name("run"))) void run(void) {
	fs_result r;
	if (ran++) proc_exit(2);
	fs_write_file(S("run"), S("run"), &r);
}
__attribute__((export_name("astrid-install"))) void install(void) {
	fs_result r;
	fs_write_file(S("install"), S("install"), &r);
}
