/* The twin of the conformance guest in Go: the same cases in the same order,
 * as a reactor that needs neither WASI nor a C library. */
#include "astridfs.h"
#include "astridfs_freestanding.h"

static size_t length(const char *s) {
	size_t n = 0;
	while (s[n]) n++;
	return n;
}

static char lines[96 << 10];
static size_t used;
static char *base; /* of the heap, for the next case */

static void put(const char *s, size_t n) {
	if (used + n > sizeof lines) __builtin_trap();
	memcpy(lines + used, s, n);
	used += n;
}

static void quote(const char *s, size_t n) {
	put("\"", 1);
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];
		if (c < 0x20 || c == '"' || c == '\\') {
			char u[6] = {'\\', 'u', '0', '0', "0123456789abcdef"[c >> 4], "0123456789abcdef"[c & 15]};
			put(u, 6);
		} else {
			put(s + i, 1);
		}
	}
	put("\"", 1);
}

typedef fs_string str;
#define S(lit) ((str){(char *)(lit), sizeof(lit) - 1})
#define PS(lit) (lit), sizeof(lit) - 1

static str of(const char *s) { return (str){(char *)s, length(s)}; }

static void is(str name, str want, str got) {
	put("{\"case\":", 8);
	quote(name.ptr, name.len);
	put(",\"want\":", 8);
	quote(want.ptr, want.len);
	put(",\"got\":", 7);
	quote(got.ptr, got.len);
	put("}\n", 2);
	fs_heap = base;
}

/* Texts are put together in memory of their own. */
static str cat(str a, str b) {
	char *p = cabi_realloc(0, 0, 1, a.len + b.len);
	memcpy(p, a.ptr, a.len);
	memcpy(p + a.len, b.ptr, b.len);
	return (str){p, a.len + b.len};
}

static str number(uint64_t n, unsigned radix) {
	char *p = cabi_realloc(0, 0, 1, 24), *q = p + 24;
	do *--q = (char)('0' + n % radix); while (n /= radix);
	return (str){q, (size_t)(p + 24 - q)};
}

static str repeat(str a, int n) {
	str s = S("");
	while (n--) s = cat(s, a);
	return s;
}

static str error(fs_error *e) {
	static const char *const names[] = {"not-found", "access", "capability-denied", "boundary-escape", "invalid-path",
		"would-block", "is-directory", "not-directory", "not-empty", "too-large", "quota", "cross-vfs",
		"already-exists", "closed"};
	if (e->code == FS_UNKNOWN) return cat(cat(S("unknown("), e->text), S(")"));
	if (e->code > FS_UNKNOWN) return S("no case of error-code");
	return of(names[e->code]);
}

static fs_result r;
static fs_result_u64 r64;
static fs_result_stat rs;

static str code(void) { return r.tag ? error(&r.ok.err) : S("ok"); }
static str text(void) { return r.tag ? error(&r.ok.err) : r.ok.s; }
static str num(void) { return r.tag ? error(&r.ok.err) : number(r.ok.n, 10); }
static str len(void) { return r.tag ? error(&r.ok.err) : number(r.ok.bytes.len, 10); }
static str boolean(void) { return r.tag ? error(&r.ok.err) : r.ok.b ? S("true") : S("false"); }
static str num64(void) { return r64.tag ? error(&r64.ok.err) : number(r64.ok.n, 10); }
static str size(void) { return rs.tag ? error(&rs.ok.err) : number(rs.ok.stat.size, 10); }
static str mode(void) { return rs.tag ? error(&rs.ok.err) : number(rs.ok.stat.mode, 8); }
static str statcode(void) { return rs.tag ? error(&rs.ok.err) : S("ok"); }
static str kind(void) { return rs.tag ? error(&rs.ok.err) : number(rs.ok.stat.kind, 10); }
static str sizekindmode(void) {
	if (rs.tag) return error(&rs.ok.err);
	return cat(cat(cat(cat(size(), S(" ")), kind()), S(" ")), mode());
}
static str names(str sep) {
	if (r.tag) return error(&r.ok.err);
	str s = S("");
	for (size_t i = 0; i < r.ok.names.len; i++) s = cat(i ? cat(s, sep) : s, r.ok.names.ptr[i]);
	return s;
}

