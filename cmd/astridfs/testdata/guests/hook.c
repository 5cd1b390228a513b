// hook is a reactor that answers astrid-hook-trigger with the action it was
// given and its payload as data; no payload, no data.
//
// Build: build.sh in this directory.

typedef unsigned char u8;
typedef unsigned int u32;

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

// capsule-result: a string, and an option of a string.
static struct {
	const u8 *action;
	u32 len;
	u32 some;
	const u8 *data;
	u32 datalen;
} result;

__attribute__((export_name("astrid-hook-trigger")))
void *trigger(const u8 *action, u32 len, const u8 *payload, u32 payloadlen) {
	result.action = action;
	result.len = len;
	result.some = payloadlen > 0;
	result.data = payload;
	result.datalen = payloadlen;
	return &result;
}
