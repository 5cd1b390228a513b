// The allocator that an adapter takes its memory from, where a program is made
// a component. Without it the adapter grows the memory by itself, before the
// first malloc, and Debian's wasi-libc takes everything up to the end of the
// memory for its heap.
#include <stdlib.h>

__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t size, size_t align, size_t n) {
  (void)size;
  if (old)
    return realloc(old, n);
  return aligned_alloc(align, (n + align - 1) / align * align);
}