#define ENDS_OK(name, call) ENDS(name, "ok", call)
#define ENDS(name, want, call) do { call; is(S(name), S(want), code()); } while (0)
#define READS(name, want, path) do { fs_read_file(PS(path), &r); is(S(name), S(want), text()); } while (0)
#define EXISTS(name, want, path) do { fs_exists(PS(path), &r); is(S(name), S(want), boolean()); } while (0)
#define GIVES(name, want, call, f) do { call; is(S(name), S(want), f); } while (0)
#define PUT(path, data) fs_write_file(PS(path), PS(data), &r)

static char big[(10 << 20) + 1];

static void paths(void) {
#define SAME(path) EXISTS("exists " path, "true", path)
	SAME("fixture/hello.txt");
	SAME("/fixture/hello.txt");
	SAME("workspace://fixture/hello.txt");
	SAME("cwd://fixture/hello.txt");
	SAME("workspace:///fixture//hello.txt");
	SAME("fixture/./dir/../hello.txt");
	SAME("fixture/dirlink/../hello.txt");
	EXISTS("exists missing", "false", "fixture/missing");
	EXISTS("exists missing parent", "false", "fixture/missing/x");
	EXISTS("exists below a file", "not-directory", "fixture/hello.txt/x");
	EXISTS("exists dangling", "false", "fixture/dangling");
	EXISTS("exists root", "true", "tmp://");
	EXISTS("exists root denied", "capability-denied", "workspace://");
	EXISTS("exists tmp", "true", "/tmp");
	EXISTS("exists home", "true", "home://");
	EXISTS("unknown scheme", "invalid-path", "file://etc/passwd");
	EXISTS("empty scheme", "invalid-path", "://x");
	EXISTS("NUL", "invalid-path", "fixture/a\0b");
	EXISTS("control character", "invalid-path", "fixture/a\nb");
	EXISTS("C1 control character", "invalid-path", "fixture/a\xc2\x85" "b");
	EXISTS("not UTF-8", "invalid-path", "fixture/\xff");
	EXISTS("not NFC", "invalid-path", "fixture/e\xcc\x81");
	EXISTS("NFC", "false", "fixture/\xc3\xa9");
	str p = cat(S("fixture/"), repeat(S("a/"), 2044));
	GIVES("4096 bytes", "false", fs_exists(p.ptr, p.len, &r), boolean());
	p = cat(cat(S("fixture/"), repeat(S("a/"), 2044)), S("a"));
	GIVES("4097 bytes", "invalid-path", fs_exists(p.ptr, p.len, &r), boolean());
	p = cat(S("fixture/"), repeat(S("a"), 255));
	GIVES("name of 255 bytes", "false", fs_exists(p.ptr, p.len, &r), boolean());
	p = cat(S("fixture/"), repeat(S("a"), 256));
	GIVES("name of 256 bytes", "invalid-path", fs_exists(p.ptr, p.len, &r), boolean());
	EXISTS("loop", "invalid-path", "fixture/loop");
	EXISTS("escape by ..", "boundary-escape", "../x");
	EXISTS("escape by .. behind a directory", "boundary-escape", "fixture/../../x");
	EXISTS("escape by .. in tmp", "boundary-escape", "/tmp/../x");
	EXISTS("escape by a link", "boundary-escape", "fixture/out");
	EXISTS("escape through a link", "boundary-escape", "fixture/out/x");
	EXISTS("escape by an absolute link", "boundary-escape", "fixture/abs");
	EXISTS("denied, there", "capability-denied", "secret/key");
	EXISTS("denied, missing", "capability-denied", "secret/missing");
	EXISTS("denied, missing parent", "capability-denied", "secret/missing/x");
	EXISTS("denied through a link", "capability-denied", "fixture/tosecret");
	ENDS("write denied, read granted", "capability-denied", PUT("readonly/new", ""));
	READS("read granted, write denied", "ok", "readonly/file");
}

