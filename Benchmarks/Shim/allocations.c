// SPDX-License-Identifier: Apache-2.0
// Counts heap allocations of a process it is preloaded into: LD_PRELOAD=liballocations.so PROGRAM.
//
// The program reads the count by asking the dynamic linker for `weir_allocations`. glibc only: it goes on to the
// __libc_ functions, which need no lookup, so it may be called before the dynamic linker is done.
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static atomic_ulong count;

unsigned long weir_allocations(void) { return atomic_load_explicit(&count, memory_order_relaxed); }

static void counted(void) { atomic_fetch_add_explicit(&count, 1, memory_order_relaxed); }

void *malloc(size_t size) {
  counted();
  return __libc_malloc(size);
}

void *calloc(size_t n, size_t size) {
  counted();
  return __libc_calloc(n, size);
}

void *realloc(void *old, size_t size) {
  counted();
  return __libc_realloc(old, size);
}

void *memalign(size_t alignment, size_t size) {
  counted();
  return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
  counted();
  return __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size) {
  counted();
  void *got = __libc_memalign(alignment, size);
  if (got == NULL) return ENOMEM;
  *out = got;
  return 0;
}
