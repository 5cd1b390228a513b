/* A capsule that does what its payload says by astrid:fs and answers with a
 * line for each operation: what came of it, and what it read, in hexadecimal.
 * It needs neither WASI nor a C library, so that it can be made a component.
 *
 * The payload is a row of operations: a byte for the operation, and two strings,
 * each behind its length in four bytes, the lowest first. */
#include "astridfs.h"
#include "astridfs_freestanding.h"

static char out[4 << 20];
static size_t used;

static void put(const char *s, size_t n) {
	if (used + n > sizeof out) __builtin_trap();
	memcpy(out + used, s, n);
	used += n;
}

static void hex(const void *data, size_t n) {
	for (size_t i = 0; i < n; i++) {
		unsigned char c = ((const unsigned char *)data)[i];
		char two[2] = {"0123456789abcdef"[c >> 4], "0123456789abcdef"[c & 15]};
		put(two, 2);
	}
}

static const struct {
	const char *name;
	size_t len;
} codes[] = {
#define C(name) {name, sizeof name - 1}
	C("not-found"), C("access"), C("capability-denied"), C("boundary-escape"), C("invalid-path"), C("would-block"),
	C("is-directory"), C("not-directory"), C("not-empty"), C("too-large"), C("quota"), C("cross-vfs"),
	C("already-exists"), C("closed"), C("unknown"),
};

/* fails says what an error is; true if it is none. */
static bool fails(uint8_t tag, const fs_error *e) {
	if (!tag) {
		put("ok", 2);
		return false;
	}
	put(codes[e->code].name, codes[e->code].len);
	if (e->code == FS_UNKNOWN) {
		put(" ", 1);
		hex(e->text.ptr, e->text.len);
	}
	return true;
}

static void bytes(const fs_result *r) {
	if (!fails(r->tag, &r->ok.err)) {
		put(" ", 1);
		hex(r->ok.bytes.ptr, r->ok.bytes.len);
	}
}

static void open(const char *a, size_t n, int mode) {
	fs_result r, s;
	fs_open(a, n, mode, &r);
	if (fails(r.tag, &r.ok.err)) return;
	if (mode == FS_READ || mode == FS_READ_WRITE) {
		fs_read_at(r.ok.n, 0, 4096, &s);
		put(" ", 1);
		if (!s.tag) hex(s.ok.bytes.ptr, s.ok.bytes.len);
	}
	fs_drop(r.ok.n);
}

static void one(char op, const char *a, size_t n, const char *b, size_t m) {
	fs_result r;
	fs_result_u64 u;
	fs_result_stat st;
	switch (op) {
	case 'r': fs_read_file(a, n, &r); bytes(&r); return;
	case 'w': fs_write_file(a, n, "written", 7, &r); break;
	case 'a': fs_append(a, n, "written", 7, &r); break;
	case 'e':
		fs_exists(a, n, &r);
		if (!fails(r.tag, &r.ok.err)) put(r.ok.b ? " 01" : " 00", 3);
		return;
	case 's': fs_stat_path(a, n, &st); fails(st.tag, &st.ok.err); return;
	case 'l': fs_stat_symlink(a, n, &st); fails(st.tag, &st.ok.err); return;
	case 'd':
		fs_readdir(a, n, &r);
		if (fails(r.tag, &r.ok.err)) return;
		put(" ", 1);
		for (size_t i = 0; i < r.ok.names.len; i++) {
			hex(r.ok.names.ptr[i].ptr, r.ok.names.ptr[i].len);
			hex("\n", 1);
		}
		return;
	case 'm': fs_mkdir(a, n, &r); break;
	case 'M': fs_mkdir_all(a, n, &r); break;
	case 'u': fs_unlink(a, n, &r); break;
	case 'R': fs_remove_dir_all(a, n, &u); fails(u.tag, &u.ok.err); return;
	case 'n': fs_rename(a, n, b, m, &r); break;
	case 'h': fs_hard_link(a, n, b, m, &r); break;
	case 'c': fs_copy(a, n, b, m, &r); break;
	case 'k': fs_read_link(a, n, &r); bytes(&r); return;
	case 'p': fs_canonicalize(a, n, &r); bytes(&r); return;
	case '0': case '1': case '2': case '3': open(a, n, op - '0'); return;
	default: __builtin_trap();
	}
	fails(r.tag, &r.ok.err);
}

typedef struct {
	fs_string action;
	uint8_t some;
	fs_string data;
} capsule_result;

/* The host calls it as a component's; there is nothing to free. */
__attribute__((export_name("cabi_post_astrid-hook-trigger"))) void post(capsule_result *r) { (void)r; }

static uint32_t number(const uint8_t *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24; }

__attribute__((export_name("astrid-hook-trigger")))
capsule_result *trigger(char *action, size_t action_len, const uint8_t *p, size_t n) {
	static capsule_result result;
	(void)action;
	(void)action_len;
	used = 0;
	char *base = fs_heap;
	for (const uint8_t *end = p + n; p < end;) {
		char op = (char)*p++;
		const char *s[2];
		size_t len[2];
		for (int i = 0; i < 2; i++) {
			len[i] = number(p);
			s[i] = (const char *)p + 4;
			p += 4 + len[i];
		}
		one(op, s[0], len[0], s[1], len[1]);
		put("\n", 1);
		fs_heap = base;
	}
	result = (capsule_result){{"done", 4}, 1, {out, used}};
	return &result;
}