static void reading(void) {
	READS("read-file", "hello\n", "fixture/hello.txt");
	READS("read-file through a link", "hello\n", "fixture/link");
	READS("read-file missing", "not-found", "fixture/missing");
	READS("read-file of a directory", "is-directory", "fixture/dir");
	READS("read-file below a file", "not-directory", "fixture/hello.txt/x");
	READS("read-file of a file with a slash", "not-directory", "fixture/hello.txt/");
	READS("read-file of a fifo", "unknown(no such device or address)", "fixture/fifo");
	READS("read-file empty", "", "fixture/empty");
	GIVES("read-file of 10 MiB", "10485760", fs_read_file(PS("fixture/big10"), &r), len());
	GIVES("read-file of 10 MiB and a byte", "too-large", fs_read_file(PS("fixture/big10plus"), &r), len());
	GIVES("stat", "6 1 100640", fs_stat_path(PS("fixture/hello.txt"), &rs), sizekindmode());
	str t = cat(cat(number((uint64_t)rs.ok.stat.modified.value.seconds, 10), S(".")), number(rs.ok.stat.modified.value.nanoseconds, 10));
	is(S("stat modified"), S("1000000000.123456789"), rs.ok.stat.modified.some ? t : S("none"));
	is(S("stat accessed"), S("true"), rs.ok.stat.accessed.some ? S("true") : S("false"));
	fs_stat_path(PS("fixture/dir"), &rs);
	str k = cat(kind(), S(" "));
	fs_stat_path(PS("fixture/link"), &rs);
	k = cat(cat(k, kind()), S(" "));
	fs_stat_symlink(PS("fixture/dangling"), &rs);
	k = cat(cat(k, kind()), S(" "));
	fs_stat_symlink(PS("fixture/fifo"), &rs);
	is(S("stat kinds"), S("2 1 3 6"), cat(k, kind()));
	GIVES("stat-symlink", "9 3 120777", fs_stat_symlink(PS("fixture/link"), &rs), sizekindmode());
	GIVES("stat missing", "not-found", fs_stat_path(PS("fixture/missing"), &rs), statcode());
	GIVES("stat dangling", "not-found", fs_stat_path(PS("fixture/dangling"), &rs), statcode());
	GIVES("stat-symlink missing", "not-found", fs_stat_symlink(PS("fixture/missing"), &rs), statcode());
#define CANON(name, want, path) GIVES(name, want, fs_canonicalize(PS(path), &r), text())
	CANON("canonicalize", "workspace://fixture/hello.txt", "/fixture/dirlink/../link");
	CANON("canonicalize home", "home://", "home://.");
	CANON("canonicalize tmp", "tmp://", "/tmp/");
	CANON("canonicalize missing", "not-found", "fixture/missing");
	CANON("canonicalize outside", "boundary-escape", "fixture/out");
}

static void writing(void) {
	ENDS_OK("write-file new", PUT("work/new", "one"));
	READS("write-file new, read", "one", "work/new");
	GIVES("write-file new, mode", "100644", fs_stat_path(PS("work/new"), &rs), mode());
	ENDS_OK("write-file over", PUT("work/new", "other"));
	READS("write-file over, read", "other", "work/new");
	ENDS_OK("write-file empty", PUT("work/new", ""));
	READS("write-file empty, read", "", "work/new");
	ENDS_OK("write-file through a link", PUT("work/tofile", "x"));
	READS("write-file through a link, read", "x", "work/file");
	GIVES("write-file keeps the mode", "100600", fs_stat_path(PS("work/file"), &rs), mode());
	ENDS("write-file to a directory", "is-directory", PUT("fixture/dir", ""));
	ENDS("write-file with a slash", "is-directory", PUT("work/dir/", ""));
	ENDS("write-file without a parent", "not-found", PUT("work/missing/x", ""));
	ENDS("write-file below a file", "not-directory", PUT("work/file/x", ""));
	ENDS("write-file to a fifo", "unknown(no such device or address)", PUT("fixture/fifo", ""));
	ENDS_OK("write-file of 10 MiB", fs_write_file(PS("work/big"), big, 10 << 20, &r));
	ENDS("write-file of 10 MiB and a byte", "too-large", fs_write_file(PS("work/big"), big, (10 << 20) + 1, &r));
	ENDS("append of 10 MiB and a byte", "too-large", fs_append(PS("work/big2"), big, (10 << 20) + 1, &r));
	EXISTS("append too large makes nothing", "false", "work/big2");
	ENDS_OK("append new", fs_append(PS("work/log"), PS("a"), &r));
	ENDS_OK("append", fs_append(PS("work/log"), PS("bc"), &r));
	READS("append, read", "abc", "work/log");
	ENDS("append to a directory", "is-directory", fs_append(PS("fixture/dir"), PS(""), &r));
	ENDS("append without a parent", "not-found", fs_append(PS("work/missing/x"), PS(""), &r));
}

