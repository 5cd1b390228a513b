/* What a capsule needs that has no C library: memcpy, memset, and a heap behind
 * cabi_realloc. Include it in one file of the capsule. */
#ifndef ASTRIDFS_FREESTANDING_H
#define ASTRIDFS_FREESTANDING_H

#include <stddef.h>
#include <stdint.h>

void *memcpy(void *restrict dst, const void *restrict src, size_t n) {
	for (size_t i = 0; i < n; i++) ((char *)dst)[i] = ((const char *)src)[i];
	return dst;
}

void *memset(void *dst, int c, size_t n) {
	for (size_t i = 0; i < n; i++) ((char *)dst)[i] = (char)c;
	return dst;
}

/* The heap is a stack, and grows the memory as it has to. To free what came
 * since, set fs_heap back to what it was, which is NULL at the very first. */
extern char __heap_base;
static char *fs_heap;

__attribute__((export_name("cabi_realloc")))
void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
	if (!fs_heap) fs_heap = &__heap_base;
	char *p = (char *)(((uintptr_t)fs_heap + align - 1) & ~(uintptr_t)(align - 1));
	size_t end = (size_t)(p + size), have = __builtin_wasm_memory_size(0) * 65536;
	if (end > have && __builtin_wasm_memory_grow(0, (end - have + 65535) / 65536) == (size_t)-1)
		__builtin_trap();
	fs_heap = p + size;
	if (old) memcpy(p, old, old_size < size ? old_size : size);
	return p;
}

#endif
