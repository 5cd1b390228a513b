// probe is a command whose first argument says what it does:
//
//	cat        copies standard input to standard output
//	say TEXT   prints TEXT, and "err" on standard error
//	env        prints the environment, a variable in a line
//	exit N     exits with N
//	trap       traps
//	loop       never ends
//	write PATH TEXT, read PATH    by astrid:fs; a failure exits with 10 + its error-code
//
// Build: build.sh in this directory.

typedef unsigned char u8;
typedef unsigned int u32;

#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#define WASI(name) IMPORT("wasi_snapshot_preview1", name)
#define FS(name) IMPORT("astrid:fs/host@1.0.0", name)

WASI("fd_write") u32 fd_write(u32 fd, const void *iov, u32 n, u32 *written);
WASI("fd_read") u32 fd_read(u32 fd, const void *iov, u32 n, u32 *got);
WASI("args_sizes_get") u32 args_sizes_get(u32 *n, u32 *size);
WASI("args_get") u32 args_get(char **argv, char *buf);
WASI("environ_sizes_get") u32 environ_sizes_get(u32 *n, u32 *size);
WASI("environ_get") u32 environ_get(char **envp, char *buf);
WASI("proc_exit") __attribute__((noreturn)) void proc_exit(u32 code);
FS("write-file") void write_file(const char *path, u32 len, const void *data, u32 datalen, void *ret);
FS("read-file") void read_file(const char *path, u32 len, void *ret);

static u8 heap[1 << 20] __attribute__((aligned(8)));
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

struct result {
	u8 failed, pad[3];
	union {
		struct {
			u8 *data;
			u32 len;
		} list;
		u8 error;
	};
	u32 more;
};

static u32 length(const char *s) {
	u32 n = 0;
	while (s[n])
		n++;
	return n;
}

static int same(const char *a, const char *b) {
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

static void put(u32 fd, const void *data, u32 len) {
	struct {
		const void *data;
		u32 len;
	} iov = {data, len};
	u32 written;
	if (fd_write(fd, &iov, 1, &written))
		proc_exit(9);
}

static void line(u32 fd, const char *s) {
	put(fd, s, length(s));
	put(fd, "\n", 1);
}

static char *argv[64], *envp[64], strings[32 << 10], vars[32 << 10];

__attribute__((export_name("_start"))) void start(void) {
	u32 n, size;
	if (args_sizes_get(&n, &size) || n < 2 || n > 64 || size > sizeof strings || args_get(argv, strings))
		proc_exit(8);
	const char *what = argv[1];
	struct result r;
	if (same(what, "cat")) {
		for (;;) {
			struct {
				void *data;
				u32 len;
			} iov = {heap, 4096};
			u32 got;
			if (fd_read(0, &iov, 1, &got))
				proc_exit(7);
			if (!got)
				return;
			put(1, heap, got);
		}
	}
	if (same(what, "say") && n > 2) {
		line(1, argv[2]);
		line(2, "err");
	} else if (same(what, "env")) {
		if (environ_sizes_get(&n, &size) || n > 64 || size > sizeof vars || environ_get(envp, vars))
			proc_exit(6);
		for (u32 i = 0; i < n; i++)
			line(1, envp[i]);
	} else if (same(what, "exit") && n > 2) {
		u32 code = 0;
		for (const char *p = argv[2]; *p; p++)
			code = code * 10 + (u32)(*p - '0');
		proc_exit(code);
	} else if (same(what, "trap")) {
		__builtin_trap();
	} else if (same(what, "loop")) {
		for (volatile u32 i = 0;; i++)
			;
	} else if (same(what, "write") && n > 3) {
		write_file(argv[2], length(argv[2]), argv[3], length(argv[3]), &r);
		if (r.failed)
			proc_exit(10 + r.error);
	} else if (same(what, "read") && n > 2) {
		read_file(argv[2], length(argv[2]), &r);
		if (r.failed)
			proc_exit(10 + r.error);
		put(1, r.list.data, r.list.len);
	} else {
		proc_exit(5);
	}
}