static uint32_t opened(const char *path, size_t n, int m) {
	fs_open(path, n, m, &r);
	return r.ok.n;
}

static str try_open(const char *path, size_t n, int m) {
	uint32_t h = opened(path, n, m);
	if (!r.tag) fs_drop(h);
	return code();
}

#define OPENS(name, want, path, mode) is(S(name), S(want), try_open(PS(path), mode))

static void handles(void) {
	OPENS("open read missing", "not-found", "work/missing", FS_READ);
	OPENS("open read-write missing", "not-found", "work/missing", FS_READ_WRITE);
	OPENS("open write missing", "ok", "work/opened", FS_WRITE);
	OPENS("open append missing", "ok", "work/opened2", FS_APPEND);
	OPENS("open of a directory", "is-directory", "fixture/dir", FS_READ);
	OPENS("open to write of a directory", "is-directory", "fixture/dir", FS_WRITE);
	OPENS("open of a fifo", "unknown(no such device or address)", "fixture/fifo", FS_READ);
	OPENS("open denied", "capability-denied", "secret/key", FS_READ);
	OPENS("open to write denied", "capability-denied", "readonly/file", FS_READ_WRITE);
	OPENS("open to append denied", "capability-denied", "readonly/file", FS_APPEND);
	uint32_t h[16];
	for (int i = 0; i < 16; i++) {
		h[i] = opened(PS("fixture/hello.txt"), FS_READ);
		if (r.tag) {
			is(S("open 16"), S("ok"), code());
			return;
		}
	}
	OPENS("open 17th", "quota", "fixture/hello.txt", FS_READ);
	OPENS("open 17th to write makes nothing", "quota", "work/seventeen", FS_WRITE);
	EXISTS("open 17th made nothing", "false", "work/seventeen");
	fs_drop(h[3]);
	OPENS("open after a close", "ok", "fixture/hello.txt", FS_READ);
	ENDS("read-at closed", "closed", fs_read_at(h[3], 0, 1, &r));
	uint32_t again = opened(PS("fixture/hello.txt"), FS_READ);
	is(S("open 16th again"), S("ok"), code());
	ENDS("read-at closed, its place taken", "closed", fs_read_at(h[3], 0, 1, &r));
	ENDS("write-at closed", "closed", fs_write_at(h[3], 0, PS("x"), &r));
	ENDS("sync-data closed", "closed", fs_sync_data(h[3], &r));
	ENDS("sync-all closed", "closed", fs_sync_all(h[3], &r));
	GIVES("handle stat closed", "closed", fs_handle_stat(h[3], &rs), statcode());
	ENDS("set-len closed", "closed", fs_set_len(h[3], 0, &r));
	fs_drop(h[3]);
	is(S("drop closed"), S("ok"), S("ok"));
	fs_drop(again);
	for (int i = 0; i < 16; i++)
		if (i != 3) fs_drop(h[i]);
	ENDS("read-at handle 0", "closed", fs_read_at(0, 0, 1, &r));
	ENDS("read-at handle -1", "closed", fs_read_at(0xffffffff, 0, 1, &r));
}

static void positions(void) {
	PUT("work/pos", "0123456789");
	uint32_t f = opened(PS("work/pos"), FS_READ);
	is(S("open read"), S("ok"), code());
#define READ_AT(name, want, h, off, n) GIVES(name, want, fs_read_at(h, off, n, &r), text())
	READ_AT("read-at", "345", f, 3, 3);
	READ_AT("read-at to the end", "89", f, 8, 10);
	READ_AT("read-at the end", "", f, 10, 10);
	READ_AT("read-at behind the end", "", f, 1ull << 62, 10);
	READ_AT("read-at at the last offset", "", f, ~0ull, 10);
	READ_AT("read-at of nothing", "", f, 0, 0);
	READ_AT("read-at of 1 MiB", "0123456789", f, 0, 1 << 20);
	READ_AT("read-at of 1 MiB and a byte", "too-large", f, 0, (1 << 20) + 1);
	ENDS("write-at of a read handle", "access", fs_write_at(f, 0, PS("x"), &r));
	ENDS("set-len of a read handle", "access", fs_set_len(f, 0, &r));
	ENDS_OK("sync-data of a read handle", fs_sync_data(f, &r));

	uint32_t w = opened(PS("work/pos2"), FS_WRITE);
	is(S("open write"), S("ok"), code());
#define WRITE_AT(name, want, h, off, data, n) GIVES(name, want, fs_write_at(h, off, data, n, &r), num())
	WRITE_AT("write-at", "5", w, 0, "abcde", 5);
	WRITE_AT("write-at inside", "1", w, 2, "X", 1);
	WRITE_AT("write-at behind the end", "1", w, 8, "Z", 1);
	WRITE_AT("write-at of nothing", "0", w, 0, "", 0);
	ENDS("read-at of a write handle", "access", fs_read_at(w, 0, 1, &r));
	READS("write-at, read", "abXde\0\0\0Z", "work/pos2");
	WRITE_AT("write-at of 1 MiB", "1048576", w, 0, big, 1 << 20);
	WRITE_AT("write-at of 1 MiB and a byte", "too-large", w, 0, big, (1 << 20) + 1);
	WRITE_AT("write-at at the last offset", "too-large", w, ~0ull, "x", 1);
	ENDS_OK("set-len", fs_set_len(w, 3, &r));
	GIVES("handle stat", "3 1 100644", fs_handle_stat(w, &rs), sizekindmode());
	ENDS("set-len to the last length", "too-large", fs_set_len(w, ~0ull, &r));
	ENDS_OK("sync-data", fs_sync_data(w, &r));
	ENDS_OK("sync-all", fs_sync_all(w, &r));
	ENDS_OK("open-unlinked: unlink", fs_unlink(PS("work/pos2"), &r));
	WRITE_AT("open-unlinked: write-at", "1", w, 0, "y", 1);
	GIVES("open-unlinked: stat", "3", fs_handle_stat(w, &rs), size());
	fs_drop(w);
	is(S("drop"), S("ok"), S("ok"));
	OPENS("open to write truncates", "ok", "work/pos", FS_WRITE);
	READ_AT("read-at after another truncated", "", f, 0, 4);
	fs_drop(f);

	uint32_t a = opened(PS("work/app"), FS_APPEND);
	is(S("open append"), S("ok"), code());
	WRITE_AT("write-at to append", "2", a, 100, "ab", 2);
	fs_append(PS("work/app"), PS("cd"), &r);
	WRITE_AT("write-at to append again", "2", a, ~0ull, "ef", 2);
	ENDS("read-at of an append handle", "access", fs_read_at(a, 0, 1, &r));
	fs_drop(a);
	READS("append handle, read", "abcdef", "work/app");
	uint32_t rw = opened(PS("work/app"), FS_READ_WRITE);
	is(S("open read-write"), S("ok"), code());
	READ_AT("read-write keeps the contents", "abcdef", rw, 0, 10);
	WRITE_AT("read-write writes", "1", rw, 1, "X", 1);
	READ_AT("read-write reads it", "aXcdef", rw, 0, 10);
	fs_drop(rw);
}

#define MKDIR(name, want, path) ENDS(name, want, fs_mkdir(PS(path), &r))
#define MKDIRS(name, want, path) ENDS(name, want, fs_mkdir_all(PS(path), &r))
#define LISTS(name, want, path) GIVES(name, want, fs_readdir(PS(path), &r), names(S(",")))

static void directories(void) {
	MKDIR("mkdir", "ok", "work/d");
	GIVES("mkdir, mode", "40755", fs_stat_path(PS("work/d"), &rs), mode());
	MKDIR("mkdir again", "already-exists", "work/d");
	MKDIR("mkdir with a slash", "ok", "work/d2/");
	MKDIR("mkdir over a file", "already-exists", "work/file");
	MKDIR("mkdir over a dangling link", "already-exists", "fixture/dangling");
	MKDIR("mkdir of the root", "already-exists", "tmp://");
	MKDIR("mkdir without a parent", "not-found", "work/missing/x");
	MKDIR("mkdir below a file", "not-directory", "work/file/x");
	MKDIR("mkdir denied", "capability-denied", "secret/d");
	MKDIRS("mkdir-all", "ok", "work/a/b/c/d");
	MKDIRS("mkdir-all again", "ok", "work/a/b/c/d/");
	EXISTS("mkdir-all, made", "true", "work/a/b/c/d");
	MKDIRS("mkdir-all with ..", "ok", "work/a/x/../y/./z");
	fs_exists(PS("work/a/x"), &r);
	str both = cat(boolean(), S(" "));
	fs_exists(PS("work/a/y/z"), &r);
	is(S("mkdir-all with .., made"), S("true true"), cat(both, boolean()));
	MKDIRS("mkdir-all over a file", "not-directory", "work/file");
	MKDIRS("mkdir-all below a file", "not-directory", "work/file/x/y");
	MKDIRS("mkdir-all of the root", "ok", "tmp://");
	MKDIRS("mkdir-all denied", "capability-denied", "secret/x/y");
	MKDIRS("mkdir-all outside", "boundary-escape", "fixture/out/x");
	LISTS("readdir", "c", "work/a/b");
	GIVES("readdir sorted", "a | ~ \xc3\xa9", fs_readdir(PS("fixture/names"), &r), names(S(" ")));
	LISTS("readdir of a file", "not-directory", "fixture/hello.txt");
	LISTS("readdir missing", "not-found", "fixture/missing");
	LISTS("readdir through a link", "inner.txt,up", "fixture/dirlink");
	LISTS("readdir denied", "capability-denied", "secret");
	LISTS("readdir empty", "", "work/d");
	GIVES("readdir of 4096", "4096", fs_readdir(PS("fixture/many"), &r), len());
	GIVES("readdir of 4097", "too-large", fs_readdir(PS("fixture/toomany"), &r), len());
}

#define LINK_OF(name, want, path) GIVES(name, want, fs_read_link(PS(path), &r), text())
#define LINK(name, want, src, dst) ENDS(name, want, fs_hard_link(PS(src), PS(dst), &r))

static void links(void) {
	LINK_OF("read-link", "workspace://fixture/hello.txt", "fixture/link");
	LINK_OF("read-link with ..", "workspace://fixture/hello.txt", "fixture/dir/up");
	LINK_OF("read-link dangling", "workspace://fixture/nowhere", "fixture/dangling");
	LINK_OF("read-link outside", "boundary-escape", "fixture/out");
	LINK_OF("read-link absolute", "boundary-escape", "fixture/abs");
	LINK_OF("read-link of a file", "invalid-path", "fixture/hello.txt");
	LINK_OF("read-link missing", "not-found", "fixture/missing");
	PUT("work/l1", "linked");
	LINK("hard-link", "ok", "work/l1", "work/l2");
	PUT("work/l1", "changed");
	READS("hard-link is the same file", "changed", "work/l2");
	LINK("hard-link over", "already-exists", "work/l1", "work/l2");
	LINK("hard-link missing", "not-found", "work/missing", "work/l3");
	LINK("hard-link without a parent", "not-found", "work/l1", "work/missing/x");
	LINK("hard-link of a directory", "access", "work/d", "work/l3");
	LINK("hard-link across schemes", "cross-vfs", "work/l1", "tmp://l3");
	LINK("hard-link denied", "capability-denied", "readonly/file", "work/l3");
	LINK("hard-link to a denied place", "capability-denied", "work/l1", "secret/l3");
}

#define MOVE(name, want, src, dst) ENDS(name, want, fs_rename(PS(src), PS(dst), &r))

static void moving(void) {
	PUT("work/m1", "moved");
	MOVE("rename", "ok", "work/m1", "work/m2");
	EXISTS("rename, old", "false", "work/m1");
	READS("rename, new", "moved", "work/m2");
	PUT("work/m3", "x");
	MOVE("rename over", "ok", "work/m2", "work/m3");
	READS("rename over, new", "moved", "work/m3");
	MOVE("rename missing", "not-found", "work/m1", "work/m2");
	MOVE("rename without a parent", "not-found", "work/m3", "work/missing/x");
	MOVE("rename across schemes", "cross-vfs", "work/m3", "tmp://m3");
	MOVE("rename a directory", "ok", "work/d2", "work/d3");
	MOVE("rename a file over a directory", "is-directory", "work/m3", "work/d3");
	MOVE("rename a directory over a file", "not-directory", "work/d3", "work/m3");
	MOVE("rename over a full directory", "not-empty", "work/d3", "work/a");
	MOVE("rename into itself", "invalid-path", "work/a", "work/a/b/x");
	MOVE("rename denied", "capability-denied", "readonly/file", "work/m4");
	MOVE("rename to a denied place", "capability-denied", "work/m3", "secret/m3");
	MOVE("rename a missing one to a denied place", "capability-denied", "work/missing/x", "secret/m3");
	MOVE("rename the root", "unknown(device or resource busy)", "tmp://", "tmp://root");
	MOVE("rename a file with a slash", "not-directory", "work/m3", "work/m5/");
}

#define COPY(name, want, src, dst) ENDS(name, want, fs_copy(PS(src), PS(dst), &r))

static void copying(void) {
	COPY("copy", "ok", "fixture/hello.txt", "work/c1");
	READS("copy, read", "hello\n", "work/c1");
	GIVES("copy, mode", "100640", fs_stat_path(PS("work/c1"), &rs), mode());
	COPY("copy over", "ok", "fixture/hello.txt", "work/file");
	GIVES("copy over, mode", "100640", fs_stat_path(PS("work/file"), &rs), mode());
	COPY("copy across schemes", "ok", "fixture/hello.txt", "tmp://c1");
	READS("copy across schemes, read", "hello\n", "/tmp/c1");
	COPY("copy onto itself", "ok", "work/c1", "work/c1");
	READS("copy onto itself, read", "hello\n", "work/c1");
	COPY("copy a big file", "ok", "fixture/big10plus", "work/c2");
	GIVES("copy a big file, size", "10485761", fs_stat_path(PS("work/c2"), &rs), size());
	COPY("copy missing", "not-found", "fixture/missing", "work/c3");
	COPY("copy a directory", "is-directory", "fixture/dir", "work/c3");
	COPY("copy to a directory", "is-directory", "work/c1", "fixture/dir");
	COPY("copy a fifo", "unknown(no such device or address)", "fixture/fifo", "work/c3");
	COPY("copy denied", "capability-denied", "secret/key", "work/c3");
	COPY("copy to a denied place", "capability-denied", "work/c1", "readonly/c3");
	COPY("copy a missing one to a denied place", "capability-denied", "work/missing/x", "readonly/c3");
}

#define UNLINK(name, want, path) ENDS(name, want, fs_unlink(PS(path), &r))
#define REMOVE(name, want, path) GIVES(name, want, fs_remove_dir_all(PS(path), &r64), num64())

static void removing(void) {
	UNLINK("unlink", "ok", "work/c1");
	UNLINK("unlink again", "not-found", "work/c1");
	UNLINK("unlink a directory", "is-directory", "work/d");
	UNLINK("unlink the root", "is-directory", "tmp://");
	UNLINK("unlink below a file", "not-directory", "work/file/x");
	UNLINK("unlink denied", "capability-denied", "readonly/file");
	UNLINK("unlink a link", "ok", "work/tofile");
	EXISTS("unlink a link leaves the file", "true", "work/file");
	REMOVE("remove-dir-all", "7", "work/a");
	EXISTS("remove-dir-all, gone", "false", "work/a");
	REMOVE("remove-dir-all again", "not-found", "work/a");
	REMOVE("remove-dir-all of a file", "not-directory", "work/file");
	REMOVE("remove-dir-all of a link", "not-directory", "work/todir");
	REMOVE("remove-dir-all of a link with a slash", "not-directory", "work/todir/");
	REMOVE("remove-dir-all with links", "3", "work/withlinks");
	LISTS("remove-dir-all did not follow", "inner.txt,up", "fixture/dir");
	REMOVE("remove-dir-all of the root", "unknown(device or resource busy)", "home://");
	REMOVE("remove-dir-all denied", "capability-denied", "readonly");
}

static void limits(void) {
	for (int i = 0; i < 200; i++) {
		fs_write_file(PS("tmp://quota"), big, 1 << 20, &r);
		if (r.tag) break;
	}
	is(S("write-file over the quota"), S("quota"), code());
	GIVES("write-file over the quota leaves the old", "1048576", fs_stat_path(PS("tmp://quota"), &rs), size());
	for (size_t n = 1 << 19; n; n /= 2) {
		do fs_write_file(PS("tmp://quota"), big, n, &r); while (!r.tag);
	}
	ENDS("write-file of a byte, quota used up", "quota", PUT("tmp://quota", "q"));
	ENDS_OK("write-file of nothing, quota used up", PUT("tmp://quota", ""));
	ENDS("append, quota used up", "quota", fs_append(PS("tmp://quota"), PS("q"), &r));
	COPY("copy, quota used up", "quota", "fixture/hello.txt", "tmp://quota");
	uint32_t f = opened(PS("tmp://quota"), FS_READ_WRITE);
	is(S("open, quota used up"), S("ok"), code());
	ENDS("write-at, quota used up", "quota", fs_write_at(f, 0, PS("q"), &r));
	ENDS("set-len, quota used up", "quota", fs_set_len(f, 1, &r));
	fs_drop(f);
	READS("read, quota used up", "hello\n", "fixture/hello.txt");
	fs_mkdir(PS("tmp://files"), &r);
	for (uint64_t i = 0; i < 100000; i++) {
		str p = cat(S("tmp://files/"), number(i, 10));
		fs_write_file(p.ptr, p.len, 0, 0, &r);
		fs_heap = base;
		if (r.tag) break;
	}
	is(S("write-file over the file quota"), S("quota"), code());
	OPENS("open over the file quota", "quota", "tmp://f", FS_WRITE);
	MKDIR("mkdir over the file quota", "quota", "tmp://d");
	MKDIRS("mkdir-all over the file quota", "quota", "tmp://d/e");
	LINK("hard-link over the file quota", "quota", "tmp://files/0", "tmp://l");
	UNLINK("unlink, file quota used up", "ok", "tmp://files/0");
	MKDIR("mkdir after an unlink", "ok", "tmp://d");
	MKDIR("mkdir after it", "quota", "tmp://e");
}

typedef struct { fs_string action; uint8_t some; fs_string data; } capsule_result;
_Static_assert(sizeof(capsule_result) == 20, "layout");

static capsule_result answer;

__attribute__((export_name("astrid-hook-trigger")))
capsule_result *trigger(const char *action, size_t n, const uint8_t *payload, size_t m) {
	(void)action, (void)n, (void)payload, (void)m;
	used = 0;
	base = fs_heap;
	paths();
	reading();
	writing();
	handles();
	positions();
	directories();
	links();
	moving();
	copying();
	removing();
	limits();
	answer = (capsule_result){S("done"), 1, {lines, used}};
	return &answer;
}

static int posted;

__attribute__((export_name("cabi_post_astrid-hook-trigger")))
void post(capsule_result *r) {
	if (r != &answer || posted++) __builtin_trap();
}
